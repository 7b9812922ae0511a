"""All registers and memories of a fabric, and ``docs/registers.md``, which is generated from them.

Each kind of tile declares its own next to its parameters (`spikeloom.sim.core.registers` and so on).
"""

from __future__ import annotations

from collections.abc import Sequence

from spikeloom.sim.core.registers import CORE
from spikeloom.sim.fabric.kinds import KINDS
from spikeloom.sim.host.registers import BRIDGE
from spikeloom.sim.lib.registers import BRIDGE_TILE, REGISTER_MEMORY, RegisterMap
from spikeloom.sim.noc.registers import ROUTER
from spikeloom.sim.sdram.registers import SDRAM

__all__ = ["REGISTER_MAPS", "register_map", "to_markdown"]

REGISTER_MAPS = (BRIDGE, *(kind.register_map for kind in KINDS), ROUTER, SDRAM)
"""The maps of all kinds of tiles that come with spikeloom."""


def register_map(tile: int) -> RegisterMap:
    """The registers of a tile of a fabric of cores: tile 0 is the bridge, all others are cores.

    `FabricConfig.register_map` also serves fabrics with other kinds of tiles.
    """
    return BRIDGE if tile == BRIDGE_TILE else CORE


def to_markdown(maps: Sequence[RegisterMap] = REGISTER_MAPS) -> str:
    """The text of ``docs/registers.md``."""
    head = f"""# Registers and memories

Generated from `sim/spikeloom/sim/*/registers.py`: `python -m spikeloom.sim.fabric.register_maps > docs/registers.md`.

Addresses are those of the [host protocol](host-protocol.md): tile, memory, plane, index. The registers of a tile are
its memory {REGISTER_MEMORY}, unless stated otherwise, in plane 0; the index is the byte offset, and a register of
several bytes is stored lowest byte first. Unlisted offsets read as 0 and ignore writes. A register that the hardware
changes during a read of several bytes can return a mix of old and new bytes: read counters while the fabric is idle.

A new session sets every register to its reset value, or to the value of the program that is part of the bitstream;
memories keep their contents. [Memory words](memory-words.md) has the layout of every word.

"""
    return head + "\n".join(register_map.to_markdown() for register_map in maps)


if __name__ == "__main__":
    print(to_markdown(), end="")
