"""``spikeloom flash``: load a bitstream into a board."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spikeloom.cli.console import note, out

__all__ = ["load_board"]


def load_board(
    board: Annotated[str, typer.Argument(help="Name of the board, see: spikeloom boards.")],
    build: Annotated[
        Path | None, typer.Option(help="Build directory; default: build/BOARD.", show_default=False)
    ] = None,
) -> None:
    """Load a bitstream that was built before into a board."""
    from spikeloom.boards.bitstream.flash import flash

    flash(board, build, announce=note)
    out.print(f"{board} is loaded\nspikeloom run --board {board} --port ...")
