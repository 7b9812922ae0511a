"""``spikeloom generate``."""

from pathlib import Path

import numpy as np
from harness.cli import sentence

from spikeloom.cli.app import main
from spikeloom.datasets.shipped import shipped


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
