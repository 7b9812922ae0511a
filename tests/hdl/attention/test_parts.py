"""The parts of the attention unit: the sampler, the queue in block RAM, the blocks of words."""

import gc

import numpy as np
import pytest
from amaranth.sim import Simulator
from harness.networks import rng_of
from harness.streams import run_streams

from spikeloom.hdl.attention.memory import BLOCKS, SpikeBlocks
from spikeloom.hdl.attention.sampler import AndSampler
from spikeloom.hdl.lib.block_queue import READ_LATENCY, BlockQueue


@pytest.mark.parametrize("bits", range(1, 9))
def test_sampler(request, bits):
    """A sample a cycle, of words with every number of common ones, equal to the carry of count and word."""
    rng = rng_of(request.node.name)
    dut, size = AndSampler(bits), 1 << bits
    cases = 300
    count = rng.integers(0, size + 1, cases)
    left = np.argsort(rng.random((cases, size)), axis=1) < count[:, None]
    right = left | (rng.random((cases, size)) < 0.2)  # of the ones of the right, some meet a zero
    swap = rng.random(cases) < 0.5
    left, right = np.where(swap[:, None], right, left), np.where(swap[:, None], left, right)
    words = np.where(rng.random(cases) < 0.6, size - count + rng.integers(-1, 2, cases), rng.integers(0, size, cases))
    words = np.clip(words, 0, size - 1)
    expected = (left & right).sum(axis=1) + words >= size
    assert 0 < expected.sum() < cases

    def number(row):
        return int.from_bytes(np.packbits(row, bitorder="little").tobytes(), "little")

    async def testbench(ctx):
        for cycle in range(cases + dut.latency):
            if cycle < cases:
                ctx.set(dut.left, number(left[cycle]))
                ctx.set(dut.right, number(right[cycle]))
            if 0 <= cycle - (dut.latency - 1) < cases:
                ctx.set(dut.word, int(words[cycle - (dut.latency - 1)]))
            if cycle >= dut.latency:
                assert ctx.get(dut.sample) == expected[cycle - dut.latency]
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_bad_sampler():
    with pytest.raises(ValueError, match=r"^bits must be an integer from 1 to 8, not 0$"):
        AndSampler(0)
    with pytest.raises(ValueError, match=r"^bits must be an integer from 1 to 8, not 9$"):
        AndSampler(9)
    gc.collect()  # what was refused was never elaborated, of which Amaranth warns when it is collected: here


@pytest.mark.parametrize(("idle", "stall"), [(0.0, 0.0), (0.3, 0.3), (0.1, 0.8), (0.8, 0.1)])
def test_queue(request, idle, stall):
    """All words in order; without pauses one a cycle, also when it has been full."""
    rng = rng_of(request.node.name)
    words = rng.integers(0, 256, 400).tolist()
    dut = BlockQueue(8, 16)
    run = run_streams(dut, [dut.i], [dut.o], [words], rng, idle=idle, stall=stall)
    assert run.words(0) == words
    if not idle:
        given = [cycle for _, cycle in run.given[0]]
        assert given[0] - run.taken[0][0][1] == 4
        if not stall:
            assert given[-1] - given[0] == len(words) - 1
        else:
            assert run.taken[0][-1][1] > 2 * len(words), "it was full"


def test_blocks_are_read_in_any_order(request):
    """Blocks are offered when they are complete, may be read while later ones come, and wait for room."""
    rng = rng_of(request.node.name)
    size, blocks = 4, 12
    dut = SpikeBlocks(8, size)
    words = rng.integers(0, 256, (blocks, size))
    progress = {"taken": 0, "released": 0, "most": 0}

    async def source(ctx):
        for word in words.reshape(-1):
            while rng.random() < 0.2:
                await ctx.tick()
            ctx.set(dut.i.payload, int(word))
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)
            progress["taken"] += 1
            assert progress["taken"] <= (progress["released"] + BLOCKS) * size + size
            progress["most"] = max(progress["most"], progress["taken"] - progress["released"] * size)

    async def reader(ctx):
        for block in range(blocks):
            while not ctx.get(dut.available):
                await ctx.tick()
            ctx.set(dut.claim, 1)
            await ctx.tick()
            ctx.set(dut.claim, 0)
            order = [*rng.permutation(size).tolist(), *rng.permutation(size).tolist()]
            found = []
            for cycle in range(len(order) + READ_LATENCY):
                if cycle < len(order):
                    ctx.set(dut.index, order[cycle])
                ctx.set(dut.release, cycle == len(order) - 1)
                if cycle >= READ_LATENCY:
                    found.append(ctx.get(dut.data))
                await ctx.tick()
            progress["released"] += 1
            ctx.set(dut.release, 0)
            assert found == words[block][order].tolist()
            while rng.random() < 0.8:
                await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(source)
    simulator.add_testbench(reader)
    simulator.run()
    assert progress["released"] == blocks
    assert progress["most"] >= BLOCKS * size, "the blocks were all full"
