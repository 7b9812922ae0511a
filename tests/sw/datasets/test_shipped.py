"""The digits, where shipped files are found, and the way from spikes to labels."""

import re

import numpy as np
import pytest

from spikeloom.datasets import shipped as data
from spikeloom.datasets.readout import accuracy, classify
from spikeloom.datasets.shipped import load_digits, shipped


def test_sizes_and_values():
    train, held_out = load_digits()
    assert (len(train), len(held_out)) == (1437, 360)
    for part in (train, held_out):
        assert part.images.shape == (len(part), 8, 8)
        assert part.images.dtype == np.uint8
        assert (part.images.min(), part.images.max()) == (0, 16)
        assert part.labels.dtype == np.int64
        assert np.bincount(part.labels).min() >= 0.7 * len(part) / 10


def test_split_is_the_documented_permutation():
    with np.load(shipped("digits.npz")) as file:
        permutation = np.random.Generator(np.random.PCG64(1797)).permutation(1797)
        assert np.array_equal(file["held_out"], np.sort(permutation[:360]))
        assert np.array_equal(file["train"], np.sort(permutation[360:]))


def test_no_image_is_in_both_parts():
    train, held_out = load_digits()
    assert not {image.tobytes() for image in train.images} & {image.tobytes() for image in held_out.images}


def test_shipped_file_of_an_installed_wheel_and_of_a_checkout(tmp_path, monkeypatch):
    portion = tmp_path / "sw" / "spikeloom"
    monkeypatch.setattr(data, "_PORTION", portion)
    installed, checkout = portion / "models" / "file", tmp_path / "models" / "file"
    for place in (checkout, installed):  # an installed file takes precedence
        place.parent.mkdir(parents=True)
        place.touch()
        assert shipped("file") == place


def test_missing_file_names_both_places(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "_PORTION", tmp_path / "a" / "b")
    message = (
        f"^file is missing; expected at {re.escape(str(tmp_path / 'a' / 'b' / 'models' / 'file'))} \\(installed\\) or "
        f"{re.escape(str(tmp_path / 'models' / 'file'))} \\(checkout\\)$"
    )
    with pytest.raises(FileNotFoundError, match=message):
        shipped("file")


@pytest.mark.parametrize("content", [b"", b"no zip file", None])
def test_damaged_file(tmp_path, content):
    path = tmp_path / "digits.npz"
    path.write_bytes(shipped("digits.npz").read_bytes()[:20000] if content is None else content)
    with pytest.raises(
        ValueError, match=r"^'.*digits\.npz' must be a file of digits as models/README\.md describes it$"
    ):
        load_digits(path)


def test_missing_path(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_digits(tmp_path / "none.npz")


def test_classify():
    """Most spikes win; of equal neurons the lowest, which is neuron 0 if none fired."""
    spikes = np.zeros((4, 3, 3), bool)
    spikes[1:, 0, 2] = spikes[0, 0, 0] = True
    spikes[:2, 1, 1] = spikes[2:, 1, 2] = True
    assert classify(spikes).tolist() == [2, 1, 0]
    assert accuracy(spikes, [2, 1, 1]) == pytest.approx(2 / 3)


def test_classify_counts_beyond_a_byte():
    spikes = np.zeros((300, 1, 2), np.uint8)
    spikes[:, 0, 1] = 1
    spikes[:60, 0, 0] = 1
    assert classify(spikes).tolist() == [1]


def test_bad_spikes_and_labels():
    with pytest.raises(ValueError, match=r"^spikes must have shape \(T, B, n\), not \(3, 4\)$"):
        classify(np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"^labels must have shape \(4,\) and not be empty, not \(3,\)$"):
        accuracy(np.zeros((2, 4, 3)), [0, 1, 2])
