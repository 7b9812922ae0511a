"""snnTorch frontend: convert a module to a float `Network`, without NIR in between.

A NIR file loses the behaviour of snnTorch's neurons after a spike; the module has it. One step of ``snntorch.Leaky``
is::

    r = (v > threshold)                                           of the step before
    reset_delay=True    subtract: v = beta v + I - r threshold    zero: v = beta v (1 - r) + I
    reset_delay=False   v = beta v + I; s = (v > threshold); then v = v - s threshold, or v = 0

``RLeaky`` receives its own spikes of the previous step as part of ``I``; ``Synaptic`` and ``RSynaptic`` add a synaptic
current, ``i = alpha i + I``, which takes the place of ``I``. With a delayed reset to zero these three behave
differently: the membrane is 0 in the step after a spike, whatever the input, which equals a reset plus one refractory
step. An ``RSynaptic`` resets in the step after a spike even with ``reset_delay=False``, because snnTorch 1.0.0 discards
the immediate reset.

`spikeloom.model.network` supports all of these steps. Neither torch nor snnTorch is imported: modules are recognised by
their class names, tensors by their ``detach``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.frontends.affine import Path, geometry_of
from spikeloom.frontends.constants import with_constants
from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.shapes import flattened
from spikeloom.frontends.tensors import as_array
from spikeloom.model.network import Connection, Network
from spikeloom.model.population import INPUT, Population
from spikeloom.sim.core.neuron import Compare, Reset

__all__ = ["from_snntorch"]

FloatArray = NDArray[np.float64]

_SUPPORTED = "Sequential, Linear, Conv2d, AvgPool2d, Flatten, Dropout, Identity, Leaky, RLeaky, Synaptic and RSynaptic"
_NEURONS = ("Leaky", "RLeaky", "Synaptic", "RSynaptic")


def from_snntorch(
    module: Any, input_shape: int | tuple[int, ...], *, name: str = "network", time_step_s: float = 1e-3
) -> Network:
    """Convert a ``torch.nn.Sequential`` of Linear, Conv2d, AvgPool2d, Flatten and snnTorch neurons.

    Parameters
    ----------
    module
        Trained module with neurons ``Leaky``, ``RLeaky``, ``Synaptic`` and ``RSynaptic``; dropout layers are ignored,
        as in evaluation.
    input_shape
        Shape of one sample for one step, without time and batch.
    name, time_step_s
        Name of the network and duration of a step; no arithmetic depends on either.

    Raises `LoadError` with one sentence for a module or an option that is not supported.
    """
    shape = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
    if not shape or any(not isinstance(extent, int) or extent < 1 for extent in shape):
        raise LoadError(f"input_shape must be one or more positive integers, not {input_shape!r}")
    builder = _Builder(shape=shape)
    for path, layer in _layers(module, ""):
        builder.add(path, layer)
    if not builder.populations or builder.pending:
        last = builder.pending or "the module"
        raise LoadError(f"{last} leads to the output without a neuron; end the module with a neuron such as Leaky")
    try:
        populations, connections, notes = with_constants(builder.populations, builder.connections, builder.constants)
        return Network(
            name=name,
            input_shape=shape,
            populations=populations,
            connections=connections,
            output=populations[-1].name,
            time_step_s=time_step_s,
            notes=(*builder.notes, *notes),
        )
    except ValueError as error:
        raise LoadError(str(error)) from error


def _kind(module: Any) -> str:
    return type(module).__name__


def _layers(module: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the modules that are not containers, in order, each with its path in the tree such as ``2`` or
    ``body.0``."""
    if _kind(module) != "Sequential":
        yield path or "0", module
        return
    for key, child in module.named_children():
        yield from _layers(child, f"{path}.{key}" if path else str(key))


def _array(where: str, value: Any) -> FloatArray:
    array = np.asarray(as_array(value))
    if array.dtype.kind not in "fiub":
        raise LoadError(f"{where} must be numbers, not {array.dtype}")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise LoadError(f"{where} must be finite, not {array[~np.isfinite(array)].flat[0]}")
    return array


def _linear(where: str, module: Any) -> tuple[FloatArray, FloatArray]:
    weight = _array(f"weight of {where}", module.weight)
    if module.bias is None:
        return weight, np.zeros(weight.shape[0])
    return weight, _array(f"bias of {where}", module.bias)


@dataclass(kw_only=True)
class _Builder:
    """Network under construction: the ``way`` of the spikes and the ``bias`` since the last population, or the
    input."""

    shape: tuple[int, ...]
    source: str = INPUT
    way: Path = field(default_factory=Path)
    bias: FloatArray | None = None
    pending: str = ""
    populations: list[Population] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    constants: dict[str, FloatArray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, path: str, module: Any) -> None:
        kind = _kind(module)
        where = f"module {path!r}"
        if kind in _NEURONS:
            self._neurons(path, where, module, kind)
        elif kind == "Linear":
            self._matrix(where, module)
        elif kind in ("Conv2d", "AvgPool2d"):
            self._window(where, module, kind)
        elif kind == "Flatten":
            start, end = module.start_dim, module.end_dim
            if start == 0:
                raise LoadError(f"{where} must flatten from dimension 1, not 0, which is the batch")
            without_batch = (dimension - 1 if dimension > 0 else dimension for dimension in (start, end))
            self.shape = flattened(where, self.shape, *without_batch)
        elif kind not in ("Dropout", "Identity"):
            raise LoadError(f"{where} is a {kind}, which is not supported; supported are {_SUPPORTED}")

    def _matrix(self, where: str, module: Any) -> None:
        weight, bias = _linear(where, module)
        if self.shape != (weight.shape[1],):
            raise LoadError(f"{where} must get values of shape {(weight.shape[1],)}, not {self.shape}")
        self.bias = bias if self.bias is None else weight @ self.bias + bias
        self.way = self.way.through_matrix(where, weight)
        self.shape = (weight.shape[0],)
        self.pending = where

    def _window(self, where: str, module: Any, kind: str) -> None:
        """Add a convolution or an average over windows."""
        if len(self.shape) != 3:
            raise LoadError(f"{where} must get values of shape (channels, height, width), not {self.shape}")
        shape = (self.shape[0], self.shape[1], self.shape[2])
        options = {"stride": module.stride, "padding": module.padding}
        if kind == "Conv2d":
            weight, own = _linear(where, module)
            if module.padding_mode != "zeros":
                raise LoadError(f"padding_mode of {where} must be 'zeros', not {module.padding_mode!r}")
            if weight.shape[1] * module.groups != shape[0]:
                raise LoadError(
                    f"{where} must get values of {weight.shape[1] * module.groups} channels, not {shape[0]}"
                )
            options |= {"dilation": module.dilation, "groups": module.groups}
            geometry = geometry_of(where, shape, outputs=len(weight), kernel=weight.shape[2:], **options)
            self.way = self.way.through_convolution(where, geometry, weight)
        else:
            for option, only in (("ceil_mode", False), ("count_include_pad", True), ("divisor_override", None)):
                if getattr(module, option, only) != only:
                    raise LoadError(f"{option} of {where} must be {only}, not {getattr(module, option)!r}")
            geometry = geometry_of(
                where, shape, outputs=shape[0], kernel=module.kernel_size, groups=shape[0], **options
            )
            weight, own = np.full(geometry.weight_shape, 1.0 / prod(geometry.kernel)), np.zeros(shape[0])
            self.way = self.way.through_pooling(where, geometry, 1.0 / prod(geometry.kernel))
        before = np.zeros(prod(shape)) if self.bias is None else self.bias
        self.bias = (geometry.sum(weight, before[None]).reshape(len(own), -1) + own[:, None]).reshape(-1)
        self.shape = geometry.output_shape
        self.pending = where

    def _neurons(self, path: str, where: str, module: Any, kind: str) -> None:
        for option in ("inhibition", "state_quant"):
            if getattr(module, option, False):
                raise LoadError(f"{where} is a {kind} with {option}, which is not supported")
        if np.any(_array(f"graded_spikes_factor of {where}", getattr(module, "graded_spikes_factor", 1.0)) != 1.0):
            raise LoadError(f"graded_spikes_factor of {where} must be 1, because spikes are events without a value")
        size = prod(self.shape)
        beta = self._per_neuron(where, "beta", module.beta)
        alpha = self._per_neuron(where, "alpha", module.alpha) if kind in ("Synaptic", "RSynaptic") else None
        for name, factor in (("alpha", alpha), ("beta", beta)):
            if factor is not None and (factor.min() < 0.0 or factor.max() > 1.0):
                self.notes.append(f"{path}: {name} is clamped to 0 .. 1, as snnTorch does in every step")
        alpha = None if alpha is None else np.clip(alpha, 0.0, 1.0)
        try:
            reset = {"subtract": Reset.SUBTRACT, "zero": Reset.ZERO, "none": Reset.NONE}[module.reset_mechanism]
        except KeyError:
            raise LoadError(
                f"reset_mechanism of {where} must be 'subtract', 'zero' or 'none', not {module.reset_mechanism!r}"
            ) from None
        delay = int(bool(getattr(module, "reset_delay", True)))
        if kind == "RSynaptic" and not delay and reset is not Reset.NONE:
            delay = 1
            self.notes.append(f"{path}: resets in the step after a spike, as snnTorch does despite reset_delay=False")
        threshold = self._per_neuron(where, "threshold", module.threshold)
        held = int(reset is Reset.ZERO and delay == 1 and kind != "Leaky")
        if held and threshold.min() < 0.0:
            raise LoadError(
                f"threshold of {where}, a {kind} that resets to zero with a delay, must be at least 0, not "
                f"{threshold.min()}"
            )
        bias = np.zeros(size) if self.bias is None else self.bias
        if kind in ("RLeaky", "RSynaptic"):
            recurrent, more = self._recurrent(where, module, size)
            self.connections.append(Connection(source=path, target=path, weight=recurrent, delay=1))
            bias = bias + more
        onto = self.way.projection(where, self.shape, np.ones(size))
        self.connections.append(
            Connection(
                source=self.source,
                target=path,
                weight=onto.weight,
                convolution=onto.convolution,
                pooling=onto.pooling,
            )
        )
        try:
            population = Population(
                name=path,
                shape=self.shape,
                beta=np.clip(beta, 0.0, 1.0),
                threshold=threshold,
                bias=bias if alpha is None else np.zeros(size),
                alpha=alpha,
                refractory=held,
                compare=Compare.GREATER,
                reset=reset,
                reset_delay=delay,
                second_threshold=reset is Reset.SUBTRACT and not delay,
            )
        except ValueError as error:
            raise LoadError(str(error)) from error
        self.populations.append(population)
        if alpha is not None:
            self.constants[path] = bias
        self.source, self.way, self.bias, self.pending = path, Path(), None, ""

    def _per_neuron(self, where: str, name: str, value: Any) -> FloatArray:
        array = _array(f"{name} of {where}", value)
        size = prod(self.shape)
        if array.size == size:
            return array.reshape(size)
        try:  # one per channel, as (channels, 1, 1), which torch broadcasts too
            return np.broadcast_to(array.reshape(()) if array.size == 1 else array, self.shape).reshape(size)
        except ValueError:
            raise LoadError(f"{name} of {where} must have 1 or {size} values, not {array.size}") from None

    def _recurrent(self, where: str, module: Any, size: int) -> tuple[FloatArray, FloatArray]:
        """Return weights ``(n, n)`` and bias of the recurrent connection; the bias is added in every step."""
        inner = module.recurrent
        if not module.all_to_all:
            return np.diag(self._per_neuron(where, "V", inner.V)), np.zeros(size)
        if _kind(inner) != "Linear":
            raise LoadError(f"{where} has a {_kind(inner)} for its recurrent connection, which is not supported")
        weight, bias = _linear(f"the recurrent connection of {where}", inner)
        if weight.shape != (size, size):
            raise LoadError(f"the recurrent connection of {where} must have shape {(size, size)}, not {weight.shape}")
        return weight, bias
