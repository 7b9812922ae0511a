"""Words of weights to sums: each word of ``lanes`` weights is added to the accumulators in one cycle.

    cycle  0            1              2              3         4
           word ─┬─▶ weight memory ────────────────▶ add ─▶ sum ─▶ accumulators, written
                 ├─▶ accumulators, read ───────────▶ ▲ ▲    │
                 └─▶ touched? ─────────▶ ok ─────────┘ └────┴─ forward

There are two banks of accumulators, one for each parity of the step, so that the input of the next step is added while
the neurons of this one are updated: the bank is a bit of the address. There are also two copies, one that is read for
adding and one that the neuron sweep reads; each sum is written into both. So nothing is to be chosen in front of or
behind a memory that is as wide as all lanes.

An accumulator is not cleared. A bit for each word says whether it was *touched* since it was last swept; one that was
not counts as zero in the adder.

Block RAM gives a word two cycles after its address, and takes a sum a cycle after it was added: one long wire a cycle
is enough. So the three words before the one that is added may be for the same accumulators, and their sums are taken
from where they are. The last sum goes straight into the carry cell, which chooses between it and all else at no cost
(`spikeloom.hdl.tech.ecp5_carry`). Which of the two before could be needed is chosen a cycle earlier; that one and the
memory meet in one LUT per bit, together with *touched*. LUT RAM is read, added to and written in one cycle, so nothing
is ever on its way; but its two copies cost 48 LUT per lane of 16 bits, where the LUTs about block RAM cost 32.

In a core with graded spikes each lane multiplies its weight by the value of the event. That takes two cycles between
the weights and the adder, so everything else about a word begins two cycles later.

What the lanes do is told to each bank of them (`spikeloom.hdl.core.adders`). With several, each has a register of its
own for what it is told, `spikeloom.hdl.tech.ecp5_carry.far_cycles` later: then none of the wires that lead to all lanes
of a bank crosses the others. Nothing comes back from a lane, so that all of them together are as right some cycles
later.
"""

import itertools

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.core.adders import AdderBank, control_layout
from spikeloom.hdl.core.words import word_layout
from spikeloom.hdl.lib.memory import LoadPort, load_copies
from spikeloom.hdl.tech.block_ram import BlockMemory
from spikeloom.hdl.tech.ecp5_carry import far_copies
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.words import bits_for

__all__ = ["Accumulator"]
PRODUCT_CYCLES = 2
"""Cycles from the factors to the product of `spikeloom.hdl.tech.ecp5_carry.multiply`."""


class Accumulator(wiring.Component):
    """Weights, accumulators and the adders between them.

    Members
    -------
    word : word_layout(parameters), in
        A word to be added; never refused.
    busy : Signal(2), out
        For each parity, whether words of events of such a step are still being added.
    sweep, bank : Signal, in
    address : Signal(word), in
    current : ArrayLayout(signed(accumulator_width), lanes), out
    current_valid : Signal, out
        While ``sweep`` is high, the neuron sweep takes ``address`` in ``bank``: `READ_LATENCY` cycles later ``current``
        are its sums, if ``current_valid``, else they are all zero. Then they count as zero. Meanwhile no event may be
        added to that bank; events for the other go on.
    clear : Signal, in
    clear_address : Signal(word), in
        Make ``clear_address`` count as zero in both banks, while nothing else happens.
    load : LoadPort, in
        The memories, from the host.
    """

    READ_LATENCY = 3
    """Cycles from ``address`` to ``current``."""

    def __init__(self, parameters: CoreParameters) -> None:
        self.parameters = parameters
        self.touched = [BlockMemory(1, parameters.words) for _ in range(2)]
        self.banks = [AdderBank(parameters, number) for number in range(parameters.lane_banks)]
        word = bits_for(parameters.words)
        super().__init__(
            {
                "word": In(word_layout(parameters)),
                "busy": Out(2),
                "sweep": In(1),
                "bank": In(1),
                "address": In(word),
                "current": Out(data.ArrayLayout(signed(parameters.accumulator_width), parameters.lanes)),
                "current_valid": Out(1),
                "clear": In(1),
                "clear_address": In(word),
                "load": In(LoadPort()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        # The word in each cycle of its way: in cycle 3 it is added, in cycle 4 a sum goes into block RAM. The product
        # of its weights and its value takes cycles of its own before.
        product_cycles = PRODUCT_CYCLES if p.value_width else 0
        way = [self.word, *(Signal(word_layout(p), name=f"word_{number}") for number in range(1, product_cycles + 5))]
        stages = way[product_cycles:]
        for before, after in itertools.pairwise(way):
            m.d.sync += after.eq(before)
        m.d.comb += [
            self.busy[number].eq(Cat(word.valid & (word.parity == number) for word in way[1:]).any())
            for number in range(2)
        ]

        def address_of(word: data.View) -> Value:
            return Cat(word.target, word.bank)

        def is_same(later: data.View, earlier: data.View) -> Value:
            return earlier.valid & (earlier.bank == later.bank) & (earlier.target == later.target)

        # Whether the first, second and third word before are for the same accumulators, as of cycles 1 to 3.
        hits = [Signal(3, name=f"hits_{number}") for number in range(1, 4)]
        m.d.sync += [
            hits[0].eq(Cat(is_same(stages[0], stage) for stage in stages[1:4])),
            hits[1].eq(hits[0]),
            hits[2].eq(hits[1]),
        ]

        swept_bank = Signal()  # as `bank`, a cycle later
        swept_address = Signal.like(self.address)
        m.d.sync += [swept_bank.eq(self.bank), swept_address.eq(self.address)]
        for number, memory in enumerate(self.touched):
            m.submodules[f"touched{number}"] = memory
            sweeping = self.sweep & (self.bank == number)
            adding = stages[0].valid & (stages[0].bank == number)
            write_address = Signal.like(memory.write_address)
            write_data, write_enable = Signal(), Signal()
            m.d.sync += [
                write_address.eq(Mux(self.clear, self.clear_address, memory.address)),
                write_data.eq(~(self.clear | sweeping)),
                write_enable.eq(self.clear | sweeping | adding),
            ]
            m.d.comb += [
                memory.address.eq(Mux(sweeping, self.address, stages[0].target)),
                memory.write_address.eq(write_address),
                memory.write_data.eq(write_data),
                memory.write_enable.eq(write_enable),
            ]
        touched = Cat(memory.data for memory in self.touched)
        # The word before is not in `touched` yet.
        ok, bank = Signal(), Signal()
        m.d.sync += [
            ok.eq(touched.bit_select(stages[2].bank, 1) | hits[1][0]),
            bank.eq(swept_bank),
            self.current_valid.eq(touched.bit_select(bank, 1)),
        ]

        is_block = p.accumulator_memory == "block"
        written = stages[4 if is_block else 3]
        is_on_way = Signal()
        m.d.sync += is_on_way.eq(hits[1][1:].any())
        control = Signal(control_layout(p))
        m.d.comb += [
            control.weight_address.eq(way[3 - self.banks[0].weight_latency].weight_address),
            control.value.eq(way[3].value),
            control.read.eq(address_of(stages[1] if is_block else written)),
            control.write.eq(address_of(written)),
            control.write_valid.eq(written.valid),
            control.swept.eq(Cat(swept_address, swept_bank)),
            control.counts.eq(ok),
            control.last.eq(hits[2][0]),
            control.is_on_way.eq(is_on_way),
            control.is_last_on_way.eq(hits[1][1]),
        ]
        copies = far_copies(m, platform, control, p.lane_banks)
        loads = load_copies(m, platform, self.load, p.lane_banks)
        for number, bank in enumerate(self.banks):
            m.submodules[f"bank{number}"] = bank
            wiring.connect(m, loads[number], bank.load)
            m.d.comb += bank.control.eq(copies[number])
            for place in range(p.bank_lanes):
                m.d.comb += self.current[number * p.bank_lanes + place].eq(bank.current[place])
        return m
