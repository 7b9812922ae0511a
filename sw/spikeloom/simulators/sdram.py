"""The SDRAM of a compiled simulation: which chip it has, the clocks, and how much of its bandwidth a run has used.

The model of the chip is ``sdram_device.h``, which ``harness.cc`` clocks beside the compiled design. It checks every
rule that `spikeloom.sim.sdram.device.SdramDevice` checks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.sdram.chips import SdramChip, SdramTiming
from spikeloom.sim.sdram.parameters import SdramParameters
from spikeloom.sim.sdram.weights import MEMORY_TO_CORE

__all__ = ["NO_TRAFFIC", "SdramTraffic", "chip_numbers", "clock_periods", "core_clock", "simulated_chip"]


@dataclass(frozen=True)
class SdramTraffic:
    """``cycles`` of the memory's clock, and the ``words`` of the chip that were read or written in them.

    The data pins carry one word per cycle at most, so ``used`` is the part of the raw bandwidth, 0 to 1.
    """

    cycles: int = 0
    words: int = 0

    @property
    def used(self) -> float:
        """Part of the cycles in which a word was on the data pins."""
        return self.words / self.cycles if self.cycles else 0.0

    def __add__(self, other: SdramTraffic) -> SdramTraffic:
        return SdramTraffic(self.cycles + other.cycles, self.words + other.words)

    def __sub__(self, other: SdramTraffic) -> SdramTraffic:
        return SdramTraffic(self.cycles - other.cycles, self.words - other.words)


NO_TRAFFIC = SdramTraffic()
"""The traffic of a fabric without SDRAM."""


def chip_numbers(chip: SdramChip, timing: SdramTiming) -> tuple[int, ...]:
    """Return geometry and rules in the order of ``SdramRules`` in ``sdram_device.h``."""
    return (
        *(chip.width, chip.bank_bits, chip.row_bits, chip.column_bits),
        *(timing.rcd, timing.rp, timing.ras, timing.rc, timing.rrd, timing.rfc, timing.wr, timing.mrd),
        *(timing.ras_limit, timing.refresh_interval, timing.power_up, timing.cas_latency),
    )


def simulated_chip(sdram: SdramParameters, needed: int) -> SdramChip:
    """Return the smallest chip of the board with room for ``needed`` bytes.

    Raises
    ------
    ValueError
        The largest one is too small.
    """
    chip = sdram.chip
    for columns, rows in ((0, 0), (sdram.more_column_bits, 0), (sdram.more_column_bits, sdram.more_row_bits)):
        larger = replace(chip, column_bits=chip.column_bits + columns, row_bits=chip.row_bits + rows)
        if larger.bytes >= needed:
            return larger
    raise ValueError(f"needed must be at most {larger.bytes:,} bytes, the size of the largest chip, not {needed:,}")


def core_clock(fabric: FabricConfig) -> int:
    """Return the highest clock, in hertz, at which the SDRAM of ``fabric`` keeps up with the core while it is
    loaded."""
    assert fabric.sdram is not None
    return round(fabric.sdram.clock_hz / MEMORY_TO_CORE)


def clock_periods(core_hz: int, memory_hz: int) -> tuple[int, int]:
    """Return the periods of both clocks in the largest unit in which both are integers.

    Raises
    ------
    ValueError
        The memory's clock is less than `MEMORY_TO_CORE` times that of the core.
    """
    # An integer comparison would have to scale by 10; half a hertz of rounding is not meant to be refused.
    if core_hz < 1 or memory_hz < MEMORY_TO_CORE * core_hz - 1:
        raise ValueError(
            f"core_hz must be from 1 to {round(memory_hz / MEMORY_TO_CORE):,} for an SDRAM at {memory_hz:,} Hz, not "
            f"{core_hz:,}"
        )
    divisor = math.gcd(core_hz, memory_hz)
    return memory_hz // divisor, core_hz // divisor
