"""Neuron nodes of NIR as populations: a preset's equations applied to the numbers of a file."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.neuron import Compare, Reset
from spikeloom.sw.graph import Node, array_of, own_shape
from spikeloom.sw.network import LoadError, Population
from spikeloom.sw.presets import Discretisation, Gain, Preset, TimeUnit

__all__ = ["RuleOptions", "Stepping", "population_of"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RuleOptions:
    """What the caller and the file's metadata say; None where neither does."""

    compare: Compare | None = None
    reset: Reset | None = None
    reset_delay: int | None = None
    refractory: int | None = None


@dataclass(frozen=True, kw_only=True)
class Stepping:
    """How every neuron of the graph is stepped."""

    preset: Preset
    time_step_s: float
    discretisation: Discretisation


def _tidy(values: FloatArray, epsilon: float) -> FloatArray:
    """Take off the rounding noise of a file: values that are multiples of 2**-12 but for ``8 epsilon`` become them.

    Without this a beta of 7/8 that went through ``tau`` in single precision comes back as 0.87500001, and sums that
    meet a threshold exactly would no longer.
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
) -> tuple[Population, FloatArray]:
    """The population of a neuron node and the gain ``(n,)`` of its weights.

    ``bias`` is what affine maps bring, before the gain; ``notes`` gets what is assumed. Raises `LoadError` where the
    numbers make no neuron.
    """
    size, preset = prod(shape), step.preset
    if prod(own_shape(name, node)) != size:
        notes.append(f"{name}: one set of parameters is used for all {size} neurons")
    beta, gain, leak = _discretise(name, node, size, step)
    if node.kind == "LI":
        notes.extend(f"{name}: {caveat}" for caveat in preset.caveats.get(node.kind, ()))
        integrator = Population(
            name=name, shape=shape, beta=beta, bias=gain * bias + leak, spiking=False, reset=Reset.NONE
        )
        return integrator, gain
    threshold = _finite(name, node, "v_threshold", size)
    v_reset = _finite(name, node, "v_reset", size) if "v_reset" in node.parameters else np.zeros(size)
    as_nir = Reset.VALUE if v_reset.any() else Reset.ZERO
    compare = options.compare or preset.compare
    reset = options.reset or preset.reset or as_nir
    reset_delay = preset.reset_delay if options.reset_delay is None else options.reset_delay
    if options.compare is None and compare is not Compare.GREATER:
        notes.append(f"{name}: fires at v {compare.value} threshold as {preset.title} does, where NIR says >")
    for key, value in (("reset", reset.value), ("reset_delay", reset_delay)):
        if key in preset.lost and getattr(options, key) is None:
            notes.append(f"{name}: {key} {value} is assumed, because {preset.title} does not export it")
    if v_reset.any() and reset is not Reset.VALUE:
        notes.append(f"{name}: v_reset of the file is not used, because reset is {reset.value}")
    notes.extend(f"{name}: {caveat}" for caveat in preset.caveats.get(node.kind, ()))
    population = Population(
        name=name,
        shape=shape,
        beta=beta,
        threshold=threshold,
        reset_value=v_reset if reset is Reset.VALUE else np.zeros(size),
        bias=gain * bias + leak,
        compare=compare,
        reset=reset,
        reset_delay=reset_delay,
        refractory=options.refractory or 0,
    )
    return population, gain


def _per_neuron(name: str, node: Node, key: str, size: int) -> FloatArray:
    array = array_of(name, node, key).astype(np.float64)
    return np.broadcast_to(array.reshape(-1) if array.size > 1 else array.reshape(()), (size,))


def _finite(name: str, node: Node, key: str, size: int) -> FloatArray:
    values = _per_neuron(name, node, key, size)
    if not np.isfinite(values).all():
        raise LoadError(f"{key} of node {name!r} must be finite, not {values[~np.isfinite(values)][0]}")
    return values


def _noise(name: str, node: Node) -> float:
    """Relative error of the file's numbers: that of the shortest float among ``tau`` and ``r``."""
    kinds = [array_of(name, node, key).dtype for key in ("tau", "r") if key in node.parameters]
    return max((float(np.finfo(kind).eps) for kind in kinds if kind.kind == "f"), default=2.0**-52)


def _discretise(name: str, node: Node, size: int, step: Stepping) -> tuple[FloatArray, FloatArray, FloatArray]:
    """``beta``, gain and leak bias of a node, each ``(n,)``: one step is ``v = beta v + leak + gain I``."""
    preset, dt, noise = step.preset, step.time_step_s, _noise(name, node)
    one = np.ones(size)
    if node.kind == "IF":
        r = _finite(name, node, "r", size)
        gain = {Gain.NIR: r * dt, Gain.R: r, Gain.ONE: one, Gain.BETA: one}[preset.if_gain]
        return one, _tidy(gain, noise), np.zeros(size)
    x = _steps_inverse(name, node, size, step, noise)  # dt / tau
    if step.discretisation is Discretisation.EULER:
        beta, rest = _tidy(1.0 - x, noise), _tidy(x, noise)
    else:
        beta, rest = np.exp(-x), -np.expm1(-x)
    leak = _finite(name, node, "v_leak", size) * rest
    kind = preset.li_gain if node.kind == "LI" else preset.lif_gain
    if kind in (Gain.NIR, Gain.R):
        r = _finite(name, node, "r", size)
        return beta, _tidy(r * rest, noise) if kind is Gain.NIR else r, leak
    _check_ratio(name, _per_neuron(name, node, "r", size), x, preset)
    return beta, one if kind is Gain.ONE else np.exp(-x), leak


def _steps_inverse(name: str, node: Node, size: int, step: Stepping, noise: float) -> FloatArray:
    dt, tau = step.time_step_s, _per_neuron(name, node, "tau", size)
    allowed = tau > 0  # infinite is allowed: no leak
    if not allowed.all():
        raise LoadError(f"tau of node {name!r} must be positive, not {tau[~allowed][0]}")
    seconds = {
        TimeUnit.SECONDS: tau,
        TimeUnit.STEPS: tau * dt,
        TimeUnit.SECONDS_TIMES_STEP: tau / dt,
    }[step.preset.tau_unit]
    x = dt / seconds
    if x.max() > 1.0 + 8.0 * noise:
        raise LoadError(
            f"the time step must be at most tau, not {dt:g} s where tau of node {name!r} is {seconds.min():g} s"
        )
    return np.minimum(x, 1.0)


def _check_ratio(name: str, r: FloatArray, x: FloatArray, preset: Preset) -> None:
    """Refuse an ``r`` that the preset's framework would not have written: it does not enter the step."""
    expected = np.ones_like(x) if preset.r_ratio is Gain.ONE else np.exp(-x)
    endless = (x == 0.0) & np.isinf(r)  # a beta of 1, as these exporters write it
    with np.errstate(invalid="ignore"):
        ratio = np.where(endless, expected, r * x)
    fits = np.abs(ratio - expected) <= 1e-4 * expected
    if not fits.all():
        raise LoadError(
            f"r dt/tau of node {name!r} must be {expected[~fits][0]:.6g}, as {preset.title} writes it, not "
            f"{ratio[~fits][0]:.6g}; it was written with another time step or by another framework"
        )
