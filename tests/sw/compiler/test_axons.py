"""Axons: blocks at the first address free in all tiles, numbers that the host can distinguish, and pages."""

from dataclasses import replace

import numpy as np
import pytest
from harness.attention_fabric import CORE as ATTENTION_CORE
from harness.attention_fabric import NAME, SOURCES, fabric_of, random_attention_network
from harness.chains import chain
from harness.cores import EXACT_MAPS
from harness.networks import random_network, random_spatial_network, rng_of

from spikeloom.compiler.axons import allocate, sinks_of
from spikeloom.compiler.layout import layouts
from spikeloom.compiler.place import place, placement_of
from spikeloom.compiler.synapses import RowError, blocks_of
from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.lib.registers import BRIDGE_TILE
from spikeloom.sim.network.network import QuantisedConnection
from spikeloom.sim.network.population import INPUT

CORE = replace(EXACT_MAPS, lanes=2, neurons=1024, axons=1024, weight_words=8192, geometries=64)


def allocated(network, tile_of, observed, core=CORE):
    """The blocks and axons of ``network`` with its populations in these tiles."""
    cores = dict.fromkeys(tile_of.values(), core)
    layout_of = {name: layouts(network, core.lanes, {name})[name] for name in tile_of}
    blocks = blocks_of(network, tile_of, cores, layout_of)
    return blocks, allocate(network, tile_of, cores, {}, blocks, observed)


@pytest.mark.parametrize("case", range(6))
def test_blocks_are_as_low_as_those_before_them_allow(request, case):
    """Compared with a plain search, row by row and axon by axon."""
    rng = rng_of(request.node.name)
    core = replace(CORE, coordinate_width=3 if case % 2 else int(rng.choice([0, 1])))
    make = random_spatial_network if case % 2 else random_network
    network = make(rng, core)
    names = [population.name for population in network.populations]
    tile_of = {name: int(rng.integers(1, 4)) for name in names}
    observed = [network.output, *(name for name in names[:-1] if network.spikes(name) and rng.random() < 0.5)]
    blocks, axons = allocated(network, tile_of, observed, core)
    rows, host = {tile: set() for tile in tile_of.values()}, set()
    places, without = [], 0
    for name in network.sources:
        sinks = sinks_of(network, name, tile_of, observed)
        size = network.size(name)
        if name in blocks:
            block = blocks[name]
            first = 0
            while any(row in rows[tile] for tile in sinks if tile for row in range(first, first + block.rows)) or (
                BRIDGE_TILE in sinks
                and any(axon >> 2 * core.coordinate_width in range(first, first + block.rows) for axon in host)
            ):
                first += 1
            assert block.first == first, name
            for tile in sinks - {BRIDGE_TILE}:
                rows[tile] |= set(range(first, first + block.rows))
            assert np.array_equal(axons[name], block.axons)
            places.append(first)
        elif name in observed:
            without += 1
            first = 0
            while set(range(first, first + size)) & host:
                first += 1
            assert axons[name].tolist() == list(range(first, first + size)), name
        else:
            assert name not in axons
        if BRIDGE_TILE in sinks:
            assert not host & set(axons[name].tolist()), "the host must know the source by the axon"
            host |= set(axons[name].tolist())
    assert len(set(places)) > 1
    assert host


def test_sources_of_different_tiles_share_addresses():
    network = chain(4, 3, 5, v_width=14)
    core = replace(CORE, coordinate_width=0)
    blocks, axons = allocated(network, {"a": 1, "b": 2}, ["b"], core)
    assert (blocks[INPUT].first, blocks["a"].first) == (0, 0)
    assert axons["b"].tolist() == [0, 1, 2, 3, 4]
    blocks, _ = allocated(network, {"a": 1, "b": 1}, ["b"], core)
    assert (blocks[INPUT].first, blocks["a"].first) == (0, 4)


def test_what_the_host_receives_has_numbers_of_its_own():
    core = replace(CORE, coordinate_width=0)
    _, axons = allocated(chain(4, 3, 5, v_width=14), {"a": 1, "b": 2}, ["a", "b"], core)
    assert axons["a"].tolist() == [0, 1, 2]
    assert axons["b"].tolist() == [3, 4, 5, 6, 7]


def test_sinks_are_the_tiles_of_targets_and_the_host():
    network = chain(4, 3, 5)
    tile_of = {"a": 2, "b": 2}
    assert sinks_of(network, INPUT, tile_of, []) == {2}
    assert sinks_of(network, "a", tile_of, ["b"]) == {2}
    assert sinks_of(network, "a", tile_of, ["a"]) == {2, BRIDGE_TILE}
    assert sinks_of(network, "b", tile_of, []) == frozenset()


SHAPE = AttentionParameters(tokens=4, features=2, heads=2)


def test_what_a_unit_reads_begins_at_a_page_of_its_own(request):
    rng = rng_of(request.node.name)
    pages = set()
    for case in range(6):
        network = random_attention_network(rng, SHAPE, count=1 + case % 2)
        fabric = fabric_of(SHAPE, units=(3, 5), columns=3)
        placement = placement_of(place(network, fabric, observe=("query", NAME) if case % 3 else ()))
        for source in SOURCES:
            axons = placement.axons[source]
            assert axons[0] % SHAPE_PAGE == 0
            assert axons.tolist() == list(range(axons[0], axons[0] + 16)), "numbered as its neurons are"
        firsts = [int(placement.axons[source][0]) for source in SOURCES]
        assert len(set(firsts)) == 3, "each at another page"
        pages.add(tuple(sorted(firsts)))
    assert len(pages) > 1


SHAPE_PAGE = 16  # axons: 2 heads of 4 tokens and 2 features


def test_a_source_that_no_page_can_number_is_refused(request):
    """Each of its neurons has two rows in one tile, so that its axons cannot be consecutive."""
    network = random_attention_network(rng_of(request.node.name), SHAPE)
    weight = np.ones((16, 16), np.int64)
    both = tuple(QuantisedConnection(source="query", target=name, weight=weight) for name in ("key", "value"))
    kept = tuple(c for c in network.connections if c.source != "query")
    network = replace(network, connections=(*kept, *both))
    tile_of = {"query": 1, "key": 1, "value": 1, "output": 3, NAME: 2}
    cores = {1: ATTENTION_CORE, 3: ATTENTION_CORE}
    layout_of = {name: layouts(network, 2, {name})[name] for name in (*SOURCES, "output")}
    blocks = blocks_of(network, tile_of, cores, layout_of)
    unit = fabric_of(SHAPE).tile(2)
    message = (
        "population query: because attention reads it, it may lead to at most one population in each other tile, and "
        "to convolutions and poolings only if their shape equals the coordinates of the tiles"
    )
    with pytest.raises(RowError, match=f"^{message}$"):
        allocate(network, tile_of, cores, {NAME: unit}, blocks, [])
