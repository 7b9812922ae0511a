"""Quality of results of whole boards: how large and how fast the general fabric of each is, kept in ``qor/``.

`MEASURED` are the boards that are built; ``make qor`` builds them again after the blocks
(`python -m spikeloom.boards.qor`), shows the change, and fails where a board has lost its clock or has become worse by
more than the tolerance.
"""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spikeloom.boards.bitstream.builder import build
from spikeloom.boards.bitstream.report import Report
from spikeloom.boards.targets.board import BoardDescription
from spikeloom.boards.targets.registry import find_board

__all__ = [
    "MEASURED",
    "BoardQuality",
    "board_changes",
    "board_file_name",
    "board_status",
    "kept_quality",
    "measure_board",
]

MEASURED = (
    "icebreaker",
    "icesugar",
    "upduino-v3",
    "hx8k-b-evn",
    "tinyfpga-bx",
    "ulx3s-12f",
    "colorlight-5a75b",
    "icesugar-pro",
    "ulx3s-85f",
    "orangecrab-85f",
    "ecpix5-85",
    "tang-nano-9k",
    "tang-primer-20k",
)

SIZE_TOLERANCE = 0.05
"""How much larger than the kept file a board's fabric may become."""
FMAX_TOLERANCE = 0.10
"""How much slower, as long as it keeps the board's clock. One seed alone may be 10 % off another."""

_PORTION = Path(__file__).resolve().parents[2]
"""The directory ``spikeloom`` that holds ``boards``: of an installed wheel, or ``boards/spikeloom`` of a checkout."""


@dataclass(frozen=True, kw_only=True)
class BoardQuality:
    """What the general fabric of a board takes, holds and reaches.

    ``clock_mhz`` is what it runs at, ``fmax_mhz`` what its tightest clock could be; ``clocks`` has Fmax of each.
    """

    lut: int
    ff: int
    ram: int
    dsp: int
    clock_mhz: float
    fmax_mhz: float
    clocks: dict[str, float]
    neurons: int
    synapses: int
    tools: list[str]

    @classmethod
    def of(cls, report: Report, tools: list[str]) -> "BoardQuality":
        """What a build's report says of it."""
        named = {field.name for field in dataclasses.fields(cls)} - {"clocks", "tools"}
        values = {name: getattr(report, name) for name in named}
        return cls(**values, clocks={clock.name: clock.achieved_mhz for clock in report.clocks}, tools=tools)

    def to_json(self) -> str:
        """The text of a kept file."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "BoardQuality":
        """What a kept file says. Raises ``ValueError`` if it is not one."""
        try:
            return cls(**json.loads(text))
        except (TypeError, json.JSONDecodeError) as error:
            names = ", ".join(field.name for field in dataclasses.fields(cls))
            raise ValueError(f"A kept board must be JSON with {names} ({error})") from error


def board_file_name(name: str) -> str:
    """Of the kept result of a board."""
    return f"board-{name}.json"


def kept_quality(name: str) -> BoardQuality | None:
    """What is kept of the board, in a checkout or an installed wheel; None if nothing is."""
    for folder in (_PORTION / "qor", _PORTION.parents[1] / "qor"):
        path = folder / board_file_name(name)
        if path.is_file():
            return BoardQuality.from_json(path.read_text())
    return None


def board_status(board: BoardDescription) -> str:
    """Whether there is a bitstream, and what its clock could be; if there is none, why."""
    if board.obstacle:
        return board.obstacle
    kept = kept_quality(board.name)
    return "not built here yet" if kept is None else f"built, Fmax {kept.fmax_mhz:.1f} MHz"


def measure_board(name: str, build_dir: Path | None = None, *, announce: Callable[[str], None] = print) -> BoardQuality:
    """Build the board, or take the build that is there already if it would be the same."""
    result = build(name, build_dir, announce=announce)
    return BoardQuality.of(result.report, [tool.version() for tool in find_board(name).flow.tools])


def board_changes(name: str, kept: BoardQuality, quality: BoardQuality) -> list[str]:
    """What has become worse than in the kept result: any clock that is lower, the rest beyond the tolerance."""
    worse = []
    if quality.clock_mhz < kept.clock_mhz:
        worse.append(f"board {name}: clock_mhz must be {kept.clock_mhz:g}, and is missed: {quality.clock_mhz:g}")
    for resource in ("lut", "ff", "ram", "dsp"):
        before, after = getattr(kept, resource), getattr(quality, resource)
        if after > before * (1 + SIZE_TOLERANCE):
            worse.append(f"board {name}: {resource} has grown from {before} to {after}")
    if quality.fmax_mhz < kept.fmax_mhz * (1 - FMAX_TOLERANCE):
        worse.append(f"board {name}: fmax_mhz has fallen from {kept.fmax_mhz:.1f} to {quality.fmax_mhz:.1f}")
    for quantity in ("neurons", "synapses"):
        before, after = getattr(kept, quantity), getattr(quality, quantity)
        if after < before:
            worse.append(f"board {name}: {quantity} have become fewer, {after} after {before}")
    return worse
