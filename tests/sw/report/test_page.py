"""The page of `spikeloom report`: what is on it, and what a browser makes of it."""

import json
import os
import re

import numpy as np
import pytest
from harness.chromium import Page, find_chromium
from harness.networks import random_network, random_spikes, rng_of

from spikeloom.cli.app import main
from spikeloom.compiler.dependencies import TOKENS
from spikeloom.compiler.place import place
from spikeloom.report.collect import gather, timing_from
from spikeloom.report.page import page
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.network import INPUT
from spikeloom.sim.network.reference import simulate
from spikeloom.sim.noc.mesh import MeshParameters, Port

HOSTILE = '<script>document.title="taken"</script>'


@pytest.fixture
def chromium():
    if find_chromium() is None:
        assert not os.environ.get("CI"), "Chromium must be installed: apt install chromium"
        pytest.skip("needs Chromium: apt install chromium")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    main(["report", "--mesh", "3x2", "--tiles", "4", "--images", "6", "-o", str(path)])
    return path


def random_report(rng, *, columns=3, rows=2, **options):
    core = CoreParameters(lanes=2, neurons=64, axons=256, weight_words=2048, populations=8)
    network = random_network(rng, core, sizes=(9, 7, 5))
    mesh = MeshParameters(columns=columns, rows=rows)
    fabric = FabricConfig(tiles=(None, *[core] * (mesh.tiles - 1)), mesh=mesh)
    program = place(network, fabric, tiles=3)
    spikes = random_spikes(rng, 12, 3, network.inputs)
    return network, spikes, gather(network, program, spikes, **options)


@pytest.mark.parametrize("number", range(4))
def test_the_links_carry_what_the_spikes_and_tokens_add_up_to(number):
    rng = rng_of(f"report links {number}")
    network, spikes, report = random_report(rng)
    fired = {INPUT: spikes != 0} | simulate(network, spikes).spikes
    given = 0.0
    for flow in report.explanation.flows:
        if flow.name not in TOKENS:
            part = None if flow.name == INPUT else report.program.assignment.parts.part(flow.name)
            of = fired[INPUT] if part is None else fired[part.population][..., part.neurons]
            assert flow.packets <= of.sum(axis=2).mean() + 1e-9
        given += flow.packets * len(flow.sinks)
    local = sum(packets for (_, port), packets in report.traffic.packets.items() if port is Port.LOCAL)
    assert local == pytest.approx(given)
    assert local > 5
    if report.program.fabric.mesh is not None:
        assert report.traffic.packets == pytest.approx(report.explanation.links)


def test_a_fabric_without_a_mesh_has_a_page(tmp_path):
    main(["report", "--images", "2", "-o", str(tmp_path / "one.html")])
    text = (tmp_path / "one.html").read_text()
    assert "one core" in text
    assert "No build or synthesis was given" in text
    assert len(re.findall(r'class="link"', text)) == 2


def test_the_timing_of_a_build_gives_samples_a_second(tmp_path):
    (tmp_path / "qor.json").write_text(json.dumps({"lut": 1549, "fmax_mhz": 100.0, "seeds": {"1": 100.0}}))
    timing = timing_from(tmp_path / "qor.json")
    _, _, report = random_report(rng_of("report timing"), timing=timing, cycles_per_sample=1000.0)
    text = page(report)
    assert "samples a second at 100 MHz</dt><dd>100,000<" in text
    assert "<td>1549</td>" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "timing must be a JSON file, not '.*'"), ("{}", "timing must be a JSON file with fmax_mhz, '.*' has none")],
)
def test_other_files_of_timing_are_refused(tmp_path, text, message):
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        timing_from(tmp_path / "other.json")


def test_the_page_opens_without_a_request_or_an_error(chromium, written):
    with Page(written) as opened:
        assert opened.requests == [written.resolve().as_uri()]
        assert opened.errors == []
        assert opened.evaluate("document.querySelectorAll('.tile').length") == 6
        opened.evaluate("document.querySelector('.tile[data-tile=\"0\"]').dispatchEvent(new Event('click'))")
        assert opened.evaluate("document.getElementById('details').textContent").startswith("host: holds")
        dim = opened.evaluate("document.querySelectorAll('.link.dim').length")
        assert 0 < dim < opened.evaluate("document.querySelectorAll('.link').length")
        opened.evaluate("sample.value='2';sample.dispatchEvent(new Event('change'))")
        assert opened.evaluate("document.querySelector('.sample:not([hidden])').dataset.sample") == "2"
        assert opened.requests == [written.resolve().as_uri()]
        assert opened.errors == []


def test_a_phone_sees_the_page_without_scrolling_sideways(chromium, written):
    with Page(written, width=390, dark=True) as opened:
        assert opened.evaluate("document.documentElement.scrollWidth") == 390


def test_a_request_and_an_error_would_be_seen(chromium, written, tmp_path):
    planted = tmp_path / "planted.html"
    text = written.read_text().replace("default-src 'none'", "img-src *")
    planted.write_text(
        text.replace("</main>", '<img src="missing.png" alt=""></main>').replace("raster();\n", "no();\n")
    )
    with Page(planted) as opened:
        assert len(opened.requests) == 2
        assert any("no is not defined" in json.dumps(error) for error in opened.errors)


def test_a_name_cannot_become_a_script(chromium, tmp_path):
    _, _, report = random_report(rng_of("report names"), runner=HOSTILE)
    # Names reach the page by the network, the parts and the flows: all of them hostile at once.
    work = [type(w)(**{**vars(w), "parts": (HOSTILE, '" onclick="x')}) for w in report.explanation.work]
    flows = [type(f)(**{**vars(f), "name": HOSTILE}) for f in report.explanation.flows]
    explanation = type(report.explanation)(work=tuple(work), flows=tuple(flows), links=report.explanation.links)
    spikes = {HOSTILE: np.ones((3, 2, 4), bool)}
    hostile = type(report)(**{**vars(report), "explanation": explanation, "spikes": spikes})
    text = page(hostile)
    assert text.count("<script>") == 1
    (tmp_path / "hostile.html").write_text(text)
    with Page(tmp_path / "hostile.html") as opened:
        assert opened.errors == []
        assert opened.evaluate("document.title") != "taken"
        assert opened.evaluate("document.querySelectorAll('[onclick]').length") == 0
