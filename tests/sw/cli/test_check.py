"""``spikeloom check``."""

import json
import subprocess
import sys
import time
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
from harness.cli import refused, write_network
from harness.networks import rng_of
from harness.nir_graphs import graph, lif, linear

from spikeloom.cli.app import main
from spikeloom.datasets.shipped import shipped


def test_check_says_how_a_network_is_stepped_and_what_it_takes(network, capsys):
    main(["check", network])
    text = capsys.readouterr().out
    assert "v = 0.875 v + I; spike if v > 1; then v = 0" in text
    assert "weight words of 1 weight " in text


def test_what_each_tile_takes_of_a_board(network, capsys):
    """Tiles, routers and host link add up to the fabric; as a table, and as the same numbers in JSON."""
    options = ["check", network, "--fabric", "small", "--mesh", "2x2", "--board", "ulx3s-85f"]
    main([*options, "--json"])
    said = json.loads(capsys.readouterr().out)
    parts = said["parts"]
    assert list(parts) == ["tile 1, core", "tile 2, core", "tile 3, core", "routers", "host link", "total"]
    assert parts["tile 1, core"] == parts["tile 3, core"] != parts["routers"]
    for resource, total in parts["total"].items():
        assert total == sum(part[resource] for name, part in parts.items() if name != "total")
    assert 0 < parts["total"]["lut"] < said["available"]["lut"] == 83_640
    main(options)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "tile 2, core" in line]
    assert f"{parts['tile 2, core']['lut']:,}" in line


@pytest.mark.parametrize("command", ["check", "bitstream"])
def test_a_network_too_large_for_a_board_is_refused_at_once(command, capsys):
    """The refusal comes before any synthesis, and names the boards that could hold it."""
    started = time.monotonic()
    message = refused(capsys, command, str(shipped("mnist-mlp.nir")), "--board", "icebreaker")
    assert time.monotonic() - started < 30
    assert message.startswith("mnist-mlp does not fit iCE40UP5K: the nearest core, of ")
    assert (
        "; boards that can hold it at 8 bits: ulx3s-12f, ulx3s-25f, ulx3s-45f, ulx3s-85f, orangecrab-85f, " in message
    )
    assert list(Path().iterdir()) == []


def test_a_network_with_attention(capsys):
    path = str(shipped("digits-transformer.nir"))
    main(["check", path])
    text = " ".join(capsys.readouterr().out.split())
    assert "Bernoulli" in text
    assert "attention, which runs on the reference: fabrics with such a tile: transformer" in text
    main(["check", path, "--fabric", "transformer"])
    assert "attention" in capsys.readouterr().out.rpartition("fabric transformer")[2]
    main(["run", path, "--backend", "reference", "--images", "3"])
    assert "of 3 images" in capsys.readouterr().out


def test_an_unknown_node(tmp_path, capsys):
    path = write_network(tmp_path / "x.nir")
    with h5py.File(path, "a") as file:
        del file["node/nodes/fc2/type"]
        file["node/nodes/fc2/type"] = "Quantum"
    message = refused(capsys, "check", path)
    assert "'fc2'" in message
    assert "Quantum" in message


def test_a_cycle_without_delay(tmp_path, capsys):
    loop = {"back": nir.Linear(np.ones((8, 8))), "forth": nir.Linear(np.ones((8, 8)))}
    edges = [("fc1", "back"), ("back", "forth"), ("forth", "back"), ("forth", "hidden")]
    message = refused(capsys, "check", write_network(tmp_path / "x.nir", nodes=loop, edges=edges))
    assert "cycle" in message


def test_a_time_step_larger_than_tau(tmp_path, capsys):
    path = write_network(tmp_path / "x.nir", hints={"preset": "nir", "time_step_s": 1e-2})
    message = refused(capsys, "check", path)
    assert "'hidden'" in message
    assert "tau" in message


def test_weights_that_could_overflow(tmp_path, capsys):
    rng = np.random.default_rng(2)
    weight = rng.choice([-1.0, 1.0], (8, 64)) * rng.uniform(0.9, 0.99, (8, 64))
    path = write_network(tmp_path / "x.nir", weight=np.abs(weight), inputs=64)
    main(["check", path])
    capsys.readouterr()
    wide = write_network(tmp_path / "y.nir", weight=np.full((8, 300), 0.99), inputs=300)
    message = refused(capsys, "check", wide)
    assert message == (
        "population hidden: its weights could overflow the accumulator, their sum needs 17 bits, but it has 16; "
        "--board NAME chooses a fabric for it"
    )


NEURONS, SYNAPSES = 10_000, 200_000
MEASURE = """
import json, resource, subprocess, sys
command = [sys.executable, "-m", "spikeloom.cli.app", "check", *sys.argv[1:]]
done = subprocess.run(command, capture_output=True, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([done.returncode, done.stdout, done.stderr, used.ru_maxrss / 1024, used.ru_utime + used.ru_stime]))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file with sparse recurrent neurons: a compressed array of 400 MB, of which 0.2 % is nonzero."""
    rng = rng_of("10,000 neurons")
    path = tmp_path_factory.mktemp("large") / "large.nir"
    nodes = {"w": linear(NEURONS, 3), "lif": lif(NEURONS, r=8.0), "loop": nir.Linear(np.ones((1, 1)))}
    edges = "in w, w lif, lif loop, loop lif, lif out"
    hints = {"spikeloom": {"time_step_s": 1e-3}}
    nir.write(path, graph(nodes, edges, outputs=(NEURONS,), metadata=hints))
    rows, columns = np.divmod(np.sort(rng.choice(NEURONS * NEURONS, SYNAPSES, replace=False)), NEURONS)
    values = rng.normal(0, 0.05, SYNAPSES)
    height = 250
    with h5py.File(path, "a") as file:
        del file["node/nodes/loop/weight"]
        options = {"dtype": "<f4", "chunks": (height, NEURONS), "compression": "gzip", "compression_opts": 1}
        weight = file.create_dataset("node/nodes/loop/weight", (NEURONS, NEURONS), **options)
        for first in range(0, NEURONS, height):
            block = np.zeros((height, NEURONS), np.float32)
            here = (rows >= first) & (rows < first + height)
            block[rows[here] - first, columns[here]] = values[here]
            weight[first : first + height] = block
    return path


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ([], "network large does not fit the fabric small: it needs 10,000 neurons (64 available); "),
        (["--board", "ulx3s-85f"], "large does not fit LFE5U-85F: the nearest core, of 1 lane, needs "),
    ],
    ids=["fabric", "board"],
)
def test_large_sparse_networks_take_little_memory_and_work(large, options, answer):
    """At most 1 GiB and 20 s of processor time; measured were 84 MiB and 2 s, and 511 MiB and 4 s with a board.

    As arrays, the weights alone took 5 GB and 34 s, and placement more than 180 s.
    """
    # A process starts with the peak memory of its parent, and this one may be large: a small process is in between.
    command = [sys.executable, "-c", MEASURE, str(large), *options]
    measured = subprocess.run(command, capture_output=True, text=True, check=True)
    status, out, err, memory_mib, seconds = json.loads(measured.stdout)
    assert f"large: 3 inputs, {NEURONS:,} neurons, {SYNAPSES + 3 * NEURONS:,} synapses" in out
    assert status == 2, err
    *_, last = err.strip().split("\n")
    assert last.startswith(f"spikeloom: {answer}")
    assert 30 < memory_mib < 1024
    assert seconds < 20


def test_where_the_weights_lie(capsys):
    """In block RAM where they fit, else in SDRAM; a sentence names the layers and the part of the memory."""
    options = ["check", str(shipped("mnist-mlp-128.nir")), "--board"]
    main([*options, "ulx3s-85f", "--json"])
    assert json.loads(capsys.readouterr().out)["weights_in"] == {"hidden": "block RAM", "digit": "block RAM"}
    main([*options, "ulx3s-12f", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["weights_in"] == {"hidden": "SDRAM", "digit": "SDRAM"}
    assert said["takes"]["ram"] < 30
    main([*options, "ulx3s-12f"])
    text = " ".join(capsys.readouterr().out.split())
    assert "weights of hidden, digit in SDRAM: 0.102 of 33.6 MB; everything else in block RAM" in text


def test_weights_of_both_kinds(capsys):
    """The short rows of the last layer lie in block RAM, and as many of the first as there is room for."""
    options = ["--core", "streamed_words=32768", "--core", "weight_words=4096", "--core", "lanes=4"]
    options = ["check", str(shipped("mnist-mlp-128.nir")), "--board", "ulx3s-12f", *options]
    main([*options, "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["weights_in"] == {"hidden": "block RAM and SDRAM", "digit": "block RAM"}
    main(options)
    text = " ".join(capsys.readouterr().out.split())
    # 784 rows of 32 words and 128 rows of 3: 116 of the former fit beside the latter, and 668 are streamed.
    assert "weights in SDRAM: hidden 85%; 0.0855 of 33.6 MB everything else in block RAM: kernels, sparse" in text


@pytest.mark.parametrize(
    ("given", "sentence", "lies"),
    [
        (
            ["weight_memory=sdram"],
            "weights of hidden, digit in SDRAM: 0.00243 of 33.6 MB, shared by 2 cores; everything else in block RAM",
            {"hidden": "SDRAM", "digit": "SDRAM"},
        ),
        (
            ["streamed_words=4096", "weight_words=128"],
            "weights in SDRAM: hidden 50%, digit 100%; 0.00142 of 33.6 MB, shared by 2 cores everything else in block",
            {"hidden": "block RAM and SDRAM", "digit": "SDRAM"},
        ),
    ],
    ids=["streamed", "mixed"],
)
def test_cores_that_share_an_sdram(capsys, given, sentence, lies):
    """The network is cut as for other meshes; the memory of weights and its arbiter are estimated once."""
    options = [option for field in [*given, "lanes=4"] for option in ("--core", field)]
    # Weights of different widths have the same in an SDRAM.
    options += ["--board", "ulx3s-12f", "--tiles", "2", "--weight-bits", "hidden=8,digit=7"]
    main(["check", str(shipped("digits-mlp.nir")), *options])
    assert sentence in " ".join(capsys.readouterr().out.split())
    main(["check", str(shipped("digits-mlp.nir")), *options, "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["weights_in"] == lies
    assert len({use["tile"] for use in said["uses"]}) == 2
    assert 2500 < said["parts"]["weights in SDRAM"]["lut"] < 3000
    assert said["parts"]["total"]["lut"] == sum(part["lut"] for part in list(said["parts"].values())[:-1])


def test_more_cores_than_can_share_an_sdram(capsys):
    options = ["--board", "ulx3s-12f", "--core", "weight_memory=sdram", "--tiles", "20"]
    message = refused(capsys, "check", str(shipped("digits-mlp.nir")), *options)
    assert message == "cores with weights in SDRAM must be at most 16, not 24"


@pytest.mark.parametrize(
    ("board", "lanes", "megabytes"), [("icesugar-pro", 4, 33.6), ("icepi-zero", 4, 33.6), ("colorlight-5a75b", 8, 4.19)]
)
def test_boards_with_sdram(capsys, board, lanes, megabytes):
    """With 16 data pins a burst has 32 bits, with 32 it has 64: as wide is a weight word at most."""
    main(["check", str(shipped("digits-mlp.nir")), "--board", board, "--core", "weight_memory=sdram", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert set(said["weights_in"].values()) == {"SDRAM"}
    main(["check", str(shipped("digits-mlp.nir")), "--board", board, "--core", "weight_memory=sdram"])
    text = " ".join(capsys.readouterr().out.split())
    assert f"of {megabytes:g} MB; everything else in block RAM" in text
    assert said["core"]["lanes"] == lanes


def test_a_board_without_sdram(capsys):
    options = ["--board", "icebreaker", "--core", "weight_memory=sdram"]
    message = refused(capsys, "check", str(shipped("digits-mlp.nir")), *options)
    assert message.startswith(
        "weight_memory must be 'block', because the board has no SDRAM that is supported; boards "
    )
    assert "ulx3s-12f" in message
