"""The short form of `make fuzz`, and that it would see what it looks for."""

import os
import signal
import time
import warnings

import pytest
from fuzz.cases import Case, case_of, warm_up
from fuzz.runner import run_case

SEED = 20261130
FILES = 100


def test_damaged_files_are_accepted_or_refused_with_one_sentence():
    warm_up()
    verdicts = set()
    for number in range(FILES):
        case = case_of(number, SEED)
        outcome = run_case(case)
        assert outcome.good, (number, case.suffix, outcome)
        verdicts.add((case.suffix, outcome.verdict))
    # Interesting: damage that is seen and damage that is not, and every kind of file.
    assert {(".nir", "accepted"), (".nir", "refused"), (".npz", "refused"), (".json", "refused")} <= verdicts
    assert {suffix for suffix, _ in verdicts} == {".nir", ".npz", ".npy", ".json", "", ".toml", ".spif"}


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
