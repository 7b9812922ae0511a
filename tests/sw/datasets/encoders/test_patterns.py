"""Codes with a fixed pattern per value: the formulas by hand, their tables, and decoded values."""

import numpy as np
import pytest
from harness.encoders import EXAMPLES, label

from spikeloom.datasets.encoders import BurstEncoder, IntervalEncoder, LatencyEncoder, PhaseEncoder
from spikeloom.datasets.encoders.patterns import PatternEncoder


def patterns(encoder, *values):
    """The spikes of each value as text, one character per step."""
    spikes = encoder.encode(np.array(values)[None])[:, 0].T
    return ["".join("|" if spike else "." for spike in row) for row in spikes]


def test_latency_by_hand():
    """Four steps at two bits: full scale 4 in step 0, then 3, 2, 1; 0 never fires."""
    spikes = LatencyEncoder(steps=4, bits=2).encode([[4, 3, 2, 1, 0]])
    assert spikes[:, 0].astype(int).tolist() == [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0]]


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("steps", [1, 3, 8, 16, 25])
def test_latency_properties(steps, bits):
    """One spike unless the value is 0, never later for a larger value, in the first step for full scale, and in the
    last for 1 if there are few enough steps."""
    values = np.arange((1 << bits) + 1)
    spikes = LatencyEncoder(steps=steps, bits=bits).encode(values[None])[:, 0]
    assert spikes.sum(axis=0).tolist() == [0] + [1] * (1 << bits)
    when = spikes[:, 1:].argmax(axis=0)
    assert (np.diff(when) <= 0).all()
    assert when[-1] == 0
    if steps <= 1 << bits:
        assert when[0] == steps - 1
        assert set(when) == set(range(steps))


def test_nearest_by_hand():
    """Halves are rounded to even: with 5 steps the values 4 to 0 are one step apart, with 4 steps 2.25, 1.5 and 0.75
    from the start."""
    assert patterns(LatencyEncoder(steps=5, bits=2, curve="nearest"), 4, 3, 2, 1, 0) == [
        "|....",
        ".|...",
        "..|..",
        "...|.",
        ".....",
    ]
    assert patterns(LatencyEncoder(steps=4, bits=2, curve="nearest", dark="last"), 4, 3, 2, 1, 0) == [
        "|...",
        ".|..",
        "..|.",
        "..|.",
        "...|",
    ]


def test_charging_by_hand():
    """ln(16/14) = 0.13, ln(4/2) = 0.69, ln(3/1) = 1.10; 2 is the threshold and is never reached."""
    encoder = LatencyEncoder(steps=6, bits=4, curve="charging", tau=4, threshold=2)
    assert patterns(encoder, 16, 4, 3, 2, 1) == [".|....", "...|..", "....|.", "......", "......"]


def test_decaying_by_hand():
    """0.1 * 10 * ln(16 / v): 0 for 16, 0.69 for 8, 1.39 for 4, 2.77 for 1, rounded up."""
    encoder = LatencyEncoder(steps=11, bits=4, curve="decaying")
    assert [text.find("|") for text in patterns(encoder, 16, 8, 4, 1, 0)] == [0, 1, 2, 3, -1]


@pytest.mark.parametrize("curve", ["charging", "decaying"])
def test_logarithms_are_the_same_everywhere(curve):
    """No time is so close to a rounding boundary that the logarithm of another library could change it."""
    full, values = 1 << 16, np.arange(1, 1 << 16)
    times = {
        "charging": np.log((values[2:]) / (values[2:] - 2)) * 64 % 1 - 0.5,
        "decaying": 0.1 * 255 * np.log(full / values) % 1,
    }[curve]
    assert np.abs(times).min() > 1e-9


def test_phase_by_hand():
    """The bits of a value, highest first, twice; full scale is sent as one less."""
    encoder = PhaseEncoder(steps=8, bits=4, phases=4)
    assert patterns(encoder, 0, 5, 12, 16) == ["........", ".|.|.|.|", "||..||..", "||||||||"]
    assert patterns(PhaseEncoder(steps=2, bits=4, phases=2), 3, 4, 9) == ["..", ".|", "|."]
    arcsine = PhaseEncoder(steps=2, bits=4, phases=2, curve="arcsine")
    # asin(x) in quarters of a quarter turn: 0, 8/16 is a third, 15/16 is 0.77, all rounded up.
    assert patterns(arcsine, 0, 8, 12, 15, 16) == ["..", "|.", "||", "||", "||"]


def test_burst_by_hand():
    """At full scale 16: 4 gives one spike, 8 two spikes 3 steps apart (ceil of 2.5), 16 four spikes one step apart."""
    encoder = BurstEncoder(steps=8, bits=4, most=4, shortest=1, longest=4)
    assert patterns(encoder, 0, 4, 8, 12, 16) == ["........", "|.......", "|..|....", "|.|.|...", "||||...."]
    gaps = BurstEncoder(steps=8, bits=4, most=4, shortest=0, longest=3, spacing="gap")
    assert patterns(gaps, 0, 4, 8, 12, 16) == ["........", "|.......", "|..|....", "|.|.|...", "||||...."]
    with pytest.raises(ValueError, match=r"^steps must be at least 7 to hold the longest burst, not 6$"):
        BurstEncoder(steps=6, bits=4, most=4, shortest=1, longest=4)


def test_interval_by_hand():
    encoder = IntervalEncoder(steps=6, bits=2, shortest=1, longest=5)
    assert patterns(encoder, 4, 3, 1, 0) == ["||....", "|.|...", "|...|.", "|....|"]
    regular = IntervalEncoder(steps=6, bits=2, shortest=1, longest=5, train="regular")
    assert patterns(regular, 4, 3, 2, 0) == ["||||||", "|.|.|.", "|..|..", "|....|"]


@pytest.mark.parametrize("encoder", [e for e in EXAMPLES if isinstance(e, PatternEncoder)], ids=label)
def test_symbols_and_patterns(encoder):
    """The patterns of different values differ, and are decoded to their values."""
    symbols, table = encoder.symbols(), encoder.patterns()
    assert len(table) == encoder.symbol_count
    used = np.unique(symbols)
    assert len(np.unique(table[used], axis=0)) == len(used)
    assert np.array_equal(encoder.read(table[used].T[None, :, None])[0, 0], used)


@pytest.mark.parametrize("encoder", [e for e in EXAMPLES if isinstance(e, PatternEncoder)], ids=label)
def test_any_spikes_are_read(encoder):
    """Patterns that no value has are decoded too: to a value in range."""
    grid = np.arange(1 << min(encoder.steps, 12))[:, None] >> np.arange(encoder.steps) & 1
    decoded = encoder.decode(grid.T[:, None])
    assert decoded.min() >= 0
    assert decoded.max() <= 1 << encoder.bits


def test_a_long_latency_has_no_table():
    """65,536 steps of 16 bits: a table would have four billion entries."""
    encoder = LatencyEncoder(steps=65536, bits=16)
    spikes = encoder.encode([[65536, 1, 0]])
    assert spikes[:, 0].sum(axis=0).tolist() == [1, 1, 0]
    assert encoder.decode(spikes).tolist() == [[[65536, 1, 0]]]
