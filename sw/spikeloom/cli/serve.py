"""``spikeloom serve``: simulate a board behind a pseudo-terminal."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import Annotated

import typer

from spikeloom.cli.choosing import built
from spikeloom.cli.console import note, out
from spikeloom.cli.options import Hardware, LinkOption
from spikeloom.cli.signals import orderly

__all__ = ["serve"]


def serve(
    board: Annotated[str, typer.Argument(metavar="BOARD", help="Name of the board, see: spikeloom boards")],
    fabric: Annotated[
        str | None,
        typer.Option(
            help="fabric.json or folder of a build, or a named fabric; default: build/BOARD.",
            show_default=False,
        ),
    ] = None,
    link: LinkOption = None,
    seed: Annotated[
        int,
        typer.Option(min=1, max=(1 << 31) - 1, help="Seed of what memories and registers hold before loading."),
    ] = 1,
) -> None:
    """Simulate a board behind a pseudo-terminal, which `spikeloom run --port` uses like a serial port."""
    from spikeloom.simulators.virtual_board import VirtualBoard

    held = built(Hardware(board=board, link=link, fabric=fabric))
    board_of_build = VirtualBoard(
        held.fabric, Path("build/serve"), build_hash=held.build_hash, random_start=seed, announce=note
    )
    # A program that reads the printed port may send a signal at once, so signals are handled before it is printed.
    with board_of_build as running, contextlib.suppress(KeyboardInterrupt), orderly():
        # The printed path is a stable link; the pseudo-terminal behind it changes with each start.
        # The printed command needs the same options to select the same fabric.
        options = {"board": board, "link": link, "fabric": fabric, "port": f"{running.link}"}
        given = [f"--{name} {shlex.quote(value)}" for name, value in options.items() if value is not None]
        out.print(f"{board} is at {running.link}; press Ctrl-C to stop")
        out.print(f"spikeloom run {' '.join(given)}", soft_wrap=True)
        running.wait()
    note(f"{board} has ended")
