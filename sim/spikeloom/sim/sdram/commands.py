"""Commands of an SDRAM, as the levels of its pins CS#, RAS#, CAS# and WE#."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["AUTO_PRECHARGE", "BURST", "SdramCommand", "mode_register"]

BURST = 2
"""Words per burst, as the controller sets it.

A READ is needed in every second cycle only, so the ACTIVATE of the next row always finds a free cycle. Longer bursts
would have to be cut off at the end of a row, and a burst with auto precharge cannot be."""

AUTO_PRECHARGE = 1 << 10
"""Address bit 10: auto precharge in READ and WRITE, all banks in PRECHARGE."""


class SdramCommand(IntEnum):
    """The command pins: bit 3 is CS#, then RAS#, CAS#, and WE# in bit 0. A command with CS# high is a NOP."""

    LOAD_MODE = 0b0000
    REFRESH = 0b0001
    PRECHARGE = 0b0010
    ACTIVATE = 0b0011
    WRITE = 0b0100
    READ = 0b0101
    STOP = 0b0110
    NOP = 0b0111


def mode_register(cas_latency: int, burst: int = BURST) -> int:
    """The value for LOAD MODE: sequential bursts of 1, 2, 4 or 8 words in both directions, CAS latency 2 or 3.

    Raises ``ValueError`` for other numbers.
    """
    if cas_latency not in (2, 3):
        raise ValueError(f"cas_latency must be 2 or 3, not {cas_latency!r}")
    if burst not in (1, 2, 4, 8):
        raise ValueError(f"burst must be 1, 2, 4 or 8, not {burst!r}")
    return cas_latency << 4 | burst.bit_length() - 1
