"""Rate codes: the number of spikes represents the value.

`RateEncoder` and `PoissonEncoder` draw from one shift register that all channels share; `SigmaDeltaEncoder` needs no
randomness and spaces its spikes as evenly as possible.
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
"""Width of the random word that a Poisson probability is compared with."""


def _compared(chances: Values, lfsr: Lfsr, steps: int, width: int) -> NDArray[np.bool_]:
    """Return spikes ``(T * steps, B, channels)``, where ``chances`` ``(T, B, channels)`` exceed the random words."""
    time, batch, channels = chances.shape
    # One word per channel and step, the same for every sample of the batch: a sample must not depend on its batch.
    words = lfsr.words(time * steps * channels, width).astype(np.int32).reshape(time, steps, 1, channels)
    return (chances[:, None] > words).reshape(time * steps, batch, channels)


@dataclass(frozen=True, kw_only=True)
class RateEncoder(LevelEncoder):
    """The brighter a pixel, the more often it spikes: with probability ``value / 2**bits`` in each step (Bernoulli).

    In step ``t`` channel ``i`` of ``n`` spikes if ``value > word[t * n + i]``, where the words are ``lfsr.words`` of
    ``bits`` bits. Every image and every series starts at the seed again, so that its spikes do not depend on its
    position in the batch. Full scale spikes in every step, 0 in none.

    Decoder: ``round(spikes * 2**bits / steps)``. For independent draws, the standard deviation of the error is
    ``sqrt(value * (2**bits - value) / steps)``; there is no error bound.

    Parameters
    ----------
    steps
        Time steps per value, 1 to 65536.
    bits
        ``2**bits`` is full scale; 1 to 16, and at most the width of ``lfsr``.
    lfsr
        Shift register shared by all channels.
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
        """Whether the input needs no scale; the encoder of the host bridge draws the same words."""
        return self.scale is None

    def _encode(self, levels: Values) -> Spikes:
        return _compared(levels, self.lfsr, self.steps, self.bits)

    def _decode(self, spikes: NDArray[Any], start: NDArray[np.int64]) -> NDArray[np.int64]:
        counts = self.by_value(spikes)[..., 0].sum(axis=1, dtype=np.int64)
        return ((counts << (self.bits + 1)) + self.steps) // (2 * self.steps)


@dataclass(frozen=True, kw_only=True)
class PoissonEncoder(LevelEncoder):
    """Events of a Poisson process of rate ``value / 2**bits`` per step; several events in a step give one spike.

    A step has an event with probability ``1 - exp(-value / 2**bits)`` (D. Heeger, Poisson model of spike generation,
    2000), so full scale spikes in 63 % of the steps, while `RateEncoder` spikes in all of them. In step ``t`` channel
    ``i`` of ``n`` spikes if ``round(2**16 * (1 - exp(-value / 2**bits))) > word[t * n + i]`` with words of 16 bits.

    Decoder: the value whose probability is nearest to ``spikes / steps``; like `RateEncoder`, without an error bound.

    Parameters
    ----------
    steps
        Time steps per value, 1 to 65536.
    bits
        ``2**bits`` is a rate of one event per step; 1 to 16.
    lfsr
        Shift register shared by all channels, at least 16 bits wide.
    """

    kind: ClassVar[str] = "poisson"

    lfsr: Lfsr = field(default_factory=Lfsr)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.lfsr, Lfsr) or self.lfsr.width < POISSON_WORD:
            raise ValueError(f"lfsr must be an Lfsr of at least {POISSON_WORD} bits, not {self.lfsr!r}")

    def chances(self) -> NDArray[np.int32]:
        """Return the probability of a spike for each value, ``(2**bits + 1,)``, times ``2**16``."""
        values = np.arange((1 << self.bits) + 1) / (1 << self.bits)
        return np.rint(-np.expm1(-values) * (1 << POISSON_WORD)).astype(np.int32)

    def _encode(self, levels: Values) -> Spikes:
        return _compared(self.chances()[levels], self.lfsr, self.steps, POISSON_WORD)

    def _decode(self, spikes: NDArray[Any], start: NDArray[np.int64]) -> NDArray[np.int64]:
        counts = self.by_value(spikes)[..., 0].sum(axis=1, dtype=np.int64)
        chances = self.chances().astype(np.int64)
        wanted = ((np.arange(self.steps + 1) << POISSON_WORD) + self.steps // 2) // self.steps
        # The nearest entry is the first one that is not below, or the one before it; ties go to the lower value.
        above = np.clip(np.searchsorted(chances, wanted), 1, len(chances) - 1)
        nearest = above - (wanted - chances[above - 1] <= chances[above] - wanted)
        return nearest[counts]


@dataclass(frozen=True, kw_only=True)
class SigmaDeltaEncoder(LevelEncoder):
    """A first-order sigma-delta modulator (Inose, Yasuda and Murakami 1962; as a spike code: Yoon 2017).

    A value is added to the integrator in each of its ``steps`` steps, and each spike subtracts full scale::

        sum[t]   = sum[t - 1] + value
        count[t] = floor((sum[t] + offset) / 2**bits)       offset = 2**(bits - 1) if start is "half", otherwise 0
        spike[t] = count[t] - count[t - 1]                  -1, 0 or 1

    With ``start="zero"`` and no negative values, this is an integrate-and-fire neuron with threshold ``2**bits``,
    comparison ``>=`` and reset by subtraction. The integrator is never reset within a series, so the remainder of one
    value is carried into the next.

    Two axons per channel, up and down. Decoder: ``round(spikes * 2**bits / steps)``. Before rounding, the error is
    below ``2**bits / steps``, and the same bound holds for the sum of any ``k`` consecutive values.

    Parameters
    ----------
    steps
        Time steps per value, 1 to 65536.
    bits
        Values range from ``-2**bits`` to ``2**bits``; 1 to 16.
    start
        "half": the first spike comes at half of full scale, so that up and down are symmetric. "zero": at full scale.
    """

    kind: ClassVar[str] = "sigma-delta"
    signed: ClassVar[bool] = True

    start: str = "half"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("start", self.start, ("half", "zero"))

    @property
    def lines(self) -> int:
        """Two: up and down."""
        return 2

    @property
    def error_bound(self) -> int:
        """``2**bits / steps``, rounded up."""
        return -(-(1 << self.bits) // self.steps)

    def _encode(self, levels: Values) -> Spikes:
        time, batch, channels = levels.shape
        sums = np.cumsum(levels, axis=0, dtype=np.int64) * self.steps
        counts = np.zeros((time * self.steps + 1, batch, channels), np.int64)
        offset = 1 << (self.bits - 1) if self.start == "half" else 0
        fine = counts[1:].reshape(time, self.steps, batch, channels)
        before = sums - levels * np.int64(self.steps) + offset
        # Vectorised over all samples: before each sample, the integrator holds the offset and all samples before it.
        for step in range(self.steps):
            before += levels
            fine[:, step] = before >> self.bits
        return signed_axons(np.diff(counts, axis=0))

    def _decode(self, spikes: NDArray[Any], start: NDArray[np.int64]) -> NDArray[np.int64]:
        counts = signed_counts(spikes)
        sums = counts.reshape(-1, self.steps, *counts.shape[1:]).sum(axis=1)
        return ((sums << (self.bits + 1)) + self.steps) // (2 * self.steps)
