"""Search for the clock: the clocks tried, their order, and the end of the search; place and route is a function."""

import dataclasses
from pathlib import Path

import pytest
from harness.networks import rng_of

from spikeloom.boards.bitstream.clock_search import WORTH, fabric_mhz, fastest, find_clock, timing_error
from spikeloom.boards.bitstream.critical_path import CriticalPath
from spikeloom.boards.bitstream.report import Clock
from spikeloom.boards.bitstream.steps import Routed, TimingError
from spikeloom.boards.targets.registry import BOARDS

BOARD = dataclasses.replace(BOARDS["ulx3s-85f"], pll_hz=90e6, baud_rate=1_000_000)
AIM_MHZ = BOARD.clock_hz / 1e6


def routed(seed, *clocks):
    """The result of a seed; each clock is a name, the requested and the reached frequency."""
    found = [Clock(name=name, constraint_mhz=asked, achieved_mhz=reached) for name, asked, reached in clocks]
    found.sort(key=lambda clock: clock.achieved_mhz / clock.constraint_mhz)
    return Routed(seed=seed, clocks=tuple(found), resources={}, folder=Path(), log=Path("the.log"))


class Placer:
    """Reaches the frequency given by ``reaches(attempt, seed)``; records the requested clocks."""

    def __init__(self, reaches, seeds=4, link_mhz=None):
        self.reaches = reaches
        self.seeds = seeds
        self.link_mhz = link_mhz
        self.asked = []
        self.announced = []

    def __call__(self, board, first_is_enough):
        attempt, asked, runs = len(self.asked), board.clock_hz / 1e6, []
        self.asked.append(asked)
        link = [("link", 125.0, self.link_mhz)] if self.link_mhz else []
        for seed in range(1, self.seeds + 1):
            runs.append(routed(seed, ("clk", asked, self.reaches(attempt, seed)), *link))
            if first_is_enough and not runs[-1].missed:
                break
        return runs

    def find(self, board=BOARD, raise_clock=True):
        return find_clock(board, self, raise_clock=raise_clock, announce=self.announced.append)


def test_the_clock_never_exceeds_what_was_reached(request):
    """Random results of place and route: every result meets its clock, no clock is tried twice, and the search ends."""
    rng = rng_of(request.node.name)
    higher = lower = same = 0
    for _ in range(300):
        mean, spread = rng.uniform(60, 130), rng.uniform(0.01, 0.08)
        placer = Placer(lambda attempt, seed, mean=mean, spread=spread: mean * rng.normal(1, spread))
        board, found = placer.find()
        clock_mhz = board.clock_hz / 1e6
        assert not found.missed
        assert clock_mhz <= fabric_mhz(board, found)
        assert clock_mhz in placer.asked
        assert len(set(placer.asked)) == len(placer.asked)
        assert placer.asked[1:] == sorted(placer.asked[1:], reverse=True)
        assert len(placer.announced) == len(placer.asked) - 1
        higher += clock_mhz > AIM_MHZ
        lower += clock_mhz < AIM_MHZ
        same += clock_mhz == AIM_MHZ
        assert clock_mhz == AIM_MHZ or not 1 < clock_mhz / AIM_MHZ < WORTH
    assert min(higher, lower, same) > 10


def test_the_fabric_is_announced_though_the_clock_of_the_link_is_tighter():
    placer = Placer(lambda attempt, seed: 1.2 * AIM_MHZ, link_mhz=125.5)
    found = placer(BOARD, False)[0]
    assert found.clocks[0].name == "link"
    assert fabric_mhz(BOARD, found) == 1.2 * AIM_MHZ
    ways = {
        clock.name: CriticalPath(start=clock.name, end="there", delay_ns=1.0, routing=0.5, hops=())
        for clock in found.clocks
    }
    clocks = tuple(dataclasses.replace(clock, path=ways[clock.name]) for clock in found.clocks)
    announced = []

    def attempt(board, first_is_enough):
        asked = board.clock_hz / 1e6
        return [dataclasses.replace(found, clocks=tuple(replaced(clock, asked) for clock in clocks))]

    def replaced(clock, asked):
        return clock if clock.name == "link" else dataclasses.replace(clock, constraint_mhz=asked)

    find_clock(BOARD, attempt, raise_clock=True, announce=announced.append)
    assert "(clk to there:" in announced[0]


def test_a_clock_that_may_not_be_raised_stays():
    placer = Placer(lambda attempt, seed: AIM_MHZ + 10 * seed)
    board, found = placer.find(raise_clock=False)
    assert board == BOARD
    assert found.seed == 4
    # An oscillator is not replaced by a PLL either.
    board, _ = placer.find(dataclasses.replace(BOARD, pll_hz=None, usb=None))
    assert board.clock_hz == BOARD.oscillator_hz


def test_a_fabric_that_no_clock_serves_is_an_error():
    placer = Placer(lambda attempt, seed: 2.0 + seed / 10)
    message = r"^ulx3s-85f: place and route reached 2\.40 MHz, expected at least 90\.00 MHz; the\.log has"
    with pytest.raises(TimingError, match=message) as caught:
        placer.find()
    assert caught.value.clock.achieved_mhz == 2.4


def test_another_clock_that_is_missed_is_an_error_at_once():
    """A slower fabric would not help a link that is too slow."""
    placer = Placer(lambda attempt, seed: 100.0, link_mhz=120.0)
    message = r"^ulx3s-85f: place and route reached 120\.00 MHz, expected at least 125\.00 MHz; "
    with pytest.raises(TimingError, match=message):
        placer.find()
    assert len(placer.asked) == 1


def test_the_fastest_run_misses_no_other_clock():
    slow_link = routed(1, ("clk", AIM_MHZ, 120.0), ("link", 125.0, 120.0))
    good = routed(2, ("clk", AIM_MHZ, 100.0), ("link", 125.0, 130.0))
    equal = routed(3, ("clk", AIM_MHZ, 100.0), ("link", 125.0, 126.0))
    assert fastest(BOARD, [slow_link, equal, good]) == good
    assert fabric_mhz(BOARD, slow_link) == 120.0
    assert timing_error(BOARD, slow_link).clock.name == "link"
    # The constraint is rounded; if no clock is near that of the board, all count.
    assert fabric_mhz(BOARD, routed(1, ("clk", AIM_MHZ + 0.01, 95.0), ("pin", 25.0, 30.0))) == 95.0
    assert fabric_mhz(BOARD, routed(1, ("clk", 50.0, 95.0), ("pin", 25.0, 30.0))) == 30.0
