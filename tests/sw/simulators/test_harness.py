# amaranth: UnusedElaboratable=no
"""Plain ports around any design with packet streams: each field is at its place, and missing ones read as 0."""

import re

import pytest
from amaranth.hdl import Module, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from harness.networks import rng_of

from spikeloom.simulators.harness import Harness

FULL = data.StructLayout(
    {"kind": 2, "parity": 1, "last": 1, "axon": 11, "value": signed(9), "destinations": 6},
)
LEAN = data.StructLayout({"kind": 2, "axon": 5})
PORT = {"write_enable": 1, "memory": 3, "plane": 2, "index": 10, "write_data": 8}


class Design(wiring.Component):
    """Streams that a test drives at both ends, and a configuration port that answers with a sum of all writes."""

    def __init__(self, packet, *, tiles=None):
        port = PORT | ({} if tiles is None else {"tile": 3})
        members = {
            "i": In(stream.Signature(packet)),
            "o": Out(stream.Signature(packet)),
            "configuration": In(wiring.Signature({**{n: Out(w) for n, w in port.items()}, "read_data": In(8)})),
            "reset": In(1),
        }
        super().__init__(members | ({} if tiles is None else {"steps_done": Out(tiles)}))
        self.has_tiles = tiles is not None

    def elaborate(self, platform):
        m = Module()
        port = self.configuration
        # A wire from end to end: the packets that the harness sends are those that it receives.
        m.d.comb += [
            self.o.payload.eq(self.i.payload),
            self.o.valid.eq(self.i.valid),
            self.i.ready.eq(self.o.ready & ~self.reset),
            port.read_data.eq(port.memory + port.plane + port.index + port.write_data + port.write_enable),
        ]
        if self.has_tiles:
            m.d.comb += self.steps_done.eq(port.tile)
        return m


def simulated(harness, check):
    async def testbench(ctx):
        await check(ctx)

    simulator = Simulator(harness)
    simulator.add_testbench(testbench)
    simulator.run()


def test_every_field_of_a_packet_passes(request):
    rng = rng_of(request.node.name)
    harness = Harness(design := Design(FULL, tiles=3))

    async def check(ctx):
        negative = 0
        for _ in range(50):
            fields = {"kind": 2, "parity": 1, "last": 1, "axon": 11}
            given = {name: int(rng.integers(1 << width)) for name, width in fields.items()}
            given["value"] = int(rng.integers(-256, 256))
            negative += given["value"] < 0
            for name, value in given.items():
                ctx.set(getattr(harness, f"i_{name}"), value)
            destinations = int(rng.integers(64))
            ctx.set(harness.i_destinations, destinations)
            assert {name: ctx.get(getattr(harness, f"o_{name}")) for name in given} == given
            assert ctx.get(design.i.payload.destinations) == destinations
        assert 0 < negative < 50

    simulated(harness, check)


def test_handshakes_and_reset():
    harness = Harness(Design(FULL))

    async def check(ctx):
        for valid, ready, reset in ((v, r, x) for v in (0, 1) for r in (0, 1) for x in (0, 1)):
            ctx.set(harness.i_valid, valid)
            ctx.set(harness.o_ready, ready)
            ctx.set(harness.reset, reset)
            assert (ctx.get(harness.o_valid), ctx.get(harness.i_ready)) == (valid, ready and not reset)

    simulated(harness, check)


def test_what_a_packet_does_not_have_reads_as_0():
    harness = Harness(Design(LEAN))

    async def check(ctx):
        for name in ("kind", "parity", "last", "axon", "value"):
            ctx.set(getattr(harness, f"i_{name}"), 1)
        ctx.set(harness.i_axon, 37)  # of which the packet has five bits
        found = {name: ctx.get(getattr(harness, f"o_{name}")) for name in ("kind", "parity", "last", "axon", "value")}
        assert found == {"kind": 1, "parity": 0, "last": 0, "axon": 37 % 32, "value": 0}
        assert ctx.get(harness.steps_done) == 0

    simulated(harness, check)


@pytest.mark.parametrize("tiles", [None, 3])
def test_the_configuration_port(tiles):
    """A design with one tile has no ``tile`` in its port: that of the harness is left open."""
    harness = Harness(Design(LEAN, tiles=tiles))

    async def check(ctx):
        given = {"tile": 5, "write_enable": 1, "memory": 3, "plane": 2, "index": 100, "write_data": 40}
        for name, value in given.items():
            ctx.set(getattr(harness, f"configuration_{name}"), value)
        assert ctx.get(harness.configuration_read_data) == 1 + 3 + 2 + 100 + 40
        assert ctx.get(harness.steps_done) == (0 if tiles is None else 5)

    simulated(harness, check)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"axon": 33}, "axon of a packet must have at most 32 bits, not 33"),
        ({"axon": 8, "value": signed(40)}, "value of a packet must have at most 32 bits, not 40"),
    ],
)
def test_a_packet_that_does_not_fit(layout, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Harness(Design(data.StructLayout(layout)))
