"""The numbers of the page: figures, rates, answers, mismatches, use, resources, counters and timing."""

import dataclasses
import re

import numpy as np
import pytest
from harness.networks import rng_of
from harness.reports import random_report

from spikeloom.compiler.program import Use
from spikeloom.report.collect import Comparison
from spikeloom.report.tables import (
    answers_section,
    counters_section,
    figures_section,
    rates_section,
    resources_section,
    timing_section,
    utilisation_section,
)


@pytest.fixture(scope="module")
def report():
    return random_report(rng_of("report tables"))[2]


def rows_of(text):
    """The cells of each row of the table body, as text."""
    body = text.partition("<tbody>")[2]
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", body)]


def figure(text, name):
    (value,) = re.findall(rf"<dt>{name}</dt><dd[^>]*>(.*?)</dd>", text)
    return value


def test_figures_without_and_with_a_build(report):
    text = figures_section(report)
    assert (figure(text, "samples"), figure(text, "steps per sample")) == ("3", "12")
    assert figure(text, "images per second at the built clock") == "no build of this fabric yet: spikeloom bitstream"
    assert figure(text, "cycles per sample, expected") == f"{report.explanation.cycles * 12:,.0f}"
    built = dataclasses.replace(report, timing={"clock_mhz": 50.0}, cycles_per_sample=2500.0)
    text = figures_section(built)
    assert figure(text, "images per second at 50 MHz") == "20,000"
    assert figure(text, "cycles per sample, counted") == "2,500"
    assert "accuracy" not in text
    labels = report.answers + np.array([0, 1, 0])
    assert figure(figures_section(dataclasses.replace(report, labels=labels)), "accuracy in these samples") == "66.67 %"


def test_rates_of_a_layer(report):
    spikes = np.zeros((4, 2, 3), bool)
    spikes[:, :, 0] = spikes[0, 0, 1] = True
    rows = rows_of(rates_section(dataclasses.replace(report, spikes={"a": spikes, "b": np.zeros((4, 2, 5), bool)})))
    assert rows[0][:6] == ["a", "3", "1.12", "0.3750", "1.0000", "1"]
    assert rows[1][:6] == ["b", "5", "0.00", "0.0000", "0.0000", "5"]
    assert "width:100.0%" in rows[0][6]
    assert "width:0.0%" in rows[1][6]


def test_silence_has_rates_too(report):
    assert rows_of(rates_section(dataclasses.replace(report, spikes={"a": np.zeros((4, 2, 3), bool)})))


def test_confusion_has_labels_in_rows(report):
    found = dataclasses.replace(report, answers=np.array([1, 1, 0]), labels=np.array([1, 0, 0]), classes=2)
    text = answers_section(found)
    assert rows_of(text)[:2] == [["0", "1", "1"], ["1", "0", "1"]]
    assert "1 of 3 answers differ from the label." in text
    assert ["sample 1", "0", "1"] in rows_of(text.partition("Mismatches")[2])
    assert "Confusion" not in answers_section(report)


def test_too_many_classes_are_not_shown(report):
    text = answers_section(dataclasses.replace(report, labels=report.answers, classes=33))
    assert "<p>More than 32 classes are not shown.</p>" in text


def test_the_first_difference_is_named(report):
    differs = np.zeros((12, 3, 4), bool)
    differs[5, 1, 3] = differs[2, 2, 0] = True
    found = dataclasses.replace(report, comparisons=(Comparison(population="a", differs=differs),), runner="rtl")
    said = "<p>a: 2 of 144 values on rtl differ from the reference, the first in sample 1, step 5, neuron 3.</p>"
    assert said in answers_section(found)
    assert figure(figures_section(found), "mismatches of a, 144 compared") == "2"


def test_utilisation_adds_up_to_the_slowest(report):
    for row in rows_of(utilisation_section(report)):
        weights, sweep, waiting = (float(cell.replace(",", "")) for cell in row[1:4])
        assert weights + sweep + waiting == pytest.approx(report.explanation.cycles, abs=2)
    assert max(int(row[4].removesuffix(" %")) for row in rows_of(utilisation_section(report))) <= 100


def test_resources_are_the_uses_of_the_program(report):
    uses = (Use(tile=1, resource="rows", used=3, available=12), Use(tile=2, resource="x", used=0, available=0))
    program = dataclasses.replace(report.program, uses=uses)
    rows = rows_of(resources_section(dataclasses.replace(report, program=program)))
    assert rows == [["tile 1", "rows", "3", "12", "25 %"], ["tile 2", "x", "0", "0", ""]]


def test_counters_by_tile(report):
    assert counters_section(report) == ""
    text = counters_section(dataclasses.replace(report, counters={2: {"busy_cycles": 1234}, 0: {"spikes": 5}}))
    assert rows_of(text) == [["host", "", "5"], ["tile 2", "1,234", ""]]
    assert ">busy cycles</th>" in text


def test_timing_is_text_whatever_the_file_says(report):
    assert "There is no build of this fabric yet" in timing_section(report)
    timing = {"lut_count": 1549, "<b>": "<i>", "clocks": [1, 2]}
    rows = rows_of(timing_section(dataclasses.replace(report, timing=timing)))
    assert rows == [["lut count", "1,549"], ["&lt;b&gt;", "&lt;i&gt;"]]
