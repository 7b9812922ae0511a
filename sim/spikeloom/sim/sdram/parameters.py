"""Parameters of the SDRAM controller, and its recurrence: the cycle of each command and the bandwidth that follows.

A request names consecutive bursts of `BURST` words. An address is divided as follows, from the lowest bit::

    column of a burst | bank | row | column and row bits that only some of a board's chips have
    stripe | bank | rest of the column | row | ...                                                with two banks

A request that runs past the end of a row therefore continues in the next bank, whose ACTIVATE is hidden. With two
banks, half of all weight rows would meet the bank of the row before; consecutive *stripes* of `STRIPE` bursts are in
alternate banks there, so that long rows use both. On a smaller chip the upper part of the address space repeats the
lower part, by which the size is probed.

A request is cut into *segments* at the ends of rows or stripes. The controller holds two: READs or WRITEs are sent
for the *current* one, one every `BURST` cycles, while the *next* one is activated in the cycles between. The last
command of a segment closes its row (auto precharge). For a sequence of reads that never waits, with ``n`` bursts in
segment ``i``::

    activate[i] >= last[i-2] + 1                             it becomes the next segment
    activate[i] >= last[j] + read_to_activate                j: the latest earlier segment in the bank
    activate[i] >= activate[i-1] + rrd
    activate[i] not in {first[i-1] + BURST k}                cycles that send a READ
    first[i] = max(last[i-1] + BURST, activate[i] + activate_to_column)
    last[i]  = first[i] + BURST (n - 1)

`SdramParameters.read_schedule` computes it; the RTL sends the same commands in the same cycles.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spikeloom.sim.sdram.chips import SdramChip, SdramTiming
from spikeloom.sim.sdram.commands import BURST

__all__ = ["STRIPE", "ScheduledRead", "SdramParameters", "Segment"]

STRIPE = 4
"""Bursts of a stripe on a chip with two banks: the fewest that are read in the time in which the other bank is closed
and opened again, so that reads of whole stripes never wait."""


@dataclass(frozen=True)
class Segment:
    """Bursts ``column`` to ``column + bursts - 1`` of a row of a bank. ``column`` counts bursts."""

    bank: int
    row: int
    column: int
    bursts: int


@dataclass(frozen=True)
class ScheduledRead:
    """The cycles in which a segment is activated, and in which its first and its last READ are sent."""

    activate: int
    first: int
    last: int


@dataclass(frozen=True, kw_only=True)
class SdramParameters:
    """A controller for ``chip`` at ``clock_hz``.

    Parameters
    ----------
    chip
        The chip, or the slowest and smallest of those that a board may have (`SdramChip.slowest`).
    clock_hz
        Clock of the controller and of the chip in Hz.
    more_column_bits, more_row_bits
        Bits by which the largest chip of the board exceeds ``chip``: 0 or 1, and 0 to 2.
    masks
        Whether the byte masks of the chip are connected. Without them, whole bursts are written.
    count_bits
        Width of the length of a request in bursts, 1 to 16.
    read_delay
        Cycles that a word takes from the chip to the controller beyond the CAS latency and the two registers at the
        pins, 0 to 3.
    phases
        Steps of a whole cycle in which the clock of the chip can be delayed (`spikeloom.sim.sdram.phase`), up to 255; 0
        if its phase is fixed.
    """

    chip: SdramChip
    clock_hz: int
    more_column_bits: int = 0
    more_row_bits: int = 0
    masks: bool = True
    count_bits: int = 10
    read_delay: int = 0
    phases: int = 0

    def __post_init__(self) -> None:
        limits = {
            "more_column_bits": (0, 1),
            "more_row_bits": (0, 2),
            "count_bits": (1, 16),
            "read_delay": (0, 3),
            "phases": (0, 255),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ValueError(f"{name} must be from {low} to {high}, not {value!r}")
        if not isinstance(self.clock_hz, int) or isinstance(self.clock_hz, bool) or self.clock_hz < 1:
            raise ValueError(f"clock_hz must be a positive integer, not {self.clock_hz!r}")
        if self.refresh_period < 4 * self.refresh_wait:
            raise ValueError(f"clock_hz must leave time between two refreshes, not {self.clock_hz!r}")

    @cached_property
    def timing(self) -> SdramTiming:
        """The rules of the chip at this clock."""
        return self.chip.timing(self.clock_hz)

    @property
    def step_ps(self) -> int:
        """Duration of a step of the phase in picoseconds, rounded down; 0 if the phase is fixed."""
        return 10**12 // (self.clock_hz * self.phases) if self.phases else 0

    @property
    def burst_bits(self) -> int:
        """Bits of a burst: the width of the streams."""
        return BURST * self.chip.width

    @property
    def burst_bytes(self) -> int:
        """Bytes of a burst."""
        return self.burst_bits // 8

    @property
    def column_bits(self) -> int:
        """Width of a column address in units of bursts, for the smallest chip."""
        return self.chip.column_bits - (BURST.bit_length() - 1)

    @property
    def stripe_bits(self) -> int:
        """Address bits below those of the bank: the column, or with two banks the burst within a stripe."""
        stripe = STRIPE.bit_length() - 1
        return min(stripe, self.column_bits) if self.chip.bank_bits == 1 else self.column_bits

    @property
    def address_bits(self) -> int:
        """Width of an address in units of bursts, for the largest chip."""
        return self.least_address_bits + self.more_column_bits + self.more_row_bits

    @property
    def least_address_bits(self) -> int:
        """Width of an address in units of bursts, for the smallest chip."""
        return self.column_bits + self.chip.bank_bits + self.chip.row_bits

    # Distances in cycles between commands of the controller.

    @property
    def activate_to_column(self) -> int:
        """Cycles from ACTIVATE to READ or WRITE: tRCD, or more if tRAS requires it for a row with a single READ."""
        return max(self.timing.rcd, self.timing.ras - BURST)

    @property
    def read_to_activate(self) -> int:
        """Cycles from the last READ of a segment to ACTIVATE of the same bank."""
        return max(BURST + self.timing.rp, self.timing.rc - self.activate_to_column)

    @property
    def write_to_activate(self) -> int:
        """Cycles from the last WRITE of a segment to ACTIVATE of the same bank."""
        return max(BURST - 1 + self.timing.wr + self.timing.rp, self.timing.rc - self.activate_to_column)

    @property
    def read_to_write(self) -> int:
        """Cycles from READ to WRITE, with one cycle without data between the last word read and the first written."""
        return self.timing.cas_latency + BURST + 1

    @property
    def read_latency(self) -> int:
        """Cycles from the decision to send a READ until its first word is in the input register."""
        return self.timing.cas_latency + 2 + self.read_delay

    @property
    def refresh_wait(self) -> int:
        """Cycles without a command before all banks are precharged: any row may have been activated or written, and
        auto precharges may be in progress."""
        # After a READ the wait would be BURST + tRP, which is shorter, because tWR is at least two cycles.
        return max(self.timing.ras, BURST - 1 + self.timing.wr + self.timing.rp)

    @property
    def refresh_period(self) -> int:
        """Cycles between two refresh requests; a REFRESH follows its request after ``refresh_wait`` + tRP at most."""
        return self.timing.refresh_interval - self.refresh_wait - 4

    def segments(self, address: int, bursts: int) -> list[Segment]:
        """The segments of a request for ``bursts`` bursts from ``address`` on; both count bursts."""
        found = []
        stripe = 1 << self.stripe_bits
        stripes = 1 << self.column_bits - self.stripe_bits
        while bursts:
            first, rest = address % stripe, address // stripe
            rest, bank = divmod(rest, 1 << self.chip.bank_bits)
            row, upper = divmod(rest, stripes)
            here = min(bursts, stripe - first)
            found.append(Segment(bank, row, upper * stripe + first, here))
            address, bursts = (address + here) % (1 << self.address_bits), bursts - here
        return found

    def read_schedule(self, segments: Iterable[tuple[int, int]]) -> list[ScheduledRead]:
        """The commands for ``segments``, given as (bank, bursts), by the recurrence of this module.

        No refresh takes place, and reading never waits. The first segment is activated in cycle 0.
        """
        schedule: list[ScheduledRead] = []
        free = [0] * (1 << self.chip.bank_bits)
        for bank, bursts in segments:
            activate, ready = free[bank], 0
            if schedule:
                before = schedule[-1]
                activate = max(activate, before.activate + self.timing.rrd)
                ready = before.last + BURST
                if len(schedule) > 1:
                    activate = max(activate, schedule[-2].last + 1)
                if activate in range(before.first, before.last + BURST, BURST):
                    activate += 1
            first = max(ready, activate + self.activate_to_column)
            last = first + BURST * (bursts - 1)
            free[bank] = last + self.read_to_activate
            schedule.append(ScheduledRead(activate, first, last))
        return schedule

    @property
    def refresh_cycles(self) -> int:
        """Cycles in which no READ is sent because of a refresh: the wait, the precharge, the refresh, and the segment's
        second ACTIVATE."""
        return self.refresh_wait + 1 + self.timing.rp + self.timing.rfc + self.activate_to_column

    def bandwidth_used(self, row_bytes: int, rng: np.random.Generator, rows: int = 4096) -> float:
        """Fraction of the raw bandwidth, 0 to 1, that reads of ``rows`` weight rows of ``row_bytes`` bytes achieve.

        Each begins at the start of a row of the chip, in a random bank; with stripes the rows are random ones of a
        matrix whose rows lie one behind the other. The raw bandwidth is one word per cycle.

        Raises
        ------
        ValueError
            ``row_bytes`` is not a positive multiple of `burst_bytes`.
        """
        bursts, rest = divmod(row_bytes, self.burst_bytes)
        if rest or bursts < 1:
            raise ValueError(f"row_bytes must be a multiple of {self.burst_bytes}, not {row_bytes!r}")
        if self.stripe_bits == self.column_bits:
            starts = rng.integers(1 << self.chip.bank_bits, size=rows) << self.column_bits
        else:
            starts = rng.integers((1 << self.address_bits) // bursts, size=rows) * bursts
        schedule = self.read_schedule(
            (segment.bank, segment.bursts) for start in starts for segment in self.segments(int(start), bursts)
        )
        cycles = schedule[-1].last + BURST - schedule[0].first
        refreshing = self.refresh_cycles / self.refresh_period
        return float(rows * bursts * BURST / cycles * (1 - refreshing))
