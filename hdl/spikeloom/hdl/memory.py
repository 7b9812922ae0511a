"""Memories that the host loads byte by byte and the design reads word by word.

The configuration port carries one byte a cycle; ``plane`` says which byte of the word it is. So no wide shift register
is needed, whatever the width of the word: each byte of a word has a write enable of its own.
"""

from amaranth.hdl import Cat, Module, Shape, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory as AmaranthMemory
from amaranth.lib.wiring import In, Out, Signature

from spikeloom.sim.core import Memory
from spikeloom.sim.words import WordLayout, bits_for

__all__ = ["LoadPort", "LoadedMemory", "struct_layout"]


class LoadPort(Signature):
    """The write half of the configuration port: one byte a cycle, written at the end of its cycle."""

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


def struct_layout(layout: WordLayout) -> data.StructLayout:
    """The Amaranth view of a word; fields without width are left out."""
    return data.StructLayout({f.name: Shape(f.width, f.signed) for f in layout.fields if f.width})


class LoadedMemory(wiring.Component):
    """A memory of the host's, with one synchronous read port: ``data`` belongs to the ``address`` of the cycle before.

    With ``enable`` low ``data`` keeps its value. Reading and writing the same word in one cycle gives the old word.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        super().__init__(
            {
                "load": In(LoadPort()),
                "address": In(bits_for(memory.depth)),
                "enable": In(1),
                "data": Out(memory.width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        chosen = self.load.write_enable & (self.load.memory == self._memory.number)
        whole, rest = divmod(self._memory.width, 8)
        parts = []
        # The last byte may be narrower; on its own it wastes no memory on bits that nobody reads.
        for name, first_plane, planes, width in (("bytes", 0, whole, 8 * whole), ("rest", whole, int(rest > 0), rest)):
            if not planes:
                continue
            memory = AmaranthMemory(shape=unsigned(width), depth=self._memory.depth, init=[])
            m.submodules[name] = memory
            write = memory.write_port(granularity=8 if width > 8 else None)
            read = memory.read_port()
            m.d.comb += [
                write.addr.eq(self.load.index),
                write.data.eq(self.load.write_data.replicate(planes)),
                write.en.eq(Cat(chosen & (self.load.plane == first_plane + plane) for plane in range(planes))),
                read.addr.eq(self.address),
                read.en.eq(self.enable),
            ]
            parts.append(read.data)
        m.d.comb += self.data.eq(Cat(*parts))
        return m
