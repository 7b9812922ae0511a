"""Tiles as wide as the weights that they hold.

A core stores all weights at one width, so that on equal tiles the widest weights of a network determine the width of
all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.place import place
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.network import QuantisedNetwork

__all__ = ["with_own_widths"]


def with_own_widths(
    fabric: FabricConfig, networks: Iterable[QuantisedNetwork], *, tiles: int | None = None, seed: int = 0
) -> FabricConfig:
    """Return ``fabric`` with each core as narrow as the weights of all ``networks`` in it allow.

    The networks are placed on ``fabric``, with ``tiles`` and ``seed`` as for `place`; weights of different widths get
    different tiles if there are enough. A core that holds nothing keeps its width. Raises `PlaceError` if a network
    does not fit.
    """
    widths: dict[int, int] = {}
    for network in networks:
        try:
            program = place(network, fabric, tiles=tiles, seed=seed, separate_widths=True)
        except PlaceError:
            program = place(network, fabric, tiles=tiles, seed=seed, separate_widths=False)
        parts = program.assignment.parts.network
        for population in parts.populations:
            tile = program.assignment.tile_of[population.name]
            widths[tile] = max(widths.get(tile, 1), parts.width_of(population.name))
    return FabricConfig(
        name=fabric.name,
        link=fabric.link,
        tiles=tuple(
            replace(tile, weight_width=widths.get(number, tile.weight_width))
            if isinstance(tile, CoreParameters)
            else tile
            for number, tile in enumerate(fabric.tiles)
        ),
        mesh=fabric.mesh,
        encoder=fabric.encoder,
        readout=fabric.readout,
    )
