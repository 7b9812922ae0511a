"""Weight words per cycle that a core adds while events wait. ``python -m harness.rate`` prints a table."""

from __future__ import annotations

import dataclasses

import numpy as np

from harness.engine import EngineRun, assert_equal_to_reference, run_engine
from harness.networks import rng_of
from spikeloom.compiler.place import place
from spikeloom.hdl.core.engine import LifEngine
from spikeloom.sim.core.neuron import NeuronParameters
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.reference import simulate

__all__ = ["rate_run"]

EVENTS, STEPS = 60, 4
CORE = CoreParameters(
    neurons=1024, axons=512, weight_words=8192, v_width=16, multiplier=False, shifts=(2,), reset_value=False
)


def rate_run(lanes: int, words: int, chained: int = 1, **core: object) -> EngineRun:
    """Steps of 60 events at full speed, each reaching ``chained`` populations in rows of ``words`` words.

    All events of a step reach the same neurons, immediately after each other. The result equals the reference.
    """
    name = f"rate-{lanes}-{words}-{chained}"
    rng = rng_of(name)
    parameters = dataclasses.replace(CORE, lanes=lanes, neurons=max(CORE.neurons, 8 * lanes), **core)
    size = words * lanes
    network = QuantisedNetwork(
        name=name,
        inputs=EVENTS,
        populations=tuple(
            QuantisedPopulation(
                name=f"p{number}", parameters=NeuronParameters(size=size, v_width=16, threshold=300, leak_factor=2)
            )
            for number in range(chained)
        ),
        connections=tuple(
            QuantisedConnection(source=INPUT, target=f"p{number}", weight=rng.integers(-50, 60, (size, EVENTS)))
            for number in range(chained)
        ),
        output="p0",
    )
    program = place(network, FabricConfig(core=parameters))
    spikes = np.ones((STEPS, 1, EVENTS), bool)
    reference = simulate(network, spikes, record=[p.name for p in network.populations])
    run = run_engine(LifEngine(parameters), program, spikes, rng, idle=0, stall=0)
    assert_equal_to_reference(run, network, program, spikes, reference)
    return run


if __name__ == "__main__":
    print("lanes  words a row  rows an event    words  cycles with events waiting   share")
    for lanes in (1, 4, 16):
        for words, chained in ((1, 1), (2, 1), (3, 1), (4, 1), (8, 1), (1, 2), (1, 4), (2, 3)):
            run = rate_run(lanes, words, chained)
            share = run.words_added / run.waiting_cycles
            print(f"{lanes:5}{words:13}{chained:15}{run.words_added:9}{run.waiting_cycles:28}{share:8.1%}")
