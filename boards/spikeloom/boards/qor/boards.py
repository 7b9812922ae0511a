"""Quality of results of whole boards: how large and how fast the general fabric of each is, kept in ``qor/``.

`MEASURED` are the boards that are built, each with one of its links; ``make qor`` measures them after the blocks, shows
the change, and fails where the median of the seeds misses a clock or has become worse by more than the tolerance.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from spikeloom.boards.bitstream.builder import board_identity, board_plan
from spikeloom.boards.bitstream.steps import BuildSteps
from spikeloom.boards.qor.figures import RESOURCES, SEEDS, Figures, Measured, kept_folder, median, resources_of
from spikeloom.boards.qor.measure import SYNTHESISED, hash_of
from spikeloom.boards.targets.board import BoardDescription
from spikeloom.boards.targets.registry import find_board

__all__ = [
    "MEASURED",
    "BoardQuality",
    "BoardSubject",
    "MeasuredBoard",
    "board_changes",
    "board_status",
    "kept_quality",
]


@dataclass(frozen=True)
class MeasuredBoard:
    """A board that is built, with its default link or another one.

    Parameters
    ----------
    name : str
        Name of the board.
    link : str
        Name of the link, such as ``"usb"``; empty: the default one.
    seeds : int
        Number of seeds: three if one takes over ten minutes.
    """

    name: str
    link: str = ""
    seeds: int = SEEDS

    @property
    def title(self) -> str:
        """Name of the board and, if it is not the default one, of the link."""
        return f"{self.name} {self.link}".rstrip()

    @property
    def file_name(self) -> str:
        """Name of the kept file."""
        return f"board-{self.title.replace(' ', '-')}.json"

    def description(self) -> BoardDescription:
        """Return the board with this link."""
        return find_board(self.name).with_link(self.link or None)


MEASURED = (
    MeasuredBoard("icebreaker"),
    MeasuredBoard("icesugar"),
    MeasuredBoard("upduino-v3"),
    MeasuredBoard("hx8k-b-evn"),
    MeasuredBoard("tinyfpga-bx"),
    MeasuredBoard("ulx3s-12f"),
    MeasuredBoard("colorlight-5a75b"),
    MeasuredBoard("icesugar-pro"),
    MeasuredBoard("ulx3s-85f", seeds=3),
    MeasuredBoard("orangecrab-85f"),
    MeasuredBoard("orangecrab-85f", "usb"),
    MeasuredBoard("ecpix5-85"),
    MeasuredBoard("ecpix5-85", "udp"),
    MeasuredBoard("tang-nano-9k"),
    MeasuredBoard("tang-primer-20k"),
)

SIZE_TOLERANCE = 0.05
"""Maximum relative growth of a resource against the kept file."""
FMAX_TOLERANCE = 0.10
"""Maximum relative loss of the median Fmax against the kept file, provided that the clock of the board is met."""


@dataclass(frozen=True, kw_only=True)
class BoardQuality(Figures):
    """Size, capacity and speed of the general fabric of a board.

    ``clock_mhz`` is the clock of the board's description, which place and route aims at; ``seeds`` and the Fmax are of
    this clock. ``clocks`` has the median Fmax of each clock in MHz, and ``constraints`` what each must reach.
    """

    kind: ClassVar = "board"
    clock_mhz: float
    clocks: dict[str, float]
    neurons: int
    synapses: int
    constraints: dict[str, float] = field(default_factory=dict)


class BoardSubject:
    """The general fabric of a board, to be measured (`spikeloom.boards.qor.campaign.Subject`)."""

    def __init__(self, measured: MeasuredBoard):
        self.title = f"board {measured.title}"
        self.file_name = measured.file_name
        self.seeds = measured.seeds
        self._measured = measured
        self._board = measured.description()
        self._steps: BuildSteps | None = None

    def read(self, text: str) -> BoardQuality:
        """Parse a kept file. Raises ``ValueError`` for other content."""
        return BoardQuality.from_json(text)

    def tools(self) -> list[str]:
        """Return the tools of the build, with their versions."""
        return [tool.version() for tool in self._board.flow.tools]

    def netlist(self) -> str:
        """Return the hash of netlist, constraints and commands, with an identity of zeros."""
        files = board_plan(self._board, bytes(16)).files
        # The shell scripts repeat the commands in JSON.
        named = [(name, files[name]) for name in sorted(files) if not name.endswith((".sh", ".bat"))]
        return hash_of(part for pair in named for part in pair)

    def synthesise(self, folder: Path, announce: Callable[[str], None]) -> None:
        """Synthesise the netlist of the bitstream in ``folder`` unless it exists. Raises `BuildError`."""
        plan = board_plan(self._board, board_identity(self._board))
        self._steps = BuildSteps(self._board, plan, folder, folder, announce)
        if not (folder / SYNTHESISED).exists():
            self._steps.synthesise()
            (folder / SYNTHESISED).touch()

    def route(self, folder: Path, seed: int) -> Measured:
        """Place and route the result of `synthesise` as for a bitstream. Raises `BuildError`."""
        assert self._steps is not None
        begin = time.monotonic()
        routed = self._steps.route(seed)
        return Measured(
            **{name: routed.resources[name].used for name in RESOURCES},
            clocks={clock.name: clock.achieved_mhz for clock in routed.clocks},
            constraints={clock.name: clock.constraint_mhz for clock in routed.clocks},
            seconds=round(time.monotonic() - begin, 1),
        )

    def stop(self, seed: int) -> None:
        """End the place and route of ``seed``."""
        if self._steps is not None:
            self._steps.stop(seed)

    def figures(self, measured: dict[int, Measured], netlist: str, commit: str) -> BoardQuality:
        """Return the figures to be kept."""
        fabric, clock_mhz = self._board.buildable_fabric(), round(self._board.clock_hz / 1e6, 3)
        first = next(iter(measured.values()))
        fabric_clock = min(first.clocks, key=lambda name: abs(first.constraints.get(name, clock_mhz) - clock_mhz))
        return BoardQuality(
            **resources_of(measured),
            seeds={str(seed): one.clocks[fabric_clock] for seed, one in sorted(measured.items())},
            clocks={name: median((one.clocks[name] for one in measured.values()), 2) for name in first.clocks},
            constraints=first.constraints,
            tools=self.tools(),
            netlist=netlist,
            commit=commit,
            clock_mhz=clock_mhz,
            neurons=fabric.neurons,
            synapses=fabric.synapses,
        )

    def wrong(self, kept: BoardQuality | None, quality: BoardQuality) -> list[str]:
        """Return one sentence for each problem with the figures, compared with those that were kept."""
        return board_changes(self._measured.title, quality if kept is None else kept, quality)


def kept_quality(name: str, link: str = "") -> BoardQuality | None:
    """Return the kept figures of a board with a link, from a checkout or an installed wheel; None if there are none."""
    path = kept_folder() / MeasuredBoard(name, link).file_name
    return BoardQuality.from_json(path.read_text()) if path.is_file() else None


def board_status(board: BoardDescription) -> str:
    """Return whether a bitstream can be built, with its Fmax, or the reason why there is none."""
    if board.obstacle:
        return board.obstacle
    link = "" if board.link_kind is board.links[0] else board.link_kind.option
    kept = kept_quality(board.name, link)
    return "not built here yet" if kept is None else f"built, Fmax {kept.fmax_mhz:.1f} MHz"


def board_changes(name: str, kept: BoardQuality, quality: BoardQuality) -> list[str]:
    """Return one sentence for each figure that is worse than the kept one: the clock of the board and the capacity
    without tolerance, size and Fmax beyond the tolerance; and one if the median misses the clock."""
    worse = []
    if quality.fmax_mhz < quality.clock_mhz:
        worse.append(
            f"board {name}: the median of the seeds must reach {quality.clock_mhz:g} MHz, not {quality.fmax_mhz:g} MHz"
        )
    worse += [
        f"board {name}: the median of {clock} must reach {quality.constraints[clock]:g} MHz, not {reached:g} MHz"
        for clock, reached in quality.clocks.items()
        if reached < quality.constraints.get(clock, 0) and reached != quality.fmax_mhz
    ]
    if quality.clock_mhz < kept.clock_mhz:
        worse.append(f"board {name}: clock_mhz has fallen from {kept.clock_mhz:g} to {quality.clock_mhz:g}")
    for resource in ("lut", "ff", "ram", "dsp"):
        before, after = getattr(kept, resource), getattr(quality, resource)
        if after > before * (1 + SIZE_TOLERANCE):
            worse.append(f"board {name}: {resource} has grown from {before:,} to {after:,}")
    if quality.fmax_mhz < kept.fmax_mhz * (1 - FMAX_TOLERANCE):
        worse.append(f"board {name}: fmax_mhz has fallen from {kept.fmax_mhz:.1f} to {quality.fmax_mhz:.1f}")
    for quantity in ("neurons", "synapses"):
        before, after = getattr(kept, quantity), getattr(quality, quantity)
        if after < before:
            worse.append(f"board {name}: {quantity} have fallen from {before:,} to {after:,}")
    return worse
