"""What placement writes into the memory and the registers of an attention tile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.dependencies import Relations
from spikeloom.compiler.tiles.tokens import set_of, token_registers
from spikeloom.sim.attention.attention import AttentionTileParameters, register_seeds
from spikeloom.sim.network.network import QuantisedAttention

__all__ = ["attention_registers", "by_token"]


def attention_registers(
    attention: QuantisedAttention,
    unit: AttentionTileParameters,
    tile_of: Mapping[str, int],
    relations: Relations,
    axons: Mapping[str, NDArray[np.int64]],
) -> Iterator[tuple[int, str, int]]:
    """All registers of the tile of an attention. Raises `PlaceError` if a page has too high a number."""
    tile = tile_of[attention.name]
    sinks: set[int] = set()
    for delayed in (False, True):
        yield from token_registers(relations, tile, delayed=delayed, mesh=True)
        sinks |= relations.sinks(tile, delayed=delayed)
    yield tile, "spike_destinations", set_of(sinks)
    for role, source in zip(("query", "key", "value"), attention.sources, strict=True):
        page = int(axons[source][0]) >> unit.index_bits
        if page >> unit.page_bits:
            raise PlaceError(
                f"population {source}: its axons must begin at one of {1 << unit.page_bits} pages of the attention "
                f"tile {tile}, not at page {page}"
            )
        yield tile, f"{role}_page", page
    for name, seed in zip(("score_seed", "output_seed"), register_seeds(attention.seed), strict=True):
        yield tile, name, seed
    yield tile, "causal", int(attention.causal)


def by_token(unit: AttentionTileParameters, axons: NDArray[np.int64]) -> NDArray[np.int64]:
    """What holds for the spikes of attention in the order of the network, as ``(heads, N, d)``."""
    shape = unit.attention
    return axons.reshape(shape.heads, shape.features, shape.tokens).swapaxes(1, 2)
