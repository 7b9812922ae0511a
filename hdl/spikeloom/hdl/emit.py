"""Spikes to events: words of fired neurons become packets for the outside and events for the core, one at a time.

The queue holds every word that a step can fire, so that the sweep never waits for it. The emitter may wait for the
packet output as long as it likes: nothing else in the core waits for the emitter but the next population's sweep.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.memory import LoadedMemory, LoadPort, struct_layout
from spikeloom.sim.core import CoreParameters
from spikeloom.sim.words import bits_for

__all__ = ["SpikeEmitter"]


class SpikeEmitter(wiring.Component):
    """Sends each fired neuron where its route says.

    Members
    -------
    push, word, fired
        A word of fired neurons; never refused, since a step fires no word twice.
    packets
        For the outside: the neuron's slot, and its membrane where the route asks for it.
    local
        For the core itself: an axon.
    inspect_enable, inspect_address, inspect
        Reads the membranes of a word, a cycle later; ``inspect_enable`` low means that they cannot be read now.
    busy
        Something is still to be sent.
    """

    def __init__(self, parameters: CoreParameters) -> None:
        self.parameters = parameters
        word = bits_for(parameters.words)
        packet = {"membrane": 1, "neuron": bits_for(parameters.neurons), "value": signed(parameters.v_width)}
        super().__init__(
            {
                "push": In(1),
                "word": In(word),
                "fired": In(parameters.lanes),
                "packets": Out(stream.Signature(data.StructLayout(packet))),
                "local": Out(stream.Signature(bits_for(parameters.axons))),
                "inspect_enable": In(1),
                "inspect_address": Out(word),
                "inspect": In(data.ArrayLayout(signed(parameters.v_width), parameters.lanes)),
                "busy": Out(1),
                "load": In(LoadPort()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        m.submodules.routes = routes = LoadedMemory(p.memories["routes"])
        wiring.connect(m, wiring.flipped(self.load), routes.load)
        entry = data.StructLayout({"fired": unsigned(p.lanes), "word": self.word.shape()})
        m.submodules.queue = queue = SyncFIFOBuffered(width=entry.size, depth=p.words + 1)
        m.d.comb += [queue.w_en.eq(self.push), queue.w_data.eq(Cat(self.fired, self.word))]

        # The word at hand: its lowest fired lane goes next.
        front = data.View(entry, queue.r_data)
        held = Signal()
        word = Signal(self.word.shape())
        fired = Signal(p.lanes)
        lowest = Signal(range(p.lanes))
        for lane in reversed(range(p.lanes)):
            with m.If(fired[lane]):
                m.d.comb += lowest.eq(lane)
        rest = fired & (fired - 1)[: p.lanes]

        # The neuron whose route and membrane come out of the memories.
        valid = Signal()
        neuron = Signal(bits_for(p.neurons))
        lane = Signal(range(p.lanes))
        issue, done = Signal(), Signal()
        lane_bits = (p.lanes - 1).bit_length()
        m.d.comb += [
            issue.eq(held & (~valid | done) & (self.inspect_enable if p.readout else 1)),
            routes.address.eq(Cat(lowest[:lane_bits], word)),
            routes.enable.eq(issue),
            queue.r_en.eq(queue.r_rdy & (~held | (issue & (rest == 0)))),
            self.inspect_address.eq(word),
            self.busy.eq(queue.r_rdy | (queue.level != 0) | held | valid),
        ]
        with m.If(queue.r_en):
            m.d.sync += [held.eq(1), fired.eq(front.fired), word.eq(front.word)]
        with m.Elif(issue):
            m.d.sync += [held.eq(rest != 0), fired.eq(rest)]
        with m.If(issue):
            m.d.sync += [valid.eq(1), neuron.eq(routes.address), lane.eq(lowest)]
        with m.Elif(done):
            m.d.sync += valid.eq(0)

        # Both destinations must take it; each may do so in its own time.
        route = data.View(struct_layout(p.route_layout), routes.data)
        sent, looped = Signal(), Signal()
        m.d.comb += [
            self.packets.valid.eq(valid & route.send & ~sent),
            self.packets.payload.neuron.eq(neuron),
            self.local.valid.eq(valid & route.local & ~looped),
            self.local.payload.eq(route.axon),
            done.eq(valid & (~self.packets.valid | self.packets.ready) & (~self.local.valid | self.local.ready)),
        ]
        if p.readout:
            # The membrane is read in the cycle in which the neuron is issued, and kept for as long as it waits.
            fresh = Signal()
            kept = Signal(signed(p.v_width))
            value = Signal(signed(p.v_width))
            m.d.sync += [fresh.eq(issue), kept.eq(value)]
            m.d.comb += [
                value.eq(Mux(fresh, self.inspect[lane], kept)),
                self.packets.payload.membrane.eq(route.membrane),
                self.packets.payload.value.eq(Mux(route.membrane, value, 0)),
            ]
        with m.If(done):
            m.d.sync += [sent.eq(0), looped.eq(0)]
        with m.Else():
            m.d.sync += [
                sent.eq(sent | (self.packets.valid & self.packets.ready)),
                looped.eq(looped | (self.local.valid & self.local.ready)),
            ]
        return m
