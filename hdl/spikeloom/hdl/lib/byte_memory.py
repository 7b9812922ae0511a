"""A block RAM of bytes."""

from amaranth.hdl import Module
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from spikeloom.hdl.tech.ram import SHARED_ROWS, registered_read

__all__ = ["ByteMemory"]


class ByteMemory(Component):
    """A block RAM of bytes with one write and one read port and undefined read-during-write behaviour.

    On an iCE40, several bytes share a row of the block RAM, and a read in the cycle in which any byte of the row is
    written is undefined (`spikeloom.hdl.tech.block_ram`). Its users must not rely on such a read.

    Unlike Amaranth's synchronous read port this needs no bypass logic: an asynchronous read followed by a register is
    mapped to the read port of the block RAM. The simulator returns the old byte.

    Parameters
    ----------
    depth
        Number of bytes.
    init
        Initial contents, from address 0 on.

    Members
    -------
    write_enable : Signal, in
    write_address : Signal(range(depth)), in
    write_data : Signal(8), in
        Write port; the byte is stored at the end of the cycle.
    address : Signal(range(depth)), in
        Read address.
    data : Signal(8), out
        The byte at the ``address`` of the previous cycle.
    """

    def __init__(self, depth: int, init: bytes = b""):
        self.depth = depth
        self.init = init
        width = (depth - 1).bit_length()
        super().__init__(
            {
                "write_enable": In(1),
                "write_address": In(width),
                "write_data": In(8),
                "address": In(width),
                "data": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=8, depth=self.depth, init=self.init, attrs={"no_rw_check": 1, "ram_style": "block", SHARED_ROWS: 1}
        )
        write = memory.write_port()
        m.d.comb += [
            write.en.eq(self.write_enable),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            # The register has no reset: with one, Yosys drives the read reset of the block RAM, and an ECP5 without
            # output register then reads zeros at every address.
            self.data.eq(registered_read(m, memory, self.address)),
        ]
        return m
