"""A population of a quantised network."""

from __future__ import annotations

from dataclasses import dataclass

from spikeloom.sim.core.neuron import NeuronParameters

__all__ = ["INPUT", "QuantisedPopulation"]

INPUT = "input"
"""The name of the network's input in connections."""


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantisedPopulation:
    """Neurons with common model parameters, which are updated together.

    ``weight_width`` is the width in bits, 1 to 16, of the weights of all connections to it; None: that of the network.
    """

    name: str
    parameters: NeuronParameters
    weight_width: int | None = None

    def __post_init__(self) -> None:
        width = self.weight_width
        if width is not None and (not isinstance(width, int) or not 1 <= width <= 16):
            raise ValueError(f"weight_width of {self.name!r} must be None or an integer from 1 to 16, not {width!r}")

    @property
    def size(self) -> int:
        """Number of neurons."""
        return self.parameters.size
