"""``spikeloom generate``."""

from pathlib import Path

import numpy as np
from amaranth.hdl import Fragment
from harness.cli import sentence

from spikeloom.cli.app import main
from spikeloom.datasets.shipped import shipped
from spikeloom.hdl.top.top import Top
from spikeloom.hdl.top.usb_top import UsbTop


def test_generate_writes_verilog_and_images(network, capsys):
    main(["generate", network, "--output", "out", "--format", "fabric"])
    assert "module top" in Path("out/top.v").read_text()
    with np.load("out/program.npz") as program:
        assert program["tile_1_weights"].shape == (64 * 8 + 8 * 10, 1)


def test_generate_a_fabric_of_several_tiles(capsys):
    """Such a fabric is written whole: there is no one core to write alone."""
    main(["generate", "--fabric", "transformer", "--output", "out"])
    assert "top.v, program.npz, axons.json in out" in capsys.readouterr().out
    with np.load("out/program.npz") as program:
        assert any(name.startswith("tile_1_") for name in program.files)
    main(["generate", str(shipped("digits-transformer.nir")), "--fabric", "transformer", "--output", "attention"])
    message = sentence(capsys, "generate", "--fabric", "transformer", "--format", "verilog")
    assert message == "format must be fabric, not verilog, for fabric transformer, which has several tiles"


def test_generate_for_a_board_and_with_fields_of_the_core(network, capsys):
    main(["generate", network, "--board", "icebreaker", "--core", "v_width=18", "--output", "board"])
    assert "chosen for icebreaker: " in capsys.readouterr().err
    main(["generate", network, "--core", "lanes=2", "--output", "lanes"])
    assert Path("board/spikeloom_core.v").read_text() != Path("lanes/spikeloom_core.v").read_text()


def test_the_link_of_a_fabric(network, capsys, monkeypatch):
    """A UART or a USB device at the pins; without a board, every link that there is hardware for."""
    written = []

    def write_verilog(design, name, folder):
        Fragment.get(design, None)  # a design that nobody uses is a warning
        written.append(design)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "top.v").write_text("module top;")
        return folder / "top.v"

    monkeypatch.setattr("spikeloom.hdl.top.verilog.write_verilog", write_verilog)
    for link in ([], ["--link", "usb"], ["--link", "usb", "--board", "ulx3s-85f"], ["--link", "uart"]):
        main(["generate", network, "--output", "out", "--format", "fabric", *link])
    assert [type(design) for design in written] == [Top, UsbTop, UsbTop, Top]
    message = sentence(capsys, "generate", network, "--format", "fabric", "--link", "udp")
    assert message == "link must be uart or usb, not 'udp'"
