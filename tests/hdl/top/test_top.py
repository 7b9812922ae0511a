"""The top at its pins: the driver over a bit-banged UART finds the fabric, and each session starts afresh."""

import itertools
from collections import deque

import pytest
from amaranth.sim import Simulator
from harness.cores import LEAN
from harness.mutations import mutated

from spikeloom.hdl.top import top
from spikeloom.hdl.top.top import Top
from spikeloom.host.driver import Board
from spikeloom.host.endpoint import Endpoint
from spikeloom.host.transport import LinkError, Transport
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.lib.registers import BRIDGE_TILE

FABRIC = FabricConfig(core=LEAN)  # nothing here depends on the core: the smallest
DIVISOR = 3
TIMEOUT_S = 0.006
BUILD = bytes(range(100, 116))
CLOCK_HZ = 12_345_678


class Pins(Transport):
    """The opposite end of a top's UART, 8N1, which counts invalid bytes."""

    name = "the pins"
    round_trip_s = 4e-3

    def __init__(self, design, *, divisor=DIVISOR):
        self.design, self.divisor = design, divisor
        self.cycles = self.framing_errors = 0
        self._out, self._in = deque(), bytearray()
        self._simulator = Simulator(design)
        self._simulator.add_clock(1e-6)
        self._simulator.add_testbench(self._clock, background=True)

    async def _clock(self, ctx):
        design, divisor = self.design, self.divisor
        phase, bits = None, []  # cycles since the edge of a start bit, and the bits sampled after it
        for cycle in itertools.count():
            if cycle % divisor == 0:
                ctx.set(design.rx, self._out.popleft() if self._out else 1)
            _, _, tx = await ctx.tick().sample(design.tx)
            if phase is None:
                phase = None if tx else 0
                continue
            phase += 1
            if phase % divisor == divisor // 2 and phase > divisor:
                bits.append(tx)
            if len(bits) == 9:
                self.framing_errors += bits[8] != 1
                self._in.append(sum(bit << place for place, bit in enumerate(bits[:8])))
                phase, bits = None, []

    def write(self, data):
        for byte in data:
            self._out.extend((0, *(byte >> place & 1 for place in range(8)), 1))

    def read(self, timeout_s):
        end = self.cycles + max(1, int(timeout_s * 1e6))
        while 0 not in self._in and self.cycles < end:
            self.cycles = min(self.cycles + 200, end)
            self._simulator.run_until(self.cycles * 1e-6)
        data = bytes(self._in)
        self._in.clear()
        return data

    def now(self):
        return self.cycles * 1e-6


def check(design):
    """Identity, a register written and read, and a following session that finds the register as after power-up."""
    pins = Pins(design)
    board = Board(Endpoint(pins, timeout_s=TIMEOUT_S, nonce=b"one."))
    assert board.identity == FABRIC.identity(BUILD, link_kind=LinkKind.UART, clock_hz=CLOCK_HZ)
    assert board.read_register(BRIDGE_TILE, "scratch") == 0
    board.write_register(BRIDGE_TILE, "scratch", 1)
    assert board.read_register(BRIDGE_TILE, "scratch") == 1
    board = Board(Endpoint(pins, timeout_s=TIMEOUT_S, nonce=b"two."))
    assert board.read_register(BRIDGE_TILE, "scratch") == 0
    assert pins.framing_errors == 0


def test_each_session_begins_anew():
    check(Top(FABRIC, DIVISOR, BUILD, clock_hz=CLOCK_HZ))


def test_pins_are_idle_before_a_session():
    pins = Pins(Top(FABRIC, DIVISOR, BUILD))
    assert pins.read(2e-3) == b""
    assert pins.framing_errors == 0


BUGS = {
    "a session keeps what the one before has left": ("fabric.reset.eq(link.reset)", "fabric.reset.eq(0)"),
    "the build": ("fabric.identity(build_hash,", "fabric.identity(bytes(16),"),
    "the clock": ("clock_hz=clock_hz)", "clock_hz=0)"),
    "the pin out": ("self.tx.eq(transmitter.tx)", "self.tx.eq(~transmitter.tx)"),
    "the speed of one direction": ("UartTransmitter(self.divisor)", "UartTransmitter(self.divisor + 2)"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug):
    copy = mutated(top, *BUGS[bug])
    with pytest.raises((AssertionError, LinkError)):
        check(copy.Top(FABRIC, DIVISOR, BUILD, clock_hz=CLOCK_HZ))
