"""Words of weights to sums: each word of ``lanes`` weights is added to the accumulators in one cycle.

    word ──▶ weight memory ─┬─▶ add ──▶ sum ──▶ bank 0 / bank 1
                            │    ▲       │          │
                            │    └─ forward ◀── read┘

There are two accumulator banks, one for each parity of the step, so that the input of the next step is added while the
neurons of this one are updated. Sums are exact: placement proves that no accumulator can overflow.

Two words for the same accumulators can follow each other at once. A sum needs two cycles until the bank returns it, so
the two sums on their way are forwarded to the adder.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.memory import LoadedMemory, LoadPort, block_memory, registered_read
from spikeloom.hdl.rows import word_layout
from spikeloom.sim.core import CoreParameters
from spikeloom.sim.words import bits_for

__all__ = ["Accumulator"]


class Accumulator(wiring.Component):
    """Weights, accumulators and the adders between them.

    Members
    -------
    word
        A word to be added; never refused.
    busy
        For each parity, whether words of events of such a step are still being added.
    sweep, bank, address, current
        While ``sweep`` is high, the neuron sweep reads ``current`` (``lanes`` sums) of ``address`` in ``bank``, a cycle
        later. Meanwhile no event may be added to that bank; events for the other go on.
    clear, clear_address
        For each bank, set ``clear_address`` to zero.
    """

    def __init__(self, parameters: CoreParameters) -> None:
        self.parameters = parameters
        width = parameters.accumulator_width * parameters.lanes
        self.banks = [block_memory(width, parameters.words) for _ in range(2)]
        word = bits_for(parameters.words)
        super().__init__(
            {
                "word": In(word_layout(parameters)),
                "busy": Out(2),
                "sweep": In(1),
                "bank": In(1),
                "address": In(word),
                "current": Out(data.ArrayLayout(signed(parameters.accumulator_width), parameters.lanes)),
                "clear": In(2),
                "clear_address": In(word),
                "load": In(LoadPort()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        sums = data.ArrayLayout(signed(p.accumulator_width), p.lanes)
        m.submodules.weights = weights = LoadedMemory(p.memories["weights"])
        wiring.connect(m, wiring.flipped(self.load), weights.load)
        m.d.comb += [weights.address.eq(self.word.weight_address), weights.enable.eq(self.word.valid)]

        # Add: `adding` is the word whose weights and old sum come out of the memories, `sum_` the one being written,
        # `written` the one before that, which the banks' read ports did not see yet.
        layout = word_layout(p)
        adding, sum_, written = Signal(layout), Signal(layout), Signal(layout)
        sum_value, written_value = Signal(sums), Signal(sums)
        m.d.sync += [
            adding.eq(self.word),
            sum_.eq(adding),
            written.eq(sum_),
            written_value.eq(sum_value),
        ]
        banks = []
        for number, memory in enumerate(self.banks):
            m.submodules[f"bank{number}"] = memory
            write = memory.write_port()
            banks.append(
                registered_read(m, memory, Mux(self.sweep & (self.bank == number), self.address, self.word.target))
            )
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

        m.d.comb += [
            self.busy[number].eq(Cat(stage.valid & (stage.parity == number) for stage in (adding, sum_)).any())
            for number in range(2)
        ]
        return m
