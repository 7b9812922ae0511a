"""``spikeloom generate``."""

from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Fragment
from harness.cli import sentence

from spikeloom.cli.app import main
from spikeloom.datasets.shipped import shipped
from spikeloom.hdl.top.ethernet_top import EthernetTop
from spikeloom.hdl.top.top import Top
from spikeloom.hdl.top.usb_top import UsbTop
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.host.ethernet import UDP_LINK


def test_generate_writes_verilog_and_images(network, capsys):
    main(["generate", network, "--output", "out", "--format", "fabric"])
    assert "module top" in Path("out/top.v").read_text()
    with np.load("out/program.npz") as program:
        assert program["tile_1_weights"].shape == (64 * 8 + 8 * 10, 1)


@pytest.fixture
def written(monkeypatch):
    """The designs of which Verilog would be written. None is: that takes many seconds for a fabric of several tiles."""
    designs = []

    def write_verilog(design, name, folder):
        Fragment.get(design, None)  # an unused design causes a warning
        designs.append(design)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "top.v").write_text("module top;")
        return folder / "top.v"

    monkeypatch.setattr("spikeloom.hdl.top.verilog.write_verilog", write_verilog)
    return designs


def test_generate_a_fabric_of_several_tiles(network, capsys):
    """Such a fabric is written as a whole, because there is no single core."""
    main(["generate", network, "--fabric", "small", "--mesh", "2x2", "--output", "out"])
    assert "top.v, program.npz, axons.json in out" in capsys.readouterr().out
    verilog = Path("out/top.v").read_text()
    assert "\nmodule top(" in verilog
    assert all(rf"\top.fabric.tiles.core_{tile} " in verilog for tile in (1, 2, 3))
    with np.load("out/program.npz") as program:
        assert any(name.startswith("tile_1_") for name in program.files)


def test_a_fabric_with_attention(capsys, written):
    """With the network of its kind, or with the one that is meant if none is given."""
    main(["generate", "--fabric", "transformer", "--output", "out"])
    assert "top.v, program.npz, axons.json in out" in capsys.readouterr().out
    main(["generate", str(shipped("digits-transformer.nir")), "--fabric", "transformer", "--output", "attention"])
    assert [design.fabric for design in written] == [FABRICS["transformer"]] * 2
    with np.load("out/program.npz") as program:
        assert any(name.startswith("tile_1_") for name in program.files)
    with np.load("attention/program.npz") as program:
        assert {f"tile_{tile}_" for tile in (1, 3, 4)} <= {name[:7] for name in program.files}
    message = sentence(capsys, "generate", "--fabric", "transformer", "--format", "verilog")
    assert message == "format must be fabric, not verilog, for fabric transformer, which has several tiles"


def test_generate_for_a_board_and_with_fields_of_the_core(network, capsys):
    main(["generate", network, "--board", "icebreaker", "--core", "v_width=18", "--output", "board"])
    assert "chosen for icebreaker: " in capsys.readouterr().err
    main(["generate", network, "--core", "lanes=2", "--output", "lanes"])
    assert Path("board/spikeloom_core.v").read_text() != Path("lanes/spikeloom_core.v").read_text()


def test_the_link_of_a_fabric(network, capsys, written):
    """A UART, or a device for USB or Ethernet; without a board, every link for which there is hardware."""
    for link in (
        [],
        ["--link", "usb"],
        ["--link", "usb", "--board", "ulx3s-85f"],
        ["--link", "uart"],
        ["--link", "udp"],
    ):
        main(["generate", network, "--output", "out", "--format", "fabric", *link])
    assert [type(design) for design in written] == [Top, UsbTop, UsbTop, Top, EthernetTop]
    assert written[-1].fabric.link == UDP_LINK
    message = sentence(capsys, "generate", network, "--format", "fabric", "--link", "simulation")
    assert message == "link must be one of uart, usb, udp, not 'simulation'"
