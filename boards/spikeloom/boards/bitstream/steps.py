"""Steps of a build in a scratch directory: synthesise and lint once, place and route with several seeds, pack.

The result of place and route varies by 10 % and more with the seed of the placer. `BuildSteps.route` therefore runs
in a directory of its own for each seed, so that `run_seeds` can run several at once, one per core of the machine.
"""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from amaranth.build.run import BuildPlan

from spikeloom.boards.bitstream.dfu import dfu_suffix
from spikeloom.boards.bitstream.report import Clock, Used, clocks, used_resources
from spikeloom.boards.bitstream.silicon_lint import lint
from spikeloom.boards.targets.board import BoardDescription

__all__ = ["NAME", "BuildError", "BuildSteps", "Routed", "TimingError", "cores", "run_seeds"]

NAME = "top"
"""Name of the design, and of its files."""

_WAITS = {
    "yosys": "synthesis, 10 to 60 s",
    "nextpnr-ecp5": "place and route, 1 to 4 min",
    "nextpnr-ice40": "place and route, 30 to 90 s",
    "nextpnr-gowin": "place and route, 3 to 8 min",
    "ecppack": "packing",
    "gowin_pack": "packing",
    "icepack": "packing",
}
_REPORT = "nextpnr.json"

Result = TypeVar("Result")


class BuildError(RuntimeError):
    """A tool failed on the design."""


class TimingError(BuildError):
    """The design is too slow for the clock of the board; ``clock`` holds the achieved frequency."""

    def __init__(self, message: str, clock: Clock):
        super().__init__(message)
        self.clock = clock


@dataclass(frozen=True, kw_only=True)
class Routed:
    """Result of place and route with one seed.

    Parameters
    ----------
    seed : int
        Seed of the placer.
    clocks : tuple of Clock
        All clocks of the design, the tightest first.
    resources : dict of str to Used
        ``lut``, ``ff``, ``ram`` and ``dsp``.
    folder : Path
        Scratch directory with the routed design.
    log : Path
        Output of the tool.
    """

    seed: int
    clocks: tuple[Clock, ...]
    resources: dict[str, Used]
    folder: Path
    log: Path

    @property
    def missed(self) -> bool:
        """Whether a clock is too slow."""
        return any(clock.missed for clock in self.clocks)


class _Process(Protocol):
    def terminate(self) -> None: ...


class BuildSteps:
    """Run the tools of ``plan`` for ``board`` in ``folder``.

    Parameters
    ----------
    board : BoardDescription
        Board, which has the tools.
    plan : BuildPlan
        Netlist, constraints and commands.
    folder : Path
        Empty scratch directory.
    logs : Path
        Directory for the output of the tools.
    announce : callable
        Called with one sentence before each longer wait.
    """

    def __init__(
        self, board: BoardDescription, plan: BuildPlan, folder: Path, logs: Path, announce: Callable[[str], None]
    ):
        self._board = board
        self._folder = folder
        self._logs = logs
        self._announce = announce
        self._running: dict[int, _Process] = {}
        self._stopped: set[int] = set()
        self._lock = threading.Lock()
        plan.extract(str(folder))
        commands = json.loads(plan.files[f"build_{NAME}.json"])["commands"]
        place = next(number for number, (name, *_) in enumerate(commands) if name.startswith("nextpnr"))
        self._synthesis, (self._router, *self._options), self._packing = (
            commands[:place],
            commands[place],
            commands[place + 1 :],
        )

    @property
    def netlist(self) -> Path:
        """Netlist after synthesis."""
        return self._folder / f"{NAME}{self._board.flow.netlist_suffix}"

    def synthesise(self) -> None:
        """Synthesise, and raise `BuildError` if a tool fails or the FPGA would not behave like the netlist."""
        for name, *arguments in self._synthesis:
            self._announce(f"{self._board.name}: {name} ({_WAITS[name]})")
            self._run(name, arguments, self._folder, self._logs / f"{name}.log")
        findings = lint(self.netlist.read_text(), clock_hz=self._board.clock_hz)
        if findings:
            more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
            raise BuildError(f"Netlist for {self._board.name} does not work on silicon: {findings[0]}{more}")

    def route(self, seed: int) -> Routed:
        """Place and route with ``seed``; a missed clock is in the result. Raise `BuildError` if the tool fails."""
        folder = self._folder / f"seed-{seed}"
        shutil.rmtree(folder, ignore_errors=True)  # remains of an interrupted attempt
        folder.mkdir()
        options = list(self._options)
        options[options.index("--seed") + 1] = str(seed)
        # The options name files by relative paths, so the directory of the seed gets copies of them.
        for word in options:
            if (self._folder / word).is_file():
                shutil.copy(self._folder / word, folder / word)
        log = self._logs / f"{self._router}-seed-{seed}.log"
        report = folder / _REPORT
        try:
            self._run(self._router, options, folder, log, seed=seed)
        except BuildError:
            # The exit status is 1 as well if a clock is missed; then there is a report.
            if not report.is_file() or not any(clock.missed for clock in clocks(report.read_text())):
                raise
        text = report.read_text()
        report.replace(self._logs / f"nextpnr-seed-{seed}.json")
        resources = used_resources(text, self.netlist.read_text(), self._board.flow)
        return Routed(seed=seed, clocks=tuple(clocks(text)), resources=resources, folder=folder, log=log)

    def stop(self, seed: int) -> None:
        """End the place and route of ``seed``, now or as soon as it starts; its `route` raises `BuildError`."""
        with self._lock:
            self._stopped.add(seed)
            if seed in self._running:
                self._running[seed].terminate()

    def waits(self) -> str:
        """Return the tool of place and route, with the expected time of one seed."""
        return f"{self._router} ({_WAITS[self._router]})"

    def pack(self, routed: Routed) -> Path:
        """Return the bitstream of a routed design."""
        for name, *arguments in self._packing:
            if name == "dfu-suffix":
                _add_dfu_suffix(routed.folder, arguments)
                continue
            self._announce(f"{self._board.name}: {name} ({_WAITS[name]})")
            self._run(name, arguments, routed.folder, self._logs / f"{name}.log")
        return routed.folder / f"{NAME}{self._board.flow.suffix}"

    def _run(self, name: str, arguments: list[str], folder: Path, log: Path, *, seed: int | None = None) -> None:
        board = self._board
        words = [*board.flow.tool(name).command(), *board.flow.arguments(name, arguments)]
        with log.open("w", encoding="utf-8") as file:
            options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
            options |= {"stderr": subprocess.STDOUT, "text": True, "encoding": "utf-8", "errors": "replace"}
            with self._lock:
                if seed in self._stopped:
                    raise BuildError(f"{name} for {board.name} was stopped")
                process = subprocess.Popen(words, cwd=folder, **options)
                if seed is not None:
                    self._running[seed] = process
            with process:
                assert process.stdout is not None
                for line in process.stdout:
                    file.write(line)
                    if line.startswith("Preparing to run"):
                        seconds = 150 if name == "yosys" else 15
                        self._announce(f"{board.name}: {name} is compiled for this machine: about {seconds} s, once")
                status = process.wait()
            with self._lock:
                self._running.pop(seed or 0, None)
            # The log files that amaranth requests from the tools contain more than the standard output.
            for own_log in (folder / f"{NAME}.rpt", folder / f"{NAME}.tim"):
                if own_log.is_file():
                    file.write(own_log.read_text(encoding="utf-8", errors="replace"))
                    own_log.unlink()
        if status == 0:
            return
        errors = [line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("ERROR: ")]
        cause = errors[0].removeprefix("ERROR: ") if errors else f"exit status {status}"
        raise BuildError(f"Build for {board.name} failed in {name}: {cause} (full log: {log})")


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def run_seeds(
    route: Callable[[int], Result],
    seeds: Iterable[int],
    *,
    jobs: int,
    stop: Callable[[int], None],
    enough: Callable[[Result], bool] = lambda result: False,
) -> list[Result]:
    """Call ``route`` for each of ``seeds``, ``jobs`` at a time, and return the results in the order of the seeds.

    The list ends with the first result that is ``enough``; later seeds are stopped. Because the order of the seeds
    decides, and not which of them ends first, the list does not depend on ``jobs`` or on the speed of the machine.
    The first error is raised; here too, seeds that still run are stopped.
    """
    results: list[Result] = []
    with ThreadPoolExecutor(jobs) as pool:
        waiting = {seed: pool.submit(route, seed) for seed in seeds}
        try:
            while waiting:
                seed = next(iter(waiting))
                results.append(waiting[seed].result())
                del waiting[seed]
                if enough(results[-1]):
                    break
        finally:
            for seed, future in waiting.items():
                if not future.cancel():
                    stop(seed)
    return results


def _add_dfu_suffix(folder: Path, arguments: list[str]) -> None:
    """Append the suffix like ``dfu-suffix -v VENDOR -p PRODUCT -a FILE``, so that the tool is not needed."""
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    with (folder / options["-a"]).open("rb+") as file:
        file.write(dfu_suffix(file.read(), int(options["-v"], 16), int(options["-p"], 16)))
