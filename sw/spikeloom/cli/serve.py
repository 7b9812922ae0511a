"""``spikeloom serve``: a simulated board behind a pseudo-terminal."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Annotated

import typer

from spikeloom.cli.choosing import built_fabric
from spikeloom.cli.options import out

__all__ = ["serve"]


def serve(board: Annotated[str, typer.Argument(help="Name of the board, see: spikeloom boards")]) -> None:
    """Simulate a board behind a pseudo-terminal, which `spikeloom run --port` takes for a serial port."""
    from spikeloom.simulators.virtual_board import VirtualBoard

    with VirtualBoard(built_fabric(board), Path("build/serve"), announce=out.print) as running:
        out.print(f"{board} is at {running.port}; Ctrl-C ends it\nspikeloom run --board {board} --port {running.port}")
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
