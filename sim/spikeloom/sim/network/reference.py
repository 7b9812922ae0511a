"""The integer reference simulation, which every back end must reproduce spike by spike and membrane by membrane."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.sim.core.lean_step import LeanStep
from spikeloom.sim.core.neuron import NeuronParameters, NeuronState, signed_range, step
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.unit import QuantisedUnit

__all__ = ["ReferenceResult", "as_inputs", "as_spikes", "as_values", "simulate"]


Scalar = TypeVar("Scalar", bound=np.generic)

_ROWS = 256
"""Number of rows of a matrix product: many samples, or several steps of a few samples. Larger products are not faster,
and their sums would not stay in the cache until the neurons add them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceResult:
    """Results of a run, time first.

    ``spikes[name]`` is ``(T, B, n)``, for populations and units. ``values[name]``, for graded populations, has the same
    shape and holds the value of each spike, 0 without a spike: the number of spikes where neurons fire several times
    per step (`fired`). Each array of ``states[name]``, for recorded populations, has the same shape and holds the state
    at the end of each step. ``network`` and ``inputs`` ``(T, B, inputs)`` are those of the run.
    """

    network: QuantisedNetwork
    inputs: NDArray[Any]
    spikes: dict[str, NDArray[np.bool_]]
    values: dict[str, NDArray[np.int64]]
    states: dict[str, NeuronState]

    def fired(self, name: str) -> NDArray[Any]:
        """The spikes of ``name`` per neuron and step, ``(T, B, n)``: booleans, or their numbers as uint8 if its neurons
        can fire several times per step."""
        counted = {p.name for p in self.network.populations if p.parameters.max_spikes > 1}
        return self.values[name].astype(np.uint8) if name in counted else self.spikes[name]

    @cached_property
    def synaptic_operations(self) -> NDArray[np.int64]:
        """Number of weights added per sample, ``(B,)``. Spikes of the last step have no effect on delayed
        connections."""
        steps, batch, _ = self.inputs.shape
        operations = np.zeros(batch, np.int64)
        for connection in self.network.connections:
            fired = self.inputs != 0 if connection.source == INPUT else self.spikes[connection.source]
            operations += fired[: steps - connection.delay].sum(axis=0) @ connection.fan_out
        return operations


def as_spikes(spikes: ArrayLike, inputs: int) -> NDArray[np.bool_]:
    """Check input spikes and return them as booleans ``(T, B, inputs)``; ``(T, inputs)`` is one sample.

    Raises ``ValueError`` for another shape, or for values other than 0 and 1.
    """
    array = np.asarray(spikes)
    if array.ndim == 2:
        array = array[:, None, :]
    if array.ndim != 3 or array.shape[2] != inputs or 0 in array.shape:
        raise ValueError(f"spikes must have shape (T, B, {inputs}) or (T, {inputs}), not {np.shape(spikes)}")
    # Booleans need no check of their values, which would take longer than some networks.
    if array.dtype == np.bool_:
        return array
    if not np.issubdtype(array.dtype, np.number) or not np.isin(array, (0, 1)).all():
        raise ValueError("spikes must be 0 or 1, not other values")
    return array.astype(np.bool_)


def as_values(values: ArrayLike, inputs: int, width: int) -> NDArray[np.int64]:
    """Check input values of ``width`` bits, two's complement, and return them as ``(T, B, inputs)``; ``(T, inputs)`` is
    one sample. 0 is no event.

    Raises ``TypeError`` for values that are not integers, and ``ValueError`` for another shape or a value out of range.
    """
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


def as_inputs(array: ArrayLike, inputs: int, value_width: int) -> NDArray[Any]:
    """Check the input of a network with this ``input_value_width``: `as_values`, or `as_spikes` if it is 0."""
    return as_values(array, inputs, value_width) if value_width else as_spikes(array, inputs)


def simulate(network: QuantisedNetwork, spikes: ArrayLike, *, record: Collection[str] = ()) -> ReferenceResult:
    """Run ``spikes`` ``(T, B, inputs)`` of 0 and 1, or values, through ``network``.

    Every sample starts from the cleared state. The states of populations that do not spike are always recorded, those
    of other populations only if named in ``record``. Raises the exceptions of `as_inputs` for invalid ``spikes``.
    """
    inputs = as_inputs(spikes, network.inputs, network.input_value_width)
    steps, batch, _ = inputs.shape
    every: Sequence[QuantisedPopulation | QuantisedUnit] = [*network.populations, *network.units]
    fired = {item.name: np.zeros((steps, batch, item.size), np.bool_) for item in every}
    values = {p.name: np.zeros((steps, batch, p.size), np.int64) for p in network.populations if p.parameters.graded}
    recorded: list[dict[str, NeuronState]] = []
    groups = _groups(network)
    # Samples are independent; a block of them keeps the arrays of a step in the cache.
    for first in range(0, batch, _ROWS):
        samples = slice(first, first + _ROWS)
        run = _Run(network, inputs[:, samples], _part(fired, samples), _part(values, samples), record)
        # Few samples are complemented by several steps, so that the matrix products have about `_ROWS` rows in either
        # case.
        block = _ROWS // min(batch, _ROWS)
        for begin in range(0, steps, block):
            for group in groups:
                run.advance(group, range(begin, min(begin + block, steps)))
        recorded.append(run.states())
    states = {name: _joined([part[name] for part in recorded], np.concatenate, axis=1) for name in recorded[0]}
    return ReferenceResult(network=network, inputs=inputs, spikes=fired, values=values, states=states)


def _groups(network: QuantisedNetwork) -> list[list[QuantisedPopulation | QuantisedUnit]]:
    """Cut the schedule into groups without a connection from a later group to an earlier one.

    Each group can run several steps before the next one begins; those without a cycle have one member.
    """
    schedule = network.schedule
    place = {INPUT: -1} | {item.name: number for number, item in enumerate(schedule)}
    # For each place, the last place from which a delayed connection leads back to it.
    reaches = list(range(len(schedule)))
    for connection in network.connections:
        target = place[connection.target]
        reaches[target] = max(reaches[target], place[connection.source])
    groups: list[list[QuantisedPopulation | QuantisedUnit]] = []
    last = -1
    for number, item in enumerate(schedule):
        # All that lies between both ends of a delayed connection must advance step by step together.
        if number > last:
            groups.append([])
        groups[-1].append(item)
        last = max(last, reaches[number])
    return groups


class _Run:
    """A run of some samples, which fills ``fired`` and ``values``, arrays ``(T, B, n)`` by name."""

    def __init__(
        self,
        network: QuantisedNetwork,
        inputs: NDArray[Any],
        fired: dict[str, NDArray[np.bool_]],
        values: dict[str, NDArray[np.int64]],
        record: Collection[str],
    ) -> None:
        self._network = network
        self._inputs = inputs
        self._fired = fired
        self._values = values
        self._brought: dict[str, NDArray[Any]] = {INPUT: inputs} | fired | values
        steps, batch, _ = inputs.shape
        self._units = {unit.name: unit.begin(steps, batch) for unit in network.units}
        self._populations = {p.name: _stepper(network, p, batch) for p in network.populations}
        self._recorded: dict[str, list[NeuronState]] = {
            p.name: [] for p in network.populations if p.name in record or not p.parameters.spiking
        }

    def advance(self, group: Sequence[QuantisedPopulation | QuantisedUnit], steps: range) -> None:
        """Run ``steps`` of a group; all groups before it have run them."""
        names = {item.name for item in group}
        # Everything from earlier groups is known for all steps of the block, so it takes one product.
        outside = {item.name: self._from_outside(item.name, names, steps) for item in group}
        for number, t in enumerate(steps):
            for item in group:
                name = item.name
                if isinstance(item, QuantisedUnit):
                    read = {source: self._of_step(source, t) for source in item.sources}
                    self._fired[name][t] = self._units[name](read)
                    continue
                current = outside[name][number]
                for connection in self._network.connections_to(name):
                    # Within a group sources advance together with their targets, so these sums are computed step by
                    # step.
                    if connection.source in names and t >= connection.delay:
                        brought = self._brought[connection.source][t - connection.delay]
                        current = current + connection.exact_sums(brought)
                value = self._populations[name].step(current, self._fired[name][t])
                # `LeanStep` returns no values: it has no graded spikes.
                if value is not None and name in self._values:
                    self._values[name][t] = value
                if name in self._recorded:
                    self._recorded[name].append(self._populations[name].state())

    def states(self) -> dict[str, NeuronState]:
        """The recorded states of all steps, ``(T, B, n)``."""
        return {name: _joined(history, np.stack) for name, history in self._recorded.items()}

    def _of_step(self, source: str, t: int) -> NDArray[np.bool_]:
        return self._inputs[t] != 0 if source == INPUT else self._fired[source][t]

    def _from_outside(self, name: str, group: Collection[str], steps: range) -> NDArray[Any]:
        """The sums ``(len(steps), B, n)`` of all connections from outside the group: one product for all steps."""
        total: NDArray[Any] | None = None
        batch, size = self._inputs.shape[1], self._network.size(name)
        for connection in self._network.connections_to(name):
            if connection.source in group:
                continue
            # A delayed connection brings nothing in the first step.
            early = max(0, connection.delay - steps.start)
            brought = self._brought[connection.source][
                steps.start - connection.delay + early : steps.stop - connection.delay
            ]
            sums = connection.exact_sums(brought.reshape(-1, brought.shape[2])).reshape(-1, batch, size)
            if early:
                sums = np.concatenate([np.zeros((early, batch, size), sums.dtype), sums])
            total = sums if total is None else total + sums
        return np.zeros((len(steps), batch, size), np.int64) if total is None else total


class _AnyStep:
    """The step of any neurons, as specified."""

    def __init__(self, parameters: NeuronParameters, batch: int) -> None:
        self._parameters = parameters
        self._state = NeuronState.cleared(batch, parameters)

    def step(self, current: NDArray[Any], spikes: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Advance by one step; write the spikes to ``spikes`` and return their values."""
        # The sums may be of a floating type, with integers as values.
        self._state, fired, values = step(self._state, current.astype(np.int64), self._parameters)
        spikes[...] = fired
        return values

    def state(self) -> NeuronState:
        """The state after the last step."""
        return self._state


def _stepper(network: QuantisedNetwork, population: QuantisedPopulation, batch: int) -> LeanStep | _AnyStep:
    # The largest possible current decides whether floating point is exact.
    greatest = max(abs(bound) for bound in network.current_bounds(population.name))
    lean = LeanStep.of(population.parameters, batch, greatest)
    return _AnyStep(population.parameters, batch) if lean is None else lean


def _part(arrays: dict[str, NDArray[Scalar]], samples: slice) -> dict[str, NDArray[Scalar]]:
    """Views of some samples of arrays ``(T, B, n)``."""
    return {name: array[:, samples] for name, array in arrays.items()}


def _joined(states: list[NeuronState], join: Callable[..., NDArray[Any]], **options: int) -> NeuronState:
    """Combine several states into one; ``join`` combines the arrays of each field."""
    return NeuronState(**{f.name: join([getattr(s, f.name) for s in states], **options) for f in fields(NeuronState)})
