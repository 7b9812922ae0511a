"""Registry of boards by name: all boards of amaranth-boards with an open toolchain, and boards of installed packages.

A package adds boards by an entry point in the group ``spikeloom.boards`` that refers to a `BoardDescription`, or to
several of them::

    [project.entry-points."spikeloom.boards"]
    my-boards = "my_package.boards:BOARDS"
"""

import difflib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from spikeloom.boards.targets.board import BoardDescription
from spikeloom.boards.targets.ecp5 import ECP5_BOARDS
from spikeloom.boards.targets.gowin import GOWIN_BOARDS
from spikeloom.boards.targets.ice40 import ICE40_BOARDS

__all__ = ["BOARDS", "ENTRY_POINTS", "all_boards", "find_board"]

ENTRY_POINTS = "spikeloom.boards"
"""Entry point group for boards of other packages."""

BOARDS: dict[str, BoardDescription] = {board.name: board for board in (*ECP5_BOARDS, *ICE40_BOARDS, *GOWIN_BOARDS)}
"""Built-in boards."""


@cache
def all_boards() -> dict[str, BoardDescription]:
    """Return `BOARDS` and the boards of installed packages, by name.

    Raises ``ValueError`` if an entry point does not refer to boards, or if two boards have the same name.
    """
    boards = dict(BOARDS)
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: (point.name, point.value)):
        for board in _boards_of(point):
            if board.name in boards:
                raise ValueError(f"Board {board.name!r} of entry point {point.value!r} must have a name of its own")
            boards[board.name] = board
    return boards


def _boards_of(point: EntryPoint) -> tuple[BoardDescription, ...]:
    try:
        found = point.load()
    except Exception as error:  # whatever exception the package raises on import
        raise ValueError(
            f"Entry point {point.value!r} of the group {ENTRY_POINTS} must be importable: {error}; correct its package "
            "or uninstall it"
        ) from error
    boards = tuple(found) if isinstance(found, Iterable) else (found,)
    for board in boards:
        if not isinstance(board, BoardDescription):
            raise ValueError(
                f"Entry point {point.value!r} of the group {ENTRY_POINTS} must lead to BoardDescriptions, not {board!r}"
            )
    return boards


def find_board(name: str) -> BoardDescription:
    """Return the board called ``name``.

    Raises ``ValueError`` with similar names, or with the reason why no bitstream can be built.
    """
    boards = BOARDS if name in BOARDS else all_boards()
    if name not in boards:
        near = difflib.get_close_matches(name, boards, n=3)
        hint = f", perhaps {' or '.join(near)}" if near else ""
        raise ValueError(f"Board must be one that 'spikeloom boards' lists{hint}, not {name!r}")
    board = boards[name]
    board.buildable_fabric()
    return board
