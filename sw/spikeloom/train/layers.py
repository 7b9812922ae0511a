"""Layers for PyTorch whose forward pass is the integer model, bit for bit: weights, leaks, thresholds, saturation.

A layer holds its parameters as floats, in units of the membrane, and computes with the integers that they round to
(`Quantisation`). Gradients pass the rounding straight through. The scale is a power of two per layer, chosen as the
quantiser does (`spikeloom.compiler.quantise`), with the least squared error of the weights, in the first pass. Weights
that grow or shrink need another one from time to time (`Layer.rescale`), except those of 1 and 2 bits, because a change
of scale doubles or halves every weight.

Sums are exact. A product of matrices of floating numbers gives integers exactly, in any order of its additions, as
long as no partial sum exceeds what the type holds: single precision up to 2**24, double precision up to 2**53. The
layer takes the first type that suffices for its widths and number of inputs, whatever the weights.

With ``quantisation`` None, a layer computes the same recurrence in floats, for training before quantisation.
"""

# PyTorch is installed only where networks are trained.
# pyright: reportMissingImports=false

from __future__ import annotations

import math
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikeloom.compiler.quantise import Quantisation, leak_of
from spikeloom.sim.core.neuron import Leak, NeuronParameters, Reset, signed_range
from spikeloom.sim.lib.words import weight_range
from spikeloom.sim.network.projection import Convolution
from spikeloom.train.fire import Decay, Rule, exact_type, fire
from spikeloom.train.integers import LayerIntegers
from spikeloom.train.neurons import LEARNED, Neurons

__all__ = ["Convolutional", "Dense", "Layer"]

_CANDIDATES = 3
"""Scales that are compared, from the finest without clipping on; each clips more weights than the one before."""

_WIDEST_HELD = 2
"""Widest weights, in bits, whose scale stays that of the first pass, and which are kept in its range instead."""

_LEAST_ALPHA = 2.0**-8
"""Smallest trained decay factor of a current: at 0 the neurons would have no current."""


class _Integers(torch.autograd.Function):
    """Integers in place of real numbers; backward the derivative ``scale``, as if nothing had been rounded.

    The usual sum of the real number and the detached difference would itself be rounded, and not be an integer.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, integers: Tensor, scale: float) -> Tensor:
        ctx.scale, ctx.kind = scale, values.dtype
        return integers

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.to(ctx.kind) * ctx.scale, None, None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Forms:
    """Tensors that a forward pass computes with, all of one type and in units of ``2**-exponent``."""

    exponent: int
    weight: Tensor
    recurrent: Tensor | None
    threshold: Tensor
    bias: Tensor
    reset_value: Tensor
    beta: Decay
    alpha: Decay | None


class Layer(torch.nn.Module):
    """Neurons with their incoming weights: the base class of `Dense` and `Convolutional`.

    Parameters
    ----------
    name
        Name of the population.
    weight
        The initial weights, in units of the membrane per full-scale input.
    shape
        Extents of the neurons.
    neurons
        Their rule and initial parameters.
    recurrent
        Whether every spike reaches all neurons of the layer in the next step; these weights start at 0.
    input_bits
        Input values of ``2**input_bits`` are full scale, which the weights refer to; 0 for spikes.
    slope
        Steepness of the surrogate derivative of a spike (`spikeloom.train.fire`).
    """

    def __init__(
        self,
        name: str,
        weight: Tensor,
        shape: tuple[int, ...],
        neurons: Neurons,
        *,
        recurrent: bool = False,
        input_bits: int = 0,
        slope: float = 3.0,
    ) -> None:
        super().__init__()
        self.name = name
        self.shape = shape
        self.neurons = neurons
        self.input_bits = input_bits
        self.slope = slope
        self.quantisation: Quantisation | None = None
        self.greatest_value = 1
        """Largest magnitude of an input value."""
        self.weight = torch.nn.Parameter(weight)
        self.recurrent = torch.nn.Parameter(torch.zeros(self.size, self.size)) if recurrent else None
        for parameter in LEARNED:
            value = getattr(neurons, parameter)
            if value is None:
                continue
            values = torch.full((self.size,), float(value))
            if parameter in neurons.learned:
                setattr(self, parameter, torch.nn.Parameter(values))
            else:
                self.register_buffer(parameter, values)
        self._decays: dict[tuple[str, torch.dtype], Decay] = {}
        self.register_buffer("held_exponent", torch.zeros((), dtype=torch.int64))
        self.register_buffer("holds", torch.zeros((), dtype=torch.bool))

    @property
    def size(self) -> int:
        """Number of neurons."""
        return prod(self.shape)

    @property
    def geometry(self) -> Convolution | None:
        """The convolution, or None for a matrix."""
        return None

    def product(self, spikes: Tensor, weight: Tensor) -> Tensor:
        """Return the sums ``(B, n)`` of the weights for ``spikes`` ``(B, n_in)``."""
        raise NotImplementedError

    def quantise(self, quantisation: Quantisation | None, greatest_value: int = 1) -> None:
        """Compute from now on with the integers of ``quantisation``, or in floats for None.

        ``greatest_value`` is the largest magnitude of an input value.
        """
        self.quantisation = quantisation
        self.greatest_value = greatest_value
        self.holds.fill_(False)
        self._decays.clear()

    def rescale(self) -> None:
        """Choose the scale anew, for weights of more than 2 bits: call it after each epoch, and before an export."""
        if self.quantisation is not None and self.quantisation.weight_width > _WIDEST_HELD:
            self.holds.fill_(False)

    def forward(self, spikes: Tensor) -> Tensor:
        """Return the spikes ``(T, B, n)``, or membranes of neurons that never spike, for ``spikes`` ``(T, B, n_in)``.

        They are in integers, or in floats without a quantisation.
        """
        return self.run(spikes)[1]

    def run(self, spikes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums of the weights ``(T, B, n)``, in units of the membrane, and what `forward` returns.

        ``spikes`` are ``(T, B, n_in)``. The sums do not include recurrent connections. Raises ``ValueError`` for
        another shape.
        """
        if spikes.dim() != 3:
            raise ValueError(f"spikes must have shape (T, B, n), not {tuple(spikes.shape)}")
        forms, neurons, quantisation = self._forms(), self.neurons, self.quantisation
        # An input that was expanded along the time is the same in every step, and so are its sums.
        constant = len(spikes) > 1 and spikes.stride(0) == 0
        given = spikes[:1] if constant else spikes
        sums = self.product(given.flatten(0, 1).to(forms.weight.dtype), forms.weight)
        sums = sums.unflatten(0, given.shape[:2]).expand(len(spikes), -1, -1)
        rule = Rule(
            unit=2.0**forms.exponent * neurons.threshold,
            v_width=None if quantisation is None else quantisation.v_width,
            beta_fraction=0 if quantisation is None else quantisation.beta_fraction,
            rounding=Quantisation().rounding if quantisation is None else quantisation.rounding,
            compare=neurons.compare,
            reset=neurons.reset,
            reset_delay=neurons.reset_delay,
            refractory=neurons.refractory,
            spiking=neurons.spiking,
            slope=self.slope,
        )
        fired = fire(
            sums,
            threshold=forms.threshold,
            bias=forms.bias,
            reset_value=forms.reset_value,
            beta=forms.beta,
            alpha=forms.alpha,
            recurrent=forms.recurrent,
            rule=rule,
        )
        return sums * 2.0**-forms.exponent, fired

    @torch.no_grad()
    def constrain(self) -> None:
        """Move parameters back into what the integers can represent: call it after each update."""
        for name, least in (("beta", 0.0), ("alpha", _LEAST_ALPHA)):
            if name in self.neurons.learned:
                getattr(self, name).clamp_(least, 1.0)
        quantisation = self.quantisation
        if quantisation is None or quantisation.weight_width > _WIDEST_HELD or not self.holds:
            return
        # A weight more than half a step outside the range would take long to return.
        step = 2.0 ** (self.input_bits - int(self.held_exponent))
        low, high = weight_range(quantisation.weight_width)
        beyond = 0.0 if quantisation.weight_width == 1 else 0.5
        for weight in (self.weight, self.recurrent):
            if weight is not None:
                weight.clamp_((low - beyond) * step, (high + beyond) * step)

    @torch.no_grad()
    def integers(self) -> LayerIntegers:
        """Return the integers of the present parameters. Raises ``ValueError`` without a quantisation."""
        quantisation = self.quantisation
        if quantisation is None:
            raise ValueError(f"layer {self.name} must have a quantisation, not None")
        forms, neurons = self._forms(), self.neurons

        def fixed(decay: Decay | None) -> NDArray[np.int64]:
            if decay is None:
                return np.zeros(self.size, np.int64)
            factor = _array(decay.factor)
            if decay.kind is Leak.SHIFT:
                return np.rint(-np.log2(1.0 - factor)).astype(np.int64)
            return _integers(np.ldexp(factor, quantisation.beta_fraction))

        parameters = NeuronParameters(
            size=self.size,
            v_width=quantisation.v_width,
            threshold=_integers(_array(forms.threshold)) if neurons.spiking else 0,
            bias=_integers(_array(forms.bias)),
            leak=forms.beta.kind,
            leak_factor=fixed(forms.beta),
            beta_fraction=quantisation.beta_fraction,
            rounding=quantisation.rounding,
            compare=neurons.compare,
            reset=neurons.reset,
            reset_value=_integers(_array(forms.reset_value)),
            reset_delay=neurons.reset_delay,
            refractory=neurons.refractory,
            spiking=neurons.spiking,
            current_leak=None if forms.alpha is None else forms.alpha.kind,
            current_leak_factor=fixed(forms.alpha),
            value_width=quantisation.value_width,
        )
        return LayerIntegers(
            name=self.name,
            exponent=forms.exponent,
            weight=_integers(_array(forms.weight)),
            convolution=self.geometry,
            recurrent=None if forms.recurrent is None else _integers(_array(forms.recurrent)),
            parameters=parameters,
        )

    def _forms(self) -> _Forms:
        neurons, options = self.neurons, self.quantisation
        threshold, bias, beta, alpha = (getattr(self, name, None) for name in LEARNED)
        assert threshold is not None
        assert bias is not None
        assert beta is not None
        reset_value = torch.full_like(threshold, neurons.reset_value if neurons.reset is Reset.VALUE else 0.0)
        if options is None:
            decays = [None if x is None else Decay(kind=Leak.MULTIPLY, factor=x) for x in (beta, alpha)]
            assert decays[0] is not None
            return _Forms(
                exponent=0,
                weight=self.weight * 2.0**-self.input_bits,
                recurrent=self.recurrent,
                threshold=threshold,
                bias=bias,
                reset_value=reset_value,
                beta=decays[0],
                alpha=decays[1],
            )
        if not self.holds:
            chosen = self._exponent(options, [threshold] if neurons.spiking else [], [bias, reset_value])
            self.held_exponent.fill_(chosen)
            self.holds.fill_(True)
        exponent = int(self.held_exponent)
        low, high = weight_range(options.weight_width)
        # One bit of headroom above the constants, as the quantiser keeps it.
        _, most = signed_range(options.v_width - 1)
        fan_in = self.weight[0].numel() + (0 if self.recurrent is None else self.size)
        kind = exact_type(fan_in * max(-low, high) * self.greatest_value + 3 * signed_range(options.v_width)[1] + 3)
        if kind is torch.float32 and torch.get_float32_matmul_precision() != "highest":
            raise RuntimeError(
                "torch.get_float32_matmul_precision() must be 'highest', because shorter products round integers, "
                f"not {torch.get_float32_matmul_precision()!r}"
            )

        def weights(values: Tensor, scale: float) -> Tensor:
            detached = values.detach() * scale
            if options.weight_width == 1:
                integers = torch.where(detached < 0, -1.0, 1.0)
            else:
                integers = detached.round().clamp_(low, high)
            return _Integers.apply(values, integers.to(kind), scale)

        def constants(values: Tensor, least: int) -> Tensor:
            integers = (values.detach().double() * 2.0**exponent).round().clamp_(least, most)
            return _Integers.apply(values, integers.to(kind), 2.0**exponent)

        return _Forms(
            exponent=exponent,
            weight=weights(self.weight, 2.0 ** (exponent - self.input_bits)),
            recurrent=None if self.recurrent is None else weights(self.recurrent, 2.0**exponent),
            threshold=constants(threshold, 1),
            bias=constants(bias, -most),
            reset_value=constants(reset_value, -most),
            beta=self._decay("beta", options, kind),
            alpha=None if alpha is None else self._decay("alpha", options, kind),
        )

    def _decay(self, name: str, options: Quantisation, kind: torch.dtype) -> Decay:
        """Return the decay ``name`` in fixed point, kept if it is not trained."""
        key = name, kind
        if name in self.neurons.learned or key not in self._decays:
            self._decays[key] = _fixed(getattr(self, name), options, kind, membrane=name == "beta")
        return self._decays[key]

    @torch.no_grad()
    def _exponent(self, options: Quantisation, thresholds: list[Tensor], others: list[Tensor]) -> int:
        """Return the exponent of the scale that suits the present weights."""
        weights = [self.weight.flatten() * 2.0**-self.input_bits]
        if self.recurrent is not None:
            weights.append(self.recurrent.flatten())
        together = torch.cat(weights)
        largest = float(together.abs().max())
        constant = max(float(values.abs().max()) for values in [*thresholds, *others])
        _, most = signed_range(options.v_width - 1)
        room = math.floor(math.log2(most / constant)) if constant else 1 << 12
        low, high = weight_range(options.weight_width)
        if largest == 0.0:
            # As the quantiser does for populations without input: the thresholds decide.
            return min(room, math.floor(math.log2(high / constant)) if constant else 0)
        finest = math.floor(math.log2(high / largest))
        least, best = math.inf, min(finest, room)
        for exponent in range(finest, min(finest + _CANDIDATES, room + 1)):
            scaled = together * 2.0**exponent
            one_bit = options.weight_width == 1
            kept = torch.where(scaled < 0, -1.0, 1.0) if one_bit else scaled.round().clamp_(low, high)
            error = float((kept - scaled).square_().sum()) * 4.0**-exponent
            if error < least:
                least, best = error, exponent
        return best


class Dense(Layer):
    """Layer in which every input reaches every neuron.

    Parameters
    ----------
    name, neurons, recurrent, input_bits, slope
        As in `Layer`.
    inputs, outputs
        Number of inputs and neurons.
    activity
        Share of the inputs that spike in a sample. The initial weights are drawn from a normal distribution whose width
        brings neurons near their threshold.
    """

    def __init__(
        self,
        name: str,
        inputs: int,
        outputs: int,
        neurons: Neurons,
        *,
        recurrent: bool = False,
        input_bits: int = 0,
        activity: float = 0.15,
        slope: float = 3.0,
    ) -> None:
        weight = neurons.threshold * torch.randn(outputs, inputs) / math.sqrt(activity * inputs)
        super().__init__(name, weight, (outputs,), neurons, recurrent=recurrent, input_bits=input_bits, slope=slope)

    def product(self, spikes: Tensor, weight: Tensor) -> Tensor:
        return spikes @ weight.T


class Convolutional(Layer):
    """Layer of a convolution over ``(channels, height, width)``.

    Parameters
    ----------
    name, neurons, input_bits, activity, slope
        As in `Dense`.
    geometry
        The convolution; neurons have its ``output_shape``.
    """

    def __init__(
        self,
        name: str,
        geometry: Convolution,
        neurons: Neurons,
        *,
        input_bits: int = 0,
        activity: float = 0.2,
        slope: float = 3.0,
    ) -> None:
        shape = geometry.weight_shape
        weight = neurons.threshold * torch.randn(*shape) / math.sqrt(activity * prod(shape[1:]))
        super().__init__(name, weight, geometry.output_shape, neurons, input_bits=input_bits, slope=slope)
        self._geometry = geometry

    @property
    def geometry(self) -> Convolution:
        """The convolution."""
        return self._geometry

    def product(self, spikes: Tensor, weight: Tensor) -> Tensor:
        # Windows and a matrix product, because the convolutions of some libraries transform the numbers and round.
        g = self._geometry
        windows = torch.nn.functional.unfold(
            spikes.unflatten(1, g.input_shape), g.kernel, dilation=g.dilation, padding=g.padding, stride=g.stride
        )
        windows = windows.unflatten(1, (g.groups, -1))
        sums = weight.reshape(g.groups, g.output_channels // g.groups, -1) @ windows
        return sums.flatten(1)


def _fixed(values: Tensor, options: Quantisation, kind: torch.dtype, *, membrane: bool) -> Decay:
    """Return a decay in fixed point, as the quantiser chooses it."""
    real = _array(values)
    leak, fixed = leak_of(real, options, membrane=membrane)
    if leak is Leak.MULTIPLY:
        # The quantiser sees what is stored: a product by exactly 1 - 2**-k is a shift, and by 1 nothing.
        real = np.ldexp(fixed.astype(np.float64), -options.beta_fraction)
        leak, fixed = leak_of(real, options, membrane=membrane)
    if leak is Leak.SHIFT:
        real = 1.0 - np.ldexp(1.0, -fixed)
    if membrane and not real.any():
        leak = Leak.CLEAR
    return Decay(kind=leak, factor=_Integers.apply(values, torch.as_tensor(real).to(kind), 1.0))


def _array(values: Tensor) -> NDArray[np.float64]:
    return values.detach().double().cpu().numpy()


def _integers(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return values.astype(np.int64)
