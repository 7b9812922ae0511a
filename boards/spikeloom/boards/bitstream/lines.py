"""Links to the host on a board: the design of each kind, and how its pins meet the pins of the board.

A kind of link is one entry of `LINES`. Its gateware is in `spikeloom.hdl.host` and `spikeloom.hdl.top`; the boards that
have it are in `spikeloom.boards.targets`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth.build import Attrs, Resource, Subsignal
from amaranth.hdl import Const, Instance, Module, Signal
from amaranth.lib import io
from amaranth.lib.wiring import Component
from amaranth_boards.resources import UARTResource

from spikeloom.boards.families.flow import ToolError
from spikeloom.boards.families.pll import USB_BIT_HZ, USB_HZ, phy_clock, received_clock, usb_clocks, usb_clocks_of_ice40
from spikeloom.boards.targets.board import BoardDescription, UlpiPins
from spikeloom.sim.host.ethernet import ETHERNET_HZ
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.host.usb import HIGH_SPEED_HZ

__all__ = ["LINES", "Line"]


_PHY_RESET_S = 20e-3
"""Duration of the reset of a PHY; data sheets of those for Ethernet ask for 10 ms."""
_ULPI_START_S = 5e-3
"""Time from the end of its reset to the first command to a PHY for USB, and to a stable clock of it."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A kind of link on boards.

    Parameters
    ----------
    design : callable
        Constructor of the fabric with this link for a board and an identity of 16 bytes.
    connect : callable
        Called with the top module, the platform, the board, the design (already a submodule) and, if the fabric has a
        PLL, the clock of the oscillator; adds what stands between the design and the pins of the board.
    """

    design: Callable[[BoardDescription, bytes], Component]
    connect: Callable[[Module, Any, BoardDescription, Any, Any], None]


def _uart_design(board: BoardDescription, identity: bytes) -> Component:
    from spikeloom.hdl.top.top import Top

    return Top(
        board.buildable_fabric(), board.divisor, identity, link_kind=board.link_kind, clock_hz=round(board.clock_hz)
    )


def _add_supply(m: Module, platform: Any, board: BoardDescription) -> Any:
    """Start the converters of I/O banks that the link needs; return whether they have started, 1 without any."""
    from spikeloom.hdl.tech.supply import SupplyControl

    supply = board.supply
    if supply is None or board.link_kind not in supply.volts:
        return Const(1)
    m.submodules.supply = control = SupplyControl(
        tuple(supply.share(volts) for volts in supply.volts[board.link_kind]),
        settle_cycles=round(supply.settle_s * board.clock_hz),
        start_cycles=round(supply.start_s * board.clock_hz),
    )
    pins = platform.request(supply.resource, 0, dir="-")
    m.submodules.supply_buffer = pulses = io.Buffer("o", pins.pdm)
    m.submodules.supply_enable_buffer = enable = io.Buffer("o", pins.en)
    m.d.comb += [pulses.o.eq(control.pulses), enable.o.eq(control.enable)]
    return control.is_good


def _connect_uart(m: Module, platform: Any, board: BoardDescription, design: Any, oscillator: Any) -> None:
    _add_supply(m, platform, board)
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


def _usb_design(board: BoardDescription, identity: bytes) -> Component:
    try:
        import luna  # noqa: F401 (contains the core of the USB device)
    except ModuleNotFoundError as error:
        raise ToolError(
            "The link usb needs the package luna-usb, which is not installed; install it with: "
            "pip install 'spikeloom[boards]'"
        ) from error
    from spikeloom.hdl.top.ulpi_top import UlpiTop
    from spikeloom.hdl.top.usb_top import UsbTop

    fabric, clock_hz = board.buildable_fabric(), round(board.clock_hz)
    if isinstance(board.usb, UlpiPins):
        return UlpiTop(fabric, board.usb_device, identity, clock_hz=clock_hz, registers=board.usb.registers)
    return UsbTop(fabric, board.usb_device, identity, clock_hz=clock_hz)


def _connect_usb(m: Module, platform: Any, board: BoardDescription, design: Any, oscillator: Any) -> None:
    assert board.usb is not None
    assert oscillator is not None
    _connect_flash(m, platform, board, design)
    if isinstance(board.usb, UlpiPins):
        _connect_ulpi(m, platform, board, board.usb, design, oscillator)
        return
    if board.shares_pll:
        fabric, fast, slow = usb_clocks_of_ice40(m, board.oscillator_hz, oscillator)
        platform.add_clock_constraint(fabric, board.clock_hz)
    else:
        fast, slow = usb_clocks(m, board.flow.pll, board.oscillator_hz, oscillator)
    platform.add_clock_constraint(fast, USB_HZ)
    platform.add_clock_constraint(slow, USB_BIT_HZ)
    usb = platform.request("usb", board.usb.number, dir="-")
    m.submodules.dp_buffer = dp = io.Buffer("io", usb.d_p)
    m.submodules.dn_buffer = dn = io.Buffer("io", usb.d_n)
    m.submodules.pullup_buffer = pullup = io.Buffer("o", usb.pullup[0])
    for number in range(1, len(usb.pullup)):
        m.submodules[f"pulldown_buffer_{number}"] = unused = io.Buffer("o", usb.pullup[number])
        m.d.comb += unused.oe.eq(0)
    m.d.comb += [
        *(design.dp_i.eq(dp.i), dp.o.eq(design.dp_o), dp.oe.eq(design.oe)),
        *(design.dn_i.eq(dn.i), dn.o.eq(design.dn_o), dn.oe.eq(design.oe)),
        # The first pin drives the pull-up resistor of D+. The resistor of D-, which would signal low speed, is never
        # driven. Neither is that of D+ while the device is detached: pulled low, it would look like a host.
        pullup.o.eq(1),
        pullup.oe.eq(design.pullup),
    ]


def _connect_flash(m: Module, platform: Any, board: BoardDescription, design: Any) -> None:
    """Connect the pins by which the USB device reads its serial number, if it does, to the flash chip."""
    if not board.usb_device.flash_serial:
        return
    name = next(name for name in ("spi_flash", "spi_flash_1x") if (name, 0) in platform.resources)
    found = platform.lookup(name, 0)
    parts = {part.name: part for part in found.ios if isinstance(part, Subsignal)}
    # The clock of an ECP5 is at no ordinary pin, though some platforms list it: a resource of its own leaves it out.
    wanted = ["cs", "copi", "cipo", *(name for name in ("wp", "hold") if name in parts)]
    if board.flow.pll != "ecp5":
        wanted.append("clk")
    # Attributes of the whole resource may follow its parts.
    attributes = [attrs for attrs in (found.attrs,) if attrs]
    platform.add_resources([Resource("serial_flash", 0, *(parts[name] for name in wanted), *attributes)])
    pins = platform.request("serial_flash", 0, dir="-")
    m.submodules.flash_cs_buffer = cs = io.Buffer("o", pins.cs)
    m.submodules.flash_copi_buffer = copi = io.Buffer("o", pins.copi)
    m.submodules.flash_cipo_buffer = cipo = io.Buffer("i", pins.cipo)
    m.d.comb += [cs.o.eq(design.flash_cs), copi.o.eq(design.flash_copi), design.flash_cipo.eq(cipo.i)]
    for name in ("wp", "hold"):  # never asserted
        if name in parts:
            m.submodules[f"flash_{name}_buffer"] = io.Buffer("o", getattr(pins, name))
    if board.flow.pll == "ecp5":
        m.submodules.flash_clock = Instance("USRMCLK", i_USRMCLKI=design.flash_clk, i_USRMCLKTS=Const(0))
    else:
        m.submodules.flash_clk_buffer = clk = io.Buffer("o", pins.clk)
        m.d.comb += clk.o.eq(design.flash_clk)


def _connect_ulpi(
    m: Module, platform: Any, board: BoardDescription, usb: UlpiPins, design: Any, oscillator: Any
) -> None:
    pins = platform.request(usb.resource, usb.number, dir="-")
    # The PHY is reset with the fabric, and until its pins have their supply. Its clock is stable, and the first command
    # allowed, some time later.
    start, whole = (round(seconds * board.clock_hz) for seconds in (_ULPI_START_S, _ULPI_START_S + _PHY_RESET_S))
    count = Signal(range(whole + 1), init=whole)
    runs = Signal()
    is_supplied = _add_supply(m, platform, board)
    with m.If(count != 0):
        m.d.sync += count.eq(count - is_supplied)
    with m.Else():
        m.d.sync += runs.eq(1)
    m.submodules.phy_reset_buffer = reset = io.Buffer("o", pins.rst)
    m.d.comb += reset.o.eq(count > start)
    if usb.drives_clock:
        platform.add_clock_constraint(
            phy_clock(m, board.flow.pll, board.oscillator_hz, oscillator, runs), HIGH_SPEED_HZ
        )
        # From a register at the pin. Those of the other pins are farther away, so that their outputs change after the
        # edge of this clock at which the PHY samples the levels before.
        m.submodules.phy_clock_buffer = clock_output = io.DDRBuffer("o", pins.clk, o_domain="usb")
        m.d.comb += [clock_output.o[0].eq(1), clock_output.o[1].eq(0)]
    else:
        m.submodules.phy_clock_buffer = clock_buffer = io.Buffer("i", pins.clk)
        received_clock(m, clock_buffer.i, runs, "usb")
        platform.add_clock_constraint(pins.clk.io, HIGH_SPEED_HZ)
    m.submodules.data_buffer = data = io.Buffer("io", pins.data)
    m.submodules.dir_buffer = direction = io.Buffer("i", pins.dir)
    m.submodules.nxt_buffer = nxt = io.Buffer("i", pins.nxt)
    m.submodules.stp_buffer = stp = io.Buffer("o", pins.stp)
    m.d.comb += [
        *(design.data_i.eq(data.i), data.o.eq(design.data_o), data.oe.eq(design.data_oe)),
        *(design.dir.eq(direction.i), design.nxt.eq(nxt.i), stp.o.eq(design.stp)),
    ]


def _udp_design(board: BoardDescription, identity: bytes) -> Component:
    from spikeloom.hdl.top.ethernet_top import EthernetTop

    return EthernetTop(board.buildable_fabric(), board.ethernet_device, identity, clock_hz=round(board.clock_hz))


def _connect_udp(m: Module, platform: Any, board: BoardDescription, design: Any, oscillator: Any) -> None:
    from spikeloom.hdl.host.rgmii import Rgmii

    assert board.ethernet is not None
    pins = platform.request("eth_rgmii", board.ethernet.number, dir="-")
    # The PHY is reset with the fabric, and for a while after it.
    count = Signal(range(round(_PHY_RESET_S * board.clock_hz) + 1), init=round(_PHY_RESET_S * board.clock_hz))
    runs = Signal()
    with m.If(count != 0):
        m.d.sync += count.eq(count - 1)
    with m.Else():
        m.d.sync += runs.eq(1)
    if hasattr(pins, "rst"):
        m.submodules.phy_reset_buffer = reset = io.Buffer("o", pins.rst)
        m.d.comb += reset.o.eq(~runs)
    m.submodules.rx_clock_buffer = clock = io.Buffer("i", pins.rx_clk)
    received_clock(m, clock.i, runs)
    # At the pin, because nextpnr finds no net by this clock's name; those of PLLs it derives.
    platform.add_clock_constraint(pins.rx_clk.io, ETHERNET_HZ)
    m.submodules.rgmii = rgmii = Rgmii(rx_delay_s=board.ethernet.rx_delay_s, tx_delay_s=board.ethernet.tx_delay_s)
    # Two names are common.
    rx_control, tx_control = (
        getattr(pins, f"{way}_ctl") if hasattr(pins, f"{way}_ctl") else getattr(pins, f"{way}_ctrl")
        for way in ("rx", "tx")
    )
    m.submodules.rx_control_buffer = rx_control_buffer = io.Buffer("i", rx_control)
    m.submodules.rx_data_buffer = rx_data_buffer = io.Buffer("i", pins.rx_data)
    m.submodules.tx_clock_buffer = tx_clock_buffer = io.Buffer("o", pins.tx_clk)
    m.submodules.tx_control_buffer = tx_control_buffer = io.Buffer("o", tx_control)
    m.submodules.tx_data_buffer = tx_data_buffer = io.Buffer("o", pins.tx_data)
    m.d.comb += [
        rgmii.rx_control.eq(rx_control_buffer.i),
        rgmii.rx_nibble.eq(rx_data_buffer.i),
        tx_clock_buffer.o.eq(rgmii.tx_clock),
        tx_control_buffer.o.eq(rgmii.tx_control),
        tx_data_buffer.o.eq(rgmii.tx_nibble),
        design.rx_data.eq(rgmii.rx_data),
        design.rx_valid.eq(rgmii.rx_valid),
        design.rx_error.eq(rgmii.rx_error),
        rgmii.tx_data.eq(design.tx_data),
        rgmii.tx_valid.eq(design.tx_valid),
    ]


LINES = {
    LinkKind.UART: Line(design=_uart_design, connect=_connect_uart),
    LinkKind.USB: Line(design=_usb_design, connect=_connect_usb),
    LinkKind.UDP: Line(design=_udp_design, connect=_connect_udp),
}
"""The kinds of links that can be built."""
