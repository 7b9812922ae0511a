"""Counters of the packets that leave a router or wait in it."""

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
        The ports of the router. The counters of other ports read as 0 and cost no logic.

    Members
    -------
    configuration : ConfigurationPort, in
        Read port for the host.
    moved, waiting : Signal(len(ports)), in
        One bit per port, in order: a packet leaves through it in this cycle, or is offered and not taken.
    clear : Signal, in
        Reset the counters to 0.
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
        # The events are registered first, because they arrive over long wires.
        for name, events in (("packets", self.moved), ("waits", self.waiting)):
            counted = Signal(len(self.ports), name=f"counted_{name}")
            m.d.sync += counted.eq(events)
            for number, port in enumerate(self.ports):
                # The counter wraps around; the register is declared as modulo 2^32.
                count = Signal(32, name=f"{port.value}_{name}")
                m.d.sync += count.eq(Mux(self.clear, 0, count + counted[number]))
                m.d.comb += getattr(registers, f"{port.value}_{name}").eq(count)
        return m
