"""The top of a fabric: UART pins, host link, host bridge and tiles.

rx ─▶ UartReceiver ──▶ Link ══ bytes ══ Fabric
tx ◀─ UartTransmitter ◀─┘
"""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.host.link import Link
from spikeloom.hdl.host.uart import UartReceiver, UartTransmitter
from spikeloom.hdl.top.fabric import Fabric, connect_fabric_pins, fabric_pins
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.identity import LinkKind

__all__ = ["Top"]


class Top(wiring.Component):
    """A complete fabric with its pins.

    Parameters
    ----------
    fabric
        Configuration of the fabric.
    divisor
        Clock cycles per bit of the UART.
    build_hash
        16 bytes that identify the build.
    link_kind, clock_hz
        Kind of link and clock frequency in the identity; 0 Hz if unknown.

    Members
    -------
    rx : Signal, in
    tx : Signal, out
        UART pins from and to the host.
    KIND_TILE_PIN : Signal, in or out
        The pins of each tile, such as ``aer_3_request``.
    """

    def __init__(
        self,
        fabric: FabricConfig,
        divisor: int,
        build_hash: bytes = bytes(16),
        *,
        link_kind: LinkKind = LinkKind.UART,
        clock_hz: int = 0,
    ) -> None:
        self.fabric = fabric
        self.divisor = divisor
        # Constant, so that it is sent from initialised block RAM in reply to OPEN.
        self.identity = fabric.identity(build_hash, link_kind=link_kind, clock_hz=clock_hz)
        super().__init__({"rx": In(1), "tx": Out(1), **fabric_pins(fabric)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(self.divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(self.divisor)
        m.submodules.link = link = Link(self.fabric.link, self.identity.encode())
        # A new session starts everything behind the link from the power-up state, except for the program memories.
        m.submodules.fabric = fabric = Fabric(self.fabric)
        m.d.comb += [
            fabric.reset.eq(link.reset),
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            link.flush.eq(fabric.flush),
        ]
        connect_fabric_pins(m, self.fabric, self, fabric)
        wiring.connect(m, receiver.o, link.from_line)
        wiring.connect(m, link.to_line, transmitter.i)
        wiring.connect(m, link.receive, fabric.receive)
        wiring.connect(m, fabric.transmit, link.transmit)
        return m
