"""Losses of a conversion as printed by `check` and `simulate`."""

import json

import nir
import numpy as np
import pytest
from harness.cli import lif, sentence, write_network
from harness.networks import rng_of

from spikeloom.cli.app import main
from spikeloom.cli.losses import agreement_json, agreement_lines, notes_of_all
from spikeloom.frontends.nir import load
from spikeloom.runners.compare import Agreement


def stimulus(tmp_path, *, labels=False):
    rng = rng_of("test_losses")
    arrays = {"spikes": rng.random((30, 12, 20)) < 0.3} | ({"labels": rng.integers(0, 10, 12)} if labels else {})
    np.savez(tmp_path / "in.npz", **arrays)
    return str(tmp_path / "in.npz"), arrays


def test_check_prints_ranges_steps_and_notes_about_the_whole_file(tmp_path, capsys):
    weight = np.full((8, 20), 0.5)
    weight[0, :3] = 1e-4
    path = write_network(tmp_path / "x.nir", inputs=20, weight=weight)
    main(["check", path, "--preset", "snntorch", "--fabric", "medium"])
    text = " ".join(capsys.readouterr().out.split())
    assert "weights as 8-bit integers, after the gain of the neurons" in text
    assert "hidden: threshold is 128 weight steps" in text
    assert "note: snnTorch does not export inhibition and graded_spikes_factor, so neither is applied" in text
    main(["check", path, "--fabric", "medium", "--json"])
    said = json.loads(capsys.readouterr().out)
    (hidden, last) = said["weights"]
    assert (hidden["population"], hidden["weights"], hidden["zeroed"]) == ("hidden", 160, 3)
    assert (hidden["low"], hidden["high"], hidden["threshold_low"]) == (1e-4, 0.5, 128)
    assert last["population"] == "class"
    assert "agreement" not in said
    main(["check", path, "--board", "ulx3s-85f", "--json"])
    assert json.loads(capsys.readouterr().out)["weights"][0]["population"] == "hidden"


def test_scales_of_neurons_keep_small_weights(tmp_path, capsys):
    weight = np.full((8, 20), 0.5)
    weight[3] = 1e-3
    path = write_network(tmp_path / "x.nir", inputs=20, weight=weight)
    zeroed = []
    for option in ("population", "neuron"):
        main(["check", path, "--fabric", "medium", "--scales", option, "--json"])
        zeroed.append(json.loads(capsys.readouterr().out)["weights"][0]["zeroed"])
    assert zeroed == [20, 0]


def test_check_compares_floats_and_integers_where_inputs_are_given(tmp_path, capsys):
    path = write_network(tmp_path / "x.nir", inputs=20)
    plain, _ = stimulus(tmp_path)
    main(["check", path, "--fabric", "medium", "--weight-bits", "3", "--inputs", plain])
    text = " ".join(capsys.readouterr().out.split())
    assert "of 2,880 cells differ between float model and integers" in text
    assert "% of the cells are equal, and" in text
    assert "accuracy" not in text
    labelled, arrays = stimulus(tmp_path, labels=True)
    main(["check", path, "--fabric", "medium", "--weight-bits", "3", "--inputs", labelled, "--json"])
    found = json.loads(capsys.readouterr().out)["agreement"]
    assert found["cells"] == {"hidden": 30 * 12 * 8, "class": 30 * 12 * 10}
    assert 0 < found["differing"]["hidden"] < found["cells"]["hidden"]
    floats = load(path).simulate(arrays["spikes"])
    expected = np.mean(floats.sum(axis=0).argmax(axis=1) == arrays["labels"])
    assert found["accuracy_float"] == expected
    assert found["accuracy_integers"] is not None
    out = tmp_path / "out"
    main(["simulate", path, "--fabric", "medium", "--weight-bits", "3", "--backend", "reference", "--inputs", labelled,
          "-o", str(out), "--json"])  # fmt: skip
    said = json.loads(capsys.readouterr().out)
    assert said["agreement"] == found
    assert [row["population"] for row in said["weights"]] == ["hidden", "class"]
    main(["simulate", path, "--fabric", "medium", "--backend", "reference", "--inputs", labelled, "-o", str(out)])
    text = " ".join(capsys.readouterr().out.split())
    assert "hidden: threshold is" in text
    assert "cells differ between float model and integers" in text


def test_sentences():
    found = Agreement(
        cells={"a": 1000, "b": 200},
        differing={"a": 3, "b": 0},
        answers=0.75,
        accuracy_float=0.5,
        accuracy_integers=0.25,
        capped={"b": 12},
    )
    assert agreement_lines(found) == [
        "a: 3 of 1,000 cells differ between float model and integers",
        "b: 0 of 200 cells differ between float model and integers",
        "b: in 12 of 200 cells the membrane reaches more thresholds than the neuron may fire spikes in a step; use a "
        "larger max_spikes if the framework has no such bound",
        "all spikes: 99.8 % of the cells are equal, and 75 % of the answers",
        "accuracy: 50.00 % as floats, 25.00 % as integers",
    ]
    assert agreement_json(found)["share"] == 1 - 3 / 1200
    network = load(nir.NIRGraph(
        nodes={"in": nir.Input(np.array([2])), "n": lif(2), "out": nir.Output(np.array([2]))},
        edges=[("in", "n"), ("n", "out")],
    ), preset="snntorch")  # fmt: skip
    assert notes_of_all(network) == [note for note in network.notes if not note.startswith("n: ")]
    assert 0 < len(notes_of_all(network)) < len(network.notes)


def test_bits_per_weight_of_single_populations(tmp_path, capsys):
    path = write_network(tmp_path / "x.nir", inputs=20)
    main(["check", path, "--fabric", "medium", "--weight-bits", "6,hidden=4"])
    text = " ".join(capsys.readouterr().out.split())
    assert "weights as 4- to 6-bit integers" in text
    assert "hidden: its weights have 4 bits and take 8 each, because a core stores all weights at the width" in text
    assert "class: its weights have 6 bits and take 8 each" in text
    main(["check", path, "--board", "ulx3s-85f", "--weight-bits", "class=9,hidden=4", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["core"]["weight_width"] == 9
    assert said["weight_bits"] == {"hidden": {"bits": 4, "stored": 9}, "class": {"bits": 9, "stored": 9}}
    assert [row["bits"] for row in said["weights"]] == [4, 9]


def test_tiles_of_a_mesh_are_as_wide_as_their_weights(tmp_path, capsys):
    path = write_network(tmp_path / "x.nir", inputs=20)
    main(["check", path, "--board", "ulx3s-85f", "--mesh", "3x1", "--weight-bits", "hidden=3", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["weight_bits"] == {"hidden": {"bits": 3, "stored": 3}, "class": {"bits": 8, "stored": 8}}
    assert len({use["tile"] for use in said["uses"]}) == 2
    main(["check", path, "--board", "ulx3s-85f", "--mesh", "2x1", "--weight-bits", "hidden=3"])
    assert "hidden: its weights have 3 bits and take 8 each" in " ".join(capsys.readouterr().out.split())


def test_a_file_says_how_many_bits_its_weights_have(tmp_path, capsys):
    path = write_network(tmp_path / "x.nir", inputs=20)
    kept = str(tmp_path / "kept.nir")
    main(["save", path, kept, "--weight-bits", "5,hidden=3"])
    capsys.readouterr()
    for options, bits in ([], [3, 5]), (["--weight-bits", "class=8"], [3, 8]), (["--weight-bits", "6"], [6, 6]):
        main(["check", kept, "--fabric", "medium", "--json", *options])
        assert [row["bits"] for row in json.loads(capsys.readouterr().out)["weights"]] == bits


def test_bits_per_weight_that_cannot_be_read(tmp_path, capsys):
    path = write_network(tmp_path / "x.nir", inputs=20)
    for text in ("many", "8,9", "=4", "hidden=", "hidden=4,"):
        said = sentence(capsys, "check", path, "--weight-bits", text)
        assert said == f"weight bits must be BITS or NAME=BITS,..., such as 8,lif1=4, not {text!r}"
    said = sentence(capsys, "check", path, "--weight-bits", "fc1=4")
    assert said == "weight bits must be of populations of network x, which are hidden, class, not of fc1"


def test_check_proposes_widths(tmp_path, capsys):
    path = write_network(tmp_path / "x.nir", inputs=20)
    plain, _ = stimulus(tmp_path)
    propose = ["check", path, "--fabric", "medium", "--propose"]
    main(propose)
    text = " ".join(capsys.readouterr().out.split())
    assert "proposed: --weight-bits " in text
    assert "by bounds, without inputs" in text
    main([*propose, "--bar", "0.9", "--inputs", plain, "--json"])
    said = json.loads(capsys.readouterr().out)["proposal"]
    assert said["cells"] >= 0.9 <= said["answers"]
    bits = ",".join(f"{name}={bits}" for name, bits in said["weight_bits"].items())
    main(["check", path, "--board", "ulx3s-85f", "--weight-bits", bits, "--core", f"v_width={said['membrane_bits']}",
          "--inputs", plain, "--json"])  # fmt: skip
    assert json.loads(capsys.readouterr().out)["agreement"]["share"] == said["cells"]


@pytest.mark.parametrize("others", [[], ["--propose"], ["--inputs", "random:1"]])
def test_a_bar_without_a_use_is_refused(network, others, capsys):
    said = sentence(capsys, "check", network, "--bar", "0.9", *others)
    assert said == "bar must be left out, unless --propose and --inputs are given"


def test_calibration_data_choose_the_scales(tmp_path, capsys):
    weight = np.random.default_rng(3).normal(0, 0.3, (8, 20))
    weight[:, 10:] *= 10
    path = write_network(tmp_path / "x.nir", inputs=20, weight=weight)
    spikes = (np.random.default_rng(4).random((30, 12, 20)) < 0.3) & (np.arange(20) < 10)
    np.save(tmp_path / "train.npy", spikes)
    steps = []
    for options in ([], ["--calibrate", str(tmp_path / "train.npy")]):
        main(["check", path, "--board", "ulx3s-85f", "--weight-bits", "6", "--json", *options])
        said = capsys.readouterr()
        steps.append(json.loads(said.out)["weights"][0]["step"])
    assert steps[1] <= steps[0] / 4
    assert said.err.count("calibration on ") == 1, "once per command"
    assert sentence(capsys, "check", path, "--calibrate", tmp_path / "train.npy", "--percentile", "0") == (
        "percentile must be above 0 and at most 100, not 0.0"
    )
    assert sentence(capsys, "check", path, "--percentile", "99") == (
        "percentile must be left out, unless --calibrate gives the data"
    )
