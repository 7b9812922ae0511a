"""A chip whose clock has a phase: it works only where the timing at its pins allows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from amaranth.hdl import Signal

from spikeloom.sim.sdram.chips import SdramChip, SdramTiming
from spikeloom.sim.sdram.commands import AUTO_PRECHARGE, SdramCommand
from spikeloom.sim.sdram.device import SdramDevice, SdramPins, SdramViolation
from spikeloom.sim.sdram.phase import PinTiming

LEAST_PULSE = 4
"""Cycles of each level of the PLL's input: longer than any PLL needs."""
EXECUTION = 12
"""Cycles after which the PLL has executed a step, during which the clock is of no use."""


class PhasedDevice:
    """An `SdramDevice` with the timing ``at_pins``. It has the same `step`.

    A chip that gets wrong commands, or a step of its clock, has lost its state: it drives noise until it is initialised
    again. Where only its words come at the wrong time, each of them is wrong. ``direction`` is that of its steps: -1 is
    a PLL that steps backwards.
    """

    def __init__(
        self,
        chip: SdramChip,
        timing: SdramTiming,
        at_pins: PinTiming,
        rng: np.random.Generator,
        *,
        direction: int = 1,
    ) -> None:
        self.chip, self.at_pins = chip, at_pins
        self._direction = direction
        self._timing = replace(timing, power_up=0)  # the wait after power-up is not repeated
        self._rng = rng
        self._device: SdramDevice | None = None
        self.position = 0
        self.initialisations = 0
        self._executing = 0

    def follow(self, phase_step: Signal) -> Callable:
        """The process of the PLL at ``phase_step``, in the domain ``sync``."""

        async def process(ctx) -> None:
            level, cycles = 0, LEAST_PULSE
            async for _, _, now in ctx.tick().sample(phase_step):
                self._executing = max(0, self._executing - 1)
                if now == level:
                    cycles += 1
                    continue
                assert cycles >= LEAST_PULSE, "each level must last until the PLL has seen it"
                level, cycles = now, 1
                if not level:
                    assert not self._executing, "a step must wait for the one before"
                    self.position = (self.position + self._direction) % self.at_pins.phases
                    self._executing = EXECUTION

        return process

    def step(self, pins: SdramPins) -> int | None:
        """As `SdramDevice.step`."""
        if self._executing or not self.at_pins.reaches_chip(self.position):
            self._device = None
        elif self._device is None and pins.command == SdramCommand.PRECHARGE and pins.address & AUTO_PRECHARGE:
            self._device = SdramDevice(self.chip, self._timing)
        if self._device is None:
            return int(self._rng.integers(1 << self.chip.width))
        was_initialised = self._device.initialised
        try:
            word = self._device.step(pins)
        except SdramViolation:
            if was_initialised:
                raise
            self._device = None  # a refresh of a controller that believes it to be initialised
            return None
        self.initialisations += self._device.initialised and not was_initialised
        if word is not None and not self.at_pins.reaches_fpga(self.position):
            return word ^ int(self._rng.integers(1, 1 << self.chip.width))
        return word
