"""The integer reference: what every back end must produce, spike by spike and membrane by membrane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.sim.network import INPUT, QuantisedNetwork
from spikeloom.sim.neuron import NeuronState, step

__all__ = ["ReferenceResult", "as_spikes", "simulate"]

_EXACT_FLOAT = 1 << 53


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceResult:
    """What a run produced, time first.

    ``spikes[name]`` and, for the populations that were asked for, ``membranes[name]`` are ``(T, B, n)``; the membrane
    is the value written back at the end of the step. ``synaptic_operations`` is ``(B,)``: weights added a sample.
    """

    spikes: dict[str, NDArray[np.bool_]]
    membranes: dict[str, NDArray[np.int64]]
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


def _weighted_sum(spikes: NDArray[np.bool_], weight: NDArray[np.int64]) -> NDArray[np.int64]:
    """Exact ``spikes @ weight.T``: floating point is a fast way to integers while every partial sum is below 2**53."""
    if np.abs(weight).sum(axis=1).max(initial=0) >= _EXACT_FLOAT:
        return spikes.astype(np.int64) @ weight.T
    return (spikes.astype(np.float64) @ weight.T.astype(np.float64)).astype(np.int64)


def simulate(
    network: QuantisedNetwork, spikes: ArrayLike, *, record_membranes: tuple[str, ...] = ()
) -> ReferenceResult:
    """Run ``spikes`` ``(T, B, inputs)`` of 0 and 1 through ``network``; every sample starts from the cleared state.

    The membranes of populations that do not spike are always recorded, others if named in ``record_membranes``.
    Raises ``ValueError`` if the shape or the values of ``spikes`` do not fit.
    """
    inputs = as_spikes(spikes, network.inputs)
    steps, batch, _ = inputs.shape
    silent = tuple(p.name for p in network.populations if not p.parameters.spiking)
    recorded = {name: np.zeros((steps, batch, network.size(name)), np.int64) for name in {*silent, *record_membranes}}
    fired: dict[str, NDArray[np.bool_]] = {
        p.name: np.zeros((steps, batch, p.size), np.bool_) for p in network.populations
    } | {INPUT: inputs}
    states = {p.name: NeuronState.cleared(batch, p.size) for p in network.populations}
    for t in range(steps):
        for population in network.populations:
            current = np.zeros((batch, population.size), np.int64)
            for connection in network.connections:
                if connection.target == population.name and t >= connection.delay:
                    current += _weighted_sum(fired[connection.source][t - connection.delay], connection.weight)
            states[population.name], new = step(states[population.name], current, population.parameters)
            fired[population.name][t] = new.astype(np.bool_)
            if population.name in recorded:
                recorded[population.name][t] = states[population.name].v
    operations = _synaptic_operations(network, fired)
    del fired[INPUT]
    return ReferenceResult(spikes=fired, membranes=recorded, synaptic_operations=operations)


def _synaptic_operations(network: QuantisedNetwork, fired: dict[str, NDArray[np.bool_]]) -> NDArray[np.int64]:
    """Weights added for each sample ``(B,)``; the spikes of the last step reach no delayed connection."""
    steps, batch, _ = fired[INPUT].shape
    operations = np.zeros(batch, np.int64)
    for connection in network.connections:
        events = fired[connection.source][: steps - connection.delay].sum(axis=(0, 2))
        operations += events * connection.weight.shape[0]
    return operations
