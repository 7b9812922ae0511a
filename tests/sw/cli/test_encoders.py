"""Encoders on the command line: from the network, from an option, and from a project file."""

import json
from pathlib import Path

import numpy as np
import pytest
from harness.cli import sentence
from harness.networks import rng_of

from spikeloom.cli.app import main
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import Scale, SigmaDeltaEncoder, encoder_from
from spikeloom.datasets.shipped import shipped
from spikeloom.frontends.nir import load
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.network.reference import simulate

NETWORK = str(shipped("vowels-step-forward.nir"))
SCALE = Scale(low=(-2.0,) * 12, high=(2.0, 2.5) * 6, bits=5, origin=-16)


@pytest.fixture
def series(tmp_path, request, monkeypatch):
    """Twelve channels of measured numbers, in a file in the folder where the commands run."""
    monkeypatch.chdir(tmp_path)
    values = rng_of(request.node.name).normal(scale=0.3, size=(20, 3, 12)).cumsum(axis=0)
    np.savez("series.npz", series=values, labels=np.arange(3))
    return values


def expected(spikes):
    """Output spikes of the integers on the fabric `medium`."""
    network = load(NETWORK)
    quantised = quantise(network, Quantisation.for_core(FABRICS["medium"].core, weight_width=8))
    fired = simulate(quantised, spikes).spikes[network.output]
    assert fired.any()
    return fired


def run(*options):
    """The answers of the integers to the file."""
    main(["run", NETWORK, "--backend", "reference", "--fabric", "medium", "--inputs", "series.npz", *options])
    return np.load("out.npy")


def text_of(encoder):
    settings = {name: value for name, value in encoder.settings().items() if name != "kind"}
    rows = {name: ":".join(map(str, value)) if isinstance(value, tuple) else value for name, value in settings.items()}
    return f"{encoder.kind}:" + ",".join(f"{name}={value}" for name, value in rows.items())


def test_run_and_simulate_encode_as_training_did(series, capsys):
    encoder = encoder_from(load(NETWORK).encoder)
    assert len(encoder.scale.low) == 12
    fired = expected(encoder.encode_series(series))
    assert np.array_equal(run("--output", "out.npy"), fired)
    options = ["--fabric", "medium", "--inputs", "series.npz", "--backend", "reference", "--json"]
    capsys.readouterr()
    main(["simulate", NETWORK, *options])
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy_reference"] == np.mean(fired.sum(axis=0).argmax(axis=1) == np.arange(3))
    assert found["images"] == 3


def test_an_option_says_otherwise(series):
    """With one scale per channel."""
    encoder = SigmaDeltaEncoder(steps=2, bits=4, scale=SCALE)
    fired = expected(encoder.encode_series(series))
    assert not np.array_equal(fired[:20], expected(encoder_from(load(NETWORK).encoder).encode_series(series)))
    assert np.array_equal(run("--output", "out.npy", "--encoder", text_of(encoder)), fired)


def test_a_project_file_says_otherwise(series):
    encoder = SigmaDeltaEncoder(steps=2, bits=4, scale=SCALE)
    lines = [f"{name} = {json.dumps(value)}" for name, value in encoder.settings().items()]
    Path("spikeloom.toml").write_text("[encoder]\n" + "\n".join(lines) + "\n")
    assert np.array_equal(run("--output", "out.npy"), expected(encoder.encode_series(series)))


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("latency:steps=4,bits=4", "series must be integers for an encoder without a scale, not float64"),
        ("latency", "settings of a latency encoder must be steps, bits, and may be "),
        ("latency:steps=4,steps=5,bits=4", "encoder must be KIND:NAME=VALUE,..., such as latency:steps=8,bits=4, with"),
        ("step-forward:threshold=0", "threshold must be an integer from 1 to 8388608, not 0"),
        (
            "step-forward:threshold=1:2,scale_low=-1,scale_high=1,scale_bits=8",
            "threshold must be one integer or one per ",
        ),
        (
            "hough:taps=1:2:" + "1:" * 30 + "1,scale_low=-1,scale_high=1,scale_bits=8",
            "as many samples as the filter has ",
        ),
        (
            "population:steps=1,bits=4,fields=5,scale_low=-1,scale_high=1,scale_bits=4",
            "24 inputs are not a multiple of that",
        ),
    ],
)
@pytest.mark.usefixtures("series")
def test_what_is_wrong_is_one_sentence(capsys, encoder, message):
    options = ["--backend", "reference", "--fabric", "medium", "--inputs", "series.npz", "--encoder", encoder]
    assert message in sentence(capsys, "run", NETWORK, *options)


@pytest.mark.usefixtures("series")
def test_numbers_that_are_none(capsys):
    values = np.load("series.npz")["series"]
    values[3, 1, 2] = np.nan
    np.savez("series.npz", series=values)
    options = ["--backend", "reference", "--fabric", "medium", "--inputs", "series.npz"]
    assert sentence(capsys, "run", NETWORK, *options).endswith("series.npz: series must be finite, not nan")


@pytest.mark.usefixtures("series")
def test_the_board_encodes_no_series(capsys):
    options = ["--fabric", "medium", "--inputs", "series.npz", "--encode", "board", "--backend", "reference"]
    assert "inputs must be images to be encoded on the board" in sentence(capsys, "run", NETWORK, *options)
