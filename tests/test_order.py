"""The order of tests and the marker for quick ones: the recorded durations name existing tests."""

import json
from pathlib import Path

HERE = Path(__file__).parent


def test_recorded_times_are_of_files_that_exist():
    """A file that has been moved would silently lose its place in the order."""
    seconds = json.loads((HERE / "durations.json").read_text())
    assert all(isinstance(count, int) and count >= 2 for count in seconds.values())
    missing = {name.split("::")[0] for name in seconds if not (HERE.parent / name.split("::")[0]).is_file()}
    assert not missing


def test_recorded_times_are_of_tests_that_exist():
    """A test that has been renamed, or moved to another file, would count as quick however long it takes."""
    seconds = json.loads((HERE / "durations.json").read_text())
    files = {name.split("::")[0]: (HERE.parent / name.split("::")[0]).read_text() for name in seconds}
    gone = [name for name in seconds if f"def {name.split('::')[-1].split('[')[0]}(" not in files[name.split("::")[0]]]
    assert not gone


def test_the_longest_come_first(request):
    seconds = json.loads((HERE / "durations.json").read_text())
    taken = [seconds.get(item.nodeid, 0) for item in request.session.items]
    assert taken == sorted(taken, reverse=not request.config.getoption("fastest_first"))


def test_quick_tests_are_most_of_the_tests_of_the_software(request):
    items = [item for item in request.session.items if item.nodeid.startswith("tests/sim/")]
    quick = [item for item in items if item.get_closest_marker("quick")]
    assert len(quick) >= 0.9 * len(items)
    assert not any(item.get_closest_marker("slow") for item in quick)
