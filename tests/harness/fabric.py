"""Programs on the compiled tiles of a fabric, compared with the reference in every spike and every state of every tile.

The libraries are kept in ``build/cosim``; each shape of mesh is compiled once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.compiled import BUILD, kept_states, state_paths
from harness.engine import assert_equal_states, unpack_states
from harness.networks import random_network
from harness.parts import random_cuts
from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.dependencies import DependencyError
from spikeloom.compiler.layout import layouts
from spikeloom.compiler.mapping import Assignment
from spikeloom.compiler.partition import split
from spikeloom.compiler.place import place_assigned
from spikeloom.compiler.program import Program
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.reference import simulate
from spikeloom.sim.noc.mesh import MeshParameters
from spikeloom.simulators.build import compile_tiles
from spikeloom.simulators.compiled import CompiledSimulator, Pauses

SMALL = CoreParameters(
    lanes=2,
    neurons=64,
    axons=256,
    weight_words=1024,
    populations=16,
    v_width=12,
    accumulator_width=16,
    beta_fraction=8,
    per_neuron=frozenset({"threshold", "bias", "leak_factor", "reset_value"}),
)


def mesh_of(columns: int, rows: int, *, core: CoreParameters = SMALL, queue_depth: int = 2) -> FabricConfig:
    """A fabric of equal cores."""
    mesh = MeshParameters(columns=columns, rows=rows, queue_depth=queue_depth)
    return FabricConfig(name=f"{columns}x{rows}", tiles=(None, *[core] * (mesh.tiles - 1)), mesh=mesh)


def tiles_library(fabric: FabricConfig) -> Path:
    """The compiled tiles of a fabric, which are elaborated once for this and for runners."""
    return compile_tiles(fabric, BUILD, announce=print).library


def random_program(
    rng: np.random.Generator, fabric: FabricConfig, *, readout: bool = False
) -> tuple[QuantisedNetwork, Program]:
    """A random network, including recurrent loops, whose populations are cut anywhere and whose parts lie in any
    tile."""
    core = next(iter(fabric.cores.values()))
    while True:
        sizes = tuple(int(size) for size in rng.integers(2, 9, int(rng.integers(2, 5))))
        network = random_network(rng, core, sizes=sizes, readout=readout)
        parts = split(network, *random_cuts(rng, network, most=2))
        order = rng.permutation(list(fabric.cores)).tolist()
        tiles = rng.choice(list(fabric.cores), len(parts.parts))
        if rng.random() < 0.8:  # otherwise circular waits are almost certain
            tiles = sorted(tiles, key=order.index)
        names = [part.name for part in parts.parts]
        observe = [p.name for p in network.populations if p.parameters.spiking and rng.random() < 0.7]
        try:
            assignment = Assignment(parts=parts, tile_of=dict(zip(names, map(int, tiles), strict=True)))
            return network, place_assigned(assignment, fabric, observe=observe)
        except PlaceError as error:
            if not isinstance(error.__cause__, DependencyError):
                raise


@dataclass
class FabricRun:
    """The interesting properties of a run."""

    spikes: int
    tiles: int
    cycles: int
    counters: dict[int, dict[str, int]]


def run_and_compare(
    library,
    network: QuantisedNetwork,
    program: Program,
    spikes: np.ndarray,
    *,
    pauses: Pauses | None = None,
    states: bool = True,
    random_start: int | None = None,
) -> FabricRun:
    """Run ``spikes`` ``(T, B, inputs)`` and compare all outputs and, with ``states``, all internal states."""
    steps, batch, _ = spikes.shape
    reference = simulate(network, spikes)
    parts = program.assignment.parts.network
    of_parts = simulate(parts, spikes, record=[p.name for p in parts.populations])
    tile_of = program.assignment.tile_of
    with CompiledSimulator(library, pauses=pauses, timeout_cycles=20_000, random_start=random_start) as simulator:
        simulator.load(program)
        paths = {
            tile: [f"core_{tile}.{path}" for path in state_paths(program.fabric.cores[tile])]
            for tile in sorted(set(tile_of.values()))
        }
        if states:
            for tile, of_tile in paths.items():
                for path in of_tile:
                    simulator.inspect(path, tile=tile)
        simulator.feed(spikes, program.input_axons)
        simulator.advance(steps * batch)
        simulator.finish()
        said = simulator.take()
        counters = {
            tile: {name: simulator.read_register(name, tile=tile) for name in ("steps", "words", "spikes")}
            for tile in paths
        }
        cores = program.fabric.cores
        kept = {tile: kept_states(simulator, cores[tile], of_tile) for tile, of_tile in paths.items() if states}
        cycles = simulator.cycles

    axons = program.output_axons
    columns = np.concatenate([reference.spikes[name] for name, _ in program.observed], axis=2)
    expected = {
        (int(sample * steps + t), int(axons[column])) for t, sample, column in zip(*np.nonzero(columns), strict=True)
    }
    found = list(zip(said.spike_step.tolist(), said.spike_axon.tolist(), strict=True))
    assert len(found) == len(set(found)), "a spike must come once"
    assert set(found) == expected
    values = dict(
        zip(zip(said.value_step.tolist(), said.value_axon.tolist(), strict=True), said.value.tolist(), strict=True)
    )
    membranes = {}
    if program.membranes:
        v = reference.states[network.output].v
        membranes = {
            (int(sample * steps + t), int(axons[neuron])): int(v[t, sample, neuron])
            for t, sample, neuron in np.ndindex(v.shape)
        }
    assert values == membranes
    for tile, of_tile in counters.items():
        assert of_tile["steps"] == steps * batch, tile

    for tile, words_of_step in kept.items():
        core = program.fabric.cores[tile]
        held = [p.name for p in parts.populations if tile_of[p.name] == tile]
        layout_of = layouts(parts, core.lanes, held)
        assert len(words_of_step) == steps * batch
        for name in held:
            found = unpack_states(core, words_of_step, layout_of[name].slots)
            assert_equal_states(found, of_parts.states[name], (tile, name))
    return FabricRun(
        spikes=sum(int(s.sum()) for s in of_parts.spikes.values()), tiles=len(paths), cycles=cycles, counters=counters
    )
