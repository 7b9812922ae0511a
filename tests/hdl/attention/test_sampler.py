"""The sampler of the attention unit: sums, comparisons and words, for all widths."""

import gc

import numpy as np
import pytest
from amaranth.sim import Simulator
from harness.attention_bugs import assert_found
from harness.networks import rng_of

from spikeloom.hdl.attention import engine, sampler
from spikeloom.hdl.attention.sampler import AndSampler


@pytest.mark.parametrize("bits", range(1, 9))
def test_sampler(request, bits):
    """One sample per cycle, for words with every number of common ones, equal to the carry of count plus word."""
    rng = rng_of(request.node.name)
    dut, size = AndSampler(bits), 1 << bits
    cases = 300
    count = rng.integers(0, size + 1, cases)
    left = np.argsort(rng.random((cases, size)), axis=1) < count[:, None]
    right = left | (rng.random((cases, size)) < 0.2)  # some ones of the right word meet a zero
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
    gc.collect()  # Amaranth warns when a refused design, never elaborated, is collected: do that here


PLANTED = {
    "the count without its odd one": ("self.word, strict=True)], product)", "self.word)], (0, 0))"),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(monkeypatch, bug):
    assert_found(monkeypatch, bug, engine, sampler, *PLANTED[bug])
