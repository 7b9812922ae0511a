"""Tiles on meshes, compiled: random networks, placements, queues and stalls equal the reference in every state."""

import collections
import dataclasses
import os

import pytest
from harness.compiled import BUILD
from harness.fabric import SMALL, mesh_of, random_program, run_and_compare, tiles_library
from harness.mutations import mutated
from harness.networks import random_network, random_spikes, rng_of, with_widths

from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.place import place
from spikeloom.hdl.core import engine
from spikeloom.hdl.core import row_reader as rows
from spikeloom.hdl.core import tile as core
from spikeloom.hdl.top.fabric import Tiles
from spikeloom.runners.compare import compare
from spikeloom.runners.compiled import CompiledRunner
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.population import INPUT
from spikeloom.sim.network.reference import simulate
from spikeloom.sim.noc.mesh import MeshParameters
from spikeloom.simulators.build import compile_design
from spikeloom.simulators.compiled import Pauses
from spikeloom.simulators.verilator import SimulationError

EXAMPLES = int(os.environ.get("SPIKELOOM_EXAMPLES", "50"))
MESHES = {(2, 1): 1, (2, 2): 2, (3, 2): 0} | ({(3, 1): 1} if EXAMPLES >= 100 else {})
"""Shapes, and the depth of their routers' queues. Each takes seconds to compile: the long form has one more."""


def random_pauses(rng):
    idle, stall = (float(rng.choice([0.0, 0.3, 0.9, 0.98])) for _ in range(2))
    return Pauses(idle=idle, stall=stall, seed=int(rng.integers(1, 1 << 40)))


def random_runs(library, fabric, rng, count):
    """Runs of random networks; returns the number of spikes and the numbers of tiles."""
    fired, tiles = [], []
    for number in range(count):
        network, program = random_program(rng, fabric, readout=number % 4 == 3)
        spikes = random_spikes(rng, 6, 3, network.inputs)
        start = int(rng.integers(1, 1 << 30))
        run = run_and_compare(library, network, program, spikes, pauses=random_pauses(rng), random_start=start)
        fired.append(run.spikes)
        tiles.append(run.tiles)
    return fired, tiles


def test_random_networks_anywhere(request):
    """Random networks, including recurrent ones, with random cuts, placements, meshes, queue depths and stalls."""
    rng, seen = rng_of(request.node.name), collections.Counter()
    for number in range(EXAMPLES):
        shape = list(MESHES)[number % len(MESHES)]
        fabric = mesh_of(*shape, queue_depth=MESHES[shape])
        network, program = random_program(rng, fabric, readout=bool(rng.integers(2)))
        spikes = random_spikes(rng, 6, 3, network.inputs)
        pauses, start = random_pauses(rng), int(rng.integers(1, 1 << 30))
        done = run_and_compare(tiles_library(fabric), network, program, spikes, pauses=pauses, random_start=start)
        seen["fired"] += done.spikes > 0
        seen["tiles of all"] += done.tiles == len(fabric.cores)
        seen["three tiles"] += done.tiles >= 3
        seen["recurrent"] += any(connection.delay for connection in network.connections)
        seen["stalled"] += pauses.stall > 0.5
    assert seen["fired"] > 0.6 * EXAMPLES, seen
    assert all(seen[name] > 0.15 * EXAMPLES for name in ("three tiles", "tiles of all", "recurrent", "stalled")), seen


def test_tiles_of_two_widths(request):
    """Weights of 4 and of 8 bits, whose words have different sizes, in tiles of a mesh that send to each other."""
    rng = rng_of(request.node.name)
    narrow, wide = (dataclasses.replace(SMALL, weight_width=width) for width in (4, 8))
    fabric = FabricConfig(name="widths", tiles=(None, narrow, wide, narrow), mesh=MeshParameters(columns=2, rows=2))
    library, seen = tiles_library(fabric), collections.Counter()
    for number in range(12):
        network = random_network(rng, wide, sizes=(7, 6, 5), readout=number % 3 == 2)
        names = [population.name for population in network.populations]
        network = with_widths(network, {name: int(rng.choice([4, 8])) for name in names})
        observe = [p.name for p in network.populations if p.parameters.spiking]
        tiles = int(rng.integers(1, 4)) if any(network.width_of(name) == 4 for name in names) else 1
        try:
            program = place(network, fabric, observe=observe, tiles=tiles, seed=number)
        except PlaceError:  # too few narrow parts for this number of tiles
            program = place(network, fabric, observe=observe)
        spikes = random_spikes(rng, 6, 3, network.inputs)
        start = int(rng.integers(1, 1 << 30))
        run = run_and_compare(library, network, program, spikes, pauses=random_pauses(rng), random_start=start)
        widths = {fabric.cores[tile].weight_width for tile in program.assignment.tiles}
        seen["both"] += widths == {4, 8}
        seen["three"] += run.tiles == 3
        seen["fired"] += run.spikes > 0
    assert min(seen.values()) > 2, seen


def test_delayed_connections_forward(request):
    """Spikes that reach a later population on another tile in the next step, as in networks of Spyx."""
    rng = rng_of(request.node.name)
    fabric = mesh_of(2, 2, queue_depth=MESHES[2, 2])
    network = random_network(rng, SMALL, inputs=12, sizes=(20, 16, 8))
    late = tuple(dataclasses.replace(c, delay=int(c.source != INPUT)) for c in network.connections)
    network = dataclasses.replace(network, connections=late)
    program = place(network, fabric, tiles=3, observe=[p.name for p in network.populations if p.parameters.spiking])
    spikes = random_spikes(rng, 6, 3, network.inputs)
    run = run_and_compare(tiles_library(fabric), network, program, spikes, pauses=random_pauses(rng))
    assert run.spikes > 20
    assert run.tiles == 3


def test_the_runner_on_a_mesh(request, tmp_path):
    """The placement chosen by `place`, with the samples shared by two copies; each core has its own counters."""
    rng = rng_of(request.node.name)
    fabric = mesh_of(2, 2)
    network = random_network(rng, SMALL, inputs=12, sizes=(20, 16, 8))
    program = place(network, fabric, tiles=3, observe=[p.name for p in network.populations if p.parameters.spiking])
    spikes = random_spikes(rng, 5, 7, network.inputs)
    result = CompiledRunner(program, BUILD, workers=2, pauses=Pauses(stall=0.2)).run(spikes)
    compared, mismatches = compare(simulate(network, spikes), result)
    assert (compared > 100, mismatches) == (True, 0)
    assert [counters["steps"] for counters in result.counters.values()] == [5 * 7] * 3
    assert all(counters["words"] > 0 for counters in result.counters.values())


BUGS = {
    "events of the step before that come late": (
        engine,
        "Mux(local_valid | waiting, parity",
        "Mux(local_valid, parity",
    ),
    "the sample of a delayed event": (
        engine,
        "payload.last.eq(Mux(local_valid, last, packet.last))",
        "payload.last.eq(last)",
    ),
    "the bank of a late event": (rows, "fetched.parity ^ fetched.other ^ row.delay", "fetched.parity ^ row.delay"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_are_found(request, tmp_path, monkeypatch, bug):
    module, old, new = BUGS[bug]
    broken = mutated(module, old, new)
    if module is rows:
        monkeypatch.setattr(engine, "RowReader", broken.RowReader)
    else:
        monkeypatch.setattr(core, "LifEngine", broken.LifEngine)
    fabric = mesh_of(3, 1)
    library = compile_design(Tiles(fabric), tmp_path).library
    rng = rng_of(request.node.name)
    with pytest.raises((AssertionError, SimulationError)):
        random_runs(library, fabric, rng, 60)
