"""Model of a USB host at full speed, down to the bytes of packets, with a driver for serial ports above it.

The host is connected to the UTMI interface of a device. In every frame of 1 ms it sends a start of frame, and then
transactions as long as there is time: it sends what the program has written, and in between it requests data. A byte
takes eight cycles of the 12 MHz clock, so that nineteen packets of 64 bytes fit into a frame, as on a bus.

Like the driver of Linux, it collects packets in buffers of 128 bytes and passes a buffer on when it is full or a packet
was short. Data that end with a full packet stay in the buffer unless an empty packet follows.
"""

from __future__ import annotations

import collections
import enum
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from amaranth.sim import Simulator

from spikeloom.host.transport import Transport
from spikeloom.sim.host.usb import DATA_ENDPOINT, PACKET_BYTES, Descriptor

__all__ = [
    "FRAME_CYCLES",
    "USB_HZ",
    "Faults",
    "Pid",
    "StallError",
    "UsbBusTransport",
    "UsbHost",
    "UsbPinHost",
    "crc5",
    "crc16",
]

USB_HZ = 12_000_000
FRAME_CYCLES = 12_000
_BUFFER_BYTES = 128
_PATIENCE = 18  # bit times within which a device must answer
_GAP = 3  # bit times between packets
_J, _K, _SE0 = 0b01, 0b10, 0b00


class Pid(enum.IntEnum):
    """Kinds of packets, with the check bits."""

    OUT = 0xE1
    IN = 0x69
    SOF = 0xA5
    SETUP = 0x2D
    DATA0 = 0xC3
    DATA1 = 0x4B
    ACK = 0xD2
    NAK = 0x5A
    STALL = 0x1E


class StallError(Exception):
    """The device has refused a request."""


def crc5(value: int) -> int:
    """Check bits of the 11 bits of a token."""
    crc = 0x1F
    for place in range(11):
        crc = crc >> 1 ^ (0x14 if (crc ^ value >> place) & 1 else 0)
    return crc ^ 0x1F


def crc16(data: bytes) -> int:
    """Check bits of the payload of a data packet."""
    crc = 0xFFFF
    for byte in data:
        for place in range(8):
            crc = crc >> 1 ^ (0xA001 if (crc ^ byte >> place) & 1 else 0)
    return crc ^ 0xFFFF


@dataclass
class Faults:
    """Probability per transaction of each fault on the bus; ``count`` holds how many occurred."""

    token: float = 0.0
    """A token with a wrong checksum, which the device must not answer."""
    out_data: float = 0.0
    """Data to the device with a flipped bit."""
    out_answer: float = 0.0
    """The host does not understand the device's answer to data, so it sends the data again."""
    in_data: float = 0.0
    """The host does not understand data of the device, so it does not acknowledge them."""
    in_answer: float = 0.0
    """The acknowledgement of the host is lost, so the device sends the data again."""
    seed: int = 1
    count: collections.Counter[str] = field(default_factory=collections.Counter)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def happens(self, name: str) -> bool:
        """Whether the fault ``name`` occurs now."""
        found = self._random.random() < getattr(self, name)
        self.count[name] += found
        return found

    def flip(self, data: bytes) -> bytes:
        """``data`` with one bit flipped."""
        place = self._random.randrange(8 * len(data))
        return bytes(byte ^ (1 << place % 8 if number == place // 8 else 0) for number, byte in enumerate(data))


class UsbHost:
    """The host, as a process of Amaranth's simulator.

    ``enumerated`` holds the descriptors that the device has sent, ``packets`` the number of the frame, the kind and the
    length of each data packet, ``answers`` the number of each kind of handshake of the device, by endpoint.
    """

    def __init__(self, device, *, faults: Faults | None = None, byte_cycles: int = 8) -> None:
        self.device, self.faults, self.byte_cycles = device, faults or Faults(), byte_cycles
        self.outgoing, self.incoming = bytearray(), bytearray()
        self.enumerated: dict[tuple[int, int], bytes] = {}
        self.packets: list[tuple[int, Pid, int]] = []
        self.answers: collections.Counter[tuple[int, Pid]] = collections.Counter()
        self.cycle = 0
        self.is_ready = False
        self.frames = 0
        self.enumerations = 0
        self.resets_due = 0
        self.reads = True
        self.interlude: Callable[[Any], Awaitable[None]] | None = None
        self.is_suspended = False
        self._buffer = bytearray()
        self._address = 0
        self._toggles: dict[str, int] = {}

    # Packets

    async def _wait(self, ctx, cycles: int) -> None:
        # From the middle of a cycle to the middle of another one: clocks start with half a period.
        await ctx.delay(cycles / USB_HZ)
        self.cycle += cycles

    async def _send(self, ctx, packet: bytes) -> None:
        device = self.device
        ctx.set(device.line_state, _K)
        ctx.set(device.rx_active, 1)
        await self._wait(ctx, self.byte_cycles)
        for byte in packet:
            ctx.set(device.rx_data, byte)
            ctx.set(device.rx_valid, 1)
            await self._wait(ctx, 1)
            if self.byte_cycles > 1:
                ctx.set(device.rx_valid, 0)
                await self._wait(ctx, self.byte_cycles - 1)
        ctx.set(device.rx_valid, 0)
        ctx.set(device.rx_active, 0)
        ctx.set(device.line_state, _J)

    async def _receive(self, ctx) -> bytes:
        """A packet of the device; empty if it does not answer in time."""
        device = self.device
        for _ in range(_PATIENCE):
            if ctx.get(device.tx_valid):
                break
            await self._wait(ctx, 1)
        else:
            return b""
        ctx.set(device.line_state, _K)
        packet = bytearray()
        await self._wait(ctx, self.byte_cycles)  # SYNC
        while ctx.get(device.tx_valid):
            ctx.set(device.tx_ready, 1)
            packet.append(ctx.get(device.tx_data))
            await self._wait(ctx, 1)
            ctx.set(device.tx_ready, 0)
            if self.byte_cycles > 1:
                await self._wait(ctx, self.byte_cycles - 1)
            assert len(packet) <= PACKET_BYTES + 3, "a packet must end"
        ctx.set(device.line_state, _J)
        await self._wait(ctx, _GAP)
        return bytes(packet)

    async def _token(self, ctx, pid: Pid, value: int) -> None:
        word = value | crc5(value) << 11
        packet = bytes((pid, word & 0xFF, word >> 8))
        if pid is not Pid.SOF and self.faults.happens("token"):
            packet = packet[:1] + self.faults.flip(packet[1:])
        await self._send(ctx, packet)
        await self._wait(ctx, _GAP)

    async def _data(self, ctx, pid: Pid, payload: bytes) -> None:
        packet = bytes((pid,)) + payload + crc16(payload).to_bytes(2, "little")
        if self.faults.happens("out_data"):
            packet = packet[:1] + self.faults.flip(packet[1:])
        await self._send(ctx, packet)

    # Transactions

    async def _out(self, ctx, endpoint: int, pid: Pid, toggle: int, payload: bytes) -> Pid | None:
        """Send data once. Return the answer, or None if there is none."""
        await self._token(ctx, pid, self._address | endpoint << 7)
        await self._data(ctx, Pid.DATA1 if toggle else Pid.DATA0, payload)
        answer = await self._receive(ctx)
        await self._wait(ctx, _GAP)
        if not answer:
            return None
        assert len(answer) == 1
        self.answers[endpoint, Pid(answer[0])] += 1
        if self.faults.happens("out_answer"):
            return None
        return Pid(answer[0])

    async def _in(self, ctx, endpoint: int) -> tuple[Pid, bytes] | None:
        """Request data once. Return the kind and the payload, or None if nothing intelligible arrives."""
        await self._token(ctx, Pid.IN, self._address | endpoint << 7)
        packet = await self._receive(ctx)
        if not packet:
            return None
        pid = Pid(packet[0])
        if pid not in (Pid.DATA0, Pid.DATA1):
            assert len(packet) == 1
            self.answers[endpoint, pid] += 1
            return pid, b""
        payload = packet[1:-2]
        assert crc16(payload) == int.from_bytes(packet[-2:], "little")
        assert len(payload) <= PACKET_BYTES
        if self.faults.happens("in_data"):
            return None
        if not self.faults.happens("in_answer"):
            await self._send(ctx, bytes((Pid.ACK,)))
            await self._wait(ctx, _GAP)
        if endpoint:
            self.packets.append((self.frames, pid, len(payload)))
        return pid, payload

    async def control(self, ctx, setup: bytes, payload: bytes = b"") -> bytes:
        """A control transfer with the 8 bytes of ``setup``; return what the device sends. Raises `StallError`."""
        is_in = bool(setup[0] & 0x80)
        while await self._out(ctx, 0, Pid.SETUP, 0, setup) is not Pid.ACK:
            pass
        length, found, toggle = int.from_bytes(setup[6:], "little"), b"", 1
        while is_in and len(found) < length:
            answer = await self._in(ctx, 0)
            if answer is None or answer[0] is Pid.NAK:
                continue
            if answer[0] is Pid.STALL:
                raise StallError
            if (answer[0] is Pid.DATA1) == toggle:
                found, toggle = found + answer[1], toggle ^ 1
                if len(answer[1]) < PACKET_BYTES:
                    break
        if payload:
            await self._until_taken(ctx, 0, 1, payload)
        if is_in:
            await self._until_taken(ctx, 0, 1, b"")
        else:
            while (answer := await self._in(ctx, 0)) is None or answer[0] is Pid.NAK:
                pass
            if answer[0] is Pid.STALL:
                raise StallError
            assert answer == (Pid.DATA1, b"")
        return found

    async def transaction_out(self, ctx, endpoint: int, pid: Pid, payload: bytes) -> Pid | None:
        """One transaction with data from the host. Return the answer."""
        return await self._out(ctx, endpoint, pid, 0, payload)

    async def transaction_in(self, ctx, endpoint: int) -> tuple[Pid, bytes] | None:
        """One transaction with data from the device. Return the answer."""
        return await self._in(ctx, endpoint)

    async def _until_taken(self, ctx, endpoint: int, toggle: int, payload: bytes) -> None:
        while (answer := await self._out(ctx, endpoint, Pid.OUT, toggle, payload)) is not Pid.ACK:
            if answer is Pid.STALL:
                raise StallError

    # Devices

    async def reset(self, ctx) -> None:
        """Reset the bus by holding both lines low. A host does so for 10 ms; a device may rely on 2.5 us."""
        ctx.set(self.device.line_state, _SE0)
        await self._wait(ctx, 400)
        ctx.set(self.device.line_state, _J)
        await self._wait(ctx, 50)
        self._address, self._toggles = 0, {"in": 0, "out": 0}
        self._buffer.clear()

    async def enumerate(self, ctx, address: int = 5) -> None:
        """Give the device an address, read its descriptors, configure it, and open the port, in the order of Linux."""

        def get(kind: int, index: int, length: int) -> bytes:
            return bytes((0x80, 6, index, kind)) + bytes(2) + length.to_bytes(2, "little")

        await self.control(ctx, get(Descriptor.DEVICE, 0, 64))
        await self.reset(ctx)
        await self.control(ctx, bytes((0, 5, address, 0, 0, 0, 0, 0)))
        self._address = address
        device = await self.control(ctx, get(Descriptor.DEVICE, 0, 18))
        head = await self.control(ctx, get(Descriptor.CONFIGURATION, 0, 9))
        self.enumerated[Descriptor.DEVICE, 0] = device
        self.enumerated[Descriptor.CONFIGURATION, 0] = await self.control(
            ctx, get(Descriptor.CONFIGURATION, 0, int.from_bytes(head[2:4], "little"))
        )
        for index in (0, *filter(None, device[14:17])):
            self.enumerated[Descriptor.STRING, index] = await self.control(ctx, get(Descriptor.STRING, index, 255))
        await self.control(ctx, bytes((0, 9, 1, 0, 0, 0, 0, 0)))
        self._toggles = {"in": 0, "out": 0}
        await self.control(ctx, bytes((0x21, 0x20, 0, 0, 0, 0, 7, 0)), (1_000_000).to_bytes(4, "little") + b"\0\0\x08")
        await self.control(ctx, bytes((0x21, 0x22, 3, 0, 0, 0, 0, 0)))
        self.is_ready = True
        self.enumerations += 1

    # The serial port

    async def run(self, ctx) -> None:
        """Reset and enumerate the device, then carry data, frame by frame."""
        await self.reset(ctx)
        await self.enumerate(ctx)
        while True:
            if self.resets_due:
                self.resets_due -= 1
                self.is_ready = False
                await self.reset(ctx)
                await self.enumerate(ctx)
            if self.interlude is not None:
                interlude, self.interlude = self.interlude, None
                await interlude(ctx)
            if self.is_suspended:
                await self._wait(ctx, FRAME_CYCLES)
                continue
            end = self.cycle + FRAME_CYCLES * self.byte_cycles // 8
            self.frames += 1
            await self._token(ctx, Pid.SOF, self.frames % 2048)
            longest = (PACKET_BYTES + 9) * self.byte_cycles + _PATIENCE + 4 * _GAP
            while self.cycle + longest < end and not self.resets_due:
                if self.outgoing:
                    await self._write_once(ctx)
                if self.reads and self.cycle + longest < end:
                    await self._read_once(ctx)
                elif not self.outgoing:
                    break
            await self._wait(ctx, max(1, end - self.cycle))

    async def _write_once(self, ctx) -> None:
        piece = bytes(self.outgoing[:PACKET_BYTES])
        if await self._out(ctx, DATA_ENDPOINT, Pid.OUT, self._toggles["out"], piece) is Pid.ACK:
            del self.outgoing[: len(piece)]
            self._toggles["out"] ^= 1
            self.packets.append((self.frames, Pid.OUT, len(piece)))

    async def _read_once(self, ctx) -> None:
        answer = await self._in(ctx, DATA_ENDPOINT)
        if answer is None or answer[0] is Pid.NAK:
            return
        pid, payload = answer
        assert pid is not Pid.STALL
        if (pid is Pid.DATA1) != self._toggles["in"]:
            return  # it already has this packet: its acknowledgement was lost
        self._toggles["in"] ^= 1
        self._buffer += payload
        if len(payload) < PACKET_BYTES or len(self._buffer) >= _BUFFER_BYTES:
            self.incoming += self._buffer
            self._buffer.clear()


class UsbPinHost(UsbHost):
    """The host at the pins of a `UsbLine`: levels of D+ and D-, NRZI, stuffed bits. ``stuffed_out`` and
    ``stuffed_in`` count these."""

    def __init__(self, line) -> None:
        super().__init__(line)
        self.stuffed_out = self.stuffed_in = 0

    async def idle(self, ctx) -> None:
        """Wait for the pull-up, with the lines at rest."""
        self._drive(ctx, 1, 0)
        await self._wait(ctx, 60)
        assert ctx.get(self.device.pullup)
        assert not ctx.get(self.device.oe)

    def _drive(self, ctx, dp: int, dn: int) -> None:
        ctx.set(self.device.dp_i, dp)
        ctx.set(self.device.dn_i, dn)

    async def _send(self, ctx, packet: bytes) -> None:
        level, ones = 1, 0
        for bit in [0] * 7 + [1] + [byte >> place & 1 for byte in packet for place in range(8)]:
            level ^= not bit
            self._drive(ctx, level, 1 - level)
            await self._wait(ctx, 1)
            ones = ones + 1 if bit else 0
            if ones == 6:
                level, ones = level ^ 1, 0
                self.stuffed_out += 1
                self._drive(ctx, level, 1 - level)
                await self._wait(ctx, 1)
        self._drive(ctx, 0, 0)
        await self._wait(ctx, 2)
        self._drive(ctx, 1, 0)

    async def _receive(self, ctx) -> bytes:
        device = self.device
        for _ in range(_PATIENCE):
            if ctx.get(device.oe):
                break
            await self._wait(ctx, 1)
        else:
            return b""
        bits, before, ones = [], 1, 0
        while ctx.get(device.oe):
            dp, dn = ctx.get(device.dp_o), ctx.get(device.dn_o)
            if dp == dn:  # the end of the packet
                assert dp == 0
                break
            if ones == 6:
                assert dp != before, "a bit must be stuffed"
                self.stuffed_in += 1
                ones = 0
            else:
                bit = int(dp == before)
                bits.append(bit)
                ones = ones + 1 if bit else 0
            before = dp
            await self._wait(ctx, 1)
        while ctx.get(device.oe):
            await self._wait(ctx, 1)
        await self._wait(ctx, _GAP)
        start = bits.index(1) + 1  # after SYNC, whose first bit may be that of the idle line
        assert start in (7, 8)
        assert (len(bits) - start) % 8 == 0
        packet = bits[start:]
        return bytes(
            sum(bit << place for place, bit in enumerate(packet[at : at + 8])) for at in range(0, len(packet), 8)
        )


class UsbBusTransport(Transport):
    """The serial port of a device that is simulated, for the real driver.

    Parameters
    ----------
    design
        Top level with the domains ``sync`` and ``usb``.
    host
        Host of its device.
    sync_hz
        Clock of the fabric, unrelated to that of the bus.
    """

    name = "the bus"

    def __init__(self, design, host: UsbHost, *, sync_hz: float = 31e6) -> None:
        self.host = host
        self.round_trip_s = 2e-3 * host.byte_cycles / 8  # two frames of the bus
        self.times_read = 0
        self._seconds = 0.0
        self._simulator = Simulator(design)
        self._simulator.add_clock(1 / USB_HZ, domain="usb")
        self._simulator.add_clock(1 / sync_hz, domain="sync", phase=1e-9)
        self._simulator.add_testbench(host.run, background=True)

    def _advance(self, seconds: float) -> None:
        self._seconds += seconds
        self._simulator.run_until(self._seconds)

    def until_ready(self) -> None:
        """Simulate until the device is enumerated and its port open."""
        for _ in self._slices(0.1):
            if self.host.is_ready:
                return
        raise AssertionError("a device must be enumerated within 100 ms")

    def _slices(self, timeout_s: float) -> Iterator[None]:
        end = self._seconds + timeout_s
        while True:
            yield
            if self._seconds >= end:
                return
            self._advance(min(10e-6, end - self._seconds + 1e-9))

    def write(self, data: bytes) -> None:
        self.host.outgoing += data

    def read(self, timeout_s: float) -> bytes:
        for _ in self._slices(timeout_s):
            if self.host.incoming:
                break
        data = bytes(self.host.incoming)
        self.host.incoming.clear()
        return data

    def now(self) -> float:
        return self._seconds
