# amaranth: UnusedElaboratable=no
"""The UART against bits that the test drives and samples itself."""

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib.wiring import Component
from amaranth.sim import Simulator

from spikeloom.hdl.host.uart import UartReceiver, UartTransmitter


def bits_of(byte, stop=1):
    return [0, *(byte >> bit & 1 for bit in range(8)), stop]


def receive(divisor, bits, *, bit_cycles=None, offset=0.0, ready=lambda cycle: True):
    """The output of the receiver for ``bits``, each ``bit_cycles`` long, the first ``offset`` cycles after an edge."""
    bit_cycles = bit_cycles or divisor
    dut = UartReceiver(divisor)
    received = []

    async def bench(ctx):
        ctx.set(dut.rx, 1)
        await ctx.tick().repeat(10)
        for cycle in range(int(len(bits) * bit_cycles) + 5 * divisor + 10):
            place = int((cycle - offset) // bit_cycles)
            ctx.set(dut.rx, bits[place] if 0 <= place < len(bits) else 1)
            taking = ready(cycle)
            ctx.set(dut.o.ready, taking)
            *_, valid, byte = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid and taking:
                received.append(byte)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return bytes(received)


@pytest.mark.parametrize("divisor", [3, 4, 5, 26])
def test_receiver_back_to_back(divisor):
    data = random.Random(f"test_receiver_back_to_back {divisor}").randbytes(20) + b"\0\xff\x55\xaa"
    assert receive(divisor, [bit for byte in data for bit in bits_of(byte)]) == data


@pytest.mark.parametrize(("divisor", "error"), [(3, 0.02), (4, 0.03), (12, 0.03), (26, 0.04)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_receiver_with_another_clock(divisor, error, sign):
    rng = random.Random(f"test_receiver_with_another_clock {divisor} {sign}")
    data = rng.randbytes(40)
    line = []
    for byte in data:
        line += bits_of(byte) + [1] * rng.randrange(3)
    bit_cycles = divisor * (1 + sign * error)
    assert receive(divisor, line, bit_cycles=bit_cycles, offset=rng.random()) == data


def test_receiver_drops_a_byte_without_stop_bit_and_goes_on():
    line = bits_of(0x12) + bits_of(0x34, stop=0) + [0] * 15 + [1] * 2 + bits_of(0x56)
    assert receive(8, line) == b"\x12\x56"


def test_receiver_ignores_a_glitch():
    assert receive(16, [1, 0, *[1] * 40, *(bit for bit in bits_of(0x5A) for _ in range(16))], bit_cycles=1) == b"\x5a"


def test_receiver_keeps_the_older_byte():
    line = bits_of(1) + bits_of(2) + bits_of(3) + [1] * 5 + bits_of(4)
    assert receive(4, line, ready=lambda cycle: cycle > 130) == b"\x01\x04"


@pytest.mark.parametrize("divisor", [3, 4, 12])
def test_transmitter_bits(divisor):
    """Each bit lasts the right number of cycles, and waiting bytes follow each other without a pause."""
    data = random.Random(f"test_transmitter_bits {divisor}").randbytes(5) + b"\0\xff"
    dut = UartTransmitter(divisor)
    levels = []

    async def bench(ctx):
        waiting = list(data)
        assert ctx.get(dut.tx) == 1
        while len(levels) < (10 * len(data) + 3) * divisor:
            ctx.set(dut.i.valid, bool(waiting))
            ctx.set(dut.i.payload, waiting[0] if waiting else 0)
            *_, ready, level = await ctx.tick().sample(dut.i.ready, dut.tx)
            levels.append(level)
            if ready and waiting:
                waiting.pop(0)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    expected = [bit for byte in data for bit in bits_of(byte) for _ in range(divisor)]
    assert levels == [1, *expected, *[1] * (len(levels) - len(expected) - 1)]


class Loop(Component):
    """A receiver and a transmitter, pin to pin."""

    def __init__(self, divisor):
        self.transmitter = UartTransmitter(divisor)
        self.receiver = UartReceiver(divisor)
        super().__init__({"i": self.transmitter.signature.members["i"], "o": self.receiver.signature.members["o"]})

    def elaborate(self, platform):
        m = Module()
        m.submodules.transmitter = self.transmitter
        m.submodules.receiver = self.receiver
        m.d.comb += [
            self.receiver.rx.eq(self.transmitter.tx),
            self.transmitter.i.valid.eq(self.i.valid),
            self.transmitter.i.payload.eq(self.i.payload),
            self.i.ready.eq(self.transmitter.i.ready),
            self.o.valid.eq(self.receiver.o.valid),
            self.o.payload.eq(self.receiver.o.payload),
            self.receiver.o.ready.eq(self.o.ready),
        ]
        return m


@pytest.mark.parametrize("divisor", [3, 7])
def test_transmitter_to_receiver_with_pauses(divisor):
    rng = random.Random(f"test_transmitter_to_receiver_with_pauses {divisor}")
    data = rng.randbytes(100)
    dut = Loop(divisor)
    received, pauses = [], 0

    async def send(ctx):
        nonlocal pauses
        for byte in data:
            if rng.random() < 0.3:
                pauses += 1
                await ctx.tick().repeat(rng.randrange(1, 30 * divisor))
            ctx.set(dut.i.payload, byte)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def take(ctx):
        ctx.set(dut.o.ready, 1)
        while len(received) < len(data):
            *_, valid, byte = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid:
                received.append(byte)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(send)
    simulator.add_testbench(take)
    simulator.run_until(len(data) * 45 * divisor * 1e-6)
    assert bytes(received) == data
    assert 10 < pauses < 90


@pytest.mark.parametrize("kind", [UartReceiver, UartTransmitter])
@pytest.mark.parametrize(
    ("divisor", "error", "message"),
    [
        (2, ValueError, r"^divisor must be from 3 to 65535, not 2$"),
        (65536, ValueError, r"^divisor must be from 3 to 65535, not 65536$"),
        (10.0, TypeError, r"^divisor must be an integer, not 10\.0$"),
    ],
)
def test_errors(kind, divisor, error, message):
    with pytest.raises(error, match=message):
        kind(divisor)
