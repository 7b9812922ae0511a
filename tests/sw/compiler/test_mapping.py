"""Cuts of a network, and the tile of each piece."""

import dataclasses
import itertools
import re

import numpy as np
import pytest
from harness.networks import random_network, random_spatial_network, rng_of

from spikeloom.compiler.dependencies import flows_of, uniform_rates
from spikeloom.compiler.mapping import AssignError, assign, links_crossed
from spikeloom.sim.core.neuron import NeuronParameters
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.projection import Convolution
from spikeloom.sim.noc.mesh import MeshParameters

CORE = CoreParameters(lanes=2, neurons=64, axons=128, weight_words=1024, accumulator_width=20, coordinate_width=0)
MESH = MeshParameters(columns=3, rows=2)
FIVE = dict.fromkeys(range(1, 6), CORE)


def exactly(message):
    return f"^{re.escape(message)}$"


def chain(*sizes, recurrent=False):
    """``sizes[0]`` inputs and dense layers ``a``, ``b``, ..."""
    names = [INPUT, *"abcdefgh"[: len(sizes) - 1]]
    pairs = list(itertools.pairwise(range(len(sizes))))
    connections = [(source, target, 0) for source, target in pairs]
    connections += [(target, target, 1) for _, target in pairs] if recurrent else []
    return QuantisedNetwork(
        name="net",
        inputs=sizes[0],
        populations=tuple(
            QuantisedPopulation(name=name, parameters=NeuronParameters(size=size))
            for name, size in zip(names[1:], sizes[1:], strict=True)
        ),
        connections=tuple(
            QuantisedConnection(
                source=names[i], target=names[j], weight=np.ones((sizes[j], sizes[i]), int), delay=delay
            )
            for i, j, delay in connections
        ),
        output=names[-1],
    )


def held(assignment):
    return {part.name: assignment.tile_of[part.name] for part in assignment.parts.parts}


def crossed(assignment, network):
    """Packets per step times the links that each crosses."""
    outputs = [part.name for part in assignment.parts.parts_of(network.output)]
    flows = flows_of(assignment.parts, assignment.tile_of, outputs, uniform_rates(network))
    return sum(flow.packets * links_crossed(MESH, flow.source, flow.sinks) for flow in flows)


def test_the_links_that_a_multicast_crosses():
    rng = rng_of("test_the_links_that_a_multicast_crosses")
    for _ in range(300):
        mesh = MeshParameters(columns=int(rng.integers(1, 9)), rows=int(rng.integers(1, 9)))
        source = int(rng.integers(mesh.tiles))
        sinks = rng.choice(mesh.tiles, int(rng.integers(1, min(mesh.tiles, 7) + 1)), replace=False).tolist()
        assert links_crossed(mesh, source, sinks) == mesh.route(source, mesh.destinations(sinks)).traffic
    assert links_crossed(MESH, 3, []) == 0


def test_as_few_tiles_as_hold_the_network():
    # 64 inputs and 32 neurons in two lanes: 1024 words of weights fill a tile, 1024 + 160 do not fit.
    assert held(assign(chain(64, 32), FIVE, MESH)) == {"a": 1}
    found = assign(chain(64, 32, 10), FIVE, MESH)
    assert len(found.tiles) == 2
    sizes = [part.size for part in found.parts.parts]
    assert sum(sizes) == 42
    assert all(size % 2 == 0 for size in sizes), "pieces are whole words"


@pytest.mark.parametrize("tiles", range(1, 6))
def test_as_many_tiles_as_asked_for(tiles):
    found = assign(chain(20, 12, 8, recurrent=True), FIVE, MESH, tiles=tiles)
    assert len(found.tiles) == tiles
    assert sum(part.size for part in found.parts.parts) == 20


@pytest.mark.parametrize("case", range(6))
def test_the_longest_step_is_as_short_as_any_cuts_allow(request, case):
    """Compared with all ways to cut a short line into pieces."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(CORE, lanes=1)
    network = random_network(rng, core, sizes=(4, 3, 4), inputs=6)
    rates = {name: rng.random(len(of)) for name, of in uniform_rates(network).items()}
    cores = dict.fromkeys(range(1, 5), core)
    tiles = 3

    def longest(ends):
        """The most cycles of any piece, by hand: all sources of each neuron, the neuron itself, and 16 per
        population."""
        line = [(p.name, neuron) for p in network.populations for neuron in range(p.size)]
        cycles = []
        for first, stop in itertools.pairwise([0, *ends, len(line)]):
            names = {name for name, _ in line[first:stop]}
            total = stop - first + 16 * len(names)
            for name, neuron in line[first:stop]:
                for c in network.connections:
                    if c.target == name:
                        total += rates[c.source].sum() if c.weight[neuron].any() else 0
            cycles.append(total)
        return max(cycles)

    best = min(longest(ends) for ends in itertools.combinations(range(1, 11), tiles - 1))
    found = assign(network, cores, MESH, tiles=tiles, rates=rates)
    starts, at = [], 0
    for before, part in itertools.pairwise(found.parts.parts):
        at += before.size
        if found.tile_of[before.name] != found.tile_of[part.name]:
            starts.append(at)
    assert len(starts) == tiles - 1
    assert longest(starts) <= best * 1.08  # zero weights between pieces are left out of one sum but not of the other


def test_the_places_are_the_best():
    network = chain(16, 12, 8, 4, recurrent=True)
    found = assign(network, FIVE, MESH, tiles=4)
    pieces = list(dict.fromkeys(found.tile_of.values()))
    every = []
    for places in itertools.permutations(FIVE, 4):
        moved = dict(zip(pieces, places, strict=True))
        tile_of = {part: moved[tile] for part, tile in found.tile_of.items()}
        every.append(crossed(dataclasses.replace(found, tile_of=tile_of), network))
    assert crossed(found, network) == pytest.approx(min(every))
    assert min(every) < np.median(every)


def test_the_same_seed_gives_the_same_places():
    network = chain(16, 12, 8, 4, recurrent=True)
    cores, mesh = dict.fromkeys(range(1, 12), CORE), MeshParameters(columns=4, rows=3)
    first, again = (held(assign(network, cores, mesh, tiles=9, seed=3)) for _ in range(2))
    assert first == again
    assert len({tuple(held(assign(network, cores, mesh, tiles=9, seed=seed)).values()) for seed in range(4)}) > 1


def test_one_tile_beside_the_host():
    assert held(assign(chain(4, 3), FIVE, MESH, tiles=1))["a"] in (1, 3)


def test_tiles_of_different_cores_keep_what_fits_them():
    small, large = dataclasses.replace(CORE, neurons=8, weight_words=64), CORE
    cores = {1: small, 2: large, 3: small, 4: large, 5: small}
    for seed in range(3):
        found = assign(chain(16, 24, 20), cores, MESH, seed=seed)
        for tile in found.tiles:
            size = sum(part.size for part in found.parts.parts if found.tile_of[part.name] == tile)
            assert size <= cores[tile].neurons


def test_channels_stay_whole():
    rng = rng_of("test_channels_stay_whole")
    core = dataclasses.replace(CORE, lanes=4, neurons=256, coordinate_width=3)
    for _ in range(5):
        network = random_spatial_network(rng, core)
        found = assign(network, dict.fromkeys(range(1, 6), core), MESH, tiles=4)
        assert len(found.tiles) == 4


def test_bands_where_they_are_faster():
    """Two channels fill half a word of four lanes: cut apart, they would take as many words as together."""
    core = dataclasses.replace(CORE, lanes=4, neurons=256, coordinate_width=3)
    cores = dict.fromkeys(range(1, 6), core)
    assert [part.name for part in assign(wide(), cores, MESH, tiles=2).parts.parts] == ["map[:, 0:4]", "map[:, 4:8]"]
    apart = assign(wide(), cores, MESH, tiles=2, banded=False)
    assert [part.name for part in apart.parts.parts] == ["map[0:64]", "map[64:128]"]


def wide():
    convolution = Convolution(input_shape=(1, 8, 8), output_channels=2, kernel=(3, 3), padding=(1, 1))
    return QuantisedNetwork(
        name="wide",
        inputs=64,
        populations=(QuantisedPopulation(name="map", parameters=NeuronParameters(size=128)),),
        connections=(
            QuantisedConnection(
                source=INPUT, target="map", weight=np.ones(convolution.weight_shape, int), convolution=convolution
            ),
        ),
        output="map",
    )


@pytest.mark.parametrize(
    ("network", "core", "tiles", "message"),
    [
        (chain(4, 3), {}, 6, "tiles must be 1 to 5 (all cores of the fabric), not 6"),
        (chain(4, 3), {}, 0, "tiles must be 1 to 5 (all cores of the fabric), not 0"),
        (chain(4, 3), {}, 4, "network net can be cut into at most 3 parts, not 4"),
        (
            chain(64, 170),
            {},
            None,
            "network net does not fit 5 tiles: it needs 5,440 weight words of 2 lanes (5,120 available)",
        ),
        (
            chain(4, 170, 161),
            {"weight_words": 1 << 15, "axons": 1024},
            None,
            "network net does not fit 5 tiles: it needs 166 neuron words of 2 lanes (160 available)",
        ),
        (
            chain(130, 4, 8),
            {},
            2,
            "population a cannot be cut small enough: one neuron needs 130 rows, a tile has 128",
        ),
        (
            wide(),
            {"coordinate_width": 3, "neurons": 8, "axons": 8, "lanes": 1},
            None,
            "network wide does not fit 5 tiles: it needs 128 neuron words of 1 lane (40 available)",
        ),
        (
            wide(),
            {"coordinate_width": 3, "neurons": 26, "axons": 8, "lanes": 1},
            None,
            "network wide does not fit 5 tiles: with the memories of all tiles full, 48 of 128 neurons are left",
        ),
        (
            wide(),
            {"coordinate_width": 3, "neurons": 256, "axons": 8, "lanes": 4, "weight_words": 8},
            None,
            "population map cannot be cut small enough: 16 neurons need 9 weight words, a tile has 8",
        ),
    ],
)
def test_what_does_not_fit_is_named(network, core, tiles, message):
    cores = dict.fromkeys(range(1, 6), dataclasses.replace(CORE, **core))
    with pytest.raises(AssignError, match=exactly(message)):
        assign(network, cores, MESH, tiles=tiles)
