"""What the commands share: loading, inputs."""

import numpy as np
import pytest
from harness.cli import refused, write_network


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        ("a.npz", {"images": np.full((2, 8, 8), 17)}, "images must be from 0 to 16, not from 17 to 17"),
        ("a.npz", {"images": np.zeros((2, 9, 9), int)}, "images must have 64 pixels, not 81"),
        ("a.npz", {"spikes": np.full((3, 2, 64), 2)}, "spikes must be 0 or 1, not other values"),
        ("a.npz", {"spikes": np.zeros((3, 2, 63))}, "spikes must have shape (T, B, 64) or (T, 64), not (3, 2, 63)"),
        ("a.npz", {"pictures": np.zeros(3)}, "must hold an array 'spikes', 'images' or 'series', not 'pictures'"),
        ("a.npz", {"spikes": np.zeros((3, 2, 64)), "labels": np.zeros(3)}, "labels must have shape (2,), not (3,)"),
    ],
)
def test_events_out_of_range(tmp_path, network, capsys, name, arrays, message):
    np.savez(tmp_path / name, **arrays)
    assert message in refused(capsys, "run", network, "--backend", "reference", "--inputs", tmp_path / name)


def test_inputs_that_are_no_arrays(tmp_path, network, capsys):
    (tmp_path / "a.npy").write_text("no array")
    message = refused(capsys, "simulate", network, "--inputs", tmp_path / "a.npy")
    assert message == f"{tmp_path / 'a.npy'} must be a NumPy file (.npy or .npz) without pickled objects"


def test_inputs_that_are_needed(tmp_path, capsys):
    path = write_network(tmp_path / "x.nir", inputs=20)
    assert refused(capsys, "simulate", path) == ("network x has 20 inputs, so --inputs must be given, not left out")
