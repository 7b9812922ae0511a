"""Population code: overlapping Gaussian receptive fields, each of which responds to values near its centre.

S. M. Bohte, H. La Poutre and J. N. Kok, Unsupervised clustering with spiking neurons by sparse temporal coding and
multilayer RBF networks, IEEE Transactions on Neural Networks 13, 2002.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.datasets.encoders.checks import integer, one_of
from spikeloom.datasets.encoders.interface import LevelEncoder, Spikes, Values

__all__ = ["PopulationEncoder"]

MOST_ENTRIES = 1 << 26
"""Maximum size of the table of spikes: settings may come from untrusted files."""


@lru_cache(maxsize=16)
def _when(encoder: PopulationEncoder) -> NDArray[np.int32]:
    """Return the step in which each field spikes for each value, ``(2**bits + 1, fields)``; ``steps`` for no spike."""
    centres, width = encoder.centres()
    distance = (np.arange((1 << encoder.bits) + 1)[:, None] - centres) / width
    when = np.rint((1.0 - np.exp(-0.5 * distance * distance)) * encoder.steps)
    return np.minimum(when, encoder.steps).astype(np.int32)


@lru_cache(maxsize=16)
def _rows(encoder: PopulationEncoder) -> NDArray[np.uint8]:
    """Return the spikes of each value, ``(steps, 2**bits + 1, fields)``."""
    return (_when(encoder) == np.arange(encoder.steps)[:, None, None]).view(np.uint8)


@dataclass(frozen=True, kw_only=True)
class PopulationEncoder(LevelEncoder):
    """``fields`` axons per channel, each with a Gaussian receptive field; the nearer the value, the earlier the spike.

    With ``F = 2**bits``, ``M = fields`` and ``spacing`` the distance between neighbouring centres (i from 0)::

        centres_at="outside": spacing = F / (M - 2), centre[i] = (i - 1/2) * spacing          as in Bohte et al.
        centres_at="ends":    spacing = F / (M - 1), centre[i] = i * spacing
        response = exp(-(value - centre[i])**2 / (2 * (spacing / beta)**2))
        step     = round((1 - response) * steps)            no spike if that is step ``steps`` or later

    With ``steps=10`` this is the code of Bohte et al., with spike times from 0 to 10 and no spike after 9. With
    ``steps=1`` a field spikes if its response is at least one half.

    Decoder: the mean of the centres, weighted by ``steps - step`` of the spike of each. The error bound is the largest
    error over all values.

    Parameters
    ----------
    steps
        Time steps per value, 1 to 65536.
    bits
        ``2**bits`` is full scale; 1 to 16.
    fields
        Receptive fields per channel: 3 to 256, or 2 to 256 with ``centres_at="ends"``.
    beta
        Narrowness of the fields, 0.01 to 100; Bohte et al. use 1.5.
    centres_at
        "outside" or "ends", as above.
    """

    kind: ClassVar[str] = "population"

    fields: int
    beta: float = 1.5
    centres_at: str = "outside"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("centres_at", self.centres_at, ("outside", "ends"))
        integer("fields", self.fields, 2 if self.centres_at == "ends" else 3, 256)
        if not isinstance(self.beta, int | float) or not isfinite(self.beta) or not 0.01 <= self.beta <= 100:
            raise ValueError(f"beta must be from 0.01 to 100, not {self.beta!r}")
        object.__setattr__(self, "beta", float(self.beta))
        most = MOST_ENTRIES // (((1 << self.bits) + 1) * self.fields)
        if self.steps > most:
            raise ValueError(
                f"steps must be at most {most} for {self.fields} fields of {self.bits} bits, not {self.steps}"
            )

    @property
    def lines(self) -> int:
        """One per receptive field."""
        return self.fields

    def centres(self) -> tuple[NDArray[np.float64], float]:
        """Return the centres of the fields, ``(fields,)``, and their standard deviation, both in units of values."""
        full = 1 << self.bits
        if self.centres_at == "ends":
            spacing = full / (self.fields - 1)
            return np.arange(self.fields, dtype=np.float64) * spacing, spacing / self.beta
        spacing = full / (self.fields - 2)
        return (np.arange(self.fields, dtype=np.float64) - 0.5) * spacing, spacing / self.beta

    @property
    def error_bound(self) -> int:
        """Largest error over all values, found by decoding each of them."""
        values = np.arange((1 << self.bits) + 1)
        decoded = self.decode(self._encode(values.astype(np.int32)[None, None]))[0, 0]
        return int(np.abs(decoded - values).max())

    def _encode(self, levels: Values) -> Spikes:
        time, batch, channels = levels.shape
        spikes = np.empty((time, self.steps, batch, channels, self.fields), np.uint8)
        places = levels.astype(np.intp)
        for step, row in enumerate(_rows(self)):
            spikes[:, step] = row[places]
        return spikes.view(np.bool_).reshape(-1, batch, channels * self.fields)

    def _decode(self, spikes: NDArray[Any], start: NDArray[np.int64]) -> NDArray[np.int64]:
        patterns = self.by_value(spikes)
        # argmax is the first spike, and 0 for a field without one, which counts as ``steps``: weight 0.
        first = np.where(patterns.any(axis=1), patterns.argmax(axis=1), self.steps)
        weight = (self.steps - first).astype(np.int64)
        # Twice the centres are whole multiples of spacing / 2, so the mean is a quotient of integers.
        halves = 2 * np.arange(self.fields) - (self.centres_at == "outside")
        parts = self.fields - 1 if self.centres_at == "ends" else self.fields - 2
        total, sums = weight.sum(axis=-1), (weight * halves).sum(axis=-1)
        full = 1 << self.bits
        scaled = (sums * full + parts * total) // np.maximum(2 * parts * total, 1)
        return np.where(total > 0, np.clip(scaled, 0, full), full // 2)
