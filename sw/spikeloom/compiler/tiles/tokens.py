"""Token registers, the same in all kinds of tiles: the tiles that a tile waits for, and those that wait for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from spikeloom.compiler.dependencies import Dependencies

__all__ = ["set_of", "token_registers"]


def token_registers(dependencies: Dependencies, tile: int, *, delayed: bool, mesh: bool) -> Iterator[tuple[str, int]]:
    """Yield the token registers of a tile."""
    sources, sinks = dependencies.sources(tile, delayed=delayed), dependencies.sinks(tile, delayed=delayed)
    kind = "delayed_" if delayed else ""
    yield f"{kind}sources", len(sources)
    yield f"{kind}sinks", len(sinks)
    if mesh:
        yield f"{kind}tick_destinations", set_of(sinks)
        yield f"{kind}ack_destinations", set_of(sources)


def set_of(tiles: Collection[int]) -> int:
    """Return a destination set, in which bit t is tile t."""
    return sum(1 << tile for tile in tiles)
