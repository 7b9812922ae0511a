"""What stands between the populations of a network and is no population: attention, or whatever a tile of its own does.

A *unit* takes the spikes of its sources in a step and has spikes of its own in the same step, under its own name, from
which connections lead on. What it does is told by its model here, and done by a tile of a kind that holds it.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.network.population import INPUT, QuantisedPopulation

__all__ = ["QuantisedUnit", "UnitStep"]

UnitStep = Callable[[Mapping[str, NDArray[np.bool_]]], NDArray[np.bool_]]
"""The spikes ``(B, n)`` of one step after the other, from those ``(B, n)`` of each source in that step."""


class QuantisedUnit(abc.ABC):
    """A unit of a network. A subclass has a ``name``, that of no population."""

    name: str

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Number of spikes that a step can bring."""

    @property
    @abc.abstractmethod
    def sources(self) -> Sequence[str]:
        """Names of the populations that it reads; also `INPUT`."""

    @property
    @abc.abstractmethod
    def needs(self) -> str:
        """The tile that it needs, in words that end a sentence: *an attention tile of its own*."""

    def check(self, populations: Mapping[str, QuantisedPopulation], inputs: int) -> None:
        """Raise ``ValueError`` unless its sources are what it can read; ``inputs`` is the number of input lines."""
        for source in self.sources:
            if source != INPUT and source not in populations:
                raise ValueError(f"sources of {self.name!r} must be out of {[INPUT, *populations]!r}, not {source!r}")

    @abc.abstractmethod
    def begin(self, steps: int, samples: int) -> UnitStep:
        """The model, cleared: what it does in each of ``steps`` steps of so many samples side by side."""
