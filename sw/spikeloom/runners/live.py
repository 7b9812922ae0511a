"""Live events over UDP through a board: words received during a step are its input, its spikes are sent as words.

    UDP ─▶ SpifReceiver ─▶ Board ─▶ SpifSender ─▶ UDP

Time is that of the host clock: a step consists of the events received within its duration. If the board is slower,
steps are late and contain more events each; `LiveSummary` gives the delay of the last step.
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
    """Totals of a live run: ``steps``, spikes of the input and of the output, malformed datagrams, and the delay in
    seconds with which the last step was sent to the board."""

    steps: int
    events_in: int
    spikes_out: int
    malformed: int
    late_s: float


def udp_address(text: str) -> tuple[str, int] | None:
    """Parse ``udp://HOST:PORT``; return None without this prefix, raise `InputError` if the rest is malformed."""
    if not text.startswith("udp:"):
        return None
    found = re.fullmatch(r"udp://([^/:?#@]+):(\d{1,5})", text)
    if found is None or int(found[2]) >= 1 << 16:
        raise InputError(f"a UDP address must be udp://HOST:PORT, not {text!r}")
    return found[1], int(found[2])


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
        raise InputError(f"pixels must give {size} lines, the inputs of the network, not {pixels.size}")
    return pixels


def run_live(
    board: Board, program: Program, receiver: SpifReceiver, sender: SpifSender | None, *, steps: int | None = None
) -> LiveSummary:
    """Run the events of ``receiver`` through the ``program`` loaded in ``board``, as one sample.

    It ends after ``steps`` steps, or with a ``KeyboardInterrupt``. The spikes of the output population go to
    ``sender``.
    """
    if program.membranes:
        raise InputError(f"network {program.network} must have a spiking output, not membranes, to run live")
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
