"""All time steps of a layer's neurons as one differentiable function: forward in integers, backward by surrogates.

Forward, this is the recurrence of `spikeloom.sim.core.neuron`, bit for bit: the tensors are of a floating type, and
hold integers that the type represents exactly (`exact_type`). Backward, it is backpropagation through time of the same
recurrence in floats:

* a spike has the derivative of a fast sigmoid, ``1 / (1 + slope |u - threshold| / unit)**2 / unit``, where ``unit`` is
  the integer that stands for 1.0 (Zenke and Ganguli 2018, SuperSpike);
* rounding and saturation have the derivative 1 (straight through; Bengio et al. 2013);
* a reset counts as a constant factor or term: no gradient flows through the spike that caused it.

One function for all steps, instead of one operation at a time, stores two tensors ``(T, B, n)`` instead of a dozen.
"""

# PyTorch is installed only where networks are trained.
# pyright: reportMissingImports=false

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spikeloom.sim.core.neuron import Compare, Leak, Reset, Rounding, signed_range

__all__ = ["Decay", "Rule", "exact_type", "fire"]

_EXACT = {torch.float32: 1 << 24, torch.float64: 1 << 53}
"""Magnitude up to which a type represents every integer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Decay:
    """Decay per step of a membrane or current: ``kind``, and its ``factor`` ``(n,)`` as real numbers from 0 to 1."""

    kind: Leak
    factor: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Rule:
    """The arithmetic of a layer's neurons.

    ``unit`` is the number in the tensors that stands for 1.0. ``v_width`` None stands for floats, without rounding and
    saturation.
    """

    unit: float
    v_width: int | None
    beta_fraction: int
    rounding: Rounding
    compare: Compare
    reset: Reset
    reset_delay: int
    refractory: int
    spiking: bool
    slope: float


def exact_type(greatest: int) -> torch.dtype:
    """Return the fastest type that holds every integer up to ``greatest``. Raises ``ValueError`` if none does."""
    for kind, bound in _EXACT.items():
        if greatest < bound:
            return kind
    raise ValueError(f"sums of integers must stay below 2**53, not reach {greatest}")


def fire(
    current: Tensor,
    *,
    threshold: Tensor,
    bias: Tensor,
    reset_value: Tensor,
    beta: Decay,
    alpha: Decay | None,
    recurrent: Tensor | None,
    rule: Rule,
) -> Tensor:
    """Return the spikes ``(T, B, n)`` for the inputs ``current`` ``(T, B, n)``; the membranes if ``rule`` never spikes.

    ``threshold``, ``bias`` and ``reset_value`` are ``(n,)``; ``recurrent`` ``(n, n)`` holds the weights of the spikes
    of the previous step, one row per target. All have the type of ``current``; their values are integers if ``rule``
    has a ``v_width``.
    """
    factor = None if alpha is None else alpha.factor
    kinds = beta.kind, None if alpha is None else alpha.kind
    return _Fire.apply(current, threshold, bias, reset_value, beta.factor, factor, recurrent, kinds, rule)


def _decayed(values: Tensor, kind: Leak, factor: Tensor, rule: Rule) -> Tensor:
    """Return ``values`` after the decay of one step, as a new tensor; ``spikeloom.sim.core.neuron.leak``."""
    if kind is Leak.NONE:
        return values.clone()
    if kind is Leak.CLEAR:
        return torch.zeros_like(values)
    if rule.v_width is None:
        return values * factor
    if kind is Leak.SHIFT:
        # The factor is 1 - 2**-k, and 1 - factor exact.
        return values - (values * (1 - factor)).floor_()
    half = 0.5 if rule.rounding is Rounding.NEAREST else 0.0
    # The product with 2**beta_fraction times the factor must be exact before it is rounded.
    kind_of = exact_type(1 << (rule.v_width + rule.beta_fraction))
    return (values.to(kind_of) * factor.to(kind_of)).add_(half).floor_().to(values.dtype)


def _reset(v: Tensor, spike: Tensor, threshold: Tensor, reset_value: Tensor, rule: Rule) -> Tensor:
    """Return ``v`` where ``spike`` is 0, and after the reset where it is 1."""
    if rule.reset is Reset.SUBTRACT:
        return v - spike * threshold
    if rule.reset is Reset.ZERO:
        return v * (1 - spike)
    if rule.reset is Reset.VALUE:
        return v + spike * (reset_value - v)
    return v


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        threshold: Tensor,
        bias: Tensor,
        reset_value: Tensor,
        beta: Tensor,
        alpha: Tensor | None,
        recurrent: Tensor | None,
        kinds: tuple[Leak, Leak | None],
        rule: Rule,
    ) -> Tensor:
        _, _, _, _, needs_beta, needs_alpha, *_ = ctx.needs_input_grad
        low, high = signed_range(rule.v_width) if rule.v_width is not None else (0, 0)
        steps = len(current)
        v = torch.zeros_like(current[0])
        stored = torch.zeros_like(v)  # the synaptic current
        wait = torch.zeros_like(v)  # remaining refractory steps
        membranes = torch.empty_like(current)  # at the comparison
        spikes = torch.zeros_like(current)
        held = torch.zeros_like(current, dtype=torch.bool) if rule.refractory else None
        # What the factors multiply: needed for their gradients only, and for neurons that return their membranes.
        before = torch.empty_like(current) if needs_beta else None
        currents = torch.empty_like(current) if needs_alpha else None
        returned = None if rule.spiking else torch.empty_like(current)
        for t in range(steps):
            drive = current[t]
            if recurrent is not None and t:
                drive = drive + spikes[t - 1] @ recurrent.T
            if alpha is not None and kinds[1] is not None:
                if currents is not None:
                    currents[t] = stored
                drive = _decayed(stored, kinds[1], alpha, rule).add_(drive)
                stored = drive if rule.v_width is None else drive.clamp(low, high)
            if before is not None:
                before[t] = v
            u = _decayed(v, kinds[0], beta, rule)
            hold = None if held is None else wait > 0
            if hold is not None and held is not None:
                held[t] = hold
                u = torch.where(hold, v, u)
                drive = torch.where(hold, 0, bias + drive)
            else:
                drive = bias + drive
            if rule.reset_delay and t:
                u = _reset(u, spikes[t - 1], threshold, reset_value, rule)
            u = u + drive
            membranes[t] = u
            if rule.spiking:
                above = u > threshold if rule.compare is Compare.GREATER else u >= threshold
                if hold is not None:
                    above &= ~hold
                spikes[t] = above
                if not rule.reset_delay:
                    u = _reset(u, spikes[t], threshold, reset_value, rule)
                if hold is not None:
                    wait = torch.where(above, rule.refractory, (wait - 1).clamp_(min=0)).to(v.dtype)
            # Last, because the comparison and the reset use the exact sum.
            v = u if rule.v_width is None else u.clamp(low, high)
            if returned is not None:
                returned[t] = v
        ctx.save_for_backward(
            membranes, spikes, threshold, beta, alpha, recurrent, held, before, currents, current.new_zeros(0)
        )
        ctx.kinds, ctx.rule = kinds, rule
        return spikes if returned is None else returned

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        membranes, spikes, threshold, beta, alpha, recurrent, held, before, currents, _ = ctx.saved_tensors
        rule: Rule = ctx.rule
        steps = len(spikes)
        # A reset to a constant cuts the path through the membrane; the others leave it.
        cuts = rule.reset in (Reset.ZERO, Reset.VALUE)
        of_current = torch.empty_like(gradient)
        of_threshold, of_bias = (torch.zeros_like(threshold) for _ in range(2))
        of_value = torch.zeros_like(threshold)
        of_beta, of_alpha = (None if x is None else torch.zeros_like(threshold) for x in (before, currents))
        of_recurrent = None if recurrent is None else torch.zeros_like(recurrent)
        slopes = torch.zeros_like(gradient)
        if rule.spiking:
            distance = (membranes - threshold).abs_().mul_(rule.slope / rule.unit)
            slopes = distance.add_(1.0).square_().mul_(rule.unit).reciprocal_()
            if held is not None:
                slopes.masked_fill_(held, 0.0)
        of_v = torch.zeros_like(gradient[0])  # gradient of the membrane stored by this step
        of_stored = torch.zeros_like(of_v)  # gradient of the synaptic current stored by this step
        of_spike: Tensor | None = None  # gradient through recurrent connections to the next step
        for t in reversed(range(steps)):
            spike = spikes[t]
            if rule.spiking:
                if not rule.reset_delay:
                    if rule.reset is Reset.SUBTRACT:
                        of_threshold -= (spike * of_v).sum(0)
                    elif rule.reset is Reset.VALUE:
                        of_value += (spike * of_v).sum(0)
                    if cuts:
                        of_v = of_v * (1 - spike)
                through = gradient[t] if of_spike is None else gradient[t] + of_spike
                through = through * slopes[t]
                of_threshold -= through.sum(0)
                of_u = of_v + through
            else:
                of_u = of_v + gradient[t]
            of_drive = of_u if held is None else of_u.masked_fill(held[t], 0.0)
            of_bias += of_drive.sum(0)
            if alpha is not None:
                of_drive = of_drive + of_stored
                if of_alpha is not None and currents is not None:
                    of_alpha += (of_drive * currents[t]).sum(0)
                of_stored = of_drive * alpha
            of_current[t] = of_drive
            if recurrent is not None and of_recurrent is not None and t:
                of_recurrent += of_drive.T @ spikes[t - 1]
                of_spike = of_drive @ recurrent
            if rule.reset_delay and t:
                earlier = spikes[t - 1]
                if rule.reset is Reset.SUBTRACT:
                    of_threshold -= (earlier * of_u).sum(0)
                elif rule.reset is Reset.VALUE:
                    of_value += (earlier * of_u).sum(0)
                if cuts:
                    of_u = of_u * (1 - earlier)
            leaking = of_u if held is None else of_u.masked_fill(held[t], 0.0)
            if of_beta is not None and before is not None:
                of_beta += (leaking * before[t]).sum(0)
            of_v = leaking * beta if held is None else torch.where(held[t], of_u, leaking * beta)
        return of_current, of_threshold, of_bias, of_value, of_beta, of_alpha, of_recurrent, None, None
