"""The request decoder in its bridge: bad messages, a byte per cycle, writes that settle, and planted bugs."""

import numpy as np
import pytest
from harness.bridge import BridgeBench, check, find_planted_bug, random_data, write
from harness.networks import rng_of

from spikeloom.hdl.host import request_decoder
from spikeloom.hdl.host.bridge import HostBridge
from spikeloom.sim.host.bridge import AXON_ERROR, MESSAGE_ERROR, Spike, Tick
from spikeloom.sim.host.messages import encode_spikes


def test_bad_messages_are_skipped(request):
    rng = rng_of(request.node.name)
    bench = BridgeBench(HostBridge(8, 8), rng)
    data = random_data(rng, 8, errors=True)
    run, expected = check(bench, data)
    assert expected.error == MESSAGE_ERROR | AXON_ERROR
    assert sum(isinstance(r, Spike) for r in run.requests) > 0


def test_a_spike_a_cycle_in(request):
    spikes = np.ones((1, 500), bool)
    bench = BridgeBench(HostBridge(9, 16), rng_of(request.node.name), idle=0, stall=0, density=0)
    run, _ = check(bench, encode_spikes(spikes))
    assert run.last_byte == 501
    assert run.last_request <= 501 + 8


def test_a_write_settles_before_what_follows(request):
    # The clearing has been done when the TICK right behind it goes: it has parity 0 again.
    rng = rng_of(request.node.name)

    class Twice(BridgeBench):
        async def _clock(self, ctx, data, cycles, reset, reset_at):
            await super()._clock(ctx, b"\x20", cycles, reset, reset_at)
            await super()._clock(ctx, data, cycles, reset, reset_at)

    run = Twice(HostBridge(8, 16), rng, density=0, idle=0, stall=0).simulate(write("control", 1) + b"\x80\x21")
    assert run.requests == [Spike(0), Tick(True)]


MUTATIONS = {
    "skip": ("Const(0, DISTANCE_BITS), ~byte[:SKIP_BITS]", "Const(0, DISTANCE_BITS - 1), ~byte[:SKIP_BITS]"),
    "first spike of a step": (
        "with m.If(take & is_tick):\n                        m.d.sync += previous.eq(-1)",
        "with m.If(take & is_tick):\n                        m.d.sync += previous.eq(previous)",
    ),
    "a byte that waits": ("with m.Elif(~spare_valid):", "with m.Else():"),
    "unready byte": ("self.i.ready.eq(~spare_valid)", "self.i.ready.eq(1)"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_planted_bugs_are_found(monkeypatch, name):
    find_planted_bug(monkeypatch, request_decoder, *MUTATIONS[name])
