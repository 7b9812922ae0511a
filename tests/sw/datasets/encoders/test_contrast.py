"""Contrast codes: sample by sample in plain Python, decoders and their bounds, and fitted thresholds."""

import numpy as np
import pytest
from harness.networks import rng_of
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.datasets.encoders import (
    DeltaEncoder,
    MovingWindowEncoder,
    Scale,
    StepForwardEncoder,
    TemporalContrastEncoder,
)
from spikeloom.datasets.encoders.interface import signed_counts

SEVEN = np.array([0, 2, 5, 4, 8, 8, 3])[:, None, None]


def signs(encoder, series=SEVEN):
    return signed_counts(encoder.encode_series(series))[:, 0, 0].tolist()


def test_lines_are_up_and_down():
    """Axon ``2 c`` of channel ``c`` means up, ``2 c + 1`` down."""
    spikes = TemporalContrastEncoder(threshold=1).encode_series(np.array([[[0, 9, 4]], [[5, 9, 1]]]))
    assert spikes[1, 0].astype(int).tolist() == [1, 0, 0, 0, 0, 1]


def test_temporal_contrast_by_hand():
    """The differences are 2 3 -1 4 0 -5."""
    assert signs(TemporalContrastEncoder(threshold=2)) == [0, 0, 1, 0, 1, 0, -1]
    assert signs(TemporalContrastEncoder(threshold=2, compare=">=")) == [0, 1, 1, 0, 1, 0, -1]
    assert signs(TemporalContrastEncoder(threshold=2, difference="forward")) == [0, 1, 0, 1, 0, -1, -1]
    assert signs(TemporalContrastEncoder(threshold=2, first="zero"), SEVEN + 5) == [1, 0, 1, 0, 1, 0, -1]
    with pytest.raises(ValueError, match=r"^series must have at least 2 samples for forward differences, not 1$"):
        TemporalContrastEncoder(threshold=2, difference="forward").encode_series(SEVEN[:1])


def test_step_forward_by_hand():
    """The base is 0 0 2 2 4 6 4: at 8 it is two thresholds behind, and catches up one step later."""
    encoder = StepForwardEncoder(threshold=2)
    assert signs(encoder) == [0, 0, 1, 0, 1, 1, -1]
    assert encoder.decode(encoder.encode_series(SEVEN))[:, 0, 0].tolist() == [0, 0, 2, 2, 4, 6, 4]
    assert signs(StepForwardEncoder(threshold=2, compare=">=")) == [0, 1, 1, 0, 1, 1, -1]


def test_moving_window_by_hand():
    """The means of two samples before: 1 (of 0 and 2) twice, then 1, 3.5, 4.5, 6 and 8."""
    assert signs(MovingWindowEncoder(threshold=2, window=2)) == [0, 0, 1, 0, 1, 0, -1]
    assert signs(MovingWindowEncoder(threshold=1, window=2, compare=">=")) == [-1, 1, 1, 0, 1, 1, -1]
    # With a window of all samples, the mean is 30/7.
    assert signs(MovingWindowEncoder(threshold=3, window=7)) == [-1, 0, 0, 0, 1, 1, 0]
    assert signs(MovingWindowEncoder(threshold=3, window=6)) == [-1, 0, 0, 0, 1, 1, 0]
    with pytest.raises(ValueError, match=r"^series must have at least as many samples as the window, 8, not 7$"):
        MovingWindowEncoder(threshold=1, window=8).encode_series(SEVEN)


def test_delta_by_hand():
    """Relative to the previous sample: 0 2 3 -1 4 0 -5. Relative to the last one sent, initially 0: 2 is sent, 5 is
    sent, 4 is not, 8 is, 8 is not, 3 is."""
    assert signs(DeltaEncoder(threshold=2)) == [0, 1, 1, 0, 1, 0, -1]
    assert signs(DeltaEncoder(threshold=2, reference="sent")) == [0, 1, 1, 0, 1, 0, -1]
    assert signs(DeltaEncoder(threshold=3)) == [0, 0, 1, 0, 1, 0, -1]
    assert signs(DeltaEncoder(threshold=3, reference="sent", compare=">")) == [0, 0, 1, 0, 0, 0, 0]
    slow = np.arange(7)[:, None, None]
    assert signs(DeltaEncoder(threshold=3), slow) == [0] * 7
    assert signs(DeltaEncoder(threshold=3, reference="sent"), slow) == [0, 0, 0, 1, 0, 0, 1]
    assert signs(DeltaEncoder(threshold=3, first="sample"), SEVEN + 5) == [0, 0, 1, 0, 1, 0, -1]
    assert signs(DeltaEncoder(threshold=3), SEVEN + 5) == [1, 0, 1, 0, 1, 0, -1]


def python_spikes(encoder, series):
    """One channel, sample by sample, in Python integers."""
    beyond = (
        (lambda change: change > encoder.threshold) if encoder.compare == ">" else (lambda c: c >= encoder.threshold)
    )
    found, base = [], 0 if getattr(encoder, "first", "") == "zero" else series[0]
    for time, value in enumerate(series):
        if isinstance(encoder, MovingWindowEncoder):
            part = series[: encoder.window] if time < encoder.window else series[time - encoder.window : time]
            change = (encoder.window * value - sum(part)) / encoder.window
        else:
            change = value - base
        sign = 1 if beyond(change) else -1 if beyond(-change) else 0
        if isinstance(encoder, StepForwardEncoder):
            base += sign * encoder.threshold
        elif not isinstance(encoder, DeltaEncoder) or encoder.reference == "previous" or sign:
            base = value
        found.append(sign)
    return found


@pytest.mark.parametrize("compare", [">", ">="])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (TemporalContrastEncoder, {}),
        (StepForwardEncoder, {}),
        (StepForwardEncoder, {"first": "zero"}),
        (MovingWindowEncoder, {"window": 1}),
        (MovingWindowEncoder, {"window": 4}),
        (DeltaEncoder, {}),
        (DeltaEncoder, {"reference": "sent"}),
        (DeltaEncoder, {"reference": "sent", "first": "sample"}),
    ],
)
def test_sample_by_sample(kind, options, compare, request):
    series = rng_of(request.node.name).integers(-9, 10, (60, 2, 3)).cumsum(axis=0)
    encoder = kind(threshold=4, compare=compare, **options)
    spikes = signed_counts(encoder.encode_series(series))
    assert 0 < np.count_nonzero(spikes) < spikes.size
    for sample in range(2):
        for channel in range(3):
            expected = python_spikes(encoder, series[:, sample, channel].tolist())
            assert spikes[:, sample, channel].tolist() == expected


@settings(max_examples=50, deadline=None)
@given(threshold=st.integers(1, 9), compare=st.sampled_from([">", ">="]), data=st.data())
def test_step_forward_follows_what_is_not_faster(threshold, compare, data):
    """If no step exceeds the threshold, the staircase is never further away than the threshold."""
    steps = data.draw(st.lists(st.integers(-threshold, threshold), min_size=1, max_size=40))
    series = np.cumsum([7, *steps])[:, None, None]
    encoder = StepForwardEncoder(threshold=threshold, compare=compare)
    decoded = encoder.decode(encoder.encode_series(series), start=7)
    assert np.abs(decoded - series).max() <= threshold


def test_fitted_temporal_contrast():
    """Mean and deviation from NumPy, and the same spikes as with the unrounded threshold."""
    series = rng_of("test_fitted_temporal_contrast").integers(-20, 21, (80, 3, 2)).cumsum(axis=0)
    changes = np.diff(series, axis=0, prepend=series[:1])
    for statistic, kept in (("signed", changes), ("absolute", np.abs(changes))):
        exact = kept.mean(axis=(0, 1)) + 0.7 * kept.std(axis=(0, 1))
        for compare, rounded in ((">", np.floor), (">=", np.ceil)):
            encoder = TemporalContrastEncoder.fit(series, factor=0.7, statistic=statistic, compare=compare)
            assert encoder.threshold == tuple(rounded(exact).astype(int).tolist())
            assert np.array_equal(
                signed_counts(encoder.encode_series(series)), np.sign(changes) * (abs(changes) > exact)
            )


@pytest.mark.parametrize(
    ("kind", "options"), [(StepForwardEncoder, {}), (DeltaEncoder, {}), (MovingWindowEncoder, {"window": 3})]
)
def test_fitted_threshold_is_the_best(kind, options, request):
    """No other candidate threshold has a smaller error."""
    series = rng_of(request.node.name).integers(-5, 6, (100, 2, 2)).cumsum(axis=0) + np.array([0, 3])
    scale = Scale.fit(series, bits=8, signed=True)
    encoder = kind.fit(series, candidates=range(1, 60), scale=scale, **options)
    levels = scale.levels(series)
    start = np.zeros_like(levels[0]) if getattr(encoder, "first", "") == "zero" else levels[0]

    def error(threshold):
        trial = kind(threshold=threshold, scale=scale, **options)
        decoded = trial.decode(trial.encode_series(series), start=start)
        return np.square(decoded - levels).mean(axis=(0, 1))

    errors = np.array([error(threshold) for threshold in range(1, 60)])
    best = error(encoder.threshold)
    assert np.array_equal(best, errors.min(axis=0))
    assert (errors.max(axis=0) > 2 * best).all()


def test_fits_of_constant_signals():
    constant = np.full((9, 2, 3), 7)
    with pytest.raises(ValueError, match=r"^series must vary for a threshold to be fitted, not be 7 throughout$"):
        StepForwardEncoder.fit(constant)
    with pytest.raises(
        ValueError,
        match=r"^the threshold of channel 0 must be at least 1, not 0: its differences are too small or constant, or "
        r"the factor is$",
    ):
        TemporalContrastEncoder.fit(constant, factor=1.0)
    with pytest.raises(ValueError, match=r"^series must have shape \(T, B, channels\) and not be empty, not \(3,\)$"):
        DeltaEncoder.fit(np.array([1, 2, 3]))
