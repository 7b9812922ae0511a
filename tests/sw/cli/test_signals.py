"""Signals: the exit status of each signal, and nothing left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from spikeloom.cli.app import main
from spikeloom.cli.signals import Interrupted, handled, noted, orderly

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}


def wait_for(condition, process):
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def start(arguments, **variables):
    environment = os.environ | variables
    command = [sys.executable, "-m", "spikeloom.cli.app", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", STATUS)
def test_a_signal_during_imports(tmp_path, number):
    slow = tmp_path / "slow" / "typer.py"
    slow.parent.mkdir()
    slow.write_text(f"open({str(tmp_path / 'importing')!r}, 'w'); import time; time.sleep(100)\n")
    path = os.pathsep.join([str(slow.parent), *(entry for entry in sys.path if entry)])
    process = start(["info"], PYTHONPATH=path)
    wait_for((tmp_path / "importing").exists, process)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == STATUS[number]
    assert "Traceback" not in error


@pytest.mark.parametrize("number", STATUS)
def test_a_signal_while_a_compiler_runs(tmp_path, network, number):
    """The compiler, a grandchild process, ends too, and the cache holds neither partial files nor a held lock."""
    programs, cache = tmp_path / "programs", tmp_path / "cache"
    programs.mkdir()
    compiler = programs / "g++"
    compiler.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec echo g++ 1.0\necho $$ >>{tmp_path / "running"}\nexec sleep 100\n'
    )
    compiler.chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    options = ["--backend", "rtl", "--images", "2"]
    process = start(["simulate", network, *options], PATH=path, XDG_CACHE_HOME=str(cache))
    running = tmp_path / "running"
    wait_for(lambda: running.exists() and running.read_text().endswith("\n"), process)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == STATUS[number], error
    assert "Traceback" not in error
    compilers = [int(line) for line in running.read_text().split()]
    assert compilers
    assert not any(map(is_running, compilers))
    assert {path.suffix for path in (cache / "spikeloom").iterdir()} <= {".lock"}


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in STATUS]
    with handled():
        inside = [signal.getsignal(number) for number in STATUS]
        with orderly(), pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert [signal.getsignal(number) for number in STATUS] == inside
    assert [signal.getsignal(number) for number in STATUS] == before
    assert not set(before) & set(inside)


def test_the_first_signal_is_noted_and_the_second_one_ends():
    child = subprocess.Popen(["sleep", "100"])
    with handled():
        inside = [signal.getsignal(number) for number in STATUS]
        with noted() as arrived:
            assert not arrived()
            signal.raise_signal(signal.SIGTERM)
            assert arrived()
            assert child.poll() is None, "children are spared"
            with pytest.raises(Interrupted) as stop:
                signal.raise_signal(signal.SIGINT)
        assert stop.value.number == signal.SIGINT
        assert [signal.getsignal(number) for number in STATUS] == inside
    assert child.wait(10) == -signal.SIGTERM


def test_a_signal_ends_the_children():
    child = subprocess.Popen(["sleep", "100"])
    with handled(), pytest.raises(Interrupted) as stop:
        signal.raise_signal(signal.SIGINT)
    assert stop.value.number == signal.SIGINT
    assert child.wait(10) == -signal.SIGTERM


def test_a_command_may_run_outside_the_main_thread(capsys):
    done = []
    thread = threading.Thread(target=lambda: done.append(main(["info"])))
    thread.start()
    thread.join()
    assert done == [None]
