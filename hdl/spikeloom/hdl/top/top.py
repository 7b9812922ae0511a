"""The top of a fabric: UART pins, host link, host bridge and tiles.

::

    rx ─▶ UartReceiver ──▶ Link ══ bytes ══ Fabric
    tx ◀─ UartTransmitter ◀─┘

Each other kind of link has its top in a module of its own, which uses `add_fabric`.
"""

from collections.abc import Iterable
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.host.link import Link
from spikeloom.hdl.host.uart import UartReceiver, UartTransmitter
from spikeloom.hdl.sdram.controller import SdramPinSignature
from spikeloom.hdl.sdram.crossing import SdramCrossing
from spikeloom.hdl.top.fabric import Fabric, connect_fabric_pins, fabric_pins
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.identity import Identity, LinkKind

__all__ = ["Top", "add_fabric", "top_members"]


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
    sdram : SdramPinSignature(fabric.sdram), out
        The pins of the SDRAM, if the fabric has one, in the domain ``sdram``.
    sdram_phase_step : Signal, out
        With an SDRAM: its PLL delays the clock of the chip by a step at each falling edge, in the domain ``sync``.
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
        super().__init__({"rx": In(1), "tx": Out(1), **top_members(fabric)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(self.divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(self.divisor)
        pins = [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx)]
        add_fabric(m, self, self.fabric, self.identity, from_line=receiver.o, to_line=transmitter.i, pins=pins)
        return m


def top_members(fabric: FabricConfig) -> dict[str, wiring.Member]:
    """The pins of the tiles and of the SDRAM of ``fabric``, as members of a top."""
    sdram: dict[str, wiring.Member] = {}
    if fabric.sdram is not None:
        sdram = {"sdram": Out(SdramPinSignature(fabric.sdram)), "sdram_phase_step": Out(1)}
    return {**fabric_pins(fabric), **sdram}


def add_fabric(
    m: Module,
    top: wiring.Component,
    parameters: FabricConfig,
    identity: Identity,
    *,
    from_line: Any,
    to_line: Any,
    pins: Iterable[Any] = (),
) -> None:
    """Add the host link and the fabric behind it to ``m``, and the controller of its SDRAM in the domain ``sdram``.

    ``top`` has the members `top_members` of the fabric, which are connected to its tiles and its SDRAM. ``from_line``
    and ``to_line`` are the byte streams of the transport, ``pins`` the statements that connect its pins.
    """
    m.submodules.link = link = Link(parameters.link, identity.encode())
    # A new session starts everything behind the link from the power-up state, except for the program memories.
    m.submodules.fabric = fabric = Fabric(parameters)
    m.d.comb += [fabric.reset.eq(link.reset), *pins, link.flush.eq(fabric.flush)]
    connect_fabric_pins(m, parameters, top, fabric)
    if parameters.sdram is not None:
        m.submodules.sdram = crossing = SdramCrossing(parameters.sdram)
        wiring.connect(m, fabric.sdram, crossing.port)
        wiring.connect(m, crossing.pins, wiring.flipped(top.sdram))
        m.d.comb += top.sdram_phase_step.eq(crossing.phase_step)
    wiring.connect(m, from_line, link.from_line)
    wiring.connect(m, link.to_line, to_line)
    wiring.connect(m, link.receive, fabric.receive)
    wiring.connect(m, fabric.transmit, link.transmit)
