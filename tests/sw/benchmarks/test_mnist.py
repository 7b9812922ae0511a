"""`make mnist` without MNIST: its pipeline on images made here, and what it says of results that are wrong."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from harness.networks import rng_of
from rich.console import Console

from spikeloom.benchmarks import mnist
from spikeloom.benchmarks.mnist import TRIALS, Trial, built_fmax_mhz, complaints, run_trial, table_of, write_summary
from spikeloom.cli.app import main
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import LatencyEncoder, encoder_from
from spikeloom.datasets.mnist import pixel_levels
from spikeloom.datasets.shipped import Digits, shipped
from spikeloom.frontends.nir import load
from spikeloom.runners.runner import ReferenceRunner, Runner
from spikeloom.sim.core.neuron import Leak, Reset
from spikeloom.sim.network.reference import simulate

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
TRIAL = Trial(model="mnist-mlp.nir", weight_bits=8, fabric=TRIALS[0].fabric, least_accuracy=0.98)


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

    def __init__(self, program, *, model="mnist-mlp.nir", weight_bits=8, wrong=0):
        network = quantise(load(shipped(model)), Quantisation(weight_width=weight_bits))
        self.reference = ReferenceRunner(network)
        self.program = program
        self.wrong = wrong

    def run(self, spikes, *, progress=None):
        result = self.reference.run(spikes)
        output = result.spikes["digit"]
        output.reshape(-1)[: self.wrong] ^= True
        return dataclasses.replace(result, cycles=1000 * spikes.shape[1])


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
    assert outcome.accuracy >= 0.5 or trial.model != TRIAL.model  # the labels are those of that network
    assert outcome.images == IMAGES
    assert complaints(trial, outcome) == []


def test_trials():
    """What the issue of MNIST asks for: the networks as trained, and several steps and encodings."""
    trained = [(trial.model, trial.weight_bits, trial.least_accuracy) for trial in TRIALS if trial.encoder is None]
    assert ("mnist-mlp.nir", 8, 0.98) in trained
    assert ("mnist-conv.nir", 8, 0.988) in trained
    assert len({(trial.encoder.steps, trial.title) for trial in TRIALS if trial.encoder}) >= 3


def test_outcome(digits, tmp_path):
    (tmp_path / TRIAL.quality).write_text('{"fmax_mhz": 110.0, "lut": 1}')
    outcome = run_trial(TRIAL, digits, make_runner=Counting, quality_folder=tmp_path)
    assert (outcome.steps, outcome.encoding, outcome.accuracy) == (4, "latency, 2 bits", 1.0)
    assert (outcome.cycles_per_image, outcome.fmax_mhz, outcome.images_per_s) == (1000.0, 110.0, 110000)
    write_summary(tmp_path / "new" / "summary.json", [outcome])
    (entry,) = json.loads((tmp_path / "new" / "summary.json").read_text())
    assert list(entry) == KEYS
    assert entry == dataclasses.asdict(outcome)
    console = Console(width=200, record=True)
    console.print(table_of([outcome]))
    assert re.search(r"mlp .* 100\.00 % .* 0 .* 1,000 .* 110,000 .* 9\.1 ", console.export_text())


def test_core_that_nobody_built(digits, tmp_path):
    outcome = run_trial(TRIAL, digits, make_runner=Counting, quality_folder=tmp_path)
    assert (outcome.cycles_per_image, outcome.fmax_mhz, outcome.images_per_s) == (1000.0, None, None)
    table_of([outcome])


def test_runner_without_clock(digits, tmp_path):
    (tmp_path / TRIAL.quality).write_text('{"fmax_mhz": 110.0}')
    outcome = run_trial(TRIAL, digits, make_runner=lambda program: Counting(program).reference, quality_folder=tmp_path)
    assert (outcome.cycles_per_image, outcome.fmax_mhz, outcome.images_per_s) == (None, 110.0, None)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"fmax_mhz": null}', '{"fmax_mhz": "fast"}'])
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
    bare = dataclasses.replace(load(shipped("mnist-mlp.nir")), encoder=None)
    monkeypatch.setattr(mnist, "load", lambda path: bare)
    with pytest.raises(
        ValueError, match=r"^mnist-mlp\.nir must name the encoder that it was trained with, and does not$"
    ):
        run_trial(TRIAL, digits, make_runner=Counting, quality_folder=tmp_path)


# The command


@pytest.fixture
def folder(tmp_path, digits):
    """The four files of an MNIST of ``digits``."""
    (tmp_path / "data").mkdir()
    for part in ("train", "t10k"):
        for name, array in (("images-idx3", digits.images), ("labels-idx1", digits.labels)):
            header = bytes([0, 0, 8, array.ndim]) + b"".join(extent.to_bytes(4, "big") for extent in array.shape)
            (tmp_path / "data" / f"{part}-{name}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())
    return tmp_path / "data"


@pytest.fixture
def made(monkeypatch, tmp_path):
    """One trial, and in place of the compiled hardware a clocked reference: what it was made with."""
    made = []

    class Compiled(Counting):
        wrong = 0

        def __init__(self, program, directory, *, workers, announce):
            super().__init__(program, wrong=self.wrong)
            made.append((self, directory, workers))

    made.append(Compiled)
    monkeypatch.setattr("spikeloom.runners.compiled.CompiledRunner", Compiled)
    monkeypatch.setattr(mnist, "TRIALS", (TRIAL,))
    monkeypatch.chdir(tmp_path)
    return made


def test_command(folder, made, tmp_path, capsys):
    (tmp_path / "qor").mkdir()
    (tmp_path / "qor" / TRIAL.quality).write_text('{"fmax_mhz": 110.0}')
    main(["mnist", "--data", str(folder), "--workers", "3"])
    ((_, directory, workers),) = made[1:]
    assert (directory, workers) == (Path("build/mnist"), 3)
    (entry,) = json.loads(Path("build/mnist/summary.json").read_text())
    assert (entry["images"], entry["mismatches"], entry["images_per_s"]) == (IMAGES, 0, 110000)
    printed = capsys.readouterr().out
    assert "110,000" in printed
    assert "clock unknown" not in printed


def test_command_of_some_images_without_a_clock(folder, made, capsys):
    main(["mnist", "--data", str(folder), "--images", "5"])
    (entry,) = json.loads(Path("build/mnist/summary.json").read_text())
    assert (entry["images"], entry["fmax_mhz"], entry["images_per_s"]) == (5, None, None)
    assert "clock unknown: qor/lif-core-wide-ecp5-85f.json is missing; run make qor" in capsys.readouterr().out


def test_command_fails_where_hardware_and_reference_differ(folder, made, capsys):
    made[0].wrong = 2
    with pytest.raises(SystemExit) as stop:
        main(["mnist", "--data", str(folder)])
    assert stop.value.code == 1
    assert capsys.readouterr().err == (
        "spikeloom: mnist-mlp.nir, 8 bits: hardware and reference must agree in every spike, not differ in 2 places\n"
    )
    (entry,) = json.loads(Path("build/mnist/summary.json").read_text())
    assert entry["mismatches"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--data", "nowhere"],
            "'nowhere' does not contain the file t10k-images-idx3-ubyte or t10k-images-idx3-ubyte.gz",
        ),
        (["--data", "data", "--images", "0"], f"the number of images must be from 1 to {IMAGES}, not 0"),
        (["--data", "data", "--images", "999"], f"the number of images must be from 1 to {IMAGES}, not 999"),
    ],
)
def test_command_refuses_in_one_sentence(folder, made, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        main(["mnist", *arguments])
    assert stop.value.code == 2
    assert re.fullmatch(f"spikeloom: {message}\n", capsys.readouterr().err)


# The network


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
    """The file holds weights of 8 bits: as integers the network does what it does in floating point."""
    network = load(shipped(model))
    quantised = quantise(network)
    assert quantised.notes == ()
    for exact, integers in zip(network.connections, quantised.connections, strict=True):
        ratio = np.unique(integers.weight[exact.weight != 0] / exact.weight[exact.weight != 0])
        assert len(ratio) == 1
        assert np.log2(ratio[0]) == np.rint(np.log2(ratio[0]))
