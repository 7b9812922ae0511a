"""Platform of the Cynthion r1.4, of which amaranth-boards has none: the pins that a fabric uses.

The pins are those of Great Scott Gadgets' platform file ``cynthion_r1_4.py``; the schematics of the hardware agree for
the PHY and the oscillator. The port AUX has other pins in earlier revisions, such as r1.0.
"""

from typing import ClassVar

from amaranth.build import Attrs, Clock, Connector, Pins, PinsN, Resource, Subsignal
from amaranth.vendor import LatticePlatform
from amaranth_boards.resources import UARTResource, ULPIResource

__all__ = ["CYNTHION_PHY_REGISTERS", "CynthionPlatform"]

CYNTHION_PHY_REGISTERS = ((0x39, 0b000110),)
"""Address and value: its USB3343 has D+ and D- at each other's places, and exchanges them by this register."""


class CynthionPlatform(LatticePlatform):
    """Oscillator, serial line to the debug controller, flash chip, and the PHY of the port AUX."""

    device = "LFE5U-12F"
    package = "BG256"
    speed = "8"
    default_clk = "clk60"
    resources = [
        Resource("clk60", 0, Pins("A8", dir="i"), Clock(60e6), Attrs(IO_TYPE="LVCMOS33")),
        UARTResource(0, rx="R14", tx="T14", attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")),
        Resource(
            "spi_flash",
            0,
            Subsignal("cs", PinsN("N8", dir="o")),
            Subsignal("copi", Pins("T8", dir="o")),
            Subsignal("cipo", Pins("T7", dir="i")),
            Attrs(IO_TYPE="LVCMOS33"),
        ),
        ULPIResource(
            "ulpi",
            0,
            data="F16 G15 G16 H15 J15 J16 K15 K16",
            clk="D16",
            clk_dir="o",
            dir="E16",
            nxt="F15",
            stp="E15",
            rst="J13",
            rst_invert=True,
            attrs=Attrs(IO_TYPE="LVCMOS33", SLEWRATE="FAST"),
        ),
    ]
    connectors: ClassVar[list[Connector]] = []
