"""The page of `spikeloom report`: its content, and its rendering in a browser."""

import dataclasses
import json
import os
import re

import numpy as np
import pytest
from harness.chromium import Page, find_chromium
from harness.networks import rng_of
from harness.reports import random_report

from spikeloom.cli.app import main
from spikeloom.report.collect import Comparison
from spikeloom.report.page import page
from spikeloom.report.timing import timing_from
from spikeloom.sim.network.population import INPUT

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


def test_the_timing_of_a_build_gives_samples_per_second(tmp_path):
    (tmp_path / "qor.json").write_text(json.dumps({"lut": 1549, "fmax_mhz": 100.0, "seeds": {"1": 100.0}}))
    timing = timing_from(tmp_path / "qor.json")
    _, _, report = random_report(rng_of("report timing"), timing=timing, cycles_per_sample=1000.0)
    text = page(report)
    assert 'images per second at 100 MHz</dt><dd class="">100,000<' in text
    assert "<td>1,549</td>" in text


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


def plot(name, sample=0):
    """A JavaScript expression for the first plot of a layer."""
    within = f'.sample[data-sample="{sample}"] .plot'
    return f"[...document.querySelectorAll('{within}')].find(p => p.querySelector('.name').textContent === '{name}')"


def axis(opened, name, which):
    """The numbers at an axis and their positions, from the left or from the top, as fractions of the area."""
    spans = f"[...({plot(name)}).querySelectorAll('.{which} span')]"
    where = "left" if which == "xs" else "top"
    texts = opened.evaluate(f"{spans}.map(s => s.textContent)")
    shares = opened.evaluate(f"{spans}.map(s => parseFloat(s.style.{where}) / 100)")
    return {int(text.replace(",", "")): share for text, share in zip(texts, shares, strict=True)}


def view(opened, name):
    return [
        float(part) for part in opened.evaluate(f"({plot(name)}).querySelector('svg').getAttribute('viewBox')").split()
    ]


def press(opened, name, key):
    event = f"new KeyboardEvent('keydown', {{key: '{key}', bubbles: true}})"
    opened.evaluate(f"({plot(name)}).querySelector('.area').dispatchEvent({event})")


def test_axes_have_numbers_at_their_places_and_neuron_0_is_at_the_bottom(chromium, written):
    with Page(written) as opened:
        steps, neurons = axis(opened, "input", "xs"), axis(opened, "input", "ys")
        assert list(steps) == list(range(8))
        assert steps == pytest.approx({step: (step + 0.5) / 8 for step in steps})
        assert {0, 10, 60} <= set(neurons)
        assert neurons == pytest.approx({neuron: 1 - (neuron + 0.5) / 64 for neuron in neurons}, abs=1e-5)
        assert len(neurons) > 6
        assert opened.evaluate(f"({plot('input')}).querySelector('.up').textContent") == "neuron"
        assert opened.evaluate(f"({plot('input')}).querySelector('.along').textContent") == "step"


def test_every_spike_is_drawn_where_the_axes_say(chromium, tmp_path):
    """As rendered by a browser: the pixels of a mark are those of its step and neuron at the axes."""
    rng = rng_of("report marks")
    _, spikes, report = random_report(rng)
    name = INPUT
    (tmp_path / "marks.html").write_text(page(report))
    drawn = re.search(r'<path d="([^"]*)"', page(report)[page(report).index('data-sample="0"') :]).group(1)
    last = spikes.shape[2] - 1
    marks = {(int(step), last - int(row)) for step, row in re.findall(r"M(\d+) (\d+)h0.8", drawn)}
    assert marks == set(map(tuple, np.argwhere(spikes[:, 0]).tolist()))
    assert 0 < len(marks) < spikes[:, 0].size
    step, neuron = min(marks)
    with Page(tmp_path / "marks.html") as opened:
        opened.evaluate(f"({plot(name)}).querySelector('path').setAttribute('d', 'M{step} {last - neuron}h0.8')")
        box = opened.evaluate(
            f"(() => {{ const a = ({plot(name)}).querySelector('.area svg').getBoundingClientRect();"
            f"const m = ({plot(name)}).querySelector('path').getBoundingClientRect();"
            "return [(m.left + m.width / 2 - a.left) / a.width, (m.top + m.height / 2 - a.top) / a.height] })()"
        )
    assert box == pytest.approx([(step + 0.5) / spikes.shape[0], 1 - (neuron + 0.5) / spikes.shape[2]], abs=0.01)


def test_zoom_by_keys_and_by_dragging_moves_the_steps_of_all_plots(chromium, written):
    with Page(written) as opened:
        whole = view(opened, "input")
        assert whole == [-0.5, 0, 8, 64]
        press(opened, "input", "+")
        assert view(opened, "input") == [1.5, 16, 4, 32]
        assert view(opened, "hidden") == [1.5, 0, 4, 32]  # its range of neurons is unchanged
        assert list(axis(opened, "hidden", "xs")) == [2, 3, 4, 5]
        assert min(axis(opened, "input", "ys")) >= 16
        press(opened, "input", "ArrowRight")
        press(opened, "input", "ArrowUp")
        assert view(opened, "input") == [2.5, 8, 4, 32]
        for _ in range(9):
            press(opened, "input", "ArrowRight")
        assert view(opened, "input") == [3.5, 8, 4, 32]  # not beyond the end
        for _ in range(9):
            press(opened, "input", "+")
        assert view(opened, "input")[2:] == [1, 1]
        press(opened, "input", "0")
        assert view(opened, "input") == whole
        assert view(opened, "hidden") == [-0.5, 0, 8, 32]
        opened.evaluate(f"({plot('hidden')}).querySelector('button[data-key=\"+\"]').click()")
        assert view(opened, "hidden") == [1.5, 8, 4, 16]
        opened.evaluate(f"({plot('hidden')}).querySelector('.area').dispatchEvent(new Event('dblclick'))")
        drag = (
            f"(() => {{ const area = ({plot('input')}).querySelector('.area'), box = area.getBoundingClientRect();"
            "area.setPointerCapture = () => {};"
            "const at = (x, y) => ({clientX: box.left + x * box.width, clientY: box.top + y * box.height});"
            "for (const [kind, x, y] of [['down', .25, .5], ['move', .5, .75], ['up', .75, 1]])"
            "area.dispatchEvent(new PointerEvent('pointer' + kind, at(x, y))) })()"
        )
        opened.evaluate(drag)
        assert view(opened, "input") == pytest.approx([1.5, 32, 4, 32], abs=0.05)
        assert opened.evaluate("document.querySelectorAll('.pick').length") == 0
        assert opened.errors == []


def test_ticks_are_round_numbers_and_not_too_many(chromium, written):
    with Page(written) as opened:
        for low, high, most in ((-0.5, 7.5, 20), (-0.5, 4095.5, 12), (-1234.5, 987.5, 8), (99.5, 100.5, 9)):
            values = opened.evaluate(f"ticks({low}, {high}, {most})")
            assert 0 < len(values) <= most + 1
            assert all(low <= value <= high and value == int(value) for value in values)
            spacing = values[1] - values[0] if len(values) > 1 else 1
            assert str(int(spacing)).rstrip("0") in ("1", "2", "5")


def test_answers_rates_and_membranes_are_on_the_page():
    _, _, report = random_report(rng_of("report answers"))
    labels = report.answers.copy()
    labels[1] = (labels[1] + 1) % 5
    _, _, report = random_report(rng_of("report answers"), labels=labels)
    text = page(report)
    assert "1 of 3 answers differ from the label." in text
    assert f"sample 1, label {labels[1]}, answer {report.answers[1]} (wrong)</option>" in text
    assert f'<td class="wrong">{report.confusion[labels[1], report.answers[1]]}</td>' in text
    rate = report.spikes[INPUT].mean()
    assert f"<td>{rate:.4f}</td>" in text
    assert 0 < rate < 1
    (name,) = [name for name in report.membranes if name == report.program.observed[0][0]] or [
        next(iter(report.membranes))
    ]
    trace = report.membranes[name][:, 0]
    top = float(trace.max()) + max(1.0, 0.05 * float(trace.max() - trace.min()))
    points = " ".join(f"{step},{top - value:g}" for step, value in enumerate(trace[:, 0].tolist()))
    assert f'points="{points}"' in text
    assert "No hardware ran besides the reference" in text


def test_mismatches_with_hardware_are_counted_and_marked():
    _, _, report = random_report(rng_of("report mismatch"), runner="rtl")
    differs = np.zeros_like(report.spikes[INPUT])
    differs[5, 1, 3] = differs[7, 2, 0] = True
    text = page(dataclasses.replace(report, comparisons=(Comparison(population=INPUT, differs=differs),)))
    said = f"input: 2 of {differs.size:,} values on rtl differ from the reference"
    assert f"<p>{said}, the first in sample 1, step 5, neuron 3.</p>" in text
    assert f'<path class="differs" d="M5 {differs.shape[2] - 1 - 3}h0.8"' in text
    assert "1 differ in hardware" in text


def test_a_request_and_an_error_would_be_seen(chromium, written, tmp_path):
    planted = tmp_path / "planted.html"
    text = written.read_text().replace("default-src 'none'", "img-src *")
    planted.write_text(
        text.replace("</main>", '<img src="missing.png" alt=""></main>').replace("chooseSample();\n", "no();\n")
    )
    with Page(planted) as opened:
        assert len(opened.requests) == 2
        assert any("no is not defined" in json.dumps(error) for error in opened.errors)


HOSTILE_NAMES = (
    HOSTILE,
    '" onclick="x" a="',
    "\x1b]0;taken\x07",
    "\u202eevil\u2066",
    "größe 層",
    "</script><img src=x onerror=no()>",
    "&lt;b&gt;",
    "x" * 5000,
)


def test_a_name_cannot_become_a_script(chromium, tmp_path):
    """Names reach the page from the network, the parts, the flows and the layers: all of them are hostile here."""
    _, _, report = random_report(rng_of("report names"), runner=HOSTILE)
    work = [dataclasses.replace(w, parts=HOSTILE_NAMES) for w in report.explanation.work]
    flows = [
        dataclasses.replace(f, name=HOSTILE_NAMES[number % len(HOSTILE_NAMES)])
        for number, f in enumerate(report.explanation.flows)
    ]
    hostile = dataclasses.replace(
        report,
        explanation=dataclasses.replace(report.explanation, work=tuple(work), flows=tuple(flows)),
        program=dataclasses.replace(report.program, network=HOSTILE),
        spikes={name: np.ones((3, 2, 4), bool) for name in HOSTILE_NAMES},
        membranes={name: np.ones((3, 2, 4), int) for name in HOSTILE_NAMES},
        comparisons=tuple(Comparison(population=name, differs=np.ones((3, 2, 4), bool)) for name in HOSTILE_NAMES),
        answers=np.zeros(2, int),
        timing={HOSTILE: HOSTILE, "fmax_mhz": 5.0},
    )
    text = page(hostile)
    assert text.count("<script>") == text.count("</script>") == 1
    assert not [letter for letter in text if not letter.isprintable() and letter != "\n"]
    assert len(text) < 200_000
    (tmp_path / "hostile.html").write_text(text)
    with Page(tmp_path / "hostile.html") as opened:
        assert opened.errors == []
        assert opened.requests == [(tmp_path / "hostile.html").resolve().as_uri()]
        assert opened.evaluate("document.title").startswith("<script>")
        assert opened.evaluate("document.querySelectorAll('[onclick], img').length") == 0
        names = opened.evaluate("[...document.querySelectorAll('.sample .name')].slice(0, 8).map(n => n.textContent)")
        assert names[0] == HOSTILE
        assert names[2:5] == ["\\x1b]0;taken\\x07", "\\u202eevil\\u2066", "größe 層"]
        assert names[6] == "&lt;b&gt;"
        assert len(names[7]) == 80
