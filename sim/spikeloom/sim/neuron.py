"""One step of a leaky integrate-and-fire neuron in integers: the recurrence that every back end equals.

The continuous neuron is ``tau dv/dt = (v_leak - v) + R I`` with a spike when ``v`` crosses the threshold (Gerstner
and Kistler, *Spiking Neuron Models*, 2002, chapter 4). Here time is a step and every quantity an integer. With ``I``
the exact sum of the weights of the step's events, one step is, in this order::

    hold    = refractory_count > 0
    base    = v if hold else leak(v)                                   leak
    if pending: base = 0 | reset_value | base - threshold | base       reset of an earlier spike (reset delay 1)
    u       = base + (0 if hold else bias + I)                         integrate
    spike   = spiking and not hold and (u > threshold | u >= threshold)  compare
    if spike and reset_delay == 0: u = 0 | reset_value | u - threshold | u   reset
    v       = saturate(u)                                              the one place where anything is narrowed
    pending = spike and reset_delay == 1
    refractory_count = refractory if spike else max(refractory_count - 1, 0)

All quantities are in units of the population's weight scale. Every intermediate value is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Compare",
    "Leak",
    "NeuronParameters",
    "NeuronState",
    "Reset",
    "Rounding",
    "leak",
    "saturate",
    "signed_range",
    "step",
]

IntArray = NDArray[np.int64]


class Leak(Enum):
    """How the membrane decays in a step without input."""

    NONE = "none"  #: ``v``
    SHIFT = "shift"  #: ``v - (v >> k)``, arithmetic shift
    MULTIPLY = "multiply"  #: ``(v * beta) >> beta_fraction``, rounded as `Rounding` says


class Rounding(Enum):
    """What happens to the bits that the right shift after a multiplication drops."""

    FLOOR = "floor"  #: towards minus infinity
    NEAREST = "nearest"  #: to the nearest integer, a half towards plus infinity


class Compare(Enum):
    """When a membrane counts as above its threshold."""

    GREATER = ">"
    GREATER_EQUAL = ">="


class Reset(Enum):
    """What a spike does to the membrane."""

    NONE = "none"
    ZERO = "zero"
    VALUE = "value"  #: the membrane becomes ``reset_value``
    SUBTRACT = "subtract"  #: the threshold is subtracted


def signed_range(width: int) -> tuple[int, int]:
    """Smallest and largest two's complement integer of ``width`` bits."""
    return -(1 << (width - 1)), (1 << (width - 1)) - 1


def saturate(values: IntArray, width: int) -> IntArray:
    """Clamp ``values`` to the range of a two's complement integer of ``width`` bits."""
    low, high = signed_range(width)
    return np.clip(values, low, high)


def _per_neuron(name: str, values: ArrayLike, size: int, low: int, high: int) -> IntArray:
    array = np.asarray(values)
    if not (np.issubdtype(array.dtype, np.integer) or array.dtype == np.bool_):
        raise TypeError(f"{name} must be integers, not {array.dtype}")
    array = np.broadcast_to(array.astype(np.int64), (size,)).copy()
    if size and (array.min() < low or array.max() > high):
        worst = int(array.min()) if array.min() < low else int(array.max())
        raise ValueError(f"{name} must be from {low} to {high}, not {worst}")
    array.setflags(write=False)
    return array


@dataclass(frozen=True, kw_only=True, eq=False)
class NeuronParameters:
    """The integers of one population.

    Parameters
    ----------
    size
        Number of neurons ``n``.
    v_width
        Width of the membrane in bits, 8 to 24; thresholds, biases and reset values share its range.
    threshold, bias, reset_value
        Integer or ``(n,)`` integers.
    leak, leak_factor, beta_fraction, rounding
        The leak. ``leak_factor`` is an integer or ``(n,)`` integers: the shift ``k`` from 1 to ``v_width - 1`` for
        `Leak.SHIFT`, the fixed-point beta from 0 to ``2**beta_fraction`` for `Leak.MULTIPLY`, ignored otherwise.
    compare, reset, reset_delay, refractory
        The rule of firing. ``reset_delay`` 1 applies the reset at the start of the next step, in place of
        (`Reset.ZERO`, `Reset.VALUE`) or after (`Reset.SUBTRACT`) the leak, as snnTorch does by default. ``refractory``
        is the number of steps after a spike in which the neuron holds its membrane and ignores its input.
    spiking
        False for a leaky integrator: it never spikes, and its membrane is what the outside sees.
    """

    size: int
    v_width: int = 16
    threshold: ArrayLike = 1
    bias: ArrayLike = 0
    leak: Leak = Leak.NONE
    leak_factor: ArrayLike = 0
    beta_fraction: int = 14
    rounding: Rounding = Rounding.FLOOR
    compare: Compare = Compare.GREATER
    reset: Reset = Reset.ZERO
    reset_value: ArrayLike = 0
    reset_delay: int = 0
    refractory: int = 0
    spiking: bool = True

    def __post_init__(self) -> None:
        for name, kind in (("leak", Leak), ("rounding", Rounding), ("compare", Compare), ("reset", Reset)):
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} must be a {kind.__name__}, not {getattr(self, name)!r}")
        for name, low, high in (
            ("size", 1, 1 << 20),
            ("v_width", 8, 24),
            ("beta_fraction", 1, 16),
            ("reset_delay", 0, 1),
            ("refractory", 0, 255),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} must be an integer from {low} to {high}, not {value!r}")
        low, high = signed_range(self.v_width)
        for name in ("threshold", "bias", "reset_value"):
            object.__setattr__(self, name, _per_neuron(name, getattr(self, name), self.size, low, high))
        bounds = {
            Leak.NONE: (0, 0),
            Leak.SHIFT: (1, self.v_width - 1),
            Leak.MULTIPLY: (0, 1 << self.beta_fraction),
        }[self.leak]
        factor = 0 if self.leak is Leak.NONE else self.leak_factor
        object.__setattr__(self, "leak_factor", _per_neuron("leak_factor", factor, self.size, *bounds))


@dataclass(frozen=True, kw_only=True, eq=False)
class NeuronState:
    """State of a population: membrane, pending reset and refractory steps left, each ``(batch, n)`` int64."""

    v: IntArray
    pending: IntArray
    refractory_count: IntArray

    @classmethod
    def cleared(cls, batch: int, size: int) -> NeuronState:
        """The state at the start of a sample: all zero."""
        return cls(**{name: np.zeros((batch, size), np.int64) for name in ("v", "pending", "refractory_count")})


def leak(v: IntArray, parameters: NeuronParameters) -> IntArray:
    """The membrane ``(batch, n)`` after the leak of one step."""
    factor = np.asarray(parameters.leak_factor)
    if parameters.leak is Leak.NONE:
        return v
    if parameters.leak is Leak.SHIFT:
        return v - (v >> factor)
    half = 1 << (parameters.beta_fraction - 1) if parameters.rounding is Rounding.NEAREST else 0
    return (v * factor + half) >> parameters.beta_fraction


def _after_reset(v: IntArray, parameters: NeuronParameters) -> IntArray:
    if parameters.reset is Reset.ZERO:
        return np.zeros_like(v)
    if parameters.reset is Reset.VALUE:
        return np.broadcast_to(np.asarray(parameters.reset_value), v.shape)
    if parameters.reset is Reset.SUBTRACT:
        return v - np.asarray(parameters.threshold)
    return v


def step(state: NeuronState, current: IntArray, parameters: NeuronParameters) -> tuple[NeuronState, IntArray]:
    """Advance a population by one step.

    ``current`` is ``I``, ``(batch, n)`` int64, the exact sum of the weights of the step's events. Returns the new state
    and the spikes, ``(batch, n)`` of 0 and 1.
    """
    threshold = np.asarray(parameters.threshold)
    hold = state.refractory_count > 0
    base = np.where(hold, state.v, leak(state.v, parameters))
    base = np.where(state.pending > 0, _after_reset(base, parameters), base)
    u = base + np.where(hold, 0, np.asarray(parameters.bias) + current)
    above = u > threshold if parameters.compare is Compare.GREATER else u >= threshold
    spike = above & ~hold & parameters.spiking
    if parameters.reset_delay == 0:
        u = np.where(spike, _after_reset(u, parameters), u)
    spikes = spike.astype(np.int64)
    new_state = NeuronState(
        v=saturate(u, parameters.v_width),
        pending=spikes * parameters.reset_delay,
        refractory_count=np.where(spike, parameters.refractory, np.maximum(state.refractory_count - 1, 0)),
    )
    return new_state, spikes
