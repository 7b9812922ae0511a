"""``spikeloom bitstream``, up to the call of the builder."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from harness.bitstreams import BUILD_REPORT
from harness.cli import refused

from spikeloom.boards.bitstream.builder import BuildResult
from spikeloom.boards.bitstream.report import Report
from spikeloom.boards.targets.registry import find_board
from spikeloom.cli.app import main
from spikeloom.compiler.place import place
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.shipped import shipped
from spikeloom.frontends.nir import load
from spikeloom.host.peripherals import with_units
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.fabric_file import fabric_from_json, fabric_to_json
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.host.encoder import EncoderParameters
from spikeloom.sim.host.ethernet import EthernetParameters
from spikeloom.sim.host.readout import ReadoutParameters
from spikeloom.sim.host.usb import UsbParameters
from spikeloom.sim.lib.contents import program_digest
from spikeloom.sim.lib.formats import JSON_OUTPUT


def test_a_bitstream_of_a_named_fabric_and_of_a_mesh(network, capsys, monkeypatch):
    asked = []

    def build(board, output, *, fabric, **settings):
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
    assert refused(capsys, *board, network, "--fabric", "small", "--core", "v_width=20") == "enough"
    assert asked.pop() == FabricConfig(name="small", core=replace(FABRICS["small"].core, v_width=20))
    message = refused(capsys, *board, network, "--fabric", "wide")
    assert message.endswith("--board ulx3s-85f without --fabric chooses a fabric for it")


@pytest.mark.parametrize("board", ["ulx3s-85f", "icebreaker"])
def test_a_bitstream_with_a_program_in_it(network, capsys, monkeypatch, board):
    """The build holds the program that `spikeloom run` would load, on the same fabric."""
    asked = []

    def build(board, output, *, fabric, **settings):
        asked.append(fabric)
        raise ValueError("enough")

    monkeypatch.setattr("spikeloom.boards.bitstream.builder.build", build)
    digits = shipped("digits-mlp.nir")
    assert refused(capsys, "bitstream", "--board", board, digits, "--bake", "--units") == "enough"
    (baked,) = asked
    plain = fabric_from_json(fabric_to_json(baked))
    loaded = load(digits)
    program = place(quantise(loaded, Quantisation.for_core(plain.core, weight_width=8)), plain)
    # The memories of an iCE40 may lose words after configuration: the bitstream does not claim to hold the program.
    claimed = program_digest(program.memories, program.registers) if board == "ulx3s-85f" else 0
    assert baked.program == claimed
    assert any(any(words) for tile in baked.cores.values() for words in tile.contents.memories.values())
    assert plain.program == 0
    assert plain == baked
    message = "--bake must be given with exactly one network, not {}"
    assert refused(capsys, "bitstream", "--board", board, "--bake") == message.format(0)
    assert refused(capsys, "bitstream", "--board", board, digits, network, "--bake") == message.format(2)


def test_json_is_the_report_and_all_of_standard_output(network, capsys, monkeypatch):
    asked = []

    def build(board, output, *, fabric, clock_mhz, announce, **settings):
        asked.append((board, output, clock_mhz))
        announce("placing")
        command = ("openFPGALoader", "out/ulx3s-85f.bit")
        return BuildResult(bitstream=Path("out/ulx3s-85f.bit"), report=BUILD_REPORT, flash_command=command)

    monkeypatch.setattr("spikeloom.boards.bitstream.builder.build", build)
    command = ["bitstream", network, "--board", "ulx3s-85f", "--clock", "25", "-o", "out"]
    main([*command, "--json"])
    said = capsys.readouterr()
    content = json.loads(said.out)
    assert asked == [("ulx3s-85f", Path("out"), 25.0)]
    assert list(content) == ["format", "bitstream", "flash_command", "report"]
    assert content["format"] == JSON_OUTPUT.number
    assert content["bitstream"] == "out/ulx3s-85f.bit"
    assert content["flash_command"] == ["openFPGALoader", "out/ulx3s-85f.bit"]
    assert Report.from_json(json.dumps(content["report"])) == BUILD_REPORT
    assert "placing" in said.err
    main(command)  # without --json: the tables of the choice, the report, and how to load it
    said = capsys.readouterr()
    assert "412" in said.out
    assert said.out.endswith("out/ulx3s-85f.bit\nload it with: spikeloom flash ulx3s-85f\n")


def test_the_addresses_of_a_board_on_ethernet(capsys, monkeypatch):
    asked = []

    def build(board, output, *, link, ethernet, **settings):
        asked.append((link, ethernet))
        raise ValueError("enough")

    monkeypatch.setattr("spikeloom.boards.bitstream.builder.build", build)
    board = ["bitstream", "--board", "ecpix5-85", "--fabric", "small", "--link", "udp"]
    mac = "02:00:00:00:00:07"
    for options in ([], ["--ip", "10.0.0.7"], ["--udp-port", "7", "--mac", mac]):
        assert refused(capsys, *board, *options) == "enough"
    expected = [None, EthernetParameters(address="10.0.0.7"), EthernetParameters(port=7, mac=mac)]
    assert asked == [("udp", addresses) for addresses in expected]
    message = "address must be an IPv4 address of one board, such as 192.168.1.50, not 'board'"
    assert refused(capsys, *board, "--ip", "board") == message


def test_the_link_and_the_numbers_of_its_device(capsys, monkeypatch):
    asked = []

    def build(board, output, *, link, usb, **settings):
        asked.append((link, usb))
        raise ValueError("enough")

    monkeypatch.setattr("spikeloom.boards.bitstream.builder.build", build)
    board = ["bitstream", "--board", "ulx3s-85f", "--fabric", "small"]
    given = ([], ["--link", "usb"], ["--link", "usb", "--usb-serial", "7"], ["--usb-id", "1d50:6148"])
    for options in (*given, ["--link", "usb", "--usb-flash-serial"]):
        assert refused(capsys, *board, *options) == "enough"
    expected = [(None, None), ("usb", None), ("usb", UsbParameters(serial="7"))]
    expected.append((None, UsbParameters(vendor=0x1D50, product=0x6148)))
    assert asked == [*expected, ("usb", UsbParameters(flash_serial=True))]
    message = "usb-serial must be left out with --usb-flash-serial: a device has one serial number"
    assert refused(capsys, *board, "--usb-serial", "7", "--usb-flash-serial") == message
    message = "USB number must be VID:PID in hexadecimal digits, such as 1209:0001, not '7'"
    assert refused(capsys, *board, "--link", "usb", "--usb-id", "7") == message
