"""The short form of `make fuzz`, and its detection of each kind of failure."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path

import pytest
from fuzz.cases import ROOT, Case, case_of, warm_up
from fuzz.runner import run_case

SEED = 20261130
FILES = 60  # of each kind that `case_of` knows at least one


def test_damaged_files_are_accepted_or_refused_with_one_sentence():
    warm_up()
    verdicts = set()
    for number in range(FILES):
        case = case_of(number, SEED)
        outcome = run_case(case)
        assert outcome.good, (number, case.suffix, outcome)
        verdicts.add((case.suffix, outcome.verdict))
    # Interesting: damage that is detected and damage that is not, and every kind of file.
    assert {
        (".nir", "accepted"),
        (".nir", "refused"),
        (".net", "accepted"),
        (".net", "refused"),
        (".npz", "refused"),
        (".json", "refused"),
    } <= verdicts
    assert {suffix for suffix, _ in verdicts} == {".nir", ".net", ".npz", ".npy", ".json", "", ".toml", ".spif"}


def test_damage_is_the_same_for_the_same_seed():
    assert all(case_of(number, 3).content == case_of(number, 3).content for number in range(20))
    assert case_of(0, 3).content != case_of(0, 4).content


def _fails(path):
    raise KeyError(path)


def _talks(path):
    os.write(2, b"spikeloom: a sentence\n")
    raise ValueError("another sentence")


def _warns(path):
    warnings.warn("something", RuntimeWarning, stacklevel=1)


def _rambles(path):
    raise ValueError("a sentence\nand its table")


def _takes_memory(path):
    assert len(bytearray(1200 << 20))


@pytest.mark.parametrize(
    ("run", "verdict"),
    [
        (_fails, "traceback"),
        (_talks, "traceback"),
        (_warns, "traceback"),
        (_rambles, "traceback"),
        (lambda path: os.kill(os.getpid(), signal.SIGSEGV), "signal"),
        (lambda path: print(1 / 0), "traceback"),
    ],
)
def test_what_must_not_happen_is_seen(run, verdict):
    outcome = run_case(Case(suffix="", content=b"", run=run))
    assert (outcome.verdict, outcome.good) == (verdict, False)


def test_too_much_memory_is_seen():
    outcome = run_case(Case(suffix="", content=b"", run=_takes_memory))
    assert outcome.memory_mib > 1024
    assert not outcome.good


def test_a_hang_is_seen(monkeypatch):
    monkeypatch.setattr("fuzz.runner.PATIENCE_S", 0.3)
    outcome = run_case(Case(suffix="", content=b"", run=lambda path: time.sleep(30)))
    assert (outcome.verdict, outcome.good) == ("timeout", False)


DRIVER = textwrap.dedent(
    """
    # The second file is one that waits, until there is a file "all good".
    import os, sys, time
    from pathlib import Path
    from fuzz import __main__ as command
    from fuzz.cases import Case
    folder = Path(sys.argv.pop(1))
    def wait(path):
        if not (folder / "all good").exists():
            (folder / "beside").write_text(str(os.getpid()))
            (folder / "beside").rename(folder / "running")
            time.sleep(600)
    command.warm_up = lambda: None
    command.case_of = lambda number, seed: Case(suffix="", content=b"", run=wait if number else lambda path: None)
    sys.exit(command.main())
    """
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_files_in_progress_and_the_next_run_goes_on(tmp_path, number):
    command = [sys.executable, "-c", DRIVER, str(tmp_path), "--files", "2", "--workers", "1", "--output", str(tmp_path)]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), *sys.path]), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as process:
        try:
            while not (tmp_path / "running").exists():
                assert process.poll() is None
                time.sleep(0.05)
            waiting = Path("/proc") / (tmp_path / "running").read_text()
            assert waiting.exists()
            process.send_signal(number)
            assert process.wait(60) == 128 + number
        finally:
            process.kill()
    assert not waiting.exists()
    assert len((tmp_path / "outcomes.jsonl").read_text().splitlines()) == 2
    assert [path for path in tmp_path.iterdir() if path.name.startswith("tmp")] == []
    (tmp_path / "all good").touch()
    again = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, check=False)
    assert again.stdout.startswith("1 of 2 files")
    assert json.loads((tmp_path / "summary.json").read_text())["files"] == 2
