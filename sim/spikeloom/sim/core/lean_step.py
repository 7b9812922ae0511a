"""A fast step for neurons without optional features, with few array operations.

`spikeloom.sim.core.neuron.step` is the specification. It covers every feature, which takes about thirty array
operations on 64-bit integers; most populations need a third of them. `LeanStep` performs these in place and in floating
point, which is exact as long as no integer of the recurrence exceeds the bound of the type. `LeanStep.of` returns None
if this is not certain, or if the population needs a feature that it lacks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.core.features import FEATURES
from spikeloom.sim.core.neuron import (
    Compare,
    Leak,
    NeuronParameters,
    NeuronState,
    Reset,
    Rounding,
    signed_range,
)

__all__ = ["LeanStep"]

_SUPPORTED = ("bias", "reset_value", "reset_delay", "readout", "lower_bound")
"""The supported features (`CoreFeatures`); populations with other features use the specification."""

_EXACT: dict[Any, int] = {np.float32: 1 << 24, np.float64: 1 << 53}
"""Magnitude up to which a type represents every integer."""


class LeanStep:
    """The membranes of a population, ``(batch, n)``, and their step.

    Parameters
    ----------
    parameters
        Parameters of the neurons; `of` chooses a ``kind`` that is exact for them.
    batch
        Number of samples.
    kind
        Type of the membranes, ``np.float32`` or ``np.float64``.
    """

    def __init__(self, parameters: NeuronParameters, batch: int, kind: Any) -> None:
        p = self._parameters = parameters
        shape = (batch, p.size)
        self.kind = kind
        """The type of the membranes."""
        self._v = np.zeros(shape, kind)
        # Scratch space, allocated once for all steps.
        self._work = np.empty(shape, kind)
        self._pending = np.zeros(shape, np.bool_)
        self._threshold, self._reset_value = (np.asarray(value).astype(kind) for value in (p.threshold, p.reset_value))
        # None skips an addition of zeros.
        self._bias = np.asarray(p.bias).astype(kind) if np.any(p.bias) else None
        self._low, self._high = (kind(bound) for bound in signed_range(p.v_width))
        if p.lower_bound is not None:
            self._low = np.asarray(p.lower_bound).astype(kind)
        # Both a shift and a fixed-point product are a multiplication followed by rounding down.
        if p.leak is Leak.SHIFT:
            self._factor = np.ldexp(kind(1), -np.asarray(p.leak_factor)).astype(kind)
        else:
            self._factor = np.ldexp(np.asarray(p.leak_factor).astype(kind), -p.beta_fraction).astype(kind)
        self._half = kind(0.5 if p.rounding is Rounding.NEAREST else 0.0)
        self._compare = np.greater if p.compare is Compare.GREATER else np.greater_equal

    @classmethod
    def of(cls, parameters: NeuronParameters, batch: int, greatest: int) -> LeanStep | None:
        """Return the step of ``batch`` samples whose currents have magnitudes of at most ``greatest``, or None."""
        p = parameters
        if any(feature.needs(p) and feature.flag not in _SUPPORTED for feature in FEATURES):
            return None
        membrane = 1 << (p.v_width - 1)
        # u is at most membrane, bias and current; a reset adds one more number of the membrane's width.
        bound = 3 * membrane + greatest
        # A product is scaled back by a power of two, which is exact; the product itself must fit the mantissa.
        if p.leak is Leak.MULTIPLY:
            bound = max(bound, membrane << p.beta_fraction)
        # The narrower type first: it halves the memory traffic.
        for kind, exact in _EXACT.items():
            if bound < exact:
                return cls(p, batch, kind)
        return None

    def step(self, current: NDArray[Any], spikes: NDArray[np.bool_]) -> None:
        """Advance by one step with ``current`` ``(batch, n)``, integers in any type; write the spikes to ``spikes``."""
        p, v = self._parameters, self._v
        # The order of the specification: leak, delayed reset, integrate, compare, reset, saturate.
        self._leak(v)
        if p.reset_delay:
            self._reset(v, self._pending)
        if self._bias is not None:
            v += self._bias
        v += current
        if p.spiking:
            self._compare(v, self._threshold, out=spikes)
            if p.reset_delay:
                self._pending[...] = spikes
            else:
                self._reset(v, spikes)
        else:
            spikes[...] = False
        # Last, because the comparison and the reset use the exact sum.
        np.clip(v, self._low, self._high, out=v)

    def state(self) -> NeuronState:
        """The state after the last step, as a copy."""
        cleared = NeuronState.cleared(len(self._v), self._parameters)
        return replace(cleared, v=self._v.astype(np.int64), pending=self._pending.astype(np.int64))

    def _leak(self, v: NDArray[Any]) -> None:
        p, work = self._parameters, self._work
        if p.leak is Leak.CLEAR:
            v[...] = 0
        elif p.leak is Leak.SHIFT:
            # v - floor(v * 2**-k): the arithmetic shift of the specification rounds down as well.
            np.multiply(v, self._factor, out=work)
            np.floor(work, out=work)
            v -= work
        elif p.leak is Leak.MULTIPLY:
            v *= self._factor
            # Half before the floor rounds to nearest, ties upwards.
            v += self._half
            np.floor(v, out=v)

    def _reset(self, v: NDArray[Any], where: NDArray[np.bool_]) -> None:
        """Reset the membranes ``where`` True. A masked assignment would cost ten times as much as this arithmetic."""
        p, work = self._parameters, self._work
        if p.reset is Reset.SUBTRACT:
            work[...] = where
            work *= self._threshold
            v -= work
        elif p.reset is Reset.ZERO:
            work[...] = where
            work *= v
            v -= work
        elif p.reset is Reset.VALUE:
            # v + (reset_value - v) where it fired, v + 0 elsewhere.
            np.subtract(self._reset_value, v, out=work)
            work *= where
            v += work
