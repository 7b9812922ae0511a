"""UART with eight data bits, no parity and one stop bit.

::

    ‾‾‾‾\\_____/ d0 \\/ d1 \\/ ... \\/ d7 \\/‾‾‾‾‾‾‾
         start                             stop

The receiver samples each bit once, in its middle. The clocks of both ends may differ by 3 % in total.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

__all__ = ["UartReceiver", "UartTransmitter", "check_divisor"]


def check_divisor(divisor: int) -> None:
    """Raise ``TypeError`` or ``ValueError`` unless ``divisor``, the clock cycles per bit, is from 3 to 65535."""
    # A bool is an int in Python, but no number of cycles.
    if isinstance(divisor, bool) or not isinstance(divisor, int):
        raise TypeError(f"divisor must be an integer, not {divisor!r}")
    if not 3 <= divisor <= 65535:
        raise ValueError(f"divisor must be from 3 to 65535, not {divisor!r}")


class UartReceiver(Component):
    """Receives bytes from a pin.

    A byte with a low stop bit is dropped, and reception resumes after the line has been high. If a byte has not been
    taken when the next one is complete, the next one is lost.

    Parameters
    ----------
    divisor
        Clock cycles per bit, 3 to 65535.

    Members
    -------
    rx : Signal, in
        The pin, which may be asynchronous to the clock.
    o : Stream(8), out
        The bytes.
    """

    def __init__(self, divisor: int):
        check_divisor(divisor)
        self.divisor = divisor
        super().__init__({"rx": In(1), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()

        # Synchroniser, reset to the idle level.
        pin = Signal(3, init=0b111)
        m.d.sync += pin.eq(Cat(pin[1:], self.rx))
        level = pin[0]

        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)

        # The start bit has cycles 0 to divisor - 1, of which cycle 0 passes in IDLE. The timer ends in the middle one.
        middle = (self.divisor - 1) // 2
        timer = Signal(range(self.divisor))
        sample = timer == 0
        bits = Signal(9)  # the marker bit shifted in front of the data reaches the bottom after eight bits
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [timer.eq(middle - 1), bits.eq(0b1_0000_0000)]
                with m.If(~level):
                    m.next = "START"
            with m.State("START"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(sample):
                    m.d.sync += timer.eq(self.divisor - 1)
                    m.next = "DATA"
                # The line is high again before the middle of the start bit: a glitch.
                with m.If(level):
                    m.next = "IDLE"
            with m.State("DATA"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(sample):
                    m.d.sync += [timer.eq(self.divisor - 1), bits.eq(Cat(bits[1:], level))]
                    with m.If(bits[1]):
                        m.next = "STOP"
            with m.State("STOP"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(sample):
                    m.next = "IDLE"
                    with m.If(~level):
                        m.next = "BREAK"
                    with m.Elif(~self.o.valid | self.o.ready):
                        m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(bits[1:])]
            # A low stop bit is a break or a framing error. Waiting for the idle level avoids further false start bits.
            with m.State("BREAK"), m.If(level):
                m.next = "IDLE"

        return m


class UartTransmitter(Component):
    """Sends bytes to a pin, without a gap between waiting bytes.

    Parameters
    ----------
    divisor
        Clock cycles per bit, 3 to 65535.

    Members
    -------
    i : Stream(8), in
        The bytes.
    tx : Signal, out
        The pin, high when idle.
    """

    def __init__(self, divisor: int):
        check_divisor(divisor)
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()

        timer = Signal(range(self.divisor))
        # The remaining bits, followed by the stop bit and a marker bit. Only the marker is left during the stop bit.
        bits = Signal(10)
        # High in the last cycle of a stop bit and while the line is idle.
        ready = Signal(init=1)
        m.d.comb += self.i.ready.eq(ready)
        with m.If(~ready):
            m.d.sync += timer.eq(timer - 1)
            with m.If((timer == 1) & (bits == 1)):
                m.d.sync += ready.eq(1)
            with m.If(timer == 0):
                m.d.sync += [timer.eq(self.divisor - 1), self.tx.eq(bits[0]), bits.eq(bits >> 1)]
        with m.Elif(self.i.valid):
            m.d.sync += [
                ready.eq(0),
                self.tx.eq(0),
                timer.eq(self.divisor - 1),
                bits.eq(Cat(self.i.payload, 1, 1)),
            ]

        return m
