"""Registers of a weight memory."""

import dataclasses

from spikeloom.sim.core.registers import CORE
from spikeloom.sim.noc.registers import ROUTER_MEMORY
from spikeloom.sim.sdram.chips import CHIPS
from spikeloom.sim.sdram.parameters import SdramParameters
from spikeloom.sim.sdram.registers import SDRAM, SDRAM_MEMORY


def test_the_memory_number_is_free():
    assert SDRAM.register_memory == SDRAM_MEMORY
    assert SDRAM_MEMORY not in {0, ROUTER_MEMORY, *(memory.number for memory in CORE.memories)}


def test_flags():
    assert [SDRAM.flag("status", name) for name in ("tested", "failed", "lost", "busy")] == [0, 1, 2, 3]
    assert SDRAM.register("status").width_bits == 4


def test_phases_fit():
    """The parameters accept as many as the registers hold."""
    assert {SDRAM.register(name).width_bits for name in ("phases", "phase", "phase_steps")} == {8}
    slowest = SdramParameters(chip=CHIPS["W9825G6KH-6"], clock_hz=100_000_000, phases=255)
    assert slowest.step_ps == 39
    assert dataclasses.replace(slowest, phases=0).step_ps == 0
