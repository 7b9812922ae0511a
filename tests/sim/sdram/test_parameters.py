"""Parameters of the SDRAM controller: distances that obey every rule, segments, and the bandwidth."""

import dataclasses
import itertools

import numpy as np
import pytest
from harness.bounds import assert_bounds
from harness.networks import rng_of

from spikeloom.sim.sdram.chips import BOARDS
from spikeloom.sim.sdram.commands import BURST
from spikeloom.sim.sdram.parameters import STRIPE, ScheduledRead, SdramParameters, Segment

PARAMETERS = SdramParameters(chip=BOARDS["ulx3s"], clock_hz=120_000_000, more_column_bits=1)


def test_distances():
    """At 120 MHz: tRCD and tRP 3 cycles, tRAS 6, tRC and tRFC 9, tWR 3, CAS latency 3."""
    p = PARAMETERS
    assert (p.activate_to_column, p.read_to_activate, p.write_to_activate, p.read_to_write) == (4, 5, 7, 6)
    assert (p.read_latency, p.refresh_wait) == (5, 7)
    assert p.refresh_period == 937 - 7 - 4
    assert (p.burst_bits, p.burst_bytes, p.column_bits, p.address_bits) == (32, 4, 8, 24)
    assert dataclasses.replace(p, read_delay=2).read_latency == 7


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("hz", [40_000_000, 60_000_000, 100_000_000, 125_000_000])
def test_distances_keep_the_rules_at_every_clock(board, hz):
    p = SdramParameters(chip=BOARDS[board], clock_hz=hz)
    t = p.timing
    assert p.activate_to_column >= t.rcd
    assert p.activate_to_column + BURST >= t.ras
    assert p.read_to_activate >= BURST + t.rp
    assert p.activate_to_column + p.read_to_activate >= t.rc
    assert p.write_to_activate >= BURST - 1 + t.wr + t.rp
    # A refresh follows its request after the wait and the precharge, in the worst case.
    assert p.refresh_period + p.refresh_wait + 2 <= t.refresh_interval


def test_segments():
    p = PARAMETERS
    assert p.segments(5, 3) == [Segment(0, 0, 5, 3)]
    assert p.segments(250, 10) == [Segment(0, 0, 250, 6), Segment(1, 0, 0, 4)]
    # After the last bank comes the next row, and after the last address the first one.
    assert p.segments(4 * 256 - 1, 2) == [Segment(3, 0, 255, 1), Segment(0, 1, 0, 1)]
    assert p.segments((1 << 24) - 1, 2) == [Segment(3, (1 << 14) - 1, 255, 1), Segment(0, 0, 0, 1)]
    assert [segment.bursts for segment in p.segments(100, 700)] == [156, 256, 256, 32]


def test_stripes_of_two_banks():
    """Stripes of four bursts alternate between the banks; of the 7 bits of a column, 5 are above the bank."""
    p = SdramParameters(chip=BOARDS["colorlight-5a75b"], clock_hz=110_000_000)
    assert (p.stripe_bits, p.column_bits, p.address_bits, STRIPE) == (2, 7, 19, 4)
    assert p.segments(2, 9) == [Segment(0, 0, 2, 2), Segment(1, 0, 0, 4), Segment(0, 0, 4, 3)]
    assert p.segments(255, 2) == [Segment(1, 0, 127, 1), Segment(0, 1, 0, 1)]
    assert p.segments((1 << 19) - 1, 2) == [Segment(1, (1 << 11) - 1, 127, 1), Segment(0, 0, 0, 1)]
    places = {(s.bank, s.row, s.column) for address in range(1024) for s in p.segments(address, 1)}
    assert places == {(bank, row, column) for bank in range(2) for row in range(4) for column in range(128)}
    # A chip with four banks has no stripes.
    assert PARAMETERS.stripe_bits == PARAMETERS.column_bits


@pytest.mark.parametrize("hz", [60_000_000, 100_000_000, 110_000_000, 120_000_000, 125_000_000])
def test_a_stripe_takes_as_long_as_the_other_bank_needs(hz):
    p = SdramParameters(chip=BOARDS["colorlight-5a75b"], clock_hz=hz)
    for stripe, hidden in ((STRIPE, True), (STRIPE // 2, False)):
        schedule = p.read_schedule([(number % 2, stripe) for number in range(20)])
        assert all(after.first - before.last == BURST for before, after in itertools.pairwise(schedule)) == hidden


def test_schedule_by_hand():
    """ACTIVATE to READ takes 4 cycles, last READ to ACTIVATE 5: it is hidden in the second bank, but not in the same
    bank."""
    schedule = PARAMETERS.read_schedule([(0, 4), (1, 4), (1, 2)])
    assert schedule == [ScheduledRead(0, 4, 10), ScheduledRead(2, 12, 18), ScheduledRead(23, 27, 29)]
    # The third segment is held from the last READ of the first one on, cycle 10, so cycle 11 is the first that can
    # activate it.
    assert PARAMETERS.read_schedule([(0, 4), (1, 4), (2, 4)])[2] == ScheduledRead(11, 20, 26)


def test_no_activate_in_a_cycle_of_a_read():
    """The bank is ready in the only and in the last cycle that sends a READ: its ACTIVATE follows a cycle later."""
    schedule = PARAMETERS.read_schedule([(0, 1), (1, 2), (0, 1), (1, 1)])
    assert schedule[2:] == [ScheduledRead(9, 13, 13), ScheduledRead(14, 18, 18)]
    # ACTIVATE to READ takes 2 cycles, last READ to ACTIVATE 4: the bank is ready in cycle 6.
    slow = dataclasses.replace(PARAMETERS, clock_hz=60_000_000)
    schedule = slow.read_schedule([(0, 1), (1, 2), (0, 1)])
    assert schedule == [ScheduledRead(0, 2, 2), ScheduledRead(1, 4, 6), ScheduledRead(7, 9, 9)]


def test_schedules_keep_their_order_and_distances(request):
    rng = rng_of(request.node.name)
    p = PARAMETERS
    segments = [(int(rng.integers(4)), int(rng.integers(1, 9))) for _ in range(300)]
    schedule = p.read_schedule(segments)
    sent: set[int] = set()
    free: dict[int, int] = {}
    for number, ((bank, bursts), read) in enumerate(zip(segments, schedule, strict=True)):
        columns = set(range(read.first, read.last + 1, BURST))
        assert len(columns) == bursts
        assert not sent & (columns | {read.activate}), "one command per cycle"
        sent |= columns | {read.activate}
        assert read.activate >= free.get(bank, 0)
        free[bank] = read.last + p.read_to_activate
        if number:
            assert read.first >= schedule[number - 1].last + BURST
    assert sum(after.first == before.last + BURST for before, after in itertools.pairwise(schedule)) > 100


USED = {
    ("ulx3s", 120_000_000): (0.79, 0.92, 0.96),
    ("icesugar-pro", 120_000_000): (0.79, 0.92, 0.96),
    ("icepi-zero", 120_000_000): (0.79, 0.92, 0.96),
    ("colorlight-5a75b", 60_000_000): (0.63, 0.98, 0.98),
    ("colorlight-5a75b", 110_000_000): (0.57, 0.98, 0.98),
    ("colorlight-5a75b", 120_000_000): (0.48, 0.98, 0.98),
}
"""Rows of 16, 64 and 256 bytes."""


@pytest.mark.parametrize(("board", "hz"), USED)
def test_bandwidth(request, board, hz):
    """At least 65, 85 and 93 %; two banks of 32 bits miss that for rows of 16 bytes."""
    p = SdramParameters(chip=BOARDS[board], clock_hz=hz)
    for row_bytes, used in zip((16, 64, 256), USED[board, hz], strict=True):
        found = p.bandwidth_used(row_bytes, rng_of(request.node.name))
        assert used <= found < used + 0.02
    aims = [found >= aim for found, aim in zip(USED[board, hz], (0.65, 0.85, 0.93), strict=True)]
    assert aims == [p.chip.bank_bits > 1, True, True]


def test_bandwidth_of_rows_in_one_bank_only():
    """Rows of one burst, always in the same bank: ACTIVATE, 4 cycles, READ, 5 cycles, for two words."""
    one = dataclasses.replace(PARAMETERS, more_column_bits=0)

    class Always(np.random.Generator):
        def integers(self, *_, size, **__):
            return np.zeros(size, int)

    found = one.bandwidth_used(4, Always(np.random.PCG64(0)))
    assert found == pytest.approx(2 / 9 * (1 - one.refresh_cycles / one.refresh_period), rel=1e-3)
    # Two rows: READs in cycles 4 and 13, whose words end with cycle 14 after the first READ.
    assert one.refresh_cycles == 7 + 1 + 3 + 9 + 4
    few = one.bandwidth_used(4, Always(np.random.PCG64(0)), rows=2)
    assert few == pytest.approx(4 / 11 * (1 - 24 / one.refresh_period), rel=1e-12)
    for wrong in (6, 3, 1, 0, -4):
        with pytest.raises(ValueError, match=rf"^row_bytes must be a multiple of 4, not {wrong}$"):
            one.bandwidth_used(wrong, np.random.default_rng(0))


def test_bounds():
    def make(**values):
        return dataclasses.replace(PARAMETERS, **values)

    for name, low, high in (
        ("more_column_bits", 0, 1),
        ("more_row_bits", 0, 2),
        ("count_bits", 1, 16),
        ("read_delay", 0, 3),
        ("phases", 0, 255),
    ):
        assert_bounds(make, name, low, high)
    for wrong in (0, -5, 1e8, True):
        with pytest.raises(ValueError, match=rf"^clock_hz must be a positive integer, not {wrong!r}$"):
            make(clock_hz=wrong)
    # At 3.08 MHz a refresh interval has 24 cycles, of which 16 are four times the wait, and at 3.07 MHz one less.
    assert (make(clock_hz=3_080_000).refresh_period, make(clock_hz=3_080_000).refresh_wait) == (16, 4)
    for hz in (1, 2_000_000, 3_070_000):
        with pytest.raises(ValueError, match=rf"^clock_hz must leave time between two refreshes, not {hz}$"):
            make(clock_hz=hz)
