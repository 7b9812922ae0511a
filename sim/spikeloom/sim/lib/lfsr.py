"""Linear feedback shift registers: the only source of randomness, bit-exact in model and hardware.

A register of ``width`` bits starts at a nonzero seed. One step shifts it up by one and inserts, as bit 0, the parity of
the bits at its taps, where tap ``t`` is bit ``t - 1``::

    new   = state[t1 - 1] ^ state[t2 - 1] ^ ...         t1 = width, t2, ... the taps of the width
    state = ((state << 1) | new) mod 2**width

Bit 0 is the newest bit, so the bits obey ``b[n] = b[n - t1] ^ b[n - t2] ^ ...``. Every polynomial in `TAPS` is
primitive: from any seed the register runs through all ``2**width - 1`` states other than 0 before it repeats.

Successive states share all but one bit, so they are not independent random words. Hardware that needs a word of ``w``
bits per cycle therefore advances ``w`` steps per cycle and uses the low ``w`` bits, so that no two words share a bit.
`Lfsr.words` is that sequence, and `spikeloom.hdl.lib.lfsr` the hardware.

**Many streams from one register.** `shared_words` derives from each word of ``2 m`` bits one word of ``m`` bits for
each of up to ``2**m`` streams. The low half ``b`` and the high half ``a`` of the word are elements of the field
GF(2**m), and

    word of stream i = b + a i                          (+ is XOR, the product is `field_product`)

If ``(a, b)`` is uniform, each stream is uniform, and *any two streams are independent*: for ``i != j`` exactly one
``(a, b)`` gives each pair of values (the pairwise independent hash of Carter and Wegman, Universal classes of hash
functions, J. Comput. Syst. Sci. 18, 1979). Larger sets are not: of the streams ``i, j, k`` and ``i ^ j ^ k``, any
three determine the fourth. If the words are independent (`TAPS`), streams are not correlated between words either. In
hardware, a product with a constant consists of XORs, and the bits of all products are among the ``2**m - 1`` parities
of ``a``. Beyond these parities, each stream takes one XOR per bit.

**Bernoulli samples.** `bernoulli` compares a number ``count`` from 0 to ``2**w`` with a word of ``w`` bits: the sample
is the carry of their sum, 1 with probability ``count / 2**w``, at 0 and at ``2**w`` with certainty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "FIELDS",
    "TAPS",
    "Lfsr",
    "bernoulli",
    "distinct_seeds",
    "field_product",
    "leap_table",
    "shared_words",
]

TAPS: Mapping[int, tuple[int, ...]] = MappingProxyType(
    {
        3: (3, 2),
        4: (4, 3),
        5: (5, 3),
        6: (6, 5),
        7: (7, 6),
        8: (8, 6, 5, 4),
        9: (9, 8, 6, 5),
        10: (10, 9, 7, 6),
        11: (11, 10, 9, 7),
        12: (12, 9, 7, 6),
        13: (13, 12, 10, 9),
        14: (14, 11, 10, 9),
        15: (15, 14, 13, 11),
        16: (16, 13, 12, 11),
        17: (17, 16, 15, 14),
        18: (18, 17, 16, 13),
        19: (19, 18, 17, 14),
        20: (20, 17, 15, 14),
        21: (21, 20, 19, 16),
        22: (22, 19, 18, 17),
        23: (23, 21, 20, 18),
        24: (24, 23, 21, 20),
        25: (25, 24, 23, 22),
        26: (26, 24, 23, 20),
        27: (27, 26, 25, 22),
        28: (28, 27, 24, 22),
        29: (29, 27, 26, 25),
        30: (30, 29, 26, 24),
        31: (31, 16, 15, 13),
        32: (32, 20, 17, 15),
    }
)
"""Taps by width. From 8 bits on there are four taps, so that each new bit takes one 4-input lookup table. Of the
primitive polynomials, the one with the largest smallest tap is used: this is the number of steps per cycle that need no
chain of XORs.

With such taps, however, a bit and the bits that determine it lie close together, in two words of `Lfsr.words` that are
therefore not independent. The two widest registers, which feed many streams, have scattered taps: any two words of up
to 12 bits within 64 words of each other are independent, over the whole period."""

FIELDS: Mapping[int, int] = MappingProxyType(
    {1: 0b11, 2: 0b111, 3: 0b1011, 4: 0b10011, 5: 0b100101, 6: 0b1000011, 7: 0b10000011, 8: 0b100011011}
)
"""Irreducible polynomials over GF(2) by degree ``m``, bit ``n`` for ``x**n``: products in GF(2**m) are modulo these."""


def _integer(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} must be an integer from {low} to {high}, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class Lfsr:
    """A shift register of ``width`` bits, 3 to 32, that starts at ``seed``, from 1 to ``2**width - 1``."""

    width: int = 20
    seed: int = 1

    def __post_init__(self) -> None:
        _integer("width", self.width, min(TAPS), max(TAPS))
        _integer("seed", self.seed, 1, self.period)

    @property
    def taps(self) -> tuple[int, ...]:
        """Taps of the recurrence; the first is ``width``."""
        return TAPS[self.width]

    @property
    def period(self) -> int:
        """Number of steps after which the state returns to the seed."""
        return (1 << self.width) - 1

    def step(self, state: int) -> int:
        """The state after ``state``, by the recurrence of this module."""
        new = 0
        for tap in self.taps:
            new ^= state >> (tap - 1) & 1
        # `period` is also the mask of `width` bits.
        return (state << 1 | new) & self.period

    def bits(self, count: int) -> NDArray[np.uint8]:
        """The first ``count`` new bits, ``(count,)`` of 0 and 1: those of step 1, 2, ..."""
        _integer("count", count, 0, 1 << 40)
        return self._stream(self.width + count)[self.width :]

    def _stream(self, length: int) -> NDArray[np.uint8]:
        """The seed's bits, highest first, and all new bits after them; ``length`` in total.

        The recurrence also holds with every tap doubled any number of times (squaring a polynomial over GF(2) doubles
        its exponents), so that each block of bits follows from bits far enough before it to compute it at once.
        """
        stream = np.zeros(max(length, self.width), np.uint8)
        # The seed counts as the bits before the first new one. Its highest bit is the oldest.
        stream[: self.width] = [self.seed >> bit & 1 for bit in reversed(range(self.width))]
        known = self.width
        while known < length:
            # The largest power of two whose taps still lie within what is known: blocks double as the stream grows.
            factor = 1 << ((known // self.width).bit_length() - 1)
            # The smallest tap limits the block, because all of its inputs must be known already.
            block = min(self.taps[-1] * factor, length - known)
            new = np.zeros(block, np.uint8)
            for tap in self.taps:
                start = known - tap * factor
                new ^= stream[start : start + block]
            stream[known : known + block] = new
            known += block
        return stream[:length]

    def states(self, count: int, *, steps: int = 1) -> NDArray[np.uint32]:
        """``count`` states ``(count,)``: the seed, then the state after every ``steps`` steps."""
        _integer("count", count, 1, 1 << 40)
        _integer("steps", steps, 1, self.width)
        stream = self._stream(self.width + (count - 1) * steps).astype(np.uint32)
        states = np.zeros(count, np.uint32)
        last = len(stream) - self.width
        for bit in range(self.width):
            # Bit 0 is the newest bit of a state, so bit n starts n places earlier in the stream.
            start = self.width - 1 - bit
            states |= stream[start : start + last + 1 : steps] << np.uint32(bit)
        return states

    def words(self, count: int, width: int) -> NDArray[np.uint32]:
        """``count`` words ``(count,)`` of ``width`` bits that share no bit: the low bits of ``states``, ``width`` steps
        apart. The first word is the low bits of the seed."""
        _integer("width of a word", width, 1, self.width)
        _integer("count", count, 1, 1 << 40)
        # The words follow each other in the stream, beginning with the one that ends the seed.
        bits = self._stream(self.width + (count - 1) * width)[self.width - width :]
        # Three cases: several words per byte, whole bytes per word, and any other width.
        if 8 % width == 0:
            shifts = np.arange(8 - width, -1, -width, dtype=np.uint8)
            several = np.packbits(bits)[:, None] >> shifts & np.uint8((1 << width) - 1)
            return several.reshape(-1)[:count].astype(np.uint32)
        if width % 8 == 0:
            parts = np.packbits(bits).reshape(count, width // 8)
        else:
            parts = np.packbits(bits.reshape(count, width), axis=1)
        words = np.zeros(count, np.uint32)
        for part in parts.T:
            words <<= np.uint32(8)
            words |= part
        # `packbits` pads each word at its low end.
        return words >> np.uint32(-width % 8)


@cache
def leap_table(width: int, steps: int) -> NDArray[np.int64]:
    """The state after ``steps`` steps for each state ``(2**width,)``, 0 included (it stays 0); ``width`` at most 16.

    With it any number of registers of one width advance at once: ``states = leap_table(16, 16)[states]``.
    """
    _integer("width", width, min(TAPS), 16)
    _integer("steps", steps, 0, 1 << 16)
    states = np.arange(1 << width)
    for _ in range(steps):
        new = np.zeros_like(states)
        for tap in TAPS[width]:
            new ^= states >> (tap - 1) & 1
        states = (states << 1 | new) & ((1 << width) - 1)
    # The table is cached and shared.
    states.setflags(write=False)
    return states


def distinct_seeds(seed: int, count: int) -> NDArray[np.int64]:
    """Seeds ``(count,)`` of 16-bit registers, from 1 to 65535, in an order determined by ``seed``.

    The first 65535 are different; then they repeat. Registers of one width run through the same cycle and differ in
    their starting point only, so each repeats another's words after some number of steps; a random order scatters these
    distances. The order is that of numbers drawn by SplitMix64 (Steele, Lea and Flood 2014) from ``seed``, which is
    from 1 to ``2**32 - 1``; a shift register would give nearly the same order for neighbouring seeds.
    """
    _integer("seed", seed, 1, (1 << 32) - 1)
    # The counters of different seeds do not overlap: each seed has 2**32 of them.
    keys = (np.uint64(seed << 32) + np.arange((1 << 16) - 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ keys >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ keys >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    keys ^= keys >> np.uint64(31)
    # Plus 1: a seed is never 0. `resize` repeats the order where more seeds are needed than there are.
    return np.resize(1 + np.argsort(keys, kind="stable"), count)


def field_product(first: ArrayLike, second: ArrayLike, width: int) -> NDArray[np.uint32]:
    """The product in GF(2**width) of elements from 0 to ``2**width - 1``; the shapes broadcast."""
    _integer("width of a field", width, min(FIELDS), max(FIELDS))
    factor, rest = np.broadcast_arrays(np.asarray(first, np.uint32), np.asarray(second, np.uint32))
    product = np.zeros(factor.shape, np.uint32)
    for bit in range(width):
        # Schoolbook multiplication without carries: `factor` is the first operand times x**bit.
        product ^= factor * (rest >> np.uint32(bit) & np.uint32(1))
        factor = factor << np.uint32(1)
        # A bit beyond the degree is reduced by the polynomial.
        factor = factor ^ np.uint32(FIELDS[width]) * (factor >> np.uint32(width))
    return product


def shared_words(words: NDArray[np.uint32], width: int, streams: int) -> NDArray[np.uint32]:
    """``(..., streams)`` words of ``width`` bits, pairwise independent, from ``words`` ``(...)`` of ``2 * width``."""
    _integer("width of a field", width, min(FIELDS), max(FIELDS))
    _integer("streams", streams, 1, 1 << width)
    words = np.asarray(words, np.uint32)[..., None]
    # b is the low half of the word, a the high half: b + a i.
    low = words & np.uint32((1 << width) - 1)
    return low ^ field_product(words >> np.uint32(width), np.arange(streams), width)


def bernoulli(count: NDArray[np.integer], word: NDArray[np.integer], width: int) -> NDArray[np.bool_]:
    """Whether ``count``, 0 to ``2**width``, plus ``word``, 0 to ``2**width - 1``, is at least ``2**width``."""
    return np.asarray(count, np.int64) + word >= 1 << width
