"""Spike emission: words of fired neurons become packets for other tiles and events for the core, one per cycle.

::

    push ─▶ queue ─▶ group of 8 lanes ─▶ lane ─▶ route memory ─▶ skid buffer ─┬─▶ packets
                                                                              └─▶ local

The queue holds every word that a population can fire, so the sweep never stalls. The emitter may be stalled by the
packet output for any time: only the sweep of the next population depends on it.

Each memory is read in two stages, the array and its output register, and each stage holds its contents while the next
one is busy. The skid buffer ends this chain: it keeps one free entry after it has signalled full, so no combinational
path leads from the ready inputs back into the pipeline.

In a core with graded spikes the value of a spike is computed in the last two stages (`spikeloom.hdl.core.graded`).
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
"""Width of the priority encoder: lanes searched for a spike in one cycle."""


def _lowest(bits: Value) -> Value:
    """Isolate the lowest set bit, hierarchically in blocks of four.

    A flat expression, in which each bit looks at all lower ones, is mapped to one long chain of LUTs.
    """
    if len(bits) <= 4:
        return Cat(bit & ~bits[:place].any() for place, bit in enumerate(bits))
    blocks = [bits[first : first + 4] for first in range(0, len(bits), 4)]
    chosen = _lowest(Cat(block.any() for block in blocks))
    return Cat(_lowest(block) & here.replicate(len(block)) for block, here in zip(blocks, chosen, strict=True))


def _is_single(bits: Value) -> Value:
    """Whether at most one bit is set."""

    # A balanced tree: the depth grows with the logarithm of the width.
    def some_and_more(part: Value) -> tuple[Value, Value]:
        if len(part) == 1:
            return part, Const(0)
        (low, low_more), (high, high_more) = map(some_and_more, (part[: len(part) // 2], part[len(part) // 2 :]))
        return low | high, low_more | high_more | (low & high)

    return ~some_and_more(bits)[1]


def _number(one_hot: Value) -> Value:
    """The position of the only set bit."""
    places = range((len(one_hot) - 1).bit_length())
    return Cat(Cat(bit for place, bit in enumerate(one_hot) if place >> digit & 1).any() for digit in places)


def _lowest_place(bits: Value) -> Value:
    """The position of the lowest set bit, if any: `_number` of `_lowest`, with fewer levels of logic."""
    if len(bits) == 1:
        return Cat()
    # The lower half has a power of two of bits, so the position in either half is also the low part of the result.
    half = 1 << (len(bits) - 1).bit_length() - 1
    low, high = bits[:half], bits[half:]
    return Cat(Mux(low.any(), _lowest_place(low), _lowest_place(high)), ~low.any())


class SpikeEmitter(wiring.Component):
    """Sends each fired neuron to the destinations of its route.

    Parameters
    ----------
    parameters
        Sizes and features of the core.

    Members
    -------
    restart : Signal, in
        Rewind the empty queue, before the first word of a population is pushed.
    push : Signal, in
    word : Signal(bits_for(words)), in
    fired : Signal(lanes), in
    value : ArrayLayout(signed(sent_width), lanes), in
        A word of fired neurons with the values that they send (`NeuronSweep`). Always accepted: a population fires
        each word at most once, so the queue cannot overflow.
    rule : population_layout, in
        Parameters of the population, which define the values in a core with graded spikes.
    packets : Stream(membrane, axon, value), out
        Packets for other tiles: the neuron's axon with its membrane (if the route reads it out) or the value of its
        spike, which is 1 unless graded.
    local : Stream(axon, value), out
        Events for the core itself: an axon and, in a core with graded spikes, the value of the spike.
    busy : Signal, out
        Some spikes are still to be sent.
    done : Signal, out
        High for one cycle when a neuron has been sent to all of its destinations.
    load : LoadPort, in
        Write port of the route memory for the host.
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
                "load": In(LoadPort(read_back=parameters.read_back)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        value_width = p.sent_width if p.readout or p.value_width else 0
        lane_bits = (p.lanes - 1).bit_length()
        groups, group = -(-p.lanes // GROUP), min(p.lanes, GROUP)

        # The queue. It is rewound for each population, so a linear buffer suffices and no pointer wraps. The groups
        # with spikes, and whether they have just one, are computed before the queue, off the path of the encoder.
        entry = data.StructLayout(
            {
                "word": self.word.shape(),
                "groups": groups,
                "single": groups,
                "fired": data.ArrayLayout(group, groups),
                "value": data.ArrayLayout(value_width * group, groups),
            }
        )
        # LUT RAM reads asynchronously; registers behind it take the place of those inside a block RAM.
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
        # Wide enough for the number of words itself: when every word has fired, `written` must differ from `read`.
        count = bits_for(p.words + 1)
        written, read = Signal(count), Signal(count)
        # Valid bits of the three places of a word: in the queue, in the array's read stage, in the output register.
        waiting, reading, front_valid = Signal(), Signal(), Signal()
        enable, output_enable = Signal(), Signal()
        front_done = Signal()
        m.d.comb += [
            waiting.eq(written != read),
            queue.write_enable.eq(pushing),
            queue.write_address.eq(written),
            queue.write_data.eq(pushed),
            queue.address.eq(read),
            output_enable.eq(~front_valid | front_done),
            # With several groups a word stays in front for at least two cycles, so the next one is read in time without
            # a path from `output_enable` to the memory's enable.
            enable.eq(~reading if groups > 1 else ~reading | output_enable),
        ]
        # The engine starts a sweep only when the emitter has drained, so rewinding loses nothing.
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
            # A block RAM needs its clock enable for the output register as well; the word read then is not used.
            m.d.comb += [queue.enable.eq(enable | output_enable), queue.output_enable.eq(output_enable)]
            front = data.View(entry, queue.data)
        else:
            # The valid bits are reset, the data need not be.
            held, front = Signal(entry, reset_less=True), Signal(entry, reset_less=True)
            with m.If(enable):
                m.d.sync += held.eq(queue.data)
            with m.If(output_enable):
                m.d.sync += front.eq(held)

        # The groups of the front word with spikes, in ascending order. `chosen` is the lowest remaining group and
        # `others` are the groups after it; both are computed one cycle before use.
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

        # The lanes of a group that have fired, the lowest first. `single` is set if there is at most one, and thus also
        # if there is none. The decision to take a group is only two LUTs away from the state of the skid buffer.
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

        # The route memory; `stages` carries the value of the neuron alongside the two read stages.
        m.submodules.routes = routes = LoadedMemory(p.memories["routes"], read_back=p.read_back)
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

        # The skid buffer: `out` is the entry offered, `spare` the one that arrived while `out` was stalled.
        # In a graded core the value has its final width from here on.
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
        # Loaded whenever it is free, valid or not: this keeps `valid[1]` and the ready inputs off its clock enable.
        with m.If(~spare_valid):
            m.d.sync += spare.eq(came)
        with m.If(done | ~out_valid):
            m.d.sync += [out.eq(following), out_valid.eq(follows), spare_valid.eq(0)]
        with m.Elif(~spare_valid):
            m.d.sync += spare_valid.eq(valid[1])

        # An entry is done when both destinations have accepted it, in either order. The pending bits are registers
        # because they drive `valid`, by which the engine arbitrates between local events and input packets.
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
    """Bitwise OR of all values."""
    result: Value | None = None
    for value in values:
        result = value if result is None else result | value
    assert result is not None
    return result
