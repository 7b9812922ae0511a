"""The top of a fabric whose host link is USB at high speed: the pins of a PHY, USB device, link, host bridge and tiles.

::

    PHY ══ ULPI ══ UlpiLine ══ bytes ══ Link ══ bytes ══ Fabric
"""

from amaranth.hdl import Module
from amaranth.lib import wiring

from spikeloom.hdl.host.usb import ULPI_PINS, PhyRegisters, UlpiLine, connect_serial_pins, serial_pins
from spikeloom.hdl.top.top import add_fabric, top_members
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.host.usb import UsbParameters

__all__ = ["UlpiTop"]


class UlpiTop(wiring.Component):
    """A complete fabric with a USB device for high speed at the pins of its PHY.

    The fabric is in the domain ``sync``; the device needs the domain ``usb`` at 60 MHz, the clock of the PHY.

    Parameters
    ----------
    fabric
        Configuration of the fabric.
    usb
        Contents of the descriptors of the device; ``high_speed`` is set.
    build_hash
        16 bytes that identify the build.
    clock_hz
        Clock frequency of the fabric in the identity; 0 Hz if unknown.
    registers
        Registers of the PHY that are written first, as for `UlpiDevice`.

    Members
    -------
    data_i, dir, nxt : Signal, in
    data_o, data_oe, stp : Signal, out
        The pins of the PHY, as for `UlpiLine`.
    flash_cs, flash_clk, flash_copi : Signal, out
    flash_cipo : Signal, in
        The pins of the flash chip, as for `FlashId`, with ``flash_serial`` only.
    KIND_TILE_PIN : Signal, in or out
        The pins of each tile, such as ``aer_3_request``.
    """

    def __init__(
        self,
        fabric: FabricConfig,
        usb: UsbParameters,
        build_hash: bytes = bytes(16),
        *,
        clock_hz: int = 0,
        registers: PhyRegisters = (),
    ) -> None:
        self.fabric = fabric
        self.usb = usb
        self.registers = registers
        self.identity = fabric.identity(build_hash, link_kind=LinkKind.USB, clock_hz=clock_hz)
        super().__init__({**ULPI_PINS, **serial_pins(usb), **top_members(fabric)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.line = line = UlpiLine(self.usb, registers=self.registers)
        pins = [
            line.data_i.eq(self.data_i),
            line.dir.eq(self.dir),
            line.nxt.eq(self.nxt),
            self.data_o.eq(line.data_o),
            self.data_oe.eq(line.data_oe),
            self.stp.eq(line.stp),
            *connect_serial_pins(line, self, self.usb),
        ]
        add_fabric(m, self, self.fabric, self.identity, from_line=line.o, to_line=line.i, pins=pins)
        return m
