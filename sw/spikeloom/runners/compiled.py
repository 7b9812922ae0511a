"""Runner for the compiled design: several copies share the samples, each in its own thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.compiler.program import Program
from spikeloom.host.results import BoardResult, StepCollector
from spikeloom.runners.runner import Progress, Runner, RunResult, by_population
from spikeloom.sim.network.reference import as_inputs
from spikeloom.sim.noc.mesh import Link, LinkCount
from spikeloom.simulators.build import CompiledDesign, compile_design, compile_tiles, find_verilator
from spikeloom.simulators.compiled import CompiledSimulator, Pauses
from spikeloom.simulators.sdram import NO_TRAFFIC, SdramTraffic
from spikeloom.simulators.verilator import SimulationError

if TYPE_CHECKING:
    from amaranth.lib.wiring import Component


__all__ = ["CompiledRunner"]


_SAMPLES_A_PIECE = 4  # samples passed to a design at once, while as many are still queued in it


class CompiledRunner(Runner):
    """Program on the compiled design of its fabric: the tiles with their packets, without bridge, link and UART.

    Parameters
    ----------
    program
        Program to run.
    directory
        Directory for Verilog and libraries. Existing ones are reused.
    design
        Design to compile; default: the tiles of the program's fabric.
    workers
        Number of copies of the design that share the samples, each in its own thread.
    pauses
        Random pauses at the ports; every copy has its own sequence.
    optimise
        Compile the design a second time with the profile of the first samples: it runs about a fifth faster, and
        compiling takes more than twice as long.
    announce
        Called with one sentence before a long wait.
    clock_hz
        Clock of a fabric with SDRAM, as for `CompiledSimulator`.
    """

    def __init__(
        self,
        program: Program,
        directory: Path,
        *,
        design: Component | None = None,
        workers: int = 1,
        pauses: Pauses | None = None,
        optimise: bool = False,
        announce: Callable[[str], None] = print,
        clock_hz: int | None = None,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers!r}")
        self.program = program
        self.directory = directory
        self.design = design
        self.workers = workers
        self.pauses = pauses or Pauses()
        self.optimise = optimise
        self.announce = announce
        self.clock_hz = clock_hz
        self._compiled: CompiledDesign | None = None

    def compile(self, spikes: ArrayLike) -> CompiledDesign:
        """Return the compiled library; compile it on the first call.

        ``spikes`` ``(T, B, inputs)`` are typical input, of which the first samples are run if ``optimise`` is set.
        """
        if self._compiled is None:
            find_verilator()  # before a design is built, which Amaranth would report as unused

            def trial(library: Path) -> None:
                few = np.asarray(spikes)[:, :_SAMPLES_A_PIECE]
                self._run_piece(library, few, 0, _Counter(1, few.shape[1], None))

            wanted = trial if self.optimise else None
            if self.design is None:
                fabric = self.program.fabric
                self._compiled = compile_tiles(fabric, self.directory, trial=wanted, announce=self.announce)
            else:
                self._compiled = compile_design(self.design, self.directory, trial=wanted, announce=self.announce)
        return self._compiled

    def run(self, spikes: ArrayLike, *, progress: Progress | None = None) -> RunResult:
        start = time.monotonic()
        array = as_inputs(spikes, len(self.program.input_axons), self.program.input_value_width)
        library = self.compile(array).library
        total = array.shape[1]
        pieces = np.array_split(np.arange(total), min(self.workers, total))
        counter = _Counter(len(pieces), total, progress)
        with ThreadPoolExecutor(len(pieces)) as pool:
            futures = [
                pool.submit(self._run_piece, library, array[:, piece], number, counter)
                for number, piece in enumerate(pieces)
            ]
            try:
                parts = [future.result() for future in futures]
            except BaseException:
                counter.stopped = True
                raise
        return RunResult(
            **by_population(self.program, [part.result for part in parts]),
            counters={
                tile: {name: sum(part.counters[tile][name] for part in parts) for name in counts}
                for tile, counts in parts[0].counters.items()
            },
            cycles=sum(part.cycles for part in parts),
            links={
                link: LinkCount(*map(sum, zip(*(part.links[link] for part in parts), strict=True)))
                for link in parts[0].links
            },
            cycles_per_sample=np.concatenate([part.cycles_per_sample for part in parts]),
            sdram=sum((part.sdram for part in parts), NO_TRAFFIC),
            seconds=time.monotonic() - start,
        )

    def _run_piece(self, library: Path, spikes: NDArray[Any], number: int, counter: _Counter) -> _Part:
        """Run all of ``spikes`` ``(T, B, inputs)`` on one copy of the design."""
        steps, samples, _ = spikes.shape
        pauses = Pauses(idle=self.pauses.idle, stall=self.pauses.stall, seed=self.pauses.seed + number)
        collector = StepCollector(self.program, steps, samples)
        with CompiledSimulator(library, pauses=pauses, clock_hz=self.clock_hz) as simulator:
            simulator.load(self.program)
            # After a reset, a core is busy clearing its state. This happens before the run and is not part of its cost.
            before = self._counters(simulator)
            traffic, moved = simulator.sdram_traffic, NO_TRAFFIC
            fed = 0
            for done in [*range(_SAMPLES_A_PIECE, samples, _SAMPLES_A_PIECE), samples]:
                # One piece is always queued, so that the samples follow each other without a gap.
                while fed < min(done + _SAMPLES_A_PIECE, samples):
                    simulator.feed(spikes[:, fed : fed + _SAMPLES_A_PIECE], self.program.input_axons)
                    fed += _SAMPLES_A_PIECE
                simulator.advance(done * steps)
                moved = simulator.sdram_traffic - traffic
                collector.take(simulator.take())
                counter.report(number, done)
            simulator.finish()
            result = collector.result()
            starts, stops = simulator.sample_times()
            after = self._counters(simulator)
            return _Part(
                result=result,
                counters={
                    tile: {name: (count - before[tile][name]) % (1 << 32) for name, count in counts.items()}
                    for tile, counts in after.items()
                },
                cycles=int(stops[-1] - starts[0]) + 1,
                links=simulator.link_counts(),
                cycles_per_sample=stops - starts + 1,
                sdram=moved,
            )

    def _counters(self, simulator: CompiledSimulator) -> dict[int, dict[str, int]]:
        """Return the counters of each tile; tiles without counters are omitted."""
        return {
            number: {name: simulator.read_register(name, tile=number) for name in tile.counters}
            for number, tile in self.program.fabric.numbered.items()
            if tile.counters
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """Result of one copy of the design."""

    result: BoardResult
    counters: dict[int, dict[str, int]]
    cycles: int
    links: dict[Link, LinkCount]
    cycles_per_sample: NDArray[np.int64]
    sdram: SdramTraffic


class _Counter:
    """Count the completed samples of all copies, and stop all copies if one fails."""

    def __init__(self, pieces: int, total: int, progress: Progress | None) -> None:
        self._done = [0] * pieces
        self._total = total
        self._progress = progress
        self._lock = threading.Lock()
        self.stopped = False

    def report(self, number: int, done: int) -> None:
        if self.stopped:
            raise SimulationError("The simulation was stopped")
        with self._lock:
            self._done[number] = done
            if self._progress is not None:
                self._progress(sum(self._done), self._total)
