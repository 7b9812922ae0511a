"""Model of a PHY for high speed with ULPI, and of the host behind it, in Amaranth's simulator.

The host is connected to the pins of a `UlpiDevice`. A byte takes one cycle of 60 MHz, so that thirteen packets of 512
bytes fit into a microframe, as on a bus. The PHY reports the levels of the line, takes writes to its registers, and
accepts bytes after a pause for SYNC. At a port with full speed only, the host does not answer chirps, and a byte takes
40 cycles or, to save time, fewer.
"""

from __future__ import annotations

import random

from spikeloom.sim.host.usb import HIGH_SPEED_HZ, PACKET_BYTES
from spikeloom.simulators.usb_host import HIGH_SPEED, BusSpeed, Faults, UsbHost

__all__ = ["SHORT_TIMES", "UlpiHost"]

SHORT_TIMES = {"_CYCLES_3_MILLISECONDS": 9000, "_CYCLES_2P5_MILLISECONDS": 6000, "_CYCLES_2_MILLISECONDS": 900}
SHORT_TIMES |= {"_CYCLES_200_MICROSECONDS": 300, "_CYCLES_2P5_MICROSECONDS": 50, "_CYCLES_5_MICROSECONDS": 100}
"""Times of LUNA's reset sequencer, in cycles: shorter than those of USB, but longer than a microframe where they must
be."""

_SE0, _J, _K = 0b00, 0b01, 0b10
_VBUS_VALID, _RX_ACTIVE = 0b11 << 2, 1 << 4
_WRITE, _TRANSMIT = 0b10, 0b01  # the upper bits of a command
_FUNCTION_CONTROL = 4
_CHIRP_CYCLES = 120
_SYNC_CYCLES = 3


class UlpiHost(UsbHost):
    """The host at the PHY of ``device``. ``registers`` holds what the device has written, ``chirps`` the cycles of each
    of its chirps."""

    def __init__(
        self,
        device,
        *,
        faults: Faults | None = None,
        speed: BusSpeed = HIGH_SPEED,
        byte_cycles: int | None = None,
    ) -> None:
        super().__init__(faults=faults, speed=speed, byte_cycles=byte_cycles)
        self.device = device
        self._rest = _SE0 if speed is HIGH_SPEED else _J  # level of the line between packets
        self.registers: dict[int, int] = {}
        self.chirps: list[int] = []
        self._early: bytes | None = None  # a packet of the device that has begun in the gap after that of the host
        self._random = random.Random(1)

    # Cycles

    async def _cycle(self, ctx) -> None:
        # From the middle of a cycle to the middle of another one: clocks start with half a period.
        await ctx.delay(1 / HIGH_SPEED_HZ)
        self.cycle += 1

    async def wait(self, ctx, cycles: int) -> None:
        end = self.cycle + cycles
        while self.cycle < end:
            command = ctx.get(self.device.data_o)
            if command >> 6 == _WRITE:
                await self._take_register(ctx, command & 0x3F)
            elif command >> 6 == _TRANSMIT:
                packet = await self._take_packet(ctx, command)
                assert self._early is None
                self._early = packet
            else:
                await self._cycle(ctx)

    async def _take_register(self, ctx, address: int) -> None:
        device = self.device
        ctx.set(device.nxt, 1)
        await self._cycle(ctx)
        self.registers[address] = ctx.get(device.data_o)
        await self._cycle(ctx)
        ctx.set(device.nxt, 0)
        assert ctx.get(device.stp)
        await self._cycle(ctx)

    async def _take_packet(self, ctx, command: int) -> bytes | None:
        """A packet of the device; None for a chirp, whose length is noted."""
        device, start = self.device, self.cycle
        for _ in range(_SYNC_CYCLES):
            await self._cycle(ctx)
        pid = command & 0xF
        packet = bytearray((pid | (~pid & 0xF) << 4,))
        ctx.set(device.nxt, 1)
        await self._cycle(ctx)
        while not ctx.get(device.stp):
            if pid and self.byte_cycles > 1:
                ctx.set(device.nxt, 0)
                for _ in range(self.byte_cycles - 1):
                    await self._cycle(ctx)
                ctx.set(device.nxt, 1)
            packet.append(ctx.get(device.data_o))
            await self._cycle(ctx)
        ctx.set(device.nxt, 0)
        await self._cycle(ctx)
        if pid == 0:
            self.chirps.append(self.cycle - start)
            return None
        assert len(packet) <= max(self.speed.packet_bytes, PACKET_BYTES) + 3
        return bytes(packet)

    async def _report(self, ctx, line: int) -> None:
        """An RXCMD: the level of the line."""
        device = self.device
        ctx.set(device.dir, 1)
        await self._cycle(ctx)
        ctx.set(device.data_i, line | _VBUS_VALID)
        await self._cycle(ctx)
        ctx.set(device.dir, 0)
        await self._cycle(ctx)

    async def send(self, ctx, packet: bytes) -> None:
        device = self.device
        assert self._early is None, "a device speaks only when asked"
        ctx.set(device.dir, 1)
        at_once = self._random.random() < 0.5  # a PHY may begin with a byte or with an RXCMD
        ctx.set(device.nxt, at_once)
        await self._cycle(ctx)
        ctx.set(device.nxt, 0)
        ctx.set(device.data_i, _J | _VBUS_VALID | _RX_ACTIVE)
        await self._cycle(ctx)
        if not at_once:
            await self._cycle(ctx)
        for byte in packet:
            ctx.set(device.nxt, 1)
            ctx.set(device.data_i, byte)
            await self._cycle(ctx)
            if self.byte_cycles > 1:
                ctx.set(device.nxt, 0)
                ctx.set(device.data_i, _J | _VBUS_VALID | _RX_ACTIVE)
                for _ in range(self.byte_cycles - 1):
                    await self._cycle(ctx)
        ctx.set(device.nxt, 0)
        if self._rest != _SE0:
            # The end of a packet at full speed: two bit times of low lines, then the level of rest.
            ctx.set(device.data_i, _SE0 | _VBUS_VALID)
            await self._cycle(ctx)
        ctx.set(device.data_i, self._rest | _VBUS_VALID)
        await self._cycle(ctx)
        ctx.set(device.dir, 0)
        await self._cycle(ctx)

    async def receive(self, ctx) -> bytes:
        end = self.cycle + self.speed.patience
        while self._early is None:
            if self.cycle >= end:
                return b""
            await self.wait(ctx, 1)
        packet, self._early = self._early, None
        await self._report(ctx, self._rest)  # longer than the eight bit times before an answer of the host
        return packet

    # Reset and suspend

    @property
    def speed_of_phy(self) -> tuple[int, int, int]:
        """What the device has selected: transceiver (0 is high speed), termination, and mode of operation."""
        control = self.registers[_FUNCTION_CONTROL]
        return control & 3, control >> 2 & 1, control >> 3 & 3

    async def hold_reset(self, ctx, cycles: int) -> None:
        """Both lines low until the device chirps; then chirp three times K and J, and leave the line in squelch.

        At a port with full speed only, do not answer, and end the reset when the device has given up.
        """
        before = len(self.chirps)
        await self._report(ctx, _SE0)
        for _ in range(40):
            await self.wait(ctx, 500)
            if len(self.chirps) > before:
                break
        else:
            raise AssertionError("a device with high speed must chirp in a reset")
        if self._rest == _J:
            await self.wait(ctx, SHORT_TIMES["_CYCLES_2P5_MILLISECONDS"] + 500)
            await self._report(ctx, _J)
            assert self.speed_of_phy == (1, 1, 0), "full speed, its pull-up, and packets"
            return
        for _ in range(4):
            for line in (_K, _J):
                await self._report(ctx, line)
                await self.wait(ctx, _CHIRP_CYCLES)
        await self._report(ctx, _SE0)
        await self.wait(ctx, 500)
        assert self.speed_of_phy == (0, 0, 0), "high speed, its termination, and packets"

    async def suspend(self, ctx, cycles: int) -> None:
        """Send nothing until the device shows its pull-up, and for ``cycles`` more; then resume."""
        for _ in range(40):
            await self.wait(ctx, 500)
            if self.speed_of_phy[1]:
                break
        else:
            raise AssertionError("a device must leave high speed when the bus is silent")
        await self._report(ctx, _J)
        await self.wait(ctx, cycles)
        await self._report(ctx, _K)
        await self.wait(ctx, 1000)
        await self._report(ctx, _SE0)
        await self.wait(ctx, 500)
        assert self.speed_of_phy == (0, 0, 0)
