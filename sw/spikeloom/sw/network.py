"""The float network: what a front door (`load`, `from_snntorch`) returns and the quantiser takes.

A network is populations of neurons and connections between them, dense or convolutional. One step of a neuron, in the
same order as the integer step of `spikeloom.sim.neuron`, with ``I`` the sum of the weights of the step's spikes::

    hold   = refractory_count > 0
    base   = v if hold else beta * v                                    leak
    if pending: base = 0 | reset_value | base - threshold | base        reset of an earlier spike (reset delay 1)
    u      = base + (0 if hold else bias + I)                           integrate
    spike  = spiking and not hold and (u > threshold | u >= threshold)  compare
    if spike and reset_delay == 0: u = 0 | reset_value | u - threshold | u
    v      = u

Gains, time constants and leak potentials of the source are already folded into ``beta``, ``bias`` and the weights, so
this is the whole arithmetic. `Network.simulate` is the float model of the accuracy tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite, prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.sim.neuron import Compare, Reset
from spikeloom.sim.projection import Projection
from spikeloom.sim.reference import as_spikes

__all__ = ["INPUT", "Connection", "Description", "FloatResult", "LoadError", "Network", "Population", "describe"]

INPUT = "input"
"""The name under which connections refer to the network's input."""

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


def _coefficient(values: FloatArray) -> str:
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
    """

    name: str
    shape: tuple[int, ...]
    beta: FloatArray
    threshold: FloatArray = field(default_factory=lambda: np.zeros(()))
    reset_value: FloatArray = field(default_factory=lambda: np.zeros(()))
    bias: FloatArray = field(default_factory=lambda: np.zeros(()))
    spiking: bool = True
    compare: Compare = Compare.GREATER
    reset: Reset = Reset.ZERO
    reset_delay: int = 0
    refractory: int = 0

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
        for name in ("beta", "threshold", "reset_value", "bias"):
            array = _floats(f"{name} of {where}", getattr(self, name))
            if array.shape not in ((), (self.size,)):
                raise ValueError(f"{name} of {where} must have shape {(self.size,)}, not {array.shape}")
            array = np.broadcast_to(array, (self.size,)).copy()
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if self.beta.min() < 0.0 or self.beta.max() > 1.0:
            worst = self.beta.min() if self.beta.min() < 0.0 else self.beta.max()
            raise ValueError(f"beta of {where} must be from 0 to 1, not {worst}")

    @property
    def size(self) -> int:
        """Number of neurons."""
        return prod(self.shape)

    @property
    def equation(self) -> str:
        """The step as text, such as ``v = 0.875 v + I; spike if v > 1; then v = 0``."""
        if np.all(self.beta == 1.0):
            decay = "v"
        elif np.all(self.beta == 0.0):
            decay = ""
        else:
            decay = f"{_coefficient(self.beta)} v"
        text = f"v = {decay} + I" if decay else "v = I"
        if np.any(self.bias):
            text += f" + {_coefficient(self.bias)}"
        if not self.spiking:
            return f"{text}; never spikes"
        threshold = _coefficient(self.threshold)
        text += f"; spike if v {self.compare.value} {threshold}"
        start = {Reset.ZERO: "0", Reset.VALUE: _coefficient(self.reset_value)}.get(self.reset)
        if self.reset is Reset.NONE:
            text += "; no reset"
        elif self.reset_delay:
            text += f"; the step after starts from {start}" if start else f"; the step after subtracts {threshold}"
        else:
            text += f"; then v = {start or f'v - {threshold}'}"
        if self.refractory:
            text += f"; held for {self.refractory} steps after a spike"
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
    """What a float run produced: ``(T, B, n)`` spikes of every population and membranes of the recorded ones."""

    spikes: dict[str, NDArray[np.bool_]]
    membranes: dict[str, FloatArray]


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """Populations in the order in which a step updates them, and their connections.

    Parameters
    ----------
    input_shape
        Extents of the input; lines are numbered in C order.
    populations, connections
        A connection with delay 0 leads from the input or an earlier population to a later one. Several connections may
        join the same two populations; their weights add up.
    output
        Name of the population whose spikes, or membranes if it does not spike, are the result.
    time_step_s
        What one step stands for, in seconds. No arithmetic depends on it.
    notes
        What was lost or assumed on the way here, one sentence each; one that is about a single population starts with
        its name and a colon.
    encoder
        Settings of the encoder that the network was trained with (see `spikeloom.sw.encode`), if the file has them.
    """

    name: str
    input_shape: tuple[int, ...]
    populations: tuple[Population, ...]
    connections: tuple[Connection, ...]
    output: str
    time_step_s: float
    notes: tuple[str, ...] = ()
    encoder: Mapping[str, int | str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_shape", _shape("input_shape", self.input_shape))
        for name in ("populations", "connections", "notes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not isfinite(self.time_step_s) or self.time_step_s <= 0:
            raise ValueError(f"time_step_s must be positive and finite, not {self.time_step_s!r}")
        names = [population.name for population in self.populations]
        if not names:
            raise ValueError("populations must be one or more, not none")
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"population names must be unique, not twice {name!r}")
        if self.output not in names:
            raise ValueError(f"output must be one of {', '.join(names)}, not {self.output!r}")
        for connection in self.connections:
            self._check_connection(connection, names)

    def _check_connection(self, connection: Connection, names: list[str]) -> None:
        source, target = connection.source, connection.target
        where = f"the connection from {source!r} to {target!r}"
        if source not in (INPUT, *names):
            raise ValueError(f"source of {where} must be {INPUT!r} or a population, not {source!r}")
        if target not in names:
            raise ValueError(f"target of {where} must be a population, not {target!r}")
        shape = (self.size(target), self.size(source))
        found = (connection.target_size, connection.source_size)
        if found != shape:
            raise ValueError(f"weight of {where} must have shape {shape}, not {found}")
        if source == INPUT:
            return
        if not self.population(source).spiking:
            raise ValueError(f"source of {where} must spike; {source!r} is an integrator and can only be the output")
        if connection.delay == 0 and names.index(source) >= names.index(target):
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
        """Number of neurons of the population ``name``, or of input lines for `INPUT`."""
        return self.inputs if name == INPUT else self.population(name).size

    def population(self, name: str) -> Population:
        """The population called ``name``. Raises ``KeyError`` if there is none."""
        for population in self.populations:
            if population.name == name:
                return population
        raise KeyError(name)

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
        inputs = as_spikes(spikes, self.inputs)
        steps, batch, _ = inputs.shape
        recorded = {*record_membranes} | {p.name for p in self.populations if not p.spiking}
        membranes = {name: np.zeros((steps, batch, self.population(name).size)) for name in recorded}
        fired = {p.name: np.zeros((steps, batch, p.size), np.bool_) for p in self.populations} | {INPUT: inputs}
        states = {p.name: _State(p, batch) for p in self.populations}
        for t in range(steps):
            for population in self.populations:
                current = np.zeros((batch, population.size))
                for connection in self.connections:
                    if connection.target == population.name and t >= connection.delay:
                        current += connection.sum(fired[connection.source][t - connection.delay])
                state = states[population.name]
                fired[population.name][t] = state.step(current)
                if population.name in recorded:
                    membranes[population.name][t] = state.v
        del fired[INPUT]
        return FloatResult(spikes=fired, membranes=membranes)


class _State:
    """Membrane, pending reset and refractory steps left of one population, each ``(batch, n)``."""

    def __init__(self, population: Population, batch: int) -> None:
        self.population = population
        self.v = np.zeros((batch, population.size))
        self.pending = np.zeros(self.v.shape, np.bool_)
        self.refractory_count = np.zeros(self.v.shape, np.int64)

    def _after_reset(self, v: FloatArray) -> FloatArray:
        population = self.population
        match population.reset:
            case Reset.ZERO:
                return np.zeros_like(v)
            case Reset.VALUE:
                return np.broadcast_to(population.reset_value, v.shape)
            case Reset.SUBTRACT:
                return v - population.threshold
            case Reset.NONE:
                return v

    def step(self, current: FloatArray) -> NDArray[np.bool_]:
        population = self.population
        hold = self.refractory_count > 0
        base = np.where(hold, self.v, population.beta * self.v)
        base = np.where(self.pending, self._after_reset(base), base)
        u = base + np.where(hold, 0.0, population.bias + current)
        above = u > population.threshold if population.compare is Compare.GREATER else u >= population.threshold
        spike = above & ~hold & population.spiking
        if population.reset_delay == 0:
            u = np.where(spike, self._after_reset(u), u)
        self.v = u
        self.pending = spike & bool(population.reset_delay)
        self.refractory_count = np.where(spike, population.refractory, np.maximum(self.refractory_count - 1, 0))
        return spike


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
    """One row a population, in the order of a step. Notes about the whole network stay in ``network.notes``."""
    rows = []
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
    return rows
