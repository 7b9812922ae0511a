"""Cores on a mesh that share an SDRAM: every state is that of the reference, and of the same cores with block RAM."""

import dataclasses

import numpy as np
import pytest
from harness.compiled import BUILD
from harness.fabric import SMALL, mesh_of, random_program, run_and_compare, tiles_library
from harness.networks import random_spikes, rng_of
from harness.weight_memory import BUSY

from spikeloom.compiler.place import place, place_assigned
from spikeloom.runners.compiled import CompiledRunner
from spikeloom.sim.core.neuron import Leak, NeuronParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.reference import simulate
from spikeloom.simulators.compiled import Pauses

BLOCK = mesh_of(2, 2)
STREAMED = dataclasses.replace(SMALL, weight_words=4096, weight_memory="sdram")
CORES = (STREAMED, dataclasses.replace(SMALL, weight_words=8, streamed_words=4096), STREAMED)
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


def layers(rng, hidden):
    """784-1000-10 at about a tenth of its size."""

    def connect(source, target, shape):
        weight = np.clip(rng.normal(0, 30, shape), -127, 127).astype(np.int64)
        return QuantisedConnection(source=source, target=target, weight=weight)

    def population(name, size):
        parameters = NeuronParameters(
            size=size, v_width=SMALL.v_width, leak=Leak.MULTIPLY, leak_factor=243, beta_fraction=8, threshold=200
        )
        return QuantisedPopulation(name=name, parameters=parameters)

    return QuantisedNetwork(
        name="scaled",
        inputs=98,
        populations=(population("hidden", hidden), population("digit", 10)),
        connections=(connect(INPUT, "hidden", (hidden, 98)), connect("hidden", "digit", (10, hidden))),
        output="digit",
    )


@pytest.mark.parametrize(("tiles", "hidden"), [(2, 110), (3, 124)])
def test_two_layers_on_several_cores(request, tiles, hidden):
    """Placed as on any mesh, and run at the clocks of a board with every spike compared."""
    rng = rng_of(request.node.name)
    network = layers(rng, hidden)
    program = place(network, FABRIC, tiles=tiles, observe=["hidden", "digit"])
    assert len({image.tile for image in program.memories}) == tiles
    spikes = rng.random((10, 4, network.inputs)) < 0.2
    result = CompiledRunner(program, BUILD, workers=1).run(spikes)
    reference = simulate(network, spikes)
    for name in ("hidden", "digit"):
        assert (result.spikes[name] == reference.spikes[name]).all()
        assert 0 < reference.spikes[name].mean() < 0.5
    used = [tile for tile, counters in result.counters.items() if counters.get("words")]
    assert len(used) == tiles
    assert 0.3 < result.sdram.used < 1
