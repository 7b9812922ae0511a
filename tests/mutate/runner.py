"""Run the tests of a mutated module, in a copy of the repository, until one fails or the time limit expires."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from mutate.mutants import ROOT, Mutant
from test_layout import DECLARATIONS

__all__ = ["CPU_SECONDS", "PYTEST", "Interrupted", "Tree", "listed_tests"]

PYTEST = [sys.executable, "-m", "pytest"]
CPU_SECONDS = 120
IDLE_SECONDS = 180
"""Time without any processor time after which a test counts as hanging."""
_COPIED = ("hdl", "sim", "sw", "boards", "tests", "docs", "models", "qor", "examples")
_FILES = ("pyproject.toml", "hatch_build.py", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "Makefile")
_OF_HARDWARE = ("tests/hdl/test_members.py", "tests/hdl/test_use_of_signals.py")
_HANGS = -1
_TEST_FACTOR = 10  # a test fails after this multiple of its usual time, for a mutant may run forever
_TICKS = os.sysconf("SC_CLK_TCK")
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+\.py(?:::.+?)?)(?: - .*)?$", re.MULTILINE)

_MORE = {
    "hdl/spikeloom/hdl/core": ("tests/cosim/test_core.py", "tests/sw/simulators/test_compiled.py"),
    "hdl/spikeloom/hdl/lib": ("tests/formal/test_proofs.py", "tests/hdl/core/test_engine.py", "tests/hdl/host"),
    "hdl/spikeloom/hdl/tech": ("tests/hdl/lib", "tests/hdl/core/test_engine.py"),
    "hdl/spikeloom/hdl/noc": (
        "tests/formal/test_proofs.py",
        "tests/hdl/host/test_bridge.py",
        "tests/cosim/test_fabric.py",
    ),
    "hdl/spikeloom/hdl/host": ("tests/cosim/test_link.py", "tests/cosim/test_top.py", "tests/cosim/test_units.py"),
    "hdl/spikeloom/hdl/aer": ("tests/cosim/test_aer_tile.py", "tests/cosim/test_aer_fabric.py"),
    "hdl/spikeloom/hdl/attention": ("tests/cosim/test_attention.py", "tests/cosim/test_attention_fabric.py"),
    "hdl/spikeloom/hdl/sdram": ("tests/hdl/core/test_stream_sequencer.py",),
    "hdl/spikeloom/hdl/top": ("tests/cosim/test_fabric.py", "tests/cosim/test_top.py", "tests/sw/export"),
    "sim/spikeloom/sim/lib": ("tests/hdl/lib", "tests/sw/compiler", "tests/sw/host"),
    "sim/spikeloom/sim/core": ("tests/sim/network", "tests/sw/compiler", "tests/hdl/core", "tests/boards/sizing"),
    "sim/spikeloom/sim/core/registers.py": ("tests/sim/fabric/test_register_maps.py",),
    "sim/spikeloom/sim/core/memory_fields.py": ("tests/docs/test_memory_words.py",),
    "sim/spikeloom/sim/network": ("tests/sw/compiler", "tests/sw/model", "tests/sw/frontends"),
    "sim/spikeloom/sim/noc": ("tests/hdl/noc", "tests/sw/compiler", "tests/sw/explore"),
    "sim/spikeloom/sim/host": ("tests/hdl/host", "tests/sw/host"),
    "sim/spikeloom/sim/sdram": ("tests/hdl/sdram",),
    "sim/spikeloom/sim/aer": ("tests/hdl/aer", "tests/sw/compiler"),
    "sim/spikeloom/sim/attention": ("tests/hdl/attention", "tests/sw/compiler"),
    "sim/spikeloom/sim/fabric": ("tests/sw/compiler", "tests/sw/cli", "tests/boards/targets"),
}
"""Where a package or a module is tested besides the tests that mirror it."""


_ENGINE = ("tests/hdl/core/test_engine.py",)
_BRIDGE = ("tests/hdl/host/test_bridge.py", "tests/hdl/host/test_peripherals.py")
_LINK = ("tests/hdl/host/test_link.py",)
_SOON = {
    "hdl/spikeloom/hdl/aer": ("tests/hdl/aer/test_tile.py",),
    "hdl/spikeloom/hdl/attention": ("tests/hdl/attention/test_unit.py", "tests/hdl/attention/test_tile.py"),
    "hdl/spikeloom/hdl/core": _ENGINE,
    "hdl/spikeloom/hdl/host/answer_encoder.py": _BRIDGE,
    "hdl/spikeloom/hdl/host/bridge.py": _BRIDGE,
    "hdl/spikeloom/hdl/host/encoder.py": _BRIDGE,
    "hdl/spikeloom/hdl/host/ethernet_receiver.py": ("tests/hdl/host/test_ethernet.py",),
    "hdl/spikeloom/hdl/host/ethernet_sender.py": ("tests/hdl/host/test_ethernet.py",),
    "hdl/spikeloom/hdl/host/frames.py": _LINK,
    "hdl/spikeloom/hdl/host/readout.py": _BRIDGE,
    "hdl/spikeloom/hdl/host/request_decoder.py": _BRIDGE,
    "hdl/spikeloom/hdl/lib/memory.py": _ENGINE,
    "hdl/spikeloom/hdl/lib/registers.py": _BRIDGE,
    "hdl/spikeloom/hdl/noc": ("tests/hdl/noc/test_mesh.py", "tests/hdl/top/test_fabric.py"),
    "hdl/spikeloom/hdl/tech/ecp5_carry.py": ("tests/hdl/core/test_lane.py",),
    "hdl/spikeloom/hdl/top": ("tests/hdl/top/test_top.py",),
}
"""Tests of larger parts that come right after the one that mirrors a module: most of a package cannot run in the time
for one mutant."""


def _soon(path: str) -> tuple[str, ...]:
    return _SOON.get(path, ()) or _SOON.get(path.rsplit("/", 1)[0], ())


def listed_tests(path: str, root: Path = ROOT) -> list[str]:
    """The tests of a module: the one that mirrors it, the rest of its package, `_MORE`, and those that apply to every
    module."""
    package, name = path.rsplit("/", 1)
    mirror = Path("tests", *Path(package).parts[2:])
    own = DECLARATIONS.get(path, str(mirror / f"test_{name}"))
    everywhere = ["tests/test_conventions.py", *(_OF_HARDWARE if path.startswith("hdl/") else ())]
    wanted = [own, *everywhere, *_soon(path), *_MORE.get(path, ()), str(mirror), *_MORE.get(package, ())]
    return [place for place in dict.fromkeys(wanted) if (root / place).exists()]


class Interrupted(Exception):
    """The tests were ended before they gave a result."""


class Tree:
    """A copy of the repository in ``folder`` in which one module at a time is changed.

    Once ``interrupted`` is set, tests in progress are ended and `run` raises `Interrupted`.
    """

    def __init__(self, folder: Path, interrupted: threading.Event | None = None) -> None:
        self.folder = folder
        self._interrupted = interrupted or threading.Event()
        for name in _COPIED:
            if (ROOT / name).exists():
                # Compiled designs of another state of the sources are keyed by their content, and do no harm.
                shutil.rmtree(folder / name, ignore_errors=True)
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in _FILES:
            if (ROOT / name).exists():
                shutil.copyfile(ROOT / name, folder / name)
        self._sound: dict[str, bool] = {}
        self.unsound: list[str] = []  #: tests that fail without a change, which are left out from then on

    def run(self, mutant: Mutant, *, seconds: float = CPU_SECONDS) -> tuple[str, str, float]:
        """Return whether the mutant was "killed" or "survived", the test that found it, and the processor time."""
        file = self.folder / mutant.path
        text = file.read_text()
        changed = mutant.applied(text)
        compile(changed, mutant.path, "exec")
        while True:
            try:
                file.write_text(changed)
                tests = listed_tests(mutant.path, self.folder)
                begin = (tests[0], *_soon(mutant.path))
                status, output, spent = self._pytest(tests, seconds, begin)
            finally:
                file.write_text(text)
            if status == _HANGS:
                return "killed", "does not end", spent
            if status == 0 or status is None:
                return "survived", "", spent
            found = _FAILED.search(output)
            test = found[1] if found else ""
            if not test and status not in (2, 3, 4):
                raise RuntimeError(f"pytest ended with status {status} and no failed test:\n{output[-2000:]}")
            # A test that also fails without the change has found nothing.
            if not test or self._is_sound(test):
                return "killed", test or "does not start", spent
            # Reported immediately: a missing package, for example, would let all mutants of a module survive.
            print(f"fails without any change, and has found nothing: {test}", file=sys.stderr, flush=True)
            self.unsound.append(test)

    def _is_sound(self, test: str) -> bool:
        if test not in self._sound:
            self._sound[test] = self._pytest([test], 10 * CPU_SECONDS)[0] == 0
        return self._sound[test]

    def _pytest(self, tests: list[str], seconds: float, begin: Sequence[str] = ()) -> tuple[int | None, str, float]:
        """Status, output and processor time; the status is None if the time was over, `_HANGS` if nothing happened any
        more."""
        command = [*PYTEST, "-q", "-x", "--no-header", "-rfE", "-p", "no:cacheprovider"]
        command += ["--fastest-first", "--cpu-limit", str(_TEST_FACTOR), "-m", "not slow"]
        # A file before the folder that it is in would be no earlier for that.
        command += ["--begin-with", ",".join(begin)]
        command += [f"--deselect={test}" for test in self.unsound]
        command += tests
        path = os.pathsep.join(str(self.folder / name) for name in ("hdl", "sim", "sw", "boards", "tests"))
        variables = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        log = self.folder / "pytest.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                command, cwd=self.folder, env=variables, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
            status, spent = None, 0.0
            busy, then = 0.0, time.monotonic()  # the processor time when progress was last seen, and the time of that
            try:
                while status is None and spent < seconds and not self._interrupted.is_set():
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        status = process.wait(0.5)
                    spent = max(spent, _cpu_seconds(process.pid))
                    if spent > busy + 0.2:
                        busy, then = spent, time.monotonic()
                    elif status is None and time.monotonic() > then + IDLE_SECONDS:
                        status = _HANGS
            finally:
                _kill_all(process.pid)
                process.wait()
        if self._interrupted.is_set():
            raise Interrupted
        return status, log.read_text(errors="replace"), spent


def _processes() -> Iterator[tuple[int, int, int, int]]:
    """Number, parent, session and processor time in ticks, with that of ended children, of every process."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            fields = stat.read_text().rsplit(")", 1)[1].split()
            yield int(stat.parent.name), int(fields[1]), int(fields[3]), sum(map(int, fields[11:15]))


def _cpu_seconds(session: int) -> float:
    """Processor time of all processes of a session, and of their children that have ended."""
    return sum(ticks for _, _, its_session, ticks in _processes() if its_session == session) / _TICKS


def _kill_all(session: int) -> None:
    """Kill a session and everything that its processes have started: some tests start children in their own
    sessions."""
    doomed: set[int] = set()
    while True:
        # Each round looks again, because processes may start others until they are killed.
        processes = list(_processes())
        found = {process for process, parent, its_session, _ in processes if its_session == session or parent in doomed}
        if found <= doomed:
            break
        doomed |= found
    for process in doomed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
