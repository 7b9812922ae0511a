"""SDRAM chips: complete parameters, cycles rounded to the safe side, and the slowest of several chips."""

import dataclasses
import re

import pytest
from harness.bounds import assert_bounds

from spikeloom.sim.sdram.chips import BOARDS, CHIPS, SdramChip

CHIP = CHIPS["AS4C16M16SA-7"]


def test_capacities():
    megabytes = {name: chip.bytes >> 20 for name, chip in (CHIPS | dict(BOARDS)).items()}
    assert megabytes == {
        "AS4C16M16SA-7": 32,
        "AS4C32M16SB-7": 64,
        "IS42S16160": 32,
        "MT48LC16M16": 32,
        "W9825G6KH-6": 32,
        "2x M12L16161A-5T": 4,
        "2x W9816G6JH-6": 4,
        "M12L64322A-5T": 8,
        "ulx3s": 32,
        "icesugar-pro": 32,
        "icepi-zero": 32,
        "colorlight-5a75b": 4,
    }


DATA_SHEETS = """
                       tRCD  tRP  tRAS  tRC  tRRD  tRFC  tWR  tMRD  tCK2  tCK3   data  banks  rows  columns  ms
    AS4C16M16SA-7        21   21    42   63    14    63   14    14    10     7     16      4  8192      512  64
    AS4C32M16SB-7        21   21    42   63    14    63   14    14    10     7     16      4  8192     1024  64
    IS42S16160           20   20    45   68    15    70   20    15    10   7.5     16      4  8192      512  64
    MT48LC16M16          20   20    44   66    15    66   15    15    10   7.5     16      4  8192      512  64
    W9825G6KH-6          18   18    42   60    12    60   15    12    10     6     16      4  8192      512  64
    2x_M12L16161A-5T     15   15    40   55    10    55   15    10    10     5     32      2  2048      256  32
    2x_W9816G6JH-6       18   18    42   60    12    60   12    12     8     6     32      2  2048      256  32
    M12L64322A-5T        15   15    40   55    10    55   15    10    10     5     32      4  2048      256  31.9488
"""
"""In nanoseconds, from the data sheets and from the table of LiteDRAM that `SdramChip.source` names; the last column is
the time for all rows. Two clocks of tWR and tMRD are those of the fastest clock."""


def test_the_table_of_chips_is_that_of_the_data_sheets():
    head, *lines = (line.split() for line in DATA_SHEETS.strip().splitlines())
    assert [line[0].replace("_", " ") for line in lines] == list(CHIPS)
    for chip, (_, *numbers) in zip(CHIPS.values(), lines, strict=True):
        sheet = dict(zip(head, map(float, numbers), strict=True))
        for name in ("rcd", "rp", "ras", "rc", "rrd", "rfc", "wr", "mrd"):
            assert getattr(chip, name) == 1000 * sheet[f"t{name.upper()}"], (chip.name, name)
        assert (chip.cas_2, chip.cas_3, chip.width) == (1000 * sheet["tCK2"], 1000 * sheet["tCK3"], sheet["data"])
        sizes = [2**bits for bits in (chip.bank_bits, chip.row_bits, chip.column_bits)]
        assert sizes == [sheet[name] for name in ("banks", "rows", "columns")]
        assert chip.refresh_interval * sheet["rows"] == pytest.approx(sheet["ms"] * 1e9, rel=1e-12)
        # A clock as fast as the chip allows, and one that is a little faster than the data sheet's.
        fastest = int(1e9 / sheet["tCK3"])
        assert chip.timing(fastest).cas_latency == 3
        assert chip.timing(int(1e9 / sheet["tCK2"])).cas_latency == 2
        with pytest.raises(ValueError, match=r"^clock_hz must be at most "):
            chip.timing(fastest + 1000)


def test_refresh_intervals():
    """64 or 32 ms for all rows, in picoseconds; one data sheet gives a rounded interval."""
    intervals = {chip.refresh_interval for chip in CHIPS.values()}
    assert intervals == {64 * 10**9 // 8192, 32 * 10**9 // 2048, 15_600_000}


@pytest.mark.parametrize("name", CHIPS)
def test_data_sheets_give_tenths_of_nanoseconds(name):
    chip = CHIPS[name]
    picoseconds = [getattr(chip, field.name) for field in dataclasses.fields(SdramChip)[5:-1]]
    assert len(picoseconds) == 13
    assert [time % 100 for time in picoseconds] == [0] * 13
    # Of any SDRAM: a row is restored and then closed within a cycle, and a refresh takes at least as long.
    assert chip.rcd <= chip.ras < chip.ras + chip.rp <= chip.rc <= chip.rfc
    assert (chip.ras_limit, chip.power_up) == (100_000_000, 200_000_000)


def test_cycles_are_rounded_to_the_safe_side():
    """At 120 MHz a period is 8.33 ns: 21 ns are three cycles, 63 ns eight, and 7.8125 us 937, rounded down."""
    timing = CHIP.timing(120_000_000)
    assert (timing.rcd, timing.rp, timing.ras, timing.rc, timing.rfc) == (3, 3, 6, 8, 8)
    assert (timing.refresh_interval, timing.power_up, timing.ras_limit) == (937, 24_000, 12_000)
    for hz in (50_000_000, 100_000_000, 142_000_000):
        timing = CHIP.timing(hz)
        for name in ("rcd", "rp", "ras", "rc", "rrd", "rfc", "wr", "mrd", "power_up"):
            cycles = getattr(timing, name)
            assert cycles * 10**12 >= getattr(CHIP, name) * hz
            # One cycle less would be too short, except where a data sheet asks for two cycles.
            assert (cycles - 1) * 10**12 < getattr(CHIP, name) * hz or (name in ("wr", "mrd") and cycles == 2)
        assert timing.refresh_interval * 10**12 <= CHIP.refresh_interval * hz


@pytest.mark.parametrize(("hz", "latency"), [(60_000_000, 2), (100_000_000, 2), (100_000_001, 3), (142_000_000, 3)])
def test_cas_latency(hz, latency):
    assert CHIP.timing(hz).cas_latency == latency


def test_a_clock_beyond_the_chip_is_refused():
    with pytest.raises(ValueError, match=r"^clock_hz must be at most 143 MHz for AS4C16M16SA-7, not 150 MHz$"):
        CHIP.timing(150_000_000)


def test_the_slowest_of_several():
    fast = dataclasses.replace(CHIP, name="fast", rcd=10_000, column_bits=10, refresh_interval=5_000_000)
    both = SdramChip.slowest("both", CHIP, fast)
    assert both == dataclasses.replace(CHIP, name="both", refresh_interval=5_000_000, source="AS4C16M16SA-7, fast")
    for name, board in BOARDS.items():
        parts = [CHIPS[part] for part in board.source.split(", ") if part in CHIPS] or [board]
        for hz in (50_000_000, 100_000_000):
            for part in parts:
                own, mixed = part.timing(hz), board.timing(hz)
                assert all(getattr(mixed, field) >= getattr(own, field) for field in ("rcd", "rp", "ras", "rc", "rfc"))
                assert mixed.refresh_interval <= own.refresh_interval, name


@pytest.mark.parametrize("field", ["width", "bank_bits"])
def test_chips_of_one_board_have_the_same_data_and_banks(field):
    other = dataclasses.replace(CHIP, **{field: {"width": 32, "bank_bits": 1}[field]})
    message = rf"^{field} of the chips of x must be equal, not \[\d+, \d+\]$"
    with pytest.raises(ValueError, match=message):
        SdramChip.slowest("x", CHIP, other)


def test_bounds():
    def make(**values):
        return dataclasses.replace(CHIP, **values)

    for name, low, high in (("bank_bits", 1, 2), ("row_bits", 11, 13), ("column_bits", 8, 11)):
        assert_bounds(make, name, low, high)
    for width in (8, 64):
        assert make(width=width).bytes == CHIP.bytes * width // 16
    for wrong in (7, 65, 0, 72, "8"):
        with pytest.raises(ValueError, match=rf"^width must be from 8 to 64, not {re.escape(repr(wrong))}$"):
            make(width=wrong)
    with pytest.raises(ValueError, match=r"^width must be a multiple of 8, not 12$"):
        make(width=12)
    for name in ("rcd", "cas_2", "refresh_interval", "power_up"):
        assert getattr(make(**{name: 1}), name) == 1
        for wrong in (0, -1, 1.5, True):
            with pytest.raises(ValueError, match=rf"^{name} must be a number of picoseconds, not {wrong!r}$"):
                make(**{name: wrong})
