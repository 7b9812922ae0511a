"""Helpers for planted bugs around the neurons: the cores and networks in which an engine must show each bug.

Each bug has its own networks, seeded by its name, and is found if the comparison with the reference fails.
"""

from __future__ import annotations

import dataclasses
import types

import pytest

from harness.cores import NARROW
from harness.engine import EngineSimulator, assert_equal_to_reference, run_engine
from harness.mutations import plant
from harness.networks import random_network, random_spikes, rng_of
from spikeloom.compiler.place import place
from spikeloom.hdl.core import engine
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.reference import simulate

CORE = NARROW
SHIFTS = dataclasses.replace(CORE, multiplier=False, shifts=(2, 3))
LUT_RAM = dataclasses.replace(CORE, neurons=64, lanes=4, accumulator_memory="distributed", state_memory="distributed")
BANKS = dataclasses.replace(LUT_RAM, lanes=16, neurons=96, axons=256, lane_banks=2)
SHORT_ROWS = dataclasses.replace(CORE, lanes=4)  # rows of one and two words, so that sums follow each other immediately


def compare(core: CoreParameters, engine: EngineSimulator, name: str) -> None:
    """Compare an engine with the reference on the network ``name``."""
    rng = rng_of(name)
    busy_output = "waits for the one before" in name  # many spikes, and an output that is rarely ready
    sizes = (40, 14, 12) if core.lanes == BANKS.lanes else (14, 9, 6) if busy_output else (5, 5, 4)
    network = random_network(rng, core, inputs=6, sizes=sizes)
    spikes = random_spikes(rng, 8, 2, network.inputs)
    program = place(network, FabricConfig(core=core))
    reference = simulate(network, spikes, record=[p.name for p in network.populations])
    run = run_engine(
        engine,
        program,
        spikes,
        rng,
        idle=0,
        stall=0.9 if busy_output else 0.3,
        shuffle=False,
        timeout=20_000 if busy_output else 6_000,  # the longest run takes 1,500 cycles; a bug may make it hang
    )
    assert_equal_to_reference(run, network, program, spikes, reference)


def networks_of(mutation: str) -> list[tuple[CoreParameters, str]]:
    """The core that shows the bug ``mutation``, and the names of the networks for it."""
    core = CORE
    if "LUT RAM" in mutation:
        core = LUT_RAM
    elif "banks of lanes" in mutation:
        core = BANKS
    elif "forwarding" in mutation or "touched" in mutation:
        core = SHORT_ROWS
    elif mutation == "leak shift":
        core = SHIFTS
    return [(core, f"{mutation} {case}") for case in range(12)]


def assert_shown(mutation: str, engine_module: types.ModuleType = engine) -> None:
    """Assert that an engine with the bug ``mutation`` differs from the reference on one of its networks."""
    simulator = None
    for core, name in networks_of(mutation):
        simulator = simulator or EngineSimulator(engine_module.LifEngine(core))  # the core is the same for each
        try:
            compare(core, simulator, name)
        except AssertionError:
            return
    pytest.fail(f"the planted bug in {mutation!r} must be found")


def assert_found(
    monkeypatch: pytest.MonkeyPatch,
    mutation: str,
    user: types.ModuleType,
    module: types.ModuleType,
    old: str,
    new: str,
) -> None:
    """Like `assert_shown`, where ``user`` imports ``module`` with ``old`` replaced by ``new``."""
    plant(monkeypatch, user.__name__, module, old, new)
    assert_shown(mutation)
