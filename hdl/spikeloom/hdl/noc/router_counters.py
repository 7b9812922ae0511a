"""What leaves a router and what waits, counted for the host."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from spikeloom.hdl.lib.registers import ConfigurationPort, RegisterBank
from spikeloom.sim.noc.mesh import Port
from spikeloom.sim.noc.registers import ROUTER

__all__ = ["RouterCounters"]


class RouterCounters(wiring.Component):
    """The registers of `spikeloom.sim.noc.registers.ROUTER`.

    Parameters
    ----------
    ports
        Those of the router; the counters of others are 0 and cost nothing.

    Members
    -------
    configuration : ConfigurationPort, in
        From the host.
    moved, waiting : Signal(len(ports)), in
        Bit p, of the ports in their order: a packet leaves by it in this cycle, or is offered and not taken.
    clear : Signal, in
        Begin at 0 again.
    """

    def __init__(self, ports: tuple[Port, ...]) -> None:
        self.ports = ports
        super().__init__(
            {
                "configuration": In(ConfigurationPort()),
                "moved": In(len(ports)),
                "waiting": In(len(ports)),
                "clear": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.registers = registers = RegisterBank(ROUTER)
        wiring.connect(m, wiring.flipped(self.configuration), registers.configuration)
        # (A register first: what is counted comes from the ends of long wires.)
        for name, events in (("packets", self.moved), ("waits", self.waiting)):
            counted = Signal(len(self.ports), name=f"counted_{name}")
            m.d.sync += counted.eq(events)
            for number, port in enumerate(self.ports):
                count = Signal(32, name=f"{port.value}_{name}")
                m.d.sync += count.eq(Mux(self.clear, 0, count + counted[number]))
                m.d.comb += getattr(registers, f"{port.value}_{name}").eq(count)
        return m
