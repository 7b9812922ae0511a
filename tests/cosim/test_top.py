"""The complete top: the real driver, a UART at the pins, the generated Verilog, and faults on the line."""

import dataclasses

import numpy as np
import pytest
from harness.cores import LEAN
from harness.networks import random_network, random_spikes, rng_of

from spikeloom.compiler.place import place
from spikeloom.explore.cost import explain, measured_rates
from spikeloom.report.traffic import Traffic
from spikeloom.runners.compare import compare
from spikeloom.runners.runner import PinsRunner
from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.network.reference import simulate
from spikeloom.sim.noc.mesh import MeshParameters

SMALL = FABRICS["small"]
GRADED = FabricConfig(name="graded", core=dataclasses.replace(SMALL.core, value_width=6, accumulator_width=24))


def run(name, directory, *, fabric=SMALL, readout=False, samples=4, **options):
    """Random networks with every population observed, on the simulated board and on the reference."""
    rng = rng_of(name)
    network = random_network(rng, fabric.core, inputs=30, sizes=(10, 8, 5), readout=readout)
    program = place(network, fabric, observe=[p.name for p in network.populations if p.parameters.spiking])
    spikes = random_spikes(rng, 6, samples, 30)
    reference = simulate(network, spikes)
    # With random contents, like block RAM of a board that ran something else before.
    start = int(rng.integers(1, 1 << 31))
    result = PinsRunner(program, directory, random_start=start, **options).run(spikes)
    compared, mismatches = compare(reference, result)
    assert compared > 100
    assert mismatches == 0
    assert set(result.spikes) | set(result.membranes) == {p.name for p in network.populations}
    assert result.counters[1]["steps"] == 6 * samples
    return result


def test_every_spike_of_every_population(request, tmp_path, shared_build):
    result = run(request.node.name, shared_build(tmp_path / "run"))
    assert not result.faults
    assert result.cycles > result.counters[1]["busy_cycles"] > 0


def test_membranes_come_back(request, tmp_path, shared_build):
    result = run(request.node.name, shared_build(tmp_path / "run"), readout=True)
    assert result.output.dtype == np.int64
    assert np.ptp(result.output) > 10


def test_values_come_back(request, tmp_path, shared_build):
    result = run(request.node.name, shared_build(tmp_path / "run"), fabric=GRADED, samples=7)
    assert any(len(np.unique(values)) > 3 for values in result.values.values())


def test_values_of_the_input_go_in(request, tmp_path, shared_build):
    """Graded input from the host, including negative values, the extremes and zeros; values of neurons come back."""
    rng, samples = rng_of(request.node.name), 3
    core = GRADED.core
    network = random_network(rng, core, inputs=30, sizes=(10, 8, 5))
    network = dataclasses.replace(network, input_value_width=core.value_width)
    program = place(network, GRADED, observe=[p.name for p in network.populations])
    low, high = -(1 << core.value_width - 1), (1 << core.value_width - 1) - 1
    values = rng.integers(low, high + 1, (6, samples, 30)) * (rng.random((6, samples, 30)) < 0.3)
    assert {low, high, 0, 1} <= set(np.unique(values).tolist())
    start = int(rng.integers(1, 1 << 31))
    result = PinsRunner(program, shared_build(tmp_path / "run"), random_start=start).run(values)
    compared, mismatches = compare(simulate(network, values), result)
    assert compared > 100
    assert mismatches == 0
    # Spikes with the value 1 in the same places would give another result.
    assert compare(simulate(network, (values != 0).astype(int)), result)[1] > 0
    with pytest.raises(ValueError, match=rf"^values must be from {low} to {high}, not {high + 1}$"):
        PinsRunner(program, tmp_path).run(np.full((1, 1, 30), high + 1))


KINDS = ("flip", "drop", "insert", "repeat", "cut")


@pytest.mark.parametrize(
    "kinds", [KINDS, *(pytest.param((kind,), marks=pytest.mark.slow) for kind in KINDS[:3])], ids="-".join
)
def test_a_bad_line_changes_nothing(request, tmp_path, shared_build, kinds):
    rates = {name: 0.04 if name in ("repeat", "cut") else 0.002 for name in kinds}
    samples = 6 if kinds == KINDS else 12
    result = run(request.node.name, shared_build(tmp_path / "run"), samples=samples, faults={"seed": 3} | rates)
    assert all(result.faults[name] > 0 for name in kinds)
    assert sum(result.faults.values()) >= 5


def test_a_mesh_with_an_aer_tile_that_nobody_asks(request, tmp_path, shared_build):
    """Layers are in two tiles; the wires of the third are ports of the top, and are left unconnected."""
    rng, directory = rng_of(request.node.name), shared_build(tmp_path / "run")
    port = AerTileParameters(direction=AerDirection.INPUT, address_width=5, depth=4)
    fabric = FabricConfig(tiles=(None, LEAN, port, LEAN), mesh=MeshParameters(columns=2, rows=2, counters=True))
    network = random_network(rng, LEAN, inputs=16, sizes=(10, 8, 6))
    program = place(network, fabric, tiles=2, observe=[p.name for p in network.populations])
    spikes = random_spikes(rng, 6, 4, 16)
    result = PinsRunner(program, directory, random_start=int(rng.integers(1, 1 << 31))).run(spikes)
    compared, mismatches = compare(simulate(network, spikes), result)
    assert compared > 100
    assert mismatches == 0
    cores = [result.counters[tile] for tile in fabric.cores]
    assert [counters["steps"] for counters in cores] == [6 * 4] * 2
    assert result.counters.keys() == fabric.numbered.keys(), "the AER tile counts too"
    traffic = Traffic.of(fabric.mesh, explain(program, measured_rates(network, spikes))).packets
    assert {link: count.packets for link, count in result.links.items() if count.packets} == {
        link: round(packets * 6 * 4) for link, packets in traffic.items()
    }, "what the routers have counted, as the driver reads it"
    assert all(counters["words"] for counters in cores)
