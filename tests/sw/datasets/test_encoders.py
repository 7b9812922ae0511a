"""Encoders: the formulas by hand, determinism, the statistics of pixels that share a shift register, bad input."""

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.datasets.encoders import LatencyEncoder, RateEncoder, encoder_from
from spikeloom.sim.lib.lfsr import Lfsr

ENCODERS = [
    RateEncoder(steps=6, bits=4),
    RateEncoder(steps=6, bits=4, lfsr=Lfsr(width=4, seed=9)),
    LatencyEncoder(steps=6, bits=4),
]


def random_images(name, *shape, bits=4):
    return rng_of(name).integers(0, (1 << bits) + 1, shape)


def test_rate_by_hand():
    """The recurrence, one word a pixel and step, the seed's own word first."""
    lfsr = Lfsr(width=7, seed=99)
    images = random_images("test_rate_by_hand", 3, 5)
    spikes = RateEncoder(steps=4, bits=4, lfsr=lfsr).encode(images)
    assert spikes.shape == (4, 3, 5)
    assert 0 < spikes.sum() < spikes.size
    for image in range(3):
        state = lfsr.seed
        for step in range(4):
            for pixel in range(5):
                assert spikes[step, image, pixel] == (images[image, pixel] > state % 16)
                for _ in range(4):
                    state = lfsr.step(state)


def test_latency_by_hand():
    """Four steps at two bits: full scale 4 in step 0, then 3, 2, 1; 0 never."""
    spikes = LatencyEncoder(steps=4, bits=2).encode([[4, 3, 2, 1, 0]])
    assert spikes[:, 0].astype(int).tolist() == [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0]]


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("steps", [1, 3, 8, 16, 25])
def test_latency_properties(steps, bits):
    """Once unless 0, brighter never later, the first step for full scale, the last for 1 if there are so few steps."""
    values = np.arange((1 << bits) + 1)
    spikes = LatencyEncoder(steps=steps, bits=bits).encode(values[None])[:, 0]
    assert spikes.sum(axis=0).tolist() == [0] + [1] * (1 << bits)
    when = spikes[:, 1:].argmax(axis=0)
    assert (np.diff(when) <= 0).all()
    assert when[-1] == 0
    if steps <= 1 << bits:
        assert when[0] == steps - 1
        assert set(when) == set(range(steps))


@pytest.mark.parametrize("encoder", ENCODERS, ids=repr)
def test_an_image_is_encoded_alike_anywhere(encoder):
    """In any batch, in any place of it, as rows or flat, and whatever the integers are stored in."""
    images = random_images(repr(encoder), 7, 3, 4)
    spikes = encoder.encode(images)
    assert spikes.shape == (6, 7, 12)
    assert spikes.dtype == np.bool_
    assert 0 < spikes.sum() < spikes.size
    assert np.array_equal(encoder.encode(images[::-1]), spikes[:, ::-1])
    assert np.array_equal(encoder.encode(images[3:4].reshape(1, 12).astype(np.uint8)), spikes[:, 3:4])


@pytest.mark.parametrize("encoder", ENCODERS, ids=repr)
def test_settings_make_the_encoder_again(encoder):
    assert encoder_from(encoder.settings()) == encoder
    as_in_a_file = {k: v if isinstance(v, str) else np.array(v, np.int32) for k, v in encoder.settings().items()}
    assert encoder_from(as_in_a_file) == encoder


def test_rate_ends_of_the_scale():
    """Full scale in every step, 0 in none: no word is ever too large or too small."""
    spikes = RateEncoder(steps=500, bits=4).encode([[16, 0]])
    assert spikes[:, 0, 0].all()
    assert not spikes[:, 0, 1].any()


def test_rate_without_bias_over_a_period():
    """Over a whole period of words each value fires with its exact probability, but for the state 0 that is missing.

    The word 0 comes once less, so of ``2**width - 1`` draws a value above 0 fires ``value * 2**(width - bits) - 1``.
    """
    lfsr = Lfsr(width=13, seed=77)  # a period of 8191, prime: words of 4 bits run through all states too
    spikes = RateEncoder(steps=lfsr.period, bits=4, lfsr=lfsr).encode(np.arange(17)[:, None])
    fired = spikes.sum(axis=(0, 2))
    assert fired.tolist() == [0] + [value * 512 - 1 for value in range(1, 17)]


def test_rate_bias_with_the_default_register():
    """With a shared register of 20 bits the rate of every pixel is within five standard deviations of a fair coin."""
    steps, pixels = 4096, 64
    for value in (1, 4, 8, 13):
        spikes = RateEncoder(steps=steps, bits=4).encode(np.full((1, pixels), value))[:, 0]
        p = value / 16
        deviation = np.sqrt(p * (1 - p) / steps)
        assert np.abs(spikes.mean(axis=0) - p).max() < 5 * deviation
        assert abs(spikes.mean() - p) < 5 * deviation / np.sqrt(pixels)


def test_pixels_that_share_a_register_are_hardly_correlated():
    """Pairs of pixels, and a pixel with itself a step later, correlate no more than fair coins would."""
    steps, pixels = 4096, 64
    spikes = RateEncoder(steps=steps, bits=4).encode(np.full((1, pixels), 8))[:, 0].astype(float)
    pairs = np.corrcoef(spikes.T)[np.triu_indices(pixels, 1)]
    assert np.abs(pairs).max() < 5 / np.sqrt(
        steps
    )  # 2016 pairs: a fair coin passes 4 in one of ten runs, 5 hardly ever
    assert abs(np.std(pairs) * np.sqrt(steps) - 1.0) < 0.1
    later = [np.corrcoef(spikes[:-1, i], spikes[1:, i])[0, 1] for i in range(pixels)]
    assert np.abs(later).max() < 5 / np.sqrt(steps)


def test_neighbouring_states_would_be_correlated():
    """Why words are drawn as many steps apart as they have bits: the test above does fail for the naive draw."""
    states = Lfsr().states(4096 * 64) & 15
    spikes = (states.reshape(4096, 64) < 8).astype(float)
    thresholds = (states.reshape(4096, 64) < 4).astype(float)
    naive = np.corrcoef(thresholds[:, 0], spikes[:, 1])[0, 1]
    drawn = Lfsr().words(4096 * 64, 4).reshape(4096, 64)
    fair = np.corrcoef(drawn[:, 0] < 4, drawn[:, 1] < 8)[0, 1]
    assert abs(naive) > 0.3
    assert abs(fair) < 5 / np.sqrt(4096)


def test_short_register_is_stratified():
    """The digits model's choice: a register of 4 bits and 64 pixels. In 15 steps each pixel meets each word once."""
    lfsr = Lfsr(width=4, seed=1)
    words = lfsr.words(15 * 64, 4).reshape(15, 64)
    assert np.array_equal(np.sort(words, axis=0), np.broadcast_to(np.arange(1, 16)[:, None], (15, 64)))
    spikes = RateEncoder(steps=15, bits=4, lfsr=lfsr).encode(np.repeat(np.arange(17), 64).reshape(17, 64))
    assert np.array_equal(spikes.sum(axis=0), np.repeat(np.clip(np.arange(17) - 1, 0, None), 64).reshape(17, 64))


@pytest.mark.parametrize(
    ("images", "kind", "message"),
    [
        (np.zeros((2, 4)), TypeError, r"^images must be integers, not float64$"),
        (np.zeros((2, 4), bool), TypeError, r"^images must be integers, not bool$"),
        (
            np.zeros(4, int),
            ValueError,
            r"^images must have shape \(B, n\) or \(B, height, width\) and not be empty, not \(4,\)$",
        ),
        (
            np.zeros((0, 4), int),
            ValueError,
            r"^images must have shape \(B, n\) or \(B, height, width\) and not be empty, not \(0, 4\)$",
        ),
        ([[3, 17]], ValueError, r"^images must be from 0 to 16, not from 3 to 17$"),
        ([[-1, 5]], ValueError, r"^images must be from 0 to 16, not from -1 to 5$"),
    ],
)
@pytest.mark.parametrize("encoder", ENCODERS[::2], ids=repr)
def test_bad_images(encoder, images, kind, message):
    with pytest.raises(kind, match=message):
        encoder.encode(images)


@pytest.mark.parametrize("kind", [RateEncoder, LatencyEncoder])
def test_bad_parameters(kind):
    with pytest.raises(ValueError, match=r"^steps must be an integer from 1 to 65536, not 0$"):
        kind(steps=0, bits=4)
    with pytest.raises(ValueError, match=r"^bits must be an integer from 1 to 16, not 17$"):
        kind(steps=8, bits=17)


def test_bad_register():
    with pytest.raises(ValueError, match=r"^bits must be an integer from 1 to 3, not 4$"):
        RateEncoder(steps=8, bits=4, lfsr=Lfsr(width=3))
    with pytest.raises(TypeError, match=r"^lfsr must be an Lfsr, not 20$"):
        RateEncoder(steps=8, bits=4, lfsr=20)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"^kind of an encoder must be 'rate' or 'latency', not None$"),
        ({"kind": "phase"}, r"^kind of an encoder must be 'rate' or 'latency', not 'phase'$"),
        (
            {"kind": "latency", "steps": 8},
            r"^settings of a latency encoder must be steps, bits, not steps$",
        ),
        ({"kind": "latency", "steps": 8, "bits": "4"}, r"^bits must be an integer, not '4'$"),
        ({"kind": "latency", "steps": 0, "bits": 4}, r"^steps must be an integer from 1 to 65536, not 0$"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        encoder_from(settings)
