"""Samples that are encoded together give the bytes of each sample alone."""

import re

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.sim.host import samples as module
from spikeloom.sim.host.encoder import level_events
from spikeloom.sim.host.messages import encode_spikes
from spikeloom.sim.host.samples import SampleEncoder, encode_images


@pytest.fixture(autouse=True)
def form_in_numpy(monkeypatch):
    """The form in NumPy, with which `test_compiled_samples` compares the compiled one."""
    monkeypatch.setattr(module, "compiled_samples", lambda: None)


@pytest.mark.parametrize(
    "axons",
    [[128], [0, 129], [8192], [8319], [8320, 8448], [65535], [5], [5, 6, 7], [0, 2, 4, 6], [3, 1, 2], [2, 0, 4]],
)
def test_the_longest_distances_of_each_form(axons):
    """A SPIKE reaches 128 axons, a SKIP 8192; axons may follow each other, or leave gaps, from any first one."""
    spikes = np.ones((2, 3, len(axons)), np.bool_)
    spikes[1, 0, -1] = False
    encoder = SampleEncoder(axons)
    assert encoder.encode(spikes) == b"".join(encode_spikes(spikes[:, sample], axons) for sample in range(3))
    for step in spikes[:, 0]:
        assert encoder.encode_step(step, last=True) == encode_spikes(step[None], axons)


@pytest.mark.parametrize("axons", ["in order", "sorted", "any"])
@pytest.mark.parametrize("rate", [0.0, 0.002, 0.1, 0.9, 1.0])
def test_samples_are_those_encoded_one_by_one(request, axons, rate):
    rng = rng_of(request.node.name)
    skipped = 0
    for _ in range(20):
        steps, samples, inputs = (int(rng.integers(1, most)) for most in (6, 9, 900))
        spikes = rng.random((steps, samples, inputs)) < rate
        numbers = np.arange(inputs) if axons == "in order" else rng.choice(1 << 16, inputs, replace=False)
        if axons == "sorted":
            numbers.sort()
        expected = b"".join(encode_spikes(spikes[:, sample], numbers) for sample in range(samples))
        encoder = SampleEncoder(numbers)
        assert encoder.encode(spikes) == expected
        unfinished = b"".join(encode_spikes(spikes[:, sample], numbers, last=False) for sample in range(samples))
        assert encoder.encode(spikes, last=False) == unfinished
        step = spikes[0, 0]
        for last in (False, True):
            assert encoder.encode_step(step, last=last) == encode_spikes(step[None], numbers, last=last)
        skipped += sum(0x40 <= byte < 0x80 for byte in expected)
    assert (skipped > 0) == (0 < rate < 0.1 or (axons != "in order" and rate > 0))


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("rate", [0.0, 0.01, 0.5, 1.0])
def test_images_are_those_encoded_one_by_one(request, bits, rate):
    rng = rng_of(request.node.name)
    for kind in (np.uint16, np.int64):
        shape = int(rng.integers(1, 9)), int(rng.integers(1, 900))
        images = (rng.integers(0, (1 << bits) + 1, shape) * (rng.random(shape) < rate)).astype(kind)
        images[0] = 0  # and one dark sample
        assert encode_images(images, bits) == b"".join(encode_spikes(level_events(image, bits)) for image in images)


def test_many_levels_together(request):
    """More levels than 16 bits can count."""
    images = np.tile(rng_of(request.node.name).integers(0, 257, 20), (300, 1))
    images[:, 0] = 1  # 256 levels
    assert encode_images(images, 8) == encode_spikes(level_events(images[0], 8)) * 300


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: SampleEncoder([0, 1]).encode(np.ones((1, 2), np.bool_)),
            "spikes must be booleans (T, B, 2), not bool (1, 2)",
        ),
        (
            lambda: SampleEncoder([0]).encode(np.ones((1, 1, 2), np.bool_)),
            "spikes must be booleans (T, B, 1), not bool (1, 1, 2)",
        ),
        (
            lambda: SampleEncoder([0, 1]).encode(np.ones((1, 1, 2))),
            "spikes must be booleans (T, B, 2), not float64 (1, 1, 2)",
        ),
        (
            lambda: SampleEncoder([0, 1]).encode_step(np.ones(3, np.bool_), last=True),
            "spikes must be booleans (2,), not bool (3,)",
        ),
        (
            lambda: SampleEncoder([0, 1]).encode_step(np.ones(2), last=True),
            "spikes must be booleans (2,), not float64 (2,)",
        ),
        *(
            (
                lambda shape=shape: SampleEncoder([0, 1]).encode(np.ones(shape, np.bool_)),
                f"spikes must be booleans (T, B, 2), not bool {shape}",
            )
            for shape in ((0, 1, 2), (1, 0, 2))
        ),
        *(
            (
                lambda shape=shape: encode_images(np.ones(shape, int), 4),
                f"images must be integers (B, n), not int64 {shape}",
            )
            for shape in ((0, 3), (3, 0))
        ),
        (lambda: SampleEncoder(np.zeros(0, int)), "axons must be integers (n,), not int64 (0,)"),
        (lambda: SampleEncoder([[0]]), "axons must be integers (n,), not int64 (1, 1)"),
        (lambda: SampleEncoder([0.0, 1.0]), "axons must be integers (n,), not float64 (2,)"),
        (lambda: SampleEncoder([0, 1 << 16]), "axon must be from 0 to 65535, not from 0 to 65536"),
        (lambda: SampleEncoder([-1, 5]), "axon must be from 0 to 65535, not from -1 to 5"),
        (lambda: SampleEncoder([7, 7]), "axons must be different for each input, but two are equal"),
        (lambda: encode_images(np.ones(3, int), 4), "images must be integers (B, n), not int64 (3,)"),
        (lambda: encode_images(np.ones((1, 3)), 4), "images must be integers (B, n), not float64 (1, 3)"),
        (lambda: encode_images(np.full((1, 3), 17), 4), "images must be from 0 to 16, not from 17 to 17"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
