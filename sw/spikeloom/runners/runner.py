"""One interface to run a program on four backends: reference, compiled RTL, RTL at its pins, and board.

Each `Runner` takes spikes and returns the activity of the populations. The `PinsRunner` and the `BoardRunner` run the
same driver code; only the transport differs. The `CompiledRunner` (`spikeloom.runners.compiled`) exchanges packets with
the fabric and is fast; the `PinsRunner` simulates the Verilog of the whole design with cocotb.
"""

from __future__ import annotations

import abc
import dataclasses
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.compiler.program import Program
from spikeloom.datasets.encoders import Encoder
from spikeloom.host.driver import Board
from spikeloom.host.endpoint import Endpoint
from spikeloom.host.peripherals import check_score
from spikeloom.host.results import BoardResult
from spikeloom.host.transport import FaultyTransport, Transport
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.ethernet import EthernetParameters
from spikeloom.sim.host.identity import Identity, LinkKind
from spikeloom.sim.host.readout import ReadoutMode, answers, scores
from spikeloom.sim.host.usb import UsbParameters
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.reference import as_inputs, simulate
from spikeloom.sim.noc.mesh import Link, LinkCount
from spikeloom.sim.sdram.phase import PhaseEye
from spikeloom.simulators.sdram import NO_TRAFFIC, SdramTraffic

if TYPE_CHECKING:
    from spikeloom.simulators.simulated_board import SimulatedTransport

__all__ = [
    "BoardRunner",
    "PinsRunner",
    "Progress",
    "ReferenceRunner",
    "RunResult",
    "Runner",
    "Task",
    "TaskRunner",
    "by_population",
    "do_at_pins",
]

Progress = Callable[[int, int], None]
"""Called with the number of completed samples and the total."""

_PROGRESS_MARK = "spikeloom samples done:"


@dataclass(frozen=True, kw_only=True, eq=False)
class RunResult:
    """Result of a run.

    ``spikes``, ``values`` and ``membranes`` are ``(T, B, n)`` by population, for the observed populations: the output
    population and, in hardware, those that the program observes in addition. ``values`` holds the values of graded
    spikes, 0 without a spike; for the populations in ``counted``, these are the numbers of spikes. ``counters`` holds
    the counters of each tile at the end. ``cycles`` is the number of clock cycles from the end of loading to the last
    answer, link included where there is one. ``cycles_per_sample`` ``(B,)`` counts from the first packet of a sample in
    to its last packet out; consecutive samples overlap. ``links`` holds the router counters of a mesh. Fields that are
    not counted are empty or None. ``faults`` are those injected on the line. ``seconds`` is wall time. ``classes``
    ``(B,)`` holds the answers if they were requested; there are no arrays by population then. ``sdram`` is the traffic
    of the SDRAM during the run, in compiled simulations; zeros where there is none.
    """

    output_name: str
    spikes: dict[str, NDArray[np.bool_]]
    membranes: dict[str, NDArray[np.int64]]
    values: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    counters: dict[int, dict[str, int]] = field(default_factory=dict)
    cycles: int | None = None
    cycles_per_sample: NDArray[np.int64] | None = None
    links: dict[Link, LinkCount] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    classes: NDArray[np.int64] | None = None
    counted: tuple[str, ...] = ()
    sdram: SdramTraffic = NO_TRAFFIC

    def fired(self, name: str) -> NDArray[Any]:
        """Return the spikes of a population, ``(T, B, n)``: booleans, or numbers of spikes as unsigned integers where
        its neurons fire several times per step."""
        return self.values[name].astype(np.uint8) if name in self.counted else self.spikes[name]

    @property
    def output(self) -> NDArray[Any]:
        """Spikes ``(T, B, n)`` of the output population (`fired`), or its membranes if it does not spike."""
        name = self.output_name
        return self.membranes[name] if name in self.membranes else self.fired(name)


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Task of a board.

    ``inputs`` are spikes or values ``(T, B, inputs)`` or, with an ``encoder``, images ``(B, ...)`` that the board
    encodes. With a ``mode`` other than OFF, the board answers with classes only.
    """

    inputs: NDArray[Any]
    encoder: Encoder | None = None
    mode: ReadoutMode = ReadoutMode.OFF

    @property
    def samples(self) -> int:
        """Number of samples in the inputs."""
        return len(self.inputs) if self.encoder else self.inputs.shape[1]


class Runner(abc.ABC):
    """Interface of all backends."""

    @abc.abstractmethod
    def run(self, spikes: ArrayLike, *, progress: Progress | None = None) -> RunResult:
        """Run ``spikes`` ``(T, B, inputs)``; every sample starts from the cleared state.

        A network with ``input_value_width`` takes integers instead; 0 is no event.
        """


class TaskRunner(Runner):
    """Runner that also supports tasks for the units of the host bridge."""

    @abc.abstractmethod
    def do(self, task: Task, *, progress: Progress | None = None) -> RunResult:
        """Run ``task``."""


class ReferenceRunner(TaskRunner):
    """Runner of the integer reference."""

    def __init__(self, network: QuantisedNetwork) -> None:
        self.network = network

    def run(self, spikes: ArrayLike, *, progress: Progress | None = None) -> RunResult:
        start = time.monotonic()
        name = self.network.output
        result = simulate(self.network, spikes)
        silent = not self.network.population(name).parameters.spiking
        return RunResult(
            output_name=name,
            spikes={} if silent else {name: result.spikes[name]},
            membranes={name: result.states[name].v} if silent else {},
            values={name: result.values[name]} if name in result.values else {},
            counted=(name,) if self.network.population(name).parameters.max_spikes > 1 else (),
            seconds=time.monotonic() - start,
        )

    def do(self, task: Task, *, progress: Progress | None = None) -> RunResult:
        if task.mode is not ReadoutMode.OFF:
            check_score(task.mode, membranes=not self.network.population(self.network.output).parameters.spiking)
        spikes = task.encoder.encode(task.inputs) if task.encoder else task.inputs
        result = self.run(spikes, progress=progress)
        if task.mode is ReadoutMode.OFF:
            return result
        classes = answers(scores(task.mode, result.output))
        return RunResult(
            output_name=result.output_name, spikes={}, membranes={}, seconds=result.seconds, classes=classes
        )


class BoardRunner(TaskRunner):
    """Runner of a board, or of anything with the same protocol, at the end of ``transport``.

    ``build_hash`` is the hash of the expected bitstream; without it, any build of the program's fabric is accepted.
    ``verify`` reads the memories back after loading. ``clock`` returns the clock cycles of the board, where they are
    counted. ``identity`` is that of the board in the last run, None before; ``memory_eye`` what a sweep of its SDRAM
    has found there, None if none was needed.
    """

    def __init__(
        self,
        program: Program,
        transport: Transport,
        *,
        build_hash: bytes | None = None,
        clock: Callable[[], int] | None = None,
        verify: bool = False,
    ) -> None:
        self.program = program
        self.transport = transport
        self.verify = verify
        self.build_hash = build_hash
        self.clock = clock
        self.identity: Identity | None = None
        self.memory_eye: PhaseEye | None = None

    def run(self, spikes: ArrayLike, *, progress: Progress | None = None) -> RunResult:
        array = as_inputs(spikes, len(self.program.input_axons), self.program.input_value_width)
        return self.do(Task(inputs=array), progress=progress)

    def do(self, task: Task, *, progress: Progress | None = None) -> RunResult:
        start = time.monotonic()
        with Endpoint(self.transport) as endpoint:
            board = Board(endpoint, self.program.fabric)
            self.identity, self.memory_eye = board.identity, board.memory_eye
            expected = self.program.fabric.identity(self.build_hash or bytes(16))
            board.check(expected, build=self.build_hash is not None)
            board.load(self.program, verify=self.verify)
            loaded = self.clock() if self.clock else 0
            fields: dict[str, Any] = {"output_name": self.program.observed[0][0], "spikes": {}, "membranes": {}}
            if task.mode is not ReadoutMode.OFF:
                found = board.classify(task.inputs, encoder=task.encoder, mode=task.mode, progress=progress)
                fields["classes"] = found.classes
            elif task.encoder is not None:
                fields = by_population(self.program, [board.run_images(task.inputs, task.encoder, progress=progress)])
            else:
                fields = by_population(self.program, [board.run(task.inputs, progress=progress)])
            cycles = self.clock() - loaded if self.clock else None
            board.check_errors()
            counters = board.counters()
            links = board.link_counts()
        return RunResult(
            **fields,
            counters=counters,
            cycles=cycles,
            links=links,
            seconds=time.monotonic() - start,
        )


def by_population(program: Program, results: Sequence[BoardResult]) -> dict[str, Any]:
    """Return the fields of a `RunResult` by population, joined from ``results``, which hold some samples each."""

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(result, name) for result in results], axis=1)

    output = program.observed[0][0]
    spikes, values = joined("spikes"), joined("values") if program.graded else None
    spikes_of: dict[str, NDArray[np.bool_]] = {}
    values_of: dict[str, NDArray[np.int64]] = {}
    first = 0
    for name, size in program.observed:
        columns = slice(first, first + size)
        if not (program.membranes and name == output):
            spikes_of[name] = spikes[..., columns]
        if values is not None and name in program.graded:
            values_of[name] = values[..., columns]
        first += size
    membranes_of = {output: joined("membranes")} if program.membranes else {}
    return {
        "output_name": output,
        "spikes": spikes_of,
        "values": values_of,
        "membranes": membranes_of,
        "counted": program.counted,
    }


class PinsRunner(TaskRunner):
    """Runner of the generated Verilog of the program's fabric, simulated with a UART at its pins.

    Parameters
    ----------
    program
        Program to run.
    directory
        Directory for Verilog, compiled simulators and logs. Existing ones are reused.
    divisor
        Clock cycles per bit of the UART.
    waves
        Record a waveform; `waves` is its path after a run.
    faults
        Rates of faults on the line: arguments of `FaultyTransport`.
    random_start
        Seed for the initial values of memories and registers without a defined one; zeros without a seed.
    announce
        Called with one sentence before a long wait.
    """

    def __init__(
        self,
        program: Program,
        directory: Path,
        *,
        divisor: int = 4,
        waves: bool = False,
        faults: Mapping[str, Any] | None = None,
        random_start: int | None = None,
        announce: Callable[[str], None] = print,
    ) -> None:
        self.program = program
        self.directory = directory
        self.divisor = divisor
        self.record_waves = waves
        self.faults = dict(faults or {})
        self.random_start = random_start
        self.announce = announce
        self.waves: Path | None = None

    def run(self, spikes: ArrayLike, *, progress: Progress | None = None) -> RunResult:
        array = as_inputs(spikes, len(self.program.input_axons), self.program.input_value_width)
        return self.do(Task(inputs=array), progress=progress)

    def do(self, task: Task, *, progress: Progress | None = None) -> RunResult:
        start = time.monotonic()

        def on_line(line: str) -> None:
            if progress is not None and _PROGRESS_MARK in line:
                progress(int(line.rsplit(":", 1)[1]), task.samples)

        result, self.waves = do_at_pins(
            self.program.fabric,
            _run_simulated,
            (self.program, task, self.faults),
            self.directory,
            divisor=self.divisor,
            waves=self.record_waves,
            random_start=self.random_start,
            announce=self.announce,
            on_line=on_line,
        )
        return dataclasses.replace(result, seconds=time.monotonic() - start)


def _run_simulated(transport: SimulatedTransport, program: Program, task: Task, faults: dict[str, Any]) -> RunResult:
    """Run the driver inside the simulator, with the same code as on a board."""

    def report(done: int, total: int) -> None:
        if done % max(1, total // 50) == 0 or done == total:
            print(_PROGRESS_MARK, done, flush=True)

    line = FaultyTransport(transport, **faults) if faults else transport
    runner = BoardRunner(program, line, build_hash=bytes(16), clock=transport.cycles)
    result = runner.do(task, progress=report)
    made = dict(line.faults) if isinstance(line, FaultyTransport) else {}
    return dataclasses.replace(result, faults=made)


def do_at_pins(
    fabric: FabricConfig,
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
    directory: Path,
    *,
    divisor: int = 4,
    ethernet_hz: float | None = None,
    usb_hz: float | None = None,
    ulpi_hz: float | None = None,
    waves: bool = False,
    random_start: int | None = None,
    announce: Callable[[str], None] = print,
    on_line: Callable[[str], None] | None = None,
) -> tuple[Any, Path | None]:
    """Call ``work(transport, *arguments)`` inside the simulator; return its result and the path of the waveform, if
    any.

    ``transport`` is the `SimulatedTransport` to the pins of ``fabric``; the other parameters are those of `PinsRunner`.
    ``work`` must be a module-level function; ``on_line`` is called with each line that the simulator prints. With
    ``ethernet_hz``, ``usb_hz`` or ``ulpi_hz``, the fabric has an Ethernet device with this clock, a USB device with
    this bit rate, or one for high speed with this clock, instead of the UART; the clock of the fabric is 100 MHz.
    """
    from spikeloom.hdl.top.ethernet_top import EthernetTop
    from spikeloom.hdl.top.top import Top
    from spikeloom.hdl.top.ulpi_top import UlpiTop
    from spikeloom.hdl.top.usb_top import UsbTop
    from spikeloom.hdl.top.verilog import write_verilog
    from spikeloom.simulators.build import check_simulated
    from spikeloom.simulators.verilator import ETHERNET_TESTBENCH, TESTBENCH, ULPI_TESTBENCH, USB_TESTBENCH, run_cocotb

    check_simulated(fabric)
    top: Top | EthernetTop | UsbTop | UlpiTop
    environment, parameters = {}, {}
    if ethernet_hz is not None:
        top, testbench = EthernetTop(fabric, EthernetParameters()), ETHERNET_TESTBENCH
        environment["SPIKELOOM_ETHERNET_PS"] = f"{2 * round(1e12 / ethernet_hz / 2)}"
    elif usb_hz is not None:
        top, testbench = UsbTop(fabric, UsbParameters()), USB_TESTBENCH
        # Four periods of its fast clock, each of two equal halves.
        environment["SPIKELOOM_USB_PS"] = f"{8 * round(1e12 / usb_hz / 8)}"
    elif ulpi_hz is not None:
        top, testbench = UlpiTop(fabric, UsbParameters()), ULPI_TESTBENCH
        environment["SPIKELOOM_ULPI_PS"] = f"{2 * round(1e12 / ulpi_hz / 2)}"
    else:
        top, testbench = Top(fabric, divisor, link_kind=LinkKind.SIMULATION), TESTBENCH
        parameters["DIVISOR"] = divisor
    verilog = write_verilog(top, "top", directory / "verilog", merge=True)
    job = directory / "run" / "job.pickle"
    job.parent.mkdir(parents=True, exist_ok=True)
    result_path = job.with_suffix(".result")
    result_path.unlink(missing_ok=True)
    job.write_bytes(pickle.dumps((work, arguments)))
    done = run_cocotb(
        sources=[testbench, verilog],
        toplevel="testbench",
        test_module="spikeloom.simulators.simulated_board",
        build_dir=directory / "verilator",
        run_dir=job.parent,
        parameters=parameters,
        environment={"SPIKELOOM_JOB": str(job.resolve()), **environment},
        waves=waves,
        random_start=random_start is not None,
        seed=1 if random_start is None else random_start,
        announce=announce,
        on_line=on_line,
    )
    result = pickle.loads(result_path.read_bytes())
    job.unlink()
    result_path.unlink()
    return result, done.waves
