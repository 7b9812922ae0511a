"""Mutation in short form: every kind of change is made; a run finds, stores and resumes; the numbers are right."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from mutate import __main__ as command
from mutate import equivalent, runner
from mutate.mutants import ROOT, draw, mutants_of, sources
from mutate.runner import Tree, listed_tests

MODULE = '''"""Says 1 + 1."""

def f(a: int, m, p) -> int:
    """2 is no mutant."""
    if not (a == 1) and a < 3:
        raise ValueError(f"{a + 1}")
    m.d.sync += [a.eq(~a), p.eq(a << 2)]
    m.d.comb += a.eq(Mux(a, p, 0))
    p = p.reshape(-1, len(p))
    return (a & p) - (a | p) if a >= 2 or True else a ^ p
'''
CHANGES = [
    "'not' becomes ''",
    "'==' becomes '!='",
    "'1' becomes '2'",
    "'and' becomes 'or'",
    "'<' becomes '<='",
    "'3' becomes '4'",
    "'a.eq(~a)' becomes '*()'",
    "'~' becomes ''",
    "'p.eq(a << 2)' becomes '*()'",
    "'<<' becomes '>>'",
    "'2' becomes '3'",
    "'m.d.comb += a.eq(Mux(a, p, 0))' becomes 'pass'",
    "'p, 0' becomes '0, p'",
    "'0' becomes '1'",
    "'&' becomes '|'",
    "'-' becomes '+'",
    "'|' becomes '&'",
    "'>=' becomes '>'",
    "'2' becomes '3'",
    "'or' becomes 'and'",
    "'True' becomes 'False'",
    "'^' becomes '|'",
]


def test_every_kind_of_change():
    mutants = mutants_of("x.py", MODULE)
    assert sorted(mutant.now for mutant in mutants) == sorted(CHANGES)
    texts = {mutant.applied(MODULE) for mutant in mutants}
    assert len(texts) == len(mutants)
    for text in texts:
        compile(text, "x.py", "exec")


def test_all_sources_give_mutants_that_compile():
    drawn = draw(1, 150)
    assert len({mutant.path for mutant in drawn}) > 40
    assert drawn == draw(1, 150)
    assert drawn[:10] != draw(2, 10)
    for mutant in drawn:
        compile(mutant.applied((ROOT / mutant.path).read_text()), mutant.path, "exec")


def test_every_module_has_tests():
    assert not [path for path in sources() if not listed_tests(path)]
    assert listed_tests("sim/spikeloom/sim/host/link.py")[0] == "tests/sim/host/test_link.py"


def test_the_tests_of_the_module_come_first(tmp_path):
    """A mutant of a module is found by the tests of that module, which are the last of their folder."""
    path = "sim/spikeloom/sim/lib/words.py"
    (mutant, *_) = (m for m in mutants_of(path, (ROOT / path).read_text()) if m.now == "'<<' becomes '>>'")
    assert Tree(tmp_path).run(mutant)[1].startswith("tests/sim/lib/test_words.py::")


def test_equivalent_mutants_have_a_reason_and_exist():
    every = [mutant.key for path in sources() for mutant in mutants_of(path, (ROOT / path).read_text())]
    found = set(every)
    assert len(found) == len(every), "a key must name one mutant"
    assert not set(equivalent.EQUIVALENT) - found
    assert all(len(reason) > 20 for reason in equivalent.EQUIVALENT.values())


@pytest.fixture
def own_tests_only(monkeypatch):
    """Of a module only the tests that mirror it are run: to collect all others would take most of the time."""
    monkeypatch.setattr(runner, "listed_tests", lambda path, root: listed_tests(path, root)[:1])


@pytest.fixture
def mutants():
    """Two mutants of the arithmetic of LFSRs that are found immediately, and one in a text, which no test finds."""
    path = "sim/spikeloom/sim/lib/lfsr.py"
    found = [
        m for m in mutants_of(path, (ROOT / path).read_text()) if m.now in ("'^' becomes '|'", "'>>' becomes '<<'")
    ]
    return found[:2]


@pytest.mark.usefixtures("own_tests_only")
def test_a_run_finds_a_mutant_and_is_resumed(mutants, tmp_path, capsys):
    options = {"processes": 1, "seconds": 600, "cpu_seconds": 60}
    outcomes = command.run_all(mutants[:1], tmp_path, "state", **options)
    assert outcomes[0]["verdict"] == "killed"
    assert outcomes[0]["test"].startswith("tests/sim/lib/test_lfsr.py::")
    assert "killed after" in capsys.readouterr().out
    again = command.run_all(mutants[:1], tmp_path, "state", **options)
    assert again[0]["verdict"] == "killed"
    assert not capsys.readouterr().out, "nothing may be run again"
    assert command.summary(mutants, outcomes)["score"] == 1.0
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 2
    assert json.loads((tmp_path / "results.jsonl").read_text().splitlines()[1])["path"] == mutants[0].path
    original = (ROOT / mutants[0].path).read_text()
    assert (tmp_path / "tree0" / mutants[0].path).read_text() == original


STAND_IN = textwrap.dedent(
    """
    # Stands in for pytest: passes the first time; then starts a process in a session of its own and waits with it.
    import os, subprocess, sys, time
    from pathlib import Path
    folder = Path(__file__).parent
    if (folder / "all pass").exists() or not (folder / "once").exists():
        (folder / "once").touch()
        sys.exit()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    (folder / "beside").write_text(f"{os.getpid()} {child.pid}")
    (folder / "beside").rename(folder / "running")
    time.sleep(600)
    """
)
DRIVER = textwrap.dedent(
    """
    import sys
    from mutate import __main__ as command, mutants, runner
    folder = sys.argv[1]
    runner.PYTEST[:] = [sys.executable, f"{folder}/stand_in.py"]
    path = "sim/spikeloom/sim/lib/lfsr.py"
    command.draw = lambda seed, count: mutants.mutants_of(path, (mutants.ROOT / path).read_text())[:count]
    sys.exit(command.main(["--count", "3", "--processes", "1", "--output", folder]))
    """
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_tests_in_progress_and_the_next_run_goes_on(tmp_path, number):
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    command_line = [sys.executable, "-c", DRIVER, str(tmp_path)]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), *sys.path])}
    started = tmp_path / "running"
    with subprocess.Popen(command_line, env=variables, stdout=subprocess.PIPE, text=True) as process:
        try:
            while not started.exists():
                assert process.poll() is None
                time.sleep(0.05)
            stand_in, child = map(int, started.read_text().split())
            assert is_running(stand_in)
            assert is_running(child)
            process.send_signal(number)
            assert process.wait(60) == 128 + number
        finally:
            process.kill()
    assert not is_running(stand_in)
    wait_for(lambda: not is_running(child))  # init has to reap it first
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 2, (
        "a mutant that was interrupted has no verdict"
    )
    with (tmp_path / "results.jsonl").open("a") as log:
        log.write('{"number": 1, "ver')  # as left by a run that was killed while writing
    (tmp_path / "all pass").touch()
    again = subprocess.run(command_line, env=variables, capture_output=True, text=True, timeout=300, check=False)
    assert [line.split("]")[0] for line in again.stdout.splitlines() if line[0] == "["] == ["[2/3", "[3/3"]
    assert json.loads((tmp_path / "summary.json").read_text())["mutants"] == 3
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 4


def is_running(process):
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    assert condition()


@pytest.mark.usefixtures("own_tests_only")
def test_a_mutant_that_outlives_its_time_has_survived(mutants, tmp_path):
    verdict, test, spent = Tree(tmp_path).run(mutants[0], seconds=0.1)
    assert (verdict, test) == ("survived", "")
    assert 0.1 <= spent < 30


def add_test(tree, body):
    """Let a test of the mutated module run ``body`` before all others."""
    file = tree.folder / "tests/sim/lib/test_lfsr.py"
    file.write_text(f"def test_added():\n    {body}\n\n\n{file.read_text()}")


@pytest.mark.usefixtures("own_tests_only")
@pytest.mark.parametrize("body", ["assert False", "while True: pass"])
def test_a_test_that_fails_without_a_change_finds_nothing(mutants, tmp_path, monkeypatch, body):
    monkeypatch.setattr(runner, "_TEST_FACTOR", 1)
    tree = Tree(tmp_path)
    add_test(tree, body)
    verdict, test, _ = tree.run(mutants[0])
    assert verdict == "killed"
    assert test.startswith("tests/sim/lib/test_lfsr.py::")
    assert tree.unsound == ["tests/sim/lib/test_lfsr.py::test_added"] != [test]


@pytest.mark.usefixtures("own_tests_only")
def test_a_test_that_waits_for_ever_has_found_the_mutant(mutants, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "IDLE_SECONDS", 10)
    tree = Tree(tmp_path)
    add_test(tree, "__import__('time').sleep(600)")
    assert tree.run(mutants[0])[:2] == ("killed", "does not end")


def test_numbers(mutants, monkeypatch):
    outcomes = {0: {"verdict": "killed"}, 1: {"verdict": "survived"}}
    numbers = command.summary(mutants, outcomes)
    assert (numbers["mutants"], numbers["killed"], numbers["equivalent"], numbers["score"]) == (2, 1, 0, 0.5)
    assert [survivor["line"] for survivor in numbers["survivors"]] == [mutants[1].line]
    monkeypatch.setitem(command.EQUIVALENT, mutants[1].key, "a reason")
    numbers = command.summary(mutants, outcomes)
    assert (numbers["equivalent"], numbers["score"], numbers["survivors"]) == (1, 1.0, [])


def test_tests_of_larger_parts_exist():
    for place, tests in runner._SOON.items():
        assert (ROOT / place).exists(), place
        assert [test for test in tests if not (ROOT / test).exists()] == []
    assert listed_tests("hdl/spikeloom/hdl/host/bridge.py")[0] == "tests/hdl/host/test_bridge.py"
    assert "tests/hdl/host/test_peripherals.py" in listed_tests("hdl/spikeloom/hdl/host/bridge.py")
