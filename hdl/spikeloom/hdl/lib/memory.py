"""Memories that the host writes byte by byte and the design reads word by word.

The configuration port carries one byte per cycle, and ``plane`` selects its byte lane in the word. Each byte lane has
its own write enable, so that words of any width need no shift register.
"""

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, Signature

from spikeloom.hdl.tech.block_ram import BlockMemory
from spikeloom.hdl.tech.ecp5_carry import far_copies
from spikeloom.hdl.tech.ice40_spram import SinglePortMemory
from spikeloom.sim.lib.memory import Memory as LoadableMemory
from spikeloom.sim.lib.words import bits_for

__all__ = ["LoadPort", "LoadedMemory", "load_copies", "load_register"]


class LoadPort(Signature):
    """The write half of the configuration port: one byte per cycle.

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
    """

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
    """Register ``load``, a `LoadPort` or a port with its members, and return the copy."""
    copy = LoadPort().create()
    for name in LoadPort().members:
        m.d.sync += getattr(copy, name).eq(getattr(load, name))
    return copy


def load_copies(m: Module, platform: object, load: Any, count: int) -> list[wiring.PureInterface]:
    """Return ``count`` copies of ``load``, a `LoadPort` or a port with its members, made by `far_copies`."""
    names = LoadPort().members
    ports = [LoadPort().create() for _ in range(count)]
    copies = far_copies(m, platform, Cat(getattr(load, name) for name in names), count)
    m.d.comb += [Cat(getattr(port, n) for n in names).eq(copy) for port, copy in zip(ports, copies, strict=True)]
    return ports


class LoadedMemory(wiring.Component):
    """A memory written by the host and read like a `BlockMemory`: ``data`` follows its ``address`` by `latency` cycles.

    The host must not write a word that is being read. If the memory has a single port, it must not write during reads.

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

    Members
    -------
    load : LoadPort, in
        Write port for the host. A byte is stored at the end of the next cycle, or one cycle later in a slice.
    address : Signal(bits_for(memory.depth)), in
    enable, output_enable : Signal, in
    data : Signal(_width), out
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
    ) -> None:
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
            self._block = BlockMemory(self._width, memory.depth, part=8, words=words, pipelined=pipelined)
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
        # A bank's slice starts at its own byte lane: hosts see one wide word, whatever the number of banks.
        planes = -(-width // 8)
        m.submodules.memory = memory = self._block
        chosen = self.load.write_enable & (self.load.memory == self._number)
        write_address, write_data = self.load.index[: len(memory.write_address)], self.load.write_data
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
        return m
