"""``spikeloom boards``: list the boards and the capacity of each."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from spikeloom.cli.console import figures, out, print_json, printable
from spikeloom.cli.options import JsonOption
from spikeloom.datasets.inputs import InputError

__all__ = ["boards"]

_COLUMNS = ("board", "FPGA", "clock", "fabric", "links", "line", "status")


def boards(
    link: Annotated[
        str | None,
        typer.Option(
            help="List only the boards with this link, each with the fabric that it leaves room for.",
            metavar="KIND",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the boards with FPGA, clock, links to the host and build status."""
    from spikeloom.boards.qor.boards import board_status
    from spikeloom.boards.targets.registry import all_boards

    rows, entries = [], []
    kinds = sorted({kind for board in all_boards().values() for kind in board.links})
    if link not in (None, *(kind.option for kind in kinds)):
        raise InputError(f"link must be {' or '.join(kind.option for kind in kinds)}, not {link!r}")
    for board in all_boards().values():
        if link is not None:
            if link not in (kind.option for kind in board.links):
                continue
            board = board.with_link(link)
        status = board_status(board)
        entry: dict[str, Any] = {"board": board.name, "title": board.title, "fpga": board.device_name}
        links = ", ".join(kind.option for kind in board.links) or "-"
        entry |= {"link": board.link, "links": [kind.option for kind in board.links]}
        entry |= {"status": status, "buildable": not board.obstacle}
        clock, held = "-", "-"
        if not board.obstacle:
            fabric = board.buildable_fabric()
            lanes = fabric.core.lanes
            added = fabric.synaptic_operations_per_cycle
            held = f"{added} weight{'s' * (added > 1)} per cycle, {fabric.synapses:,} synapses"
            clock = f"{figures(board.clock_hz / 1e6)} MHz"
            entry |= {"clock_mhz": board.clock_hz / 1e6, "lanes": lanes, "weights_per_cycle": added}
            entry |= {"neurons": fabric.neurons, "synapses": fabric.synapses}
        entries.append(entry)
        rows.append((board.name, board.device_name, clock, held, links, board.link, status))
    if as_json:
        print_json({"boards": entries})
    elif out.is_terminal:
        table = Table(title="boards", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for column in _COLUMNS:
            table.add_column(column, no_wrap=column in ("board", "FPGA", "clock"))
        for row in rows:
            table.add_row(*row)
        out.print(table)
    else:
        _print_lines([_COLUMNS, *rows])


def _print_lines(rows: list[tuple[str, ...]]) -> None:
    """Print one line per row, without wrapping, so that ``grep`` finds whole rows."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        print(printable("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()))
