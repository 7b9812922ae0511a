"""A full disk, command by command: one sentence, and unchanged files of the previous run."""

from pathlib import Path

import pytest
from harness.cli import sentence
from harness.full_disk import contents, fill_the_disk

from spikeloom.cli.app import main

COMMANDS = {
    "run": ["--backend", "reference", "--fabric", "small", "--images", "3", "--output", "out/out.npy"],
    "simulate": ["--backend", "reference", "--images", "3", "--output", "out"],
    "report": ["--fabric", "small", "--images", "3", "--output", "out/report.html"],
    "explore": ["--jobs", "1", "--limit", "20", "--weight-bits", "4", "--board", "icebreaker", "--output", "out"],
    "generate": ["--fabric", "small", "--output", "out"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_keeps_the_older_files(network, capsys, monkeypatch, command):
    arguments = [command, network, *COMMANDS[command]]
    Path("out").mkdir()
    main(arguments)
    before = contents(Path("out"))
    assert before
    capsys.readouterr()
    fill_the_disk(monkeypatch)
    assert "No space left on device" in sentence(capsys, *arguments)
    assert contents(Path("out")) == before


def test_a_full_disk_leaves_nothing_of_a_new_file(network, capsys, monkeypatch):
    fill_the_disk(monkeypatch)
    for command in ("run", "simulate", "report"):
        assert "No space left on device" in sentence(capsys, command, network, *COMMANDS[command])
    assert "No space left on device" in sentence(capsys, "init", "--preset", "snntorch")
    assert contents(Path()) == {}
