"""Placements: parts, units, ports and axons."""

import numpy as np
from harness.aer_ports import network_of, placed
from harness.attention_fabric import NAME, fabric_of, random_attention_network
from harness.chains import chain
from harness.fabric import SMALL, mesh_of
from harness.networks import random_network, rng_of
from harness.parts import random_cuts

from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.mapping import Assignment
from spikeloom.compiler.partition import split
from spikeloom.compiler.place import place, place_assigned, placement_of
from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.population import INPUT


def test_parts_are_held_in_the_order_of_the_network(request):
    rng = rng_of(request.node.name)
    several = 0
    while several < 5:
        network = random_network(rng, SMALL)
        parts = split(network, *random_cuts(rng, network, most=2))
        order = sorted(int(tile) for tile in rng.integers(1, 4, len(parts.parts)))
        tile_of = dict(zip([part.name for part in parts.parts], order, strict=True))
        try:
            program = place_assigned(Assignment(parts=parts, tile_of=tile_of), mesh_of(2, 2))
        except PlaceError:
            continue
        placement = placement_of(program)
        assert (placement.network, placement.parts) == (parts.network, parts)
        for tile, held in placement.held.items():
            assert [placed.name for placed in held] == [name for name, of in tile_of.items() if of == tile]
            for placed_part in held:
                assert placed_part.part is parts.part(placed_part.name)
                assert placed_part.population.size == placed_part.part.size == len(placed_part.layout.slots)
        assert placement.output_axons.tolist() == program.output_axons.tolist()
        assert placement.input_axons.tolist() == program.input_axons.tolist()
        several += len(parts.parts) > len(placement.held) > 1


def test_outputs_come_in_the_order_of_the_neurons():
    """The order does not depend on the tiles that hold the parts, nor on the order inside a tile."""
    network = chain(3, 6, v_width=12)
    parts = split(network, {"a": [2, 4]})
    names = [part.name for part in parts.parts]
    program = place_assigned(Assignment(parts=parts, tile_of=dict(zip(names, (3, 1, 2), strict=True))), mesh_of(2, 2))
    placement = placement_of(program)
    joined = np.concatenate([placement.axons[name] for name in names])
    assert placement.output_axons.tolist() == joined.tolist()
    assert len(set(joined.tolist())) == 6


def test_spikes_go_to_sinks_and_the_host_but_not_to_their_own_tile():
    network = chain(3, 6, 4, v_width=12)
    for tile_of, observe, wanted in (
        ({"a": 1, "b": 2}, (), {"a": {2}, "b": {0}}),
        ({"a": 1, "b": 1}, (), {"a": set(), "b": {0}}),
        ({"a": 1, "b": 2}, ("a",), {"a": {0, 2}, "b": {0}}),
    ):
        assignment = Assignment(parts=split(network, {}), tile_of=tile_of)
        placement = placement_of(place_assigned(assignment, mesh_of(2, 2), observe=observe))
        assert {name: set(placement.destinations(name)) for name in "ab"} == wanted


def test_an_input_without_rows_is_numbered_in_order(request):
    placement = placement_of(placed(network_of(request.node.name)))
    assert placement.input_axons.tolist() == placement.axons[INPUT].tolist()
    axons = {name: axons for name, axons in placement.axons.items() if name != INPUT}
    without = type(placement)(**{**vars(placement), "axons": axons})
    assert without.input_axons.tolist() == list(range(12))


def test_ports_in_the_order_of_input_and_output(request):
    network = network_of(request.node.name)
    placement = placement_of(placed(network))
    assert list(placement.ports) == [2, 4]
    outputs = {part.name for part in placement.parts.parts_of(network.output)}
    for part in placement.parts.parts:
        assert (4 in placement.destinations(part.name)) == (part.name in outputs), "the output goes to the chip"
    assert placement_of(placed(network, input_from=None, output_to=None, observe=[])).ports == {}


def test_the_unit_of_each_tile(request):
    shape = AttentionParameters(tokens=4, features=2, heads=2)
    network = random_attention_network(rng_of(request.node.name), shape, count=2)
    placement = placement_of(place(network, fabric_of(shape, units=(3, 5), columns=3)))
    assert set(placement.units) == {3, 5}
    assert placement.units[placement.tile_of[NAME]] is network.unit(NAME)
    assert placement_of(place(chain(2, 2, v_width=12), FabricConfig(core=SMALL))).units == {}
