"""The byte link of the driver to a simulated fabric with SDRAM, whose chip has a clock of its own."""

from __future__ import annotations

from amaranth.hdl import Elaboratable, Module
from amaranth.lib import wiring

from harness.phased_device import PhasedDevice
from harness.simulated_link import SimulatedLink
from harness.weight_memory import memory_chip
from spikeloom.hdl.sdram.crossing import SDRAM_DOMAIN, SdramCrossing
from spikeloom.hdl.top.fabric import Fabric
from spikeloom.sim.sdram.device import SdramDevice

__all__ = ["SdramLink"]


class FabricWithSdram(Elaboratable):
    """A fabric with its controller. It has the attributes of the fabric."""

    def __init__(self, fabric):
        self.inner, self.crossing = Fabric(fabric), SdramCrossing(fabric.sdram)

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def elaborate(self, platform):
        m = Module()
        m.submodules.fabric, m.submodules.crossing = self.inner, self.crossing
        wiring.connect(m, self.inner.sdram, self.crossing.port)
        return m


class SdramLink(SimulatedLink):
    """A `SimulatedLink` to a fabric with an SDRAM of the kind ``chip``. ``fault`` changes each word that it drives.

    With the timing ``at_pins`` the chip is a `PhasedDevice`, whose clock the fabric can delay.
    """

    def __init__(self, rng, fabric, *, stall, chip=None, fault=int, at_pins=None, direction=1):
        super().__init__(rng, fabric, stall=stall)
        chip = chip or fabric.sdram.chip
        timing = chip.timing(fabric.sdram.clock_hz)
        if at_pins is None:
            self.device = SdramDevice(chip, timing)
        else:
            self.device = PhasedDevice(chip, timing, at_pins, rng, direction=direction)
            follow = self.device.follow(self.top.crossing.phase_step)
            self.simulator.add_testbench(follow, background=True)
        self.simulator.add_clock(0.53e-6, domain=SDRAM_DOMAIN)
        self.simulator.add_testbench(memory_chip(self.top.crossing.pins, self.device, fault=fault), background=True)

    def design(self, fabric):
        return FabricWithSdram(fabric)
