"""Properties of every encoder: shapes, independence of the batch, settings in files, decoders, invalid input."""

import json
import zlib

import nir
import numpy as np
import pytest
from harness.encoders import CHANNELS, EXAMPLES, is_level, label, values_for
from harness.networks import rng_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spikeloom.datasets.encoders import (
    ENCODERS,
    DeltaEncoder,
    DirectEncoder,
    GradedEncoder,
    HilbertEncoder,
    IntervalEncoder,
    LatencyEncoder,
    MovingWindowEncoder,
    PhaseEncoder,
    PopulationEncoder,
    Scale,
    SigmaDeltaEncoder,
    StepForwardEncoder,
    encoder_from,
    encoder_from_text,
)
from spikeloom.frontends.nir import load

every = pytest.mark.parametrize("encoder", EXAMPLES, ids=label)
TIME = 9


def small_series(encoder):
    """A hypothesis strategy for series that ``encoder`` accepts."""
    low = -16 if encoder.signed else 0
    shape = st.tuples(st.just(TIME), st.integers(1, 3), st.just(CHANNELS))
    return arrays(np.int64, shape, elements=st.integers(low, 16))


def test_the_examples_are_of_every_kind():
    assert {encoder.kind for encoder in EXAMPLES} == set(ENCODERS)


@every
def test_spikes_come_time_first(encoder, request):
    """``steps`` per value, ``lines`` per channel, booleans unless graded, and some but not all entries fire."""
    series = values_for(encoder, rng_of(request.node.name), TIME, 5, CHANNELS)
    spikes = encoder.encode_series(series)
    assert spikes.shape == (TIME * encoder.steps, 5, encoder.axons(CHANNELS))
    assert spikes.dtype == (np.int32 if isinstance(encoder, DirectEncoder | GradedEncoder) else np.bool_)
    assert 0 < np.count_nonzero(spikes) < spikes.size


@every
def test_images(encoder, request):
    """A level code takes an image as a series of one sample, a signal code as a series of rows."""
    images = values_for(encoder, rng_of(request.node.name), 3, TIME, CHANNELS)
    spikes = encoder.encode(images)
    if is_level(encoder) and encoder.scale is None:
        assert np.array_equal(spikes, encoder.encode_series(images.reshape(1, 3, -1)))
        assert np.array_equal(spikes, encoder.encode(images.reshape(3, 2, 2, -1)))
    elif not is_level(encoder):
        assert np.array_equal(spikes, encoder.encode_series(images.transpose(1, 0, 2)))


@every
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_a_sample_is_encoded_alike_anywhere(encoder, data):
    """In any batch, at any position and with any integer type; the input is not modified."""
    series = data.draw(small_series(encoder))
    before = series.copy()
    spikes = encoder.encode_series(series)
    assert np.array_equal(series, before)
    order = data.draw(st.permutations(range(series.shape[1])))
    assert np.array_equal(encoder.encode_series(series[:, order]), spikes[:, order])
    assert np.array_equal(encoder.encode_series(series[:, :1].astype(np.int8)), spikes[:, :1])


@every
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_spikes_and_decoded_values_are_in_range(encoder, data):
    """At most one of up and down, and at most one spike per step; level codes decode to values in their range."""
    series = data.draw(small_series(encoder))
    spikes = encoder.encode_series(series)
    if isinstance(encoder, DirectEncoder | GradedEncoder):
        low, high = encoder.value_range
        assert low <= spikes.min() <= spikes.max() <= high
        return
    assert spikes.dtype == np.bool_
    if encoder.signed and encoder.lines == 2 and encoder.kind != "hilbert":
        assert spikes.reshape(*spikes.shape[:2], -1, 2).sum(axis=-1).max() <= 1
    if is_level(encoder) and not encoder.signed:
        decoded = encoder.decode(spikes)
        assert decoded.min() >= 0
        assert decoded.max() <= 1 << encoder.bits


MONOTONE = ("rate", "poisson", "latency", "phase", "burst", "interval", "population")


@pytest.mark.parametrize("encoder", [e for e in EXAMPLES if e.kind in MONOTONE], ids=label)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_larger_values_never_decode_to_smaller_ones(encoder, data):
    """Codes of single values keep the order in each channel, including the random ones, whose words are shared."""
    series = data.draw(small_series(encoder))
    other = data.draw(arrays(np.int64, series.shape, elements=st.integers(0, 16)))
    smaller, larger = np.minimum(series, other), np.maximum(series, other)
    decoded = [encoder.decode(encoder.encode_series(values)) for values in (smaller, larger)]
    assert (decoded[0] <= decoded[1]).all()


@pytest.mark.parametrize("encoder", [e for e in EXAMPLES if getattr(e, "edges", "both") == "both"], ids=label)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_decoding_is_within_the_stated_error(encoder, data):
    series = data.draw(small_series(encoder))
    levels = series if encoder.scale is None else encoder.scale.levels(series)
    decoded = encoder.decode(encoder.encode_series(series))
    assert decoded.shape == series.shape
    assert decoded.dtype == np.int64
    if encoder.error_bound is not None:
        assert np.abs(decoded - levels).max() <= encoder.error_bound


def test_the_stated_error_is_reached():
    """The bounds are reached where they are computed from all values, and do not exceed the formula elsewhere."""
    for encoder in EXAMPLES:
        if is_level(encoder) and encoder.error_bound is not None and not encoder.signed:
            values = np.arange((1 << encoder.bits) + 1).reshape(1, -1, 1)
            spikes = encoder._encode(values.astype(np.int32))
            assert np.abs(encoder.decode(spikes) - values).max() == encoder.error_bound, encoder
    with_bounds = {encoder.kind for encoder in EXAMPLES if encoder.error_bound is not None}
    assert with_bounds == {"latency", "population", "phase", "burst", "interval", "sigma-delta", "graded", "direct"}


@pytest.mark.parametrize(
    "kind", ["rate", "poisson", "latency", "phase", "burst", "interval", "population", "sigma-delta"]
)
def test_decoded_values_are_in_order(kind):
    """Larger values never decode to smaller ones."""
    for encoder in EXAMPLES:
        if encoder.kind == kind and encoder.scale is None:
            values = np.arange((1 << encoder.bits) + 1, dtype=np.int32)
            decoded = np.concatenate([encoder.decode(encoder._encode(v.reshape(1, 1, 1))).ravel() for v in values])
            assert (np.diff(decoded) >= 0).all(), encoder


@every
def test_settings_make_the_encoder_again(encoder):
    """Also with settings from an HDF5 file or JSON, and written as text."""
    found = encoder.settings()
    assert encoder_from(found) == encoder
    in_a_file = {k: v.encode() if isinstance(v, str) else np.asarray(v) for k, v in found.items()}
    assert encoder_from(in_a_file) == encoder
    assert encoder_from(json.loads(json.dumps(found))) == encoder
    as_text = ",".join(
        f"{name}={':'.join(map(str, value)) if isinstance(value, tuple) else value}"
        for name, value in found.items()
        if name != "kind" and value != ()
    )
    assert encoder_from_text(f"{encoder.kind}:{as_text}") == encoder


@every
def test_settings_travel_with_a_network(encoder, tmp_path):
    """Through NIR's own writer and this project's reader: `run` and `simulate` encode as in training."""
    lif = nir.LIF(tau=np.ones(1), r=np.ones(1), v_leak=np.zeros(1), v_threshold=np.ones(1), v_reset=np.zeros(1))
    nodes = {
        "input": nir.Input(np.array([encoder.axons(CHANNELS)])),
        "w": nir.Linear(np.ones((1, encoder.axons(CHANNELS)))),
        "lif": lif,
        "output": nir.Output(np.array([1])),
    }
    edges = [("input", "w"), ("w", "lif"), ("lif", "output")]
    metadata = {"spikeloom": {"time_step_s": 1.0}, "spikeloom_encoder": encoder.settings()}
    path = tmp_path / "network.nir"
    nir.write(path, nir.NIRGraph(nodes=nodes, edges=edges, metadata=metadata))
    found = load(path).encoder
    assert found is not None
    assert encoder_from(found) == encoder
    series = values_for(encoder, np.random.default_rng(zlib.crc32(label(encoder).encode())), TIME, 2, CHANNELS)
    assert np.array_equal(encoder_from(found).encode_series(series), encoder.encode_series(series))


@every
@pytest.mark.parametrize(
    ("series", "kind", "message"),
    [
        (
            np.zeros((TIME, 2), int),
            ValueError,
            r"^series must have shape \(T, B, channels\) and not be empty, not \(9, 2\)$",
        ),
        (
            np.zeros((TIME, 0, 4), int),
            ValueError,
            r"^series must have shape \(T, B, channels\) and not be empty, not \(9, 0, 4\)$",
        ),
        (np.full((TIME, 2, CHANNELS), np.nan), (TypeError, ValueError), r"^series must be (integers|finite)"),
        (np.full((TIME, 2, CHANNELS), "a"), TypeError, r"^series must be (integers|numbers)"),
        (np.zeros((TIME, 2, CHANNELS), bool), TypeError, r"^series must be (integers|numbers)"),
    ],
    ids=["two-axes", "empty", "nan", "text", "bool"],
)
def test_bad_series(encoder, series, kind, message):
    with pytest.raises(kind, match=message):
        encoder.encode_series(series)


@every
def test_values_out_of_range(encoder):
    if encoder.scale is not None:
        return
    low, high = encoder.value_range
    for value in (low - 1, high + 1):
        with pytest.raises(ValueError, match=rf"^series must be from {low} to {high}, not from {value} to {value}$"):
            encoder.encode_series(np.full((TIME, 2, CHANNELS), value))


@every
def test_bad_images(encoder):
    with pytest.raises(ValueError, match=r"^images must have shape \(B, .*and not be empty, not \(4,\)$"):
        encoder.encode(np.zeros(4, int))
    with pytest.raises((TypeError, ValueError), match=r"^images must be (integers|finite)"):
        encoder.encode(np.full((2, TIME, CHANNELS), np.nan))


@every
def test_bad_spikes(encoder):
    wrong = np.zeros((TIME * encoder.steps, 2), bool)
    with pytest.raises(
        ValueError, match=r"^spikes must have shape \(T \* \d+, B, channels \* \d+\) and not be empty, not"
    ):
        encoder.decode(wrong)
    if not isinstance(encoder, DirectEncoder | GradedEncoder):
        with pytest.raises(ValueError, match=r"^spikes must be 0 or 1, not other values$"):
            encoder.decode(np.full((encoder.steps, 1, encoder.lines), 3))
    else:
        with pytest.raises(TypeError, match=r"^graded spikes must be integers, not float64$"):
            encoder.decode(np.full((encoder.steps, 1, encoder.lines), 0.5))


@pytest.mark.parametrize("encoder", [e for e in EXAMPLES if isinstance(getattr(e, "threshold", 0), tuple)], ids=label)
def test_thresholds_of_other_channels(encoder):
    with pytest.raises(ValueError, match=r"^threshold must be one integer or one per channel, 3, not 4$"):
        encoder.encode_series(np.zeros((TIME, 1, 3), int))


def test_a_constant_signal_is_encoded_and_is_silent_where_changes_count():
    for encoder in EXAMPLES:
        spikes = encoder.encode_series(np.full((TIME, 2, CHANNELS), 5))
        if encoder.kind in ("temporal-contrast", "moving-window", "step-forward") and "zero" not in label(encoder):
            assert not spikes.any(), encoder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StepForwardEncoder(threshold=0), r"^threshold must be an integer from 1 to 8388608, not 0$"),
        (lambda: DeltaEncoder(threshold=(1, 0)), r"^threshold must be an integer from 1 to 8388608, not 0$"),
        (lambda: DeltaEncoder(threshold=()), r"^threshold must have 1 to 65536 entries, not 0$"),
        (lambda: DeltaEncoder(threshold=1, compare="<"), r"^compare must be one of >, >=, not '<'$"),
        (lambda: GradedEncoder(bits=8, threshold=0), r"^threshold must be an integer from 1 to 65536, not 0$"),
        (lambda: GradedEncoder(bits=17), r"^bits must be an integer from 2 to 16, not 17$"),
        (lambda: MovingWindowEncoder(threshold=1, window=0), r"^window must be an integer from 1 to 4096, not 0$"),
        (lambda: HilbertEncoder(half=0, width=1), r"^half must be an integer from 1 to 512, not 0$"),
        (lambda: PhaseEncoder(steps=5, bits=4, phases=3), r"^steps must be a multiple of the 3 phases, not 5$"),
        (lambda: PhaseEncoder(steps=5, bits=4, phases=5), r"^phases must be an integer from 1 to 4, not 5$"),
        (
            lambda: PhaseEncoder(steps=65536, bits=16, phases=16),
            r"^steps must be at most 255 for a phase encoder of 16 bits, not 65536$",
        ),
        (
            lambda: IntervalEncoder(steps=5, bits=4, shortest=1, longest=5),
            r"^steps must be at least 6 to hold the longest interval, not 5$",
        ),
        (
            lambda: IntervalEncoder(steps=5, bits=4, shortest=3, longest=2),
            r"^longest must be an integer from 3 to 65535, not 2$",
        ),
        (lambda: PopulationEncoder(steps=1, bits=4, fields=2), r"^fields must be an integer from 3 to 256, not 2$"),
        (lambda: PopulationEncoder(steps=1, bits=4, fields=4, beta=0), r"^beta must be from 0.01 to 100, not 0$"),
        (
            lambda: PopulationEncoder(steps=65536, bits=16, fields=256),
            r"^steps must be at most 3 for 256 fields of 16 bits, not 65536$",
        ),
        (
            lambda: LatencyEncoder(steps=4, bits=4, curve="log"),
            r"^curve must be one of floor, nearest, charging, decaying",
        ),
        (lambda: LatencyEncoder(steps=4, bits=4, scale=3), r"^scale must be a Scale, not 3$"),
        (
            lambda: LatencyEncoder(steps=4, bits=4, scale=Scale(low=(0,), high=(1,), bits=5)),
            r"^scale must give values from 0 to 16, not from 0 to 32$",
        ),
        (lambda: SigmaDeltaEncoder(steps=4, bits=4, start="?"), r"^start must be one of half, zero, not '\?'$"),
    ],
)
def test_bad_parameters(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


KINDS = ", ".join(ENCODERS)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({}, rf"^kind of an encoder must be one of {KINDS}, not None$"),
        ({"kind": "morse"}, rf"^kind of an encoder must be one of {KINDS}, not 'morse'$"),
        (
            {"kind": "latency", "steps": 8},
            r"^settings of a latency encoder must be steps, bits, and may be scale_low, scale_high, scale_bits, "
            r"scale_origin, curve, dark, tau, threshold, not 'steps'$",
        ),
        (
            {"kind": "hilbert", "half": 8, "width": 2, "depth": 1},
            r"^settings of a hilbert encoder must be half, width, and may be .*edges, not 'half, width, depth'$",
        ),
        (
            {"kind": "latency", "steps": 8, "bits": 4, "scale_low": 0.0},
            r"^settings of a latency encoder must be steps, bits, scale_low, scale_high, scale_bits, and may be",
        ),
        ({"kind": "latency", "steps": 8, "bits": "4"}, r"^bits must be an integer from 1 to 16, not '4'$"),
        ({"kind": "latency", "steps": 0, "bits": 4}, r"^steps must be an integer from 1 to 65536, not 0$"),
        ({"kind": "latency", "steps": [[8]], "bits": 4}, r"^steps must be a number, a row of numbers or a text, not"),
        (
            {"kind": "latency", "steps": None, "bits": 4},
            r"^steps must be a number, a row of numbers or a text, not None$",
        ),
        ({"kind": "delta", "threshold": [1.5, 2]}, r"^threshold must be an integer from 1 to 8388608, not 1.5$"),
        (
            {"kind": "rate", "steps": 8, "bits": 4, "lfsr_seed": 0},
            r"^seed must be an integer from 1 to 1048575, not 0$",
        ),
    ],
)
def test_bad_settings(written, message):
    with pytest.raises(ValueError, match=message):
        encoder_from(written)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"^kind of an encoder must be one of"),
        (
            "latency:steps",
            r"^encoder must be KIND:NAME=VALUE,..., such as .*, with each name once, not 'latency:steps'$",
        ),
        ("latency:steps=1,steps=2", r"^encoder must be KIND:NAME=VALUE,..., such as .*, with each name once, not"),
        ("latency:steps=x,bits=2", r"^steps must be an integer from 1 to 65536, not 'x'$"),
    ],
)
def test_bad_text(text, message):
    with pytest.raises(ValueError, match=message):
        encoder_from_text(text)
