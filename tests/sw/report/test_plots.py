"""Plots: a mark per spike, a line per membrane, and the selection of samples."""

import dataclasses
import re

import numpy as np
import pytest
from harness.networks import rng_of
from harness.reports import random_report

from spikeloom.report.collect import Comparison
from spikeloom.report.plots import plots_section


@pytest.fixture(scope="module")
def report():
    return random_report(rng_of("report plots"))[2]


def showing(report, **changes):
    """The report with these plots only, by default of one silent neuron in one step."""
    return dataclasses.replace(report, **({"spikes": {"silent": np.zeros((1, 3, 1), bool)}, "membranes": {}} | changes))


def marks_of(path):
    return {(int(step), int(row)) for step, row in re.findall(r"M(\d+) (\d+)h0\.8", path)}


def test_marks_are_the_spikes_of_each_sample(report):
    (name, spikes), *_ = report.spikes.items()
    text = plots_section(showing(report, spikes={name: spikes}))
    paths = re.findall(r'<path d="([^"]*)" transform', text)
    assert len(paths) == len(report.shown) == 3
    for number, path in zip(report.shown, paths, strict=True):
        last = spikes.shape[2] - 1  # neuron 0 is at the bottom
        assert marks_of(path) == {(step, last - neuron) for step, neuron in np.argwhere(spikes[:, number])}
        said = f"{spikes[:, number].sum():,} spikes of {spikes.shape[2]} neurons in 12 steps"
        assert text.count(said) >= 2, "as a caption and for screen readers"
    assert f'data-range="-0.5 11.5 -0.5 {last + 0.5:g}"' in text


def test_differences_have_marks_of_their_own(report):
    spikes = np.zeros((4, 3, 5), bool)
    differs = np.zeros_like(spikes)
    differs[2, 1, 4] = True
    found = showing(report, spikes={"a": spikes}, comparisons=(Comparison(population="a", differs=differs),))
    text = plots_section(found)
    assert [marks_of(path) for path in re.findall(r'<path class="differs" d="([^"]*)"', text)] == [
        set(),
        {(2, 0)},
        set(),
    ]
    assert text.count(", 1 differ in hardware") == 2
    assert text.count(", 0 differ in hardware") == 4


def points_of(text):
    lines = re.findall(r'points="([^"]*)"><title>neuron (\d+)</title>', text)
    return {int(neuron): [tuple(map(float, p.split(","))) for p in points.split()] for points, neuron in lines}


def test_membranes_are_lines_inside_the_plot(report):
    membranes = np.array([[-10, 4], [30, 0], [7, 2]])[:, None]
    found = showing(report, membranes={"a": np.repeat(membranes, 3, axis=1)})
    text = plots_section(found)
    (bottom, top), *_ = re.findall(r'data-range="-0.5 2.5 (\S+) (\S+)"', text)
    assert (float(bottom), float(top)) == (-12.0, 32.0), "a twentieth of the range at each end"
    for neuron, points in points_of(text).items():
        assert points == [(step, float(top) - value) for step, value in enumerate(membranes[:, 0, neuron])]
    assert text.count('class="soft keys"') == 3


def test_many_membranes_are_cut_and_have_no_key(report):
    text = plots_section(showing(report, membranes={"a": np.zeros((2, 3, 70), int)}))
    assert len(points_of(text)) == 64
    assert "membranes of the first 64 of 70 neurons in units of the model" in text
    assert "keys" not in text


def test_a_single_step_is_a_line_that_can_be_seen(report):
    text = plots_section(showing(report, membranes={"a": np.full((1, 3, 1), 5)}))
    assert 'points="-.4,1 .4,1"' in text


def test_samples_are_named_by_label_and_answer(report):
    text = plots_section(showing(report))
    assert f'<option value="0">sample 0, answer {report.answers[0]}</option>' in text
    labels = report.answers + np.array([0, 1, 0])
    text = plots_section(showing(report, labels=labels))
    assert f"sample 0, label {labels[0]}, answer {report.answers[0]}</option>" in text
    assert f"sample 1, label {labels[1]}, answer {report.answers[1]} (wrong)</option>" in text


def test_names_are_text(report):
    text = plots_section(showing(report, spikes={"<i>": np.ones((2, 3, 2), bool)}))
    assert "<i>" not in text
    assert "zoom into &lt;i&gt;" in text
