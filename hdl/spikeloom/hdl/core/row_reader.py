"""Events to weight words: each event selects a row, and each row yields one memory word of weights per cycle.

::

    events ─┬─▶ row memory ─▶ sequencer ──▶ word
            └── again ◀──────────┘ more

In a core that adds several words per cycle, ``word`` is the first of a group of consecutive words.

The row memory is read in two stages, the array and its output register. Both hold their contents while the sequencer
is busy, so waiting rows need no queue. A row with a continuation re-enters the pipeline with the next row number when
it is taken; rows of other events proceed meanwhile.

Rows with coordinates use a separate sequencer (`spikeloom.hdl.core.geometry`), as do rows whose weights are streamed
from elsewhere (`spikeloom.hdl.core.stream_sequencer`). Where both kinds of weights exist, `MixedSequencer`
(`spikeloom.hdl.core.mixed_sequencer`) keeps the rows in order. In a core with sparse rows, the words also pass the
memory of their targets (`spikeloom.hdl.core.words`).
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.core.geometry import GeometrySequencer
from spikeloom.hdl.core.graded import value_shape
from spikeloom.hdl.core.mixed_sequencer import MixedSequencer
from spikeloom.hdl.core.stream_sequencer import StreamSequencer, weight_request_layout
from spikeloom.hdl.core.words import TargetReader, word_layout
from spikeloom.hdl.lib.memory import LoadedMemory, LoadFan, LoadPort
from spikeloom.hdl.lib.words import struct_layout
from spikeloom.hdl.tech.ecp5_carry import Operand, add
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.words import bits_for

__all__ = ["RowReader", "event_layout"]


def event_layout(parameters: CoreParameters) -> data.StructLayout:
    """An event: its axon (a row number with optional coordinates), the parity of its step, and its value.

    In a core without graded spikes the value has zero bits, and each event counts as 1. On a mesh ``parity`` belongs to
    the step of the core that waits for the event; ``other`` marks an event that was sent in a step of the opposite
    parity. ``last`` marks the last step of a sample, in which rows with delay 1 are dropped.
    """
    return data.StructLayout(
        {
            "axon": parameters.event_width,
            "parity": 1,
            "other": int(parameters.destinations > 0),
            "last": 1,
            "value": value_shape(parameters),
        }
    )


class RowReader(wiring.Component):
    """Reads the rows of events and produces their words.

    Parameters
    ----------
    parameters
        Sizes and features of the core. Streamed weights leave with their words.

    Members
    -------
    events : Stream(event_layout(parameters)), in
        Events to add. They wait for earlier rows only.
    busy : Signal(2), out
        One bit per parity: rows of a step with this parity are in progress, ``word`` included.
    word : word_layout(parameters), out
        The word of this cycle, which must be accepted.
    load : LoadPort, in
        Write port of the memories for the host.
    requests : Stream(weight_request_layout(parameters)), out
    weights : Stream(lanes * weight_width), in
        If weights are streamed: requests for weight words, and the words in the same order.
    """

    def __init__(self, parameters: CoreParameters) -> None:
        self.parameters = parameters
        ways = {
            "requests": Out(stream.Signature(weight_request_layout(parameters))),
            "weights": In(stream.Signature(parameters.lanes * parameters.weight_width)),
        }
        super().__init__(
            {
                "events": In(stream.Signature(event_layout(parameters))),
                "busy": Out(2),
                "word": Out(word_layout(parameters)),
                "load": In(LoadPort(read_back=parameters.read_back)),
                **(ways if parameters.streamed else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        coordinates = 2 * p.coordinate_width
        m.submodules.rows = rows = LoadedMemory(p.memories["rows"], read_back=p.read_back)
        loads = LoadFan(m, self.load)
        loads.connect(rows.load)

        # Fetch: `reading` is the row in the read stage of the memory, `fetched` the row in its output register. A
        # continuation in `again` has priority over new events: `again` holds only one row and must be free when the
        # next row with a continuation is taken.
        stage = data.StructLayout({"valid": 1, **dict(event_layout(p).members)})
        again, reading, fetched = (Signal(stage, name=name) for name in ("again", "reading", "fetched"))
        first = Signal(stage)
        take = Signal()  # the sequencer takes the fetched row
        m.d.comb += [
            first.valid.eq(again.valid | self.events.valid),
            first.parity.eq(Mux(again.valid, again.parity, self.events.payload.parity)),
            first.other.eq(Mux(again.valid, again.other, self.events.payload.other)),
            first.last.eq(Mux(again.valid, again.last, self.events.payload.last)),
            first.axon.eq(Mux(again.valid, again.axon, self.events.payload.axon)),
            first.value.eq(Mux(again.valid, again.value, self.events.payload.value)),
            # A stage advances when it is empty or when the next one advances.
            rows.output_enable.eq(~fetched.valid | take),
            rows.enable.eq(~reading.valid | rows.output_enable),
            rows.address.eq(first.axon[coordinates:]),
            self.events.ready.eq(rows.enable & ~again.valid),
        ]
        row = data.View(struct_layout(p.row_layout), rows.data)
        # `again` is consumed together with the read of its row. If a row with a continuation is taken in the same
        # cycle, the assignment below overrides this one.
        with m.If(rows.enable):
            m.d.sync += [reading.eq(first), again.valid.eq(0)]
        with m.If(rows.output_enable):
            m.d.sync += fetched.eq(reading)
        with m.If(take):
            m.d.sync += [
                again.valid.eq(row.more),
                again.parity.eq(fetched.parity),
                again.other.eq(fetched.other),
                again.last.eq(fetched.last),
                again.value.eq(fetched.value),
                # A continuation is the following row, read with the coordinates of the same event.
                again.axon.eq(Cat(fetched.axon[:coordinates], fetched.axon[coordinates:] + 1)),
            ]

        word, sparse = Signal(word_layout(p)), Signal()
        busy = [Cat(s.valid & (s.parity == number) for s in (again, reading, fetched)).any() for number in range(2)]
        if p.mixed:
            busy = self._sequence_both(m, platform, loads, fetched, row, take, word, sparse, busy)
        elif p.coordinate_width:
            m.submodules.sequencer = sequencer = GeometrySequencer(p)
            loads.connect(sequencer.load)
            given = sequencer.i.payload
            m.d.comb += [
                sequencer.i.valid.eq(fetched.valid),
                take.eq(fetched.valid & sequencer.i.ready),
                given.row.eq(row),
                Cat(given.x, given.y).eq(fetched.axon),
                given.parity.eq(fetched.parity),
                given.value.eq(fetched.value),
                given.other.eq(fetched.other),
                given.last.eq(fetched.last),
                word.eq(sequencer.word),
                sparse.eq(sequencer.sparse),
            ]
            busy = [here | there for here, there in zip(busy, sequencer.busy, strict=True)]
        elif p.streamed:
            m.submodules.sequencer = streaming = StreamSequencer(p)
            wiring.connect(m, streaming.requests, wiring.flipped(self.requests))
            wiring.connect(m, wiring.flipped(self.weights), streaming.weights)
            offered = streaming.i.payload
            m.d.comb += [
                streaming.i.valid.eq(fetched.valid),
                take.eq(fetched.valid & streaming.i.ready),
                offered.row.eq(row),
                offered.parity.eq(fetched.parity),
                offered.other.eq(fetched.other),
                offered.last.eq(fetched.last),
                offered.value.eq(fetched.value),
                word.eq(streaming.word),
            ]
            busy = [here | there for here, there in zip(busy, streaming.busy, strict=True)]
        else:
            self._sequence(m, platform, fetched, row, take, word, sparse)
            busy = [here | (word.valid & (word.parity == number)) for number, here in enumerate(busy)]
        if p.sparse:
            m.submodules.targets = targets = TargetReader(p)
            loads.connect(targets.load)
            m.d.comb += [targets.word.eq(word), targets.sparse.eq(sparse), self.word.eq(targets.listed)]
            busy = [here | there for here, there in zip(busy, targets.busy, strict=True)]
        else:
            m.d.comb += self.word.eq(word)
        m.d.comb += self.busy.eq(Cat(busy))
        loads.finish()
        return m

    def _sequence_both(
        self,
        m: Module,
        platform: object,
        loads: LoadFan,
        fetched: data.View,
        row: data.View,
        take: Signal,
        word: data.View,
        sparse: Signal,
        busy: list[Value],
    ) -> list[Value]:
        """Sequence streamed rows, and the others by the sequencer that a core without an SDRAM has; return ``busy``
        with the rows of both."""
        p = self.parameters
        m.submodules.mixed = mixed = MixedSequencer(p)
        wiring.connect(m, mixed.requests, wiring.flipped(self.requests))
        wiring.connect(m, wiring.flipped(self.weights), mixed.weights)
        given = mixed.i.payload
        m.d.comb += [
            mixed.i.valid.eq(fetched.valid),
            take.eq(fetched.valid & mixed.i.ready),
            given.row.eq(row),
            Cat(given.x, given.y).eq(fetched.axon),
            *(getattr(given, name).eq(getattr(fetched, name)) for name in ("parity", "other", "last", "value")),
        ]
        near, is_sparse = Signal(word_layout(p), name="near"), Signal()  # a word with its weights in block RAM
        if p.coordinate_width:
            m.submodules.sequencer = sequencer = GeometrySequencer(p)
            loads.connect(sequencer.load)
            wiring.connect(m, mixed.rows, sequencer.i)
            m.d.comb += [near.eq(sequencer.word), is_sparse.eq(sequencer.sparse)]
            near_busy = [sequencer.busy[number] for number in range(2)]
        else:
            offered, taken = mixed.rows.payload, Signal()
            stage = Signal(data.StructLayout({"valid": 1, **dict(event_layout(p).members)}), name="handed")
            m.d.comb += [
                stage.valid.eq(mixed.rows.valid),
                *(getattr(stage, name).eq(getattr(offered, name)) for name in ("parity", "other", "last", "value")),
                mixed.rows.ready.eq(taken),
            ]
            self._sequence(m, platform, stage, offered.row, taken, near, is_sparse)
            near_busy = [near.valid & (near.parity == number) for number in range(2)]
        m.d.comb += [mixed.rows_busy.eq(Cat(near_busy).any()), word.eq(near), sparse.eq(is_sparse)]
        with m.If(mixed.word.valid):
            m.d.comb += [word.eq(mixed.word), sparse.eq(0)]
        return [here | near | there for here, near, there in zip(busy, near_busy, mixed.busy, strict=True)]

    def _sequence(
        self,
        m: Module,
        platform: object,
        fetched: data.View,
        row: data.View,
        take: Signal,
        word: data.View,
        sparse: Signal,
    ) -> None:
        """Sequence a row without coordinates, one word per cycle.

        `remaining` is the number of words after the current one, minus one, so its sign bit marks the last word. The
        counters run freely while no word is valid. An empty row is taken while another row is still in progress.
        """
        p = self.parameters
        sequenced = word
        group_bits = p.words_per_cycle.bit_length() - 1
        if group_bits:  # its `others` are not a register like the rest
            word = Signal(word_layout(p), name="sequenced")
        remaining = Signal(bits_for(p.words) + 1, init=-1)
        begin = Signal()
        free = ~word.valid | remaining[-1]
        if p.sparse:
            m.d.comb += [take.eq(fetched.valid & (free | row.empty)), begin.eq(take & ~row.empty)]
            with m.If(begin):
                m.d.sync += sparse.eq(row.sparse)
        else:
            m.d.comb += [take.eq(fetched.valid & free), begin.eq(take)]
        groups = Cat(row.length, 0)
        # The address of a streamed row may be longer.
        address = row.weight_address[: len(word.weight_address)] if p.mixed else row.weight_address
        counters = [(word.weight_address, address), (word.target, row.target)]
        if group_bits:
            groups = self._group(m, sequenced, word, row, begin, remaining[-1])
            counters = []
        for counter, start in counters:
            # Written as a sum of 0 and a chosen value, so that load and increment share one carry cell per bit on ECP5.
            zeros = Signal(len(counter))
            m.d.sync += counter.eq(add(m, platform, zeros, Operand.CHOOSE, begin, start, counter, carry=~begin))
        ones = Signal(len(remaining), init=-1)
        m.d.sync += remaining.eq(add(m, platform, ones, Operand.CHOOSE, begin, groups[: len(remaining)], remaining))
        with m.If(begin):
            m.d.sync += [
                # A delayed row adds to the next step, which does not exist after the last step of a sample.
                word.valid.eq(~(row.delay & fetched.last)),
                word.parity.eq(fetched.parity),
                # `parity ^ other` is the parity of the step in which the event was sent; a row with delay adds to the
                # step after it.
                word.bank.eq(fetched.parity ^ fetched.other ^ row.delay),
                word.value.eq(fetched.value),
            ]
        with m.Elif(remaining[-1]):
            m.d.sync += word.valid.eq(0)

    def _group(
        self, m: Module, sequenced: data.View, word: data.View, row: data.View, begin: Value, is_last: Value
    ) -> Value:
        """Drive the addresses of ``word`` in steps of a group, and ``sequenced``, which is ``word`` with ``others``.

        Return the number of groups of ``row`` minus one, with a zero above it. Each word of a sparse row is a group.
        """
        p = self.parameters
        group_bits = p.words_per_cycle.bit_length() - 1
        sparse = row.sparse if p.sparse else Const(0)
        # Words that follow the first one: in the last group of the row, and in those before it.
        rest, full = Signal(group_bits), Signal(group_bits)
        with m.If(begin):
            m.d.sync += [
                rest.eq(Mux(sparse, 0, row.length[:group_bits])),
                full.eq(Mux(sparse, 0, p.words_per_cycle - 1)),
            ]
        for counter, start in ((word.weight_address, row.weight_address), (word.target, row.target)):
            m.d.sync += counter.eq(Mux(begin, start, counter + full + 1))
        m.d.comb += [sequenced.eq(word), sequenced.others.eq(Mux(is_last, rest, full))]
        return Cat(Mux(sparse, row.length, row.length >> group_bits), 0)
