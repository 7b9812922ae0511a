"""Memories that the host loads byte by byte and the design reads word by word.

The configuration port carries one byte a cycle; ``plane`` says which byte of the word it is. So no wide shift register
is needed, whatever the width of the word: each byte of a word has a write enable of its own.
"""

from amaranth.hdl import Cat, Module, Shape, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, Signature

from spikeloom.sim import core
from spikeloom.sim.words import WordLayout, bits_for

__all__ = ["LoadPort", "LoadedMemory", "block_memory", "registered_read", "struct_layout"]


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


def block_memory(width: int, depth: int) -> Memory:
    """A memory of which nobody uses what a read gives of a word that is being written in that cycle.

    Saying so spares the logic with which Yosys otherwise makes such a read give the old word; the simulator gives it.
    """
    return Memory(shape=unsigned(width), depth=depth, init=[], attrs={"no_rw_check": 1})


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


class LoadedMemory(wiring.Component):
    """A memory of the host's, with one synchronous read port: ``data`` belongs to the ``address`` of the cycle before.

    With ``enable`` low ``data`` keeps its value. The host does not write what is being read.
    """

    def __init__(self, memory: core.Memory) -> None:
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
            memory = block_memory(width, self._memory.depth)
            m.submodules[name] = memory
            write = memory.write_port(granularity=8 if width > 8 else None)
            m.d.comb += [
                write.addr.eq(self.load.index),
                write.data.eq(self.load.write_data.replicate(planes)),
                write.en.eq(Cat(chosen & (self.load.plane == first_plane + plane) for plane in range(planes))),
            ]
            parts.append(registered_read(m, memory, self.address, enable=self.enable))
        m.d.comb += self.data.eq(Cat(*parts))
        return m
