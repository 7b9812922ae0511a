"""Memory words with named bit fields: declared once, packed here for the host, unpacked by the RTL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Field", "WordLayout", "bits_for", "pack_lanes", "unpack_lanes", "weight_bits", "weight_range"]


def bits_for(count: int) -> int:
    """Width of an index of ``count`` items, at least 1."""
    # A single item needs no index, but a signal without bits would be a special case everywhere.
    return max(1, (count - 1).bit_length())


def weight_range(width: int) -> tuple[int, int]:
    """Smallest and largest weight of ``width`` bits: two's complement, but -1 and 1 for one bit."""
    return (-1, 1) if width == 1 else (-(1 << (width - 1)), (1 << (width - 1)) - 1)


def weight_bits(weights: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """Bits ``(n, width)`` of weights ``(n,)``, lowest first. A weight of one bit is set for 1 and clear for -1 or 0.

    Raises ``ValueError`` for a weight out of range, unless ``width`` is 1.
    """
    if width == 1:
        return (weights > 0).astype(np.uint8)[:, None]
    low, high = weight_range(width)
    if len(weights) and (weights.min() < low or weights.max() > high):
        raise ValueError(f"weight must be from {low} to {high}, not {int(weights.min())} to {int(weights.max())}")
    # `WordLayout.bits` would use 64 bits of memory per bit, too much for millions of weights.
    pairs = weights.astype("<u2").view(np.uint8).reshape(-1, 2)  # two's complement, of which 16 bits are kept
    return np.unpackbits(pairs, axis=1, bitorder="little")[:, :width]


@dataclass(frozen=True)
class Field:
    """A named field of ``width`` bits, two's complement if ``signed``; with width 0 it is absent from the hardware."""

    name: str
    width: int
    signed: bool = False


@dataclass(frozen=True)
class WordLayout:
    """Fields of a word, the first in the lowest bits."""

    fields: tuple[Field, ...]

    @property
    def width(self) -> int:
        """Bits of the word."""
        return sum(field.width for field in self.fields)

    def bits(self, values: Mapping[str, ArrayLike], count: int) -> NDArray[np.uint8]:
        """Bits ``(count, width)`` of ``count`` words, lowest first. Fields missing from ``values`` are 0.

        Raises ``ValueError`` if a value does not fit its field, including fields of width 0.
        """
        columns = []
        for field in self.fields:
            array = np.broadcast_to(np.asarray(values.get(field.name, 0), np.int64), (count,))
            # A field without bits holds 0 only, signed or not.
            low = -(1 << (field.width - 1)) if field.signed and field.width else 0
            high = (1 << (field.width - 1 if field.signed and field.width else field.width)) - 1
            if count and (array.min() < low or array.max() > high):
                raise ValueError(
                    f"{field.name} must be from {low} to {high}, not {int(array.min())} to {int(array.max())}"
                )
            columns.append((array[:, None] >> np.arange(field.width)) & 1)
        return np.concatenate(columns, axis=1).astype(np.uint8)

    def values(self, bits: NDArray[np.uint8]) -> dict[str, NDArray[np.int64]]:
        """The fields of words with bits ``(count, width)``, each ``(count,)``: the inverse of `bits`."""
        result, first = {}, 0
        for field in self.fields:
            # The sign bit has a negative weight.
            place = np.int64(1) << np.arange(field.width, dtype=np.int64)
            if field.signed and field.width:
                place[-1] = -place[-1]
            result[field.name] = bits[:, first : first + field.width].astype(np.int64) @ place
            first += field.width
        return result


def pack_lanes(bits: NDArray[np.uint8], lanes: int) -> NDArray[np.uint8]:
    """Join ``lanes`` consecutive words of bits ``(n, width)`` into one; return bytes ``(n // lanes, planes)``.

    Raises ``ValueError`` unless ``n`` is a multiple of ``lanes``.
    """
    count, width = bits.shape
    # A word is complete or absent.
    if count % lanes:
        raise ValueError(f"the number of words must be a multiple of {lanes} lanes, not {count}")
    return np.packbits(bits.reshape(count // lanes, lanes * width), axis=1, bitorder="little")


def unpack_lanes(words: NDArray[np.uint8], lanes: int, width: int) -> NDArray[np.uint8]:
    """Split words ``(n // lanes, planes)`` into bits ``(n, width)``: the inverse of `pack_lanes`."""
    bits = np.unpackbits(words, axis=1, bitorder="little", count=lanes * width)
    return bits.reshape(-1, width)
