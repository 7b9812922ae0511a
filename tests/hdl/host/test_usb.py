"""The USB device between a host model and the fabric: enumeration, packets, pace, faults, resets, and the pins."""

import collections
import dataclasses
import re
import warnings

import pytest
from amaranth.hdl import Elaboratable, Fragment, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from harness.cores import TINY_PAIR
from harness.flash import Flash
from harness.mutations import mutated
from harness.networks import random_network, random_spikes, rng_of
from harness.ulpi import SHORT_TIMES, UlpiHost
from harness.usb_host import UsbBusTransport, UsbPinHost, UsbUtmiHost

from spikeloom.compiler.place import place
from spikeloom.hdl.host import usb
from spikeloom.hdl.host.crossing import cross
from spikeloom.hdl.host.usb import USB_PINS, UlpiDevice, UsbDevice, UsbLine
from spikeloom.hdl.top.top import add_fabric
from spikeloom.host.driver import Board
from spikeloom.host.endpoint import Endpoint
from spikeloom.runners.compare import compare
from spikeloom.runners.runner import BoardRunner
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.host.usb import (
    BULK_PACKETS_PER_MS,
    DATA_ENDPOINT,
    FULL_SPEED_HZ,
    HIGH_SPEED_HZ,
    HIGH_SPEED_PACKETS,
    NOTIFICATION_ENDPOINT,
    Descriptor,
    UsbParameters,
)
from spikeloom.sim.lib.registers import BRIDGE_TILE
from spikeloom.sim.network.reference import simulate
from spikeloom.simulators.usb_host import SLOW_PORT, Faults, Pid, StallError

FABRIC = FabricConfig(core=TINY_PAIR)
NAMED = UsbParameters(vendor=0x1234, product=0x5678, serial="0042")
FAST = dataclasses.replace(NAMED, high_speed=True)


class Crossing(wiring.Component):
    """The bytes of a device in the clock domain of the fabric."""

    def __init__(self, device):
        self.device = device
        super().__init__({"o": Out(stream.Signature(8)), "i": In(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        cross(m, self.device.o, self.device.i, self, domain="usb")
        return m


class WholeTop(Elaboratable):
    """`UsbTop` without its PHY."""

    def __init__(self, device=UsbDevice):
        self.device = device(NAMED)
        self.bus_resets = Signal(8)

    def elaborate(self, platform):
        m = Module()
        m.submodules.device = self.device
        m.submodules.crossing = crossing = Crossing(self.device)
        identity = FABRIC.identity(bytes(16), link_kind=LinkKind.USB)
        add_fabric(m, self, FABRIC, identity, from_line=crossing.o, to_line=crossing.i)
        return m


class Bytes:
    """A device alone: what arrives is collected, and ``frames`` of the link are offered, ``pause`` cycles apart."""

    def __init__(self, *, frames=(), byte_cycles=1, module=usb, faults=None, stalled=False, pause=0):
        self.device, self.host, self.hz = self.made(module, byte_cycles, faults)
        self.frames, self.received, self.pause = list(frames), bytearray(), pause
        self.stalled = stalled
        self.simulator = Simulator(self.device)
        self.simulator.add_clock(1 / self.hz, domain="usb")
        self.simulator.add_testbench(self.host.run, background=True)
        self.simulator.add_testbench(self.collect, background=True)
        self.simulator.add_testbench(self.offer, background=True)
        self._cycles = 0

    def made(self, module, byte_cycles, faults):
        """The device, its host, and its clock."""
        device = module.UsbDevice(NAMED)
        return device, UsbUtmiHost(device, byte_cycles=byte_cycles, faults=faults), FULL_SPEED_HZ

    async def collect(self, ctx):
        device = self.device
        outputs = device.o.valid, device.o.payload
        ready = 0
        async for _, _, valid, byte in ctx.tick("usb").sample(*outputs):
            if valid and ready:
                self.received.append(byte)
            if ready == self.stalled:
                ready = int(not self.stalled)
                ctx.set(device.o.ready, ready)

    async def offer(self, ctx):
        device = self.device
        ticks = aiter(ctx.tick("usb").sample(device.i.ready))
        while True:
            await anext(ticks)
            while self.host.is_ready and self.frames:
                ctx.set(device.i.valid, 1)
                for byte in self.frames.pop(0):
                    ctx.set(device.i.payload, byte)
                    ready = 0
                    while not ready:
                        _, _, ready = await anext(ticks)
                ctx.set(device.i.valid, 0)
                for _ in range(self.pause):
                    await anext(ticks)

    def advance(self, cycles):
        self._cycles += cycles
        self.simulator.run_until(self._cycles / self.hz)

    def until(self, holds, cycles):
        """Let time pass until ``holds()``, for up to ``cycles`` cycles."""
        end = self._cycles + cycles
        while not holds() and self._cycles < end:
            self.advance(100)

    def until_ready(self):
        self.until(lambda: self.host.is_ready, 100_000)
        assert self.host.is_ready

    def until_next_frame(self):
        number = self.host.frames
        self.until(lambda: self.host.frames > number, 2 * self.host.speed.frame_cycles)

    @property
    def lengths(self):
        """Lengths of the packets to the host."""
        return [length for _, pid, length in self.host.packets if pid is not Pid.OUT]


class FastBytes(Bytes):
    """The same at high speed, at the pins of the PHY, with ``short_times``."""

    def made(self, module, byte_cycles, faults):
        device = module.UlpiDevice(NAMED)
        return device, UlpiHost(device, faults=faults), HIGH_SPEED_HZ


class SlowBytes(FastBytes):
    """The same at a port with full speed only, where a byte takes ``byte_cycles`` cycles."""

    def made(self, module, byte_cycles, faults):
        device = module.UlpiDevice(NAMED)
        return device, UlpiHost(device, faults=faults, speed=SLOW_PORT, byte_cycles=byte_cycles), HIGH_SPEED_HZ


@pytest.fixture
def short_times(monkeypatch):
    """A reset and a suspend that take a tenth of a millisecond, not milliseconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from luna.gateware.usb.usb2.reset import USBResetSequencer

    for name, cycles in SHORT_TIMES.items():
        monkeypatch.setattr(USBResetSequencer, name, cycles)


def frame_of(length):
    return bytes(1 + place % 255 for place in range(length - 1)) + b"\0"


def test_enumeration():
    """The host reads the descriptors given by the parameters, finds the port, and is refused what does not exist."""
    bench = Bytes()
    bench.until_ready()
    host = bench.host
    assert host.enumerated == NAMED.descriptors
    assert host.answers[0, Pid.NAK] == 0
    found = []

    async def ask(ctx):
        found.append(await host.control(ctx, bytes((0xA1, 0x21, 0, 0, 0, 0, 7, 0))))
        for refused in ((0x80, 6, 0, 6, 0, 0, 10, 0), (0xC0, 1, 0, 0, 0, 0, 2, 0), (0xA1, 0x7F, 0, 0, 0, 0, 2, 0)):
            with pytest.raises(StallError):
                await host.control(ctx, bytes(refused))
        found.append(await host.control(ctx, bytes((0x80, 8, 0, 0, 0, 0, 1, 0))))  # the configuration
        # A transfer that the host abandons, and the next one.
        assert await host.transaction_out(ctx, 0, Pid.SETUP, bytes((0x80, 6, 0, 2, 0, 0, 75, 0))) is Pid.ACK
        found.append(await host.control(ctx, bytes((0x80, 8, 0, 0, 0, 0, 1, 0))))
        found.append(await host.transaction_in(ctx, NOTIFICATION_ENDPOINT))

    host.interlude = ask
    bench.until(lambda: len(found) == 5, 9000)
    assert found == [(115_200).to_bytes(4, "little") + b"\0\0\x08", b"\1", b"\1", (Pid.NAK, b"")]


def test_a_packet_ends_where_a_frame_ends_and_none_follows():
    """Packets are full, and an empty one follows only a frame that fills its last packet."""
    bench = Bytes()
    bench.until_ready()

    def carried(frames, pause, cycles):
        """The lengths of the packets of further frames, and their bytes."""
        bench.host.packets.clear()
        bench.host.incoming.clear()
        bench.pause = pause
        bench.frames += frames
        bench.advance(cycles)
        return bench.lengths, bytes(bench.host.incoming)

    assert carried([frame_of(64)], 400, 1500) == ([64, 0], frame_of(64))
    frames = [frame_of(30), frame_of(40), frame_of(100)]
    assert carried(frames, 0, 2000) == ([64, 64, 42], b"".join(frames))
    frames = [frame_of(10), frame_of(128)]
    assert carried(frames, 600, 3000) == ([10, 64, 64, 0], b"".join(frames))


@pytest.mark.parametrize(("pause", "lengths"), [(usb.PATIENCE, [30]), (usb.PATIENCE + 1, [10, 20])])
def test_a_packet_waits_for_the_next_frame_and_no_longer(pause, lengths):
    bench = Bytes(pause=pause)
    bench.until_ready()
    bench.host.packets.clear()
    bench.frames += [frame_of(10), frame_of(20)]
    bench.advance(1000)
    assert bench.lengths == lengths


def test_a_full_device_refuses_and_loses_nothing():
    """NAK while the bytes are not taken, whatever happens on the bus."""
    bench = Bytes(stalled=True, faults=Faults(token=0.1, out_data=0.1, out_answer=0.1, seed=3))
    sent = bytes(place * 7 % 256 for place in range(1000))
    bench.host.outgoing += sent
    bench.until_ready()
    bench.advance(3000)
    assert bench.host.answers[DATA_ENDPOINT, Pid.NAK] > 10
    bench.stalled = False
    bench.until(lambda: len(bench.received) >= len(sent), 6000)
    bench.advance(500)
    assert bench.received == sent
    assert all(bench.host.faults.count[name] > 1 for name in ("token", "out_data", "out_answer"))


def test_a_lost_acknowledgement_doubles_nothing():
    frames = [frame_of(200) for _ in range(6)]
    bench = Bytes(frames=frames, faults=Faults(token=0.05, in_data=0.1, in_answer=0.1, seed=9))
    bench.until_ready()
    sent = b"".join(frames)
    bench.until(lambda: len(bench.host.incoming) >= len(sent), 9000)
    bench.advance(500)
    assert bench.host.incoming == sent
    assert all(bench.host.faults.count[name] > 1 for name in ("token", "in_data", "in_answer"))


def test_the_pace_of_full_speed():
    """Nineteen packets of 64 bytes in a frame of 1 ms, in either direction."""
    bench = Bytes(frames=[frame_of(20_000)])
    host, refused = bench.host, []
    bench.until_ready()
    host.byte_cycles = 8

    async def turn(ctx):
        host.reads = False
        host.outgoing += bytes(64 * 45)
        refused.append(host.answers[DATA_ENDPOINT, Pid.NAK])

    bench.until_next_frame()
    host.interlude = turn  # between this frame of 1 ms and the next
    bench.until_next_frame()
    bench.until_next_frame()
    counted = collections.Counter(frame for frame, pid, length in host.packets if pid is not Pid.OUT and length == 64)
    assert max(counted.values()) == BULK_PACKETS_PER_MS
    counted = collections.Counter(frame for frame, pid, length in host.packets if pid is Pid.OUT)
    assert max(counted.values()) == BULK_PACKETS_PER_MS
    assert refused == [host.answers[DATA_ENDPOINT, Pid.NAK]], "bytes that arrive are taken at once"


BUGS = {
    "a packet never ends": ("to_host.last.eq(~component.i.valid)", "to_host.last.eq(0)"),
    "every byte ends a packet": ("to_host.last.eq(~component.i.valid)", "to_host.last.eq(1)"),
    "the end of a frame is held back": ("((held == 0) & (patience == 0))", "0"),
    "bytes overtake": ("component.i.ready.eq(~is_held | leaves)", "component.i.ready.eq(1)"),
    "the endpoint": ("ToHost(endpoint_number=DATA_ENDPOINT,", "ToHost(endpoint_number=DATA_ENDPOINT + 3,"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug):
    copy = mutated(usb, *BUGS[bug])
    bench = Bytes(frames=[frame_of(30), frame_of(34), frame_of(50)], module=copy)
    bench.until_ready()
    bench.advance(1500)
    assert (bench.lengths, bytes(bench.host.incoming)) != ([64, 50], frame_of(30) + frame_of(34) + frame_of(50))


def run_network(request, *, faults=None):
    design = WholeTop()
    bus = UsbBusTransport(design, UsbUtmiHost(design.device, byte_cycles=1, faults=faults), sync_hz=13.3e6)
    check_network(rng_of(request.node.name), bus)
    return bus.host


def check_network(rng, bus):
    bus.until_ready()
    network = random_network(rng, TINY_PAIR, inputs=8, sizes=(8, 5))
    program = place(network, FABRIC, observe=[p.name for p in network.populations])
    spikes = random_spikes(rng, 4, 3, 8)
    result = BoardRunner(program, bus).run(spikes)
    compared, mismatches = compare(simulate(network, spikes), result)
    assert compared > 5
    assert mismatches == 0


def test_spikes_over_a_bus_with_faults(request):
    """The real driver, the host with every fault, the device, the link, the bridge and the core: equal spikes."""
    faults = Faults(token=0.02, out_data=0.05, out_answer=0.05, in_data=0.05, in_answer=0.05)
    host = run_network(request, faults=faults)
    assert sum(faults.count.values()) > 10
    assert any(length == 64 for _, pid, length in host.packets if pid is Pid.OUT)


def test_the_session_survives_a_reset_of_the_bus(request):
    """A reset empties the endpoints; the link repeats their content, and the session continues."""
    design = WholeTop()
    bus = UsbBusTransport(design, UsbUtmiHost(design.device, byte_cycles=1), sync_hz=13.3e6)
    bus.until_ready()
    board = Board(Endpoint(bus, timeout_s=0.1))
    assert board.identity == FABRIC.identity(bytes(16), link_kind=LinkKind.USB)
    for value in range(1, 4):
        bus.host.resets_due = value == 2
        board.write_register(BRIDGE_TILE, "scratch", value)
        assert board.read_register(BRIDGE_TILE, "scratch") == value
    assert bus.host.enumerations == 2


@pytest.mark.slow
def test_suspend_and_resume():
    """The bus is idle for 20 ms, after which the session continues."""
    bench = Bytes(frames=[frame_of(20)])
    bench.until_ready()
    bench.host.is_suspended = True
    bench.advance(240_000)
    bench.host.is_suspended = False
    bench.host.outgoing += b"after"
    bench.advance(15_000)
    assert bytes(bench.host.incoming) == frame_of(20)
    assert bench.received == b"after"


@pytest.mark.usefixtures("short_times")
def test_enumeration_at_high_speed():
    """The device chirps in each reset; the host reads the descriptors of both speeds, and what Windows asks for."""
    bench = FastBytes()
    bench.until_ready()
    host = bench.host
    assert len(host.chirps) == 2
    assert host.enumerated == FAST.descriptors
    assert host.windows_set == FAST.windows_set
    found = []

    async def ask(ctx):
        for refused in ((0xC0, 1, 0, 0, 6, 0, 0, 1), (0xC0, 2, 0, 0, 7, 0, 0, 1), (0xA1, 0x21, 0, 0, 0, 0, 7, 0)):
            with pytest.raises(StallError):
                await host.control(ctx, bytes(refused))
        found.append(await host.control(ctx, bytes((0xC0, 1, 0, 0, 7, 0, 10, 0))))

    host.interlude = ask
    bench.until(lambda: found, 9000)
    assert found == [FAST.windows_set[:10]]


class SwappedBytes(FastBytes):
    """A PHY with registers of its own."""

    def made(self, module, byte_cycles, faults):
        device = module.UlpiDevice(NAMED, registers=((0x39, 6),))
        return device, UlpiHost(device), HIGH_SPEED_HZ


@pytest.mark.usefixtures("short_times")
def test_registers_of_a_phy_are_written_first():
    bench = SwappedBytes()
    bench.until(lambda: bench.host.chirps, 20_000)
    assert bench.host.chirps
    assert bench.host.registers[0x39] == 6
    assert next(iter(bench.host.registers)) == 0x39


@pytest.mark.usefixtures("short_times")
def test_the_pace_of_high_speed():
    """Thirteen packets of 512 bytes in a microframe of 125 us, in either direction; a short one only at the end."""
    frames = [frame_of(512 * 13 + 100), frame_of(400)]
    bench = FastBytes(frames=frames)
    bench.until_ready()
    host = bench.host
    bench.until_next_frame()
    bench.until_next_frame()
    assert bytes(host.incoming) == b"".join(frames)
    assert bench.lengths == [512] * 13 + [500]
    assert len({frame for frame, _, _ in host.packets[:13]}) <= 2
    host.packets.clear()
    host.reads = False
    sent = bytes(place * 7 % 251 for place in range(512 * 26))
    host.outgoing += sent
    bench.until(lambda: len(bench.received) >= len(sent), 25_000)
    assert bytes(bench.received) == sent
    counted = collections.Counter(frame for frame, _, _ in host.packets)
    assert max(counted.values()) == HIGH_SPEED_PACKETS


@pytest.mark.slow
@pytest.mark.usefixtures("short_times")
def test_the_driver_at_high_speed():
    """A session over the PHY: the real driver, the host, the device, the link, the bridge and the core."""
    design = WholeTop(UlpiDevice)
    bus = UsbBusTransport(design, UlpiHost(design.device), sync_hz=90e6, usb_hz=HIGH_SPEED_HZ)
    check_network(rng_of("test_spikes_over_a_bus_with_faults"), bus)
    assert any(length == 512 for _, _, length in bus.host.packets)


@pytest.mark.usefixtures("short_times")
def test_a_full_packet_at_high_speed_is_followed_by_an_empty_one():
    bench = FastBytes(frames=[frame_of(512)])
    bench.until_ready()
    bench.until(lambda: bench.host.incoming, 9000)
    assert bench.lengths == [512, 0]
    assert bytes(bench.host.incoming) == frame_of(512)


@pytest.mark.usefixtures("short_times")
def test_faults_and_a_full_device_at_high_speed():
    """Every byte once and in order; while bytes are not taken, the host asks with PING before it sends again."""
    faults = Faults(token=0.1, out_data=0.2, out_answer=0.3, in_data=0.3, in_answer=0.3, seed=6)
    frames = [frame_of(length) for length in (700, 30, 512, 1300, 20, 600)]
    bench = FastBytes(frames=frames, stalled=True)
    host = bench.host
    sent = bytes(place * 7 % 256 for place in range(6000))
    host.outgoing += sent
    bench.until_ready()
    # Not before, because LUNA does not repeat an acknowledgement that ends a control transfer: a host would begin it
    # again, this one does not.
    host.faults = faults
    bench.advance(9000)
    assert host.answers[DATA_ENDPOINT, Pid.NAK] > 0
    assert host.pings > 2
    assert len(sent) - 2 * 512 <= len(host.outgoing) < len(sent)
    bench.stalled = False
    bench.until(lambda: len(bench.received) >= len(sent) and len(host.incoming) >= sum(map(len, frames)), 40_000)
    assert bytes(bench.received) == sent
    assert bytes(host.incoming) == b"".join(frames)
    assert sum(faults.count.values()) > 10


@pytest.mark.slow
@pytest.mark.usefixtures("short_times")
def test_suspend_at_high_speed():
    """A silent bus: the device shows its pull-up, and returns to high speed when the host resumes."""
    bench = FastBytes(frames=[frame_of(20)])
    bench.until_ready()
    host, done = bench.host, []

    async def silence(ctx):
        await host.suspend(ctx, 2000)
        done.append(True)

    host.interlude = silence
    bench.until(lambda: done, 30_000)
    host.outgoing += b"after"
    bench.until(lambda: bench.received == b"after" and host.incoming, 9000)
    assert bytes(host.incoming) == frame_of(20)
    assert bench.received == b"after"
    assert host.enumerations == 1


@pytest.mark.usefixtures("short_times")
def test_a_port_without_high_speed():
    """The host does not answer the chirps: descriptors of full speed, and packets of 64 bytes, empty at an end only."""
    frames = [frame_of(30), frame_of(40), frame_of(100)]
    bench = SlowBytes(byte_cycles=2)
    bench.until_ready()
    host = bench.host
    assert len(host.chirps) == 2
    assert host.enumerated == FAST.full_speed_descriptors
    assert host.windows_set == FAST.windows_set
    bench.frames += frames
    sent = bytes(place * 7 % 256 for place in range(1000))
    host.outgoing += sent
    bench.until(lambda: len(bench.received) >= len(sent) and len(host.incoming) >= 170, 40_000)
    assert bytes(host.incoming) == b"".join(frames)
    assert bench.lengths == [64, 64, 42]
    assert bench.received == sent
    assert {length for _, pid, length in host.packets if pid is Pid.OUT} == {64, 1000 % 64}
    host.packets.clear()
    bench.frames += [frame_of(128)]
    bench.until(lambda: len(host.incoming) >= 298, 40_000)
    assert bench.lengths == [64, 64, 0]
    found = []

    async def ask(ctx):
        for index in (1, 2):
            for kind in (Descriptor.CONFIGURATION, Descriptor.OTHER_SPEED):
                with pytest.raises(StallError):
                    await host.control(ctx, bytes((0x80, 6, index, kind, 0, 0, 32, 0)))
        found.append(await host.transaction_in(ctx, DATA_ENDPOINT))

    host.interlude = ask
    bench.until(lambda: found, 40_000)
    assert found == [(Pid.NAK, b"")], "one endpoint answers"


@pytest.mark.usefixtures("short_times")
def test_packets_that_are_too_large_for_a_slow_port_are_found():
    bench = SlowBytes(module=mutated(usb, "is_full.eq(_is_full(device))", "is_full.eq(0)"), frames=[frame_of(300)])
    with pytest.raises(AssertionError):
        bench.until(lambda: bench.host.incoming, 90_000)
    assert bench.host.is_ready


@pytest.mark.usefixtures("short_times")
def test_faults_at_a_port_without_high_speed():
    faults = Faults(token=0.1, out_data=0.2, out_answer=0.3, in_data=0.3, in_answer=0.3, seed=6)
    frames = [frame_of(length) for length in (300, 30, 64, 20, 128)]
    bench = SlowBytes(byte_cycles=1, frames=frames)
    host = bench.host
    sent = bytes(place * 7 % 256 for place in range(1500))
    host.outgoing += sent
    bench.until_ready()
    host.faults = faults
    bench.until(lambda: len(bench.received) >= len(sent) and len(host.incoming) >= sum(map(len, frames)), 60_000)
    assert bytes(bench.received) == sent
    assert bytes(host.incoming) == b"".join(frames)
    assert sum(faults.count.values()) > 10
    assert host.pings == 0


@pytest.mark.slow
@pytest.mark.usefixtures("short_times")
def test_spikes_at_a_port_without_high_speed(request):
    """The real driver with a device that has found no high speed: equal spikes."""
    design = WholeTop(UlpiDevice)
    host = UlpiHost(design.device, speed=SLOW_PORT, byte_cycles=2)
    bus = UsbBusTransport(design, host, sync_hz=66e6, usb_hz=HIGH_SPEED_HZ)
    check_network(rng_of(request.node.name), bus)
    assert max(length for _, _, length in host.packets) == 64


FLASH_ID = 0xD3_69_10_2C_87_4F_5A_E1


class Numbered(Bytes):
    """A device with the ID of a flash chip; it attaches after 500 cycles."""

    def made(self, module, byte_cycles, faults):
        device = module.UsbDevice(UsbParameters(flash_serial=True))
        return device, UsbUtmiHost(device, byte_cycles=byte_cycles), FULL_SPEED_HZ

    def attach(self, *, has_number):
        device, host = self.device, self.host
        told = []

        async def run(ctx):
            told.append(ctx.get(device.term_select))
            ctx.set(device.number, FLASH_ID)
            ctx.set(device.has_number, has_number)
            ctx.set(device.attaches, 1)
            await ctx.tick("usb").repeat(100)
            told.append(ctx.get(device.term_select))

        self.simulator.add_testbench(run)
        self.until_ready()
        assert told == [0, 1], "the pull-up"
        return host.enumerated


class NumberedFast(Numbered):
    """The same with a PHY."""

    def made(self, module, byte_cycles, faults):
        device = module.UlpiDevice(UsbParameters(flash_serial=True))
        return device, UlpiHost(device), HIGH_SPEED_HZ

    def attach(self, *, has_number):
        device = self.device

        async def run(ctx):
            ctx.set(device.number, FLASH_ID)
            ctx.set(device.has_number, has_number)
            ctx.set(device.attaches, 1)

        self.simulator.add_testbench(run)
        self.until_ready()
        return self.host.enumerated


@pytest.mark.parametrize("bench", [Numbered, NumberedFast])
@pytest.mark.usefixtures("short_times")
def test_the_serial_number_is_that_of_the_flash(bench):
    made = bench()
    found = made.attach(has_number=1)
    text = "D369102C874F5AE1"
    expected = dataclasses.replace(made.device.parameters, serial=text, flash_serial=False).descriptors
    assert found == expected


def test_a_flash_without_an_id_gives_no_serial_number():
    assert Numbered().attach(has_number=0) == UsbParameters().descriptors


def test_the_pins_of_the_flash():
    """The device attaches when the chip has been read, and has its ID as the serial number."""
    line = UsbLine(UsbParameters(flash_serial=True))
    host, flash = UsbPinHost(line), Flash(FLASH_ID, is_asleep=True, lost_clocks=0)
    simulator = Simulator(line)
    simulator.add_clock(1 / FULL_SPEED_HZ, domain="usb")
    simulator.add_clock(1 / (4 * FULL_SPEED_HZ), domain="usb_io")
    simulator.add_clock(1 / 31e6, domain="sync", phase=3e-9)
    found = []

    async def ask(ctx):
        await host.wait(ctx, 1000)
        assert not ctx.get(line.pullup)
        await host.wait(ctx, 1400)
        await host.idle(ctx)
        found.append(await host.control(ctx, bytes((0x80, 6, 3, 3, 9, 4, 0xFF, 0))))

    simulator.add_testbench(flash.serve(line), background=True)
    simulator.add_testbench(ask)
    simulator.run()
    assert found[0][2:].decode("utf-16-le") == f"{FLASH_ID:016X}"
    assert flash.commands == [0xAB, 0x4B]


def test_each_pin_is_one_bit():
    line = UsbLine(UsbParameters())
    Fragment.get(line, None)
    assert {name: len(getattr(line, name)) for name in USB_PINS} == dict.fromkeys(USB_PINS, 1)


def test_the_pins():
    """Bits at D+ and D-: a setup packet is accepted, and the device descriptor comes back."""
    ones = UsbParameters(vendor=0xFFFF, product=0x7FFF)  # bits are stuffed in both directions
    line = UsbLine(ones)
    host = UsbPinHost(line)
    simulator = Simulator(line)
    simulator.add_clock(1 / FULL_SPEED_HZ, domain="usb")
    simulator.add_clock(1 / (4 * FULL_SPEED_HZ), domain="usb_io")
    simulator.add_clock(1 / 31e6, domain="sync", phase=3e-9)
    found = []

    async def ask(ctx):
        await host.idle(ctx)
        found.append(await host.control(ctx, bytes((0x80, 6, 0, 1, 0, 0, 0xFF, 0))))
        found.append(await host.control(ctx, bytes((0x00, 5, 9, 0, 0, 0, 0, 0))))

    simulator.add_testbench(ask)
    simulator.run()
    assert found == [ones.descriptors[1, 0], b""]
    assert host.stuffed_out > 0
    assert host.stuffed_in > 0


@pytest.mark.parametrize("mode", range(4))
def test_the_modes_of_the_phy(mode):
    """Normal, raw bits, without a driver, and reserved: only the first encodes, and only two of them drive."""
    phy = usb.UsbPhy()
    driven, taken = set(), 0

    async def transmit(ctx):
        nonlocal taken
        ctx.set(phy.op_mode, mode)
        ctx.set(phy.tx_data, 0b0011_0101)
        ctx.set(phy.tx_valid, 1)
        for _ in range(64):
            _, _, oe, ready = await ctx.tick("usb").sample(phy.oe, phy.tx_ready)
            driven.add(oe)
            taken += ready

    simulator = Simulator(phy)
    simulator.add_clock(1 / FULL_SPEED_HZ, domain="usb")
    simulator.add_clock(1 / (4 * FULL_SPEED_HZ), domain="usb_io")
    simulator.add_testbench(transmit)
    simulator.run()
    assert driven == {0: {0, 1}, 1: {1}, 2: {0}, 3: {0}}[mode]
    assert (taken > 3) == (mode == 0)


def test_two_designs_are_the_same():
    """No name depends on an address in memory."""
    from amaranth.back import rtlil

    texts = [rtlil.convert(UsbDevice(NAMED), name="device", emit_src=False) for _ in range(2)]
    assert texts[0] == texts[1]
    assert not re.search(r"_\d{9,}", texts[0])
    assert texts[0] != rtlil.convert(UsbDevice(dataclasses.replace(NAMED, serial="1")), name="device", emit_src=False)
