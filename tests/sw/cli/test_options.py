"""Options shared by the commands: loading and inputs."""

import json

import h5py
import nir
import numpy as np
import pytest
from harness.cli import refused, write_network

from spikeloom.cli.app import main


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        ("a.npz", {"images": np.full((2, 8, 8), 17)}, "images must be from 0 to 16, not from 17 to 17"),
        ("a.npz", {"images": np.zeros((2, 9, 9), int)}, "images must have 64 pixels, not 81"),
        ("a.npz", {"spikes": np.full((3, 2, 64), 2)}, "spikes must be 0 or 1, not other values"),
        ("a.npz", {"spikes": np.zeros((3, 2, 63))}, "spikes must have shape (T, B, 64) or (T, 64), not (3, 2, 63)"),
        ("a.npz", {"pictures": np.zeros(3)}, "must hold an array 'spikes', 'images' or 'series', not 'pictures'"),
        (
            "a.npz",
            {"spikes": np.zeros((3, 2, 64)), "labels": np.zeros(3)},
            "spikes must be (T, B, n), but 3 labels fit the first axis of (3, 2, 64); (B, T, n) is read with --layout ",
        ),
    ],
)
def test_events_out_of_range(tmp_path, network, capsys, name, arrays, message):
    np.savez(tmp_path / name, **arrays)
    assert message in refused(capsys, "run", network, "--backend", "reference", "--inputs", tmp_path / name)


def test_rules_of_single_layers(network, capsys):
    main(["check", network, "--layer", "hidden:reset=none,refractory=2", "--layer", "class:compare=>=", "--json"])
    steps = [population["step"] for population in json.loads(capsys.readouterr().out)["network"]["populations"]]
    assert steps == [
        "v = 0.875 v + I; spike if v > 1; no reset; held for 2 steps after a spike",
        "v = 0.875 v + I; spike if v >= 1; then v = 0",
    ]
    for option, value, name in (
        ("--lower-bound", "-0.5", "hidden"),
        ("--layer", "class:lower-bound=0.25", "class"),
    ):
        assert refused(capsys, "check", network, option, value) == (
            f"population {name}: a lower bound of the membrane is missing from this fabric; --board NAME chooses a "
            "fabric for it"
        )
    for text in ("hidden", "hidden:", ":reset=zero", "hidden:reset", "hidden:reset=zero,"):
        message = refused(capsys, "check", network, "--layer", text)
        assert message == f"layer must be NODE:NAME=VALUE,..., such as lif1:reset=zero, not {text!r}"
    message = refused(capsys, "check", network, "--layer", "nobody:reset=zero")
    assert message == "layers must name neuron nodes of the graph, 'class', 'hidden', not 'nobody'"


def test_the_gain_of_sinabs_and_a_preset_to_find(tmp_path, capsys):
    sinabs = {"tau": 4.0, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0}
    nodes = {
        name: nir.LIF(**{key: np.full(size, value) for key, value in sinabs.items()})
        for name, size in (("hidden", 8), ("class", 10))
    }
    path = write_network(tmp_path / "x.nir", nodes=nodes)
    with h5py.File(path, "a") as file:
        del file["node/metadata"]
    gains = {"1 - beta": ["--norm-input"], "1": ["--no-norm-input"], None: []}
    for gain, options in gains.items():
        main(["check", path, "--preset", "auto", "--fabric", "medium", *options, "--json"])
        populations = json.loads(capsys.readouterr().out)["network"]["populations"]
        notes = populations[0]["notes"]
        assert any("norm_input True, a gain of 1 - beta, is assumed" in note for note in notes) == (gain is None)
    assert refused(capsys, "check", path, "--preset", "nir", "--time-step", "0.1", "--norm-input") == (
        "norm_input must be left out with preset NIR, because it is an option of sinabs"
    )


def test_inputs_that_are_not_arrays(tmp_path, network, capsys):
    (tmp_path / "a.npy").write_text("no array")
    message = refused(capsys, "simulate", network, "--inputs", tmp_path / "a.npy")
    assert message == f"'{tmp_path / 'a.npy'}' must be a NumPy file (.npy or .npz), but is damaged or of another kind"


def test_inputs_that_are_needed(tmp_path, capsys):
    path = write_network(tmp_path / "x.nir", inputs=20)
    assert refused(capsys, "simulate", path) == (
        "network x has 20 inputs, so --inputs must be a file or random:SEED, not omitted"
    )


def test_random_inputs_need_no_file(tmp_path, capsys):
    path = write_network(tmp_path / "x.nir", inputs=20)
    reference = ["--backend", "reference", "--fabric", "medium", "--json"]
    said = []
    for seed in (3, 3, 4):
        main(["run", path, "--inputs", f"random:{seed}", *reference])
        captured = capsys.readouterr()
        assert captured.err.splitlines()[0] == (
            "inputs: 20 images of 20, encoded as spikes of 6 steps x 20 samples x 20 lines"
        )
        said.append(json.loads(captured.out)["answers"])
    assert said[0] == said[1] != said[2]
    main(["run", path, "--inputs", "random:3", "--images", "2", *reference])
    assert "2 images of 20" in capsys.readouterr().err
    message = refused(capsys, "run", path, "--inputs", "random:x", *reference)
    assert message == f"inputs must be random:SEED with a seed from 0 to {(1 << 32) - 1}, not 'random:x'"


def test_the_shape_that_was_understood_is_printed(tmp_path, network, capsys):
    np.save(tmp_path / "spikes.npy", np.ones((6, 3, 64), bool))
    main(["run", network, "--inputs", str(tmp_path / "spikes.npy"), "--backend", "reference", "--fabric", "small"])
    assert "inputs: spikes of 6 steps x 3 samples x 64 lines" in capsys.readouterr().err


def test_batch_first_is_refused_or_transposed(tmp_path, network, capsys):
    """The encoder of the network has 6 steps."""
    spikes = np.random.default_rng(8).random((6, 3, 64)) < 0.4
    options = ["--backend", "reference", "--fabric", "small", "--output", str(tmp_path / "out.npy")]
    outputs = []
    for name, array, layout in (
        ("tbn.npy", spikes, []),
        ("tbn.npy", spikes, ["--layout", "tbn"]),
        ("btn.npy", spikes.transpose(1, 0, 2), ["--layout", "btn"]),
    ):
        np.save(tmp_path / name, array)
        main(["run", network, "--inputs", str(tmp_path / name), *layout, *options])
        outputs.append(np.load(tmp_path / "out.npy"))
    assert 0 < outputs[0].sum() < outputs[0].size
    assert all((output == outputs[0]).all() for output in outputs)
    message = refused(capsys, "run", network, "--inputs", tmp_path / "btn.npy", *options)
    assert message.endswith(
        "spikes must be (T, B, n), but the encoder's 6 steps fit the second axis of (3, 6, 64); (B, T, n) is read with "
        "--layout btn, and this order with --layout tbn"
    )
    main(["run", network, "--inputs", str(tmp_path / "btn.npy"), "--layout", "tbn", *options])
    assert np.load(tmp_path / "out.npy").shape == (3, 6, 10)
    np.savez(tmp_path / "labels.npz", spikes=spikes.transpose(1, 0, 2), labels=np.zeros(6, int))
    main(["run", network, "--inputs", str(tmp_path / "labels.npz"), *options])  # the labels say time first
    np.save(tmp_path / "one.npy", np.ones((6, 64), bool))
    message = refused(capsys, "run", network, "--inputs", tmp_path / "one.npy", "--layout", "btn", *options)
    assert message.endswith("spikes must have shape (B, T, 64) with --layout btn, not (6, 64)")
