"""Handling of SIGINT and SIGTERM: stop the process and its children, and exit with the status of the signal.

A signal raises `Interrupted` in the main thread, so that files are removed and locks are released as after any error.
The children are stopped first: a thread that waits for a compiler would otherwise block until the compiler is done.

This module imports only the standard library, because its handlers are installed before anything else is imported.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["Interrupted", "handled", "noted", "orderly"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_GRACE_S = 3.0
"""Delay from SIGTERM to SIGKILL for children that are still running."""


class Interrupted(BaseException):
    """The process received the signal ``number``."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Context in which a signal stops all children and raises `Interrupted`."""
    killer = threading.Timer(_GRACE_S, lambda: _send(_descendants(os.getpid()), signal.SIGKILL))
    killer.daemon = True

    def end(number: int, frame: FrameType | None) -> None:
        _send(_descendants(os.getpid()), signal.SIGTERM)
        if killer.ident is None:  # not started by an earlier signal
            killer.start()
        raise Interrupted(number)

    try:
        with _handlers(end):
            yield
    finally:
        killer.cancel()


@contextlib.contextmanager
def orderly() -> Iterator[None]:
    """Context in which a signal raises ``KeyboardInterrupt`` and spares the children, for runs that end with a
    summary."""
    with _handlers(_interrupt):
        yield


@contextlib.contextmanager
def noted() -> Iterator[Callable[[], bool]]:
    """Context in which the first signal is only noted, for runs that end between two steps, with a summary.

    It yields a function that returns whether a signal has arrived. A second signal acts as it does outside.
    """
    arrived = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal arrived
        arrived = True
        for each, handler in before.items():
            signal.signal(each, handler)

    with _handlers(note) as before:
        yield lambda: arrived


@contextlib.contextmanager
def _handlers(handler: Any) -> Iterator[dict[int, Any]]:
    """Set the handler of both signals, and yield those that were set before."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield {}
        return
    before: dict[int, Any] = {int(each): signal.getsignal(each) for each in _SIGNALS}
    for each in _SIGNALS:
        signal.signal(each, handler)
    try:
        yield before
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _send(processes: dict[int, str], number: int) -> None:
    """Send a signal to each of ``processes``, unless its number has been reused since."""
    for process, began in processes.items():
        if _parent_and_start(process)[1] == began:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, number)


def _descendants(root: int) -> dict[int, str]:
    """Return all processes below ``root`` with their start times, which reveal a reused process number."""
    below: dict[int, list[int]] = {}
    starts: dict[int, str] = {}
    for path in Path("/proc").glob("[0-9]*"):
        process = int(path.name)
        parent, starts[process] = _parent_and_start(process)
        below.setdefault(parent, []).append(process)
    found: dict[int, str] = {}
    waiting = [root]
    while waiting:
        for process in below.get(waiting.pop(), ()):
            found[process] = starts[process]
            waiting.append(process)
    return found


def _parent_and_start(process: int) -> tuple[int, str]:
    """Return fields 4 and 22 of ``/proc/PID/stat``, (-1, "") if the process is gone. The name before may hold
    anything."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return int(fields[1]), fields[19]
    except (OSError, IndexError, ValueError):
        return -1, ""
