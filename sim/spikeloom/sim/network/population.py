"""A population of a quantised network."""

from __future__ import annotations

from dataclasses import dataclass

from spikeloom.sim.core.neuron import NeuronParameters

__all__ = ["INPUT", "QuantisedPopulation"]

INPUT = "input"
"""The name of the network's input in connections."""


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantisedPopulation:
    """Neurons with common model parameters, which are updated together."""

    name: str
    parameters: NeuronParameters

    @property
    def size(self) -> int:
        """Number of neurons."""
        return self.parameters.size
