"""Any network on any core: the RTL equals the reference in every state.

Cores and networks are drawn from all features. The environment variable `SPIKELOOM_EXAMPLES` sets a larger number of
draws than the default. Draws for compiled cores are in ``tests/sw/simulators/test_compiled.py``.
"""

import collections
import os
import re
from dataclasses import replace

import numpy as np
from harness.engine import assert_equal_to_reference, expected_words, run_engine
from harness.networks import (
    TRAITS,
    any_of,
    random_core,
    random_network,
    random_spatial_network,
    random_spikes,
    traits,
    with_several_words,
)

from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.place import place
from spikeloom.hdl.core.engine import LifEngine
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.reference import simulate

EXAMPLES = 12
SEED = 2
"""Its first draws show every trait, and a share of firing networks that is usual."""
SEVERAL_EXAMPLES, SEVERAL_SEED = 6, 0
SHORT = re.compile(r"it needs \d+ [a-z]+|could overflow the accumulator, their sum needs \d+ bits")
"""The resource that a refusal names."""


def run_case(rng, seen, *, several_words=False):
    """Run a random network on a random core, which may add several words per cycle, and record in ``seen`` what
    occurred."""
    maps = any_of(rng, [False, False, True])
    core = random_core(rng, maps=maps)
    if several_words:
        core = with_several_words(rng, core)
    readout = core.readout and any_of(rng, [False, True])
    if maps:
        network = random_spatial_network(rng, core, extent=5, readout=readout)
    else:
        # Rows of several words, if the core adds as many at once.
        largest = 40 if several_words else 10
        sizes = tuple(map(int, rng.integers(1, largest, rng.integers(1, 5))))
        network = random_network(rng, core, inputs=int(rng.integers(1, 13)), sizes=sizes, readout=readout)
    spikes = random_spikes(rng, 3 if maps else 5, 2, network.inputs)
    idle, stall = (any_of(rng, [0.0, 0.3, 0.8]) for _ in range(2))
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
    run = run_engine(LifEngine(core), program, spikes, rng, idle=idle, stall=stall)
    assert_equal_to_reference(run, network, program, spikes, reference)
    seen.update(traits(network, core))
    if several_words:
        seen[f"{core.words_per_cycle} words per cycle"] += 1
        seen["maps" if maps else "no maps"] += 1
        one_by_one = expected_words(network, replace(core, words_per_cycle=1), spikes, reference)
        seen["groups"] += run.words_added < one_by_one
    seen["ran"] += 1
    seen["fired"] += any(0 < fired.mean() < 1 for fired in reference.spikes.values())


def test_any_network_agrees_in_every_state():
    seen = collections.Counter()
    for rng in np.random.default_rng(SEED).spawn(int(os.environ.get("SPIKELOOM_EXAMPLES", EXAMPLES))):
        run_case(rng, seen)
    assert not [trait for trait in TRAITS if not seen[trait]], "the draws must show everything"
    assert seen["fired"] > seen["ran"] / 3
    assert seen["ran"] > 2 * seen["refused"]


def test_any_network_agrees_with_several_words_per_cycle():
    seen = collections.Counter()
    for rng in np.random.default_rng(SEVERAL_SEED).spawn(int(os.environ.get("SPIKELOOM_EXAMPLES", SEVERAL_EXAMPLES))):
        run_case(rng, seen, several_words=True)
    traits_seen = ("2 words per cycle", "4 words per cycle", "8 words per cycle", "maps", "no maps", "list")
    assert not [trait for trait in traits_seen if not seen[trait]], seen
    assert seen["fired"] > seen["ran"] / 3
    assert seen["groups"] > seen["ran"] / 2
