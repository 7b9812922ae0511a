"""How large and how fast a block is, measured out of context.

Out of context means: the block alone, its ports ending nowhere. Paths from and to ports do not count. (nextpnr for the
iCE40 cannot do that; there the ports end in registers, which count.)
"""

import dataclasses
import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Elaboratable

from spikeloom.boards.bitstream.report import clocks, used_resources
from spikeloom.boards.families.flow import ECP5, ICE40, Flow
from spikeloom.boards.qor.between_pins import BetweenPins

__all__ = [
    "ECP5_85F",
    "FOLDER",
    "ICE40_UP5K",
    "SEEDS",
    "Block",
    "Device",
    "Quality",
    "changes",
    "measure",
    "missed_bounds",
    "run_tool",
]

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
