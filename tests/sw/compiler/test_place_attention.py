"""Attention on a fabric: its tile, the axons of its sources, and refusals."""

from dataclasses import replace

import numpy as np
import pytest
from harness.attention_fabric import ANOTHER, CORE, NAME, SOURCES, fabric_of, random_attention_network
from harness.networks import rng_of

from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.partition import SplitError, split
from spikeloom.compiler.place import place
from spikeloom.sim.attention.attention import AttentionParameters, register_seeds
from spikeloom.sim.attention.parameters import AttentionTileParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.lib.words import unpack_lanes
from spikeloom.sim.network.network import QuantisedConnection

SHAPE = AttentionParameters(tokens=4, features=2, heads=2)
ONE = fabric_of(SHAPE)
TWO = fabric_of(SHAPE, units=(3, 5), columns=3)


def values_of(program, tile):
    return {name: value for number, name, value in program.registers if number == tile}


def axons_of(program, tile):
    """The axons in the memory of routes, in the order of the network's neurons."""
    (image,) = (image for image in program.memories if image.tile == tile)
    unit = program.fabric.tiles_of(AttentionTileParameters)[tile]
    bits = unpack_lanes(image.words, 1, unit.axon_width).astype(np.int64)
    axons = (bits << np.arange(unit.axon_width)).sum(axis=1)
    return axons[: 2 * 4 * 2].reshape(2, 4, 2).swapaxes(1, 2).reshape(-1)


def test_where_it_lies_and_what_it_knows(request):
    network = random_attention_network(rng_of(request.node.name), SHAPE, count=2)
    program = place(network, TWO, observe=("query", NAME))
    tile_of = program.assignment.tile_of
    assert {tile_of[NAME], tile_of[ANOTHER]} == {3, 5}
    assert tile_of["output"] not in {tile_of[name] for name in SOURCES}
    for attention in network.units:
        values = values_of(program, tile_of[attention.name])
        assert (values["score_seed"], values["output_seed"]) == register_seeds(attention.seed)
        assert values["causal"] == attention.causal
        assert values["sources"] == len({tile_of[name] for name in SOURCES})
        assert values["spike_destinations"] >> tile_of["output"] & 1
        assert values["spike_destinations"] & 1 == (attention.name == NAME)
    first, second = (values_of(program, tile_of[name]) for name in (NAME, ANOTHER))
    assert (first["query_page"], first["value_page"]) == (second["value_page"], second["query_page"])
    assert len({first[f"{role}_page"] for role in SOURCES}) == 3
    columns = dict(
        zip(
            [name for name, _ in program.observed],
            np.split(program.output_axons, [*np.cumsum([size for _, size in program.observed])[:-1]]),
            strict=True,
        )
    )
    unit = TWO.tiles_of(AttentionTileParameters)[3]
    page = unit.axons(first["query_page"]).swapaxes(1, 2).reshape(-1)
    assert np.array_equal(columns["query"], page), "one axon for the host and for attention"
    assert np.array_equal(columns[NAME], axons_of(program, tile_of[NAME]))
    assert {use.tile for use in program.uses if use.resource == "attention"} == {3, 5}


def test_the_same_seed_places_it_alike(request):
    network = random_attention_network(rng_of(request.node.name), SHAPE)
    first, again = (place(network, TWO, seed=4).assignment.tile_of for _ in range(2))
    assert first == again


def test_what_attention_reads_is_not_cut(request):
    network = random_attention_network(rng_of(request.node.name), SHAPE)
    program = place(network, TWO, tiles=3)
    assert {part.name for part in program.assignment.parts.parts} >= {*SOURCES, NAME}
    with pytest.raises(SplitError, match=r"^cuts of population query must be multiples of 16, "):
        split(network, {"query": [8]})


def test_refusals(request):
    network = random_attention_network(rng_of(request.node.name), SHAPE, count=2)
    wanted = "needs an attention tile of its own for 2 heads, 4 tokens and 2 features, but the fabric has none left$"
    with pytest.raises(PlaceError, match=rf"^network random with attention: another {wanted}"):
        place(network, ONE)
    with pytest.raises(PlaceError, match=rf"^network random with attention: attention {wanted}"):
        place(network, FabricConfig(core=CORE))
    for fabric in (fabric_of(replace(SHAPE, heads=4)), fabric_of(replace(SHAPE, tokens=8))):
        with pytest.raises(PlaceError, match=wanted):
            place(network, fabric)
    apart = r"^network random with attention: the sources and targets of attention must lie in different tiles, "
    with pytest.raises(PlaceError, match=apart + r"but the fabric has one core$"):
        place(network, fabric_of(SHAPE, units=(1, 2)))
    with pytest.raises(PlaceError, match=apart + r"2 of them, not in 1$"):
        place(network, TWO, tiles=1)


def test_a_source_with_several_targets_in_one_tile_is_refused(request):
    network = random_attention_network(rng_of(request.node.name), SHAPE)
    weight = np.ones((16, 16), np.int64)
    both = tuple(QuantisedConnection(source="query", target=name, weight=weight) for name in ("key", "value"))
    kept = tuple(c for c in network.connections if c.source != "query")
    with pytest.raises(PlaceError, match=r"^population query: because attention reads it, it may lead to at most"):
        place(replace(network, connections=(*kept, *both)), ONE)
