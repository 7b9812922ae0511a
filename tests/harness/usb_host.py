"""Model of a USB host at full speed in Amaranth's simulator, and a transport for the real driver above it.

The host is connected to the UTMI interface of a device, or to its pins. A byte takes eight cycles of the 12 MHz clock,
so that nineteen packets of 64 bytes fit into a frame, as on a bus.
"""

from __future__ import annotations

from collections.abc import Iterator

from amaranth.sim import Simulator

from spikeloom.host.transport import Transport
from spikeloom.sim.host.usb import FULL_SPEED_HZ, PACKET_BYTES
from spikeloom.simulators.usb_host import GAP, PATIENCE, Faults, UsbHost

__all__ = ["UsbBusTransport", "UsbPinHost", "UsbUtmiHost"]

_J, _K, _SE0 = 0b01, 0b10, 0b00


class UsbUtmiHost(UsbHost):
    """The host at the UTMI interface of ``device``, as a process of Amaranth's simulator."""

    def __init__(self, device, *, faults: Faults | None = None, byte_cycles: int = 8) -> None:
        super().__init__(faults=faults, byte_cycles=byte_cycles)
        self.device = device

    async def wait(self, ctx, cycles: int) -> None:
        # From the middle of a cycle to the middle of another one: clocks start with half a period.
        await ctx.delay(cycles / FULL_SPEED_HZ)
        self.cycle += cycles

    async def send(self, ctx, packet: bytes) -> None:
        device = self.device
        ctx.set(device.line_state, _K)
        ctx.set(device.rx_active, 1)
        await self.wait(ctx, self.byte_cycles)
        for byte in packet:
            ctx.set(device.rx_data, byte)
            ctx.set(device.rx_valid, 1)
            await self.wait(ctx, 1)
            if self.byte_cycles > 1:
                ctx.set(device.rx_valid, 0)
                await self.wait(ctx, self.byte_cycles - 1)
        ctx.set(device.rx_valid, 0)
        ctx.set(device.rx_active, 0)
        ctx.set(device.line_state, _J)

    async def receive(self, ctx) -> bytes:
        """A packet of the device; empty if it does not answer in time."""
        device = self.device
        for _ in range(PATIENCE):
            if ctx.get(device.tx_valid):
                break
            await self.wait(ctx, 1)
        else:
            return b""
        ctx.set(device.line_state, _K)
        packet = bytearray()
        await self.wait(ctx, self.byte_cycles)  # SYNC
        while ctx.get(device.tx_valid):
            ctx.set(device.tx_ready, 1)
            packet.append(ctx.get(device.tx_data))
            await self.wait(ctx, 1)
            ctx.set(device.tx_ready, 0)
            if self.byte_cycles > 1:
                await self.wait(ctx, self.byte_cycles - 1)
            assert len(packet) <= PACKET_BYTES + 3, "a packet must end"
        ctx.set(device.line_state, _J)
        await self.wait(ctx, GAP)
        return bytes(packet)

    async def hold_reset(self, ctx, cycles: int) -> None:
        ctx.set(self.device.line_state, _SE0)
        await self.wait(ctx, cycles)
        ctx.set(self.device.line_state, _J)


class UsbPinHost(UsbUtmiHost):
    """The host at the pins of a `UsbLine`: levels of D+ and D-, NRZI, stuffed bits. ``stuffed_out`` and
    ``stuffed_in`` count these."""

    def __init__(self, line) -> None:
        super().__init__(line)
        self.stuffed_out = self.stuffed_in = 0

    async def idle(self, ctx) -> None:
        """Wait for the pull-up, with the lines at rest."""
        self._drive(ctx, 1, 0)
        await self.wait(ctx, 60)
        assert ctx.get(self.device.pullup)
        assert not ctx.get(self.device.oe)

    def _drive(self, ctx, dp: int, dn: int) -> None:
        ctx.set(self.device.dp_i, dp)
        ctx.set(self.device.dn_i, dn)

    async def send(self, ctx, packet: bytes) -> None:
        level, ones = 1, 0
        for bit in [0] * 7 + [1] + [byte >> place & 1 for byte in packet for place in range(8)]:
            level ^= not bit
            self._drive(ctx, level, 1 - level)
            await self.wait(ctx, 1)
            ones = ones + 1 if bit else 0
            if ones == 6:
                level, ones = level ^ 1, 0
                self.stuffed_out += 1
                self._drive(ctx, level, 1 - level)
                await self.wait(ctx, 1)
        self._drive(ctx, 0, 0)
        await self.wait(ctx, 2)
        self._drive(ctx, 1, 0)

    async def receive(self, ctx) -> bytes:
        device = self.device
        for _ in range(PATIENCE):
            if ctx.get(device.oe):
                break
            await self.wait(ctx, 1)
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
            await self.wait(ctx, 1)
        while ctx.get(device.oe):
            await self.wait(ctx, 1)
        await self.wait(ctx, GAP)
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
    usb_hz
        Clock of the device.
    """

    name = "the bus"

    def __init__(self, design, host: UsbHost, *, sync_hz: float = 31e6, usb_hz: float = FULL_SPEED_HZ) -> None:
        self.host = host
        # Two frames of the bus.
        self.round_trip_s = 2 * host.speed.frame_cycles / usb_hz * host.byte_cycles / host.speed.byte_cycles
        self.times_read = 0
        self._seconds = 0.0
        self._simulator = Simulator(design)
        self._simulator.add_clock(1 / usb_hz, domain="usb")
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
