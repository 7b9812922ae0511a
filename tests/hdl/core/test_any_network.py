"""Any network on any core: the RTL equals the reference in every state.

Cores and networks are drawn from all features. The environment variable `SPIKELOOM_EXAMPLES` sets a larger number of
draws than the default. Draws for compiled cores are in ``tests/sw/simulators/test_compiled.py``.
"""

import collections
import os
import re

import numpy as np
from harness.engine import assert_equal_to_reference, run_engine
from harness.networks import TRAITS, random_cores, random_network, random_spatial_network, random_spikes, traits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.place import place
from spikeloom.hdl.core.engine import LifEngine
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.reference import simulate

EXAMPLES = 12
SHORT = re.compile(r"it needs \d+ [a-z]+|could overflow the accumulator, their sum needs \d+ bits")
"""The resource that a refusal names."""


@st.composite
def cases(draw):
    maps = draw(st.sampled_from([False, False, True]))
    return {
        "maps": maps,
        "core": draw(random_cores(maps=maps)),
        "seed": draw(st.integers(0, 2**32 - 1)),
        "inputs": draw(st.integers(1, 12)),
        "sizes": tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))),
        "idle": draw(st.sampled_from([0.0, 0.3, 0.8])),
        "stall": draw(st.sampled_from([0.0, 0.3, 0.8])),
    }


def run_case(case, seen):
    """Run a random case, and record in ``seen`` what occurred."""
    core, rng = case["core"], np.random.default_rng(case["seed"])
    readout = core.readout and bool(case["seed"] & 1)
    if case["maps"]:
        network = random_spatial_network(rng, core, extent=5, readout=readout)
    else:
        network = random_network(rng, core, inputs=case["inputs"], sizes=case["sizes"], readout=readout)
    spikes = random_spikes(rng, 3 if case["maps"] else 5, 2, network.inputs)
    refusal = ""
    try:
        program = place(network, FabricConfig(core=core))
    except PlaceError as error:
        refusal = str(error)
    if refusal:
        assert SHORT.search(refusal), refusal
        seen["refused"] += 1
        return
    reference = simulate(network, spikes, record=[p.name for p in network.populations])
    run = run_engine(LifEngine(core), program, spikes, rng, idle=case["idle"], stall=case["stall"])
    assert_equal_to_reference(run, network, program, spikes, reference)
    seen.update(traits(network, core))
    seen["ran"] += 1
    seen["fired"] += any(0 < fired.mean() < 1 for fired in reference.spikes.values())


def test_any_network_agrees_in_every_state():
    seen = collections.Counter()

    @given(case=cases())
    @settings(
        max_examples=int(os.environ.get("SPIKELOOM_EXAMPLES", EXAMPLES)),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def run(case):
        run_case(case, seen)

    run()
    assert not [trait for trait in TRAITS if not seen[trait]], "the draws must show everything"
    assert seen["fired"] > seen["ran"] / 3
    assert seen["ran"] > 2 * seen["refused"]
