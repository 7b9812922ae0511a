"""Weight memories beside a core that streams weights: one of random latency, and an SDRAM with its controller."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from amaranth.hdl import Cat, Elaboratable, Module, Value
from amaranth.lib import wiring

from harness.assign import assign
from harness.sdram import ChipAtPins, keys_of
from spikeloom.compiler.program import Program
from spikeloom.hdl.core.engine import LifEngine
from spikeloom.hdl.sdram.controller import SdramController
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.sdram.device import SdramDevice
from spikeloom.sim.sdram.parameters import SdramParameters


def weight_words(core: CoreParameters, program: Program) -> list[int]:
    """The weight words of a program, starting at address 0."""
    number = core.memories["weights"].number
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
    """A streaming core whose weight words are bursts of an SDRAM, which holds the weights of ``program``.

    It has the attributes of the engine that a bench uses.
    """

    def __init__(self, engine: LifEngine, parameters: SdramParameters, program: Program) -> None:
        core = engine.parameters
        assert core.lanes * core.weight_width == parameters.burst_bits
        self.engine, self.controller = engine, SdramController(parameters)
        self.device = SdramDevice(parameters.chip, parameters.chip.timing(parameters.clock_hz))
        width = parameters.chip.width
        for address, word in enumerate(weight_words(core, program)):
            for number, key in enumerate(keys_of(parameters, address)):
                self.device.words[key] = word >> width * number & (1 << width) - 1

    def __getattr__(self, name: str) -> object:
        return getattr(self.engine, name)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.engine, m.submodules.controller = engine, controller = self.engine, self.controller
        wiring.connect(m, controller.words, engine.weights)
        m.d.comb += [
            controller.requests.valid.eq(engine.requests.valid),
            controller.requests.payload.address.eq(engine.requests.payload.address),
            controller.requests.payload.count.eq(engine.requests.payload.length),
            engine.requests.ready.eq(controller.requests.ready),
        ]
        return m

    @property
    def chip(self) -> Callable:
        """The process of the chip at the pins."""
        at_pins = ChipAtPins(self.controller.pins, self.device)

        async def process(ctx) -> None:
            while True:
                _, _, levels = await ctx.tick().sample(Value.cast(at_pins.levels))
                ctx.set(self.controller.pins.data_i, at_pins.step(levels)[1])

        return process
