"""Tables of boards in ``docs/boards-*.md``, written by ``python -m spikeloom.boards.targets.pages``; a test checks that
they are current."""

from pathlib import Path

from spikeloom.boards.targets.board import BoardDescription
from spikeloom.boards.targets.registry import BOARDS
from spikeloom.sim.lib.files import write_whole

__all__ = ["PAGES", "with_tables"]

PAGES = {"ecp5": "docs/boards-ecp5.md", "ice40": "docs/boards-ice40.md", "gowin": "docs/boards-gowin.md"}
"""Page of each family, by the name of its PLL in `spikeloom.boards.families.pll`."""

_BEGIN = "<!-- boards: python -m spikeloom.boards.targets.pages -->\n"
_END = "<!-- end of boards -->\n"


def with_tables(page: str, family: str) -> str:
    """Return ``page`` with the tables of ``family`` between its marks. Raises ``ValueError`` if they are missing."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"page must have the marks {_BEGIN.strip()!r} and {_END.strip()!r}")
    boards = [board for board in BOARDS.values() if board.flow.pll == family]
    rows = ["| board | FPGA | clock | general fabric | serial line | loader |", "|---|---|---|---|---|---|"]
    rows += [_row(board) for board in boards if not board.obstacle]
    missing = [f"* `{board.name}` ({board.title}): {board.obstacle}." for board in boards if board.obstacle]
    if missing:
        missing = ["", "No bitstream can be built for", "", *missing]
    return before + begin + "\n".join(["", *rows, *missing, ""]) + "\n" + end + after


def _row(board: BoardDescription) -> str:
    fabric = board.buildable_fabric()
    lanes = f"{fabric.core.lanes} lane{'s' * (fabric.core.lanes > 1)}"
    added = fabric.synaptic_operations_per_cycle
    if added > fabric.core.lanes:
        lanes += f" ({added} weights per cycle)"
    held = f"{lanes}, {fabric.neurons:,} neurons, {fabric.synapses:,} synapses"
    command = " ".join(board.flash_command).replace(" {bitstream}", "").replace("{bitstream}", "...")
    clock = f"{board.clock_hz / 1e6:.3g} MHz"
    return (
        f"| `{board.name}`: {board.title} | {board.device_name} | {clock} | {held} | {board.link}, "
        f"{board.baud_rate / 1e6:g} Mbaud | `{command}` |"
    )


def main() -> None:
    """Run the command."""
    for family, page in PAGES.items():
        path = Path(page)
        write_whole(path, with_tables(path.read_text(), family))


if __name__ == "__main__":
    main()
