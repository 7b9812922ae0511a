"""Sweeps: the same outcomes in one process, in several, and on a Dask scheduler; logged points are not repeated."""

import contextlib
import json
import os
import subprocess
import sys
import time

import pytest
from harness.studies import point, small_study

from spikeloom.explore import sweep as module
from spikeloom.explore.log import code_version, opened_log
from spikeloom.explore.study import evaluate
from spikeloom.explore.sweep import ClusterError, sweep

POINTS = [point(bits, steps=steps, lanes=lanes) for bits in (8, 2) for steps in (6, 3) for lanes in (1, 2)]


@pytest.fixture(scope="module")
def expected():
    study = small_study()
    found = [outcome for first in range(0, len(POINTS), 2) for outcome in evaluate(study, POINTS[first : first + 2])]
    assert len({outcome.quality for outcome in found}) > 1
    return found


def test_outcomes_come_in_the_order_of_the_points(expected):
    seen = []
    assert sweep(small_study(), reversed(POINTS), jobs=1, finished=seen.append) == expected[::-1]
    assert [len(outcomes) for outcomes in seen] == [2, 2, 2, 2]


def test_several_processes_give_the_same(expected):
    assert sweep(small_study(), POINTS, jobs=2) == expected


def test_a_sweep_goes_on_where_it_was(tmp_path, expected, monkeypatch):
    """After an interruption between two groups, and with more points than before."""
    study, path = small_study(), tmp_path / "points.jsonl"
    count = 0

    def interrupted(outcomes):
        nonlocal count
        count += len(outcomes)
        if count == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), opened_log(path, study) as log:
        sweep(study, POINTS[:6], log=log, jobs=1, finished=interrupted)
    evaluated = []

    def counted(study, points):
        evaluated.extend(points)
        return evaluate(study, points)

    monkeypatch.setattr(module, "evaluate", counted)
    with opened_log(path, study) as log:
        assert sweep(study, POINTS, log=log, jobs=1) == expected
    assert evaluated == POINTS[4:]
    with opened_log(path, study) as log:
        assert sweep(study, POINTS, log=log, jobs=1) == expected
    assert evaluated == POINTS[4:]


def test_jobs_and_boards_that_do_not_exist():
    with pytest.raises(ValueError, match=r"^jobs must be at least 1, not 0$"):
        sweep(small_study(), POINTS, jobs=0)
    with pytest.raises(ValueError, match=r"^jobs must be left out with a scheduler, whose workers are used, not 2$"):
        sweep(small_study(), POINTS, jobs=2, scheduler="tcp://127.0.0.1:1")
    with pytest.raises(ValueError, match=r"^Board must be one that 'spikeloom boards' lists, perhaps icebreaker"):
        sweep(small_study(), [point(board="icebraker")], jobs=1)


def run_by_dask(program, *options):
    command = [sys.executable, "-m", f"distributed.cli.{program}", *options]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def scheduler(folder):
    """The address of a scheduler on loopback, and a function that starts a worker in its own process."""
    file = folder / "scheduler.json"
    place = ("--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file))
    processes = [run_by_dask("dask_scheduler", "--port", "0", *place)]

    def start_worker():
        options = ("--no-nanny", "--nthreads", "1", "--local-directory", str(folder))
        processes.append(run_by_dask("dask_worker", *place, *options))

    try:
        deadline = time.monotonic() + 300
        while not (file.exists() and file.read_text().rstrip().endswith("}")):
            assert processes[0].poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield json.loads(file.read_text())["address"], start_worker
    finally:
        for process in processes:
            process.kill()  # a worker that is asked to end would wait for a scheduler that has ended
            process.wait(60)


def test_workers_of_a_scheduler_give_the_same(tmp_path, expected):
    from distributed import Client

    study = small_study()
    with scheduler(tmp_path) as (address, start_worker):
        with pytest.raises(
            ClusterError, match=rf"^the scheduler at {address} must have at least one worker, but none "
        ):
            sweep(study, POINTS, scheduler=address)
        start_worker()
        with Client(address, timeout=120, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=120)
        with opened_log(tmp_path / "points.jsonl", study) as log:
            assert sweep(study, POINTS, log=log, scheduler=address) == expected
            assert [log.find(each) for each in POINTS] == expected


def test_workers_must_have_the_same_sources():
    assert module._evaluate_as(code_version(), small_study(), POINTS[:1]) == evaluate(small_study(), POINTS[:1])
    with pytest.raises(
        ClusterError, match=r"^a worker has other sources of spikeloom; install the same version on all"
    ):
        module._evaluate_as("other", small_study(), POINTS[:1])


def test_schedulers_that_do_not_exist(monkeypatch):
    monkeypatch.setattr(module, "_CONNECT_S", 0.5)
    for address in ("tcp://127.0.0.1:1", "nonsense://x"):
        with pytest.raises(ClusterError, match=r"^scheduler must be the address of a running Dask scheduler, such as "):
            sweep(small_study(), POINTS, scheduler=address)
