"""Spike encoder of the host bridge: an image is sent once over the link and encoded into many steps on the board.

An image is sent as *levels*, with the existing messages: step ``k`` of a sample names the pixels of the ``k``-th
brightest value, full scale first, and a TICK moves one level down. With ``B`` bits, stride ``s`` and ``T`` steps::

    code = 2**B - 1, then code - s after each TICK         the value of a pixel minus one
    when = 0,        then when + s * T after each TICK     its spike time in steps, with B fractional bits

Both return to their initial value after a TICK with ``last``.

**Rate**: a pixel stores ``code``. When the image is complete, each of the ``T`` steps processes all ``n`` pixels in
order. A named pixel spikes if ``code >= word``, with a new random word of ``B`` bits for every pixel and step.

**Latency**: the brightest pixels come first, and so do their spikes, so nothing is stored. A pixel spikes when it is
named, in step ``when >> B``; a pixel that would spike in step ``T`` or later is dropped. A TICK of the host lets the
steps up to ``when >> B`` pass, at most up to step ``T - 1``, and the one with ``last`` all that are left of ``T``.

This matches `spikeloom.datasets.encoders`: ``code >= word`` is ``value > word``, and ``when`` is
``(2**B - value) * T``. Within a step, the spikes of the latency encoder are in the order of the host.

An encoder with ``hold`` can also repeat an input that is the same in every step, as in direct coding: the host sends
the spikes of one step with their values, and the encoder sends them in each of the ``T`` steps, in ascending order of
their axons.

Images of ``b < B`` bits use ``s = 2**(B - b)``, which gives the latencies of an encoder of ``b`` bits. The rate encoder
compares with words of ``B`` bits and requires ``b = B``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.sim.lib.lfsr import TAPS, Lfsr
from spikeloom.sim.lib.words import bits_for

__all__ = ["EncoderMode", "EncoderModel", "EncoderParameters", "EncoderSettings", "level_events"]


class EncoderMode(IntEnum):
    """Interpretation of the host's spikes."""

    OFF = 0
    """Spikes, passed through."""
    RATE = 1
    """Levels of an image, encoded by rate."""
    LATENCY = 2
    """Levels of an image, encoded by latency."""
    HOLD = 3
    """Spikes and values of one step, which is repeated."""


def _integer(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} must be an integer from {low} to {high}, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class EncoderParameters:
    """Sizes of an encoder.

    Parameters
    ----------
    pixels
        Pixels of the largest image, a power of two from 2 to 32768. The rate encoder stores two images: one is received
        while the other is sent.
    bits
        Bits of a pixel, 1 to 8, with ``2**bits`` as full scale. The rate encoder requires images of exactly this depth.
    steps
        Maximum number of steps of the latency encoder, a power of two from 2 to 65536.
    lfsr_width
        Width of the rate encoder's shift register, at least ``bits``.
    hold
        Whether the encoder can repeat one step of spikes and values (`EncoderMode.HOLD`).
    """

    pixels: int = 1024
    bits: int = 4
    steps: int = 256
    lfsr_width: int = 20
    hold: bool = False

    def __post_init__(self) -> None:
        for name, high in (("pixels", 32768), ("steps", 65536)):
            value = getattr(self, name)
            _integer(name, value, 2, high)
            # With a power of two of pixels, the two images differ in one address bit.
            if value.bit_count() != 1:
                raise ValueError(f"{name} must be a power of two, not {value!r}")
        _integer("bits", self.bits, 1, 8)
        _integer("lfsr_width", self.lfsr_width, max(min(TAPS), self.bits), max(TAPS))
        if not isinstance(self.hold, bool):
            raise TypeError(f"hold must be a bool, not {self.hold!r}")

    @property
    def when_width(self) -> int:
        """Width of ``when``: a step, and ``bits`` fractional bits."""
        return self.bits + bits_for(self.steps)


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """Values of the registers: `pixels` ``n``, `steps` ``T``, `stride` ``s``, and the seed of the rate encoder."""

    mode: EncoderMode
    pixels: int
    steps: int
    stride: int = 1
    seed: int = 1

    def check(self, parameters: EncoderParameters) -> None:
        """Raise ``ValueError`` unless an encoder of ``parameters`` supports these settings."""
        if self.mode is EncoderMode.HOLD and not parameters.hold:
            raise ValueError("mode must not be HOLD for an encoder without hold")
        _integer("pixels", self.pixels, 1, parameters.pixels)
        # Only the latency encoder calculates with steps.
        _integer("steps", self.steps, 1, parameters.steps if self.mode is EncoderMode.LATENCY else 65536)
        # An image of one bit has the largest stride.
        _integer("stride", self.stride, 1, 1 << (parameters.bits - 1))
        _integer("seed", self.seed, 1, (1 << parameters.lfsr_width) - 1)

    def registers(self) -> dict[str, int]:
        """The values of the bridge's registers."""
        return {
            "encoder_mode": self.mode,
            "encoder_stride": self.stride,
            # Minus one, so that the largest size fits the register and the RTL compares without an adder.
            "encoder_pixels": self.pixels - 1,
            "encoder_steps": self.steps - 1,
            "encoder_advance": self.stride * self.steps,
            "encoder_seed": self.seed,
        }


def level_events(image: ArrayLike, bits: int) -> NDArray[np.bool_]:
    """Convert an image ``(n,)`` of 0 to ``2**bits`` to levels ``(levels, n)``, brightest first, without trailing empty
    levels. The host sends them like the spikes of steps. Raises ``ValueError`` for another shape or values out of
    range."""
    pixels = np.asarray(image)
    if pixels.ndim != 1 or pixels.dtype.kind not in "iu" or pixels.min() < 0 or pixels.max() > 1 << bits:
        raise ValueError(f"image must be (n,) integers from 0 to {1 << bits}")
    # Level 0 is full scale; a pixel of 0 is never named.
    depth = (1 << bits) - pixels.astype(np.int64)
    used = depth[pixels > 0]
    levels = int(used.max()) + 1 if used.size else 1
    return (depth == np.arange(levels)[:, None]) & (pixels > 0)


class EncoderModel:
    """Model of the encoder. An event is an axon, -1 for a TICK, or -2 for the last TICK of a sample.

    ``values`` are the values of the spikes among the events that the last call of `feed` returned, in order.
    """

    def __init__(self, parameters: EncoderParameters, settings: EncoderSettings) -> None:
        settings.check(parameters)
        self.parameters = parameters
        self.settings = settings
        self.values: list[int] = []
        self._begin()

    def _begin(self) -> None:
        self._code = (1 << self.parameters.bits) - 1
        self._when = self._step = 0
        # Pixels that are not named have no entry and never spike.
        self._kept: dict[int, int] = {}

    def feed(self, event: int, value: int = 1) -> list[int]:
        """Process ``event``, with its ``value`` if it is a spike, and return the events that the encoder sends.

        In mode OFF this is the event itself. In mode LATENCY, it is the spike of a pixel, or the TICKs up to the step
        of the next pixels. Otherwise the last TICK of a sample returns all events of the sample, and other events
        return none.
        """
        settings, parameters = self.settings, self.parameters
        self.values = []
        if settings.mode is EncoderMode.OFF:
            self.values = [value] * (event >= 0)
            return [event]
        if settings.mode is EncoderMode.LATENCY:
            return self._late(event)
        if event >= 0:
            if event < settings.pixels:
                self._kept[event] = value if settings.mode is EncoderMode.HOLD else self._code
            return []
        # Wraps around like the register of the RTL.
        self._code = (self._code - settings.stride) & ((1 << parameters.bits) - 1)
        if event == -1:
            return []
        events = self._sample()
        self._begin()
        return events

    def _late(self, event: int) -> list[int]:
        settings, bits = self.settings, self.parameters.bits
        if event >= 0:
            fires = event < settings.pixels and self._when >> bits == self._step
            self.values = [1] * fires
            return [event] * fires
        last = settings.steps - 1
        if event == -2:
            ticks = [-1] * (last - self._step) + [-2]
            self._begin()
            return ticks
        # Wraps around like the register of the RTL.
        self._when = (self._when + settings.stride * settings.steps) % (1 << self.parameters.when_width)
        passed = max(0, min(self._when >> bits, last) - self._step)
        self._step += passed
        return [-1] * passed

    def _sample(self) -> list[int]:
        settings, bits = self.settings, self.parameters.bits
        if settings.mode is EncoderMode.HOLD:
            held = sorted(self._kept)
            self.values = [self._kept[pixel] for pixel in held] * settings.steps
            events = [*held, -1] * settings.steps
            events[-1] = -2
            return events
        lfsr = Lfsr(width=self.parameters.lfsr_width, seed=settings.seed)
        words = iter(lfsr.words(settings.steps * settings.pixels, bits).tolist())
        events = []
        for step in range(settings.steps):
            for pixel in range(settings.pixels):
                # A word is drawn for every pixel, named or not, so the noise of a pixel does not depend on the image.
                word, kept = next(words), self._kept.get(pixel)
                if kept is not None and kept >= word:
                    events.append(pixel)
            events.append(-2 if step == settings.steps - 1 else -1)
        self.values = [1] * sum(event >= 0 for event in events)
        return events
