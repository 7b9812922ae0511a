"""Flows of spikes through the layers of a torch module: from neurons and input lines, by affine maps, to a value.

A `Flow` stands for the tensor between two layers. It knows which spikes of which step reach it by which paths, and the
bias that they collect. `through` gives the flow behind a layer. Neither torch nor snnTorch is imported: modules are
recognised by their class names, tensors by their ``detach``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.frontends.affine import Path, geometry_of
from spikeloom.frontends.compose import merged
from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.shapes import flattened
from spikeloom.frontends.tensors import as_array
from spikeloom.sim.network.projection import Convolution

__all__ = ["LAYERS", "MAX_POOLINGS", "Flow", "Key", "array_of", "pooling_window", "through"]

FloatArray = NDArray[np.float64]

Key = tuple[str, int | None]
"""Source of spikes and the step in which they were fired; None for an input that is the same in every step."""

MAX_POOLINGS = ("MaxPool1d", "MaxPool2d")

_IGNORED = ("Dropout", "Dropout1d", "Dropout2d", "AlphaDropout", "Identity")  # without effect in evaluation


def array_of(where: str, value: Any) -> FloatArray:
    """Return a tensor or number, called ``where`` in messages, as floats. Raises `LoadError` unless they are finite."""
    array = np.asarray(as_array(value))
    if array.dtype.kind not in "fiub":
        raise LoadError(f"{where} must be numbers, not {array.dtype}")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise LoadError(f"{where} must be finite, not {array[~np.isfinite(array)].flat[0]}")
    return array


@dataclass(frozen=True, kw_only=True, eq=False)
class Flow:
    """Values of ``shape``, without a batch: the sum of the ``paths`` of spikes, and a ``bias`` ``(n,)``.

    ``layer`` is the last layer that it went through, for messages.
    """

    shape: tuple[int, ...]
    paths: Mapping[Key, tuple[Path, ...]]
    bias: FloatArray
    layer: str = ""

    @classmethod
    def of_spikes(cls, source: Key, shape: tuple[int, ...]) -> Flow:
        """Return the spikes of a source as they are."""
        return cls(shape=shape, paths={source: (Path(),)}, bias=np.zeros(prod(shape)))

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def is_spikes(self) -> bool:
        """Whether the values are the unmodified spikes of one source."""
        several = [path for paths in self.paths.values() for path in paths]
        return len(several) == 1 and several[0].is_identity and not self.bias.any()

    def mapped(self, where: str, shape: tuple[int, ...], step: Callable[[Path], Path], bias: FloatArray) -> Flow:
        """Return the flow whose paths have gone through ``step``, with ``bias`` of ``shape``."""
        paths = {key: merged(tuple(map(step, several)), prod(shape)) for key, several in self.paths.items()}
        return Flow(shape=shape, paths=paths, bias=bias.reshape(-1), layer=where)

    def plus(self, other: Flow) -> Flow:
        """Return the sum of two flows. Raises `LoadError` if their shapes differ."""
        if self.shape != other.shape:
            raise LoadError(f"values that are added must have the same shape, not {self.shape} and {other.shape}")
        paths = dict(self.paths)
        for key, several in other.paths.items():
            paths[key] = merged((*paths.get(key, ()), *several), self.size)
        bias, layer = self.bias + other.bias, other.layer or self.layer
        return Flow(shape=self.shape, paths=paths, bias=bias, layer=layer)

    def scaled(self, where: str, factors: FloatArray, shift: FloatArray | float = 0.0) -> Flow:
        """Return the values times ``factors`` ``(n,)``, plus ``shift``."""
        return self.mapped(
            where,
            self.shape,
            lambda path: path.through_scale(where, factors, self.shape),
            self.bias * factors + shift,
        )

    def reshaped(self, shape: tuple[int, ...]) -> Flow:
        """Return the same values in another ``shape`` of the same size."""
        return replace(self, shape=shape)


def through(where: str, kind: str, module: Any, flow: Flow) -> Flow:
    """Return ``flow`` behind a layer of `LAYERS`. Raises `LoadError` if the result is not one matrix or convolution per
    source, or if the layer has an option that is not supported."""
    return LAYERS[kind](where, module, flow)


def _same(where: str, module: Any, flow: Flow) -> Flow:
    return flow


def _linear(where: str, module: Any, flow: Flow) -> Flow:
    weight, bias = _weight_and_bias(where, module)
    if flow.shape != (weight.shape[1],):
        raise LoadError(f"{where} must get values of shape {(weight.shape[1],)}, not {flow.shape}")
    return flow.mapped(
        where, (len(weight),), lambda path: path.through_matrix(where, weight), weight @ flow.bias + bias
    )


def _flatten(where: str, module: Any, flow: Flow) -> Flow:
    start, end = module.start_dim, module.end_dim
    if start == 0:
        raise LoadError(f"{where} must flatten from dimension 1, not 0, which is the batch")
    without_batch = (dimension - 1 if dimension > 0 else dimension for dimension in (start, end))
    return flow.reshaped(flattened(where, flow.shape, *without_batch))


def _weight_and_bias(where: str, module: Any) -> tuple[FloatArray, FloatArray]:
    weight = array_of(f"weight of {where}", module.weight)
    if module.bias is None:
        return weight, np.zeros(weight.shape[0])
    return weight, array_of(f"bias of {where}", module.bias)


def _image(where: str, flow: Flow, one_dimensional: bool) -> tuple[int, int, int]:
    """Return the shape of a flow as (channels, height, width), with a height of 1 in one dimension."""
    if len(flow.shape) != (2 if one_dimensional else 3):
        expected = "(channels, length)" if one_dimensional else "(channels, height, width)"
        raise LoadError(f"{where} must get values of shape {expected}, not {flow.shape}")
    if one_dimensional:
        return flow.shape[0], 1, flow.shape[1]
    return flow.shape[0], flow.shape[1], flow.shape[2]


def _pair(value: Any, one_dimensional: bool, across: int) -> Any:
    """Return a number, or one per dimension, as (vertical, horizontal); ``across`` is vertical in one dimension."""
    if not one_dimensional or isinstance(value, str):
        return value
    return (across, *np.ravel(value)[-1:].tolist())


def _convolution(where: str, module: Any, flow: Flow, *, one_dimensional: bool = False) -> Flow:
    shape = _image(where, flow, one_dimensional)
    weight, bias = _weight_and_bias(where, module)
    if one_dimensional:
        weight = weight[:, :, None, :]
    if module.padding_mode != "zeros":
        raise LoadError(f"padding_mode of {where} must be 'zeros', not {module.padding_mode!r}")
    if weight.shape[1] * module.groups != shape[0]:
        raise LoadError(f"{where} must get values of {weight.shape[1] * module.groups:,} channels, not {shape[0]:,}")
    geometry = geometry_of(
        where,
        shape,
        outputs=len(weight),
        kernel=weight.shape[2:],
        stride=_pair(module.stride, one_dimensional, 1),
        padding=_pair(module.padding, one_dimensional, 0),
        dilation=_pair(module.dilation, one_dimensional, 1),
        groups=module.groups,
    )
    return flow.mapped(
        where,
        _output_shape(geometry, one_dimensional),
        lambda path: path.through_convolution(where, geometry, weight),
        geometry.sum(weight, flow.bias[None]).reshape(len(weight), -1) + bias[:, None],
    )


def _output_shape(geometry: Convolution, one_dimensional: bool) -> tuple[int, ...]:
    channels, height, width = geometry.output_shape
    return (channels, width) if one_dimensional else (channels, height, width)


def pooling_window(
    where: str, module: Any, shape: tuple[int, ...], only: tuple[tuple[str, Any], ...]
) -> tuple[Convolution, tuple[int, ...]]:
    """Return the geometry of a pooling in one or two dimensions, one group per channel, and its output shape.

    ``only`` names options of the layer and the only value that each may have. Raises `LoadError` for other values.
    """
    if len(shape) not in (2, 3):
        raise LoadError(
            f"{where} must get values of shape (channels, length) or (channels, height, width), not {shape}"
        )
    one_dimensional = len(shape) == 2
    for option, value in only:
        if np.any(getattr(module, option, value) != value):
            raise LoadError(f"{option} of {where} must be {value}, not {getattr(module, option)!r}")
    image = (shape[0], 1, shape[1]) if one_dimensional else (shape[0], shape[1], shape[2])
    geometry = geometry_of(
        where,
        image,
        outputs=shape[0],
        kernel=_pair(module.kernel_size, one_dimensional, 1),
        stride=_pair(module.stride, one_dimensional, 1),
        padding=_pair(module.padding, one_dimensional, 0),
        groups=shape[0],
    )
    return geometry, _output_shape(geometry, one_dimensional)


def _average(where: str, module: Any, flow: Flow, *, one_dimensional: bool = False) -> Flow:
    _image(where, flow, one_dimensional)
    only = (("ceil_mode", False), ("count_include_pad", True), ("divisor_override", None))
    geometry, shape = pooling_window(where, module, flow.shape, only)
    factor = 1.0 / prod(geometry.kernel)
    return flow.mapped(
        where,
        shape,
        lambda path: path.through_pooling(where, geometry, factor),
        geometry.sum(np.full(geometry.weight_shape, factor), flow.bias[None]),
    )


def _normalised(where: str, module: Any, flow: Flow) -> Flow:
    """Fold a BatchNorm in evaluation: a factor and a shift for each channel."""
    if getattr(module, "running_mean", None) is None:
        raise LoadError(f"{where} must have running statistics (track_running_stats) to be folded, but has none")
    mean, variance = (array_of(f"{key} of {where}", getattr(module, key)) for key in ("running_mean", "running_var"))
    if flow.shape[0] != len(mean):
        raise LoadError(f"{where} must get values of {len(mean):,} channels, not {flow.shape[0]:,}")
    factor, shift = 1.0 / np.sqrt(variance + float(module.eps)), np.zeros(len(mean))
    if module.weight is not None:
        factor = factor * array_of(f"weight of {where}", module.weight)
    if module.bias is not None:
        shift = array_of(f"bias of {where}", module.bias)
    each = flow.size // len(mean)
    return flow.scaled(where, np.repeat(factor, each), np.repeat(shift - mean * factor, each))


LAYERS: Mapping[str, Callable[[str, Any, Flow], Flow]] = {
    "Linear": _linear,
    "Conv1d": lambda where, module, flow: _convolution(where, module, flow, one_dimensional=True),
    "Conv2d": _convolution,
    "AvgPool1d": lambda where, module, flow: _average(where, module, flow, one_dimensional=True),
    "AvgPool2d": _average,
    "BatchNorm1d": _normalised,
    "BatchNorm2d": _normalised,
    "Flatten": _flatten,
    **dict.fromkeys(_IGNORED, _same),
}
"""Layers between neurons by class name, each with the function that takes its name in messages, itself and a flow."""
