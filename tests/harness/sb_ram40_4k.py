"""Simulation model of the iCE40 block RAM SB_RAM40_4K with 256 rows of 16 bits, as `hdl.tech.block_ram` uses it.

As in the simulation library of the vendor, a read returns garbage if any bit of its row is written in the same cycle.
"""

from typing import Any

from amaranth.hdl import Cat, Const, Elaboratable, Module, Mux, Signal, Value
from amaranth.lib.memory import Memory

from spikeloom.hdl.tech import block_ram

__all__ = ["simulated_ice40_block_ram"]


def simulated_ice40_block_ram(monkeypatch) -> None:
    """Let designs elaborated for an iCE40 from now on be simulated."""
    monkeypatch.setattr(block_ram, "Instance", _BlockRam)


class _BlockRam(Elaboratable):
    """An instance of SB_RAM40_4K, with its parameters and ports as Amaranth's ``Instance`` takes them."""

    def __init__(self, kind: str, **given: Any) -> None:
        assert kind == "SB_RAM40_4K"
        assert given["p_READ_MODE"] == given["p_WRITE_MODE"] == 0, "each row must hold one word"
        for name, width in (("RADDR", 11), ("WADDR", 11), ("WDATA", 16), ("MASK", 16)):
            assert len(Value.cast(given[f"i_{name}"])) == width
        self._given = given

    def elaborate(self, platform: object) -> Module:
        m = Module()
        given = self._given
        held = [given[f"p_INIT_{row:X}"].value >> 16 * word & 0xFFFF for row in range(16) for word in range(16)]
        m.submodules.memory = memory = Memory(shape=16, depth=256, init=held)
        write, read = memory.write_port(granularity=1), memory.read_port(domain="comb")
        reads = Value.cast(given["i_RE"]) & given["i_RCLKE"]
        writes = Value.cast(given["i_WE"]) & given["i_WCLKE"]
        read_word = Signal(16)
        m.d.comb += [
            write.addr.eq(Value.cast(given["i_WADDR"])[:8]),
            write.data.eq(given["i_WDATA"]),
            write.en.eq(~Value.cast(given["i_MASK"]) & writes.replicate(16)),
            read.addr.eq(Value.cast(given["i_RADDR"])[:8]),
            given["o_RDATA"].eq(read_word),
        ]
        garbage = Cat(Const(1), read_word[:-1]) ^ 0xA5C3
        with m.If(reads):
            m.d.sync += read_word.eq(Mux(writes & (read.addr == write.addr), garbage, read.data))
        return m
