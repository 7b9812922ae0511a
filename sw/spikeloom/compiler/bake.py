"""Programs in bitstreams: a fabric whose memories hold a program from power-up."""

from __future__ import annotations

from dataclasses import replace

from spikeloom.compiler.program import Program
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.lib.contents import Contents, program_digest
from spikeloom.sim.lib.registers import BRIDGE_TILE

__all__ = ["bake"]


def bake(program: Program) -> FabricConfig:
    """Return the program's fabric with the program as its initial content; other programs can still be loaded.

    AER tiles still wait for the host to write ``sources``, so that they accept no event before a run.

    Raises ``ValueError`` if weights are in single-port RAM, which a bitstream cannot initialise.
    """
    fabric = program.fabric

    def contents(tile: int) -> Contents:
        left = fabric.tile(tile).left_to_host if tile != BRIDGE_TILE else frozenset()
        images = {image.memory: image.words for image in program.memories if image.tile == tile}
        return Contents(
            memories={
                memory: tuple(int.from_bytes(word.tobytes(), "little") for word in words)
                for memory, words in images.items()
            },
            registers={name: value for place, name, value in program.registers if place == tile and name not in left},
        )

    tiles = [None if tile is None else tile.holding(contents(number)) for number, tile in enumerate(fabric.tiles)]
    return replace(
        fabric,
        tiles=tuple(tiles),
        contents=contents(BRIDGE_TILE),
        program=program_digest(program.memories, program.registers),
    )
