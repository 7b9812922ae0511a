"""Synaptic accumulation of several words per cycle: a group of consecutive words of ``lanes`` weights.

::

    cycle  0         1                 3          4 ...        n
           group ──▶ weight memories ──▶ weights ─▶ rotation ──▶ add ──▶ accumulators
                                                    touched? ──▶ ok ─┘

Words are striped over ``words_per_cycle`` *columns*: a column holds every word whose number ends with the same bits, in
memories of its own, both of weights and of accumulators. A group is a run of consecutive words, so each column holds at
most one of them, at one of two neighbouring addresses. A rotation of all columns brings the weights to their
accumulators, because a row may begin at any word of either memory. Therefore no word is wasted, however short the rows
are, and a program does not depend on the number of columns. Columns are spread over the FPGA, so each power of two of
the rotation takes a cycle of its own.

The accumulators are in LUT RAM: they are read, added to and written in one cycle, so nothing needs forwarding. As in
`spikeloom.hdl.core.accumulate`, a *touched* bit per word records whether it was written since its last sweep, there is
a bank of accumulators for each parity of the step, and a copy of both for the sweep, which reads one word per cycle.
"""

import itertools

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.core.accumulate import Accumulator
from spikeloom.hdl.core.words import word_layout
from spikeloom.hdl.lib.memory import LoadedMemory, LoadFan, LoadPort
from spikeloom.hdl.tech.ecp5_carry import Operand, add, register_copies
from spikeloom.hdl.tech.ram import DistributedMemory
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.words import bits_for

__all__ = ["WideAccumulator"]

ARRIVAL = 4
"""Cycles from a group to its weights: one to their address, three from there to the rotation."""


class WideAccumulator(wiring.Component):
    """Weight memories, accumulators and the adders between them, for groups of words.

    Parameters
    ----------
    parameters
        Sizes and features of the core, whose ``words_per_cycle`` must be 2 or more.

    Members
    -------
    word : word_layout(parameters), in
        The first word of the group to add, with the number of others; accepted in every cycle.
    busy : Signal(2), out
    sweep, bank : Signal, in
    address : Signal(bits_for(words)), in
    current : ArrayLayout(signed(accumulator_width), lanes), out
    current_valid : Signal, out
    clear : Signal, in
    clear_address : Signal(bits_for(words)), in
    load : LoadPort, in
        As for `spikeloom.hdl.core.accumulate.Accumulator`. ``clear`` marks the words of all columns that have the same
        address in their column.
    """

    READ_LATENCY = Accumulator.READ_LATENCY

    def __init__(self, parameters: CoreParameters) -> None:
        self.parameters = p = parameters
        columns = range(p.words_per_cycle)
        self.addition = ARRIVAL + len(columns).bit_length() - 1
        """Cycles from a group to its addition: one per stage of the rotation after its weights have arrived."""
        # Addresses wrap around at powers of two, so a column may have words that no neuron uses.
        self._column_bits = len(columns).bit_length() - 1
        self._row_bits = bits_for(p.words) - self._column_bits
        depth = 1 << self._row_bits
        self.touched = [[DistributedMemory(1, depth) for _ in columns] for _ in range(2)]
        """Touched bits, by parity and column. The lowest bits of a word's number are its column."""
        self._weights = [
            LoadedMemory(
                p.memories["weights"],
                pipelined=True,
                column=column,
                columns=len(columns),
                read_back=p.read_back,
            )
            for column in columns
        ]
        word = bits_for(p.words)
        super().__init__(
            {
                "word": In(word_layout(p)),
                "busy": Out(2),
                "sweep": In(1),
                "bank": In(1),
                "address": In(word),
                "current": Out(data.ArrayLayout(signed(p.accumulator_width), p.lanes)),
                "current_valid": Out(1),
                "clear": In(1),
                "clear_address": In(word),
                "load": In(LoadPort(read_back=p.read_back)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p, low = self.parameters, self._column_bits
        loads = LoadFan(m, self.load)
        stages = [self.word, *(Signal(word_layout(p), name=f"word_{n}") for n in range(1, self.addition + 1))]
        for before, after in itertools.pairwise(stages):
            m.d.sync += after.eq(before)
        m.d.comb += [
            self.busy[number].eq(Cat(word.valid & (word.parity == number) for word in stages[1:]).any())
            for number in range(2)
        ]

        # Columns before that of the first word hold a word of the next row, if any.
        first = self.word.weight_address
        following = Signal.like(first[low:])
        m.d.comb += following.eq(first[low:] + 1)
        arrived = []
        for column, memory in enumerate(self._weights):
            m.submodules[f"weights{column}"] = memory
            loads.connect(memory.load)
            address = Signal.like(first[low:], name=f"weight_address_{column}", reset_less=True)
            m.d.sync += address.eq(Mux(first[:low] > column, following, first[low:]))
            m.d.comb += memory.address.eq(address)
            # The block RAMs are spread over the FPGA, so their way to the rotation takes a cycle. Deep memories
            # (latency 3) end in a register themselves.
            weights = memory.data
            if memory.latency == 2:
                weights = Signal(p.lanes * p.weight_width, name=f"weights_{column}", reset_less=True)
                m.d.sync += weights.eq(memory.data)
            arrived.append(weights)
        loads.finish()
        arrived = self._rotate(m, platform, arrived, stages)
        # The sweep: the words of all columns at an address are read, then the one of the column is selected.
        swept, column_read = Signal.like(self.address), Signal(low)
        swept_bank = Signal()
        m.d.sync += [swept.eq(self.address), swept_bank.eq(self.bank), column_read.eq(swept[:low])]
        held, were_touched = [], [Signal(p.words_per_cycle, name=f"were_touched_{number}") for number in range(2)]
        is_touched = Signal()
        m.d.sync += [
            is_touched.eq(Array(were_touched)[swept_bank].bit_select(swept[:low], 1)),
            self.current_valid.eq(is_touched),
        ]

        for column in range(p.words_per_cycle):
            # Two cycles ahead of the addition: the word of the group that falls to this column, if any.
            group = stages[self.addition - 2]
            number = Signal(low, name=f"number_{column}")  # of the word in its group
            takes, row = Signal(name=f"takes_{column}"), Signal(self._row_bits, name=f"row_{column}")
            m.d.comb += number.eq(column - group.target[:low])
            m.d.sync += [
                takes.eq(group.valid & (number <= group.others)),
                row.eq(group.target[low:] + (group.target[:low] > column)),
            ]
            # One cycle ahead: the bit is read and set in the same cycle, as the sum will be.
            bank = stages[self.addition - 1].bank
            found = [
                self._touch(m, parity, column, takes & (bank == parity), row, were_touched[parity])
                for parity in range(2)
            ]
            counts = Signal(name=f"counts_{column}")
            m.d.sync += counts.eq(Mux(bank, found[1], found[0]))
            # One copy for reading and one for writing: the address leads to all bits of the sums of a column.
            read, written = register_copies(m, platform, Cat(takes, row, bank), 2)
            held.append(self._add(m, platform, column, arrived[column], counts, read, written, swept, swept_bank))
        m.d.sync += Value.cast(self.current).eq(Array(held)[column_read])
        return m

    def _rotate(self, m: Module, platform: object, weights: list[Signal], stages: list[data.View]) -> list[Signal]:
        """Return ``weights``, those of each column, at the columns of their accumulators, one cycle later per stage."""
        p, low = self.parameters, self._column_bits
        for place in range(low):
            # The distance from the column of a word's weights to that of its accumulators, of the group whose weights
            # enter this stage in the next cycle. Each column has a copy of the bit that it selects by.
            group = stages[ARRIVAL + place - 1]
            distance = Signal(low, name=f"distance_{place}")
            m.d.comb += distance.eq(group.target[:low] - group.weight_address[:low])
            moves = register_copies(m, platform, distance[place], p.words_per_cycle)
            rotated = [
                Signal(p.lanes * p.weight_width, name=f"rotated_{place}_{column}", reset_less=True)
                for column in range(p.words_per_cycle)
            ]
            for column, move in enumerate(moves):
                m.d.sync += rotated[column].eq(Mux(move, weights[column - (1 << place)], weights[column]))
            weights = rotated
        return weights

    def _touch(self, m: Module, parity: int, column: int, takes: Value, row: Value, were_touched: Signal) -> Value:
        """Add the touched bits of a bank and column, and return that of ``row``, which is set if it ``takes`` a word.

        A sweep has priority over additions, of which it meets none in its bank.
        """
        low = self._column_bits
        m.submodules[f"touched{parity}_{column}"] = memory = self.touched[parity][column]
        sweeping = self.sweep & (self.bank == parity)
        swept_here = sweeping & (self.address[:low] == column)
        address = Mux(self.clear, self.clear_address[low:], Mux(sweeping, self.address[low:], row))
        m.d.comb += [
            memory.address.eq(address),
            memory.write_address.eq(address),
            memory.write_data.eq(~(self.clear | sweeping)),
            memory.write_enable.eq(self.clear | swept_here | (takes & ~sweeping)),
        ]
        m.d.sync += were_touched[column].eq(memory.data)
        return memory.data

    def _add(
        self,
        m: Module,
        platform: object,
        column: int,
        weights: Value,
        counts: Value,
        read: Value,
        written: Value,
        swept: Value,
        swept_bank: Value,
    ) -> Signal:
        """Add the adders and accumulators of a column. Return its accumulators at ``swept``, one cycle later.

        ``read`` and ``written`` are equal: whether a word is added, and the address of its accumulators.
        """
        p = self.parameters
        width = p.accumulator_width * p.lanes
        adding, sweeping = (DistributedMemory(width, 2 << self._row_bits) for _ in range(2))
        m.submodules[f"adding{column}"], m.submodules[f"sweeping{column}"] = adding, sweeping
        for memory in (adding, sweeping):
            m.d.comb += [memory.write_enable.eq(written[0]), memory.write_address.eq(written[1:])]
        m.d.comb += [adding.address.eq(read[1:]), sweeping.address.eq(Cat(swept[self._column_bits :], swept_bank))]
        if p.weight_width == 1:  # -1, or 1 where the bit is set
            of_lane = [Cat(1, ~bit).as_signed() for bit in weights]
        else:
            of_lane = list(data.View(data.ArrayLayout(signed(p.weight_width), p.lanes), weights))
        for lane in range(p.lanes):
            part = slice(lane * p.accumulator_width, (lane + 1) * p.accumulator_width)
            addend = Signal(signed(p.accumulator_width), name=f"addend_{column}_{lane}")
            m.d.comb += addend.eq(of_lane[lane])
            total = add(m, platform, addend, Operand.GATE, counts, adding.data[part])
            m.d.comb += [memory.write_data[part].eq(total) for memory in (adding, sweeping)]
        held = Signal(width, name=f"held_{column}", reset_less=True)
        m.d.sync += held.eq(sweeping.data)
        return held
