"""Links to the host on a board: the design of each kind, and how its pins meet the pins of the board.

A kind of link is one entry of `LINES`. Its gateware is in `spikeloom.hdl.host` and `spikeloom.hdl.top`; the boards that
have it are in `spikeloom.boards.targets`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth.build import Attrs
from amaranth.hdl import Module
from amaranth.lib import io
from amaranth.lib.wiring import Component
from amaranth_boards.resources import UARTResource

from spikeloom.boards.targets.board import BoardDescription
from spikeloom.sim.host.identity import LinkKind

__all__ = ["LINES", "Line"]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A kind of link on boards.

    Parameters
    ----------
    design : callable
        Constructor of the fabric with this link for a board and an identity of 16 bytes.
    connect : callable
        Add to the module of the top whatever stands between the design and the pins of the board: given the module, the
        platform, the board and the design, which is a submodule already.
    """

    design: Callable[[BoardDescription, bytes], Component]
    connect: Callable[[Module, Any, BoardDescription, Any], None]


def _uart_design(board: BoardDescription, identity: bytes) -> Component:
    from spikeloom.hdl.top.top import Top

    return Top(
        board.buildable_fabric(), board.divisor, identity, link_kind=board.link_kind, clock_hz=round(board.clock_hz)
    )


def _connect_uart(m: Module, platform: Any, board: BoardDescription, design: Any) -> None:
    uart = _serial_line(platform, board)
    m.submodules.rx_buffer = rx_buffer = io.Buffer("i", uart.rx)
    m.submodules.tx_buffer = tx_buffer = io.Buffer("o", uart.tx)
    m.d.comb += [design.rx.eq(rx_buffer.i), tx_buffer.o.eq(design.tx)]


def _serial_line(platform: Any, board: BoardDescription) -> Any:
    pins = board.serial
    if pins is None:
        return platform.request("uart", 0, dir="-")
    # Pins of a connector have no I/O standard of their own; serial adapters work at 3.3 V.
    attributes = {"ecp5": {"IO_TYPE": "LVCMOS33"}, "ice40": {"IO_STANDARD": "SB_LVCMOS"}}[board.flow.pll]
    line = UARTResource(0, rx=pins.rx, tx=pins.tx, conn=pins.connector, attrs=Attrs(**attributes))
    platform.add_resources([line])
    return platform.request("uart", 0, dir="-")


LINES = {LinkKind.UART: Line(design=_uart_design, connect=_connect_uart)}
"""The kinds of links that can be built."""
