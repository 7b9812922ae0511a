"""Block RAM that returns garbage whenever silicon may, and shallow block RAM, to find designs that assume more.

Two cases are not visible in a netlist, because they depend on the time of an access: a word that is read in the cycle
in which it is written, and any word that is read before the block RAM has started after configuration. Where words may
share a row of an iCE40 block RAM, the first case includes a write to any word of the row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Print, Signal, Value
from amaranth.lib.memory import Memory

from spikeloom.hdl.lib import byte_memory
from spikeloom.hdl.tech import block_ram
from spikeloom.hdl.tech.ram import SHARED_ROWS
from spikeloom.sim.lib.words import bits_for

__all__ = ["COLLISION", "ROW_COLLISION", "garbage_block_ram", "random_block_ram", "shallow_block_ram"]

COLLISION = "a word is read while it is written"
ROW_COLLISION = "a word is read while another one of its row is written"
"""Message that the simulator prints for each collision."""


def garbage_block_ram(monkeypatch, *, start_cycles: int = 0) -> None:
    """Let all block RAM that is elaborated from now on return garbage where silicon may do so.

    ``start_cycles`` is the number of cycles from the start of the simulation in which every read returns garbage.
    """

    def registered_read(m: Module, memory: Memory, address: Value, *, enable: Value | None = None) -> Signal:
        """Like `spikeloom.hdl.tech.ram.registered_read`; the write ports must already exist."""
        read = memory.read_port(domain="comb")
        assert memory.write_ports, "a memory without a port to write cannot collide"
        data = Signal(memory.shape, reset_less=True)
        noise = Signal(64, init=0x9E3779B97F4A7C15 ^ memory.depth, reset_less=True)
        started = Signal(range(start_cycles + 1), reset_less=True)
        collides, row_collides = Signal(), Signal()
        # Like Yosys on an iCE40: the lowest address bits select the word within its row.
        column_bits = bits_for(block_ram.WORDS_PER_ROW) if SHARED_ROWS in memory.attrs else 0
        row = read.addr[column_bits:]
        m.d.comb += [
            read.addr.eq(address),
            collides.eq(Cat(port.en.any() & (port.addr == read.addr) for port in memory.write_ports).any()),
            row_collides.eq(Cat(port.en.any() & (port.addr[column_bits:] == row) for port in memory.write_ports).any()),
        ]
        # A multiplicative generator: its upper half is random enough, and is repeated in wide words.
        m.d.sync += noise.eq(noise * 6364136223846793005 + 1442695040888963407)
        garbage = noise[32:].replicate(-(-len(data) // 32))[: len(data)]
        with m.If(started != start_cycles):
            m.d.sync += started.eq(started + 1)
        with m.If(1 if enable is None else enable):
            m.d.sync += data.eq(Mux(row_collides | (started != start_cycles), garbage, read.data))
            with m.If(collides):
                m.d.sync += Print(COLLISION)
            with m.Elif(row_collides):
                m.d.sync += Print(ROW_COLLISION)
        return data

    for user in (block_ram, byte_memory):
        monkeypatch.setattr(user, "registered_read", registered_read)


def shallow_block_ram(monkeypatch) -> None:
    """Let a block RAM hold eight words from now on, so that small memories have the latency of large ones."""
    monkeypatch.setattr(block_ram, "_BLOCKS", ((1, 3),))


def random_block_ram(monkeypatch, rng: np.random.Generator) -> None:
    """Let block RAM that is elaborated from now on start with random words, unless it has initial contents.

    A reset in the middle of a run leaves such contents, because it clears no memory.
    """
    original = block_ram.block_memory

    def block_memory(width: int, depth: int, words: Sequence[int] = (), **options: bool) -> Memory:
        if not words:
            octets = -(-width // 8)
            words = [int.from_bytes(rng.bytes(octets)) % (1 << width) for _ in range(depth)]
        return original(width, depth, words, **options)

    monkeypatch.setattr(block_ram, "block_memory", block_memory)
