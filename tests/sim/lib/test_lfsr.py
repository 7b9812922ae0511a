"""Shift registers: the recurrence, the whole period, a proof per polynomial, shared streams, invalid input."""

import numpy as np
import pytest
from harness.bounds import assert_bounds

from spikeloom.sim.lib import lfsr
from spikeloom.sim.lib.lfsr import (
    FIELDS,
    TAPS,
    Lfsr,
    bernoulli,
    distinct_seeds,
    field_product,
    leap_table,
    shared_words,
)


def test_recurrence_by_hand():
    """Width 3, taps 3 and 2: 001 -> 010 (0^0) -> 101 (0^1) -> 011 (1^0) -> 111 (0^1) -> 110 -> 100 -> 001."""
    assert Lfsr(width=3, seed=1).states(8).tolist() == [0b001, 0b010, 0b101, 0b011, 0b111, 0b110, 0b100, 0b001]


@pytest.mark.parametrize("width", range(3, 21))
def test_whole_period(width):
    """From an arbitrary seed, every nonzero state occurs once, each following from the one before, and then the seed
    again."""
    lfsr = Lfsr(width=width, seed=(1 << width) // 3 or 1)
    states = lfsr.states(lfsr.period + 1)
    assert states[0] == states[-1] == lfsr.seed
    assert np.array_equal(np.sort(states[:-1]), np.arange(1, 1 << width))
    new = np.zeros(lfsr.period, np.uint32)
    for tap in lfsr.taps:
        new ^= states[:-1] >> np.uint32(tap - 1) & 1
    assert np.array_equal(states[1:], (states[:-1] << np.uint32(1) | new) & lfsr.period)
    assert np.array_equal(lfsr.bits(lfsr.period), states[1:] & 1)


@pytest.mark.parametrize("width", [3, 8, 20, 31, 32])
def test_step_is_the_next_state(width):
    lfsr = Lfsr(width=width, seed=(1 << width) - 2)
    states = lfsr.states(2000)
    state = lfsr.seed
    for expected in states:
        assert state == expected
        state = lfsr.step(state)
    assert len(np.unique(states)) > 1


def product(a, b, modulus, width):
    """The product ``a * b`` modulo ``modulus`` over GF(2), with polynomials as bits."""
    result = 0
    while b:
        if b & 1:
            result ^= a
        b >>= 1
        a <<= 1
        if a >> width & 1:
            a ^= modulus
    return result


def power_of_x(exponent, modulus, width):
    result, base = 1, 2
    while exponent:
        if exponent & 1:
            result = product(result, base, modulus, width)
        base = product(base, base, modulus, width)
        exponent >>= 1
    return result


def prime_factors(number):
    factors, candidate = set(), 2
    while candidate * candidate <= number:
        while number % candidate == 0:
            factors.add(candidate)
            number //= candidate
        candidate += 1
    return factors | {number} - {1}


def test_every_width_has_its_taps():
    assert list(TAPS) == list(range(3, 33))
    assert list(FIELDS) == list(range(1, 9))


@pytest.mark.parametrize("width", TAPS)
def test_polynomial_is_primitive(width):
    """x has order 2**width - 1, which proves the full period even where it is too long to run."""
    taps = TAPS[width]
    assert taps[0] == width
    assert list(taps) == sorted(set(taps), reverse=True)
    modulus = 1 << width | sum(1 << (width - tap) for tap in taps)
    period = (1 << width) - 1
    assert power_of_x(period, modulus, width) == 1
    for factor in prime_factors(period):
        assert power_of_x(period // factor, modulus, width) != 1


@pytest.mark.parametrize("steps", [1, 2, 5, 8])
def test_several_steps_at_once(steps):
    lfsr = Lfsr(width=8, seed=77)
    assert np.array_equal(lfsr.states(200, steps=steps), lfsr.states(200 * steps)[::steps])


def test_words_share_no_bit():
    lfsr = Lfsr(width=12, seed=5)
    words = lfsr.words(50, 4)
    assert words[0] == lfsr.seed & 15
    bits = lfsr.bits(4 * 49).reshape(49, 4)
    assert np.array_equal(words[1:], bits @ [8, 4, 2, 1])


@pytest.mark.parametrize("width", [5, 20, 32])
def test_words_of_every_width_are_the_low_bits_of_states(width):
    """Words that fill bytes, divide bytes, and others, starting from the first word."""
    lfsr = Lfsr(width=width, seed=19)
    for bits in range(1, width + 1):
        for count in (1, 2, 77):
            expected = lfsr.states(count, steps=bits) & ((1 << bits) - 1)
            words = lfsr.words(count, bits)
            assert words.dtype == np.uint32
            assert np.array_equal(words, expected), (bits, count)


def test_words_of_a_whole_period_are_even():
    """Every word occurs equally often, except that word 0 occurs once less, because state 0 is missing."""
    lfsr = Lfsr(width=11)
    counts = np.bincount(lfsr.words(lfsr.period, 4))
    assert counts.tolist() == [2**7 - 1] + [2**7] * 15


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 2}, r"^width must be an integer from 3 to 32, not 2$"),
        ({"width": 33}, r"^width must be an integer from 3 to 32, not 33$"),
        ({"width": 8.0}, r"^width must be an integer from 3 to 32, not 8\.0$"),
        ({"width": 8, "seed": 0}, r"^seed must be an integer from 1 to 255, not 0$"),
        ({"width": 8, "seed": 256}, r"^seed must be an integer from 1 to 255, not 256$"),
        ({"width": 8, "seed": True}, r"^seed must be an integer from 1 to 255, not True$"),
    ],
)
def test_bad_register(arguments, message):
    with pytest.raises(ValueError, match=message):
        Lfsr(**arguments)


def test_bad_counts():
    lfsr = Lfsr(width=8)
    with pytest.raises(ValueError, match=r"^count must be an integer from 0 to \d+, not -1$"):
        lfsr.bits(-1)
    with pytest.raises(ValueError, match=r"^count must be an integer from 1 to \d+, not 0$"):
        lfsr.states(0)
    with pytest.raises(ValueError, match=r"^steps must be an integer from 1 to 8, not 9$"):
        lfsr.states(5, steps=9)
    with pytest.raises(ValueError, match=r"^width of a word must be an integer from 1 to 8, not 0$"):
        lfsr.words(5, 0)


@pytest.mark.parametrize(("width", "steps"), [(16, 16), (16, 1), (8, 5), (3, 0)])
def test_leap_table_advances_by_its_steps(width, steps):
    table, lfsr = leap_table(width, steps), Lfsr(width=width)
    assert table.shape == (1 << width,)
    assert table[0] == 0
    assert sorted(table.tolist()) == list(range(1 << width)), "a step loses nothing"
    for state in {1, 2, 1 << (width - 1), (1 << width) - 1, 0xACE1 % (1 << width)}:
        after = state
        for _ in range(steps):
            after = lfsr.step(after)
        assert table[state] == after


def test_leap_table_of_a_wide_register_is_refused():
    with pytest.raises(ValueError, match=r"^width must be an integer from 3 to 16, not 17$"):
        leap_table(17, 1)


def test_seeds_are_different_and_scattered():
    seeds = distinct_seeds(1, (1 << 16) - 1)
    assert sorted(seeds.tolist()) == list(range(1, 1 << 16))
    assert distinct_seeds(1, 70000)[(1 << 16) - 1 :].tolist() == seeds[: 70000 - 65535].tolist()
    for seed in (1, 2, 0xFFFFFFFF):
        few = distinct_seeds(seed, 256)
        assert abs(few.mean() - 32768) < 5 * 65536 / np.sqrt(12 * 256)
        assert abs(np.corrcoef(few[:-1], few[1:])[0, 1]) < 5 / 16
        after = set(leap_table(16, 16)[few].tolist())
        assert len(after & set(few.tolist())) <= 6, "about one register in 256 is a step before another"
    assert len(set(distinct_seeds(1, 256).tolist()) & set(distinct_seeds(2, 256).tolist())) <= 6
    with pytest.raises(ValueError, match=r"^seed must be an integer from 1 to 4294967295, not 0$"):
        distinct_seeds(0, 4)


# One word for many streams


@pytest.mark.parametrize("width", FIELDS)
def test_field(width):
    """Products with a nonzero element are a permutation, agree with those computed by hand, and distribute over
    sums."""
    assert FIELDS[width].bit_length() == width + 1
    elements = np.arange(1 << width, dtype=np.uint32)
    table = field_product(elements[:, None], elements, width)
    assert np.array_equal(np.sort(table[1:], axis=1), np.tile(elements, (len(elements) - 1, 1)))
    assert not table[0].any()
    assert np.array_equal(table[1], elements)
    rng = np.random.default_rng(width)
    for a, b, c in rng.integers(0, 1 << width, (200, 3)):
        assert table[a, b] == product(int(a), int(b), FIELDS[width], width)
        assert table[a, b ^ c] == table[a, b] ^ table[a, c]


def rotated_words(words, width, streams):
    """A counterexample for `shared_words`: each stream has the same bits, rotated."""
    words = np.asarray(words, np.uint32)[..., None]
    shift = np.arange(streams, dtype=np.uint32) % np.uint32(2 * width)
    both = words << shift | words >> (np.uint32(2 * width) - shift)
    return both & np.uint32((1 << width) - 1)


def common_words(words, width, streams):
    """One word for all streams."""
    return np.repeat(np.asarray(words, np.uint32)[..., None] & np.uint32((1 << width) - 1), streams, axis=-1)


def assert_pairwise_independent(share, width, streams):
    """Over all words of ``2 width`` bits, each pair of streams takes each pair of values exactly once."""
    words = share(np.arange(1 << 2 * width), width, streams).astype(np.int64)
    assert words.shape == (1 << 2 * width, streams)
    for first in range(streams):
        pairs = np.sort(words[:, first, None] << width | words[:, first + 1 :], axis=0)
        assert np.array_equal(pairs, np.broadcast_to(np.arange(1 << 2 * width)[:, None], pairs.shape))


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
def test_any_two_streams_are_independent(width):
    assert_pairwise_independent(shared_words, width, 1 << width)


def test_any_two_of_some_streams_of_wide_words_are_independent():
    assert_pairwise_independent(shared_words, 6, 16)
    assert_pairwise_independent(shared_words, 8, 4)


@pytest.mark.parametrize("share", [rotated_words, common_words])
def test_other_ways_to_share_are_found_out(share):
    with pytest.raises(AssertionError):
        assert_pairwise_independent(share, 4, 16)
    with pytest.raises(AssertionError):
        assert_streams_are_independent(share, 6, 64, Lfsr(width=31, seed=12345))


def assert_streams_are_independent(share, width, streams, register, count=20_000):
    """Bernoulli samples of all streams of one register: their means, and the correlations of all pairs and lags.

    For n samples, a mean deviates by ``sqrt(p (1 - p) / n)`` and a correlation by ``1 / sqrt(n)``; the limit is five
    and a half times that, which one run in 400 would exceed with 60,000 numbers.
    """
    words = share(register.words(count, 2 * width), width, streams)
    for probability in ((1 << width) // 3, 1 << (width - 1), (1 << width) - 2):
        samples = bernoulli(np.int64(probability), words, width)
        p = probability / (1 << width)
        z = (samples.mean(axis=0) - p) / np.sqrt(p * (1 - p) / count)
        assert np.abs(z).max() < 5.5
        centred = ((samples - p) / np.sqrt(p * (1 - p))).astype(np.float32)
        for lag in (0, 1, 2, 3, 7):
            correlation = centred[: count - lag].T @ centred[lag:] / np.sqrt(count - lag)
            if not lag:
                correlation = correlation[np.triu_indices(streams, 1)]
            assert np.abs(correlation).max() < 5.5


@pytest.mark.parametrize(("width", "streams", "register"), [(6, 64, 31), (6, 64, 32), (4, 16, 31), (4, 16, 32)])
def test_streams_of_one_register_have_no_bias_and_no_correlation(width, streams, register):
    assert_streams_are_independent(shared_words, width, streams, Lfsr(width=register, seed=12345))


def rank(vectors):
    """The rank of vectors over GF(2), given as numbers whose bits are the components."""
    basis = {}
    for vector in vectors:
        while vector and vector.bit_length() in basis:
            vector ^= basis[vector.bit_length()]
        if vector:
            basis[vector.bit_length()] = vector
    return len(basis)


def dependent_words(taps, width):
    """The lags, up to 64, at which two words of ``width`` bits of a register satisfy a parity over its whole period.

    Bit ``n`` of the sequence is a sum of initial bits, whose coefficients are those of ``x**n`` modulo the polynomial.
    """
    modulus = 1 << taps[0] | sum(1 << (taps[0] - tap) for tap in taps)
    powers = [1]
    while len(powers) < 65 * width:
        powers.append(product(powers[-1], 2, modulus, taps[0]))
    first = powers[:width]
    return [lag for lag in range(1, 65) if rank(first + powers[lag * width : (lag + 1) * width]) < 2 * width]


@pytest.mark.parametrize("register", [31, 32])
@pytest.mark.parametrize("width", range(2, 14, 2))
def test_words_near_each_other_are_independent(register, width):
    assert dependent_words(TAPS[register], width) == []


def test_taps_side_by_side_make_words_that_depend_on_each_other(monkeypatch):
    """The same holds for the words derived from them."""
    monkeypatch.setattr(lfsr, "TAPS", {**TAPS, 31: (31, 30, 29, 28)})
    with pytest.raises(AssertionError):
        assert_streams_are_independent(shared_words, 6, 64, Lfsr(width=31, seed=12345))
    assert dependent_words((31, 30, 29, 28), 12)[:4] == [2, 3, 5, 7]
    assert dependent_words((32, 30, 26, 25), 12) == [2, 3]


@pytest.mark.parametrize("width", [1, 2, 6, 8])
def test_bernoulli_is_exact(width):
    """For every count, exactly ``count`` of all words give a 1."""
    counts = np.arange((1 << width) + 1)
    samples = bernoulli(counts[:, None], np.arange(1 << width), width)
    assert np.array_equal(samples.sum(axis=1), counts)


def test_bad_sharing():
    with pytest.raises(ValueError, match=r"^width of a field must be an integer from 1 to 8, not 9$"):
        field_product(1, 1, 9)
    with pytest.raises(ValueError, match=r"^streams must be an integer from 1 to 16, not 17$"):
        shared_words(np.zeros(3, np.uint32), 4, 17)


def test_bounds():
    register = Lfsr(width=8)
    for make, name, low, high, others in (
        (Lfsr, "width", 3, 32, {}),
        (Lfsr, "seed", 1, 255, {"width": 8}),
        (register.states, "steps", 1, 8, {"count": 3}),
        (lfsr.distinct_seeds, "seed", 1, (1 << 32) - 1, {"count": 1}),
        (lfsr.shared_words, "streams", 1, 16, {"words": np.zeros(1, np.uint32), "width": 4}),
    ):
        assert_bounds(make, name, low, high, **others)
    assert (Lfsr().width, Lfsr().seed) == (20, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Lfsr().bits(-1), "count must be an integer from 0 to 1099511627776, not -1"),
        (lambda: Lfsr().bits((1 << 40) + 1), "count must be an integer from 0 to 1099511627776, not 1099511627777"),
        (lambda: Lfsr().states(0), "count must be an integer from 1 to 1099511627776, not 0"),
        (lambda: Lfsr().states(1 << 41), "count must be an integer from 1 to 1099511627776, not 2199023255552"),
        (lambda: Lfsr().words(0, 4), "count must be an integer from 1 to 1099511627776, not 0"),
        (lambda: Lfsr().words(1 << 41, 4), "count must be an integer from 1 to 1099511627776, not 2199023255552"),
        (lambda: Lfsr().words(1, 21), "width of a word must be an integer from 1 to 20, not 21"),
        (lambda: lfsr.leap_table(2, 1), "width must be an integer from 3 to 16, not 2"),
        (lambda: lfsr.leap_table(3, -1), "steps must be an integer from 0 to 65536, not -1"),
        (lambda: lfsr.leap_table(3, 65537), "steps must be an integer from 0 to 65536, not 65537"),
        (lambda: lfsr.field_product(0, 0, 0), "width of a field must be an integer from 1 to 8, not 0"),
        (
            lambda: lfsr.shared_words(np.zeros(1, np.uint32), 0, 1),
            "width of a field must be an integer from 1 to 8, not 0",
        ),
    ],
)
def test_counts_and_widths_out_of_range(call, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        call()
    assert len(Lfsr().bits(0)) == 0
    assert len(Lfsr().states(1)) == len(Lfsr().words(1, 20)) == 1


def splitmix(number):
    """The output of SplitMix64 for a state."""
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ number >> 27) * 0x94D049BB133111EB % 2**64
    return number ^ number >> 31


@pytest.mark.parametrize("seed", [1, 12345])
def test_the_order_of_seeds_is_that_of_splitmix64(seed):
    golden = 0x9E3779B97F4A7C15
    assert [splitmix(n * golden % 2**64) for n in (1, 2)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]  # as published
    keys = [splitmix(((seed << 32) + n) * golden % 2**64) for n in range(2**16 - 1)]
    order = sorted(range(2**16 - 1), key=keys.__getitem__)
    assert distinct_seeds(seed, 2**16 - 1).tolist() == [1 + n for n in order]
