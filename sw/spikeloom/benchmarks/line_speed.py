"""MNIST over every link that boards have: ``python -m spikeloom.benchmarks.line_speed``, or ``make line``.

The real driver sends the first test images through the pins of a simulated design with link, bridge and a core, which
runs a 784-128-10 network: 8 lanes, or for the fastest links 64, the core that ``spikeloom bitstream`` chooses for this
network. The images are sent as spikes or as pixels, spikes or classes are returned, and
every answer is compared with the reference. The simulated cycles divided by the clock frequency are the time on a
board, without the computing time of the driver, which ``make bench`` measures separately.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

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
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.host.ethernet import (
    ETHERNET_HEADER,
    ETHERNET_HZ,
    FCS_BYTES,
    IPV4_HEADER,
    UDP_HEADER,
    link_over_udp,
)
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.host.readout import ReadoutMode
from spikeloom.sim.host.usb import FULL_SPEED_HZ, HIGH_SPEED_HZ
from spikeloom.sim.lib.files import FileError, write_whole
from spikeloom.sim.lib.formats import BENCHMARK_FILE
from spikeloom.sim.network.network import QuantisedNetwork

__all__ = ["ENCODERS", "LINES", "Line", "Rate", "driver_rates", "limit_of", "measure"]

MODEL = "mnist-mlp-128.nir"


@dataclass(frozen=True, kw_only=True)
class Line:
    """Line of a board: clock of its fabric in hertz, kind of link, clock cycles per bit of a serial line, speed of
    USB, lanes of its core. A core of more than 8 lanes is the one that is chosen for network and board."""

    board: str
    clock_hz: int
    kind: LinkKind = LinkKind.UART
    divisor: int = 0
    high_speed: bool = False
    lanes: int = 8

    def fabric(self, network: QuantisedNetwork) -> FabricConfig:
        """Return the fabric behind this line, with encoder and readout for ``network``."""
        if self.lanes > LANES:
            from spikeloom.boards.targets.registry import all_boards
            from spikeloom.explore.choose import choose_core

            device = all_boards()[self.board].device
            core = choose_core(network, device, link=self.kind, lanes=self.lanes)
        else:
            core = _core_of(self.lanes)
        fabric = with_units(FabricConfig(name="line", core=core), list(ENCODERS.values()), inputs=784, outputs=10)
        return replace(fabric, link=link_over_udp(fabric.link)) if self.has_long_frames else fabric

    def run(self, fabric: FabricConfig, arguments: tuple[Any, ...], directory: Path) -> list[_Done]:
        """Run `_do_all` with ``arguments`` at the pins of ``fabric`` with this line."""
        # The clock of the line has the ratio to that of the fabric that it has on the board.
        scale = _SIMULATED_HZ / self.clock_hz
        options: dict[str, Any] = {"divisor": self.divisor}
        if self.kind is LinkKind.USB:
            options = {"ulpi_hz": HIGH_SPEED_HZ * scale} if self.high_speed else {"usb_hz": FULL_SPEED_HZ * scale}
        elif self.kind is LinkKind.UDP:
            options = {"ethernet_hz": ETHERNET_HZ * scale}
        found, _ = do_at_pins(fabric, _do_all, arguments, directory, **options)
        return cast("list[_Done]", found)

    @property
    def has_long_frames(self) -> bool:
        """Whether the link has the sizes of that over UDP, as on boards with such a line."""
        return self.kind is LinkKind.UDP or self.high_speed

    def busy(self, done: _Done, cycles: float) -> dict[str, float]:
        """Return the shares of ``cycles``, those of all images, in which the line is busy."""
        link = {
            "link to the board": done.sent * _RECEIVED_CYCLES / cycles,
            "link from the board": done.received * _SENT_CYCLES / cycles,
        }
        if self.kind is LinkKind.USB:
            bus = {"bus": done.bus_s * _SIMULATED_HZ / cycles}
            return bus | link if self.high_speed else bus
        if self.kind is LinkKind.UART:
            bits = 10 * self.divisor
            return {
                "line to the board": done.sent * bits / cycles,
                "line from the board": done.received * bits / cycles,
            }
        per_byte = self.clock_hz / ETHERNET_HZ
        return {
            "line to the board": (done.sent + _AROUND * done.frames_sent) * per_byte / cycles,
            "line from the board": (done.received + _AROUND * done.frames_received) * per_byte / cycles,
        } | link


LINES = {
    # The clock of this board's oscillator, for which a simulation of a slow line is short.
    "uart, 1 Mbaud": Line(board="colorlight-5a75b", clock_hz=25_000_000, divisor=25),
    # The clocks with which cores of 8 lanes are built for these boards.
    "uart, 3 Mbaud": Line(board="ulx3s-85f", clock_hz=90_000_000, divisor=30),
    "uart, 12 Mbaud": Line(board="ecpix5-85", clock_hz=132_000_000, divisor=11),
    "usb, full speed": Line(board="ulx3s-85f", clock_hz=90_000_000, kind=LinkKind.USB),
    "usb, high speed": Line(board="ecpix5-85", clock_hz=132_000_000, kind=LinkKind.USB, high_speed=True),
    "udp, 1 Gbit/s": Line(board="ecpix5-85", clock_hz=132_000_000, kind=LinkKind.UDP),
    # Place and route reaches 131 MHz with this core, encoder and readout (`docs/encoder-tile.md`).
    "usb, high speed, 64 lanes": Line(
        board="ecpix5-85", clock_hz=130_000_000, kind=LinkKind.USB, high_speed=True, lanes=64
    ),
    "udp, 1 Gbit/s, 64 lanes": Line(board="ecpix5-85", clock_hz=130_000_000, kind=LinkKind.UDP, lanes=64),
}
"""Links by name."""
ENCODERS: dict[str, Encoder] = {
    "latency, T = 4, 2 bits": LatencyEncoder(steps=4, bits=2),
    "rate, T = 10, 4 bits": RateEncoder(steps=10, bits=4),
}
LANES = 8
_BUSY = 0.75
_WAY = ("link", "encoding", "sends", "answers")


_AROUND = 8 + ETHERNET_HEADER + IPV4_HEADER + UDP_HEADER + FCS_BYTES + 12
"""Bytes that a datagram takes on the line in addition to its payload, with preamble and gap. Each frame of the link is
long enough to need no padding."""
_RECEIVED_CYCLES, _SENT_CYCLES = 2, 4
"""Cycles of the fabric in which the link receives and sends a byte."""

_SIMULATED_HZ = 1e8
"""Clock of the simulation, whatever the clock of the board is."""
_DRIVER = Path("build/bench/driver.json")
"""Speed of the driver, as measured by ``make bench``."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Result of one configuration.

    ``latency_us`` and ``latency_99_us`` are median and 99th percentile of the time of a call of the driver with one
    image, which includes the registers that the call writes. ``busy`` holds the share of the time in which each
    resource is busy. ``limit`` names what limits the rate: the busiest resource, "round trips" if none is busy for
    three quarters of the time, or "driver" if the driver alone is slower. ``sent`` and ``received`` are bytes per
    image on the line, including the framing. ``mismatches`` counts the answers that differ from the reference, of
    ``images`` together and of ``alone`` one by one.
    """

    link: str
    board: str
    clock_mhz: float
    encoding: str
    sends: str
    answers: str
    images: int
    images_per_s: float
    alone: int
    latency_us: float
    latency_99_us: float
    limit: str
    busy: dict[str, float]
    sent: float
    received: float
    mismatches: int


class _Counted(Transport):
    """Wrapper of a transport that counts the bytes in each direction, and the seconds in which a bus is busy."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.name, self.round_trip_s = inner.name, inner.round_trip_s
        self.sent = self.received = self.frames_sent = self.frames_received = 0

    def write(self, data: bytes) -> None:
        self.sent += len(data)
        self.frames_sent += data.count(0)
        self._inner.write(data)

    def read(self, timeout_s: float) -> bytes:
        data = self._inner.read(timeout_s)
        self.received += len(data)
        self.frames_received += data.count(0)
        return data

    @property
    def bus_s(self) -> float:
        """Seconds in which a USB bus has carried data; 0 for other lines, which have one for each direction."""
        return getattr(self._inner, "busy_s", 0.0)

    @property
    def counted(self) -> tuple[int, int, int, int]:
        """Bytes sent and received, frames sent and received."""
        return self.sent, self.received, self.frames_sent, self.frames_received

    def now(self) -> float:
        return self._inner.now()


@dataclass(frozen=True, eq=False)
class _Done:
    """Outputs and simulated times of all images together, and of the first ones alone; busy cycles of the core."""

    output: NDArray[np.int64]
    seconds: float
    sent: int
    received: int
    frames_sent: int
    frames_received: int
    bus_s: float
    core_cycles: int
    alone: list[NDArray[np.int64]]
    latencies_s: list[float]


def _do(board: Board, program: Program, task: Task, inputs: NDArray[Any]) -> NDArray[np.int64]:
    if task.mode is not ReadoutMode.OFF:
        return board.classify(inputs, encoder=task.encoder, mode=task.mode).classes
    result = board.run(inputs) if task.encoder is None else board.run_images(inputs, task.encoder)
    return by_population(program, [result])["spikes"][program.observed[0][0]]


def _core_cycles(board: Board) -> int:
    counters = board.counters()
    return sum(counts["words"] + counts["sweep_cycles"] for counts in counters.values())


def _do_all(transport: Transport, program: Program, tasks: Sequence[Task], alone: int) -> list[_Done]:
    """Run inside the simulator: load the program once, then run each task, and its first images ``alone``."""
    line = _Counted(transport)
    found = []
    with Endpoint(line) as endpoint:
        board = Board(endpoint, program.fabric)
        board.load(program)
        for task in tasks:
            core_cycles = _core_cycles(board)  # its answer comes after everything that was still under way
            start, counted, bus_s = line.now(), line.counted, line.bus_s
            output = _do(board, program, task, task.inputs)
            end = line.now()
            sent, received, frames_sent, frames_received = (
                after - before for before, after in zip(counted, line.counted, strict=True)
            )
            bus_s = line.bus_s - bus_s
            core_cycles = _core_cycles(board) - core_cycles
            outputs, latencies = [], []
            for image in range(alone):
                inputs = task.inputs[:, [image]] if task.encoder is None else task.inputs[[image]]
                board.read_register(0, "units")
                began = line.now()
                outputs.append(_do(board, program, task, inputs))
                latencies.append(line.now() - began)
            found.append(
                _Done(
                    output=output,
                    seconds=end - start,
                    sent=sent,
                    received=received,
                    frames_sent=frames_sent,
                    frames_received=frames_received,
                    bus_s=bus_s,
                    core_cycles=core_cycles,
                    alone=outputs,
                    latencies_s=latencies,
                )
            )
        board.check_errors()
    return found


def _encoder_cycles(encoder: Encoder, levels: NDArray[Any]) -> float:
    """Return the cycles per image of the encoder on the board, for pixels ``levels``."""
    if isinstance(encoder, LatencyEncoder):  # two per lit pixel
        return encoder.steps + 2 * np.count_nonzero(levels) / len(levels)
    return encoder.steps * (levels[0].size + 1)  # it passes over all pixels in each step


def _core_of(lanes: int) -> CoreParameters:
    # 784 x 128 and 128 x 10 weights take about 12,800 words of 8 lanes: the next power of two holds all of them.
    return replace(
        FABRICS["wide"].core, lanes=lanes, weight_words=16384, accumulator_memory="block", state_memory="block"
    )


def limit_of(busy: dict[str, float], images_per_s: float, driver: float | None) -> str:
    """Return what limits a rate; ``driver`` is the rate of the driver alone, if it is known."""
    if driver is not None and driver <= images_per_s:
        return "driver"
    most = max(busy, key=lambda name: busy[name])
    return most if busy[most] >= _BUSY else "round trips"


def driver_rates(path: Path = _DRIVER) -> dict[tuple[str, str], float]:
    """Return the images per second of the driver alone by input and output, as far as they have been measured.

    Raises `FileError` if the file is of another format.
    """
    if not path.exists():
        return {}
    measured = json.loads(path.read_text())
    BENCHMARK_FILE.check(measured, str(path))
    rates = measured["images_per_s"]
    return {(way.split(", ")[0], way.split(", ")[1].removesuffix(" back")): rate for way, rate in rates.items()}


def measure(
    images: NDArray[np.uint8], directory: Path, *, alone: int, lines: Sequence[str] = tuple(LINES)
) -> list[Rate]:
    """Run ``images`` ``(B, 28, 28)`` of 0 to 255 in all configurations, and the first ``alone`` of them one by one.

    Files are written into ``directory``.
    """
    network = load(shipped(MODEL))
    quantised = quantise(network, Quantisation.for_core(_core_of(LANES), weight_width=8))
    ways = list(itertools.product(ENCODERS, (False, True), (ReadoutMode.OFF, ReadoutMode.COUNT)))
    tasks, expected = [], []
    for name, on_board, mode in ways:
        encoder = ENCODERS[name]
        levels = pixel_levels(images, encoder.bits)
        spikes = encoder.encode(levels)
        tasks.append(Task(inputs=levels if on_board else spikes, encoder=encoder if on_board else None, mode=mode))
        reference = ReferenceRunner(quantised).do(Task(inputs=spikes, mode=mode))
        expected.append(reference.output if reference.classes is None else reference.classes)
    drivers = driver_rates()
    rates = []
    for name in lines:
        line = LINES[name]
        fabric = line.fabric(quantised)
        found = line.run(fabric, (place(quantised, fabric), tasks, alone), directory)
        for (encoder_name, on_board, mode), task, wanted, done in zip(ways, tasks, expected, found, strict=True):
            cycles = done.seconds * _SIMULATED_HZ / len(images)
            busy = line.busy(done, cycles * len(images)) | {"core": done.core_cycles / len(images) / cycles}
            if on_board:
                busy["encoder"] = _encoder_cycles(ENCODERS[encoder_name], task.inputs) / cycles
            sends, answers = "pixels" if on_board else "spikes", "spikes" if mode is ReadoutMode.OFF else "classes"
            rate = line.clock_hz / cycles
            latencies = np.array(done.latencies_s) * _SIMULATED_HZ / line.clock_hz * 1e6
            singles = np.concatenate(done.alone, axis=1 if mode is ReadoutMode.OFF else 0)
            of_singles = wanted[:, :alone] if mode is ReadoutMode.OFF else wanted[:alone]
            rates.append(
                Rate(
                    link=name,
                    board=line.board,
                    clock_mhz=line.clock_hz / 1e6,
                    encoding=encoder_name,
                    sends=sends,
                    answers=answers,
                    images=len(images),
                    images_per_s=round(rate, 1),
                    alone=alone,
                    latency_us=round(float(np.median(latencies)), 1),
                    latency_99_us=round(float(np.percentile(latencies, 99)), 1),
                    limit=limit_of(busy, rate, drivers.get((sends, answers))),
                    # A few bytes that the driver has written are still under way at the end.
                    busy={resource: min(1.0, round(share, 3)) for resource, share in busy.items()},
                    sent=round(done.sent / len(images), 1),
                    received=round(done.received / len(images), 1),
                    mismatches=int(np.count_nonzero(done.output != wanted) + np.count_nonzero(singles != of_singles)),
                )
            )
    return rates


def main() -> None:
    """Run the command; exit with status 1 if an answer differs from the reference."""
    parser = argparse.ArgumentParser(prog="make line", description="measures images per second through each link")
    parser.add_argument("--data", type=Path, help="folder with MNIST's IDX files; downloaded if not given")
    parser.add_argument("--images", type=int, default=50, help="test images to run together")
    parser.add_argument("--alone", type=int, default=20, help="images to run one by one, for the latency")
    parser.add_argument("--line", action="append", choices=LINES, help="only this link; may be repeated")
    parser.add_argument("--output", type=Path, default=Path("qor/line-mnist.json"), help="the kept result")
    arguments = parser.parse_args()
    if not 1 <= arguments.alone <= arguments.images:
        parser.error(f"--alone must be from 1 to {arguments.images}, not {arguments.alone}")
    kept = json.loads(arguments.output.read_text()) if arguments.output.exists() else []
    try:
        for entry in kept:
            BENCHMARK_FILE.check(entry, str(arguments.output))
    except FileError as error:
        parser.error(str(error))
    directory = Path("build/line")
    images = load_mnist(arguments.data or fetch_mnist(Path("build/mnist")), "test").first(arguments.images).images
    rates = measure(images, directory, alone=arguments.alone, lines=arguments.line or tuple(LINES))
    before = {tuple(entry.get(name) for name in _WAY): entry for entry in kept}
    table = Table(title=f"{len(images):,} images of MNIST, 784-128-10")
    left = ("link", "encoding", "sent", "returned", "limit")
    for column in ("link", "encoding", "sent", "returned", "images/s", "before", "us alone", "99 %", "limit"):
        table.add_column(column, justify="left" if column in left else "right")
    for rate in rates:
        way = tuple(getattr(rate, name) for name in _WAY)
        last = before.pop(way, None)
        numbers = (f"{rate.images_per_s:,.0f}", "-" if last is None else f"{last['images_per_s']:,.0f}")
        table.add_row(*way, *numbers, f"{rate.latency_us:,.0f}", f"{rate.latency_99_us:,.0f}", rate.limit)
    Console().print(table)
    directory.mkdir(parents=True, exist_ok=True)
    write_whole(directory / "summary.json", BENCHMARK_FILE.text([asdict(rate) for rate in rates]))
    # Links that were not measured now keep their figures.
    others = [entry for entry in kept if arguments.line and entry.get("link") not in arguments.line]
    write_whole(arguments.output, BENCHMARK_FILE.text([*others, *map(asdict, rates)]))
    mismatches = sum(rate.mismatches for rate in rates)
    print(f"{mismatches:,} answers differ from the reference; written to {directory / 'summary.json'}")
    raise SystemExit(int(mismatches > 0))


if __name__ == "__main__":
    # The simulator unpickles a function of this module, so it must belong to the importable name, not to __main__.
    from spikeloom.benchmarks.line_speed import main as command

    command()
