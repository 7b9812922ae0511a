"""Codes by deconvolution: spikes whose convolution with a filter approximates the signal; one axon per channel.

All three scan the signal once. Where the filter fits under the remaining signal, they spike and subtract the filter;
they differ in the criterion for a fit. The decoder is the convolution of the spikes with the filter. Signals must not
be negative; a `Scale` can shift them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.datasets.encoders.checks import Threshold, integer, one_of, per_channel, thresholds
from spikeloom.datasets.encoders.interface import SignalEncoder, Spikes, Values
from spikeloom.datasets.encoders.scale import Scale

__all__ = ["BensSpikerEncoder", "FilterEncoder", "HoughSpikerEncoder", "ModifiedHoughSpikerEncoder", "lowpass_taps"]

MOST_TAPS = 1024
_RATIO_BITS = 8  # thresholds of the rule "ratio" are in 1/256


def lowpass_taps(length: int, cutoff: float, total: int) -> tuple[int, ...]:
    """Return a low-pass filter of ``length`` integers whose sum is near ``total``: a sinc in a Hann window.

    ``cutoff`` is relative to half the sampling rate, above 0 and below 1. Before rounding, the taps are those of
    SciPy's ``firwin(length, cutoff, window="hann")`` times ``total``. Raises ``ValueError`` for arguments out of range.
    """
    integer("length", length, 3, MOST_TAPS)
    integer("total", total, 1, 1 << 23)
    if not 0.0 < cutoff < 1.0:
        raise ValueError(f"cutoff must be above 0 and below 1, not {cutoff!r}")
    place = np.arange(length) - (length - 1) / 2
    window = 0.5 + 0.5 * np.cos(2 * np.pi * place / (length - 1))
    taps = cutoff * np.sinc(cutoff * place) * window
    return tuple(np.rint(taps * (total / taps.sum())).astype(int).tolist())


@dataclass(frozen=True, kw_only=True)
class FilterEncoder(SignalEncoder):
    """Base class: a spike at ``t`` subtracts ``taps[k]`` from sample ``t + k``.

    Parameters
    ----------
    taps
        1 to 1024 integers with a positive sum; see `lowpass_taps`.
    tail
        What happens in steps at which the filter extends beyond the end of the series: "silent", no spikes; "cut",
        spikes with the part of the filter that is within the series.
    """

    signed: ClassVar[bool] = False

    taps: tuple[int, ...]
    tail: str = "silent"

    def __post_init__(self) -> None:
        super().__post_init__()
        entries = self.taps if isinstance(self.taps, list | tuple | np.ndarray) else (self.taps,)
        if not 1 <= len(entries) <= MOST_TAPS:
            raise ValueError(f"taps must be 1 to {MOST_TAPS} integers, not {len(entries)}")
        taps = tuple(integer("taps", each, -(1 << 23), 1 << 23) for each in entries)
        if sum(taps) <= 0:
            raise ValueError(f"taps must have a positive sum, not {sum(taps)}")
        object.__setattr__(self, "taps", taps)
        one_of("tail", self.tail, ("silent", "cut"))

    @abstractmethod
    def _fits(self, left: NDArray[np.int32], taps: NDArray[np.int32], limit: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return where the filter fits: ``(B, channels)`` of the remaining signal ``left`` ``(length, B,
        channels)``."""

    def _limit(self, channels: int) -> NDArray[np.int64]:
        return np.zeros(channels, np.int64)

    def _encode(self, levels: Values) -> Spikes:
        time, length = len(levels), len(self.taps)
        if time < length:
            raise ValueError(f"series must have at least as many samples as the filter has taps, {length}, not {time}")
        left = levels.astype(np.int32)  # a copy, from which the filters are subtracted in place
        taps = np.asarray(self.taps, np.int32)[:, None, None]
        limit = self._limit(levels.shape[2])
        spikes = np.zeros(levels.shape, np.bool_)
        for step in range(time if self.tail == "cut" else time - length + 1):
            part = left[step : step + length]
            fired = self._fits(part, taps[: len(part)], limit)
            spikes[step] = fired
            part -= taps[: len(part)] * fired
        return spikes

    def _decode(self, spikes: NDArray[Any], start: NDArray[np.int64]) -> NDArray[np.int64]:
        time = len(spikes)
        signal = np.zeros(spikes.shape, np.int64)
        for place, tap in enumerate(self.taps[:time]):
            signal[place:] += tap * spikes[: time - place]
        return signal

    @classmethod
    def _best(cls, series: ArrayLike, encoders: Sequence[Self]) -> Self:
        """Return the encoder whose decoded spikes have the smallest mean squared error on ``series``."""
        array = np.asarray(series)
        if array.ndim != 3 or 0 in array.shape:
            raise ValueError(f"series must have shape (T, B, channels) and not be empty, not {array.shape}")
        errors = []
        for encoder in encoders:
            levels = encoder.checked_levels("series", array)
            if levels.min() == levels.max():
                raise ValueError(f"series must vary for a filter to be fitted, not be {levels.flat[0]} throughout")
            errors.append(
                float(((encoder._decode(encoder._encode(levels), np.zeros((), np.int64)) - levels) ** 2.0).mean())
            )
        return encoders[int(np.argmin(errors))]


def _designs(
    series: ArrayLike, scale: Scale | None, length: int, cutoffs: Sequence[float]
) -> list[tuple[tuple[int, ...], int]]:
    """Return candidate filters with their sums: for each cutoff, sums of 1/4 to 2 times the largest value."""
    array = np.asarray(series)
    levels = array if scale is None else scale.levels(array, "series")
    largest = int(levels.max()) if levels.size and levels.dtype.kind in "iu" else 1
    totals = sorted({min(max(1, largest * quarters // 4), 1 << 23) for quarters in (1, 2, 3, 4, 6, 8)})
    return [(lowpass_taps(length, cutoff, total), total) for cutoff in cutoffs for total in totals]


_CUTOFFS = (0.05, 0.1, 0.2, 0.3)


@dataclass(frozen=True, kw_only=True)
class HoughSpikerEncoder(FilterEncoder):
    """Hough spiker algorithm, HSA (Hough, de Garis, Korkin, Gers and Nawa 1999).

    A step spikes if every remaining sample is at least as large as its tap (``>=``). If no tap is negative, the
    remaining signal is therefore never negative, and the decoded signal never exceeds the signal.

    Decoder: the convolution, without an error bound. `fit` searches for the cutoff and sum of a low-pass filter with
    ``length`` taps.
    """

    kind: ClassVar[str] = "hough"

    def _fits(self, left: NDArray[np.int32], taps: NDArray[np.int32], limit: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray((left >= taps).all(axis=0))

    @classmethod
    def fit(
        cls,
        series: ArrayLike,
        *,
        length: int,
        scale: Scale | None = None,
        tail: str = "silent",
        cutoffs: Sequence[float] = _CUTOFFS,
    ) -> Self:
        """Return an encoder with the filter that has the smallest error on ``series`` ``(T, B, channels)``."""
        designs = _designs(series, scale, length, cutoffs)
        return cls._best(series, [cls(taps=taps, tail=tail, scale=scale) for taps, _ in designs])


@dataclass(frozen=True, kw_only=True)
class _ThresholdEncoder(FilterEncoder):
    """Base class of filter encoders with a threshold, which `fit` searches for too."""

    threshold: Threshold

    def _limit(self, channels: int) -> NDArray[np.int64]:
        return per_channel("threshold", self.threshold, channels)

    @classmethod
    def fit(
        cls,
        series: ArrayLike,
        *,
        length: int,
        scale: Scale | None = None,
        tail: str | None = None,
        cutoffs: Sequence[float] = _CUTOFFS,
    ) -> Self:
        """Return an encoder with the filter and the threshold, from 0 to 1/2 of the sum of the filter, that have the
        smallest error on ``series`` ``(T, B, channels)``; ``tail`` None is the default of the class."""
        encoders = [
            cls(taps=taps, tail=tail or cls.tail, scale=scale, threshold=total * sixteenths // 16)
            for taps, total in _designs(series, scale, length, cutoffs)
            for sixteenths in (0, 1, 2, 4, 8)
        ]
        return cls._best(series, encoders)


@dataclass(frozen=True, kw_only=True)
class ModifiedHoughSpikerEncoder(_ThresholdEncoder):
    """Modified HSA (Schrauwen and Van Campenhout 2003): samples may fall short of the filter by ``threshold`` in total.

    A step spikes if ``sum(max(tap - left, 0)) <= threshold``, where ``left`` is the remaining signal. By default,
    spikes near the end use the part of the filter that is within the series (``tail="cut"``), as in spikify's
    ``modified_hough_spiker``.

    Decoder: the convolution, without an error bound. `fit` searches for cutoff, sum and threshold.

    Parameters
    ----------
    threshold
        0 to ``2**30``; one for all channels, or one per channel. With 0 the criterion is that of `HoughSpikerEncoder`.
    """

    kind: ClassVar[str] = "modified-hough"

    tail: str = "cut"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "threshold", thresholds("threshold", self.threshold, 0, 1 << 30))

    def _fits(self, left: NDArray[np.int32], taps: NDArray[np.int32], limit: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.maximum(taps - left, 0).sum(axis=0, dtype=np.int64) <= limit


@dataclass(frozen=True, kw_only=True)
class BensSpikerEncoder(_ThresholdEncoder):
    """Ben's spiker algorithm, BSA (Schrauwen and Van Campenhout 2003).

    With the remaining signal ``left``, ``error1 = sum(abs(left - tap))`` and ``error2 = sum(abs(left))``, a step spikes
    if

    * ``rule="difference"``: ``error1 <= error2 - threshold``, as in the paper and in spikify's ``bens_spiker``;
    * ``rule="ratio"``: ``256 * error1 <= threshold * error2``, with the threshold in 1/256, as in later programs
      (Petro, Kasabov and Kiss 2020).

    Decoder: the convolution, without an error bound. `fit` searches for cutoff, sum and threshold.

    Parameters
    ----------
    threshold
        0 to ``2**30``, or 1 to 1024 with "ratio"; one for all channels, or one per channel.
    rule
        "difference" or "ratio", as above.
    """

    kind: ClassVar[str] = "bens"

    rule: str = "difference"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("rule", self.rule, ("difference", "ratio"))
        low, high = (0, 1 << 30) if self.rule == "difference" else (1, 1 << (_RATIO_BITS + 2))
        object.__setattr__(self, "threshold", thresholds("threshold", self.threshold, low, high))

    def _fits(self, left: NDArray[np.int32], taps: NDArray[np.int32], limit: NDArray[np.int64]) -> NDArray[np.bool_]:
        with_spike = np.abs(left - taps).sum(axis=0, dtype=np.int64)
        without = np.abs(left).sum(axis=0, dtype=np.int64)
        if self.rule == "difference":
            return with_spike <= without - limit
        return with_spike << _RATIO_BITS <= without * limit
