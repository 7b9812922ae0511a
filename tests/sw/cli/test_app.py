"""The command: what it prints, and one sentence and exit status 2 for everything that a user can get wrong."""

import itertools
import json
import re
import socket
import threading
import time
from pathlib import Path

import nir
import numpy as np
import pytest

from spikeloom.boards.targets.registry import BOARDS, find_board
from spikeloom.cli.app import main
from spikeloom.compiler.place import place
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import RateEncoder
from spikeloom.datasets.shipped import shipped
from spikeloom.frontends.nir import load
from spikeloom.host.peripherals import with_units
from spikeloom.sim.fabric.fabric import FABRICS
from spikeloom.sim.fabric.fabric_file import fabric_from_json, fabric_to_json
from spikeloom.sim.host.encoder import EncoderParameters
from spikeloom.sim.host.link import DeviceModel, LinkParameters
from spikeloom.sim.host.readout import ReadoutParameters
from spikeloom.sim.lib.contents import program_digest


def lif(size, tau=8e-4):
    one = np.ones(size)
    return nir.LIF(tau=tau * one, r=8 * one, v_leak=0 * one, v_threshold=one, v_reset=0 * one)


def write_network(path, *, inputs=64, hidden=8, weight=None, nodes=None, edges=None, hints=None):
    """A network of two layers; ``nodes`` and ``edges`` are put over it."""
    rng = np.random.default_rng(5)
    content = {
        "input": nir.Input(np.array([inputs])),
        "fc1": nir.Linear(rng.normal(0, 0.2, (hidden, inputs)) if weight is None else weight),
        "hidden": lif(hidden),
        "fc2": nir.Linear(rng.normal(0, 0.4, (10, hidden))),
        "class": lif(10),
        "output": nir.Output(np.array([10])),
    } | (nodes or {})
    names = ["input", "fc1", "hidden", "fc2", "class", "output"]
    pairs = [*itertools.pairwise(names), *(edges or [])]
    metadata = {
        "spikeloom": {"preset": "snntorch", "reset": "zero", "reset_delay": 0} | (hints or {}),
        "spikeloom_encoder": RateEncoder(steps=6, bits=4).settings(),
    }
    nir.write(path, nir.NIRGraph(nodes=content, edges=pairs, metadata=metadata, type_check=False))
    return str(path)


@pytest.fixture
def network(tmp_path):
    return write_network(tmp_path / "net.nir")


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "160")


def refused(capsys, *arguments):
    """The sentence with which the command refuses ``arguments``; nothing may have been written."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error, error
    assert error.startswith("spikeloom: ")
    assert not [path for path in Path().rglob("*") if path.is_file()]
    return error.removeprefix("spikeloom: ")


def test_check_says_how_a_network_is_stepped_and_what_it_takes(network, capsys):
    main(["check", network])
    text = capsys.readouterr().out
    assert "v = 0.875 v + I; spike if v > 1; then v = 0" in text
    assert "weight words of 1 weights" in text


def test_place_says_what_lies_where(network, capsys):
    main(["place", network, "--tiles", "3"])
    text = capsys.readouterr().out
    assert "on fabric small, a mesh of 2 x 2" in text
    for line in (r"1 +hidden\[\d+:\d+\] ", r"input +host +[\d, ]+ ", r"class(\[\d+:10\])? +\d +host ", r"all tokens "):
        assert re.search(line, text), text
    said = " ".join(text.split())
    assert re.search(r"expected from the activity in 50 images: tile \d limits the throughput, with \d+ cycles", said)
    main(["place", network])
    text = capsys.readouterr().out
    assert "what goes from tile to tile" not in text
    assert re.search(r"1 +hidden +18 ", text), text


def test_place_without_a_sample(tmp_path, capsys):
    main(["place", write_network(tmp_path / "net.nir", inputs=20), "--mesh", "3x1"])
    text = capsys.readouterr().out
    assert "expected from 0.1 spikes a step of each neuron: " in text
    assert "a mesh of 3 x 1" in text


def test_place_with_a_sample(tmp_path, capsys):
    np.save(tmp_path / "spikes.npy", np.ones((6, 3, 20), bool))
    path = write_network(tmp_path / "net.nir", inputs=20)
    main(["place", path, "--mesh", "3x1", "--inputs", str(tmp_path / "spikes.npy"), "--tiles", "2", "--seed", "5"])
    text = capsys.readouterr().out
    assert "expected from the activity in 3 images: " in text
    assert re.search(r"input +host +[12, ]+ +20.0 ", text), text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tiles", "0"], "tiles must be from 1 to 1, those of the fabric, not 0"),
        (["--tiles", "64"], "tiles must be from 1 to 63, those of the largest mesh, not 64"),
        (["--tiles", "3", "--mesh", "3x1"], "tiles must be from 1 to 2, those of the fabric, not 3"),
        (["--tiles", "19"], "network net can be cut into 18 parts at most, not into 19"),
        (["--mesh", "3"], "mesh must be columns x rows, such as 3x2, not '3'"),
        (["--mesh", "3xx2"], "mesh must be columns x rows, such as 3x2, not '3xx2'"),
        (["--mesh", "-3x2"], "mesh must be columns x rows, such as 3x2, not '-3x2'"),
        (["--mesh", "9x2"], "columns must be an integer from 1 to 8, not 9"),
        (["--mesh", "1x1"], "a mesh must have places for the host bridge and a core, not 1 x 1"),
        (["--fabric", "none"], "fabric must be one of small, medium, wide, spatial, transformer, not 'none'"),
    ],
)
def test_places_that_there_are_not(network, capsys, options, message):
    assert refused(capsys, "place", network, *options) == message


def test_a_network_that_no_tiles_hold(tmp_path, capsys):
    path = write_network(tmp_path / "net.nir", hidden=100)
    message = refused(capsys, "place", path, "--mesh", "3x1")
    assert message == "network net does not fit 2 tiles: it needs 7400 weight words of 1 lanes, there are 5120"
    message = refused(capsys, "place", path, "--mesh", "2x2")
    assert message == (
        "network net does not fit 3 tiles: each of them filled as far as its memories go leaves 10 of 110 neurons"
    )
    main(["place", path, "--mesh", "3x2"])
    assert "limits the throughput" in capsys.readouterr().out


def test_info_lists_versions_and_fabrics(capsys):
    main(["info"])
    text = capsys.readouterr().out
    assert all(name in text for name in (*FABRICS, "amaranth", "boards: 41"))


def test_boards_lists_every_board(capsys):
    main(["boards"])
    text = capsys.readouterr().out
    assert all(name in text for name in ("icebreaker", "ulx3s-85f", "tang-nano-9k", "built"))


@pytest.mark.parametrize("command", ["check", "bitstream"])
def test_a_network_too_large_for_a_board_is_told_so_at_once(command, capsys):
    """Before any synthesis, and with the boards that would do."""
    started = time.monotonic()
    message = refused(capsys, command, str(shipped("mnist-mlp.nir")), "--board", "icebreaker")
    assert time.monotonic() - started < 30
    assert message.startswith("mnist-mlp must fit iCE40UP5K, and the nearest core, of ")
    assert "; boards that would hold it at 8 bits: ulx3s-85f, orangecrab-85f, ecpix5-85, " in message
    assert list(Path().iterdir()) == []


def test_fields_of_the_core_that_are_given(capsys, monkeypatch):
    asked = []

    def build(board, output, *, fabric, clock_mhz, announce):
        asked.append(fabric.core)
        raise ValueError("enough")

    monkeypatch.setattr("spikeloom.boards.bitstream.builder.build", build)
    fields = ["--core", "lanes=1", "--core", "state_memory=block", "--core", "readout=yes", "--core", "bias=yes"]
    digits = [shipped("digits-mlp.nir"), "--board", "ulx3s-85f"]
    assert refused(capsys, "bitstream", *digits, *fields) == "enough"
    (core,) = asked
    assert (core.lanes, core.state_memory, core.readout, core.neurons) == (1, "block", True, 42)
    message = refused(capsys, "check", *digits, "--core", "wheels=4")
    assert message.startswith("core must be FIELD=VALUE with one of lanes, lane_banks, neurons, ")
    assert message.endswith(", not 'wheels=4'")
    main(["check", *map(str, digits), *fields])
    assert re.search(r"lanes\W+1\W+given", capsys.readouterr().out)


def test_run_on_the_reference(network, tmp_path, capsys):
    images = np.random.default_rng(1).integers(0, 17, (5, 8, 8))
    np.savez(tmp_path / "images.npz", images=images, labels=np.zeros(5, np.int64))
    output = tmp_path / "out.npy"
    main(["run", network, "--backend", "reference", "--inputs", str(tmp_path / "images.npz"), "--output", str(output)])
    assert "accuracy" in capsys.readouterr().out
    result = np.load(output)
    assert result.shape == (6, 5, 10)
    assert 0 < result.sum() < result.size


def test_a_network_with_attention(capsys):
    path = str(shipped("digits-transformer.nir"))
    main(["check", path])
    text = " ".join(capsys.readouterr().out.split())
    assert "Bernoulli" in text
    assert "attention runs on the reference: fabrics with attention are transformer" in text
    main(["check", path, "--fabric", "transformer"])
    assert "attention" in capsys.readouterr().out.rpartition("fabric transformer")[2]
    main(["run", path, "--backend", "reference", "--images", "3"])
    assert "of 3 images" in capsys.readouterr().out


def test_generate_writes_verilog_and_images(network, capsys):
    main(["generate", network, "--output", "out", "--format", "fabric"])
    assert "module top" in Path("out/top.v").read_text()
    with np.load("out/program.npz") as program:
        assert program["tile_1_weights"].shape == (64 * 8 + 8 * 10, 1)


@pytest.mark.parametrize("command", ["check", "simulate", "generate", "run", "place"])
def test_a_file_that_is_cut_off(tmp_path, network, capsys, command):
    content = Path(network).read_bytes()
    cut = tmp_path / "cut.nir"
    cut.write_bytes(content[: len(content) // 2])
    assert "cut.nir" in refused(capsys, command, cut)


def test_a_file_that_is_not_nir(tmp_path, capsys):
    other = tmp_path / "other.nir"
    other.write_text("no network")
    assert "other.nir" in refused(capsys, "check", other)


def test_a_file_that_does_not_exist(tmp_path, capsys):
    assert "none.nir" in refused(capsys, "check", tmp_path / "none.nir")


def test_an_unknown_node(tmp_path, capsys):
    path = write_network(tmp_path / "x.nir", nodes={"fc2": nir.Scale(np.ones(8))})
    message = refused(capsys, "check", path)
    assert "'fc2'" in message
    assert "Scale" in message


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
        "population hidden: its weights could overflow the accumulator, their sum needs 17 bits, there are 16"
    )


def test_a_network_that_is_too_large(tmp_path, capsys):
    path = write_network(tmp_path / "x.nir", hidden=60)
    message = refused(capsys, "simulate", path)
    assert message == (
        "network x does not fit the fabric small: it needs 70 neurons, there are 64; 4440 weight words of 1 weights, "
        "there are 2560"
    )


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        ("a.npz", {"images": np.full((2, 8, 8), 17)}, "images must be from 0 to 16, not from 17 to 17"),
        ("a.npz", {"images": np.zeros((2, 9, 9), int)}, "images must have 64 pixels, not 81"),
        ("a.npz", {"spikes": np.full((3, 2, 64), 2)}, "spikes must be 0 or 1, not other values"),
        ("a.npz", {"spikes": np.zeros((3, 2, 63))}, "spikes must have shape (T, B, 64) or (T, 64), not (3, 2, 63)"),
        ("a.npz", {"pictures": np.zeros(3)}, "must hold an array 'spikes' or 'images', not pictures"),
        ("a.npz", {"spikes": np.zeros((3, 2, 64)), "labels": np.zeros(3)}, "labels must have shape (2,), not (3,)"),
    ],
)
def test_events_out_of_range(tmp_path, network, capsys, name, arrays, message):
    np.savez(tmp_path / name, **arrays)
    assert message in refused(capsys, "run", network, "--backend", "reference", "--inputs", tmp_path / name)


def test_inputs_that_are_no_arrays(tmp_path, network, capsys):
    (tmp_path / "a.npy").write_text("no array")
    message = refused(capsys, "simulate", network, "--inputs", tmp_path / "a.npy")
    assert message == f"{tmp_path / 'a.npy'} must be a NumPy file (.npy or .npz) without pickled objects"


def test_inputs_that_are_needed(tmp_path, capsys):
    path = write_network(tmp_path / "x.nir", inputs=20)
    assert refused(capsys, "simulate", path) == ("network x has 20 inputs, so --inputs must be given, not left out")


def test_a_missing_port(network, capsys):
    message = refused(capsys, "run", network)
    assert message == "a port must be given with --port, such as /dev/ttyUSB1 or localhost:5000"
    assert "/dev/ttyNONE" in refused(capsys, "run", network, "--port", "/dev/ttyNONE")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "--fabric", "huge"], "fabric must be one of small, medium, wide, spatial, transformer, not 'huge'"),
        (["bitstream", "--board", "ulx3s-85f", "--mesh", "2"], "mesh must be columns x rows, such as 3x2, not '2'"),
        (
            ["bitstream", "--board", "ulx3s-85f", "--mesh", "2x2", "--fabric", "transformer"],
            "fabric transformer must have one core and no mesh to be put on one",
        ),
        (
            ["bitstream", "--board", "icebreaker", "--clock", "8"],
            "Clock of icebreaker must be at least 9 MHz, not 8 MHz",
        ),
        (["check", "--core", "lanes=2"], "core must be left out without a board, for which one is chosen"),
        (["check", "--board", "ulx3s-85f", "--core", "lanes=3"], "lanes must be a power of two from 1 to 256, not 3"),
        (["check", "--board", "ulx3s-85f", "--core", "lanes=two"], "lanes must be an integer, not 'two'"),
        (["check", "--board", "ulx3s-85f", "--core", "bias=1"], "bias must be yes or no, not '1'"),
        (
            ["bitstream", "--board", "ulx3s-85f", "--core", "lanes=2"],
            "core must be left out where no network is named, for which one is chosen",
        ),
        (["bitstream", "--board", "nosuchone"], "Board must be one that 'spikeloom boards' lists, not 'nosuchone'"),
        (
            ["run", "--board", "icebraker"],
            "Board must be one that 'spikeloom boards' lists, perhaps icebreaker or icebreaker-bitsy, not 'icebraker'",
        ),
        (
            ["run", "--backend", "rtl", "--answer", "count"],
            "encode and answer must be left out with --backend rtl and with live input",
        ),
        (["run", "--output", "x.txt"], "output must be a file that ends in .npy, not 'x.txt'"),
        (["simulate", "--images", "0"], "the number of images must be at least 1, not 0"),
        (["check", "--weight-bits", "0"], "weight_width must be an integer from 1 to 16, not 0"),
        (["check", "--weight-bits", "9"], "weights must have at most 8 bits on this fabric, network net has 9"),
        (["run", "--identity", "nofile"], "nofile must be the identity file of a build"),
        (["generate", "--divisor", "1"], "divisor must be from 3 to 65535, not 1"),
        (["generate", "--output", "/proc/none"], "cannot use '/proc/none': No such file or directory"),
    ],
)
def test_bad_options(network, capsys, arguments, message):
    command, *options = arguments
    positional = [] if command == "bitstream" else [network]
    port = ["--port", "127.0.0.1:9"] if "--identity" in options else []
    assert refused(capsys, command, *positional, *options, *port) == message


def test_spikes_are_not_encoded_on_the_board(network, tmp_path, capsys):
    np.save(tmp_path / "spikes.npy", np.zeros((4, 2, 64), bool))
    inputs = ["--inputs", tmp_path / "spikes.npy", "--encode", "board"]
    message = "inputs must be images to be encoded on the board, not spikes"
    assert refused(capsys, "run", network, "--backend", "reference", *inputs) == message


def serve_once(listener, model):
    connection, _ = listener.accept()
    with connection:
        while data := connection.recv(4096):
            model.from_line(data)
            connection.sendall(model.to_line())


def test_a_bitstream_of_a_named_fabric_and_of_a_mesh(network, capsys, monkeypatch):
    asked = []

    def build(board, output, *, fabric, clock_mhz, announce):
        asked.append(fabric)
        raise ValueError("enough")

    monkeypatch.setattr("spikeloom.boards.bitstream.builder.build", build)
    board = ["bitstream", "--board", "ulx3s-85f"]
    for options in ([], ["--fabric", "transformer"], ["--fabric", "small", "--mesh", "2x2"], ["--mesh", "2x1"]):
        assert refused(capsys, *board, *options) == "enough"
    assert refused(capsys, *board, "--fabric", "small", "--units") == "enough"
    assert asked.pop() == with_units(FABRICS["small"])
    assert refused(capsys, *board, shipped("digits-mlp.nir"), "--units") == "enough"
    sized = asked.pop()
    assert sized.encoder == EncoderParameters(pixels=64, bits=4, steps=8, lfsr_width=4)
    assert sized.readout == ReadoutParameters(outputs=16)
    general = find_board("ulx3s-85f").buildable_fabric()
    assert asked == [general, FABRICS["transformer"], FABRICS["small"].on_mesh(2, 2), general.on_mesh(2, 1)]
    message = "fabric must be left out where networks are named, for which one is chosen"
    assert refused(capsys, *board, network, "--fabric", "small") == message


@pytest.mark.parametrize("board", ["ulx3s-85f", "icebreaker"])
def test_a_bitstream_with_a_program_in_it(network, capsys, monkeypatch, board):
    """What is built holds the program that `spikeloom run` would load, and asks no other fabric of it."""
    asked = []

    def build(board, output, *, fabric, clock_mhz, announce):
        asked.append(fabric)
        raise ValueError("enough")

    monkeypatch.setattr("spikeloom.boards.bitstream.builder.build", build)
    digits = shipped("digits-mlp.nir")
    assert refused(capsys, "bitstream", "--board", board, digits, "--bake", "--units") == "enough"
    (baked,) = asked
    plain = fabric_from_json(fabric_to_json(baked))
    loaded = load(digits)
    program = place(quantise(loaded, Quantisation.for_core(plain.core, weight_width=8)), plain)
    assert baked.program == program_digest(program.memories, program.registers)
    assert plain.program == 0
    assert plain == baked
    message = "bake must be given with one network, whose program it is, not with {}"
    assert refused(capsys, "bitstream", "--board", board, "--bake") == message.format(0)
    assert refused(capsys, "bitstream", "--board", board, digits, network, "--bake") == message.format(2)


def test_a_bitstream_of_another_build(tmp_path, network, capsys):
    identity = BOARDS["icebreaker"].buildable_fabric().identity(bytes(range(16)))
    model = DeviceModel(LinkParameters(), identity.encode())
    expected = tmp_path / "identity"
    expected.write_text("ff" * 16)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve_once, args=(listener, model))
        server.start()
        port = f"127.0.0.1:{listener.getsockname()[1]}"
        message = refused(capsys, "run", network, "--port", port, "--identity", expected)
        server.join(10)
    assert message == (
        f"the board must run build {'ff' * 16}, not {bytes(range(16)).hex()}: load the bitstream of this build"
    )


def test_usage_errors_exit_with_2():
    with pytest.raises(SystemExit) as stop:
        main(["nosuchcommand"])
    assert stop.value.code == 2


def test_simulate_compares_every_spike(network, capsys, shared_build):
    """The whole way, through the pins of the simulated hardware."""
    shared_build("build/simulate")
    main(["simulate", network, "--images", "6"])
    text = capsys.readouterr().out
    summary = json.loads(Path("build/simulate/summary.json").read_text())
    assert summary["images"] == 6
    assert summary["mismatches"] == 0
    assert summary["spikes_compared"] > 0
    assert summary["accuracy_reference"] == summary["accuracy_rtl"]
    assert summary["cycles_per_image"] > summary["core_cycles_per_image"] > 0
    assert summary["synaptic_operations_per_image"] > 0
    assert Path("build/simulate/raster.png").read_bytes().startswith(b"\x89PNG")
    assert "mismatches" in text


def test_simulate_with_the_compiled_core(network, capsys, shared_build):
    shared_build("build/simulate")
    main(["simulate", network, "--images", "12", "--backend", "rtl"])
    text = capsys.readouterr().out
    summary = json.loads(Path("build/simulate/summary.json").read_text())
    assert (summary["images"], summary["mismatches"]) == (12, 0)
    assert summary["spikes_compared"] > 0
    assert summary["cycles_per_image"] > summary["synaptic_operations_per_image"] > 0
    assert "compiled RTL" in text


def test_run_on_the_compiled_core(network, tmp_path, shared_build):
    np.savez(tmp_path / "images.npz", images=np.random.default_rng(1).integers(0, 17, (5, 8, 8)))
    shared_build("build/run")
    outputs = []
    for backend in ("reference", "rtl"):
        output = tmp_path / f"{backend}.npy"
        main(["run", network, "--backend", backend, "--inputs", str(tmp_path / "images.npz"), "--output", str(output)])
        outputs.append(np.load(output))
    assert (outputs[0] == outputs[1]).all()
    assert outputs[0].any()


def test_waves_need_pins(network, capsys):
    message = refused(capsys, "simulate", network, "--waves", "--backend", "rtl")
    assert message == "waves must be recorded with --backend pins, not rtl"


def test_a_compiler_that_is_missing(network, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    message = refused(capsys, "simulate", network, "--backend", "rtl")
    assert message == "Simulation needs g++, which must be on PATH; on Debian or Ubuntu: apt install g++"
