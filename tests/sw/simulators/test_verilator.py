"""Simulation under cocotb: a result only if tests ran and passed, and no second compilation of the same design."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spikeloom.simulators import verilator
from spikeloom.simulators.build import find_verilator
from spikeloom.simulators.verilator import SimulationError, run_cocotb

COUNTER = """
module counter #(parameter STEP = 1) (input clk, input rst, output reg [15:0] count,
  output [15:0] hidden_out);
  reg [15:0] hidden;
  assign hidden_out = hidden;
  always @(posedge clk) begin
    hidden <= hidden + 1;
    if (rst) count <= 0; else count <= count + STEP;
  end
endmodule
"""

BENCH = """
import os
import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles

@cocotb.test()
async def counts(dut):
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    dut.rst.value = 1
    await ClockCycles(dut.clk, 2)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 101)
    print("the count is", int(dut.count.value))
    assert int(dut.count.value) == 100 * int(os.environ["EXPECTED_STEP"])

@cocotb.test()
async def reads_hidden(dut):
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    await ClockCycles(dut.clk, 2)
    print("the hidden count is", int(dut.hidden_out.value))

@cocotb.test()
async def never_ends(dut):
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    while True:
        await ClockCycles(dut.clk, 1000)

@cocotb.test()
async def dies(dut):
    os._exit(0)
"""


@pytest.fixture(scope="module")
def build_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("build")


@pytest.fixture
def run(tmp_path, build_dir):
    (tmp_path / "counter.v").write_text(COUNTER)
    (tmp_path / "bench_counter.py").write_text(BENCH)
    announced = []

    def run(test_filter, *, step=1, expected=1, **options):
        result = run_cocotb(
            sources=[tmp_path / "counter.v"],
            toplevel="counter",
            test_module="bench_counter",
            build_dir=build_dir,
            run_dir=tmp_path / "run",
            python_path=[tmp_path],
            parameters={"STEP": step},
            environment={"EXPECTED_STEP": str(expected)},
            test_filter=test_filter,
            announce=announced.append,
            **options,
        )
        return result

    run.announced = announced
    return run


def test_verilator_accepts_the_long_lines_that_yosys_writes(tmp_path):
    """The write enables of 64 lanes are one concatenation, of more tokens than Verilator accepts by default."""
    source = tmp_path / "wide.v"
    bits = ", ".join(f"a [{number % 8}]" for number in range(10_000))
    source.write_text(f"module wide (input [7:0] a, output [9999:0] y);\n  assign y = {{ {bits} }};\nendmodule\n")
    root = find_verilator()
    for options, accepted in ((verilator.OPTIONS, True), (("-Wno-fatal",), False)):
        done = subprocess.run(
            [root / "bin" / "verilator_bin", *options, "--lint-only", "--top-module", "wide", source],
            env=os.environ | {"VERILATOR_ROOT": str(root)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) == accepted, done.stderr


def test_runs_and_compiles_once(run, monkeypatch, tmp_path):
    # A machine may have no command `python`, only the interpreter that runs this.
    programs = tmp_path / "programs"
    programs.mkdir()
    for program in Path("/usr/bin").iterdir():
        if not program.name.startswith("python"):
            (programs / program.name).symlink_to(program)
    monkeypatch.setenv("PATH", str(programs))
    # Variables of a surrounding `make simulate WAVES=1` have no effect.
    monkeypatch.setenv("WAVES", "1")
    monkeypatch.setenv("MAKEFLAGS", "n -- WAVES=1")
    lines = []
    first = run("counts", on_line=lines.append)
    assert first.tests == 1
    assert first.waves is None
    assert "the count is 100" in lines
    assert "the count is 100" in first.log.read_text()
    again = run("counts")
    assert not again.compiled
    assert len(run.announced) == int(first.compiled)


def test_parameter_and_waves_have_their_own_binary(run, monkeypatch):
    monkeypatch.setattr(verilator, "LIBRARY", "-O0")  # a library that records is compiled for this run alone
    result = run("counts", step=3, expected=3, waves=True)
    assert result.tests == 1
    assert result.waves is not None
    assert "hidden" in result.waves.read_text()


def test_undefined_registers_start_at_zero_or_at_seeded_random_bits(run):
    def hidden(**options):
        return re.findall(r"the hidden count is (\d+)", run("reads_hidden", **options).log.read_text())

    zero, first, again, other = (
        hidden(),
        hidden(random_start=True, seed=1),
        hidden(random_start=True, seed=1),
        hidden(random_start=True, seed=2),
    )
    assert zero == hidden()
    assert int(zero[0]) <= 2
    assert first == again
    assert len({*zero, *first, *other}) == 3


@pytest.mark.parametrize(
    ("test_filter", "expected", "message"),
    [
        ("counts", 2, r"^Simulation failed in 1 of 1 tests \(counts\); the end of .*simulation\.log:\n(.|\n)*assert"),
        ("dies", 1, r"^Simulation ended without results \(status 0\); the end of "),
        ("no such test", 1, r"^Simulation ran no test; the end of "),
    ],
)
def test_anything_but_passed_tests_is_an_error(run, test_filter, expected, message):
    with pytest.raises(SimulationError, match=message):
        run(test_filter, expected=expected)


def test_stops_after_the_timeout(run):
    with pytest.raises(SimulationError, match=r"^Simulation must end within 2\.0 s; the end of "):
        run("never_ends", timeout_seconds=2.0)


def test_names_what_verilator_found_wrong(tmp_path):
    (tmp_path / "broken.v").write_text("module broken(input clk); this is no Verilog endmodule")
    with pytest.raises(SimulationError, match=r"^Verilator did not compile broken; the end of (.|\n)*syntax error"):
        run_cocotb(
            sources=[tmp_path / "broken.v"], toplevel="broken", test_module="x", build_dir=tmp_path, run_dir=tmp_path
        )


def test_names_missing_tools(tmp_path, monkeypatch, run):
    shutil.copy(shutil.which("make") or "", tmp_path / "make")
    monkeypatch.setenv("PATH", str(tmp_path))
    message = r"^Simulation needs g\+\+, perl, which must be on PATH; on Debian or Ubuntu: apt install g\+\+ perl$"
    with pytest.raises(SimulationError, match=message):
        run("counts")


def test_refuses_a_path_that_make_cannot_handle(tmp_path):
    with pytest.raises(
        SimulationError, match=r"^Simulation needs paths without spaces and quotes, .* one is '.*/a b'$"
    ):
        run_cocotb(
            sources=[os.devnull], toplevel="x", test_module="x", build_dir=tmp_path / "a b", run_dir=tmp_path / "run"
        )


def test_names_a_missing_shared_library(monkeypatch, run):
    monkeypatch.setattr("find_libpython.find_libpython", lambda: None)
    version = re.escape(f"{sys.version_info.major}.{sys.version_info.minor}")
    with pytest.raises(SimulationError, match=rf"^Simulation needs Python's shared library, libpython{version}\.so, "):
        run("counts")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"sources": []}, ValueError, r"^Sources must be at least one Verilog file, not none$"),
        ({"sources": ["missing.v"]}, ValueError, r"^Source must be an existing file, not '.*missing\.v'$"),
        ({"seed": 0}, ValueError, r"^Seed must be from 1 to 2147483647, not 0$"),
        ({"timeout_seconds": 0}, ValueError, r"^Timeout must be positive, not 0$"),
        ({"parameters": {"STEP": "3"}}, TypeError, r"^Parameter STEP must be an integer, not '3'$"),
    ],
)
def test_refuses_bad_arguments(tmp_path, change, error, message):
    arguments = {
        "sources": [os.devnull],
        "toplevel": "counter",
        "test_module": "bench",
        "build_dir": tmp_path,
        "run_dir": tmp_path,
    }
    with pytest.raises(error, match=message):
        run_cocotb(**(arguments | change))
