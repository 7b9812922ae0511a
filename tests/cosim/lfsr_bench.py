"""cocotb bench of the shift registers in Verilog: the whole period, with pauses and a restart."""

import json
import os
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge

from spikeloom.sim.lib.lfsr import Lfsr

REGISTERS = [(Lfsr(width=width, seed=seed), steps) for width, seed, steps in json.loads(os.environ["REGISTERS"])]


@cocotb.test()
@cocotb.parametrize(number=range(len(REGISTERS)))
async def test_whole_period(registers, number: int) -> None:
    lfsr, steps = REGISTERS[number]
    enable, restart, seed, state = (
        getattr(registers, f"{name}_{number}") for name in ("enable", "restart", "seed", "state")
    )
    rng = random.Random(number)
    enable.value, restart.value, seed.value = 0, 0, lfsr.seed
    registers.rst.value = 1
    Clock(registers.clk, 10, "ns").start()
    await ClockCycles(registers.clk, 3)
    await FallingEdge(registers.clk)
    registers.rst.value = 0
    count = min(lfsr.period, 2000) + 1
    for expected in lfsr.states(count, steps=steps):
        assert state.value.to_unsigned() == expected
        while rng.random() < 0.2:
            enable.value = 0
            await FallingEdge(registers.clk)
            assert state.value.to_unsigned() == expected
        enable.value = 1
        await FallingEdge(registers.clk)
    restart.value = 1
    await FallingEdge(registers.clk)
    assert state.value.to_unsigned() == lfsr.seed
