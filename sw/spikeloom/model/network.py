"""The float network: what a front door (`load`, `from_snntorch`) returns and the quantiser takes.

A network is populations of neurons, connections between them, dense or convolutional, and attention. One step of a
neuron, in the same order as the integer step of `spikeloom.sim.core.neuron` (where the sources are), with ``I`` the sum
of the weights, times the values, of the step's spikes::

    hold   = refractory_count > 0
    i      = alpha * i + I if it has a synaptic current, else I         synapse
    base   = v if hold else beta * v                                    leak
    if pending: base = 0 | reset_value | base - threshold | base        reset of an earlier spike (reset delay 1)
    u      = base + (0 if hold else bias + i)                           integrate
    theta  = threshold + a                                              a: adaptation, 0 without
    spike  = spiking and not hold and (u + xi > theta | u + xi >= theta)  compare; xi: uniform in -noise .. noise
    value  = u within -value_limit .. value_limit if graded, else 1     what a spike brings
    if spike and reset_delay == 0: u = 0 | reset_value | u - theta | u
    v      = u
    a      = adaptation_factor * a + (adaptation_step if spike else 0)

A population with ``delay`` is delay lines instead: a line fires ``delay`` steps after its ``I`` was positive.

Gains, time constants and leak potentials of the source are already folded into ``beta``, ``bias`` and the weights, so
this is the whole arithmetic. `Network.simulate` is the float model of the accuracy tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite, prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.sim.attention.attention import draw
from spikeloom.sim.core.neuron import RANDOM_WIDTH, Compare, Reset
from spikeloom.sim.core.neuron import noise as signed_word
from spikeloom.sim.lib.lfsr import distinct_seeds, leap_table
from spikeloom.sim.network.network import QuantisedAttention
from spikeloom.sim.network.projection import Projection
from spikeloom.sim.network.reference import as_spikes, as_values

__all__ = [
    "INPUT",
    "LONGEST_DELAY",
    "Connection",
    "Description",
    "FloatResult",
    "LoadError",
    "Network",
    "Population",
    "describe",
    "with_constants",
]

INPUT = "input"
"""The name under which connections refer to the network's input."""

LONGEST_DELAY = 23
"""Steps of the longest delay line: one less than the bits of the widest membrane."""

FloatArray = NDArray[np.float64]


class LoadError(ValueError):
    """A network that cannot be read faithfully, at whichever front door. The message is one sentence."""


def _shape(name: str, shape: Iterable[Any]) -> tuple[int, ...]:
    values = tuple(int(extent) for extent in shape)
    if not values or min(values) < 1:
        raise ValueError(f"{name} must be one or more positive integers, not {values!r}")
    return values


def _floats(name: str, values: ArrayLike) -> FloatArray:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be numbers, not {array.dtype}")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, not {array[~np.isfinite(array)].flat[0]}")
    array.setflags(write=False)
    return array


def _number(value: float) -> str:
    return f"{value:.6g}"


def _decay(factor: FloatArray, name: str) -> str:
    """What is left of ``name`` after a step, as text; nothing if it is all gone."""
    if np.all(factor == 1.0):
        return name
    return "" if np.all(factor == 0.0) else f"{_coefficient(factor)} {name}"


def _coefficient(values: NDArray[Any]) -> str:
    """A constant as text: one number, or the range that the neurons span."""
    low, high = _number(values.min()), _number(values.max())
    return low if low == high else f"[{low} .. {high}]"


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """Neurons that share a rule and are updated together.

    Parameters
    ----------
    name
        Unique, and not `INPUT`.
    shape
        Extents of the population; neurons are numbered in C order.
    beta
        Factor of the membrane in a step without input, from 0 to 1.
    threshold, reset_value, bias
        In the units of the membrane. All four arrays are ``(n,)`` or one number for all, and finite.
    spiking
        False for a leaky integrator: it never spikes and its membrane is its output.
    compare, reset, reset_delay, refractory
        The rule of firing; ``refractory`` counts steps, from 0 to 255.
    alpha
        Factor of the synaptic current in a step, ``(n,)`` or one number from 0 to 1; None for neurons without one.
    adaptation_factor, adaptation_step
        Factor of the adaptation in a step, from 0 to 1, and what a spike adds to it, both ``(n,)`` or one number; None
        and 0 for a threshold that does not adapt.
    noise
        Half the width of the uniform noise that is added to the membrane where it is compared, at least 0. The numbers
        come from the seeds of the network, by the shift registers of the hardware, but are not the integers' own.
    value_limit
        The greatest value that a graded spike brings; None for spikes without values.
    delay
        Steps by which each delay line delays, ``(n,)`` or one integer from 0 to `LONGEST_DELAY`; None for neurons. Of
        all others only ``name`` and ``shape`` then count.
    """

    name: str
    shape: tuple[int, ...]
    beta: FloatArray = field(default_factory=lambda: np.zeros(()))
    threshold: FloatArray = field(default_factory=lambda: np.zeros(()))
    reset_value: FloatArray = field(default_factory=lambda: np.zeros(()))
    bias: FloatArray = field(default_factory=lambda: np.zeros(()))
    spiking: bool = True
    compare: Compare = Compare.GREATER
    reset: Reset = Reset.ZERO
    reset_delay: int = 0
    refractory: int = 0
    alpha: FloatArray | None = None
    adaptation_factor: FloatArray | None = None
    adaptation_step: FloatArray = field(default_factory=lambda: np.zeros(()))
    noise: float = 0.0
    value_limit: float | None = None
    delay: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"name of a population must be a string, not {self.name!r}")
        if not self.name or self.name == INPUT:
            raise ValueError(f"name of a population must be a non-empty string other than {INPUT!r}, not {self.name!r}")
        where = f"population {self.name!r}"
        object.__setattr__(self, "shape", _shape(f"shape of {where}", self.shape))
        for name, kind in (("compare", Compare), ("reset", Reset)):
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} of {where} must be a {kind.__name__}, not {getattr(self, name)!r}")
        for name, high in (("reset_delay", 1), ("refractory", 255)):
            value = getattr(self, name)
            if not isinstance(value, int) or not 0 <= value <= high:
                raise ValueError(f"{name} of {where} must be an integer from 0 to {high}, not {value!r}")
        for name in ("beta", "threshold", "reset_value", "bias", "alpha", "adaptation_factor", "adaptation_step"):
            if getattr(self, name) is not None:
                self._broadcast(name, _floats(f"{name} of {where}", getattr(self, name)))
        for name in ("beta", "alpha", "adaptation_factor"):
            factor = getattr(self, name)
            if factor is not None and (factor.min() < 0.0 or factor.max() > 1.0):
                worst = factor.min() if factor.min() < 0.0 else factor.max()
                raise ValueError(f"{name} of {where} must be from 0 to 1, not {worst}")
        if not isfinite(self.noise) or self.noise < 0.0:
            raise ValueError(f"noise of {where} must be finite and at least 0, not {self.noise!r}")
        if self.value_limit is not None and not (isfinite(self.value_limit) and self.value_limit > 0.0):
            raise ValueError(f"value_limit of {where} must be finite and positive, not {self.value_limit!r}")
        if self.delay is not None:
            self._check_delay(where)
        self._check_combination(where)

    def _broadcast(self, name: str, array: NDArray[Any]) -> None:
        if array.shape not in ((), (self.size,)):
            raise ValueError(f"{name} of population {self.name!r} must have shape {(self.size,)}, not {array.shape}")
        array = np.broadcast_to(array, (self.size,)).copy()
        array.setflags(write=False)
        object.__setattr__(self, name, array)

    def _check_delay(self, where: str) -> None:
        delay = np.asarray(self.delay)
        if delay.dtype.kind not in "iu":
            raise TypeError(f"delay of {where} must be integers, not {delay.dtype}")
        if delay.min(initial=0) < 0 or delay.max(initial=0) > LONGEST_DELAY:
            worst = delay.min() if delay.min() < 0 else delay.max()
            raise ValueError(f"delay of {where} must be from 0 to {LONGEST_DELAY} steps, not {worst}")
        self._broadcast("delay", delay.astype(np.int64))

    def _check_combination(self, where: str) -> None:
        features = {
            "adaptation": self.adaptation_factor is not None,
            "noise": self.noise > 0.0,
            "graded spikes": self.graded,
        }
        present = [name for name, used in features.items() if used]
        if present and not self.spiking:
            raise ValueError(f"{where} never spikes and must be without {present[0]}")
        if self.delay is not None and (present or self.alpha is not None or not self.spiking):
            name = (present or ["a synaptic current" if self.alpha is not None else "a membrane to read out"])[0]
            raise ValueError(f"{where} is delay lines and must be without {name}")
        if self.adaptation_factor is not None and self.reset is Reset.SUBTRACT and self.reset_delay:
            raise ValueError(
                f"{where} has an adaptive threshold, which must be subtracted in the step of the spike "
                "(reset_delay 0), because the one that the spike was compared with is not stored"
            )

    @property
    def graded(self) -> bool:
        """Whether a spike brings a value."""
        return self.value_limit is not None

    @property
    def size(self) -> int:
        """Number of neurons."""
        return prod(self.shape)

    @property
    def equation(self) -> str:
        """The step as text, such as ``v = 0.875 v + I; spike if v > 1; then v = 0``.

        ``I`` is what the spikes bring, ``i`` the synaptic current, ``a`` the adaptation of the threshold.
        """
        if self.delay is not None:
            return f"spike {_coefficient(self.delay)} steps after I > 0"
        drive = "I" if self.alpha is None else "i"
        decay = _decay(self.beta, "v")
        text = "" if self.alpha is None else f"i = {' + '.join(filter(None, (_decay(self.alpha, 'i'), 'I')))}; "
        text += f"v = {decay} + {drive}" if decay else f"v = {drive}"
        if np.any(self.bias):
            text += f" + {_coefficient(self.bias)}"
        if not self.spiking:
            return f"{text}; never spikes"
        threshold = _coefficient(self.threshold)
        raised = threshold if self.adaptation_factor is None else f"({threshold} + a)"
        compared = "v" if not self.noise else "v + noise"
        text += f"; spike if {compared} {self.compare.value} {raised.strip('()')}"
        start = {Reset.ZERO: "0", Reset.VALUE: _coefficient(self.reset_value)}.get(self.reset)
        if self.reset is Reset.NONE:
            text += "; no reset"
        elif self.reset_delay:
            text += f"; the step after starts from {start}" if start else f"; the step after subtracts {threshold}"
        else:
            text += f"; then v = {start or f'v - {raised}'}"
        if self.refractory:
            text += f"; held for {self.refractory} steps after a spike"
        if self.adaptation_factor is not None:
            decay = _decay(self.adaptation_factor, "a")
            text += f"; a = {decay or '0'}, {_coefficient(self.adaptation_step)} more after a spike"
        if self.noise:
            text += f"; noise is uniform in -{_number(self.noise)} .. {_number(self.noise)}"
        if self.value_limit is not None:
            text += f"; a spike brings v, at most {_number(self.value_limit)}"
        return text


@dataclass(frozen=True, kw_only=True, eq=False)
class Connection(Projection):
    """Weights from ``source`` (`INPUT` or a population) to the population ``target``.

    ``weight`` is a matrix ``(n_target, n_source)`` or the kernel of a ``convolution``, with a ``pooling`` in front if
    there is one (`Projection`). ``delay`` 0 delivers spikes in the step in which they are fired, 1 (recurrent) in the
    next.
    """

    source: str
    target: str
    delay: int = 0

    def __post_init__(self) -> None:
        where = f"the connection from {self.source!r} to {self.target!r}"
        object.__setattr__(self, "weight", _floats(f"weight of {where}", self.weight))
        if not isinstance(self.delay, int) or self.delay not in (0, 1):
            raise ValueError(f"delay of {where} must be 0 or 1, not {self.delay!r}")
        if self.source == INPUT and self.delay:
            raise ValueError(f"delay of {where} must be 0 because it starts at the input, not 1")
        self.check_shape(where)


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatResult:
    """What a float run produced, each ``(T, B, n)``: spikes of every population and attention, the values that those of
    graded ones bring, and membranes of the recorded ones."""

    spikes: dict[str, NDArray[np.bool_]]
    values: dict[str, FloatArray]
    membranes: dict[str, FloatArray]


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """Populations in the order in which a step updates them, their connections, and attention between them.

    Parameters
    ----------
    input_shape
        Extents of the input; lines are numbered in C order.
    populations, connections
        A connection with delay 0 leads from the input or an earlier population to a later one. Several connections may
        join the same two populations; their weights add up.
    attentions
        Stochastic attention, which is of spikes alone and so the same in floats and in integers, random numbers
        included. Its name is that of a source of connections; it counts as the last of its own sources.
    output
        Name of the population whose spikes, or membranes if it does not spike, are the result.
    time_step_s
        What one step stands for, in seconds. No arithmetic depends on it.
    notes
        What was lost or assumed on the way here, one sentence each; one that is about a single population starts with
        its name and a colon.
    encoder
        Settings of the encoder that the network was trained with (see `spikeloom.datasets.encoders`), if the file has
        them.
    seed
        From 1 to 2**32 - 1: the seed from which each neuron with noise gets a seed of its own (`seeds`).
    input_value_width
        0 for input lines that fire or not, otherwise the bits, 2 to 16, of the signed integers that they bring.
    """

    name: str
    input_shape: tuple[int, ...]
    populations: tuple[Population, ...]
    connections: tuple[Connection, ...]
    output: str
    time_step_s: float
    notes: tuple[str, ...] = ()
    encoder: Mapping[str, int | str] | None = None
    seed: int = 1
    input_value_width: int = 0
    attentions: tuple[QuantisedAttention, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_shape", _shape("input_shape", self.input_shape))
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
            raise ValueError("populations must be one or more, not none")
        every = [*names, *(attention.name for attention in self.attentions)]
        for name in every:
            if every.count(name) > 1:
                raise ValueError(f"population names must be unique, not twice {name!r}")
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
                raise ValueError(f"{where} must have {attention.size} neurons, not {source.size} as {name!r}")
            if not source.spiking or source.graded:
                raise ValueError(f"{where} must be of neurons that spike, not as {name!r}")

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
            raise ValueError(f"source of {where} must bring no values, because a delay line keeps none")
        if source == INPUT:
            return
        if source in names and not self.population(source).spiking:
            raise ValueError(f"source of {where} must spike; {source!r} is an integrator and can only be the output")
        if connection.delay == 0 and order[source] >= order[target]:
            raise ValueError(
                f"delay of {where} must be 1 because it does not lead to a later population: over the connections with "
                "delay 0 a network has no cycle and its populations are in order"
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
        """Number of weights; those of a kernel count once."""
        return sum(connection.weight.size for connection in self.connections)

    def size(self, name: str) -> int:
        """Number of neurons of the population ``name``, of input lines for `INPUT`, or of spikes of an attention."""
        if name == INPUT:
            return self.inputs
        attention = self.attention(name)
        return self.population(name).size if attention is None else attention.size

    def attention(self, name: str) -> QuantisedAttention | None:
        """The attention called ``name``, None if that is no attention."""
        return next((attention for attention in self.attentions if attention.name == name), None)

    def population(self, name: str) -> Population:
        """The population called ``name``. Raises ``KeyError`` if there is none."""
        for population in self.populations:
            if population.name == name:
                return population
        raise KeyError(name)

    def brings_values(self, name: str) -> bool:
        """Whether spikes of the population ``name``, or of the input for `INPUT`, bring values."""
        if name == INPUT:
            return self.input_value_width > 0
        return self.attention(name) is None and self.population(name).graded

    @cached_property
    def seeds(self) -> dict[str, NDArray[np.int64]]:
        """The seed ``(n,)`` of each neuron by population: different ones, in the order of the populations."""
        seeds = distinct_seeds(self.seed, self.neurons)
        firsts = np.cumsum([0, *(population.size for population in self.populations)])
        return {p.name: seeds[a : a + p.size] for p, a in zip(self.populations, firsts, strict=False)}

    def simulate(self, spikes: ArrayLike) -> NDArray[Any]:
        """Run ``spikes`` ``(T, B, inputs)`` of 0 and 1 and return the output population's spikes or membranes.

        ``(T, inputs)`` is taken as one sample. The result is ``(T, B, n_out)``: booleans if the output spikes,
        otherwise float membranes. Every sample starts from rest.
        """
        result = self.run(spikes)
        return (result.spikes if self.population(self.output).spiking else result.membranes)[self.output]

    def run(self, spikes: ArrayLike, *, record_membranes: Iterable[str] = ()) -> FloatResult:
        """As `simulate`, but return what every population did.

        Membranes of populations that do not spike are always recorded, others if named in ``record_membranes``; a
        membrane is the value at the end of the step. Raises ``ValueError`` if ``spikes`` do not fit.
        """
        width = self.input_value_width
        inputs = as_values(spikes, self.inputs, width) if width else as_spikes(spikes, self.inputs)
        steps, batch, _ = inputs.shape
        recorded = {*record_membranes} | {p.name for p in self.populations if not p.spiking}
        membranes = {name: np.zeros((steps, batch, self.population(name).size)) for name in recorded}
        names = [p.name for p in self.populations]
        sizes = {p.name: p.size for p in self.populations} | {a.name: a.size for a in self.attentions}
        fired = {name: np.zeros((steps, batch, size), np.bool_) for name, size in sizes.items()}
        words = {a.name: draw(a.parameters, steps, seed=a.seed) for a in self.attentions}
        values = {p.name: np.zeros((steps, batch, p.size)) for p in self.populations if p.graded}
        brought: dict[str, NDArray[Any]] = {INPUT: inputs} | fired | values
        states = {p.name: _State(p, batch, self.seeds[p.name]) for p in self.populations}
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
                if population.name in recorded:
                    membranes[population.name][t] = state.v
                for attention in self.attentions:
                    if attention.last_source(names) == names.index(population.name):
                        sources = {source: fired[source][t] for source in attention.sources}
                        _, fired[attention.name][t] = attention.samples(sources, words[attention.name].step(t))
        return FloatResult(spikes=fired, values=values, membranes=membranes)


class _State:
    """State of one population, each array ``(batch, n)``."""

    def __init__(self, population: Population, batch: int, seeds: NDArray[np.int64]) -> None:
        self.population = population
        shape = (batch, population.size)
        self.v = np.zeros(shape)
        self.pending = np.zeros(shape, np.bool_)
        self.refractory_count = np.zeros(shape, np.int64)
        self.current = np.zeros(shape)
        self.adaptation = np.zeros(shape)
        self.random = np.broadcast_to(seeds, shape)
        self.line = np.zeros(shape, np.int64)

    def _after_reset(self, v: FloatArray, threshold: FloatArray) -> FloatArray:
        population = self.population
        match population.reset:
            case Reset.ZERO:
                return np.zeros_like(v)
            case Reset.VALUE:
                return np.broadcast_to(population.reset_value, v.shape)
            case Reset.SUBTRACT:
                return v - threshold
            case Reset.NONE:
                return v

    def step(self, current: FloatArray) -> tuple[NDArray[np.bool_], FloatArray]:
        """Spikes, and the values that they bring, of a step in which the spikes bring ``current`` ``(batch, n)``."""
        population = self.population
        if population.delay is not None:
            self.line = (self.line << 1 | (current > 0.0)) & ((1 << (LONGEST_DELAY + 1)) - 1)
            spike = (self.line >> population.delay & 1).astype(np.bool_)
            return spike, spike.astype(np.float64)
        hold = self.refractory_count > 0
        if population.alpha is not None:
            current = self.current = population.alpha * self.current + current
        base = np.where(hold, self.v, population.beta * self.v)
        base = np.where(self.pending, self._after_reset(base, population.threshold), base)
        u = base + np.where(hold, 0.0, population.bias + current)
        threshold = population.threshold + self.adaptation
        compared = u + self._noise() if population.noise else u
        above = compared > threshold if population.compare is Compare.GREATER else compared >= threshold
        spike = above & ~hold & population.spiking
        limit = population.value_limit
        values = spike.astype(np.float64)
        if limit is not None:
            values *= np.clip(u, -limit, limit)
        if population.reset_delay == 0:
            u = np.where(spike, self._after_reset(u, threshold), u)
        self.v = u
        if population.adaptation_factor is not None:
            self.adaptation = population.adaptation_factor * self.adaptation + spike * population.adaptation_step
        self.pending = spike & bool(population.reset_delay)
        self.refractory_count = np.where(spike, population.refractory, np.maximum(self.refractory_count - 1, 0))
        return spike, values

    def _noise(self) -> FloatArray:
        words = signed_word(self.random, RANDOM_WIDTH).astype(np.float64)
        self.random = leap_table(RANDOM_WIDTH, RANDOM_WIDTH)[self.random]
        return words * (self.population.noise / (1 << (RANDOM_WIDTH - 1)))


@dataclass(frozen=True, kw_only=True)
class Description:
    """One population as a reader wants to see it before trusting a conversion."""

    name: str
    shape: tuple[int, ...]
    neurons: int
    synapses: int
    sources: tuple[str, ...]  #: where its spikes come from, with ``(delay 1)`` for recurrent connections
    equation: str
    notes: tuple[str, ...]  #: what was lost or assumed for this population


def describe(network: Network) -> list[Description]:
    """One row a population, in the order of a step, each attention behind the last of its sources. Notes about the
    whole network stay in ``network.notes``."""
    rows = []
    names = [population.name for population in network.populations]
    for population in network.populations:
        into = [connection for connection in network.connections if connection.target == population.name]
        prefix = f"{population.name}: "
        rows.append(
            Description(
                name=population.name,
                shape=population.shape,
                neurons=population.size,
                synapses=sum(connection.weight.size for connection in into),
                sources=tuple(c.source + (" (delay 1)" if c.delay else "") for c in into),
                equation=population.equation,
                notes=tuple(note.removeprefix(prefix) for note in network.notes if note.startswith(prefix)),
            )
        )
        rows.extend(
            _described(attention)
            for attention in network.attentions
            if names[attention.last_source(names)] == population.name
        )
    return rows


def _described(attention: QuantisedAttention) -> Description:
    shape = attention.parameters
    mask = " for j <= i" if attention.causal else ""
    return Description(
        name=attention.name,
        shape=(shape.heads, shape.features, shape.tokens),
        neurons=0,
        synapses=0,
        sources=attention.sources,
        equation=f"S[i, j] ~ Bernoulli(Q[i] K[j] / {shape.features}){mask}; A ~ Bernoulli(S V / {shape.tokens})",
        notes=(),
    )


def with_constants(
    populations: Iterable[Population], connections: Iterable[Connection], constants: Mapping[str, FloatArray]
) -> tuple[tuple[Population, ...], tuple[Connection, ...], tuple[str, ...]]:
    """Populations, connections and notes of a network in which ``constants`` ``(n,)`` reach populations in every step.

    The bias of a population counts in its membrane. What is to go through its synaptic current instead is brought by a
    neuron that fires in every step, the first, with the constants as its weights: exact, for one neuron a network.
    """
    populations, connections = tuple(populations), tuple(connections)
    needed = {target: constant for target, constant in constants.items() if np.any(constant)}
    if not needed:
        return populations, connections, ()
    names = {population.name for population in populations}
    name = next(name for name in ("constant", *(f"constant.{k}" for k in range(len(names)))) if name not in names)
    neuron = Population(name=name, shape=(1,), beta=np.ones(()), threshold=np.array(-0.5))
    extra = (Connection(source=name, target=target, weight=needed[target][:, None]) for target in needed)
    note = f"{name}: fires in every step and brings {', '.join(needed)} the bias of what leads there"
    return (neuron, *populations), (*connections, *extra), (note,)
