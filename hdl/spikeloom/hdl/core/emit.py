"""Spikes to events: words of fired neurons become packets for the outside and events for the core, one at a time.

    push ─▶ queue ─▶ group of 8 lanes ─▶ lane ─▶ route memory ─▶ skid buffer ─┬─▶ packets
                                                                              └─▶ local

The queue holds every word that a population can fire, so that the sweep never waits for it. The emitter may wait for
the packet output as long as it likes: nothing else in the core waits for the emitter but the next population's sweep.

Every memory is read in two steps, its own and that of its output register; both hold what they have while the step
after them is busy. The skid buffer is where this ends: it has room for one more when it says that it has none, so that
whether an output is taken reaches nothing before it in the same cycle.

In a core with graded spikes the value of a neuron's spike is worked out on the way through the last two
(`spikeloom.hdl.core.graded`).
"""

from collections.abc import Iterable

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.core.graded import shifted_value, spike_value, value_shape
from spikeloom.hdl.lib.memory import LoadedMemory, LoadPort
from spikeloom.hdl.lib.words import struct_layout
from spikeloom.hdl.tech.block_ram import BlockMemory
from spikeloom.hdl.tech.ram import DistributedMemory
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.words import bits_for

__all__ = ["SpikeEmitter"]

GROUP = 8
"""Lanes among which the lowest that fired is found in one cycle."""


def _lowest(bits: Value) -> Value:
    """The lowest bit that is set, alone: that of the lowest block of four in which one is.

    (Blocks, because synthesis makes one chain of what looks at all bits below.)
    """
    if len(bits) <= 4:
        return Cat(bit & ~bits[:place].any() for place, bit in enumerate(bits))
    blocks = [bits[first : first + 4] for first in range(0, len(bits), 4)]
    chosen = _lowest(Cat(block.any() for block in blocks))
    return Cat(_lowest(block) & here.replicate(len(block)) for block, here in zip(blocks, chosen, strict=True))


def _is_single(bits: Value) -> Value:
    """Whether no more than one bit is set."""

    def some_and_more(part: Value) -> tuple[Value, Value]:
        if len(part) == 1:
            return part, Const(0)
        (low, low_more), (high, high_more) = map(some_and_more, (part[: len(part) // 2], part[len(part) // 2 :]))
        return low | high, low_more | high_more | (low & high)

    return ~some_and_more(bits)[1]


def _number(one_hot: Value) -> Value:
    """The place of the only bit that is set."""
    places = range((len(one_hot) - 1).bit_length())
    return Cat(Cat(bit for place, bit in enumerate(one_hot) if place >> digit & 1).any() for digit in places)


def _lowest_place(bits: Value) -> Value:
    """The place of the lowest bit that is set, if there is one: as `_number` of `_lowest`, in fewer LUTs in a row."""
    if len(bits) == 1:
        return Cat()
    half = 1 << (len(bits) - 1).bit_length() - 1
    low, high = bits[:half], bits[half:]
    return Cat(Mux(low.any(), _lowest_place(low), _lowest_place(high)), ~low.any())


class SpikeEmitter(wiring.Component):
    """Sends each fired neuron where its route says.

    Members
    -------
    restart : Signal, in
        The queue is empty and begins anew; before the words of a population are pushed.
    push : Signal, in
    word : Signal(word), in
    fired : Signal(lanes), in
    value : ArrayLayout(signed(sent_width), lanes), in
        A word of fired neurons, and what each has sent (`NeuronSweep`); never refused, since a population fires no
        word twice.
    rule : population_layout, in
        In a core with graded spikes, the rule of the population: it says what the values are.
    packets : Stream(data.StructLayout(packet)), out
        For the outside: the neuron's axon, and its membrane where the route asks for it, or else the value of its
        spike, 1 if it is not graded.
    local : Stream(data.StructLayout(event)), out
        For the core itself: an axon and, in a core with graded spikes, the value of the spike.
    busy : Signal, out
        Something is still to be sent.
    done : Signal, out
        A neuron has been sent to all of its destinations.
    load : LoadPort, in
        The memories, from the host.
    """

    def __init__(self, parameters: CoreParameters) -> None:
        self.parameters = parameters
        word = bits_for(parameters.words)
        packet = {"membrane": 1, "axon": parameters.axon_width, "value": signed(parameters.v_width)}
        event = {"axon": parameters.event_width, "value": value_shape(parameters)}
        super().__init__(
            {
                "restart": In(1),
                "push": In(1),
                "word": In(word),
                "fired": In(parameters.lanes),
                "value": In(data.ArrayLayout(signed(parameters.sent_width), parameters.lanes)),
                "rule": In(struct_layout(parameters.population_layout)),
                "packets": Out(stream.Signature(data.StructLayout(packet))),
                "local": Out(stream.Signature(data.StructLayout(event))),
                "busy": Out(1),
                "done": Out(1),
                "load": In(LoadPort()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        value_width = p.sent_width if p.readout or p.value_width else 0
        lane_bits = (p.lanes - 1).bit_length()
        groups, group = -(-p.lanes // GROUP), min(p.lanes, GROUP)

        # The queue. Words are written behind each other and read in that order; a word can be read a cycle after it.
        entry = data.StructLayout(
            {
                "word": self.word.shape(),
                "groups": groups,
                "single": groups,
                "fired": data.ArrayLayout(group, groups),
                "value": data.ArrayLayout(value_width * group, groups),
            }
        )
        # LUT RAM has registers of its own behind it, in place of those in a block RAM.
        is_block = p.state_memory == "block"
        kind = BlockMemory if is_block else DistributedMemory
        m.submodules.queue = queue = kind(entry.size, p.words)
        parts = [self.fired[first : first + group] for first in range(0, p.lanes, group)]
        pushed = Signal(entry)
        pushing = Signal()
        m.d.sync += [
            pushing.eq(self.push),
            pushed.word.eq(self.word),
            pushed.groups.eq(Cat(part.any() for part in parts)),
            pushed.single.eq(Cat(_is_single(part) for part in parts)),
            pushed.fired.eq(self.fired),
        ]
        if value_width:
            m.d.sync += pushed.value.eq(self.value)
        count = bits_for(p.words + 1)
        written, read = Signal(count), Signal(count)
        waiting, reading, front_valid = Signal(), Signal(), Signal()  # in the queue, read, in the output register
        enable, output_enable = Signal(), Signal()
        front_done = Signal()
        m.d.comb += [
            waiting.eq(written != read),
            queue.write_enable.eq(pushing),
            queue.write_address.eq(written),
            queue.write_data.eq(pushed),
            queue.address.eq(read),
            output_enable.eq(~front_valid | front_done),
            # A word of more than one group is in front for two cycles or more, so that the next one has time to come.
            enable.eq(~reading if groups > 1 else ~reading | output_enable),
        ]
        with m.If(self.restart):
            m.d.sync += [written.eq(0), read.eq(0)]
        with m.Else():
            m.d.sync += [written.eq(written + pushing), read.eq(read + (waiting & enable))]
        with m.If(enable):
            m.d.sync += reading.eq(waiting)
        with m.Elif(output_enable):
            m.d.sync += reading.eq(0)
        with m.If(output_enable):
            m.d.sync += front_valid.eq(reading)
        if is_block:
            # (While its output register takes a word the memory has to be enabled. What it reads then is not used.)
            m.d.comb += [queue.enable.eq(enable | output_enable), queue.output_enable.eq(output_enable)]
            front = data.View(entry, queue.data)
        else:
            held, front = Signal(entry, reset_less=True), Signal(entry, reset_less=True)
            with m.If(enable):
                m.d.sync += held.eq(queue.data)
            with m.If(output_enable):
                m.d.sync += front.eq(held)

        # The groups of the front word that have fired, one after the other.
        # `chosen` is the lowest of those left and `others` are those after it, found a cycle before it is taken.
        active, take = Signal(), Signal()
        chosen = Signal(groups)
        number = Signal(bits_for(groups))
        if groups > 1:
            others, chosen_valid, is_last = Signal(groups), Signal(), Signal()
            left = Mux(chosen_valid, others, front.groups)
            lowest_left = _lowest(left)
            m.d.comb += front_done.eq(take & is_last)
            with m.If(~chosen_valid | take):
                m.d.sync += [
                    chosen.eq(lowest_left),
                    others.eq(left & ~lowest_left),
                    is_last.eq(Mux(chosen_valid, _is_single(others), _is_single(front.groups))),
                    chosen_valid.eq(Mux(chosen_valid, ~is_last, front_valid)),
                ]
            with m.If(take):
                m.d.sync += number.eq(_number(chosen))
        else:
            chosen_valid = front_valid
            m.d.comb += [chosen.eq(1), front_done.eq(take)]

        def select(array: data.View, width: int) -> Value:
            return _or(array[place] & chosen[place].replicate(width) for place in range(groups))

        # The lanes of a group that have fired, the lowest first. `single` says that there is no more than one, and
        # so it does when there is none. Whether a group can be taken is two LUTs from the skid buffer's state.
        fired = Signal(group)
        single = Signal(init=1)
        word = Signal(self.word.shape())
        values = Signal(max(1, value_width * group))
        issue = Signal()
        lowest = _lowest(fired)
        rest = fired & ~lowest
        ready = Signal()
        m.d.comb += take.eq(chosen_valid & single & (~active | ready))
        with m.If(take):
            m.d.sync += [
                active.eq(1),
                word.eq(front.word),
                fired.eq(select(front.fired, group)),
                single.eq((front.single & chosen).any()),
            ]
            if value_width:
                m.d.sync += values.eq(select(front.value, value_width * group))
        with m.Elif(issue):
            m.d.sync += [active.eq(~single), fired.eq(rest), single.eq(_is_single(rest))]

        # The route memory, and what belongs to the neuron whose route is read.
        m.submodules.routes = routes = LoadedMemory(p.memories["routes"])
        wiring.connect(m, wiring.flipped(self.load), routes.load)
        item = data.StructLayout({"value": Shape(value_width, signed=value_width > 0)})
        stages = [Signal(item, name=f"item_{place}") for place in range(2)]
        valid = [Signal(name=f"valid_{place}") for place in range(2)]
        free = Signal()
        lane = Cat(_lowest_place(fired), number if groups > 1 else Cat())[:lane_bits]
        m.d.comb += [
            routes.output_enable.eq(~valid[1] | free),
            ready.eq(~valid[0] | ~valid[1] | free),
            routes.enable.eq(ready),
            routes.address.eq(Cat(lane, word)),
            issue.eq(active & ready),
        ]
        with m.If(routes.enable):
            m.d.sync += valid[0].eq(active)
            if value_width:
                found = (values.word_select(place, value_width) for place in range(group))
                m.d.sync += stages[0].value.eq(
                    _or(value & lowest[place].replicate(value_width) for place, value in enumerate(found))
                )
        with m.If(routes.output_enable):
            m.d.sync += [valid[1].eq(valid[0]), stages[1].eq(stages[0])]
            if p.value_width:
                m.d.sync += stages[1].value.eq(shifted_value(self.rule, stages[0].value))

        # The skid buffer: `out` is what is offered, `spare` what came although `out` was not taken.
        # In a graded core the value has its final width here.
        final_width = p.v_width if value_width else 0
        layout = data.StructLayout(
            {
                "value": Shape(final_width, signed=final_width > 0),
                "route": struct_layout(p.route_layout),
            }
        )
        came = Signal(layout)
        out, spare = Signal(layout), Signal(layout)
        out_valid, spare_valid = Signal(), Signal()
        done = self.done
        value = stages[1].value
        if p.value_width:
            value = spike_value(p, self.rule, value)
        m.d.comb += [
            came.value.eq(value),
            came.route.eq(routes.data),
            free.eq(~spare_valid),
        ]
        following, follows = data.View(layout, Mux(spare_valid, spare, came)), spare_valid | valid[1]
        with m.If(~spare_valid):
            m.d.sync += spare.eq(came)
        with m.If(done | ~out_valid):
            m.d.sync += [out.eq(following), out_valid.eq(follows), spare_valid.eq(0)]
        with m.Elif(~spare_valid):
            m.d.sync += spare_valid.eq(valid[1])

        # Both destinations must take it; each may do so in its own time. What is still to be taken is in registers,
        # because the core chooses by it what it reads next.
        packet_waits, local_waits = Signal(), Signal()
        m.d.comb += [
            self.packets.valid.eq(packet_waits),
            self.packets.payload.axon.eq(out.route.axon),
            self.packets.payload.value.eq(1),
            self.local.valid.eq(local_waits),
            self.local.payload.axon.eq(out.route.axon),
            self.local.payload.value.eq(out.value),
            done.eq(out_valid & ~(packet_waits & ~self.packets.ready) & ~(local_waits & ~self.local.ready)),
            self.busy.eq(pushing | waiting | reading | front_valid | active | Cat(valid).any() | out_valid),
        ]
        if p.readout:
            m.d.comb += self.packets.payload.membrane.eq(out.route.membrane)
        if p.value_width:
            m.d.comb += self.packets.payload.value.eq(out.value)
        elif p.readout:
            m.d.comb += self.packets.payload.value.eq(Mux(out.route.membrane, out.value, 1))
        with m.If(done | ~out_valid):
            m.d.sync += [
                packet_waits.eq(follows & following.route.send),
                local_waits.eq(follows & following.route.local),
            ]
        with m.Else():
            m.d.sync += [
                packet_waits.eq(packet_waits & ~self.packets.ready),
                local_waits.eq(local_waits & ~self.local.ready),
            ]
        return m


def _or(values: Iterable[Value]) -> Value:
    """All of them, bit by bit."""
    result: Value | None = None
    for value in values:
        result = value if result is None else result | value
    assert result is not None
    return result
