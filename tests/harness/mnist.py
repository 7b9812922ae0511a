"""Images with the brightness of digits, and the reference with a clock in place of compiled hardware."""

from __future__ import annotations

import dataclasses

import numpy as np

from spikeloom.benchmarks.mnist import TRIALS, Trial
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import encoder_from
from spikeloom.datasets.mnist import pixel_levels
from spikeloom.datasets.shipped import Digits, shipped
from spikeloom.frontends.nir import load
from spikeloom.runners.runner import ReferenceRunner, Runner
from spikeloom.sim.network.reference import simulate

IMAGES = 24
TRIAL = Trial(model="mnist-mlp.nir", weight_bits=8, fabric=TRIALS[0].fabric, least_accuracy=0.98)


def strokes(rng, count=IMAGES):
    """Images as bright as digits: 60 to 130 ink pixels on thick lines through the middle."""
    images = np.zeros((count, 28, 28), np.uint8)
    across, along = np.meshgrid(np.arange(28) - 13.5, np.arange(28) - 13.5)
    for image in images:
        for _ in range(2):
            angle, offset = rng.uniform(0, np.pi), rng.uniform(-4, 4)
            distance = np.abs(across * np.cos(angle) + along * np.sin(angle) - offset)
            ink = (distance < rng.uniform(1, 2)) & (across**2 + along**2 < 100)
            image[ink] = rng.integers(30, 256, np.count_nonzero(ink))
    return images


def digits_of(rng):
    """Images with the labels that the integer network gives them: its accuracy is 1."""
    images = strokes(rng)
    network = load(shipped("mnist-mlp.nir"))
    encoder = encoder_from(network.encoder)
    fired = simulate(quantise(network), encoder.encode(pixel_levels(images, encoder.bits))).spikes["digit"]
    assert 20 < np.count_nonzero(images[0]) < 200
    assert len(set(fired.sum(axis=0).argmax(axis=1))) > 2
    return Digits(images=images, labels=fired.sum(axis=0).argmax(axis=1))


class Counting(Runner):
    """The reference, with a clock and optionally one spike too many."""

    def __init__(self, program, *, model="mnist-mlp.nir", weight_bits=8, wrong=0):
        network = quantise(load(shipped(model)), Quantisation(weight_width=weight_bits))
        self.reference = ReferenceRunner(network)
        self.program = program
        self.wrong = wrong

    def run(self, spikes, *, progress=None):
        result = self.reference.run(spikes)
        output = result.spikes["digit"]
        output.reshape(-1)[: self.wrong] ^= True
        # An image alone takes longer: no other one enters while it is answered.
        return dataclasses.replace(result, cycles=1000 * spikes.shape[1] if spikes.shape[1] > 1 else 1100)
