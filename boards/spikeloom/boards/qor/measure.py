"""How large and how fast a block is, measured out of context.

Out of context means: the block alone, its ports ending nowhere. Paths from and to ports do not count. (nextpnr for the
iCE40 cannot do that; there the ports end in registers, which count.)
"""

import hashlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Elaboratable

from spikeloom.boards.bitstream.report import clocks, used_resources
from spikeloom.boards.families.flow import ECP5, ICE40, Flow
from spikeloom.boards.qor.between_pins import BetweenPins
from spikeloom.boards.qor.figures import RESOURCES, SEEDS, Figures, Measured, resources_of

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
"""Name of an empty file that says that a netlist is complete."""

LUT_TOLERANCE = 0.05
"""How much larger than the kept file a block may become."""
FMAX_TOLERANCE = 0.10
"""How much slower its median may become."""


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
    seeds : int
        How many are measured: three if one takes over ten minutes.
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
    seeds: int = SEEDS

    @property
    def file_name(self) -> str:
        """Of the kept result."""
        return f"{self.name}-{self.variant}-{self.device.name}.json"


@dataclass(frozen=True, kw_only=True)
class Quality(Figures):
    """What a block takes and reaches; ``microseconds`` are those of the block's ``cycles`` at the median clock."""

    cycles: int | None = None

    @property
    def microseconds(self) -> float | None:
        """Time of the block's cycles, where it says how many."""
        return None if self.cycles is None else round(self.cycles / self.fmax_mhz, 2)

    def derived(self) -> dict[str, Any]:
        """Return what a file says beside the fields, for its readers."""
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
        """Return the tools that decide the figures, with their versions."""
        return [tool.version() for tool in self.block.device.flow.tools[:2]]

    def netlist(self) -> str:
        """Return the hash of the netlist, and of the commands that it goes through."""
        return hash_of([self._rtlil(), self._script(), *self._options()])

    def synthesise(self, folder: Path, announce: Callable[[str], None]) -> None:
        """Write ``block.json`` into ``folder``, unless it is there. Raise ``RuntimeError`` if the tool refuses the
        block."""
        if (folder / SYNTHESISED).exists():
            return
        announce("synthesis")
        (folder / "block.il").write_text(self._rtlil())
        run_tool(self.block.device.flow, "yosys", ["-q", "-p", self._script()], folder)
        (folder / SYNTHESISED).touch()

    def route(self, folder: Path, seed: int) -> Measured:
        """Place and route what `synthesise` left. Raise ``RuntimeError`` if the tool fails."""
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
            seconds=round(seconds, 1),
        )

    def stop(self, seed: int) -> None:
        """End the place and route of ``seed``."""
        with self._lock:
            if seed in self._running:
                self._running[seed].terminate()

    def figures(self, measured: dict[int, Measured], netlist: str, commit: str) -> Quality:
        """Return what is to be kept."""
        return Quality(
            **resources_of(measured),
            seeds={str(seed): round(min(one.clocks.values()), 1) for seed, one in sorted(measured.items())},
            tools=self.tools(),
            netlist=netlist,
            commit=commit,
            cycles=self.block.cycles,
        )

    def wrong(self, kept: Quality | None, quality: Quality) -> list[str]:
        """Return what is wrong with the figures, beside those that were kept, a sentence each."""
        return missed_bounds(self.block, quality) + ([] if kept is None else changes(self.block, kept, quality))

    def _rtlil(self) -> str:
        block = self.block
        design = block.make() if block.device.takes_blocks else BetweenPins(block.make())
        # Without source positions, which contain paths and change with every line above them.
        return rtlil.convert(design, name="block", platform=block.device, emit_src=False)

    def _script(self) -> str:
        return f"read_rtlil block.il; {self.block.device.synthesis.format(options=self.block.options)}"

    def _options(self) -> list[str]:
        return [*self.block.device.place_and_route, "--freq", str(self.block.asked_mhz)]

    def _started(self, seed: int, process: "subprocess.Popen[str]") -> None:
        with self._lock:
            self._running[seed] = process


def hash_of(parts: Iterable[str | bytes]) -> str:
    """Return the hash of several texts, 32 hexadecimal digits."""
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
