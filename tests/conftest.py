"""What tests share: compiled simulators, so that each design is compiled once on a machine."""

import gc
import os
from pathlib import Path

import pytest

from spikeloom.simulators import verilator

_BUILD = Path(__file__).resolve().parents[1] / "build" / "tests"

# What tests compile stays with the checkout, not with the user; but what YoWASP has compiled, for minutes, is used.
_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
os.environ.setdefault("YOWASP_CACHE_DIR", str(_home / "YoWASP"))
os.environ["XDG_CACHE_HOME"] = str(_BUILD / "cache")

# A compiled design runs for some thousand cycles in a test: to optimise it takes longer than it saves.
verilator.FAST = "-O0"


def pytest_collection_finish(session: pytest.Session) -> None:
    # To elaborate a design makes millions of objects that stay. Python's collector, which visits all of them again and
    # again, would take a third of the time: what is there now is never visited, and collections are rare.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


@pytest.fixture
def shared_build():
    """Makes a directory of a run use the repository's compiled simulators."""

    def share(directory):
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("verilog", "verilator"):
            (_BUILD / name).mkdir(parents=True, exist_ok=True)
            (directory / name).symlink_to(_BUILD / name, target_is_directory=True)
        return directory

    return share
