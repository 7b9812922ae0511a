"""cocotb bench of the UART in Verilog: a line that is driven and sampled bit by bit, at its own baud rate.

The line follows the definition of 8N1, independently of clock cycles: its times are in picoseconds.
"""

import itertools
import os
import random

import cocotb
from cocotb.clock import Clock
from cocotb.simtime import get_sim_time
from cocotb.triggers import ClockCycles, FallingEdge, Timer, ValueChange

PERIOD_PS = 10_000
DIVISORS = [int(divisor) for divisor in os.environ["DIVISORS"].split()]
BYTES = b"\x00\xff\x55\xaa\x01\x80"


async def begin(uart) -> None:
    for divisor in DIVISORS:
        getattr(uart, f"rx_{divisor}").value = 1
        getattr(uart, f"send_{divisor}__valid").value = 0
    uart.rst.value = 1
    Clock(uart.clk, PERIOD_PS, "ps").start()
    await ClockCycles(uart.clk, 3)
    await FallingEdge(uart.clk)
    uart.rst.value = 0
    await ClockCycles(uart.clk, 5)


class Line:
    """A pin that is driven for a number of bits; rounding errors of bit times do not accumulate."""

    def __init__(self, pin, bit_ps: float) -> None:
        self._pin = pin
        self._bit_ps = bit_ps
        self._time = float(get_sim_time("ps"))

    async def drive(self, level: int, bits: float = 1.0) -> None:
        self._pin.value = level
        self._time += bits * self._bit_ps
        await Timer(round(self._time - get_sim_time("ps")), "ps")

    async def send(self, byte: int) -> None:
        await self.drive(0)
        for bit in range(8):
            await self.drive(byte >> bit & 1)
        await self.drive(1)


async def collect(uart, divisor: int, received: bytearray) -> None:
    """The bytes of the receiver, which never waits."""
    valid = getattr(uart, f"received_{divisor}__valid")
    while True:
        await ValueChange(valid)
        if valid.value:
            received.append(int(getattr(uart, f"received_{divisor}__payload").value))


async def read_line(pin, bit_ps: float, received: bytearray, starts: list[int]) -> None:
    """Read a pin in the middle of each bit; record when start bits begin."""
    while True:
        await FallingEdge(pin)
        start = get_sim_time("ps")
        starts.append(round(start))
        levels = []
        for bit in range(10):
            await Timer(round(start + (bit + 0.5) * bit_ps - get_sim_time("ps")), "ps")
            levels.append(int(pin.value))
        assert (levels[0], levels[9]) == (0, 1), "a byte must begin with a low bit and end with a high one"
        received.append(sum(level << place for place, level in enumerate(levels[1:9])))


@cocotb.test()
@cocotb.parametrize(divisor=DIVISORS, error=[-0.02, 0.0, 0.02])
async def receives(uart, divisor: int, error: float) -> None:
    """Bytes with and without pauses, from a line whose bits are longer or shorter and out of phase with the clock."""
    rng = random.Random(f"receives {divisor} {error}")
    await begin(uart)
    received = bytearray()
    cocotb.start_soon(collect(uart, divisor, received))
    data = BYTES + rng.randbytes(60)
    await Timer(rng.randrange(PERIOD_PS), "ps")
    line = Line(getattr(uart, f"rx_{divisor}"), divisor * PERIOD_PS * (1 + error))
    for byte in data:
        await line.send(byte)
        if rng.random() < 0.5:
            await line.drive(1, rng.random() * 3)
    await line.drive(1, 2)
    assert received == data


@cocotb.test()
async def ignores_what_is_no_byte(uart) -> None:
    """A low level too short for a start bit, and one too long for a byte; neither costs a following byte."""
    divisor = max(DIVISORS)
    await begin(uart)
    received = bytearray()
    cocotb.start_soon(collect(uart, divisor, received))
    line = Line(getattr(uart, f"rx_{divisor}"), divisor * PERIOD_PS)
    await line.drive(0, 0.25)
    await line.drive(1, 3)
    await line.send(0x5A)
    await line.drive(0, 25)
    await line.drive(1, 1)
    await line.send(0xC3)
    await line.drive(1, 2)
    assert received == b"\x5a\xc3"


@cocotb.test()
@cocotb.parametrize(divisor=DIVISORS, error=[-0.02, 0.02])
async def transmits(uart, divisor: int, error: float) -> None:
    """Waiting bytes follow each other without a pause, others begin when they arrive; a receiver with a wrong clock can
    read them."""
    rng = random.Random(f"transmits {divisor} {error}")
    await begin(uart)
    received, starts = bytearray(), []
    cocotb.start_soon(read_line(getattr(uart, f"tx_{divisor}"), divisor * PERIOD_PS * (1 + error), received, starts))
    valid, payload, ready = (getattr(uart, f"send_{divisor}__{name}") for name in ("valid", "payload", "ready"))
    data = BYTES + rng.randbytes(60)
    without_pause = 40
    await FallingEdge(uart.clk)
    for place, byte in enumerate(data):
        if place >= without_pause:
            await ClockCycles(uart.clk, rng.randrange(1, 15 * divisor))
            await FallingEdge(uart.clk)
        payload.value = byte
        valid.value = 1
        # Ready is a register: its present value is the one at the rising edge.
        while not ready.value:
            await FallingEdge(uart.clk)
        await FallingEdge(uart.clk)
        valid.value = 0
    await ClockCycles(uart.clk, 12 * divisor)
    assert received == data
    distances = {later - earlier for earlier, later in itertools.pairwise(starts[:without_pause])}
    assert distances == {10 * divisor * PERIOD_PS}
