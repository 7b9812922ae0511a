"""What a step costs a tile."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["POPULATION_CYCLES", "TileWork"]

POPULATION_CYCLES = 16
"""Cycles per step that a population costs beside its words: until sums are complete, and its last neurons updated."""


@dataclass(frozen=True, kw_only=True)
class TileWork:
    """A step of one tile: events that arrive, words of weights that are added (for each row of an event one at least),
    words of neurons that are updated. Of attention the words added are keys and features, a cycle each."""

    tile: int
    parts: tuple[str, ...]
    events: float
    words_added: float
    words_updated: int

    @property
    def cycles(self) -> float:
        """Clock cycles of a step."""
        return self.words_added + self.words_updated + POPULATION_CYCLES * len(self.parts)
