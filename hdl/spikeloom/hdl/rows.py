"""Events to weight words: each event reads a row, and each row gives one memory word of weights a cycle.

events ─▶ row memory ──▶ sequencer ──▶ word
              ▲              │ more
              └── again ◀────┘
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

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
        Events to add. Accepted whenever the row fetch is free; nothing but rows still being read delays that.
    last
        The step in progress is the last of its sample: rows with delay 1 are dropped.
    busy
        For each parity, whether rows of events of such a step are still being read, ``word`` included.
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

        # Fetch: a row that continues another has priority; it enters in the cycle in which its predecessor leaves, so
        # the one register for it never overflows.
        fetched, fetched_parity = Signal(), Signal()
        fetched_row = Signal(rows.address.shape())
        again, again_parity = Signal(), Signal()
        again_row = Signal(rows.address.shape())
        take = Signal()  # the sequencer takes the fetched row
        accept = Signal()  # a row may be fetched
        m.d.comb += [
            accept.eq(~fetched | take),
            self.events.ready.eq(accept & ~again),
            rows.address.eq(Mux(again, again_row, self.events.payload.row)),
            rows.enable.eq(accept),
        ]
        with m.If(accept):
            m.d.sync += [
                fetched.eq(again | self.events.valid),
                fetched_row.eq(rows.address),
                fetched_parity.eq(Mux(again, again_parity, self.events.payload.parity)),
                again.eq(0),
            ]
        row = data.View(struct_layout(p.row_layout), rows.data)
        with m.If(take & row.more):
            m.d.sync += [again.eq(1), again_row.eq(fetched_row + 1), again_parity.eq(fetched_parity)]

        # Sequencer: one word of the row a cycle.
        word = self.word
        remaining = Signal(row.length.shape())
        m.d.comb += take.eq(fetched & (~word.valid | (remaining == 0)))
        with m.If(take):
            m.d.sync += [
                word.valid.eq(~(row.delay & self.last)),
                word.parity.eq(fetched_parity),
                word.bank.eq(fetched_parity ^ row.delay),
                word.weight_address.eq(row.weight_address),
                word.target.eq(row.target),
                remaining.eq(row.length),
            ]
        with m.Elif(word.valid):
            m.d.sync += [
                word.valid.eq(remaining != 0),
                word.weight_address.eq(word.weight_address + 1),
                word.target.eq(word.target + 1),
                remaining.eq(remaining - 1),
            ]

        pipeline = [(again, again_parity), (fetched, fetched_parity), (word.valid, word.parity)]
        m.d.comb += [
            self.busy[number].eq(Cat(valid & (of == number) for valid, of in pipeline).any()) for number in range(2)
        ]
        return m
