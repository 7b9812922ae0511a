"""The compiled core, compared like the simulated engine in every spike, membrane, state and counter.

If a core gets a new state memory, or another marker of cleared accumulators, adapt `state_paths` and `TOUCHED`. A new
neuron model or kind of connection needs no change here: everything that `harness.networks` generates and
`assert_equal_to_reference` compares is compared here too. A feature that a core must be built with needs a core in
`CORES`.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np

from harness.cores import NARROW_64
from harness.engine import EngineRun, joined
from harness.networks import random_network
from spikeloom.compiler.place import place
from spikeloom.compiler.program import Program
from spikeloom.hdl.core.tile import LifCore
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.simulators.build import compile_design
from spikeloom.simulators.compiled import CompiledSimulator, Pauses

BUILD = Path(__file__).parents[2] / "build" / "cosim"
"""Folder of the libraries, which is kept so that only a change of the hardware compiles again."""

TOUCHED = ("engine.accumulator.touched0.memory", "engine.accumulator.touched1.memory")  # 0 after a step of their parity

_ALL = NARROW_64
CORES = {
    "one lane": _ALL,
    "two lanes, 4-bit weights": dataclasses.replace(_ALL, lanes=2, weight_width=4, accumulator_width=12),
    "four lanes, shifts": dataclasses.replace(_ALL, lanes=4, multiplier=False, shifts=(3, 1, 5), v_width=16),
    "eight lanes, 16-bit weights": dataclasses.replace(
        _ALL, lanes=8, weight_width=16, accumulator_width=24, v_width=24, beta_fraction=14
    ),
    "two lanes, every model": dataclasses.replace(
        _ALL,
        lanes=2,
        neurons=58,
        accumulator_width=24,
        synaptic_current=True,
        adaptation=True,
        delay_line=True,
        noise_bits=8,
        value_width=6,
        second_threshold=True,
        count_width=4,
        lower_bound=True,
    ),
    "two lanes, maps and lists": dataclasses.replace(
        _ALL,
        lanes=2,
        neurons=2 * 450,
        axons=300,
        weight_words=8192,
        populations=8,
        coordinate_width=3,
        geometries=32,
        sparse=True,
    ),
    "sixteen lanes, two banks": dataclasses.replace(
        _ALL, lanes=16, lane_banks=2, neurons=128, accumulator_memory="distributed", state_memory="distributed"
    ),
    "sixteen lanes, fewest features": dataclasses.replace(
        _ALL,
        lanes=16,
        neurons=128,
        weight_width=2,
        accumulator_width=9,
        v_width=8,
        multiplier=False,
        reset_value=False,
        reset_delay=False,
        refractory_width=0,
        readout=False,
    ),
}
"""The cores that are compiled for tests. Each takes 10 s or more to compile, so networks share them."""


def state_paths(core: CoreParameters) -> list[str]:
    """The paths of the state memories of a core, one per bank."""
    return [f"engine.sweep.bank{number}.states.memory" for number in range(core.lane_banks)]


def kept_states(simulator: CompiledSimulator, core: CoreParameters, paths: list[str]) -> list[list[int]]:
    """The state words after each step, from the memories at ``paths``."""
    steps = zip(*(simulator.kept(path) for path in paths), strict=True)
    return [[joined(list(parts), core) for parts in zip(*words, strict=True)] for words in steps]


def placed(rng: np.random.Generator, core: CoreParameters, **options: Any) -> tuple[QuantisedNetwork, Program]:
    """A random network, and its program with every population observed."""
    network = random_network(rng, core, **options)
    names = [p.name for p in network.populations if p.parameters.spiking]
    return network, place(network, FabricConfig(core=core), observe=names)


@functools.cache
def library(name: str) -> Path:
    """The library of one of `CORES`."""
    return compile_design(LifCore(CORES[name]), BUILD).library


def run_compiled(
    library: Path,
    program: Program,
    spikes: np.ndarray,
    *,
    pauses: Pauses | None = None,
    credit: int = 1,
    random_start: int | None = None,
    prefix: str = "",
) -> EngineRun:
    """Like `run_engine`, on the compiled core, whose path in the design is ``prefix``.

    With credit for one step at a time, every state is stable when it is read, for any core; with credit for two, steps
    overlap and states are not read (``states`` stays empty).
    """
    steps, batch, _ = spikes.shape
    core = program.fabric.core
    with CompiledSimulator(
        library, pauses=pauses, credit=credit, random_start=random_start, timeout_cycles=20_000
    ) as simulator:
        simulator.load(program)
        if credit == 1:
            for path in (*state_paths(core), *TOUCHED):
                simulator.inspect(prefix + path)
        simulator.feed(spikes, program.input_axons)
        simulator.advance(steps * batch)
        simulator.finish()
        said = simulator.take()
        run = EngineRun(
            spikes=set(zip(said.spike_step.tolist(), said.spike_axon.tolist(), strict=True)),
            packets=said.spike_step.size + said.value_step.size + said.ticks.size,
            words_added=simulator.read_register("words"),
            cycles=simulator.cycles,
        )
        run.values.update(dict.fromkeys(run.spikes, 1))
        valued = zip(said.value_step.tolist(), said.value_axon.tolist(), strict=True)
        found = dict(zip(valued, said.value.tolist(), strict=True))
        if program.membranes:
            run.membranes.update(found)
        else:  # graded spikes
            run.spikes.update(found)
            run.values.update(found)
        events = said.spike_step.size + said.value_step.size
        assert len(run.spikes) + len(run.membranes) == events, "a slot must fire at most once a step"
        if credit == 1:
            run.states = kept_states(simulator, core, [prefix + path for path in state_paths(core)])
            touched = [simulator.kept(prefix + path) for path in TOUCHED]
            run.touched = [touched[step & 1][step] for step in range(steps * batch)]
    return run
