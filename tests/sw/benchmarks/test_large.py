"""Large networks in SDRAM, on small ones: pieces, resumption, entries and sentences."""

import dataclasses
import json

import numpy as np
import pytest
from harness.streamed_fabric import FABRIC, streamed_library

from spikeloom.benchmarks import large
from spikeloom.benchmarks.large import Entry, Task, classifier, complaints, layered, main, recurrent, table_of
from spikeloom.explore.choose import ChoiceError
from spikeloom.sim.network.reference import simulate
from spikeloom.simulators.build import CompiledDesign

CLOCK_HZ = 90_000_000


def layers(folder, data):
    workload = layered((24, 20, 14, 6), samples=5, steps=6, threshold=90, rate=0.3)
    return dataclasses.replace(workload, labels=np.arange(5))


TASKS = (
    Task(name="loop", piece=1, make=lambda folder, data: recurrent(40, inputs=8, density=0.3, steps=120, threshold=16)),
    Task(name="layers", piece=2, make=layers),
)


@pytest.fixture
def small(monkeypatch):
    """Every network runs on one small fabric, except on one board."""

    def fabric_on(network, board, weight_memory):
        if board == "ulx3s-12f":
            raise ChoiceError(f"{network.name} does not fit LFE5U-12F: the nearest core needs 80 block RAMs")
        return FABRIC, CLOCK_HZ

    monkeypatch.setattr(large, "fabric_on", fabric_on)
    compiled = CompiledDesign(library=streamed_library(), compiled=False, seconds=0.0)
    monkeypatch.setattr(large, "compile_tiles", lambda fabric, folder, announce: compiled)


def test_every_spike_equals_the_reference(small, tmp_path, capsys):
    assert main(["--output", str(tmp_path)], TASKS) == 0
    said = capsys.readouterr().out
    assert "loop on ulx3s-85f: step 100 of 120" in said
    assert "layers on ulx3s-85f: samples 5 to 5 of 5" in said
    assert "layers on ulx3s-12f: 24-20-14-6 does not fit LFE5U-12F: the nearest core needs 80 block RAMs" in said
    entries = json.loads((tmp_path / "summary.json").read_text())
    assert [(entry["format"], entry["network"], entry["board"]) for entry in entries] == [
        (1, task.name, board) for task in TASKS for board in ("ulx3s-85f", "ulx3s-12f")
    ]
    for entry, task in zip(entries[::2], TASKS, strict=True):
        workload = task.make(tmp_path, None)
        reference = simulate(workload.network, workload.inputs)
        fired = sum(int(spikes.sum()) for spikes in reference.spikes.values())
        assert 0 < fired < sum(spikes.size for spikes in reference.spikes.values())
        assert (entry["spikes_compared"], entry["mismatches"]) == (fired, 0)
        assert entry["steps_per_s"] == pytest.approx(entry["images_per_s"] * len(workload.inputs), rel=0.01)
        assert 0 < entry["bandwidth_used"] < 1
        operations = float(reference.synaptic_operations.mean())
        assert entry["weights_added_per_s"] == pytest.approx(entry["images_per_s"] * operations, rel=0.01)
        assert set(entry["memory_bytes"]) >= {"weights", "rows", "states", "accumulators"}
        connected = sum(np.count_nonzero(c.weight) for c in workload.network.connections)
        assert entry["synapses"] == (connected if task.name == "loop" else 24 * 20 + 20 * 14 + 14 * 6)
    assert entries[0]["accuracy"] is None
    assert entries[2]["accuracy"] in (0.0, 0.2, 0.4)
    assert entries[1]["missing"]
    assert entries[1]["images_per_s"] is None

    # What is finished is not simulated again; a piece that is missing is.
    pieces = sorted(tmp_path.glob("*/*.json"))
    assert len(pieces) == 4
    times = {path: path.stat().st_mtime_ns for path in pieces}
    pieces[0].unlink()
    assert main(["--output", str(tmp_path), "--only", "layers"], TASKS) == 0
    assert sorted(tmp_path.glob("*/*.json")) == pieces
    again = json.loads((tmp_path / "summary.json").read_text())
    assert again == entries[2:]
    assert [path for path in pieces if path.stat().st_mtime_ns != times[path]] == pieces[:1]


def test_a_difference_is_found(small, tmp_path, monkeypatch, capsys):
    """The reference of another network."""

    def other(network, inputs):
        changed = dataclasses.replace(network.connections[0], weight=network.connections[0].weight // 2)
        return simulate(dataclasses.replace(network, connections=(changed, *network.connections[1:])), inputs)

    monkeypatch.setattr(large, "simulate", other)
    assert main(["--output", str(tmp_path), "--only", "layers"], TASKS) == 1
    assert "layers on ulx3s-85f: RTL and reference differ in " in capsys.readouterr().err


def test_bounds_and_table():
    entry = Entry(
        network="net",
        neurons=3,
        synapses=4,
        board="ulx3s-85f",
        spikes_compared=1234,
        accuracy=0.98,
        test_accuracy=0.9712,
        images_per_s=150.5,
        bandwidth_used=0.875,
        steps_per_s=3762.5,
        clock_mhz=90.0,
        memory_bytes={"weights": 401_000},
    )
    assert complaints([entry, dataclasses.replace(entry, board="ulx3s-12f")]) == [
        "net: accuracy must be at least 97.5 % of all test images, not 97.12 %"
    ]
    assert complaints([dataclasses.replace(entry, test_accuracy=0.975)]) == []
    table = table_of([entry, Entry(network="net", neurons=3, synapses=4, board="ulx3s-12f", missing="too large")])
    cells = [list(column.cells) for column in table.columns]
    assert [column[0] for column in cells][2:] == [
        *("90", "0.40 MB", "1,234", "0", "98.00 %", "150.50", "3,762", "87.5 %")
    ]
    assert [column[1] for column in cells] == ["net", "ulx3s-12f", *["-"] * 8]


@pytest.mark.parametrize(
    ("options", "torch", "said"),
    [
        (["--only", "none"], True, "--only must be part of one of 'net', not 'none'"),
        ([], False, "training needs PyTorch; pip install 'spikeloom[train]'"),
        (
            ["--data", "none"],
            True,
            "'none' does not contain the file t10k-images-idx3-ubyte or t10k-images-idx3-ubyte.gz",
        ),
    ],
)
def test_errors_are_one_sentence(options, torch, said, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(large, "find_spec", lambda name: object() if torch else None)
    if torch:  # a network that is trained already needs the test images only
        trained = large.network_file(large.RECIPE, tmp_path / "build/large").with_suffix(".json")
        trained.parent.mkdir(parents=True)
        trained.write_text("{}")
        monkeypatch.setattr(large, "load", lambda path: None)
        monkeypatch.setattr(large, "quantise", lambda network, widths: None)
    assert main(options, (Task(name="net", piece=1, make=classifier),)) == 2
    assert capsys.readouterr().err == f"spikeloom: {said}\n"
