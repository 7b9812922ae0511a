"""Shared by all tests: compiled simulators, so that each design is compiled once per machine; the order of tests."""

import os

# Before NumPy is imported: one process runs per core, and more threads would only wait for each other, at full load.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import gc
import json
import resource
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from spikeloom.simulators import build, verilator

_BUILD = Path(__file__).resolve().parents[1] / "build" / "tests"

# Simulators compiled by tests are stored in the checkout, not with the user; but the user's cache of YoWASP, which
# takes minutes to compile, is used.
_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
os.environ.setdefault("YOWASP_CACHE_DIR", str(_home / "YoWASP"))
os.environ["XDG_CACHE_HOME"] = str(_BUILD / "cache")

# A compiled design runs for some thousand cycles in a test: optimising it takes longer than it saves.
verilator.FAST = "-O0"
# Verilator's library is the same for all designs, and takes most of the time of a simulation by cocotb.
verilator.LIBRARY = "-O1"
# Tests run in parallel: a design need not be divided into parts for compilation, which takes more time in total.
build.UNITS = 1
verilator.PARALLEL = False


_HERE = Path(__file__).resolve().parent
_SECONDS: dict[str, int] = json.loads((_HERE / "durations.json").read_text())
"""Seconds of processor time of each test that takes two or more."""
_QUICK = (
    *("docs", "sim", "boards/families", "boards/sizing", "boards/targets"),
    *("hdl/aer", "hdl/host/test_encoder.py", "hdl/host/test_readout.py", "hdl/host/test_uart.py", "hdl/lib", "hdl/noc"),
    *("sw/compiler", "sw/datasets", "sw/explore", "sw/frontends", "sw/host", "sw/model", "sw/report"),
)
"""Folders whose tests are quick: the model and the software, and the smaller parts of the hardware."""
_SOON_SECONDS = 10
"""With ``--begin-with``, a test of that file that takes longer than this waits like all others."""
_SAMPLES = (
    "hdl/core/test_engine.py::test_random_networks[all-2]",
    "sw/runners/test_compiled.py::test_workers_share_the_samples[2]",
    "cosim/test_top.py::test_every_spike_of_every_population",
    "formal/test_proofs.py::test_proof[arbiter of 3]",
)
"""One test of each of the slower rings, so that the quick tests cover the whole path."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fastest-first", action="store_true", help="and the longest last: to find a failure early")
    parser.addoption(
        "--begin-with", default="", help="the tests of these files, a,b,c, come first, but for those that take long"
    )
    parser.addoption("--record-durations", action="store_true", help="refresh durations.json with the tests that run")
    parser.addoption("--cpu-limit", type=float, help="a test fails after so many times the processor time it takes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the quick tests, and put the longest first, so that no process is left with a long one at the end."""
    for item in items:
        name = item.nodeid.removeprefix("tests/")
        of_quick = name.startswith(tuple(f"{place}/" if "." not in place else place for place in _QUICK))
        if name in _SAMPLES or (of_quick and item.nodeid not in _SECONDS):
            item.add_marker(pytest.mark.quick)
    sign = 1 if config.getoption("fastest_first") else -1
    first = tuple(f"{file}::" for file in config.getoption("begin_with").split(","))

    def is_later(item: pytest.Item) -> bool:
        return not item.nodeid.startswith(first) or _SECONDS.get(item.nodeid, 0) > _SOON_SECONDS

    items.sort(key=lambda item: (is_later(item), sign * _SECONDS.get(item.nodeid, 0)))


def pytest_collection_finish(session: pytest.Session) -> None:
    # Elaborating a design makes millions of objects that stay. Python's collector, which visits all of them repeatedly,
    # would take a third of the time: the objects that exist now are never visited, and collections are rare.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """With ``--cpu-limit``, a test that runs forever fails; the limit of a short test is that of one of two seconds."""
    factor = item.config.getoption("cpu_limit")
    if factor is None:
        return (yield)

    def fail(*_: object) -> None:
        pytest.fail(f"the test must end within {factor:g} times the processor time it takes")

    before = signal.signal(signal.SIGPROF, fail)
    signal.setitimer(signal.ITIMER_PROF, factor * max(2, _SECONDS.get(item.nodeid, 0)))
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


_STARTED = pytest.StashKey[float]()
_RECORDED: dict[str, float] = {}


def _processor_seconds() -> float:
    """Processor time of this process and of the processes that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[_STARTED] = _processor_seconds()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Generator[None, pytest.TestReport, object]:
    """Store it as a property of the report, so that it reaches the process that distributes the tests."""
    report = yield
    if call.when == "teardown":
        report.user_properties.append(("processor seconds", _processor_seconds() - item.stash[_STARTED]))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        _RECORDED[report.nodeid] = dict(report.user_properties).get("processor seconds", 0.0)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With ``--record-durations``, write `durations.json`: begin with an empty ``build``, or nothing is compiled."""
    if not session.config.getoption("record_durations") or hasattr(session.config, "workerinput"):
        return
    seconds = _SECONDS | {name: round(taken) for name, taken in _RECORDED.items()}
    listed = sorted((-count, name) for name, count in seconds.items() if count >= 2)
    text = json.dumps({name: -count for count, name in listed}, indent=0, ensure_ascii=False)
    (_HERE / "durations.json").write_text(text + "\n")


@pytest.fixture
def shared_build():
    """Let a run in another directory use the repository's compiled simulators."""

    def share(directory):
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("verilog", "verilator"):
            (_BUILD / name).mkdir(parents=True, exist_ok=True)
            (directory / name).symlink_to(_BUILD / name, target_is_directory=True)
        return directory

    return share
