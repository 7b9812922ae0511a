"""PLL settings: the frequency, the ranges of the data sheets, and refused arguments."""

import re

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Fragment, Module, Signal

from spikeloom.boards.families.pll import (
    TOLERANCE,
    USB_BIT_HZ,
    USB_HZ,
    PllError,
    ecp5_settings,
    gowin_settings,
    ice40_settings,
    phy_clock,
    sdram_clocks,
    sdram_phases,
    usb_clocks,
    usb_clocks_of_ice40,
)


@pytest.mark.parametrize(
    ("input_hz", "output_hz"),
    [
        (8e6, 80e6),
        (12e6, 60e6),
        (16e6, 40e6),
        (25e6, 100e6),
        (25e6, 62.5e6),
        (25e6, 48e6),
        (25e6, 81e6),
        (30e6, 75e6),
        (48e6, 96e6),
        (100e6, 75e6),
    ],
)
def test_ecp5(input_hz, output_hz):
    found = ecp5_settings(input_hz, output_hz)
    d = found.dividers
    assert found.output_hz == pytest.approx(input_hz / d["CLKI_DIV"] * d["CLKOP_DIV"] / d["CLKOS_DIV"])
    assert found.output_hz == pytest.approx(output_hz)
    assert found.compared_hz == input_hz / d["CLKI_DIV"]
    assert 3.125e6 <= found.compared_hz <= 400e6
    assert 400e6 <= found.compared_hz * d["CLKOP_DIV"] == found.oscillator_hz <= 800e6
    assert all(1 <= divider <= 128 for divider in d.values())


@pytest.mark.parametrize(
    ("input_hz", "output_hz"), [(12e6, 24e6), (12e6, 30e6), (16e6, 40e6), (100e6, 50e6), (48e6, 24e6)]
)
def test_ice40(input_hz, output_hz):
    found = ice40_settings(input_hz, output_hz)
    d = found.dividers
    compared = input_hz / (d["DIVR"] + 1)
    assert found.output_hz == pytest.approx(compared * (d["DIVF"] + 1) / 2 ** d["DIVQ"])
    assert abs(found.output_hz - output_hz) <= TOLERANCE * output_hz
    assert 10e6 <= compared <= 133e6
    assert 533e6 <= found.oscillator_hz <= 1066e6
    assert 1 <= d["FILTER_RANGE"] <= 6


def test_ice40_as_others_set_it():
    """12 MHz to 24 MHz: known good dividers."""
    assert ice40_settings(12e6, 24e6).dividers == {"DIVR": 0, "DIVF": 63, "DIVQ": 5, "FILTER_RANGE": 1}


@pytest.mark.parametrize("output_hz", [27e6, 40.5e6, 54e6, 67.5e6, 81e6])
def test_gowin(output_hz):
    found = gowin_settings(27e6, output_hz)
    d = found.dividers
    assert found.output_hz == pytest.approx(27e6 * (d["FBDIV_SEL"] + 1) / (d["IDIV_SEL"] + 1))
    assert found.output_hz == pytest.approx(output_hz)
    assert 500e6 <= found.oscillator_hz == found.output_hz * d["ODIV_SEL"] <= 1200e6


def test_what_no_setting_gives_is_refused():
    with pytest.raises(
        PllError, match=r"^Clock of an ECP5 must be one that its PLL can make from 25 MHz, not 900 MHz$"
    ):
        ecp5_settings(25e6, 900e6)
    with pytest.raises(PllError, match=r"^Clock of an iCE40 must be one that its PLL can make from 12 MHz, not 8 MHz$"):
        ice40_settings(12e6, 8e6)
    with pytest.raises(
        PllError, match=r"^Clock of a Gowin FPGA must be one that its PLL can make from 27 MHz, not 1 MHz$"
    ):
        gowin_settings(27e6, 1e6)
    with pytest.raises(PllError, match=r"^Oscillator of an ECP5 must be from 8 to 400 MHz, not 2 MHz$"):
        ecp5_settings(2e6, 50e6)


@pytest.mark.parametrize("oscillator_hz", [12e6, 25e6, 48e6, 50e6, 100e6])
def test_clocks_of_a_usb_device(oscillator_hz):
    """48 and 12 MHz, exactly, from one PLL."""
    m = Module()
    source = Signal()
    fast, slow = usb_clocks(m, "ecp5", oscillator_hz, source)
    assert (fast.name, slow.name) == ("usb_io_clock", "usb_clock")
    text = rtlil.convert(m, ports=[source])
    values = {name: int(value) for name, value in re.findall(r"parameter .(\w+_DIV) (\d+)", text)}
    made = oscillator_hz / values["CLKI_DIV"] * values["CLKOP_DIV"]
    assert made / values["CLKOS_DIV"] == USB_HZ
    assert made / values["CLKOS2_DIV"] == USB_BIT_HZ
    assert 400e6 <= made <= 800e6


def test_clocks_that_a_usb_device_cannot_have():
    m = Module()
    with pytest.raises(PllError, match=r"^PLL of the USB device must be that of an ECP5, not of the family ice40$"):
        usb_clocks(m, "ice40", 12e6, Signal())
    message = r"^Clock of the USB device must be within 0.20% of 48 MHz, but the PLL makes [\d.]+ MHz from 8\.039 MHz$"
    with pytest.raises(PllError, match=message):
        usb_clocks(m, "ecp5", 8.039e6, Signal())
    Fragment.get(m, None)  # an unused module causes a warning


def test_the_clocks_of_usb_on_an_ice40():
    """48 MHz, half of it for the fabric, and a quarter, divided at the falling edge."""
    m = Module()
    names = ("sync", "usb_io", "usb")
    clocks = usb_clocks_of_ice40(m, 16e6, source := Signal())
    assert [clock.name for clock in clocks] == ["fabric_clock", "usb_io_clock", "usb_clock"]
    for name in names:
        m.d[name] += Signal(name=f"in_{name}").eq(1)
    text = rtlil.convert(m, ports=[source])
    values = {name: int(value) for name, value in re.findall(r"parameter .(DIV\w) (\d+)", text)}
    assert 16e6 * (values["DIVF"] + 1) / (values["DIVR"] + 1) / 2 ** values["DIVQ"] == USB_HZ
    assert 'PLLOUT_SELECT_PORTA "GENCLK"' in text
    assert 'PLLOUT_SELECT_PORTB "GENCLK_HALF"' in text
    assert len(re.findall(r"CLK_POLARITY 0\b", text)) == 2, "the divider"
    with pytest.raises(PllError, match=r"^Clock of the USB device must be within 0\.20% of 48 MHz, but the PLL makes "):
        usb_clocks_of_ice40(refused := Module(), 16.05e6, Signal())
    Fragment.get(refused, None)  # an unused module causes a warning


@pytest.mark.parametrize("input_hz", [30e6, 60e6])
def test_the_clock_of_a_phy(input_hz):
    m = Module()
    clock = phy_clock(m, "ecp5", input_hz, source := Signal(), runs := Signal())
    assert clock.name == "phy_clock"
    m.d.usb += Signal().eq(1)
    text = rtlil.convert(m, ports=[source, runs])
    values = {name: int(value) for name, value in re.findall(r"parameter .(\w+_DIV) (\d+)", text)}
    assert input_hz / values["CLKI_DIV"] * values["CLKOP_DIV"] / values["CLKOS_DIV"] == 60e6


def test_clocks_that_a_phy_cannot_have():
    m = Module()
    with pytest.raises(PllError, match=r"^PLL of a PHY for USB must be that of an ECP5, not of the family ice40$"):
        phy_clock(m, "ice40", 12e6, Signal(), Signal())
    message = r"^Clock of a PHY for USB must be 60 MHz, but the PLL makes [\d.]+ MHz from 31\.7 MHz$"
    with pytest.raises(PllError, match=message):
        phy_clock(m, "ecp5", 31.7e6, Signal(), Signal())
    Fragment.get(m, None)  # an unused module causes a warning


def test_the_clock_of_an_sdram():
    m = Module()
    source, step = Signal(), Signal()
    clock, of_chip = sdram_clocks(m, "ecp5", 25e6, 120_000_000, source, step)
    assert (clock.name, of_chip.name) == ("sdram_clock", "sdram_chip_clock")
    m.d.sdram += Signal().eq(1)
    m.d.sdram_chip += Signal().eq(1)
    text = rtlil.convert(m, ports=[source, step])
    values = {name: int(value) for name, value in re.findall(r"parameter .(\w+_DIV) (\d+)", text)}
    assert 25e6 / values["CLKI_DIV"] * values["CLKOP_DIV"] / values["CLKOS_DIV"] == 120e6
    assert values["CLKOS2_DIV"] == values["CLKOS_DIV"]
    assert sdram_phases("ecp5", 25e6, 120_000_000) == 8 * values["CLKOS_DIV"]


def test_clocks_that_an_sdram_cannot_have():
    m = Module()
    with pytest.raises(PllError, match=r"^PLL of an SDRAM must be that of an ECP5, not of the family gowin$"):
        sdram_clocks(m, "gowin", 27e6, 120_000_000, Signal(), Signal())
    message = r"^Clock of an SDRAM must be one that its PLL can make from 25 MHz, such as [\d.]+ MHz, not 119\.77 MHz$"
    with pytest.raises(PllError, match=message):
        sdram_clocks(m, "ecp5", 25e6, 119_770_000, Signal(), Signal())
    Fragment.get(m, None)  # an unused module causes a warning
