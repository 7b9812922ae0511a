"""From measured numbers to the integers that encoders take, and back.

::

    level = round((clip(x, low, high) - low) * 2**bits / (high - low)) + origin

Halves are rounded to the even level. The two constants are computed once in double precision, and the rest is one
subtraction, one product and one rounding per value, each of them exact to the last bit on any machine with IEEE 754
arithmetic: the same numbers give the same levels everywhere.
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
    """The range of the numbers of each channel, and the integers that it becomes.

    Parameters
    ----------
    low, high
        The range: one entry for all channels, or one per channel. What is outside is clipped.
    bits
        ``low`` to ``high`` becomes ``2**bits`` steps; 1 to 23.
    origin
        The level of ``low``: 0, or ``-2**(bits - 1)`` where the middle of the range is to be 0.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    bits: int
    origin: int = 0

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            object.__setattr__(self, name, _bounds(f"scale_{name}", getattr(self, name)))
        if len(self.low) != len(self.high):
            raise ValueError(f"scale_high must have {len(self.low)} entries as scale_low, not {len(self.high)}")
        object.__setattr__(self, "bits", integer("scale_bits", self.bits, 1, 23))
        object.__setattr__(self, "origin", integer("scale_origin", self.origin, -(1 << 23), 1 << 23))
        for low, high in zip(self.low, self.high, strict=True):
            if not low < high or not isfinite((1 << self.bits) / (high - low)) or not isfinite(high - low):
                raise ValueError(f"scale_high must be above scale_low, {low!r}, not {high!r}")

    @classmethod
    def fit(cls, values: ArrayLike, *, bits: int, signed: bool = False, shared: bool = False) -> Scale:
        """The range of ``values`` ``(..., channels)``, per channel or, if ``shared``, over all channels.

        If ``signed``, the range is symmetric and 0 becomes level 0.
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
        """The levels of ``values`` ``(..., channels)``. NaN and infinities are refused."""
        array = numbers(what, values)
        low, high = self._limits(array.shape[-1])
        clipped = np.clip(array.astype(np.float64), low, high)
        clipped -= low
        clipped *= (1 << self.bits) / (high - low)
        return np.rint(clipped, out=clipped).astype(np.int32) + np.int32(self.origin)

    def restore(self, levels: ArrayLike) -> NDArray[np.float64]:
        """The numbers in the middle of what becomes ``levels`` ``(..., channels)``."""
        array: NDArray[Any] = numbers("levels", levels)
        low, high = self._limits(array.shape[-1])
        return low + (array - np.float64(self.origin)) * ((high - low) / (1 << self.bits))
