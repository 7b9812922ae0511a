"""The LIF engine: packets in, packets out; the steps of elastic time, run over the populations of a core.

    i ──▶ SPIKE ──▶ RowReader ◀───────────── local events ─────── SpikeEmitter ──▶ o
             │          └──▶ Accumulator ──▶ NeuronSweep ──▶ fired ────┘           ▲
             └─ TICK, ACK ──▶ step control ───────────────────────── TICK, ACK ────┘

Step *t* begins when there is a TICK(t) from every source and an ACK(t-2) from every sink. Then, for each population in
turn: its events are all added; its neurons are swept; its spikes go out and back in. Then one TICK and one ACK are
sent. Events of the next step are added all the while, into the other accumulator bank.

**Input is always consumed**, whatever the output waits for: TICK and ACK at once, SPIKE as soon as the row fetch is
free, which depends on nothing but the adding of rows.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.accumulate import Accumulator
from spikeloom.hdl.emit import SpikeEmitter
from spikeloom.hdl.memory import LoadedMemory, LoadPort
from spikeloom.hdl.packet import PacketKind, packet_layout
from spikeloom.hdl.rows import RowReader
from spikeloom.hdl.sweep import NeuronSweep
from spikeloom.sim.core import CoreParameters
from spikeloom.sim.words import bits_for

__all__ = ["LifEngine"]


class LifEngine(wiring.Component):
    """A LIF core without its registers. After a reset it first clears its accumulators, a word a cycle.

    Members
    -------
    i, o
        Packets. A SPIKE names an axon, on the way in as on the way out. Each brings its value, 1 if it is not graded.
    load
        Writes the memories of `CoreParameters.memories`.
    sources, sinks, populations
        Tiles that send a TICK each step (0 keeps the engine still), tiles that acknowledge one, populations to update.
    idle
        Nothing is being added, updated or sent.
    waiting, word_added, sweeping, spike, step_done
        For counting: an event waits for its weights, or is offered; a word of weights is added; neurons are swept; a
        neuron's spike or membrane is sent; a step ends.
    """

    def __init__(self, parameters: CoreParameters) -> None:
        self.parameters = parameters
        self.accumulator = Accumulator(parameters)
        self.sweep = NeuronSweep(parameters, read_latency=Accumulator.READ_LATENCY)
        packet = packet_layout(parameters.axon_width, parameters.v_width)
        super().__init__(
            {
                "i": In(stream.Signature(packet)),
                "o": Out(stream.Signature(packet)),
                "load": In(LoadPort()),
                "sources": In(parameters.token_width),
                "sinks": In(parameters.token_width),
                "populations": In(bits_for(parameters.populations + 1)),
                "idle": Out(1),
                "waiting": Out(1),
                "word_added": Out(1),
                "sweeping": Out(1),
                "spike": Out(1),
                "step_done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        m.submodules.rows = rows = RowReader(p)
        m.submodules.accumulator = accumulator = self.accumulator
        m.submodules.sweep = sweep = self.sweep
        m.submodules.emitter = emitter = SpikeEmitter(p)
        m.submodules.populations = populations = LoadedMemory(p.memories["populations"])
        for part in (rows, accumulator, sweep, emitter, populations):
            wiring.connect(m, wiring.flipped(self.load), part.load)

        parity = Signal()
        last = Signal()  # the step in progress is the last of its sample
        fresh = Signal(init=1)  # the step in progress is the first of its sample
        clearing = Signal()
        clear_word = Signal(bits_for(p.words))

        # Tokens of the steps to come. `unsent` marks a parity in which no step was sent yet, so that no ACK can be due.
        ticks = [Signal(p.token_width, name=f"ticks_{number}") for number in range(2)]
        acknowledged = [Signal(p.token_width, name=f"acknowledged_{number}") for number in range(2)]
        unsent = Signal(2, init=0b11)
        is_last = Signal(2)
        due = Signal(2)
        begin = Signal()
        for number in range(2):
            m.d.comb += due[number].eq(
                (self.sources != 0)
                & (ticks[number] == self.sources)
                & (unsent[number] | (acknowledged[number] == self.sinks))
            )
            with m.If(begin & (parity == number)):
                m.d.sync += [ticks[number].eq(0), acknowledged[number].eq(0), unsent[number].eq(0)]

        # Input. Local events go first; they wait only for the sweep, which never stalls.
        packet = self.i.payload
        local_valid, spike_valid = Signal(), Signal()
        m.d.comb += [
            local_valid.eq(emitter.local.valid & ~sweep.reading),
            rows.events.valid.eq(local_valid | spike_valid),
            rows.events.payload.axon.eq(Mux(local_valid, emitter.local.payload.axon, packet.axon)),
            rows.events.payload.value.eq(Mux(local_valid, emitter.local.payload.value, packet.value)),
            rows.events.payload.parity.eq(Mux(local_valid, parity, packet.parity)),
            emitter.local.ready.eq(rows.events.ready & ~sweep.reading),
        ]
        with m.If(~clearing), m.Switch(packet.kind):
            with m.Case(PacketKind.SPIKE):
                m.d.comb += [
                    spike_valid.eq(self.i.valid),
                    self.i.ready.eq(rows.events.ready & ~local_valid),
                ]
            with m.Default():
                m.d.comb += self.i.ready.eq(1)
        for number in range(2):
            with m.If(self.i.valid & self.i.ready & (packet.parity == number)):
                with m.If(packet.kind == PacketKind.TICK):
                    m.d.sync += [ticks[number].eq(ticks[number] + 1), is_last[number].eq(packet.last)]
                with m.If(packet.kind == PacketKind.ACK):
                    m.d.sync += acknowledged[number].eq(acknowledged[number] + 1)

        # The sweep, on the bank of the step in progress.
        population = Signal.like(self.populations)
        m.d.comb += [
            populations.address.eq(population),
            sweep.rule.eq(populations.data),
            sweep.fresh.eq(fresh),
            sweep.current.eq(accumulator.current),
            sweep.current_valid.eq(accumulator.current_valid),
            accumulator.sweep.eq(sweep.reading),
            accumulator.bank.eq(parity),
            accumulator.address.eq(sweep.address),
            rows.last.eq(last),
            accumulator.word.eq(rows.word),
            accumulator.clear.eq(clearing),
            accumulator.clear_address.eq(clear_word),
            emitter.restart.eq(sweep.start),
            emitter.push.eq(sweep.emit_valid),
            emitter.word.eq(sweep.emit_word),
            emitter.fired.eq(sweep.emit),
            emitter.value.eq(sweep.sent),
            emitter.rule.eq(sweep.held_rule),
        ]

        # Output: spikes, or the tokens that end a step.
        token = Signal()
        token_kind = Signal(PacketKind)
        m.d.comb += [
            self.o.valid.eq(emitter.packets.valid | token),
            self.o.payload.parity.eq(parity),
            emitter.packets.ready.eq(self.o.ready),
        ]
        with m.If(token):
            m.d.comb += [self.o.payload.kind.eq(token_kind), self.o.payload.last.eq(last)]
        with m.Else():
            kind = Mux(emitter.packets.payload.membrane, PacketKind.MEMBRANE, PacketKind.SPIKE)
            m.d.comb += [
                self.o.payload.kind.eq(kind),
                self.o.payload.axon.eq(emitter.packets.payload.axon),
                self.o.payload.value.eq(emitter.packets.payload.value),
            ]

        adding = Signal(2)  # for each parity: events of such a step are being added
        drained = Signal()
        m.d.comb += adding.eq(rows.busy | accumulator.busy)
        m.d.comb += drained.eq(~adding.bit_select(parity, 1) & ~emitter.busy & ~sweep.busy)
        with m.FSM():
            with m.State("CLEAR"):
                m.d.comb += clearing.eq(1)
                m.d.sync += clear_word.eq(clear_word + 1)
                with m.If(clear_word == p.words - 1):
                    m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += self.idle.eq(~adding.any() & ~spike_valid)
                with m.If(due.bit_select(parity, 1)):
                    m.d.comb += begin.eq(1)
                    m.d.sync += last.eq(is_last.bit_select(parity, 1))
                    m.next = "DRAIN"
            with m.State("DRAIN"), m.If(drained):
                with m.If(population == self.populations):
                    m.next = "TICK"
                with m.Else():
                    m.next = "SWEEP"
            with m.State("SWEEP"):
                m.d.comb += sweep.start.eq(1)
                m.d.sync += population.eq(population + 1)
                m.next = "DRAIN"
            with m.State("TICK"):
                m.d.comb += [token.eq(self.sinks != 0), token_kind.eq(PacketKind.TICK)]
                with m.If(self.o.ready | (self.sinks == 0)):
                    m.next = "ACK"
            with m.State("ACK"):
                m.d.comb += [token.eq(1), token_kind.eq(PacketKind.ACK)]
                with m.If(self.o.ready):
                    m.d.comb += self.step_done.eq(1)
                    m.d.sync += [parity.eq(~parity), fresh.eq(last), population.eq(0)]
                    m.next = "WAIT"
        m.d.comb += [
            self.waiting.eq(rows.events.valid | rows.busy.any()),
            self.word_added.eq(rows.word.valid),
            self.sweeping.eq(sweep.busy),
            self.spike.eq(emitter.done),
        ]
        return m
