"""Codes with a fixed pattern of spikes for each value: first spike, phase, burst, inter-spike interval.

Values that share a pattern decode to the middle of their range. The error bound of these codes is exact: it is the
largest error over all values.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.datasets.encoders.checks import integer, one_of
from spikeloom.datasets.encoders.interface import LevelEncoder, Spikes, Values

__all__ = ["BurstEncoder", "IntervalEncoder", "LatencyEncoder", "PatternEncoder", "PhaseEncoder"]

MOST_ENTRIES = 1 << 24
"""Maximum size of a table of patterns: settings may come from untrusted files."""


@lru_cache(maxsize=32)
def _value_of(encoder: PatternEncoder) -> NDArray[np.int64]:
    """Return the value of each symbol: the middle of its values or, without values, that of the next used symbol."""
    symbols = encoder.symbols()
    count = encoder.symbol_count
    low = np.full(count, np.iinfo(np.int64).max)
    high = np.full(count, -1)
    levels = np.arange(len(symbols))
    np.minimum.at(low, symbols, levels)
    np.maximum.at(high, symbols, levels)
    used = np.flatnonzero(high >= 0)
    middle = (low[used] + high[used]) // 2
    place = np.clip(np.searchsorted(used, np.arange(count)), 0, len(used) - 1)
    values = middle[place]
    values.setflags(write=False)  # it is cached and shared
    return values


@lru_cache(maxsize=32)
def _pattern_of(encoder: PatternEncoder) -> NDArray[np.bool_]:
    """Return the patterns of all values, ``(steps, 2**bits + 1)``."""
    # Steps first and contiguous: encoding is one lookup per step in a short row.
    table = np.ascontiguousarray(encoder.patterns()[encoder.symbols()].T)
    table.setflags(write=False)
    return table


@dataclass(frozen=True, kw_only=True)
class PatternEncoder(LevelEncoder):
    """Base class: each value has a symbol, and each symbol has a pattern of spikes in ``steps`` time steps."""

    def _check_table(self) -> None:
        """Raise ``ValueError`` if the tables of patterns would be too large."""
        most = max(self.symbol_count, (1 << self.bits) + 1) * self.steps
        if most > MOST_ENTRIES:
            raise ValueError(
                f"steps must be at most {MOST_ENTRIES // max(self.symbol_count, (1 << self.bits) + 1)} for a "
                f"{self.kind} encoder of {self.bits} bits, not {self.steps}"
            )

    @property
    @abstractmethod
    def symbol_count(self) -> int:
        """Number of symbols."""

    @abstractmethod
    def symbols(self) -> NDArray[np.int64]:
        """Return the symbol of each value, ``(2**bits + 1,)``."""

    @abstractmethod
    def patterns(self) -> NDArray[np.bool_]:
        """Return the pattern of each symbol, ``(symbol_count, steps)``."""

    @abstractmethod
    def read(self, patterns: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the symbols ``(T, B, channels)`` of any patterns ``(T, steps, B, channels)``, also of unused ones."""

    @property
    def error_bound(self) -> int:
        """Largest distance of a value from the middle of the values with the same pattern."""
        symbols = self.symbols()
        return int(np.abs(_value_of(self)[symbols] - np.arange(len(symbols))).max())

    def _encode(self, levels: Values) -> Spikes:
        time, batch, channels = levels.shape
        table = _pattern_of(self)
        spikes = np.empty((time, self.steps, batch, channels), np.bool_)
        places = levels.astype(np.intp)
        for step, row in enumerate(table):
            spikes[:, step] = row[places]
        return spikes.reshape(-1, batch, channels)

    def _decode(self, spikes: NDArray[Any], start: NDArray[np.int64]) -> NDArray[np.int64]:
        return _value_of(self)[self.read(self.by_value(spikes)[..., 0])]


@dataclass(frozen=True, kw_only=True)
class LatencyEncoder(PatternEncoder):
    """The brighter a pixel, the earlier it spikes, and at most once (time to first spike; Thorpe 1990).

    With ``F = 2**bits`` and ``T = steps`` a value spikes in step

    * ``curve="floor"``: ``((F - value) * T) >> bits``, which the hardware computes. Full scale spikes in step 0 and,
      with at most ``F`` steps, a value of 1 in the last step.
    * ``curve="nearest"``: ``round((F - value) * (T - 1) / F)``, halves to even, as in snnTorch's ``spikegen.latency``
      with ``linear`` and ``normalize``.
    * ``curve="charging"``: ``round(tau * ln(value / (value - threshold)))``, the time that a membrane with time
      constant ``tau`` takes to reach the threshold when charged by the value, as in snnTorch's ``spikegen.latency``. A
      value that does not reach it within ``T`` steps counts as 0.
    * ``curve="decaying"``: ``min(ceil(0.1 * (T - 1) * ln(F / value)), T - 1)``, the time at which a decaying threshold
      reaches the value, as in spikify's ``time_to_first_spike`` (Forno et al. 2022).

    A value of 0 never spikes (``dark="silent"``) or spikes in the last step (``dark="last"``).

    Decoder: the middle of the values that spike in that step. There is no randomness.

    Parameters
    ----------
    steps
        Time steps per value, 1 to 65536. In hardware, a power of two needs no multiplier.
    bits
        ``2**bits`` is full scale; 1 to 16.
    curve, dark
        As above.
    tau, threshold
        For ``curve="charging"``: time constant in steps, 1 to 65536, and threshold as a value, 1 to ``2**bits``.
    """

    kind: ClassVar[str] = "latency"

    curve: str = "floor"
    dark: str = "silent"
    tau: int = 1
    threshold: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("curve", self.curve, ("floor", "nearest", "charging", "decaying"))
        one_of("dark", self.dark, ("silent", "last"))
        integer("tau", self.tau, 1, 65536)
        integer("threshold", self.threshold, 1, 1 << self.bits)

    @property
    def on_chip(self) -> bool:
        """Whether the host bridge has this encoder: it has the curve "floor" and keeps 0 silent."""
        return self.scale is None and self.curve == "floor" and self.dark == "silent"

    @property
    def symbol_count(self) -> int:
        """One symbol per step, and one for no spike."""
        return self.steps + 1

    def symbols(self) -> NDArray[np.int64]:
        """Return the step in which each value spikes, or ``steps`` for no spike."""
        full, last = 1 << self.bits, self.steps - 1
        values = np.arange(1, full + 1)
        if self.curve == "floor":
            when = ((full - values) * self.steps) >> self.bits
        elif self.curve == "nearest":
            whole, rest = np.divmod((full - values) * last, full)
            # Halves go to the even step: computed in integers, without depending on floating-point rounding.
            when = whole + (2 * rest > full) + ((2 * rest == full) & (whole & 1 == 1))
        elif self.curve == "charging":
            reached = values > self.threshold
            ratio = values / np.where(reached, values - self.threshold, 1)
            when = np.where(reached, np.rint(self.tau * np.log(ratio)), self.steps).astype(np.int64)
            when[when > last] = self.steps
        else:
            when = np.minimum(np.ceil(0.1 * last * np.log(full / values)), last).astype(np.int64)
        symbols = np.concatenate([[self.steps], when])
        return np.where(symbols == self.steps, last, symbols) if self.dark == "last" else symbols

    def patterns(self) -> NDArray[np.bool_]:
        """Return patterns of one spike, and of none for the last symbol."""
        return np.eye(self.steps + 1, self.steps, dtype=np.bool_)

    def read(self, patterns: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the step of the first spike, or ``steps`` if there is none."""
        return np.where(patterns.any(axis=1), patterns.argmax(axis=1), self.steps)

    def _encode(self, levels: Values) -> Spikes:
        # Comparing steps avoids the table of patterns, whose steps times values entries can be too many.
        _, batch, channels = levels.shape
        when = self.symbols().astype(np.int32)[levels.astype(np.intp)]
        steps = np.arange(self.steps, dtype=np.int32)[:, None, None]
        return (when[:, None] == steps).reshape(-1, batch, channels)


@dataclass(frozen=True, kw_only=True)
class PhaseEncoder(PatternEncoder):
    """Weighted spikes: the bits of a value, most significant first, repeated (Kim, Kim, Huh, Lee and Choi 2018).

    A spike in phase ``k`` of ``phases`` represents ``2**-(k + 1)`` of full scale. With ``curve="linear"`` the number
    sent is the value without its low bits, ``min(value, 2**bits - 1) >> (bits - phases)``. With ``curve="arcsine"`` it
    is the phase at which a sine reaches the value, ``min(ceil(asin(value / 2**bits) * 2**phases / (pi / 2)), 2**phases
    - 1)``, as in spikify's ``phase`` (Forno et al. 2022).

    Decoder: the middle of the values with the number in the first repetition.

    Parameters
    ----------
    steps
        Time steps per value: a multiple of ``phases``.
    bits
        ``2**bits`` is full scale; 1 to 16.
    phases
        Bits of the number that is sent, 1 to ``bits``.
    curve
        "linear" or "arcsine", as above.
    """

    kind: ClassVar[str] = "phase"

    phases: int
    curve: str = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        integer("phases", self.phases, 1, self.bits)
        one_of("curve", self.curve, ("linear", "arcsine"))
        if self.steps % self.phases:
            raise ValueError(f"steps must be a multiple of the {self.phases} phases, not {self.steps}")
        self._check_table()

    @property
    def symbol_count(self) -> int:
        """Count of numbers of ``phases`` bits."""
        return 1 << self.phases

    def symbols(self) -> NDArray[np.int64]:
        """Return the number that is sent for each value."""
        full, most = 1 << self.bits, self.symbol_count - 1
        values = np.arange(full + 1)
        if self.curve == "linear":
            return np.minimum(values, full - 1) >> (self.bits - self.phases)
        turns = np.arcsin(values / full) * ((1 << self.phases) / (np.pi / 2))
        return np.minimum(np.ceil(turns), most).astype(np.int64)

    def patterns(self) -> NDArray[np.bool_]:
        """Return the bits of each number, most significant first, repeated."""
        bits = np.arange(self.symbol_count)[:, None] >> np.arange(self.phases)[::-1] & 1
        return np.tile(bits.astype(np.bool_), self.steps // self.phases)

    def read(self, patterns: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the number in the first repetition."""
        number = np.zeros((patterns.shape[0], *patterns.shape[2:]), np.int64)
        for phase in range(self.phases):
            number = number << 1 | patterns[:, phase]
        return number


@dataclass(frozen=True, kw_only=True)
class BurstEncoder(PatternEncoder):
    """Bursts with more and faster spikes for larger values (Guo, Fouda, Eltawil and Salama 2021)::

        count    = ceil(most * value / F)                                             F = 2**bits
        interval = ceil(longest - (longest - shortest) * value / F)   if count > 1

    With ``spacing="interval"`` the spikes are ``interval`` steps apart; with ``spacing="gap"`` there are ``interval``
    silent steps between them, as in spikify's ``burst_coding``. The first spike is in step 0; a value of 0 has none.

    Decoder: the middle of the values with that count and interval.

    Parameters
    ----------
    steps
        Time steps per value, at least the length of the longest burst.
    bits
        ``2**bits`` is full scale; 1 to 16.
    most
        Spikes at full scale, 1 to 256.
    shortest, longest
        Intervals at full scale and near 0, in steps, 1 to 4096, or 0 to 4096 with ``spacing="gap"``.
    spacing
        "interval" or "gap", as above.
    """

    kind: ClassVar[str] = "burst"

    most: int
    shortest: int
    longest: int
    spacing: str = "interval"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("spacing", self.spacing, ("interval", "gap"))
        integer("most", self.most, 1, 256)
        integer("shortest", self.shortest, 0 if self.spacing == "gap" else 1, 4096)
        integer("longest", self.longest, self.shortest, 4096)
        count, distance = self._bursts()
        needed = int((np.maximum(count - 1, 0) * distance).max()) + 1
        if self.steps < needed:
            raise ValueError(f"steps must be at least {needed} to hold the longest burst, not {self.steps}")
        self._check_table()

    def _bursts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the number of spikes of each value, and the steps from one to the next (0 with at most one spike)."""
        full = 1 << self.bits
        values = np.arange(full + 1)
        # Both are ceilings: -(-a // b), and -(-a >> bits) for a division by full scale.
        count = -(-self.most * values // full)
        distance = -((self.longest - self.shortest) * values - self.longest * full >> self.bits)
        return count, np.where(count > 1, distance + (self.spacing == "gap"), 0)

    def _known(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the bursts in use, in ascending order as ``count * 8192 + 8191 - distance``, and the index of each
        value's burst among them."""
        count, distance = self._bursts()
        # Larger values have more spikes or, with equal counts, shorter distances, so the order is that of the values. A
        # distance is at most 4097 (an interval of 4096 and a gap), less than 8192.
        known, symbols = np.unique(count * 8192 + 8191 - distance, return_inverse=True)
        return known, symbols

    @property
    def symbol_count(self) -> int:
        """Number of different bursts."""
        return len(self._known()[0])

    def symbols(self) -> NDArray[np.int64]:
        """Return the burst of each value, as an index of the bursts in use."""
        return self._known()[1]

    def patterns(self) -> NDArray[np.bool_]:
        """Return the bursts, as equidistant spikes from step 0 on."""
        known, _ = self._known()
        table = np.zeros((len(known), self.steps), np.bool_)
        for row, burst in zip(table, known.tolist(), strict=True):
            count, distance = burst // 8192, 8191 - burst % 8192
            row[np.arange(count) * distance] = True
        return table

    def read(self, patterns: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the burst with the count and first distance of each pattern, or the next one in use."""
        known, _ = self._known()
        count = patterns.sum(axis=1, dtype=np.int64)
        # argmax finds the first step with at least one, and with at least two spikes so far.
        rising = np.cumsum(patterns, axis=1)
        distance = np.where(count > 1, (rising >= 2).argmax(axis=1) - (rising >= 1).argmax(axis=1), 0)
        return np.clip(np.searchsorted(known, count * 8192 + 8191 - distance), 0, len(known) - 1)


@dataclass(frozen=True, kw_only=True)
class IntervalEncoder(PatternEncoder):
    """Inter-spike interval code: the time between two spikes represents the value, shorter for larger values.

    The first spike is in step 0, the second ``shortest + (((F - value) * (longest - shortest)) >> bits)`` steps later
    (``F = 2**bits``): full scale has the shortest interval and 0 the longest. With ``train="pair"`` there are only
    these two spikes; with ``train="regular"`` more follow at the same interval until the last step.

    Decoder: the middle of the values with the first interval.

    Parameters
    ----------
    steps
        Time steps per value, more than ``longest``.
    bits
        ``2**bits`` is full scale; 1 to 16.
    shortest, longest
        Intervals at full scale and at 0, in steps; 1 to 65535.
    train
        "pair" or "regular", as above.
    """

    kind: ClassVar[str] = "interval"

    shortest: int
    longest: int
    train: str = "pair"

    def __post_init__(self) -> None:
        super().__post_init__()
        integer("shortest", self.shortest, 1, 65535)
        integer("longest", self.longest, self.shortest, 65535)
        one_of("train", self.train, ("pair", "regular"))
        if self.steps <= self.longest:
            raise ValueError(
                f"steps must be at least {self.longest + 1} to hold the longest interval, not {self.steps}"
            )
        self._check_table()

    @property
    def symbol_count(self) -> int:
        """One symbol per interval."""
        return self.longest - self.shortest + 1

    def symbols(self) -> NDArray[np.int64]:
        """Return the interval of each value, minus the shortest one."""
        full = 1 << self.bits
        return ((full - np.arange(full + 1)) * (self.longest - self.shortest)) >> self.bits

    def patterns(self) -> NDArray[np.bool_]:
        """Return spikes one interval apart, from step 0 on."""
        interval = np.arange(self.shortest, self.longest + 1)[:, None]
        step = np.arange(self.steps)
        if self.train == "pair":
            return (step == 0) | (step == interval)
        return step % interval == 0

    def read(self, patterns: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the interval between the first two spikes, minus the shortest one; the longest with fewer spikes."""
        rising = np.cumsum(patterns, axis=1)
        interval = (rising >= 2).argmax(axis=1) - (rising >= 1).argmax(axis=1)
        interval = np.where(rising[:, -1] >= 2, interval, self.longest)
        return np.clip(interval, self.shortest, self.longest) - self.shortest
