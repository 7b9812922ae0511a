"""Encodes many samples at once: spikes of each step, or images for the encoder of the board.

The bytes are those of `spikeloom.sim.host.messages.encode_spikes`, sample after sample. Each NumPy call costs about a
microsecond, so samples of a hundred spikes are encoded several times faster together. Where the package was built with
a C compiler, `spikeloom.sim.host.compiled_samples` does the same, several times faster again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.sim.host.compiled_samples import compiled_samples
from spikeloom.sim.host.messages import DISTANCE_BITS, LARGEST_AXON, LARGEST_SKIP, SKIP_UNIT, Opcode

__all__ = ["SampleEncoder", "encode_images"]

_FEW_BITS = 3
"""Bits of a pixel up to which an array with one row per level is small, and faster than sorting."""
_MOST_COMPILED_BITS = 16
"""Bits of a pixel up to which the compiled form's buffer, which is large enough for any content, is acceptable."""
_SPIKE, _TICK, _TICK_LAST = int(Opcode.SPIKE), int(Opcode.TICK), int(Opcode.TICK_LAST)
_SKIP = int(Opcode.SKIP)
_LONGEST_SKIP = bytes([_SKIP + LARGEST_SKIP - 1])
_STEP_TICK, _LAST_TICK = bytes([_TICK]), bytes([_TICK_LAST])


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
        axons = numbers[order].astype(np.int64)
        steps = np.diff(axons)
        if (steps == 0).any():
            raise ValueError("axons must be different for each input, but two are equal")
        # Axons that ascend already need no permutation of the spikes.
        self._order = order if (np.diff(order) != 1).any() else None
        self._sorted = axons.astype(np.int32)
        self._inputs, self._first = len(axons), int(axons[0])
        self._axons = np.append(axons, -1)  # a TICK counts as axon -1
        # The distance of two spikes is then that of their inputs.
        self._consecutive = bool((steps == 1).all())

    def encode(self, spikes: NDArray[np.bool_], *, last: bool = True) -> bytes:
        """Encode the samples ``spikes`` ``(T, B, n)``; ``last`` sets the flag of the last TICK of each.

        Raises ``ValueError`` for another shape or type.
        """
        array = np.asarray(spikes)
        inputs = self._inputs
        if array.ndim != 3 or array.dtype != np.bool_ or array.shape[2] != inputs or 0 in array.shape:
            raise ValueError(f"spikes must be booleans (T, B, {inputs}), not {array.dtype} {array.shape}")
        if self._order is not None:
            array = array[:, :, self._order]
        if (compiled := compiled_samples()) is not None:
            return compiled.encode_spikes(array, self._sorted, last=last)
        steps, samples, _ = array.shape
        # One row per step, sample after sample, as they are sent.
        rows = np.empty((samples, steps, inputs + 1), np.bool_)
        rows[..., :inputs] = array.transpose(1, 0, 2)
        rows[..., inputs] = True
        place, counts = np.flatnonzero(rows), np.full(samples, steps)
        axons = None if self._consecutive else self._axons
        return _encode(place, counts, inputs + 1, last=last, first=self._first, axons=axons)

    def encode_step(self, spikes: NDArray[np.bool_], *, last: bool) -> bytes:
        """Encode one step ``spikes`` ``(n,)``; ``last`` sets the flag of its TICK.

        The bytes are those of `encode`, at a lower cost per call, which matters in a closed loop. Raises ``ValueError``
        for another shape or type.
        """
        if spikes.shape != (self._inputs,) or spikes.dtype != np.bool_:
            raise ValueError(f"spikes must be booleans ({self._inputs},), not {spikes.dtype} {spikes.shape}")
        if compiled_samples() is not None:
            return self.encode(spikes[None, None], last=last)
        axon = self._axons[:-1][spikes if self._order is None else spikes[self._order]]
        distance = axon.copy()
        distance[1:] -= axon[:-1] + 1
        message = (distance.astype(np.uint8) | _SPIKE).tobytes() + (_LAST_TICK if last else _STEP_TICK)
        # SKIPs precede the spikes of far axons, of which a step has few.
        if distance.max(initial=0) >= SKIP_UNIT:
            pieces, done = [], 0
            for place in np.flatnonzero(distance >= SKIP_UNIT).tolist():
                full, rest = divmod(int(distance[place]) >> DISTANCE_BITS, LARGEST_SKIP)
                pieces += [message[done:place], _LONGEST_SKIP * full]
                if rest:
                    pieces.append(bytes([_SKIP + rest - 1]))
                done = place
            return b"".join([*pieces, message[done:]])
        return message


def encode_images(images: NDArray[Any], bits: int) -> bytes:
    """Encode ``images`` ``(B, n)`` of integers from 0 to ``2**bits`` as levels, brightest first
    (`spikeloom.sim.host.encoder.level_events`). Raises ``ValueError`` for other shapes or values."""
    pixels = np.asarray(images)
    if pixels.ndim != 2 or pixels.dtype.kind not in "iu" or 0 in pixels.shape:
        raise ValueError(f"images must be integers (B, n), not {pixels.dtype} {pixels.shape}")
    if bits <= _MOST_COMPILED_BITS and (compiled := compiled_samples()) is not None:
        encoded = compiled.encode_images(pixels, bits)
        if encoded is not None:
            return encoded
    if pixels.min() < 0 or pixels.max() > 1 << bits:
        raise ValueError(f"images must be from 0 to {1 << bits}, not from {pixels.min()} to {pixels.max()}")
    places = _places_in_few_levels if bits <= _FEW_BITS else _places_in_many_levels
    place, counts = places(pixels, bits)
    return _encode(place, counts, pixels.shape[1] + 1)


def _places_in_few_levels(images: NDArray[Any], bits: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return all levels as the argument ``place`` of `_encode`, and the number of levels of each image."""
    count, inputs = images.shape
    most = 1 << bits
    narrow = images.astype(np.uint8)  # bytes are compared several times faster than words
    rows = np.empty((count, most, inputs + 1), np.bool_)
    for level in range(most):
        np.equal(narrow, most - level, out=rows[:, level, :inputs])
    rows[..., inputs] = True
    # Trailing empty levels are not sent, but an image has at least one level.
    levels = np.full(count, most)
    for level in range(most - 1, 0, -1):
        deep = np.flatnonzero(levels == level + 1)
        levels[deep[~rows[deep, level, :inputs].any(axis=1)]] = level
    if levels.min() < most:
        rows = rows[np.arange(most) < levels[:, None]]
    return np.flatnonzero(rows), levels


def _places_in_many_levels(images: NDArray[Any], bits: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Like `_places_in_few_levels`, without an array of all levels."""
    count, inputs = images.shape
    lit = np.flatnonzero(images)
    image, pixel = np.divmod(lit, inputs)
    depth = (1 << bits) - images.reshape(-1)[lit].astype(np.int64)
    levels = np.ones(count, np.int64)
    np.maximum.at(levels, image, depth + 1)
    ends = np.cumsum(levels)
    level = (ends - levels)[image] + depth
    total = int(ends[-1])
    # NumPy sorts 16-bit numbers by radix, in a time that is proportional to their number.
    order = np.argsort(level.astype(np.uint16) if total <= 1 << 16 else level, kind="stable")
    place = np.empty(len(lit) + total, np.int64)
    is_tick = np.zeros(len(place), np.bool_)
    is_tick[np.cumsum(np.bincount(level, minlength=total) + 1) - 1] = True
    place[is_tick] = np.arange(1, total + 1) * (inputs + 1) - 1
    place[~is_tick] = (level * (inputs + 1) + pixel)[order]
    return place, levels


def _encode(
    place: NDArray[np.int64],
    counts: NDArray[np.int64],
    columns: int,
    *,
    last: bool = True,
    first: int = 0,
    axons: NDArray[np.int64] | None = None,
) -> bytes:
    """Encode samples of ``counts`` ``(B,)`` steps.

    ``place`` holds the events in order: ``step * columns + input`` of each spike, with steps counted over all samples,
    and ``step * columns + columns - 1`` of the TICK of each step. ``axons`` ``(columns,)`` ascend and end with -1, the
    axon of a TICK; without them, they are consecutive numbers from ``first`` on.
    """
    ends = np.cumsum(counts)
    ticks = np.searchsorted(place, np.arange(1, ends[-1] + 1) * columns - 1)
    # The distance from the previous spike, or from the previous TICK, whose place directly precedes the next step.
    axon = place if axons is None else axons[place % columns]
    distance = np.empty(len(place), np.int64)
    distance[0] = axon[0]
    np.subtract(axon[1:], axon[:-1], out=distance[1:])
    distance[1:] -= 1
    if first and axons is None:
        distance[0] += first
        distance[ticks[:-1] + 1] += first
    distance[ticks] = 0
    message = distance.astype(np.uint8)
    message |= _SPIKE
    message[ticks] = _TICK
    if last:
        message[ticks[ends - 1]] = _TICK_LAST
    # Almost always, every distance fits a SPIKE.
    if distance.max() < SKIP_UNIT:
        return message.tobytes()
    # SKIPs, in units of SKIP_UNIT axons, precede the spikes of far axons: all bytes after them move.
    far = np.flatnonzero(distance >= SKIP_UNIT)
    full, rest = np.divmod(distance[far] >> DISTANCE_BITS, LARGEST_SKIP)
    some = rest > 0
    size = np.ones(len(message), np.int64)
    size[far] += full + some
    end = np.cumsum(size) - 1
    # Bytes that are not overwritten below are SKIPs of the largest distance.
    longer = np.full(end[-1] + 1, Opcode.SKIP | (LARGEST_SKIP - 1), np.uint8)
    longer[end] = message
    longer[end[far[some]] - 1] = Opcode.SKIP | (rest[some] - 1)
    return longer.tobytes()
