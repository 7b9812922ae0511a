"""Contrast codes: a spike marks a change of the signal, up or down; two axons per channel.

Four conventions are in use. They differ in the reference that a sample is compared with:

| encoder | compared with |
|---|---|
| `TemporalContrastEncoder` | the sample before (or after) it |
| `DeltaEncoder` | the sample before it, or the sample at the last spike |
| `StepForwardEncoder` | a staircase that follows the signal by one threshold per spike |
| `MovingWindowEncoder` | the mean of the samples before it |

Spikes decode to a staircase of one threshold per spike that begins at the value ``start``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.datasets.encoders.checks import Threshold, integer, one_of, per_channel, thresholds
from spikeloom.datasets.encoders.interface import SignalEncoder, Spikes, Values, signed_counts
from spikeloom.datasets.encoders.scale import Scale

__all__ = [
    "ContrastEncoder",
    "DeltaEncoder",
    "MovingWindowEncoder",
    "StepForwardEncoder",
    "TemporalContrastEncoder",
    "fit_threshold",
]


@dataclass(frozen=True, kw_only=True)
class ContrastEncoder(SignalEncoder):
    """Base class: a change above ``threshold`` spikes (``compare=">"``), or also one equal to it (``compare=">="``).

    Parameters
    ----------
    threshold
        1 to ``2**23``; one for all channels, or one per channel.
    compare
        ">" or ">=", as above.
    """

    threshold: Threshold
    compare: str = ">"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "threshold", thresholds("threshold", self.threshold, 1, 1 << 23))
        one_of("compare", self.compare, (">", ">="))

    @property
    def lines(self) -> int:
        """Two: up and down."""
        return 2

    def _least(self, channels: int) -> NDArray[np.int32]:
        """Return the smallest change that spikes, per channel."""
        # Of integers, > threshold is the same as >= threshold + 1.
        return (per_channel("threshold", self.threshold, channels) + (self.compare == ">")).astype(np.int32)

    def _encode(self, levels: Values) -> Spikes:
        least = self._least(levels.shape[2])
        spikes = np.zeros((*levels.shape, 2), np.bool_)
        self._compare(levels, least, spikes)
        return spikes.reshape(*levels.shape[:2], -1)

    @abstractmethod
    def _compare(self, levels: Values, least: NDArray[np.int32], spikes: NDArray[np.bool_]) -> None:
        """Set the ``spikes`` ``(T, B, channels, 2)`` of all changes of at least ``least``."""

    def _decode(self, spikes: NDArray[Any], start: NDArray[np.int64]) -> NDArray[np.int64]:
        signs = signed_counts(spikes)
        return start + np.cumsum(signs, axis=0) * per_channel("threshold", self.threshold, signs.shape[2])


@dataclass(frozen=True, kw_only=True)
class TemporalContrastEncoder(ContrastEncoder):
    """Threshold-based representation (Delbruck and Lichtsteiner 2007) of the difference of neighbouring samples.

    With ``difference="backward"`` step ``t`` compares ``x[t] - x[t - 1]``; in step 0, ``first="silent"`` has no
    difference, and ``first="zero"`` uses ``x[0]``, as if the sample before it were 0. With ``difference="forward"``
    step ``t`` compares ``x[t + 1] - x[t]``, and the last step repeats the one before it, as in spikify's
    ``threshold_based``.

    `fit` sets the threshold of each channel to ``mean + factor * deviation`` of its differences, signed
    (``statistic="signed"``, spikify) or absolute (``statistic="absolute"``; Petro, Kasabov and Kiss 2020). It is
    rounded such that the same differences exceed it.

    Decoder: the staircase. There is no error bound, because a change far above the threshold is a single spike, too.
    """

    kind: ClassVar[str] = "temporal-contrast"

    difference: str = "backward"
    first: str = "silent"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("difference", self.difference, ("backward", "forward"))
        one_of("first", self.first, ("silent", "zero"))

    def _differences(self, levels: Values) -> Values:
        if self.difference == "backward":
            before = np.zeros_like(levels[:1]) if self.first == "zero" else levels[:1]
            return np.diff(levels, axis=0, prepend=before)
        if len(levels) < 2:
            raise ValueError("series must have at least 2 samples for forward differences, not 1")
        changes = np.diff(levels, axis=0)
        return np.concatenate([changes, changes[-1:]])

    def _compare(self, levels: Values, least: NDArray[np.int32], spikes: NDArray[np.bool_]) -> None:
        changes = self._differences(levels)
        np.greater_equal(changes, least, out=spikes[..., 0])
        np.less_equal(changes, -least, out=spikes[..., 1])

    @classmethod
    def fit(
        cls,
        series: ArrayLike,
        *,
        factor: float,
        statistic: str = "signed",
        compare: str = ">",
        difference: str = "backward",
        first: str = "silent",
        scale: Scale | None = None,
    ) -> Self:
        """Return an encoder with thresholds from the differences in ``series`` ``(T, B, channels)``, as above.

        Raises ``ValueError`` if a threshold would be below 1.
        """
        one_of("statistic", statistic, ("signed", "absolute"))
        bare = cls(threshold=1, compare=compare, difference=difference, first=first, scale=scale)
        array = np.asarray(series)
        if array.ndim != 3 or 0 in array.shape:
            raise ValueError(f"series must have shape (T, B, channels) and not be empty, not {array.shape}")
        changes = bare._differences(bare.checked_levels("series", array)).astype(np.float64)
        if statistic == "absolute":
            changes = np.abs(changes)
        changes = changes.reshape(-1, array.shape[2])
        wanted = changes.mean(axis=0) + factor * changes.std(axis=0)
        # Of integers, > 2.5 is the same as > 2, and >= 2.5 the same as >= 3.
        found = (np.floor(wanted) if compare == ">" else np.ceil(wanted)).astype(np.int64)
        for channel in np.flatnonzero(found < 1):
            raise ValueError(
                f"the threshold of channel {channel} must be at least 1, not {wanted[channel]:.3g}: its differences "
                "are too small or constant, or the factor is"
            )
        return replace(bare, threshold=tuple(found.tolist()))


@dataclass(frozen=True, kw_only=True)
class DeltaEncoder(ContrastEncoder):
    """Delta modulation: spikes mark a large difference from a reference.

    The reference is the previous sample (``reference="previous"``), as in snnTorch's ``spikegen.delta``, whose
    comparison ``>=`` is the default here; or the sample of the last spike (``reference="sent"``), which is
    send-on-delta (Miskowicz 2006) and the behaviour of a pixel of an event camera. The first reference is 0
    (``first="zero"``, snnTorch without padding) or the first sample (``first="sample"``, snnTorch with padding).

    Decoder: the staircase. With ``reference="sent"``, a signal without steps above the threshold is never further than
    twice the threshold from its reference; the staircase itself adds one threshold per spike and has no error bound.
    """

    kind: ClassVar[str] = "delta"

    compare: str = ">="
    reference: str = "previous"
    first: str = "zero"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("reference", self.reference, ("previous", "sent"))
        one_of("first", self.first, ("zero", "sample"))

    def _compare(self, levels: Values, least: NDArray[np.int32], spikes: NDArray[np.bool_]) -> None:
        start = np.zeros_like(levels[0]) if self.first == "zero" else levels[0]
        if self.reference == "previous":
            changes = np.diff(levels, axis=0, prepend=start[None])
            np.greater_equal(changes, least, out=spikes[..., 0])
            np.less_equal(changes, -least, out=spikes[..., 1])
            return
        sent = start.copy()
        for sample, fired in zip(levels, spikes, strict=True):
            change = sample - sent
            np.greater_equal(change, least, out=fired[..., 0])
            np.less_equal(change, -least, out=fired[..., 1])
            np.copyto(sent, sample, where=fired[..., 0] | fired[..., 1])

    @classmethod
    def fit(cls, series: ArrayLike, *, candidates: Sequence[int] = (), **options: Any) -> Self:
        """Return an encoder with the threshold that has the smallest error on ``series`` ``(T, B, channels)``; see
        `fit_threshold`."""
        return fit_threshold(cls(threshold=1, **options), series, candidates)


@dataclass(frozen=True, kw_only=True)
class StepForwardEncoder(ContrastEncoder):
    """Step-forward (Kasabov, Scott, Tu and others 2016): a staircase follows the signal by one threshold per spike::

        up   if x[t] > base + threshold:  base += threshold          (>= with compare ">=")
        down if x[t] < base - threshold:  base -= threshold

    The base starts at the first sample, which therefore never spikes (``first="sample"``, as spikify's
    ``step_forward``), or at 0 (``first="zero"``).

    Decoder: the base itself, exactly, if ``start`` is the first sample or 0 accordingly. If neighbouring samples differ
    by at most the threshold, so do base and signal.

    `fit` searches for the threshold with the smallest error, as do Forno et al. (2022).
    """

    kind: ClassVar[str] = "step-forward"

    first: str = "sample"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("first", self.first, ("sample", "zero"))

    def _compare(self, levels: Values, least: NDArray[np.int32], spikes: NDArray[np.bool_]) -> None:
        step = per_channel("threshold", self.threshold, levels.shape[2]).astype(np.int32)
        base = np.zeros_like(levels[0]) if self.first == "zero" else levels[0].copy()
        for sample, fired in zip(levels, spikes, strict=True):
            change = sample - base
            up = np.greater_equal(change, least, out=fired[..., 0])
            down = np.less_equal(change, -least, out=fired[..., 1])
            base += step * (up.view(np.int8) - down.view(np.int8))

    @classmethod
    def fit(cls, series: ArrayLike, *, candidates: Sequence[int] = (), **options: Any) -> Self:
        """Return an encoder with the threshold that has the smallest error on ``series`` ``(T, B, channels)``; see
        `fit_threshold`."""
        return fit_threshold(cls(threshold=1, **options), series, candidates)


@dataclass(frozen=True, kw_only=True)
class MovingWindowEncoder(ContrastEncoder):
    """Moving window (Kasabov, Scott, Tu and others 2016): a sample is compared with the mean of previous samples::

        up   if x[t] > mean + threshold             mean = mean of x[t - window] to x[t - 1]
        down if x[t] < mean - threshold             (>= and <= with compare ">=")

    The first ``window`` samples are all compared with their common mean, as in spikify's ``moving_window``. The sum is
    never divided: the comparison ``window * x[t] - sum > window * threshold`` is exact.

    Decoder: the staircase, without an error bound.

    Parameters
    ----------
    window
        Number of samples, 1 to 4096; a series must have at least as many.
    """

    kind: ClassVar[str] = "moving-window"

    window: int

    def __post_init__(self) -> None:
        super().__post_init__()
        integer("window", self.window, 1, 4096)

    def _compare(self, levels: Values, least: NDArray[np.int32], spikes: NDArray[np.bool_]) -> None:
        time, window = len(levels), self.window
        if time < window:
            raise ValueError(f"series must have at least as many samples as the window, {window}, not {time}")
        limit = per_channel("threshold", self.threshold, levels.shape[2]) * window + (self.compare == ">")
        # From step ``window`` on, each sum is the previous one, plus the sample that enters the window and minus the
        # one that leaves it: the cumulative sum of these differences.
        total = levels[:window].sum(axis=0, dtype=np.int64)
        sums = np.empty(levels.shape, np.int64)
        sums[:window] = total
        if time > window:
            sums[window] = total
            np.subtract(levels[window : time - 1], levels[: time - window - 1], out=sums[window + 1 :])
            np.cumsum(sums[window:], axis=0, out=sums[window:])
        change = levels * np.int64(window) - sums
        np.greater_equal(change, limit, out=spikes[..., 0])
        np.less_equal(change, -limit, out=spikes[..., 1])

    @classmethod
    def fit(cls, series: ArrayLike, *, window: int, candidates: Sequence[int] = (), **options: Any) -> Self:
        """Return an encoder with the threshold that has the smallest error on ``series`` ``(T, B, channels)``; see
        `fit_threshold`."""
        return fit_threshold(cls(threshold=1, window=window, **options), series, candidates)


_C = TypeVar("_C", bound=ContrastEncoder)


def fit_threshold(encoder: _C, series: ArrayLike, candidates: Sequence[int] = ()) -> _C:
    """Return ``encoder`` with the threshold per channel that minimises the mean squared error of the decoded spikes on
    ``series`` ``(T, B, channels)``.

    By default, ``candidates`` are up to 25 thresholds from 1/256 of the range of the series to all of it. Of equal
    errors the last candidate wins, by default the largest, which has the fewest spikes. Raises ``ValueError`` for a
    wrong shape or a constant series.
    """
    array = np.asarray(series)
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"series must have shape (T, B, channels) and not be empty, not {array.shape}")
    levels = encoder.checked_levels("series", array)
    span = int(levels.max()) - int(levels.min())
    if not span:
        raise ValueError(f"series must vary for a threshold to be fitted, not be {levels.flat[0]} throughout")
    # Three candidates per octave.
    tried = candidates or sorted({max(1, round(span * 2.0 ** (-8 + k / 3))) for k in range(25)})
    # The decoder must start where the encoder did: at the first sample, or at 0.
    start = levels[0] if getattr(encoder, "first", "sample") in ("sample", "silent") else np.zeros_like(levels[0])
    best = np.full(levels.shape[2], np.inf)
    found = np.zeros(levels.shape[2], np.int64)
    for threshold in tried:
        trial = replace(encoder, threshold=threshold)
        difference = trial._decode(trial._encode(levels), start.astype(np.int64)) - levels
        errors = (difference.astype(np.float64) ** 2).mean(axis=(0, 1))
        better = errors <= best
        best[better], found[better] = errors[better], threshold
    return replace(encoder, threshold=tuple(found.tolist()))
