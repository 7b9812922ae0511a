"""MNIST images per second over a serial line: ``python -m spikeloom.benchmarks.line_speed``, or ``make line``.

The first test images run through a 784-128-10 network in a simulation of a whole design with a UART at its pins. The
images are encoded by the host or by the board, spikes or classes are returned, and every answer is compared with the
reference. The simulated cycles divided by the clock frequency are the time on a board, without the computing time of
the driver.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from spikeloom.compiler.place import place
from spikeloom.compiler.program import Program
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import Encoder, LatencyEncoder, RateEncoder
from spikeloom.datasets.mnist import fetch_mnist, load_mnist, pixel_levels
from spikeloom.datasets.shipped import shipped
from spikeloom.frontends.nir import load
from spikeloom.host.driver import Board
from spikeloom.host.endpoint import Endpoint
from spikeloom.host.peripherals import with_units
from spikeloom.host.transport import Transport
from spikeloom.runners.runner import ReferenceRunner, Task, by_population, do_at_pins
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.host.readout import ReadoutMode
from spikeloom.sim.lib.files import write_whole

__all__ = ["CLOCK_HZ", "DIVISORS", "Rate", "measure"]

MODEL = "mnist-mlp-128.nir"
CLOCK_HZ = 25_000_000
DIVISORS = {"1 Mbaud": 25, "3 Mbaud": 8}
"""Clock cycles per bit at `CLOCK_HZ`; the second is exactly 3.125 Mbaud."""
ENCODERS: dict[str, Encoder] = {
    "latency, T = 4, 2 bits": LatencyEncoder(steps=4, bits=2),
    "rate, T = 10, 4 bits": RateEncoder(steps=10, bits=4),
}
LANES = 8


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Result of one configuration: ``sent`` and ``received`` are bytes per image on the line, including the framing."""

    line: str
    encoder: str
    encodes: str
    answers: str
    images_per_s: float
    sent: float
    received: float


class _Counted(Transport):
    """Wrapper of a transport that counts the bytes in each direction."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.name, self.round_trip_s = inner.name, inner.round_trip_s
        self.sent = self.received = 0

    def write(self, data: bytes) -> None:
        self.sent += len(data)
        self._inner.write(data)

    def read(self, timeout_s: float) -> bytes:
        data = self._inner.read(timeout_s)
        self.received += len(data)
        return data

    def now(self) -> float:
        return self._inner.now()


@dataclass(frozen=True, eq=False)
class _Done:
    output: NDArray[np.int64]
    seconds: float
    sent: int
    received: int


def _do_all(transport: Transport, program: Program, tasks: Sequence[Task]) -> list[_Done]:
    """Run inside the simulator: load the program once, then run each task."""
    line = _Counted(transport)
    found = []
    with Endpoint(line) as endpoint:
        board = Board(endpoint, program.fabric)
        board.load(program)
        for task in tasks:
            board.read_register(0, "units")  # its answer comes after everything that was still under way
            start, sent, received = line.now(), line.sent, line.received
            if task.mode is not ReadoutMode.OFF:
                output = board.classify(task.inputs, encoder=task.encoder, mode=task.mode).classes
            else:
                encoder = task.encoder
                result = board.run(task.inputs) if encoder is None else board.run_images(task.inputs, encoder)
                output = by_population(program, [result])["spikes"][program.observed[0][0]]
            done = line.now(), line.sent, line.received
            found.append(_Done(output, done[0] - start, done[1] - sent, done[2] - received))
        board.check_errors()
    return found


def measure(images: NDArray[np.uint8], directory: Path, *, lines: Sequence[str] = tuple(DIVISORS)) -> list[Rate]:
    """Run ``images`` ``(B, 28, 28)`` of 0 to 255 in all configurations, with files in ``directory``.

    Raises ``RuntimeError`` if an answer differs from the reference.
    """
    network = load(shipped(MODEL))
    # 784 x 128 and 128 x 10 weights take about 12,800 words of 8 lanes: the next power of two holds all of them.
    core = replace(
        FABRICS["wide"].core, lanes=LANES, weight_words=16384, accumulator_memory="block", state_memory="block"
    )
    fabric = with_units(FabricConfig(name="line", core=core), list(ENCODERS.values()), inputs=784, outputs=10)
    quantised = quantise(network, Quantisation.for_core(core, weight_width=8))
    program = place(quantised, fabric)
    ways = list(itertools.product(ENCODERS, (False, True), (ReadoutMode.OFF, ReadoutMode.COUNT)))
    tasks, expected = [], []
    for name, on_board, mode in ways:
        encoder = ENCODERS[name]
        levels = pixel_levels(images, encoder.bits)
        spikes = encoder.encode(levels)
        tasks.append(Task(inputs=levels if on_board else spikes, encoder=encoder if on_board else None, mode=mode))
        reference = ReferenceRunner(quantised).do(Task(inputs=spikes, mode=mode))
        expected.append(reference.output if reference.classes is None else reference.classes)
    rates = []
    for line in lines:
        found, _ = do_at_pins(fabric, _do_all, (program, tasks), directory, divisor=DIVISORS[line])
        for (name, on_board, mode), wanted, done in zip(ways, expected, found, strict=True):
            if (done.output != wanted).any():
                raise RuntimeError(f"{line}, {name}: the board must answer as the reference, and differs")
            # The simulation has a clock of 100 MHz, whatever the clock of the board is.
            cycles = done.seconds * 1e8
            rates.append(
                Rate(
                    line=line,
                    encoder=name,
                    encodes="board" if on_board else "host",
                    answers="spikes" if mode is ReadoutMode.OFF else "classes",
                    images_per_s=round(len(images) * CLOCK_HZ / cycles, 1),
                    sent=round(done.sent / len(images), 1),
                    received=round(done.received / len(images), 1),
                )
            )
    return rates


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="make line", description="measures images per second through a serial line")
    parser.add_argument("--data", type=Path, help="folder with MNIST's IDX files; downloaded if not given")
    parser.add_argument("--images", type=int, default=50, help="test images to run")
    parser.add_argument("--output", type=Path, default=Path("qor/line-mnist.json"), help="the kept result")
    arguments = parser.parse_args()
    directory = Path("build/line")
    images = load_mnist(arguments.data or fetch_mnist(Path("build/mnist")), "test").first(arguments.images).images
    rates = measure(images, directory)
    kept = json.loads(arguments.output.read_text()) if arguments.output.exists() else []
    before = {tuple(entry[name] for name in ("line", "encoder", "encodes", "answers")): entry for entry in kept}
    table = Table(title=f"{len(images)} images of MNIST, 784-128-10, {CLOCK_HZ / 1e6:g} MHz")
    for column in ("line", "encoder", "encoded by", "what returns", "images/s", "before", "bytes out", "bytes back"):
        table.add_column(column, justify="right" if column[:3] in ("ima", "bef", "byt") else "left")
    for rate in rates:
        way = (rate.line, rate.encoder, rate.encodes, rate.answers)
        last = before.get(way)
        numbers = (f"{rate.images_per_s:,.0f}", "-" if last is None else f"{last['images_per_s']:,.0f}")
        table.add_row(*way, *numbers, f"{rate.sent:,.0f}", f"{rate.received:,.0f}")
    Console().print(table)
    write_whole(arguments.output, json.dumps([asdict(rate) for rate in rates], indent=2) + "\n")


if __name__ == "__main__":
    # The simulator unpickles a function of this module, so it must belong to the importable name, not to __main__.
    from spikeloom.benchmarks.line_speed import main as command

    command()
