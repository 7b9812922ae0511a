"""The shift register in hardware against the sequence of the model."""

import gc

import pytest
from amaranth.sim import Simulator
from harness.networks import rng_of

from spikeloom.hdl.lfsr import ShiftRegister
from spikeloom.sim.lfsr import Lfsr


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
    """Every state of the period in order, and the seed after it; ``steps`` beyond the smallest tap included."""
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
    """It waits without ``enable``, and ``restart`` wins over it."""
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


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_bad_parameters():
    with pytest.raises(TypeError, match=r"^lfsr must be an Lfsr, not 8$"):
        ShiftRegister(8)
    with pytest.raises(ValueError, match=r"^steps must be an integer from 1 to 8, not 9$"):
        ShiftRegister(Lfsr(width=8), steps=9)
    with pytest.raises(ValueError, match=r"^steps must be an integer from 1 to 8, not 0$"):
        ShiftRegister(Lfsr(width=8), steps=0)
    gc.collect()  # what was refused was never elaborated, of which Amaranth warns when it is collected: here
