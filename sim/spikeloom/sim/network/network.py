"""A quantised network: populations of integer neurons, the integer weights between them and attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.attention.attention import AttentionParameters, Words, attend, register_seeds
from spikeloom.sim.core.neuron import NeuronParameters, signed_range
from spikeloom.sim.lib.words import weight_range
from spikeloom.sim.network.projection import Projection
from spikeloom.sim.network.sparse import SparseMatrix, numbers_of

__all__ = ["INPUT", "QuantisedAttention", "QuantisedConnection", "QuantisedNetwork", "QuantisedPopulation"]

INPUT = "input"
"""The name under which connections refer to the network's input."""


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantisedPopulation:
    """Neurons that share a rule and are updated together."""

    name: str
    parameters: NeuronParameters

    @property
    def size(self) -> int:
        """Number of neurons."""
        return self.parameters.size


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantisedConnection(Projection):
    """Integer weights from ``source`` (`INPUT` or a population) to the population ``target``.

    ``weight`` is a matrix ``(n_target, n_source)`` or the kernel of a ``convolution``, with a ``pooling`` in front if
    there is one (`Projection`), as int64. ``delay`` 0 delivers spikes in the step in which they are fired, 1
    (recurrent) in the next.
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
            weight.setflags(write=False)
        object.__setattr__(self, "weight", weight)
        self.check_shape(f"the connection from {self.source!r} to {self.target!r}")


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantisedAttention:
    """Stochastic attention (`spikeloom.sim.attention.attention`): a source of spikes for connections, under its own
    name.

    ``query``, ``key`` and ``value`` are populations of ``heads * tokens * features`` neurons in the order ``(heads,
    features, tokens)``, which is that of the channels of a convolution whose positions are the tokens. Its own spikes
    have that order too, and come in the step of the spikes that they depend on: without delay. Every sample starts
    from ``seed``.
    """

    name: str
    query: str
    key: str
    value: str
    parameters: AttentionParameters
    seed: int = 0
    causal: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.parameters, AttentionParameters):
            raise TypeError(f"parameters of {self.name!r} must be AttentionParameters, not {self.parameters!r}")
        if not isinstance(self.causal, bool):
            raise TypeError(f"causal of {self.name!r} must be True or False, not {self.causal!r}")
        register_seeds(self.seed)

    @property
    def size(self) -> int:
        """Number of spikes that a step can bring, and of neurons of each of its three sources."""
        return self.parameters.heads * self.parameters.tokens * self.parameters.features

    @property
    def sources(self) -> tuple[str, str, str]:
        """Names of the populations of query, key and value."""
        return self.query, self.key, self.value

    def last_source(self, order: Sequence[str]) -> int:
        """Place in ``order`` of the last of the three sources: an attention follows it in the same step."""
        return max(order.index(source) for source in self.sources)

    def samples(
        self, fired: Mapping[str, NDArray[np.bool_]], words: Words
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """S ``(B, heads, tokens, tokens)`` and the spikes ``(B, n)`` of a step, from the spikes of its sources
        ``(B, n)`` and the random ``words`` of the step."""
        shape = self.parameters
        q, k, v = (
            fired[name].reshape(-1, shape.heads, shape.features, shape.tokens).swapaxes(2, 3).astype(np.int64)
            for name in self.sources
        )
        scores, outputs = attend(shape, q, k, v, words, causal=self.causal)
        return scores, outputs.swapaxes(2, 3).reshape(len(outputs), -1)


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantisedNetwork:
    """Populations in the order in which a step updates them, their connections, and attention between them.

    A connection with delay 0 must lead from the input or an earlier population to a later one. An attention counts as
    the last of its sources; it cannot be the target of a connection, nor the output. ``input_value_width`` 0
    means that an input line fires or does not; otherwise it brings a value of so many bits, two's complement, each
    step, and 0 is no event.
    """

    name: str
    inputs: int
    populations: tuple[QuantisedPopulation, ...]
    connections: tuple[QuantisedConnection, ...]
    output: str
    weight_width: int = 8
    input_value_width: int = 0
    notes: tuple[str, ...] = ()
    attentions: tuple[QuantisedAttention, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.weight_width <= 16:
            raise ValueError(f"weight_width must be an integer from 1 to 16, not {self.weight_width!r}")
        if self.input_value_width not in (0, *range(2, 17)):
            raise ValueError(f"input_value_width must be 0 or from 2 to 16, not {self.input_value_width!r}")
        if self.inputs < 1:
            raise ValueError(f"inputs must be at least 1, not {self.inputs!r}")
        names = [population.name for population in self.populations]
        every = [*names, *(attention.name for attention in self.attentions)]
        if len(set(every)) != len(every) or INPUT in every:
            raise ValueError(f"population names must be unique and none {INPUT!r}, not {every!r}")
        if self.output not in names:
            raise ValueError(f"output must be one of {names!r}, not {self.output!r}")
        order = {INPUT: -1} | {name: position for position, name in enumerate(names)}
        for attention in self.attentions:
            self._check_attention(attention)
            order[attention.name] = attention.last_source(names)
        low, high = weight_range(self.weight_width)
        for connection in self.connections:
            if connection.source not in order or connection.target not in names:
                raise ValueError(
                    f"a connection must join known populations, not {connection.source!r} to {connection.target!r}"
                )
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
            weight = connection.weight
            full = weight.is_full if isinstance(weight, SparseMatrix) else bool(np.all(weight))
            if self.weight_width == 1 and not full:
                raise ValueError(
                    f"weight from {connection.source!r} to {connection.target!r} must be -1 or 1 at 1 bit, not 0"
                )
            numbers = numbers_of(weight)
            if numbers.size and (numbers.min() < low or numbers.max() > high):
                raise ValueError(
                    f"weight from {connection.source!r} to {connection.target!r} must be from {low} to {high} at "
                    f"{self.weight_width} bits, not {numbers.min()} to {numbers.max()}"
                )

    def _check_attention(self, attention: QuantisedAttention) -> None:
        populations = {population.name: population for population in self.populations}
        for role in ("query", "key", "value"):
            source = populations.get(getattr(attention, role))
            if source is None:
                raise ValueError(
                    f"{role} of {attention.name!r} must be one of {list(populations)!r}, not "
                    f"{getattr(attention, role)!r}"
                )
            if source.size != attention.size:
                raise ValueError(
                    f"{role} of {attention.name!r} must have {attention.size} neurons, not {source.size} as "
                    f"{source.name!r}"
                )
            if not source.parameters.spiking or source.parameters.graded:
                raise ValueError(f"{role} of {attention.name!r} must be of neurons that spike, not as {source.name!r}")

    def size(self, name: str) -> int:
        """Number of neurons of the population ``name``, of input lines for `INPUT`, or of spikes of an attention."""
        if name == INPUT:
            return self.inputs
        attention = self.attention(name)
        return self.population(name).size if attention is None else attention.size

    def attention(self, name: str) -> QuantisedAttention | None:
        """The attention called ``name``, None if that is no attention."""
        return next((attention for attention in self.attentions if attention.name == name), None)

    def spikes(self, name: str) -> bool:
        """Whether ``name`` is an attention or a population that spikes."""
        return self.attention(name) is not None or self.population(name).parameters.spiking

    def sinks(self, name: str) -> tuple[str, ...]:
        """The populations and the attention that ``name`` leads to, each once."""
        found = [c.target for c in self.connections if c.source == name]
        return tuple(dict.fromkeys([*found, *(a.name for a in self.attentions if name in a.sources)]))

    def population(self, name: str) -> QuantisedPopulation:
        """The population called ``name``."""
        return next(population for population in self.populations if population.name == name)

    @cached_property
    def fan_out(self) -> dict[str, NDArray[np.int64]]:
        """Synapses of each source neuron: ``(n,)`` for the input and each population."""
        counts = {name: np.zeros(self.size(name), np.int64) for name in self.sources}
        for connection in self.connections:
            counts[connection.source] += connection.fan_out
        return counts

    @property
    def sources(self) -> tuple[str, ...]:
        """Names under which connections may refer to what spikes: the input, populations and attention."""
        return (INPUT, *(p.name for p in self.populations), *(a.name for a in self.attentions))

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return sum(population.size for population in self.populations)

    @property
    def synapses(self) -> int:
        """Number of weights (`Projection.synapses`)."""
        return sum(connection.synapses for connection in self.connections)

    def value_bounds(self, name: str) -> tuple[int, int]:
        """Least and greatest value that a neuron of the population ``name``, or an input line, brings in a step; the
        least is at most 0, which is no spike."""
        if name == INPUT:
            return signed_range(self.input_value_width) if self.input_value_width else (0, 1)
        if self.attention(name) is not None:
            return 0, 1
        parameters = self.population(name).parameters
        return signed_range(parameters.value_width) if parameters.graded else (0, 1)

    def current_bounds(self, name: str) -> tuple[int, int]:
        """Least and greatest sum ``I`` that one step can bring to a neuron of the population ``name``.

        Each source fires at most once a step, and spikes of delay 0 and delay 1 meet in the same sum.
        """
        low = np.zeros(self.size(name), np.int64)
        high = np.zeros(self.size(name), np.int64)
        for connection in self.connections:
            if connection.target == name:
                least, greatest = connection.bounds(*self.value_bounds(connection.source))
                low += least
                high += greatest
        return int(low.min()), int(high.max())
