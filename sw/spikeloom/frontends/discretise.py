"""Conversion of NIR neuron nodes to populations: the equations of a preset, applied to the parameters of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.nir_graph import NEURON_ARRAYS, Node
from spikeloom.frontends.presets import Discretisation, Gain, Preset, TimeUnit
from spikeloom.frontends.shapes import array_of, own_shape
from spikeloom.model.population import LONGEST_DELAY, Population
from spikeloom.sim.core.features import FEATURES, MODEL_KEYS, Numbers
from spikeloom.sim.core.neuron import MOST_SPIKES, Compare, Reset

__all__ = ["RuleOptions", "Stepped", "Stepping", "population_of"]

FloatArray = NDArray[np.float64]

_INTEGRATORS = ("LI", "I", "CubaLI")
_WHOLE = 1e-3  # tolerance in steps; files hold delays as 32-bit floats


@dataclass(frozen=True, kw_only=True)
class RuleOptions:
    """Options of the caller and the metadata of the file; None where neither gives a value.

    ``models`` holds the keys of `spikeloom.sim.core.features.MODEL_KEYS` present in the file: a number or an array.
    """

    compare: Compare | None = None
    reset: Reset | None = None
    reset_delay: int | None = None
    refractory: int | None = None
    max_spikes: int | None = None
    lower_bound: FloatArray | None = None
    norm_input: bool | None = None
    models: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """Neuron node as a population.

    ``gain`` ``(n,)`` is the gain of its input weights; ``constant`` ``(n,)`` is the input that must pass through its
    synaptic current in every step, and ``start`` ``(n,)`` the input that it must get in the first step only.
    """

    population: Population
    gain: FloatArray
    constant: FloatArray
    start: FloatArray


@dataclass(frozen=True, kw_only=True)
class Stepping:
    """Discretisation of all neurons of the graph."""

    preset: Preset
    time_step_s: float
    discretisation: Discretisation


def _tidy(values: FloatArray, epsilon: float) -> FloatArray:
    """Remove the rounding noise of a file: round values within ``8 epsilon`` of a multiple of 2**-12 to it.

    Without this, a beta of 7/8 that went through ``tau`` in single precision comes back as 0.87500001, and sums that
    meet a threshold exactly no longer do.
    """
    nearest = np.rint(values * 4096.0) / 4096.0
    return np.where(np.abs(values - nearest) <= 8.0 * epsilon, nearest, values)


def population_of(
    name: str,
    node: Node,
    shape: tuple[int, ...],
    bias: FloatArray,
    step: Stepping,
    options: RuleOptions,
    notes: list[str],
) -> Stepped:
    """Return the population of a neuron node.

    ``bias`` ``(n,)`` is the bias of the affine maps before the gain; assumptions are appended to ``notes``. Raises
    `LoadError` for invalid parameters.
    """
    size, preset = prod(shape), step.preset
    node = _spread(name, node, shape)
    if prod(own_shape(name, node)) != size:
        notes.append(f"{name}: one set of parameters is used for all {size:,} neurons")
    if options.models and node.kind in (*_INTEGRATORS, "Delay"):
        first = next(key for key in MODEL_KEYS if key in options.models)
        raise LoadError(f"node {name!r} is a {node.kind} and cannot have {first}, which is for spiking neurons only")
    if node.kind == "Delay":
        return _delay_lines(name, node, shape, step)
    notes.extend(f"{name}: {caveat}" for caveat in preset.caveats.get(node.kind, ()))
    beta, gain, rest, leak = _discretise(name, node, size, step, _norm_input(name, node, preset, options, notes))
    alpha, synapse = _synapse(name, node, size, step)
    fields: dict[str, Any] = {"name": name, "shape": shape, "beta": beta, "alpha": alpha}
    # A bias of affine maps takes the same path as the spikes: through the synaptic current, if there is one.
    fields["bias"] = gain * bias + leak if alpha is None else leak
    constant = np.zeros(size) if alpha is None else gain * synapse * bias
    if node.kind in _INTEGRATORS:
        fields |= {"spiking": False, "reset": Reset.NONE}
        if options.lower_bound is not None:
            notes.append(f"{name}: lower_bound is not applied, because its membrane is read out without a bound")
    else:
        fields |= _firing(name, node, size, preset, options, notes)
        fields |= _models(name, size, step, options.models)
        if options.lower_bound is not None:
            fields["lower_bound"] = _one_or_each(name, "lower_bound", options.lower_bound, size)
        elif preset.bound:
            notes.append(
                f"{name}: its membrane has no lower bound; {preset.title} does not export {preset.bound}: if its "
                "neurons have one, load with lower_bound"
            )
    start = _start(name, node, preset, fields, rest, notes)
    try:
        population = Population(**fields)
    except ValueError as error:
        raise LoadError(str(error)) from error
    return Stepped(population=population, gain=gain * synapse, constant=constant, start=start)


def _spread(name: str, node: Node, shape: tuple[int, ...]) -> Node:
    """Return the node with parameters per channel, row or column repeated for all its neurons."""
    parameters = dict(node.parameters)
    for key in (key for key in NEURON_ARRAYS if key in parameters):
        array = array_of(name, node, key)
        if array.ndim == len(shape) and array.size not in (1, prod(shape)):
            parameters[key] = np.broadcast_to(array, shape).reshape(-1)
    return Node(kind=node.kind, parameters=parameters, metadata=node.metadata)


def _norm_input(name: str, node: Node, preset: Preset, options: RuleOptions, notes: list[str]) -> bool | None:
    """Return True for a gain of 1 - beta and False for 1; None for frameworks and nodes without this option."""
    if options.norm_input is not None and not preset.norm_input:
        raise LoadError(f"norm_input must be left out with preset {preset.title}, because it is an option of sinabs")
    if node.kind not in preset.norm_input:
        return None
    if options.norm_input is not None:
        return options.norm_input
    assumed = preset.norm_input[node.kind]
    notes.append(
        f"{name}: norm_input {assumed}, a gain of {'1 - beta' if assumed else '1'}, is assumed, the default of "
        f"{preset.title}, which does not export it"
    )
    return assumed


def _start(
    name: str, node: Node, preset: Preset, fields: dict[str, Any], rest: FloatArray, notes: list[str]
) -> FloatArray:
    """Make the membrane start at the parameter that the preset names; return its input ``(n,)`` in the first step.

    If only differences of the membrane matter, it is measured from its start value, so that it starts at 0; threshold,
    reset value, lower bound and bias are shifted accordingly. Otherwise an input in the first step sets it to the start
    value.
    """
    size = len(rest)
    start = np.zeros(size)
    if preset.start is not None and preset.start in node.parameters:
        start = _finite(name, node, preset.start, size)
    if not start.any():
        return start
    where = _number_range(start)
    spiking = fields.get("spiking", True)
    # Graded spikes carry the membrane itself, and several spikes per step need multiples of the threshold itself.
    differences = "value_limit" not in fields and fields.get("max_spikes", 1) == 1
    if spiking and fields["reset"] is not Reset.SUBTRACT and differences:
        fields["threshold"] = fields["threshold"] - start
        fields["bias"] = fields["bias"] - rest * start
        if "lower_bound" in fields:
            fields["lower_bound"] = fields["lower_bound"] - start
        if fields["reset"] in (Reset.ZERO, Reset.VALUE):
            after = fields["reset_value"] - start
            fields |= {"reset": Reset.VALUE if after.any() else Reset.ZERO, "reset_value": after}
        notes.append(f"{name}: its membrane starts at {preset.start}, {where}; here it is relative to that value")
        return np.zeros(size)
    if fields["alpha"] is not None:
        notes.append(
            f"{name}: its membrane starts at 0, whereas that of {preset.title} starts at {preset.start}, {where}"
        )
        return np.zeros(size)
    notes.append(f"{name}: its membrane starts at {preset.start}, {where}, by an input in the first step")
    return np.asarray(fields["beta"] * start)


def _number_range(values: FloatArray) -> str:
    low, high = f"{values.min():.6g}", f"{values.max():.6g}"
    return low if low == high else f"{low} to {high}"


def _firing(name: str, node: Node, size: int, preset: Preset, options: RuleOptions, notes: list[str]) -> dict[str, Any]:
    """Return the threshold and the firing rule of a node, as fields of a population."""
    refractory = options.refractory or 0
    if node.kind == "Threshold":
        threshold = _finite(name, node, "threshold", size)
        compare = options.compare or Compare.GREATER
        return {"threshold": threshold, "compare": compare, "reset": Reset.NONE, "refractory": refractory}
    threshold = _finite(name, node, "v_threshold", size)
    v_reset = _finite(name, node, "v_reset", size) if "v_reset" in node.parameters else np.zeros(size)
    as_nir = Reset.VALUE if v_reset.any() else Reset.ZERO
    compare = options.compare or preset.compare
    reset = options.reset or preset.reset or as_nir
    reset_delay = 0 if node.kind in preset.reset_at_once else preset.reset_delay
    if options.reset_delay is not None:
        reset_delay = options.reset_delay
    if options.compare is None and compare is not Compare.GREATER:
        notes.append(f"{name}: fires at v {compare.value} threshold as {preset.title} does, where NIR says >")
    for key, value in (("reset", reset.value), ("reset_delay", reset_delay)):
        if key in preset.lost and getattr(options, key) is None:
            notes.append(f"{name}: {key} {value} is assumed, because {preset.title} does not export it")
    if preset.title == "snnTorch" and node.kind == "CubaLIF" and reset is Reset.ZERO and reset_delay and not refractory:
        notes.append(
            f"{name}: the input in the step after a spike is counted, whereas snnTorch drops it from the membrane; "
            "refractory 1 does the same"
        )
    if v_reset.any() and reset is not Reset.VALUE:
        notes.append(f"{name}: v_reset of the file is not used, because reset is {reset.value}")
    max_spikes = options.max_spikes or 1
    if preset.several and max_spikes == 1 and options.max_spikes is None:
        notes.append(
            f"{name}: a membrane that reaches several thresholds fires once, whereas {preset.title} can fire several "
            f"times in a step; if its neurons do, load with max_spikes from 2 to {MOST_SPIKES}"
        )
    second = preset.title == "snnTorch" and reset is Reset.SUBTRACT and not reset_delay and not options.models
    return {
        "second_threshold": second,
        "threshold": threshold,
        "reset_value": v_reset if reset is Reset.VALUE else np.zeros(size),
        "compare": compare,
        "reset": reset,
        "reset_delay": reset_delay,
        "refractory": refractory,
        "max_spikes": max_spikes,
    }


def _models(name: str, size: int, step: Stepping, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the features that NIR has no nodes for, as fields of a population."""
    fields: dict[str, Any] = {}
    for feature in FEATURES:
        keys = [key.name for key in feature.keys]
        if not any(key in given for key in keys):
            continue
        if not all(key in given for key in keys):
            raise LoadError(f"node {name!r} must have both {' and '.join(keys)}, or neither")
        for key in feature.keys:
            value = given[key.name]
            if key.numbers is not Numbers.ONE:
                value = _one_or_each(name, key.name, value, size)
            if key.numbers is Numbers.TIME_CONSTANTS:
                assert feature.leaking is not None
                fields[feature.leaking.factor] = _factor(name, key.name, value, step)
            else:
                fields[key.name] = value
    return fields


def _one_or_each(name: str, key: str, value: FloatArray, size: int) -> FloatArray:
    """Return the number of each neuron ``(n,)``, where the file or the caller gives one for all or one for each."""
    if value.size not in (1, size):
        raise LoadError(f"{key} of node {name!r} must have 1 or {size:,} values, not {value.size:,}")
    return np.broadcast_to(value.reshape(-1), (size,))


def _factor(name: str, key: str, tau: FloatArray, step: Stepping) -> FloatArray:
    """Return the decay factor per step for the time constants ``tau``."""
    if tau.min() <= 0:
        raise LoadError(f"{key} of node {name!r} must be positive, not {tau.min():g}")
    x = step.time_step_s / tau
    if step.discretisation is Discretisation.EULER and x.max() > 1.0 + 2.0**-40:
        raise LoadError(
            f"the time step must be at most {key}, not {step.time_step_s:g} s, because that of node {name!r} is "
            f"{tau.min():g} s"
        )
    factor = np.maximum(1.0 - x, 0.0) if step.discretisation is Discretisation.EULER else np.exp(-x)
    return _tidy(factor, 2.0**-52)


def _delay_lines(name: str, node: Node, shape: tuple[int, ...], step: Stepping) -> Stepped:
    size, dt = prod(shape), step.time_step_s
    seconds = _finite(name, node, "delay", size)
    steps = np.rint(seconds / dt)
    whole = np.abs(seconds / dt - steps) <= _WHOLE
    if seconds.min() < 0.0:
        raise LoadError(f"delay of node {name!r} must be at least 0 s, not {seconds.min():g} s")
    if not whole.all():
        raise LoadError(
            f"delay of node {name!r} must be a whole number of steps of {dt:g} s, not {seconds[~whole][0]:g} s; choose "
            "a time_step_s that divides it"
        )
    if steps.max() > LONGEST_DELAY:
        raise LoadError(
            f"delay of node {name!r} must be at most {LONGEST_DELAY} steps of {dt:g} s, not {steps.max():.0f}; choose "
            "a longer time_step_s or put several Delay nodes in a row"
        )
    lines = Population(name=name, shape=shape, delay=steps.astype(np.int64), reset=Reset.NONE)
    return Stepped(population=lines, gain=np.ones(size), constant=np.zeros(size), start=np.zeros(size))


def _per_neuron(name: str, node: Node, key: str, size: int) -> FloatArray:
    array = array_of(name, node, key).astype(np.float64)
    return np.broadcast_to(array.reshape(-1) if array.size > 1 else array.reshape(()), (size,))


def _finite(name: str, node: Node, key: str, size: int) -> FloatArray:
    values = _per_neuron(name, node, key, size)
    if not np.isfinite(values).all():
        raise LoadError(f"{key} of node {name!r} must be finite, not {values[~np.isfinite(values)][0]}")
    return values


def _noise(name: str, node: Node) -> float:
    """Return the relative error of the file's numbers: that of the shortest float among time constants and gains."""
    keys = ("tau", "r", "tau_mem", "tau_syn", "w_in")
    kinds = [array_of(name, node, key).dtype for key in keys if key in node.parameters]
    return max((float(np.finfo(kind).eps) for kind in kinds if kind.kind == "f"), default=2.0**-52)


def _discretise(
    name: str, node: Node, size: int, step: Stepping, norm_input: bool | None
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return ``beta``, gain, ``1 - beta`` and leak bias of a node, each ``(n,)``.

    One step is ``v = beta v + leak + gain I``. ``norm_input`` chooses between the gains 1 - beta and 1 of a framework
    that has both.
    """
    preset, dt, noise = step.preset, step.time_step_s, _noise(name, node)
    one = np.ones(size)
    if node.kind == "Threshold":
        return np.zeros(size), one, one, np.zeros(size)
    if node.kind in ("IF", "I"):
        r = _finite(name, node, "r", size)
        gain = {Gain.NIR: r * dt, Gain.R: r, Gain.ONE: one, Gain.BETA: one}[preset.if_gain]
        return one, _tidy(gain, noise), np.zeros(size), np.zeros(size)
    tau = "tau" if node.kind in ("LIF", "LI") else "tau_mem"
    x = _steps_inverse(name, node, tau, size, step, noise)  # dt / tau
    if step.discretisation is Discretisation.EULER:
        beta, rest = _tidy(1.0 - x, noise), _tidy(x, noise)
    else:
        beta, rest = np.exp(-x), -np.expm1(-x)
    leak = _finite(name, node, "v_leak", size) * rest
    kind = preset.li_gain if node.kind == "LI" else preset.lif_gain  # CubaLI steps like CubaLIF
    if norm_input is False:
        kind = Gain.R
    if kind in (Gain.NIR, Gain.R):
        r = _finite(name, node, "r", size)
        return beta, _tidy(r * rest, noise) if kind is Gain.NIR else r, rest, leak
    written = _per_neuron(name, node, "r", size)
    if preset.r_is_beta:
        _check_ratio(name, "r", written, one, beta, preset)
    else:
        expected = one if preset.r_ratio is Gain.ONE else np.exp(-x)
        _check_ratio(name, f"r dt/{tau}", written, x, expected, preset)
    return beta, one if kind is Gain.ONE else np.exp(-x), rest, leak


def _synapse(name: str, node: Node, size: int, step: Stepping) -> tuple[FloatArray | None, FloatArray]:
    """Return ``alpha`` and gain of the synaptic current of a node, each ``(n,)``; None and 1 if it has none."""
    if not node.kind.startswith("Cuba"):
        return None, np.ones(size)
    kind, noise = step.preset.synapse_gain, _noise(name, node)
    x = _steps_inverse(name, node, "tau_syn", size, step, noise)
    if step.discretisation is Discretisation.EULER:
        alpha, rest = _tidy(1.0 - x, noise), _tidy(x, noise)
    else:
        alpha, rest = np.exp(-x), -np.expm1(-x)
    w_in = _per_neuron(name, node, "w_in", size) if "w_in" in node.parameters else np.ones(size)
    if kind is Gain.ONE:
        _check_ratio(name, "w_in dt/tau_syn", w_in, x, np.ones(size), step.preset)
        return alpha, np.ones(size)
    if not np.isfinite(w_in).all():
        raise LoadError(f"w_in of node {name!r} must be finite, not {w_in[~np.isfinite(w_in)][0]}")
    return alpha, {Gain.NIR: _tidy(w_in * rest, noise), Gain.R: w_in, Gain.BETA: w_in * alpha}[kind]


def _steps_inverse(name: str, node: Node, key: str, size: int, step: Stepping, noise: float) -> FloatArray:
    """Return ``dt`` divided by the time constant ``key`` of the file, ``(n,)``."""
    dt, tau = step.time_step_s, _per_neuron(name, node, key, size)
    allowed = tau > 0  # infinity is allowed: no leak
    if not allowed.all():
        raise LoadError(f"{key} of node {name!r} must be positive, not {tau[~allowed][0]}")
    seconds = {
        TimeUnit.SECONDS: tau,
        TimeUnit.STEPS: tau * dt,
        TimeUnit.SECONDS_TIMES_STEP: tau / dt,
    }[step.preset.tau_unit]
    x = dt / seconds
    if x.max() > 1.0 + 8.0 * noise:
        raise LoadError(
            f"the time step must be at most {key}, not {dt:g} s, because {key} of node {name!r} is {seconds.min():g} s"
        )
    return np.minimum(x, 1.0)


def _check_ratio(name: str, what: str, r: FloatArray, x: FloatArray, expected: FloatArray, preset: Preset) -> None:
    """Refuse an ``r`` (or ``w_in``) that the preset's framework would not write: its steps do not use it."""
    endless = (x == 0.0) & np.isinf(r)  # a beta of 1, as these exporters write it
    with np.errstate(invalid="ignore"):
        ratio = np.where(endless, expected, r * x)
    fits = np.abs(ratio - expected) <= 1e-4 * expected
    if not fits.all():
        raise LoadError(
            f"{what} of node {name!r} must be {expected[~fits][0]:.6g}, as {preset.title} writes it, not "
            f"{ratio[~fits][0]:.6g}; it was written with another time step or by another framework"
        )
