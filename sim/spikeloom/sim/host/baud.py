"""Baud rates of serial lines: the rates that boards and the driver try, and clock cycles per bit."""

__all__ = ["BAUD_RATES", "BAUD_TOLERANCE", "LEAST_CYCLES_PER_BIT", "cycles_per_bit", "rates_of"]

BAUD_RATES = (12_000_000, 6_000_000, 4_000_000, 3_000_000, 2_000_000, 1_000_000)
"""Rates that USB bridges generate exactly, in descending order: an FT2232H all of them, an FT231X or CP2102N those up
to 3 Mbaud."""

BAUD_TOLERANCE = 0.01
"""Maximum relative error of the baud rate of one end. The errors of both ends add up over the ten bits of a byte."""

LEAST_CYCLES_PER_BIT = 3
"""Minimum number of clock cycles per bit; the receiver samples each bit once, in the middle."""


def cycles_per_bit(clock_hz: float, baud_rate: float) -> int | None:
    """Clock cycles per bit, None if there are too few or if the rate is off by more than `BAUD_TOLERANCE`."""
    # Only whole cycles: the divider of the UART has no fraction.
    cycles = round(clock_hz / baud_rate)
    if cycles < LEAST_CYCLES_PER_BIT or abs(clock_hz / cycles / baud_rate - 1) > BAUD_TOLERANCE:
        return None
    return cycles


def rates_of(clock_hz: float) -> list[int]:
    """Return those of `BAUD_RATES` that a clock of ``clock_hz`` can generate, in descending order."""
    return [rate for rate in BAUD_RATES if cycles_per_bit(clock_hz, rate)]
