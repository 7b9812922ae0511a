"""Phase of the chip's clock: windows of an eye, and the timing at the pins against the margins of the documentation."""

import dataclasses

import pytest

from spikeloom.sim.sdram.phase import PhaseEye, PinTiming

TIMING = PinTiming(clock_hz=110_000_000, phases=56)


def eye(text):
    return PhaseEye(passed=tuple(character == "#" for character in text), step_ps=100)


@pytest.mark.parametrize(
    ("line", "window", "middle"),
    [
        ("..###...", (2, 3), 3),
        ("..####..", (2, 4), 3),
        ("#.....##", (6, 3), 7),
        ("###....#", (7, 4), 0),
        ("##..##.#", (7, 3), 0),
        ("##..##..", (0, 2), 0),
        ("..#.##.#", (4, 2), 4),
        ("........", (0, 0), None),
        ("########", (0, 8), 0),
        ("#######.", (0, 7), 3),
        ("#", (0, 1), 0),
    ],
)
def test_the_widest_window(line, window, middle):
    found = eye(line)
    assert (found.window, found.middle, found.line) == (window, middle, line)


def test_every_window_of_a_cycle():
    for count in (2, 5, 12):
        for first in range(count):
            for length in range(1, count):
                inside = {(first + number) % count for number in range(length)}
                found = PhaseEye(passed=tuple(position in inside for position in range(count)), step_ps=1)
                assert found.window == (first, length)
                before = (found.middle - first) % count
                assert length - 1 - before - before in (0, 1)


def test_sentences():
    assert eye("..###...").sentence == (
        "the memory passes from 90 degrees (200 ps) to 180 degrees (400 ps), 300 ps wide; its clock is set to 135 "
        "degrees (300 ps) behind its position after power-up"
    )
    assert eye("....").sentence == "the memory fails its self-test at all 4 positions of its clock"
    with pytest.raises(ValueError, match=r"^passed must have at least one position, not none$"):
        PhaseEye(passed=(), step_ps=1)


def test_the_edge_of_the_chip():
    """Half a cycle after power-up, then later by a step each; after half of the steps it is that of the FPGA."""
    assert TIMING.edge(0) == TIMING.period // 2
    step = TIMING.period / TIMING.phases
    for position in range(TIMING.phases):
        assert 0 <= (TIMING.period / 2 + position * step - TIMING.edge(position)) % TIMING.period < 1
    assert TIMING.edge(28) == 0


def test_each_time_limits_the_eye():
    """From 3.59 to 7.68 ns of a cycle of 9.09 ns by the default times, and each of them moves one of the ends."""
    at = [TIMING.edge(position) for position in range(TIMING.phases) if TIMING.eye.passed[position]]
    assert (min(at), max(at)) == (3733, 7629)
    assert TIMING.eye.window[1] == len(at) == 25
    assert TIMING.eye.passed[0]
    lower, upper = TIMING.period + TIMING.period, TIMING.period
    for changes, low, high in (
        ({"setup": 5_000}, 5_000, 7_681),
        ({"hold": 3_000}, 3_590, upper - 3_000),
        ({"access": 7_000}, 3_590, lower - 11_500),
        ({"latest": 5_000}, 3_590, lower - 11_000),
        ({"kept": 2_000}, 4_090, 7_681),
        ({"earliest": 2_000}, 4_590, 7_681),
    ):
        changed = dataclasses.replace(TIMING, **changes)
        inside = [low <= changed.edge(position) <= high for position in range(changed.phases)]
        assert list(changed.eye.passed) == inside
        assert changed.eye != TIMING.eye
