"""``spikeloom boards``: the boards and what each of them holds."""

from __future__ import annotations

from rich import box
from rich.table import Table

from spikeloom.cli.options import out

__all__ = ["boards"]


def boards() -> None:
    """List the boards: FPGA, clock, how the host gets at it, and whether a bitstream can be built."""
    from spikeloom.boards.qor.boards import board_status
    from spikeloom.boards.targets.registry import all_boards

    table = Table(title="boards", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("board", "FPGA", "clock"):
        table.add_column(column, no_wrap=True)
    for column in ("fabric", "link", "status"):
        table.add_column(column)
    for board in all_boards().values():
        clock, held = "-", "-"
        if not board.obstacle:
            fabric = board.buildable_fabric()
            lanes = f"{fabric.core.lanes} lane{'s' * (fabric.core.lanes > 1)}"
            held = f"{lanes}, {fabric.synapses:,} synapses"
            clock = f"{board.clock_hz / 1e6:.3g} MHz"
        table.add_row(board.name, board.device_name, clock, held, board.link, board_status(board))
    out.print(table)
