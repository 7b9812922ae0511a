"""Block RAM with its output register: instantiated on an ECP5, inferred elsewhere."""

from collections.abc import Sequence
from functools import cached_property

from amaranth.hdl import Array, Cat, ClockSignal, Const, Instance, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.tech.ecp5_carry import is_ecp5
from spikeloom.hdl.tech.ram import block_memory, registered_read
from spikeloom.sim.lib.words import bits_for

__all__ = ["BlockMemory"]


class BlockMemory(wiring.Component):
    """Block RAM with its output register: ``data`` belongs to the ``address`` of two cycles before.

    Without the output register a block RAM of an ECP5 takes 5.8 ns from the clock to its output, with it 1.0 ns, and
    synthesis never uses it. So the block RAMs of an ECP5 are instantiated here, side by side, as narrow as the depth
    makes them, so that nothing is to be chosen behind them. Elsewhere this is a memory and a register.

    A word that is read in the cycle in which it is written, or before, may come out old or new.

    Where one block RAM is not deep enough, one of several is chosen, which takes a cycle more (`latency`); then both
    enables must stay high.

    Parameters
    ----------
    width, depth
        Of the memory, in bits and words.
    part
        Bits of a word that ``write_enable`` writes one by one: 8, or the whole word.
    words
        What it holds from power-up, from index 0 on.

    Members
    -------
    write_address : Signal(bits_for(depth)), in
    write_data : Signal(width), in
    write_enable : Signal(-(-width // part)), in
        Written at the end of the cycle; a bit of ``write_enable`` for each part of the word.
    address : Signal(bits_for(depth)), in
    enable : Signal, in
        Read at the end of the cycle, if ``enable`` is high.
    output_enable : Signal, in
    data : Signal(width), out
        The output register takes what was read; otherwise ``data`` stay. Never high while ``enable`` is low.
    """

    def __init__(self, width: int, depth: int, *, part: int | None = None, words: Sequence[int] = ()) -> None:
        self.width, self.depth, self.words = width, depth, words
        self.latency = 2 if depth <= 1 << _BLOCKS[-1][1] else 3
        self.part = part or width
        super().__init__(
            {
                "write_address": In(bits_for(depth)),
                "write_data": In(width),
                "write_enable": In(-(-width // self.part)),
                "address": In(bits_for(depth)),
                "enable": In(1, init=1),
                "output_enable": In(1, init=1),
                "data": Out(width),
            }
        )

    @cached_property
    def memory(self) -> Memory:
        """What holds the words, on other FPGAs and in simulation."""
        return block_memory(self.width, self.depth, self.words)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if is_ecp5(platform):
            self._instantiate(m)
            return m
        m.submodules.memory = self.memory
        # A part may be cut short by the end of the word; then memories beside each other would have to be joined.
        write = self.memory.write_port(granularity=1 if self.part < self.width else None)
        m.d.comb += [write.addr.eq(self.write_address), write.data.eq(self.write_data)]
        if self.part < self.width:
            m.d.comb += write.en.eq(Cat(enable.replicate(self.part) for enable in self.write_enable)[: self.width])
        else:
            m.d.comb += write.en.eq(self.write_enable)
        read = registered_read(m, self.memory, self.address, enable=self.enable)
        output = Signal(self.width, reset_less=True)
        with m.If(self.output_enable):
            m.d.sync += output.eq(read)
        domain = m.d.comb if self.latency == 2 else m.d.sync
        domain += self.data.eq(output)
        return m

    def _instantiate(self, m: Module) -> None:
        """Block RAMs of an ECP5, each for a few bits of a word; where one is not deep enough, several."""
        bits, address_bits = next(shape for shape in _BLOCKS if self.depth <= 1 << shape[1] or shape[0] == 1)
        block_count = -(-self.depth >> address_bits) if self.depth > 1 << address_bits else 1
        lanes = max(1, bits // 9)  # bytes of nine bits that a block RAM can write one by one
        slices = []  # the bits of the word that are in each block RAM: (first, count) for each of its bytes
        if self.part < self.width:
            parts = [(first, min(8, self.width - first)) for first in range(0, self.width, 8)]
            if bits < 9:
                slices = [[(f, min(bits, first + n - f))] for first, n in parts for f in range(first, first + n, bits)]
            else:
                slices = [parts[place : place + lanes] for place in range(0, len(parts), lanes)]
        else:
            step = min(bits, 9)
            parts = [(first, min(step, self.width - first)) for first in range(0, self.width, step)]
            slices = [parts[place : place + lanes] for place in range(0, len(parts), lanes)]
        outputs = []
        for block in range(block_count):
            here = self.write_address[address_bits:] == block if block_count > 1 else Const(1)
            word = Signal(self.width, name=f"data_{block}")
            outputs.append(word)
            held = self.words[block << address_bits : (block + 1) << address_bits]
            for number, fields in enumerate(slices):
                enables = [self.write_enable[first // self.part] & here for first, _ in fields]
                m.submodules[f"block{block}_{number}"] = self._block(
                    m, bits, address_bits, fields, enables, word, _initial_values(held, fields, bits)
                )
        if block_count == 1:
            m.d.comb += self.data.eq(outputs[0])
        else:
            chosen = [Signal(range(block_count), name=f"chosen_{cycle}") for cycle in (1, 2)]
            m.d.sync += [
                chosen[0].eq(self.address[address_bits:]),
                chosen[1].eq(chosen[0]),
                self.data.eq(Array(outputs)[chosen[1]]),
            ]

    def _block(
        self,
        m: Module,
        bits: int,
        address_bits: int,
        fields: list[tuple[int, int]],
        enables: list[Value],
        word: Signal,
        initial: dict[str, Const],
    ) -> Instance:
        """One block RAM; write through port A, and where it is 36 bits wide through both, read through port B."""
        write_data, read_data = [Const(0)] * 36, [Signal(name=f"bit_{place}") for place in range(36)]
        stride = min(bits, 9)
        for place, (first, count) in enumerate(fields):
            for bit in range(count):
                write_data[place * stride + bit] = self.write_data[first + bit]
                m.d.comb += word[first + bit].eq(read_data[place * stride + bit])
        unused = 14 - address_bits  # address pins below the word's address, some of which enable bytes
        ports: dict[str, object] = {}
        for pin in range(14):
            low = pin - unused
            ports[f"i_ADA{pin}"] = self.write_address[low] if 0 <= low < len(self.write_address) else Const(0)
            ports[f"i_ADB{pin}"] = self.address[low] if 0 <= low < len(self.address) else Const(0)
        if bits >= 18:
            for pin in range(bits // 9):
                ports[f"i_ADA{pin}"] = enables[pin] if pin < len(enables) else Const(0)
        for pin in range(18):
            ports[f"i_DIA{pin}"] = write_data[pin]
            ports[f"i_DIB{pin}"] = write_data[18 + pin]
            if bits == 36:
                ports[f"o_DOA{pin}"] = read_data[pin]
                ports[f"o_DOB{pin}"] = read_data[18 + pin]
            else:
                ports[f"o_DOB{pin}"] = read_data[pin]
        parameters = {
            f"p_{name}_{port}": value
            for port in "AB"
            for name, value in (
                ("DATA_WIDTH", bits),
                ("REGMODE", "OUTREG"),
                ("CSDECODE", "0b000"),
                ("WRITEMODE", "NORMAL"),
            )
        } | {f"p_{name}": value for name, value in initial.items()}
        for port in "AB":
            ports |= {
                f"i_CLK{port}": ClockSignal(),
                f"i_OCE{port}": self.output_enable,
                f"i_RST{port}": Const(0),
                **{f"i_CS{port}{pin}": Const(0) for pin in range(3)},
            }
        ports |= {
            "i_CEA": Const(1),
            "i_WEA": Const(1) if bits >= 18 else enables[0],
            "i_CEB": self.enable,
            "i_WEB": Const(0),
        }
        return Instance("DP16KD", p_RESETMODE="SYNC", p_ASYNC_RESET_RELEASE="SYNC", p_GSR="AUTO", **parameters, **ports)


_BLOCKS = ((36, 9), (18, 10), (9, 11), (4, 12), (2, 13), (1, 14))
"""The shapes of an ECP5's block RAM: bits of a word, bits of the address."""


def _initial_values(words: Sequence[int], fields: list[tuple[int, int]], bits: int) -> dict[str, Const]:
    """The parameters ``INITVAL_00`` to ``INITVAL_3F`` of an ECP5's block RAM; none for nothing but zeros.

    Each is 16 places of 20 bits, of which a block RAM has the lower 18: bytes of nine bits. A word of 36 bits is two
    places, a narrow one part of a byte, whose ninth bit is then not used. ``fields`` are as in `BlockMemory._block`.
    """
    stride = min(bits, 9)
    per_byte = 8 // bits if bits < 9 else 1
    memory = 0
    for index, word in enumerate(words):
        held = sum((word >> first & (1 << count) - 1) << place * stride for place, (first, count) in enumerate(fields))
        byte, part = divmod(index, per_byte) if bits < 9 else (index * bits // 9, 0)
        for more in range(max(1, bits // 9)):
            half, at = (byte + more) % 2, (byte + more) // 2
            memory |= (held >> 9 * more & 0x1FF) << 20 * at + 9 * half + part * bits
    width = 16 * 20
    values = {f"INITVAL_{row:02X}": memory >> width * row & (1 << width) - 1 for row in range(64)}
    return {name: Const(value, width) for name, value in values.items()} if memory else {}
