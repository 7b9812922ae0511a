"""Programs of unpacked packages: found, fetched once, and requested if that fails."""

import subprocess

import pytest

from spikeloom.simulators import debian


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(debian, "FOLDER", tmp_path / "debian")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return tmp_path


def program(path):
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_path_comes_first(folder):
    assert debian.find_program("iverilog") is None
    unpacked = program(folder / "debian" / "usr" / "bin" / "iverilog")
    assert debian.find_program("iverilog") == unpacked
    assert debian.find_program("iverilog") != program(folder / "path" / "iverilog") == debian.find_program("iverilog")


def test_unpacks_only_what_is_missing(folder, monkeypatch, capsys):
    unpacked = []
    monkeypatch.setattr(debian, "unpack", unpacked.append)
    debian._main("iverilog", "iverilog-package")
    assert unpacked == ["iverilog-package"]
    assert "Unpacking the package iverilog-package into" in capsys.readouterr().out
    program(folder / "path" / "iverilog")
    debian._main("iverilog", "iverilog-package")
    assert unpacked == ["iverilog-package"]


@pytest.mark.parametrize("error", [FileNotFoundError("apt-get"), subprocess.CalledProcessError(1, "apt-get")])
def test_says_what_to_install_where_that_fails(monkeypatch, capsys, error):
    def fail(package):
        raise error

    monkeypatch.setattr(debian, "unpack", fail)
    debian._main("iverilog", "iverilog")
    assert capsys.readouterr().err == "Unpacking failed; install iverilog with: apt install iverilog\n"
