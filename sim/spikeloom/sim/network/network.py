"""A quantised network: populations of integer neurons, the integer weights between them, and units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.core.neuron import signed_range
from spikeloom.sim.lib.words import weight_range
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.projection import Projection
from spikeloom.sim.network.sparse import SparseMatrix, numbers_of
from spikeloom.sim.network.unit import QuantisedUnit

__all__ = ["QuantisedConnection", "QuantisedNetwork"]

Unit = TypeVar("Unit", bound=QuantisedUnit)


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantisedConnection(Projection):
    """Integer weights from ``source`` (`INPUT`, a population or a unit) to the population ``target``.

    ``weight`` is a matrix ``(n_target, n_source)`` or the kernel of a ``convolution``, optionally after a ``pooling``
    (`Projection`), as int64. ``delay`` 0 delivers spikes in the step in which they are fired, 1 (recurrent) in the
    next.
    """

    source: str
    target: str
    delay: int = 0

    def __post_init__(self) -> None:
        weight = self.weight if isinstance(self.weight, SparseMatrix) else np.asarray(self.weight)
        dimensions = ("two", 2) if self.convolution is None else ("four", 4)
        if not np.issubdtype(weight.dtype, np.integer) or weight.ndim != dimensions[1]:
            raise TypeError(
                f"weight must be a {dimensions[0]}-dimensional integer array, not {weight.ndim}-d {weight.dtype}"
            )
        if self.delay not in (0, 1):
            raise ValueError(f"delay must be 0 or 1, not {self.delay!r}")
        if self.source == INPUT and self.delay:
            raise ValueError("delay of a connection from the input must be 0, not 1")
        if isinstance(weight, SparseMatrix):
            weight = weight.map(lambda values: values.astype(np.int64))
        else:
            weight = weight.astype(np.int64)
            # Networks that differ in other fields share the array (`dataclasses.replace`), so it must not change.
            weight.setflags(write=False)
        object.__setattr__(self, "weight", weight)
        self.check_shape(f"the connection from {self.source!r} to {self.target!r}")


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantisedNetwork:
    """Populations in the order of their update, their connections, and units between them.

    A connection with delay 0 must lead from the input or an earlier population to a later one. A unit, such as
    attention, takes the position of the last of its sources. It cannot be the target of a connection or the output.

    ``weight_width`` is the width of the widest weights in bits, 1 to 16; the weights into a population can be narrower
    (`width_of`).

    With ``input_value_width`` 0 the inputs are binary spikes. Otherwise each input line carries a two's complement
    value of this width per step, and 0 is no event.
    """

    name: str
    inputs: int
    populations: tuple[QuantisedPopulation, ...]
    connections: tuple[QuantisedConnection, ...]
    output: str
    weight_width: int = 8
    input_value_width: int = 0
    notes: tuple[str, ...] = ()
    units: tuple[QuantisedUnit, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.weight_width <= 16:
            raise ValueError(f"weight_width must be an integer from 1 to 16, not {self.weight_width!r}")
        # One bit of two's complement cannot hold the value 1.
        if self.input_value_width not in (0, *range(2, 17)):
            raise ValueError(f"input_value_width must be 0 or from 2 to 16, not {self.input_value_width!r}")
        if self.inputs < 1:
            raise ValueError(f"inputs must be at least 1, not {self.inputs!r}")
        names = [population.name for population in self.populations]
        # Connections refer to populations and units alike, and to the input by its reserved name.
        every = [*names, *(unit.name for unit in self.units)]
        if len(set(every)) != len(every) or INPUT in every:
            raise ValueError(f"population names must be unique and none {INPUT!r}, not {every!r}")
        if self.output not in names:
            raise ValueError(f"output must be one of {names!r}, not {self.output!r}")
        order = {INPUT: -1} | {name: position for position, name in enumerate(names)}
        populations = {population.name: population for population in self.populations}
        for unit in self.units:
            unit.check(populations, self.inputs)
            # A unit can be computed as soon as its last source has fired, in the same step.
            order[unit.name] = max(order[source] for source in unit.sources)
        for population in self.populations:
            if population.weight_width is not None and population.weight_width > self.weight_width:
                raise ValueError(
                    f"weight_width of {population.name!r} must be at most that of the network, {self.weight_width}, "
                    f"not {population.weight_width}"
                )
        for connection in self.connections:
            if connection.source not in order or connection.target not in names:
                raise ValueError(
                    f"a connection must join known populations, not {connection.source!r} to {connection.target!r}"
                )
            # Without delay the source must have fired before in this step, which also excludes cycles.
            if connection.delay == 0 and order[connection.source] >= order[connection.target]:
                raise ValueError(
                    f"a connection with delay 0 must lead to a later population, not from {connection.source!r} to "
                    f"{connection.target!r}"
                )
            shape = (self.size(connection.target), self.size(connection.source))
            found = (connection.target_size, connection.source_size)
            if found != shape:
                raise ValueError(
                    f"weight from {connection.source!r} to {connection.target!r} must have shape {shape}, not {found}"
                )
            weight, width = connection.weight, self.width_of(connection.target)
            low, high = weight_range(width)
            # One bit encodes -1 and 1 only: a weight that is 0 would silently become one of them.
            full = weight.is_full if isinstance(weight, SparseMatrix) else bool(np.all(weight))
            if width == 1 and not full:
                raise ValueError(
                    f"weight from {connection.source!r} to {connection.target!r} must be -1 or 1 at 1 bit, not 0"
                )
            numbers = numbers_of(weight)
            if numbers.size and (numbers.min() < low or numbers.max() > high):
                raise ValueError(
                    f"weight from {connection.source!r} to {connection.target!r} must be from {low} to {high} at "
                    f"{width} bits, not {numbers.min()} to {numbers.max()}"
                )

    @cached_property
    def _populations(self) -> dict[str, QuantisedPopulation]:
        return {population.name: population for population in self.populations}

    @cached_property
    def _units(self) -> dict[str, QuantisedUnit]:
        return {unit.name: unit for unit in self.units}

    @cached_property
    def _connections(self) -> dict[str, tuple[list[QuantisedConnection], list[QuantisedConnection]]]:
        """For each name, the connections from it and to it."""
        # Indexed once: compiler passes ask for the connections of every population.
        found: dict[str, tuple[list[QuantisedConnection], list[QuantisedConnection]]] = {
            name: ([], []) for name in self.sources
        }
        for connection in self.connections:
            found[connection.source][0].append(connection)
            found[connection.target][1].append(connection)
        return found

    @cached_property
    def _readers(self) -> dict[str, tuple[QuantisedUnit, ...]]:
        return {name: tuple(unit for unit in self.units if name in unit.sources) for name in self.sources}

    @cached_property
    def schedule(self) -> tuple[QuantisedPopulation | QuantisedUnit, ...]:
        """The update order of a step: each unit directly follows the last of its sources."""
        # The input precedes all populations, and with it a unit that reads only the input.
        place = {INPUT: -1} | {name: number for number, name in enumerate(self._populations)}
        after: dict[int, list[QuantisedUnit]] = {}
        for unit in self.units:
            after.setdefault(max(place[source] for source in unit.sources), []).append(unit)
        steps: list[QuantisedPopulation | QuantisedUnit] = [*after.get(-1, [])]
        for number, population in enumerate(self.populations):
            steps += [population, *after.get(number, [])]
        return tuple(steps)

    def size(self, name: str) -> int:
        """Number of neurons of the population ``name``, of input lines (`INPUT`), or of outputs of a unit."""
        if name == INPUT:
            return self.inputs
        return self._units[name].size if name in self._units else self._populations[name].size

    def population(self, name: str) -> QuantisedPopulation:
        """The population called ``name``."""
        return self._populations[name]

    def width_of(self, name: str) -> int:
        """Width in bits of the weights into the population ``name``."""
        own = self._populations[name].weight_width
        return self.weight_width if own is None else own

    def unit(self, name: str) -> QuantisedUnit | None:
        """The unit called ``name``, or None."""
        return self._units.get(name)

    def units_of(self, kind: type[Unit]) -> tuple[Unit, ...]:
        """The units of this kind."""
        return tuple(unit for unit in self.units if isinstance(unit, kind))

    def readers(self, name: str) -> tuple[QuantisedUnit, ...]:
        """The units that read the spikes of ``name``."""
        return self._readers[name]

    def connections_from(self, name: str) -> Sequence[QuantisedConnection]:
        """The connections from the input, a population or a unit."""
        return self._connections[name][0]

    def connections_to(self, name: str) -> Sequence[QuantisedConnection]:
        """The connections to a population."""
        return self._connections[name][1]

    def spikes(self, name: str) -> bool:
        """Whether ``name`` is a unit or a population that spikes."""
        return name in self._units or self._populations[name].parameters.spiking

    def sinks(self, name: str) -> tuple[str, ...]:
        """The populations and units that receive the spikes of ``name``, each once."""
        found = [connection.target for connection in self.connections_from(name)]
        # A dictionary instead of a set, which would not keep the order.
        return tuple(dict.fromkeys([*found, *(unit.name for unit in self.readers(name))]))

    @cached_property
    def fan_out(self) -> dict[str, NDArray[np.int64]]:
        """Number of synapses of each source neuron: ``(n,)`` for the input, each population and each unit."""
        counts = {name: np.zeros(self.size(name), np.int64) for name in self.sources}
        for connection in self.connections:
            counts[connection.source] += connection.fan_out
        return counts

    @property
    def sources(self) -> tuple[str, ...]:
        """Valid names of sources: the input, populations and units."""
        return (INPUT, *(p.name for p in self.populations), *(unit.name for unit in self.units))

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return sum(population.size for population in self.populations)

    @property
    def synapses(self) -> int:
        """Number of weights (`Projection.synapses`)."""
        return sum(connection.synapses for connection in self.connections)

    def value_bounds(self, name: str) -> tuple[int, int]:
        """Smallest and largest value of a neuron of ``name``, or of an input line, per step. The smallest is at most 0,
        which is no spike."""
        if name == INPUT:
            return signed_range(self.input_value_width) if self.input_value_width else (0, 1)
        if name in self._units:
            return 0, 1
        parameters = self.population(name).parameters
        if parameters.max_spikes > 1:
            return 0, parameters.max_spikes
        return signed_range(parameters.value_width) if parameters.graded else (0, 1)

    def current_bounds(self, name: str) -> tuple[int, int]:
        """Smallest and largest sum ``I`` of a neuron of the population ``name`` in one step.

        Each source fires at most once per step. Spikes of delay 0 and of delay 1 add up in the same sum.
        """
        # Cached, because it takes a sum over all weights of the population.
        if name not in self._known_bounds:
            self._known_bounds[name] = self._current_bounds(name)
        return self._known_bounds[name]

    @cached_property
    def _known_bounds(self) -> dict[str, tuple[int, int]]:
        return {}

    def _current_bounds(self, name: str) -> tuple[int, int]:
        # Summed per neuron: the worst neuron of each connection need not be the same one.
        low = np.zeros(self.size(name), np.int64)
        high = np.zeros(self.size(name), np.int64)
        for connection in self.connections_to(name):
            least, greatest = connection.bounds(*self.value_bounds(connection.source))
            low += least
            high += greatest
        return int(low.min()), int(high.max())
