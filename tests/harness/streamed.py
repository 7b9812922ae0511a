"""Weight memories beside a core that streams weights: one of random latency, and an SDRAM with its controller."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import ClassVar

import numpy as np
from amaranth.hdl import Cat, Elaboratable, Module
from amaranth.lib import wiring

from harness.assign import assign
from harness.sdram import keys_of
from harness.weight_memory import memory_chip
from spikeloom.compiler.program import Program
from spikeloom.hdl.core.engine import LifEngine
from spikeloom.hdl.sdram.crossing import SDRAM_DOMAIN, SdramCrossing
from spikeloom.hdl.sdram.weight_memory import WeightMemory
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.sdram.chips import SdramChip
from spikeloom.sim.sdram.device import SdramDevice
from spikeloom.sim.sdram.parameters import SdramParameters
from spikeloom.sim.sdram.registers import SDRAM, SDRAM_MEMORY
from spikeloom.sim.sdram.weights import WeightMemoryParameters


def weight_words(core: CoreParameters, program: Program) -> list[int]:
    """The weight words of a program, starting at address 0."""
    number = core.sdram_memory.number
    (image,) = (image for image in program.memories if image.memory == number)
    return [int.from_bytes(octets.tobytes(), "little") for octets in image.words]


class RandomMemory:
    """Answers the requests of ``engine`` with the words of ``program``, each after a random time.

    ``stall`` is the probability, in each cycle, that a word is not yet offered and that a request is not taken. Before
    word ``long_stall[0]`` of the whole run, nothing is offered for ``long_stall[1]`` cycles.
    """

    def __init__(
        self,
        engine: LifEngine,
        program: Program,
        rng: np.random.Generator,
        *,
        stall: float,
        long_stall: tuple[int, int] = (-1, 0),
    ) -> None:
        self.engine, self.rng, self.stall, self.long_stall = engine, rng, stall, long_stall
        self.words = weight_words(engine.parameters, program)
        self.given = 0
        self.most_waiting = 0  #: largest number of rows that were requested and not yet completed

    async def process(self, ctx) -> None:
        engine, rng = self.engine, self.rng
        due: deque[list[int]] = deque()
        offering, ready, waits = False, False, 0
        payload = engine.requests.payload
        sampled = Cat(engine.weights.ready, engine.requests.valid, payload.address, payload.length)
        address_bits = len(payload.address)
        while True:
            if waits == 0 and self.given == self.long_stall[0] and not offering:
                waits, self.long_stall = self.long_stall[1], (-1, 0)
            waits = max(0, waits - 1)
            offering = offering or (bool(due) and not waits and rng.random() >= self.stall)
            ready = rng.random() >= self.stall
            word = self.words[due[0][0]] if offering else int(rng.integers(256))
            assign(
                ctx, [(engine.weights.valid, offering), (engine.weights.payload, word), (engine.requests.ready, ready)]
            )
            _, _, bits = await ctx.tick().sample(sampled)
            if offering and bits & 1:
                self.given += 1
                due[0].pop(0)
                if not due[0]:
                    due.popleft()
                offering = False
            if ready and bits >> 1 & 1:
                address, length = bits >> 2 & (1 << address_bits) - 1, bits >> 2 + address_bits
                due.append(list(range(address, address + length + 1)))
            self.most_waiting = max(self.most_waiting, len(due))


class CoreWithSdram(Elaboratable):
    """A streaming core with its weight memory: an SDRAM that has a clock of its own and holds the weights of
    ``program``.

    It has the attributes of the engine that a bench uses.
    """

    clocks: ClassVar[dict[str, float]] = {SDRAM_DOMAIN: 0.37e-6}
    """Periods of further clock domains; that of the core is 1 us."""

    def __init__(
        self, engine: LifEngine, parameters: SdramParameters, program: Program, chip: SdramChip | None = None
    ) -> None:
        core = engine.parameters
        weights = WeightMemoryParameters(
            sdram=parameters,
            word_bits=core.lanes * core.weight_width,
            words=core.sdram_memory.depth,
            row_words=core.words,
        )
        self.engine, self.memory = engine, WeightMemory(weights, core.sdram_memory.number)
        self.crossing = SdramCrossing(parameters)
        chip = chip or parameters.chip
        self.device = SdramDevice(chip, chip.timing(parameters.clock_hz))
        self.image = b"".join(word.to_bytes(weights.word_bytes, "little") for word in weight_words(core, program))

    def __getattr__(self, name: str) -> object:
        return getattr(self.engine, name)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        engine, memory, crossing = self.engine, self.memory, self.crossing
        m.submodules.engine, m.submodules.weight_memory, m.submodules.crossing = engine, memory, crossing
        wiring.connect(m, engine.requests, memory.rows)
        wiring.connect(m, memory.words, engine.weights)
        wiring.connect(m, memory.memory, crossing.port)
        return m

    async def prepare(self, ctx) -> None:
        """Wait for the end of the self-test, and store the weights."""
        sdram = self.memory.parameters.sdram
        port = self.memory.configuration
        assign(ctx, [(port.memory, SDRAM_MEMORY), (port.index, SDRAM.register("status").offset)])
        while ctx.get(port.read_data) != 1:
            await ctx.tick().repeat(10)
        size, width = sdram.burst_bytes, sdram.chip.width
        for address in range(-(-len(self.image) // size)):
            burst = int.from_bytes(self.image[address * size : (address + 1) * size], "little")
            for number, key in enumerate(keys_of(sdram, address)):
                self.device.words[key] = burst >> width * number & (1 << width) - 1

    @property
    def chip(self) -> Callable:
        """The process of the chip at the pins."""
        return memory_chip(self.crossing.pins, self.device)
