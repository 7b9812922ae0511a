"""`make mnist` without MNIST: its pipeline on images made here, and what it says of results that are wrong."""

import dataclasses
import json
import re

import numpy as np
import pytest
from harness.networks import rng_of
from rich.console import Console

from spikeloom.sim.neuron import Leak, Reset
from spikeloom.sim.reference import simulate
from spikeloom.sw.data import Digits, shipped
from spikeloom.sw.encode import LatencyEncoder, encoder_from
from spikeloom.sw.load import load
from spikeloom.sw.mnist import TRIALS, Trial, built_fmax_mhz, complaints, run_trial, table_of, write_summary
from spikeloom.sw.mnist_data import pixel_levels
from spikeloom.sw.quantise import Quantisation, quantise
from spikeloom.sw.runner import ReferenceRunner, Runner

IMAGES = 24
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
    "seconds",
]
TRIAL = Trial(model="mnist-mlp.nir", weight_bits=8, lanes=16, quality="core.json", least_accuracy=0.98)


def strokes(rng, count=IMAGES):
    """Images as bright as digits: 60 to 130 pixels of ink on thick lines through the middle."""
    images = np.zeros((count, 28, 28), np.uint8)
    across, along = np.meshgrid(np.arange(28) - 13.5, np.arange(28) - 13.5)
    for image in images:
        for _ in range(2):
            angle, offset = rng.uniform(0, np.pi), rng.uniform(-4, 4)
            distance = np.abs(across * np.cos(angle) + along * np.sin(angle) - offset)
            ink = (distance < rng.uniform(1, 2)) & (across**2 + along**2 < 100)
            image[ink] = rng.integers(30, 256, np.count_nonzero(ink))
    return images


@pytest.fixture
def digits(request):
    """Images with the labels that the integer network gives them: its accuracy is 1."""
    images = strokes(rng_of(request.node.nodeid))
    network = load(shipped("mnist-mlp.nir"))
    encoder = encoder_from(network.encoder)
    fired = simulate(quantise(network), encoder.encode(pixel_levels(images, encoder.bits))).spikes["digit"]
    assert 20 < np.count_nonzero(images[0]) < 200
    assert len(set(fired.sum(axis=0).argmax(axis=1))) > 2
    return Digits(images=images, labels=fired.sum(axis=0).argmax(axis=1))


class Counting(Runner):
    """The reference, with a clock and perhaps with a spike too many."""

    def __init__(self, program, *, weight_bits=8, wrong=0):
        network = quantise(load(shipped("mnist-mlp.nir")), Quantisation(weight_width=weight_bits))
        self.reference = ReferenceRunner(network)
        self.program = program
        self.wrong = wrong

    def run(self, spikes, *, progress=None):
        result = self.reference.run(spikes)
        output = result.spikes["digit"]
        output.reshape(-1)[: self.wrong] ^= True
        return dataclasses.replace(result, cycles=1000 * spikes.shape[1])


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.title)
def test_every_trial_fits_its_core(trial, digits, tmp_path):
    programs = []

    def make_runner(program):
        programs.append(program)
        return Counting(program, weight_bits=trial.weight_bits)

    outcome = run_trial(trial, digits, make_runner=make_runner, quality_folder=tmp_path)
    (program,) = programs
    assert program.fabric.core.lanes == trial.lanes
    assert all(use.used == use.available for use in program.uses)  # the core is as small as it can be
    assert outcome.mismatches == 0
    assert outcome.spikes_compared > IMAGES
    assert 0.5 < outcome.accuracy <= 1
    assert outcome.images == IMAGES
    assert complaints(trial, outcome) == []


def test_trials():
    """What the issue of MNIST asks for: the networks as trained, and several steps and encodings."""
    trained = [trial for trial in TRIALS if trial.encoder is None]
    assert ("mnist-mlp.nir", 8, 0.98) in [(trial.model, trial.weight_bits, trial.least_accuracy) for trial in trained]
    assert len({(trial.encoder.steps, trial.title) for trial in TRIALS if trial.encoder}) >= 3


def test_outcome(digits, tmp_path):
    (tmp_path / "core.json").write_text('{"fmax_mhz": 110.0, "lut": 1}')
    outcome = run_trial(TRIAL, digits, make_runner=Counting, quality_folder=tmp_path)
    assert (outcome.steps, outcome.encoding, outcome.accuracy) == (4, "latency, 2 bits", 1.0)
    assert (outcome.cycles_per_image, outcome.fmax_mhz, outcome.images_per_s) == (1000.0, 110.0, 110000)
    write_summary(tmp_path / "new" / "summary.json", [outcome])
    (entry,) = json.loads((tmp_path / "new" / "summary.json").read_text())
    assert list(entry) == KEYS
    assert entry == dataclasses.asdict(outcome)
    console = Console(width=200, record=True)
    console.print(table_of([outcome]))
    assert re.search(
        r"mnist-mlp\.nir .* 100\.00 % .* 24 .* 1,000 .* 110\.0 .* 110,000 .* 9\.09 ", console.export_text()
    )


def test_core_that_nobody_built(digits, tmp_path):
    outcome = run_trial(TRIAL, digits, make_runner=Counting, quality_folder=tmp_path)
    assert (outcome.cycles_per_image, outcome.fmax_mhz, outcome.images_per_s) == (1000.0, None, None)
    table_of([outcome])


def test_runner_without_clock(digits, tmp_path):
    (tmp_path / "core.json").write_text('{"fmax_mhz": 110.0}')
    outcome = run_trial(TRIAL, digits, make_runner=lambda program: Counting(program).reference, quality_folder=tmp_path)
    assert (outcome.cycles_per_image, outcome.fmax_mhz, outcome.images_per_s) == (None, 110.0, None)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"fmax_mhz": null}', '{"fmax_mhz": "fast"}'])
def test_damaged_quality(tmp_path, text):
    (tmp_path / "core.json").write_text(text)
    with pytest.raises(ValueError, match=r"^'.*core\.json' must be a kept result of make qor, with fmax_mhz$"):
        built_fmax_mhz(tmp_path / "core.json")


@pytest.mark.parametrize("wrong", [1, 7])
def test_spikes_that_differ(digits, tmp_path, wrong):
    outcome = run_trial(
        TRIAL, digits, make_runner=lambda program: Counting(program, wrong=wrong), quality_folder=tmp_path
    )
    assert outcome.mismatches == wrong
    assert complaints(TRIAL, outcome) == [
        f"mnist-mlp.nir, 8 bits: hardware and reference must agree in every spike, not differ in {wrong} places"
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
    import spikeloom.sw.mnist as module

    bare = dataclasses.replace(load(shipped("mnist-mlp.nir")), encoder=None)
    monkeypatch.setattr(module, "load", lambda path: bare)
    with pytest.raises(
        ValueError, match=r"^mnist-mlp\.nir must name the encoder that it was trained with, and does not$"
    ):
        run_trial(TRIAL, digits, make_runner=Counting, quality_folder=tmp_path)


def test_mlp_file_needs_no_options():
    """Rule and encoder are in the file, nothing is assumed, and a core needs neither leak nor bias for it."""
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


def test_eight_bits_lose_nothing():
    """The file holds weights of 8 bits: as integers the network does what it does in floating point."""
    network = load(shipped("mnist-mlp.nir"))
    quantised = quantise(network)
    assert quantised.notes == ()
    for exact, integers in zip(network.connections, quantised.connections, strict=True):
        ratio = np.unique(integers.weight[exact.weight != 0] / exact.weight[exact.weight != 0])
        assert len(ratio) == 1
        assert np.log2(ratio[0]) == np.rint(np.log2(ratio[0]))
