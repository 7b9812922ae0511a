"""The encoders against spikify (PyPI innuce-spikify), an independent implementation of Forno et al. (2022).

Values are integers, or multiples of 1/64 where spikify takes 0 to 1, and filters are multiples of 1/64, so that its
arithmetic is exact, and so is the comparison.
"""

import numpy as np
import pytest
from harness.networks import rng_of
from scipy.signal import firwin
from spikify.decoders.temporal.contrast import contrast_decoder
from spikify.decoders.temporal.deconvolution import deconvolution_decoder
from spikify.encoders.rate import poisson
from spikify.encoders.temporal import deconvolution
from spikify.encoders.temporal.contrast import moving_window, step_forward, threshold_based_representation
from spikify.encoders.temporal.global_referenced import phase, time_to_first_spike
from spikify.encoders.temporal.latency import burst_coding

from spikeloom.datasets.encoders import (
    BensSpikerEncoder,
    BurstEncoder,
    HoughSpikerEncoder,
    LatencyEncoder,
    ModifiedHoughSpikerEncoder,
    MovingWindowEncoder,
    PhaseEncoder,
    PoissonEncoder,
    StepForwardEncoder,
    TemporalContrastEncoder,
    lowpass_taps,
)
from spikeloom.datasets.encoders.interface import signed_counts
from spikeloom.sim.lib.lfsr import Lfsr

BITS = 6
FULL = 1 << BITS
VALUES = np.arange(FULL + 1)


def wave(name, *, low=-40, high=40, time=200, channels=3):
    """A random walk of integers, ``(time, channels)``."""
    steps = rng_of(name).integers(-6, 7, (time, channels)).cumsum(axis=0)
    return low + np.abs((steps + (high - low)) % (2 * (high - low)) - (high - low))


def ours(encoder, series):
    return signed_counts(encoder.encode_series(series[:, None]))[:, 0]


def interesting(spikes):
    assert 0 < np.count_nonzero(spikes) < spikes.size


@pytest.mark.parametrize("threshold", [1, 4, 9])
def test_step_forward(threshold, request):
    series = wave(request.node.name)
    encoder = StepForwardEncoder(threshold=threshold)
    expected, thresholds = step_forward(series.astype(float), threshold)
    interesting(expected)
    assert np.array_equal(ours(encoder, series), expected)
    decoded = contrast_decoder(expected, thresholds, series[0])
    assert np.array_equal(encoder.decode(encoder.encode_series(series[:, None]), start=series[0])[:, 0], decoded)


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5])
def test_temporal_contrast(factor, request):
    """Forward differences, the last one repeated, and thresholds fitted as mean plus standard deviations of the
    differences."""
    series = wave(request.node.name)
    encoder = TemporalContrastEncoder.fit(series[:, None], factor=factor, difference="forward")
    expected, thresholds = threshold_based_representation(series.astype(float), factor)
    interesting(expected)
    assert encoder.threshold == tuple(np.floor(thresholds).astype(int))
    assert np.array_equal(ours(encoder, series), expected)


@pytest.mark.parametrize("window", [1, 2, 8])
def test_moving_window(window, request):
    series = wave(request.node.name)
    expected, _ = moving_window(series.astype(float), window, 5)
    interesting(expected)
    assert np.array_equal(ours(MovingWindowEncoder(threshold=5, window=window), series), expected)


def constant_blocks(length):
    """Each value for ``length`` steps, as spikify expects, the largest first so that nothing is scaled."""
    return np.repeat(VALUES[::-1] / FULL, length)


def blocks(spikes, length):
    """Patterns ``(values, length)`` in ascending order of the values."""
    return np.asarray(spikes).reshape(-1, length)[::-1]


@pytest.mark.parametrize("steps", [4, 16, 25])
def test_time_to_first_spike(steps):
    expected = blocks(time_to_first_spike(constant_blocks(steps), steps), steps)
    encoder = LatencyEncoder(steps=steps, bits=BITS, curve="decaying", dark="last")
    assert np.array_equal(encoder.encode(VALUES[None])[:, 0].T, expected)


@pytest.mark.parametrize("phases", [1, 4, 6])
def test_phase(phases):
    expected = blocks(phase(constant_blocks(phases), phases), phases)
    encoder = PhaseEncoder(steps=phases, bits=BITS, phases=phases, curve="arcsine")
    assert np.array_equal(encoder.encode(VALUES[None])[:, 0].T, expected)


@pytest.mark.parametrize(("most", "shortest", "longest"), [(4, 2, 6), (5, 0, 3), (1, 1, 1)])
def test_burst(most, shortest, longest):
    steps = 40
    expected = blocks(burst_coding(constant_blocks(steps), most, shortest, longest, steps), steps)
    encoder = BurstEncoder(steps=steps, bits=BITS, most=most, shortest=shortest, longest=longest, spacing="gap")
    assert np.array_equal(encoder.encode(VALUES[None])[:, 0].T, expected)


def test_poisson():
    """Both fire with probability ``1 - exp(-rate)``: counts are within five standard deviations of each other.

    This holds for intervals of one step: in longer ones, spikify drops events above one per step on average.
    """
    draws = 2000
    values = VALUES[::4]
    spikes = np.stack([poisson(np.full(draws, v / FULL), 1, seed=int(v)).sum() for v in values])
    encoder = PoissonEncoder(steps=draws, bits=BITS, lfsr=Lfsr(width=32, seed=12345))
    counts = encoder.encode(values[None])[:, 0].sum(axis=0)
    chance = 1 - np.exp(-values / FULL)
    deviation = np.sqrt(2 * draws * chance * (1 - chance))
    assert (np.abs(counts - spikes) <= 5 * deviation).all()
    assert (np.abs(counts - draws * values / FULL) > 5 * deviation)[
        len(values) // 2 :
    ].all()  # a Bernoulli encoder would fail the check above


TAPS = (2, 9, 14, 9, 2)


@pytest.fixture
def whole_taps(monkeypatch):
    """spikify designs its own filters: here it gets one of whole 64ths."""
    for name in ("hough_spiker", "modified_hough_spiker", "bens_spiker"):
        module = __import__(f"{deconvolution.__name__}.{name}_algorithm", fromlist=["firwin"])
        monkeypatch.setattr(module, "firwin", lambda *_, **__: np.array(TAPS) / FULL)


@pytest.mark.parametrize("threshold", [0, 6, 20])
@pytest.mark.parametrize("kind", [HoughSpikerEncoder, ModifiedHoughSpikerEncoder, BensSpikerEncoder])
@pytest.mark.usefixtures("whole_taps")
def test_deconvolution(kind, threshold, request):
    series = wave(request.node.name, low=0, high=FULL)
    options = {} if kind is HoughSpikerEncoder else {"threshold": threshold / FULL}
    name = {"hough": "hough_spiker", "modified-hough": "modified_hough_spiker", "bens": "bens_spiker"}[kind.kind]
    expected, taps, *shifts = getattr(deconvolution, name)(series / FULL, len(TAPS), 0.1, **options)
    interesting(expected)
    encoder = kind(taps=TAPS, **({"threshold": threshold} if options else {}))
    spikes = encoder.encode_series(series[:, None])
    assert np.array_equal(spikes[:, 0], expected)
    decoded = deconvolution_decoder(expected, taps, *shifts)
    assert np.array_equal(encoder.decode(spikes)[:, 0], np.rint(decoded * FULL))


@pytest.mark.parametrize("length", [3, 8, 31])
@pytest.mark.parametrize("cutoff", [0.05, 0.3, 0.9])
def test_lowpass_taps(length, cutoff):
    expected = firwin(length, cutoff, window="hann")
    total = 1 << 20
    assert np.array_equal(lowpass_taps(length, cutoff, total), np.rint(expected * total))
