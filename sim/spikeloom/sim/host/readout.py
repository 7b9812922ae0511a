"""Readout of the host bridge: sends the host only the result of each sample.

Each output has a *score*, a two's complement number of ``width`` bits that starts at 0 in each sample. With
``top = 2**(width - 1) - 1``:

===========  ==========================================================================================================
COUNT        ``score = min(score + n, top)`` with each event, which is ``n`` spikes
FIRST        ``score = max(top - t, 1)`` with the first spike, in step t; later ones change nothing
LAST         the membrane of the last step
LARGEST      the largest membrane of all steps
SUM          the sum of the membranes, saturated to ``-top - 1`` to ``top`` at each addition
===========  ==========================================================================================================

The answer is the output with the highest score; among equal scores, the lowest number. Without spikes it is output 0,
as in `spikeloom.datasets.readout.classify`.

The unit in hardware adds 1 for each event in mode COUNT, whatever its value, and the value of each event in mode SUM.
Neurons that fire several times per step send one event whose value is the number of spikes, so their spikes are counted
in mode SUM (`ReadoutMode.of_unit`), and no unit needs logic for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ReadoutMode", "ReadoutParameters", "answers", "scores"]


class ReadoutMode(IntEnum):
    """Kind of score."""

    OFF = 0
    """No readout: spikes and membranes go to the host."""
    COUNT = 1
    FIRST = 2
    LAST = 3
    LARGEST = 4
    SUM = 5

    def of_unit(self, *, counted: bool) -> ReadoutMode:
        """Return the mode in which the unit computes this score.

        ``counted`` tells whether the values of the output's events are numbers of spikes.
        """
        return ReadoutMode.SUM if counted and self is ReadoutMode.COUNT else self


@dataclass(frozen=True, kw_only=True)
class ReadoutParameters:
    """Sizes of a readout: scores of ``width`` bits, 2 to 24, for up to ``outputs`` outputs, a power of two from 2 to
    4096."""

    outputs: int = 16
    width: int = 24

    def __post_init__(self) -> None:
        for name, low, high in (("outputs", 2, 4096), ("width", 2, 24)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ValueError(f"{name} must be an integer from {low} to {high}, not {value!r}")
        if self.outputs.bit_count() != 1:
            raise ValueError(f"outputs must be a power of two, not {self.outputs!r}")

    @property
    def top(self) -> int:
        """The highest score."""
        return (1 << (self.width - 1)) - 1


def scores(mode: ReadoutMode, values: ArrayLike, width: int = 24) -> NDArray[np.int64]:
    """The scores ``(B, n)`` of ``values`` ``(T, B, n)``: spikes as 0 and 1 or numbers of spikes or, in the last three
    modes, membranes.

    Raises ``ValueError`` for another shape, for negative numbers of spikes, and for `ReadoutMode.OFF`.
    """
    array = np.asarray(values)
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"values must have shape (T, B, n) and not be empty, not {array.shape}")
    array = array.astype(np.int64)
    top = (1 << (width - 1)) - 1
    if mode in (ReadoutMode.COUNT, ReadoutMode.FIRST) and array.min() < 0:
        raise ValueError(f"values must be numbers of spikes, at least 0, for mode {mode.name}, not {array.min()}")
    if mode is ReadoutMode.COUNT:
        return np.minimum(array.sum(axis=0), top)
    if mode is ReadoutMode.FIRST:
        fired = array != 0
        # At least 1 for a late spike, so that it still beats no spike at all.
        return np.where(fired.any(axis=0), np.maximum(top - fired.argmax(axis=0), 1), 0)
    if mode is ReadoutMode.LAST:
        return array[-1]
    if mode is ReadoutMode.LARGEST:
        return array.max(axis=0)
    if mode is not ReadoutMode.SUM:
        raise ValueError(f"mode must be one that scores, not {mode!r}")
    score = np.zeros(array.shape[1:], np.int64)
    # Step by step, because saturation is applied at every addition.
    for step in array:
        score = np.clip(score + step, -top - 1, top)
    return score


def answers(score: ArrayLike) -> NDArray[np.int64]:
    """The answers ``(B,)`` of scores ``(B, n)``: the output with the highest score; in a tie, the lowest number."""
    # `argmax` returns the first of several.
    return np.argmax(np.asarray(score), axis=1).astype(np.int64)
