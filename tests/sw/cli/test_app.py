"""The whole command: one sentence and exit status 2 for every user error."""

import json
from pathlib import Path

import pytest
from harness.cli import refused

from spikeloom.cli.app import main


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["check", "--fabric", "huge"],
            "fabric must be one of small, medium, wide, spatial, transformer, a fabric.json or a build folder, not "
            "'huge'",
        ),
        (["bitstream", "--board", "ulx3s-85f", "--mesh", "2"], "mesh must be columns x rows, such as 3x2, not '2'"),
        (
            ["bitstream", "--board", "ulx3s-85f", "--mesh", "2x2", "--fabric", "transformer"],
            "fabric transformer must have one core and no mesh yet to be put on a mesh",
        ),
        (
            ["bitstream", "--board", "icebreaker", "--clock", "8"],
            "Clock of icebreaker must be at least 9 MHz, not 8 MHz",
        ),
        (["check", "--board", "ulx3s-85f", "--core", "lanes=3"], "lanes must be a power of two from 1 to 256, not 3"),
        (["check", "--board", "ulx3s-85f", "--core", "lanes=two"], "lanes must be an integer, not 'two'"),
        (["check", "--board", "ulx3s-85f", "--core", "bias=1"], "bias must be yes or no, not '1'"),
        (["bitstream"], "a board must be given with --board, see: spikeloom boards"),
        (["bitstream", "--board", "nosuchone"], "Board must be one that 'spikeloom boards' lists, not 'nosuchone'"),
        (
            ["run", "--board", "icebraker"],
            "Board must be one that 'spikeloom boards' lists, perhaps icebreaker or icebreaker-bitsy, not 'icebraker'",
        ),
        (
            ["run", "--backend", "rtl", "--answer", "count"],
            "encode and answer must be left out with --backend rtl and with live input",
        ),
        (
            ["run", "--verify", "--backend", "reference"],
            "verify must be left out with live input and with backends other than board",
        ),
        (["run", "--peer", "127.0.0.1"], "peer must be left out, unless the input is live"),
        (["run", "--real-time"], "real-time must be left out, unless the input is live"),
        (
            ["run", "--port", "localhost:9", "--inputs", "udp://127.0.0.1:9", "--step-ms", "0"],
            "milliseconds per step must be more than 0, not 0",
        ),
        (["run", "--output", "x.txt"], "output must be a file that ends in .npy, not 'x.txt'"),
        (["simulate", "--images", "0"], "the number of images must be at least 1, not 0"),
        (["check", "--weight-bits", "0"], "weight_width must be an integer from 1 to 16, not 0"),
        (
            ["check", "--weight-bits", "9"],
            "weights must have at most 8 bits on this fabric, but network net has 9 bits; --board NAME chooses a "
            "fabric for it",
        ),
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


def test_usage_errors_exit_with_2():
    with pytest.raises(SystemExit) as stop:
        main(["nosuchcommand"])
    assert stop.value.code == 2


def test_usage_errors_are_one_sentence(capsys):
    message = refused(capsys, "chekc")
    assert message.startswith("No such command 'chekc'")
    assert message.endswith("; see: spikeloom --help")
    assert refused(capsys, "check", "--nosuch").endswith("; see: spikeloom check --help")


JSON_COMMANDS = {
    "check": (["check"], {"network", "fabric", "notes", "uses"}),
    "check on a board": (["check", "--board", "ulx3s-85f"], {"network", "board", "core", "reasons", "takes"}),
    "place": (["place", "--tiles", "2"], {"mesh", "tiles", "uses", "flows", "cycles_per_step", "limit"}),
    "simulate": (
        ["simulate", "--backend", "reference", "--images", "4", "--output", "out"],
        {"images", "accuracy_float", "accuracy_reference", "accuracy_rtl", "seconds"},
    ),
    "run": (
        ["run", "--backend", "reference", "--fabric", "small", "--images", "4"],
        {"answers", "labels", "accuracy", "seconds"},
    ),
}


@pytest.mark.parametrize("name", JSON_COMMANDS)
def test_json_is_all_of_standard_output(network, capsys, name):
    (command, *options), keys = JSON_COMMANDS[name]
    main([command, network, *options, "--json"])
    said = capsys.readouterr()
    content = json.loads(said.out)
    assert content["format"] == 1
    assert keys <= set(content)
    assert "inputs: " in said.err or command == "check"
