"""Voltages of I/O banks whose converters the FPGA sets: pulses that the board filters, and their start.

::

    FPGA ── pulses ── R ──┬── feedback node of the converter ──▶ supply of a bank
                          C
    FPGA ── enable ──────────▶ all converters

A board with such converters has no supply at these banks until the FPGA starts them. Their voltage follows the average
of the pulses: first the filters settle, then the converters are enabled, and when these have started, the pins work.
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

__all__ = ["PULSE_BITS", "SupplyControl"]

PULSE_BITS = 10
"""A pulse and the pause after it take two to the power of this many cycles."""


class SupplyControl(wiring.Component):
    """Pulses for converters, and the order of their start.

    Parameters
    ----------
    shares : tuple of float
        Share of the time in which each output is high, from 0 to 1.
    settle_cycles, start_cycles : int
        Cycles that the filters need to settle, and those that enabled converters need to start.

    Members
    -------
    pulses : Signal(len(shares)), out
        One output per converter.
    enable : Signal, out
        Enables all converters.
    is_good : Signal, out
        The banks have their supply. It never falls without a reset.
    """

    def __init__(self, shares: tuple[float, ...], *, settle_cycles: int, start_cycles: int) -> None:
        self.lengths = tuple(round(share * (1 << PULSE_BITS)) for share in shares)
        self.settle_cycles, self.start_cycles = settle_cycles, start_cycles
        super().__init__({"pulses": Out(len(shares)), "enable": Out(1), "is_good": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        place = Signal(PULSE_BITS)
        m.d.sync += place.eq(place + 1)
        # Few edges: their finite slopes would shift the average of a sequence that changes in every cycle.
        for output, length in zip(self.pulses, self.lengths, strict=True):
            m.d.sync += output.eq(place < length)
        count = Signal(range(self.settle_cycles + self.start_cycles + 1))
        with m.If(count != self.settle_cycles + self.start_cycles):
            m.d.sync += count.eq(count + 1)
        with m.Else():
            m.d.sync += self.is_good.eq(1)
        with m.If(count >= self.settle_cycles):
            m.d.sync += self.enable.eq(1)
        return m
