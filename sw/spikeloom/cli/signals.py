"""SIGINT and SIGTERM: whatever runs is ended, children included, and the status says which signal it was.

A signal raises `Interrupted` in the main thread, so that files are removed and locks released as on any error. Children
are told first: a thread that waits for a compiler would otherwise wait until it is done.

Only the standard library is imported here, because the command installs these handlers before it imports anything else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["Interrupted", "handled", "orderly"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_GRACE_S = 3.0
"""What has not ended so long after SIGTERM is killed."""


class Interrupted(BaseException):
    """The process was told to end, by the signal ``number``."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Within, signals raise `Interrupted` and end all children."""
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
    """Within, signals raise ``KeyboardInterrupt`` and leave the children alone: for what ends with a summary."""
    with _handlers(_interrupt):
        yield


@contextlib.contextmanager
def _handlers(handler: Any) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _send(processes: dict[int, str], number: int) -> None:
    """Send a signal to those of ``processes`` that are still the ones that they were."""
    for process, began in processes.items():
        if _parent_and_start(process)[1] == began:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, number)


def _descendants(root: int) -> dict[int, str]:
    """All processes below ``root``, with the times of their start, which tell them from later ones of their numbers."""
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
    """Fields 4 and 22 of ``/proc/PID/stat``, after the name, which may hold anything; nothing if it is gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return int(fields[1]), fields[19]
    except (OSError, IndexError, ValueError):
        return -1, ""
