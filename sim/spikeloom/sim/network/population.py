"""A population of a quantised network."""

from __future__ import annotations

from dataclasses import dataclass

from spikeloom.sim.core.neuron import NeuronParameters

__all__ = ["INPUT", "QuantisedPopulation"]

INPUT = "input"
"""The name under which connections refer to the network's input."""


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantisedPopulation:
    """Neurons that share a rule and are updated together."""

    name: str
    parameters: NeuronParameters

    @property
    def size(self) -> int:
        """Number of neurons."""
        return self.parameters.size
