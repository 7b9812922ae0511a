"""Inferred memories: LUT RAM, and block RAM without bypass logic around it."""

from collections.abc import Sequence

from amaranth.hdl import Module, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spikeloom.sim.lib.words import bits_for

__all__ = ["SHARED_ROWS", "DistributedMemory", "block_memory", "registered_read"]


SHARED_ROWS = "shared_rows"
"""Attribute of a memory whose rows may hold several words (`spikeloom.hdl.tech.block_ram.BlockMemory`)."""


def block_memory(width: int, depth: int, words: Sequence[int] = (), *, shared_rows: bool = False) -> Memory:
    """A memory with undefined read-during-write behaviour.

    ``words`` are its initial contents. The attribute ``no_rw_check`` omits the logic by which Yosys otherwise
    makes such a read return the old word, as it does in the simulator. ``shared_rows`` becomes an attribute, too, which
    only simulations of collisions read.
    """
    attributes = {"no_rw_check": 1} | ({SHARED_ROWS: 1} if shared_rows else {})
    return Memory(shape=unsigned(width), depth=depth, init=words, attrs=attributes)


def registered_read(m: Module, memory: Memory, address: Value, *, enable: Value | None = None) -> Signal:
    """Add a synchronous read port to ``m`` and return its data: the word at the ``address`` of the previous cycle.

    The data are held while ``enable`` is low. Amaranth's own synchronous port would add the bypass logic again.
    """
    read = memory.read_port(domain="comb")
    # Without a reset, so that this register can become the read register of a block RAM as it is (`ByteMemory`).
    data = Signal(memory.shape, reset_less=True)
    m.d.comb += read.addr.eq(address)
    with m.If(1 if enable is None else enable):
        m.d.sync += data.eq(read.data)
    return data


class DistributedMemory(wiring.Component):
    """LUT RAM with asynchronous read. On ECP5, 16 words of 4 bits cost 6 LUTs.

    Parameters
    ----------
    width, depth
        Width in bits, and number of words.

    Members
    -------
    write_address : Signal(bits_for(depth)), in
    write_data : Signal(width), in
    write_enable : Signal, in
        Write port; the word is stored at the end of the cycle.
    address : Signal(bits_for(depth)), in
    data : Signal(width), out
        Read port; ``data`` is the word at ``address`` in the same cycle.
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
        # The read port is combinational: LUT RAM has no register, and its users add one where they need it.
        write, read = self.memory.write_port(), self.memory.read_port(domain="comb")
        m.d.comb += [
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            write.en.eq(self.write_enable),
            read.addr.eq(self.address),
            self.data.eq(read.data),
        ]
        return m
