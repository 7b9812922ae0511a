"""Synaptic accumulation: one word of ``lanes`` weights is added to the accumulators per cycle.

::

    cycle  0            1              2              3         4
           word ─┬─▶ weight memory ────────────────▶ add ─▶ sum ─▶ accumulators, written
                 ├─▶ accumulators, read ───────────▶ ▲ ▲    │
                 └─▶ touched? ─────────▶ ok ─────────┘ └────┴─ forward

The accumulators form two banks, one per parity of the step, so that the input of the next step is added while the
neurons of the current step are updated. The bank is the top bit of the address. Each accumulator is stored twice: one
copy serves the read-modify-write of the adders, the other the neuron sweep, and each sum is written to both. This
avoids multiplexers as wide as all lanes in front of and behind the memories.

Accumulators are not cleared. One *touched* bit per word records whether it was written since its last sweep; the adder
takes an untouched word as zero.

With block RAM, a word arrives two cycles after its address, and a sum is written one cycle after the addition, which
leaves each long wire a full cycle. The three preceding words may therefore address the same accumulators while their
sums are still in the pipeline, and these sums are forwarded. The latest sum enters the carry cell directly, where
selecting it is free (`spikeloom.hdl.tech.ecp5_carry`). The selection between the two older sums takes place one cycle
earlier; its result and the memory word meet in one LUT per bit, together with *touched*. LUT RAM is read, added to and
written in one cycle and needs no forwarding, but its two copies cost 48 LUTs per lane of 16 bits, compared with 32 for
the forwarding logic of block RAM.

In a core with graded spikes each lane multiplies its weight by the value of the event. The product takes two cycles
between the weights and the adder, so all other signals of the word start two cycles later.

Each bank of lanes (`spikeloom.hdl.core.adders`) receives the control signals. With several banks, each has its own
copy in a register, delayed by `spikeloom.hdl.tech.ecp5_carry.far_cycles`, so that the control wires of one bank never
cross the others. The adders return nothing to the control logic, so a common delay leaves the results unchanged.
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
    """Weight memory, accumulators and the adders between them.

    Parameters
    ----------
    parameters
        Sizes and features of the core. Streamed weights come with their words; there is a weight memory only
        where others do not.

    Members
    -------
    word : word_layout(parameters), in
        The word to add; accepted in every cycle.
    busy : Signal(2), out
        One bit per parity: words of a step with this parity are still being added.
    sweep, bank : Signal, in
    address : Signal(bits_for(words)), in
    current : ArrayLayout(signed(accumulator_width), lanes), out
    current_valid : Signal, out
        Read port of the neuron sweep. While ``sweep`` is high, the word ``address`` of ``bank`` is read and marked as
        zero. `READ_LATENCY` cycles later ``current`` holds its sums; if ``current_valid`` is low, all of them are zero.
        No event may be added to the swept bank meanwhile; additions to the other bank continue.
    clear : Signal, in
    clear_address : Signal(bits_for(words)), in
        Mark the word ``clear_address`` as zero in both banks. No addition or sweep may be in progress.
    load : LoadPort, in
        Write port of the weight memory for the host.
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
                "load": In(LoadPort(read_back=parameters.read_back)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        # The pipeline of a word: it is added in cycle 3, and its sum is written to block RAM in cycle 4. In a graded
        # core the cycles of the product come first, and `stages` begins after them.
        product_cycles = PRODUCT_CYCLES if p.value_width else 0
        layout = word_layout(p)
        way = [self.word, *(Signal(layout, name=f"word_{number}") for number in range(1, product_cycles + 5))]
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

        # Forwarding: bit 0, 1 and 2 are set if the first, second and third preceding word has the same accumulators.
        # The comparison takes place ahead of the addition, so that registers select the sums.
        hits = [Signal(3, name=f"hits_{number}") for number in range(1, 4)]
        m.d.sync += [
            hits[0].eq(Cat(is_same(stages[0], stage) for stage in stages[1:4])),
            hits[1].eq(hits[0]),
            hits[2].eq(hits[1]),
        ]

        # One memory of touched bits per bank: each has a single read port, and a sweep of one bank must not delay the
        # additions to the other.
        swept_bank = Signal()  # `bank`, delayed by one cycle
        swept_address = Signal.like(self.address)
        m.d.sync += [swept_bank.eq(self.bank), swept_address.eq(self.address)]
        for number, memory in enumerate(self.touched):
            m.submodules[f"touched{number}"] = memory
            sweeping = self.sweep & (self.bank == number)
            adding = stages[0].valid & (stages[0].bank == number)
            write_address = Signal.like(memory.write_address)
            write_data, write_enable = Signal(), Signal()
            # Adding to a word sets its bit, sweeping or clearing it resets the bit. The write follows the read by one
            # cycle; `hits` covers the word in between (below).
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
        # The touched bit of the immediately preceding word is not written yet when this one is read, so a hit on that
        # word counts as touched.
        ok, bank = Signal(), Signal()
        m.d.sync += [
            ok.eq(touched.bit_select(stages[2].bank, 1) | hits[1][0]),
            bank.eq(swept_bank),
            self.current_valid.eq(touched.bit_select(bank, 1)),
        ]

        is_block = p.accumulator_memory == "block"
        # LUT RAM takes the sum in the cycle of the addition, block RAM from the register `last`, one cycle later.
        written = stages[4 if is_block else 3]
        is_on_way = Signal()
        m.d.sync += is_on_way.eq(hits[1][1:].any())
        # The weight address leaves the pipeline early enough for the weights to meet their word in the first stage of
        # the product or, without one, in the adder.
        control = Signal(control_layout(p))
        m.d.comb += [
            control.weight_address.eq(way[3 - self.banks[0].weight_latency].weight_address),
            control.value.eq(way[3].value),
            *([control.weights.eq(way[3].weights)] if p.streamed else []),
            *([control.streamed.eq(way[3].streamed)] if p.mixed else []),
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
