"""The queue against its definition; `tests/formal` proves the same for all inputs."""

import gc

import pytest
from amaranth.sim import Simulator
from harness.networks import rng_of
from harness.streams import run_streams

from spikeloom.hdl.lib.fifo import Fifo


def run(dut, testbench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize(("idle", "stall"), [(0, 0), (0.3, 0.3), (0, 0.6), (0.7, 0)])
def test_words_come_out_as_they_went_in(request, depth, idle, stall):
    rng = rng_of(request.node.name)
    fifo = Fifo(9, depth)
    words = rng.integers(512, size=300).tolist()
    result = run_streams(fifo, [fifo.i], [fifo.o], [words], rng, idle=idle, stall=stall)
    assert result.words(0) == words
    if stall == 0:
        assert [after - before for (_, before), (_, after) in zip(result.taken[0], result.given[0], strict=True)] == (
            [1] * len(words)
        )
    if idle == stall == 0:
        assert result.given[0][-1][1] == len(words), "a word a cycle"


@pytest.mark.parametrize("depth", [1, 2, 4, 16])
def test_every_state_and_the_following_word(request, depth):
    """Ready, valid, the front and the word behind it, compared in every cycle, until the queue is full and until it is
    empty."""
    rng = rng_of(request.node.name)
    fifo = Fifo(8, depth)
    held = []
    levels = set()

    async def testbench(ctx):
        for cycle in range(1500):
            filling = 0.8 if cycle // 50 % 2 else 0.3
            valid, ready, word = rng.random() < filling, rng.random() < 1 - filling, int(rng.integers(256))
            ctx.set(fifo.i.valid, valid)
            ctx.set(fifo.i.payload, word)
            ctx.set(fifo.o.ready, ready)
            levels.add(len(held))
            assert ctx.get(fifo.o.valid) == bool(held)
            may = len(held) < depth or (depth == 1 and ready)
            assert ctx.get(fifo.i.ready) == may
            if held:
                assert ctx.get(fifo.o.payload) == held[0]
            behind = held[1:] + [word] * (valid and may)
            assert ctx.get(fifo.following_valid) == bool(behind)
            if behind:
                assert ctx.get(fifo.following) == behind[0]
            if held and ready:
                held.pop(0)
            if valid and may:
                held.append(word)
            await ctx.tick()

    run(fifo, testbench)
    assert levels == set(range(depth + 1))


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_bad_depth():
    for depth in (0, 3, -2, 2.0):
        with pytest.raises(ValueError, match=rf"^depth must be a power of two, not {depth}$"):
            Fifo(8, depth)
    gc.collect()  # Amaranth warns when a refused design, never elaborated, is collected: do that here
