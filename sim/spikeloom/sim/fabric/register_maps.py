"""Every register and memory of the fabric, and ``docs/registers.md``, the page made from them.

Each kind of tile declares its own beside its parameters (`spikeloom.sim.core.registers` and so on).
"""

from __future__ import annotations

from collections.abc import Sequence

from spikeloom.sim.core.registers import CORE
from spikeloom.sim.fabric.kinds import KINDS
from spikeloom.sim.host.registers import BRIDGE
from spikeloom.sim.lib.registers import BRIDGE_TILE, REGISTER_MEMORY, RegisterMap
from spikeloom.sim.noc.registers import ROUTER

__all__ = ["REGISTER_MAPS", "register_map", "to_markdown"]

REGISTER_MAPS = (BRIDGE, *(kind.register_map for kind in KINDS), ROUTER)
"""The maps of all kinds of tiles that come with spikeloom."""


def register_map(tile: int) -> RegisterMap:
    """The registers of a tile of a fabric of cores: tile 0 is the bridge, all others are cores.

    `FabricConfig.register_map` knows fabrics of other tiles too.
    """
    return BRIDGE if tile == BRIDGE_TILE else CORE


def to_markdown(maps: Sequence[RegisterMap] = REGISTER_MAPS) -> str:
    """The text of ``docs/registers.md``."""
    head = f"""# Registers and memories

Generated from `sim/spikeloom/sim/*/registers.py`: `python -m spikeloom.sim.fabric.register_maps > docs/registers.md`.

Addresses are those of [the messages](host-protocol.md): tile, memory, plane, index. The registers of a tile are its
memory {REGISTER_MEMORY}, if nothing else is said, plane 0; the index is the offset in bytes, and a register of several
bytes has its lowest byte first. What is not listed reads as 0 and ignores writes. A register that the hardware changes
while it is being read byte by byte can come out torn: read counters while the fabric is idle.

A new session gives every register its reset value, or that of the program that the bitstream has brought; it leaves the
memories as they are.

"""
    return head + "\n".join(register_map.to_markdown() for register_map in maps)


if __name__ == "__main__":
    print(to_markdown(), end="")
