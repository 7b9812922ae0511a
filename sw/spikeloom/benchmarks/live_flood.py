"""Live mode under a flood of datagrams: part of ``make bench``, written to ``build/bench/flood.json``.

A compiled sender (``live_flood.cpp``) floods the port of a live run with 500,000 SPIF datagrams per second on loopback,
and then with as many as the kernel accepts. The run must keep its steps of 1 ms at the given rate, and every datagram
must be in one of its counts. The board is replaced by a model that answers each step at once, because no simulation is
as fast as a board.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from spikeloom.compiler.place import place
from spikeloom.compiler.program import Program
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.shipped import shipped
from spikeloom.frontends.nir import load
from spikeloom.host.driver import Board
from spikeloom.host.spif import PixelMap, SpifReceiver, encode_events
from spikeloom.runners.live import LiveSummary, real_time_priority, run_live
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.host.bridge import BridgeModel, Read, Tick
from spikeloom.sim.host.identity import Identity
from spikeloom.sim.lib.files import write_whole
from spikeloom.sim.lib.formats import BENCHMARK_FILE

__all__ = [
    "LEAST_ON_TIME",
    "LEAST_PER_SECOND",
    "PER_SECOND",
    "FloodError",
    "FloodResult",
    "PromptLink",
    "Sent",
    "build_sender",
    "complaints",
    "datagrams",
    "flood",
    "measure",
    "wait_only",
]

PER_SECOND = 500_000
LEAST_PER_SECOND = 400_000
"""Datagrams per second: the rate set for the sender, and the rate that it must reach."""
LEAST_ON_TIME = 0.99
"""Share of steps that must be sent to the board less than a step after their end."""
SECONDS = 5.0
_PATIENCE_S = 2.0  # time after the end of the sender in which datagrams may still arrive
_DIRECTORY = Path("build/bench")


class FloodError(RuntimeError):
    """The sender could not be compiled or has failed."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """Number of datagrams that the kernel has accepted, and the time that it took."""

    sent: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class FloodResult:
    """One measurement: rate of the sender, totals of the live run, and share of the steps that were on time.

    ``machine_on_time`` and ``machine_worst_late_ms`` are measured with a loop that only waits for the end of each step,
    under the same flood to a port that is not read: the delays that the machine adds, with whatever else runs on it.
    ``quiet`` is a live run without datagrams, ``flat_out`` one under a flood without a limit, where sender and run take
    a core each, and ``real_time`` the same with real-time priority; None where that is not permitted.
    """

    sent: int
    sent_per_second: int
    used: int
    malformed: int
    dropped: int | None
    steps: int
    step_ms: float
    on_time: float
    worst_late_ms: float
    machine_on_time: float
    machine_worst_late_ms: float
    quiet_on_time: float
    quiet_worst_late_ms: float
    flat_out_per_second: int
    flat_out_used: int
    flat_out_on_time: float
    flat_out_worst_late_ms: float
    real_time_on_time: float | None
    real_time_worst_late_ms: float | None


class PromptLink:
    """A byte link whose board ends each step at once, with a spike of each axon in ``spikes``; registers read as 0."""

    def __init__(self, spikes: Sequence[int] = (), *, axon_width: int = 16) -> None:
        self._spikes = sorted(spikes)
        self._model = BridgeModel(axon_width)
        self._answer = bytearray()

    def open(self) -> Identity:
        """Return an identity; the driver does not compare it unless it is asked to."""
        return Identity(lanes=1, neurons=1, axons=1, weight_words=1, weight_width=1, v_width=8, build_hash=bytes(16))

    def send(self, data: bytes) -> None:
        """Answer the messages in ``data``."""
        for request in self._model.from_host(data):
            if isinstance(request, Tick):
                for axon in self._spikes:
                    self._answer += self._model.spike(axon)
                self._answer += self._model.tick(request.last)
            elif isinstance(request, Read):
                self._answer += self._model.read_data(bytes(request.count))

    def receive(self, minimum: int = 1, *, timeout_s: float | None = None) -> bytes:
        """Return the answers so far."""
        assert len(self._answer) >= minimum, "the board answers at once"
        data = bytes(self._answer)
        self._answer.clear()
        return data

    def poll(self) -> bytes:
        """Return the answers so far."""
        return self.receive(0)


def build_sender(folder: Path) -> Path:
    """Return the compiled sender; one already in ``folder`` is kept. Raises `FloodError` if it cannot be compiled."""
    source = Path(__file__).with_suffix(".cpp")
    program = folder / f"flood-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}"
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    scratch = program.with_name(f"{program.name}.{os.getpid()}")
    command = ["g++", "-std=gnu++17", "-O2", "-Wall", "-Wextra", "-Werror", str(source), "-o", str(scratch)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise FloodError("the sender needs g++, which must be on PATH; on Debian or Ubuntu: apt install g++") from None
    if done.returncode:
        raise FloodError(f"g++ failed to compile {source.name}: {done.stderr[-2000:]}")
    scratch.replace(program)
    return program


def datagrams(pixels: PixelMap, *, seed: int = 0, number: int = 64) -> list[bytes]:
    """Return ``number`` datagrams of 1 to 8 random events: two thirds without timestamps, the others with some."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(number):
        x, y, polarity = pixels.pixels(rng.integers(pixels.size, size=rng.integers(1, 9)))
        words = np.frombuffer(encode_events(x, y, polarity), "<u4")
        if index % 3 == 2:
            # Without bit 31, a word is followed by a timestamp.
            timed = np.repeat(words & 0x7FFF_FFFF, 2)
            timed[1::2] = rng.integers(1 << 32, size=len(words))
            words = timed
        found.append(words.tobytes())
    return found


@contextlib.contextmanager
def flood(
    program: Path,
    port: int,
    payloads: Sequence[bytes],
    *,
    count: int = 0,
    seconds: float = 0.0,
    source: str = "127.0.0.1",
    rate: int = 0,
) -> Iterator[subprocess.Popen[str]]:
    """Send ``payloads`` in turn to ``port`` of loopback, ``count`` of them or for ``seconds``, while the context lasts.

    ``source`` is the address, or address and port, of the sender, and ``rate`` the number per second, without a limit
    if it is 0. `finished` returns what was sent.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"".join(len(payload).to_bytes(2, "little") + payload for payload in payloads))
        file.flush()
        command = [str(program), "127.0.0.1", str(port), source, file.name, str(count), str(seconds), str(rate)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            try:
                yield running
            finally:
                running.kill()


def finished(running: subprocess.Popen[str]) -> Sent:
    """Wait for the sender of `flood` and return what it has sent."""
    out, error = running.communicate()
    if running.returncode:
        raise FloodError(f"the sender failed with status {running.returncode}: {error.strip()}")
    return Sent(**json.loads(out))


def _program() -> Program:
    fabric = FABRICS["small"]
    return place(quantise(load(shipped("digits-mlp.nir")), Quantisation.for_core(fabric.core, weight_width=8)), fabric)


def _board(program: Program) -> Board:
    board = Board(PromptLink(program.output_axons[:3].tolist()))
    board.load(program)
    return board


def _run_quiet(program: Program, pixels: PixelMap, seconds: float) -> LiveSummary:
    with SpifReceiver(pixels) as receiver:
        return run_live(_board(program), program, receiver, None, steps=round(seconds / receiver.step_s))


def _run(
    program: Program, pixels: PixelMap, sender: Path, seconds: float, *, rate: int = 0, rests: bool = False
) -> tuple[Sent, LiveSummary]:
    """Run live until the sender has ended and its datagrams have been received."""
    with SpifReceiver(pixels, rests=rests) as receiver:
        board = _board(program)
        with flood(sender, receiver.port, datagrams(pixels), seconds=seconds, rate=rate) as running:
            end = _End(running, receiver)
            summary = run_live(board, program, receiver, None, stop=end)
    assert end.sent is not None
    return end.sent, summary


class _End:
    """Condition for the end of a run: the sender has ended, and every datagram has been counted or is overdue."""

    def __init__(self, running: subprocess.Popen[str], receiver: SpifReceiver) -> None:
        self._running, self._receiver = running, receiver
        self._until = 0.0
        self.sent: Sent | None = None

    def __call__(self) -> bool:
        if self._running.poll() is None:
            return False
        if self.sent is None:
            self.sent, self._until = finished(self._running), time.monotonic() + _PATIENCE_S
        counted = self._receiver.used + self._receiver.malformed + (self._receiver.dropped or 0)
        return counted == self.sent.sent or time.monotonic() > self._until


def wait_only(steps: int, step_s: float) -> tuple[float, float]:
    """Wait for the end of one step after the other, as a receiver without datagrams does, and do nothing else.

    Return the share of the steps whose end was found less than a step late, and the longest delay in seconds.
    """
    late_steps, worst, start = 0, 0.0, time.monotonic()
    for number in range(1, steps + 1):
        end = start + number * step_s
        while (now := time.monotonic()) < end:
            select.select([], [], [], end - now)
        late_steps += now - end > step_s
        worst = max(worst, now - end)
    return round(1 - late_steps / steps, 4), worst


def _wait_only_under_flood(pixels: PixelMap, sender: Path, seconds: float) -> tuple[float, float]:
    with (
        SpifReceiver(pixels) as unread,
        flood(sender, unread.port, datagrams(pixels), seconds=2 * seconds + _PATIENCE_S, rate=PER_SECOND),
    ):
        return wait_only(round(seconds / unread.step_s), unread.step_s)


def measure(folder: Path, *, seconds: float = SECONDS) -> FloodResult:
    """Run live under floods of ``seconds``, and as long without datagrams and without work.

    The steps are those that the summary of a run counts.
    """
    program, pixels = _program(), PixelMap(columns=8, rows=8, polarities=1)
    sender = build_sender(folder)
    machine_on_time, machine_worst_s = _wait_only_under_flood(pixels, sender, seconds)
    quiet = _run_quiet(program, pixels, seconds)
    with real_time_priority() as permitted:
        first = _run(program, pixels, sender, seconds, rests=True)[1] if permitted else None
    all_sent, flat_out = _run(program, pixels, sender, seconds)
    sent, live = _run(program, pixels, sender, seconds, rate=PER_SECOND)
    return FloodResult(
        sent=sent.sent,
        sent_per_second=round(sent.sent / sent.seconds),
        used=live.used,
        malformed=live.malformed,
        dropped=live.dropped,
        steps=live.steps,
        step_ms=1.0,
        on_time=_on_time(live),
        worst_late_ms=round(1000 * live.worst_late_s, 3),
        machine_on_time=machine_on_time,
        machine_worst_late_ms=round(1000 * machine_worst_s, 3),
        quiet_on_time=_on_time(quiet),
        quiet_worst_late_ms=round(1000 * quiet.worst_late_s, 3),
        flat_out_per_second=round(all_sent.sent / all_sent.seconds),
        flat_out_used=flat_out.used,
        flat_out_on_time=_on_time(flat_out),
        flat_out_worst_late_ms=round(1000 * flat_out.worst_late_s, 3),
        real_time_on_time=None if first is None else _on_time(first),
        real_time_worst_late_ms=None if first is None else round(1000 * first.worst_late_s, 3),
    )


def _on_time(summary: LiveSummary) -> float:
    return round(1 - summary.late_steps / summary.steps, 4)


def complaints(result: FloodResult) -> list[str]:
    """Return one sentence for each requirement that is not met."""
    wrong = []
    if result.sent_per_second < LEAST_PER_SECOND:
        wrong.append(
            f"the sender reaches {result.sent_per_second:,} datagrams per second, expected {LEAST_PER_SECOND:,}"
        )
    if result.dropped is not None and result.sent != result.used + result.malformed + result.dropped:
        wrong.append(
            f"{result.sent:,} datagrams were sent, but {result.used:,} used, {result.malformed:,} malformed and "
            f"{result.dropped:,} dropped"
        )
    if result.on_time < LEAST_ON_TIME:
        wrong.append(
            f"{result.on_time:.1%} of the steps are on time, expected {LEAST_ON_TIME:.0%} "
            f"(of a loop that only waits {result.machine_on_time:.1%}, without datagrams {result.quiet_on_time:.1%})"
        )
    return wrong


def main() -> None:
    try:
        result = measure(_DIRECTORY)
    except FloodError as error:
        sys.exit(f"spikeloom: {error}")
    dropped = "an unknown number of" if result.dropped is None else f"{result.dropped:,}"
    print(
        f"live mode: {result.sent:,} datagrams at {result.sent_per_second:,} per second, {result.used:,} used, "
        f"{dropped} dropped; {result.on_time:.2%} of {result.steps:,} steps of 1 ms on time, the latest "
        f"{result.worst_late_ms:.1f} ms late (without datagrams {result.quiet_on_time:.2%}, "
        f"{result.quiet_worst_late_ms:.1f} ms; a loop that only waits {result.machine_on_time:.2%}, "
        f"{result.machine_worst_late_ms:.1f} ms)"
    )
    print(
        f"as fast as the kernel accepts them: {result.flat_out_per_second:,} per second, {result.flat_out_used:,} "
        f"used; {result.flat_out_on_time:.2%} on time, the latest {result.flat_out_worst_late_ms:.1f} ms late"
    )
    if result.real_time_on_time is None:
        print("this user has no permission for real-time priority")
    else:
        print(
            f"the same with real-time priority: {result.real_time_on_time:.2%} on time, the latest "
            f"{result.real_time_worst_late_ms:.1f} ms late"
        )
    path = _DIRECTORY / "flood.json"
    write_whole(path, BENCHMARK_FILE.text(asdict(result)))
    print(f"written to {path}")
    wrong = complaints(result)
    for sentence in wrong:
        print(f"spikeloom: {sentence}", file=sys.stderr)
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
