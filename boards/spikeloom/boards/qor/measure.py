"""Quality of results: how large and how fast each block is, measured out of context and kept in ``qor/``.

``make qor`` synthesises every block of `spikeloom.boards.qor.blocks`, places and routes it with three seeds, shows the
change against the kept file, and replaces the file. It ends with status 1 if a block misses a bound of its own or has
become worse than the kept file by more than the tolerance. Then it does the same with the boards of
`spikeloom.boards.qor.boards`, whole bitstreams with their one seed.

Out of context means: the block alone, its ports ending nowhere. Paths from and to ports do not count. (nextpnr for the
iCE40 cannot do that; there the ports end in registers, which count.)
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Elaboratable
from rich.console import Console
from rich.table import Table

from spikeloom.boards.bitstream.report import clocks, used_resources
from spikeloom.boards.families.flow import ECP5, ICE40, Flow
from spikeloom.boards.qor.between_pins import BetweenPins

__all__ = ["ECP5_85F", "ICE40_UP5K", "Block", "Device", "Quality", "changes", "measure", "missed_bounds", "run_tool"]

SEEDS = (1, 2, 3)
FOLDER = Path("qor")
LUT_TOLERANCE = 0.05
"""How much larger than the kept file a block may become."""
FMAX_TOLERANCE = 0.10
"""How much slower. Seeds alone differ by 10 %."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """An FPGA to measure on.

    Parameters
    ----------
    name : str
        As in the names of the kept files.
    flow : Flow
        Its tools.
    synthesis : str
        The command of Yosys; ``{options}`` stands for the block's own.
    place_and_route : tuple of str
        The options of nextpnr that choose the device.
    takes_blocks : bool
        Whether place and route takes a block whose ports end nowhere; otherwise it is measured `BetweenPins`.
    device : str
        As the attribute of an Amaranth platform: designs may look at it.
    """

    name: str
    flow: Flow
    synthesis: str
    place_and_route: tuple[str, ...]
    takes_blocks: bool = True
    device: str = ""

    @property
    def family(self) -> str:
        """As the attribute of an Amaranth platform, too."""
        return self.name.partition("-")[0]


ECP5_85F = Device(
    name="ecp5-85f",
    flow=ECP5,
    synthesis="synth_ecp5 -top block {options} -json block.json",
    place_and_route=("--85k", "--package", "CABGA381", "--speed", "6", "--out-of-context"),
)
"""Lattice ECP5-85F, speed grade 6 (the slowest)."""

ICE40_UP5K = Device(
    name="ice40-up5k",
    flow=ICE40,
    synthesis="synth_ice40 -dsp -abc9 -top block {options} -json block.json",
    place_and_route=("--up5k", "--package", "sg48"),
    takes_blocks=False,
    device="iCE40UP5K",
)
"""Lattice iCE40 UP5K."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """Something to measure.

    Parameters
    ----------
    name, variant : str
        What it is, and with which parameters.
    make : callable
        Makes the design.
    maximum_lut, minimum_fmax_mhz
        Bounds, where there are any.
    options : str
        Options of the synthesis.
    asked_mhz : float
        The clock that place and route aims at.
    cycles : int
        Of what the block is there for, where that is one thing.
    device : Device
    """

    name: str
    variant: str
    make: Callable[[], Elaboratable]
    maximum_lut: int | None = None
    minimum_fmax_mhz: float | None = None
    options: str = ""
    asked_mhz: float = 160.0
    cycles: int | None = None
    device: Device = ECP5_85F

    @property
    def file_name(self) -> str:
        """Of the kept result."""
        return f"{self.name}-{self.variant}-{self.device.name}.json"


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What a block takes, and the highest clock that one of the seeds reached; ``seeds`` has them all, in MHz.

    ``microseconds`` are those of the block's ``cycles`` at that clock, where it says how many.
    """

    lut: int
    ff: int
    ram: int
    dsp: int
    fmax_mhz: float
    seeds: dict[str, float]
    tools: list[str]
    cycles: int | None = None
    microseconds: float | None = None

    def to_json(self) -> str:
        """The text of a kept file."""
        known = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return json.dumps(known, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Quality":
        """What a kept file says. Raises ``ValueError`` if it is not one."""
        try:
            return cls(**json.loads(text))
        except (TypeError, json.JSONDecodeError) as error:
            needed = [field for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING]
            names = ", ".join(field.name for field in needed)
            raise ValueError(f"A kept result must be JSON with {names} ({error})") from error


def measure(block: Block, *, seeds: Sequence[int] = SEEDS) -> Quality:
    """Synthesise ``block`` and place and route it with each of ``seeds``, two at a time.

    Raises ``RuntimeError`` with the last lines of the log if a tool refuses it.
    """
    device = block.device
    with tempfile.TemporaryDirectory(prefix="spikeloom-qor-") as name:
        folder = Path(name)
        design = block.make() if device.takes_blocks else BetweenPins(block.make())
        (folder / "block.il").write_text(rtlil.convert(design, name="block", platform=device, emit_src=False))
        synthesis = device.synthesis.format(options=block.options)
        run_tool(device.flow, "yosys", ["-q", "-p", f"read_rtlil block.il; {synthesis}"], folder)

        def route(seed: int) -> str:
            options = [*device.place_and_route, "--timing-allow-fail", "-q", "--json", "block.json"]
            options += ["--freq", str(block.asked_mhz), "--seed", str(seed), "--report", f"{seed}.json"]
            run_tool(device.flow, device.flow.tools[1].name, options, folder)
            return (folder / f"{seed}.json").read_text()

        with ThreadPoolExecutor(2) as pool:
            reports = dict(zip(seeds, pool.map(route, seeds), strict=True))
        netlist = (folder / "block.json").read_text()
    reached = {seed: min(clock.achieved_mhz for clock in clocks(report)) for seed, report in reports.items()}
    best = max(seeds, key=lambda seed: reached[seed])
    resources = used_resources(reports[best], netlist, device.flow)
    return Quality(
        **{resource: resources[resource].used for resource in ("lut", "ff", "ram", "dsp")},
        fmax_mhz=round(reached[best], 1),
        seeds={str(seed): round(mhz, 1) for seed, mhz in reached.items()},
        tools=[tool.version() for tool in device.flow.tools[:2]],
        cycles=block.cycles,
        microseconds=None if block.cycles is None else round(block.cycles / reached[best], 2),
    )


def run_tool(flow: Flow, tool: str, arguments: list[str], folder: Path) -> None:
    """Run a tool of ``flow`` in ``folder``. Raises ``RuntimeError`` with the last lines of what it printed."""
    done = subprocess.run(
        [*flow.tool(tool).command(), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise RuntimeError(f"{tool} must take the block, and failed: {tail}")


def missed_bounds(block: Block, quality: Quality) -> list[str]:
    """What ``quality`` misses of the block's own bounds, a sentence each."""
    missed = []
    if block.maximum_lut is not None and quality.lut > block.maximum_lut:
        missed.append(f"{block.name} {block.variant}: lut must be at most {block.maximum_lut}, not {quality.lut}")
    if block.minimum_fmax_mhz is not None and quality.fmax_mhz < block.minimum_fmax_mhz:
        missed.append(
            f"{block.name} {block.variant}: fmax_mhz must be at least {block.minimum_fmax_mhz}, not {quality.fmax_mhz}"
        )
    return missed


def changes(block: Block, kept: Quality, quality: Quality) -> list[str]:
    """What has become worse than in the kept result by more than the tolerance, a sentence each."""
    worse = []
    if quality.lut > kept.lut * (1 + LUT_TOLERANCE):
        worse.append(f"{block.name} {block.variant}: lut has grown from {kept.lut} to {quality.lut}")
    if quality.fmax_mhz < kept.fmax_mhz * (1 - FMAX_TOLERANCE):
        worse.append(
            f"{block.name} {block.variant}: fmax_mhz has fallen from {kept.fmax_mhz:.1f} to {quality.fmax_mhz:.1f}"
        )
    return worse


def _row(title: str, kept: object | None, quality: object) -> list[str]:
    def number(name: str) -> str:
        value = getattr(quality, name)
        before = None if kept is None else getattr(kept, name)
        text = f"{value:,}"
        return text if before in (None, value) else f"{text} ({value - before:+,.4g})"

    return [title, *(number(name) for name in ("lut", "ff", "ram", "dsp", "fmax_mhz"))]


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """A block or a board: how it is measured, how its file is read, and what is wrong with it beside what was kept."""

    title: str
    file_name: str
    waits_for: str
    measure: Callable[[], Any]
    read: Callable[[str], Any]
    wrong: Callable[[Any, Any], list[str]]


def _block_subject(block: Block) -> _Subject:
    return _Subject(
        title=f"{block.name} {block.variant} {block.device.name}",
        file_name=block.file_name,
        waits_for=f"synthesis, then place and route with seeds {SEEDS}",
        measure=lambda: measure(block),
        read=Quality.from_json,
        wrong=lambda kept, quality: (
            missed_bounds(block, quality) + ([] if kept is None else changes(block, kept, quality))
        ),
    )


def _board_subject(name: str) -> _Subject:
    from spikeloom.boards.qor.boards import BoardQuality, board_changes, board_file_name, measure_board

    return _Subject(
        title=f"board {name}",
        file_name=board_file_name(name),
        waits_for="the bitstream of its general fabric",
        measure=lambda: measure_board(name),
        read=BoardQuality.from_json,
        wrong=lambda kept, quality: [] if kept is None else board_changes(name, kept, quality),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status."""
    from spikeloom.boards.qor.blocks import BLOCKS
    from spikeloom.boards.qor.boards import MEASURED

    parser = argparse.ArgumentParser(prog="make qor", description="measures the size and speed of blocks and boards")
    parser.add_argument("--only", default="", help="those whose 'name-variant-device' or 'board-name' contains this")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the results are kept")
    options = parser.parse_args(arguments)
    console = Console()
    table = Table("", "lut", "ff", "ram", "dsp", "fmax_mhz", title="Quality of results (change)")
    subjects = [*map(_block_subject, BLOCKS), *map(_board_subject, MEASURED)]
    known = {subject.title.replace(" ", "-"): subject for subject in subjects}
    chosen = [subject for title, subject in known.items() if options.only in title]
    if not chosen:
        parser.error(f"--only must be part of one of {', '.join(known)}")
    wrong = []
    options.folder.mkdir(parents=True, exist_ok=True)
    for subject in chosen:
        console.print(f"{subject.title}: {subject.waits_for}")
        quality = subject.measure()
        path = options.folder / subject.file_name
        kept = subject.read(path.read_text()) if path.exists() else None
        table.add_row(*_row(subject.title, kept, quality))
        wrong += subject.wrong(kept, quality)
        path.write_text(quality.to_json())
    console.print(table)
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
