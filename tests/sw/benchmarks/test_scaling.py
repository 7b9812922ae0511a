"""The trained digits and MNIST networks on 1, 2, 4 and 16 tiles of one mesh, compiled: `make scaling` in short."""

import json

import numpy as np
import pytest
from harness.compiled import BUILD

from spikeloom.benchmarks import scaling
from spikeloom.benchmarks.scaling import DIGITS, MNIST, TILES, Scaling, measure
from spikeloom.datasets.shipped import Digits, load_digits
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.noc.mesh import MeshParameters


def mnist_like(count):
    """Held-out digits of 8 by 8 pixels, enlarged three times in the middle of 28 by 28 pixels: MNIST itself is not
    shipped."""
    digits = load_digits()[1].first(count)
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 2:26, 2:26] = np.minimum(digits.images.astype(np.int64) * 16, 255).repeat(3, axis=1).repeat(3, axis=2)
    return Digits(images=images, labels=digits.labels)


def four(fabric):
    """The cores of ``fabric``, fewer of them: to elaborate and compile sixteen takes up to minutes."""
    return FabricConfig(name="four", tiles=(None, *[fabric.tiles[1]] * 4), mesh=MeshParameters(columns=3, rows=2))


@pytest.mark.parametrize(
    ("model", "fabric", "tiles", "digits", "least"),
    [
        ("digits-mlp.nir", four(DIGITS), TILES[:3], load_digits()[1].first(10), 2.5),
        pytest.param("digits-mlp.nir", DIGITS, TILES, load_digits()[1].first(10), 8.0, marks=pytest.mark.slow),
        pytest.param("mnist-mlp.nir", four(MNIST), TILES[:3], mnist_like(4), 2.5, marks=pytest.mark.slow),
        pytest.param("mnist-mlp.nir", MNIST, TILES, mnist_like(4), 5.0, marks=pytest.mark.slow),
    ],
    ids=["digits on four", "digits", "mnist on four", "mnist"],
)
def test_one_result_on_any_number_of_tiles(model, fabric, tiles, digits, least):
    rows = measure(model, fabric, digits, BUILD, tiles=tiles)
    print(*rows, sep="\n")
    assert [(row.tiles, row.mismatches) for row in rows] == [(number, 0) for number in tiles]
    assert min(row.spikes_compared for row in rows) > 200
    assert all(0.7 < row.cycles_expected / row.cycles_per_image < 1.3 for row in rows), "what was expected"
    speed_up = [row.speed_up for row in rows]
    assert speed_up == sorted(speed_up)
    assert speed_up[1] > 1.7
    assert speed_up[-1] > least


def test_the_command(tmp_path, monkeypatch, capsys):
    row = Scaling(
        model="digits-mlp.nir",
        tiles=16,
        images=5,
        spikes_compared=1234,
        mismatches=0,
        cycles_per_image=560.0,
        cycles_expected=580.0,
        speed_up=10.5,
    )
    monkeypatch.setattr(scaling, "load_mnist", lambda folder, part: mnist_like(5))
    monkeypatch.setattr(scaling, "measure", lambda *arguments, **options: [row])
    scaling.main(["--data", str(tmp_path), "--images", "5", "--output", str(tmp_path)])
    assert [entry["speed_up"] for entry in json.loads((tmp_path / "summary.json").read_text())] == [10.5, 10.5]
    assert "1,234" in capsys.readouterr().out
    monkeypatch.setattr(scaling, "measure", lambda *arguments, **options: [Scaling(**{**vars(row), "mismatches": 3})])
    with pytest.raises(SystemExit, match="1"):
        scaling.main(["--data", str(tmp_path), "--images", "5", "--output", str(tmp_path)])
    assert "expected the same spikes" in capsys.readouterr().err
