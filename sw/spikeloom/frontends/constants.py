"""Constants added to a population in every step: biases of layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from spikeloom.model.network import Connection
from spikeloom.model.population import FloatArray, Population

__all__ = ["with_constants"]


def with_constants(
    populations: Iterable[Population], connections: Iterable[Connection], constants: Mapping[str, FloatArray]
) -> tuple[tuple[Population, ...], tuple[Connection, ...], tuple[str, ...]]:
    """Return populations, connections and notes of a network in which ``constants`` ``(n,)`` reach populations every
    step.

    A bias of a population adds to its membrane. A constant that must pass through the synaptic current is sent by an
    extra neuron that fires in every step from the first on, with the constants as its weights: exact, for one neuron
    per network.
    """
    populations, connections = tuple(populations), tuple(connections)
    needed = {target: constant for target, constant in constants.items() if np.any(constant)}
    if not needed:
        return populations, connections, ()
    names = {population.name for population in populations}
    name = next(name for name in ("constant", *(f"constant.{k}" for k in range(len(names)))) if name not in names)
    neuron = Population(name=name, shape=(1,), beta=np.ones(()), threshold=np.array(-0.5))
    extra = (Connection(source=name, target=target, weight=needed[target][:, None]) for target in needed)
    note = f"{name}: fires in every step and adds the biases of the inputs of {', '.join(needed)}"
    return (neuron, *populations), (*connections, *extra), (note,)
