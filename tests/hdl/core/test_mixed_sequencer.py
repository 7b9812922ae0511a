"""Cores with weights in block RAM and in SDRAM equal the reference, and the core with block RAM only, in all states."""

import dataclasses

import numpy as np
import pytest
from harness.cores import NARROW_64
from harness.engine import assert_equal_to_reference, run_engine
from harness.mutations import plant
from harness.networks import random_network, random_spatial_network, random_spikes, rng_of
from harness.streamed import CoreWithSdram, RandomMemory
from harness.weight_memory import BUSY

from spikeloom.compiler.layout import layouts
from spikeloom.compiler.place import place
from spikeloom.compiler.synapses import rows_of
from spikeloom.hdl.core import mixed_sequencer as module
from spikeloom.hdl.core.engine import LifEngine
from spikeloom.sim.core.row_reader import RowTables
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.population import INPUT
from spikeloom.sim.network.reference import simulate
from spikeloom.sim.sdram.commands import SdramCommand

NEAR = dataclasses.replace(NARROW_64, lanes=4)
MAPS = dataclasses.replace(
    NEAR,
    neurons=512,
    axons=512,
    weight_words=4096,
    populations=8,
    accumulator_width=20,
    coordinate_width=3,
    geometries=32,
)
SLOW_MEMORY = {"stall": 0.6, "long_stall": (3, 1000)}
CASES = {
    "fast": (NEAR, {"stall": 0.0}),
    "slow": (NEAR, SLOW_MEMORY),
    "banks, graded": (dataclasses.replace(NEAR, lanes=16, lane_banks=2, neurons=128, value_width=4), SLOW_MEMORY),
    "sparse": (dataclasses.replace(NEAR, sparse=True), SLOW_MEMORY),
    "coordinates": (MAPS, SLOW_MEMORY),
    "coordinates, sparse": (dataclasses.replace(MAPS, sparse=True), SLOW_MEMORY),
}


def networks(rng, near):
    """A network, its core with both kinds of weights, of which about half of the plain rows are streamed, and its
    spikes; with delays, also in rows of both kinds."""
    if near.coordinate_width:
        network = random_spatial_network(rng, near, extent=6)
        # A dense matrix from the same source as the sparse ones.
        weight = rng.integers(1, 40, (network.size("out"), network.size("flat")))
        network = dataclasses.replace(
            network,
            connections=tuple(
                dataclasses.replace(c, weight=weight) if (c.source, c.target) == ("flat", "out") else c
                for c in network.connections
            ),
        )
    else:
        network = random_network(rng, near, inputs=12, sizes=(13, 9))
        late = tuple(
            # Matrices from the input without a 0 have plain rows in a core with sparse ones, too.
            dataclasses.replace(c, weight=np.where(c.weight == 0, 1, c.weight))
            if c.source == INPUT
            else dataclasses.replace(c, delay=1)
            for c in network.connections
        )
        network = dataclasses.replace(network, connections=late)
    spikes = random_spikes(rng, 4, 2, network.inputs)
    layout = layouts(network, near.lanes)

    def rows(weight_words):
        core = dataclasses.replace(near, weight_words=weight_words, streamed_words=1 << 12)
        return core, rows_of(network, core, layout)

    # Without room for plain rows, and with room for all of them.
    least, most = (rows(words)[1].weight_words for words in (1, 1 << 14))
    core, found = rows((least + most) // 2)
    assert found.weight_words > least
    assert found.streamed_words > 3
    return network, core, spikes


def both_kinds(network, core, spikes, reference):
    """Weight words of each kind that are added in a run, by the model of the row reader."""
    rows = rows_of(network, core, layouts(network, core.lanes))
    tables, counts = RowTables(core, rows.images), [0, 0]
    for source, axons in rows.axons.items():
        fired = (spikes if source == INPUT else reference.spikes[source]) != 0
        events = fired.sum(axis=(0, 1)), fired[:-1].sum(axis=(0, 1))
        for neuron, axon in enumerate(axons):
            for word in tables.words(int(axon)):
                counts[word.streamed] += int(events[word.delay][neuron])
    return counts


def check(rng, network: QuantisedNetwork, core, spikes, *, timeout=9000, **memory):
    """Run with a `RandomMemory` and compare; return the memory, the run, and the reference."""
    program = place(network, FabricConfig(core=core, sdram=BUSY))
    reference = simulate(network, spikes, record=[p.name for p in network.populations])
    engine = LifEngine(core)
    words = RandomMemory(engine, program, rng, **memory)
    run = run_engine(engine, program, spikes, rng, idle=0.1, stall=0.1, timeout=timeout, background=[words.process])
    assert_equal_to_reference(run, network, program, spikes, reference)
    near, there = both_kinds(network, core, spikes, reference)
    # Words of rows that are dropped after the last step of a sample are not read.
    assert (words.given, run.words_added) == (there, near + there)
    return words, run, reference, (near, there)


@pytest.mark.parametrize(
    "case",
    [
        "fast",
        "slow",
        pytest.param("banks, graded", marks=pytest.mark.slow),
        "sparse",
        "coordinates",
        pytest.param("coordinates, sparse", marks=pytest.mark.slow),
    ],
)
def test_random_networks(request, case):
    """The slow memory stalls once for 1,000 cycles."""
    rng = rng_of(request.node.name)
    near, memory = CASES[case]
    network, core, spikes = networks(rng, near)
    words, run, reference, (here, there) = check(rng, network, core, spikes, **memory)
    fired = sum(int(s.sum()) for s in reference.spikes.values())
    assert 0 < fired < sum(s.size for s in reference.spikes.values())
    assert min(here, there) > 3
    if memory is SLOW_MEMORY:
        assert run.cycles > 1000
    if case == "slow":
        assert min(here, there) > 50
        assert words.most_waiting > 1, "rows are requested ahead"


def test_states_are_those_of_a_core_with_block_ram_only(request):
    """Not only those of the neurons that exist: every word of the state memory, after every step."""
    rng = rng_of(request.node.name)
    network, core, spikes = networks(rng, NEAR)
    _, mixed, *_ = check(rng, network, core, spikes, stall=0.3)
    program = place(network, FabricConfig(core=NEAR))
    run = run_engine(LifEngine(NEAR), program, spikes, rng, idle=0.1, stall=0.1)
    assert mixed.states == run.states
    assert mixed.words_added == run.words_added


def test_weights_in_sdram(request):
    """The whole weight memory, with a chip that is refreshed every microsecond behind an asynchronous clock."""
    rng = rng_of(request.node.name)
    network, core, spikes = networks(rng, NEAR)
    program = place(network, FabricConfig(core=core, sdram=BUSY))
    reference = simulate(network, spikes, record=[p.name for p in network.populations])
    design = CoreWithSdram(LifEngine(core), BUSY, program)
    run = run_engine(
        design,
        program,
        spikes,
        rng,
        idle=0.1,
        stall=0.1,
        timeout=12_000,
        background=[design.chip],
        prepare=design.prepare,
    )
    assert_equal_to_reference(run, network, program, spikes, reference)
    assert run.words_added == sum(both_kinds(network, core, spikes, reference))
    assert design.device.counts[SdramCommand.REFRESH] > 8 + 3


MUTATIONS = {
    "rows on their way": ("rows.eq(rows + entering - leaving)", "rows.eq(entering)"),
    "target of a word": ("current.target.eq(current.target + 1), ", ""),
    "rows dropped": ("dropped = streamed & given.row.delay & given.last", "dropped = streamed & given.parity"),
    "bank of a delayed row": ("head.parity ^ head.other ^ head.row.delay", "head.parity ^ head.other"),
    "two words at once": ("& (~active | ends) & ~self.rows_busy", "& (~active | ends)"),
    "rows during a streamed one": ("~head.row.streamed & ~active", "~head.row.streamed"),
    "kind of a word": ("self.word.streamed.eq(1)", "self.word.streamed.eq(0)"),
    "words of no row": ("self.weights.ready.eq(active)", "self.weights.ready.eq(1)"),
}


@pytest.mark.parametrize("mutation", [None, *MUTATIONS])
def test_a_planted_bug_is_found(monkeypatch, mutation):
    rng = rng_of("a planted bug")
    # Long rows and a fast memory, so that a word is there before the row in front of it has ended.
    is_close = mutation == "two words at once"
    everything, stall = networks(rng, NARROW_64 if is_close else NEAR), 0.0 if is_close else 0.3
    if mutation is None:
        check(rng, *everything, stall=stall, timeout=2000)
        return
    plant(monkeypatch, "spikeloom.hdl.core", module, *MUTATIONS[mutation])
    with pytest.raises((AssertionError, IndexError)):
        check(rng, *everything, stall=stall, timeout=4000 if is_close else 2000)
