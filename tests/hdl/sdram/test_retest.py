"""Sweep of the clock's phase: by the driver, the host protocol and the hardware, with a chip whose timing has an
eye."""

import dataclasses

import pytest
from amaranth.sim import Simulator
from harness.mutations import mutated
from harness.networks import rng_of
from harness.streamed_fabric import FABRIC as FIXED
from harness.swept_memory import SweptMemoryLink

from spikeloom.hdl.sdram import controller, retest, weight_memory
from spikeloom.hdl.sdram.retest import PULSE, SETTLE, Retest
from spikeloom.host.driver import Board
from spikeloom.host.protocols import DriverError
from spikeloom.host.transport import LinkError
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.sdram.phase import PinTiming

CHIP = dataclasses.replace(FIXED.sdram.chip, bank_bits=1, row_bits=11, column_bits=8)
"""Few address bits, each of which costs time in every self-test."""
CORE = dataclasses.replace(FIXED.core, weight_words=1 << 16)


def fabric_of(phases):
    sdram = dataclasses.replace(FIXED.sdram, chip=CHIP, phases=phases)
    return FabricConfig(name="swept", core=CORE, sdram=sdram)


def timing_of(fabric, **changes):
    return PinTiming(clock_hz=fabric.sdram.clock_hz, phases=fabric.sdram.phases, **changes)


LATE = {"access": 9_000, "kept": 4_000}
"""Times of a chip that fails at the phase after power-up."""


def link_to(rng, fabric, at_pins, **options):
    return SweptMemoryLink(rng, fabric, stall=0.0, at_pins=at_pins, **options)


def test_the_eye_is_that_of_the_chip(request):
    """The sweep sees the window of the model and leaves the clock in its middle."""
    fabric = fabric_of(7)
    timing = timing_of(fabric)
    link = link_to(rng_of(request.node.name), fabric, timing)
    board = Board(link, fabric)
    assert board.memory_eye is None
    seen = []
    eye = board.sweep_memory(progress=lambda done, of: seen.append((done, of)))
    assert board.memory_eye == eye == dataclasses.replace(timing.eye, step_ps=fabric.sdram.step_ps)
    assert eye.line == "##....#"
    assert link.device.position == eye.middle == 0
    assert seen == [(done, 7) for done in range(1, 8)]
    # Beside power-up and the way back, every position whose commands reach the chip has initialised it after a step.
    reached = sum(timing.reaches_chip(position) for position in range(1, 7))
    assert sum(eye.passed[1:]) < reached < 6
    assert link.device.initialisations == reached + 2


def test_a_session_sweeps_when_the_self_test_fails(request):
    """The phase outlives the session; the next one finds a memory that works."""
    fabric = fabric_of(5)
    link = link_to(rng_of(request.node.name), fabric, timing_of(fabric, **LATE))
    board = Board(link, fabric)
    assert board.memory_eye.line == "....#"
    assert link.device.position == 4
    board = Board(link, fabric)
    assert board.memory_eye is None
    assert link.device.position == 4


@pytest.mark.slow
def test_no_phase_passes(request):
    fabric = fabric_of(5)
    link = link_to(rng_of(request.node.name), fabric, timing_of(fabric, access=9_500))
    with pytest.raises(
        DriverError,
        match=r"^the self-test of the board's SDRAM has failed at all 5 phases of its clock, wrong bits 0x[0-9a-f]+: "
        r"load a bitstream that is built for this board, and suspect its memory or supply if that does not help$",
    ):
        Board(link, fabric)
    assert link.device.position == 0


BUGS = {
    "no step": (retest, "self.phase_step.eq(1), left", "self.phase_step.eq(0), left"),
    "steps faster than the PLL": (retest, "PULSE = 8", "PULSE = 2"),
    "the chip is not initialised": (retest, "restart.eq(1)", "restart.eq(0)"),
    "no wait for the PLL": (retest, "SETTLE = 64", "SETTLE = 1"),
    "the result of the phase before": (retest, "reset_test.eq(1)", "reset_test.eq(0)"),
    "the result before the end of the test": (weight_memory, "test.done & ~retest.busy", "1"),
    "another number of steps": (retest, "left == 0", "left <= 1"),
    "the position does not wrap": (retest, "self.phases - 1", "self.phases"),
    "the controller does not answer": (controller, ", self.ready.eq(0)]", "]"),
}


QUICK_BUGS = ("steps backwards", "no wait for the PLL", "the result of the phase before")
USERS = {
    retest: "spikeloom.hdl.sdram.weight_memory.Retest",
    weight_memory: "harness.swept_memory.WeightMemory",
    controller: "spikeloom.hdl.sdram.crossing.SdramController",
}


@pytest.mark.parametrize(
    "bug", [*QUICK_BUGS, *(pytest.param(bug, marks=pytest.mark.slow) for bug in BUGS if bug not in QUICK_BUGS)]
)
def test_a_planted_bug_is_found(request, monkeypatch, bug):
    """By the eye, by a violation at the chip or at the PLL, or because the driver notices it."""
    fabric = fabric_of(5)
    timing = timing_of(fabric)
    assert timing.eye.line == "##..."
    options = {"direction": -1} if bug not in BUGS else {}
    if not options:
        module, before, after = BUGS[bug]
        user = USERS[module]
        monkeypatch.setattr(user, getattr(mutated(module, before, after), user.rpartition(".")[2]))
    link = link_to(rng_of(request.node.name), fabric, timing, **options)
    try:
        eye = Board(link, fabric).sweep_memory()
    except (AssertionError, DriverError, LinkError):
        return
    assert eye.line != timing.eye.line


def run(dut, testbench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize("phases", [0, 5])
def test_the_order_of_a_repetition(phases):
    """Drained, stepped, initialised and tested; a start meanwhile is ignored."""
    dut = Retest(phases)

    async def testbench(ctx):
        ctx.set(dut.ready, 1)
        for steps, position in ((3, 3), (0, 3), (4, 2), (5, 2)):
            ctx.set(dut.start, 1)
            ctx.set(dut.steps, steps)
            await ctx.tick()
            ctx.set(dut.steps, 1)
            await ctx.tick().repeat(20)
            assert (ctx.get(dut.busy), ctx.get(dut.reset_test), ctx.get(dut.phase_step)) == (1, 0, 0)
            ctx.set(dut.start, 0)
            ctx.set(dut.idle, 1)
            falls, cycles, before = 0, 0, 0
            while not ctx.get(dut.restart):
                await ctx.tick()
                ctx.set(dut.idle, 0)
                falls += before and not ctx.get(dut.phase_step)
                before, cycles = ctx.get(dut.phase_step), cycles + 1
                assert (ctx.get(dut.busy), ctx.get(dut.reset_test)) == (1, 1)
            assert falls == (steps if phases else 0)
            assert cycles == SETTLE + 2 + falls * (2 * PULSE + 1)
            assert ctx.get(dut.phase) == (position if phases else 0)
            await ctx.tick().repeat(3)
            assert ctx.get(dut.restart)
            ctx.set(dut.ready, 0)
            await ctx.tick().repeat(9)
            assert (ctx.get(dut.restart), ctx.get(dut.busy), ctx.get(dut.reset_test)) == (0, 1, 1)
            ctx.set(dut.ready, 1)
            await ctx.tick()
            assert (ctx.get(dut.busy), ctx.get(dut.reset_test)) == (0, 0)

    run(dut, testbench)
