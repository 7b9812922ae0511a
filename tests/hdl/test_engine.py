"""The LIF engine against the integer reference: every spike, membrane and state, under random stalls."""

import dataclasses

import numpy as np
import pytest
from harness.engine import assert_equal_to_reference, run_engine
from harness.networks import random_network, random_spikes, rng_of

from spikeloom.hdl.engine import LifEngine
from spikeloom.sim.core import CoreParameters
from spikeloom.sim.fabric import FabricConfig
from spikeloom.sim.reference import simulate
from spikeloom.sw.place import place

SMALL = CoreParameters(
    lanes=1, neurons=32, axons=128, weight_words=1024, v_width=12, accumulator_width=16, refractory_width=2
)


@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("leak", ["multiplier", "shifts", "none"])
def test_random_networks(request, lanes, leak):
    rng = rng_of(request.node.name)
    core = dataclasses.replace(
        SMALL,
        lanes=lanes,
        neurons=64,
        multiplier=leak == "multiplier",
        shifts=(3, 1, 5) if leak == "shifts" else (),
        beta_fraction=8,
        reset_value=leak != "none",
        reset_delay=leak != "none",
        refractory_width=0 if leak == "none" else 2,
    )
    network = random_network(rng, core)
    program = place(network, FabricConfig(core=core))
    spikes = random_spikes(rng, 6, 2, network.inputs)
    reference = simulate(network, spikes, record=[p.name for p in network.populations])
    run = run_engine(LifEngine(core), program, spikes, rng)
    fired = sum(int(s.sum()) for s in reference.spikes.values())
    assert 0 < fired < sum(s.size for s in reference.spikes.values())
    assert_equal_to_reference(run, network, program, spikes, reference)
