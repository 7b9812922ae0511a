"""cocotb bench of the board's end of the link in Verilog: the host's end in a thread, with a faulty line in between.

The board is an echo: it transmits the bytes that its link receives. The line has no UART: a byte goes in or comes out
every few clock cycles.
"""

import os
import random
from collections import Counter, deque
from collections.abc import Callable

import cocotb
from cocotb.clock import Clock
from cocotb.simtime import get_sim_time
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles, Event, FallingEdge, First, ReadOnly, RisingEdge, Timer

from spikeloom.host.endpoint import Endpoint
from spikeloom.host.transport import FaultyTransport, Transport

PERIOD_NS = 10
MAXIMUM_PAYLOAD = int(os.environ["MAXIMUM_PAYLOAD"])
IDENTITY = bytes.fromhex(os.environ["IDENTITY"])
FAULTS = {"flip": 0.001, "drop": 0.001, "insert": 0.001, "repeat": 0.03, "cut": 0.03}


class LineTransport(Transport):
    """The driver's line to the streams ``from_line`` and ``to_line``; a block arrives when a frame is complete.

    ``pauses`` is the largest number of clock cycles between two bytes.
    """

    name = "the simulated link"
    round_trip_s = 20e-6

    def __init__(self, board, rng: random.Random, *, pauses: int) -> None:
        self._board = board
        self._rng = rng
        self._pauses = pauses
        self._outgoing: deque[int] = deque()
        self._incoming = bytearray()
        self._to_send, self._sent, self._arrived = Event(), Event(), Event()
        self.resets = 0
        cocotb.start_soon(self._send())
        cocotb.start_soon(self._receive())
        cocotb.start_soon(self._count_resets())

    async def _pause(self) -> None:
        if cycles := self._rng.randrange(self._pauses + 1):
            await Timer(cycles * PERIOD_NS, "ns")

    async def _send(self) -> None:
        board = self._board
        while True:
            while not self._outgoing:
                self._to_send.clear()
                await self._to_send.wait()
                await FallingEdge(board.clk)
            board.from_line__payload.value = self._outgoing.popleft()
            board.from_line__valid.value = 1
            taken = False
            while not taken:
                await ReadOnly()
                taken = bool(board.from_line__ready.value)
                await FallingEdge(board.clk)
            board.from_line__valid.value = 0
            self._sent.set()
            await self._pause()

    async def _receive(self) -> None:
        board = self._board
        while True:
            await ReadOnly()
            if not board.to_line__valid.value:
                await RisingEdge(board.to_line__valid)
            byte = int(board.to_line__payload.value)
            await FallingEdge(board.clk)
            await self._pause()
            board.to_line__ready.value = 1
            await ReadOnly()
            offered = (int(board.to_line__valid.value), int(board.to_line__payload.value))
            assert offered == (1, byte), "a byte that is offered must stay until it is taken"
            await FallingEdge(board.clk)
            board.to_line__ready.value = 0
            self._incoming.append(byte)
            if byte == 0:
                self._arrived.set()

    async def _count_resets(self) -> None:
        while True:
            await RisingEdge(self._board.reset)
            self.resets += 1

    def write(self, data: bytes) -> None:
        resume(self._write)(data)

    async def _write(self, data: bytes) -> None:
        self._outgoing += data
        self._to_send.set()
        while len(self._outgoing) > 1000:
            self._sent.clear()
            await self._sent.wait()

    def read(self, timeout_s: float) -> bytes:
        return resume(self._read)(timeout_s)

    async def _read(self, timeout_s: float) -> bytes:
        if 0 not in self._incoming:
            self._arrived.clear()
            await First(self._arrived.wait(), Timer(max(round(timeout_s * 1e9), PERIOD_NS), "ns"))
        data = bytes(self._incoming)
        self._incoming.clear()
        return data

    def now(self) -> float:
        return get_sim_time("ns") * 1e-9


async def stall(board, rng: random.Random, longest: int) -> None:
    """Stop the echo now and then, for up to ``longest`` cycles, and toggle ``flush``."""
    # From one falling edge of the clock to another: `ClockCycles` would run Python code in every cycle.
    while True:
        board.paused.value = 1
        await Timer(rng.randint(1, longest) * PERIOD_NS, "ns")
        board.paused.value = 0
        board.flush.value = rng.randrange(2)
        await Timer(rng.randint(1, longest) * PERIOD_NS, "ns")


async def begin(board) -> None:
    for name in ("from_line__valid", "from_line__payload", "to_line__ready", "paused", "flush"):
        getattr(board, name).value = 0
    board.rst.value = 1
    Clock(board.clk, PERIOD_NS, "ns").start()
    await ClockCycles(board.clk, 3)
    await FallingEdge(board.clk)
    board.rst.value = 0


async def talk(board, name: str, work: Callable[[Transport, random.Random], None], faults: dict, **options) -> Counter:
    """Let ``work`` use the line in a thread; return the faults that occurred."""
    await begin(board)
    rng = random.Random(name)
    line = LineTransport(board, random.Random(name + " line"), pauses=options["pauses"])
    cocotb.start_soon(stall(board, random.Random(name + " stall"), options["longest_stall"]))
    faulty = FaultyTransport(line, seed=rng.randrange(1 << 32), **faults)
    sessions = await bridge(work)(faulty, rng)
    assert line.resets == sessions, "each session must reset what is behind the link, once"
    return faulty.faults


def session(line: Transport, nonce: bytes) -> Endpoint:
    endpoint = Endpoint(line, maximum_payload=MAXIMUM_PAYLOAD, timeout_s=0.02, nonce=nonce)
    assert endpoint.open().encode() == IDENTITY
    return endpoint


def exchange(endpoint: Endpoint, data: bytes, piece: int) -> None:
    """Assert that ``data`` comes back unchanged."""
    echo = b""
    for start in range(0, len(data), piece):
        endpoint.send(data[start : start + piece])
        echo += endpoint.poll()
    endpoint.flush()
    while len(echo) < len(data):
        echo += endpoint.receive()
    assert echo == data


def one_session(line: Transport, rng: random.Random, *, size: int = 2000) -> int:
    endpoint = session(line, b"only")
    exchange(endpoint, rng.randbytes(size), 200)
    # Zeros, which framing expands most, and bytes that arrive one by one.
    exchange(endpoint, bytes(300) + rng.randbytes(20) + bytes(100), 1000)
    exchange(endpoint, rng.randbytes(8), 1)
    assert endpoint.poll() == b"", "nothing may come twice"
    return 1


def sessions(line: Transport, rng: random.Random, *, count: int = 8) -> int:
    """Each session is abandoned in the middle, except for the last one."""
    left = []
    for number in range(count):
        endpoint = session(line, bytes([number, 0, number, 1]))
        exchange(endpoint, rng.randbytes(rng.randrange(1, 100)), 50)
        endpoint.send(rng.randbytes(rng.randrange(1, 600)))
        left.append(len(endpoint.poll()))
    exchange(session(line, b"last"), rng.randbytes(400), 100)
    assert len(set(left)) > 1
    return len(left) + 1


GOOD_LINE = {one_session: {"size": 700}, sessions: {"count": 4}}
"""Shorter work for a line without faults; a bad line needs the length for enough of them."""


@cocotb.test()
@cocotb.parametrize(pauses=[0, 8], work=[one_session, sessions])
async def good_line(board, pauses: int, work) -> None:
    def short(line: Transport, rng: random.Random) -> int:
        return work(line, rng, **GOOD_LINE[work])

    faults = await talk(board, f"good_line {pauses} {work.__name__}", short, {}, pauses=pauses, longest_stall=300)
    assert faults.total() == 0


@cocotb.test()
@cocotb.parametrize(pauses=[0, 8], work=[one_session, sessions])
async def bad_line(board, pauses: int, work) -> None:
    faults = await talk(board, f"bad_line {pauses} {work.__name__}", work, FAULTS, pauses=pauses, longest_stall=200)
    assert all(faults[name] > 0 for name in FAULTS)
    assert faults.total() > 20
