"""Graded codes, in which a spike carries a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.datasets.encoders.checks import Threshold, integer, one_of, per_channel, thresholds
from spikeloom.datasets.encoders.interface import SignalEncoder, Spikes, Values

__all__ = ["GradedEncoder"]


@dataclass(frozen=True, kw_only=True)
class GradedEncoder(SignalEncoder):
    """Values or changes as graded spikes, for networks with ``input_value_width``; 0 is no event.

    A spike is sent if the absolute value of the following is at least ``threshold``:

    * ``reference="none"``: the sample itself.
    * ``reference="previous"``: the difference from the previous sample, or from 0 for the first.
    * ``reference="sent"``: the difference from the sum of all values sent so far, so that changes held back are sent
      later. This is the input of a sigma-delta network (O'Connor and Welling 2016; Lava's ``Delta``).

    One axon per channel. Decoder: the values, or their running sum. The error of "none" and "sent" is below
    ``threshold``.

    Parameters
    ----------
    bits
        Width of the values in two's complement, 2 to 16: the ``input_value_width`` of the network.
    reference
        "none", "previous" or "sent", as above.
    threshold
        1 to ``2**16``; one for all channels, or one per channel. With 1 nothing is held back.
    """

    kind: ClassVar[str] = "graded"

    bits: int
    reference: str = "none"
    threshold: Threshold = 1

    def __post_init__(self) -> None:
        integer("bits", self.bits, 2, 16)
        super().__post_init__()
        one_of("reference", self.reference, ("none", "previous", "sent"))
        object.__setattr__(self, "threshold", thresholds("threshold", self.threshold, 1, 1 << 16))

    @property
    def value_range(self) -> tuple[int, int]:
        """Smallest and largest value in two's complement."""
        return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1

    @property
    def error_bound(self) -> int | None:
        """One below the threshold; None if changes are dropped."""
        most = max(self.threshold) if isinstance(self.threshold, tuple) else self.threshold
        return None if self.reference == "previous" and most > 1 else most - 1

    def _encode(self, levels: Values) -> Spikes:
        least = per_channel("threshold", self.threshold, levels.shape[2]).astype(np.int32)
        if self.reference == "none":
            return np.where(np.abs(levels) >= least, levels, 0)
        if self.reference == "previous":
            changes = np.diff(levels, axis=0, prepend=np.zeros_like(levels[:1]))
            changes[np.abs(changes) < least] = 0
        else:
            changes = np.zeros_like(levels)
            sent = np.zeros_like(levels[0])
            for sample, change in zip(levels, changes, strict=True):
                np.subtract(sample, sent, out=change)
                change[np.abs(change) < least] = 0
                sent += change
        # A difference of two values in range may still need one bit more.
        low, high = self.value_range
        if changes.min() < low or changes.max() > high:
            worst = changes.min() if changes.min() < low else changes.max()
            raise ValueError(f"changes must be from {low} to {high} to fit {self.bits} bits, not {worst}")
        return changes

    def _checked_spikes(self, array: NDArray[Any]) -> NDArray[Any]:
        if array.dtype.kind not in "iu":
            raise TypeError(f"graded spikes must be integers, not {array.dtype}")
        return array

    def _decode(self, spikes: NDArray[Any], start: NDArray[np.int64]) -> NDArray[np.int64]:
        values = spikes.astype(np.int64)
        return values if self.reference == "none" else start + np.cumsum(values, axis=0)
