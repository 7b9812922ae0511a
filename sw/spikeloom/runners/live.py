"""Live events over UDP through a board: words received during a step are its input, its spikes are sent as words.

    UDP ─▶ SpifReceiver ─▶ Board ─▶ SpifSender ─▶ UDP

Time is that of the host clock: a step consists of the events received within its duration. If the board is slower,
steps are late and contain more events each; `LiveSummary` tells how late.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from spikeloom.compiler.program import Program
from spikeloom.datasets.inputs import InputError
from spikeloom.host.driver import Board
from spikeloom.host.results import StepResult
from spikeloom.host.spif import PixelMap, SpifReceiver, SpifSender

__all__ = ["LiveSummary", "peer_address", "pixels_from", "real_time_priority", "run_live", "udp_address"]


@dataclass(frozen=True, kw_only=True)
class LiveSummary:
    """Totals of a live run.

    Parameters
    ----------
    steps
        Number of steps sent to the board, including the empty one that ends a run without a given number of steps.
    late_steps
        Number of steps sent more than the duration of a step after their end.
    late_s, worst_late_s
        Delay from the end of a step until it was sent to the board, in seconds: of the last step, and the longest.
    events_in, spikes_out
        Spikes of the input, each pixel once per step, and of the output.
    used, malformed, dropped, strangers
        Datagrams whose events are in a step; that are not SPIF; that were lost because they arrived faster than they
        were received (None if the system does not report them); and that came from other senders than the peer.
    """

    steps: int
    late_steps: int
    late_s: float
    worst_late_s: float
    events_in: int
    spikes_out: int
    used: int
    malformed: int
    dropped: int | None
    strangers: int


def udp_address(text: str) -> tuple[str, int] | None:
    """Parse ``udp://HOST:PORT``; return None without this prefix, raise `InputError` if the rest is malformed."""
    if not text.startswith("udp:"):
        return None
    found = re.fullmatch(r"udp://([^/:?#@]+):(\d{1,5})", text)
    if found is None or int(found[2]) >= 1 << 16:
        raise InputError(f"a UDP address must be udp://HOST:PORT, not {text!r}")
    return found[1], int(found[2])


def peer_address(text: str) -> tuple[str, int | None]:
    """Parse ``HOST`` or ``HOST:PORT``; raise `InputError` if it is malformed or the host is unknown."""
    found = re.fullmatch(r"([^/:?#@\s]+)(?::(\d{1,5}))?", text)
    if found is None or not 0 < int(found[2] or 1) < 1 << 16:
        raise InputError(f"a peer must be HOST or HOST:PORT, not {text!r}")
    try:
        return socket.gethostbyname(found[1]), None if found[2] is None else int(found[2])
    except (OSError, UnicodeError) as error:
        raise InputError(f"a peer must be an IPv4 address or a known host, not {found[1]!r}") from error


def pixels_from(text: str | None, size: int) -> PixelMap:
    """Parse ``COLUMNSxROWS`` or ``COLUMNSxROWSxPOLARITIES``; without ``text``, line i is the pixel x = i of row 0.

    Raises `InputError` if the text is malformed or does not give ``size`` lines.
    """
    extents = [str(size), "1", "1"] if text is None else text.split("x")
    if len(extents) not in (2, 3) or not all(extent.isdecimal() for extent in extents):
        raise InputError(f"pixels must be columns x rows, such as 34x34, or with polarities, 34x34x2, not {text!r}")
    columns, rows, polarities = (*map(int, extents), 1)[:3]
    try:
        pixels = PixelMap(columns=columns, rows=rows, polarities=polarities)
    except ValueError as error:
        raise InputError(str(error)) from error
    if pixels.size != size:
        raise InputError(f"pixels must give {size:,} lines, the inputs of the network, not {pixels.size:,}")
    return pixels


@contextlib.contextmanager
def real_time_priority() -> Iterator[bool]:
    """Run the calling thread before all others of normal priority while the context lasts; yield whether it may.

    A step is late mostly because other programs run when it should be sent: a scheduler that is fair gives each of them
    several milliseconds. The priority is the lowest real-time one of Linux, and processes that are started meanwhile do
    not inherit it. The kernel leaves a twentieth of the time to others even if the thread never waits.
    """
    try:
        before, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except (AttributeError, OSError):  # not Linux; not permitted to this user
        yield False
        return
    try:
        yield True
    finally:
        # The flag stays: without privileges it cannot be cleared, and it has no effect on other policies.
        os.sched_setscheduler(0, before | os.SCHED_RESET_ON_FORK, parameters)


@contextlib.contextmanager
def _short_collections() -> Iterator[None]:
    """Let Python's garbage collector visit only what is made from now on, while the context lasts.

    To visit everything, modules and programs included, takes longer than a step.
    """
    if gc.get_freeze_count():  # the caller has done the same, and will end it
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def run_live(
    board: Board,
    program: Program,
    receiver: SpifReceiver,
    sender: SpifSender | None,
    *,
    steps: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> LiveSummary:
    """Run the events of ``receiver`` through the ``program`` loaded in ``board``, as one sample.

    The run ends after ``steps`` steps, or when ``stop``, which is called about once per millisecond, returns True. The
    spikes of the output population go to ``sender``. Raises `InputError` if the output consists of membranes, and
    `DriverError` if the board stops.
    """
    if program.membranes:
        raise InputError(f"network {program.network} must have a spiking output, not membranes, to run live")
    outputs = program.observed[0][1]
    stream = board.stream()
    events_in = spikes_out = late_steps = 0

    def give(results: Iterable[StepResult]) -> None:
        nonlocal spikes_out
        for result in results:
            fired = result.spikes[:outputs]
            spikes_out += int(fired.sum())
            if sender is not None:
                sender.send(fired)

    def meanwhile() -> None:
        give(stream.poll())
        if stop():  # between messages, where nothing is half sent
            raise _Stopped

    late = worst = 0.0
    with _short_collections(), contextlib.suppress(_Stopped):
        start = time.monotonic()
        for number, spikes in enumerate(itertools.islice(receiver.each(meanwhile), steps), 1):
            events_in += int(spikes.sum())
            stream.send(spikes, last=number == steps)
            late = max(0.0, time.monotonic() - start - number * receiver.step_s)
            worst = max(worst, late)
            late_steps += late > receiver.step_s
            give(stream.poll())
            if stop():
                break
    give(stream.finish())
    return LiveSummary(
        steps=stream.sent,
        late_steps=late_steps,
        late_s=round(late, 6),
        worst_late_s=round(worst, 6),
        events_in=events_in,
        spikes_out=spikes_out,
        used=receiver.used,
        malformed=receiver.malformed,
        dropped=receiver.dropped,
        strangers=receiver.strangers,
    )


class _Stopped(Exception):
    """The run should end."""
