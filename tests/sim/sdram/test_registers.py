"""Registers of a weight memory."""

from spikeloom.sim.core.registers import CORE
from spikeloom.sim.noc.registers import ROUTER_MEMORY
from spikeloom.sim.sdram.registers import SDRAM, SDRAM_MEMORY


def test_the_memory_number_is_free():
    assert SDRAM.register_memory == SDRAM_MEMORY
    assert SDRAM_MEMORY not in {0, ROUTER_MEMORY, *(memory.number for memory in CORE.memories)}


def test_flags():
    assert [SDRAM.flag("status", name) for name in ("tested", "failed", "lost", "busy")] == [0, 1, 2, 3]
    assert SDRAM.register("status").width_bits == 4
