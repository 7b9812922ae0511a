"""Bitstream build for a board: elaborate, synthesise, lint, place and route, pack, report.

Builds are reproducible: the same sources and tools give the same bytes anywhere. The netlist contains no paths, the
tools run in a scratch directory with relative paths, and the seed of the placer is fixed.

The clock is that of the board's description, which is a measured value. A fabric that misses it, because it was chosen
for a network or because the design has changed, is built again with the highest clock some percent (`MARGINS`) below
the result of place and route. This is reproducible as well.

A bitstream carries an *identity* for the driver: a hash of all inputs of the build. The identity is a constant in the
netlist itself. The netlist is therefore generated twice: with an identity of zeros, which is hashed, and then with the
hash. An existing build with the right identity is reused.
"""

import dataclasses
import hashlib
import itertools
import json
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amaranth.build import Attrs
from amaranth.build.run import BuildPlan
from amaranth.hdl import Elaboratable, Module
from amaranth.lib import io
from amaranth.lib.wiring import Component
from amaranth_boards.resources import UARTResource
from rich.table import Table

from spikeloom.boards.bitstream.dfu import dfu_suffix
from spikeloom.boards.bitstream.report import Clock, Report, clocks, report_table, used_resources
from spikeloom.boards.bitstream.silicon_lint import lint
from spikeloom.boards.families.device import DEVICES
from spikeloom.boards.families.flow import ToolError
from spikeloom.boards.families.pll import pll_clock
from spikeloom.boards.targets.board import CLOCK_STEP_HZ, BoardDescription
from spikeloom.boards.targets.registry import find_board
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.fabric_file import fabric_to_json, read_identity
from spikeloom.sim.host.identity import PROTOCOL_VERSION
from spikeloom.sim.lib.files import read_text

__all__ = [
    "BuildError",
    "BuildResult",
    "TimingError",
    "ToolError",
    "board_identity",
    "build",
    "build_board",
    "identity_of",
]

MARGINS = (0.95, 0.85)
"""Clock of the second and the third try relative to the result of place and route: the new netlist may be slower."""

_IDENTITY_BYTES = 16
_NAME = "top"
_WAITS = {
    "yosys": "synthesis, 10 to 60 s",
    "nextpnr-ecp5": "place and route, 1 to 4 min",
    "nextpnr-ice40": "place and route, 30 to 90 s",
    "nextpnr-gowin": "place and route, 3 to 8 min",
    "ecppack": "packing",
    "gowin_pack": "packing",
    "icepack": "packing",
}

Design = Callable[[BoardDescription, bytes], Component]
"""Constructor of the component to build, with members ``rx`` (In) and ``tx`` (Out), for a board and an identity."""


class BuildError(RuntimeError):
    """A tool failed on the design."""


class TimingError(BuildError):
    """The design is too slow for the clock of the board; ``clock`` holds the achieved frequency."""

    def __init__(self, message: str, clock: Clock):
        super().__init__(message)
        self.clock = clock


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
        Highest clock to try; default: the clock of the board.
    announce : callable
        Called with one sentence before each longer wait.

    Raises
    ------
    ValueError
        The board does not exist, or the clock is too low.
    ToolError
        A tool is missing.
    TimingError
        The design is too slow for the clock of the board.
    BuildError
        A tool failed on the design, for example because it does not fit.
    """
    board = find_board(board_name)
    if fabric is not None:
        board = dataclasses.replace(board, fabric=fabric)
    if clock_mhz is not None:
        with_clock = board.with_clock(clock_mhz * 1e6)
        if with_clock is None:
            slowest = next(found for step in itertools.count(1) if (found := board.with_clock(step * CLOCK_STEP_HZ)))
            least = _mhz(slowest.clock_hz)
            raise ValueError(f"Clock of {board.name} must be at least {least:g} MHz, not {clock_mhz:g} MHz")
        board = with_clock
    return build_board(board, Path("build") / board.name if build_dir is None else build_dir, announce=announce)


def build_board(
    board: BoardDescription,
    build_dir: Path | str,
    *,
    design: Design | None = None,
    announce: Callable[[str], None] = print,
) -> BuildResult:
    """Build like :func:`build`, for any board description and any design with a serial link."""
    design = design or _fabric
    build_dir = Path(build_dir).resolve()
    announce(f"{board.name}: generating the netlist")
    identity = board_identity(board, design=design)
    kept = _kept(board, design, identity, build_dir)
    if kept is not None:
        announce(f"{board.name}: {kept.bitstream.name} is there already, of the same netlist, constraints and tools")
        return kept
    first_clock_mhz = _mhz(board.clock_hz)
    for margin in (*MARGINS, None):
        try:
            return _build_once(board, design, identity, build_dir, first_clock_mhz, announce)
        except TimingError as error:
            reached_mhz, path = error.clock.achieved_mhz, error.clock.path
            slower = None if margin is None else board.with_clock(reached_mhz * 1e6 * margin)
            if slower is None:
                raise
            announce(
                f"{board.name}: place and route reached {reached_mhz:.2f} MHz, not {_mhz(board.clock_hz):g} MHz; "
                f"again with {_mhz(slower.clock_hz):g} MHz{'' if path is None else f' ({path})'}"
            )
            board, identity = slower, board_identity(slower, design=design)
    raise AssertionError("the last try returns or raises")


def _build_once(
    board: BoardDescription,
    design: Design,
    identity: bytes,
    build_dir: Path,
    first_clock_mhz: float,
    announce: Callable[[str], None],
) -> BuildResult:
    """Build once, with the clock of the board."""
    plan = _plan(board, design, identity)
    logs = build_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".scratch-", dir=build_dir) as scratch_name:
        scratch = Path(scratch_name)
        plan.extract(scratch_name)
        for name, *arguments in json.loads(plan.files[f"build_{_NAME}.json"])["commands"]:
            if name == "dfu-suffix":
                _add_dfu_suffix(scratch, arguments)
                continue
            announce(f"{board.name}: {name} ({_WAITS[name]})")
            _run_tool(board, name, board.flow.arguments(name, arguments), scratch, logs, announce)
            if name == "yosys":
                _refuse_silicon_traps(board, scratch / f"{_NAME}{board.flow.netlist_suffix}")
        (scratch / "nextpnr.json").replace(logs / "nextpnr.json")
        nextpnr_report = (logs / "nextpnr.json").read_text()
        resources = used_resources(
            nextpnr_report, (scratch / f"{_NAME}{board.flow.netlist_suffix}").read_text(), board.flow
        )
        fabric = board.buildable_fabric()
        all_clocks = clocks(nextpnr_report)
        report = Report(
            board=board.name,
            device=board.device_name,
            **{name: used.used for name, used in resources.items()},
            first_clock_mhz=first_clock_mhz,
            clock_mhz=_mhz(board.clock_hz),
            fmax_mhz=all_clocks[0].achieved_mhz,
            neurons=fabric.neurons,
            synapses=fabric.synapses,
            peak_synaptic_operations_per_s=round(fabric.synaptic_operations_per_cycle * board.clock_hz),
            identity=identity.hex(),
            clocks=tuple(all_clocks),
        )
        bitstream = scratch / _bitstream_name(board)
        (scratch / f"{_NAME}{board.flow.suffix}").rename(bitstream)
        (scratch / "identity").write_text(identity.hex() + "\n")
        (scratch / "fabric.json").write_text(fabric_to_json(fabric, baud_rate=board.baud_rate))
        (scratch / "report.json").write_text(report.to_json())
        # A report without its bitstream would be misleading: it is removed first and written last.
        (build_dir / "report.json").unlink(missing_ok=True)
        for path in (bitstream, *(scratch / name for name in ("identity", "fabric.json", "report.json"))):
            path.replace(build_dir / path.name)
    return _result(board, build_dir, report)


def _refuse_silicon_traps(board: BoardDescription, netlist: Path) -> None:
    """Raise `BuildError` if the FPGA would not behave like the netlist."""
    findings = lint(netlist.read_text(), clock_hz=board.clock_hz)
    if findings:
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        raise BuildError(f"Netlist for {board.name} does not work on silicon: {findings[0]}{more}")


def _add_dfu_suffix(scratch: Path, arguments: list[str]) -> None:
    """Append the suffix like ``dfu-suffix -v VENDOR -p PRODUCT -a FILE``, which saves the user a tool."""
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    with (scratch / options["-a"]).open("rb+") as file:
        file.write(dfu_suffix(file.read(), int(options["-v"], 16), int(options["-p"], 16)))


def _kept(board: BoardDescription, design: Design, identity: bytes, build_dir: Path) -> BuildResult | None:
    """Return the build in ``build_dir`` if it equals a new one; its report tells how its clock was found."""
    try:
        report = Report.from_json(read_text(build_dir / "report.json"))
        known = read_identity(build_dir / "identity").hex()
    except (OSError, ValueError):
        return None
    if known != identity.hex() and report.first_clock_mhz == _mhz(board.clock_hz):
        slower = board.with_clock((report.clock_mhz + 0.001) * 1e6)
        identity = bytes(_IDENTITY_BYTES) if slower is None else board_identity(slower, design=design)
    files = (build_dir / "fabric.json", build_dir / _bitstream_name(board))
    if not known == report.identity == identity.hex() or not all(path.is_file() for path in files):
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
    return identity_of(_plan(board, design or _fabric, bytes(_IDENTITY_BYTES)), versions)


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
    """Design with its serial link at the pins of the board, and a PLL if its clock is not the oscillator.

    Otherwise the platform supplies the clock and the power-on reset.
    """

    def __init__(self, board: BoardDescription, design: Component):
        self.board = board
        self.design = design

    def elaborate(self, platform):
        m = Module()
        if self.board.pll_hz is not None:
            self._clock(m, platform)
        m.submodules.design = design = self.design
        uart = self._serial_line(platform)
        m.submodules.rx_buffer = rx_buffer = io.Buffer("i", uart.rx)
        m.submodules.tx_buffer = tx_buffer = io.Buffer("o", uart.tx)
        m.d.comb += [design.rx.eq(rx_buffer.i), tx_buffer.o.eq(design.tx)]
        return m

    def _serial_line(self, platform):
        pins = self.board.serial
        if pins is None:
            return platform.request("uart", 0, dir="-")
        attributes = {"ecp5": {"IO_TYPE": "LVCMOS33"}, "ice40": {"IO_STANDARD": "SB_LVCMOS"}}[self.board.flow.pll]
        line = UARTResource(0, rx=pins.rx, tx=pins.tx, conn=pins.connector, attrs=Attrs(**attributes))
        platform.add_resources([line])
        return platform.request("uart", 0, dir="-")

    def _clock(self, m: Module, platform) -> None:
        board = self.board
        pin = platform.request(platform.default_clk, dir="-")
        if board.pll_pad:
            source = pin.io
        else:
            m.submodules.clock_buffer = clock_buffer = io.Buffer("i", pin)
            source = clock_buffer.i
        clock = pll_clock(m, board.flow.pll, board.oscillator_hz, board.clock_hz, source)
        platform.add_clock_constraint(clock, board.clock_hz)


def _fabric(board: BoardDescription, identity: bytes) -> Component:
    from spikeloom.hdl.top.top import Top

    return Top(board.buildable_fabric(), board.divisor, identity, clock_hz=round(board.clock_hz))


def _plan(board: BoardDescription, design: Design, identity: bytes) -> BuildPlan:
    top = _BoardTop(board, design(board, identity))
    # Omit source positions, which contain local paths.
    overrides = board.flow.platform_overrides(board.clock_hz / 1e6)
    return board.platform().build(top, name=_NAME, do_build=False, emit_src=False, **overrides)


def _run_tool(
    board: BoardDescription,
    name: str,
    arguments: list[str],
    scratch: Path,
    logs: Path,
    announce: Callable[[str], None],
) -> None:
    log = logs / f"{name}.log"
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            [*board.flow.tool(name).command(), *arguments],
            cwd=scratch,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            if line.startswith("Preparing to run"):
                seconds = 150 if name == "yosys" else 15
                announce(f"{board.name}: {name} is compiled for this machine: about {seconds} s, once")
        status = process.wait()
        # The log files that amaranth requests from the tools contain more than the standard output.
        for own_log in (scratch / f"{_NAME}.rpt", scratch / f"{_NAME}.tim"):
            if own_log.is_file():
                file.write(own_log.read_text(encoding="utf-8", errors="replace"))
                own_log.unlink()
    if status == 0:
        return
    nextpnr_report = scratch / "nextpnr.json"
    if name.startswith("nextpnr") and nextpnr_report.is_file():
        slow = [clock for clock in clocks(nextpnr_report.read_text()) if clock.missed]
        if slow:
            raise TimingError(
                f"Clock of {board.name} must be at least {slow[0].constraint_mhz:.2f} MHz, "
                f"and place and route reached {slow[0].achieved_mhz:.2f} MHz; {log} has the path",
                slow[0],
            )
    errors = [line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("ERROR: ")]
    cause = errors[0].removeprefix("ERROR: ") if errors else f"exit status {status}"
    raise BuildError(f"Build for {board.name} failed in {name}: {cause} (all of it in {log})")
