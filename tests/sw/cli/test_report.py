"""``spikeloom report``: the page that is written, and what it is made from."""

import json
import re
from pathlib import Path

from harness.cli import sentence

from spikeloom.cli.app import main


def test_a_fabric_without_a_mesh_has_a_page(tmp_path):
    main(["report", "--images", "2", "-o", str(tmp_path / "one.html")])
    text = (tmp_path / "one.html").read_text()
    assert "one core" in text
    assert "There is no build of this fabric yet" in text
    assert "<dt>images per second at the built clock</dt>" in text
    assert len(re.findall(r'class="link"', text)) == 2


def test_the_clock_of_a_file_and_samples_that_are_asked_for(network, capsys):
    Path("timing.json").write_text(json.dumps({"fmax_mhz": 40.0}))
    main(["report", network, "--inputs", "random:3", "--images", "3", "--timing", "timing.json", "-o", "new/page.html"])
    text = Path("new/page.html").read_text()
    assert "images per second at 40 MHz" in text
    assert '<dt>samples</dt><dd class="">3</dd>' in text
    assert capsys.readouterr().out.startswith("new/page.html: tile 1 limits the throughput, with ")


def test_a_board_needs_its_port(network, capsys):
    assert "--port" in sentence(capsys, "report", network, "--backend", "board")
    assert not Path("report.html").exists()
