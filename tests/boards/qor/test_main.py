"""The command that lists and measures stale figures."""

import dataclasses
import json

import pytest
from harness.quality import COUNTER, QUALITY

import spikeloom.boards.qor.__main__ as command
from spikeloom.boards.qor.__main__ import main
from spikeloom.boards.qor.boards import MeasuredBoard
from spikeloom.boards.qor.campaign import DirtyError
from spikeloom.boards.qor.figures import Measured
from spikeloom.boards.qor.measure import ICE40_UP5K, BlockSubject

COMMIT = "1b" * 20


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run the command with one block, whose seeds reach ``run.mhz``."""
    monkeypatch.setattr(command, "BLOCKS", (COUNTER,))
    monkeypatch.setattr(command, "MEASURED", ())
    monkeypatch.setattr(command, "commit_of", lambda root: COMMIT)
    monkeypatch.setattr(command, "in_history", lambda root, commit: commit == COMMIT)

    def synthesise(subject, folder, announce):
        announce("synthesis")

    def route(subject, folder, seed):
        run.routed += 1
        return Measured(lut=run.lut, ff=8, ram=0, dsp=0, clocks={"clk": run.mhz[seed - 1]}, seconds=1.0)

    def run(*arguments):
        run.routed = 0
        return main(["--folder", str(tmp_path / "qor"), "--store", str(tmp_path / "store"), "--jobs", "1", *arguments])

    monkeypatch.setattr(BlockSubject, "synthesise", synthesise)
    monkeypatch.setattr(BlockSubject, "route", route)
    monkeypatch.setattr(BlockSubject, "tools", lambda subject: ["yosys 1"])
    run.lut, run.mhz, run.path = 100, [140.0, 151.0, 150.0, 163.0, 149.0], tmp_path / "qor" / COUNTER.file_name
    return run


def test_only_what_is_stale_is_measured(run, capsys):
    assert run("--check") == 1
    assert "counter-8-bits-ecp5-85f.json: missing" in capsys.readouterr().out
    assert run() == 0
    assert run.routed == 5
    content = json.loads(run.path.read_text())
    assert list(content["seeds"].values()) == run.mhz
    assert (content["fmax_mhz"], content["fmax_min_mhz"], content["fmax_max_mhz"]) == (150.0, 140.0, 163.0)
    assert content["commit"] == COMMIT
    assert content["netlist"] == BlockSubject(COUNTER).netlist()
    assert run("--check") == 0
    assert "1 of 1 files are current" in capsys.readouterr().out
    assert run() == 0
    assert run.routed == 0


def test_a_file_whose_commit_is_gone_is_written_again(run, monkeypatch, capsys):
    """After a rebase, the seeds are still stored, so nothing is measured."""
    assert run() == 0
    monkeypatch.setattr(command, "commit_of", lambda root: "2c" * 20)
    monkeypatch.setattr(command, "in_history", lambda root, commit: commit == "2c" * 20)
    assert run("--check") == 1
    assert "the commit 1b1b1b1b1b is not in the history" in capsys.readouterr().out
    assert run() == 0
    assert run.routed == 0
    assert json.loads(run.path.read_text())["commit"] == "2c" * 20


def test_what_has_become_worse_fails(run, monkeypatch, capsys):
    run.path.parent.mkdir()
    run.path.write_text(dataclasses.replace(QUALITY, lut=90).to_json())
    assert run("--check") == 1
    assert "the netlist has changed since 1b1b1b1b1b" in capsys.readouterr().out
    assert run() == 1
    captured = capsys.readouterr()
    assert captured.err == "counter 8-bits: lut has grown from 90 to 100\n"
    assert "100 (+10)" in captured.out
    # The bound of a block applies to the median.
    run.path.unlink()
    monkeypatch.setattr(command, "BLOCKS", (dataclasses.replace(COUNTER, minimum_fmax_mhz=151),))
    assert run() == 1
    assert capsys.readouterr().err == "counter 8-bits: fmax_mhz must be at least 151, not 150.0\n"


def test_no_commit_no_file(run, monkeypatch, capsys):
    def refuse(root):
        raise DirtyError("3 files differ")

    monkeypatch.setattr(command, "commit_of", refuse)
    assert run() == 1
    assert not run.path.exists()
    assert capsys.readouterr().err == "counter 8-bits ecp5-85f: 3 files differ\n"
    # The seeds are stored nevertheless.
    monkeypatch.setattr(command, "commit_of", lambda root: COMMIT)
    assert run() == 0
    assert run.routed == 0
    assert run.path.exists()


def test_some_can_be_chosen(run, monkeypatch, capsys):
    monkeypatch.setattr(command, "BLOCKS", (COUNTER, dataclasses.replace(COUNTER, device=ICE40_UP5K)))
    monkeypatch.setattr(command, "MEASURED", (MeasuredBoard("icebreaker"),))
    assert run("--only", "8-bits-ecp5") == 0
    assert [path.name for path in run.path.parent.iterdir()] == [run.path.name]
    assert run("--check", "--only", "counter") == 1
    assert "1 of 2 files are current" in capsys.readouterr().out
    assert run("--check") == 1
    assert "board-icebreaker.json: missing" in capsys.readouterr().out
    for arguments in (["--only", "nothing"], ["--jobs", "0"]):
        with pytest.raises(SystemExit) as failure:
            run(*arguments)
        assert failure.value.code == 2


def test_netlists_are_generated_in_several_processes(run):
    """Blocks contain functions, which cannot be sent to another process; titles can."""
    assert run("--jobs", "2") == 0
    assert run("--check", "--jobs", "2") == 0
    (subject,) = command._subjects().values()
    assert command._netlist_of(subject)() == subject.netlist()
