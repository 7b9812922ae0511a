"""The exported core: its testbench passes in two simulators, and fails for planted errors."""

import json
import re
import shutil
import subprocess
from collections import Counter

import numpy as np
import pytest
from harness.networks import random_network, rng_of

from spikeloom.compiler.aer_ports import AerInput, AerOutput
from spikeloom.compiler.place import place
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.shipped import shipped
from spikeloom.export.verilog import MODULE, SAMPLES, STEPS, axon_table, export_core, export_fabric
from spikeloom.frontends.nir import load
from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.network.reference import simulate
from spikeloom.sim.noc.mesh import MeshParameters
from spikeloom.simulators.debian import FOLDER, find_program
from spikeloom.simulators.verilator import find_tools

SMALL = FABRICS["small"]


def call(*command, folder, **options):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def icarus(folder):
    """The output of the testbench in Icarus Verilog."""
    compiler, machine = find_program("iverilog"), find_program("vvp")
    assert compiler, "Icarus must be installed, make test does it"
    libraries = sorted(FOLDER.glob("usr/lib/*/ivl")) if compiler.startswith(str(FOLDER)) else []
    compile_options = [f"-B{libraries[0]}"] if libraries else []
    run_options = [f"-M{libraries[0]}"] if libraries else []
    call(compiler, "-g2005", *compile_options, "-o", "bench.vvp", "testbench.v", f"{MODULE}.v", folder=folder)
    return call(machine, *run_options, "bench.vvp", folder=folder)


def verilator(folder):
    """The output of the testbench in Verilator."""
    tools = find_tools()
    options = (
        "--binary",
        "--timing",
        "-Wno-fatal",
        "-Wno-lint",
        "-Wno-style",
        "--top-module",
        "testbench",
        "-Mdir",
        "obj",
    )
    environment = tools.environment()
    environment["MAKEFLAGS"] = environment["MAKEFLAGS"].replace("gnu++17", "gnu++20 -fcoroutines")
    binary = str(tools.verilator_bin / "verilator")
    call(binary, *options, "testbench.v", f"{MODULE}.v", folder=folder, env=environment)
    return call("obj/Vtestbench", folder=folder)


def digits():
    network = quantise(load(shipped("digits-mlp.nir")), Quantisation.for_core(SMALL.core, weight_width=8))
    return network, place(network, SMALL, observe=[p.name for p in network.populations if p.parameters.spiking])


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The files of the digits network, for tests that read them or change a copy."""
    return export_core(*digits(), tmp_path_factory.mktemp("exported"))


@pytest.fixture
def bench(exported, tmp_path):
    """A folder with a copy of the files."""
    for file in exported:
        shutil.copy(file, tmp_path)
    return tmp_path


@pytest.mark.parametrize("simulator", [icarus, verilator])
def test_the_bench_passes(bench, simulator):
    number = len((bench / "expected.hex").read_text().split())
    assert number > 100
    assert f"PASS: {number} packets" in simulator(bench)


def test_a_network_that_sends_membranes(request, tmp_path):
    network = random_network(rng_of(request.node.name), SMALL.core, sizes=(7, 5), readout=True)
    export_core(network, place(network, SMALL), tmp_path)
    kinds = {int(packet, 16) & 3 for packet in (tmp_path / "expected.hex").read_text().split()}
    assert kinds == {1, 2, 3}
    assert "PASS" in icarus(tmp_path)


@pytest.mark.parametrize("name", ["configuration.hex", "events.hex", "expected.hex"])
def test_the_bench_fails_where_something_differs(bench, name):
    path = bench / name
    lines = path.read_text().splitlines()
    if name == "configuration.hex":
        weights = [number for number, line in enumerate(lines) if line.startswith("4c") and line != "4c00000000"]
        for number in weights[:400]:
            lines[number] = "4c00000000"
    else:
        (spike, *_) = [number for number, line in enumerate(lines) if int(line, 16) & 3 == 0]
        lines[spike] = f"{int(lines[spike], 16) ^ 1 << 8:016x}"  # for the axon beside it
    path.write_text("\n".join(lines) + "\n")
    assert "FAIL: packet" in icarus(bench)


def test_files(exported, tmp_path):
    files, folder = exported, exported[0].parent
    verilog = (folder / f"{MODULE}.v").read_text()
    assert "(*" not in verilog  # no attributes that another tool might not know
    ports = re.search(rf"^module {MODULE}\((.*?)\);", verilog, re.M | re.S).group(1).split(", ")
    named = set(
        (folder / "testbench.v").read_text().split(f"{MODULE} core (")[1].replace(".", " ").replace("(", " ").split()
    )
    assert {port.strip() for port in ports} <= named
    core_file = (folder / f"{MODULE}.core").read_text()
    assert core_file.startswith("CAPI=2:\n")
    assert all(file.name in core_file for file in files if file.suffix != ".core")
    assert [file.read_bytes() for file in export_core(*digits(), tmp_path)] == [file.read_bytes() for file in files]
    assert np.all([file.stat().st_size for file in files])


def test_axons_say_what_packets_mean(bench):
    """The packets of the testbench, decoded with ``axons.json`` alone, name inputs and neurons that exist."""
    network, _ = digits()
    table = json.loads((bench / "axons.json").read_text())
    assert table["network"] == network.name
    assert len(table["inputs"]) == network.inputs
    assert {name: len(output["axons"]) for name, output in table["outputs"].items()} == {"digit": 10, "hidden": 32}
    assert all(output["sends"] == "SPIKE" for output in table["outputs"].values())
    events = [int(packet, 16) for packet in (bench / "events.hex").read_text().split()]
    assert {packet >> 8 & 0xFFFFFF for packet in events if packet & 3 == 0} <= set(table["inputs"])
    spikes = np.random.default_rng(0).random((STEPS, SAMPLES, network.inputs)) < 0.25
    result = simulate(network, spikes).spikes
    counts = Counter(
        int(packet, 16) >> 8 & 0xFFFFFF
        for packet in (bench / "expected.hex").read_text().split()
        if int(packet, 16) & 3 == 0
    )
    for name, output in table["outputs"].items():
        assert [counts[axon] for axon in output["axons"]] == result[name].sum((0, 1)).tolist()
    assert sum(counts.values()) > 20


def test_axons_of_membranes(request, tmp_path):
    network = random_network(rng_of(request.node.name), SMALL.core, sizes=(7, 5), readout=True)
    table = json.loads(axon_table(place(network, SMALL)))
    assert table["outputs"][network.output]["sends"] == "MEMBRANE"
    assert len(table["outputs"][network.output]["axons"]) == 5


def test_a_fabric_with_wires_to_other_chips(request, tmp_path):
    """The top has ports for each AER tile, and the memories of every tile."""
    aer = {direction: AerTileParameters(direction=direction, address_width=5, depth=8) for direction in AerDirection}
    core = SMALL.core
    tiles = (None, core, aer[AerDirection.INPUT], core, aer[AerDirection.OUTPUT])
    fabric = FabricConfig(tiles=tiles, mesh=MeshParameters(columns=3, rows=2))
    network = random_network(rng_of(request.node.name), core, inputs=12, sizes=(7, 5))
    program = place(network, fabric, tiles=2, input_from=AerInput(tile=2), output_to=AerOutput(tile=4))
    files = export_fabric(program, tmp_path, divisor=12)
    assert [file.name for file in files] == ["top.v", "program.npz", "axons.json"]
    assert json.loads((tmp_path / "axons.json").read_text())["inputs"] == program.input_axons.tolist()
    verilog = (tmp_path / "top.v").read_text()
    top = verilog[verilog.index("\nmodule top(") :]
    for tile, directions in ((2, ("input", "output", "input")), (4, ("output", "input", "output"))):
        for wire, direction in zip(("request", "acknowledge", "address"), directions, strict=True):
            assert re.search(rf"^  {direction} (\[4:0\] )?aer_{tile}_{wire};$", top, re.MULTILINE), (tile, wire)
    with np.load(tmp_path / "program.npz") as arrays:
        for tile, name in ((1, "weights"), (3, "weights"), (2, "table"), (4, "table")):
            assert f"tile_{tile}_{name}" in arrays
