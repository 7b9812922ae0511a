"""Attention tiles: the unit that each holds, routes, pages and seeds, and the work of a step."""

from dataclasses import replace

import numpy as np
import pytest
from harness.attention_fabric import NAME, SOURCES, fabric_of, random_attention_network
from harness.chains import Gate
from harness.networks import rng_of

from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.place import place, placement_of
from spikeloom.compiler.tiles.attention import AttentionCompiler
from spikeloom.sim.attention.attention import AttentionParameters, register_seeds
from spikeloom.sim.attention.parameters import AttentionTileParameters
from spikeloom.sim.lib.words import unpack_lanes
from spikeloom.sim.network.attention import QuantisedAttention

SHAPE = AttentionParameters(tokens=4, features=2, heads=2)
TILE = AttentionTileParameters(attention=SHAPE, axon_width=9)


def compiler_for(name, **options):
    network = random_attention_network(rng_of(name), SHAPE)
    placement = placement_of(place(network, fabric_of(SHAPE), **options))
    return AttentionCompiler(placement, placement.tile_of[NAME])


@pytest.mark.parametrize(
    ("change", "holds"), [({}, True), ({"heads": 1}, False), ({"tokens": 8}, False), ({"features": 4}, False)]
)
def test_it_holds_attention_of_its_own_shape(change, holds):
    unit = QuantisedAttention(name="a", query="q", key="k", value="v", parameters=replace(SHAPE, **change))
    assert AttentionCompiler.holds(TILE, unit) == holds


def test_rows_are_no_part_of_the_shape_and_other_units_are_not_held():
    fast = replace(TILE, attention=replace(SHAPE, rows=4))
    unit = QuantisedAttention(name="a", query="q", key="k", value="v", parameters=SHAPE)
    assert AttentionCompiler.holds(fast, unit)
    assert not AttentionCompiler.holds(TILE, Gate("gate", ("a",)))
    assert AttentionCompiler.page_axons(TILE) == 16
    assert AttentionCompiler.page_axons(replace(TILE, attention=replace(SHAPE, heads=3))) == 32


def test_routes_are_the_axons_of_its_spikes_token_by_token(request):
    compiler = compiler_for(request.node.name, observe=(NAME,))
    axons = compiler.placement.axons[NAME]
    assert len(set(axons.tolist())) == 16
    bits = unpack_lanes(compiler.memories()["routes"], 1, compiler.tile.axon_width).astype(int)
    found = bits @ (1 << np.arange(compiler.tile.axon_width))
    for head, feature, token in np.ndindex(2, 2, 4):
        neuron = (head * 2 + feature) * 4 + token
        assert found[(head * 4 + token) * 2 + feature] == axons[neuron]


def test_registers(request):
    compiler = compiler_for(request.node.name)
    placement, unit = compiler.placement, compiler.attention
    registers = dict(compiler.registers())
    assert (registers["score_seed"], registers["output_seed"]) == register_seeds(unit.seed)
    assert registers["causal"] == unit.causal
    for role, source in zip(SOURCES, unit.sources, strict=True):
        assert registers[f"{role}_page"] << compiler.tile.index_bits == placement.axons[source][0]
    sinks = {placement.tile_of[name] for name in placement.network.sinks(NAME)}
    assert registers["spike_destinations"] == sum(1 << tile for tile in sinks)
    assert registers["sources"] == len({placement.tile_of[name] for name in SOURCES})


def test_a_page_beyond_the_last_is_refused(request):
    compiler = compiler_for(request.node.name)
    pages = 1 << compiler.tile.page_bits
    size = 1 << compiler.tile.index_bits
    axons = dict(compiler.placement.axons) | {"key": np.arange(16) + pages * size}
    compiler.placement = replace(compiler.placement, axons=axons)
    message = (
        f"population key: its axons must begin at one of {pages} pages of the attention tile {compiler.number}, not at "
        f"page {pages}"
    )
    with pytest.raises(PlaceError, match=f"^{message}$"):
        list(compiler.registers())
    compiler.placement = replace(compiler.placement, axons=axons | {"key": np.arange(16) + (pages - 1) * size})
    assert dict(compiler.registers())["key_page"] == pages - 1


def test_it_takes_the_whole_tile_and_as_long_for_any_spikes(request):
    compiler = compiler_for(request.node.name)
    assert compiler.uses == [("attention", 1, 1)]
    rates = {name: np.full(16, 0.25) for name in SOURCES}
    work, busy = compiler.work(rates), compiler.work({name: rate * 4 for name, rate in rates.items()})
    assert (work.events, busy.events) == (12.0, 48.0)
    assert work.cycles == busy.cycles > 0
    assert work.words_added == SHAPE.cycles(2) - SHAPE.cycles(1)
    assert work.parts == (NAME,)
