"""How far the inputs of a population can drive its membranes: finds gains that are wrong by orders of magnitude."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikeloom.model.network import Network
from spikeloom.model.population import FloatArray, Population

__all__ = ["Drive", "drives"]

_STEPS = 100
_ACTIVE = 0.25
_FEW = 8


@dataclass(frozen=True, kw_only=True)
class Drive:
    """Largest membrane that strong but plausible input causes in a population, and the threshold of the same neuron."""

    membrane: float
    threshold: float

    @property
    def can_fire(self) -> bool:
        """Whether the membrane exceeds the threshold."""
        return self.membrane > self.threshold


def drives(network: Network) -> dict[str, Drive]:
    """Return the drive of each population that spikes, by name; delay lines have none.

    A quarter of the positive weights of each neuron arrive in every one of 100 steps, or all of them if it has fewer
    than eight; there are no negative weights and no resets, and thresholds stay as they are. The neuron closest to its
    threshold counts.
    """
    return {
        population.name: _drive(network, population)
        for population in network.populations
        if population.spiking and population.delay is None
    }


def _drive(network: Network, population: Population) -> Drive:
    into: FloatArray = np.zeros(population.size)
    sources = 0
    for connection in network.connections:
        if connection.target == population.name:
            greatest = 1.0
            if network.brings_values(connection.source):
                greatest = _greatest_value(network, connection.source)
            into = into + connection.bounds(0, 1)[1] * greatest
            sources += connection.source_size
    total = (into if sources < _FEW else _ACTIVE * into).astype(np.float64)
    current, opposed, v = (np.zeros(population.size) for _ in range(3))
    largest = np.full(population.size, -np.inf)
    with np.errstate(over="ignore"):
        for _ in range(_STEPS):
            current = total if population.alpha is None else population.alpha * current + total
            if population.alpha_function:
                opposed = population.beta * opposed - total
                v = population.alpha_gain * (current + opposed)
            else:
                v = population.beta * v + population.bias + current
            largest = np.maximum(largest, v)
            if population.lower_bound is not None:
                v = np.maximum(v, population.lower_bound)
    best = int(np.argmax(largest + population.noise - population.threshold))
    return Drive(membrane=float(largest[best]) + population.noise, threshold=float(population.threshold[best]))


def _greatest_value(network: Network, source: str) -> float:
    """Return the largest value of a graded spike of ``source``."""
    if network.input_value_width and source == "input":
        return float((1 << (network.input_value_width - 1)) - 1)
    population = network.population(source)
    return float(population.value_limit or population.max_spikes)
