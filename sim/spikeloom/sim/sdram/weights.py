"""Weight words in an SDRAM: their places, the bursts of a row, the self-test, and the checksum.

A weight word takes `WeightMemoryParameters.word_bytes` bytes, a power of two, so that the address of each byte consists
of the index of the word and the number of the byte. A burst holds several words, or a word takes several bursts::

    byte address = index * word_bytes + byte
    burst        = byte address // burst_bytes

A row of ``length`` + 1 words from word ``address`` on is one request for consecutive bursts. Words at both ends of it
that belong to other rows are read and dropped.

The self-test runs once after the initialisation of the chip. It has three phases: it writes a pattern to the addresses
2^(n-1), ..., 4, 2, 1, 0 of bursts and reads them back, then does the same with the inverted pattern, then writes and
reads `TEST_BURSTS` consecutive bursts from address 0 on. Each phase takes its patterns from the same Galois LFSR. An
address bit that only larger chips have exists if 2^n does not return the pattern of address 0, which is written last.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from spikeloom.sim.lib.words import bits_for
from spikeloom.sim.sdram.parameters import SdramParameters

__all__ = [
    "MEMORY_TO_CORE",
    "READ_CYCLES",
    "TEST_BURSTS",
    "TEST_SEED",
    "TEST_TAPS",
    "WeightMemoryParameters",
    "checksum",
    "padded_bits",
    "patterns",
]

READ_CYCLES = 96
"""Cycles of the core's clock in which the host's read of a weight is complete, if the memory's clock is not slower: a
refresh with the precharge before it (31 cycles at 120 MHz), a row that is opened twice (24), the pins and two crossings
(16), and what precedes them on the configuration port."""

MEMORY_TO_CORE = 1.1
"""Smallest ratio of the memory's clock to that of the core at which bytes may be written in every cycle: 16 bursts, the
opening of their row and a refresh take 68 cycles of the memory, and come in 64 of the core."""

TEST_BURSTS = 64
"""Length of the last phase of the self-test: long enough for a row to follow in another bank on no chip, so that all
data pins change in consecutive cycles."""

TEST_SEED = 0x9D3F_A6C5_1B78_E24D
"""First pattern of the self-test, cut to the width of a burst."""

TEST_TAPS = {32: 0x8020_0003, 64: 0xD800_0000_0000_0000}
"""Taps of the LFSR by its width: polynomials of maximum period."""


def padded_bits(width: int) -> int:
    """Bits that a weight word of ``width`` bits takes in the memory: a power of two, at least 8."""
    return max(8, 1 << (width - 1).bit_length())


def patterns(burst_bits: int) -> Iterator[int]:
    """The patterns of a phase of the self-test, without end."""
    state = TEST_SEED & (1 << burst_bits) - 1
    while True:
        yield state
        state = state >> 1 ^ (TEST_TAPS[burst_bits] if state & 1 else 0)


def checksum(data: bytes) -> int:
    """The checksum that the board computes: CRC-32 as in ISO 3309, of whole bursts."""
    return zlib.crc32(data)


@dataclass(frozen=True, kw_only=True)
class WeightMemoryParameters:
    """Weight words in an SDRAM.

    Parameters
    ----------
    sdram
        The controller and its chip, whose bursts must have 32 or 64 bits.
    word_bits
        Width of a weight word, at least 1.
    words
        Number of words that rows can address. They must fit into the largest chip of the board.
    row_words
        Largest number of words of a row.
    """

    sdram: SdramParameters
    word_bits: int
    words: int
    row_words: int

    def __post_init__(self) -> None:
        if self.sdram.burst_bits not in TEST_TAPS:
            raise ValueError(f"width of the chip must be 16 or 32, not {self.sdram.chip.width}")
        for name in ("word_bits", "words", "row_words"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a positive integer, not {value!r}")
        most = self.words_in(self.sdram.address_bits)
        if self.words > most:
            raise ValueError(f"words must be at most {most:,} of {self.word_bytes} bytes each, not {self.words:,}")
        # One request covers a row wherever it begins within a burst.
        bursts = max(self.request(self.words_per_burst - 1, self.row_words - 1)[1], 1)
        if bursts > 1 << self.sdram.count_bits:
            raise ValueError(f"row_words must be at most {1 << self.sdram.count_bits:,} bursts, not {bursts:,}")

    @property
    def word_bytes(self) -> int:
        """Bytes of a word, a power of two."""
        return padded_bits(self.word_bits) // 8

    @property
    def words_per_burst(self) -> int:
        """Words in a burst; 1 if a word takes one or several bursts."""
        return max(1, self.sdram.burst_bytes // self.word_bytes)

    @property
    def bursts_per_word(self) -> int:
        """Bursts of a word; 1 if a burst holds one or several words."""
        return max(1, self.word_bytes // self.sdram.burst_bytes)

    @property
    def byte_bits(self) -> int:
        """Width of the number of a byte within a word."""
        return bits_for(self.word_bytes) if self.word_bytes > 1 else 0

    @property
    def burst_byte_bits(self) -> int:
        """Width of the number of a byte within a burst."""
        return bits_for(self.sdram.burst_bytes)

    def words_in(self, address_bits: int) -> int:
        """Number of words in 2^``address_bits`` bursts."""
        return (self.sdram.burst_bytes << address_bits) // self.word_bytes

    def request(self, address: int, length: int) -> tuple[int, int]:
        """First burst, and number of bursts, of the ``length`` + 1 words from word ``address`` on."""
        if self.bursts_per_word > 1:
            return address * self.bursts_per_word, (length + 1) * self.bursts_per_word
        first = address // self.words_per_burst
        return first, (address + length) // self.words_per_burst - first + 1

    @cached_property
    def test_addresses(self) -> tuple[int, ...]:
        """The addresses of the first two phases of the self-test, in order."""
        return (*(1 << bit for bit in reversed(range(self.sdram.address_bits))), 0)

    @property
    def base_pattern(self) -> int:
        """The pattern of address 0 in the first phase."""
        return next(islice(patterns(self.sdram.burst_bits), len(self.test_addresses) - 1, None))
