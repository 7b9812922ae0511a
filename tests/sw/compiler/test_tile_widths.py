"""Tiles as wide as the weights that they hold."""

import dataclasses

import numpy as np
import pytest
from harness.cores import EXACT_MODELS
from harness.networks import random_network, random_spikes, rng_of, with_widths
from harness.tiles import assert_equal_to_reference, run_tiles

from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.place import place
from spikeloom.compiler.tile_widths import with_own_widths
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.fabric_file import fabric_from_json, fabric_to_json
from spikeloom.sim.network.reference import simulate

CORE = dataclasses.replace(EXACT_MODELS, lanes=2, neurons=64, axons=256, weight_words=1024, populations=16)
FABRIC = FabricConfig(name="net", core=CORE).on_mesh(2, 2)


def layers(rng, widths):
    network = random_network(rng, CORE, sizes=(9, 7, 5))
    names = [population.name for population in network.populations]
    return with_widths(network, dict(zip(names, widths, strict=True)))


def test_tiles_become_as_narrow_as_their_weights_and_run_the_same(request):
    rng = rng_of(request.node.name)
    network = layers(rng, (3, 3, 8))
    own = with_own_widths(FABRIC, [network])
    used = sorted(core.weight_width for core in own.cores.values())
    assert used == [3, 8, 8], "the third tile holds nothing"
    bits = [
        sum(c.memories["weights"].depth * c.memories["weights"].width for c in f.cores.values()) for f in (own, FABRIC)
    ]
    assert bits[0] * 24 == bits[1] * 19
    assert fabric_from_json(fabric_to_json(own)) == own
    program = place(network, own, observe=[p.name for p in network.populations if p.parameters.spiking])
    parts = program.assignment.parts.network
    held = {name: own.cores[tile].weight_width for name, tile in program.assignment.tile_of.items()}
    assert {(parts.width_of(name), width) for name, width in held.items()} == {(3, 3), (8, 8)}
    spikes = random_spikes(rng, 6, 3, network.inputs)
    reference = simulate(network, spikes)
    assert any(0 < fired.sum() < fired.size for fired in reference.spikes.values())
    assert_equal_to_reference(run_tiles(program, spikes.astype(int), rng), program, reference)


def test_a_tile_that_holds_two_widths_has_the_wider():
    rng = rng_of("two in one")
    one = FabricConfig(name="net", core=CORE).on_mesh(2, 1)
    assert [core.weight_width for core in with_own_widths(one, [layers(rng, (3, 5, 4))]).cores.values()] == [5]
    networks = [layers(rng, (3, 3, 3)), layers(rng, (6, 6, 6))]
    assert [core.weight_width for core in with_own_widths(one, networks).cores.values()] == [6]


def test_a_network_that_does_not_fit_is_refused():
    small = dataclasses.replace(CORE, neurons=8)
    with pytest.raises(PlaceError, match=r"^network .* does not fit "):
        with_own_widths(FabricConfig(name="net", core=small).on_mesh(2, 1), [layers(rng_of("large"), (3, 3, 8))])
    assert np.all([core.weight_width == 8 for core in FABRIC.cores.values()])
