"""The controller behind asynchronous queues: random requests at clocks of any ratio."""

import numpy as np
import pytest
from amaranth.hdl import Cat, Value
from amaranth.sim import Simulator
from harness.assign import assign
from harness.networks import rng_of
from harness.sdram import Offered, expected_words, packed, random_requests, stored
from harness.weight_memory import BUSY, LARGE, memory_chip

from spikeloom.hdl.sdram.crossing import SDRAM_DOMAIN, SdramCrossing
from spikeloom.sim.sdram.device import SdramDevice


@pytest.mark.parametrize("core_hz", [31e6, 200e6])
def test_random_requests(request, core_hz):
    rng = rng_of(request.node.name)
    dut = SdramCrossing(BUSY)
    device = SdramDevice(LARGE, LARGE.timing(BUSY.clock_hz))
    requests = random_requests(rng, BUSY, 15)
    layout, of_write = dut.port.requests.payload.shape(), dut.port.writes.payload.shape()
    asked = [packed(layout, address=r.address, count=r.bursts - 1, write=int(bool(r.data))) for r in requests]
    bursts = [
        packed(of_write, data=data, keep=r.keep[number] if r.keep else 0)
        for r in requests
        for number, data in enumerate(r.data)
    ]
    offered = [Offered(dut.port.requests, asked, rng, 0.2), Offered(dut.port.writes, bursts, rng, 0.2)]
    wanted, found = expected_words(BUSY, requests), []
    was_ready = []

    async def testbench(ctx):
        sampled = Cat(
            dut.port.requests.ready, dut.port.writes.ready, dut.port.words.valid, dut.port.ready, dut.port.words.payload
        )
        quiet = 0
        while len(found) < len(wanted) or quiet < 100:
            quiet += len(found) == len(wanted)
            ready = rng.random() < 0.7
            assign(ctx, [*offered[0].levels(), *offered[1].levels(), (dut.port.words.ready, ready)])
            _, _, bits = await ctx.tick().sample(sampled)
            offered[0].edge(bits & 1)
            offered[1].edge(bits >> 1 & 1)
            was_ready.append(bits >> 3 & 1)
            if ready and bits >> 2 & 1:
                found.append(bits >> 4)

    simulator = Simulator(dut)
    simulator.add_clock(1 / core_hz)
    simulator.add_clock(1 / BUSY.clock_hz, phase=1.3e-9, domain=SDRAM_DOMAIN)
    simulator.add_testbench(memory_chip(dut.pins, device), background=True)
    simulator.add_testbench(testbench)
    simulator.run()
    assert found == wanted
    assert stored(BUSY, device) == stored(BUSY, requests=requests)
    assert np.flatnonzero(np.diff(was_ready)).size == 1, "the chip is initialised once"
    assert 0 < sum(word != 0 for word in wanted) < len(wanted)
    assert len(Value.cast(dut.port.words.payload)) == BUSY.burst_bits
