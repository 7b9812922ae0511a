"""Checks of parameters and values, shared by all encoders. Each error message is one sentence."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.lib.files import shown

__all__ = ["Threshold", "integer", "numbers", "one_of", "per_channel", "thresholds"]

MOST_CHANNELS = 1 << 16  # limit of lists in settings, which may come from untrusted files

Threshold = int | tuple[int, ...]
"""One integer for all channels, or one per channel."""


def integer(name: str, value: object, low: int, high: int) -> int:
    """Return ``value`` as an ``int``. Raises ``ValueError`` unless it is an integer from ``low`` to ``high``."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} must be an integer from {low} to {high}, not {shown(value)}")
    return int(value)


def one_of(name: str, value: object, options: Collection[str]) -> str:
    """Return ``value``. Raises ``ValueError`` unless it is one of ``options``."""
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} must be one of {', '.join(options)}, not {shown(value)}")
    return value


def thresholds(name: str, value: object, low: int, high: int) -> Threshold:
    """Return ``value`` as an ``int``, or as a tuple with one per channel.

    Raises ``ValueError`` unless each is an integer from ``low`` to ``high``.
    """
    if isinstance(value, list | tuple | np.ndarray):
        if not 0 < len(value) <= MOST_CHANNELS:
            raise ValueError(f"{name} must have 1 to {MOST_CHANNELS} entries, not {len(value)}")
        return tuple(integer(name, each, low, high) for each in value)
    return integer(name, value, low, high)


def per_channel(name: str, value: Threshold, channels: int) -> NDArray[np.int64]:
    """Return ``value`` as an array ``(channels,)``. Raises ``ValueError`` if it has another number of entries."""
    if isinstance(value, tuple) and len(value) != channels:
        raise ValueError(f"{name} must be one integer or one per channel, {channels}, not {len(value)}")
    return np.broadcast_to(np.asarray(value, np.int64), channels)


def numbers(what: str, values: Any) -> NDArray[Any]:
    """Return ``values`` as an array of the same shape.

    Raises ``TypeError`` unless they are numbers, and ``ValueError`` unless they are finite.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{what} must be numbers, not {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{what} must be finite, not {array[~np.isfinite(array)][0]}")
    return array
