"""What tests share: compiled simulators, so that each design is compiled once on a machine."""

from pathlib import Path

import pytest

_BUILD = Path(__file__).resolve().parents[1] / "build" / "tests"


@pytest.fixture
def shared_build():
    """Makes a directory of a run use the repository's compiled simulators."""

    def share(directory):
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("verilog", "verilator", "compiled"):
            (_BUILD / name).mkdir(parents=True, exist_ok=True)
            (directory / name).symlink_to(_BUILD / name, target_is_directory=True)
        return directory

    return share
