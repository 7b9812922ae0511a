"""Size and speed of a block, measured out of context.

Out of context means that the block is alone and its ports are unconnected; paths from and to ports do not count.
nextpnr for the iCE40 does not support this: there the ports end in registers, which are included in the figures.
"""

import hashlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.lib.wiring import Component

from spikeloom.boards.bitstream.report import clocks, used_resources
from spikeloom.boards.families.flow import ECP5, ICE40, Flow
from spikeloom.boards.qor.between_pins import BetweenPins
from spikeloom.boards.qor.figures import RESOURCES, SEEDS, Figures, Measured, resources_of
from spikeloom.hdl.lib.rtlil import to_rtlil

__all__ = [
    "ECP5_85F",
    "FOLDER",
    "ICE40_UP5K",
    "SYNTHESISED",
    "Block",
    "BlockSubject",
    "Device",
    "Quality",
    "changes",
    "hash_of",
    "missed_bounds",
    "run_tool",
]

FOLDER = Path("qor")

SYNTHESISED = "synthesised"
"""Name of an empty file that marks a complete netlist."""

LUT_TOLERANCE = 0.05
"""Maximum relative growth in lookup tables against the kept file."""
FMAX_TOLERANCE = 0.10
"""Maximum relative loss of the median Fmax against the kept file."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """An FPGA to measure on.

    Parameters
    ----------
    name : str
        Name in the kept files.
    flow : Flow
        Tools for the device.
    synthesis : str
        Command of Yosys; ``{options}`` is replaced by the options of the block.
    place_and_route : tuple of str
        Options of nextpnr that select the device.
    takes_blocks : bool
        Whether place and route supports blocks with unconnected ports; otherwise they are measured `BetweenPins`.
    device : str
        Device name like the attribute of an Amaranth platform, which designs may read.
    """

    name: str
    flow: Flow
    synthesis: str
    place_and_route: tuple[str, ...]
    takes_blocks: bool = True
    device: str = ""

    @property
    def family(self) -> str:
        """Family, like the attribute of an Amaranth platform, which designs may read."""
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
    """A block to measure.

    Parameters
    ----------
    name, variant : str
        Kind of block, and its parameters in short.
    make : callable
        Returns the design.
    maximum_lut, minimum_fmax_mhz : int, float, optional
        Bounds on the lookup tables and on Fmax in MHz.
    options : str
        Options of the synthesis.
    asked_mhz : float
        Clock in MHz that place and route aims at.
    cycles : int, optional
        Clock cycles of the block's task, if it has a single one.
    device : Device
        Device to measure on.
    seeds : int
        Number of seeds: three if one takes over ten minutes.
    """

    name: str
    variant: str
    make: Callable[[], Component]
    maximum_lut: int | None = None
    minimum_fmax_mhz: float | None = None
    options: str = ""
    asked_mhz: float = 160.0
    cycles: int | None = None
    device: Device = ECP5_85F
    seeds: int = SEEDS

    @property
    def file_name(self) -> str:
        """Name of the kept file."""
        return f"{self.name}-{self.variant}-{self.device.name}.json"


@dataclass(frozen=True, kw_only=True)
class Quality(Figures):
    """Size and speed of a block; ``microseconds`` is the time of its ``cycles`` at the median Fmax."""

    cycles: int | None = None

    @property
    def microseconds(self) -> float | None:
        """Time of ``cycles`` at the median Fmax in microseconds; None without ``cycles``."""
        return None if self.cycles is None else round(self.cycles / self.fmax_mhz, 2)

    def derived(self) -> dict[str, Any]:
        """Return the entries of a file that are computed from the fields, for its readers."""
        return super().derived() | {"microseconds": self.microseconds}


class BlockSubject:
    """A block, to be measured (`spikeloom.boards.qor.campaign.Subject`)."""

    def __init__(self, block: Block):
        self.block = block
        self.title = f"{block.name} {block.variant} {block.device.name}"
        self.file_name = block.file_name
        self.seeds = block.seeds
        self._running: dict[int, subprocess.Popen[str]] = {}
        self._lock = threading.Lock()

    def read(self, text: str) -> Quality:
        """Parse a kept file. Raises ``ValueError`` for other content."""
        return Quality.from_json(text)

    def tools(self) -> list[str]:
        """Return the tools that determine the figures, with their versions."""
        return [tool.version() for tool in self.block.device.flow.tools[:2]]

    def netlist(self) -> str:
        """Return the hash of the netlist, and of the commands that it goes through."""
        return hash_of([self._rtlil(), self._script(), *self._options()])

    def synthesise(self, folder: Path, announce: Callable[[str], None]) -> None:
        """Write ``block.json`` into ``folder`` unless it exists. Raise ``RuntimeError`` if the tool fails."""
        if (folder / SYNTHESISED).exists():
            return
        announce("synthesis")
        (folder / "block.il").write_text(self._rtlil())
        run_tool(self.block.device.flow, "yosys", ["-q", "-p", self._script()], folder)
        (folder / SYNTHESISED).touch()

    def route(self, folder: Path, seed: int) -> Measured:
        """Place and route the result of `synthesise`. Raise ``RuntimeError`` if the tool fails."""
        # A missed clock is allowed here: only the figure is needed, and nothing is loaded into an FPGA.
        flow, report = self.block.device.flow, folder / f"{seed}.json"
        begin = time.monotonic()
        options = [*self._options(), "--timing-allow-fail", "-q", "--json", "block.json"]
        options += ["--seed", str(seed), "--report", report.name]
        run_tool(flow, flow.tools[1].name, options, folder, started=lambda process: self._started(seed, process))
        seconds = time.monotonic() - begin
        text = report.read_text()
        found = clocks(text)
        resources = used_resources(text, (folder / "block.json").read_text(), flow)
        return Measured(
            **{name: resources[name].used for name in RESOURCES},
            clocks={clock.name: clock.achieved_mhz for clock in found},
            constraints={clock.name: clock.constraint_mhz for clock in found},
            seconds=round(seconds, 1),
        )

    def stop(self, seed: int) -> None:
        """End the place and route of ``seed``."""
        with self._lock:
            if seed in self._running:
                self._running[seed].terminate()

    def figures(self, measured: dict[int, Measured], netlist: str, commit: str) -> Quality:
        """Return the figures to be kept."""
        return Quality(
            **resources_of(measured),
            seeds={str(seed): round(min(one.clocks.values()), 1) for seed, one in sorted(measured.items())},
            tools=self.tools(),
            netlist=netlist,
            commit=commit,
            cycles=self.block.cycles,
        )

    def wrong(self, kept: Quality | None, quality: Quality) -> list[str]:
        """Return one sentence for each problem with the figures, compared with those that were kept."""
        return missed_bounds(self.block, quality) + ([] if kept is None else changes(self.block, kept, quality))

    def _rtlil(self) -> str:
        block = self.block
        design = block.make() if block.device.takes_blocks else BetweenPins(block.make())
        return to_rtlil(design, name="block", platform=block.device)

    def _script(self) -> str:
        return f"read_rtlil block.il; {self.block.device.synthesis.format(options=self.block.options)}"

    def _options(self) -> list[str]:
        return [*self.block.device.place_and_route, "--freq", str(self.block.asked_mhz)]

    def _started(self, seed: int, process: "subprocess.Popen[str]") -> None:
        with self._lock:
            self._running[seed] = process


def hash_of(parts: Iterable[str | bytes]) -> str:
    """Return a hash of several texts, 32 hexadecimal digits."""
    # The length before each text makes different divisions of the same bytes hash differently.
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:32]


def run_tool(
    flow: Flow,
    tool: str,
    arguments: list[str],
    folder: Path,
    *,
    started: Callable[["subprocess.Popen[str]"], None] = lambda process: None,
) -> None:
    """Run a tool of ``flow`` in ``folder``. Raises ``RuntimeError`` with the last lines of what it printed."""
    words = [*flow.tool(tool).command(), *arguments]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        started(process)
        printed, _ = process.communicate()
    if process.returncode:
        tail = "\n".join(printed.strip().splitlines()[-5:])
        raise RuntimeError(f"{tool} failed on the block: {tail}")


def missed_bounds(block: Block, quality: Quality) -> list[str]:
    """Return one sentence for each bound of the block that ``quality`` misses."""
    missed = []
    if block.maximum_lut is not None and quality.lut > block.maximum_lut:
        missed.append(f"{block.name} {block.variant}: lut must be at most {block.maximum_lut:,}, not {quality.lut:,}")
    if block.minimum_fmax_mhz is not None and quality.fmax_mhz < block.minimum_fmax_mhz:
        missed.append(
            f"{block.name} {block.variant}: fmax_mhz must be at least {block.minimum_fmax_mhz}, not {quality.fmax_mhz}"
        )
    return missed


def changes(block: Block, kept: Quality, quality: Quality) -> list[str]:
    """Return one sentence for each figure that is worse than the kept one by more than the tolerance."""
    worse = []
    if quality.lut > kept.lut * (1 + LUT_TOLERANCE):
        worse.append(f"{block.name} {block.variant}: lut has grown from {kept.lut:,} to {quality.lut:,}")
    if quality.fmax_mhz < kept.fmax_mhz * (1 - FMAX_TOLERANCE):
        worse.append(
            f"{block.name} {block.variant}: fmax_mhz has fallen from {kept.fmax_mhz:.1f} to {quality.fmax_mhz:.1f}"
        )
    return worse
