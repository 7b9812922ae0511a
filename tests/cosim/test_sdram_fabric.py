"""Cores on a mesh that share an SDRAM: every state is that of the reference, and of the same cores with block RAM."""

import dataclasses

import pytest
from harness.fabric import SMALL, mesh_of, random_program, run_and_compare, tiles_library
from harness.networks import random_spikes, rng_of
from harness.weight_memory import BUSY

from spikeloom.compiler.place import place_assigned
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.simulators.compiled import Pauses

BLOCK = mesh_of(2, 2)
STREAMED = dataclasses.replace(SMALL, weight_memory="sdram")
CORES = (STREAMED, dataclasses.replace(SMALL, weight_words=8, streamed_words=512), STREAMED)
FABRIC = FabricConfig(name="shared", tiles=(None, *CORES), mesh=BLOCK.mesh, sdram=BUSY)
PAUSES = (None, Pauses(idle=0.3, stall=0.3, seed=1), Pauses(stall=0.9, seed=2))


@pytest.mark.parametrize("number", range(6))
def test_random_networks(request, number):
    """Loops, delays, populations in parts: on three cores, of which one has weights in block RAM, too."""
    rng = rng_of(request.node.name)
    network, near = random_program(rng, BLOCK, readout=number == 0)
    observe = [name for name, _ in near.observed]
    far = place_assigned(near.assignment, FABRIC, observe=observe)
    spikes = random_spikes(rng, 6, 3, network.inputs)
    shared, block = (
        run_and_compare(
            tiles_library(program.fabric), network, program, spikes, pauses=PAUSES[number % 3], random_start=number + 1
        )
        for program in (far, near)
    )
    assert shared.counters == block.counters
    assert shared.spikes > 0
    assert shared.tiles > 1 or number
