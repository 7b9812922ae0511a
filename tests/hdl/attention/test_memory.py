"""Blocks of words that are read in any order while the next block is written."""

import pytest
from amaranth.sim import Simulator
from harness.attention_bugs import assert_found
from harness.networks import rng_of

from spikeloom.hdl.attention import memory, unit
from spikeloom.hdl.attention.memory import BLOCKS, SpikeBlocks
from spikeloom.hdl.lib.block_queue import READ_LATENCY


def test_blocks_are_read_in_any_order(request):
    """Blocks are offered when they are complete, may be read while later ones arrive, and wait for room."""
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


PLANTED = {
    "keys of the head before": ("block.eq(block + self.release)", "block.eq(block)"),
    "blocks are written over": ("(full | ((used", "0 & (full | ((used"),
    "blocks before they are complete": (
        "available.eq((self.available",
        "available.eq(1 | (self.available",
    ),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(monkeypatch, bug):
    assert_found(monkeypatch, bug, unit, memory, *PLANTED[bug])
