"""Pins of the Cynthion: each once, all of the package's rows and columns, and the PHY's twelve signals and reset."""

import re

from amaranth.lib import io

from spikeloom.boards.targets.cynthion import CYNTHION_PHY_REGISTERS, CynthionPlatform


def pins_of(name):
    """The pins of a resource, with the names of their signals."""
    (resource,) = (resource for resource in CynthionPlatform.resources if resource.name == name)
    return {part.name: part.ios[0].names for part in resource.ios if hasattr(part, "ios")}


def test_each_pin_is_used_once():
    pins = [pin for name in ("uart", "spi_flash", "ulpi") for names in pins_of(name).values() for pin in names]
    assert len(pins) == len(set(pins)) == 2 + 3 + 13
    # A ball grid of 16 by 16 has no rows I, O, Q and S.
    assert all(re.fullmatch(r"[A-HJ-NPRT]([1-9]|1[0-6])", pin) for pin in pins)
    assert {name: len(names) for name, names in pins_of("ulpi").items()} == {
        "data": 8,
        **dict.fromkeys(("clk", "dir", "nxt", "stp", "rst"), 1),
    }


def test_the_fpga_makes_the_clock_and_holds_the_reset():
    platform = CynthionPlatform()
    pins = platform.request("ulpi", 0, dir="-")
    assert pins.clk.direction is io.Direction.Output
    assert pins.rst.invert == (True,)
    assert platform.default_clk_frequency == 60e6


def test_the_registers_fit_the_address_of_a_command():
    assert all(0x30 <= address < 0x40 and value < 256 for address, value in CYNTHION_PHY_REGISTERS), (
        "vendor's registers"
    )
