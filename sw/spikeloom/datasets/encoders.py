"""Spike encoders: images to spikes, in integers and exactly as the hardware does it. NumPy only.

Both take images of integers from 0 to ``2**bits``, full scale included, and give spikes time first. `docs/encoders.md`
has the formulas, worked examples and what sharing one register costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.sim.lib.lfsr import Lfsr

__all__ = ["Encoder", "LatencyEncoder", "RateEncoder", "encoder_from"]


def _integer(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} must be an integer from {low} to {high}, not {value!r}")


def _pixels(images: ArrayLike, bits: int) -> NDArray[np.int64]:
    """Check images ``(B, ...)`` and return them as ``(B, n)``."""
    array = np.asarray(images)
    if array.dtype.kind not in "iu":
        raise TypeError(f"images must be integers, not {array.dtype}")
    if array.ndim < 2 or 0 in array.shape:
        raise ValueError(f"images must have shape (B, n) or (B, height, width) and not be empty, not {array.shape}")
    if array.min() < 0 or array.max() > 1 << bits:
        raise ValueError(f"images must be from 0 to {1 << bits}, not from {array.min()} to {array.max()}")
    return array.reshape(len(array), -1).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class RateEncoder:
    """The brighter a pixel, the more often it spikes: in a step with probability ``value / 2**bits``.

    In step ``t`` pixel ``i`` of ``n`` spikes if ``value > word[t * n + i]``, the words being ``lfsr.words`` of ``bits``
    bits. Each image starts at the seed again, so that its spikes do not depend on its place in the batch. Full scale
    spikes in every step, 0 in none.

    Parameters
    ----------
    steps
        Time steps an image, from 1 to 65536.
    bits
        ``2**bits`` is full scale; from 1 to 16, and at most the width of ``lfsr``.
    lfsr
        The shift register that all pixels share.
    """

    steps: int
    bits: int
    lfsr: Lfsr = field(default_factory=Lfsr)

    def __post_init__(self) -> None:
        _integer("steps", self.steps, 1, 65536)
        if not isinstance(self.lfsr, Lfsr):
            raise TypeError(f"lfsr must be an Lfsr, not {self.lfsr!r}")
        _integer("bits", self.bits, 1, min(16, self.lfsr.width))

    def encode(self, images: ArrayLike) -> NDArray[np.bool_]:
        """Spikes ``(steps, B, n)`` of ``images`` ``(B, ...)``, pixels in C order.

        Raises ``TypeError`` or ``ValueError`` if the images are not integers from 0 to ``2**bits``.
        """
        pixels = _pixels(images, self.bits)
        count = pixels.shape[1]
        words = self.lfsr.words(self.steps * count, self.bits).astype(np.int64).reshape(self.steps, 1, count)
        return pixels[None] > words

    def settings(self) -> dict[str, Any]:
        """What `encoder_from` makes this encoder of again; plain numbers and text."""
        return {
            "kind": "rate",
            "steps": self.steps,
            "bits": self.bits,
            "lfsr_width": self.lfsr.width,
            "lfsr_seed": self.lfsr.seed,
        }


@dataclass(frozen=True, kw_only=True)
class LatencyEncoder:
    """The brighter a pixel, the earlier it spikes, and at most once.

    A pixel spikes in step ``((2**bits - value) * steps) >> bits``, so full scale spikes in step 0 and 1 in the last
    (if there are at most ``2**bits`` steps); 0 never spikes. There is no randomness.

    Parameters
    ----------
    steps
        Time steps an image, from 1 to 65536. A power of two needs no multiplier.
    bits
        ``2**bits`` is full scale; from 1 to 16.
    """

    steps: int
    bits: int

    def __post_init__(self) -> None:
        _integer("steps", self.steps, 1, 65536)
        _integer("bits", self.bits, 1, 16)

    def encode(self, images: ArrayLike) -> NDArray[np.bool_]:
        """Spikes ``(steps, B, n)`` of ``images`` ``(B, ...)``, pixels in C order.

        Raises ``TypeError`` or ``ValueError`` if the images are not integers from 0 to ``2**bits``.
        """
        pixels = _pixels(images, self.bits)
        when = (((1 << self.bits) - pixels) * self.steps) >> self.bits
        return (when[None] == np.arange(self.steps)[:, None, None]) & (pixels[None] > 0)

    def settings(self) -> dict[str, Any]:
        """What `encoder_from` makes this encoder of again; plain numbers and text."""
        return {"kind": "latency", **asdict(self)}


Encoder = RateEncoder | LatencyEncoder

_SETTINGS = {"rate": ("steps", "bits", "lfsr_width", "lfsr_seed"), "latency": ("steps", "bits")}


def _whole(name: str, value: object) -> int:
    """An integer as files bring it: of NumPy, or an array without dimensions."""
    array = np.asarray(value)
    if array.ndim or array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be an integer, not {value!r}")
    return int(array)


def encoder_from(settings: Mapping[str, Any]) -> Encoder:
    """The encoder whose ``settings()`` these are, also after a way through a file. Raises ``ValueError`` otherwise."""
    kind = settings.get("kind")
    if not isinstance(kind, str) or kind not in _SETTINGS:
        raise ValueError(f"kind of an encoder must be 'rate' or 'latency', not {kind!r}")
    names = sorted(set(settings) - {"kind"})
    if names != sorted(_SETTINGS[kind]):
        raise ValueError(f"settings of a {kind} encoder must be {', '.join(_SETTINGS[kind])}, not {', '.join(names)}")
    steps, bits, *register = (_whole(name, settings[name]) for name in _SETTINGS[kind])
    if kind == "latency":
        return LatencyEncoder(steps=steps, bits=bits)
    width, seed = register
    return RateEncoder(steps=steps, bits=bits, lfsr=Lfsr(width=width, seed=seed))
