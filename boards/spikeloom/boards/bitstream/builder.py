"""Bitstream build for a board: elaborate, synthesise, lint, place and route with several seeds, pack, report.

Builds are reproducible: the same sources and tools give the same bytes anywhere. The netlist contains no paths, the
tools run in a scratch directory with relative paths, and the seeds of the placer are 1, 2, 3, ...

The clock is set just below what place and route reaches (`spikeloom.boards.bitstream.clock_search`).

A bitstream carries an *identity* for the driver: a hash of all inputs of the build but the seed, which changes nothing
that the driver could notice. The identity is a constant in the netlist itself. The netlist is therefore generated
twice: with an identity of zeros, which is hashed, and then with the hash. An existing build with the right identity is
reused.
"""

import dataclasses
import hashlib
import itertools
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.build.run import BuildPlan
from amaranth.hdl import Elaboratable, Module
from amaranth.lib import io
from amaranth.lib.wiring import Component
from rich.table import Table

from spikeloom.boards.bitstream.clock_search import fabric_mhz, find_clock
from spikeloom.boards.bitstream.lines import LINES
from spikeloom.boards.bitstream.report import Report, report_table
from spikeloom.boards.bitstream.sdram_pins import connect_sdram
from spikeloom.boards.bitstream.steps import NAME, BuildError, BuildSteps, Routed, TimingError, cores, run_seeds
from spikeloom.boards.families.device import DEVICES
from spikeloom.boards.families.flow import ToolError
from spikeloom.boards.families.pll import pll_clock
from spikeloom.boards.targets.board import CLOCK_STEP_HZ, BoardDescription
from spikeloom.boards.targets.registry import find_board
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.fabric_file import fabric_to_json, read_identity
from spikeloom.sim.host.ethernet import EthernetParameters
from spikeloom.sim.host.identity import PROTOCOL_VERSION, LinkKind
from spikeloom.sim.host.usb import UsbParameters
from spikeloom.sim.lib.files import read_text, write_whole

__all__ = [
    "SEEDS",
    "BuildError",
    "BuildResult",
    "TimingError",
    "ToolError",
    "board_identity",
    "board_plan",
    "build",
    "build_board",
    "identity_of",
]

SEEDS = 4
"""Number of seeds of a build by default. Of four seeds that scatter by 5 %, the best is 5 % above the average."""

_IDENTITY_BYTES = 16

Design = Callable[[BoardDescription, bytes], Component]
"""Constructor of the component to build, given a board and an identity. With a UART it has ports ``rx`` and ``tx``."""


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """Result of a build.

    Parameters
    ----------
    bitstream : Path
        Bitstream file.
    report : Report
        Content of the ``report.json`` beside it.
    flash_command : tuple of str
        Command that loads this bitstream into the board.
    """

    bitstream: Path
    report: Report
    flash_command: tuple[str, ...]

    def table(self) -> Table:
        """Return the report as a table for ``rich``."""
        return report_table(self.report, DEVICES[self.report.device])


def build(
    board_name: str,
    build_dir: Path | str | None = None,
    *,
    fabric: FabricConfig | None = None,
    clock_mhz: float | None = None,
    link: str | None = None,
    usb: UsbParameters | None = None,
    ethernet: EthernetParameters | None = None,
    baud_rate: int | None = None,
    seeds: int = SEEDS,
    announce: Callable[[str], None] = print,
) -> BuildResult:
    """Build the bitstream of a board, unless an identical one exists.

    Parameters
    ----------
    board_name : str
        A name from :data:`~spikeloom.boards.targets.registry.BOARDS`.
    build_dir : path
        Directory for ``BOARD.bit`` or ``BOARD.bin``, ``report.json``, ``fabric.json``, ``identity`` and the logs of the
        tools; default: ``build/BOARD``. A failed build replaces only the logs.
    fabric : FabricConfig, optional
        Fabric to build; default: the general fabric of the board's device.
    clock_mhz : float, optional
        Highest clock to try, in MHz; default: as high as place and route reaches.
    link : str, optional
        Link to the host, such as ``"uart"``; default: that of the board.
    usb : UsbParameters, optional
        Numbers and serial number of the USB device, for the link ``"usb"``.
    ethernet : EthernetParameters, optional
        Addresses of the board, for the link ``"udp"``.
    baud_rate : int, optional
        Baud rate of the serial link; default: the highest that the USB bridge and the clock allow.
    seeds : int
        Number of seeds of place and route, at least 1.
    announce : callable
        Called with one sentence before each longer wait.

    Raises
    ------
    ValueError
        The board does not exist or lacks the link, the clock is too low, the clock cannot make the baud rate, or there
        is no seed.
    ToolError
        A tool is missing.
    TimingError
        The design is too slow for any clock of the board.
    BuildError
        A tool failed on the design, for example because it does not fit.
    """
    board = find_board(board_name).with_link(link)
    if fabric is not None:
        board = board.with_fabric(fabric)
    if baud_rate is not None:
        if board.link_kind is not LinkKind.UART:
            raise ValueError(f"Baud rate of {board.name} must be left out with the link {board.link_kind.option}")
        board = dataclasses.replace(board, baud_rate=baud_rate)
    if usb is not None:
        if board.link_kind is not LinkKind.USB:
            raise ValueError(f"USB numbers of {board.name} must be left out with the link {board.link_kind.option}")
        board = dataclasses.replace(board, usb_device=usb)
    if ethernet is not None:
        if board.link_kind is not LinkKind.UDP:
            raise ValueError(
                f"Ethernet addresses of {board.name} must be left out with the link {board.link_kind.option}"
            )
        board = dataclasses.replace(board, ethernet_device=ethernet)
    if clock_mhz is not None:
        with_clock = board.with_clock(clock_mhz * 1e6)
        if with_clock is None:
            slowest = next(found for step in itertools.count(1) if (found := board.with_clock(step * CLOCK_STEP_HZ)))
            least = _mhz(slowest.clock_hz)
            raise ValueError(f"Clock of {board.name} must be at least {least:g} MHz, not {clock_mhz:g} MHz")
        board = with_clock
    build_dir = Path("build") / board.name if build_dir is None else build_dir
    return build_board(board, build_dir, seeds=seeds, raise_clock=clock_mhz is None, announce=announce)


def build_board(
    board: BoardDescription,
    build_dir: Path | str,
    *,
    design: Design | None = None,
    seeds: int = SEEDS,
    raise_clock: bool = True,
    announce: Callable[[str], None] = print,
) -> BuildResult:
    """Build like :func:`build`, for any board description and any design with the pins of the board's link.

    Without ``raise_clock``, the clock of the description is the highest one.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, not {seeds}")
    design = design or LINES[board.link_kind].design
    build_dir = Path(build_dir).resolve()
    announce(f"{board.name}: generating the netlist")
    aim = _Aim(mhz=_mhz(board.clock_hz), seeds=seeds, raise_clock=raise_clock)
    kept = _kept(board, design, build_dir, aim)
    if kept is not None:
        announce(f"{board.name}: {kept.bitstream.name} is up to date: same netlist, constraints and tools")
        return kept
    logs = build_dir / "logs"
    attempts: dict[float, tuple[BuildSteps, bytes]] = {}
    with ExitStack() as stack:

        def attempt(board: BoardDescription, first_is_enough: bool) -> list[Routed]:
            identity = board_identity(board, design=design)
            logs.mkdir(parents=True, exist_ok=True)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".scratch-", dir=build_dir)))
            steps = BuildSteps(board, board_plan(board, identity, design=design), folder, logs, announce)
            attempts[board.clock_hz] = steps, identity
            steps.synthesise()
            return _routed(board, steps, seeds, announce, first_is_enough=first_is_enough)

        built, routed = find_clock(board, attempt, raise_clock=raise_clock, announce=announce)
        steps, identity = attempts[built.clock_hz]
        return _finish(built, steps, routed, identity, build_dir, aim)


@dataclass(frozen=True, kw_only=True)
class _Aim:
    """Parameters, other than the netlist, that determine the clock of a build and therefore its result."""

    mhz: float
    seeds: int
    raise_clock: bool


def _routed(
    board: BoardDescription, steps: BuildSteps, seeds: int, announce: Callable[[str], None], *, first_is_enough: bool
) -> list[Routed]:
    """Place and route with all seeds, as many at once as there are processor cores.

    With ``first_is_enough``, stop at the first seed that meets the clock.
    """
    jobs = min(seeds, cores())
    announce(f"{board.name}: {steps.waits()}{f', {seeds} seeds, {jobs} at once' if seeds > 1 else ''}")

    def route(seed: int) -> Routed:
        routed = steps.route(seed)
        if seeds > 1:
            announce(f"{board.name}: seed {seed} reached {fabric_mhz(board, routed):.2f} MHz")
        return routed

    def enough(routed: Routed) -> bool:
        return first_is_enough and not routed.missed

    return run_seeds(route, range(1, seeds + 1), jobs=jobs, stop=steps.stop, enough=enough)


def _finish(
    board: BoardDescription, steps: BuildSteps, routed: Routed, identity: bytes, build_dir: Path, aim: _Aim
) -> BuildResult:
    """Pack a routed design, and replace the files of the build."""
    scratch = routed.folder
    bitstream = scratch / _bitstream_name(board)
    steps.pack(routed).rename(bitstream)
    fabric = board.buildable_fabric()
    baud_rate = board.baud_rate if board.link_kind is LinkKind.UART else None
    report = Report(
        board=board.name,
        device=board.device_name,
        **{name: used.used for name, used in routed.resources.items()},
        first_clock_mhz=aim.mhz,
        clock_mhz=_mhz(board.clock_hz),
        fmax_mhz=fabric_mhz(board, routed),
        neurons=fabric.neurons,
        synapses=fabric.synapses,
        peak_synaptic_operations_per_s=round(fabric.synaptic_operations_per_cycle * board.clock_hz),
        identity=identity.hex(),
        clocks=routed.clocks,
        seed=routed.seed,
        seeds=aim.seeds,
        raise_clock=aim.raise_clock,
    )
    # A full disk may show only when files are flushed. Flush them before the first file of an older build is replaced.
    with bitstream.open("rb") as packed:
        os.fsync(packed.fileno())
    write_whole(scratch / "identity", identity.hex() + "\n")
    write_whole(
        scratch / "fabric.json",
        fabric_to_json(fabric, link_kind=board.link_kind, baud_rate=baud_rate, clock_hz=round(board.clock_hz)),
    )
    write_whole(scratch / "report.json", report.to_json())
    # A report without its bitstream would be misleading: it is removed first and written last.
    (build_dir / "report.json").unlink(missing_ok=True)
    for path in (bitstream, *(scratch / name for name in ("identity", "fabric.json", "report.json"))):
        path.replace(build_dir / path.name)
    return _result(board, build_dir, report)


def _kept(board: BoardDescription, design: Design, build_dir: Path, aim: _Aim) -> BuildResult | None:
    """Return the build in ``build_dir`` if a new build would equal it, else None."""
    try:
        report = Report.from_json(read_text(build_dir / "report.json"))
        known = read_identity(build_dir / "identity").hex()
    except (OSError, ValueError):
        return None
    if aim != _Aim(mhz=report.first_clock_mhz, seeds=report.seeds, raise_clock=report.raise_clock):
        return None
    # The report rounds the clock to kilohertz. With a kilohertz more as the limit, the same clock is found.
    built = board if report.clock_mhz == aim.mhz else board.with_clock((report.clock_mhz + 0.001) * 1e6)
    files = (build_dir / "fabric.json", build_dir / _bitstream_name(board))
    if built is None or known != report.identity or not all(path.is_file() for path in files):
        return None
    if board_identity(built, design=design).hex() != known:
        return None
    return _result(board, build_dir, report)


def _result(board: BoardDescription, build_dir: Path, report: Report) -> BuildResult:
    bitstream = build_dir / _bitstream_name(board)
    flash_command = tuple(word.replace("{bitstream}", str(bitstream)) for word in board.flash_command)
    return BuildResult(bitstream=bitstream, report=report, flash_command=flash_command)


def _bitstream_name(board: BoardDescription) -> str:
    return f"{board.name}{board.flow.suffix}"


def _mhz(hz: float) -> float:
    return round(hz / 1e6, 3)


def board_identity(board: BoardDescription, *, design: Design | None = None) -> bytes:
    """Return the identity of a build for ``board`` with the installed tools. Raises :exc:`ToolError`."""
    versions = [tool.version() for tool in board.flow.tools]
    return identity_of(board_plan(board, bytes(_IDENTITY_BYTES), design=design), versions)


def identity_of(plan: BuildPlan, versions: list[str]) -> bytes:
    """Return the identity of a build: 16 bytes of a hash of netlist, constraints, options, tools and link version."""
    digest = hashlib.sha256()
    parts: list[tuple[str, str | bytes]] = [("protocol", str(PROTOCOL_VERSION)), ("tools", "\n".join(versions))]
    parts += sorted(plan.files.items())
    for name, content in parts:
        for text in (name, content):
            data = text.encode() if isinstance(text, str) else text
            digest.update(len(data).to_bytes(8, "little") + data)
    return digest.digest()[:_IDENTITY_BYTES]


class _BoardTop(Elaboratable):
    """Design with its link at the pins of the board, and a PLL if its clock is not the oscillator.

    Without a PLL, the platform supplies the clock and the power-on reset.
    """

    def __init__(self, board: BoardDescription, design: Component):
        self.board = board
        self.design = design

    def elaborate(self, platform):
        m = Module()
        oscillator = None if self.board.pll_hz is None else self._clock(m, platform)
        m.submodules.design = self.design
        LINES[self.board.link_kind].connect(m, platform, self.board, self.design, oscillator)
        if (pins := getattr(self.design, "sdram", None)) is not None:
            connect_sdram(m, platform, self.board, pins, oscillator, self.design.sdram_phase_step)
        return m

    def _clock(self, m: Module, platform) -> Any:
        """Add the PLL that generates the clock of the fabric; return the clock of the oscillator."""
        board = self.board
        pin = platform.request(platform.default_clk, dir="-")
        if board.pll_pad:
            source = pin.io
        else:
            m.submodules.clock_buffer = clock_buffer = io.Buffer("i", pin)
            source = clock_buffer.i
        if board.shares_pll:  # the link adds the PLL
            return source
        clock = pll_clock(m, board.flow.pll, board.oscillator_hz, board.clock_hz, source)
        platform.add_clock_constraint(clock, board.clock_hz)
        return source


def board_plan(board: BoardDescription, identity: bytes, *, design: Design | None = None) -> BuildPlan:
    """Return netlist, constraints and commands of a build with this ``identity`` of 16 bytes."""
    top = _BoardTop(board, (design or LINES[board.link_kind].design)(board, identity))
    # Omit source positions, which contain local paths.
    overrides = board.flow.platform_overrides(board.clock_hz / 1e6)
    return board.platform().build(top, name=NAME, do_build=False, emit_src=False, **overrides)
