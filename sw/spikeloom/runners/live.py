"""Live events over UDP through a board: words that come in a step's time are its input, its spikes go out as words.

    UDP ─▶ SpifReceiver ─▶ Board ─▶ SpifSender ─▶ UDP

Time is that of the host's clock: a step is what comes in so many milliseconds. The board is faster or slower; if it is
slower, steps are late and each gets more, and `LiveSummary` says how late the last one was.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from spikeloom.compiler.program import Program
from spikeloom.datasets.inputs import InputError
from spikeloom.host.driver import Board
from spikeloom.host.results import StepResult
from spikeloom.host.spif import PixelMap, SpifReceiver, SpifSender

__all__ = ["LiveSummary", "pixels_from", "run_live", "udp_address"]


@dataclass(frozen=True, kw_only=True)
class LiveSummary:
    """What went through: ``steps``, spikes of the input and of the output, datagrams that were none of SPIF, and how
    many seconds later than its interval the last step was given to the board."""

    steps: int
    events_in: int
    spikes_out: int
    malformed: int
    late_s: float


def udp_address(text: str) -> tuple[str, int] | None:
    """Host and port of ``udp://HOST:PORT``; None if ``text`` does not begin so. Raises `InputError` for half of it."""
    if not text.startswith("udp:"):
        return None
    found = re.fullmatch(r"udp://([^/:?#@]+):(\d{1,5})", text)
    if found is None or int(found[2]) >= 1 << 16:
        raise InputError(f"a UDP address must be udp://HOST:PORT, not {text!r}")
    return found[1], int(found[2])


def pixels_from(text: str | None, size: int) -> PixelMap:
    """``COLUMNSxROWS`` or ``COLUMNSxROWSxPOLARITIES``; without ``text`` line i is x = i of row 0.

    Raises `InputError` if that is no such thing, or not ``size`` lines.
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
        raise InputError(f"pixels must be {size} lines, the network's input, not {pixels.size}")
    return pixels


def run_live(
    board: Board, program: Program, receiver: SpifReceiver, sender: SpifSender | None, *, steps: int | None = None
) -> LiveSummary:
    """Run what ``receiver`` gets through the ``program`` that ``board`` was loaded with, as one sample.

    It ends after so many ``steps``, or with a ``KeyboardInterrupt``. The spikes of the output population go to
    ``sender``.
    """
    if program.membranes:
        raise InputError(f"network {program.network} must have an output that spikes, not membranes, to run live")
    outputs = program.observed[0][1]
    stream = board.stream()
    events_in = spikes_out = 0

    def give(results: Iterable[StepResult]) -> None:
        nonlocal spikes_out
        for result in results:
            fired = result.spikes[:outputs]
            spikes_out += int(fired.sum())
            if sender is not None:
                sender.send(fired)

    start, late = time.monotonic(), 0.0
    try:
        arriving = receiver.each(meanwhile=lambda: give(stream.poll()))
        for number, spikes in enumerate(itertools.islice(arriving, steps), 1):
            events_in += int(spikes.sum())
            stream.send(spikes, last=number == steps)
            give(stream.poll())
            late = time.monotonic() - start - number * receiver.step_s
    except KeyboardInterrupt:
        pass
    give(stream.finish())
    return LiveSummary(
        steps=stream.sent,
        events_in=events_in,
        spikes_out=spikes_out,
        malformed=receiver.malformed,
        late_s=round(max(0.0, late), 3),
    )
