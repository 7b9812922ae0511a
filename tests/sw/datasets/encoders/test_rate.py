"""Rate codes: the formulas by hand, and the statistics of pixels that share a shift register."""

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.datasets.encoders import PoissonEncoder, RateEncoder, SigmaDeltaEncoder
from spikeloom.datasets.encoders.interface import signed_counts
from spikeloom.sim.core.neuron import Compare, NeuronParameters, NeuronState, Reset
from spikeloom.sim.core.neuron import step as step_of
from spikeloom.sim.lib.lfsr import Lfsr


def random_images(name, *shape, bits=4):
    return rng_of(name).integers(0, (1 << bits) + 1, shape)


def test_rate_by_hand():
    """The recurrence, one word per pixel and step, starting with the word of the seed itself."""
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


def test_rate_ends_of_the_scale():
    """Full scale fires in every step, 0 in none: no word is too large or too small."""
    spikes = RateEncoder(steps=500, bits=4).encode([[16, 0]])
    assert spikes[:, 0, 0].all()
    assert not spikes[:, 0, 1].any()


def test_rate_without_bias_over_a_period():
    """Over a whole period of words each value fires with its exact probability, except for the missing state 0.

    The word 0 occurs once less, so a value above 0 fires ``value * 2**(width - bits) - 1`` times in ``2**width - 1``
    draws.
    """
    lfsr = Lfsr(width=13, seed=77)  # the period of 8191 is prime, so words of 4 bits run through all states too
    spikes = RateEncoder(steps=lfsr.period, bits=4, lfsr=lfsr).encode(np.arange(17)[:, None])
    fired = spikes.sum(axis=(0, 2))
    assert fired.tolist() == [0] + [value * 512 - 1 for value in range(1, 17)]


def test_rate_bias_with_the_default_register():
    """With a shared 20-bit register, the rate of every pixel is within five standard deviations of its probability."""
    steps, pixels = 4096, 64
    for value in (1, 4, 8, 13):
        spikes = RateEncoder(steps=steps, bits=4).encode(np.full((1, pixels), value))[:, 0]
        p = value / 16
        deviation = np.sqrt(p * (1 - p) / steps)
        assert np.abs(spikes.mean(axis=0) - p).max() < 5 * deviation
        assert abs(spikes.mean() - p) < 5 * deviation / np.sqrt(pixels)


def test_pixels_that_share_a_register_are_hardly_correlated():
    """Pairs of pixels, and a pixel with itself one step later, correlate no more than fair coins would."""
    steps, pixels = 4096, 64
    spikes = RateEncoder(steps=steps, bits=4).encode(np.full((1, pixels), 8))[:, 0].astype(float)
    pairs = np.corrcoef(spikes.T)[np.triu_indices(pixels, 1)]
    assert np.abs(pairs).max() < 5 / np.sqrt(
        steps
    )  # for 2016 pairs of fair coins, 4 is exceeded in one of ten runs, 5 hardly ever
    assert abs(np.std(pairs) * np.sqrt(steps) - 1.0) < 0.1
    later = [np.corrcoef(spikes[:-1, i], spikes[1:, i])[0, 1] for i in range(pixels)]
    assert np.abs(later).max() < 5 / np.sqrt(steps)


def test_neighbouring_states_would_be_correlated():
    """This is why words are drawn as many steps apart as they have bits: the test above fails for the naive draw."""
    states = Lfsr().states(4096 * 64) & 15
    spikes = (states.reshape(4096, 64) < 8).astype(float)
    thresholds = (states.reshape(4096, 64) < 4).astype(float)
    naive = np.corrcoef(thresholds[:, 0], spikes[:, 1])[0, 1]
    drawn = Lfsr().words(4096 * 64, 4).reshape(4096, 64)
    fair = np.corrcoef(drawn[:, 0] < 4, drawn[:, 1] < 8)[0, 1]
    assert abs(naive) > 0.3
    assert abs(fair) < 5 / np.sqrt(4096)


def test_short_register_is_stratified():
    """The choice of the digits model: a 4-bit register and 64 pixels. In 15 steps each pixel meets each word once."""
    lfsr = Lfsr(width=4, seed=1)
    words = lfsr.words(15 * 64, 4).reshape(15, 64)
    assert np.array_equal(np.sort(words, axis=0), np.broadcast_to(np.arange(1, 16)[:, None], (15, 64)))
    spikes = RateEncoder(steps=15, bits=4, lfsr=lfsr).encode(np.repeat(np.arange(17), 64).reshape(17, 64))
    assert np.array_equal(spikes.sum(axis=0), np.repeat(np.clip(np.arange(17) - 1, 0, None), 64).reshape(17, 64))


def test_words_run_on_through_a_series():
    """Sample ``t`` of a series draws the words that follow those of the samples before it."""
    series = random_images("test_words_run_on_through_a_series", 3, 2, 5)
    encoder = RateEncoder(steps=4, bits=4)
    words = encoder.lfsr.words(3 * 4 * 5, 4).reshape(12, 1, 5)
    assert np.array_equal(encoder.encode_series(series), np.repeat(series, 4, axis=0) > words)


def test_rate_decoder():
    """The value nearest to the fraction of steps, with halves rounded up."""
    spikes = np.zeros((4, 1, 5), bool)
    for count in range(5):
        spikes[:count, 0, count] = True
    assert RateEncoder(steps=4, bits=4).decode(spikes)[0, 0].tolist() == [0, 4, 8, 12, 16]
    assert RateEncoder(steps=4, bits=1).decode(spikes)[0, 0].tolist() == [0, 1, 1, 2, 2]


def test_poisson_by_hand():
    """In a whole period of the register each nonzero word occurs 16 times: counts are exact."""
    lfsr = Lfsr(width=20, seed=4711)
    encoder = PoissonEncoder(steps=1, bits=2, lfsr=lfsr)
    chances = encoder.chances()
    assert chances.tolist() == [round(65536 * (1 - np.exp(-value / 4))) for value in range(5)]
    spikes = encoder.encode_series(np.broadcast_to(np.arange(5)[:, None], (lfsr.period, 5, 1)))
    assert spikes.sum(axis=(0, 2)).tolist() == [0, *(16 * chances[1:] - 1)]


def test_poisson_chances_are_the_same_everywhere():
    """No probability is so close to a half that the exponential of another library could round it to the other side."""
    exact = -np.expm1(-np.arange((1 << 16) + 1) / (1 << 16)) * (1 << 16)
    assert np.abs(exact % 1 - 0.5).min() > 1e-6


def test_poisson_decodes_the_most_likely_value():
    encoder = PoissonEncoder(steps=1000, bits=4)
    wanted = np.rint(1000 * (1 - np.exp(-np.arange(17) / 16))).astype(int)
    spikes = np.arange(1000)[:, None, None] < wanted
    assert encoder.decode(spikes)[0, 0].tolist() == list(range(17))


def test_sigma_delta_by_hand():
    """Full scale 4, two steps per value: the sums of 3 3 1 1 -4 -4 are 3 6 7 8 4 0; half of 4 is added, and the result
    divided by 4."""
    encoder = SigmaDeltaEncoder(steps=2, bits=2)
    spikes = encoder.encode_series(np.array([3, 1, -4])[:, None, None])
    assert signed_counts(spikes)[:, 0, 0].tolist() == [1, 1, 0, 0, -1, -1]
    assert encoder.decode(spikes)[:, 0, 0].tolist() == [4, 0, -4]
    zero = SigmaDeltaEncoder(steps=2, bits=2, start="zero")
    assert signed_counts(zero.encode_series(np.array([3, 1, -4])[:, None, None]))[:, 0, 0].tolist() == [
        0,
        1,
        0,
        1,
        -1,
        -1,
    ]


def test_sigma_delta_is_an_integrate_and_fire_neuron():
    """Starting from zero and without signs, it equals the project's own neuron with comparison ``>=``, reset by
    subtraction and no leak."""
    rng = rng_of("test_sigma_delta_is_an_integrate_and_fire_neuron")
    series = rng.integers(0, 17, (20, 3, 4))
    spikes = SigmaDeltaEncoder(steps=5, bits=4, start="zero").encode_series(series)
    neuron = NeuronParameters(size=12, v_width=16, threshold=16, compare=Compare.GREATER_EQUAL, reset=Reset.SUBTRACT)
    state = NeuronState.cleared(1, neuron)
    expected = []
    for sample in np.repeat(series.reshape(20, 1, 12), 5, axis=0):
        state, fired, _ = step_of(state, sample.astype(np.int64), neuron)
        expected.append(fired)
    assert 0 < np.sum(expected) < np.size(expected)
    assert np.array_equal(spikes[..., ::2].reshape(100, 1, 12), np.array(expected))
    assert not spikes[..., 1::2].any()


def test_sigma_delta_keeps_sums():
    """Over any number of values, the number of spikes matches their sum to within half of full scale."""
    series = rng_of("test_sigma_delta_keeps_sums").integers(-16, 17, (400, 1, 3))
    counts = signed_counts(SigmaDeltaEncoder(steps=1, bits=4).encode_series(series))
    error = series.cumsum(axis=0) - 16 * counts.cumsum(axis=0)
    assert error.min() == -8
    assert error.max() == 7


def test_bad_register():
    with pytest.raises(ValueError, match=r"^bits must be an integer from 1 to 3, not 4$"):
        RateEncoder(steps=8, bits=4, lfsr=Lfsr(width=3))
    with pytest.raises(TypeError, match=r"^lfsr must be an Lfsr, not 20$"):
        RateEncoder(steps=8, bits=4, lfsr=20)
    with pytest.raises(ValueError, match=r"^lfsr must be an Lfsr of at least 16 bits, not Lfsr\(width=15, seed=1\)$"):
        PoissonEncoder(steps=8, bits=4, lfsr=Lfsr(width=15))
