"""The byte link of the driver, connected directly to a simulated fabric without UART and link."""

from collections import deque

from amaranth.sim import Simulator

from harness.assign import assign
from spikeloom.hdl.top.fabric import Fabric
from spikeloom.host.transport import LinkError, ModelTransport
from spikeloom.sim.host.link import DeviceModel

__all__ = ["SimulatedLink", "simulated_line"]

_TIMEOUT_CYCLES = 10_000
_SLICE_CYCLES = 10
"""Cycles between two looks at what has come: few, because every message that waits for an answer costs one."""


class SimulatedLink:
    """The bytes of the driver, connected directly to the simulated bridge; time passes when the driver waits."""

    def __init__(self, rng, fabric, *, stall):
        self.top = self.design(fabric)
        self.identity = fabric.identity()
        self.rng = rng
        self.stall = stall
        self.outgoing, self.incoming = deque(), bytearray()
        self.cycles = 0
        self.opening = False
        self.simulator = Simulator(self.top)
        self.simulator.add_clock(1e-6)
        self.simulator.add_testbench(self._clock, background=True)

    def design(self, fabric):
        """The design with the ports of a `Fabric`."""
        return Fabric(fabric)

    async def _clock(self, ctx):
        top, before = self.top, None
        driven = top.reset, top.receive.valid, top.receive.payload, top.transmit.ready

        def drive():
            nonlocal before
            opening = self.opening
            byte = self.outgoing[0] if self.outgoing else 0
            ready = self.rng.random() >= self.stall and not opening
            levels = opening, bool(self.outgoing) and not opening, byte, ready
            if levels != before:
                assign(ctx, zip(driven, levels, strict=True))
                before = levels
            return levels

        opening, sends, _, ready = drive()
        outputs = top.receive.ready, top.transmit.valid, top.transmit.payload
        async for _, _, taken, given, byte in ctx.tick().sample(*outputs):
            if opening:  # it may have been requested during this cycle
                self.opening = False
            if sends and taken and self.outgoing:  # none remains after a new session has begun
                self.outgoing.popleft()
            if given and ready:
                self.incoming.append(byte)
            opening, sends, _, ready = drive()

    def _pass(self, cycles):
        self.cycles += cycles
        self.simulator.run_until(self.cycles * 1e-6)

    def advance(self, cycles):
        """Let time pass."""
        self._pass(cycles)

    def open(self):
        self.outgoing.clear()
        self.opening = True
        self._pass(4)
        self.incoming.clear()
        return self.identity

    def send(self, data):
        self.outgoing.extend(data)
        while len(self.outgoing) > 64:
            self._pass(_SLICE_CYCLES)

    def receive(self, minimum=1, *, timeout_s=None):
        for _ in range(_TIMEOUT_CYCLES // _SLICE_CYCLES):
            if len(self.incoming) >= minimum:
                break
            self._pass(_SLICE_CYCLES)
        else:
            raise LinkError(f"nothing has come for {_TIMEOUT_CYCLES} cycles")
        data = bytes(self.incoming)
        self.incoming.clear()
        return data

    def poll(self):
        return self.receive(0)


def simulated_line(link):
    """A line to the model of the link, with the simulated fabric of ``link`` behind it."""
    resets, waiting = 0, bytearray()

    def serve(model):
        nonlocal resets
        if model.resets != resets:
            resets = model.resets
            link.open()
            waiting.clear()
        while data := model.receive(1000):
            link.send(data)
        waiting.extend(link.poll())
        link.advance(100)
        del waiting[: model.transmit(bytes(waiting))]

    return ModelTransport(DeviceModel(link.top.fabric.link, link.identity.encode()), serve)
