"""Common interface of all encoders: values in, spikes out, and settings that can be stored in a file.

An encoder takes integers, or measured numbers that its own `Scale` converts, and computes in integers only. Axons are
numbered channel by channel: axon ``c * lines + line`` for channel ``c``. Signed codes have two lines per channel, first
*up* (or positive), then *down*.

There are two kinds of codes:

* A **level code** turns each value into ``steps`` time steps, independently of earlier values. An image has one value
  per pixel; each sample of a series takes ``steps`` steps.
* A **signal code** turns each sample of a series into one time step, and depends on earlier samples. It reads an image
  row by row: one step per row, one channel per column.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.datasets.encoders.checks import integer
from spikeloom.datasets.encoders.scale import Scale
from spikeloom.sim.lib.files import shown
from spikeloom.sim.lib.lfsr import Lfsr

__all__ = ["Encoder", "LevelEncoder", "SignalEncoder", "Spikes", "Values", "signed_axons", "signed_counts"]

Values = NDArray[np.int32]
"""Levels ``(T, B, channels)``."""
Spikes = NDArray[Any]
"""Spikes ``(T, B, axons)``: booleans, or integers for graded codes."""

_NESTED: Mapping[str, tuple[type[Any], tuple[str, ...]]] = {
    "lfsr": (Lfsr, ("width", "seed")),
    "scale": (Scale, ("low", "high", "bits", "origin")),
}
"""Fields that are objects: settings hold their attributes as ``field_attribute``, because files hold plain values."""


def signed_axons(signs: NDArray[Any]) -> NDArray[np.bool_]:
    """Return -1, 0 and 1 ``(T, B, channels)`` as spikes ``(T, B, 2 * channels)``: axons up and down per channel."""
    return np.stack([signs > 0, signs < 0], axis=-1).reshape(*signs.shape[:2], -1)


def signed_counts(spikes: NDArray[Any]) -> NDArray[np.int64]:
    """Return -1, 0 and 1 ``(T, B, channels)``: the inverse of `signed_axons`."""
    pairs = spikes.reshape(*spikes.shape[:2], -1, 2).astype(np.int64)
    return pairs[..., 0] - pairs[..., 1]


def _plain(name: str, value: object) -> Any:
    """Return a setting as a plain Python value; HDF5 files hold bytes and NumPy arrays."""
    if isinstance(value, bytes):
        return value.decode("utf8", "replace")
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or array.ndim > 1:
        raise ValueError(f"{name} must be a number, a row of numbers or a text, not {shown(value)}")
    return tuple(array.tolist()) if array.ndim else array.item()


@dataclass(frozen=True, kw_only=True)
class Encoder(ABC):
    """Base class of all encoders, which turn values into spikes.

    Parameters
    ----------
    steps
        Time steps per value.
    bits
        Values range from 0 to ``2**bits``, or from ``-2**bits`` to ``2**bits`` for signed codes.
    scale
        Conversion of measured numbers to values; None if the input is integers already.
    """

    kind: ClassVar[str]
    """Name of the encoder in settings."""
    signed: ClassVar[bool] = False
    """Whether values may be negative."""

    steps: int
    bits: int
    scale: Scale | None = None

    def __post_init__(self) -> None:
        if self.scale is not None and not isinstance(self.scale, Scale):
            raise TypeError(f"scale must be a Scale, not {self.scale!r}")
        if self.scale is not None:
            low, high = self.value_range
            first, last = self.scale.origin, self.scale.origin + (1 << self.scale.bits)
            if first < low or last > high:
                raise ValueError(f"scale must give values from {low} to {high}, not from {first} to {last}")

    @property
    def lines(self) -> int:
        """Axons per channel."""
        return 1

    @property
    def on_chip(self) -> bool:
        """Whether the encoder of the host bridge computes the same spikes; see `spikeloom.host.peripherals`."""
        return False

    @property
    def value_range(self) -> tuple[int, int]:
        """Smallest and largest value."""
        full = 1 << self.bits
        return (-full if self.signed else 0), full

    @property
    def error_bound(self) -> int | None:
        """Largest difference between a value and its decoded spikes; None if no bound holds for all series."""
        return None

    def axons(self, channels: int) -> int:
        """Return the number of axons for ``channels`` channels or pixels."""
        return channels * self.lines

    @abstractmethod
    def encode(self, images: ArrayLike) -> Spikes:
        """Encode ``images`` ``(B, ...)`` as spikes ``(T, B, axons)``.

        Raises ``TypeError`` for a wrong type, and ``ValueError`` for a wrong shape or values out of range.
        """

    def encode_series(self, series: ArrayLike) -> Spikes:
        """Encode ``series`` ``(T, B, channels)`` as spikes ``(T * steps, B, axons)``.

        Raises ``TypeError`` for a wrong type, and ``ValueError`` for a wrong shape or values out of range.
        """
        array = np.asarray(series)
        if array.ndim != 3 or 0 in array.shape:
            raise ValueError(f"series must have shape (T, B, channels) and not be empty, not {array.shape}")
        return self._encode(self.checked_levels("series", array))

    def decode(self, spikes: ArrayLike, *, start: ArrayLike = 0) -> NDArray[np.int64]:
        """Decode ``spikes`` ``(T * steps, B, axons)`` to values ``(T, B, channels)``.

        Codes of changes begin at ``start``, one value or ``(B, channels)``; other codes ignore it. An image comes back
        as a series of one sample, or of one sample per row. If there is a scale, ``scale.restore`` converts the values
        to numbers. Raises ``ValueError`` for a wrong shape, and for values that are not spikes.
        """
        array = np.asarray(spikes)
        if array.ndim != 3 or 0 in array.shape or array.shape[0] % self.steps or array.shape[2] % self.lines:
            raise ValueError(
                f"spikes must have shape (T * {self.steps}, B, channels * {self.lines}) and not be empty, "
                f"not {array.shape}"
            )
        return self._decode(self._checked_spikes(array), np.asarray(start, np.int64))

    def _checked_spikes(self, array: NDArray[Any]) -> NDArray[Any]:
        if array.dtype == np.bool_:
            return array
        if array.dtype.kind not in "iuf" or not np.isin(array, (0, 1)).all():
            raise ValueError("spikes must be 0 or 1, not other values")
        return array.astype(np.bool_)

    @abstractmethod
    def _encode(self, levels: Values) -> Spikes:
        """Encode levels ``(T, B, channels)``, which are in range."""

    @abstractmethod
    def _decode(self, spikes: NDArray[Any], start: NDArray[np.int64]) -> NDArray[np.int64]:
        """Decode spikes of a checked shape."""

    def checked_levels(self, what: str, array: NDArray[Any]) -> Values:
        """Return the levels of values ``(..., channels)``, called ``what`` in errors.

        Raises ``TypeError`` or ``ValueError`` if they are not what the encoder takes.
        """
        if self.scale is not None:
            array = self.scale.levels(array, what)
        elif array.dtype.kind not in "iu":
            raise TypeError(f"{what} must be integers for an encoder without a scale, not {array.dtype}")
        low, high = self.value_range
        if array.min() < low or array.max() > high:
            raise ValueError(f"{what} must be from {low} to {high}, not from {array.min()} to {array.max()}")
        return array.astype(np.int32, copy=False)

    def settings(self) -> dict[str, Any]:
        """Return the settings from which `encoder_from` restores this encoder: numbers, texts and tuples of numbers."""
        found: dict[str, Any] = {"kind": self.kind}
        for each in fields(self):
            value = getattr(self, each.name)
            if not each.init or value is None:
                continue
            if each.name in _NESTED:
                parts = _NESTED[each.name][1]
                found |= {f"{each.name}_{part}": getattr(value, part) for part in parts}
            else:
                found[each.name] = value
        return found

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Return the encoder with these ``settings()``, also if they come from a file.

        Raises ``ValueError`` for unknown, missing or invalid settings.
        """
        given = {name: _plain(name, value) for name, value in settings.items() if name != "kind"}
        required: list[str] = []
        possible: list[str] = []
        arguments: dict[str, Any] = {}
        for each in fields(cls):
            if not each.init:
                continue
            # A nested object with a default may be left out as a whole; once one of its settings is given, all of those
            # without a default are required.
            optional = each.default is not MISSING or each.default_factory is not MISSING
            kind, parts = _NESTED.get(each.name, (None, ()))
            names = [f"{each.name}_{part}" for part in parts] or [each.name]
            (possible if optional else required).extend(names)
            if kind is None and each.name in given:
                arguments[each.name] = given[each.name]
            elif kind is not None and any(name in given for name in names):
                inner = {part: given[name] for part, name in zip(parts, names, strict=True) if name in given}
                needed = [f"{each.name}_{part.name}" for part in fields(kind) if part.default is MISSING]
                required.extend(needed)
                arguments[each.name] = (kind, inner)
        if not set(required) <= set(given) or not set(given) <= {*required, *possible}:
            more = f", and may be {', '.join(possible)}" if possible else ""
            raise ValueError(
                f"settings of a {cls.kind} encoder must be {', '.join(required)}{more}, "
                f"not {shown(', '.join(given)) if given else 'none'}"
            )
        try:
            return cls(**{name: v[0](**v[1]) if name in _NESTED else v for name, v in arguments.items()})
        except TypeError as error:
            raise ValueError(str(error)) from error


@dataclass(frozen=True, kw_only=True)
class LevelEncoder(Encoder):
    """Base class of level codes: each value by itself, in 1 to 65536 ``steps``, with 1 to 16 ``bits``."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", integer("steps", self.steps, 1, 65536))
        object.__setattr__(self, "bits", integer("bits", self.bits, 1, 16))
        super().__post_init__()

    def encode(self, images: ArrayLike) -> Spikes:
        """Encode ``images`` ``(B, ...)`` as spikes ``(steps, B, axons)``, with the pixels in C order.

        Raises ``TypeError`` or ``ValueError`` if the images are not integers in `value_range` or, with a scale, finite
        numbers.
        """
        array = np.asarray(images)
        if array.ndim < 2 or 0 in array.shape:
            raise ValueError(f"images must have shape (B, n) or (B, height, width) and not be empty, not {array.shape}")
        return self._encode(self.checked_levels("images", array.reshape(1, len(array), -1)))

    def by_value(self, spikes: NDArray[Any]) -> NDArray[Any]:
        """Return spikes ``(T * steps, B, axons)`` as ``(T, steps, B, channels, lines)``."""
        time, batch, axons = spikes.shape
        return spikes.reshape(time // self.steps, self.steps, batch, axons // self.lines, self.lines)


@dataclass(frozen=True, kw_only=True)
class SignalEncoder(Encoder):
    """Base class of signal codes: one sample per time step; values of at most 23 bits, signed in codes of changes."""

    signed: ClassVar[bool] = True

    steps: int = field(default=1, init=False, repr=False)
    # Differences of two such values are far from overflowing 32 bits, in which the signal codes compute.
    bits: int = field(default=23, init=False, repr=False)

    def encode(self, images: ArrayLike) -> Spikes:
        """Encode ``images`` ``(B, height, width)`` as spikes ``(height, B, axons)``: one step per row, one channel per
        column. Raises ``TypeError`` or ``ValueError`` for other shapes, types and values out of range.
        """
        array = np.asarray(images)
        if array.ndim != 3 or 0 in array.shape:
            raise ValueError(
                f"images must have shape (B, height, width) for a {self.kind} encoder and not be empty, "
                f"not {array.shape}"
            )
        return self._encode(self.checked_levels("images", array.transpose(1, 0, 2)))
