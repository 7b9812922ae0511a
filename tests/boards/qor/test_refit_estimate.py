"""Cores synthesised again: the cells that count, the kept figures, and whether measured.json still holds."""

import json

import pytest

from spikeloom.boards.families.device import DEVICES
from spikeloom.boards.qor import refit_estimate
from spikeloom.boards.qor.refit_estimate import FAMILIES, main, measure
from spikeloom.boards.sizing.estimate import measured_cores

CELLS = {
    "ecp5": {"LUT4": 100, "CCU2C": 10, "TRELLIS_DPR16X4": 3, "TRELLIS_FF": 7, "DP16KD": 2, "MULT18X18D": 1, "PFUMX": 9},
    "ice40": {"SB_LUT4": 50, "SB_DFFESR": 4, "SB_DFF": 3, "SB_RAM40_4K": 6, "SB_MAC16": 2, "SB_CARRY": 8},
    "gowin": {"LUT4": 5, "LUT1": 6, "ALU": 7, "RAM16SDP4": 2, "DFFRE": 9, "SDPB": 1, "DPX9B": 2, "MULT18X18": 3},
}
COUNTS = {
    "ecp5": {"lut": 100 + 2 * 10 + 6 * 3, "ff": 7, "ram": 2, "dsp": 1},
    "ice40": {"lut": 50, "ff": 7, "ram": 6, "dsp": 2},
    "gowin": {"lut": 5 + 6 + 7 + 4 * 2, "ff": 9, "ram": 3, "dsp": 3},
}


@pytest.fixture
def synthesised(monkeypatch):
    """Calls of Yosys, which finds the cells of `CELLS`; designs are not converted."""
    calls = []

    def run_tool(flow, tool, arguments, folder):
        family = next(name for name, each in FAMILIES.items() if each.synthesis in arguments[-1])
        calls.append((tool, arguments[-1]))
        assert (folder / "top.il").read_text() == "a design"
        (folder / "stat.json").write_text(json.dumps({"design": {"num_cells_by_type": CELLS[family]}}))

    monkeypatch.setattr(refit_estimate, "run_tool", run_tool)
    # Designs that are made and not converted would be reported as forgotten.
    monkeypatch.setattr(refit_estimate, "LifCore", lambda core: core)
    monkeypatch.setattr(refit_estimate, "Top", lambda fabric, *options: fabric)
    monkeypatch.setattr(refit_estimate, "to_rtlil", lambda design, **options: "a design")
    return calls


@pytest.mark.parametrize("family", FAMILIES)
def test_cells_are_counted_as_the_resources_that_they_take(synthesised, family):
    before = next(core for core in measured_cores() if core.family == family and core.link is None)
    after = measure(before)
    assert {name: getattr(after, name) for name in ("lut", "ff", "ram", "dsp")} == COUNTS[family]
    assert (after.family, after.name, after.core) == (before.family, before.name, before.core)
    ((tool, script),) = synthesised
    assert tool == "yosys"
    assert f"; {FAMILIES[family].synthesis} -top top;" in script


def test_families_name_existing_parts():
    assert all(DEVICES[family.device].flow.pll == name for name, family in FAMILIES.items())


def test_only_what_is_asked_for_is_measured_and_all_is_kept(synthesised, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(refit_estimate, "FILE", tmp_path / "measured.json")
    before = measured_cores()
    name = before[0].name
    main(["--only", name])
    kept = json.loads((tmp_path / "measured.json").read_text())
    assert [(entry["family"], entry["name"]) for entry in kept] == [(core.family, core.name) for core in before]
    changed = {number for number, core in enumerate(before) if name in core.name}
    assert len(synthesised) == len(changed) < len(before)
    for number, (core, entry) in enumerate(zip(before, kept, strict=True)):
        assert entry["lut"] == (COUNTS[core.family]["lut"] if number in changed else core.lut)
    assert f"{before[0].family} {name}: lut {before[0].lut:,} to" in capsys.readouterr().out


def test_synthesis_still_finds_what_was_measured():
    """One core, so that the file is updated when the design changes."""
    before = next(core for core in measured_cores() if (core.family, core.name, core.link) == ("ecp5", "base1", None))
    after = measure(before)
    assert (after.ram, after.dsp) == (before.ram, before.dsp)
    assert after.lut == pytest.approx(before.lut, rel=0.1), "python -m spikeloom.boards.qor.refit_estimate"
