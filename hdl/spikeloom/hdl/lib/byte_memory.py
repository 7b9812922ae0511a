"""A block RAM of bytes."""

from amaranth.hdl import Module
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from spikeloom.hdl.tech.ram import registered_read

__all__ = ["ByteMemory"]


class ByteMemory(Component):
    """A block RAM of bytes with one port to write and one to read; what a read of a byte just being written gives is
    left open.

    Because it is left open, no logic is spent on it, unlike with Amaranth's synchronous read port: an asynchronous
    read and a register after it become the read port of the block RAM. (The simulator gives the old byte.)

    Parameters
    ----------
    depth
        Bytes.
    init
        The first of them at power-up.

    Members
    -------
    write_enable : Signal, in
    write_address : Signal(bits of depth), in
    write_data : Signal(8), in
        A byte is written at the end of a cycle with ``write_enable``.
    address : Signal(bits of depth), in
        Of the byte to read.
    data : Signal(8), out
        The byte that was at the ``address`` of the cycle before.
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
            shape=8, depth=self.depth, init=self.init, attrs={"no_rw_check": 1, "ram_style": "block"}
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
