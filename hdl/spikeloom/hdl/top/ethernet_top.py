"""The top of a fabric whose host link is Ethernet: GMII of a PHY, Ethernet device, host link, host bridge and tiles.

::

    GMII ══ EthernetLine ══ bytes ══ Link ══ bytes ══ Fabric
"""

from amaranth.hdl import Module
from amaranth.lib import wiring

from spikeloom.hdl.host.ethernet import GMII_PINS, EthernetLine
from spikeloom.hdl.top.top import add_fabric, top_members
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.ethernet import IDLE_CYCLES, EthernetParameters
from spikeloom.sim.host.identity import LinkKind

__all__ = ["EthernetTop"]


class EthernetTop(wiring.Component):
    """A complete fabric with an Ethernet device at GMII.

    The fabric is in the domain ``sync``; the device needs the domain ``ethernet`` at 125 MHz, the clock of the PHY.

    Parameters
    ----------
    fabric
        Configuration of the fabric.
    ethernet
        Addresses of the board.
    build_hash
        16 bytes that identify the build, and from which the MAC address is derived if ``ethernet`` has none.
    clock_hz
        Clock frequency of the fabric in the identity; 0 Hz if unknown.
    idle_cycles
        Cycles of silence after which another host may take over the session.

    Members
    -------
    rx_data : Signal(8), in
    rx_valid, rx_error : Signal, in
    tx_data : Signal(8), out
    tx_valid : Signal, out
        GMII, as for `EthernetLine`.
    KIND_TILE_PIN : Signal, in or out
        The pins of each tile, such as ``aer_3_request``.
    """

    def __init__(
        self,
        fabric: FabricConfig,
        ethernet: EthernetParameters,
        build_hash: bytes = bytes(16),
        *,
        clock_hz: int = 0,
        idle_cycles: int = IDLE_CYCLES,
    ) -> None:
        self.fabric = fabric
        self.ethernet = ethernet
        self.idle_cycles = idle_cycles
        self.identity = fabric.identity(build_hash, link_kind=LinkKind.UDP, clock_hz=clock_hz)
        super().__init__({**GMII_PINS, **top_members(fabric)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # What the window of the link allows fits into the ring for payloads.
        m.submodules.line = line = EthernetLine(
            self.ethernet.station(self.identity.build_hash),
            buffer=max(4096, self.fabric.link.receive_buffer),
            idle_cycles=self.idle_cycles,
        )
        pins = [
            line.rx_data.eq(self.rx_data),
            line.rx_valid.eq(self.rx_valid),
            line.rx_error.eq(self.rx_error),
            self.tx_data.eq(line.tx_data),
            self.tx_valid.eq(line.tx_valid),
        ]
        add_fabric(m, self, self.fabric, self.identity, from_line=line.o, to_line=line.i, pins=pins)
        return m
