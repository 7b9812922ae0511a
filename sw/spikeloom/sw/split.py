"""Splitting: the populations of a network cut into *parts*, which can lie in different tiles.

A part is a population of its own, with the parameters and the seeds of its neurons, and every connection becomes one
from each part of its source to each part of its target, with the weights between the two. Those keep the form in which
the memory holds them: the columns and lines of a matrix, the kernels between some channels of a convolution. What
arrives at a neuron in a step is the same sum as before, so spikes and membranes are too.

Parts are ranges of neurons. Where a convolution or a pooling sees a population as ``(channels, height, width)``, a
part has whole channels. The input is never cut: what it sends goes to whoever needs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import lcm, prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.sim.core import PER_NEURON
from spikeloom.sim.network import INPUT, QuantisedConnection, QuantisedNetwork, QuantisedPopulation

__all__ = ["Part", "SplitError", "SplitNetwork", "between", "neurons_a_channel", "split"]


class SplitError(ValueError):
    """Cuts that cannot be made. The message is one sentence."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The neurons ``first`` to ``stop - 1`` of ``population``, as the population ``name`` of the network of parts."""

    name: str
    population: str
    first: int
    stop: int

    @property
    def size(self) -> int:
        """Number of neurons."""
        return self.stop - self.first


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitNetwork:
    """A network of ``parts``, and the ``original`` that it was cut out of.

    The parts of a population follow each other in ``network.populations``. The output of ``network`` is the first part
    of the original's.
    """

    original: QuantisedNetwork
    network: QuantisedNetwork
    parts: tuple[Part, ...]

    def parts_of(self, population: str) -> tuple[Part, ...]:
        """The parts of a population of the original, in the order of its neurons."""
        return tuple(part for part in self.parts if part.population == population)

    def part(self, name: str) -> Part:
        """The part called ``name``."""
        return next(part for part in self.parts if part.name == name)

    def join(self, arrays: Mapping[str, ArrayLike], population: str) -> NDArray[Any]:
        """What ``arrays`` say of the parts of ``population``, each ``(..., part.size)``, as one ``(..., n)``."""
        return np.concatenate([np.asarray(arrays[part.name]) for part in self.parts_of(population)], axis=-1)


def neurons_a_channel(network: QuantisedNetwork, population: str) -> int:
    """The neurons that cannot be cut apart: a channel of the convolutions and poolings that see ``population``.

    It is the whole population where a connection of one-bit weights has groups, since there is no weight of 0.
    """
    size, together = network.size(population), 1
    for connection in network.connections:
        convolution = connection.convolution
        if population not in (connection.source, connection.target):
            continue
        if convolution is not None and convolution.groups > 1 and network.weight_width == 1:
            return size
        if connection.target == population and convolution is not None:
            together = lcm(together, prod(convolution.output_shape[1:]))
        if connection.source == population and connection.source_shape is not None:
            together = lcm(together, prod(connection.source_shape[1:]))
    return min(together, size)


def split(network: QuantisedNetwork, cuts: Mapping[str, Sequence[int]]) -> SplitNetwork:
    """Cut each population of ``cuts`` in front of the neurons with these numbers, which are ascending.

    Between parts without any weight but 0 there is no connection. Raises `SplitError` if a cut is not between two
    neurons of the population, or goes through a channel.
    """
    for name in cuts:
        if name not in [population.name for population in network.populations]:
            raise SplitError(f"cuts must be of populations of network {network.name}, not of {name!r}")
    parts: dict[str, tuple[Part, ...]] = {INPUT: (Part(name=INPUT, population=INPUT, first=0, stop=network.inputs),)}
    populations: list[QuantisedPopulation] = []
    for population in network.populations:
        places = _places(network, population, cuts.get(population.name, ()))
        parts[population.name] = tuple(
            Part(
                name=population.name if len(places) == 2 else f"{population.name}[{first}:{stop}]",
                population=population.name,
                first=first,
                stop=stop,
            )
            for first, stop in pairwise(places)
        )
        populations += [_part_of(population, part) for part in parts[population.name]]
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


def _places(network: QuantisedNetwork, population: QuantisedPopulation, cuts: Sequence[int]) -> list[int]:
    """Where the parts of a population begin, and its end."""
    together = neurons_a_channel(network, population.name)
    places = [0, *(int(cut) for cut in cuts), population.size]
    for before, place in pairwise(places):
        if place <= before:
            raise SplitError(
                f"cuts of population {population.name} must be ascending numbers from 1 to {population.size - 1}, not "
                f"{list(cuts)!r}"
            )
        if place % together:
            raise SplitError(
                f"cuts of population {population.name} must be multiples of {together}, the neurons of a channel, not "
                f"{place}"
            )
    return places


def _part_of(population: QuantisedPopulation, part: Part) -> QuantisedPopulation:
    own: dict[str, Any] = {
        name: np.asarray(getattr(population.parameters, name))[part.first : part.stop] for name in PER_NEURON
    }
    return QuantisedPopulation(name=part.name, parameters=replace(population.parameters, size=part.size, **own))


def between(connection: QuantisedConnection, source: Part, target: Part) -> QuantisedConnection | None:
    """What is left of a connection between two parts, None where nothing is."""
    if source.size == connection.source_size and target.size == connection.target_size:
        return replace(connection, source=source.name, target=target.name)
    weight, pooling, convolution = connection.weight, connection.pooling, connection.convolution
    columns = slice(source.first, source.stop)
    if connection.source_shape is not None:
        a_channel = prod(connection.source_shape[1:])
        columns = slice(source.first // a_channel, source.stop // a_channel)  # channels of the source
    channels = columns.stop - columns.start
    if pooling is not None:
        pooling = replace(pooling, input_shape=(channels, *pooling.input_shape[1:]))
    if convolution is None:
        if connection.pooling is not None:
            a_channel = prod(connection.pooling.output_shape[1:])
            columns = slice(columns.start * a_channel, columns.stop * a_channel)
        weight = weight[target.first : target.stop, columns]
    else:
        a_channel = prod(convolution.output_shape[1:])
        lines = slice(target.first // a_channel, target.stop // a_channel)  # channels of the target
        groups, weight = _kernels(connection, lines, columns)
        convolution = replace(
            convolution,
            input_shape=(channels, *convolution.input_shape[1:]),
            output_channels=lines.stop - lines.start,
            groups=groups,
        )
    if not weight.any():
        return None
    return replace(
        connection,
        source=source.name,
        target=target.name,
        weight=weight,
        pooling=pooling,
        convolution=convolution,
    )


def _kernels(connection: QuantisedConnection, outputs: slice, inputs: slice) -> tuple[int, NDArray[np.int64]]:
    """The groups and the kernels between some channels of a convolution.

    Where the channels are not those of whole groups they make one group, with kernels of 0 between those that do not
    belong together.
    """
    convolution, weight = connection.convolution, connection.weight
    assert convolution is not None
    all_outputs, inputs_a_group, *_ = convolution.weight_shape
    outputs_a_group = all_outputs // convolution.groups
    first, rest = divmod(inputs.start, inputs_a_group)
    stop, more = divmod(inputs.stop, inputs_a_group)
    if not rest and not more and outputs == slice(first * outputs_a_group, stop * outputs_a_group):
        return stop - first, weight[outputs]
    group_of_output = np.arange(outputs.start, outputs.stop) // outputs_a_group
    group_of_input, within = np.divmod(np.arange(inputs.start, inputs.stop), inputs_a_group)
    together = group_of_output[:, None] == group_of_input
    kernels = weight[outputs][:, within]
    return 1, np.where(together[:, :, None, None], kernels, 0)
