"""Linear maps of spikes between two populations, stored as a matrix or as the kernel of a convolution.

With the values ``s`` of a source (0 or 1, or the integers of graded spikes) and the weights ``w``, the input of a
target neuron in one step is, for a matrix::

    I[j] = sum_i w[j, i] s[i]

and for a convolution of ``(channels, height, width)``, as in `torch.nn.Conv2d` (a cross-correlation; positions outside
the input count as 0), with stride ``S``, padding ``P``, dilation ``D`` and the input channels of ``o``'s group::

    I[o, Y, X] = sum_{c, ky, kx} w[o, c, ky, kx] s[c, Y S - P + ky D, X S - P + kx D]

Either may be preceded by a sum over non-overlapping windows. Neurons are numbered in C order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.sim.network.sparse import Matrix, SparseMatrix, numbers_of

__all__ = ["Convolution", "Pooling", "Projection", "Taps"]

# Up to these magnitudes, single and double precision hold every integer.
_EXACT_SINGLE = 1 << 24
_EXACT_DOUBLE = 1 << 53
# Bound of the position of a slice in either direction, far beyond any input of a core.
_FARTHEST = 1 << 14
_CHUNK = 1 << 21
"""Maximum number of values of an unrolled convolution input in memory at a time."""

_READ, _GATHER, _CALL = 10, 20, 300_000
"""Time to read a weight from memory, to copy a weight and read it, and to call NumPy three times, in units of one
multiplication and addition in a large matrix product (single precision, one processor core)."""

Taps = list[list[tuple[int, int]]]
"""For each input position along an axis, its pairs (kernel position, output position)."""


def _integers(name: str, values: Any, count: int, low: int) -> tuple[int, ...]:
    array = np.asarray(values)
    if array.shape != (count,) or array.dtype.kind not in "iu" or array.min() < low:
        raise ValueError(f"{name} must be {count} integers of at least {low}, not {values!r}")
    return tuple(int(value) for value in array)


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """Sums over non-overlapping windows ``(height, width)`` of an input ``(channels, height, width)``.

    Rows and columns of incomplete windows are ignored, as in torch.
    """

    input_shape: tuple[int, int, int]
    window: tuple[int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_shape", _integers("input_shape of a pooling", self.input_shape, 3, 1))
        object.__setattr__(self, "window", _integers("window of a pooling", self.window, 2, 1))
        if min(self.output_shape) < 1:
            raise ValueError(
                f"window of a pooling must be at most {self.input_shape[1:]}, the extent of its input, not "
                f"{self.window}"
            )

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """``(channels, height, width)`` of the sums."""
        channels, height, width = self.input_shape
        return channels, height // self.window[0], width // self.window[1]

    def sum(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sums ``(B, n_out)`` of ``values`` ``(B, n_in)``; booleans become integers."""
        channels, height, width = self.output_shape
        image = values.reshape(-1, *self.input_shape)
        # Drops the rows and columns of incomplete windows.
        image = image[:, :, : height * self.window[0], : width * self.window[1]]
        windows = image.reshape(-1, channels, height, self.window[0], width, self.window[1])
        return windows.sum(axis=(3, 5)).reshape(len(values), -1)


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """The geometry of a convolution, in pairs (vertical, horizontal), with weights of ``weight_shape``.

    ``extent`` is the number of outputs in each direction; None derives it from the padded input. With ``extent``,
    ``padding`` only determines the position of the first output and may be negative, so that a slice of a convolution's
    outputs is itself a convolution.
    """

    input_shape: tuple[int, int, int]
    output_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    extent: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        checks = [("input_shape", 3, 1), ("kernel", 2, 1), ("stride", 2, 1), ("dilation", 2, 1)]
        if self.extent is None:
            # Only a slice (`extent`) may begin inside the input; a padding of a whole convolution is never negative.
            checks.append(("padding", 2, 0))
        else:
            checks += [("padding", 2, -_FARTHEST), ("extent", 2, 1)]
        for name, count, low in checks:
            value = _integers(f"{name} of a convolution", getattr(self, name), count, low)
            object.__setattr__(self, name, value)
        for name in ("output_channels", "groups"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} of a convolution must be a positive integer, not {value!r}")
        channels = self.input_shape[0]
        # A group connects equal shares of the input and output channels.
        if channels % self.groups or self.output_channels % self.groups:
            raise ValueError(
                f"groups of a convolution must be a divisor of its {channels} input and {self.output_channels} output "
                f"channels, not {self.groups}"
            )
        if min(self.output_shape) < 1:
            raise ValueError(
                f"kernel of a convolution must fit the padded input {self.input_shape}, not {self.kernel} with "
                f"dilation {self.dilation}"
            )

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """``(output channels, input channels of a group, kernel height, kernel width)``."""
        return self.output_channels, self.input_shape[0] // self.groups, *self.kernel

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """``(channels, height, width)`` of the output."""
        if self.extent is not None:
            return self.output_channels, *self.extent
        height, width = (
            (self.input_shape[1 + axis] + 2 * self.padding[axis] - self.dilation[axis] * (self.kernel[axis] - 1) - 1)
            // self.stride[axis]
            + 1
            for axis in range(2)
        )
        return self.output_channels, height, width

    def taps(self, axis: int) -> Taps:
        """The taps of each position along the axis (0 vertical, 1 horizontal), in the order of the kernel."""
        outputs, stride = self.output_shape[1 + axis], self.stride[axis]
        result: Taps = []
        for position in range(self.input_shape[1 + axis]):
            found = []
            for k in range(self.kernel[axis]):
                # Solved for the output: position = output * stride - padding + k * dilation, if it divides.
                output, rest = divmod(position + self.padding[axis] - k * self.dilation[axis], stride)
                if rest == 0 and 0 <= output < outputs:
                    found.append((k, output))
            result.append(found)
        return result

    def _seen(self, image: NDArray[Any]) -> NDArray[Any]:
        """Pad or crop ``image`` ``(B, channels, height, width)`` to the positions used by the outputs."""
        for axis in range(2):
            size, outputs = self.input_shape[1 + axis], self.output_shape[1 + axis]
            # First and one past the last position that any output sees; both may lie outside of the input.
            low = -self.padding[axis]
            high = low + (outputs - 1) * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis] + 1
            outside = [(0, 0)] * 4
            outside[2 + axis] = max(0, min(-low, high - low)), max(0, min(high - size, high - low))
            within = slice(min(max(low, 0), size), max(min(high, size), 0))
            image = np.pad(image[:, :, within] if axis == 0 else image[:, :, :, within], outside)
        return image

    def sum(self, weight: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
        """Sums ``(B, n_out)`` of ``values`` ``(B, n_in)``, in the type of ``weight``, which has `weight_shape`."""
        outputs, inputs, *_ = self.weight_shape
        _, height, width = self.output_shape
        # Each group is a matrix product of its own over unrolled windows.
        per_group = outputs // self.groups
        matrices = weight.reshape(self.groups, per_group, -1)
        result = np.empty((len(values), self.groups, per_group, height, width), weight.dtype)
        unrolled = self.input_shape[0] * prod(self.kernel) * height * width
        # In chunks, because the unrolled windows take the memory of the input, times the number of kernel weights.
        chunk = max(1, _CHUNK // unrolled)
        for first in range(0, len(values), chunk):
            image = self._seen(values[first : first + chunk].reshape(-1, *self.input_shape).astype(weight.dtype))
            extent = tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))
            windows = np.lib.stride_tricks.sliding_window_view(image, extent, axis=(2, 3))
            # A view: strides and dilations select positions without a copy.
            windows = windows[
                :, :, :: self.stride[0], :: self.stride[1], :: self.dilation[0], :: self.dilation[1]
            ]  # (b, c, Y, X, ky, kx)
            for group, matrix in enumerate(matrices):
                part = windows[:, group * inputs : (group + 1) * inputs].transpose(0, 1, 4, 5, 2, 3)
                sums = matrix @ part.reshape(len(image), -1, height * width)
                result[first : first + chunk, group] = sums.reshape(-1, per_group, height, width)
        return result.reshape(len(values), -1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Projection:
    """Weights from the neurons of a source to those of a target.

    Parameters
    ----------
    weight
        ``(n_target, n_source)``, or ``convolution.weight_shape``. Integers or floats. A matrix can be sparse.
    convolution
        The geometry of a convolution; None for a matrix.
    pooling
        Optional sums over windows ahead of the weights; a matrix then has one column per window.
    """

    weight: Matrix
    convolution: Convolution | None = None
    pooling: Pooling | None = None

    @property
    def kernel(self) -> NDArray[Any]:
        """The weights as an array; not for a sparse matrix."""
        assert not isinstance(self.weight, SparseMatrix)
        return self.weight

    @property
    def synapses(self) -> int:
        """Number of weights. A kernel is counted once; a sparse matrix has nonzero weights only."""
        return numbers_of(self.weight).size

    def check_shape(self, where: str) -> None:
        """Raise ``ValueError`` unless weights, convolution and pooling fit each other; ``where`` begins the message."""
        expected: tuple[int, ...]
        if self.convolution is not None:
            expected = self.convolution.weight_shape
            if self.pooling is not None and self.pooling.output_shape != self.convolution.input_shape:
                raise ValueError(
                    f"input_shape of {where} must be {self.pooling.output_shape}, the output of its pooling, not "
                    f"{self.convolution.input_shape}"
                )
        elif self.weight.ndim != 2:
            raise ValueError(f"weight of {where} must have two dimensions, not {self.weight.ndim}")
        else:
            columns = self.weight.shape[1] if self.pooling is None else prod(self.pooling.output_shape)
            expected = (self.weight.shape[0], columns)
        if self.weight.shape != expected:
            raise ValueError(f"weight of {where} must have shape {expected}, not {self.weight.shape}")

    @property
    def source_size(self) -> int:
        """Number of source neurons."""
        if self.pooling is not None:
            return prod(self.pooling.input_shape)
        return self.weight.shape[1] if self.convolution is None else prod(self.convolution.input_shape)

    @property
    def target_size(self) -> int:
        """Number of target neurons."""
        return self.weight.shape[0] if self.convolution is None else prod(self.convolution.output_shape)

    @property
    def source_shape(self) -> tuple[int, int, int] | None:
        """``(channels, height, width)`` of the source, where the map depends on it."""
        if self.pooling is not None:
            return self.pooling.input_shape
        return None if self.convolution is None else self.convolution.input_shape

    def sum(self, values: ArrayLike) -> NDArray[Any]:
        """The exact sums ``(..., n_target)`` for ``values`` ``(..., n_source)``, integers if the weights are."""
        array = np.asarray(values)
        sums = self.exact_sums(array.reshape(-1, array.shape[-1]))
        # The fast types hold integers; callers get them as such.
        if self.weight.dtype.kind == "i":
            sums = sums.astype(np.int64, copy=False)
        return sums.reshape(*array.shape[:-1], self.target_size)

    def exact_sums(self, values: NDArray[Any]) -> NDArray[Any]:
        """The sums ``(B, n_target)`` for ``values`` ``(B, n_source)``.

        With integer weights they are integers, in the fastest type that holds every partial sum exactly; this can be a
        floating-point type.
        """
        if self.pooling is not None:
            values = self.pooling.sum(values)
        if isinstance(self.weight, SparseMatrix):
            return self.weight.apply(values)
        if self.weight.dtype.kind != "i":
            weight = self.weight.astype(np.float64, copy=False)
            if self.convolution is not None:
                return self.convolution.sum(weight, values)
            return values.astype(np.float64) @ weight.T
        greatest = 1 if values.dtype.kind == "b" else int(np.abs(values).max(initial=0))
        # No partial sum exceeds this, in whatever order the products are added.
        bound = self._reach * greatest
        kind: Any = np.float32 if bound < _EXACT_SINGLE else np.float64 if bound < _EXACT_DOUBLE else np.int64
        # No integer is invalid, but OpenBLAS was seen to set this flag, probably by unused numbers in its buffers.
        with np.errstate(invalid="ignore"):
            if self.convolution is not None:
                return self.convolution.sum(self._factors(kind), values)
            return _product(values, self._factors(kind))

    @cached_property
    def _reach(self) -> int:
        """Largest sum of the magnitudes of a target's weights."""
        weight = self.kernel
        return int(np.abs(weight).sum(axis=tuple(range(1, weight.ndim))).max(initial=0))

    @cached_property
    def _converted(self) -> dict[Any, NDArray[Any]]:
        return {}

    def _factors(self, kind: Any) -> NDArray[Any]:
        """The integer weights as ``kind``, those of a matrix transposed to ``(n_source, n_target)``. They are cached,
        because the conversion takes longer than the sums of a few samples."""
        if kind not in self._converted:
            weight = self.kernel if self.convolution is not None else self.kernel.T
            self._converted[kind] = np.ascontiguousarray(weight.astype(kind))
        return self._converted[kind]

    def bounds(self, least: int = 0, greatest: int = 1) -> tuple[NDArray[Any], NDArray[Any]]:
        """Smallest and largest sum ``(n_target,)`` of a step.

        Each source sends at most one value from ``least`` to ``greatest``, or nothing.
        """
        # 0 is always possible, since a source need not fire.
        low, high = min(least, 0), max(greatest, 0)
        positive, negative = (self._sum_of_all(part) for part in (_positive, _negative))
        # A negative weight turns the largest value into the smallest product.
        return positive * low + negative * high, positive * high + negative * low

    def _sum_of_all(self, part: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
        """Sums ``(n_target,)`` of ``part`` of each weight, with a spike of every source."""
        weight = self.weight.map(part) if isinstance(self.weight, SparseMatrix) else part(self.weight)
        # The same map with other weights, so that pooling and padding are taken into account once, in `sum`.
        of_part = Projection(weight=weight, convolution=self.convolution, pooling=self.pooling)
        return of_part.sum(np.ones((1, self.source_size), np.int64))[0]

    @cached_property
    def fan_out(self) -> NDArray[np.int64]:
        """Number of weights that a spike of each source neuron adds, ``(n_source,)``. Zeros in an array are counted."""
        if isinstance(self.weight, SparseMatrix):
            counts = self.weight.column_counts()
            if self.pooling is not None:
                counts = counts.reshape(self.pooling.output_shape)
        elif self.convolution is None:
            shape = (self.weight.shape[1],) if self.pooling is None else self.pooling.output_shape
            counts = np.full(shape, self.weight.shape[0], np.int64)
        else:
            # The taps of the two axes are independent, so their numbers multiply.
            rows, columns = (np.array([len(taps) for taps in self.convolution.taps(axis)]) for axis in range(2))
            per_group = self.convolution.output_channels // self.convolution.groups
            counts = np.broadcast_to(rows[:, None] * columns * per_group, self.convolution.input_shape)
        if self.pooling is not None:
            # Every input of a window has the fan-out of the window; those outside of all windows have none.
            spread = np.zeros(self.pooling.input_shape, np.int64)
            high, wide = self.pooling.window
            inside = counts.repeat(high, axis=1).repeat(wide, axis=2)
            spread[:, : inside.shape[1], : inside.shape[2]] = inside
            counts = spread
        return counts.reshape(-1)

    def as_dense(self) -> NDArray[Any]:
        """The same map as one matrix ``(n_target, n_source)``."""
        # The images of the unit vectors are the columns.
        return self.sum(np.eye(self.source_size, dtype=np.int64)).T


def _positive(weight: NDArray[Any]) -> NDArray[Any]:
    return np.maximum(weight, 0)


def _negative(weight: NDArray[Any]) -> NDArray[Any]:
    return np.minimum(weight, 0)


def _product(values: NDArray[Any], factors: NDArray[Any]) -> NDArray[Any]:
    """``values`` ``(B, n_source)`` times ``factors`` ``(n_source, n_target)``, without the sources that are all 0.

    All methods give the same sums, because every partial sum is exact. The one with the shortest estimated time is
    chosen.
    """
    rows, sources = values.shape
    targets = factors.shape[1]
    # Estimated times of the three methods: all sources, one row at a time with its events, and only sources that fire
    # at all.
    everything = sources * targets * (rows + _READ)
    if np.count_nonzero(values) * targets * _GATHER + rows * _CALL < everything:
        result = np.empty((rows, targets), factors.dtype)
        for row, target in zip(values, result, strict=True):
            events = np.flatnonzero(row)
            np.dot(row[events].astype(factors.dtype), factors[events], out=target)
        return result
    active = np.flatnonzero(values.any(axis=0))
    if len(active) * targets * (rows + _GATHER) < everything:
        values, factors = values[:, active], factors[active]
    return values.astype(factors.dtype) @ factors
