"""Measurement of stale figures: stored, resumed and refused, with a block that needs no tools."""

import dataclasses
import subprocess

import pytest
from harness.quality import COUNTER, QUALITY, Counter

from spikeloom.boards.qor import campaign
from spikeloom.boards.qor.campaign import DirtyError, commit_of, in_history, measure, netlists, reasons, source_hash
from spikeloom.boards.qor.figures import Measured
from spikeloom.boards.qor.measure import BlockSubject, Quality


class Fake:
    """Reaches 150 MHz plus its seed, and fails with the seeds in ``fails``."""

    file_name = "fake.json"
    seeds = 3

    def __init__(self, title="fake", netlist="0a" * 16, fails=()):
        self.title = title
        self.hash = netlist
        self.fails = fails
        self.calls = []

    def read(self, text):
        return Quality.from_json(text)

    def tools(self):
        return ["yosys 1"]

    def netlist(self):
        self.calls.append("netlist")
        return self.hash

    def synthesise(self, folder, announce):
        self.calls.append("synthesis")
        announce("synthesis")
        (folder / "netlist").touch()

    def route(self, folder, seed):
        assert (folder / "netlist").exists()
        if seed in self.fails:
            raise RuntimeError(f"seed {seed} must not be interrupted")
        self.calls.append(seed)
        return Measured(lut=5, ff=6, ram=7, dsp=8, clocks={"clk": 150.0 + seed}, seconds=9.0)

    def stop(self, seed):
        self.calls.append(f"stop {seed}")


def test_finished_seeds_are_never_measured_again(tmp_path):
    said = []
    broken = Fake(fails=(2,))
    with pytest.raises(RuntimeError, match=r"^seed 2 must not be interrupted$"):
        measure(broken, broken.hash, store=tmp_path, announce=said.append)
    assert broken.calls[:2] == ["synthesis", 1]
    resumed = Fake()
    found = measure(resumed, resumed.hash, store=tmp_path, announce=said.append)
    assert 1 not in resumed.calls
    assert {seed: one.clocks["clk"] for seed, one in found.items()} == {1: 151.0, 2: 152.0, 3: 153.0}
    assert "fake: seed 2 of 3: 152.0 MHz in 9 s" in said
    assert any(sentence.endswith("of 3 seeds are stored") for sentence in said)
    again = Fake()
    assert measure(again, again.hash, store=tmp_path, announce=said.append) == found
    assert again.calls == []
    # Another netlist, and other tools, are measured again.
    for other in (Fake(netlist="0b" * 16), Fake()):
        other.tools = lambda: ["yosys 2"]
        measure(other, other.hash, store=tmp_path, announce=said.append)
        assert {1, 2, 3} < set(other.calls)
    assert not list(tmp_path.rglob("netlist"))  # files that only an unfinished measurement needs


def test_netlists_are_remembered_until_a_source_changes(tmp_path, monkeypatch):
    said, one, two = [], Fake("one"), Fake("two", "0b" * 16)
    assert netlists([one], store=tmp_path, announce=said.append) == {"one": one.hash}
    assert netlists([one, two], store=tmp_path, announce=said.append) == {"one": one.hash, "two": two.hash}
    assert (one.calls, two.calls) == (["netlist"], ["netlist"])
    assert len(said) == 2
    monkeypatch.setattr(campaign, "source_hash", lambda: "other")
    netlists([one], store=tmp_path, announce=said.append)
    assert one.calls == ["netlist", "netlist"]


def test_sources_are_all_that_decide_a_netlist(tmp_path, monkeypatch):
    before = source_hash()
    assert len(before) == 64
    for package in ("hdl", "sim", "boards"):
        (tmp_path / f"{package}.py").write_text("A = 1\n")
        source_hash.cache_clear()
        with monkeypatch.context() as patch:
            module = campaign.importlib.import_module(f"spikeloom.{package}")
            patch.setattr(module, "__path__", [*module.__path__, str(tmp_path)])
            assert source_hash() != before
    source_hash.cache_clear()
    assert source_hash() == before


class OtherCounter(Counter):
    """The same counter, at other lines of another file."""

    def elaborate(self, platform):

        return super().elaborate(platform)


def test_the_hash_is_of_the_netlist_and_not_of_its_lines():
    netlist = BlockSubject(COUNTER).netlist()
    assert len(netlist) == 32
    assert BlockSubject(dataclasses.replace(COUNTER, make=OtherCounter, variant="other")).netlist() == netlist
    for change in ({"asked_mhz": 100.0}, {"options": "-abc9"}):
        assert BlockSubject(dataclasses.replace(COUNTER, **change)).netlist() != netlist


def test_only_what_may_be_current_needs_its_netlist(tmp_path):
    asked = []

    def hashes(subjects):
        asked.extend(subject.title for subject in subjects)
        return {subject.title: subject.hash for subject in subjects}

    def why():
        return reasons([subject], tmp_path, hashes, lambda commit: commit == known)

    subject, known = Fake(), QUALITY.commit
    assert why() == {"fake": "missing"}
    path = tmp_path / subject.file_name
    path.write_text(dataclasses.replace(QUALITY, netlist="").to_json())
    assert list(why()) == ["fake"]
    path.write_text(QUALITY.to_json())
    known = ""
    assert why() == {"fake": "the commit 1b1b1b1b1b is not in the history"}
    assert asked == []
    known = QUALITY.commit
    assert why() == {}
    assert asked == ["fake"]
    subject.hash = "0b" * 16
    assert why() == {"fake": "the netlist has changed since 1b1b1b1b1b"}


def test_a_commit_is_only_named_where_nothing_has_changed(tmp_path):
    def git(*words):
        options = {"check": True, "capture_output": True, "text": True}
        return subprocess.run(["git", "-C", str(tmp_path), *words], **options).stdout.strip()

    with pytest.raises(DirtyError, match=r"^figures are kept only in a git checkout, because they name its commit$"):
        commit_of(tmp_path)
    assert in_history(tmp_path, "1b" * 20)  # nobody knows
    git("init", "--quiet")
    (tmp_path / "hdl").mkdir()
    (tmp_path / "hdl" / "a.py").write_text("A = 1\n")
    git("add", ".")
    git("-c", "user.name=n", "-c", "user.email=e@example.org", "commit", "--quiet", "-m", "a")
    assert commit_of(tmp_path) == git("rev-parse", "HEAD")
    assert in_history(tmp_path, git("rev-parse", "HEAD"))
    assert not in_history(tmp_path, "1b" * 20)
    (tmp_path / "qor").mkdir()
    (tmp_path / "qor" / "fake.json").write_text("{}")  # files written by make qor itself do not count
    assert commit_of(tmp_path) == git("rev-parse", "HEAD")
    (tmp_path / "hdl" / "a.py").write_text("A = 2\n")
    message = r"^1 file of hdl, sim, boards, pyproject\.toml differ from the commit; finished seeds are stored: commit"
    with pytest.raises(DirtyError, match=message):
        commit_of(tmp_path)
