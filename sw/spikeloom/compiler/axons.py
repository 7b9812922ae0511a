"""Axon allocation: each source gets a block of numbers that is free in all of its target tiles.

A spike carries one axon for all receivers. Each source therefore has a *block* of axons and rows at the same addresses
in all of its target tiles, including its own; the host uses the same axons. Blocks are allocated in network order, the
input first, each at the first address that is free in all of its tiles. With one core they are contiguous. A source
that leads only to the host takes no rows, only numbers that no other source sends to the host. A source that a unit
reads starts at a page of the unit's tile and is numbered there like the unit's own neurons.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.synapses import Block, RowError
from spikeloom.compiler.tiles.registry import compiler_of
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.registers import BRIDGE_TILE
from spikeloom.sim.lib.tile import TileParameters
from spikeloom.sim.network.network import QuantisedNetwork

__all__ = ["allocate", "sinks_of"]


def allocate(
    network: QuantisedNetwork,
    tile_of: Mapping[str, int],
    cores: Mapping[int, CoreParameters],
    units: Mapping[str, TileParameters],
    blocks: dict[str, Block],
    observed: Collection[str],
) -> dict[str, NDArray[np.int64]]:
    """Place each of ``blocks`` at the first address that is free in all of its tiles; return the axons of each source.

    The axons ``(n,)`` of a source are in the order of its neurons. Blocks that do not fit lie beyond the end: the
    caller refuses them by their count.
    """
    pages = _Pages(network, units)
    rows = sum(block.rows + pages.rows(name, block) for name, block in blocks.items())
    space = rows + max(core.axons for core in cores.values())
    taken = {tile: np.zeros(space, bool) for tile in cores}
    width = max((block.coordinate_width for block in blocks.values()), default=0)
    host = np.zeros((space << 2 * width) + network.neurons + pages.space, bool)
    axons: dict[str, NDArray[np.int64]] = {}
    for name in network.sources:
        sinks = sinks_of(network, name, tile_of, observed)
        if name in blocks:
            block = blocks[name]
            tiles = [taken[tile] for tile in sinks if tile in cores]
            occupied = np.logical_or.reduce(tiles)
            if BRIDGE_TILE in sinks:
                size = 1 << 2 * block.coordinate_width
                occupied = occupied | host[: space * size].reshape(space, size).any(axis=1)
            occupied |= pages.occupied(name, block, space)
            blocks[name] = block = replace(block, first=_first_free(occupied, block.rows, pages.rows(name, block)))
            for tile in tiles:
                tile[block.first : block.first + block.rows] = True
            axons[name] = block.axons
        elif name in pages.names or name in observed:
            step = pages.size(name)
            occupied = host if name in observed else np.zeros_like(host)
            occupied = occupied | pages.taken(name, len(host))
            axons[name] = _first_free(occupied, network.size(name), step) + np.arange(network.size(name))
        if BRIDGE_TILE in sinks:
            host[axons[name]] = True
        pages.take(name, axons)
    return axons


class _Pages:
    """Pages of tiles with units: a source of a unit starts at a page boundary in all tiles that read it."""

    def __init__(self, network: QuantisedNetwork, units: Mapping[str, TileParameters]) -> None:
        self._readers = {
            name: [unit.name for unit in network.readers(name)] for name in network.sources if network.readers(name)
        }
        self._axons = {name: compiler_of(tile).page_axons(tile) for name, tile in units.items()}
        self._taken: dict[str, list[tuple[int, int]]] = {name: [] for name in units}
        self.names = frozenset(self._readers)
        self.space = 4 * sum(self._axons.values())

    def size(self, name: str) -> int:
        """Return the page size in axons at which ``name`` must start; 1 if no unit reads it."""
        return max((self._axons[reader] for reader in self._readers.get(name, ())), default=1)

    def rows(self, name: str, block: Block) -> int:
        """Return the page size in rows."""
        return max(1, self.size(name) >> 2 * block.coordinate_width)

    def taken(self, name: str, space: int) -> NDArray[np.bool_]:
        """Return a mask ``(space,)`` of the axons in pages used by other sources in the tiles that read ``name``."""
        found = np.zeros(space, bool)
        for reader in self._readers.get(name, ()):
            for first, stop in self._taken[reader]:
                found[first:stop] = True
        return found

    def occupied(self, name: str, block: Block, space: int) -> NDArray[np.bool_]:
        """Like `taken`, in rows. Raises `RowError` if a tile cannot identify the neurons by the axons of ``block``."""
        if name not in self._readers:
            return np.zeros(space, bool)
        if not np.array_equal(replace(block, first=0).axons, np.arange(block.size)):
            raise RowError(
                f"population {name}: because {self._readers[name][0]} reads it, it may lead to at most one population "
                "in each other tile, and to convolutions and poolings only if their shape equals the coordinates of "
                "the tiles"
            )
        a_row = 1 << 2 * block.coordinate_width
        rows: NDArray[np.bool_] = np.logical_or.reduce(self.taken(name, space * a_row).reshape(space, a_row), axis=1)
        return rows

    def take(self, name: str, axons: Mapping[str, NDArray[np.int64]]) -> None:
        """Record the axons of ``name``."""
        for reader in self._readers.get(name, ()):
            first = int(axons[name][0])
            self._taken[reader].append((first, first + max(self._axons[reader], len(axons[name]))))


def _first_free(taken: NDArray[np.bool_], count: int, step: int = 1) -> int:
    """Return the first of ``count`` consecutive free places, a multiple of ``step``."""
    before = np.concatenate([[0], np.cumsum(taken)])
    free = before[count:] == before[: len(taken) - count + 1]
    return int(np.argmax(free[::step])) * step


def sinks_of(
    network: QuantisedNetwork, name: str, tile_of: Mapping[str, int], observed: Collection[str]
) -> frozenset[int]:
    """Return the target tiles of a source, including its own tile and the host."""
    host = {BRIDGE_TILE} if name in observed else set()
    return frozenset(host | {tile_of[sink] for sink in network.sinks(name)})
