"""Speed of the compiled simulation: results are exact, and a cached design costs no compile time."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from spikeloom.benchmarks import simulation_speed
from spikeloom.benchmarks.simulation_speed import Measurement, measure
from spikeloom.compiler.place import place
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import encoder_from
from spikeloom.datasets.inputs import held_out_digits
from spikeloom.datasets.shipped import shipped
from spikeloom.frontends.nir import load
from spikeloom.runners.compiled import CompiledRunner
from spikeloom.sim.fabric.presets import FABRICS

IMAGES = 4


def test_a_measurement_is_exact(tmp_path, shared_build, monkeypatch):
    monkeypatch.setattr(simulation_speed, "held_out_digits", lambda encoder: held_out_digits(encoder).first(IMAGES))
    directory = shared_build(tmp_path / "bench")
    measure(FABRICS["small"], directory)
    found = measure(FABRICS["small"], directory)
    assert (found.fabric, found.lanes, found.images) == ("small", FABRICS["small"].core.lanes, IMAGES)
    assert found.mismatches == 0
    assert found.compile_seconds == 0.0, "the second run compiles nothing"
    # The cycles are those that the runner counts, although the time is measured around the simulator alone.
    network = load(shipped("digits-mlp.nir"))
    assert network.encoder is not None
    quantised = quantise(network, Quantisation.for_core(FABRICS["small"].core, weight_width=8))
    program = place(quantised, FABRICS["small"])
    spikes = held_out_digits(encoder_from(network.encoder)).first(IMAGES).spikes
    counted = CompiledRunner(program, directory, workers=1).run(spikes)
    assert found.cycles_per_image == pytest.approx(counted.cycles / IMAGES, rel=0.02)
    per_image = found.cycles_per_second / found.cycles_per_image
    assert found.images_per_second == pytest.approx(per_image, rel=0.01)


def test_the_command_measures_three_cores_and_writes_a_file(tmp_path, monkeypatch, capsys):
    asked = []

    def measured(fabric, directory):
        asked.append((fabric.name, fabric.core.lanes, str(directory)))
        return Measurement(
            fabric=fabric.name,
            lanes=fabric.core.lanes,
            compile_seconds=12.0,
            cycles_per_second=1_234_567,
            cycles_per_image=2345.6,
            images_per_second=526.3,
            images=360,
            mismatches=0,
        )

    monkeypatch.setattr(simulation_speed, "measure", measured)
    monkeypatch.chdir(tmp_path)
    Path("build/bench").mkdir(parents=True)
    simulation_speed.main()
    assert [name for name, _, _ in asked] == ["small", "medium", "16-lanes"]
    assert asked[-1][1] == 16
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == (
        "small       1.23 M cycles/s,    526 images/s,   2,346 cycles per image, compiled in 12 s, 0 mismatches"
    )
    assert shown[-1] == "written to build/bench/simulation.json"
    entries = json.loads(Path("build/bench/simulation.json").read_text())
    assert [entry["fabric"] for entry in entries] == ["small", "medium", "16-lanes"]
    assert entries[0] == asdict(measured(FABRICS["small"], "")) | {"format": 1, "fabric": "small"}
