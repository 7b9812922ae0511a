"""Table of the attention unit: kept figures, the time on the CPU, and the figures of the paper."""

import re
import sys

import numpy as np

from spikeloom.boards.qor import attention_table
from spikeloom.boards.qor.attention_table import PAPER, cpu_microseconds, main
from spikeloom.boards.qor.blocks import ATTENTION_SHAPES, attention_block
from spikeloom.boards.qor.measure import Quality

KEPT = Quality(lut=4321, ff=8, ram=3, dsp=0, seeds={"1": 150.0, "2": 151.5, "3": 160.0}, tools=["yosys 1"], cycles=718)


def test_prints_what_is_kept_beside_the_cpu_and_the_paper(capsys, monkeypatch, tmp_path):
    (tmp_path / attention_block(64, 64).file_name).write_text(KEPT.to_json())
    monkeypatch.setattr(attention_table, "cpu_microseconds", lambda tokens, runs: ("NumPy", 1000.0 * tokens + runs))
    assert main(["--folder", str(tmp_path), "--runs", "7"]) == 0
    text = capsys.readouterr().out
    rows = [[cell.strip() for cell in re.split("[│|]", line)[1:-1]] for line in text.splitlines() if line[:1] in "│|"]
    assert len(rows) == len(ATTENTION_SHAPES)
    assert rows[-1] == ["64", "64", "4,321", "8", "3", "151.5", "718", "4.74", "64007"]
    assert rows[0] == ["16", "1", *["-"] * 6, "16007"]
    assert " ".join(text.split()).endswith(f"NumPy was timed in its place. {PAPER}")


def test_times_numpy_where_there_is_no_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    library, microseconds = cpu_microseconds(16, steps=2, runs=3)
    assert library == "NumPy"
    assert 0 < microseconds < 1e6


def test_the_cpu_does_the_block():
    """The timed samples have the requested shape, and about the expected number of spikes."""
    samples = attention_table._numpy_call(16, 10)()
    assert samples.shape == (10, 16, 16)
    assert set(np.unique(samples)) == {0, 1}
    assert 0.05 < samples.mean() < 0.25  # V is 1 for half, S for a quarter
