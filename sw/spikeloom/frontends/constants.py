"""Inputs of a population that are not spikes: biases of layers in every step, and membranes that do not start at 0."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from spikeloom.model.network import Connection
from spikeloom.model.population import FloatArray, Population
from spikeloom.sim.core.neuron import Reset

__all__ = ["with_constants"]


def with_constants(
    populations: Iterable[Population],
    connections: Iterable[Connection],
    constants: Mapping[str, FloatArray],
    starts: Mapping[str, FloatArray] | None = None,
) -> tuple[tuple[Population, ...], tuple[Connection, ...], tuple[str, ...]]:
    """Return populations, connections and notes of a network in which ``constants`` ``(n,)`` reach populations every
    step, and ``starts`` ``(n,)`` in the first step.

    A bias of a population adds to its membrane. A constant that must pass through the synaptic current is sent by an
    extra neuron that fires in every step from the first on, with the constants as its weights: exact, for one neuron
    per network. Another one, which fires in the first step only, sends the ``starts``.
    """
    populations, connections = tuple(populations), tuple(connections)
    names = {population.name for population in populations}
    notes: list[str] = []
    kinds: tuple[tuple[str, Mapping[str, FloatArray], dict[str, Any], str], ...] = (
        ("constant", constants, {"reset": Reset.ZERO}, "fires in every step and adds the biases of the inputs of"),
        (
            "start",
            starts or {},
            # The membrane starts at 0, above the threshold, and is reset to -1, where it stays.
            {"reset": Reset.VALUE, "reset_value": np.array(-1.0)},
            "fires in the first step and sets the membranes of",
        ),
    )
    for base, inputs, rule, action in kinds:
        needed = {target: values for target, values in inputs.items() if np.any(values)}
        if not needed:
            continue
        name = next(name for name in (base, *(f"{base}.{k}" for k in range(len(names)))) if name not in names)
        neuron = Population(name=name, shape=(1,), beta=np.ones(()), threshold=np.array(-0.5), **rule)
        extra = (Connection(source=name, target=target, weight=needed[target][:, None]) for target in needed)
        populations, connections = (neuron, *populations), (*connections, *extra)
        notes.append(f"{name}: {action} {', '.join(needed)}")
    return populations, connections, tuple(notes)
