"""Sweep over points: in this process, in one process per core, or on the workers of a Dask scheduler.

The work is the same function everywhere, `spikeloom.explore.study.evaluate`, once per group of points that share a run
of the network; therefore the outcomes are the same wherever they are computed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

from spikeloom.explore.log import PointLog, code_version
from spikeloom.explore.points import Point
from spikeloom.explore.study import Outcome, Study, behaviours, evaluate

__all__ = ["ClusterError", "sweep"]

_CONNECT_S = 5.0
_Group = Sequence[Point]


class ClusterError(RuntimeError):
    """The Dask scheduler or its workers cannot be used. The message is one sentence."""


def sweep(
    study: Study,
    points: Iterable[Point],
    *,
    log: PointLog | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    finished: Callable[[list[Outcome]], None] = lambda outcomes: None,
) -> list[Outcome]:
    """Return the outcome of each of ``points``, in their order.

    Parameters
    ----------
    study, points
        Study, and points to evaluate for it.
    log
        Log of finished points: results that it holds are reused, and the others are added as they finish.
    jobs
        Number of processes; default: one per core that this process may use. With 1, none is started.
    scheduler
        Address of a Dask scheduler, such as ``tcp://127.0.0.1:8786``, whose workers are used instead. A scheduler and
        its workers run whatever they are sent: use one that only you can reach.
    finished
        Called with outcomes as they become known, those of the log first.

    Raises ``ValueError`` for an unknown board, and `ClusterError` if the scheduler or its workers cannot be used.
    """
    wanted = list(points)
    found: dict[Point, Outcome] = {}
    if log is not None:
        found = {point: outcome for point in wanted if (outcome := log.find(point)) is not None}
        if found:
            finished(list(found.values()))
    groups = behaviours(point for point in wanted if point not in found)
    if scheduler is not None:
        if jobs is not None:
            raise ValueError(f"jobs must be left out with a scheduler, whose workers are used, not {jobs}")
        results = _on_cluster(study, groups, scheduler)
    else:
        count = min(_cores() if jobs is None else jobs, len(groups))
        if jobs is not None and jobs < 1:
            raise ValueError(f"jobs must be at least 1, not {jobs}")
        results = _in_processes(study, groups, count) if count > 1 else _here(study, groups)
    # Closed at once, also after a signal: no process and no connection outlives the sweep.
    with contextlib.closing(results):
        for outcomes in results:
            if log is not None:
                log.add(outcomes)
            found |= {outcome.point: outcome for outcome in outcomes}
            finished(outcomes)
    return [found[point] for point in wanted]


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _here(study: Study, groups: Sequence[_Group]) -> Generator[list[Outcome], None, None]:
    for group in groups:
        yield evaluate(study, group)


_study: Study | None = None
"""Study of a worker process, sent once."""


def _begin(study: Study) -> None:
    global _study
    _study = study
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal reaches all processes: the parent decides


def _evaluate(group: _Group) -> list[Outcome]:
    assert _study is not None
    return evaluate(_study, group)


def _in_processes(study: Study, groups: Sequence[_Group], count: int) -> Generator[list[Outcome], None, None]:
    # Spawned, because a fork copies locks of threads that do not exist in the child.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, initializer=_begin, initargs=(study,))
    try:
        for future in as_completed([pool.submit(_evaluate, group) for group in groups]):
            yield future.result()
    finally:
        # After a signal the processes have ended already; groups that they have not begun are cancelled.
        pool.shutdown(wait=True, cancel_futures=True)


def _evaluate_as(version: str, study: Study, group: _Group) -> list[Outcome]:
    """Evaluate on a worker, which must have the same sources as the sender."""
    if version != code_version():
        raise ClusterError("a worker has other sources of spikeloom; install the same version on all machines")
    return evaluate(study, group)


def _on_cluster(study: Study, groups: Sequence[_Group], address: str) -> Generator[list[Outcome], None, None]:
    from distributed import Client, as_completed

    try:
        client: Any = Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"scheduler must be the address of a running Dask scheduler, such as tcp://127.0.0.1:8786, but none "
            f"answers at {address!r}"
        ) from error
    with client:
        if groups and not client.scheduler_info()["workers"]:
            raise ClusterError(f"the scheduler at {address} must have at least one worker, but none is connected")
        shared = client.scatter(study, broadcast=True, hash=False) if groups else None
        futures = [client.submit(_evaluate_as, code_version(), shared, group, pure=False) for group in groups]
        try:
            for future in as_completed(futures, loop=client.loop):
                try:
                    yield future.result()
                except ModuleNotFoundError as error:
                    raise ClusterError(
                        f"a worker has no module {error.name}; install 'spikeloom[boards,explore]' on all machines"
                    ) from error
        finally:
            client.cancel(futures)
