"""Memories that the host loads byte by byte and the design reads word by word.

The configuration port carries one byte a cycle; ``plane`` says which byte of the word it is. So no wide shift register
is needed, whatever the width of the word: each byte of a word has a write enable of its own.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from amaranth.hdl import Array, Cat, ClockSignal, Const, Instance, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, Signature

from spikeloom.hdl.tech.ecp5_carry import far_copies, is_ecp5
from spikeloom.sim.core import parameters as core
from spikeloom.sim.lib.words import WordLayout, bits_for

__all__ = [
    "BlockMemory",
    "DistributedMemory",
    "LoadPort",
    "LoadedMemory",
    "SinglePortMemory",
    "block_memory",
    "load_copies",
    "load_register",
    "registered_read",
    "struct_layout",
]


class LoadPort(Signature):
    """The write half of the configuration port: one byte a cycle."""

    def __init__(self) -> None:
        super().__init__(
            {
                "write_enable": Out(1),
                "memory": Out(4),
                "plane": Out(10),
                "index": Out(18),
                "write_data": Out(8),
            }
        )


def load_register(m: Module, load: Any) -> wiring.PureInterface:
    """A copy that is a cycle later of ``load``, a `LoadPort` or a port with its members."""
    copy = LoadPort().create()
    for name in LoadPort().members:
        m.d.sync += getattr(copy, name).eq(getattr(load, name))
    return copy


def load_copies(m: Module, platform: object, load: Any, count: int) -> list[wiring.PureInterface]:
    """``count`` copies of ``load``, a `LoadPort` or a port with its members, as `far_copies` makes them."""
    names = LoadPort().members
    ports = [LoadPort().create() for _ in range(count)]
    copies = far_copies(m, platform, Cat(getattr(load, name) for name in names), count)
    m.d.comb += [Cat(getattr(port, n) for n in names).eq(copy) for port, copy in zip(ports, copies, strict=True)]
    return ports


def struct_layout(layout: WordLayout) -> data.StructLayout:
    """The Amaranth view of a word; fields without width are left out."""
    return data.StructLayout({f.name: Shape(f.width, f.signed) for f in layout.fields if f.width})


def block_memory(width: int, depth: int, words: Sequence[int] = ()) -> Memory:
    """A memory of which nobody uses what a read gives of a word that is being written in that cycle.

    It holds ``words`` from power-up.

    Saying so spares the logic with which Yosys otherwise makes such a read give the old word; the simulator gives it.
    """
    return Memory(shape=unsigned(width), depth=depth, init=words, attrs={"no_rw_check": 1})


def registered_read(m: Module, memory: Memory, address: Value, *, enable: Value | None = None) -> Signal:
    """Adds a synchronous read port to ``m`` and returns its data: the word at the ``address`` of the cycle before.

    With ``enable`` low the data stay. (Amaranth's own synchronous port would bring the logic back.)
    """
    read = memory.read_port(domain="comb")
    data = Signal(memory.shape, reset_less=True)
    m.d.comb += read.addr.eq(address)
    with m.If(1 if enable is None else enable):
        m.d.sync += data.eq(read.data)
    return data


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
    write_address, write_data, write_enable
        Written at the end of the cycle; a bit of ``write_enable`` for each part of the word.
    address, enable
        Read at the end of the cycle, if ``enable`` is high.
    output_enable
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


class DistributedMemory(wiring.Component):
    """LUT RAM: ``data`` is the word at ``address`` in the same cycle. Each 4 bits of 16 words cost 6 LUT.

    Members
    -------
    write_address, write_data, write_enable
        Written at the end of the cycle.
    address, data
        Read at once.
    """

    def __init__(self, width: int, depth: int) -> None:
        self.memory = Memory(shape=unsigned(width), depth=depth, init=[], attrs={"ram_style": "distributed"})
        super().__init__(
            {
                "write_address": In(bits_for(depth)),
                "write_data": In(width),
                "write_enable": In(1),
                "address": In(bits_for(depth)),
                "data": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = self.memory
        write, read = self.memory.write_port(), self.memory.read_port(domain="comb")
        m.d.comb += [
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            write.en.eq(self.write_enable),
            read.addr.eq(self.address),
            self.data.eq(read.data),
        ]
        return m


class SinglePortMemory(wiring.Component):
    """As `BlockMemory`, but with one port: in a cycle that writes nothing is read, and ``data`` are unknown.

    An iCE40 UP5K has four of them, of 16,384 words of 16 bits, beside 30 block RAMs of 256 such words. Synthesis never
    uses them, so they are instantiated here. Elsewhere this is a block RAM.

    Parameters
    ----------
    width, depth
        Of the memory, in bits and words. Bytes of a word are written one by one.

    Members
    -------
    write_address, write_data, write_enable
        Written at the end of the cycle; a bit of ``write_enable`` for each byte of the word.
    address
        Read at the end of the cycle, if nothing is written.
    data
        What was read, `latency` cycles after its ``address``.
    """

    def __init__(self, width: int, depth: int) -> None:
        self.width, self.depth = width, depth
        self.latency = 2 if depth <= _SINGLE_PORT_DEPTH else 3
        super().__init__(
            {
                "write_address": In(bits_for(depth)),
                "write_data": In(width),
                "write_enable": In(-(-width // 8)),
                "address": In(bits_for(depth)),
                "data": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        writes = self.write_enable.any()
        if getattr(platform, "device", None) == "iCE40UP5K":
            self._instantiate(m, writes)
            return m
        m.submodules.memory = memory = BlockMemory(self.width, self.depth, part=8)
        m.d.comb += [
            memory.write_address.eq(self.write_address),
            memory.write_data.eq(self.write_data),
            memory.write_enable.eq(self.write_enable),
            memory.address.eq(self.address),
            self.data.eq(memory.data),
        ]
        if memory.latency == 2:  # (Deeper block RAMs must stay enabled.)
            m.d.comb += memory.enable.eq(~writes)
        return m

    def _instantiate(self, m: Module, writes: Value) -> None:
        """Single-port RAMs, each for two bytes of a word; where one is not deep enough, several."""
        used = bits_for(min(self.depth, _SINGLE_PORT_DEPTH))
        block_count = -(-self.depth // _SINGLE_PORT_DEPTH)
        address = Mux(writes, self.write_address, self.address)
        outputs = []
        for block in range(block_count):
            here = self.write_address[used:] == block if block_count > 1 else Const(1)
            word = Signal(self.width, name=f"data_{block}")
            outputs.append(word)
            for number, first in enumerate(range(0, self.width, 16)):
                count = min(16, self.width - first)
                enables = self.write_enable[first // 8 : first // 8 + 2]
                read = Signal(16, name=f"read_{block}_{number}")
                m.d.comb += word[first : first + count].eq(read)
                m.submodules[f"block{block}_{number}"] = Instance(
                    "SB_SPRAM256KA",
                    i_CLOCK=ClockSignal(),
                    i_ADDRESS=Cat(address[:used], Const(0, 14 - used)),
                    i_DATAIN=Cat(self.write_data[first : first + count], Const(0, 16 - count)),
                    i_MASKWREN=Cat(enables[0].replicate(2), enables[-1].replicate(2)),
                    i_WREN=writes & here,
                    i_CHIPSELECT=Const(1),
                    i_STANDBY=Const(0),
                    i_SLEEP=Const(0),
                    i_POWEROFF=Const(1),  # low is off
                    o_DATAOUT=read,
                )
        output = Signal(self.width, reset_less=True)
        m.d.comb += self.data.eq(output)
        if block_count == 1:
            m.d.sync += output.eq(outputs[0])
        else:
            chosen, read = Signal(range(block_count)), Signal(self.width, reset_less=True)
            m.d.sync += [chosen.eq(self.address[used:]), read.eq(Array(outputs)[chosen]), output.eq(read)]


_SINGLE_PORT_DEPTH = 1 << 14
"""Words of an iCE40 UP5K's single-port RAM."""


class LoadedMemory(wiring.Component):
    """A memory of the host's, read as `BlockMemory` is: ``data`` belongs to the ``address`` `latency` cycles before.

    The host does not write what is being read; where the memory has a single port, it does not write while it is read.

    Parameters
    ----------
    memory
        What it is.
    single_port
        Whether it is made of a `SinglePortMemory`; then ``enable`` and ``output_enable`` must stay high.
    part, parts
        Of the ``parts`` equal parts, of whole bytes, that each word is cut into, this is number ``part``, the lowest
        first.

    Members
    -------
    load
        From the host, a byte a cycle, which is written at the end of the next one; in a part, of the one after that.
    address, enable, output_enable, data
        As of `BlockMemory`.
    """

    def __init__(self, memory: core.Memory, *, single_port: bool = False, part: int = 0, parts: int = 1) -> None:
        if memory.width % (8 * parts) and parts > 1:
            raise ValueError(f"parts must cut words of {memory.width} bits into whole bytes, not {parts!r}")
        self._number = memory.number
        self._width = memory.width // parts
        self._write_latency = 1 if parts == 1 else 2
        self._first_plane = part * self._width // 8
        self._block: BlockMemory | SinglePortMemory
        if single_port:
            self._block = SinglePortMemory(self._width, memory.depth)
        else:
            low, mask = part * self._width, (1 << self._width) - 1
            words = [word >> low & mask for word in memory.words]
            self._block = BlockMemory(self._width, memory.depth, part=8, words=words)
        self.latency = self._block.latency
        super().__init__(
            {
                "load": In(LoadPort()),
                "address": In(bits_for(memory.depth)),
                "enable": In(1, init=1),
                "output_enable": In(1, init=1),
                "data": Out(self._width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width, first = self._width, self._first_plane
        planes = -(-width // 8)
        m.submodules.memory = memory = self._block
        chosen = self.load.write_enable & (self.load.memory == self._number)
        write_address, write_data = self.load.index[: len(memory.write_address)], self.load.write_data
        write_enable = Cat(chosen & (self.load.plane == first + plane) for plane in range(planes))
        # Registers, because the block RAMs of a memory may be far apart. A part has two in a row, so that which byte is
        # meant need not be found where it is written.
        written = Cat(write_address, write_data, write_enable)
        for cycle in range(self._write_latency):
            register = Signal.like(written, name=f"written_{cycle}", reset_less=True)
            m.d.sync += register.eq(written)
            written = register
        byte = Signal(8)
        m.d.comb += [
            Cat(memory.write_address, byte, memory.write_enable).eq(written),
            memory.write_data.eq(byte.replicate(planes)[:width]),
            memory.address.eq(self.address),
            self.data.eq(memory.data),
        ]
        if isinstance(memory, BlockMemory):
            m.d.comb += [memory.enable.eq(self.enable), memory.output_enable.eq(self.output_enable)]
        return m
