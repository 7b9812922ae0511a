"""Comparison of encoders: signals, table and figure, and the page that shows them."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from spikeloom.benchmarks import encoder_comparison as module
from spikeloom.benchmarks.encoder_comparison import (
    SCHEMES,
    ComparisonError,
    compare_all,
    draw,
    electrocardiogram,
    markdown,
    spoken,
    sweep,
)
from spikeloom.datasets.encoders import ENCODERS

PAGE = (Path(__file__).parents[3] / "docs" / "encoders-compared.md").read_text()


def test_every_code_is_compared():
    assert set(SCHEMES) == set(ENCODERS)


def test_signals():
    """The sweep gets faster; beats follow each other, with the R wave as the largest."""
    crossings = np.flatnonzero(np.diff(np.signbit(sweep())))
    assert np.diff(crossings)[0] > 4 * np.diff(crossings)[-1]
    trace = electrocardiogram(240, 120)
    assert np.array_equal(trace[:120], trace[120:])
    assert trace[:120].argmax() == round(0.37 * 120)


def test_table_and_figure(tmp_path):
    """On short signals: finite errors for all codes that preserve values, spikes for all, one line per code, and a
    picture."""
    series = {"ECG": electrocardiogram(320)[:, None, None], "sweep": sweep(320)[:, None, None]}
    traces = compare_all(series)
    assert len(traces) == 2 * len(SCHEMES)
    for each in traces:
        assert each.row.spikes_per_value > 0, each.row
        assert (each.row.error is None) == (each.row.scheme == "hilbert")
    errors = {each.row.scheme: each.row.error for each in traces if each.row.signal == "sweep"}
    assert errors["phase"] < errors["latency"] < errors["rate"] < errors["poisson"]
    lines = markdown([each.row for each in traces]).splitlines()
    assert lines[0] == "| code | steps | axons | ECG | sweep |"
    assert len(lines) == 2 + len(SCHEMES)
    draw(traces, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_has_a_line_per_code():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and " / " in line]
    assert [row.split("|")[1].strip() for row in rows] == list(SCHEMES)


def test_what_is_missing_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    message = "espeak-ng must be installed to speak the digit: apt-get install espeak-ng"
    with pytest.raises(ComparisonError, match=f"^{message}$"):
        spoken(tmp_path)
    monkeypatch.setattr("sys.argv", ["encoder_comparison", "--output", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stopped:
        module.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"spikeloom: {message}\n"
