"""Rasters: the spikes in the picture, no side effects, invalid input, and no matplotlib."""

import sys

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.report.raster import RasterError, write_raster


def layers_of(name, steps=24):
    rng = rng_of(name)
    return {key: rng.random((steps, size)) < 0.2 for key, size in (("input", 64), ("hidden", 32), ("output", 10))}


def read(path):
    from matplotlib.image import imread

    return imread(path)


def test_spikes_are_in_the_picture(tmp_path):
    """One more spike is one more mark: pixels in the colour of its layer appear, and only there."""
    layers = layers_of("test_spikes_are_in_the_picture")
    silent = {name: np.zeros_like(layer) for name, layer in layers.items()}
    one = {**silent, "hidden": silent["hidden"].copy()}
    one["hidden"][12, 16] = True
    areas = []
    for number, case in enumerate((silent, one, layers)):
        path = tmp_path / f"{number}.png"
        write_raster(path, layers=case, title="a title")
        image = read(path)[..., :3]
        saturation = image.max(axis=2) - image.min(axis=2)
        areas.append(int((saturation > 0.3).sum()))
    assert areas[0] == 0
    assert 0 < areas[1] < areas[2]


def test_same_spikes_same_file(tmp_path):
    layers = layers_of("test_same_spikes_same_file")
    for name in ("a.png", "b.png"):
        write_raster(tmp_path / name, layers=layers, title="t", boundaries={0: "digit 1", 8: "digit 2"})
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_pyplot_is_left_alone(tmp_path):
    before = sys.modules.get("matplotlib.pyplot")
    write_raster(
        str(tmp_path / "raster.png"),
        layers=layers_of("test_pyplot_is_left_alone"),
        title="t",
        membranes={"integrator": np.zeros((24, 3))},
    )
    assert (tmp_path / "raster.png").read_bytes().startswith(b"\x89PNG")
    assert sys.modules.get("matplotlib.pyplot") is before


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(RasterError, match=r"^matplotlib must be installed to draw a raster: pip install matplotlib$"):
        write_raster(tmp_path / "raster.png", layers={"input": np.zeros((4, 2))}, title="t")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": {}}, r"^layers must be one or more, not none$"),
        (
            {"layers": {"a": np.zeros(4)}},
            r"^layer 'a' must have shape \(T, n\) and not be empty, not \(4,\)$",
        ),
        ({"layers": {"a": np.full((4, 2), 2)}}, r"^layer 'a' must be 0 or 1, not other values$"),
        (
            {"layers": {"a": np.zeros((4, 2)), "b": np.zeros((5, 2))}},
            r"^layer 'b' must have shape \(4, n\) like the first one, not \(5, 2\)$",
        ),
        (
            {"layers": {"a": np.zeros((4, 2))}, "boundaries": {4: "x"}},
            r"^boundaries must be steps from 0 to 3, not \[4\]$",
        ),
    ],
)
def test_bad_input(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        write_raster(tmp_path / "raster.png", title="t", **arguments)
    assert not list(tmp_path.iterdir())
