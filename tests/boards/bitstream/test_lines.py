"""Links of the boards: each one offered has a design, and the identity names the link."""

import dataclasses
import re
import sys

import pytest
from amaranth.hdl import Fragment, Module, Signal
from amaranth.lib.wiring import Component, In, Out
from harness.cores import LEAN

from spikeloom.boards.bitstream.builder import board_plan, build
from spikeloom.boards.bitstream.lines import LINES
from spikeloom.boards.families.flow import ToolError
from spikeloom.boards.targets.board import UlpiPins, UsbPins
from spikeloom.boards.targets.registry import BOARDS
from spikeloom.hdl.host.ethernet import GMII_PINS
from spikeloom.hdl.host.flash_id import FLASH_PINS
from spikeloom.hdl.top.ulpi_top import UlpiTop
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.ethernet import UDP_LINK, EthernetParameters
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.host.link import LinkParameters
from spikeloom.sim.host.usb import UsbParameters

FIRST = {kind: name for name, board in reversed(BOARDS.items()) for kind in board.links}
"""A board of each link."""


def test_only_links_with_gateware_are_offered():
    assert {kind for board in BOARDS.values() for kind in board.links} == set(LINES)


@pytest.mark.parametrize("kind", FIRST, ids=lambda kind: kind.option)
def test_the_identity_of_a_design_names_its_link(kind):
    board = BOARDS[FIRST[kind]].with_link(kind.option)
    assert board.link_kind is kind
    design = LINES[kind].design(board, bytes(range(16)))
    Fragment.get(design, None)  # an unused design causes a warning
    assert design.identity.link_kind is kind
    assert design.identity.build_hash == bytes(range(16))
    assert design.identity.clock_hz == round(board.clock_hz)
    assert LinkKind[kind.option.upper()] is kind


class UsbEcho(Component):
    """The pins of a USB device, with only the three clocks behind them."""

    def __init__(self):
        pins = {"dp_i": In(1), "dn_i": In(1), "dp_o": Out(1), "dn_o": Out(1), "oe": Out(1), "pullup": Out(1)}
        super().__init__(pins)

    def elaborate(self, platform):
        m = Module()
        m.d.usb_io += [self.dp_o.eq(self.dp_i), self.dn_o.eq(self.dn_i)]
        m.d.usb += self.oe.eq(~self.oe)
        m.d.sync += self.pullup.eq(~self.pullup)
        return m


class UlpiEcho(Component):
    """The pins of a PHY for USB, with only the two clocks behind them."""

    def __init__(self):
        pins = {"data_i": In(8), "data_o": Out(8), "data_oe": Out(1), "dir": In(1), "nxt": In(1), "stp": Out(1)}
        super().__init__(pins)

    def elaborate(self, platform):
        m = Module()
        m.d.usb += [self.data_o.eq(self.data_i), self.data_oe.eq(self.dir)]
        m.d.sync += self.stp.eq(self.nxt)
        return m


@pytest.mark.parametrize("name", [name for name, board in BOARDS.items() if isinstance(board.usb, UlpiPins)])
def test_a_board_with_a_phy_for_usb_has_its_pins_and_clocks(name):
    board = BOARDS[name].with_link("usb")
    assert isinstance(board.usb, UlpiPins)
    assert board.link == board.usb.where
    assert board.buildable_fabric().link == UDP_LINK
    if LinkKind.UDP in board.links:
        assert board.buildable_fabric() == BOARDS[name].with_link("udp").buildable_fabric()
    plan = board_plan(board, bytes(16), design=lambda board, identity: UlpiEcho())
    constraints, netlist = plan.files["top.lpf"], plan.files["top.il"]
    for pin in ("rst", "clk", "dir", "nxt", "stp", "data"):
        assert f"ulpi_0__{pin}__io" in constraints
    clock = 'NET "phy_clock"' if board.usb.drives_clock else 'PORT "ulpi_0__clk__io"'
    assert f"{clock} 60000000.0 HZ" in constraints
    assert 'NET "fabric_clock" ' in constraints
    # A clock that the FPGA makes is from a PLL of its own, and leaves through the register of a pin.
    assert [netlist.count(f"cell \\{cell} ") for cell in ("EHXPLLL", "ODDRX1F")] == [
        1 + board.usb.drives_clock,
        board.usb.drives_clock,
    ]
    assert "uart_0" not in constraints
    whole = LINES[LinkKind.USB].design(dataclasses.replace(board, fabric=FabricConfig(core=LEAN)), bytes(16))
    Fragment.get(whole, None)
    assert isinstance(whole, UlpiTop)
    assert whole.registers == board.usb.registers


class FlashEcho(Component):
    """The pins of a USB device of either speed, ``echo``, and of a flash chip, with little behind them."""

    def __init__(self, echo):
        self.echo = echo
        super().__init__({**echo.signature.members, **FLASH_PINS})

    def elaborate(self, platform):
        m = Module()
        m.submodules.echo = self.echo
        for name, member in self.echo.signature.members.items():
            inner, outer = getattr(self.echo, name), getattr(self, name)
            m.d.comb += outer.eq(inner) if member.flow is Out else inner.eq(outer)
        m.d.sync += [self.flash_clk.eq(~self.flash_clk), self.flash_cs.eq(self.flash_cipo), self.flash_copi.eq(1)]
        return m


@pytest.mark.parametrize("name", [name for name, board in BOARDS.items() if board.usb is not None])
def test_the_flash_of_a_board_with_usb(name):
    """The pins of its flash, and its clock: at an ordinary pin on an iCE40, at a cell of its own on an ECP5."""
    board = BOARDS[name].with_link("usb")
    echo = UlpiEcho if isinstance(board.usb, UlpiPins) else UsbEcho
    for reads in (True, False):
        changed = dataclasses.replace(board, usb_device=UsbParameters(flash_serial=reads))
        plan = board_plan(changed, bytes(16), design=lambda board, identity: FlashEcho(echo()))
        constraints = plan.files["top.pcf" if board.shares_pll else "top.lpf"]
        for pin in ("cs", "copi", "cipo"):
            assert (f"serial_flash_0__{pin}__io" in constraints) == reads
        assert ("serial_flash_0__clk__io" in constraints) == (reads and board.shares_pll)
        assert plan.files["top.il"].count("cell \\USRMCLK ") == (reads and not board.shares_pll)
    whole = LINES[LinkKind.USB].design(
        dataclasses.replace(board, fabric=FabricConfig(core=LEAN), usb_device=UsbParameters(flash_serial=True)),
        bytes(16),
    )
    Fragment.get(whole, None)
    assert set(FLASH_PINS) < set(whole.signature.members)


@pytest.mark.parametrize("link", ["uart", "usb", "udp"])
def test_a_board_starts_the_supply_of_its_pins(link):
    """Both PHYs of the ButterStick have a bank: that for USB waits for its converter, that for Ethernet has none."""

    class Nothing(Component):
        def __init__(self):
            super().__init__({"rx": In(1), "tx": Out(1)})

        def elaborate(self, platform):
            m = Module()
            m.d.sync += self.tx.eq(~self.rx)
            return m

    designs = {"uart": Nothing, "usb": UlpiEcho, "udp": EthernetEcho}
    board = BOARDS["butterstick"].with_link(link)
    plan = board_plan(board, bytes(16), design=lambda board, identity: designs[link]())
    constraints, netlist = plan.files["top.lpf"], plan.files["top.il"]
    assert ("vccio_ctrl_0__pdm__io[2]" in constraints) == (link != "udp")
    assert ("vccio_ctrl_0__en__io" in constraints) == (link != "udp")
    # 1.8 V for the PHY, from pulses of two thirds of the time, and 3.3 or 1.2 V for the first port.
    lengths = re.findall(r"cell \$lt .*\n(?:.*\n)*?.*connect \\B .*?'([01]+)\n", netlist)
    found = {int(length, 2) for length in lengths}
    assert ({97, 688, 924} & found) == {"uart": {97, 688, 924}, "usb": {688, 924}, "udp": set()}[link]


def test_the_share_of_a_pulse_for_a_voltage():
    """By Kirchhoff at the feedback node; the bootloader of the ButterStick has 0.13 for about 3.3 V, 0.70 for 1.8 V."""
    supply = BOARDS["butterstick"].supply
    assert supply is not None
    for volts, share in ((3.3, 0.13), (1.8, 0.70)):
        found = supply.share(volts)
        control_a = (supply.pulse_v * found - supply.feedback_v) / supply.control_ohm
        feedback_a = (volts - supply.feedback_v) / supply.feedback_ohm
        assert control_a + feedback_a == pytest.approx(supply.feedback_v / supply.set_ohm)
        assert found == pytest.approx(share, abs=0.04)
    assert supply.settle_s == pytest.approx(0.068)
    with pytest.raises(
        ValueError, match=r"^voltage of an I/O bank must be one that its converter can make, not 0.8 V$"
    ):
        supply.share(0.8)


@pytest.mark.parametrize("name", [name for name, board in BOARDS.items() if isinstance(board.usb, UsbPins)])
def test_a_board_with_usb_has_its_pins_and_clocks(name):
    board = BOARDS[name].with_link("usb")
    assert board.usb is not None
    assert board.link == board.usb.where
    plan = board_plan(board, bytes(16), design=lambda board, identity: UsbEcho())
    netlist = plan.files["top.il"]
    constraints = plan.files["top.pcf" if board.shares_pll else "top.lpf"]
    for pin in ("d_p", "d_n", "pullup"):
        assert f"usb_{board.usb.number}__{pin}__io" in constraints
    lines = ('NET "usb_io_clock" 48000000.0 HZ', 'NET "usb_clock" 12000000.0 HZ', 'NET "fabric_clock" ')
    if board.shares_pll:
        lines = ("set_frequency usb_io_clock 48.0", "set_frequency usb_clock 12.0", "set_frequency fabric_clock 24.0")
        assert board.clock_hz == 24e6
        assert (board.with_clock(30e6), board.with_clock(23e6)) == (board, None)
    for line in lines:
        assert line in constraints
    plls = [netlist.count(f"cell \\{cell} ") for cell in ("EHXPLLL", "SB_PLL40_2F_CORE")]
    assert plls == ([0, 1] if board.shares_pll else [2, 0])
    assert "uart_0" not in constraints


class EthernetEcho(Component):
    """GMII of an Ethernet device, with only the two clocks behind it."""

    def __init__(self):
        super().__init__(GMII_PINS)

    def elaborate(self, platform):
        m = Module()
        errors = Signal()
        m.d.ethernet += [self.tx_data.eq(self.rx_data), self.tx_valid.eq(self.rx_valid & ~errors)]
        m.d.sync += errors.eq(self.rx_error ^ errors)
        return m


@pytest.mark.parametrize("name", [name for name, board in BOARDS.items() if LinkKind.UDP in board.links])
def test_a_board_with_ethernet_has_its_pins_and_clocks(name):
    board = BOARDS[name].with_link("udp")
    assert board.ethernet is not None
    assert board.link == board.ethernet.where
    plan = board_plan(board, bytes(16), design=lambda board, identity: EthernetEcho())
    constraints, netlist = plan.files["top.lpf"], plan.files["top.il"]
    for pin in ("rx_clk", "rx_data", "tx_clk", "tx_data", "rst"):
        assert f"eth_rgmii_{board.ethernet.number}__{pin}__io" in constraints
    rx_clock = f'PORT "eth_rgmii_{board.ethernet.number}__rx_clk__io" 125000000.0 HZ'
    for line in (rx_clock, 'NET "fabric_clock" '):
        assert line in constraints
    assert [netlist.count(f"cell \\{cell} ") for cell in ("IDDRX1F", "ODDRX1F", "DELAYG")] == [5, 6, 11]
    # Either the data from the PHY or the clock to it is delayed, by 80 steps of 25 ps.
    assert netlist.count("parameter \\DEL_VALUE 80\n") == (1 if board.ethernet.tx_delay_s else 5)
    assert "uart_0" not in constraints


def test_sizes_of_a_fabric_with_ethernet():
    board = BOARDS["ecpix5-85"].with_link("udp")
    assert board.buildable_fabric().link == UDP_LINK
    chosen = dataclasses.replace(board.buildable_fabric(), link=LinkParameters(receive_buffer=2048))
    assert dataclasses.replace(board, fabric=chosen).buildable_fabric() == chosen


def test_clocks_of_a_board_with_usb():
    """Any clock that the PLL makes, since there is no baud rate; never the oscillator, because USB needs its pin."""
    board = BOARDS["orangecrab-85f"].with_link("usb")
    assert board.with_clock(71.2e6).clock_hz == 71e6
    assert board.with_clock(48.4e6).pll_hz == 48e6
    with pytest.raises(ValueError, match=r"^Board orangecrab-85f must have pll_hz, because it has USB$"):
        dataclasses.replace(board, pll_hz=None)
    with pytest.raises(ValueError, match=r"^Link of icebreaker must be uart, not 'usb'$"):
        dataclasses.replace(BOARDS["icebreaker"], link_kind=LinkKind.USB)


@pytest.mark.parametrize(
    ("link", "options", "message"),
    [
        ("usb", {"baud_rate": 1_000_000}, "Baud rate of ulx3s-12f must be left out with the link usb"),
        ("uart", {"usb": UsbParameters()}, "USB numbers of ulx3s-12f must be left out with the link uart"),
        (
            "usb",
            {"ethernet": EthernetParameters()},
            "Ethernet addresses of ulx3s-12f must be left out with the link usb",
        ),
    ],
)
def test_options_of_another_link(tmp_path, link, options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        build("ulx3s-12f", tmp_path, link=link, announce=lambda text: None, **options)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "luna", None)
    with pytest.raises(ToolError, match=r"^The link usb needs the package luna-usb, .*'spikeloom\[boards\]'$"):
        LINES[LinkKind.USB].design(BOARDS["ulx3s-12f"].with_link("usb"), bytes(16))
