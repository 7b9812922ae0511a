"""Rate codes: how often an axon spikes says how large the value is.

`RateEncoder` and `PoissonEncoder` draw from one shift register that all channels share; `SigmaDeltaEncoder` needs no
randomness and spreads its spikes as evenly as they can be.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.datasets.encoders.checks import integer, one_of
from spikeloom.datasets.encoders.interface import LevelEncoder, Spikes, Values, signed_axons, signed_counts
from spikeloom.sim.lib.lfsr import Lfsr

__all__ = ["POISSON_WORD", "PoissonEncoder", "RateEncoder", "SigmaDeltaEncoder"]

POISSON_WORD = 16
"""Bits of the word that a Poisson probability is compared with."""


def _compared(chances: Values, lfsr: Lfsr, steps: int, width: int) -> NDArray[np.bool_]:
    """Spikes ``(T * steps, B, channels)``: where the chance of a value is above the word of its channel and step."""
    time, batch, channels = chances.shape
    words = lfsr.words(time * steps * channels, width).astype(np.int32).reshape(time, steps, 1, channels)
    return (chances[:, None] > words).reshape(time * steps, batch, channels)


@dataclass(frozen=True, kw_only=True)
class RateEncoder(LevelEncoder):
    """The brighter a pixel, the more often it spikes: in a step with probability ``value / 2**bits`` (Bernoulli).

    In step ``t`` channel ``i`` of ``n`` spikes if ``value > word[t * n + i]``, the words being ``lfsr.words`` of
    ``bits`` bits. Each image, and each series, starts at the seed again, so that its spikes do not depend on its place
    in the batch. Full scale spikes in every step, 0 in none.

    Decoder: ``round(spikes * 2**bits / steps)``. Of independent draws the standard deviation is
    ``sqrt(value * (2**bits - value) / steps)``; there is no bound.

    Parameters
    ----------
    steps
        Time steps per value, 1 to 65536.
    bits
        ``2**bits`` is full scale; 1 to 16, and at most the width of ``lfsr``.
    lfsr
        The shift register that all channels share.
    """

    kind: ClassVar[str] = "rate"

    lfsr: Lfsr = field(default_factory=Lfsr)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.lfsr, Lfsr):
            raise TypeError(f"lfsr must be an Lfsr, not {self.lfsr!r}")
        integer("bits", self.bits, 1, min(16, self.lfsr.width))

    @property
    def on_chip(self) -> bool:
        """The encoder of the host bridge draws the same words."""
        return self.scale is None

    def _encode(self, levels: Values) -> Spikes:
        return _compared(levels, self.lfsr, self.steps, self.bits)

    def _decode(self, spikes: NDArray[Any], start: NDArray[np.int64]) -> NDArray[np.int64]:
        counts = self.by_value(spikes)[..., 0].sum(axis=1, dtype=np.int64)
        return ((counts << (self.bits + 1)) + self.steps) // (2 * self.steps)


@dataclass(frozen=True, kw_only=True)
class PoissonEncoder(LevelEncoder):
    """The events of a Poisson process of rate ``value / 2**bits`` per step; several events in a step are one spike.

    A step has an event with probability ``1 - exp(-value / 2**bits)`` (D. Heeger, Poisson model of spike generation,
    2000), so full scale spikes in 63 % of the steps, where `RateEncoder` spikes in all. In step ``t`` channel ``i`` of
    ``n`` spikes if ``round(2**16 * (1 - exp(-value / 2**bits))) > word[t * n + i]`` with words of 16 bits.

    Decoder: the value whose probability is nearest to ``spikes / steps``; no bound, as for `RateEncoder`.

    Parameters
    ----------
    steps
        Time steps per value, 1 to 65536.
    bits
        ``2**bits`` is a rate of one event per step; 1 to 16.
    lfsr
        The shift register that all channels share, at least 16 bits wide.
    """

    kind: ClassVar[str] = "poisson"

    lfsr: Lfsr = field(default_factory=Lfsr)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.lfsr, Lfsr) or self.lfsr.width < POISSON_WORD:
            raise ValueError(f"lfsr must be an Lfsr of at least {POISSON_WORD} bits, not {self.lfsr!r}")

    def chances(self) -> NDArray[np.int32]:
        """The probability of a spike for each value, times ``2**16``, ``(2**bits + 1,)``."""
        values = np.arange((1 << self.bits) + 1) / (1 << self.bits)
        return np.rint(-np.expm1(-values) * (1 << POISSON_WORD)).astype(np.int32)

    def _encode(self, levels: Values) -> Spikes:
        return _compared(self.chances()[levels], self.lfsr, self.steps, POISSON_WORD)

    def _decode(self, spikes: NDArray[Any], start: NDArray[np.int64]) -> NDArray[np.int64]:
        counts = self.by_value(spikes)[..., 0].sum(axis=1, dtype=np.int64)
        chances = self.chances().astype(np.int64)
        wanted = ((np.arange(self.steps + 1) << POISSON_WORD) + self.steps // 2) // self.steps
        above = np.clip(np.searchsorted(chances, wanted), 1, len(chances) - 1)
        nearest = above - (wanted - chances[above - 1] <= chances[above] - wanted)
        return nearest[counts]


@dataclass(frozen=True, kw_only=True)
class SigmaDeltaEncoder(LevelEncoder):
    """A first-order sigma-delta modulator (Inose, Yasuda and Murakami 1962; as a spike code: Yoon 2017).

    A value is added to the integrator in each of its ``steps`` steps, and each spike takes full scale away::

        sum[t]   = sum[t - 1] + value
        count[t] = floor((sum[t] + offset) / 2**bits)       offset = 2**(bits - 1) if start is "half", otherwise 0
        spike[t] = count[t] - count[t - 1]                  -1, 0 or 1

    With ``start="zero"`` and values that are not negative this is an integrate-and-fire neuron of threshold ``2**bits``
    with compare ``>=`` and reset by subtraction. The integrator is never reset within a series, so what one value
    leaves is part of the next.

    Two axons per channel, up and down. Decoder: ``round(spikes * 2**bits / steps)``; the error is below
    ``2**bits / steps`` before it is rounded, and over any ``k`` values in a row their sum is as exact.

    Parameters
    ----------
    steps
        Time steps per value, 1 to 65536.
    bits
        Values are from ``-2**bits`` to ``2**bits``; 1 to 16.
    start
        "half": the first spike comes at half of full scale, and up and down are symmetric. "zero": at full scale.
    """

    kind: ClassVar[str] = "sigma-delta"
    signed: ClassVar[bool] = True

    start: str = "half"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("start", self.start, ("half", "zero"))

    @property
    def lines(self) -> int:
        """Up and down."""
        return 2

    @property
    def error_bound(self) -> int:
        """The quotient ``2**bits / steps``, rounded up."""
        return -(-(1 << self.bits) // self.steps)

    def _encode(self, levels: Values) -> Spikes:
        time, batch, channels = levels.shape
        sums = np.cumsum(levels, axis=0, dtype=np.int64) * self.steps
        counts = np.zeros((time * self.steps + 1, batch, channels), np.int64)
        offset = 1 << (self.bits - 1) if self.start == "half" else 0
        fine = counts[1:].reshape(time, self.steps, batch, channels)
        before = sums - levels * np.int64(self.steps) + offset
        for step in range(self.steps):
            before += levels
            fine[:, step] = before >> self.bits
        return signed_axons(np.diff(counts, axis=0))

    def _decode(self, spikes: NDArray[Any], start: NDArray[np.int64]) -> NDArray[np.int64]:
        counts = signed_counts(spikes)
        sums = counts.reshape(-1, self.steps, *counts.shape[1:]).sum(axis=1)
        return ((sums << (self.bits + 1)) + self.steps) // (2 * self.steps)
