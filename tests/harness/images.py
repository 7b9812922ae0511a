"""Images for the encoder of the bridge as events, and the same images through the encoders of the driver."""

from __future__ import annotations

import numpy as np

from spikeloom.datasets.encoders import Encoder, LatencyEncoder, RateEncoder
from spikeloom.sim.host.encoder import EncoderMode, EncoderParameters, EncoderSettings, level_events
from spikeloom.sim.lib.lfsr import Lfsr

PARAMETERS = EncoderParameters(pixels=32, bits=3, steps=16, lfsr_width=7)
HOLDING = EncoderParameters(pixels=32, bits=3, steps=16, lfsr_width=7, hold=True)
MODES = (EncoderMode.RATE, EncoderMode.LATENCY)


def settings_of(rng: np.random.Generator, mode: EncoderMode) -> EncoderSettings:
    """Settings that an encoder with `PARAMETERS` supports."""
    return EncoderSettings(
        mode=mode,
        pixels=int(rng.integers(1, 33)),
        steps=int(rng.integers(1, 17)),
        stride=1 if mode is EncoderMode.RATE else int(rng.choice([1, 2, 4])),
        seed=int(rng.integers(1, 128)),
    )


def images_of(rng: np.random.Generator, settings: EncoderSettings, count: int) -> np.ndarray:
    """Images with as many values as the stride allows; each may be all dark."""
    full = (1 << PARAMETERS.bits) // settings.stride
    images = rng.integers(0, full + 1, (count, settings.pixels))
    return np.where(rng.random(images.shape) < rng.choice([0, 0.3, 0.9], (count, 1)), 0, images)


def events_of(image: np.ndarray, settings: EncoderSettings) -> list[int]:
    """An image as the host sends it."""
    bits = PARAMETERS.bits - settings.stride.bit_length() + 1
    events: list[int] = []
    for level in level_events(image, bits):
        events += [*np.flatnonzero(level).tolist(), -1]
    events[-1] = -2
    return events


def reference_of(images: np.ndarray, settings: EncoderSettings) -> list[int]:
    """The expected events, by the encoders of the driver. Spikes of latencies are in the order in which the host names
    them, brightest first."""
    bits = PARAMETERS.bits - settings.stride.bit_length() + 1
    encoder: Encoder
    if settings.mode is EncoderMode.RATE:
        encoder = RateEncoder(
            steps=settings.steps, bits=bits, lfsr=Lfsr(width=PARAMETERS.lfsr_width, seed=settings.seed)
        )
    else:
        encoder = LatencyEncoder(steps=settings.steps, bits=bits)
    events = []
    for image, sample in zip(images, encoder.encode(images).transpose(1, 0, 2), strict=True):
        order = np.argsort(-image if settings.mode is EncoderMode.LATENCY else 0 * image, kind="stable")
        for step in sample:
            events += [*order[step[order] > 0].tolist(), -1]
        events[-1] = -2
    return events
