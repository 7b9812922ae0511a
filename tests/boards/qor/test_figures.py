"""Kept figures: medians, files of both forms, and the conditions under which a file is stale."""

import dataclasses
import json

import pytest
from harness.quality import BOARD, QUALITY

from spikeloom.boards.qor.boards import BoardQuality
from spikeloom.boards.qor.figures import Measured, kept_folder, median, resources_of, stale
from spikeloom.boards.qor.measure import Quality


def measured(lut, mhz):
    return Measured(lut=lut, ff=8, ram=1, dsp=0, clocks={"clk": mhz}, seconds=1.5)


def test_the_figures_are_medians():
    assert (QUALITY.fmax_mhz, QUALITY.fmax_min_mhz, QUALITY.fmax_max_mhz) == (150.0, 140.0, 163.0)
    assert median([3, 1.04, 2.06]) == 2.1
    assert resources_of({1: measured(7, 1.0), 2: measured(5, 1.0), 3: measured(6, 1.0)}) == {
        "lut": 6,
        "ff": 8,
        "ram": 1,
        "dsp": 0,
    }
    assert resources_of({1: measured(7, 1.0), 2: measured(5, 1.0)})["lut"] == 5


@pytest.mark.parametrize("figures", [QUALITY, BOARD, dataclasses.replace(QUALITY, cycles=600)], ids=["", "board", "us"])
def test_a_kept_file_holds_them_all(figures):
    content = json.loads(figures.to_json())
    assert list(content)[:7] == ["lut", "ff", "ram", "dsp", "fmax_mhz", "fmax_min_mhz", "fmax_max_mhz"]
    assert {"seeds", "tools", "netlist", "commit"} < set(content)
    assert type(figures).from_json(figures.to_json()) == figures
    # A file whose seeds do not give its figures is refused.
    for name in ("fmax_mhz", "fmax_max_mhz"):
        wrong = json.dumps(content | {name: 172.1})
        with pytest.raises(ValueError, match=rf"^{name} of a kept (result|board) must be [\d.]+, not 172\.1$"):
            type(figures).from_json(wrong)


def test_the_kept_files_are_found_from_anywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert (kept_folder() / "board-ulx3s-85f.json").is_file()


def test_microseconds_are_those_of_the_median():
    assert dataclasses.replace(QUALITY, cycles=600).microseconds == 4.0
    assert QUALITY.microseconds is None
    assert "microseconds" not in QUALITY.to_json()


def test_files_of_the_older_form_give_medians_too():
    """Files of older versions named the best seed as the figure."""
    old = {"lut": 1, "ff": 2, "ram": 3, "dsp": 0, "fmax_mhz": 172.1, "tools": ["yosys 1"]}
    kept = Quality.from_json(json.dumps(old | {"seeds": {"1": 143.8, "2": 172.1, "3": 147.7}}))
    assert kept.fmax_mhz == 147.7
    board = old | {"clock_mhz": 90.0, "clocks": {"clk": 172.1}, "neurons": 1, "synapses": 2}
    assert BoardQuality.from_json(json.dumps(board)).seeds == {"1": 172.1}


def test_a_kept_file_must_be_whole():
    message = r"^A kept result must be JSON with lut, ff, ram, dsp, seeds, tools \("
    for text in ("{", "[]", '{"lut": 3}', QUALITY.to_json().replace('"ff"', '"gg"')):
        with pytest.raises(ValueError, match=message):
            Quality.from_json(text)
    with pytest.raises(ValueError, match=r"\(no median for empty data\)$"):
        Quality.from_json(json.dumps(json.loads(QUALITY.to_json()) | {"seeds": {}}))


def test_a_stored_seed_must_be_whole():
    one = measured(7, 101.5)
    assert Measured.from_json(one.to_json()) == one
    with pytest.raises(ValueError, match=r"^a stored seed must be one of make qor \("):
        Measured.from_json('{"lut": 3}')


def test_what_is_stale():
    def why(kept=QUALITY, netlist=QUALITY.netlist, tools=("yosys 1",), seeds=5):
        return stale(kept, netlist, tools, seeds)

    assert why() == ""
    assert why(seeds=3) == ""
    assert why(kept=None) == "missing"
    assert why(kept=dataclasses.replace(QUALITY, netlist="")) == "of the older form, without netlist and commit"
    assert why(kept=dataclasses.replace(QUALITY, commit="")) == "of the older form, without netlist and commit"
    assert why(netlist="00" * 16) == "the netlist has changed since 1b1b1b1b1b"
    assert why(tools=("yosys 2",)) == "measured with yosys 1, the tools are yosys 2"
    assert why(seeds=7) == "5 seeds, expected 7"
