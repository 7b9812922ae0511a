"""The model of a USB host against a device in Python: the pace of the bus, what the program reads, and faults."""

import pytest

from spikeloom.sim.host.usb import BULK_PACKETS_PER_MS, DATA_ENDPOINT, HIGH_SPEED_PACKETS, UsbParameters
from spikeloom.simulators.usb_host import (
    FRAME_CYCLES,
    FULL_SPEED,
    GAP,
    HIGH_SPEED,
    SLOW_PORT,
    Faults,
    Pid,
    StallError,
    UsbHost,
    crc5,
    crc16,
)

TOKENS = (Pid.OUT, Pid.IN, Pid.SETUP, Pid.PING)


class TimeIsUpError(Exception):
    """The end of a simulation."""


class HostAndDevice(UsbHost):
    """The host, and a device that answers at once: it sends ``to_host`` and keeps what it is sent in ``from_host``."""

    def __init__(self, *, to_host=(), accepts=True, **options):
        super().__init__(**options)
        self.to_host, self.from_host, self.accepts = list(to_host), bytearray(), accepts
        self.parameters = UsbParameters(serial="7", high_speed=self.speed.has_phy)
        slow = self.speed is SLOW_PORT
        self.descriptors = self.parameters.full_speed_descriptors if slow else self.parameters.descriptors
        self.end = 0
        self.token = self.answer = None
        self.expected = {}
        self.waiting = False  # data that are not acknowledged yet
        self.control_data, self.toggle, self.stalls = b"", 1, False

    async def wait(self, ctx, cycles):
        self.cycle += cycles
        if self.cycle > self.end:
            raise TimeIsUpError

    async def hold_reset(self, ctx, cycles):
        await self.wait(ctx, cycles)
        self.expected = {"out": 0, "in": 0}

    async def send(self, ctx, packet):
        assert ctx == "context"
        await self.wait(ctx, (len(packet) + 1) * self.byte_cycles)
        pid = Pid(packet[0])
        self.answer = None
        if pid in (Pid.DATA0, Pid.DATA1):
            payload = packet[1:-2]
            if crc16(payload) == int.from_bytes(packet[-2:], "little") and self.token is not None:
                self.take(payload, pid)
        elif pid in TOKENS:
            word = int.from_bytes(packet[1:], "little")
            self.token = (pid, word >> 7 & 15) if crc5(word & 0x7FF) == word >> 11 else None
            if self.token is not None and pid is Pid.IN:
                self.give(self.token[1])
            elif self.token is not None and pid is Pid.PING:
                self.answer = bytes((Pid.ACK if self.accepts else Pid.NAK,))
        elif pid is Pid.ACK and self.waiting:
            self.to_host.pop(0)
            self.expected["in"] ^= 1
            self.waiting = False

    def take(self, payload, pid):
        kind, endpoint = self.token
        self.answer = bytes((Pid.ACK,))
        if kind is Pid.SETUP:
            self.control_data = self.parameters.windows_set if payload[0] == 0xC0 else b""
            if payload[:2] == b"\x80\x06":
                self.control_data = self.descriptors.get((payload[3], payload[2]), b"")
            self.control_data = self.control_data[: int.from_bytes(payload[6:], "little")]
            self.stalls = payload[1] == 6 and not self.control_data
            self.toggle = 1
        elif endpoint == DATA_ENDPOINT and not self.accepts:
            self.answer = bytes((Pid.NAK,))
        elif endpoint == DATA_ENDPOINT and (pid is Pid.DATA1) == self.expected["out"]:
            self.from_host += payload
            self.expected["out"] ^= 1

    def give(self, endpoint):
        if endpoint == 0 and self.stalls:
            self.answer = bytes((Pid.STALL,))
        elif endpoint == 0:
            payload, self.control_data = self.control_data[:64], self.control_data[64:]
            self.answer = self.packet(self.toggle, payload)
            self.toggle ^= 1
        elif not self.to_host:
            self.answer = bytes((Pid.NAK,))
        else:
            self.answer, self.waiting = self.packet(self.expected["in"], self.to_host[0]), True

    def packet(self, toggle, payload):
        return bytes((Pid.DATA1 if toggle else Pid.DATA0,)) + payload + crc16(payload).to_bytes(2, "little")

    async def receive(self, ctx):
        if self.answer is None:
            await self.wait(ctx, self.speed.patience)
            return b""
        await self.wait(ctx, (len(self.answer) + 1) * self.byte_cycles + GAP)
        return self.answer

    def advance(self, coroutine, cycles=1_000_000):
        """Run ``coroutine`` for up to ``cycles`` cycles; return its result."""
        self.end = self.cycle + cycles
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        except TimeIsUpError:
            return None

    def carry(self, frames):
        """Enumerate the device without faults, then carry data for ``frames`` frames."""
        faults, self.faults = self.faults, Faults()
        self.advance(self.reset("context"))
        self.advance(self.enumerate("context"))
        self.faults = faults
        self.advance(self.serve("context"), self.speed.frame_cycles * frames)


def test_check_sums():
    """The values given in the USB specification."""
    assert crc5(0x15 | 0xE << 7) == 0b11101
    assert crc5(0x3A | 0xA << 7) == 0b00111
    assert crc16(bytes(range(4))) == 0x7AEF
    assert crc16(bytes((0x23, 0x45, 0x67, 0x89))) == 0x1C0E


@pytest.mark.parametrize("speed", [FULL_SPEED, HIGH_SPEED, SLOW_PORT], ids=["full", "high", "slow port"])
def test_enumeration(speed):
    host = HostAndDevice(speed=speed)
    host.advance(host.reset("context"))
    host.advance(host.enumerate("context"))
    assert host.enumerated == host.descriptors
    assert host.windows_set == (b"" if speed is FULL_SPEED else host.parameters.windows_set)
    assert host.is_ready
    assert host.enumerations == 1
    with pytest.raises(StallError):
        host.advance(host.control("context", bytes((0x80, 6, 0, 9, 0, 0, 10, 0))))


@pytest.mark.parametrize("way", ["to the board", "from the board"])
@pytest.mark.parametrize(
    ("speed", "packets"),
    [(FULL_SPEED, BULK_PACKETS_PER_MS), (HIGH_SPEED, HIGH_SPEED_PACKETS), (SLOW_PORT, BULK_PACKETS_PER_MS)],
    ids=["full", "high", "slow port"],
)
def test_the_pace_of_the_bus(way, speed, packets):
    """Nineteen packets per millisecond, or thirteen in an eighth of it, and the bus is busy all the time."""
    full = bytes(speed.packet_bytes)
    host = HostAndDevice(speed=speed, to_host=[full] * 200 if way == "from the board" else ())
    host.reads = way == "from the board"
    if not host.reads:
        host.outgoing += 200 * full
    host.carry(3)
    frames = [frame for frame, _, _ in host.packets]
    assert frames.count(1) == frames.count(2) == packets
    assert 0.93 < host.busy_cycles / (3 * speed.frame_cycles) < 1


def test_the_program_reads_what_is_complete():
    """Two full packets fill a buffer; one alone stays in it until a shorter one follows."""
    changes = []
    host = HostAndDevice(to_host=[b"a" * 64, b"b" * 64, b"c" * 64])
    host.changed = lambda: changes.append(len(host.incoming))
    host.carry(1)
    assert bytes(host.incoming) == b"a" * 64 + b"b" * 64
    assert changes == [128]
    host.to_host.append(b"")
    host.advance(host.serve("context"), FRAME_CYCLES)
    assert bytes(host.incoming) == b"a" * 64 + b"b" * 64 + b"c" * 64


def test_data_are_repeated_until_they_are_taken():
    sent = bytes(place % 251 for place in range(1000))
    frames = [sent[place : place + 50] for place in range(0, 1000, 50)]
    faults = Faults(token=0.05, out_data=0.1, out_answer=0.1, in_data=0.1, in_answer=0.1, seed=4)
    host = HostAndDevice(to_host=frames, faults=faults)
    host.outgoing += sent
    host.carry(10)
    assert host.from_host == sent
    assert host.incoming == sent
    assert all(faults.count[name] > 0 for name in ("token", "out_data", "out_answer", "in_data", "in_answer"))


def test_a_full_device_is_asked_again():
    host = HostAndDevice(accepts=False)
    host.outgoing += b"bytes"
    host.carry(2)
    assert host.answers[DATA_ENDPOINT, Pid.NAK] > 10
    assert host.from_host == b""
    assert (host.busy_cycles, host.pings) == (0, 0)


def test_a_full_device_at_high_speed_is_asked_with_ping():
    """One refused packet, then short questions only, until there is room."""
    host = HostAndDevice(speed=HIGH_SPEED, accepts=False)
    host.reads = False
    host.outgoing += bytes(2000)
    host.carry(1)
    assert host.answers[DATA_ENDPOINT, Pid.NAK] == 1
    assert host.pings > 50
    host.accepts = True
    host.advance(host.serve("context"), 7500)
    assert host.from_host == bytes(2000)
    assert host.answers[DATA_ENDPOINT, Pid.NAK] == 1
