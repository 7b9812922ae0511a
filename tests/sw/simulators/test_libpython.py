"""Search for Python's shared library."""

import sys

from spikeloom.simulators import libpython

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def test_the_variable_goes_first(monkeypatch):
    monkeypatch.setenv("LIBPYTHON_LOC", "/somewhere/libpython.so")
    assert libpython.find() == "/somewhere/libpython.so"


def test_the_copy_serves_where_the_system_has_none(monkeypatch, tmp_path):
    monkeypatch.delenv("LIBPYTHON_LOC", raising=False)
    monkeypatch.setattr("find_libpython.find_libpython", lambda: None)
    monkeypatch.setattr("spikeloom.simulators.debian.FOLDER", tmp_path)
    assert libpython.find() is None
    library = tmp_path / "usr" / "lib" / "x86_64-linux-gnu" / f"libpython{VERSION}.so.1.0"
    library.parent.mkdir(parents=True)
    library.touch()
    assert libpython.find() == str(library)


def test_the_systems_goes_before_the_copy(monkeypatch):
    monkeypatch.delenv("LIBPYTHON_LOC", raising=False)
    monkeypatch.setattr("find_libpython.find_libpython", lambda: "/usr/lib/libpython.so")
    assert libpython.find() == "/usr/lib/libpython.so"
