"""A board that is not there: the generated Verilog of a fabric, simulated behind a pseudo-terminal.

To the driver it is a serial port like any other. While something moves on the line or is being computed, clock cycles
pass as fast as they can be simulated; while nothing does, the clock of the design stands still.

The file ``clock`` beside the port holds the time as the board sees it: simulated time, and real time while the clock of
the design stands still. The timers of a host that uses it (`VirtualSerialTransport`) do not depend on the speed of the
simulation.
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

if TYPE_CHECKING:
    from spikeloom.simulators.simulated_board import SimulatedTransport

__all__ = ["VirtualBoard"]

_SLICE_S = 100e-6
"""Simulated time between two looks at the pseudo-terminal: 10,000 cycles."""
_QUIET_SLICES = 20
"""So long nothing may have moved before time stands still."""
_PAUSE_S = 0.02
_START_S = 300


class VirtualBoard:
    """A simulated board, running while the context is entered.

    Parameters
    ----------
    fabric
        What the board holds.
    directory
        Where Verilog, compiled simulators and logs go. What is there already is used again.
    divisor
        Clock cycles per bit of the UART.
    build_hash
        What the board says when it is asked for its build; zeros if not given.
    random_start
        A seed for what memories and registers without initial value begin with; zeros without one.
    announce
        Called with one sentence before a long wait.

    Attributes
    ----------
    port : str
        The serial port, once entered.
    link : Path
        A symbolic link to it: ``run/port`` in ``directory``, or ``run-2/port`` and so on beside boards that run.
    clock : Path
        The file with the time of the board, beside the link.

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
        verilog = write_verilog(design, "top", self.directory / "verilog")
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
        """Start the simulation, and wait until it offers its port."""
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
                raise self._failure or RuntimeError("the simulation must offer a port, and has ended without")
            time.sleep(_PAUSE_S)
        self.port = os.readlink(link)

    def transport(self) -> Transport:
        """Return a transport to the board with the clock of the board."""
        return VirtualSerialTransport(str(self.link), self.clock)

    def wait(self) -> None:
        """Wait until the simulation ends, which it does by itself only if it fails; raises what it failed with."""
        while self._thread.is_alive():
            self._thread.join(_PAUSE_S)  # in pieces, so that a signal is handled meanwhile
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
        except Exception as error:  # it belongs to the thread that asked for the board
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
    """A folder in ``directory`` that no other running board uses, until the context is left."""
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
    """Inside the simulator: bytes from a pseudo-terminal to the pins and back, until the file ``stop`` is there."""
    master, slave = os.openpty()  # the slave stays open here, so that a host may come and go
    tty.setraw(slave)
    os.set_blocking(master, False)
    time_file = os.open(clock, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    to_host = b""
    quiet = 0
    slept = 0.0
    os.pwrite(time_file, BOARD_CLOCK.pack(transport.now()), 0)
    os.symlink(os.ttyname(slave), link)
    while not os.path.exists(stop):
        asleep = quiet > _QUIET_SLICES
        looked = time.monotonic()
        readable, writable, _ = select.select([master], [master] if to_host else [], [], _PAUSE_S if asleep else 0.0)
        if asleep:  # at most the pause: a process that was not scheduled could not have answered
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
