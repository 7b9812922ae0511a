"""The boards that are known, by name: all of amaranth-boards that have an open toolchain."""

import difflib

from spikeloom.boards.targets.board import BoardDescription
from spikeloom.boards.targets.ecp5 import ECP5_BOARDS
from spikeloom.boards.targets.gowin import GOWIN_BOARDS
from spikeloom.boards.targets.ice40 import ICE40_BOARDS

__all__ = ["BOARDS", "find_board"]

BOARDS: dict[str, BoardDescription] = {board.name: board for board in (*ECP5_BOARDS, *ICE40_BOARDS, *GOWIN_BOARDS)}


def find_board(name: str) -> BoardDescription:
    """The board of that name.

    Raises ``ValueError`` with names like it, or with what keeps a bitstream from being built.
    """
    if name not in BOARDS:
        near = difflib.get_close_matches(name, BOARDS, n=3)
        hint = f", perhaps {' or '.join(near)}" if near else ""
        raise ValueError(f"Board must be one that 'spikeloom boards' lists{hint}, not {name!r}")
    board = BOARDS[name]
    board.buildable_fabric()
    return board
