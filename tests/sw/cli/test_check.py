"""``spikeloom check``."""

import time
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
from harness.cli import refused, write_network

from spikeloom.cli.app import main
from spikeloom.datasets.shipped import shipped


def test_check_says_how_a_network_is_stepped_and_what_it_takes(network, capsys):
    main(["check", network])
    text = capsys.readouterr().out
    assert "v = 0.875 v + I; spike if v > 1; then v = 0" in text
    assert "weight words of 1 weights" in text


@pytest.mark.parametrize("command", ["check", "bitstream"])
def test_a_network_too_large_for_a_board_is_told_so_at_once(command, capsys):
    """Before any synthesis, and with the boards that would do."""
    started = time.monotonic()
    message = refused(capsys, command, str(shipped("mnist-mlp.nir")), "--board", "icebreaker")
    assert time.monotonic() - started < 30
    assert message.startswith("mnist-mlp must fit iCE40UP5K, and the nearest core, of ")
    assert "; boards that can hold it at 8 bits: ulx3s-85f, orangecrab-85f, ecpix5-85, " in message
    assert list(Path().iterdir()) == []


def test_a_network_with_attention(capsys):
    path = str(shipped("digits-transformer.nir"))
    main(["check", path])
    text = " ".join(capsys.readouterr().out.split())
    assert "Bernoulli" in text
    assert "attention, which runs on the reference: fabrics with such a tile: transformer" in text
    main(["check", path, "--fabric", "transformer"])
    assert "attention" in capsys.readouterr().out.rpartition("fabric transformer")[2]
    main(["run", path, "--backend", "reference", "--images", "3"])
    assert "of 3 images" in capsys.readouterr().out


def test_an_unknown_node(tmp_path, capsys):
    path = write_network(tmp_path / "x.nir")
    with h5py.File(path, "a") as file:
        del file["node/nodes/fc2/type"]
        file["node/nodes/fc2/type"] = "Quantum"
    message = refused(capsys, "check", path)
    assert "'fc2'" in message
    assert "Quantum" in message


def test_a_cycle_without_delay(tmp_path, capsys):
    loop = {"back": nir.Linear(np.ones((8, 8))), "forth": nir.Linear(np.ones((8, 8)))}
    edges = [("fc1", "back"), ("back", "forth"), ("forth", "back"), ("forth", "hidden")]
    message = refused(capsys, "check", write_network(tmp_path / "x.nir", nodes=loop, edges=edges))
    assert "cycle" in message


def test_a_time_step_larger_than_tau(tmp_path, capsys):
    path = write_network(tmp_path / "x.nir", hints={"preset": "nir", "time_step_s": 1e-2})
    message = refused(capsys, "check", path)
    assert "'hidden'" in message
    assert "tau" in message


def test_weights_that_could_overflow(tmp_path, capsys):
    rng = np.random.default_rng(2)
    weight = rng.choice([-1.0, 1.0], (8, 64)) * rng.uniform(0.9, 0.99, (8, 64))
    path = write_network(tmp_path / "x.nir", weight=np.abs(weight), inputs=64)
    main(["check", path])
    capsys.readouterr()
    wide = write_network(tmp_path / "y.nir", weight=np.full((8, 300), 0.99), inputs=300)
    message = refused(capsys, "check", wide)
    assert message == (
        "population hidden: its weights could overflow the accumulator, their sum needs 17 bits, there are 16; --board "
        "NAME chooses a fabric for it"
    )
