"""Codes by deconvolution: by hand, sample by sample in plain Python, properties, and fitted filters."""

import numpy as np
import pytest
from harness.networks import rng_of
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.datasets.encoders import (
    BensSpikerEncoder,
    HoughSpikerEncoder,
    ModifiedHoughSpikerEncoder,
    Scale,
    lowpass_taps,
)

TAPS = (1, 3, 1)


def test_by_hand():
    """The filter 1 3 1 fits at 0 of 1 4 4 3 1 and leaves 1 3 3 1; it fits there again and leaves 0 0 2 1."""
    series = np.array([1, 4, 4, 3, 1])[:, None, None]
    encoder = HoughSpikerEncoder(taps=TAPS)
    spikes = encoder.encode_series(series)
    assert spikes[:, 0, 0].astype(int).tolist() == [1, 1, 0, 0, 0]
    assert encoder.decode(spikes)[:, 0, 0].tolist() == [1, 4, 4, 1, 0]


def test_modified_by_hand():
    """2 is short of 3 by 1; at the end, the filter is cut to 1 3 and then to 1."""
    series = np.array([1, 2, 1, 1])[:, None, None]
    for threshold, expected in ((0, [0, 0, 0, 1]), (1, [1, 0, 0, 0]), (2, [1, 0, 0, 1])):
        encoder = ModifiedHoughSpikerEncoder(taps=TAPS, threshold=threshold)
        found = encoder.encode_series(series)[:, 0, 0].astype(int).tolist()
        assert found == python_spikes(encoder, series[:, 0, 0].tolist()), threshold
        assert found[:3] == expected[:3]


def python_spikes(encoder, series):
    """One channel in Python integers."""
    left, spikes, taps = list(series), [], encoder.taps
    for time in range(len(left)):
        part = left[time : time + len(taps)]
        kept = taps[: len(part)]
        if len(part) < len(taps) and encoder.tail == "silent":
            spikes.append(0)
            continue
        if isinstance(encoder, HoughSpikerEncoder):
            fired = all(value >= tap for value, tap in zip(part, kept, strict=True))
        elif isinstance(encoder, ModifiedHoughSpikerEncoder):
            fired = sum(max(tap - value, 0) for value, tap in zip(part, kept, strict=True)) <= encoder.threshold
        else:
            first = sum(abs(value - tap) for value, tap in zip(part, kept, strict=True))
            second = sum(map(abs, part))
            if encoder.rule == "difference":
                fired = first <= second - encoder.threshold
            else:
                fired = first <= second * encoder.threshold / 256
        spikes.append(int(fired))
        if fired:
            left[time : time + len(taps)] = [value - tap for value, tap in zip(part, kept, strict=True)]
    return spikes


@pytest.mark.parametrize("tail", ["silent", "cut"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (HoughSpikerEncoder, {}),
        (ModifiedHoughSpikerEncoder, {"threshold": 0}),
        (ModifiedHoughSpikerEncoder, {"threshold": 5}),
        (BensSpikerEncoder, {"threshold": 0}),
        (BensSpikerEncoder, {"threshold": 6}),
        (BensSpikerEncoder, {"threshold": 244, "rule": "ratio"}),
    ],
)
def test_sample_by_sample(kind, options, tail, request):
    series = np.abs(rng_of(request.node.name).integers(-9, 10, (50, 2, 3)).cumsum(axis=0))
    encoder = kind(taps=(2, 7, 9, 5, 1), tail=tail, **options)
    spikes = encoder.encode_series(series)
    assert 0 < np.count_nonzero(spikes) < spikes.size
    for sample in range(2):
        for channel in range(3):
            found = spikes[:, sample, channel].astype(int).tolist()
            assert found == python_spikes(encoder, series[:, sample, channel].tolist())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=5, max_size=40), st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_hough_stays_below_the_signal(series, taps):
    """The remainder is never negative, so the decoded signal is at least 0 and at most the signal."""
    encoder = HoughSpikerEncoder(taps=(*taps, 1), tail="cut")
    array = np.array([*series, 0])[:, None, None]
    decoded = encoder.decode(encoder.encode_series(array))
    assert (decoded <= array).all()
    assert (decoded >= 0).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=6, max_size=30))
def test_modified_without_threshold_is_hough(series):
    array = np.array(series)[:, None, None]
    plain = HoughSpikerEncoder(taps=TAPS, tail="cut").encode_series(array)
    assert np.array_equal(ModifiedHoughSpikerEncoder(taps=TAPS, threshold=0).encode_series(array), plain)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=6, max_size=30))
def test_the_first_spike_comes_no_later_with_a_more_lenient_threshold(series):
    array = np.array(series)[:, None, None]

    def first(encoder):
        spikes = encoder.encode_series(array)[:, 0, 0]
        return int(spikes.argmax()) if spikes.any() else len(spikes)

    lenient = [first(ModifiedHoughSpikerEncoder(taps=TAPS, threshold=t)) for t in (5, 3, 1, 0)]
    assert lenient == sorted(lenient)
    lenient = [first(BensSpikerEncoder(taps=TAPS, threshold=t)) for t in (0, 1, 3, 5)]
    assert lenient == sorted(lenient)


@pytest.mark.parametrize("kind", [HoughSpikerEncoder, ModifiedHoughSpikerEncoder, BensSpikerEncoder])
def test_fit(kind):
    """A slow wave, fitted through a scale: the root mean square error as a fraction of the standard deviation."""
    wave = np.sin(np.arange(200) / 9.0)[:, None, None] * 3.0
    scale = Scale.fit(wave, bits=8)
    encoder = kind.fit(wave, length=12, scale=scale)
    levels = scale.levels(wave)
    error = np.sqrt(np.square(encoder.decode(encoder.encode_series(wave)) - levels).mean())
    share = error / levels.std()
    assert share < {"hough": 0.6, "modified-hough": 0.3, "bens": 0.45}[kind.kind], share
    with pytest.raises(ValueError, match=r"^series must vary for a filter to be fitted, not be 3 throughout$"):
        kind.fit(np.full((20, 1, 1), 3), length=5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HoughSpikerEncoder(taps=()), r"^taps must be 1 to 1024 integers, not 0$"),
        (lambda: HoughSpikerEncoder(taps=(1, -1)), r"^taps must have a positive sum, not 0$"),
        (lambda: HoughSpikerEncoder(taps=(1.5,)), r"^taps must be an integer from -8388608 to 8388608, not 1.5$"),
        (lambda: HoughSpikerEncoder(taps=TAPS, tail="long"), r"^tail must be one of silent, cut, not 'long'$"),
        (lambda: ModifiedHoughSpikerEncoder(taps=TAPS, threshold=-1), r"^threshold must be an integer from 0 to 10737"),
        (
            lambda: BensSpikerEncoder(taps=TAPS, threshold=0, rule="ratio"),
            r"^threshold must be an integer from 1 to 1024",
        ),
        (
            lambda: BensSpikerEncoder(taps=TAPS, threshold=1, rule="x"),
            r"^rule must be one of difference, ratio, not 'x'$",
        ),
        (lambda: lowpass_taps(2, 0.1, 100), r"^length must be an integer from 3 to 1024, not 2$"),
        (lambda: lowpass_taps(5, 1.0, 100), r"^cutoff must be above 0 and below 1, not 1.0$"),
        (
            lambda: HoughSpikerEncoder(taps=TAPS).encode_series(np.zeros((2, 1, 1), int)),
            r"^series must have at least as many samples as the filter has taps, 3, not 2$",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
