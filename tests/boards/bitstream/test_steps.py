"""Steps of a build: several seeds at once, the results that count, and the seeds that are stopped."""

import threading
import time

import pytest

from spikeloom.boards.bitstream.builder import board_plan
from spikeloom.boards.bitstream.steps import BuildError, BuildSteps, cores, run_seeds
from spikeloom.boards.targets.registry import BOARDS


class Router:
    """A place and route that takes a given time per seed, and can be stopped."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.started = []
        self.at_once = self.most = 0
        self.ended = {seed: threading.Event() for seed in seconds}
        self.lock = threading.Lock()

    def __call__(self, seed):
        with self.lock:
            self.started.append(seed)
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        was_stopped = self.ended[seed].wait(self.seconds[seed])
        with self.lock:
            self.at_once -= 1
        if was_stopped:
            raise BuildError("was stopped")
        return 10 * seed

    def stop(self, seed):
        self.ended[seed].set()


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_all_seeds_in_their_order(jobs):
    router = Router({1: 0.05, 2: 0.01, 3: 0.03, 4: 0.02, 5: 0.01})
    assert run_seeds(router, range(1, 6), jobs=jobs, stop=router.stop) == [10, 20, 30, 40, 50]
    assert router.most <= jobs
    assert sorted(router.started) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_the_order_of_the_seeds_decides(jobs):
    """Seed 4 ends first, but seed 2 suffices: the others are stopped, or never started."""
    router = Router({1: 0.05, 2: 0.1, 3: 60.0, 4: 0.01, 5: 60.0})
    begin = time.monotonic()
    found = run_seeds(router, range(1, 6), jobs=jobs, stop=router.stop, enough=lambda result: result in (20, 40))
    assert found == [10, 20]
    assert time.monotonic() - begin < 30


def test_an_error_stops_the_others():
    router = Router({1: 60.0, 2: 60.0, 3: 60.0})
    router.stop(1)
    begin = time.monotonic()
    with pytest.raises(BuildError, match=r"^was stopped$"):
        run_seeds(router, (1, 2, 3), jobs=2, stop=router.stop)
    assert time.monotonic() - begin < 30
    assert 3 not in router.started or router.ended[3].is_set()


def test_there_is_a_core():
    assert cores() >= 1


def test_a_seed_that_is_stopped_does_not_start(tmp_path):
    board = BOARDS["icebreaker"]
    steps = BuildSteps(board, board_plan(board, bytes(16)), tmp_path, tmp_path, lambda sentence: None)
    assert (tmp_path / "top.il").is_file()
    assert steps.netlist == tmp_path / "top.json"
    assert steps.waits() == "nextpnr-ice40 (place and route, 30 to 90 s)"
    steps.stop(3)
    with pytest.raises(BuildError, match=r"^nextpnr-ice40 for icebreaker was stopped$"):
        steps.route(3)
