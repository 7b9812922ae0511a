"""``spikeloom place``."""

import re

import numpy as np
import pytest
from harness.cli import refused, write_network

from spikeloom.cli.app import main


def test_place_says_what_lies_where(network, capsys):
    main(["place", network, "--tiles", "3"])
    text = capsys.readouterr().out
    assert "on fabric small, a mesh of 2 x 2" in text
    for line in (r"1 +hidden\[\d+:\d+\] ", r"input +host +[\d, ]+ ", r"class(\[\d+:10\])? +\d +host ", r"all tokens "):
        assert re.search(line, text), text
    said = " ".join(text.split())
    assert re.search(r"expected from the activity in 50 images: tile \d limits the throughput, with \d+ cycles", said)
    main(["place", network])
    text = capsys.readouterr().out
    assert "traffic between tiles" not in text
    assert re.search(r"1 +hidden +18 ", text), text


def test_place_without_a_sample(tmp_path, capsys):
    main(["place", write_network(tmp_path / "net.nir", inputs=20), "--mesh", "3x1"])
    text = capsys.readouterr().out
    assert "expected from 0.1 spikes per neuron per step: " in text
    assert "a mesh of 3 x 1" in text


def test_place_with_a_sample(tmp_path, capsys):
    np.save(tmp_path / "spikes.npy", np.ones((6, 3, 20), bool))
    path = write_network(tmp_path / "net.nir", inputs=20)
    main(["place", path, "--mesh", "3x1", "--inputs", str(tmp_path / "spikes.npy"), "--tiles", "2", "--seed", "5"])
    text = capsys.readouterr().out
    assert "expected from the activity in 3 images: " in text
    assert re.search(r"input +host +[12, ]+ +20.0 ", text), text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tiles", "0"], "tiles must be 1 to 1 (all cores of the fabric), not 0"),
        (["--tiles", "64"], "tiles must be 1 to 63 (the largest mesh), not 64"),
        (["--tiles", "3", "--mesh", "3x1"], "tiles must be 1 to 2 (all cores of the fabric), not 3"),
        (["--tiles", "19"], "network net can be cut into at most 18 parts, not 19"),
        (["--mesh", "3"], "mesh must be columns x rows, such as 3x2, not '3'"),
        (["--mesh", "3xx2"], "mesh must be columns x rows, such as 3x2, not '3xx2'"),
        (["--mesh", "-3x2"], "mesh must be columns x rows, such as 3x2, not '-3x2'"),
        (["--mesh", "9x2"], "columns must be an integer from 1 to 8, not 9"),
        (["--mesh", "1x1"], "a mesh must have places for the host bridge and a core, not 1 x 1"),
        (
            ["--fabric", "none"],
            "fabric must be one of small, medium, wide, spatial, transformer, a fabric.json or a build folder, not "
            "'none'",
        ),
    ],
)
def test_places_that_do_not_exist(network, capsys, options, message):
    assert refused(capsys, "place", network, *options) == message


def test_a_network_that_no_tiles_hold(tmp_path, capsys):
    path = write_network(tmp_path / "net.nir", hidden=100)
    message = refused(capsys, "place", path, "--mesh", "3x1")
    assert message == "network net does not fit 2 tiles: it needs 7,400 weight words of 1 lane (5,120 available)"
    message = refused(capsys, "place", path, "--mesh", "2x2")
    assert message == (
        "network net does not fit 3 tiles: with the memories of all tiles full, 10 of 110 neurons are left"
    )
    main(["place", path, "--mesh", "3x2"])
    assert "limits the throughput" in capsys.readouterr().out
