"""The cocotb side of a simulated board: a transport for the driver over the pins of the simulated top.

cocotb runs this module inside the simulator. The environment variable ``SPIKELOOM_JOB`` names a file with a pickled
function and its arguments. The function is called in a thread, with the transport as its first argument, and its result
is stored beside the file. Time is simulated time, which passes while that thread waits in `SimulatedTransport`.
"""

from __future__ import annotations

import os
import pickle
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.simtime import get_sim_time
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles, Event, First, Timer, ValueChange

from spikeloom.host.transport import Transport
from spikeloom.sim.host.ethernet import PREAMBLE, EthernetParameters, Station, udp_frame, udp_payload
from spikeloom.simulators.usb_host import FULL_SPEED, HIGH_SPEED, BusSpeed, UsbHost

__all__ = ["SimulatedEthernet", "SimulatedTransport", "SimulatedUsb", "do_job"]

_BLOCK = 256  # bytes per exchange with the UART model, as in testbench.v: each exchange wakes Python
_PERIOD_NS = 10
_QUEUE = 4096  # bytes that may wait to be sent before `write` blocks


class SimulatedTransport(Transport):
    """Serial line to the simulated top, through the UART model of ``testbench.v``; for a bridged thread of cocotb."""

    name = "the simulated board"
    round_trip_s = 100e-6

    def __init__(self, testbench: Any) -> None:
        self._testbench = testbench
        self._outgoing: deque[bytes] = deque()
        self._queued = 0
        self._incoming = bytearray()
        self._more_to_send, self._some_sent, self._arrived = Event(), Event(), Event()
        cocotb.start_soon(self._send())
        cocotb.start_soon(self._receive())

    def _next_block(self) -> tuple[int, bytes]:
        """Take bytes that wait to be sent; return their number, and what is passed to the testbench for them."""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        if data[_BLOCK:]:
            self._outgoing.append(data[_BLOCK:])
        block = data[:_BLOCK]
        return len(block), block

    async def _send(self) -> None:
        testbench = self._testbench
        request = 0
        while True:
            while not self._outgoing:
                self._more_to_send.clear()
                await self._more_to_send.wait()
            count, block = self._next_block()
            request ^= 1
            testbench.send_bytes.value = int.from_bytes(block, "little")
            testbench.send_count.value = len(block)
            testbench.send_request.value = request
            await ValueChange(testbench.send_done)
            self._queued -= count
            self._some_sent.set()

    async def _receive(self) -> None:
        testbench = self._testbench
        taken = 0
        while True:
            await ValueChange(testbench.received_ready)
            count = int(testbench.received_count.value)
            block = int(testbench.received_bytes.value)
            self._incoming += block.to_bytes(_BLOCK, "little")[:count]
            taken ^= 1
            testbench.received_taken.value = taken
            self._arrived.set()

    def write(self, data: bytes) -> None:
        resume(self._write)(data)

    async def _write(self, data: bytes) -> None:
        self._outgoing.append(bytes(data))
        self._queued += len(data)
        self._more_to_send.set()
        while self._queued > _QUEUE:
            self._some_sent.clear()
            await self._some_sent.wait()

    def read(self, timeout_s: float) -> bytes:
        return resume(self._read)(timeout_s)

    async def _read(self, timeout_s: float) -> bytes:
        if not self._incoming:
            self._arrived.clear()
            await First(self._arrived.wait(), Timer(max(round(timeout_s * 1e9), _PERIOD_NS), "ns"))
        data = bytes(self._incoming)
        self._incoming.clear()
        return data

    def now(self) -> float:
        return get_sim_time("ns") * 1e-9

    def cycles(self) -> int:
        """Return the number of clock cycles since the simulation began."""
        return int(get_sim_time("ns") // _PERIOD_NS)


class SimulatedEthernet(SimulatedTransport):
    """UDP to the simulated top, through ``ethernet_testbench.v``; for a bridged thread of cocotb."""

    round_trip_s = 20e-6

    def __init__(self, testbench: Any) -> None:
        self._board = EthernetParameters().station(bytes(16))
        self._host = Station(bytes((2, 0, 0, 0, 0, 1)), self._board.address[:3] + b"\x01", 50_000)
        super().__init__(testbench)

    def _next_block(self) -> tuple[int, bytes]:
        data = self._outgoing.popleft()
        return len(data), PREAMBLE + udp_frame(self._host, self._board, data)

    async def _receive(self) -> None:
        testbench = self._testbench
        while True:
            await ValueChange(testbench.received_ready)
            count = int(testbench.received_count.value)
            frame = int(testbench.received_bytes.value) & (1 << 8 * count) - 1
            self._incoming += udp_payload(frame.to_bytes(count, "little")[len(PREAMBLE) :])
            self._arrived.set()

    def write(self, data: bytes) -> None:
        # One frame of the link in each datagram.
        for piece in data.split(b"\0"):
            if piece:
                super().write(piece + b"\0")


class _PinHost(UsbHost):
    """The host at the pins, through ``usb_testbench.v``; each ``ctx`` is the testbench. A cycle takes ``cycle_ps``."""

    def __init__(self, cycle_ps: int, *, speed: BusSpeed = FULL_SPEED) -> None:
        super().__init__(speed=speed)
        self.cycle_ps = cycle_ps

    async def _settle(self, signal: Any) -> None:
        """Wait for a change of ``signal``, and add the time that passes."""
        start = get_sim_time("ps")
        await ValueChange(signal)
        self.cycle += round((get_sim_time("ps") - start) / self.cycle_ps)

    async def wait(self, ctx: Any, cycles: int) -> None:
        await Timer(cycles * self.cycle_ps, "ps")
        self.cycle += cycles

    async def send(self, ctx: Any, packet: bytes) -> None:
        ctx.send_bytes.value = int.from_bytes(packet, "little")
        ctx.send_count.value = len(packet)
        ctx.send_request.value = 1 - int(ctx.send_done.value)
        await self._settle(ctx.send_done)

    async def receive(self, ctx: Any) -> bytes:
        ctx.receive_request.value = 1 - int(ctx.receive_done.value)
        await self._settle(ctx.receive_done)
        count = int(ctx.received_count.value)
        if not count:
            return b""
        packet = int(ctx.received_bytes.value) & (1 << 8 * count) - 1
        await self.wait(ctx, self.gap_after_device)
        return packet.to_bytes(count, "little")

    async def hold_reset(self, ctx: Any, cycles: int) -> None:
        ctx.hold_reset.value = 1
        await self.wait(ctx, cycles)
        ctx.hold_reset.value = 0

    @property
    def gap_after_device(self) -> int:
        """Cycles between a packet of the device and one of the host."""
        return self.speed.gap


class _FastPinHost(_PinHost):
    """The host behind the PHY of ``ulpi_testbench.v``."""

    _SE0, _J, _K = 0, 1, 2
    _CHIRP_CYCLES = 3000  # 50 us
    _LONGEST = 200  # of 50 us: a device leaves high speed after 3 ms, and chirps for 2 ms

    def __init__(self, cycle_ps: int) -> None:
        super().__init__(cycle_ps, speed=HIGH_SPEED)

    @property
    def gap_after_device(self) -> int:
        return 2

    async def hold_reset(self, ctx: Any, cycles: int) -> None:
        before = int(ctx.chirps.value)
        ctx.line.value = self._SE0
        for _ in range(self._LONGEST):
            await self.wait(ctx, self._CHIRP_CYCLES)
            if int(ctx.chirps.value) != before:
                break
        else:
            raise RuntimeError("a device with high speed must chirp in a reset")
        for _ in range(4):
            for level in (self._K, self._J):
                ctx.line.value = level
                await self.wait(ctx, self._CHIRP_CYCLES)
        ctx.line.value = self._SE0
        await self.wait(ctx, self._CHIRP_CYCLES)


class SimulatedUsb(SimulatedTransport):
    """The USB device at the pins of the simulated top; for a bridged thread of cocotb.

    Parameters
    ----------
    testbench
        ``usb_testbench.v``, or ``ulpi_testbench.v`` for high speed.
    cycle_ps
        Cycle of the device: a bit at full speed, a byte at high speed.
    high_speed
        Whether the device has a PHY for high speed.
    """

    def __init__(self, testbench: Any, cycle_ps: int, *, high_speed: bool = False) -> None:
        self._host = _FastPinHost(cycle_ps) if high_speed else _PinHost(cycle_ps)
        self.round_trip_s = 50e-6 if high_speed else 300e-6
        super().__init__(testbench)
        self._incoming = self._host.incoming

    @property
    def busy_s(self) -> float:
        """Time for which the bus has carried data of the serial port."""
        return self._host.busy_cycles * self._host.cycle_ps * 1e-12

    async def _send(self) -> None:
        self._host.changed = self._on_change
        await self._host.run(self._testbench)

    async def _receive(self) -> None:
        """The host receives as well."""

    def _on_change(self) -> None:
        self._queued = len(self._host.outgoing)
        self._some_sent.set()
        self._arrived.set()

    async def _write(self, data: bytes) -> None:
        self._host.outgoing += data
        self._queued = len(self._host.outgoing)
        while self._queued > _QUEUE:
            self._some_sent.clear()
            await self._some_sent.wait()


@cocotb.test()
async def do_job(testbench: Any) -> None:
    """Reset the top, run the job and store its result."""
    path = Path(os.environ["SPIKELOOM_JOB"])
    work, arguments = pickle.loads(path.read_bytes())
    testbench.rst.value = 1
    testbench.send_request.value = 0
    Clock(testbench.clk, _PERIOD_NS, "ns").start()
    make: Callable[[Any], SimulatedTransport]
    if period_ps := os.environ.get("SPIKELOOM_ETHERNET_PS"):
        Clock(testbench.ethernet_clk, int(period_ps), "ps").start()
        make = SimulatedEthernet
    elif bit_ps := os.environ.get("SPIKELOOM_USB_PS"):
        testbench.receive_request.value = testbench.hold_reset.value = 0
        Clock(testbench.usb_io_clk, int(bit_ps) // 4, "ps").start()
        make = partial(SimulatedUsb, cycle_ps=int(bit_ps))
    elif cycle_ps := os.environ.get("SPIKELOOM_ULPI_PS"):
        testbench.receive_request.value = testbench.line.value = 0
        Clock(testbench.ulpi_clk, int(cycle_ps), "ps").start()
        make = partial(SimulatedUsb, cycle_ps=int(cycle_ps), high_speed=True)
    else:
        testbench.received_taken.value = 0
        make = SimulatedTransport
    await ClockCycles(testbench.clk, 50)  # several cycles of each clock
    testbench.rst.value = 0
    result = await bridge(work)(make(testbench), *arguments)
    # Renaming is atomic: a result that exists is complete.
    scratch = path.with_suffix(".scratch")
    scratch.write_bytes(pickle.dumps(result))
    scratch.replace(path.with_suffix(".result"))
