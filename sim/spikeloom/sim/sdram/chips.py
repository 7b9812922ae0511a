"""Single data rate SDRAM chips: geometry, and timing in picoseconds and in cycles of a clock.

A board is sold with one of several parts. `SdramChip.slowest` combines them into one that is as slow as the slowest in
every respect, so that one bitstream serves them all; a larger part is used completely once its size is probed
(`spikeloom.sim.sdram.parameters`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

__all__ = ["BOARDS", "CHIPS", "SdramChip", "SdramTiming"]

_PICOSECONDS = 10**12
_TIMES = ("rcd", "rp", "ras", "rc", "rrd", "rfc", "wr", "mrd")


@dataclass(frozen=True, kw_only=True)
class SdramTiming:
    """The rules of a chip in cycles of one clock.

    Parameters
    ----------
    rcd, rp, ras, rc
        ACTIVATE to READ or WRITE, PRECHARGE to ACTIVATE, ACTIVATE to PRECHARGE, ACTIVATE to ACTIVATE, of one bank.
    rrd
        ACTIVATE to ACTIVATE of different banks.
    rfc
        REFRESH to any other command than NOP.
    wr
        Last word written to PRECHARGE of its bank.
    mrd
        LOAD MODE to any other command than NOP.
    ras_limit
        Longest time from ACTIVATE to PRECHARGE.
    refresh_interval
        Longest time from one REFRESH to the next.
    power_up
        Cycles without a command after power-up.
    cas_latency
        Cycles from READ to its first word: 2 or 3.
    """

    rcd: int
    rp: int
    ras: int
    rc: int
    rrd: int
    rfc: int
    wr: int
    mrd: int
    ras_limit: int
    refresh_interval: int
    power_up: int
    cas_latency: int


@dataclass(frozen=True, kw_only=True)
class SdramChip:
    """A chip, or several in parallel that share all signals except their data.

    Parameters
    ----------
    name
        Part number.
    width
        Data bits, a multiple of 8.
    bank_bits, row_bits, column_bits
        Geometry: 1 or 2, 11 to 13, 8 to 11.
    rcd, rp, ras, rc, rrd, rfc, wr, mrd
        As in `SdramTiming`, in picoseconds.
    cas_2, cas_3
        Shortest clock period at a CAS latency of 2 and of 3, in picoseconds.
    refresh_interval
        The refresh period divided by the number of rows, in picoseconds.
    ras_limit
        Longest time that a row may stay open, in picoseconds.
    power_up
        Time from power-up to the first command, in picoseconds.
    source
        Where the numbers are from.
    """

    name: str
    width: int
    bank_bits: int
    row_bits: int
    column_bits: int
    rcd: int
    rp: int
    ras: int
    rc: int
    rrd: int
    rfc: int
    wr: int
    mrd: int
    cas_2: int
    cas_3: int
    refresh_interval: int
    ras_limit: int = 100_000_000
    power_up: int = 200_000_000
    source: str = ""

    def __post_init__(self) -> None:
        for name, low, high in (("width", 8, 64), ("bank_bits", 1, 2), ("row_bits", 11, 13), ("column_bits", 8, 11)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ValueError(f"{name} must be from {low} to {high}, not {value!r}")
        if self.width % 8:
            raise ValueError(f"width must be a multiple of 8, not {self.width!r}")
        for field in fields(self)[5:-1]:
            value = getattr(self, field.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{field.name} must be a number of picoseconds, not {value!r}")

    @property
    def bytes(self) -> int:
        """Capacity in bytes."""
        return self.width // 8 << self.bank_bits + self.row_bits + self.column_bits

    def timing(self, clock_hz: int) -> SdramTiming:
        """The rules in cycles of ``clock_hz``.

        Minima are rounded up and maxima down. The smaller CAS latency is used if the clock allows it.

        Raises
        ------
        ValueError
            The clock is faster than the chip.
        """

        def cycles(time: int) -> int:
            return -(-time * clock_hz // _PICOSECONDS)

        # A period of at least `cas_2` is a clock of at most 1 / `cas_2`.
        latency = next((n for n, period in ((2, self.cas_2), (3, self.cas_3)) if cycles(period) <= 1), None)
        if latency is None:
            fastest = _PICOSECONDS / self.cas_3 / 1e6
            raise ValueError(
                f"clock_hz must be at most {fastest:.0f} MHz for {self.name}, not {clock_hz / 1e6:.0f} MHz"
            )
        numbers = {name: cycles(getattr(self, name)) for name in _TIMES}
        # Some data sheets specify these two as two cycles at any clock.
        numbers |= {name: max(2, numbers[name]) for name in ("wr", "mrd")}
        return SdramTiming(
            **numbers,
            ras_limit=self.ras_limit * clock_hz // _PICOSECONDS,
            refresh_interval=self.refresh_interval * clock_hz // _PICOSECONDS,
            power_up=cycles(self.power_up),
            cas_latency=latency,
        )

    @classmethod
    def slowest(cls, name: str, *chips: SdramChip) -> SdramChip:
        """A chip that is in every respect as slow and as small as the slowest and the smallest of ``chips``.

        Raises ``ValueError`` unless their widths and numbers of banks are equal.
        """
        for field in ("width", "bank_bits"):
            found = {getattr(chip, field) for chip in chips}
            if len(found) > 1:
                raise ValueError(f"{field} of the chips of {name} must be equal, not {sorted(found)}")
        smallest = {field: min(getattr(chip, field) for chip in chips) for field in ("row_bits", "column_bits")}
        longest = {
            field: max(getattr(chip, field) for chip in chips) for field in (*_TIMES, "cas_2", "cas_3", "power_up")
        }
        shortest = {field: min(getattr(chip, field) for chip in chips) for field in ("refresh_interval", "ras_limit")}
        return cls(
            name=name,
            width=chips[0].width,
            bank_bits=chips[0].bank_bits,
            **smallest,
            **longest,
            **shortest,
            source=", ".join(chip.name for chip in chips),
        )


def _of(*chips: SdramChip) -> Mapping[str, SdramChip]:
    return MappingProxyType({chip.name: chip for chip in chips})


_ROWS_8192 = 7_812_500
"""64 ms / 8192 rows."""
_ROWS_2048 = 15_625_000
"""32 ms / 2048 rows."""

CHIPS: Mapping[str, SdramChip] = _of(
    SdramChip(
        name="AS4C16M16SA-7",
        width=16,
        bank_bits=2,
        row_bits=13,
        column_bits=9,
        rcd=21_000,
        rp=21_000,
        ras=42_000,
        rc=63_000,
        rrd=14_000,
        rfc=63_000,
        wr=14_000,
        mrd=14_000,
        cas_2=10_000,
        cas_3=7_000,
        refresh_interval=_ROWS_8192,
        source="Alliance Memory AS4C16M16SA data sheet, rev. 3.0, table 16",
    ),
    SdramChip(
        name="AS4C32M16SB-7",
        width=16,
        bank_bits=2,
        row_bits=13,
        column_bits=10,
        rcd=21_000,
        rp=21_000,
        ras=42_000,
        rc=63_000,
        rrd=14_000,
        rfc=63_000,
        wr=14_000,
        mrd=14_000,
        cas_2=10_000,
        cas_3=7_000,
        refresh_interval=_ROWS_8192,
        source="Alliance Memory AS4C32M16SB data sheet, table 16",
    ),
    SdramChip(
        name="IS42S16160",
        width=16,
        bank_bits=2,
        row_bits=13,
        column_bits=9,
        rcd=20_000,
        rp=20_000,
        ras=45_000,
        rc=68_000,
        rrd=15_000,
        rfc=70_000,
        wr=20_000,
        mrd=15_000,
        cas_2=10_000,
        cas_3=7_500,
        refresh_interval=_ROWS_8192,
        source="rcd, rp, rfc, wr: module table of LiteDRAM; the rest: ISSI's slowest grade of this size, rounded up",
    ),
    SdramChip(
        name="MT48LC16M16",
        width=16,
        bank_bits=2,
        row_bits=13,
        column_bits=9,
        rcd=20_000,
        rp=20_000,
        ras=44_000,
        rc=66_000,
        rrd=15_000,
        rfc=66_000,
        wr=15_000,
        mrd=15_000,
        cas_2=10_000,
        cas_3=7_500,
        refresh_interval=_ROWS_8192,
        source="module table of LiteDRAM; rc: ras + rp, rounded up to rfc",
    ),
    SdramChip(
        name="W9825G6KH-6",
        width=16,
        bank_bits=2,
        row_bits=13,
        column_bits=9,
        rcd=18_000,
        rp=18_000,
        ras=42_000,
        rc=60_000,
        rrd=12_000,
        rfc=60_000,
        wr=15_000,
        mrd=12_000,
        cas_2=10_000,
        cas_3=6_000,
        refresh_interval=_ROWS_8192,
        source="ras, rfc, wr: module table of LiteDRAM; the rest: rounded up to whole cycles of 6 ns",
    ),
    SdramChip(
        name="2x M12L16161A-5T",
        width=32,
        bank_bits=1,
        row_bits=11,
        column_bits=8,
        rcd=15_000,
        rp=15_000,
        ras=40_000,
        rc=55_000,
        rrd=10_000,
        rfc=55_000,
        wr=15_000,
        mrd=10_000,
        cas_2=10_000,
        cas_3=5_000,
        refresh_interval=_ROWS_2048,
        source="module table of LiteDRAM; rc: ras + rp",
    ),
    SdramChip(
        name="2x W9816G6JH-6",
        width=32,
        bank_bits=1,
        row_bits=11,
        column_bits=8,
        rcd=18_000,
        rp=18_000,
        ras=42_000,
        rc=60_000,
        rrd=12_000,
        rfc=60_000,
        wr=12_000,
        mrd=12_000,
        cas_2=8_000,
        cas_3=6_000,
        refresh_interval=_ROWS_2048,
        source="Winbond W9816G6JH data sheet, rev. A01, 9.5",
    ),
    SdramChip(
        name="M12L64322A-5T",
        width=32,
        bank_bits=2,
        row_bits=11,
        column_bits=8,
        rcd=15_000,
        rp=15_000,
        ras=40_000,
        rc=55_000,
        rrd=10_000,
        rfc=55_000,
        wr=15_000,
        mrd=10_000,
        cas_2=10_000,
        cas_3=5_000,
        refresh_interval=15_600_000,
        source="module table of LiteDRAM; interval: ESMT M12L64322A data sheet, rev. 1.2; rc: ras + rp",
    ),
)
"""Parts by name. Times that no available source gives are chosen on the safe side, as ``source`` states."""

BOARDS: Mapping[str, SdramChip] = MappingProxyType(
    {
        # The parts of 32 and of 64 MB differ by one column bit.
        "ulx3s": SdramChip.slowest(
            "ulx3s", *(CHIPS[name] for name in ("AS4C16M16SA-7", "AS4C32M16SB-7", "IS42S16160", "MT48LC16M16"))
        ),
        "icesugar-pro": CHIPS["IS42S16160"],
        "icepi-zero": CHIPS["W9825G6KH-6"],
        "colorlight-5a75b": SdramChip.slowest("colorlight-5a75b", CHIPS["2x M12L16161A-5T"], CHIPS["2x W9816G6JH-6"]),
    }
)
"""The chip for which a bitstream must be built, by board."""
