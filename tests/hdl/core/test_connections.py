"""The LIF engine with convolutions, poolings and pruned matrices equals the reference in every state."""

import dataclasses

import numpy as np
import pytest
from harness.engine import assert_equal_to_reference, run_engine
from harness.networks import random_spatial_network, random_spikes, rng_of

from spikeloom.compiler.place import place
from spikeloom.hdl.core.engine import LifEngine
from spikeloom.sim.core.neuron import NeuronParameters, Reset
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.projection import Convolution
from spikeloom.sim.network.reference import simulate

CORE = CoreParameters(
    lanes=2,
    neurons=512,
    axons=256,
    weight_words=4096,
    populations=8,
    v_width=16,
    accumulator_width=20,
    beta_fraction=8,
    coordinate_width=3,
    geometries=32,
)


def check(rng, core, network, spikes, **bench):
    """Run the RTL and the reference; return the reference and the run."""
    program = place(network, FabricConfig(core=core))
    reference = simulate(network, spikes, record=[p.name for p in network.populations])
    run = run_engine(LifEngine(core), program, spikes, rng, **bench)
    assert_equal_to_reference(run, network, program, spikes, reference)
    return reference, run


def is_interesting(reference):
    """In every population that spikes at all, some neurons fire, and not all of them always."""
    fired = {name: spikes.mean() for name, spikes in reference.spikes.items()}
    return sum(0 < mean < 1 for mean in fired.values()) >= 2


@pytest.mark.parametrize(
    ("lanes", "sparse"),
    [
        *((1, False), (1, True), (2, False), (4, True)),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((2, True), (4, False), (8, False), (8, True))),
    ],
)
def test_random_networks(request, lanes, sparse):
    rng = rng_of(request.node.name)
    core = dataclasses.replace(CORE, lanes=lanes, sparse=sparse)
    network = random_spatial_network(rng, core, extent=6)
    reference, _ = check(rng, core, network, random_spikes(rng, 4, 2, network.inputs), idle=0.1)
    assert is_interesting(reference)


@pytest.mark.parametrize("weight_width", [1, 2, 4, 16])
def test_weight_widths(request, weight_width):
    rng = rng_of(request.node.name)
    core = dataclasses.replace(CORE, weight_width=weight_width, accumulator_width=weight_width + 12)
    network = random_spatial_network(rng, core, extent=5)
    reference, _ = check(rng, core, network, random_spikes(rng, 4, 1, network.inputs), idle=0.1)
    assert is_interesting(reference)


def test_membranes_of_a_map_are_read_out(request):
    """Neurons that do not spike, in slots that are not in the order of their numbers."""
    rng = rng_of(request.node.name)
    convolution = Convolution(input_shape=(2, 5, 5), output_channels=3, kernel=(3, 3), stride=(2, 2), padding=(1, 1))
    weight = rng.integers(-90, 90, convolution.weight_shape)
    size = int(np.prod(convolution.output_shape))
    network = QuantisedNetwork(
        name="map",
        inputs=50,
        populations=(
            QuantisedPopulation(
                name="a", parameters=NeuronParameters(size=size, bias=np.arange(size), spiking=False, reset=Reset.NONE)
            ),
        ),
        connections=(QuantisedConnection(source=INPUT, target="a", weight=weight, convolution=convolution),),
        output="a",
    )
    core = dataclasses.replace(CORE, lanes=2)
    reference, run = check(rng, core, network, random_spikes(rng, 4, 2, 50))
    assert len(set(run.membranes.values())) > 50
    assert np.ptp(reference.states["a"].v) > 100


def test_a_word_in_every_cycle_through_the_engine(request):
    """A depthwise convolution: each event is one word, some for the same accumulators as the event before."""
    rng = rng_of(request.node.name)
    convolution = Convolution(input_shape=(2, 8, 8), output_channels=2, kernel=(2, 2), stride=(2, 2), groups=2)
    weight = rng.integers(1, 90, convolution.weight_shape)
    network = QuantisedNetwork(
        name="pool",
        inputs=128,
        populations=(QuantisedPopulation(name="a", parameters=NeuronParameters(size=32, threshold=600)),),
        connections=(QuantisedConnection(source=INPUT, target="a", weight=weight, convolution=convolution),),
        output="a",
    )
    core = dataclasses.replace(CORE, lanes=1)
    spikes = np.ones((6, 1, 128), bool)
    reference, run = check(rng, core, network, spikes, idle=0, stall=0, shuffle=False)
    assert run.words_added == 6 * 128
    assert run.step_cycles <= 128 + 32 + 32
    assert reference.spikes["a"].any()
