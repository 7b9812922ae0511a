"""Each test of a command starts in an empty folder."""

import pytest
from harness.cli import write_network


@pytest.fixture
def network(tmp_path):
    return write_network(tmp_path / "net.nir")


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "160")
