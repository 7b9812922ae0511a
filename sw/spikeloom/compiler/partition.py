"""Partition: cut the populations of a network into *parts* (slices), which can lie in different tiles.

A part is a population of its own, with the parameters and the seeds of its neurons. Every connection becomes one from
each part of its source to each part of its target, with the weights between the two. These keep the form in which the
memory holds them: columns and lines of a matrix, kernels between some channels of a convolution, or between some of its
lines. The sum that reaches a neuron in a step does not change, and neither do spikes and membranes.

Parts are ranges of neurons. Where a convolution or a pooling sees a population as ``(channels, height, width)``, a part
consists of whole channels; or, if all of them see the same shape, it can be a *band*: some lines of every channel. The
input is never cut; each part receives the inputs it needs. Units, and populations that a unit reads, are not cut
either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from math import lcm, prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.sim.core.features import PER_NEURON
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.projection import Pooling
from spikeloom.sim.network.sparse import part_of

__all__ = ["Bands", "Part", "SplitError", "SplitNetwork", "bands", "between", "neurons_per_channel", "split"]


class SplitError(ValueError):
    """Invalid cuts. The message is one sentence."""


@dataclass(frozen=True)
class Bands:
    """Possible cuts of a population into bands: seen as ``shape``, before every ``lines``-th line."""

    shape: tuple[int, int, int]
    lines: int


@dataclass(frozen=True, kw_only=True)
class Part:
    """Neurons ``first`` to ``stop - 1`` of ``population``, as the population ``name`` of the network of parts.

    For a band of a population of ``shape``, the numbers are lines of every channel.
    """

    name: str
    population: str
    first: int
    stop: int
    shape: tuple[int, int, int] | None = None

    @property
    def neurons(self) -> NDArray[np.int64]:
        """Numbers ``(size,)`` of its neurons in the population, ascending."""
        if self.shape is None:
            return np.arange(self.first, self.stop)
        return np.arange(prod(self.shape)).reshape(self.shape)[:, self.first : self.stop].reshape(-1)

    @property
    def size(self) -> int:
        """Number of neurons."""
        lines = self.stop - self.first
        return lines if self.shape is None else lines * self.shape[0] * self.shape[2]

    def box(self, shape: tuple[int, int, int]) -> tuple[slice, slice]:
        """Return its channels and lines for the population seen as ``shape``."""
        if self.shape is not None:
            return slice(0, shape[0]), slice(self.first, self.stop)
        a_channel = prod(shape[1:])
        return slice(self.first // a_channel, self.stop // a_channel), slice(0, shape[1])


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitNetwork:
    """Network of ``parts``, and the ``original`` network.

    The parts of a population are consecutive in ``network.populations``. The output of ``network`` is the first part of
    the output of the original.
    """

    original: QuantisedNetwork
    network: QuantisedNetwork
    parts: tuple[Part, ...]

    def parts_of(self, population: str) -> tuple[Part, ...]:
        """Return the parts of a population of the original, in the order of its neurons or lines."""
        return self._of_population[population]

    def part(self, name: str) -> Part:
        """Return the part called ``name``."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Part]:
        return {part.name: part for part in self.parts}

    @cached_property
    def _of_population(self) -> dict[str, tuple[Part, ...]]:
        found: dict[str, tuple[Part, ...]] = {}
        for part in self.parts:
            found[part.population] = (*found.get(part.population, ()), part)
        return found

    def join(self, arrays: Mapping[str, ArrayLike], population: str) -> NDArray[Any]:
        """Join ``arrays`` ``(..., part.size)`` of the parts of ``population`` into one ``(..., n)``."""
        parts = self.parts_of(population)
        # Bands interleave: the neurons of a band are not consecutive, as each has some lines of every channel.
        order = np.argsort(np.concatenate([part.neurons for part in parts]))
        return np.concatenate([np.asarray(arrays[part.name]) for part in parts], axis=-1)[..., order]


def neurons_per_channel(network: QuantisedNetwork, population: str) -> int:
    """Return the number of neurons that only bands can separate: a channel of the convolutions and poolings that see
    ``population``.

    It is the whole population if a connection with one-bit weights has groups, because there is no weight 0, and if a
    unit reads the population.
    """
    size, together = network.size(population), 1
    if network.readers(population):
        return size
    for connection in (*network.connections_from(population), *network.connections_to(population)):
        convolution = connection.convolution
        # A part of a grouped convolution gets zeros for the channels of other groups, which one-bit weights lack.
        if convolution is not None and convolution.groups > 1 and network.width_of(connection.target) == 1:
            return size
        if connection.target == population and convolution is not None:
            together = lcm(together, prod(convolution.output_shape[1:]))
        if connection.source == population and connection.source_shape is not None:
            together = lcm(together, prod(connection.source_shape[1:]))
    return min(together, size)


def bands(network: QuantisedNetwork, population: str) -> Bands | None:
    """Return the possible cuts of ``population`` into bands; None if it is not seen as a single shape.

    No window of a pooling is cut.
    """
    if network.readers(population):
        return None
    shapes, lines = set(), 1
    for connection in network.connections_to(population):
        if connection.convolution is not None:
            shapes.add(connection.convolution.output_shape)
    for connection in network.connections_from(population):
        if connection.source_shape is not None:
            shapes.add(connection.source_shape)
            # A cut must lie between the windows of all poolings that read the population.
            lines = lcm(lines, connection.pooling.window[0] if connection.pooling is not None else 1)
    return Bands(shapes.pop(), lines) if len(shapes) == 1 else None


def split(
    network: QuantisedNetwork,
    cuts: Mapping[str, Sequence[int]],
    band_cuts: Mapping[str, Sequence[int]] | None = None,
) -> SplitNetwork:
    """Cut each population of ``cuts`` before the neurons with these ascending numbers, and each of ``band_cuts`` before
    these lines.

    Parts with only zero weights between them are not connected. Raises `SplitError` if a cut is not between two neurons
    of the population, or crosses a channel or the window of a pooling.
    """
    band_cuts = band_cuts or {}
    names = {population.name for population in network.populations}
    for name in (*cuts, *band_cuts):
        if name not in names:
            raise SplitError(f"cuts must be of populations of network {network.name}, not of {name!r}")
        if name in cuts and name in band_cuts:
            raise SplitError(f"cuts of population {name} must be between channels or between lines, not both")
    parts: dict[str, tuple[Part, ...]] = {INPUT: (Part(name=INPUT, population=INPUT, first=0, stop=network.inputs),)}
    populations: list[QuantisedPopulation] = []
    for population in network.populations:
        name = population.name
        if band_cuts.get(name):
            parts[name] = _bands_of(network, name, band_cuts[name])
        else:
            parts[name] = _ranges_of(network, population, cuts.get(name, ()))
        populations += [_part_of(population, part) for part in parts[name]]
    for unit in network.units:
        parts[unit.name] = (Part(name=unit.name, population=unit.name, first=0, stop=unit.size),)
    connections = [
        found
        for connection in network.connections
        for target in parts[connection.target]
        for source in parts[connection.source]
        if (found := between(connection, source, target)) is not None
    ]
    return SplitNetwork(
        original=network,
        network=replace(
            network,
            populations=tuple(populations),
            connections=tuple(connections),
            output=parts[network.output][0].name,
        ),
        parts=tuple(part for name, found in parts.items() if name != INPUT for part in found),
    )


def _ranges_of(network: QuantisedNetwork, population: QuantisedPopulation, cuts: Sequence[int]) -> tuple[Part, ...]:
    name, together = population.name, neurons_per_channel(network, population.name)
    places = _places(name, cuts, population.size, together, "the neurons of a channel")
    return tuple(
        Part(
            name=name if len(places) == 2 else f"{name}[{first}:{stop}]",
            population=name,
            first=first,
            stop=stop,
        )
        for first, stop in pairwise(places)
    )


def _bands_of(network: QuantisedNetwork, name: str, cuts: Sequence[int]) -> tuple[Part, ...]:
    possible = bands(network, name)
    if possible is None:
        raise SplitError(f"population {name} must be seen as one shape to be cut into bands")
    places = _places(name, cuts, possible.shape[1], possible.lines, "the lines of a window")
    return tuple(
        Part(name=f"{name}[:, {first}:{stop}]", population=name, first=first, stop=stop, shape=possible.shape)
        for first, stop in pairwise(places)
    )


def _places(name: str, cuts: Sequence[int], size: int, together: int, what: str) -> list[int]:
    """Return the first indices of the parts of a population, and its end."""
    places = [0, *(int(cut) for cut in cuts), size]
    for before, place in pairwise(places):
        if place <= before:
            raise SplitError(
                f"cuts of population {name} must be ascending numbers from 1 to {size - 1}, not {list(cuts)!r}"
            )
        if place % together and place < size:
            raise SplitError(f"cuts of population {name} must be multiples of {together}, {what}, not {place}")
    return places


def _part_of(population: QuantisedPopulation, part: Part) -> QuantisedPopulation:
    values = {name: getattr(population.parameters, name) for name in PER_NEURON}
    own: dict[str, Any] = {name: np.asarray(v)[part.neurons] for name, v in values.items() if v is not None}
    return replace(population, name=part.name, parameters=replace(population.parameters, size=part.size, **own))


def between(connection: QuantisedConnection, source: Part, target: Part) -> QuantisedConnection | None:
    """Return the part of a connection between two parts, or None if it is empty."""
    changes: dict[str, Any] = {"source": source.name, "target": target.name}
    if source.size == connection.source_size and target.size == connection.target_size:
        return replace(connection, **changes)
    columns = source.neurons
    channels, lines = slice(0, 0), slice(0, 0)
    if connection.source_shape is not None:
        channels, lines = source.box(connection.source_shape)
    if connection.pooling is not None:
        pooling = connection.pooling
        height = pooling.window[0]
        whole = lines == slice(0, pooling.input_shape[1])
        inside = slice(lines.start // height, min(lines.stop // height, pooling.output_shape[1]))
        if inside.start >= inside.stop:
            return None
        shape = channels.stop - channels.start, lines.stop - lines.start, pooling.input_shape[2]
        changes["pooling"] = Pooling(input_shape=shape, window=pooling.window)
        lines = slice(0, pooling.output_shape[1]) if whole else inside
        grid = np.arange(prod(pooling.output_shape)).reshape(pooling.output_shape)
        columns = grid[channels, lines].reshape(-1)
    if connection.convolution is None:
        weight = part_of(connection.weight, target.neurons, columns)
    else:
        weight = _convolution_between(connection, channels, lines, target, changes)
    if not weight.any():
        return None
    found = replace(connection, weight=weight, **changes)
    return found if connection.convolution is None or found.fan_out.any() else None


def _convolution_between(
    connection: QuantisedConnection, channels: slice, lines: slice, target: Part, changes: dict[str, Any]
) -> NDArray[np.int64]:
    """Return the kernels between the channels and lines of a convolution and a part; set the geometry in
    ``changes``."""
    convolution = connection.convolution
    assert convolution is not None
    _, height, width = convolution.output_shape
    outputs, rows = target.box(convolution.output_shape)
    groups, weight = _kernels(connection, outputs, channels)
    geometry: dict[str, Any] = {}
    if rows != slice(0, height) or lines != slice(0, convolution.input_shape[1]):
        top = convolution.padding[0] + lines.start - rows.start * convolution.stride[0]
        geometry = {"padding": (top, convolution.padding[1]), "extent": (rows.stop - rows.start, width)}
    changes["convolution"] = replace(
        convolution,
        input_shape=(channels.stop - channels.start, lines.stop - lines.start, convolution.input_shape[2]),
        output_channels=outputs.stop - outputs.start,
        groups=groups,
        **geometry,
    )
    return weight


def _kernels(connection: QuantisedConnection, outputs: slice, inputs: slice) -> tuple[int, NDArray[np.int64]]:
    """Return the groups and the kernels between some channels of a convolution.

    Channels that are not whole groups form one group, with zero kernels between channels of different groups.
    """
    convolution, weight = connection.convolution, connection.kernel
    assert convolution is not None
    all_outputs, inputs_per_group, *_ = convolution.weight_shape
    outputs_per_group = all_outputs // convolution.groups
    first, rest = divmod(inputs.start, inputs_per_group)
    stop, more = divmod(inputs.stop, inputs_per_group)
    if not rest and not more and outputs == slice(first * outputs_per_group, stop * outputs_per_group):
        return stop - first, weight[outputs]
    group_of_output = np.arange(outputs.start, outputs.stop) // outputs_per_group
    group_of_input, within = np.divmod(np.arange(inputs.start, inputs.stop), inputs_per_group)
    together = group_of_output[:, None] == group_of_input
    kernels = weight[outputs][:, within]
    return 1, np.where(together[:, :, None, None], kernels, 0)
