"""The host bridge with a weight memory and nothing else, so that a sweep of the clock's phase takes seconds."""

from __future__ import annotations

from amaranth.hdl import Elaboratable, Module, ResetInserter, Signal
from amaranth.lib import wiring

from harness.sdram_link import SdramLink
from spikeloom.hdl.host.bridge import HostBridge
from spikeloom.hdl.sdram.crossing import SdramCrossing
from spikeloom.hdl.sdram.weight_memory import WeightMemory

__all__ = ["SweptMemoryLink"]


class _BridgeAndMemory(Elaboratable):
    """The ports of a `Fabric`, as far as a `SimulatedLink` needs them."""

    def __init__(self, fabric) -> None:
        self._fabric = fabric
        self._bridge = HostBridge(
            fabric.axon_width,
            fabric.value_width,
            latency=fabric.configuration_latency,
            index_width=fabric.index_width,
            plane_width=fabric.plane_width,
            read_back=fabric.read_back,
        )
        self.receive, self.transmit, self.reset = self._bridge.receive, self._bridge.transmit, Signal()
        self._memory = WeightMemory(fabric.weights, fabric.core.sdram_memory.number)
        self.crossing = SdramCrossing(fabric.sdram)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.bridge = ResetInserter(self.reset)(self._bridge)
        m.submodules.memory, m.submodules.crossing = memory, crossing = self._memory, self.crossing
        wiring.connect(m, memory.memory, crossing.port)
        before, after = self._bridge.configuration, memory.configuration
        for name in ("memory", "plane", "index", "write_data", "write_enable", "reading"):  # of different widths
            m.d.comb += getattr(after, name).eq(getattr(before, name))
        m.d.comb += [
            before.read_data.eq(after.read_data),
            memory.reset.eq(self.reset),
            self._bridge.to_fabric.ready.eq(1),
        ]
        return m


class SweptMemoryLink(SdramLink):
    """An `SdramLink` to a fabric of which only the weight memory is built."""

    def design(self, fabric):
        return _BridgeAndMemory(fabric)
