"""Population code: neighbouring Gaussian receptive fields, each of which answers to values near its centre.

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
"""Of the table of spikes: settings come with files from strangers."""


@lru_cache(maxsize=16)
def _when(encoder: PopulationEncoder) -> NDArray[np.int32]:
    """The step of each value and field, ``(2**bits + 1, fields)``; ``steps`` for none."""
    centres, width = encoder.centres()
    distance = (np.arange((1 << encoder.bits) + 1)[:, None] - centres) / width
    when = np.rint((1.0 - np.exp(-0.5 * distance * distance)) * encoder.steps)
    return np.minimum(when, encoder.steps).astype(np.int32)


@lru_cache(maxsize=16)
def _rows(encoder: PopulationEncoder) -> NDArray[np.uint8]:
    """The spikes of each value, ``(steps, 2**bits + 1, fields)``."""
    return (_when(encoder) == np.arange(encoder.steps)[:, None, None]).view(np.uint8)


@dataclass(frozen=True, kw_only=True)
class PopulationEncoder(LevelEncoder):
    """``fields`` axons per channel, each with a Gaussian receptive field; the nearer the value, the earlier the spike.

    With ``F = 2**bits``, ``M = fields`` and ``spacing`` the distance of two centres (i from 0)::

        centres "outside": spacing = F / (M - 2), centre[i] = (i - 1/2) * spacing          as Bohte et al.
        centres "ends":    spacing = F / (M - 1), centre[i] = i * spacing
        response = exp(-(value - centre[i])**2 / (2 * (spacing / beta)**2))
        step     = round((1 - response) * steps)            no spike if that is step ``steps`` or later

    With ``steps=10`` this is the code of Bohte et al., whose times go from 0 to 10 and in which what is later than 9
    does not spike. With ``steps=1`` a field spikes if its response is at least one half.

    Decoder: the mean of the centres, each with the weight ``steps - step`` of its spike. The error bound is the largest
    over all values.

    Parameters
    ----------
    steps
        Time steps per value, 1 to 65536.
    bits
        ``2**bits`` is full scale; 1 to 16.
    fields
        3 to 256, or 2 to 256 with centres "ends".
    beta
        How narrow the fields are; Bohte et al. use 1.5.
    centres
        See above.
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
        """The centres of the fields, ``(fields,)``, and their standard deviation, in values."""
        full = 1 << self.bits
        if self.centres_at == "ends":
            spacing = full / (self.fields - 1)
            return np.arange(self.fields, dtype=np.float64) * spacing, spacing / self.beta
        spacing = full / (self.fields - 2)
        return (np.arange(self.fields, dtype=np.float64) - 0.5) * spacing, spacing / self.beta

    @property
    def error_bound(self) -> int:
        """Over all values."""
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
        first = np.where(patterns.any(axis=1), patterns.argmax(axis=1), self.steps)
        weight = (self.steps - first).astype(np.int64)
        # Twice the centres are whole multiples of spacing / 2, so the mean is a quotient of integers.
        halves = 2 * np.arange(self.fields) - (self.centres_at == "outside")
        parts = self.fields - 1 if self.centres_at == "ends" else self.fields - 2
        total, sums = weight.sum(axis=-1), (weight * halves).sum(axis=-1)
        full = 1 << self.bits
        scaled = (sums * full + parts * total) // np.maximum(2 * parts * total, 1)
        return np.where(total > 0, np.clip(scaled, 0, full), full // 2)
