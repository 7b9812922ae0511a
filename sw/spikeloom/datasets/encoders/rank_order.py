"""Rank order code: the order in which channels spike represents the order of their values, not the values.

S. Thorpe and J. Gautrais, Rank order coding, in: Computational Neuroscience: Trends in Research, 1998, pp. 113-118.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.datasets.encoders.checks import integer, one_of
from spikeloom.datasets.encoders.interface import LevelEncoder, Spikes, Values
from spikeloom.datasets.encoders.scale import Scale

__all__ = ["RankOrderEncoder", "rank_order_activation"]


@dataclass(frozen=True, kw_only=True)
class RankOrderEncoder(LevelEncoder):
    """Each channel of a sample spikes once, the largest value first; of equal values the lower channel first.

    Of ``n`` channels the one of rank ``r``, from 0, spikes in step ``floor(r * steps / n)``: with ``steps = n`` one
    after the other, with fewer steps in groups of equal size. A value of 0 never spikes (``dark="silent"``) or spikes
    in its turn (``dark="ranked"``).

    Decoder: the entry of ``lookup`` for the step, or without a table a straight line from full scale down. VanRullen
    and Thorpe (2001) use the mean over natural images; `fit` measures it on a series. The order of the channels is
    preserved; there is no error bound.

    Parameters
    ----------
    steps
        Time steps per sample, 1 to 65536.
    bits
        ``2**bits`` is full scale; 1 to 16.
    lookup
        Value that each step decodes to, one per step, or empty.
    dark
        "silent" or "ranked", as above.
    """

    kind: ClassVar[str] = "rank-order"

    lookup: tuple[int, ...] = ()
    dark: str = "silent"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("dark", self.dark, ("silent", "ranked"))
        entries = self.lookup if isinstance(self.lookup, list | tuple) else (self.lookup,)
        lookup = tuple(integer("lookup", each, 0, 1 << self.bits) for each in entries)
        if len(lookup) not in (0, self.steps):
            raise ValueError(f"lookup must be left out or have one entry per step, {self.steps}, not {len(lookup)}")
        object.__setattr__(self, "lookup", lookup)

    @classmethod
    def fit(cls, series: ArrayLike, *, steps: int, bits: int, scale: Scale | None = None, dark: str = "silent") -> Self:
        """Return an encoder whose ``lookup`` holds the mean value of each step in ``series`` ``(T, B, channels)``."""
        bare = cls(steps=steps, bits=bits, scale=scale, dark=dark)
        array = np.asarray(series)
        spikes = bare.by_value(bare.encode_series(array))[..., 0]
        levels = bare.checked_levels("series", array)
        counts = spikes.sum(axis=(0, 2, 3))
        totals = (spikes * levels[:, None]).sum(axis=(0, 2, 3), dtype=np.int64)
        means = (2 * totals + counts) // np.maximum(2 * counts, 1)
        return cls(steps=steps, bits=bits, scale=scale, dark=dark, lookup=tuple(means.tolist()))

    def _encode(self, levels: Values) -> Spikes:
        time, batch, channels = levels.shape
        # NumPy sorts keys of 16 bits by radix sort, which is faster. A value of 0 has the key 2**bits: with 16 bits it
        # needs wider keys.
        keys = ((1 << self.bits) - levels).astype(np.uint16 if self.bits < 16 else np.uint32)
        order = np.argsort(keys, axis=2, kind="stable")
        group = np.arange(channels) * self.steps // channels
        spikes = np.zeros((time, self.steps, batch, channels), np.bool_)
        rows = np.arange(time * batch).reshape(time, batch, 1)
        start = (rows // batch) * (self.steps * batch * channels) + (rows % batch) * channels
        spikes.reshape(-1)[start + group * (batch * channels) + order] = True
        if self.dark == "silent":
            spikes &= (levels > 0)[:, None]
        return spikes.reshape(-1, batch, channels)

    def _decode(self, spikes: NDArray[Any], start: NDArray[np.int64]) -> NDArray[np.int64]:
        patterns = self.by_value(spikes)[..., 0]
        steps = np.arange(self.steps)
        line = ((2 * (self.steps - steps) - 1) << self.bits) // (2 * self.steps)
        values = np.append(np.asarray(self.lookup, np.int64) if self.lookup else line, 0)
        return values[np.where(patterns.any(axis=1), patterns.argmax(axis=1), self.steps)]


def rank_order_activation(spikes: ArrayLike, weights: ArrayLike, *, percent: int = 80) -> NDArray[np.float64]:
    """Return the activation ``(B, outputs)`` of neurons with ``weights`` ``(outputs, axons)`` by the first spikes
    of the axons in ``spikes`` ``(T, B, axons)``.

    Each spike attenuates all later ones: ``activation = sum of weight * (percent / 100)**order`` (Thorpe and Gautrais
    1998), where ``order`` is the number of axons that have spiked before; within a step, lower axons come first. The
    activation is largest if the axons spike in the order of their weights. Raises ``ValueError`` for wrong shapes and
    for a ``percent`` that is not from 1 to 100.
    """
    first = np.asarray(spikes)
    if first.ndim != 3 or 0 in first.shape:
        raise ValueError(f"spikes must have shape (T, B, axons) and not be empty, not {first.shape}")
    table = np.asarray(weights, np.float64)
    if table.ndim != 2 or table.shape[1] != first.shape[2]:
        raise ValueError(f"weights must have shape (outputs, {first.shape[2]}), not {table.shape}")
    integer("percent", percent, 1, 100)
    when = np.where(first.any(axis=0), first.argmax(axis=0), len(first))
    # The inner sort lists the axons in the order of their spikes; sorting that list gives each axon its position in it.
    order = np.argsort(np.argsort(when, axis=1, kind="stable"), axis=1, kind="stable")
    gain = np.where(when < len(first), (percent / 100.0) ** order, 0.0)
    return gain @ table.T
