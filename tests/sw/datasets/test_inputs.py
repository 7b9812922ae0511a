"""Inputs of a run: files of spikes, images and series, and invalid files."""

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.datasets import inputs as module
from spikeloom.datasets.encoders import (
    GradedEncoder,
    LatencyEncoder,
    PopulationEncoder,
    RateEncoder,
    Scale,
    StepForwardEncoder,
)
from spikeloom.datasets.inputs import InputError, load_inputs

LATENCY = LatencyEncoder(steps=4, bits=4)
FORWARD = StepForwardEncoder(threshold=2)
ENCODER = RateEncoder(steps=4, bits=4)
SPIKES = np.arange(2 * 3 * 4).reshape(2, 3, 4) % 3 == 0


def refuses(message):
    return pytest.raises(InputError, match=f"^{message}$")


def saved(tmp_path, **arrays):
    np.savez(tmp_path / "inputs.npz", **arrays)
    return tmp_path / "inputs.npz"


def test_spikes_and_labels(tmp_path):
    read = load_inputs(
        saved(tmp_path, spikes=SPIKES.astype(np.uint8), labels=np.array([0.0, 2.0, 1.0])), 4, None, classes=3
    )
    assert read.labels.tolist() == [0, 2, 1]
    assert np.array_equal(read.spikes, SPIKES)
    np.save(tmp_path / "one.npy", SPIKES[:, 0])
    assert load_inputs(tmp_path / "one.npy", 4, None).spikes.shape == (2, 1, 4)


def test_images_go_through_the_encoder(tmp_path):
    images = np.arange(8).reshape(2, 2, 2)
    np.save(tmp_path / "images.npy", images)
    read = load_inputs(tmp_path / "images.npy", 4, ENCODER)
    assert np.array_equal(read.spikes, ENCODER.encode(images))
    assert np.array_equal(read.images, images)
    with refuses(".*: images need an encoder, which the network does not define: .*"):
        load_inputs(tmp_path / "images.npy", 4, None)
    with refuses(".*: images must have 5 pixels, not 4"):
        load_inputs(tmp_path / "images.npy", 5, ENCODER)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1.5, 0, 0], "labels must be integers, 0 to 2, the number of an output, not 1.5"),
        ([0, np.nan, 0], "labels must be integers, 0 to 2, the number of an output, not nan"),
        ([0, 0, np.inf], "labels must be integers, 0 to 2, the number of an output, not inf"),
        ([0, -1, 0], "labels must be integers, 0 to 2, the number of an output, not -1"),
        ([0, 3, 0], "labels must be integers, 0 to 2, the number of an output, not 3"),
        ([True, False, True], "labels must be integers, not bool"),
        (["a", "b", "c"], "labels must be integers, not <U1"),
        ([0, 1, 2, 0], r"labels must have shape \(3,\), not \(4,\)"),
        (1, r"labels must have shape \(3,\), not \(\)"),
    ],
)
def test_labels_that_no_answer_can_have_are_refused(tmp_path, labels, message):
    with refuses(f".*: {message}"):
        load_inputs(saved(tmp_path, spikes=SPIKES, labels=np.array(labels)), 4, None, classes=3)


def test_labels_without_a_number_of_classes(tmp_path):
    assert load_inputs(saved(tmp_path, spikes=SPIKES, labels=np.array([0, 99, 3])), 4, None).labels.tolist() == [
        0,
        99,
        3,
    ]
    with refuses(".*: labels must be integers, at least 0, not -2"):
        load_inputs(saved(tmp_path, spikes=SPIKES, labels=np.array([0, -2, 3])), 4, None)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3, [("a", "i4"), ("b", "f8")]), "'.*' must hold booleans, integers, floats or text, not void96"),
        (np.array([None]), "'.*' must hold booleans, integers, floats or text, not object"),
        (np.array([["a", "b"]]), ".*: images must be integers for an encoder without a scale, not <U1"),
        (np.full((2, 3, 4), np.nan), ".*: images must be integers for an encoder without a scale, not float64"),
        (np.zeros((0, 3, 4), bool), r".*: spikes must have shape .*"),
        (np.array(5), ".*: images must have shape .*"),
    ],
)
def test_other_arrays_are_refused(tmp_path, array, message):
    np.save(tmp_path / "array.npy", array, allow_pickle=True)
    with refuses(message):
        load_inputs(tmp_path / "array.npy", 4, ENCODER)


def test_names_of_arrays_are_shown_safely(tmp_path):
    with refuses(r".* must hold an array 'spikes', 'images' or 'series', not 'a\\x1b\[31m'"):
        load_inputs(saved(tmp_path, **{"a\x1b[31m": np.zeros(3)}), 4, None)
    with refuses(".* does not exist"):
        load_inputs(tmp_path / "missing.npy", 4, None)


def test_an_encoder_of_a_file_cannot_ask_for_all_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 100)
    np.save(tmp_path / "images.npy", np.arange(40).reshape(10, 4) % 16)
    with refuses(
        ".* must give at most 100 places for spikes, not 40 values in 4 steps and 1 axons each; give fewer images"
    ):
        load_inputs(tmp_path / "images.npy", 4, ENCODER)


def test_images_and_series_of_one_file_format(tmp_path, request):
    """The name of the array gives the kind of the numbers; labels are returned too; images are kept for the encoder on
    a board."""
    values = rng_of(request.node.name).integers(0, 17, (9, 5, 6))
    images = load_inputs(saved(tmp_path, images=values, labels=np.arange(9)), 30, LATENCY)
    assert np.array_equal(images.spikes, LATENCY.encode(values))
    assert np.array_equal(images.images, values)
    assert images.labels.tolist() == list(range(9))
    for encoder, inputs in ((LATENCY, 6), (FORWARD, 12)):
        series = load_inputs(saved(tmp_path, series=values, labels=np.arange(5)), inputs, encoder)
        assert np.array_equal(series.spikes, encoder.encode_series(values))
        assert series.images is None
    rows = load_inputs(saved(tmp_path, images=values), 12, FORWARD)
    assert np.array_equal(rows.spikes, FORWARD.encode(values))


def test_an_array_alone_is_what_the_encoder_takes(tmp_path, request):
    values = rng_of(request.node.name).integers(0, 17, (9, 5, 6))
    path = tmp_path / "values.npy"
    np.save(path, values)
    assert np.array_equal(load_inputs(path, 30, LATENCY).spikes, LATENCY.encode(values))
    assert np.array_equal(load_inputs(path, 12, FORWARD).spikes, FORWARD.encode_series(values))


def test_measured_numbers(tmp_path, request):
    values = rng_of(request.node.name).normal(size=(9, 5, 6))
    encoder = LatencyEncoder(steps=4, bits=4, scale=Scale.fit(values, bits=4))
    found = load_inputs(saved(tmp_path, series=values), 6, encoder)
    assert np.array_equal(found.spikes, encoder.encode_series(values))
    one_scale = LatencyEncoder(steps=4, bits=4, scale=Scale.fit(values, bits=4, shared=True))
    assert load_inputs(saved(tmp_path, images=values), 30, one_scale).images is None


def test_graded_spikes_keep_their_values(tmp_path):
    values = np.array([[[3, -5]], [[0, 7]]])
    found = load_inputs(saved(tmp_path, series=values), 2, GradedEncoder(bits=5))
    assert found.spikes.tolist() == values.tolist()


@pytest.mark.parametrize(
    ("arrays", "inputs", "encoder", "message"),
    [
        ({"series": np.zeros((3, 2, 4), int)}, 6, LATENCY, "series must have 6 channels, not 4"),
        ({"series": np.zeros((3, 2, 4), int)}, 6, FORWARD, "series must have 3 channels, not 4"),
        ({"images": np.zeros((3, 2, 4), int)}, 6, LATENCY, "images must have 6 pixels, not 8"),
        (
            {"images": np.zeros((3, 4), int)},
            10,
            PopulationEncoder(steps=1, bits=4, fields=4),
            "the population encoder gives 4 axons per channel, and the network's 10 inputs are not a multiple of that",
        ),
        ({"series": np.full((3, 2, 4), np.nan)}, 4, LATENCY, "series must be integers for an encoder without a scale,"),
        (
            {"series": np.zeros((3, 4), int)},
            4,
            LATENCY,
            "series must have shape (T, B, channels) and not be empty, not",
        ),
        (
            {"values": np.zeros((3, 4), int)},
            4,
            LATENCY,
            "must hold an array 'spikes', 'images' or 'series', not 'values'",
        ),
        (
            {"series": np.zeros((3, 2, 4), int)},
            4,
            None,
            "series need an encoder, which the network does not define: give one (--encoder), or inputs of spikes "
            "(T, B, n)",
        ),
    ],
)
def test_bad_files(tmp_path, arrays, inputs, encoder, message):
    with pytest.raises(InputError) as raised:
        load_inputs(saved(tmp_path, **arrays), inputs, encoder)
    assert message in str(raised.value)
    assert str(raised.value).count("\n") == 0


def test_values_are_read_for_networks_that_take_them(tmp_path):
    values = np.arange(-12, 12).reshape(2, 3, 4)
    np.save(tmp_path / "values.npy", values)
    for path in (tmp_path / "values.npy", saved(tmp_path, spikes=values)):
        assert np.array_equal(load_inputs(path, 4, None, value_width=5).spikes, values)
        with pytest.raises(InputError, match=r"values must be from -8 to 7, not -12$"):
            load_inputs(path, 4, None, value_width=4)
    with pytest.raises(InputError, match=r"spikes must be 0 or 1, not other values$"):
        load_inputs(saved(tmp_path, spikes=values), 4, None)
    with pytest.raises(InputError, match=r"values must be integers, not float64$"):
        load_inputs(saved(tmp_path, spikes=values / 2), 4, None, value_width=5)
