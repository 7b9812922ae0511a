"""Programs on several tiles, decoded from their memory images and run in random order, against the reference."""

import dataclasses
import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from harness.cores import EXACT_MODELS
from harness.mutations import plant
from harness.networks import random_network, random_spatial_network, random_spikes, rng_of, with_widths
from harness.parts import random_cuts
from harness.tiles import assert_equal_to_reference, run_tiles

from spikeloom.compiler import axons, dependencies
from spikeloom.compiler import place as place_module
from spikeloom.compiler import synapses as rows
from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.mapping import Assignment
from spikeloom.compiler.partition import split
from spikeloom.compiler.place import place, place_assigned
from spikeloom.compiler.tiles import core, tokens
from spikeloom.sim.core.neuron import NeuronParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.reference import simulate
from spikeloom.sim.noc.mesh import MeshParameters

CORE = dataclasses.replace(
    EXACT_MODELS, lanes=2, neurons=1024, axons=1024, weight_words=8192, populations=32, geometries=64, sparse=True
)


def fabric_of(core, columns, rows):
    mesh = MeshParameters(columns=columns, rows=rows)
    return FabricConfig(tiles=(None, *[core] * (mesh.tiles - 1)), mesh=mesh)


def random_case(rng, spatial):
    core = dataclasses.replace(
        CORE, lanes=int(rng.choice([1, 2, 4])), weight_width=int(rng.choice([3, 8])), sparse=bool(rng.integers(2))
    )
    if spatial:
        network = random_spatial_network(rng, core, readout=bool(rng.integers(2)), extent=5)
    else:
        sizes = tuple(int(size) for size in rng.integers(2, 9, int(rng.integers(2, 5))))
        network = random_network(rng, core, sizes=sizes, readout=bool(rng.integers(2)))
    fabric = fabric_of(core, int(rng.integers(2, 4)), int(rng.integers(1, 4)))
    return network, fabric, random_spikes(rng, 5, 2, network.inputs)


def spiking(network):
    return [population.name for population in network.populations if population.parameters.spiking]


def some_of(rng, network):
    """A selection of populations to observe: all possible ones, a few, or none."""
    return [name for name in spiking(network) if rng.random() < rng.choice([0.0, 0.5, 1.0])]


def run_and_compare(program, network, spikes, rng):
    """Run a program in random order, compare, and return what happened."""
    run = run_tiles(program, spikes.astype(int), rng)
    reference = simulate(network, spikes)
    assert_equal_to_reference(run, program, reference)
    fired = sum(int(reference.spikes[name].sum()) for name in spiking(network))
    return {"fired": fired, "ahead": run.ahead, "delayed": run.delayed, "shared": run.arrivals - run.packets}


def test_random_networks_on_as_many_tiles_as_are_asked_for():
    rng = rng_of("test_random_networks_on_as_many_tiles_as_are_asked_for")
    counts = Counter()
    for case in range(26):
        network, fabric, spikes = random_case(rng, spatial=case % 2 == 0)
        tiles = int(rng.integers(1, min(len(fabric.cores), len(network.populations) * 2) + 1))
        program = place(network, fabric, observe=some_of(rng, network), tiles=tiles, seed=case)
        assert len(program.assignment.tiles) == tiles
        counts.update(name for name, count in run_and_compare(program, network, spikes, rng).items() if count)
    assert counts["fired"] > 20
    assert min(counts["ahead"], counts["delayed"], counts["shared"]) > 8, "tiles ahead of others, delays, multicasts"


def test_tiles_of_different_widths(request):
    """Each part lies in a tile that is wide enough, whatever the order of the tiles, and nothing else changes."""
    rng = rng_of(request.node.name)
    seen = Counter()
    for case in range(16):
        core = dataclasses.replace(CORE, lanes=2, weight_width=8)
        sizes = tuple(int(size) for size in rng.integers(2, 9, int(rng.integers(2, 5))))
        network = random_network(rng, core, sizes=sizes)
        network = with_widths(network, {p.name: int(rng.choice([3, 5, 8])) for p in network.populations})
        widths = rng.permutation([8, *rng.choice([3, 5, 8], 4)])
        tiles = [dataclasses.replace(core, weight_width=int(width)) for width in widths]
        fabric = FabricConfig(tiles=(None, *tiles), mesh=MeshParameters(columns=3, rows=2))
        program = place(network, fabric, observe=spiking(network), seed=case)
        parts, tile_of = program.assignment.parts.network, program.assignment.tile_of
        for part in parts.populations:
            narrow, wide = parts.width_of(part.name), fabric.cores[tile_of[part.name]].weight_width
            assert narrow <= wide
            seen["narrow tile" if wide < 8 else "wide tile"] += 1
        run_and_compare(program, network, random_spikes(rng, 5, 2, network.inputs), rng)
    assert min(seen["narrow tile"], seen["wide tile"]) > 5, seen


def test_parts_in_any_tiles_or_a_refusal():
    """With parts in arbitrary tiles, either tiles would wait for each other and placement says so, or the result is the
    same."""
    rng = rng_of("test_parts_in_any_tiles_or_a_refusal")
    counts = Counter()
    while min(counts["refused"], counts["ran"]) < 12:
        network, fabric, spikes = random_case(rng, spatial=bool(rng.integers(2)))
        parts = split(network, *random_cuts(rng, network, most=2))
        tiles = rng.choice(list(fabric.cores), len(parts.parts))
        order = rng.permutation(list(fabric.cores)).tolist()
        if rng.random() < 0.7:  # otherwise circular waits are almost certain
            tiles = sorted(tiles, key=order.index)
        names = [part.name for part in parts.parts]
        assignment = Assignment(parts=parts, tile_of=dict(zip(names, map(int, tiles), strict=True)))
        try:
            program = place_assigned(assignment, fabric, observe=some_of(rng, network))
        except PlaceError as error:
            if not isinstance(error.__cause__, dependencies.DependencyError):
                raise
            counts["refused"] += 1
            continue
        if counts["ran"] < 12:
            counts.update(name for name, count in run_and_compare(program, network, spikes, rng).items() if count)
            counts["ran"] += 1
    assert min(counts["fired"], counts["ahead"], counts["delayed"], counts["shared"]) >= 5, counts


def chain(*sizes):
    """Dense layers ``a``, ``b``, ... of these sizes; the network has as many inputs as the first layer."""
    names = [INPUT, *"abcdefgh"[: len(sizes)]]
    parameters = {"v_width": CORE.v_width, "beta_fraction": CORE.beta_fraction}
    return QuantisedNetwork(
        name="net",
        inputs=sizes[0],
        populations=tuple(
            QuantisedPopulation(name=name, parameters=NeuronParameters(size=size, **parameters))
            for name, size in zip(names[1:], sizes, strict=True)
        ),
        connections=tuple(
            QuantisedConnection(source=source, target=target, weight=np.ones((to, of), int))
            for (source, of), (target, to) in pairwise(zip(names, (sizes[0], *sizes), strict=True))
        ),
        output=names[-1],
    )


def test_layers_that_wait_for_each_other_are_refused():
    network = chain(4, 4, 4)
    assignment = Assignment(parts=split(network, {}), tile_of={"a": 1, "b": 2, "c": 1})
    message = (
        "layers may share a tile only if nothing between them lies elsewhere, and in one step tile 1 (a, c) waits for "
        "tile 2, tile 2 (b) waits for tile 1"
    )
    with pytest.raises(PlaceError, match=f"^{re.escape(message)}$"):
        place_assigned(assignment, fabric_of(CORE, 3, 1))


def test_without_that_refusal_they_would_wait_for_ever(monkeypatch):
    monkeypatch.setattr(dependencies, "_check_order", lambda *arguments: None)
    assignment = Assignment(parts=split(chain(4, 4, 4), {}), tile_of={"a": 1, "b": 2, "c": 1})
    program = place_assigned(assignment, fabric_of(CORE, 3, 1))
    with pytest.raises(AssertionError, match="the tiles must not wait for each other for ever"):
        run_tiles(program, np.ones((3, 1, 4), int), np.random.default_rng(1))


MUTATIONS = {
    "a sink is left out": (
        axons,
        "for sink in network.sinks(name)})",
        "for sink in network.sinks(name)[1:]})",
    ),
    "the host is left out": (axons, "host = {BRIDGE_TILE} if name in observed else set()", "host = set()"),
    "a spike is not sent": (dependencies, "found |= connection.fan_out > 0", "pass"),
    "a spike does not come back": (core, 'fields["local"][here] = local.get(name, 0)', "pass"),
    "blocks in the same place": (axons, "tile[block.first : block.first + block.rows] = True", "pass"),
    "blocks that the host confuses": (
        axons,
        "if BRIDGE_TILE in sinks:\n            host[axons",
        "if 0:\n            host[axons",
    ),
    "a source is not waited for": (
        tokens,
        'sources", len(sources)',
        'sources", len(sources) - (len(sources) > 1)',
    ),
    "a delayed source is not waited for": (
        tokens,
        'sources", len(sources)',
        'sources", len(sources) * (not delayed)',
    ),
    "a sink is not waited for": (tokens, 'sinks", len(sinks)', 'sinks", max(0, len(sinks) - 1)'),
    "a token is not sent": (
        tokens,
        'tick_destinations", set_of(sinks)',
        'tick_destinations", set_of(sinks - {3})',
    ),
    "an acknowledgement is not sent": (tokens, "set_of(sources)", "set_of(sources - {0})"),
    "a delayed token is not sent": (
        tokens,
        'tick_destinations", set_of(sinks)',
        'tick_destinations", set_of(sinks) * (not delayed)',
    ),
    "delayed is taken for direct": (dependencies, "(delayed if connection.delay else direct)", "direct"),
    "direct is taken for delayed": (dependencies, "(delayed if connection.delay else direct)", "delayed"),
    "rows as many as in one tile": (rows, "pitch = max(tiles.values())", "pitch = min(tiles.values())"),
    "rows one after the other": (
        rows,
        "block.pitch * np.arange(block.shape[0])",
        "len(chain) * np.arange(block.shape[0])",
    ),
    "sparse here, folded there": (
        rows,
        "shape = _shape(name, chain, network.size(name), widths[0], single)",
        "shape = _shape(name, chain, network.size(name), widths[0], False)",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_planted_bug_is_seen(monkeypatch, name):
    module, old, new = MUTATIONS[name]
    plant(monkeypatch, "spikeloom.compiler", module, old, new)
    rng = rng_of(name)
    for case in range(30):
        network, fabric, spikes = random_case(rng, spatial=case % 3 == 0)
        tiles = min(len(fabric.cores), len(network.populations))
        try:
            program = place_module.place(network, fabric, observe=some_of(rng, network), tiles=tiles)
            run_and_compare(program, network, spikes, rng)
        except (AssertionError, ValueError, IndexError, TypeError):
            return
    raise AssertionError("no network tells")
