"""Bytes between the clock of a transport and that of the fabric: all of them, in order, in both directions."""

import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from harness.networks import rng_of

from spikeloom.hdl.host.crossing import cross

BYTES = stream.Signature(8)


class Line(wiring.Component):
    """A crossing alone, with the streams of its device as ports."""

    from_host: In(BYTES)
    to_host: Out(BYTES)
    o: Out(BYTES)
    i: In(BYTES)

    def elaborate(self, platform):
        m = Module()
        cross(m, wiring.flipped(self.from_host), wiring.flipped(self.to_host), self, domain="line")
        return m


@pytest.mark.parametrize("period", [0.3, 1.0, 2.7])
def test_every_byte_crosses_in_order(request, period):
    """``period`` is that of the transport in periods of the fabric; both sides pause at random."""
    rng, line = rng_of(request.node.name), Line()
    sent = {name: rng.integers(0, 256, 200).tolist() for name in ("down", "up")}
    taken = {"down": [], "up": []}
    pauses = rng.random((4, 4000)) < 0.3

    def give(way, port, domain, pause):
        async def run(ctx):
            waiting, offered = list(sent[way]), False
            for stop in pause:
                if not offered and waiting and not stop:
                    ctx.set(port.payload, waiting.pop(0))
                    offered = True
                ctx.set(port.valid, offered)
                ready = ctx.get(port.ready)
                await ctx.tick(domain)
                offered = offered and not ready

        return run

    def take(way, port, domain, pause):
        async def run(ctx):
            for stop in pause:
                ctx.set(port.ready, not stop)
                valid, byte = ctx.get(port.valid), ctx.get(port.payload)
                await ctx.tick(domain)
                if valid and not stop:
                    taken[way].append(byte)

        return run

    simulator = Simulator(line)
    simulator.add_clock(1e-6, domain="sync")
    simulator.add_clock(period * 1e-6, domain="line")
    for run in (
        give("down", line.from_host, "line", pauses[0]),
        take("down", line.o, "sync", pauses[1]),
        give("up", line.i, "sync", pauses[2]),
        take("up", line.to_host, "line", pauses[3]),
    ):
        simulator.add_testbench(run)
    simulator.run()
    assert taken == sent
