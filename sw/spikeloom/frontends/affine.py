"""Exact composition of the linear operations between two neurons (matrices, convolutions, pooling) to one projection.

Pooling is linear and needs no neurons. Sums over windows that do not overlap are kept in front of the next operation;
the factor of an average is folded into the weights that follow. Pooling after a convolution gives a convolution with a
larger kernel and stride; pooling in front of a neuron is a convolution of ones, with one group per channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.frontends.errors import LoadError
from spikeloom.sim.lib.files import shown
from spikeloom.sim.network.projection import Convolution, Pooling, Projection
from spikeloom.sim.network.sparse import Matrix, SparseMatrix

__all__ = ["Path", "geometry_of", "times", "total_of"]

FloatArray = NDArray[np.float64]

_LARGEST_IDENTITY = 1 << 10
_LARGEST_PRODUCT = 1 << 24


def _pair(name: str, value: Any) -> tuple[int, int]:
    """Return (vertical, horizontal); a single number stands for both."""
    array = np.asarray(value)
    flat = array.reshape(-1)
    # Infinity equals its own rounded value, so a bound is needed as well.
    whole = array.dtype.kind in "fiu" and flat.size in (1, 2) and np.all((np.rint(flat) == flat) & (np.abs(flat) < 1e9))
    if not whole:
        raise LoadError(f"{name} must be one or two integers, not {shown(array.tolist())}")
    return int(flat[0]), int(flat[-1])


def geometry_of(
    where: str,
    shape: tuple[int, int, int],
    *,
    outputs: int,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any = 1,
    groups: int = 1,
) -> Convolution:
    """Return the geometry of a convolution or pooling of values ``(channels, height, width)``, as given by a node.

    ``padding`` may also be one of torch's keywords. Raises `LoadError` if the parameters are inconsistent.
    """
    kernel, stride, dilation = (
        _pair(f"{key} of {where}", value)
        for key, value in (("kernel", kernel), ("stride", stride), ("dilation", dilation))
    )
    if isinstance(padding, str):
        whole = tuple(d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
        if padding == "valid":
            whole = (0, 0)
        elif padding != "same" or stride != (1, 1) or whole[0] % 2 or whole[1] % 2:
            raise LoadError(
                f"padding of {where} must be integers, 'valid', or 'same' with stride 1 and odd kernels, not "
                f"{padding!r}"
            )
        padding = [extent // 2 for extent in whole]
    try:
        return Convolution(
            input_shape=shape,
            output_channels=outputs,
            kernel=kernel,
            stride=stride,
            padding=_pair(f"padding of {where}", padding),
            dilation=dilation,
            groups=groups,
        )
    except ValueError as error:
        raise LoadError(str(error) if isinstance(error, LoadError) else f"{where}: {error}") from error


def times(matrix: Matrix, values: FloatArray) -> FloatArray:
    """Return the sums ``(n_out,)`` for ``values`` ``(n_in,)``."""
    return matrix.apply(values[None])[0] if isinstance(matrix, SparseMatrix) else matrix @ values


def total_of(matrices: Sequence[Matrix | None], size: int) -> Matrix:
    """Return the sum of the matrices; None stands for the identity on ``size`` values."""
    total, *others = [_identity(size) if matrix is None else matrix for matrix in matrices]
    for other in others:
        if isinstance(total, SparseMatrix) and isinstance(other, SparseMatrix):
            total = total.plus(other)
        else:
            total = _as_array(total) + _as_array(other)
    return total


def _identity(size: int) -> Matrix:
    return SparseMatrix.identity(size) if size > _LARGEST_IDENTITY else np.eye(size)


def _multiplied(matrix: Matrix, factor: float) -> Matrix:
    return matrix.map(lambda values: values * factor) if isinstance(matrix, SparseMatrix) else matrix * factor


def _scaled(matrix: Matrix, factors: FloatArray) -> Matrix:
    """Return ``matrix`` with each row multiplied by one of the ``factors`` ``(n_out,)``."""
    return matrix.scaled(factors) if isinstance(matrix, SparseMatrix) else matrix * factors[:, None]


def _as_array(matrix: Matrix) -> FloatArray:
    return matrix.dense() if isinstance(matrix, SparseMatrix) else matrix


def _product(where: str, second: Matrix, first: Matrix) -> Matrix:
    """Return ``second @ first``. A sparse factor stands for an array that may be too large to allocate."""
    thin = isinstance(first, SparseMatrix) or isinstance(second, SparseMatrix)
    if thin and max(prod(first.shape), prod(second.shape), second.shape[0] * first.shape[1]) > _LARGEST_PRODUCT:
        raise LoadError(
            f"{where} follows a matrix without a neuron between them, which for sparse matrices is supported up to "
            f"{_LARGEST_PRODUCT:,} weights; multiply them before the export"
        )
    return _as_array(second) @ _as_array(first)


@dataclass(frozen=True, kw_only=True, eq=False)
class Path:
    """Path of spikes so far. Without ``weight``, spikes pass unchanged, or pooled if there is a ``pooling``.

    ``scale`` is the factor of an average or a Scale that has yet to be folded into the following weights. Each method
    raises `LoadError` if the result is neither a matrix nor a convolution; ``where`` names the next node in messages.
    """

    weight: Matrix | None = None
    convolution: Convolution | None = None
    pooling: Pooling | None = None
    scale: float = 1.0

    @property
    def is_identity(self) -> bool:
        """Whether spikes pass unchanged."""
        return self.weight is None and self.pooling is None and self.scale == 1.0

    @property
    def is_matrix(self) -> bool:
        """Whether the path is a plain matrix, with nothing in front of it."""
        return self.weight is not None and self.convolution is None and self.pooling is None

    def through_matrix(self, where: str, matrix: Matrix) -> Path:
        """Return the path followed by ``matrix`` ``(n_out, n_in)``."""
        if self.convolution is not None:
            raise LoadError(f"{where} follows a convolution without a neuron between them, which is not supported")
        weight = _multiplied(matrix, self.scale) if self.weight is None else _product(where, matrix, self.weight)
        return replace(self, weight=weight, scale=1.0)

    def through_convolution(self, where: str, convolution: Convolution, weight: FloatArray) -> Path:
        """Return the path followed by a convolution with ``weight`` ``convolution.weight_shape``."""
        if self.weight is not None:
            before = "a convolution or an overlapping pooling" if self.convolution is not None else "a matrix"
            raise LoadError(f"{where} follows {before} without a neuron between them, which is not supported")
        return replace(self, weight=weight * self.scale, convolution=convolution, scale=1.0)

    def through_scale(self, where: str, factors: FloatArray, shape: tuple[int, ...]) -> Path:
        """Return the path followed by a multiplication of its ``shape`` values by ``factors`` ``(n,)``."""
        if np.all(factors == factors[0]):
            if self.weight is None:
                return replace(self, scale=self.scale * float(factors[0]))
            return replace(self, weight=_multiplied(self.weight, float(factors[0])))
        if self.convolution is not None:
            by_channel = factors.reshape(self.convolution.output_channels, -1)
            if np.any(by_channel != by_channel[:, :1]):
                raise LoadError(f"{where} must have the same factor for all values of a channel after a convolution")
            assert isinstance(self.weight, np.ndarray)
            return replace(self, weight=self.weight * by_channel[:, :1, None, None])
        if self.weight is not None:
            return replace(self, weight=_scaled(self.weight, factors))
        if self.pooling is not None:
            raise LoadError(f"{where} must have one factor for all values after a pooling")
        return replace(self, weight=_scaled(_identity(prod(shape)), factors * self.scale), scale=1.0)

    def through_pooling(self, where: str, window: Convolution, scale: float) -> Path:
        """Return the path followed by pooling with geometry ``window``, one group per channel; ``scale`` is 1 for a
        sum."""
        if self.convolution is not None:
            return self._stretched(where, window, scale)
        if self.weight is not None:
            raise LoadError(f"{where} follows a matrix without a neuron between them, which is not supported")
        if window.kernel == window.stride and window.padding == (0, 0):
            before = self.pooling or Pooling(input_shape=window.input_shape, window=(1, 1))
            together = (before.window[0] * window.kernel[0], before.window[1] * window.kernel[1])
            return replace(self, pooling=replace(before, window=together), scale=self.scale * scale)
        return self.through_convolution(where, window, np.full(window.weight_shape, scale))

    def _stretched(self, where: str, window: Convolution, scale: float) -> Path:
        """Return a convolution followed by sums of its outputs: each output in a window adds a shifted copy of the
        kernel."""
        convolution, kernel = self.convolution, self.weight
        assert convolution is not None
        assert isinstance(kernel, np.ndarray)
        if window.padding != (0, 0):
            raise LoadError(f"{where} pools a convolution with padding, which is not supported")
        dilation, before = convolution.dilation, convolution.stride
        high, wide = (
            (convolution.kernel[axis] - 1) * dilation[axis] + (window.kernel[axis] - 1) * before[axis] + 1
            for axis in range(2)
        )
        weight = np.zeros((*kernel.shape[:2], high, wide))
        for y in range(window.kernel[0]):
            for x in range(window.kernel[1]):
                first = y * before[0], x * before[1]
                rows, columns = (
                    slice(first[axis], first[axis] + (convolution.kernel[axis] - 1) * d + 1, d)
                    for axis, d in enumerate(dilation)
                )
                weight[:, :, rows, columns] += kernel * scale
        stride = before[0] * window.stride[0], before[1] * window.stride[1]
        larger = replace(convolution, kernel=(high, wide), stride=stride, dilation=(1, 1))
        return replace(self, weight=weight, convolution=larger)

    def projection(self, where: str, shape: tuple[int, ...], gain: FloatArray) -> Projection:
        """Return the projection to neurons of ``shape``, with each weight multiplied by the ``gain`` ``(n,)`` of its
        neuron."""
        path = self
        if path.pooling is not None and path.weight is None:
            pooling = path.pooling
            channels = pooling.input_shape[0]
            window = Convolution(
                input_shape=pooling.input_shape,
                output_channels=channels,
                kernel=pooling.window,
                stride=pooling.window,
                groups=channels,
            )
            path = Path(weight=np.full(window.weight_shape, path.scale), convolution=window)
        elif path.weight is None and len(shape) == 3:
            alone = Convolution(
                input_shape=(shape[0], shape[1], shape[2]), output_channels=shape[0], kernel=(1, 1), groups=shape[0]
            )
            path = Path(weight=np.full(alone.weight_shape, path.scale), convolution=alone)
        weight = _multiplied(_identity(prod(shape)), path.scale) if path.weight is None else path.weight
        if isinstance(weight, SparseMatrix):
            return Projection(weight=weight.scaled(gain), pooling=path.pooling)
        if path.convolution is None:
            return Projection(weight=_scaled(weight, gain), pooling=path.pooling)
        by_channel = gain.reshape(path.convolution.output_channels, -1)
        if np.any(by_channel != by_channel[:, :1]):
            raise LoadError(
                f"{where} must have the same gain for all neurons of a channel after a convolution; its time "
                "constants or its r differ"
            )
        weight = weight * by_channel[:, :1, None, None]
        return Projection(weight=weight, convolution=path.convolution, pooling=path.pooling)
