"""Networks whose weights lie in SDRAM, on the compiled RTL: ``python -m spikeloom.benchmarks.large``, ``make large``.

Three networks run on the fabrics that are chosen for two boards, with the clocks of the boards and a model of the SDRAM
that refuses every violation of its timing; every spike is compared with the integer reference:

* 784-1000-10, the network of snnTorch's introduction (`spikeloom.train.mnist`), trained here on 55,000 images of MNIST
  with 4-bit weights; 1,000 test images, pixels as values in each of 25 steps. The outputs never spike, and the largest
  sum of membranes is the answer;
* 784-2048-2048-10, seeded random 8-bit weights, 100 random inputs of 10 steps;
* 4,096 recurrent neurons, 5 % of 16.8 million possible synapses, seeded random 4-bit weights, 1,000 steps. A row in
  SDRAM has a weight for every neuron, so that the other 95 % are zeros that are read too.

The work is cut into pieces. A finished piece is a file in ``build/large``, so that an interrupted run resumes. The rate
of a board is its clock divided by the simulated cycles; the link is not part of it.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from spikeloom.compiler.place import place
from spikeloom.compiler.program import Program
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.mnist import MnistError, fetch_mnist, load_mnist, pixel_levels
from spikeloom.datasets.readout import classify
from spikeloom.frontends.nir import load
from spikeloom.frontends.saving import save
from spikeloom.host.results import StepCollector
from spikeloom.runners.compare import compare, observed_names
from spikeloom.runners.runner import RunResult, by_population
from spikeloom.sim.core.neuron import Leak, NeuronParameters, Reset
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.lib.files import write_whole
from spikeloom.sim.lib.formats import SUMMARY_FILE
from spikeloom.sim.lib.words import weight_range
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.reference import simulate
from spikeloom.simulators.build import compile_tiles
from spikeloom.simulators.compiled import CompiledSimulator
from spikeloom.train.mnist import INTRODUCTION, VALIDATION, Recipe, checkpoint, measure, network_file, split, train

__all__ = ["BOARDS", "RECIPE", "TASKS", "Entry", "Task", "Workload", "fabric_on", "layered", "main", "recurrent", "run"]

BOARDS = ("ulx3s-85f", "ulx3s-12f")
"""Boards with an SDRAM: the largest and the smallest."""

LEAST_ACCURACY = 0.975
"""Minimum accuracy of the trained network on all 10,000 test images."""

START = Recipe(
    name="784-1000-10 with spiking outputs",
    hidden=1000,
    quantisation=Quantisation(weight_width=4, v_width=18),
    neurons=INTRODUCTION,
    epochs=12,
    learning_rate=2e-3,
    distortion=0.2,
    steps=25,
)
"""The first part of the training. Its output neurons fire in almost every step, so their counts are often equal."""

RECIPE = replace(START, name="784-1000-10", epochs=1, learning_rate=3e-4, readout=True, start=START.name)
"""The training; its settings were chosen on the last 5,000 training images."""

_SHOWN_STEPS = 100  # steps between two lines of progress of a long sample


@dataclass(frozen=True, kw_only=True, eq=False)
class Workload:
    """A network, its ``inputs`` ``(T, B, n)``, and the ``labels`` ``(B,)`` of classified samples.

    ``synapses`` is the number of connections between neurons, a part of the weights if the network is sparse.
    """

    network: QuantisedNetwork
    inputs: NDArray[Any]
    synapses: int
    labels: NDArray[np.int64] | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """A network to run: ``make`` returns it from the output folder and the folder of MNIST, None to download it.

    ``piece`` is the number of samples of a piece.
    """

    name: str
    piece: int
    make: Callable[[Path, Path | None], Workload]
    weight_memory: str = "sdram"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An entry of ``summary.json``: a network on a board.

    ``spikes_compared`` counts the spikes of all populations and the membranes of outputs that never spike, and
    ``mismatches`` the cells in which RTL and reference differ. ``accuracy``, 0 to 1, is that of the samples that were
    run, and ``test_accuracy`` that of the reference on all test images. ``bandwidth_used`` is the part of the memory's
    cycles in which a word was on its data pins, ``memory_bytes`` the bytes of each memory: used ones for weights in
    SDRAM, built ones for block RAM. ``weights_added_per_s`` counts the zeros of a sparse network too. ``missing`` says
    what the board lacks if it cannot hold the network; what was not measured is None.
    """

    network: str
    neurons: int
    synapses: int
    board: str
    spikes_compared: int = 0
    mismatches: int = 0
    accuracy: float | None = None
    test_accuracy: float | None = None
    images_per_s: float | None = None
    bandwidth_used: float | None = None
    samples: int = 0
    steps: int = 0
    steps_per_s: float | None = None
    weights_added_per_s: float | None = None
    weight_bits: int = 0
    lanes: int | None = None
    clock_mhz: float | None = None
    memory_mhz: float | None = None
    memory_bytes: dict[str, int] = field(default_factory=dict)
    missing: str | None = None


# The networks.


def _neurons(name: str, size: int, threshold: int) -> QuantisedPopulation:
    parameters = NeuronParameters(
        size=size, threshold=threshold, leak=Leak.MULTIPLY, leak_factor=round(0.9 * 2**14), reset=Reset.SUBTRACT
    )
    return QuantisedPopulation(name=name, parameters=parameters)


def _normal(rng: np.random.Generator, shape: tuple[int, int], mean: float, deviation: float, bits: int) -> NDArray[Any]:
    """Return rounded normal weights within the range of ``bits``."""
    return np.clip(np.rint(rng.normal(mean, deviation, shape)), *weight_range(bits)).astype(np.int64)


def layered(sizes: Sequence[int], *, samples: int, steps: int, threshold: int = 500, rate: float = 0.1) -> Workload:
    """Return fully connected layers of ``sizes``, inputs first, with random 8-bit weights and input spikes."""
    rng = np.random.default_rng(20)
    names = [INPUT, *(f"layer{number}" for number in range(1, len(sizes) - 1)), "output"]
    connections = tuple(
        QuantisedConnection(source=source, target=target, weight=_normal(rng, (size, before), 0, 24, 8))
        for source, target, before, size in zip(names, names[1:], sizes, sizes[1:], strict=False)
    )
    network = QuantisedNetwork(
        name="-".join(map(str, sizes)),
        inputs=sizes[0],
        populations=tuple(_neurons(name, size, threshold) for name, size in zip(names[1:], sizes[1:], strict=True)),
        connections=connections,
        output="output",
        weight_width=8,
    )
    inputs = rng.random((steps, samples, sizes[0])) < rate
    return Workload(network=network, inputs=inputs, synapses=network.synapses)


def recurrent(size: int, *, inputs: int, density: float, steps: int, threshold: int = 28) -> Workload:
    """Return a recurrent population with random 4-bit weights, mostly inhibitory, and one sample of input spikes.

    ``density`` is the part of all pairs of neurons that are connected.
    """
    rng = np.random.default_rng(21)
    connected = rng.random((size, size)) < density
    weights = _normal(rng, (size, size), -0.5, 3, 4)
    weights = connected * np.where(weights == 0, -1, weights)  # a connection has a weight
    of_inputs = (rng.random((size, inputs)) < 0.25) * _normal(rng, (size, inputs), 2, 3, 4)
    network = QuantisedNetwork(
        name=f"{size} recurrent",
        inputs=inputs,
        populations=(_neurons("neurons", size, threshold),),
        connections=(
            QuantisedConnection(source=INPUT, target="neurons", weight=of_inputs),
            QuantisedConnection(source="neurons", target="neurons", weight=weights, delay=1),
        ),
        output="neurons",
        weight_width=4,
    )
    synapses = int(np.count_nonzero(weights) + np.count_nonzero(of_inputs))
    return Workload(network=network, inputs=rng.random((steps, 1, inputs)) < 0.1, synapses=synapses)


def classifier(folder: Path, data: Path | None, *, images: int = 1000, threads: int | None = None) -> Workload:
    """Return the trained 784-1000-10 network and test images; train it first unless its file is in ``folder``.

    Raises `MnistError` without the images.
    """
    data = data or fetch_mnist(Path("build/mnist"))
    path = network_file(RECIPE, folder)
    if not _accuracy_file(folder).exists():
        torch: Any = importlib.import_module("torch")
        torch.set_num_threads(threads or os.cpu_count() or 1)
        fitted, _ = split(load_mnist(data, "train"), VALIDATION)
        _, seconds = train(START, fitted, folder=folder, report=_say)
        model, more = train(RECIPE, fitted, folder=folder, start=checkpoint(START, folder), report=_say)
        save(model.to_network(), path)
        outcome = measure(RECIPE, model, load_mnist(data, "test"), part="test", seconds=seconds + more)
        if outcome.differing or outcome.integer_accuracy is None:
            raise ValueError(f"the integers must equal the training in every cell, but {outcome.differing:,} differ")
        write_whole(_accuracy_file(folder), SUMMARY_FILE.text(asdict(outcome)))
    assert RECIPE.quantisation is not None
    network = quantise(load(path), RECIPE.quantisation)
    digits = load_mnist(data, "test").first(images)
    levels = pixel_levels(digits.images, RECIPE.pixel_bits).reshape(1, len(digits), -1).astype(np.int64)
    inputs = np.broadcast_to(levels, (RECIPE.steps, *levels.shape[1:]))
    return Workload(network=network, inputs=inputs, synapses=network.synapses, labels=digits.labels)


def _accuracy_file(folder: Path) -> Path:
    return checkpoint(RECIPE, folder).with_suffix(".json")


TASKS = (
    Task(name="4096 recurrent", piece=1, make=lambda _, __: recurrent(4096, inputs=64, density=0.05, steps=1000)),
    Task(name="784-2048-2048-10", piece=25, make=lambda _, __: layered((784, 2048, 2048, 10), samples=100, steps=10)),
    Task(name="784-1000-10", piece=50, make=classifier),
)
"""The networks of ``make large``."""


# Runs.


def fabric_on(network: QuantisedNetwork, board: str, weight_memory: str = "sdram") -> tuple[FabricConfig, int]:
    """Return the fabric that is chosen for ``network`` on ``board``, and its clock in hertz.

    Raises `ChoiceError` if the board cannot hold it.
    """
    from spikeloom.boards.targets.registry import find_board
    from spikeloom.explore.choose import choose

    described = find_board(board)
    choice = choose(
        network,
        described.device,
        link=described.link_kind,
        sdram=described.sdram_parameters,
        weight_memory=weight_memory,
    )
    fabric = FabricConfig(name=network.name, core=choice.core, sdram=choice.sdram)
    return fabric, round(described.with_fabric(fabric).clock_hz)


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """Result of a piece: a file. ``right`` counts right answers."""

    samples: int
    compared: int
    mismatches: int
    right: int
    cycles: int
    operations: int
    memory_cycles: int
    memory_words: int


class _Work:
    """A network on a board: its program, its library and its pieces."""

    def __init__(
        self, task: Task, workload: Workload, board: str, fabric: FabricConfig, clock_hz: int, folder: Path
    ) -> None:
        self.task, self.workload, self.board, self.clock_hz = task, workload, board, clock_hz
        self.program = place(workload.network, fabric, observe=observed_names(workload.network))
        self.library = compile_tiles(fabric, folder, announce=_say).library
        self.folder = folder / f"{task.name.replace(' ', '-')}-{board}"
        samples = workload.inputs.shape[1]
        self.pieces = [range(first, min(first + task.piece, samples)) for first in range(0, samples, task.piece)]

    def path(self, piece: range) -> Path:
        """File of a piece, named after everything that decides its content."""
        digest = hashlib.sha256(f"{self.library.name} {self.clock_hz} {self.program.registers}".encode())
        for image in self.program.memories:
            digest.update(image.words.tobytes())
        digest.update(np.ascontiguousarray(self.workload.inputs[:, piece.start : piece.stop]).tobytes())
        return self.folder / f"{piece.start}-{digest.hexdigest()[:16]}.json"

    def do(self, piece: range, stopped: threading.Event) -> _Piece:
        """Run a piece, unless its file exists."""
        path = self.path(piece)
        if path.exists():
            return _Piece(**json.loads(path.read_text()))
        inputs = self.workload.inputs[:, piece.start : piece.stop]
        rtl = self._simulate(inputs, stopped)
        reference = simulate(self.workload.network, inputs)
        compared, mismatches = compare(reference, rtl)
        right = 0
        if self.workload.labels is not None:
            right = int(np.count_nonzero(classify(rtl.output) == self.workload.labels[piece.start : piece.stop]))
        assert rtl.cycles is not None
        done = _Piece(
            samples=len(piece),
            compared=compared,
            mismatches=mismatches,
            right=right,
            cycles=rtl.cycles,
            operations=int(reference.synaptic_operations.sum()),
            memory_cycles=rtl.sdram.cycles,
            memory_words=rtl.sdram.words,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(asdict(done)) + "\n")
        total = self.workload.inputs.shape[1]
        _say(f"{self.task.name} on {self.board}: samples {piece.start + 1:,} to {piece.stop:,} of {total:,}")
        return done

    def _simulate(self, inputs: NDArray[Any], stopped: threading.Event) -> RunResult:
        """Run the compiled design, with a line of progress for long samples."""
        program: Program = self.program
        steps, samples, _ = inputs.shape
        collector = StepCollector(program, steps, samples)
        with CompiledSimulator(self.library, clock_hz=self.clock_hz) as simulator:
            simulator.load(program)
            simulator.feed(inputs, program.input_axons)
            cycles, traffic, last = simulator.cycles, simulator.sdram_traffic, steps * samples
            for done in [*range(_SHOWN_STEPS, last, _SHOWN_STEPS), last]:
                if stopped.is_set():
                    raise KeyboardInterrupt
                simulator.advance(done)
                collector.take(simulator.take())
                if samples == 1:
                    _say(f"{self.task.name} on {self.board}: step {done:,} of {last:,}")
            cycles, traffic = simulator.cycles - cycles, simulator.sdram_traffic - traffic
            simulator.finish()
        return RunResult(**by_population(program, [collector.result()]), cycles=cycles, sdram=traffic)

    def entry(self, pieces: Iterable[_Piece], folder: Path) -> Entry:
        """Return the entry of the summary."""
        found = list(pieces)
        workload, core, sdram = self.workload, self.program.fabric.core, self.program.fabric.sdram
        assert sdram is not None
        total = {name: sum(getattr(piece, name) for piece in found) for name in _Piece.__dataclass_fields__}
        seconds = total["cycles"] / self.clock_hz
        steps = workload.inputs.shape[0]
        in_sdram = core.sdram_memory
        assert in_sdram is not None
        sizes = {name: -(-memory.depth * memory.width // 8) for name, memory in core.memories.items()}
        sizes["states"] = -(-core.neurons * core.state_layout.width // 8)
        sizes["accumulators"] = 2 * -(-core.neurons * core.accumulator_width // 8)  # one bank per parity of the step
        sizes[in_sdram.name] = sum(
            image.words.size for image in self.program.memories if image.memory == in_sdram.number
        )
        accuracy = test_accuracy = None
        if workload.labels is not None:
            accuracy = total["right"] / total["samples"]
            if _accuracy_file(folder).exists():
                test_accuracy = json.loads(_accuracy_file(folder).read_text())["integer_accuracy"]
        return Entry(
            network=self.task.name,
            neurons=workload.network.neurons,
            synapses=workload.synapses,
            board=self.board,
            spikes_compared=total["compared"],
            mismatches=total["mismatches"],
            accuracy=accuracy,
            test_accuracy=test_accuracy,
            images_per_s=round(total["samples"] / seconds, 2),
            bandwidth_used=round(total["memory_words"] / total["memory_cycles"], 4),
            samples=total["samples"],
            steps=steps,
            steps_per_s=round(total["samples"] * steps / seconds, 1),
            weights_added_per_s=round(total["operations"] / seconds),
            weight_bits=workload.network.weight_width,
            lanes=core.lanes,
            clock_mhz=round(self.clock_hz / 1e6, 3),
            memory_mhz=sdram.clock_hz / 1e6,
            memory_bytes=sizes,
        )


def run(
    tasks: Sequence[Task], folder: Path, *, data: Path | None = None, boards: Sequence[str] = BOARDS, workers: int = 2
) -> list[Entry]:
    """Run ``tasks`` on ``boards``, with all files in ``folder``, and write ``summary.json`` there after each network.

    Two boards with equal fabrics and clocks are still run twice: the files of their pieces differ.
    """
    from spikeloom.compiler.checks import PlaceError
    from spikeloom.explore.choose import ChoiceError

    folder.mkdir(parents=True, exist_ok=True)
    entries: list[Entry] = []
    stopped = threading.Event()
    for task in tasks:
        workload = task.make(folder, data)
        works, refused = [], []
        for board in boards:
            try:
                fabric, clock_hz = fabric_on(workload.network, board, task.weight_memory)
            except (ChoiceError, PlaceError) as error:
                refused.append(
                    Entry(
                        network=task.name,
                        neurons=workload.network.neurons,
                        synapses=workload.synapses,
                        board=board,
                        steps=workload.inputs.shape[0],
                        weight_bits=workload.network.weight_width,
                        missing=str(error),
                    )
                )
                continue
            works.append(_Work(task, workload, board, fabric, clock_hz, folder))
        with ThreadPoolExecutor(workers) as pool:
            futures = [[pool.submit(work.do, piece, stopped) for piece in work.pieces] for work in works]
            try:
                done = [[future.result() for future in parts] for parts in futures]
            except BaseException:
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        entries += [work.entry(parts, folder) for work, parts in zip(works, done, strict=True)] + refused
        write_whole(folder / "summary.json", SUMMARY_FILE.text([asdict(entry) for entry in entries]))
    return entries


def table_of(entries: Iterable[Entry]) -> Table:
    """Return the table of ``entries``."""
    table = Table(title="networks in SDRAM on the compiled RTL")
    left = ("network", "board")
    columns = ("network", "board", "MHz", "SDRAM", "spikes", "diff", "accuracy", "samples/s", "steps/s", "bandwidth")
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right")
    for entry in entries:
        if entry.missing is not None:
            table.add_row(entry.network, entry.board, *["-"] * (len(columns) - 2))
            continue
        assert entry.images_per_s is not None
        assert entry.bandwidth_used is not None
        table.add_row(
            entry.network,
            entry.board,
            f"{entry.clock_mhz:g}",
            f"{entry.memory_bytes['weights'] / 1e6:.2f} MB",
            f"{entry.spikes_compared:,}",
            f"{entry.mismatches:,}",
            "-" if entry.accuracy is None else f"{100 * entry.accuracy:.2f} %",
            f"{entry.images_per_s:,.2f}",
            f"{entry.steps_per_s:,.0f}",
            f"{100 * entry.bandwidth_used:.1f} %",
        )
    return table


def complaints(entries: Iterable[Entry]) -> list[str]:
    """Return one sentence for each bound that is missed."""
    found = []
    for entry in entries:
        if entry.mismatches:
            found.append(f"{entry.network} on {entry.board}: RTL and reference differ in {entry.mismatches:,} places")
        if entry.test_accuracy is not None and entry.test_accuracy < LEAST_ACCURACY:
            found.append(
                f"{entry.network}: accuracy must be at least {100 * LEAST_ACCURACY:.1f} % of all test images, not "
                f"{100 * entry.test_accuracy:.2f} %"
            )
    return list(dict.fromkeys(found))


def _say(line: str) -> None:
    print(line, flush=True)


def main(arguments: Sequence[str] | None = None, tasks: Sequence[Task] = TASKS) -> int:
    """Run the command; return 1 if a spike differs or the accuracy is missed, and 2 after an error."""
    parser = argparse.ArgumentParser(prog="python -m spikeloom.benchmarks.large", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with the four IDX files of MNIST; downloaded if not given")
    parser.add_argument("--only", default="", help="only networks with this in their name")
    parser.add_argument("--workers", type=int, default=2, help="processor cores to use")
    parser.add_argument("--output", type=Path, default=Path("build/large"), help="where pieces and summary go")
    options = parser.parse_args(arguments)
    chosen = [task for task in tasks if options.only in task.name]
    if not chosen:
        names = ", ".join(repr(task.name) for task in tasks)
        return _refused(f"--only must be part of one of {names}, not {options.only!r}")
    needs_torch = any(task.make is classifier for task in chosen) and not _accuracy_file(options.output).exists()
    if needs_torch and find_spec("torch") is None:
        return _refused("training needs PyTorch; pip install 'spikeloom[train]'")
    try:
        entries = run(chosen, options.output, data=options.data, workers=options.workers)
    except MnistError as error:
        return _refused(str(error))
    Console(width=140).print(table_of(entries))
    for entry in entries:
        if entry.missing is not None:
            _say(f"{entry.network} on {entry.board}: {entry.missing}")
    _say(f"{options.output / 'summary.json'} is written")
    wrong = complaints(entries)
    for sentence in wrong:
        print(f"spikeloom: {sentence}", file=sys.stderr)
    return 1 if wrong else 0


def _refused(sentence: str) -> int:
    print(f"spikeloom: {sentence}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
