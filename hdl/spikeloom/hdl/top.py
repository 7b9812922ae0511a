"""The top of a fabric: UART pins, host link, host bridge and one LIF core.

rx ─▶ UartReceiver ──▶ Link ──▶ HostBridge ══ packets ══ LifCore
tx ◀─ UartTransmitter ◀─┘           └── configuration port ──┘
"""

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.bridge import HostBridge
from spikeloom.hdl.core import LifCore
from spikeloom.hdl.link import Link
from spikeloom.hdl.uart import UartReceiver, UartTransmitter
from spikeloom.sim.fabric import FabricConfig

__all__ = ["Top"]


class Top(wiring.Component):
    """A whole fabric between two pins.

    Parameters
    ----------
    fabric
        What is built.
    divisor
        Clock cycles a bit of the UART.
    build_hash
        16 bytes that tell this build from others.

    Members
    -------
    rx, tx
        The pins, from and to the host.
    """

    def __init__(self, fabric: FabricConfig, divisor: int, build_hash: bytes = bytes(16)) -> None:
        self.fabric = fabric
        self.divisor = divisor
        self.identity = fabric.identity(build_hash)
        super().__init__({"rx": In(1), "tx": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        core = self.fabric.core
        m.submodules.receiver = receiver = UartReceiver(self.divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(self.divisor)
        m.submodules.link = link = Link(self.fabric.link, self.identity.encode())
        # A new session finds everything behind the link as after power-up, but for the program.
        restart = Signal()
        m.d.comb += restart.eq(link.reset)
        m.submodules.bridge = bridge = ResetInserter(restart)(
            HostBridge(core.axon_width, core.v_width, graded=core.value_width > 0)
        )
        m.submodules.core = tile = LifCore(core)
        m.d.comb += [
            tile.reset.eq(restart),
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            link.flush.eq(bridge.flush),
        ]
        wiring.connect(m, receiver.o, link.from_line)
        wiring.connect(m, link.to_line, transmitter.i)
        wiring.connect(m, link.receive, bridge.receive)
        wiring.connect(m, bridge.transmit, link.transmit)
        wiring.connect(m, bridge.to_fabric, tile.i)
        wiring.connect(m, tile.o, bridge.from_fabric)
        wiring.connect(m, bridge.configuration, tile.configuration)
        return m
