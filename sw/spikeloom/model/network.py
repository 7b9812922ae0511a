"""Float network: result of the frontends (`load`, `from_snntorch`) and input of the quantiser.

A network consists of populations of neurons (`spikeloom.model.population` defines their step), dense or convolutional
connections between them, and attention. `Network.simulate` is the float model of the accuracy tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite, prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.model.population import INPUT, FloatArray, Population, PopulationState, as_floats, as_shape
from spikeloom.sim.attention.attention import draw
from spikeloom.sim.lib.lfsr import distinct_seeds
from spikeloom.sim.network.attention import QuantisedAttention
from spikeloom.sim.network.projection import Projection
from spikeloom.sim.network.reference import as_inputs
from spikeloom.sim.network.sparse import Matrix, SparseMatrix

__all__ = ["Connection", "EncoderSetting", "FloatResult", "Network"]

EncoderSetting = int | float | str | tuple[float, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Connection(Projection):
    """Weights from ``source`` (`INPUT` or a population) to the population ``target``.

    ``weight`` is a matrix ``(n_target, n_source)`` or the kernel of a ``convolution``, optionally with a ``pooling`` in
    front (`Projection`). ``delay`` 0 delivers spikes in the step in which they are fired, 1 (recurrent) in the next.
    """

    source: str
    target: str
    delay: int = 0

    def __post_init__(self) -> None:
        where = f"the connection from {self.source!r} to {self.target!r}"
        if isinstance(self.weight, SparseMatrix):
            weight: Matrix = self.weight.map(lambda values: as_floats(f"weight of {where}", values))
        else:
            weight = as_floats(f"weight of {where}", self.weight)
        object.__setattr__(self, "weight", weight)
        if not isinstance(self.delay, int) or self.delay not in (0, 1):
            raise ValueError(f"delay of {where} must be 0 or 1, not {self.delay!r}")
        if self.source == INPUT and self.delay:
            raise ValueError(f"delay of {where} must be 0 because it starts at the input, not 1")
        self.check_shape(where)


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatResult:
    """Result of a float run, each ``(T, B, n)``: spikes of every population and attention, the values of graded spikes,
    and the recorded membranes.

    ``counted`` names the populations whose neurons fire several times per step; their values are the numbers of spikes.
    ``capped`` has the number of cells of each of them, one per neuron, step and sample, in which the membrane reached
    more thresholds than `Population.max_spikes`.
    """

    spikes: dict[str, NDArray[np.bool_]]
    values: dict[str, FloatArray]
    membranes: dict[str, FloatArray]
    counted: tuple[str, ...] = ()
    capped: dict[str, int] = field(default_factory=dict)

    def fired(self, name: str) -> NDArray[Any]:
        """Return the spikes of ``name``, ``(T, B, n)``: booleans, or numbers of spikes as unsigned integers where its
        neurons fire several times per step."""
        return self.values[name].astype(np.uint8) if name in self.counted else self.spikes[name]


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """Populations in update order, their connections, and attention between them.

    Parameters
    ----------
    input_shape
        Extents of the input; lines are numbered in C order.
    populations, connections
        A connection with delay 0 leads from the input or an earlier population to a later one. Several connections may
        join the same two populations; their weights add up.
    attentions
        Stochastic attention. It operates on spikes only and is therefore identical in floats and integers, including
        the random numbers. Its name is a valid source of connections; its position is that of the last of its own
        sources.
    output
        Name of the population that gives the result: its spikes, or its membranes if it does not spike.
    time_step_s
        Duration of one step in seconds. No arithmetic depends on it.
    notes
        Losses and assumptions of the conversion, one sentence each; a note about a single population starts with its
        name and a colon.
    encoder
        Settings of the encoder used in training (see `spikeloom.datasets.encoders`), if the file contains them.
    seed
        Seed from which each neuron with noise derives its own (`seeds`), 1 to 2**32 - 1.
    input_value_width
        0 for binary input lines, otherwise the width, 2 to 16 bits, of their signed integer values.
    """

    name: str
    input_shape: tuple[int, ...]
    populations: tuple[Population, ...]
    connections: tuple[Connection, ...]
    output: str
    time_step_s: float
    notes: tuple[str, ...] = ()
    encoder: Mapping[str, EncoderSetting] | None = None
    seed: int = 1
    input_value_width: int = 0
    attentions: tuple[QuantisedAttention, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_shape", as_shape("input_shape", self.input_shape))
        for name in ("populations", "connections", "notes", "attentions"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not isfinite(self.time_step_s) or self.time_step_s <= 0:
            raise ValueError(f"time_step_s must be positive and finite, not {self.time_step_s!r}")
        if not isinstance(self.seed, int) or not 1 <= self.seed < 1 << 32:
            raise ValueError(f"seed must be an integer from 1 to {(1 << 32) - 1}, not {self.seed!r}")
        if self.input_value_width not in (0, *range(2, 17)):
            raise ValueError(f"input_value_width must be 0 or from 2 to 16, not {self.input_value_width!r}")
        names = [population.name for population in self.populations]
        if not names:
            raise ValueError("a network must have at least one population, not none")
        every = [*names, *(attention.name for attention in self.attentions)]
        for name in every:
            if every.count(name) > 1:
                raise ValueError(f"population names must be unique, but {name!r} occurs twice")
        if self.output not in names:
            raise ValueError(f"output must be one of {', '.join(names)}, not {self.output!r}")
        order = {name: position for position, name in enumerate(names)}
        for attention in self.attentions:
            self._check_attention(attention, names)
            order[attention.name] = attention.last_source(names)
        for connection in self.connections:
            self._check_connection(connection, order)

    def _check_attention(self, attention: QuantisedAttention, names: list[str]) -> None:
        for role, name in zip(("query", "key", "value"), attention.sources, strict=True):
            where = f"{role} of {attention.name!r}"
            if name not in names:
                raise ValueError(f"{where} must be one of {', '.join(names)}, not {name!r}")
            source = self.population(name)
            if source.size != attention.size:
                raise ValueError(f"{where} must have {attention.size:,} neurons, but {name!r} has {source.size:,}")
            if not source.spiking or source.graded:
                raise ValueError(f"{where} must be neurons with plain spikes, unlike {name!r}")

    def _check_connection(self, connection: Connection, order: Mapping[str, int]) -> None:
        source, target = connection.source, connection.target
        where = f"the connection from {source!r} to {target!r}"
        names = [population.name for population in self.populations]
        if source not in (INPUT, *order):
            raise ValueError(f"source of {where} must be {INPUT!r} or a population, not {source!r}")
        if target not in names:
            raise ValueError(f"target of {where} must be a population, not {target!r}")
        shape = (self.size(target), self.size(source))
        found = (connection.target_size, connection.source_size)
        if found != shape:
            raise ValueError(f"weight of {where} must have shape {shape}, not {found}")
        if self.population(target).delay is not None and self.brings_values(source):
            raise ValueError(f"source of {where} must not carry values, because a delay line stores none")
        if source == INPUT:
            return
        if source in names and not self.population(source).spiking:
            raise ValueError(f"source of {where} must spike; {source!r} is an integrator and can only be the output")
        if connection.delay == 0 and order[source] >= order[target]:
            raise ValueError(
                f"delay of {where} must be 1 because its target is not a later population: connections with "
                "delay 0 must not form a cycle and must follow the order of the populations"
            )

    @property
    def inputs(self) -> int:
        """Number of input lines."""
        return prod(self.input_shape)

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return sum(population.size for population in self.populations)

    @property
    def synapses(self) -> int:
        """Number of weights (`Projection.synapses`)."""
        return sum(connection.synapses for connection in self.connections)

    def size(self, name: str) -> int:
        """Return the number of neurons of the population ``name``, of input lines for `INPUT`, or of spikes of an
        attention."""
        if name == INPUT:
            return self.inputs
        attention = self.attention(name)
        return self.population(name).size if attention is None else attention.size

    def attention(self, name: str) -> QuantisedAttention | None:
        """Return the attention called ``name``, or None."""
        return next((attention for attention in self.attentions if attention.name == name), None)

    def population(self, name: str) -> Population:
        """Return the population called ``name``. Raises ``KeyError`` if there is none."""
        for population in self.populations:
            if population.name == name:
                return population
        raise KeyError(name)

    def brings_values(self, name: str) -> bool:
        """Whether spikes of the population ``name``, or of the input for `INPUT`, carry values."""
        if name == INPUT:
            return self.input_value_width > 0
        return self.attention(name) is None and self.population(name).graded

    @cached_property
    def seeds(self) -> dict[str, NDArray[np.int64]]:
        """Return the distinct seeds ``(n,)`` of the neurons by population, in the order of the populations."""
        seeds = distinct_seeds(self.seed, self.neurons)
        firsts = np.cumsum([0, *(population.size for population in self.populations)])
        return {p.name: seeds[a : a + p.size] for p, a in zip(self.populations, firsts, strict=False)}

    def simulate(self, spikes: ArrayLike) -> NDArray[Any]:
        """Run ``spikes`` ``(T, B, inputs)`` of 0 and 1 and return the output population's spikes or membranes.

        ``(T, inputs)`` is a single sample. The result is ``(T, B, n_out)``: booleans if the output spikes, numbers of
        spikes if it fires several times per step, otherwise float membranes. Every sample starts from rest.
        """
        result = self.run(spikes)
        spiking = self.population(self.output).spiking
        return result.fired(self.output) if spiking else result.membranes[self.output]

    def run(self, spikes: ArrayLike, *, record_membranes: Iterable[str] = ()) -> FloatResult:
        """Run ``spikes`` ``(T, B, inputs)`` as `simulate` does, but return the activity of every population.

        Membranes of populations that do not spike are always recorded, others if named in ``record_membranes``, each at
        the end of the step. Raises ``ValueError`` if ``spikes`` does not match.
        """
        inputs = as_inputs(spikes, self.inputs, self.input_value_width)
        steps, batch, _ = inputs.shape
        recorded = {*record_membranes} | {p.name for p in self.populations if not p.spiking}
        membranes = {name: np.zeros((steps, batch, self.population(name).size)) for name in recorded}
        names = [p.name for p in self.populations]
        sizes = {p.name: p.size for p in self.populations} | {a.name: a.size for a in self.attentions}
        fired = {name: np.zeros((steps, batch, size), np.bool_) for name, size in sizes.items()}
        words = {a.name: draw(a.parameters, steps, seed=a.seed) for a in self.attentions}
        values = {p.name: np.zeros((steps, batch, p.size)) for p in self.populations if p.graded}
        brought: dict[str, NDArray[Any]] = {INPUT: inputs} | fired | values
        states = {p.name: PopulationState(p, batch, self.seeds[p.name]) for p in self.populations}
        capped = {p.name: 0 for p in self.populations if p.max_spikes > 1}
        for t in range(steps):
            for population in self.populations:
                current = np.zeros((batch, population.size))
                for connection in self.connections:
                    if connection.target == population.name and t >= connection.delay:
                        current += connection.sum(brought[connection.source][t - connection.delay])
                state = states[population.name]
                fired[population.name][t], value = state.step(current)
                if population.name in values:
                    values[population.name][t] = value
                if population.name in capped:
                    capped[population.name] += state.capped
                if population.name in recorded:
                    membranes[population.name][t] = state.v
                for attention in self.attentions:
                    if attention.last_source(names) == names.index(population.name):
                        sources = {source: fired[source][t] for source in attention.sources}
                        _, fired[attention.name][t] = attention.samples(sources, words[attention.name].step(t))
        return FloatResult(spikes=fired, values=values, membranes=membranes, counted=tuple(capped), capped=capped)
