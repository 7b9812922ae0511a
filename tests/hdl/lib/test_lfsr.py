"""The shift register in hardware against the sequence of the model."""

import gc

import numpy as np
import pytest
from amaranth.sim import Simulator
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.hdl.lib import lfsr as lfsr_module
from spikeloom.hdl.lib.lfsr import SharedWords, ShiftRegister
from spikeloom.sim.lib.lfsr import Lfsr, shared_words


def run(dut, testbench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize(
    ("width", "steps"),
    [(3, 1), (4, 2), (5, 5), (6, 5), (7, 7), (8, 1), (8, 4), (8, 8), (9, 8), (10, 1), (11, 4), (12, 1)],
)
def test_whole_period(width, steps):
    """Every state of the period in order, and the seed after it, also for ``steps`` beyond the smallest tap."""
    lfsr = Lfsr(width=width, seed=(1 << width) // 3)
    dut = ShiftRegister(lfsr, steps=steps)

    async def testbench(ctx):
        ctx.set(dut.enable, 1)
        for expected in lfsr.states(lfsr.period + 1, steps=steps):
            assert ctx.get(dut.state) == expected
            await ctx.tick()

    run(dut, testbench)


@pytest.mark.parametrize(("width", "steps"), [(16, 16), (20, 4), (24, 8), (32, 32), (32, 11)])
def test_wide(width, steps):
    lfsr = Lfsr(width=width, seed=(1 << width) - 3)
    dut = ShiftRegister(lfsr, steps=steps)

    async def testbench(ctx):
        ctx.set(dut.enable, 1)
        for expected in lfsr.states(300, steps=steps):
            assert ctx.get(dut.state) == expected
            await ctx.tick()

    run(dut, testbench)


def test_enable_and_restart():
    """The register waits without ``enable``, and ``restart`` takes precedence over it."""
    rng = rng_of("test_enable_and_restart")
    lfsr = Lfsr(width=9, seed=300)
    dut = ShiftRegister(lfsr, steps=3)
    states = lfsr.states(400, steps=3)
    enables, restarts = rng.random(400) < 0.6, rng.random(400) < 0.05
    assert 0 < (enables & restarts).sum() < restarts.sum() < enables.sum() < 400

    async def testbench(ctx):
        position = 0
        for enable, restart in zip(enables.tolist(), restarts.tolist(), strict=True):
            ctx.set(dut.enable, enable)
            ctx.set(dut.restart, restart)
            assert ctx.get(dut.state) == states[position]
            position = 0 if restart else position + enable
            await ctx.tick()

    run(dut, testbench)


def check_shared_words(component, rng, width, used, count, groups):
    """Some words and groups, one per cycle, compared with the model, `SharedWords.latency` cycles later."""
    dut = component(width=width, used=used, count=count, groups=groups)
    words = rng.integers(0, 1 << 2 * width, 60, dtype=np.uint32)
    chosen = rng.integers(0, groups, 60)
    expected = shared_words(words, width, count * groups) & ((1 << used) - 1)

    async def testbench(ctx):
        for cycle in range(60 + dut.latency):
            if cycle < 60:
                ctx.set(dut.word, int(words[cycle]))
                ctx.set(dut.group, int(chosen[cycle]))
            if cycle >= dut.latency:
                number = cycle - dut.latency
                streams = expected[number].reshape(groups, count)[chosen[number]]
                got = ctx.get(dut.words)
                assert [got >> used * stream & ((1 << used) - 1) for stream in range(count)] == streams.tolist()
            await ctx.tick()

    run(dut, testbench)
    assert len(set(expected[:, -1].tolist())) > 1


@pytest.mark.parametrize(
    ("width", "used", "count", "groups"),
    [
        (1, 1, 1, 1),
        (1, 1, 1, 2),
        (2, 1, 4, 1),
        (3, 3, 2, 4),
        (4, 3, 16, 1),
        (6, 6, 64, 1),
        (6, 4, 8, 8),
        (8, 8, 1, 256),
    ],
)
def test_shared_words(request, width, used, count, groups):
    check_shared_words(SharedWords, rng_of(request.node.name), width, used, count, groups)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "self.group[place] & parity(of_high(self.count << place, bit))",
            "self.group[place] & parity(of_high(self.count << place, 0))",
        ),
        ("if stream:\n", "if stream > 1:\n"),
        (
            "field_product([1 << place for place in range(self.width)], stream, self.width)",
            "[(stream << place) for place in range(self.width)]",
        ),
    ],
)
def test_a_planted_bug_in_the_sharing_is_found(old, new):
    copy = mutated(lfsr_module, old, new)
    with pytest.raises(AssertionError):
        check_shared_words(copy.SharedWords, rng_of(old), 3, 3, 4, 2)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_bad_parameters():
    with pytest.raises(TypeError, match=r"^lfsr must be an Lfsr, not 8$"):
        ShiftRegister(8)
    with pytest.raises(ValueError, match=r"^steps must be an integer from 1 to 8, not 9$"):
        ShiftRegister(Lfsr(width=8), steps=9)
    with pytest.raises(ValueError, match=r"^steps must be an integer from 1 to 8, not 0$"):
        ShiftRegister(Lfsr(width=8), steps=0)
    good = {"width": 4, "used": 4, "count": 4, "groups": 4}
    for changes, message in (
        ({"width": 9}, r"^width must be an integer from 1 to 8, not 9$"),
        ({"used": 5}, r"^used must be an integer from 1 to 4, not 5$"),
        ({"count": 3}, r"^count must be a power of two, not 3$"),
        ({"groups": 8}, r"^count \* groups must be at most 16, not 32$"),
    ):
        with pytest.raises(ValueError, match=message):
            SharedWords(**{**good, **changes})
    gc.collect()  # Amaranth warns when a refused design, never elaborated, is collected: do that here
