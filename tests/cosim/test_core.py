"""The LIF core in Verilog against the integer reference, and bugs planted in the Verilog."""

import dataclasses
import json
import re

import pytest
from harness.cores import NARROW

from spikeloom.hdl.core.tile import LifCore
from spikeloom.sim.fabric.fabric_file import core_to_json

MULTIPLIER = NARROW
SHIFTS = dataclasses.replace(MULTIPLIER, lanes=4, neurons=64, weight_words=256, multiplier=False, shifts=(3, 1, 5))
EVERY_MODEL = dataclasses.replace(
    MULTIPLIER,
    lanes=2,
    accumulator_width=24,
    synaptic_current=True,
    adaptation=True,
    delay_line=True,
    noise_bits=6,
    value_width=6,
    second_threshold=True,
    count_width=4,
    lower_bound=True,
)
MAPS_IN_BANKS = dataclasses.replace(
    SHIFTS,
    lanes=16,
    lane_banks=2,
    neurons=2048,
    axons=256,
    weight_words=2048,
    populations=8,
    accumulator_width=20,
    coordinate_width=3,
    geometries=32,
    sparse=True,
)
CORES = {
    "one-lane-multiplier": MULTIPLIER,
    "four-lanes-shifts": SHIFTS,
    "every-model": EVERY_MODEL,
    "maps-in-banks": MAPS_IN_BANKS,
}
"""The first core runs the scenarios in their short form, without a bug, in `test_planted_bugs`."""
LENGTHS = [
    pytest.param(name, long, id=f"{name}-long" if long else name, marks=[pytest.mark.slow] if long else [])
    for name in CORES
    for long in ((True,) if name == "one-lane-multiplier" else (False, True))
]

# The replaced text, its number of occurrences, and the replacement. Only names from the design are relied upon.
PLANTED = {
    "compare": (r"\| difference_\d\[\d+:0\]", 1, "1'h1"),
    "rounding of the leak": (r"(?<== )\S+ ?\[10\](?= & product\[)", 1, "1'h0"),
    "reset by subtraction": (r"(?<=: )difference_\d\[10:0\]", 1, "11'h000"),
    "saturation": (r"takes_\d \? other_over_\d : u_over_\d", 1, "1'h0"),
    "fresh state": (r"(?<== )\S+ ?\[21\](?= \? 22'h000000)", 1, "1'h0"),
    "forwarding of sums": (r"word_\d\[\d+:\d+\] == word\[\d+:\d+\]", 3, "1'h0"),
    "clearing of accumulators": (r"clear_address == 5'h1f", 1, "clear_address == 5'h00"),
    "waiting for a TICK": (r"ticks_1 & _\d+_", 1, "1'h1"),
    "waiting for an ACK": (r"acks_0 == acks_expected", 1, "1'h1"),
}


def environment(parameters, **more):
    return {"CORE_PARAMETERS": json.dumps(core_to_json(parameters))} | more


@pytest.mark.parametrize(("name", "long"), LENGTHS)
def test_core(name, long, verilog, run_bench):
    source = verilog(LifCore(CORES[name]), "core")
    variables = environment(CORES[name], **({"LONG_FORM": "1"} if long else {}))
    run_bench(source, "core", "core_bench", tests=6, environment=variables)


def test_planted_bugs(tmp_path, verilog, run_bench):
    """One binary with all bugs, one of which is selected by a port of the top; with none selected, the core is
    correct."""
    text = verilog(LifCore(MULTIPLIER), "core").read_text()
    for number, (name, (pattern, count, bug)) in enumerate(PLANTED.items(), 1):
        chosen = f"(core.planted == {number} ? {bug} : "
        text, found = re.subn(pattern, lambda match, chosen=chosen: chosen + match[0] + ")", text)
        assert found == count, f"{name} must occur {count} times in the Verilog, not {found}"
    text = text.replace("module core(", "module core(planted, ", 1).replace(");\n", ");\n  input [7:0] planted;\n", 1)
    source = tmp_path / "core-planted.v"
    source.write_text(text)
    variables = environment(MULTIPLIER, PLANTED_BUGS=json.dumps(list(PLANTED)))
    run_bench(source, "core", "core_bench", tests=6 + len(PLANTED), environment=variables)
