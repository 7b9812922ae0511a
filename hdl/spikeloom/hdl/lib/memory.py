"""Memories that the host writes byte by byte and the design reads word by word.

The configuration port carries one byte per cycle, and ``plane`` selects its byte lane in the word. Each byte lane has
its own write enable, so that words of any width need no shift register.
"""

from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, Signature

from spikeloom.hdl.tech.block_ram import BlockMemory
from spikeloom.hdl.tech.ecp5_carry import far_copies
from spikeloom.hdl.tech.ice40_spram import SinglePortMemory
from spikeloom.sim.lib.memory import Memory as LoadableMemory
from spikeloom.sim.lib.words import bits_for

__all__ = ["LoadFan", "LoadPort", "LoadedMemory", "connect_registers", "load_copies", "load_register"]

_GROUP_BITS = 4
GROUP = 1 << _GROUP_BITS
"""Bytes of a word among which one stage selects when a memory is read back."""


class LoadPort(Signature):
    """The part of the configuration port that memories use: one byte per cycle is written.

    Parameters
    ----------
    read_back
        Memories can be read too, as by `spikeloom.hdl.lib.registers.ConfigurationPort`.

    Members
    -------
    write_enable : Signal, out
        Write at the end of this cycle.
    memory : Signal(4), out
    plane : Signal(10), out
    index : Signal(18), out
        Number of the memory, byte lane and word. For registers ``index`` counts bytes.
    write_data : Signal(8), out
        The byte to write.
    reading : Signal, out
    read_data : Signal(8), in
        With ``read_back``: the memory may be read, and its byte; 0 unless ``memory`` and ``plane`` are those of a
        memory.
    """

    def __init__(self, *, read_back: bool = False) -> None:
        super().__init__(
            {
                "write_enable": Out(1),
                "memory": Out(4),
                "plane": Out(10),
                "index": Out(18),
                "write_data": Out(8),
                **({"reading": Out(1), "read_data": In(8)} if read_back else {}),
            }
        )


def _requests(load: Any) -> list[str]:
    """The names of the signals of ``load`` that are driven towards the memories."""
    return [*LoadPort().members, *(["reading"] if _reads_back(load) else [])]


def _reads_back(load: Any) -> bool:
    return "reading" in load.signature.members


def load_register(m: Module, load: Any) -> wiring.PureInterface:
    """Register ``load``, a `LoadPort` or a port with its members, and return the copy. Read data are not connected."""
    copy = LoadPort(read_back=_reads_back(load)).create()
    for name in _requests(load):
        m.d.sync += getattr(copy, name).eq(getattr(load, name))
    return copy


class LoadFan:
    """Connects the load port of a component to those of its parts, and combines their read data.

    Call `connect` for each part, then `finish` once.
    """

    def __init__(self, m: Module, load: Any) -> None:
        self._m, self._load = m, load
        self._parts: list[Any] = []

    def connect(self, part: Any) -> None:
        """Connect the port ``part``."""
        # Nothing to combine: all signals lead to the parts.
        if not _reads_back(self._load):
            wiring.connect(self._m, wiring.flipped(self._load), part)
            return
        self._m.d.comb += [getattr(part, name).eq(getattr(self._load, name)) for name in _requests(self._load)]
        self._parts.append(part)

    def finish(self) -> None:
        """Combine the read data. A memory that is not read drives 0."""
        if self._parts:
            self._m.d.comb += self._load.read_data.eq(reduce(or_, (part.read_data for part in self._parts)))


def connect_registers(m: Module, port: Any, registers: Any, load: Any) -> None:
    """Connect the configuration ``port`` of a tile with read-back to its ``registers``. The read data of ``port`` are
    those of the registers or, through the port ``load``, of the memories."""
    m.d.comb += [getattr(registers, name).eq(getattr(port, name)) for name in LoadPort().members]
    m.d.comb += port.read_data.eq(registers.read_data | load.read_data)


def load_copies(m: Module, platform: object, load: Any, count: int) -> list[wiring.PureInterface]:
    """Return ``count`` copies of ``load``, a `LoadPort` or a port with its members, made by `far_copies`."""
    names = _requests(load)
    ports = [LoadPort(read_back=_reads_back(load)).create() for _ in range(count)]
    copies = far_copies(m, platform, Cat(getattr(load, name) for name in names), count)
    m.d.comb += [Cat(getattr(port, n) for n in names).eq(copy) for port, copy in zip(ports, copies, strict=True)]
    if _reads_back(load):
        # On the way back one register is enough: the byte of a bank is a register, and nothing follows in this cycle.
        found = reduce(or_, (port.read_data for port in ports))
        domain = m.d.comb if count == 1 else m.d.sync
        domain += load.read_data.eq(found)
    return ports


class LoadedMemory(wiring.Component):
    """A memory written by the host and read like a `BlockMemory`: ``data`` follows ``address`` by ``latency`` cycles.

    The host must not write a word that is being read, or another one of its row in an iCE40
    (`spikeloom.hdl.tech.block_ram.WORDS_PER_ROW`). If the memory has a single port, it must not write during reads.
    While the host reads the memory back, ``address`` is ignored and ``data`` holds the host's word.

    Parameters
    ----------
    memory
        Number, shape and contents.
    single_port
        Use a `SinglePortMemory`; then ``enable`` and ``output_enable`` must stay high.
    pipelined
        As for `BlockMemory`. A `SinglePortMemory` is always pipelined.
    part, parts
        Each word is divided into ``parts`` equal slices of whole bytes; this memory holds slice ``part``, counted from
        the lowest bits.
    column, columns
        The words are divided among ``columns`` memories, a power of two; this one holds every ``columns``-th word, from
        word ``column`` on. ``address`` counts its own words.
    read_back
        The host can read it.

    Members
    -------
    load : LoadPort, in
        Write port for the host. A byte is stored at the end of the next cycle, or one cycle later in a slice.
    address : Signal(bits_for(memory.depth // columns)), in
    enable, output_enable : Signal, in
    data : Signal(memory.width // parts), out
        As for `BlockMemory`.
    """

    def __init__(
        self,
        memory: LoadableMemory,
        *,
        single_port: bool = False,
        pipelined: bool = False,
        part: int = 0,
        parts: int = 1,
        column: int = 0,
        columns: int = 1,
        read_back: bool = False,
    ) -> None:
        if memory.width % (8 * parts) and parts > 1:
            raise ValueError(f"parts must cut words of {memory.width} bits into whole bytes, not {parts!r}")
        if columns & (columns - 1) or memory.depth % columns:
            raise ValueError(
                f"columns must be a power of two that divides the {memory.depth} words among them, not {columns!r}"
            )
        depth = memory.depth // columns
        self._column, self._column_bits = column, columns.bit_length() - 1
        self._number = memory.number
        self._read_back = read_back
        self._width = memory.width // parts
        self._write_latency = 1 if parts == 1 else 2
        self._first_plane = part * self._width // 8
        self._block: BlockMemory | SinglePortMemory
        if single_port:
            self._block = SinglePortMemory(self._width, depth)
        else:
            low, mask = part * self._width, (1 << self._width) - 1
            # Initial contents of this slice only. A single-port memory has none: its RAM cannot be initialised by a
            # bitstream.
            words = [word >> low & mask for word in memory.words[column::columns]]
            # The host writes while the design does not read, so rows need not be kept apart.
            self._block = BlockMemory(self._width, depth, part=8, words=words, pipelined=pipelined, shared_rows=True)
        self.latency = self._block.latency
        super().__init__(
            {
                "load": In(LoadPort(read_back=read_back)),
                "address": In(bits_for(depth)),
                "enable": In(1, init=1),
                "output_enable": In(1, init=1),
                "data": Out(self._width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width, first = self._width, self._first_plane
        # A bank's slice starts at its own byte lane: hosts see one wide word, whatever the number of banks.
        planes = -(-width // 8)
        m.submodules.memory = memory = self._block
        chosen = self._is_addressed(self.load.write_enable)
        write_address = self.load.index[self._column_bits :][: len(memory.write_address)]
        write_data = self.load.write_data
        write_enable = Cat(chosen & (self.load.plane == first + plane) for plane in range(planes))
        # The writes are registered, because the block RAMs of a memory may be far apart. A slice has two registers in
        # series, which separates the decoding of the byte lane from the long wires.
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
        if self._read_back:
            self._elaborate_read_back(m, memory, planes)
        return m

    def _is_addressed(self, enable: Value) -> Value:
        """Whether the host addresses a word of this memory while ``enable`` is high."""
        addressed = enable & (self.load.memory == self._number)
        return addressed & (self.load.index[: self._column_bits] == self._column) if self._column_bits else addressed

    def _elaborate_read_back(self, m: Module, memory: BlockMemory | SinglePortMemory, planes: int) -> None:
        """Read the word at the host's index and select its byte.

        The address is held for `READ_BACK_CYCLES`, so the stages need not be aligned with each other.
        """
        selected = self._is_addressed(self.load.reading)
        for cycle in range(self._write_latency):
            register = Signal(name=f"selected_{cycle}")
            m.d.sync += register.eq(selected)
            selected = register
        with m.If(selected):
            # The registers of the write port carry the host's index as far as the memory; `selected` has the same
            # delay.
            m.d.comb += memory.address.eq(memory.write_address)
            if isinstance(memory, BlockMemory):
                # The design may be holding a word; the read of the host must go through regardless.
                m.d.comb += [memory.enable.eq(1), memory.output_enable.eq(1)]
        # Two stages: a byte of each group, then the byte of a group. A plane of another slice is beyond all groups.
        plane = Signal.like(self.load.plane)
        word = Cat(memory.data, Const(0, 8 * planes - self._width))
        groups = [word[first : first + 8 * GROUP] for first in range(0, 8 * planes, 8 * GROUP)]
        bytes_of = [Signal(8, name=f"byte_{number}") for number in range(len(groups))]
        place, group = plane[:_GROUP_BITS], plane[_GROUP_BITS:]
        m.d.sync += [plane.eq(self.load.plane - self._first_plane)]
        m.d.sync += [byte.eq(part.word_select(place, 8)) for byte, part in zip(bytes_of, groups, strict=True)]
        # 0 while another memory is addressed, since the read data of all memories are combined by OR.
        m.d.sync += self.load.read_data.eq(0)
        for number, byte in enumerate(bytes_of):
            with m.If(selected & (group == number)):
                m.d.sync += self.load.read_data.eq(byte)
