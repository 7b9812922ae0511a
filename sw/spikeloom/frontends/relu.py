"""Conversion of ordinary networks (Linear, convolutions, ReLU, pooling, BatchNorm) to integrate-and-fire neurons.

The rate of an integrate-and-fire neuron with reset by subtraction is the ReLU of its input per step, cut off at one
spike per step (Diehl et al., "Fast-classifying, high-accuracy spiking deep networks through weight and threshold
balancing", IJCNN 2015). With the activation ``a`` of a layer and its scale ``s``, a high percentile of ``a`` on
calibration data (Rueckauer et al., "Conversion of continuous-valued deep networks to efficient event-driven networks
for image classification", Frontiers in Neuroscience 11, 2017), the neurons fire at the rate ``a / s``::

    balance "weights"       v = v + sum(w s_in / s spike) + b / s;           spike if v >= 1;      v = v - 1
    balance "thresholds"    v = v + sum(w spike) + b / s_in;                 spike if v >= s/s_in; v = v - s/s_in

Both fire alike; they differ in the numbers that are rounded. The input is constant: every step presents it again, as
integers (`spikeloom.datasets.encoders.direct`). The last layer only accumulates: its membranes, divided by the number
of steps, are the values of the last layer of the original.

A maximum over a window is a tree of ReLUs, because ``max(p, q) = p + relu(q - p)`` and activations are not negative:
exact in the original, and made of integrate-and-fire neurons like the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.datasets.encoders.direct import DirectEncoder
from spikeloom.datasets.encoders.scale import Scale
from spikeloom.frontends.affine import Path
from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.flow import LAYERS, MAX_POOLINGS, Flow, pooling_window
from spikeloom.frontends.snntorch import layers_of
from spikeloom.frontends.trace import POOL, Call, NeuronKind, Trace, kind_of
from spikeloom.model.network import Connection, Network
from spikeloom.model.population import INPUT, Population
from spikeloom.sim.core.neuron import Compare, Reset

__all__ = ["from_torch"]

FloatArray = NDArray[np.float64]

_KINDS: Mapping[str, NeuronKind] = {"ReLU": NeuronKind(states=0, without_time=True)}
_FINAL = ("Softmax", "LogSoftmax")  # at the end, it does not change the answer
_OUTPUT = "output"


def from_torch(
    module: Any,
    input_shape: int | tuple[int, ...],
    calibration: ArrayLike,
    *,
    steps: int = 64,
    input_bits: int = 8,
    percentile: float = 99.9,
    balance: Literal["weights", "thresholds"] = "weights",
    name: str = "network",
    time_step_s: float = 1e-3,
) -> Network:
    """Convert a trained module of Linear, Conv1d, Conv2d, ReLU, average and maximum poolings, BatchNorm and Flatten.

    Parameters
    ----------
    module
        A ``torch.nn.Sequential``, or a module whose ``forward`` is traced; a softmax at the end is left out.
    input_shape
        Shape of one sample, without the batch.
    calibration
        Some hundred typical inputs ``(B, *input_shape)``, as the module takes them: they set the scale of the input
        and of every layer.
    steps
        Steps for which an input is presented; the default of the encoder in the network.
    input_bits
        Bits of the input, 1 to 8; one more for its sign if the calibration data has negative numbers.
    percentile
        Percentile of the activations of a layer that is one spike per step, above 0 to 100: 100 never cuts off and
        is slow where few activations are large.
    balance
        Whether weights or thresholds carry the scales.
    name, time_step_s
        Name of the network and duration of a step; no arithmetic depends on either.

    Raises `LoadError` with one sentence for a module that is not supported, and for calibration data that does not fit.
    """
    shape = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
    if not 0.0 < percentile <= 100.0:
        raise LoadError(f"percentile must be above 0 and at most 100, not {percentile!r}")
    if balance not in ("weights", "thresholds"):
        raise LoadError(f"balance must be 'weights' or 'thresholds', not {balance!r}")
    samples = np.asarray(calibration)
    if samples.shape[1:] != shape or not len(samples) or samples.dtype.kind not in "fiub":
        raise LoadError(
            f"calibration must have numbers of shape (B, {', '.join(map(str, shape))}), not {samples.shape}"
        )
    samples = samples.reshape(len(samples), -1).astype(np.float64)
    most = float(np.abs(samples).max())
    if not np.isfinite(most) or most == 0.0:
        raise LoadError("calibration must be finite and not 0 throughout")
    encoder = _encoder(steps, input_bits, most, negative=bool(samples.min() < 0.0))
    trace = _traced(module, shape)
    builder = _Builder(percentile=percentile, by_thresholds=balance == "thresholds")
    builder.values[INPUT], builder.scales[INPUT] = samples, most / (1 << input_bits)
    for call in trace.calls.values():
        builder.add(call)
    assert trace.end is not None
    builder.end(trace.end)
    try:
        return Network(
            name=name,
            input_shape=shape,
            populations=tuple(builder.populations),
            connections=tuple(builder.connections),
            output=_OUTPUT,
            time_step_s=time_step_s,
            encoder=encoder.settings(),
            input_value_width=encoder.value_width,
        )
    except ValueError as error:
        raise LoadError(str(error)) from error


def _encoder(steps: int, bits: int, most: float, *, negative: bool) -> DirectEncoder:
    try:
        low, origin = (-most, -(1 << bits)) if negative else (0.0, 0)
        scale = Scale(low=(low,), high=(most,), bits=bits + negative, origin=origin)
        return DirectEncoder(steps=steps, bits=bits, scale=scale)
    except (TypeError, ValueError) as error:
        raise LoadError(str(error)) from error


def _traced(module: Any, shape: tuple[int, ...]) -> Trace:
    trace = Trace(input_shape=shape, kinds=_KINDS, ends_linear=True)
    layers = list(layers_of(module))
    if layers and kind_of(layers[-1][1]) in _FINAL:
        del layers[-1]
    chain = all(kind_of(layer) in (*_KINDS, *LAYERS, *MAX_POOLINGS) for _, layer in layers)
    if chain or not hasattr(module, "named_modules"):
        trace.walk(layers)
    else:
        trace.run(module, steps_axis=None)
    return trace


@dataclass(kw_only=True)
class _Builder:
    """Populations and connections under construction, with the activations ``values`` ``(B, n)`` of the calibration
    data and the ``scales``: the activation that is one spike per step, or the input of level 1."""

    percentile: float
    by_thresholds: bool
    values: dict[str, FloatArray] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)
    populations: list[Population] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)

    def add(self, call: Call) -> None:
        """Add the neurons of an activation or of a maximum."""
        if call.name == _OUTPUT or call.name == INPUT:
            raise LoadError(f"{call.where} must have another name, because {call.name!r} is that of the network's own")
        if call.kind == POOL:
            self._maximum(call)
        else:
            self._rectify(call.name, call.where, call.flow)

    def end(self, flow: Flow) -> None:
        """Add the last layer, which only accumulates."""
        gains = {source: self.scales[source] for source, _ in flow.paths}
        self._connect(_OUTPUT, "the output", flow, gains)
        last = Population(
            name=_OUTPUT, shape=flow.shape, beta=np.ones(()), bias=flow.bias, spiking=False, reset=Reset.NONE
        )
        self.populations.append(last)

    def _rectify(self, name: str, where: str, flow: Flow) -> None:
        """Add neurons whose rate is the ReLU of ``flow``."""
        before = self._sum(where, flow)
        values = np.maximum(before, 0.0)
        scale = float(np.percentile(values, self.percentile)) or float(values.max()) or 1.0
        # Weights take the scale of their source and, unless thresholds do, that of their target.
        unit = self.scales[next(iter(flow.paths))[0]] if self.by_thresholds and flow.paths else scale
        gains = {source: self.scales[source] / unit for source, _ in flow.paths}
        self._connect(name, where, flow, gains)
        neurons = Population(
            name=name,
            shape=flow.shape,
            beta=np.ones(()),
            threshold=np.array(scale / unit),
            bias=flow.bias / unit,
            compare=Compare.GREATER_EQUAL,
            reset=Reset.SUBTRACT,
        )
        self.populations.append(neurons)
        self.values[name], self.scales[name] = values, scale

    def _maximum(self, call: Call) -> None:
        """Add a tree of ReLUs for the maximum of each window."""
        (source, _), shape = next(iter(call.flow.paths)), call.flow.shape
        before = next(population for population in self.populations if population.name == source).shape
        window, _ = pooling_window(call.where, call.module, before, ())
        candidates = []
        for y, x in np.ndindex(*window.kernel):
            one = np.zeros(window.weight_shape)
            one[:, :, y, x] = 1.0
            path = Path().through_convolution(call.where, window, one)
            candidates.append(Flow(shape=shape, paths={(source, 0): (path,)}, bias=np.zeros(call.flow.size)))
        number = 0
        while len(candidates) > 1:
            first, second, *rest = candidates
            more = second.plus(first.scaled(call.where, np.full(first.size, -1.0)))
            number += 1
            name = f"{call.name}.{number}"
            self._rectify(name, call.where, more)
            candidates = [*rest, first.plus(Flow.of_spikes((name, 0), shape))]
        self._rectify(call.name, call.where, candidates[0])

    def _sum(self, where: str, flow: Flow) -> FloatArray:
        """Return the values ``(B, n)`` of a flow for the calibration data."""
        total = np.broadcast_to(flow.bias, (len(self.values[INPUT]), flow.size)).copy()
        for (source, _), several in flow.paths.items():
            for path in several:
                total += path.projection(where, flow.shape, np.ones(flow.size)).sum(self.values[source])
        return total

    def _connect(self, name: str, where: str, flow: Flow, gains: Mapping[str, float]) -> None:
        for (source, _), several in flow.paths.items():
            for path in several:
                onto = path.projection(where, flow.shape, np.full(flow.size, gains[source]))
                self.connections.append(
                    Connection(
                        source=source,
                        target=name,
                        weight=onto.weight,
                        convolution=onto.convolution,
                        pooling=onto.pooling,
                    )
                )
