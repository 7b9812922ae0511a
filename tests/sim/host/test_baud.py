"""Baud rates that a clock can make."""

import pytest

from spikeloom.sim.host.baud import BAUD_RATES, BAUD_TOLERANCE, LEAST_CYCLES_PER_BIT, cycles_per_bit, rates_of


@pytest.mark.parametrize(
    ("clock_hz", "baud_rate", "cycles"),
    [
        (24e6, 3_000_000, 8),
        (27e6, 3_000_000, 9),
        (36e6, 12_000_000, 3),
        (24e6, 12_000_000, None),  # two cycles per bit
        (35.9e6, 12_000_000, 3),  # 0.3 % off
        (25e6, 3_000_000, None),  # 4 % off
        (90.8e6, 3_000_000, 30),
        (91e6, 3_000_000, None),
    ],
)
def test_cycles_by_hand(clock_hz, baud_rate, cycles):
    assert cycles_per_bit(clock_hz, baud_rate) == cycles


def test_every_rate_within_the_tolerance_is_found():
    """No other rate is accepted, at any clock that boards have."""
    for rate in BAUD_RATES:
        for clock_hz in range(1_000_000, 200_000_000, 777_777):
            fits = [n for n in range(LEAST_CYCLES_PER_BIT, 300) if abs(clock_hz / n / rate - 1) <= BAUD_TOLERANCE]
            found = cycles_per_bit(clock_hz, rate)
            assert (found in fits) if fits else found is None


def test_rates_are_tried_from_the_highest_down():
    assert list(BAUD_RATES) == sorted(BAUD_RATES, reverse=True)


def test_rates_of_a_clock():
    assert rates_of(36e6) == list(BAUD_RATES)
    assert rates_of(45e6) == [3_000_000, 1_000_000]
    assert rates_of(3e6) == [1_000_000]
    assert rates_of(2.9e6) == []
