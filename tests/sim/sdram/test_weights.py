"""Weight words in SDRAM: requests for rows, patterns of the self-test, refused parameters."""

import dataclasses

import pytest
from harness.sdram import COLORLIGHT, ULX3S

from spikeloom.sim.sdram.commands import BURST
from spikeloom.sim.sdram.weights import TEST_TAPS, WeightMemoryParameters, checksum, padded_bits, patterns

P = WeightMemoryParameters(sdram=ULX3S, word_bits=32, words=1 << 20, row_words=256)


def test_words_and_bursts():
    found = {}
    for bits in (1, 8, 9, 20, 32, 33, 100, 128):
        p = dataclasses.replace(P, word_bits=bits)
        found[bits] = p.word_bytes, p.words_per_burst, p.bursts_per_word, p.byte_bits
        assert padded_bits(bits) == 8 * p.word_bytes >= bits
    assert found == {
        1: (1, 4, 1, 0),
        8: (1, 4, 1, 0),
        9: (2, 2, 1, 1),
        20: (4, 1, 1, 2),
        32: (4, 1, 1, 2),
        33: (8, 1, 2, 3),
        100: (16, 1, 4, 4),
        128: (16, 1, 4, 4),
    }
    assert P.burst_byte_bits == 2
    assert dataclasses.replace(P, sdram=COLORLIGHT).burst_byte_bits == 3


@pytest.mark.parametrize("bits", [8, 16, 32, 64, 128])
def test_the_bursts_of_a_request_hold_its_words_and_no_more(bits):
    p = dataclasses.replace(P, word_bits=bits)
    for address in range(9):
        for length in range(9):
            first, bursts = p.request(address, length)
            size = p.sdram.burst_bytes
            begin, end = address * p.word_bytes, (address + length + 1) * p.word_bytes
            assert first * size <= begin < (first + 1) * size
            assert (first + bursts - 1) * size < end <= (first + bursts) * size


def test_patterns_by_hand():
    """An odd pattern is shifted down, and the taps are added."""
    found = patterns(32)
    assert [next(found) for _ in range(3)] == [0x1B78E24D, 0x0DBC7126 ^ 0x80200003, 0x8D9C7125 >> 1 ^ 0x80200003]
    assert next(patterns(64)) == 0x9D3FA6C51B78E24D


def test_patterns_change_every_bit_and_differ():
    for bits in TEST_TAPS:
        states = [state for state, _ in zip(patterns(bits), range(200), strict=False)]
        assert len(set(states)) == len(states)
        assert max(states) < 1 << bits
        # Any two pins differ in some pattern of the first phase, and each has both levels.
        width = bits // BURST
        columns = {tuple(state >> bit & 1 for state in states[:24]) for bit in range(bits)}
        assert len(columns) == bits
        assert all(0 < sum(column) < 24 for column in columns)
        assert width in (16, 32)


def test_the_lfsr_runs_through_its_whole_period():
    """Multiplication by x in GF(2): the period of x divides 2^32 - 1, and none of its proper divisors."""

    def after(steps: int, bits: int) -> tuple[int, ...]:
        # The images of the unit vectors under `steps` steps, by repeated squaring.
        power = [1 << bit - 1 if bit else TEST_TAPS[bits] for bit in range(bits)]
        image = [1 << bit for bit in range(bits)]

        def apply(matrix, vector):
            found = 0
            for bit in range(bits):
                if vector >> bit & 1:
                    found ^= matrix[bit]
            return found

        while steps:
            if steps & 1:
                image = [apply(power, vector) for vector in image]
            power = [apply(power, vector) for vector in power]
            steps >>= 1
        return tuple(image)

    for bits, primes in ((32, (3, 5, 17, 257, 65537)), (64, (3, 5, 17, 257, 641, 65537, 6700417))):
        identity = tuple(1 << bit for bit in range(bits))
        assert after((1 << bits) - 1, bits) == identity
        assert all(after(((1 << bits) - 1) // prime, bits) != identity for prime in primes)


def test_self_test_addresses():
    assert P.test_addresses[0] == 1 << P.sdram.address_bits - 1
    assert P.test_addresses[-3:] == (2, 1, 0)
    assert len(P.test_addresses) == P.sdram.address_bits + 1
    states = [state for state, _ in zip(patterns(32), P.test_addresses, strict=False)]
    assert P.base_pattern == states[-1] != states[0]


def test_checksum():
    assert checksum(b"123456789") == 0xCBF43926


def test_refused_parameters():
    for changes, message in (
        ({"words": 0}, r"^words must be a positive integer, not 0$"),
        ({"row_words": True}, r"^row_words must be a positive integer, not True$"),
        ({"word_bits": 0}, r"^word_bits must be a positive integer, not 0$"),
        ({"words": (1 << 24) + 1}, r"^words must be at most 16,777,216 of 4 bytes each, not 16,777,217$"),
        ({"row_words": 1025}, r"^row_words must be at most 1,024 bursts, not 1,025$"),
        (
            {"sdram": dataclasses.replace(ULX3S, chip=dataclasses.replace(ULX3S.chip, width=24))},
            r"^width of the chip must be 16 or 32, not 24$",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(P, **changes)
    assert dataclasses.replace(P, words=1 << 24, row_words=1024).words == 1 << 24
    assert dataclasses.replace(P, word_bits=1, words=1, row_words=1).word_bytes == 1
    # With several words per burst a row may begin in the middle of one.
    bytes_of = dataclasses.replace(P, word_bits=8)
    assert dataclasses.replace(bytes_of, row_words=4093).row_words == 4093
    with pytest.raises(ValueError, match=r"^row_words must be at most 1,024 bursts, not 1,025$"):
        dataclasses.replace(bytes_of, row_words=4094)
