"""A weight memory with its controller in another clock domain and a chip model at the pins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from amaranth.hdl import Cat, Elaboratable, Module, Value
from amaranth.lib import wiring
from amaranth.sim import Simulator

from harness.assign import assign
from harness.sdram import COLORLIGHT, MICROSECOND, ULX3S, ChipAtPins, quick
from spikeloom.hdl.sdram.crossing import SDRAM_DOMAIN, SdramCrossing
from spikeloom.hdl.sdram.weight_memory import WeightMemory
from spikeloom.sim.sdram.chips import SdramChip
from spikeloom.sim.sdram.device import SdramDevice
from spikeloom.sim.sdram.registers import SDRAM, SDRAM_MEMORY
from spikeloom.sim.sdram.weights import READ_CYCLES, WeightMemoryParameters

BUSY = replace(ULX3S, chip=quick(ULX3S.chip, refresh_interval=MICROSECOND))
"""Refreshed eight times as often as a real chip, so that a short run meets refreshes everywhere."""
BUSY_32 = replace(COLORLIGHT, chip=quick(COLORLIGHT.chip, refresh_interval=MICROSECOND))
LARGE = replace(BUSY.chip, column_bits=BUSY.chip.column_bits + 1)
WEIGHTS = 1
"""Number of the memory of weights."""


def memory_chip(
    pins, device: SdramDevice, *, domain: str = SDRAM_DOMAIN, fault: Callable[[int], int] = int
) -> Callable:
    """The process of a chip at ``pins``. ``fault`` changes each word that it drives."""
    at_pins = ChipAtPins(pins, device)

    async def process(ctx) -> None:
        async for _, _, levels in ctx.tick(domain).sample(Value.cast(at_pins.levels)):
            ctx.set(pins.data_i, fault(at_pins.step(levels)[1]))

    return process


class MemoryBench(Elaboratable):
    """The weight memory with the ports of the core and of the host, and its `run`."""

    def __init__(
        self,
        parameters: WeightMemoryParameters,
        *,
        chip: SdramChip | None = None,
        core_hz: float = 60e6,
        fault: Callable[[int], int] = int,
    ) -> None:
        self.parameters, self.core_hz = parameters, core_hz
        sdram = parameters.sdram
        self.memory, self.crossing = WeightMemory(parameters, WEIGHTS), SdramCrossing(sdram)
        chip = chip or sdram.chip
        self.device = SdramDevice(chip, chip.timing(sdram.clock_hz))
        self._fault = fault
        self.cycles = 0

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory, m.submodules.crossing = memory, crossing = self.memory, self.crossing
        wiring.connect(m, memory.memory, crossing.port)
        return m

    def run(self, testbench: Callable, *background: Callable) -> None:
        """Run until ``testbench`` ends."""
        simulator = Simulator(self)
        simulator.add_clock(1 / self.core_hz)
        # Another phase, so that the edges of related clocks do not coincide.
        simulator.add_clock(1 / self.parameters.sdram.clock_hz, phase=1.3e-9, domain=SDRAM_DOMAIN)
        simulator.add_testbench(memory_chip(self.crossing.pins, self.device, fault=self._fault), background=True)
        for process in background:
            simulator.add_testbench(process, background=True)
        simulator.add_testbench(testbench)
        simulator.run()

    # Access of the host.

    async def write_bytes(
        self, ctx, address: int, data: bytes, *, memory: int = WEIGHTS, idle: Iterator[int] | None = None
    ) -> None:
        """Write ``data`` from byte ``address`` on, one per cycle apart from pauses of ``idle`` cycles."""
        port, word_bytes = self.memory.configuration, self.parameters.word_bytes if memory == WEIGHTS else 1
        for offset, byte in enumerate(data):
            index, plane = divmod(address + offset, word_bytes)
            assign(
                ctx,
                [
                    (port.memory, memory),
                    (port.index, index),
                    (port.plane, plane),
                    (port.write_data, byte),
                    (port.write_enable, 1),
                ],
            )
            await ctx.tick()
            ctx.set(port.write_enable, 0)
            for _ in range(next(idle) if idle else 0):
                await ctx.tick()

    async def read_bytes(
        self, ctx, address: int, count: int, *, memory: int = WEIGHTS, cycles: int = READ_CYCLES
    ) -> bytes:
        """Read ``count`` bytes from byte ``address`` on, ``cycles`` after each address."""
        port, word_bytes = self.memory.configuration, self.parameters.word_bytes if memory == WEIGHTS else 1
        found = []
        for offset in range(count):
            index, plane = divmod(address + offset, word_bytes)
            assign(ctx, [(port.memory, memory), (port.index, index), (port.plane, plane), (port.reading, 1)])
            await ctx.tick().repeat(cycles)
            found.append(ctx.get(port.read_data))
        ctx.set(port.reading, 0)
        await ctx.tick()
        return bytes(found)

    async def read_register(self, ctx, name: str) -> int:
        register = SDRAM.register(name)
        data = await self.read_bytes(ctx, register.offset, register.size, memory=SDRAM_MEMORY, cycles=2)
        return int.from_bytes(data, "little")

    async def write_register(self, ctx, name: str, value: int) -> None:
        register = SDRAM.register(name)
        await self.write_bytes(ctx, register.offset, register.encode(value), memory=SDRAM_MEMORY)

    async def status(self, ctx) -> set[str]:
        """The names of the flags that are set."""
        value = await self.read_register(ctx, "status")
        return {name for bit, name in enumerate(SDRAM.register("status").flags) if value >> bit & 1}

    async def tested(self, ctx) -> None:
        """Wait for the end of the self-test."""
        for _ in range(200):
            if "tested" in await self.status(ctx):
                return
            await ctx.tick().repeat(50)
        raise AssertionError("the self-test must end")

    async def checksum(self, ctx, first: int, bursts: int) -> int:
        await self.write_register(ctx, "checksum_first", first)
        await self.write_register(ctx, "checksum_bursts", bursts)
        await self.write_register(ctx, "control", 1)
        await ctx.tick().repeat(2)
        while "busy" in await self.status(ctx):
            await ctx.tick().repeat(20)
        return await self.read_register(ctx, "checksum")

    # Access of the core.

    async def read_rows(
        self,
        ctx,
        rows: list[tuple[int, int]],
        rng: np.random.Generator,
        *,
        idle: float = 0.0,
        stall: float = 0.0,
        long_stall: int = 0,
        streams: tuple | None = None,
    ) -> list[list[int]]:
        """Request ``rows``, each ``(address, length)`` with ``length`` + 1 words, and return their words.

        Requests run ahead by at most 9 rows, as those of a core do. After half of the rows, no word is taken for
        ``long_stall`` cycles. ``streams`` are those of requests and words, by default those of the memory.
        """
        asks, gives = streams or (self.memory.rows, self.memory.words)
        words = [word for _, length in rows for word in [None] * (length + 1)]
        ends = np.cumsum([length + 1 for _, length in rows])
        found: list[int] = []
        asked, valid, ready, waits = 0, False, False, 0
        sampled = Cat(asks.ready, gives.valid, gives.payload)
        while len(found) < len(words):
            complete = int(np.searchsorted(ends, len(found), side="right"))
            if complete == len(rows) // 2 and long_stall:
                waits, long_stall = long_stall, 0
            waits = max(0, waits - 1)
            valid = valid or (asked < len(rows) and asked - complete < 9 and rng.random() >= idle)
            ready = not waits and rng.random() >= stall
            address, length = rows[asked] if valid else (0, 0)
            assign(
                ctx,
                [
                    (asks.valid, valid),
                    (asks.payload.address, address),
                    (asks.payload.length, length),
                    (gives.ready, ready),
                ],
            )
            _, _, bits = await ctx.tick().sample(sampled)
            self.cycles += 1
            if valid and bits & 1:
                asked, valid = asked + 1, False
            if ready and bits >> 1 & 1:
                found.append(bits >> 2)
        assign(ctx, [(asks.valid, 0), (gives.ready, 0)])
        starts = [0, *ends[:-1].tolist()]
        return [found[start : start + length + 1] for start, (_, length) in zip(starts, rows, strict=True)]
