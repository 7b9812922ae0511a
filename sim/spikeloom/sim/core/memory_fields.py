"""What to write into a core's memories so that it does what a population's `NeuronParameters` say.

With a multiplier every leak is one product ``v * factor`` and a shift by ``beta_fraction``, rounded down, to the
nearest or up. ``v - (v >> k)`` is ``v (1 - 2**-k)`` rounded up, because ``-floor(x) == ceil(-x)``; by the same identity
a product rounded up is the negative of a product with the negative factor rounded down. So the sign of a factor says
whether it is to be rounded up, and rounding up takes no more than a negation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from spikeloom.sim.core.neuron import Compare, Leak, NeuronParameters, Reset, Rounding
from spikeloom.sim.core.parameters import CoreParameters

__all__ = ["RESET_CODES", "leak_code", "parameter_values", "rule_values"]

RESET_CODES = {Reset.NONE: 0, Reset.ZERO: 1, Reset.SUBTRACT: 2, Reset.VALUE: 3}


def leak_code(core: CoreParameters, kind: Leak | None, factor: ArrayLike, beta_fraction: int) -> ArrayLike:
    """The field with which ``core`` leaks as said: 0 for None, else a number or an array as ``factor`` is.

    Raises ``ValueError`` if the core cannot do the leak exactly.
    """
    factor = np.asarray(factor)
    if kind is None:
        return 0
    if core.multiplier:
        one = 1 << core.beta_fraction
        if kind is Leak.NONE:
            return one
        if kind is Leak.CLEAR:
            return 0
        if kind is Leak.SHIFT:
            if factor.max() > core.beta_fraction:
                raise ValueError(f"a leak shift must be at most {core.beta_fraction} on this fabric")
            return (one >> factor) - one
        if beta_fraction != core.beta_fraction:
            raise ValueError(f"beta_fraction must be {core.beta_fraction} on this fabric, not {beta_fraction}")
        return factor
    if kind is Leak.NONE:
        return 0
    if kind is Leak.CLEAR and 0 in core.shifts:
        return 1 + core.shifts.index(0)
    if kind is Leak.SHIFT and set(factor.ravel().tolist()) <= set(core.shifts):
        places = np.zeros(core.v_width, np.int64)
        places[list(core.shifts)] = 1 + np.arange(len(core.shifts))
        return places[factor]
    shifts = tuple(shift for shift in core.shifts if shift)
    clear = ", to clear the membrane" if 0 in core.shifts else ""
    raise ValueError(
        f"a leak must be none{clear} or a shift by one of {shifts} on this fabric, which has no multiplier"
    )


def parameter_values(core: CoreParameters, parameters: NeuronParameters) -> dict[str, ArrayLike]:
    """The fields of `spikeloom.sim.core.parameters.PER_NEURON`, each a number or ``(n,)``, whichever word they belong
    to.

    Raises ``ValueError`` if the core cannot do the leaks, or has one value a population where the neurons differ.
    """
    p = parameters
    leaks = {
        f"{name}_factor": leak_code(core, getattr(p, name), getattr(p, f"{name}_factor"), p.beta_fraction)
        for name in ("leak", "current_leak", "adaptation_leak")
    }
    values: dict[str, ArrayLike] = leaks | {
        # A delay line fires where the sum of its input, as ``u``, is above 0.
        "threshold": 0 if p.delay_line else p.threshold,
        "bias": p.bias,
        "reset_value": p.reset_value if p.reset is Reset.VALUE and not p.delay_line else 0,
        "adaptation_step": p.adaptation_step,
        "seed": p.seed,
        "delay": p.delay,
    }
    for name, value in values.items():
        array = np.asarray(value)
        if array.ndim and name not in core.per_neuron:
            if array.min() != array.max():
                raise ValueError(f"{name} must be the same for all neurons on this fabric, not {sorted(set(array))!r}")
            values[name] = int(array[0])
    return values


def rule_values(core: CoreParameters, parameters: NeuronParameters, *, readout: bool = False) -> dict[str, ArrayLike]:
    """The fields of a population's rule but those of `parameter_values`; ``readout`` sends its membranes out.

    Raises ``ValueError``, naming what is missing, if the core was not built for such neurons.
    """
    _check(core, parameters)
    p = parameters
    return {
        "nearest": int(p.rounding is Rounding.NEAREST and core.multiplier),
        "greater_equal": int(p.compare is Compare.GREATER_EQUAL and not p.delay_line),
        "reset": RESET_CODES[Reset.NONE if p.delay_line else p.reset],
        "reset_delay": p.reset_delay,
        "refractory": p.refractory,
        "spiking": int(p.spiking),
        "readout": int(readout),
        "current": int(p.current_leak is not None),
        "noise": (1 << p.noise_bits) - 1,
        "graded": int(p.graded),
        "graded_shift": p.graded_shift if p.graded else 0,
        "delay_line": int(p.delay_line),
    }


def _check(core: CoreParameters, p: NeuronParameters) -> None:
    """Refuse what the core has no hardware for."""
    if p.v_width != core.v_width:
        raise ValueError(f"v_width must be {core.v_width} on this fabric, not {p.v_width}")
    if p.refractory >= 1 << core.refractory_width:
        most = (1 << core.refractory_width) - 1
        raise ValueError(f"refractory must be at most {most} steps on this fabric, not {p.refractory}")
    if p.noise_bits > core.noise_bits:
        raise ValueError(f"noise_bits must be at most {core.noise_bits} on this fabric, not {p.noise_bits}")
    if p.graded and core.value_width and p.value_width != core.value_width:
        raise ValueError(f"value_width must be {core.value_width} on this fabric, not {p.value_width}")
    for feature, needed, exists in (
        ("a bias", bool(np.any(np.asarray(p.bias))), core.bias),
        ("a reset to a value", p.reset is Reset.VALUE and not p.delay_line, core.reset_value),
        ("a reset delay", p.reset_delay > 0, core.reset_delay),
        ("the readout of membranes", not p.spiking, core.readout),
        ("a synaptic current", p.current_leak is not None, core.synaptic_current),
        ("an adaptive threshold", p.adaptation_leak is not None, core.adaptation),
        ("graded spikes", p.graded, core.value_width > 0),
        ("delay lines", p.delay_line, core.delay_line),
    ):
        if needed and not exists:
            raise ValueError(f"{feature} must be built into the fabric, and is not")
