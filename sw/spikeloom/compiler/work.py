"""Cost of a step in a tile."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["POPULATION_CYCLES", "TileWork"]

POPULATION_CYCLES = 16
"""Cycles per step of a population in addition to its words: completion of the sums, and update of its last neurons."""


@dataclass(frozen=True, kw_only=True)
class TileWork:
    """Work of one tile in a step.

    ``events`` are those received, ``words_added`` the weight words added (at least one per row of an event), and
    ``words_updated`` the neuron words updated. For attention, the words are keys and features, one cycle each.
    """

    tile: int
    parts: tuple[str, ...]
    events: float
    words_added: float
    words_updated: int

    @property
    def cycles(self) -> float:
        """Clock cycles of a step."""
        return self.words_added + self.words_updated + POPULATION_CYCLES * len(self.parts)
