"""``spikeloom report``: the page, and the sources of its data."""

import json
import re
from pathlib import Path

import numpy as np
from harness.cli import sentence

from spikeloom.cli.app import main
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.shipped import shipped
from spikeloom.frontends.nir import load
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.network.reference import simulate


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


def test_the_simulation_at_the_pins_is_compared_and_its_counters_are_shown():
    """Every value of the output equals the reference; the core counts the spikes that the reference fires."""
    spikes = np.random.default_rng(4).random((6, 1, 64)) < 0.4
    np.save("spikes.npy", spikes)
    main(["report", "--inputs", "spikes.npy", "--fabric", "small", "--backend", "pins", "-o", "pins.html"])
    text = Path("pins.html").read_text()
    assert "run on: pins" in text
    assert '<dt>mismatches of digit, 60 compared</dt><dd class="">0</dd>' in text
    tables = r'aria-label="Counters".*?<tr>(.*?)</tr>.*?<tbody><tr>(.*?)</tr>'
    head, row = re.search(tables, text, re.DOTALL).groups()
    names = re.findall(r"<th[^>]*>([^<]*)</th>", head)[1:]
    counted = dict(zip(names, re.findall(r"<td>([^<]*)</td>", row), strict=True))
    quantised = quantise(load(shipped("digits-mlp.nir")), Quantisation.for_core(FABRICS["small"].core, weight_width=8))
    fired = sum(int(np.count_nonzero(fired)) for fired in simulate(quantised, spikes).spikes.values())
    assert 20 < fired < 6 * 42
    assert (counted["steps"], counted["spikes"]) == ("6", f"{fired:,}")
