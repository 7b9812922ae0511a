"""Parsing of the output of the tools, and the content of report.json."""

import dataclasses
import json
from pathlib import Path

import pytest
from harness.bitstreams import BUILD_REPORT
from rich.console import Console

from spikeloom.boards.bitstream.report import Clock, Report, Used, clocks, report_table, used_resources
from spikeloom.boards.families.device import DEVICES
from spikeloom.boards.families.flow import ECP5, ICE40

RECORDED = (Path(__file__).parent / "nextpnr-ulx3s-12f.json").read_text()
"""The report of nextpnr for the general fabric of an ULX3S 12F."""

ECP5_REPORT = {
    "critical_paths": [],
    "fmax": {
        "$glbnet$slow": {"achieved": 60.0, "constraint": 12.0},
        "$glbnet$clk": {"achieved": 48.25, "constraint": 50.0},
    },
    "utilization": {
        "TRELLIS_COMB": {"available": 83640, "used": 412},
        "TRELLIS_FF": {"available": 83640, "used": 163},
        "DP16KD": {"available": 208, "used": 33},
        "MULT18X18D": {"available": 156, "used": 2},
        "TRELLIS_IO": {"available": 365, "used": 3},
    },
}
ICE40_REPORT = {
    "critical_paths": [],
    "fmax": {"clk": {"achieved": 20.5, "constraint": 12.0}},
    "utilization": {
        "ICESTORM_LC": {"available": 5280, "used": 288},
        "ICESTORM_RAM": {"available": 30, "used": 7},
        "ICESTORM_DSP": {"available": 8, "used": 1},
    },
}
ICE40_NETLIST = {
    "modules": {
        "SB_DFF": {"attributes": {"blackbox": "1"}, "cells": {}},
        "top": {
            "attributes": {"top": "1"},
            "cells": {
                "a": {"type": "SB_DFF"},
                "b": {"type": "SB_DFFESR"},
                "c": {"type": "SB_LUT4"},
                "d": {"type": "SB_DFFSS"},
            },
        },
    }
}
REPORT = dataclasses.replace(
    BUILD_REPORT, board="demo", clocks=tuple(clocks(RECORDED)), seed=2, seeds=4, raise_clock=True
)


def test_resources_of_an_ecp5():
    assert used_resources(json.dumps(ECP5_REPORT), "", ECP5) == {
        "lut": Used(used=412, available=83640),
        "ff": Used(used=163, available=83640),
        "ram": Used(used=33, available=208),
        "dsp": Used(used=2, available=156),
    }


def test_flip_flops_of_an_ice40_are_counted_in_the_netlist():
    assert used_resources(json.dumps(ICE40_REPORT), json.dumps(ICE40_NETLIST), ICE40) == {
        "lut": Used(used=288, available=5280),
        "ff": Used(used=3, available=None),
        "ram": Used(used=7, available=30),
        "dsp": Used(used=1, available=8),
    }


def test_the_tightest_clock_comes_first():
    first, second = clocks(json.dumps(ECP5_REPORT))
    assert first == Clock(name="clk", constraint_mhz=50.0, achieved_mhz=48.25)
    assert first.missed
    assert second.name == "slow"
    assert not second.missed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ERROR: no", r"^Report of nextpnr must be JSON, not 'ERROR: no'$"),
        ("[]", r"^Report of nextpnr must have a part 'fmax'$"),
        ('{"fmax": {}}', r"^Report of nextpnr must name a clock, but names none$"),
    ],
)
def test_refuses_malformed_reports(text, message):
    with pytest.raises(ValueError, match=message):
        clocks(text)


def test_refuses_the_report_of_another_family():
    with pytest.raises(ValueError, match=r"^Report of nextpnr must count TRELLIS_COMB, not only ICESTORM_DSP, "):
        used_resources(json.dumps(ICE40_REPORT), "", ECP5)


def test_refuses_a_netlist_without_a_top():
    with pytest.raises(ValueError, match=r"^Netlist must have one top module, not 0$"):
        used_resources(json.dumps(ICE40_REPORT), '{"modules": {}}', ICE40)


def test_report_json_has_exactly_the_promised_names():
    content = json.loads(REPORT.to_json())
    assert list(content) == [
        "format",
        "board",
        "device",
        "lut",
        "ff",
        "ram",
        "dsp",
        "first_clock_mhz",
        "clock_mhz",
        "fmax_mhz",
        "neurons",
        "synapses",
        "peak_synaptic_operations_per_s",
        "identity",
        "clocks",
        "seed",
        "seeds",
        "raise_clock",
    ]
    assert content["clocks"][0]["path"]["hops"][1]["name"] == "link.ahead"
    assert Report.from_json(REPORT.to_json()) == REPORT
    pathless = dataclasses.replace(REPORT, clocks=tuple(clocks(json.dumps(ECP5_REPORT))))
    assert Report.from_json(pathless.to_json()) == pathless


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"clocks": 3}', '{"board": "demo", "clocks": []}'])
def test_refuses_files_that_are_not_build_reports(text):
    with pytest.raises(ValueError, match=r"^report\.json must come from a build \("):
        Report.from_json(text)


def test_table_shows_what_is_used_and_of_how_many():
    console = Console(width=100)
    with console.capture() as capture:
        console.print(report_table(REPORT, DEVICES["LFE5U-85F"]))
    text = capture.get()
    for expected in (
        "412",
        "83,640 (0%)",
        "33",
        "208 (16%)",
        "90.00 MHz",
        "103.70 MHz at most (Fmax)",
        "65,536",
        "200 M/s",
    ):
        assert expected in text
    for expected in (
        "9.6 ns",
        "77% of it routing",
        "0.5 + 0.8 ns",
        "link.header[0]",
        "link.ahead",
        "link.sender.fsm_state",
    ):
        assert expected in text
    assert text.count("link.") == 5  # the shortest hop is left out


def test_a_report_without_format_number_is_read_and_a_newer_one_refused():
    content = json.loads(REPORT.to_json())
    newer = json.dumps({**content, "format": 99, "more": 1})
    with pytest.raises(ValueError, match=r"^report\.json has format 99, expected .*; update spikeloom$"):
        Report.from_json(newer)
    del content["format"]
    assert Report.from_json(json.dumps(content)) == REPORT
