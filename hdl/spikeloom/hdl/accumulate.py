"""Events to sums: each event adds a row of weights to the accumulators, one memory word of ``lanes`` weights a cycle.

    event ──▶ row memory ──▶ sequencer ──▶ weight memory ─┬─▶ add ──▶ sum ──▶ bank 0 / bank 1
                  ▲              │ more                   │    ▲       │          │
                  └── again ◀────┘                        │    └─ forward ◀── read┘

There are two accumulator banks, one for each parity of the step, so that the input of the next step is added while the
neurons of this one are updated. Sums are exact: placement proves that no accumulator can overflow.

Two words for the same accumulators can follow each other at once. A sum needs two cycles until the bank returns it, so
the two sums on their way are forwarded to the adder.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.memory import LoadedMemory, LoadPort, block_memory, registered_read, struct_layout
from spikeloom.sim.core import CoreParameters
from spikeloom.sim.words import bits_for

__all__ = ["Accumulator", "event_layout"]


def event_layout(parameters: CoreParameters) -> data.StructLayout:
    """An event: the address of its first row and the parity of its step."""
    return data.StructLayout({"row": bits_for(parameters.axons), "parity": 1})


class Accumulator(wiring.Component):
    """The event engine of a LIF core.

    Members
    -------
    events
        Events to add. Accepted whenever the row fetch is free; nothing but rows still being added delays that.
    last
        The step in progress is the last of its sample: rows with delay 1 are dropped.
    busy
        For each parity, whether events of such a step are still being added.
    sweep, bank, address, current
        While ``sweep`` is high, the neuron sweep reads ``current`` (``lanes`` sums) of ``address`` in ``bank``, a cycle
        later. Meanwhile no event may be added to that bank; events for the other go on.
    clear, clear_address
        For each bank, set ``clear_address`` to zero.
    word_added
        High for each word of weights that is added.
    """

    def __init__(self, parameters: CoreParameters) -> None:
        self.parameters = parameters
        width = parameters.accumulator_width * parameters.lanes
        self.banks = [block_memory(width, parameters.words) for _ in range(2)]
        word = bits_for(parameters.words)
        super().__init__(
            {
                "events": In(stream.Signature(event_layout(parameters))),
                "last": In(1),
                "busy": Out(2),
                "sweep": In(1),
                "bank": In(1),
                "address": In(word),
                "current": Out(data.ArrayLayout(signed(parameters.accumulator_width), parameters.lanes)),
                "clear": In(2),
                "clear_address": In(word),
                "word_added": Out(1),
                "load": In(LoadPort()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        sums = data.ArrayLayout(signed(p.accumulator_width), p.lanes)
        m.submodules.rows = rows = LoadedMemory(p.memories["rows"])
        m.submodules.weights = weights = LoadedMemory(p.memories["weights"])
        for memory in (rows, weights):
            wiring.connect(m, wiring.flipped(self.load), memory.load)

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
        active, parity, bank = Signal(), Signal(), Signal()
        weight_address = Signal(weights.address.shape())
        target = Signal(self.address.shape())
        remaining = Signal(row.length.shape())
        m.d.comb += take.eq(fetched & (~active | (remaining == 0)))
        with m.If(take):
            m.d.sync += [
                active.eq(~(row.delay & self.last)),
                parity.eq(fetched_parity),
                bank.eq(fetched_parity ^ row.delay),
                weight_address.eq(row.weight_address),
                target.eq(row.target),
                remaining.eq(row.length),
            ]
        with m.Elif(active):
            m.d.sync += [
                active.eq(remaining != 0),
                weight_address.eq(weight_address + 1),
                target.eq(target + 1),
                remaining.eq(remaining - 1),
            ]
        m.d.comb += [weights.address.eq(weight_address), weights.enable.eq(active), self.word_added.eq(active)]

        # Add: `adding` is the word whose weights and old sum come out of the memories, `sum_` the one being written,
        # `written` the one before that, which the banks' read ports did not see yet.
        word_layout = data.StructLayout({"valid": 1, "parity": 1, "bank": 1, "target": target.shape()})
        adding, sum_, written = Signal(word_layout), Signal(word_layout), Signal(word_layout)
        sum_value, written_value = Signal(sums), Signal(sums)
        m.d.sync += [
            adding.valid.eq(active),
            adding.parity.eq(parity),
            adding.bank.eq(bank),
            adding.target.eq(target),
            sum_.eq(adding),
            written.eq(sum_),
            written_value.eq(sum_value),
        ]
        banks = []
        for number, memory in enumerate(self.banks):
            m.submodules[f"bank{number}"] = memory
            write = memory.write_port()
            banks.append(registered_read(m, memory, Mux(self.sweep & (self.bank == number), self.address, target)))
            m.d.comb += [
                write.en.eq(self.clear[number] | (sum_.valid & (sum_.bank == number))),
                write.addr.eq(Mux(self.clear[number], self.clear_address, sum_.target)),
                write.data.eq(Mux(self.clear[number], 0, sum_value.as_value())),
            ]
        m.d.comb += self.current.eq(Mux(self.bank, banks[1], banks[0]))

        def is_same(other: data.View) -> Value:
            return other.valid & (other.bank == adding.bank) & (other.target == adding.target)

        old = Signal(sums)
        with m.If(is_same(sum_)):
            m.d.comb += old.eq(sum_value)
        with m.Elif(is_same(written)):
            m.d.comb += old.eq(written_value)
        with m.Else():
            m.d.comb += old.eq(Mux(adding.bank, banks[1], banks[0]))
        weight = data.View(data.ArrayLayout(signed(p.weight_width), p.lanes), weights.data)
        m.d.sync += [sum_value[lane].eq(old[lane] + weight[lane]) for lane in range(p.lanes)]

        pipeline = [(again, again_parity), (fetched, fetched_parity), (active, parity)]
        pipeline += [(stage.valid, stage.parity) for stage in (adding, sum_)]
        m.d.comb += [
            self.busy[number].eq(Cat(valid & (of == number) for valid, of in pipeline).any()) for number in range(2)
        ]
        return m
