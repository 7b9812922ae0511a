"""``spikeloom generate``."""

from pathlib import Path

import numpy as np

from spikeloom.cli.app import main


def test_generate_writes_verilog_and_images(network, capsys):
    main(["generate", network, "--output", "out", "--format", "fabric"])
    assert "module top" in Path("out/top.v").read_text()
    with np.load("out/program.npz") as program:
        assert program["tile_1_weights"].shape == (64 * 8 + 8 * 10, 1)
