"""Direct coding: the values themselves, presented in every step to a first layer of weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.datasets.encoders.checks import integer
from spikeloom.datasets.encoders.interface import LevelEncoder, Spikes, Values

__all__ = ["DirectEncoder"]


@dataclass(frozen=True, kw_only=True)
class DirectEncoder(LevelEncoder):
    """Every value in each of its ``steps``, as graded spikes, for networks with `value_width` as ``input_value_width``.

    The first layer multiplies it by its weights, as in networks that are trained on images without spikes (Rueckauer
    et al. 2017). Full scale, ``2**bits``, is presented as ``2**bits - 1``, so that it fits. One axon per channel; 0 is
    no event. Decoder: the mean over the steps.

    Parameters
    ----------
    steps
        Steps in which a value is presented, 1 to 65536.
    bits
        Values range from ``-2**bits`` to ``2**bits``; 1 to 8.
    """

    kind: ClassVar[str] = "direct"
    signed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        integer("bits", self.bits, 1, 8)

    @property
    def value_width(self) -> int:
        """Width of the values in two's complement."""
        return self.bits + 1

    @property
    def error_bound(self) -> int:
        """1, at full scale only."""
        return 1

    def _encode(self, levels: Values) -> Spikes:
        return np.repeat(np.minimum(levels, (1 << self.bits) - 1), self.steps, axis=0)

    def _checked_spikes(self, array: NDArray[Any]) -> NDArray[Any]:
        if array.dtype.kind not in "iu":
            raise TypeError(f"graded spikes must be integers, not {array.dtype}")
        return array

    def _decode(self, spikes: NDArray[Any], start: NDArray[np.int64]) -> NDArray[np.int64]:
        sums = self.by_value(spikes)[..., 0].sum(axis=1, dtype=np.int64)
        return (2 * sums + self.steps) // (2 * self.steps)
