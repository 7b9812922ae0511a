"""Gathering of bytes: the memory after random writes, the length of requests, and bytes that find no place."""

import pytest
from amaranth.hdl import Cat
from amaranth.sim import Simulator
from harness.assign import assign
from harness.mutations import mutated
from harness.networks import rng_of
from harness.sdram import COLORLIGHT, ULX3S

from spikeloom.hdl.sdram import gather as module


def run(rng, p, writes, *, idle=0.0, busy=0.0, full=0.0, gather=None):
    """Write ``writes``, each ``(address, byte)``; return the memory after them, by byte, the requests, and the losses.

    ``idle`` is the probability of a pause before a byte, ``busy`` that no request is taken in a cycle, ``full`` that no
    burst is.
    """
    dut = gather or module.ByteGatherer(p)
    size = p.burst_bytes
    memory, requests, bursts, lost = {}, [], [], 0

    async def testbench(ctx):
        nonlocal lost
        place, rest, cycles = 0, 0, 0
        request, write = dut.requests, dut.writes
        sampled = Cat(request.valid, write.valid, dut.lost, request.payload.address, request.payload.count)
        address_bits = len(request.payload.address)
        while place < len(writes) or ctx.get(dut.busy) or rest < 3:
            cycles += 1
            assert cycles < 6 * len(writes) + 100, "every byte must be written"
            enable = place < len(writes) and rng.random() >= idle
            rest = 0 if place < len(writes) else rest + 1
            ready, takes = rng.random() >= full, rng.random() >= busy
            address, byte = writes[place] if enable else (int(rng.integers(1 << 8)), 0xEE)
            place += enable
            assign(
                ctx,
                [
                    (dut.enable, enable),
                    (dut.address, address),
                    (dut.data, byte),
                    (request.ready, takes),
                    (write.ready, ready),
                ],
            )
            _, _, bits, data, keep, kind = await ctx.tick().sample(
                sampled, write.payload.data, write.payload.keep, request.payload.write
            )
            lost += bits >> 2 & 1
            if ready and bits >> 1 & 1:
                bursts.append((data, keep))
            if takes and bits & 1:
                assert kind == 1
                requests.append((bits >> 3 & (1 << address_bits) - 1, (bits >> 3 + address_bits) + 1))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert len(bursts) == sum(count for _, count in requests), "each burst has its request"
    left = iter(bursts)
    for address, count in requests:
        for number in range(count):
            data, keep = next(left)
            for byte in range(size):
                if not keep >> byte & 1:
                    memory[(address + number) * size + byte] = data >> 8 * byte & 0xFF
    return memory, requests, lost


def in_order(rng, first, count):
    return [(first + number, int(rng.integers(256))) for number in range(count)]


@pytest.mark.parametrize("sdram", [ULX3S, COLORLIGHT], ids=["16 bits", "32 bits"])
def test_bytes_without_a_pause(request, sdram):
    """Whole chunks, apart from the ends."""
    rng = rng_of(request.node.name)
    writes = in_order(rng, 6, 300)
    memory, requests, lost = run(rng, sdram, writes, busy=0.8)
    # Without byte masks, the bytes beside the first and the last one become 0.
    beside = {} if sdram.masks else dict.fromkeys([*range(6), *range(306, 312)], 0)
    assert memory == dict(writes) | beside
    assert not lost
    assert [count for _, count in requests[:-1]] == [module.CHUNK] * (len(requests) - 1)
    assert len(requests) > 2


def test_bytes_at_random_places_and_times(request):
    rng = rng_of(request.node.name)
    writes = []
    for _ in range(40):
        writes += in_order(rng, int(rng.integers(200)), int(rng.integers(1, 9)))
    memory, requests, lost = run(rng, ULX3S, writes, idle=0.6)
    assert memory == dict(writes)
    assert not lost
    assert len({count for _, count in requests}) > 2


def test_what_is_lost_is_said(request):
    """A memory that is too slow loses whole bursts, says so, and never gets a burst without its request."""
    rng = rng_of(request.node.name)
    writes = [(int(rng.integers(400)), int(rng.integers(256))) for _ in range(300)]
    memory, requests, lost = run(rng, ULX3S, writes, busy=0.6, full=0.4)
    last = dict(writes)
    assert 0 < lost < len(writes)
    assert memory.keys() <= last.keys()
    assert requests
    check_what_is_left(rng)


def check_what_is_left(rng, gather=None):
    """Of consecutive bytes, what is not lost lies where it belongs."""
    writes = in_order(rng, 6, 300)
    for pace in ({"busy": 0.3, "full": 0.4}, {"idle": 0.8, "full": 0.8}):
        memory, requests, lost = run(rng, ULX3S, writes, **pace, gather=gather)
        assert memory.items() <= dict(writes).items()
        assert 0 < lost < len(writes) // ULX3S.burst_bytes
        assert len({count for _, count in requests}) > 1


def test_writes_are_sent_after_a_pause(request):
    rng = rng_of(request.node.name)
    memory, requests, _ = run(rng, ULX3S, [(5, 1)])
    assert memory == {5: 1}
    assert requests == [(1, 1)]


MUTATIONS = {
    "bytes of the burst before": ("present.eq(Mux(same, present, 0) | here)", "present.eq(present | here)"),
    "longest request": ("adjacent & (length != CHUNK)", "adjacent"),
    "another burst": ("adjacent & (length", "(length"),
    "a burst behind a lost one": ("succeeds & (push | sent)", "succeeds"),
    "a lost burst behind another": (
        "adjacent.eq(succeeds & (push | sent)), sent.eq(0)",
        "adjacent.eq(succeeds & (push | sent))",
    ),
    "a burst without its request": (
        "push.eq(complete & self.writes.ready & (~ends | room))",
        "push.eq(complete & self.writes.ready)",
    ),
    "the last bytes": ("Mux(enable, ~same, is_quiet)", "Mux(enable, ~same, 0)"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(mutation):
    rng = rng_of(mutation)
    wrong = mutated(module, *MUTATIONS[mutation])
    if "lost" in mutation:
        with pytest.raises(AssertionError, match="dict_items"):
            check_what_is_left(rng, wrong.ByteGatherer(ULX3S))
        return
    writes = in_order(rng, 6, 200)
    for _ in range(20):
        writes += in_order(rng, int(rng.integers(200)), int(rng.integers(1, 5)))

    def check():
        pace = {"busy": 0.9} if mutation == "a burst without its request" else {"idle": 0.6, "busy": 0.2}
        memory, requests, lost = run(rng, ULX3S, writes, **pace, gather=wrong.ByteGatherer(ULX3S))
        assert memory == dict(writes) or lost
        assert not lost or "idle" not in pace
        assert max(count for _, count in requests) == module.CHUNK

    with pytest.raises((AssertionError, StopIteration)):
        check()
