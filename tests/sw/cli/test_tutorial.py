"""The commands of ``docs/tutorial.md``, run in order in one folder, and what they print compared with the page.

A comment before a block marks special ones: ``long`` blocks run with ``make tutorial`` only, which sets
``SPIKELOOM_TUTORIAL``; ``background`` blocks run until the end; ``board`` blocks need a board and are not run.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from harness.cli import SETTLED

from spikeloom.datasets.shipped import shipped

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "tutorial.md"
LONG = "SPIKELOOM_TUTORIAL" in os.environ
BLOCK = re.compile(r"(?:<!-- (?P<mark>\w+) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)```", re.DOTALL)
# Parts that differ from run to run.
TIMES = re.compile(r"\d[\d.,]*(?= s, loading| per second)")


class Step(NamedTuple):
    mark: str
    commands: list[str]
    output: list[str]


def steps_of(page):
    """The blocks of commands, with the lines that they must print."""
    steps = []
    for found in BLOCK.finditer(page):
        lines = found["text"].splitlines()
        if found["kind"] == "sh":
            steps.append(Step(found["mark"] or "", lines, []))
        else:
            steps[-1].output.extend(lines)
    return steps


STEPS = steps_of(PAGE.read_text())


def plain(text):
    return TIMES.sub("#", text.replace("┃", "│"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where commands run: a clone, with what it installs; or a folder with the models, and `SETTLED`."""
    monkeypatch.setenv("COLUMNS", "100")
    if LONG:
        monkeypatch.delenv("PYTHONPATH", raising=False)
        monkeypatch.setenv("PATH", f"{tmp_path}/clone/.venv/bin:{os.environ['PATH']}")
        subprocess.run(["git", "clone", "-q", ROOT, tmp_path / "clone"], check=True)
        return tmp_path / "clone"
    (tmp_path / "models").symlink_to(shipped("digits-mlp.nir").parent)
    program = tmp_path / "bin" / "spikeloom"
    program.parent.mkdir()
    settled = program.with_name("settled.py")
    settled.write_text(SETTLED)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{settled}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path


def start(command, folder):
    """Start a background command, and return when its port exists."""
    process = subprocess.Popen(
        command, shell=True, cwd=folder, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + 300
    while not (folder / "build/serve/run/port").is_symlink():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return process


def test_every_command_does_what_the_page_says(folder, shared_build):
    if not LONG:  # compiled files are kept for the next time
        (folder / "build").mkdir()
        (folder / "build" / "serve").symlink_to(shared_build(folder / "shared"))
    running, ran, compared = [], 0, 0
    try:
        for step in STEPS:
            if step.mark == "board" or (step.mark == "long" and not LONG):
                continue
            if step.mark == "background":
                running += [start(command, folder) for command in step.commands]
                continue
            script = "\n".join(["set -e", *step.commands])
            done = subprocess.run(
                script, shell=True, cwd=folder, capture_output=True, text=True, timeout=900, check=False
            )
            assert done.returncode == 0, f"{step.commands}: {done.stdout}{done.stderr}"
            ran += len(step.commands)
            for line in step.output:
                assert plain(line) in plain(done.stdout), f"{step.commands} must print {line!r}: {done.stdout}"
                compared += 1
    finally:
        for process in running:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(60)
    assert ran >= 6
    assert compared >= 9
    assert (folder / "digits.html").stat().st_size > 10_000


def test_the_marks_are_known_and_few():
    assert {step.mark for step in STEPS} == {"", "long", "background", "board"}
    assert [step.mark for step in STEPS].count("long") == 2
