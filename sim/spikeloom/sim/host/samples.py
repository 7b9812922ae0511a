"""Encodes many samples at once: spikes of each step, or images for the encoder of the board.

The bytes are those of `spikeloom.sim.host.messages.encode_spikes`, sample after sample. Each NumPy call costs about a
microsecond, so samples of a hundred spikes are encoded several times faster together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.sim.host.messages import DISTANCE_BITS, LARGEST_AXON, LARGEST_SKIP, SKIP_UNIT, Opcode

__all__ = ["SampleEncoder", "encode_images"]


class SampleEncoder:
    """Encodes samples of inputs with the axons ``(n,)``, different integers from 0.

    Raises ``ValueError`` for axons that are not unique or out of range.
    """

    def __init__(self, axons: ArrayLike) -> None:
        numbers = np.asarray(axons)
        if numbers.ndim != 1 or not len(numbers) or numbers.dtype.kind not in "iu":
            raise ValueError(f"axons must be integers (n,), not {numbers.dtype} {numbers.shape}")
        if numbers.min() < 0 or numbers.max() > LARGEST_AXON:
            raise ValueError(f"axon must be from 0 to {LARGEST_AXON}, not from {numbers.min()} to {numbers.max()}")
        order = np.argsort(numbers, kind="stable")
        self._axons = numbers[order].astype(np.int64)
        if (np.diff(self._axons) == 0).any():
            raise ValueError("axons must be different for each input, but two are equal")
        # Axons that ascend already need no permutation of the spikes.
        self._order = order if (np.diff(order) != 1).any() else None

    def encode(self, spikes: NDArray[np.bool_], *, last: bool = True) -> bytes:
        """Encode the samples ``spikes`` ``(T, B, n)``; ``last`` sets the flag of the last TICK of each."""
        array = np.asarray(spikes)
        inputs = len(self._axons)
        if array.ndim != 3 or array.dtype != np.bool_ or array.shape[2] != inputs or 0 in array.shape:
            raise ValueError(f"spikes must be booleans (T, B, {inputs}), not {array.dtype} {array.shape}")
        # One row per step, sample after sample, as they are sent.
        rows = array.transpose(1, 0, 2).reshape(-1, inputs)
        if self._order is not None:
            rows = rows[:, self._order]
        counts = np.count_nonzero(rows, axis=1)
        place = np.flatnonzero(rows)
        # Positions within their row.
        place -= np.repeat(np.arange(len(rows)) * inputs, counts)
        return _encode(self._axons[place], counts, np.arange(1, len(rows) + 1) % len(array) == 0 if last else None)


def encode_images(images: NDArray[Any], bits: int) -> bytes:
    """Encode ``images`` ``(B, n)`` of integers from 0 to ``2**bits`` as levels, brightest first
    (`spikeloom.sim.host.encoder.level_events`)."""
    pixels = np.asarray(images)
    if pixels.ndim != 2 or pixels.dtype.kind not in "iu" or 0 in pixels.shape:
        raise ValueError(f"images must be integers (B, n), not {pixels.dtype} {pixels.shape}")
    if pixels.min() < 0 or pixels.max() > 1 << bits:
        raise ValueError(f"images must be from 0 to {1 << bits}, not from {pixels.min()} to {pixels.max()}")
    lit = np.flatnonzero(pixels)
    image, pixel = np.divmod(lit, pixels.shape[1])
    depth = (1 << bits) - pixels.reshape(-1)[lit].astype(np.int64)
    levels = np.ones(len(pixels), np.int64)  # trailing empty levels are not sent, but an image has one at least
    np.maximum.at(levels, image, depth + 1)
    ends = np.cumsum(levels)
    level = (ends - levels)[image] + depth
    total = int(ends[-1])
    # NumPy sorts 16-bit numbers by radix, in a time that is proportional to their number.
    order = np.argsort(level.astype(np.uint16) if total <= 1 << 16 else level, kind="stable")
    last = np.zeros(total, np.bool_)
    last[ends - 1] = True
    return _encode(pixel[order], np.bincount(level, minlength=total), last)


def _encode(axon: NDArray[np.int64], counts: NDArray[np.int64], last: NDArray[np.bool_] | None) -> bytes:
    """Encode the axons of each step, which are sorted, and a TICK after each step, with its flag where ``last``."""
    ends = np.cumsum(counts)
    distance = np.empty(len(axon), np.int64)
    distance[1:] = axon[1:] - axon[:-1]
    distance -= 1
    # The first spike of each step has the distance from axon -1.
    first = (ends - counts)[counts > 0]
    distance[first] = axon[first]
    # One byte per spike and per TICK, first without the SKIPs, which most samples do not need.
    is_spike = np.ones(len(axon) + len(counts), np.bool_)
    ticks = ends + np.arange(len(counts))
    is_spike[ticks] = False
    message = np.empty(len(is_spike), np.uint8)
    message[is_spike] = distance & (SKIP_UNIT - 1) | Opcode.SPIKE
    message[ticks] = Opcode.TICK if last is None else np.where(last, Opcode.TICK_LAST, Opcode.TICK)
    far = np.flatnonzero(distance >= SKIP_UNIT)
    if not len(far):
        return message.tobytes()
    # SKIPs, in units of SKIP_UNIT axons, precede the spikes of far axons: all bytes after them move.
    full, rest = np.divmod(distance[far] >> DISTANCE_BITS, LARGEST_SKIP)
    some = rest > 0
    spikes = np.flatnonzero(is_spike)[far]
    size = np.ones(len(message), np.int64)
    size[spikes] += full + some
    end = np.cumsum(size) - 1
    # Bytes that are not overwritten below are SKIPs of the largest distance.
    longer = np.full(end[-1] + 1, Opcode.SKIP | (LARGEST_SKIP - 1), np.uint8)
    longer[end] = message
    longer[end[spikes[some]] - 1] = Opcode.SKIP | (rest[some] - 1)
    return longer.tobytes()
