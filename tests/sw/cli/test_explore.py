"""``spikeloom explore``."""

import csv
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from harness.cli import refused, sentence
from harness.studies import ENCODER, small_images, small_network

from spikeloom.cli.app import main
from spikeloom.cli.console import out
from spikeloom.datasets.shipped import load_digits, shipped
from spikeloom.frontends.saving import save

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
QUICK = ["--jobs", "1", "--board", "icebreaker", "--lanes", "1"]


@pytest.fixture
def small(tmp_path):
    """The small network and its images, as files beside the working folder."""
    save(small_network(), tmp_path / "small.nir")
    np.savez(tmp_path / "images.npz", **small_images())
    return [str(tmp_path / "small.nir"), "--data", str(tmp_path / "images.npz")]


def test_tables_files_and_json(small, capsys, monkeypatch):
    monkeypatch.setattr(out, "_width", 160)  # rich reads COLUMNS only when the console is made
    options = [
        "--weight-bits",
        "8,2",
        "--weight-bits",
        "4,class=3",
        "--steps",
        "3,6",
        "--board",
        "icebreaker,ulx3s-12f",
    ]
    main(["explore", *small, *options, "--jobs", "1", "--all"])
    said = capsys.readouterr()
    assert "24 points, each with 40 validation samples of " in said.err
    assert "first results" in said.err
    for text in (
        "small on icebreaker, 27 MHz: all, * Pareto front",
        "hidden=4,class=3",
        "LUTs to nJ per image are estimates",
    ):
        assert text in said.out
    content = json.loads(Path("build/explore/explore.json").read_text())
    assert (content["format"], content["samples"], len(content["points"])) == (1, 40, 24)
    assert 0 < sum(each["front"] for each in content["points"]) < 24
    assert {each["score"]["steps"] for each in content["points"]} == {3, 6}
    rows = list(csv.DictReader(Path("build/explore/points.csv").read_text().splitlines()))
    for row, each in zip(rows, content["points"], strict=True):
        assert float(row["accuracy"]) == each["score"]["accuracy"]
        assert float(row["energy_nj"]) == each["estimate"]["energy_nj"]
    assert rows[0]["encoder"].startswith("rate:steps=6,bits=2,lfsr_width=")
    assert Path("build/explore/pareto.svg").read_text().startswith("<svg ")
    before = Path("build/explore/points.jsonl").read_bytes()

    main(["explore", *small, *options, "--jobs", "1", "--json"])  # again, from the log
    said = capsys.readouterr()
    assert json.loads(said.out) == content
    assert "first results" not in said.err
    assert Path("build/explore/points.jsonl").read_bytes() == before


def test_only_the_front_is_shown(small, capsys):
    main(["explore", *small, *QUICK, "--weight-bits", "8,2", "--steps", "6"])
    out = capsys.readouterr().out
    front = sum(each["front"] for each in json.loads(Path("build/explore/explore.json").read_text())["points"])
    assert len(re.findall(r"^[82] .* %", out, re.MULTILINE)) == front


def test_what_does_not_fit_has_a_reason(small, capsys):
    main(["explore", *small, *QUICK[:4], "--weight-bits", "8", "--steps", "6", "--lanes", "1,256", "--output", "out"])
    out = capsys.readouterr().out
    assert re.search(r"^1 of 2 points are not possible, the first: small does not fit iCE40UP5K: ", out, re.MULTILINE)
    message = sentence(capsys, "explore", *small, *QUICK[:4], "--weight-bits", "8", "--lanes", "256", "--output", "out")
    assert message.startswith("no point is possible: small does not fit iCE40UP5K: the nearest core, of 256 lanes, ")


def test_spikes_of_either_order(small, tmp_path, capsys):
    """Batch first is read with --layout, and recognised by its labels without."""
    arrays = small_images()
    spikes = ENCODER.encode(arrays["images"])
    points = []
    for name, options in (("tbn", []), ("btn", ["--layout", "btn"])):
        order = spikes if name == "tbn" else spikes.transpose(1, 0, 2)
        np.savez(tmp_path / f"{name}.npz", spikes=order, labels=arrays["labels"])
        data = [small[0], "--data", str(tmp_path / f"{name}.npz"), *QUICK, "--weight-bits", "2", "--output", name]
        main(["explore", *data, *options, "--json"])
        points.append(json.loads(capsys.readouterr().out)["points"])
    assert points[0] == points[1]
    assert points[0][0]["encoder"] is None
    message = sentence(capsys, "explore", *data, "--output", "other")
    assert (
        "spikes must be (T, B, n), but 40 labels fit the first axis of (40, 6, 12); (B, T, n) is read with" in message
    )


def test_without_labels_answers_are_compared_with_the_floats(small, tmp_path, capsys):
    np.save(tmp_path / "images.npy", small_images()["images"])
    main(["explore", small[0], "--data", str(tmp_path / "images.npy"), *QUICK, "--weight-bits", "8,2", "--steps", "6"])
    assert "as floats" in capsys.readouterr().out
    content = json.loads(Path("build/explore/explore.json").read_text())
    assert content["quality"] == "agreement"
    assert [each["score"]["accuracy"] for each in content["points"]] == [None, None]


def test_the_default_is_the_training_digits(capsys):
    """The held-out digits are not among the samples."""
    main(["explore", *QUICK, "--weight-bits", "4", "--limit", "30", "--json"])
    said = capsys.readouterr()
    points = json.loads(said.out)["points"]
    assert [each["score"]["steps"] for each in points] == [8, 4, 16]
    assert all(each["score"]["samples"] == 30 for each in points)
    assert len(load_digits()[0]) == 1437


def test_a_project_gives_single_values(small, capsys):
    """For options that may be repeated, a project gives the value that other commands take once."""
    Path("spikeloom.toml").write_text(
        'weight-bits = 12\nboard = "ulx3s-12f"\n[encoder]\nkind = "rate"\nsteps = 5\nbits = 2\n'
    )
    main(["explore", *small, "--lanes", "1", "--steps", "5", "--jobs", "1", "--json"])
    (found,) = json.loads(capsys.readouterr().out)["points"]
    assert (found["weight_bits"], found["board"], found["score"]["steps"]) == (12, "ulx3s-12f", 5)


def test_widths_that_the_file_asks_for_come_first(tmp_path, small, capsys):
    network = small_network()
    first, *others = network.populations
    network = dataclasses.replace(network, populations=(dataclasses.replace(first, weight_bits=5), *others))
    save(network, tmp_path / "own.nir")
    main(["explore", str(tmp_path / "own.nir"), *small[1:], *QUICK, "--steps", "6", "--json"])
    points = json.loads(capsys.readouterr().out)["points"]
    assert [each["weight_bits"] for each in points] == [{"hidden": 5, "class": 8}, 8, 6, 4, 3, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weight-bits", "8,x"], r"^weight-bits must be whole numbers separated by commas, not 'x'$"),
        (["--weight-bits", "20"], r"^weight_bits must be from 1 to 16, not 20$"),
        (["--weight-bits", "8,lif=4"], r"^weight bits must be of populations of network small, .*, not of lif$"),
        (["--steps", ""], r"^steps must be whole numbers separated by commas, not ''$"),
        (["--lanes", "auto,x"], r"^lanes must be whole numbers and auto separated by commas, not 'x'$"),
        (["--lanes", "auto,3"], r"^lanes must be a power of two from 1 to 256, not 3$"),
        (["--board", "icebraker"], r"^Board must be one that 'spikeloom boards' lists, perhaps icebreaker"),
        (["--encoder", "morse"], r"^kind of an encoder must be one of "),
        (["--limit", "0"], r"^limit must be at least 1, not 0$"),
        (["--rate", "x"], r"^Invalid value for '--rate'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_are_wrong(small, options, message, capsys):
    assert re.search(message, sentence(capsys, "explore", *small, *options))
    assert not list(Path().rglob("*.svg"))


def test_data_that_is_needed(capsys):
    message = refused(capsys, "explore", str(shipped("mnist-mlp-128.nir")))
    assert message == "network mnist-mlp-128 has 784 inputs, so --data must be a file, not omitted"


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_signal_leaves_whole_lines_and_the_next_run_goes_on(small, jobs):
    """The points that were finished are not computed again, and nothing else is left."""
    bits = ",".join(map(str, range(16, 0, -1)))
    options = ["explore", *small, "--weight-bits", bits, "--steps", "6,5,4,3", "--lanes", "1,2", "--jobs", jobs]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "spikeloom.cli.app", *options]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log = Path("build/explore/points.jsonl")
    deadline = time.monotonic() + 300
    while not (log.exists() and log.read_bytes().count(b"\n") >= 6):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=120)
    assert process.returncode == STATUS[signal.SIGINT], error
    assert "Traceback" not in error
    assert out == ""
    before = log.read_bytes()
    assert before.endswith(b"\n")
    assert [path.name for path in Path("build/explore").iterdir()] == ["points.jsonl"]
    if jobs == "1":
        assert before.count(b"\n") < 16 * 4 * 6
        main([*options[:3], str(small[2]), "--weight-bits", "16", "--steps", "6", "--lanes", "1,2", "--jobs", "1"])
        assert log.read_bytes() == before


def test_boards_that_are_not_installed(small, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "spikeloom.boards.targets.registry", None)
    message = refused(capsys, "explore", *small)
    assert message.endswith("which are not installed; pip install 'spikeloom[boards]'")


def test_attention_has_no_core(capsys):
    path = str(shipped("digits-transformer.nir"))
    message = sentence(capsys, "explore", path, *QUICK, "--weight-bits", "8", "--steps", "4", "--limit", "3")
    assert message.startswith("no point is possible: ")
    assert "attention" in message


def test_a_scheduler_that_does_not_answer(small, capsys):
    message = sentence(capsys, "explore", *small, *QUICK[2:], "--scheduler", "nonsense://x")
    assert message.startswith(
        "scheduler must be the address of a running Dask scheduler, such as tcp://127.0.0.1:8786, "
    )
