"""The top of a fabric whose host link is USB: pins, USB device, host link, host bridge and tiles.

::

    D+, D- ══ UsbLine ══ bytes ══ Link ══ bytes ══ Fabric
"""

from amaranth.hdl import Module
from amaranth.lib import wiring

from spikeloom.hdl.host.usb import USB_PINS, UsbLine, connect_serial_pins, serial_pins
from spikeloom.hdl.top.top import add_fabric, top_members
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.host.usb import UsbParameters

__all__ = ["UsbTop"]


class UsbTop(wiring.Component):
    """A complete fabric with a USB device at its pins.

    The fabric is in the domain ``sync``; the device needs the domains ``usb_io`` at 48 MHz and ``usb`` at 12 MHz.

    Parameters
    ----------
    fabric
        Configuration of the fabric.
    usb
        Contents of the descriptors of the device.
    build_hash
        16 bytes that identify the build.
    clock_hz
        Clock frequency of the fabric in the identity; 0 Hz if unknown.

    Members
    -------
    dp_i, dn_i : Signal, in
    dp_o, dn_o, oe, pullup : Signal, out
        The pins, as for `UsbLine`.
    flash_cs, flash_clk, flash_copi : Signal, out
    flash_cipo : Signal, in
        The pins of the flash chip, as for `FlashId`, with ``flash_serial`` only.
    KIND_TILE_PIN : Signal, in or out
        The pins of each tile, such as ``aer_3_request``.
    """

    def __init__(
        self, fabric: FabricConfig, usb: UsbParameters, build_hash: bytes = bytes(16), *, clock_hz: int = 0
    ) -> None:
        self.fabric = fabric
        self.usb = usb
        self.identity = fabric.identity(build_hash, link_kind=LinkKind.USB, clock_hz=clock_hz)
        super().__init__({**USB_PINS, **serial_pins(usb), **top_members(fabric)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.line = line = UsbLine(self.usb)
        pins = [
            line.dp_i.eq(self.dp_i),
            line.dn_i.eq(self.dn_i),
            self.dp_o.eq(line.dp_o),
            self.dn_o.eq(line.dn_o),
            self.oe.eq(line.oe),
            self.pullup.eq(line.pullup),
            *connect_serial_pins(line, self, self.usb),
        ]
        add_fabric(m, self, self.fabric, self.identity, from_line=line.o, to_line=line.i, pins=pins)
        return m
