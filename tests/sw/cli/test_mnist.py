"""``spikeloom mnist`` on generated images: its runs, files, output and errors."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from harness.mnist import IMAGES, TRIAL, Counting, digits_of
from harness.networks import rng_of

from spikeloom.benchmarks import mnist
from spikeloom.cli.app import main


@pytest.fixture
def digits(request):
    return digits_of(rng_of(request.node.nodeid))


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
    """One trial, with a clocked reference in place of the compiled hardware; returns the arguments that it was made
    with."""
    made = []

    class Compiled(Counting):
        wrong = 0

        def __init__(self, program, directory, *, workers, optimise, announce):
            super().__init__(program, wrong=self.wrong)
            made.append((self, directory, workers, optimise))

    made.append(Compiled)
    monkeypatch.setattr("spikeloom.runners.compiled.CompiledRunner", Compiled)
    monkeypatch.setattr(mnist, "TRIALS", (TRIAL,))
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def quality(monkeypatch, tmp_path):
    """Folder of the kept figures: that of the checkout or of the wheel is used, wherever the command is started."""
    (tmp_path / "qor").mkdir()
    monkeypatch.setattr("spikeloom.boards.qor.figures.kept_folder", lambda: tmp_path / "qor")


def test_command(folder, made, quality, tmp_path, capsys):
    (tmp_path / "qor" / TRIAL.quality).write_text('{"fmax_mhz": 110.0}')
    main(["mnist", "--data", str(folder), "--workers", "3", "--optimise"])
    ((_, directory, workers, optimise),) = made[1:]
    assert (directory, workers, optimise) == (Path("build/mnist"), 3, True)
    (entry,) = json.loads(Path("build/mnist/summary.json").read_text())
    assert (entry["images"], entry["mismatches"], entry["images_per_s"]) == (IMAGES, 0, 110000)
    printed = capsys.readouterr().out
    assert "110,000" in printed
    assert "clock unknown" not in printed


def test_command_of_some_images_without_a_clock(folder, made, quality, capsys):
    main(["mnist", "--data", str(folder), "--images", "5"])
    (entry,) = json.loads(Path("build/mnist/summary.json").read_text())
    assert (entry["images"], entry["fmax_mhz"], entry["images_per_s"]) == (5, None, None)
    assert "clock unknown: qor/lif-core-wide-ecp5-85f.json is missing; run make qor" in capsys.readouterr().out


def test_command_knows_the_clock_in_any_folder(folder, made, capsys):
    main(["mnist", "--data", str(folder), "--images", "5"])
    (entry,) = json.loads(Path("build/mnist/summary.json").read_text())
    assert entry["fmax_mhz"] > 100
    assert entry["images_per_s"] == round(entry["fmax_mhz"] * 1000)
    assert entry["latency_us"] == round(1100 / entry["fmax_mhz"], 2)
    assert "clock unknown" not in capsys.readouterr().out


def test_command_fails_where_hardware_and_reference_differ(folder, made, capsys):
    made[0].wrong = 2
    with pytest.raises(SystemExit) as stop:
        main(["mnist", "--data", str(folder)])
    assert stop.value.code == 1
    assert capsys.readouterr().err == (
        "spikeloom: mnist-mlp.nir, 8 bits: hardware and reference differ in 2 places, expected no difference\n"
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


def test_without_a_folder_the_files_are_fetched_into_the_output_directory(folder, made, monkeypatch):
    asked = []

    def fetch(output, *, announce):
        asked.append(output)
        return folder

    monkeypatch.setattr("spikeloom.datasets.mnist.fetch_mnist", fetch)
    main(["mnist", "--images", "3", "--output", "elsewhere"])
    assert asked == [Path("elsewhere")]
    (entry,) = json.loads(Path("elsewhere/summary.json").read_text())
    assert entry["images"] == 3
