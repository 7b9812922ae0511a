"""Memories that synthesis maps by itself: LUT RAM, and block RAM whose reads and writes need no logic around it."""

from collections.abc import Sequence

from amaranth.hdl import Module, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spikeloom.sim.lib.words import bits_for

__all__ = ["DistributedMemory", "block_memory", "registered_read"]


def block_memory(width: int, depth: int, words: Sequence[int] = ()) -> Memory:
    """A memory with undefined read-during-write behaviour.

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


class DistributedMemory(wiring.Component):
    """LUT RAM: ``data`` is the word at ``address`` in the same cycle. Each 4 bits of 16 words cost 6 LUT.

    Members
    -------
    write_address : Signal(bits_for(depth)), in
    write_data : Signal(width), in
    write_enable : Signal, in
        Written at the end of the cycle.
    address : Signal(bits_for(depth)), in
    data : Signal(width), out
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
