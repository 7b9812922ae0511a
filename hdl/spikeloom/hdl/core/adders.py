"""A bank of adder lanes: weight memory, accumulators and adders, controlled by `spikeloom.hdl.core.accumulate`.

A core has one bank with all lanes, or several banks side by side, each with its own memories and wiring.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.core.graded import value_shape
from spikeloom.hdl.lib.memory import LoadedMemory, LoadPort
from spikeloom.hdl.tech.block_ram import BlockMemory
from spikeloom.hdl.tech.ecp5_carry import Operand, add, multiply
from spikeloom.hdl.tech.ram import DistributedMemory
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.words import bits_for

__all__ = ["AdderBank", "control_layout"]

NEAR_LANES = 16
"""Largest bank, in lanes, whose weights go from block RAM to the adders without a further register."""


def control_layout(parameters: CoreParameters) -> data.StructLayout:
    """Control signals common to all lanes of a bank. The top bit of an accumulator address is the parity's bank.

    ``weight_address`` addresses the weight memory, early enough for the weights to arrive with their word; ``value`` is
    the event's value, aligned with the product. ``read``, ``write`` and ``swept`` address the accumulators: for the
    addition, for the sum (if ``write_valid``) and for the sweep. For the word being added, ``counts`` selects the
    stored accumulators instead of 0, ``last`` the sum of the preceding word, and ``is_on_way`` an older sum that is not
    in the memory yet. For the word after it, ``is_last_on_way`` selects the newer of these two sums. If weights are
    streamed, ``weights`` are those of all banks, aligned with ``value``; in a core with both kinds, ``streamed``
    selects them.
    """
    word = bits_for(parameters.words) + 1
    return data.StructLayout(
        {
            "weight_address": bits_for(parameters.weight_words),
            "value": value_shape(parameters),
            "read": word,
            "write": word,
            "write_valid": 1,
            "swept": word,
            "counts": 1,
            "last": 1,
            "is_on_way": 1,
            "is_last_on_way": 1,
            **({"weights": parameters.lanes * parameters.weight_width} if parameters.streamed else {}),
            **({"streamed": 1} if parameters.mixed else {}),
        }
    )


class AdderBank(wiring.Component):
    """The adders of ``parameters.bank_lanes`` lanes.

    Parameters
    ----------
    parameters
        Sizes and features of the core.
    number
        Index of the bank, which selects its slice of each weight word. Streamed weights come with the control signals;
        there is no weight memory then.

    Members
    -------
    control : control_layout(parameters), in
        Control signals of the current cycle.
    current : ArrayLayout(signed(accumulator_width), bank_lanes), out
        Accumulators at ``control.swept``, 2 cycles later with either kind of memory.
    load : LoadPort, in
        Write port of the weight memory for the host.
    """

    def __init__(self, parameters: CoreParameters, number: int) -> None:
        self.parameters = p = parameters
        self._number = number
        self._weights = None if p.streamed and not p.mixed else self._weight_memory()
        # The block RAMs of a wide bank are spread over the FPGA, so the path to the adders takes a cycle of its own.
        # Deep memories (latency 3) already end in a register behind the multiplexer of their blocks.
        latency = self._weights.latency if self._weights else 0
        self._is_far = p.bank_lanes > NEAR_LANES and latency == 2
        self.weight_latency = latency + self._is_far
        super().__init__(
            {
                "control": In(control_layout(p)),
                "current": Out(data.ArrayLayout(signed(p.accumulator_width), p.bank_lanes)),
                "load": In(LoadPort(read_back=p.read_back)),
            }
        )

    def _weight_memory(self) -> LoadedMemory:
        p = self.parameters
        return LoadedMemory(
            p.memories["weights"],
            single_port=p.weight_memory == "single-port",
            part=self._number,
            parts=p.lane_banks,
            pipelined=True,
            read_back=p.read_back,
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p, control = self.parameters, self.control
        word: Value
        if weights := self._weights:
            m.submodules.weights = weights
            wiring.connect(m, wiring.flipped(self.load), weights.load)
            m.d.comb += weights.address.eq(control.weight_address)
            word = weights.data
        else:
            word = control.weights.word_select(self._number, p.bank_lanes * p.weight_width)
        if weights and self._is_far:
            # No reset: a sum is stored or forwarded only for a valid word, so the contents do not matter before the
            # first one.
            word = Signal(len(word), name="weight_word", reset_less=True)
            m.d.sync += word.eq(weights.data)
        if p.mixed:
            streamed = control.weights.word_select(self._number, p.bank_lanes * p.weight_width)
            word = Mux(control.streamed, streamed, word)
        weight: list[Value]
        if p.weight_width == 1:  # -1, or 1 where the bit is set
            weight = [Cat(1, ~bit).as_signed() for bit in word]
        else:
            weight = list(data.View(data.ArrayLayout(signed(p.weight_width), p.bank_lanes), word))
        if p.value_width:
            weight = [multiply(m, platform, of_lane, control.value) for of_lane in weight]
        width = p.accumulator_width * p.bank_lanes
        is_block = p.accumulator_memory == "block"
        kind = BlockMemory if is_block else DistributedMemory
        # The parity's bank is the top address bit even if the number of words is not a power of two.
        depth = 2 << bits_for(p.words)
        # Two copies with equal contents: a memory has one read port, and the sweep reads while events are being added.
        m.submodules.adding = adding = kind(width, depth)
        m.submodules.sweeping = sweeping = kind(width, depth)
        for memory in (adding, sweeping):
            m.d.comb += [memory.write_enable.eq(control.write_valid), memory.write_address.eq(control.write)]
        m.d.comb += adding.address.eq(control.read)
        if is_block:
            m.d.comb += [sweeping.address.eq(control.swept), self.current.eq(sweeping.data)]
        else:
            # LUT RAM reads asynchronously: registers before and behind it give it the latency of block RAM.
            read_address = Signal.like(control.swept)
            m.d.sync += [read_address.eq(control.swept), self.current.eq(sweeping.data)]
            m.d.comb += sweeping.address.eq(read_address)

        for lane in range(p.bank_lanes):
            part = slice(lane * p.accumulator_width, (lane + 1) * p.accumulator_width)
            # The assignment extends the weight, or the product, by its sign to the width of the accumulator.
            addend = Signal(signed(p.accumulator_width), name=f"addend_{lane}")
            m.d.comb += addend.eq(weight[lane])
            if is_block:
                # `last` is the sum of the preceding word, `earlier` the one before it. `on_way` is the older sum that
                # this word needs, selected one cycle ahead so that the adder sees one LUT.
                names = ("last", "earlier", "on_way")
                last, earlier, on_way = (Signal(p.accumulator_width, name=f"{n}_{lane}") for n in names)
                read = adding.data[part] & control.counts.replicate(p.accumulator_width)
                other = Mux(control.is_on_way, on_way, read)
                total = add(m, platform, addend, Operand.CHOOSE, control.last, last, other)
                m.d.sync += [last.eq(total), earlier.eq(last)]
                m.d.sync += on_way.eq(Mux(control.is_last_on_way, last, earlier))
                stored = last
            else:
                stored = add(m, platform, addend, Operand.GATE, control.counts, adding.data[part])
            for memory in (adding, sweeping):
                m.d.comb += memory.write_data[part].eq(stored)
        return m
