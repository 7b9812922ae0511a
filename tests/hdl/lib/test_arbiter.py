"""The arbiter against its definition; `tests/formal` proves the same for all inputs."""

import gc

import pytest
from amaranth.sim import Simulator
from harness.networks import rng_of

from spikeloom.hdl.lib.arbiter import RoundRobinArbiter


def run(dut, testbench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


def test_one_requester_always_gets_what_it_asks_for():
    arbiter = RoundRobinArbiter(1)

    async def testbench(ctx):
        for request in (1, 0, 1):
            ctx.set(arbiter.requests, request)
            assert ctx.get(arbiter.grants) == request

    simulator = Simulator(arbiter)
    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize("requesters", [2, 3, 4, 5])
def test_the_one_whose_turn_is_longest_ago(request, requesters):
    rng = rng_of(request.node.name)
    arbiter = RoundRobinArbiter(requesters)
    order = list(range(requesters))
    refused = 0

    async def testbench(ctx):
        nonlocal refused
        for _ in range(600):
            requests = rng.random(requesters) < rng.choice([0.3, 0.7, 1.0])
            taken = bool(rng.random() < 0.6)
            ctx.set(arbiter.requests, sum(1 << number for number in range(requesters) if requests[number]))
            ctx.set(arbiter.taken, taken)
            asking = [number for number in order if requests[number]]
            assert ctx.get(arbiter.grants) == (1 << asking[0] if asking else 0)
            refused += max(0, len(asking) - 1)
            if asking and taken:
                order.remove(asking[0])
                order.append(asking[0])
            await ctx.tick()

    run(arbiter, testbench)
    assert refused > 0


@pytest.mark.parametrize("requesters", [2, 5])
def test_all_that_always_ask_take_turns(requesters):
    arbiter = RoundRobinArbiter(requesters)
    grants = []

    async def testbench(ctx):
        ctx.set(arbiter.requests, (1 << requesters) - 1)
        ctx.set(arbiter.taken, 1)
        for _ in range(3 * requesters):
            grants.append(ctx.get(arbiter.grants))
            await ctx.tick()

    run(arbiter, testbench)
    assert grants == [1 << number for number in range(requesters)] * 3


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_bad_requesters():
    with pytest.raises(ValueError, match=r"^requesters must be at least 1, not 0$"):
        RoundRobinArbiter(0)
    gc.collect()  # Amaranth warns when a refused design, never elaborated, is collected: do that here
