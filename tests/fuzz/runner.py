"""Run damaged files, each in a process with limits on memory and time, and report the outcome of each."""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import gc
import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

from fuzz.cases import Case

__all__ = ["Outcome", "run_case"]

MEMORY_MIB = 1024
CPU_S = 10
PATIENCE_S = 60
"""Time limit: a waiting case takes no processor time, and on a busy computer a working one may take several times its
processor time."""

_NOTES = re.compile(r"((?!spikeloom: )[^\n]*\n)*")
_SENTENCE = re.compile(_NOTES.pattern + r"spikeloom: [^\n]+\n?")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of a case: ``verdict`` is "accepted", "refused", "traceback", "signal" or "timeout"; ``said`` is the
    output of the process."""

    verdict: str
    said: str
    seconds: float
    memory_mib: float

    @property
    def good(self) -> bool:
        """Whether the outcome is acceptable."""
        return self.verdict in ("accepted", "refused") and self.memory_mib <= MEMORY_MIB


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / (1 << 20)


def run_case(case: Case) -> Outcome:
    """Run one case in a forked process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"file{case.suffix}"
        path.write_bytes(case.content)
        begin, base = time.monotonic(), _resident_mib()
        with open(Path(folder) / "said", "w+b") as said:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", DeprecationWarning
                )  # threads of the caller, none of which the child needs
                process = os.fork()
            if not process:
                _child(case, path, said.fileno())
            try:
                status, usage, timed_out = _wait(process)
            except BaseException:  # a signal that ends this process
                os.kill(process, signal.SIGKILL)
                with contextlib.suppress(ProcessLookupError):  # it may not have its own group yet
                    os.killpg(process, signal.SIGKILL)
                os.waitpid(process, 0)
                raise
            said.seek(0)
            text = said.read(100_000).decode("utf-8", "replace")
    memory = max(0.0, usage.ru_maxrss / 1024 - base)
    seconds = usage.ru_utime + usage.ru_stime
    if (
        timed_out
        or (os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL))
        or seconds > CPU_S
    ):
        verdict = "timeout"
    elif os.WIFSIGNALED(status):
        verdict = "signal"
    else:
        # A command that succeeds may write notes; one that fails ends with one sentence. Warnings are exceptions here.
        verdict = {0: "accepted", 2: "refused"}.get(os.WEXITSTATUS(status), "traceback")
        expected = _NOTES if verdict == "accepted" else _SENTENCE
        if "Traceback (most recent call last)" in text or not expected.fullmatch(text):
            verdict = "traceback"
    return Outcome(verdict, text, round(time.monotonic() - begin, 3), round(memory, 1))


def _child(case: Case, path: Path, said: int) -> None:
    """Run the case and exit with the status of the command; never returns."""
    status = 70
    try:
        faulthandler.disable()
        gc.disable()  # garbage collection would touch, and so copy, all shared memory
        os.setsid()  # so that it can be ended together with everything that it starts
        null = os.open(os.devnull, os.O_RDWR)
        for target, source in ((0, null), (1, null), (2, said)):
            os.dup2(source, target)
        # The caller may have replaced the streams, as pytest does.
        sys.stdout, sys.stderr = (os.fdopen(end, "w", encoding="utf-8", closefd=False) for end in (1, 2))
        size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")
        # The limit counts address space, part of which is never used: the memory in use is measured and judged.
        resource.setrlimit(resource.RLIMIT_AS, (size + (2 * MEMORY_MIB << 20),) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        warnings.simplefilter("error")
        status = _run(case, path)
        sys.stderr.flush()
    except BaseException:
        os.write(2, traceback.format_exc().encode("utf-8", "replace"))
    finally:
        os._exit(status)


def _run(case: Case, path: Path) -> int:
    try:
        case.run(path)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except ValueError as error:  # errors of readers that no command uses yet; commands end with a sentence themselves
        print(f"spikeloom: {error}", file=sys.stderr)
        return 2
    return 0


def _wait(process: int) -> tuple[int, resource.struct_rusage, bool]:
    end, timed_out = time.monotonic() + PATIENCE_S, False
    while True:
        done, status, usage = os.wait4(process, os.WNOHANG)
        if done:
            return status, usage, timed_out
        if time.monotonic() > end and not timed_out:
            timed_out = True
            os.killpg(process, signal.SIGKILL)
        time.sleep(0.004)
