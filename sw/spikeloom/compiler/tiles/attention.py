"""Attention tiles: seeds, pages of the sources, and the axons of the spikes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.dependencies import Rates
from spikeloom.compiler.placement import Placement
from spikeloom.compiler.tiles.registry import TileCompiler, register_compiler
from spikeloom.compiler.tiles.tokens import set_of, token_registers
from spikeloom.compiler.work import TileWork
from spikeloom.sim.attention.attention import register_seeds
from spikeloom.sim.attention.parameters import AttentionTileParameters
from spikeloom.sim.network.attention import QuantisedAttention
from spikeloom.sim.network.unit import QuantisedUnit

__all__ = ["AttentionCompiler"]


@register_compiler(AttentionTileParameters)
class AttentionCompiler(TileCompiler):
    """Attention tile that holds an attention unit of the network."""

    is_unit = True

    def __init__(self, placement: Placement, number: int) -> None:
        super().__init__(placement, number)
        self.tile = placement.fabric.tiles_of(AttentionTileParameters)[number]
        unit = placement.units[number]
        assert isinstance(unit, QuantisedAttention)
        self.attention = unit

    @classmethod
    def holds(cls, tile: AttentionTileParameters, unit: QuantisedUnit) -> bool:
        if not isinstance(unit, QuantisedAttention):
            return False
        asked, built = unit.parameters, tile.attention
        return (asked.heads, asked.tokens, asked.features) == (built.heads, built.tokens, built.features)

    @classmethod
    def page_axons(cls, tile: AttentionTileParameters) -> int:
        return 1 << tile.index_bits

    @property
    def uses(self) -> list[tuple[str, int, int]]:
        return [("attention", 1, 1)]

    def memories(self) -> dict[str, NDArray[np.uint8]]:
        nowhere = np.zeros(self.attention.size, np.int64)
        return {"routes": self.tile.routes(self._by_token(self.placement.axons.get(self.attention.name, nowhere)))}

    def _by_token(self, axons: NDArray[np.int64]) -> NDArray[np.int64]:
        """Reorder per-spike values from network order to ``(heads, N, d)``."""
        shape = self.tile.attention
        return axons.reshape(shape.heads, shape.features, shape.tokens).swapaxes(1, 2)

    def registers(self) -> Iterator[tuple[str, int]]:
        """Yield all registers. Raises `PlaceError` if a page number is too large."""
        dependencies, tile = self.placement.dependencies, self.tile
        sinks: set[int] = set()
        for delayed in (False, True):
            yield from token_registers(dependencies, self.number, delayed=delayed, mesh=True)
            sinks |= dependencies.sinks(self.number, delayed=delayed)
        yield "spike_destinations", set_of(sinks)
        for role, source in zip(("query", "key", "value"), self.attention.sources, strict=True):
            page = int(self.placement.axons[source][0]) >> tile.index_bits
            if page >> tile.page_bits:
                raise PlaceError(
                    f"population {source}: its axons must begin at one of {1 << tile.page_bits} pages of the attention "
                    f"tile {self.number}, not at page {page}"
                )
            yield f"{role}_page", page
        yield from zip(("score_seed", "output_seed"), register_seeds(self.attention.seed), strict=True)
        yield "causal", int(self.attention.causal)

    def work(self, rates: Rates) -> TileWork:
        """Return the work of a step, which does not depend on the spikes."""
        unit = self.tile.attention
        return TileWork(
            tile=self.number,
            parts=(self.attention.name,),
            events=sum(float(rates[source].sum()) for source in self.attention.sources),
            words_added=float(unit.cycles(2) - unit.cycles(1)),
            words_updated=0,
        )
