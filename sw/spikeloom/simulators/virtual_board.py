"""Virtual board: the generated Verilog of a fabric, simulated behind a pseudo-terminal.

To the driver it is an ordinary serial port. While there is traffic on the line or the design computes, the simulation
runs as fast as it can; otherwise the clock of the design stands still.

The file ``clock`` beside the port holds the time as the board sees it: simulated time, plus real time while the clock
of the design stands still. The timers of a host that uses this time (`VirtualSerialTransport`) are independent of the
speed of the simulation.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import pickle
import select
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from spikeloom.host.transport import BOARD_CLOCK, Transport, VirtualSerialTransport
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.identity import LinkKind
from spikeloom.simulators.build import check_simulated

if TYPE_CHECKING:
    from spikeloom.simulators.simulated_board import SimulatedTransport

__all__ = ["VirtualBoard"]

_SLICE_S = 100e-6
"""Simulated time between two polls of the pseudo-terminal: 10,000 cycles."""
_QUIET_SLICES = 20
"""Number of slices without traffic after which the clock of the design stops."""
_PAUSE_S = 0.02  # real time between two polls while the clock stands still
_START_S = 300  # timeout of the start, which includes compiling the simulator


class VirtualBoard:
    """A virtual board, which runs while its context is active.

    Parameters
    ----------
    fabric
        Fabric on the board.
    directory
        Directory for Verilog, compiled simulators and logs. Existing results are reused.
    divisor
        Clock cycles per bit of the UART.
    build_hash
        Build hash, 16 bytes, that the board reports; default: zeros.
    random_start
        Seed for random contents of memories and registers without initial value; default: zeros.
    announce
        Called with one sentence before a long wait.

    Attributes
    ----------
    port : str
        Serial port; empty before the context is entered.
    link : Path
        Symbolic link to the port: ``run/port`` in ``directory``, or ``run-2/port`` and so on if other boards run there.
    clock : Path
        File with the time of the board, beside the link.

    Examples
    --------
    ::

        with VirtualBoard(FABRICS["small"], Path("build/virtual")) as board:
            transport = board.transport()
    """

    def __init__(
        self,
        fabric: FabricConfig,
        directory: Path,
        *,
        divisor: int = 4,
        build_hash: bytes | None = None,
        random_start: int | None = None,
        announce: Callable[[str], None] = print,
    ) -> None:
        check_simulated(fabric)
        self.fabric = fabric
        self.directory = directory
        self.divisor = divisor
        self.build_hash = build_hash or bytes(16)
        self.random_start = random_start
        self.announce = announce
        self.port = ""
        self.link = self.clock = Path()
        self._failure: BaseException | None = None

    def __enter__(self) -> VirtualBoard:
        from spikeloom.hdl.top.top import Top
        from spikeloom.hdl.top.verilog import write_verilog

        design = Top(self.fabric, self.divisor, self.build_hash, link_kind=LinkKind.SIMULATION)
        verilog = write_verilog(design, "top", self.directory / "verilog", merge=True)
        with contextlib.ExitStack() as stack:
            run = stack.enter_context(_run_folder(self.directory))
            try:
                self._start(verilog, run)
            except BaseException:
                self._end()
                raise
            self._locks = stack.pop_all()
        return self

    def _start(self, verilog: Path, run: Path) -> None:
        """Start the simulation and wait until its port exists. Raises the error of the simulation if it fails."""
        # The user sees the paths as given; the simulator, which runs in another directory, gets absolute ones.
        self.link, self.clock = run / "port", run / "clock"
        run = run.resolve()
        link, clock, self._stop = run / "port", run / "clock", run / "stop"
        for stale in (link, clock, self._stop):
            stale.unlink(missing_ok=True)
        job = run / "job.pickle"
        job.write_bytes(pickle.dumps((_serve, (str(link), str(clock), str(self._stop)))))
        self._thread = threading.Thread(target=self._simulate, args=(verilog, job))
        self._thread.start()
        deadline = time.monotonic() + _START_S
        while not link.is_symlink():
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise self._failure or RuntimeError("the simulation of the board has offered no port")
            time.sleep(_PAUSE_S)
        self.port = os.readlink(link)

    def transport(self) -> Transport:
        """Return a transport to the board whose timers use the clock of the board."""
        return VirtualSerialTransport(str(self.link), self.clock)

    def wait(self) -> None:
        """Wait until the simulation ends by itself, which it does only if it fails. Raises ``RuntimeError`` then."""
        while self._thread.is_alive():
            self._thread.join(_PAUSE_S)  # with a timeout, so that signals are handled in between
        log = self.link.with_name("simulation.log")
        raise RuntimeError(f"the simulation of the board has ended by itself; {log} says why") from self._failure

    def _simulate(self, verilog: Path, job: Path) -> None:
        from spikeloom.simulators.verilator import TESTBENCH, run_cocotb

        try:
            run_cocotb(
                sources=[TESTBENCH, verilog],
                toplevel="testbench",
                test_module="spikeloom.simulators.simulated_board",
                build_dir=self.directory / "verilator",
                run_dir=job.parent,
                parameters={"DIVISOR": self.divisor},
                environment={"SPIKELOOM_JOB": str(job)},
                random_start=self.random_start is not None,
                seed=1 if self.random_start is None else self.random_start,
                announce=self.announce,
            )
        except Exception as error:  # raised again in the thread that uses the board
            self._failure = error

    def _end(self) -> None:
        self._stop.touch()
        self._thread.join()
        self.link.unlink(missing_ok=True)
        self.clock.unlink(missing_ok=True)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()
        self._locks.close()
        if self._failure is not None and value is None:
            raise self._failure


@contextlib.contextmanager
def _run_folder(directory: Path) -> Iterator[Path]:
    """Reserve a folder in ``directory`` that no other running board uses, until the context is left."""
    # The lock is released when its process ends, however it ends: a folder cannot stay reserved.
    for number in itertools.count(1):
        folder = directory / ("run" if number == 1 else f"run-{number}")
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield folder
            return


def _serve(transport: SimulatedTransport, link: str, clock: str, stop: str) -> None:
    """Run inside the simulator: connect a pseudo-terminal and the pins, until the file ``stop`` exists."""
    master, slave = os.openpty()  # the slave stays open here, so that hosts can connect and disconnect
    tty.setraw(slave)
    os.set_blocking(master, False)
    time_file = os.open(clock, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    to_host = b""
    quiet = 0
    slept = 0.0
    # The link appears last: a host that sees it finds the clock as well.
    os.pwrite(time_file, BOARD_CLOCK.pack(transport.now()), 0)
    os.symlink(os.ttyname(slave), link)
    while not os.path.exists(stop):
        asleep = quiet > _QUIET_SLICES
        looked = time.monotonic()
        readable, writable, _ = select.select([master], [master] if to_host else [], [], _PAUSE_S if asleep else 0.0)
        if asleep:  # at most the pause: while this process was not scheduled, it could not have answered
            slept += min(time.monotonic() - looked, _PAUSE_S)
        from_host = os.read(master, 4096) if readable else b""
        if from_host:
            transport.write(from_host)
        if from_host or not asleep:
            to_host += transport.read(_SLICE_S)
        if to_host and writable:
            to_host = to_host[os.write(master, to_host) :]
        quiet = 0 if from_host or to_host else quiet + 1
        os.pwrite(time_file, BOARD_CLOCK.pack(transport.now() + slept), 0)
    for descriptor in (master, slave, time_file):
        os.close(descriptor)
