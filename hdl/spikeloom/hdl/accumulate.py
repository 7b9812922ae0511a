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
(`spikeloom.hdl.ecp5`). Which of the two before could be needed is chosen a cycle earlier; that one and the memory meet
in one LUT a bit, together with *touched*. LUT RAM is read, added to and written in one cycle, so nothing is ever on its
way; but its two copies cost 48 LUT a lane of 16 bits, where the LUTs about block RAM cost 32.

In a core with graded spikes each lane multiplies its weight by the value of the event. That takes two cycles between
the weights and the adder, so everything else about a word begins two cycles later.
"""

import itertools

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.ecp5 import Operand, add, multiply
from spikeloom.hdl.memory import BlockMemory, DistributedMemory, LoadedMemory, LoadPort
from spikeloom.hdl.words import word_layout
from spikeloom.sim.core import CoreParameters
from spikeloom.sim.words import bits_for

__all__ = ["Accumulator"]

PRODUCT_CYCLES = 2
"""Cycles from the factors to the product of `spikeloom.hdl.ecp5.multiply`."""


class Accumulator(wiring.Component):
    """Weights, accumulators and the adders between them.

    Members
    -------
    word
        A word to be added; never refused.
    busy
        For each parity, whether words of events of such a step are still being added.
    sweep, bank, address, current, current_valid
        While ``sweep`` is high, the neuron sweep takes ``address`` in ``bank``: `READ_LATENCY` cycles later ``current``
        are its sums, if ``current_valid``, else they are all zero. Then they count as zero. Meanwhile no event may be
        added to that bank; events for the other go on.
    clear, clear_address
        Make ``clear_address`` count as zero in both banks, while nothing else happens.
    """

    READ_LATENCY = 3
    """Cycles from ``address`` to ``current``."""

    def __init__(self, parameters: CoreParameters) -> None:
        self.parameters = parameters
        self.touched = [BlockMemory(1, parameters.words) for _ in range(2)]
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
        m.submodules.weights = weights = LoadedMemory(
            p.memories["weights"], single_port=p.weight_memory == "single-port"
        )
        wiring.connect(m, wiring.flipped(self.load), weights.load)

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

        def is_same(later: data.View, earlier: data.View) -> Value:
            return earlier.valid & (earlier.bank == later.bank) & (earlier.target == later.target)

        # Whether the first, second and third word before are for the same accumulators, as of cycles 1 to 3.
        hits = [Signal(3, name=f"hits_{number}") for number in range(1, 4)]
        m.d.sync += [
            hits[0].eq(Cat(is_same(stages[0], stage) for stage in stages[1:4])),
            hits[1].eq(hits[0]),
            hits[2].eq(hits[1]),
        ]

        swept, swept_bank = Signal(), Signal()  # as `sweep` and `bank`, a cycle later
        swept_address = Signal.like(self.address)
        m.d.sync += [swept.eq(self.sweep), swept_bank.eq(self.bank), swept_address.eq(self.address)]
        for number, memory in enumerate(self.touched):
            m.submodules[f"touched{number}"] = memory
            sweeping = self.sweep & (self.bank == number)
            clearing = swept & (swept_bank == number)
            m.d.comb += [
                memory.address.eq(Mux(sweeping, self.address, stages[0].target)),
                memory.write_address.eq(
                    Mux(self.clear, self.clear_address, Mux(clearing, swept_address, stages[1].target))
                ),
                memory.write_data.eq(~(self.clear | clearing)),
                memory.write_enable.eq(self.clear | clearing | (stages[1].valid & (stages[1].bank == number))),
            ]
        touched = Cat(memory.data for memory in self.touched)
        # The word before is not in `touched` yet.
        ok, bank = Signal(), Signal()
        m.d.sync += [
            ok.eq(touched.bit_select(stages[2].bank, 1) | hits[1][0]),
            bank.eq(swept_bank),
            self.current_valid.eq(touched.bit_select(bank, 1)),
        ]

        m.d.comb += weights.address.eq(way[3 - weights.latency].weight_address)
        weight: list[Value]
        if p.weight_width == 1:  # -1, or 1 where the bit is set
            weight = [Cat(1, ~bit).as_signed() for bit in weights.data]
        else:
            weight = list(data.View(data.ArrayLayout(signed(p.weight_width), p.lanes), weights.data))
        if p.value_width:
            weight = [multiply(m, platform, of_lane, way[3].value) for of_lane in weight]
        width = p.accumulator_width * p.lanes
        is_block = p.accumulator_memory == "block"
        kind = BlockMemory if is_block else DistributedMemory
        depth = 2 << len(self.address)  # the bank is the highest bit, also where the words are no power of two
        m.submodules.adding = adding = kind(width, depth)
        m.submodules.sweeping = sweeping = kind(width, depth)
        written = stages[4 if is_block else 3]
        for memory in (adding, sweeping):
            m.d.comb += [
                memory.write_enable.eq(written.valid),
                memory.write_address.eq(Cat(written.target, written.bank)),
            ]
        if is_block:
            m.d.comb += [
                adding.address.eq(Cat(stages[1].target, stages[1].bank)),
                sweeping.address.eq(Cat(swept_address, swept_bank)),
                self.current.eq(sweeping.data),
            ]
        else:
            read_address = Signal.like(sweeping.address)
            m.d.sync += [read_address.eq(Cat(swept_address, swept_bank)), self.current.eq(sweeping.data)]
            m.d.comb += [adding.address.eq(Cat(written.target, written.bank)), sweeping.address.eq(read_address)]

        hit, is_on_way = hits[2][0], Signal()
        m.d.sync += is_on_way.eq(hits[1][1:].any())
        for lane in range(p.lanes):
            part = slice(lane * p.accumulator_width, (lane + 1) * p.accumulator_width)
            addend = Signal(signed(p.accumulator_width), name=f"addend_{lane}")
            m.d.comb += addend.eq(weight[lane])
            if is_block:
                # The last sum, the one before, and of those before the last the one that the word needs.
                names = ("last", "earlier", "on_way")
                last, earlier, on_way = (Signal(p.accumulator_width, name=f"{n}_{lane}") for n in names)
                other = Mux(is_on_way, on_way, adding.data[part] & ok.replicate(p.accumulator_width))
                total = add(m, platform, addend, Operand.CHOOSE, hit, last, other)
                m.d.sync += [last.eq(total), earlier.eq(last), on_way.eq(Mux(hits[1][1], last, earlier))]
                stored = last
            else:
                stored = add(m, platform, addend, Operand.GATE, ok, adding.data[part])
            for memory in (adding, sweeping):
                m.d.comb += memory.write_data[part].eq(stored)
        return m
