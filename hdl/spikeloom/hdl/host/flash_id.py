"""The unique ID of the flash chip that configures the FPGA, read once after the start.

::

    cs    ─┐_____________________┌──────┐__________________________________┌──
    copi     AB (8 bits)                  4B, then 32 bits that mean nothing
    cipo                                                     ID (64 bits)

The first command wakes a chip that is asleep; others ignore it. An ECP5 loses the first clocks that it sends to its
flash, and with them at most this command. Data change at the falling edge of the clock and are read at the rising one
(mode 0). Chips without an ID leave the line at one level: then there is no number.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["FLASH_PINS", "ID_BITS", "FlashId"]

ID_BITS = 64
"""Width of the ID; chips with a longer one send this part first."""

FLASH_PINS = {"flash_cs": Out(1), "flash_clk": Out(1), "flash_copi": Out(1), "flash_cipo": In(1)}
"""Members of a component with the pins of the flash; `FlashId` describes them."""

_WAKE, _READ_ID = 0xAB, 0x4B
_WAKE_BITS, _READ_BITS = 8, 8 + 32 + ID_BITS
_PAUSE = 64
"""Half periods before each command: more than the 3 us in which a chip wakes, at up to 300 MHz."""


class FlashId(wiring.Component):
    """Reads the ID, in the domain ``sync``.

    Parameters
    ----------
    half_cycles : int
        Cycles of each level of the clock, at least 4. The default stays below 10 MHz at clocks up to 320 MHz.

    Members
    -------
    flash_cs, flash_clk, flash_copi : Signal, out
    flash_cipo : Signal, in
        The pins: chip select, high while selected; clock; data to and from the chip.
    number : Signal(64), out
        The ID, valid when ``is_done`` is high.
    is_found : Signal, out
        Whether the chip has one.
    is_done : Signal, out
        The ID has been read. Nothing changes afterwards.
    """

    def __init__(self, half_cycles: int = 16) -> None:
        self.half_cycles = half_cycles
        super().__init__({**FLASH_PINS, "number": Out(ID_BITS), "is_found": Out(1), "is_done": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cipo = Signal()
        m.submodules.cipo_input = FFSynchronizer(self.flash_cipo, cipo)
        timer, tick = Signal(range(self.half_cycles)), Signal()
        m.d.comb += tick.eq(timer == self.half_cycles - 1)
        m.d.sync += timer.eq(Mux(tick, 0, timer + 1))
        wakes = Signal(init=1)  # the first of the two commands
        pause, left, command = Signal(range(_PAUSE)), Signal(range(_READ_BITS)), Signal(8)
        m.d.comb += self.flash_copi.eq(command[-1])
        with m.If(tick & ~self.is_done):
            with m.If(~self.flash_cs):
                m.d.sync += pause.eq(pause + 1)
                with m.If(pause == _PAUSE - 1):
                    m.d.sync += [
                        self.flash_cs.eq(1),
                        command.eq(Mux(wakes, _WAKE, _READ_ID)),
                        left.eq(Mux(wakes, _WAKE_BITS - 1, _READ_BITS - 1)),
                    ]
            with m.Elif(~self.flash_clk):
                # The level before this edge: the chip has sent it half a period ago.
                m.d.sync += [self.flash_clk.eq(1), self.number.eq(Cat(cipo, self.number[:-1]))]
            with m.Else():
                m.d.sync += [self.flash_clk.eq(0), command.eq(command << 1), left.eq(left - 1)]
                with m.If(left == 0):
                    m.d.sync += [self.flash_cs.eq(0), wakes.eq(0), self.is_done.eq(~wakes)]
        m.d.sync += self.is_found.eq(self.number.any() & ~self.number.all())
        return m
