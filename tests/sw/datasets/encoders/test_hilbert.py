"""Phase code: the filter, the phases of a wave, robust crossings, and the delay between two microphones."""

import numpy as np
import pytest
from harness.networks import rng_of
from scipy.signal import find_peaks, firwin, hilbert

from spikeloom.datasets.encoders import HilbertEncoder
from spikeloom.datasets.encoders.hilbert import _peaks, hilbert_taps


def cosine(time, period, *, delay=0.0, amplitude=1000):
    return np.rint(amplitude * np.cos(2 * np.pi * (np.arange(time) - delay) / period)).astype(int)


def test_taps_by_hand():
    """128 * 2 / (pi n) times a Hamming window: the taps 1, 3, 5, ... on either side."""
    assert hilbert_taps(1) == (7,)
    assert hilbert_taps(4) == (71, 6)
    window = firwin(31, 0.5, window="hamming", scale=False) / (0.5 * np.sinc(0.5 * np.arange(-15, 16)))
    odd = np.arange(1, 16, 2)
    assert hilbert_taps(15) == tuple(np.rint(256 / (np.pi * odd) * window[15 + odd]).astype(int).tolist())


@pytest.mark.parametrize("period", [5.3, 8, 12])
def test_quadrature_is_that_of_scipy(period):
    """In the middle of the band, the signal and its transform are within 3 % of SciPy's, delayed by half the filter."""
    encoder = HilbertEncoder(half=15, width=2)
    wave = cosine(200, period)
    in_phase, quadrature = encoder.quadrature(wave[:, None, None].astype(np.int32))
    assert np.array_equal(in_phase[15:, 0, 0], wave[:-15])
    expected = np.imag(hilbert(cosine(2000, period)))[885 : 885 + 150]  # far from the ends
    phase = np.exp(2j * np.pi * np.arange(2000) / period) * 1000
    assert np.abs(expected - phase.imag[885 : 885 + 150]).max() < 40
    assert np.abs(quadrature[40:190, 0, 0] / 128 - phase.imag[25:175]).max() < 30


@pytest.mark.parametrize("period", [6.0, 9.5, 13.0])
def test_the_phases_of_a_wave(period):
    """Four spikes per period, in the order of their phases, each within one step of the time at which the phase is
    reached."""
    encoder = HilbertEncoder(half=15, width=2)
    spikes = encoder.encode_series(cosine(300, period)[:, None, None])[:, 0]
    assert spikes.shape == (300, 4)
    for line in range(4):
        when = np.flatnonzero(spikes[:, line])
        when = when[(when > 40) & (when < 290)]
        assert len(when) >= 240 / period - 1
        turns = (when - 15) / period - line / 4
        # A sum is extreme at the last sample before the sign changes, up to one step earlier.
        late = (turns - np.rint(turns)) * period
        assert (late > -1.2).all(), line
        assert (late < 0.2).all(), line


@pytest.mark.parametrize("period", [6.0, 9.5, 13.0])
def test_decoded_phase(period):
    """The decoded phase is within an eighth of a turn, plus a step, of the phase of the wave."""
    encoder = HilbertEncoder(half=15, width=2)
    decoded = encoder.decode(encoder.encode_series(cosine(300, period)[:, None, None]))[:, 0, 0]
    assert decoded[0] == -1
    turns = (np.arange(300) - 15) / period
    error = (decoded / 8 - turns + 0.5) % 1 - 0.5
    assert np.abs(error[50:290]).max() <= 1 / 8 + 1.2 / period
    assert set(np.unique(decoded[50:290])) == {1, 3, 5, 7}


@pytest.mark.parametrize("delay", [-2.0, 0.5, 1.0, 2.5])
def test_the_delay_between_two_microphones(delay):
    """The spikes of the second microphone are later by the delay, on average over lines and periods."""
    period = 12.7
    pair = np.stack([cosine(2000, period), cosine(2000, period, delay=delay)], axis=-1)[:, None]
    spikes = HilbertEncoder(half=15, width=3).encode_series(pair).reshape(2000, 2, 4)
    lags = []
    for line in range(4):
        first, second = (np.flatnonzero(spikes[50:1980, channel, line]) for channel in (0, 1))
        for when in first:
            lag = second - when
            lags.append(lag[np.abs(lag).argmin()])
    assert np.mean(lags) == pytest.approx(delay, abs=0.1)


def test_robust_crossings_are_the_peaks_of_scipy():
    """For a wave in noise: peaks of the sum that are the largest within the width and at least the width apart."""
    rng = rng_of("test_robust_crossings_are_the_peaks_of_scipy")
    sums = np.cumsum(cosine(2000, 40) + rng.integers(-600, 601, 2000))
    found = np.flatnonzero(_peaks(sums[:, None, None], 12)[:, 0, 0])
    expected, _ = find_peaks(sums, distance=13)
    extreme = [p for p in expected if sums[p] == sums[max(p - 12, 0) : p + 13].max()]
    assert len(found) > 40
    assert found.tolist() == extreme
    naive = np.flatnonzero(_peaks(sums[:, None, None], 1)[:, 0, 0])
    assert len(naive) > 2 * len(found)


@pytest.mark.parametrize("width", [1, 2, 3, 7])
def test_peaks_by_hand(width, request):
    """Compared with a loop over every position; of equal sums, the first one counts."""
    sums = rng_of(request.node.name).integers(0, 6, 200)
    found = _peaks(sums[:, None, None], width)[:, 0, 0]
    assert found.any()
    for place in range(200):
        before, after = sums[max(0, place - width) : place], sums[place + 1 : place + 1 + width]
        expected = 0 < place < 199 and (before < sums[place]).all() and (after <= sums[place]).all()
        assert found[place] == expected


def test_falling_edges_are_two_of_the_four_lines():
    wave = cosine(100, 9)[:, None, None]
    both = HilbertEncoder(half=8, width=2).encode_series(wave)
    falling = HilbertEncoder(half=8, width=2, edges="falling")
    assert np.array_equal(falling.encode_series(wave), both[..., 1:3])
    with pytest.raises(ValueError, match=r"^edges must be 'both' for a phase to be decoded, not 'falling'$"):
        falling.decode(both[..., 1:3])


def test_large_samples_do_not_overflow():
    """Samples of 23 bits give the same spikes as the same wave in 20 bits."""
    small = cosine(100, 9, amplitude=(1 << 20) - 1)
    encoder = HilbertEncoder(half=15, width=2)
    in_phase, quadrature = encoder.quadrature((small * 8)[:, None, None].astype(np.int32))
    expected = encoder.quadrature(small[:, None, None].astype(np.int32))
    assert np.array_equal(quadrature, expected[1].astype(np.int64) * 8)
    assert np.array_equal(in_phase, expected[0] * 8)


def test_a_series_shorter_than_the_filter():
    with pytest.raises(
        ValueError, match=r"^series must have at least as many samples as the filter has taps, 31, not 30$"
    ):
        HilbertEncoder(half=15, width=2).encode_series(np.zeros((30, 1, 1), int))
