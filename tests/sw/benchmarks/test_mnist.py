"""`make mnist` without MNIST: the pipeline on generated images, and the complaints about wrong results."""

import dataclasses
import json
import re

import numpy as np
import pytest
from harness.mnist import IMAGES, TRIAL, Counting, digits_of
from harness.networks import rng_of
from rich.console import Console

from spikeloom.benchmarks import mnist
from spikeloom.benchmarks.mnist import TRIALS, built_fmax_mhz, complaints, run_trial, table_of, write_summary
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import LatencyEncoder, encoder_from
from spikeloom.datasets.shipped import shipped
from spikeloom.frontends.nir import load
from spikeloom.sim.core.neuron import Leak, Reset

KEYS = [
    "model",
    "weight_bits",
    "steps",
    "encoding",
    "images",
    "spikes_compared",
    "mismatches",
    "accuracy",
    "cycles_per_image",
    "fmax_mhz",
    "images_per_s",
    "cycles_alone",
    "latency_us",
    "seconds",
]


@pytest.fixture
def digits(request):
    return digits_of(rng_of(request.node.nodeid))


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.title)
def test_every_trial_fits_its_fabric(trial, digits, tmp_path):
    programs = []

    def make_runner(program):
        programs.append(program)
        return Counting(program, model=trial.model, weight_bits=trial.weight_bits)

    outcome = run_trial(trial, digits, make_runner=make_runner, quality_folder=tmp_path)
    (program,) = programs
    assert program.fabric is trial.fabric
    assert outcome.mismatches == 0
    assert outcome.spikes_compared > IMAGES
    assert outcome.accuracy >= 0.5 or trial.model != TRIAL.model  # the labels come from that network
    assert outcome.images == IMAGES
    assert complaints(trial, outcome) == []


def test_trials():
    """The networks as trained, and with several numbers of steps and encodings."""
    trained = [(trial.model, trial.weight_bits, trial.least_accuracy) for trial in TRIALS if trial.encoder is None]
    assert ("mnist-mlp.nir", 8, 0.98) in trained
    assert ("mnist-conv.nir", 8, 0.988) in trained
    assert len({(trial.encoder.steps, trial.title) for trial in TRIALS if trial.encoder}) >= 3


def test_outcome(digits, tmp_path):
    # The median counts, and not the figure named by a file of an older version.
    (tmp_path / TRIAL.quality).write_text('{"fmax_mhz": 150, "seeds": {"1": 150.0, "2": 110.0, "3": 90.0}, "lut": 1}')
    outcome = run_trial(TRIAL, digits, make_runner=Counting, quality_folder=tmp_path)
    assert (outcome.steps, outcome.encoding, outcome.accuracy) == (4, "latency, 2 bits", 1.0)
    assert (outcome.cycles_per_image, outcome.fmax_mhz, outcome.images_per_s) == (1000.0, 110.0, 110000)
    assert (outcome.cycles_alone, outcome.latency_us) == (1100.0, 10.0)
    write_summary(tmp_path / "new" / "summary.json", [outcome])
    (entry,) = json.loads((tmp_path / "new" / "summary.json").read_text())
    assert list(entry) == ["format", *KEYS]
    assert entry == {"format": 1} | dataclasses.asdict(outcome)
    console = Console(width=200, record=True)
    console.print(table_of([outcome]))
    assert re.search(r"mlp .* 100\.00 % .* 0 .* 1,000 .* 110,000 .* 10\.0 ", console.export_text())


def test_core_that_nobody_built(digits, tmp_path):
    outcome = run_trial(TRIAL, digits, make_runner=Counting, quality_folder=tmp_path)
    assert (outcome.cycles_per_image, outcome.fmax_mhz, outcome.images_per_s) == (1000.0, None, None)
    assert (outcome.cycles_alone, outcome.latency_us) == (1100.0, None)
    table_of([outcome])


def test_runner_without_clock(digits, tmp_path):
    (tmp_path / TRIAL.quality).write_text('{"fmax_mhz": 110.0}')
    outcome = run_trial(TRIAL, digits, make_runner=lambda program: Counting(program).reference, quality_folder=tmp_path)
    assert (outcome.cycles_per_image, outcome.fmax_mhz, outcome.images_per_s) == (None, 110.0, None)
    assert (outcome.cycles_alone, outcome.latency_us) == (None, None)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"fmax_mhz": null}', '{"fmax_mhz": "fast"}', '{"seeds": [1]}', '{"seeds": {}}']
)
def test_damaged_quality(tmp_path, text):
    (tmp_path / TRIAL.quality).write_text(text)
    with pytest.raises(ValueError, match=r"^'.*\.json' must be a kept result of make qor, with fmax_mhz$"):
        built_fmax_mhz(tmp_path / TRIAL.quality)


@pytest.mark.parametrize("wrong", [1, 7])
def test_spikes_that_differ(digits, tmp_path, wrong):
    outcome = run_trial(
        TRIAL, digits, make_runner=lambda program: Counting(program, wrong=wrong), quality_folder=tmp_path
    )
    assert outcome.mismatches == wrong
    assert complaints(TRIAL, outcome) == [
        f"mnist-mlp.nir, 8 bits: hardware and reference differ in {wrong} places, expected no difference"
    ]


def test_accuracy_is_judged_on_all_images_only(digits, tmp_path):
    outcome = run_trial(TRIAL, digits, make_runner=Counting, quality_folder=tmp_path)
    assert complaints(TRIAL, dataclasses.replace(outcome, accuracy=0.5)) == []
    whole = dataclasses.replace(outcome, images=10_000, accuracy=0.98)
    assert complaints(TRIAL, whole) == []
    assert complaints(TRIAL, dataclasses.replace(whole, accuracy=0.9799)) == [
        "mnist-mlp.nir, 8 bits: accuracy must be at least 98.0 %, not 97.99 %"
    ]


def test_network_without_encoder(digits, tmp_path, monkeypatch):
    bare = dataclasses.replace(load(shipped("mnist-mlp.nir")), encoder=None)
    monkeypatch.setattr(mnist, "load", lambda path: bare)
    with pytest.raises(ValueError, match=r"^mnist-mlp\.nir does not name the encoder that it was trained with$"):
        run_trial(TRIAL, digits, make_runner=Counting, quality_folder=tmp_path)


# The network


def test_mlp_file_needs_no_options():
    """Reset rule and encoder are in the file, nothing is assumed, and the core needs neither leak nor bias."""
    network = load(shipped("mnist-mlp.nir"))
    assert network.notes == ()
    assert encoder_from(network.encoder) == LatencyEncoder(steps=4, bits=2)
    assert [(p.name, p.size, p.reset, p.reset_delay) for p in network.populations] == [
        ("hidden", 256, Reset.SUBTRACT, 0),
        ("digit", 10, Reset.SUBTRACT, 0),
    ]
    for width in (8, 4):
        for population in quantise(network, Quantisation(weight_width=width)).populations:
            parameters = population.parameters
            assert parameters.leak is Leak.NONE
            assert not parameters.bias.any()
            assert set(parameters.threshold.tolist()) == {1 << (width - 2 if width == 8 else width - 1)}


def test_conv_file_needs_no_options():
    network = load(shipped("mnist-conv.nir"))
    assert network.notes == ()
    assert encoder_from(network.encoder) == LatencyEncoder(steps=6, bits=2)
    assert [(p.name, p.shape, p.reset) for p in network.populations] == [
        ("edges", (16, 14, 14), Reset.SUBTRACT),
        ("parts", (32, 7, 7), Reset.SUBTRACT),
        ("digit", (10,), Reset.SUBTRACT),
    ]
    assert sum(connection.weight.size for connection in network.connections) == 16 * 25 + 32 * 16 * 9 + 10 * 32 * 49
    for population in quantise(network).populations:
        assert population.parameters.leak is Leak.NONE
        assert not population.parameters.bias.any()


@pytest.mark.parametrize("model", ["mnist-mlp.nir", "mnist-mlp-128.nir", "mnist-conv.nir"])
def test_eight_bits_lose_nothing(model):
    """The file holds 8-bit weights: as integers, the network behaves as in floating point."""
    network = load(shipped(model))
    quantised = quantise(network)
    assert quantised.notes == ()
    for exact, integers in zip(network.connections, quantised.connections, strict=True):
        ratio = np.unique(integers.weight[exact.weight != 0] / exact.weight[exact.weight != 0])
        assert len(ratio) == 1
        assert np.log2(ratio[0]) == np.rint(np.log2(ratio[0]))
