"""``spikeloom simulate``."""

import json
from pathlib import Path

import numpy as np
import pytest
from harness.cli import refused, sentence, write_network

from spikeloom.cli.app import main
from spikeloom.frontends.saving import save
from spikeloom.model.network import Connection, Network
from spikeloom.model.population import Population


def test_a_network_that_is_too_large(tmp_path, capsys):
    path = write_network(tmp_path / "x.nir", hidden=60)
    message = refused(capsys, "simulate", path)
    assert message == (
        "network x does not fit the fabric small: it needs 70 neurons (64 available); 4,440 weight words of 1 "
        "weight (2,560 available); --board NAME chooses a fabric for it"
    )


def test_simulate_compares_every_spike(network, capsys, shared_build):
    """The whole path, through the pins of the simulated hardware."""
    shared_build("build/simulate")
    main(["simulate", network, "--images", "6"])
    text = capsys.readouterr().out
    summary = json.loads(Path("build/simulate/summary.json").read_text())
    assert next(iter(summary.items())) == ("format", 1)
    assert summary["images"] == 6
    assert summary["mismatches"] == 0
    assert summary["spikes_compared"] > 0
    assert summary["accuracy_reference"] == summary["accuracy_rtl"]
    assert summary["cycles_per_image"] > summary["core_cycles_per_image"] > 0
    assert summary["synaptic_operations_per_image"] > 0
    assert Path("build/simulate/raster.png").read_bytes().startswith(b"\x89PNG")
    assert "mismatches" in text


def test_simulate_with_the_compiled_core(network, capsys, shared_build):
    shared_build("build/simulate")
    main(["simulate", network, "--images", "12", "--backend", "rtl"])
    text = capsys.readouterr().out
    summary = json.loads(Path("build/simulate/summary.json").read_text())
    assert (summary["images"], summary["mismatches"]) == (12, 0)
    assert summary["spikes_compared"] > 0
    assert summary["cycles_per_image"] > summary["synaptic_operations_per_image"] > 0
    assert "compiled RTL" in text


def test_waves_need_pins(network, capsys):
    message = refused(capsys, "simulate", network, "--waves", "--backend", "rtl")
    assert message == "waves must be recorded with --backend pins, not rtl"


def test_only_a_compiled_core_is_optimised(network, capsys):
    message = refused(capsys, "simulate", network, "--optimise")
    assert message == "--optimise must be used with --backend rtl, not pins"


def test_a_compiler_that_is_missing(network, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    message = refused(capsys, "simulate", network, "--backend", "rtl")
    assert message == "Simulation needs g++, which must be on PATH; on Debian or Ubuntu: apt install g++"


def test_simulate_on_the_reference_needs_no_hardware(network, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    main(["simulate", network, "--images", "12", "--backend", "reference", "--output", "out"])
    text = capsys.readouterr().out
    assert "integer reference" in text
    assert "RTL" not in text
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["accuracy_reference"] is not None
    assert summary["accuracy_rtl"] is None


@pytest.mark.parametrize("options", [["--board", "icebreaker"], ["--core", "lanes=2"]])
def test_simulate_the_fabric_for_a_board_or_with_other_fields(network, capsys, shared_build, options):
    """The core is never busy for longer than the run takes."""
    shared_build("build/simulate")
    main(["simulate", network, "--images", "5", "--backend", "rtl", "--json", *options])
    said = capsys.readouterr()
    summary = json.loads(said.out)
    assert summary["mismatches"] == 0
    assert summary["spikes_compared"] > 0
    assert 0 < summary["core_cycles_per_image"] <= summary["cycles_per_image"]
    assert ("chosen for icebreaker: " in said.err) == ("--board" in options)


def test_simulate_with_weights_in_sdram(network, capsys, shared_build):
    """At the clocks of the board; the pins have no model of its memory."""
    shared_build("build/simulate")
    options = ["--board", "ulx3s-12f", "--core", "weight_memory=sdram", "--core", "lanes=1", "--images", "3", "--json"]
    main(["simulate", network, "--backend", "rtl", *options])
    summary = json.loads(capsys.readouterr().out)
    assert summary["mismatches"] == 0
    assert summary["spikes_compared"] > 0
    message = sentence(capsys, "simulate", network, *options)
    assert message.endswith("use spikeloom simulate --backend rtl, or --core weight_memory=block")


@pytest.mark.slow
def test_simulate_with_cores_that_share_an_sdram(network, capsys, shared_build):
    shared_build("build/simulate")
    options = ["--board", "ulx3s-12f", "--core", "weight_memory=sdram", "--tiles", "2", "--images", "3", "--json"]
    main(["simulate", network, "--backend", "rtl", *options])
    summary = json.loads(capsys.readouterr().out)
    assert summary["mismatches"] == 0
    assert summary["spikes_compared"] > 0


def test_a_raster_of_values(tmp_path, capsys):
    """An input with values is drawn where it is not 0."""
    neurons = Population(name="lif", shape=(4,), beta=0.5, threshold=2.0)
    weight = np.random.default_rng(3).normal(0.2, 0.3, (4, 6))
    weights = Connection(source="input", target="lif", weight=weight)
    settings = {"input_shape": (6,), "output": "lif", "time_step_s": 1e-3, "input_value_width": 5}
    save(Network(name="values", populations=(neurons,), connections=(weights,), **settings), tmp_path / "net.nir")
    values = np.random.default_rng(4).integers(-4, 5, (12, 3, 6))
    np.save(tmp_path / "values.npy", values)
    arguments = ["--inputs", str(tmp_path / "values.npy"), "--core", "value_width=5", "--output", str(tmp_path)]
    main(["simulate", str(tmp_path / "net.nir"), "--backend", "reference", *arguments])
    assert "accuracy" in capsys.readouterr().out
    assert (tmp_path / "raster.png").exists()
