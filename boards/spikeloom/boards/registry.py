"""The boards that bitstreams can be built for, by name."""

from spikeloom.boards import icebreaker, ulx3s_85f
from spikeloom.boards.board import BoardDescription

__all__ = ["BOARDS", "find_board"]

BOARDS: dict[str, BoardDescription] = {module.BOARD.name: module.BOARD for module in (icebreaker, ulx3s_85f)}


def find_board(name: str) -> BoardDescription:
    """The board of that name, or ``ValueError`` with the names that there are."""
    if name not in BOARDS:
        raise ValueError(f"Board must be one of {', '.join(sorted(BOARDS))}, not {name!r}")
    return BOARDS[name]
