"""Encodes the `NeuronParameters` of a population as fields of a core's memories.

With a multiplier every leak is one product ``v * factor`` and a right shift by ``beta_fraction``, rounded down, to
nearest or up. ``v - (v >> k)`` is ``v (1 - 2**-k)`` rounded up, because ``-floor(x) == ceil(-x)``. By the same
identity, rounding a product up equals negating the product with the negative factor, rounded down. The sign of a factor
therefore selects rounding up, which costs only a negation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from spikeloom.sim.core.features import FEATURES, LEAKS
from spikeloom.sim.core.neuron import Leak, NeuronParameters
from spikeloom.sim.core.parameters import CoreParameters

__all__ = ["leak_code", "parameter_values", "rule_values"]


def leak_code(core: CoreParameters, kind: Leak | None, factor: ArrayLike, beta_fraction: int) -> ArrayLike:
    """The field value that makes ``core`` apply this leak: 0 for None, else a number or an array like ``factor``.

    Raises ``ValueError`` if the core cannot reproduce the leak exactly.
    """
    factor = np.asarray(factor)
    if kind is None:
        return 0
    if core.multiplier:
        # The factor 1 in fixed point.
        one = 1 << core.beta_fraction
        if kind is Leak.NONE:
            return one
        if kind is Leak.CLEAR:
            return 0
        if kind is Leak.SHIFT:
            # The negative of 1 - 2**-k: rounded up, as v - (v >> k) is.
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
        # The index of each shift in the core's list, from 1 on: code 0 means no leak.
        places = np.zeros(core.v_width, np.int64)
        places[list(core.shifts)] = 1 + np.arange(len(core.shifts))
        return places[factor]
    shifts = tuple(shift for shift in core.shifts if shift)
    clear = ", to clear the membrane" if 0 in core.shifts else ""
    raise ValueError(
        f"a leak must be none{clear} or a shift by one of {shifts} on this fabric, which has no multiplier"
    )


def parameter_values(core: CoreParameters, parameters: NeuronParameters) -> dict[str, ArrayLike]:
    """The fields of `spikeloom.sim.core.features.PER_NEURON`, each a number or ``(n,)``, in either kind of word.

    Raises ``ValueError`` if the core cannot reproduce the leaks, or if it stores one value per population and the
    neurons differ.
    """
    p = parameters
    values: dict[str, ArrayLike] = {}
    for leak in (leaking.leak for leaking in LEAKS):
        values[f"{leak}_factor"] = leak_code(core, getattr(p, leak), getattr(p, f"{leak}_factor"), p.beta_fraction)
    values |= {field.name: field.value(core, p) for feature in FEATURES for field in feature.parameters}
    for name, value in values.items():
        array = np.asarray(value)
        # One field of the population word serves all of its neurons.
        if array.ndim and name not in core.per_neuron:
            if array.min() != array.max():
                raise ValueError(f"{name} must be the same for all neurons on this fabric, not {sorted(set(array))!r}")
            values[name] = int(array[0])
    return values


def rule_values(core: CoreParameters, parameters: NeuronParameters, *, readout: bool = False) -> dict[str, ArrayLike]:
    """The fields of a population word that `parameter_values` does not cover; ``readout`` sends its membranes out.

    Raises ``ValueError``, naming the missing feature, if the core does not support the neurons.
    """
    # A different width would saturate at other bounds than the model.
    if parameters.v_width != core.v_width:
        raise ValueError(f"v_width must be {core.v_width} on this fabric, not {parameters.v_width}")
    for feature in FEATURES:
        if missing := feature.missing(core, parameters):
            raise ValueError(missing)
    values = {field.name: field.value(core, parameters) for feature in FEATURES for field in feature.rule}
    # Whether membranes are sent out depends on the placement, not on the neurons.
    return values | {"readout": int(readout)}
