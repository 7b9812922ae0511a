"""Shift registers: the recurrence, the whole period, the proof that every polynomial is primitive, bad input."""

import numpy as np
import pytest

from spikeloom.sim.lfsr import TAPS, Lfsr, distinct_seeds, leap_table


def test_recurrence_by_hand():
    """Width 3, taps 3 and 2: 001 -> 010 (0^0) -> 101 (0^1) -> 011 (1^0) -> 111 (0^1) -> 110 -> 100 -> 001."""
    assert Lfsr(width=3, seed=1).states(8).tolist() == [0b001, 0b010, 0b101, 0b011, 0b111, 0b110, 0b100, 0b001]


@pytest.mark.parametrize("width", range(3, 21))
def test_whole_period(width):
    """From a seed in the middle every state but 0 comes once, each from the one before it, and then the seed again."""
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
    """``a * b`` modulo ``modulus`` over GF(2), polynomials as bits."""
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


@pytest.mark.parametrize("width", TAPS)
def test_polynomial_is_primitive(width):
    """x has order 2**width - 1: this proves the whole period also where it is too long to run."""
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


def test_words_of_a_whole_period_are_even():
    """Every word comes equally often, but that 0 comes once less: the state 0 is missing."""
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
def test_leap_table_is_so_many_steps(width, steps):
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
