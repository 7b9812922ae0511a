"""The integer reference: what every back end must produce, spike by spike and membrane by membrane."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.sim.network import INPUT, QuantisedNetwork
from spikeloom.sim.neuron import NeuronState, step

__all__ = ["ReferenceResult", "as_spikes", "simulate"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceResult:
    """What a run produced, time first.

    ``spikes[name]`` is ``(T, B, n)``. So is each array of ``states[name]``, for the populations that were recorded: the
    state written back at the end of each step. ``synaptic_operations`` is ``(B,)``: weights added a sample.
    """

    spikes: dict[str, NDArray[np.bool_]]
    states: dict[str, NeuronState]
    synaptic_operations: NDArray[np.int64]


def as_spikes(spikes: ArrayLike, inputs: int) -> NDArray[np.bool_]:
    """Check input spikes and return them as ``(T, B, inputs)`` booleans; ``(T, inputs)`` is one sample."""
    array = np.asarray(spikes)
    if array.ndim == 2:
        array = array[:, None, :]
    if array.ndim != 3 or array.shape[2] != inputs or 0 in array.shape:
        raise ValueError(f"spikes must have shape (T, B, {inputs}) or (T, {inputs}), not {np.shape(spikes)}")
    if array.dtype == np.bool_:
        return array
    if not np.issubdtype(array.dtype, np.number) or not np.isin(array, (0, 1)).all():
        raise ValueError("spikes must be 0 or 1, not other values")
    return array.astype(np.bool_)


def simulate(network: QuantisedNetwork, spikes: ArrayLike, *, record: Collection[str] = ()) -> ReferenceResult:
    """Run ``spikes`` ``(T, B, inputs)`` of 0 and 1 through ``network``; every sample starts from the cleared state.

    The states of populations that do not spike are always recorded, others if named in ``record``.
    Raises ``ValueError`` if the shape or the values of ``spikes`` do not fit.
    """
    inputs = as_spikes(spikes, network.inputs)
    steps, batch, _ = inputs.shape
    recorded: dict[str, list[NeuronState]] = {
        p.name: [] for p in network.populations if p.name in record or not p.parameters.spiking
    }
    fired: dict[str, NDArray[np.bool_]] = {
        p.name: np.zeros((steps, batch, p.size), np.bool_) for p in network.populations
    } | {INPUT: inputs}
    states = {p.name: NeuronState.cleared(batch, p.size) for p in network.populations}
    for t in range(steps):
        for population in network.populations:
            current = np.zeros((batch, population.size), np.int64)
            for connection in network.connections:
                if connection.target == population.name and t >= connection.delay:
                    current += connection.sum(fired[connection.source][t - connection.delay])
            states[population.name], new = step(states[population.name], current, population.parameters)
            fired[population.name][t] = new.astype(np.bool_)
            if population.name in recorded:
                recorded[population.name].append(states[population.name])
    operations = _synaptic_operations(network, fired)
    del fired[INPUT]
    stacked = {name: _stack(history) for name, history in recorded.items()}
    return ReferenceResult(spikes=fired, states=stacked, synaptic_operations=operations)


def _stack(history: list[NeuronState]) -> NeuronState:
    """The states of all steps as one, ``(T, B, n)``."""
    return NeuronState(
        v=np.stack([state.v for state in history]),
        pending=np.stack([state.pending for state in history]),
        refractory_count=np.stack([state.refractory_count for state in history]),
    )


def _synaptic_operations(network: QuantisedNetwork, fired: dict[str, NDArray[np.bool_]]) -> NDArray[np.int64]:
    """Weights added for each sample ``(B,)``; the spikes of the last step reach no delayed connection."""
    steps, batch, _ = fired[INPUT].shape
    operations = np.zeros(batch, np.int64)
    for connection in network.connections:
        events = fired[connection.source][: steps - connection.delay].sum(axis=0)
        operations += events @ connection.fan_out
    return operations
