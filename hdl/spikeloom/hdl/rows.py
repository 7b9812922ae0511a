"""Events to weight words: each event reads a row, and each row gives one memory word of weights a cycle.

    events ─┬─▶ row memory ─▶ sequencer ──▶ word
            └── again ◀──────────┘ more

The row memory is read in two steps, its own and that of its output register, and both hold what they have while the
sequencer is busy: so the rows that wait need no queue. A row that is continued by the next one is sent back to the
memory when it is taken; meanwhile rows of other events go on.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.ecp5 import Operand, add
from spikeloom.hdl.memory import LoadedMemory, LoadPort, struct_layout
from spikeloom.sim.core import CoreParameters
from spikeloom.sim.words import bits_for

__all__ = ["RowReader", "event_layout", "word_layout"]


def event_layout(parameters: CoreParameters) -> data.StructLayout:
    """An event: the address of its first row and the parity of its step."""
    return data.StructLayout({"row": bits_for(parameters.axons), "parity": 1})


def word_layout(parameters: CoreParameters) -> data.StructLayout:
    """A word of weights to be added: where it is, to which accumulators, and the parity of its event's step."""
    return data.StructLayout(
        {
            "valid": 1,
            "weight_address": bits_for(parameters.weight_words),
            "target": bits_for(parameters.words),
            "bank": 1,
            "parity": 1,
        }
    )


class RowReader(wiring.Component):
    """Reads the rows of events.

    Members
    -------
    events
        Events to add. Nothing but rows that are still to be given delays that.
    last
        The step in progress is the last of its sample: rows with delay 1 are dropped.
    busy
        For each parity, whether rows of events of such a step are still to be given, ``word`` included.
    word
        The word of this cycle. It is never refused.
    """

    def __init__(self, parameters: CoreParameters) -> None:
        self.parameters = parameters
        super().__init__(
            {
                "events": In(stream.Signature(event_layout(parameters))),
                "last": In(1),
                "busy": Out(2),
                "word": Out(word_layout(parameters)),
                "load": In(LoadPort()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        m.submodules.rows = rows = LoadedMemory(p.memories["rows"])
        wiring.connect(m, wiring.flipped(self.load), rows.load)

        # Fetch: `reading` is the row that the memory has read, `fetched` the one in its output register. A row that
        # continues another has priority. It goes in when its predecessor's place moves on, and so must leave `again`
        # by the time the next one comes.
        stage = data.StructLayout({"valid": 1, "parity": 1, "row": bits_for(p.axons)})
        again, reading, fetched = (Signal(stage, name=name) for name in ("again", "reading", "fetched"))
        first = Signal(stage)
        take = Signal()  # the sequencer takes the fetched row
        m.d.comb += [
            first.valid.eq(again.valid | self.events.valid),
            first.parity.eq(Mux(again.valid, again.parity, self.events.payload.parity)),
            first.row.eq(Mux(again.valid, again.row, self.events.payload.row)),
            rows.output_enable.eq(~fetched.valid | take),
            rows.enable.eq(~reading.valid | rows.output_enable),
            rows.address.eq(first.row),
            self.events.ready.eq(rows.enable & ~again.valid),
        ]
        row = data.View(struct_layout(p.row_layout), rows.data)
        with m.If(rows.enable):
            m.d.sync += [reading.eq(first), again.valid.eq(0)]
        with m.If(rows.output_enable):
            m.d.sync += fetched.eq(reading)
        with m.If(take):
            m.d.sync += [
                again.valid.eq(row.more),
                again.parity.eq(fetched.parity),
                again.row.eq(fetched.row + 1),
            ]

        # Sequencer: one word of the row a cycle. `remaining` counts the words after this one, less one, so that its
        # sign says that this one is the last. While no word is there the counters may run.
        word = self.word
        remaining = Signal(bits_for(p.words) + 1, init=-1)
        m.d.comb += take.eq(fetched.valid & (~word.valid | remaining[-1]))
        for counter, start in ((word.weight_address, row.weight_address), (word.target, row.target)):
            zeros = Signal(len(counter))
            m.d.sync += counter.eq(add(m, platform, zeros, Operand.CHOOSE, take, start, counter, carry=~take))
        ones = Signal(len(remaining), init=-1)
        m.d.sync += remaining.eq(
            add(m, platform, ones, Operand.CHOOSE, take, Cat(row.length, 0)[: len(remaining)], remaining)
        )
        with m.If(take):
            m.d.sync += [
                word.valid.eq(~(row.delay & self.last)),
                word.parity.eq(fetched.parity),
                word.bank.eq(fetched.parity ^ row.delay),
            ]
        with m.Elif(remaining[-1]):
            m.d.sync += word.valid.eq(0)

        m.d.comb += [
            self.busy[number].eq(
                Cat(stage.valid & (stage.parity == number) for stage in (again, reading, fetched, word)).any()
            )
            for number in range(2)
        ]
        return m
