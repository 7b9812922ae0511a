"""A PHY at the GMII pins of a design, in Amaranth's simulator: it sends frames and collects those that come.

Time is in cycles of the domain ``ethernet``.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from amaranth.sim import Simulator

from harness.assign import assign
from harness.packets import BOARD, HOSTS, udp
from spikeloom.hdl.host import ethernet
from spikeloom.sim.host.ethernet import ETHERNET_HZ, OPENING, EthernetModel

__all__ = ["LEAST_GAP", "PREAMBLE", "GmiiPhy", "LineBench", "opened"]

PREAMBLE = bytes([0x55] * 7 + [0xD5])
LEAST_GAP = 12
_PERIOD_S = 1 / ETHERNET_HZ


class GmiiPhy:
    """The far end of the pins of ``design``, with a simulator around ``top``.

    ``sent`` holds the frames of the design, without preamble, and ``starts`` the cycle in which each began. ``gaps``
    holds the cycles before each frame of the design but the first.
    """

    def __init__(self, design: Any, *, top: Any = None, sync_hz: float = 90e6) -> None:
        self.design = design
        self.incoming: deque[tuple[bytes, int, int]] = deque()
        self.sent: list[bytes] = []
        self.starts: list[int] = []
        self.gaps: list[int] = []
        self.ends: list[int] = []
        """Cycles in which the frames to the design ended."""
        self.cycle = 0
        self.simulator = Simulator(design if top is None else top)
        self.simulator.add_clock(_PERIOD_S, domain="ethernet")
        self.simulator.add_clock(1 / sync_hz, domain="sync", phase=0.3e-9)
        self.simulator.add_testbench(self._send, background=True)
        self.simulator.add_testbench(self._collect, background=True)

    def put(self, frame: bytes, *, gap: int = LEAST_GAP, error: int = -1, preamble: bytes = PREAMBLE) -> None:
        """Send ``frame`` after the frames before it and ``gap`` cycles; ``error`` is the byte with an error."""
        self.incoming.append((preamble + frame, gap, error + len(preamble) if error >= 0 else -1))

    def advance(self, cycles: int) -> None:
        """Let time pass."""
        self.cycle += cycles
        self.simulator.run_until(self.cycle * _PERIOD_S)

    def finish(self, *, more: int = 200, most: int = 200_000) -> None:
        """Let time pass until all frames have been sent, and for ``more`` cycles."""
        end = self.cycle + most
        while self.incoming:
            self.advance(100)
            assert self.cycle < end
        self.advance(more)

    async def _send(self, ctx: Any) -> None:
        design = self.design
        pins = design.rx_data, design.rx_valid, design.rx_error
        ticks = aiter(ctx.tick("ethernet"))
        cycle = 0

        async def until_next() -> None:
            nonlocal cycle
            await anext(ticks)
            cycle += 1

        await until_next()
        while True:
            while not self.incoming:
                await until_next()
            frame, gap, error = self.incoming[0]
            for _ in range(gap):
                await until_next()
            for place, byte in enumerate(frame):
                assign(ctx, zip(pins, (byte, 1, int(place == error)), strict=True))
                await until_next()
            assign(ctx, zip(pins, (0, 0, 0), strict=True))
            self.ends.append(cycle)
            self.incoming.popleft()

    async def _collect(self, ctx: Any) -> None:
        design = self.design
        frame, since, cycle = bytearray(), 0, 0
        async for _, _, valid, byte in ctx.tick("ethernet").sample(design.tx_valid, design.tx_data):
            cycle += 1
            if valid:
                if not frame:
                    self.starts.append(cycle)
                    if self.sent:
                        self.gaps.append(since)
                frame.append(byte)
                since = 0
            elif frame:
                assert frame[:8] == PREAMBLE
                self.sent.append(bytes(frame[8:]))
                frame, since = bytearray(), 1
            else:
                since += 1


class LineBench(GmiiPhy):
    """A device alone: bytes for the link are ``received``, and ``frames`` of the link are offered."""

    def __init__(self, *, take: float = 1.0, give: float = 1.0, sync_hz: float = 90e6, **options: Any) -> None:
        self.line = ethernet.EthernetLine(BOARD, **options)
        super().__init__(self.line, sync_hz=sync_hz)
        self.received = bytearray()
        self.frames: deque[bytes] = deque()
        self.take, self.give, self.chance = take, give, random.Random(1).random
        self.simulator.add_testbench(self.collect_bytes, background=True)
        self.simulator.add_testbench(self.offer, background=True)

    async def collect_bytes(self, ctx: Any) -> None:
        """Take bytes, each with the probability ``take`` per cycle."""
        line, ready = self.line, 0
        async for _, _, valid, byte in ctx.tick().sample(line.o.valid, line.o.payload):
            if valid and ready:
                self.received.append(byte)
            level = int(self.chance() < self.take)
            if level != ready:
                ready = level
                ctx.set(line.o.ready, ready)

    async def offer(self, ctx: Any) -> None:
        """Offer ``frames``, each byte with the probability ``give`` per cycle."""
        line = self.line
        ticks = aiter(ctx.tick().sample(line.i.ready))
        while True:
            await anext(ticks)
            while self.frames:
                for byte in self.frames[0]:
                    while self.chance() >= self.give:
                        await anext(ticks)
                    ctx.set(line.i.payload, byte)
                    ctx.set(line.i.valid, 1)
                    ready = 0
                    while not ready:
                        _, _, ready = await anext(ticks)
                    ctx.set(line.i.valid, 0)
                self.frames.popleft()

    def until_sent(self, count: int, *, most: int = 40_000) -> None:
        """Let time pass until the device has sent ``count`` frames."""
        end = self.cycle + most
        while len(self.sent) < count and self.cycle < end:
            self.advance(50)
        self.advance(40)
        assert len(self.sent) == count


def opened(**options: Any) -> tuple[LineBench, EthernetModel]:
    """A device and its model, both in a session of the first host."""
    bench, model = LineBench(**options), EthernetModel(BOARD)
    bench.put(udp(HOSTS[0], OPENING))
    bench.finish()
    model.receive(udp(HOSTS[0], OPENING))
    assert bench.received == model.received == OPENING
    return bench, model
