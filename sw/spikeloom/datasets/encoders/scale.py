"""Conversion of measured numbers to the integers that encoders take, and back.

::

    level = round((clip(x, low, high) - low) * 2**bits / (high - low)) + origin

Halves are rounded to the even level. The same numbers give the same levels on every machine with IEEE 754 arithmetic:
the factor is computed once in double precision, and each value then takes one subtraction, one multiplication and one
rounding, whose results IEEE 754 defines to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.datasets.encoders.checks import MOST_CHANNELS, integer, numbers

__all__ = ["Scale"]


def _bounds(name: str, value: object) -> tuple[float, ...]:
    entries = value if isinstance(value, list | tuple | np.ndarray) else (value,)
    if not 0 < len(entries) <= MOST_CHANNELS:
        raise ValueError(f"{name} must have 1 to {MOST_CHANNELS} entries, not {len(entries)}")
    numbers = []
    for each in entries:
        if not isinstance(each, int | float | np.integer | np.floating) or isinstance(each, bool) or not isfinite(each):
            raise ValueError(f"{name} must be finite numbers, not {each!r}")
        numbers.append(float(each))
    return tuple(numbers)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Range of the numbers of each channel, and the integer levels that it is mapped to.

    Parameters
    ----------
    low, high
        Range: one entry for all channels, or one per channel. Numbers outside it are clipped.
    bits
        The range is divided into ``2**bits`` equal intervals; 1 to 23.
    origin
        Level of ``low``: 0, or ``-2**(bits - 1)`` to make the middle of the range 0.

    Raises
    ------
    ValueError
        A bound is not finite, a range is empty, the numbers of entries differ, or an integer is out of range.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    bits: int
    origin: int = 0

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            object.__setattr__(self, name, _bounds(f"scale_{name}", getattr(self, name)))
        if len(self.low) != len(self.high):
            raise ValueError(
                f"scale_high must have as many entries as scale_low, {len(self.low)}, not {len(self.high)}"
            )
        object.__setattr__(self, "bits", integer("scale_bits", self.bits, 1, 23))
        object.__setattr__(self, "origin", integer("scale_origin", self.origin, -(1 << 23), 1 << 23))
        for low, high in zip(self.low, self.high, strict=True):
            # Two finite bounds may still be so far apart, or so close, that the range or the factor is infinite.
            if not low < high or not isfinite((1 << self.bits) / (high - low)) or not isfinite(high - low):
                raise ValueError(f"scale_high must be above scale_low, {low!r}, not {high!r}")

    @classmethod
    def fit(cls, values: ArrayLike, *, bits: int, signed: bool = False, shared: bool = False) -> Scale:
        """Return the scale of ``values`` ``(..., channels)``, per channel or, if ``shared``, over all channels.

        If ``signed``, the range is symmetric and 0 becomes level 0. Raises ``TypeError`` or ``ValueError`` unless the
        values are finite numbers of this shape that vary.
        """
        array = numbers("values", values)
        if array.ndim < 2 or 0 in array.shape:
            raise ValueError(f"values must have shape (..., channels) and not be empty, not {array.shape}")
        integer("scale_bits", bits, 1, 23)
        table = array.reshape(-1, 1 if shared else array.shape[-1]).astype(np.float64)
        low, high = table.min(axis=0), table.max(axis=0)
        for channel in np.flatnonzero(low == high):
            where = "values" if shared else f"values of channel {channel}"
            raise ValueError(f"{where} must vary to be scaled, not be {low[channel]:g} throughout")
        if signed:
            high = np.maximum(-low, high)
            low = -high
        return cls(
            low=tuple(low.tolist()), high=tuple(high.tolist()), bits=bits, origin=-(1 << (bits - 1)) if signed else 0
        )

    def _limits(self, channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if len(self.low) not in (1, channels):
            raise ValueError(f"scale must be of one channel or of {channels}, not of {len(self.low)}")
        return np.asarray(self.low), np.asarray(self.high)

    def levels(self, values: ArrayLike, what: str = "values") -> NDArray[np.int32]:
        """Return the levels of ``values`` ``(..., channels)``, called ``what`` in errors.

        Raises ``TypeError`` or ``ValueError`` if they are not finite numbers with the channels of the scale.
        """
        array = numbers(what, values)
        low, high = self._limits(array.shape[-1])
        clipped = np.clip(array.astype(np.float64), low, high)
        clipped -= low  # in place: a series may have many millions of values
        clipped *= (1 << self.bits) / (high - low)
        return np.rint(clipped, out=clipped).astype(np.int32) + np.int32(self.origin)

    def restore(self, levels: ArrayLike) -> NDArray[np.float64]:
        """Return, for ``levels`` ``(..., channels)``, the middle of the numbers that are mapped to each."""
        array: NDArray[Any] = numbers("levels", levels)
        low, high = self._limits(array.shape[-1])
        return low + (array - np.float64(self.origin)) * ((high - low) / (1 << self.bits))
