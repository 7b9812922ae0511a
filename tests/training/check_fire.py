"""The backward pass equals automatic differentiation of the recurrence, operation by operation."""

import itertools

import pytest
import torch

from spikeloom.sim.core.neuron import Compare, Leak, Reset, Rounding
from spikeloom.train.fire import Decay, Rule, exact_type, fire

STEPS, BATCH, SIZE = 12, 3, 6


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(context, above, slope, unit):
        context.save_for_backward(above)
        context.slope, context.unit = slope, unit
        return (above > 0).to(above.dtype)

    @staticmethod
    def backward(context, gradient):
        (above,) = context.saved_tensors
        return gradient / (1 + context.slope * above.abs() / context.unit) ** 2 / context.unit, None, None


def after(v, spike, threshold, value, rule):
    spike = spike.detach()
    match rule.reset:
        case Reset.ZERO:
            return v * (1 - spike)
        case Reset.VALUE:
            return v * (1 - spike) + spike * value
        case Reset.SUBTRACT:
            return v - spike * threshold
    return v


def recurrence(current, threshold, bias, value, beta, alpha, recurrent, rule):
    """The step of `spikeloom.model.population`, written as a PyTorch user would."""
    v, i = torch.zeros_like(current[0]), torch.zeros_like(current[0])
    spike = torch.zeros_like(v)
    wait = torch.zeros_like(v)
    found = []
    for t in range(len(current)):
        drive = current[t] + spike @ recurrent.T
        i = drive if alpha is None else alpha * i + drive
        hold = wait > 0
        u = torch.where(hold, v, beta * v)
        if rule.reset_delay:
            u = after(u, spike, threshold, value, rule)
        u = u + torch.where(hold, torch.zeros_like(u), bias + i)
        if rule.spiking:
            spike = Spike.apply(u - threshold, rule.slope, rule.unit) * ~hold
            found.append(spike)
            if not rule.reset_delay:
                u = after(u, spike, threshold, value, rule)
            wait = torch.where(spike > 0, torch.full_like(wait, rule.refractory), (wait - 1).clamp(min=0))
        else:
            found.append(u)
        v = u
    return torch.stack(found)


@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("delay", [0, 1])
def test_gradients(reset, delay):
    torch.manual_seed(3)
    for refractory, current_based, spiking in itertools.product((0, 2), (False, True), (False, True)):
        rule = Rule(
            unit=2.0,
            v_width=None,
            beta_fraction=0,
            rounding=Rounding.NEAREST,
            compare=Compare.GREATER,
            reset=reset,
            reset_delay=delay,
            refractory=refractory,
            spiking=spiking,
            slope=2.5,
        )
        leaves = [
            0.5 + torch.randn(STEPS, BATCH, SIZE),
            1 + torch.rand(SIZE),
            0.1 * torch.randn(SIZE),
            0.3 * torch.randn(SIZE),
            0.8 + 0.2 * torch.rand(SIZE),
            0.5 + 0.4 * torch.rand(SIZE),
            0.5 * torch.randn(SIZE, SIZE),
        ]
        leaves = [leaf.double().requires_grad_() for leaf in leaves]
        current, threshold, bias, value, beta, alpha, recurrent = leaves
        expected = recurrence(current, threshold, bias, value, beta, alpha if current_based else None, recurrent, rule)
        found = fire(
            current,
            threshold=threshold,
            bias=bias,
            reset_value=value,
            beta=Decay(kind=Leak.MULTIPLY, factor=beta),
            alpha=Decay(kind=Leak.MULTIPLY, factor=alpha) if current_based else None,
            recurrent=recurrent,
            rule=rule,
        )
        torch.testing.assert_close(found, expected)
        if spiking:
            assert 0.05 < found.mean() < 0.9
        weights = torch.randn_like(found)
        one, other = (
            torch.autograd.grad((result * weights).sum(), leaves, allow_unused=True) for result in (found, expected)
        )
        used = 0
        for leaf, a, b in zip(leaves, one, other, strict=True):
            a, b = (torch.zeros_like(leaf) if x is None else x for x in (a, b))
            torch.testing.assert_close(a, b)
            used += bool(b.any())
        assert used >= 3


def test_the_type_holds_the_integers():
    assert exact_type((1 << 24) - 1) == torch.float32
    assert exact_type(1 << 24) == torch.float64
    with pytest.raises(ValueError, match=r"^sums of integers must stay below 2\*\*53, not reach 9007199254740992$"):
        exact_type(1 << 53)
