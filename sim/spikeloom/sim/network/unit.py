"""Units: elements of a network other than populations, such as attention, each implemented by its own kind of tile.

A *unit* reads the spikes of its sources in a step and produces its own spikes in the same step. Connections refer to it
by name, as to a population. Its model is defined here; a tile of a matching kind implements it.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.network.population import INPUT, QuantisedPopulation

__all__ = ["QuantisedUnit", "UnitStep"]

UnitStep = Callable[[Mapping[str, NDArray[np.bool_]]], NDArray[np.bool_]]
"""Called once per step, in order: maps the spikes ``(B, n)`` of each source to those of the unit, ``(B, n)``."""


class QuantisedUnit(abc.ABC):
    """A unit of a network. A subclass has a ``name``, distinct from those of populations."""

    name: str

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Maximum number of spikes per step."""

    @property
    @abc.abstractmethod
    def sources(self) -> Sequence[str]:
        """Names of the populations that it reads, or `INPUT`."""

    @property
    @abc.abstractmethod
    def needs(self) -> str:
        """The required tile, as the end of a sentence: *an attention tile of its own*."""

    def check(self, populations: Mapping[str, QuantisedPopulation], inputs: int) -> None:
        """Raise ``ValueError`` for unsuitable sources; ``inputs`` is the number of input lines."""
        for source in self.sources:
            if source != INPUT and source not in populations:
                raise ValueError(f"sources of {self.name!r} must be out of {[INPUT, *populations]!r}, not {source!r}")

    @abc.abstractmethod
    def begin(self, steps: int, samples: int) -> UnitStep:
        """Begin a run of ``steps`` steps with ``samples`` samples in parallel, from the cleared state."""
