"""The table of accuracy against steps, without torch: a network that decides by a sum."""

import numpy as np
import pytest
from harness.networks import rng_of
from harness.torch_modules import Linear, ReLU, Sequential

from spikeloom.benchmarks import conversion
from spikeloom.benchmarks.conversion import TASKS, correct_by_step, main, table_of
from spikeloom.frontends.relu import from_torch


def test_accuracy_rises_with_the_steps(request):
    rng = rng_of(request.node.nodeid)
    first, last = rng.normal(0, 0.4, (16, 8)).astype(np.float32), rng.normal(0, 0.4, (4, 16)).astype(np.float32)
    images = rng.normal(0, 1, (300, 8))
    labels = (np.maximum(images @ first.T, 0) @ last.T).argmax(1)
    assert len(set(labels.tolist())) > 2
    network = from_torch(Sequential(Linear(first), ReLU(), Linear(last)), 8, images)
    for integers in (False, True):
        right = correct_by_step(network, images, labels, steps=32, integers=integers) / 300
        assert right[0] < right[31]
        assert right[31] > 0.9


def test_the_table_has_a_column_for_each_power_of_two():
    result = {
        "network": TASKS[0].name,
        "balance": "weights",
        "numbers": "floats",
        "accuracy_relu": 0.975,
        "accuracy_by_step": np.linspace(0.5, 0.97, 64).tolist(),
    }
    table = table_of([result])
    columns = [str(column.header) for column in table.columns]
    assert columns == ["network", "balance", "numbers", "ReLU", *(f"T = {2**k}" for k in range(2, 9))]
    cells = [next(iter(column.cells)) for column in table.columns]
    assert cells[3] == "97.50"
    assert cells[8:] == ["97.00", "", ""]


@pytest.mark.parametrize(
    ("options", "torch", "said"),
    [
        (
            ["--only", "dense"],
            True,
            "--only must be part of one of '784-256-10', 'conv 8-16, maximum and average', not 'dense'",
        ),
        (["--only", "784"], False, "conversion needs PyTorch; pip install 'spikeloom[train]'"),
        (
            ["--data", "none"],
            True,
            "'none' does not contain the file train-images-idx3-ubyte or train-images-idx3-ubyte.gz",
        ),
    ],
)
def test_errors_are_one_sentence(options, torch, said, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(conversion, "find_spec", lambda name: object() if torch else None)
    assert main(options) == 2
    assert capsys.readouterr().err == f"spikeloom: {said}\n"
    assert not list(tmp_path.iterdir())
