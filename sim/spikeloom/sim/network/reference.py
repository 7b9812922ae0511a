"""The integer reference simulation, which every back end must reproduce spike by spike and membrane by membrane."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.sim.core.neuron import NeuronState, signed_range, step
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.population import INPUT
from spikeloom.sim.network.unit import QuantisedUnit

__all__ = ["ReferenceResult", "as_spikes", "as_values", "simulate"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceResult:
    """Results of a run, time first.

    ``spikes[name]`` is ``(T, B, n)``, for populations and units. ``values[name]``, for graded populations, has the same
    shape and holds the value of each spike, 0 without a spike. Each array of ``states[name]``, for recorded
    populations, has the same shape and holds the state at the end of each step. ``synaptic_operations`` is
    ``(B,)``, the number of weights added per sample.
    """

    spikes: dict[str, NDArray[np.bool_]]
    values: dict[str, NDArray[np.int64]]
    states: dict[str, NeuronState]
    synaptic_operations: NDArray[np.int64]


def as_spikes(spikes: ArrayLike, inputs: int) -> NDArray[np.bool_]:
    """Check input spikes and return them as booleans ``(T, B, inputs)``; ``(T, inputs)`` is one sample."""
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


def as_values(values: ArrayLike, inputs: int, width: int) -> NDArray[np.int64]:
    """Check input values of ``width`` bits, two's complement, and return them as ``(T, B, inputs)``; ``(T, inputs)`` is
    one sample. 0 is no event."""
    array = np.asarray(values)
    if array.ndim == 2:
        array = array[:, None, :]
    if array.ndim != 3 or array.shape[2] != inputs or 0 in array.shape:
        raise ValueError(f"values must have shape (T, B, {inputs}) or (T, {inputs}), not {np.shape(values)}")
    if array.dtype.kind not in "iub":
        raise TypeError(f"values must be integers, not {array.dtype}")
    low, high = signed_range(width)
    if array.min() < low or array.max() > high:
        worst = int(array.min()) if array.min() < low else int(array.max())
        raise ValueError(f"values must be from {low} to {high}, not {worst}")
    return array.astype(np.int64)


def simulate(network: QuantisedNetwork, spikes: ArrayLike, *, record: Collection[str] = ()) -> ReferenceResult:
    """Run ``spikes`` ``(T, B, inputs)`` of 0 and 1, or values, through ``network``.

    Every sample starts from the cleared state. The states of populations that do not spike are always recorded, those
    of others if named in ``record``. Raises ``ValueError`` for an invalid shape or invalid values of ``spikes``.
    """
    width = network.input_value_width
    inputs = as_values(spikes, network.inputs, width) if width else as_spikes(spikes, network.inputs)
    steps, batch, _ = inputs.shape
    recorded: dict[str, list[NeuronState]] = {
        p.name: [] for p in network.populations if p.name in record or not p.parameters.spiking
    }
    fired: dict[str, NDArray[np.bool_]] = {
        p.name: np.zeros((steps, batch, p.size), np.bool_) for p in network.populations
    } | {INPUT: inputs != 0}
    fired |= {unit.name: np.zeros((steps, batch, unit.size), np.bool_) for unit in network.units}
    units = {unit.name: unit.begin(steps, batch) for unit in network.units}
    values = {p.name: np.zeros((steps, batch, p.size), np.int64) for p in network.populations if p.parameters.graded}
    brought = fired | {INPUT: inputs} | values
    states = {p.name: NeuronState.cleared(batch, p.parameters) for p in network.populations}
    for t in range(steps):
        for item in network.schedule:
            name = item.name
            if isinstance(item, QuantisedUnit):
                fired[name][t] = units[name]({source: fired[source][t] for source in item.sources})
                continue
            current = np.zeros((batch, item.size), np.int64)
            for connection in network.connections_to(name):
                if t >= connection.delay:
                    current += connection.sum(brought[connection.source][t - connection.delay])
            states[name], spiked, value = step(states[name], current, item.parameters)
            fired[name][t] = spiked.astype(np.bool_)
            if name in values:
                values[name][t] = value
            if name in recorded:
                recorded[name].append(states[name])
    # The input is a source of operations, but not a result.
    operations = _synaptic_operations(network, fired)
    del fired[INPUT]
    stacked = {name: _stack(history) for name, history in recorded.items()}
    return ReferenceResult(spikes=fired, values=values, states=stacked, synaptic_operations=operations)


def _stack(history: list[NeuronState]) -> NeuronState:
    """The states of all steps as one, ``(T, B, n)``."""
    return NeuronState(**{f.name: np.stack([getattr(state, f.name) for state in history]) for f in fields(NeuronState)})


def _synaptic_operations(network: QuantisedNetwork, fired: dict[str, NDArray[np.bool_]]) -> NDArray[np.int64]:
    """Number of weights added per sample, ``(B,)``. Spikes of the last step have no effect on delayed connections."""
    steps, batch, _ = fired[INPUT].shape
    operations = np.zeros(batch, np.int64)
    for connection in network.connections:
        events = fired[connection.source][: steps - connection.delay].sum(axis=0)
        operations += events @ connection.fan_out
    return operations
