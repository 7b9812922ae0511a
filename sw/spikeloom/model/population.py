"""Neurons in floats: parameters and step, which the quantiser converts to the step of `spikeloom.sim.core.neuron`.

One step of a neuron, in the same order as the integer step (for the sources of ``I``), with ``I`` the sum of the
weights, times the values, of the spikes of the step::

    hold   = refractory_count > 0
    i      = alpha * i + I if it has a synaptic current, else I         synapse
    base   = v if hold else beta * v                                    leak
    if pending: base = 0 | reset_value | base - threshold | base        reset of an earlier spike (reset delay 1)
    u      = base + (0 if hold else bias + i)                           integrate
    theta  = threshold + a                                              a: adaptation, 0 without
    needed = theta + (threshold if second_threshold and v > threshold else 0)   v before the step
    xi     = uniform in -noise .. noise
    count  = how many k from 1 to max_spikes have u + xi > k needed | u + xi >= k needed
    spike  = spiking and not hold and count > 0                         compare
    value  = count if max_spikes > 1, u within -value_limit .. value_limit if it has that, else 1
    if spike and reset_delay == 0: u = 0 | reset_value | u - count theta | u
    v      = max(u, lower_bound) if it has that, else u
    a      = adaptation_factor * a + (adaptation_step if spike else 0)

A population with ``delay`` consists of delay lines instead: a line fires ``delay`` steps after its ``I`` was positive.

A population with ``alpha_function`` has the membrane of snnTorch's ``Alpha``, the difference of two currents ``e`` and
``h``, which an input reaches with opposite signs and so moves from the next step on::

    e, h0  = alpha * e + I, h
    h      = beta * h - I                               h0: h before the step
    v      = gain * (e + h)                             gain = ln(alpha) / (ln(beta) - ln(alpha)) + 1
    if pending (a spike in the previous step):
        reset zero:      e = h = v = 0                  the input of the step is lost
        reset subtract:  e -= threshold; h = 0; v += h0
    spike  = spiking and v > threshold

Gains, time constants and leak potentials are already folded into ``beta``, ``bias`` and the weights, so that this is
the complete arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isfinite, prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.sim.core.neuron import MOST_SPIKES, RANDOM_WIDTH, Compare, Reset
from spikeloom.sim.core.neuron import noise as signed_word
from spikeloom.sim.lib.lfsr import leap_table

__all__ = ["INPUT", "LONGEST_DELAY", "FloatArray", "Population", "PopulationState", "as_floats", "as_shape"]

INPUT = "input"
"""Name of the network input in connections."""

LONGEST_DELAY = 23
"""Longest delay in steps: one less than the width of the widest membrane."""

FloatArray = NDArray[np.float64]


def as_shape(name: str, shape: Iterable[Any]) -> tuple[int, ...]:
    """Return ``shape`` as a tuple. Raises ``ValueError`` unless it has one or more positive extents."""
    values = tuple(int(extent) for extent in shape)
    if not values or min(values) < 1:
        raise ValueError(f"{name} must be one or more positive integers, not {values!r}")
    return values


def as_floats(name: str, values: ArrayLike) -> FloatArray:
    """Return ``values`` as a read-only array of the same shape. Raises ``TypeError`` unless they are numbers, and
    ``ValueError`` unless they are finite."""
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
    """Return the decayed term of ``name`` after a step as text; empty if it decays to 0."""
    if np.all(factor == 1.0):
        return name
    return "" if np.all(factor == 0.0) else f"{_coefficient(factor)} {name}"


def _coefficient(values: NDArray[Any]) -> str:
    """Format a constant: one number, or the range over the neurons."""
    low, high = _number(values.min()), _number(values.max())
    return low if low == high else f"[{low} .. {high}]"


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """Neurons that share a rule and are updated together.

    Parameters
    ----------
    name
        Unique name other than `INPUT`.
    shape
        Extents of the population; neurons are numbered in C order.
    beta
        Decay factor of the membrane per step, 0 to 1.
    threshold, reset_value, bias
        In units of the membrane. These and ``beta`` are ``(n,)`` or one number for all, and finite.
    spiking
        False for a leaky integrator: it never spikes, and its membrane is its output.
    compare, reset, reset_delay, refractory
        Firing rule; ``refractory`` is a number of steps, 0 to 255.
    alpha
        Decay factor of the synaptic current per step, ``(n,)`` or one number, 0 to 1; None for no synaptic current.
    adaptation_factor, adaptation_step
        Decay factor of the adaptation per step, 0 to 1, and its increase per spike, both ``(n,)`` or one number; None
        and 0 for a threshold that does not adapt.
    noise
        Half the width of the uniform noise added to the membrane for the comparison, at least 0. The numbers are
        derived from the seeds of the network by the shift registers of the hardware, but differ from those of the
        integer model.
    value_limit
        Largest value of a graded spike; None for spikes without values.
    alpha_function
        Whether the membrane is the difference of two currents, which decay by ``alpha`` and by ``beta``. Needs ``beta``
        less than ``alpha``, `Compare.GREATER` and a reset `Reset.ZERO` or `Reset.SUBTRACT` with ``reset_delay`` 1, or
        `Reset.NONE`; there is no ``bias``, no ``refractory`` and none of the features below. Float model only.
    max_spikes
        Largest number of spikes of a neuron per step, 1 to `MOST_SPIKES`. Above 1, spikes carry their number as a
        value, and a reset by subtraction subtracts the threshold once for each. Needs positive thresholds and
        ``reset_delay`` 0, and excludes adaptation, noise, a second threshold and a ``value_limit``.
    second_threshold
        Whether neurons whose membrane stays above the threshold after a reset fire again only above twice the
        threshold. Needs `Reset.SUBTRACT`, ``reset_delay`` 0 and a constant threshold.
    lower_bound
        Smallest membrane after a step, ``(n,)`` or one number; None for a membrane without a bound. Of spiking neurons.
    delay
        Delay of each line in steps, ``(n,)`` or one integer, 0 to `LONGEST_DELAY`; None for neurons. Of the other
        parameters, delay lines use only ``name`` and ``shape``.
    weight_bits
        Width of the integers, 1 to 16 bits, that the weights into the population should have; None leaves it to the
        conversion. The float model does not depend on it.
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
    max_spikes: int = 1
    second_threshold: bool = False
    alpha_function: bool = False
    lower_bound: FloatArray | None = None
    delay: NDArray[np.int64] | None = None
    weight_bits: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"name of a population must be a string, not {self.name!r}")
        if not self.name or self.name == INPUT:
            raise ValueError(f"name of a population must be a non-empty string other than {INPUT!r}, not {self.name!r}")
        where = f"population {self.name!r}"
        object.__setattr__(self, "shape", as_shape(f"shape of {where}", self.shape))
        for name, kind in (("compare", Compare), ("reset", Reset)):
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} of {where} must be a {kind.__name__}, not {getattr(self, name)!r}")
        for name, low, high in (("reset_delay", 0, 1), ("refractory", 0, 255), ("max_spikes", 1, MOST_SPIKES)):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} of {where} must be an integer from {low} to {high}, not {value!r}")
        for name in (
            *("beta", "threshold", "reset_value", "bias", "alpha", "adaptation_factor", "adaptation_step"),
            "lower_bound",
        ):
            if getattr(self, name) is not None:
                self._broadcast(name, as_floats(f"{name} of {where}", getattr(self, name)))
        for name in ("beta", "alpha", "adaptation_factor"):
            factor = getattr(self, name)
            if factor is not None and (factor.min() < 0.0 or factor.max() > 1.0):
                worst = factor.min() if factor.min() < 0.0 else factor.max()
                raise ValueError(f"{name} of {where} must be from 0 to 1, not {worst}")
        if not isfinite(self.noise) or self.noise < 0.0:
            raise ValueError(f"noise of {where} must be finite and at least 0, not {self.noise!r}")
        if self.value_limit is not None and not (isfinite(self.value_limit) and self.value_limit > 0.0):
            raise ValueError(f"value_limit of {where} must be finite and positive, not {self.value_limit!r}")
        bits = self.weight_bits
        if bits is not None and (not isinstance(bits, int) or not 1 <= bits <= 16):
            raise ValueError(f"weight_bits of {where} must be None or an integer from 1 to 16, not {bits!r}")
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
            "graded spikes": self.value_limit is not None,
            "a second threshold": self.second_threshold,
            "several spikes per step": self.max_spikes > 1,
            "a lower bound": self.lower_bound is not None,
        }
        present = [name for name, used in features.items() if used]
        if present and not self.spiking:
            raise ValueError(f"{where} never spikes and must not have {present[0]}")
        if self.delay is not None and (present or self.alpha is not None or not self.spiking):
            name = (present or ["a synaptic current" if self.alpha is not None else "a membrane to read out"])[0]
            raise ValueError(f"{where} consists of delay lines and must not have {name}")
        if self.max_spikes > 1:
            excluded = [name for name in present if name not in ("several spikes per step", "a lower bound")]
            excluded += ["a reset delay"] if self.reset_delay else []
            if excluded:
                raise ValueError(f"{where} fires several times per step and must not have {excluded[0]}")
            if self.threshold.min() <= 0.0:
                raise ValueError(
                    f"threshold of {where}, which fires several times per step, must be positive, not "
                    f"{self.threshold.min()}"
                )
        if self.second_threshold and (
            self.reset is not Reset.SUBTRACT or self.reset_delay or self.adaptation_factor is not None
        ):
            raise ValueError(
                f"{where} has a second threshold, which needs reset subtract and reset_delay 0 and must not be "
                "combined with adaptation"
            )
        if self.alpha_function:
            self._check_alpha_function(where, present)
        if self.adaptation_factor is not None and self.reset is Reset.SUBTRACT and self.reset_delay:
            raise ValueError(
                f"{where} has an adaptive threshold, which must be subtracted in the step of the spike "
                "(reset_delay 0), because the threshold of the comparison is not stored"
            )

    def _check_alpha_function(self, where: str, present: list[str]) -> None:
        if self.alpha is None or np.any(self.beta >= self.alpha):
            raise ValueError(
                f"alpha of {where} must be greater than its beta, because its membrane is an alpha function"
            )
        rule = "a threshold compared by >=" if self.compare is not Compare.GREATER else ""
        if self.reset is Reset.VALUE or (self.reset is not Reset.NONE and not self.reset_delay):
            rule = f"reset {self.reset.value} with reset_delay {self.reset_delay}"
        others = {
            rule: bool(rule),
            "a bias": bool(np.any(self.bias)),
            "a refractory period": self.refractory > 0,
            "delay lines": self.delay is not None,
        }
        found = present + [name for name, used in others.items() if used]
        if found:
            raise ValueError(f"{where} has a membrane that is an alpha function, and must not have {found[0]}")

    @property
    def alpha_gain(self) -> FloatArray:
        """The gain ``(n,)`` of the membrane of a population with ``alpha_function``."""
        assert self.alpha is not None
        with np.errstate(divide="ignore"):  # the logarithm of a beta of 0; the gain is 1 then
            alpha, beta = np.log(self.alpha), np.log(self.beta)
        return np.asarray(alpha / (beta - alpha) + 1.0)

    @property
    def synaptic_gain(self) -> FloatArray:
        """Factor ``(n,)`` of the input with which neurons with a synaptic current and the same ``alpha`` and ``beta``
        have the membranes of a population with ``alpha_function``, one step earlier, until the first spike."""
        assert self.alpha is not None
        return self.alpha_gain * (self.alpha - self.beta)

    @property
    def graded(self) -> bool:
        """Whether spikes carry values: membranes, or the number of spikes of the step."""
        return self.value_limit is not None or self.max_spikes > 1

    @property
    def size(self) -> int:
        """Number of neurons."""
        return prod(self.shape)

    @property
    def equation(self) -> str:
        """The step as text, such as ``v = 0.875 v + I; spike if v > 1; then v = 0``.

        ``I`` is the input by spikes, ``i`` the synaptic current, ``a`` the adaptation of the threshold.
        """
        if self.delay is not None:
            return f"spike {_coefficient(self.delay)} steps after I > 0"
        if self.alpha_function:
            return self._alpha_equation()
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
        if self.max_spikes > 1:
            text += f"; n spikes if {compared} {self.compare.value} n {threshold}, n up to {self.max_spikes}"
            raised = f"n {threshold}"
        else:
            text += f"; spike if {compared} {self.compare.value} {raised.strip('()')}"
        if self.second_threshold:
            text += f", or twice that where v was > {threshold}"
        start = {Reset.ZERO: "0", Reset.VALUE: _coefficient(self.reset_value)}.get(self.reset)
        if self.reset is Reset.NONE:
            text += "; no reset"
        elif self.reset_delay:
            text += f"; the step after starts from {start}" if start else f"; the step after subtracts {threshold}"
        else:
            text += f"; then v = {start or f'v - {raised}'}"
        if self.lower_bound is not None:
            text += f"; v is at least {_coefficient(self.lower_bound)}"
        if self.refractory:
            text += f"; held for {self.refractory} steps after a spike"
        if self.adaptation_factor is not None:
            decay = _decay(self.adaptation_factor, "a")
            text += f"; a = {decay or '0'}, {_coefficient(self.adaptation_step)} more after a spike"
        if self.noise:
            text += f"; noise is uniform in -{_number(self.noise)} .. {_number(self.noise)}"
        if self.value_limit is not None:
            text += f"; a spike carries v, at most {_number(self.value_limit)}"
        return text

    def _alpha_equation(self) -> str:
        assert self.alpha is not None
        threshold, decay = _coefficient(self.threshold), _decay(self.beta, "h")
        text = f"e = {_decay(self.alpha, 'e')} + I; h = {f'{decay} - I' if decay else '-I'}; "
        text += f"v = {_coefficient(self.alpha_gain)} (e + h)"
        if not self.spiking:
            return f"{text}; never spikes"
        then = {
            Reset.ZERO: "the step after ends with e = h = v = 0",
            Reset.SUBTRACT: f"the step after subtracts {threshold} from e, adds the last h to v and ends with h = 0",
        }
        return f"{text}; spike if v > {threshold}; {then.get(self.reset, 'no reset')}"


class PopulationState:
    """State of one population, each array ``(batch, n)``."""

    def __init__(self, population: Population, batch: int, seeds: NDArray[np.int64]) -> None:
        self.population = population
        shape = (batch, population.size)
        self.v = np.zeros(shape)
        self.pending = np.zeros(shape, np.bool_)
        self.refractory_count = np.zeros(shape, np.int64)
        self.current = np.zeros(shape)
        self.opposed = np.zeros(shape)
        self.gain = population.alpha_gain if population.alpha_function else np.ones(())
        self.adaptation = np.zeros(shape)
        self.random = np.broadcast_to(seeds, shape)
        self.line = np.zeros(shape, np.int64)
        self.capped = 0
        """Number of neurons that would have fired more often in the last step than ``max_spikes``."""

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
        """Run one step with the input ``current`` ``(batch, n)``; return the spikes and their values."""
        population = self.population
        if population.delay is not None:
            self.line = (self.line << 1 | (current > 0.0)) & ((1 << (LONGEST_DELAY + 1)) - 1)
            spike = (self.line >> population.delay & 1).astype(np.bool_)
            return spike, spike.astype(np.float64)
        if population.alpha_function:
            return self._alpha_step(current)
        hold = self.refractory_count > 0
        if population.alpha is not None:
            current = self.current = population.alpha * self.current + current
        base = np.where(hold, self.v, population.beta * self.v)
        base = np.where(self.pending, self._after_reset(base, population.threshold), base)
        u = base + np.where(hold, 0.0, population.bias + current)
        threshold = population.threshold + self.adaptation
        compared = u + self._noise() if population.noise else u
        needed = threshold
        if population.second_threshold:
            needed = threshold + np.where(self.v > population.threshold, population.threshold, 0.0)
        count = np.zeros(u.shape)
        for k in range(1, population.max_spikes + 1):
            count += compared > k * needed if population.compare is Compare.GREATER else compared >= k * needed
        spike = (count > 0.0) & ~hold & population.spiking
        limit = population.value_limit
        values = spike * count
        if population.max_spikes > 1:
            beyond = (population.max_spikes + 1) * needed
            more = compared > beyond if population.compare is Compare.GREATER else compared >= beyond
            self.capped = int(np.count_nonzero(more & spike))
        if limit is not None:
            values *= np.clip(u, -limit, limit)
        if population.reset_delay == 0:
            u = np.where(spike, self._after_reset(u, count * threshold), u)
        self.v = u if population.lower_bound is None else np.maximum(u, population.lower_bound)
        if population.adaptation_factor is not None:
            self.adaptation = population.adaptation_factor * self.adaptation + spike * population.adaptation_step
        self.pending = spike & bool(population.reset_delay)
        self.refractory_count = np.where(spike, population.refractory, np.maximum(self.refractory_count - 1, 0))
        return spike, values

    def _alpha_step(self, current: FloatArray) -> tuple[NDArray[np.bool_], FloatArray]:
        population = self.population
        assert population.alpha is not None
        before = self.opposed
        e = population.alpha * self.current + current
        h = population.beta * before - current
        v = self.gain * (e + h)
        if population.reset is Reset.ZERO:
            e, h, v = (np.where(self.pending, 0.0, values) for values in (e, h, v))
        elif population.reset is Reset.SUBTRACT:
            v = v + np.where(self.pending, before, 0.0)
            e = e - np.where(self.pending, population.threshold, 0.0)
            h = np.where(self.pending, 0.0, h)
        self.current, self.opposed, self.v = e, h, v
        spike = (v > population.threshold) & population.spiking
        self.pending = spike & (population.reset is not Reset.NONE)
        return spike, spike.astype(np.float64)

    def _noise(self) -> FloatArray:
        words = signed_word(self.random, RANDOM_WIDTH).astype(np.float64)
        self.random = leap_table(RANDOM_WIDTH, RANDOM_WIDTH)[self.random]
        return words * (self.population.noise / (1 << (RANDOM_WIDTH - 1)))
