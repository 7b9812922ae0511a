"""Model of a USB host, with a driver for serial ports above it: packets, transactions, frames and enumeration.

In every frame of 1 ms the host sends a start of frame, and then transactions as long as there is time: it sends what
the program has written, and in between it requests data. Like the driver of Linux, it collects packets in buffers of
128 bytes and passes a buffer on when it is full or a packet was short. Data that end with a full packet stay in the
buffer unless an empty packet follows.

`UsbHost` contains no simulator: a subclass puts packets on a bus. Its methods are coroutines of the simulator.
"""

from __future__ import annotations

import collections
import enum
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from spikeloom.sim.host.usb import (
    DATA_ENDPOINT,
    FULL_SPEED_HZ,
    HIGH_SPEED_HZ,
    HIGH_SPEED_PACKET_BYTES,
    PACKET_BYTES,
    WINDOWS_REQUEST,
    WINDOWS_SET,
    Descriptor,
)

__all__ = [
    "FRAME_CYCLES",
    "FULL_SPEED",
    "GAP",
    "HIGH_SPEED",
    "PATIENCE",
    "SLOW_PORT",
    "BusSpeed",
    "Faults",
    "Pid",
    "StallError",
    "UsbHost",
    "crc5",
    "crc16",
]

FRAME_CYCLES = 12_000
"""Length of a frame at full speed; times are in cycles of the device, one per bit."""
PATIENCE = 18
"""Bit times within which a device must answer."""
GAP = 3
"""Bit times between packets."""


@dataclass(frozen=True, kw_only=True)
class BusSpeed:
    """Times of a bus in cycles of the device, and sizes in bytes.

    ``buffer_bytes`` is the size of the driver's buffers. ``patience`` is the time in which a device must answer,
    ``gap`` that between packets of the host, and ``pauses`` what a host reserves for all pauses of a transaction.
    ``has_phy`` tells that the device has a PHY for high speed, whatever the speed of the port: it is no serial port.
    """

    frame_cycles: int
    packet_bytes: int
    buffer_bytes: int
    patience: int
    gap: int
    pauses: int
    byte_cycles: int
    has_phy: bool = False


FULL_SPEED = BusSpeed(
    frame_cycles=FRAME_CYCLES,
    packet_bytes=PACKET_BYTES,
    buffer_bytes=128,
    patience=PATIENCE,
    gap=GAP,
    pauses=PATIENCE + 4 * GAP,
    byte_cycles=8,
)
HIGH_SPEED = BusSpeed(
    frame_cycles=7500,  # a microframe of 125 us
    packet_bytes=HIGH_SPEED_PACKET_BYTES,
    buffer_bytes=16384,
    patience=102,  # 816 bit times
    gap=11,  # 88 bit times
    pauses=46,  # with the nine other bytes of a transaction the 55 of USB 2.0, 5.8.4
    byte_cycles=1,
    has_phy=True,
)
_BIT = HIGH_SPEED_HZ // FULL_SPEED_HZ  # cycles of high speed per bit of full speed
SLOW_PORT = BusSpeed(
    frame_cycles=_BIT * FULL_SPEED.frame_cycles,
    packet_bytes=PACKET_BYTES,
    buffer_bytes=HIGH_SPEED.buffer_bytes,
    patience=_BIT * FULL_SPEED.patience,
    gap=_BIT * FULL_SPEED.gap,
    pauses=_BIT * FULL_SPEED.pauses,
    byte_cycles=_BIT * FULL_SPEED.byte_cycles,
    has_phy=True,
)
"""A port with full speed only, for a device with a PHY for high speed, whose cycles are those of its PHY."""


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
    PING = 0xB4


class StallError(Exception):
    """The device has refused a request."""


def crc5(value: int) -> int:
    """Check bits of the 11 bits of a token."""
    crc = 0x1F
    for place in range(11):
        crc = crc >> 1 ^ (0x14 if (crc ^ value >> place) & 1 else 0)
    return crc ^ 0x1F


def _shifted(crc: int) -> int:
    for _ in range(8):
        crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


_CRC16 = tuple(_shifted(low) for low in range(256))


def crc16(data: bytes) -> int:
    """Check bits of the payload of a data packet."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC16[(crc ^ byte) & 0xFF]
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


class UsbHost(ABC):
    """The host, for one device.

    ``ctx`` is what the methods of the simulator need; it is only passed on to the four methods of a subclass.

    Attributes
    ----------
    outgoing, incoming : bytearray
        Bytes that the program has written, and bytes for it to read.
    changed : callable
        Called when a packet has moved bytes of the program.
    enumerated : dict
        Descriptors that the device has sent, by type and index.
    packets : list
        Number of the frame, kind and length of each data packet.
    answers : Counter
        Number of each kind of handshake of the device, by endpoint.
    cycle, busy_cycles : int
        Time, and time in transactions that moved data of the program.
    """

    def __init__(
        self, *, faults: Faults | None = None, speed: BusSpeed = FULL_SPEED, byte_cycles: int | None = None
    ) -> None:
        self.faults, self.speed = faults or Faults(), speed
        self.byte_cycles = speed.byte_cycles if byte_cycles is None else byte_cycles
        self.outgoing, self.incoming = bytearray(), bytearray()
        self.changed: Callable[[], None] = lambda: None
        self.enumerated: dict[tuple[int, int], bytes] = {}
        self.packets: list[tuple[int, Pid, int]] = []
        self.answers: collections.Counter[tuple[int, Pid]] = collections.Counter()
        self.cycle = self.busy_cycles = 0
        self.is_ready = False
        self.frames = 0
        self.enumerations = 0
        self.pings = 0
        self.windows_set = b""
        self.resets_due = 0
        self.reads = True
        self.interlude: Callable[[Any], Awaitable[None]] | None = None
        self.is_suspended = False
        self._buffer = bytearray()
        self._address = 0
        self._toggles: dict[str, int] = {}
        self._asks_first = False  # with PING, whether the device has room

    # The bus

    @abstractmethod
    async def wait(self, ctx: Any, cycles: int) -> None:
        """Let time pass, and add it to ``cycle``."""

    @abstractmethod
    async def send(self, ctx: Any, packet: bytes) -> None:
        """Send a packet, from its PID to its check bits."""

    @abstractmethod
    async def receive(self, ctx: Any) -> bytes:
        """Return a packet of the device, after the gap that follows it; empty if none begins within `PATIENCE`."""

    @abstractmethod
    async def hold_reset(self, ctx: Any, cycles: int) -> None:
        """Hold both lines low, the reset of the bus."""

    # Packets

    async def _token(self, ctx: Any, pid: Pid, value: int) -> None:
        word = value | crc5(value) << 11
        packet = bytes((pid, word & 0xFF, word >> 8))
        if pid is not Pid.SOF and self.faults.happens("token"):
            packet = packet[:1] + self.faults.flip(packet[1:])
        await self.send(ctx, packet)
        await self.wait(ctx, self.speed.gap)

    async def _data(self, ctx: Any, pid: Pid, payload: bytes) -> None:
        packet = bytes((pid,)) + payload + crc16(payload).to_bytes(2, "little")
        if self.faults.happens("out_data"):
            packet = packet[:1] + self.faults.flip(packet[1:])
        await self.send(ctx, packet)

    # Transactions

    async def _out(self, ctx: Any, endpoint: int, pid: Pid, toggle: int, payload: bytes) -> Pid | None:
        """Send data once. Return the answer, or None if there is none."""
        await self._token(ctx, pid, self._address | endpoint << 7)
        await self._data(ctx, Pid.DATA1 if toggle else Pid.DATA0, payload)
        answer = await self.receive(ctx)
        await self.wait(ctx, self.speed.gap)
        if not answer:
            return None
        assert len(answer) == 1
        self.answers[endpoint, Pid(answer[0])] += 1
        if self.faults.happens("out_answer"):
            return None
        return Pid(answer[0])

    async def _in(self, ctx: Any, endpoint: int) -> tuple[Pid, bytes] | None:
        """Request data once. Return the kind and the payload, or None if nothing intelligible arrives."""
        await self._token(ctx, Pid.IN, self._address | endpoint << 7)
        packet = await self.receive(ctx)
        if not packet:
            return None
        pid = Pid(packet[0])
        if pid not in (Pid.DATA0, Pid.DATA1):
            assert len(packet) == 1
            self.answers[endpoint, pid] += 1
            return pid, b""
        payload = packet[1:-2]
        assert crc16(payload) == int.from_bytes(packet[-2:], "little")
        assert len(payload) <= (self.speed.packet_bytes if endpoint else PACKET_BYTES)
        if self.faults.happens("in_data"):
            return None
        if not self.faults.happens("in_answer"):
            await self.send(ctx, bytes((Pid.ACK,)))
            await self.wait(ctx, self.speed.gap)
        if endpoint:
            self.packets.append((self.frames, pid, len(payload)))
        return pid, payload

    async def control(self, ctx: Any, setup: bytes, payload: bytes = b"") -> bytes:
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

    async def transaction_out(self, ctx: Any, endpoint: int, pid: Pid, payload: bytes) -> Pid | None:
        """One transaction with data from the host. Return the answer."""
        return await self._out(ctx, endpoint, pid, 0, payload)

    async def transaction_in(self, ctx: Any, endpoint: int) -> tuple[Pid, bytes] | None:
        """One transaction with data from the device. Return the answer."""
        return await self._in(ctx, endpoint)

    async def _until_taken(self, ctx: Any, endpoint: int, toggle: int, payload: bytes) -> None:
        while (answer := await self._out(ctx, endpoint, Pid.OUT, toggle, payload)) is not Pid.ACK:
            if answer is Pid.STALL:
                raise StallError

    # Devices

    async def reset(self, ctx: Any) -> None:
        """Reset the bus by holding both lines low. A host does so for 10 ms; a device may rely on 2.5 us."""
        await self.hold_reset(ctx, 400)
        await self.wait(ctx, 50)
        self._address, self._toggles, self._asks_first = 0, {"in": 0, "out": 0}, False
        self._buffer.clear()

    async def enumerate(self, ctx: Any, address: int = 5) -> None:
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
        if self.speed.has_phy:
            await self._ask_for_more(ctx, get)
            self.is_ready = True
            self.enumerations += 1
            return
        await self.control(ctx, bytes((0x21, 0x20, 0, 0, 0, 0, 7, 0)), (1_000_000).to_bytes(4, "little") + b"\0\0\x08")
        await self.control(ctx, bytes((0x21, 0x22, 3, 0, 0, 0, 0, 0)))
        self.is_ready = True
        self.enumerations += 1

    async def _ask_for_more(self, ctx: Any, get: Callable[[int, int, int], bytes]) -> None:
        """Read what Windows reads of a device with high speed."""
        for kind in (Descriptor.QUALIFIER, Descriptor.OTHER_SPEED, Descriptor.BOS):
            self.enumerated[kind, 0] = await self.control(ctx, get(kind, 0, 255))
        request = bytes((0xC0, WINDOWS_REQUEST, 0, 0, WINDOWS_SET, 0, 0, 2))
        self.windows_set = await self.control(ctx, request)

    # The serial port

    async def run(self, ctx: Any) -> None:
        """Reset and enumerate the device, then carry data."""
        await self.reset(ctx)
        await self.enumerate(ctx)
        await self.serve(ctx)

    async def serve(self, ctx: Any) -> None:
        """Carry data, frame by frame."""
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
                await self.wait(ctx, self.speed.frame_cycles)
                continue
            end = self.cycle + self.speed.frame_cycles * self.byte_cycles // self.speed.byte_cycles
            self.frames += 1
            await self._token(ctx, Pid.SOF, self.frames % 2048)
            longest = (self.speed.packet_bytes + 9) * self.byte_cycles + self.speed.pauses
            while self.cycle + longest < end and not self.resets_due:
                if self.outgoing:
                    await self._write_once(ctx)
                if self.reads and self.cycle + longest < end:
                    await self._read_once(ctx)
                elif not self.outgoing:
                    break
            await self.wait(ctx, max(1, end - self.cycle))

    async def _write_once(self, ctx: Any) -> None:
        piece, start = bytes(self.outgoing[: self.speed.packet_bytes]), self.cycle
        if self._asks_first:
            self.pings += 1
            await self._token(ctx, Pid.PING, self._address | DATA_ENDPOINT << 7)
            self._asks_first = await self.receive(ctx) != bytes((Pid.ACK,))
            if self._asks_first:
                return
        answer = await self._out(ctx, DATA_ENDPOINT, Pid.OUT, self._toggles["out"], piece)
        # At high speed, a host asks a device that was full before it sends again.
        self._asks_first = answer is Pid.NAK and self.speed is HIGH_SPEED
        if answer is Pid.ACK:
            del self.outgoing[: len(piece)]
            self._toggles["out"] ^= 1
            self.packets.append((self.frames, Pid.OUT, len(piece)))
            self.busy_cycles += self.cycle - start
            self.changed()

    async def _read_once(self, ctx: Any) -> None:
        start = self.cycle
        answer = await self._in(ctx, DATA_ENDPOINT)
        if answer is None or answer[0] is Pid.NAK:
            return
        pid, payload = answer
        assert pid is not Pid.STALL
        if (pid is Pid.DATA1) != self._toggles["in"]:
            return  # it already has this packet: its acknowledgement was lost
        self._toggles["in"] ^= 1
        self.busy_cycles += self.cycle - start
        self._buffer += payload
        if len(payload) < self.speed.packet_bytes or len(self._buffer) >= self.speed.buffer_bytes:
            self.incoming += self._buffer
            self._buffer.clear()
            self.changed()
