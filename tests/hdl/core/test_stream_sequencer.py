"""Cores with streamed weights equal the reference in every state, at whatever time the words arrive."""

import dataclasses

import numpy as np
import pytest
from harness.cores import NARROW_64
from harness.engine import assert_equal_to_reference, run_engine
from harness.mutations import plant
from harness.networks import random_network, random_spikes, rng_of
from harness.streamed import CoreWithSdram, RandomMemory
from harness.weight_memory import BUSY, BUSY_32, LARGE

from spikeloom.compiler.layout import layouts
from spikeloom.compiler.place import place
from spikeloom.compiler.synapses import rows_of
from spikeloom.hdl.core import stream_sequencer as module
from spikeloom.hdl.core.engine import LifEngine
from spikeloom.sim.core.neuron import Leak, NeuronParameters
from spikeloom.sim.core.row_reader import RowTables
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.reference import simulate
from spikeloom.sim.sdram.commands import SdramCommand

CORE = dataclasses.replace(NARROW_64, lanes=4, weight_memory="sdram")
SLOW_MEMORY = {"stall": 0.6, "long_stall": (15, 1000)}


def network_and_spikes(rng, core, steps=4, *, more_delays=False):
    """A network with delayed connections, its program, spikes, and the reference with every state."""
    network = random_network(rng, core, inputs=12, sizes=(13, 9))
    if more_delays:
        late = tuple(
            dataclasses.replace(c, delay=int(c.delay or (rng.random() < 0.3 and c.source != INPUT)))
            for c in network.connections
        )
        network = dataclasses.replace(network, connections=late)
    if not any(connection.delay for connection in network.connections):
        late = tuple(dataclasses.replace(c, delay=int(c.source != INPUT)) for c in network.connections)
        network = dataclasses.replace(network, connections=late)
    assert any(connection.delay for connection in network.connections)
    spikes = random_spikes(rng, steps, 2, network.inputs)
    program = place(network, FabricConfig(core=core, sdram=BUSY))
    reference = simulate(network, spikes, record=[p.name for p in network.populations])
    return network, program, spikes, reference


def check(rng, core, network: QuantisedNetwork, program, spikes, reference, *, timeout=6000, **memory):
    """Run with a `RandomMemory` and compare; return the memory and the run."""
    engine = LifEngine(core)
    words = RandomMemory(engine, program, rng, **memory)
    run = run_engine(engine, program, spikes, rng, idle=0.1, stall=0.1, timeout=timeout, background=[words.process])
    assert_equal_to_reference(run, network, program, spikes, reference)
    return words, run


@pytest.mark.parametrize(
    ("case", "changes"),
    [("fast", {}), ("slow", {}), ("slow", {"lanes": 16, "lane_banks": 2, "neurons": 64}), ("slow", {"value_width": 4})],
    ids=["fast", "slow", "banks", "graded"],
)
def test_random_networks(request, case, changes):
    """The slow memory stalls once for 1,000 cycles."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(CORE, **changes)
    network, program, spikes, reference = network_and_spikes(rng, core, more_delays="value_width" in changes)
    memory = {"stall": 0.0} if case == "fast" else SLOW_MEMORY
    words, run = check(rng, core, network, program, spikes, reference, **memory)
    fired = sum(int(s.sum()) for s in reference.spikes.values())
    assert 0 < fired < sum(s.size for s in reference.spikes.values())
    # Words of rows that are dropped after the last step of a sample are not read.
    assert words.given == run.words_added > 20
    if case == "slow":
        assert run.cycles > 1000
        assert words.most_waiting > 2, "rows are requested ahead"


# The words of a core, in bits, and the chip: several words per burst, one, and several bursts per word.
IN_SDRAM = {
    "16 bits, 64 MB": ({"lanes": 2}, BUSY, LARGE),
    "32 bits, 32 MB": ({}, BUSY, None),
    "128 bits, 32-bit chip": ({"lanes": 16, "lane_banks": 2, "neurons": 64}, BUSY_32, None),
}


@pytest.mark.parametrize("case", [*list(IN_SDRAM)[:2], pytest.param("128 bits, 32-bit chip", marks=pytest.mark.slow)])
def test_weights_in_sdram(request, case):
    """The whole weight memory, with a chip that is refreshed every microsecond behind an asynchronous clock."""
    rng = rng_of(request.node.name)
    changes, sdram, chip = IN_SDRAM[case]
    core = dataclasses.replace(CORE, **changes)
    network, program, spikes, reference = network_and_spikes(rng, core, more_delays=True)
    design = CoreWithSdram(LifEngine(core), sdram, program, chip)
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
    assert run.words_added > 20
    assert design.device.counts[SdramCommand.REFRESH] > 8 + 3


LARGEST = dataclasses.replace(CORE, neurons=8192, axons=10_000, weight_words=1 << 15, accumulator_width=24)

LONG_ROWS = dataclasses.replace(BUSY, count_bits=13)
"""Rows of 2,048 bursts, as the boards have."""


def largest_network(rng, steps=3):
    """8,192 neurons with parameters of their own and 10,000 rows, four of them with 2,047 words, in a core of exactly
    this size; its spikes."""
    many, few, inputs = 8188, 4, 1804
    fields = {"threshold": (200, 900), "bias": (0, 300)}

    def parameters(size):
        own = {name: rng.integers(*bounds, size, endpoint=True) for name, bounds in fields.items()}
        return NeuronParameters(
            size=size,
            v_width=LARGEST.v_width,
            leak=Leak.MULTIPLY,
            leak_factor=rng.integers(100, 200, size),
            beta_fraction=LARGEST.beta_fraction,
            **own,
        )

    def connect(source, target, shape, delay):
        weight = rng.integers(1, 100, shape) * rng.choice([-1, 1], shape)
        return QuantisedConnection(source=source, target=target, weight=weight, delay=delay)

    network = QuantisedNetwork(
        name="largest",
        inputs=inputs,
        populations=tuple(
            QuantisedPopulation(name=name, parameters=parameters(size)) for name, size in (("many", many), ("few", few))
        ),
        connections=(
            connect(INPUT, "few", (few, inputs), 0),
            connect("many", "few", (few, many), 0),
            connect("few", "few", (few, few), 1),
            connect("few", "many", (many, few), 1),
        ),
        output="few",
    )
    return network, rng.random((steps, 1, inputs)) < 0.02


def test_a_core_of_8192_neurons_and_10000_rows(request):
    """The program fills it, and the rows of all sources add their weights, by the model of the row reader."""
    rng = rng_of(request.node.name)
    network, _ = largest_network(rng)
    program = place(network, FabricConfig(core=LARGEST, sdram=LONG_ROWS))
    used = {use.resource: (use.used, use.available) for use in program.uses}
    assert used["neurons"] == (8192, 8192)
    assert used["rows"] == (10_000, 10_000)
    images = {image.name: image.words for image in program.memories}
    tables, weights = RowTables(LARGEST, images), images["weights"].view(np.int8)
    layout = layouts(network, LARGEST.lanes)
    rows = rows_of(network, LARGEST, layout)
    for source, picked in ((INPUT, (0, 1803)), ("many", (0, 4095, 8187)), ("few", range(4))):
        for neuron in picked:
            added = np.zeros((2, LARGEST.words, LARGEST.lanes), np.int64)
            for word in tables.words(int(rows.axons[source][neuron])):
                added[word.delay, word.target] += weights[word.weight_address]
            expected = np.zeros((2, LARGEST.words * LARGEST.lanes), np.int64)
            for connection in network.connections_from(source):
                expected[connection.delay, layout[connection.target].slots] += connection.as_dense()[:, neuron]
            assert np.array_equal(added.reshape(2, -1), expected)


@pytest.mark.slow
def test_the_rtl_of_a_core_of_8192_neurons_and_10000_rows(request):
    rng = rng_of(request.node.name)
    network, spikes = largest_network(rng)
    program = place(network, FabricConfig(core=LARGEST, sdram=LONG_ROWS))
    reference = simulate(network, spikes, record=[p.name for p in network.populations])
    _, run = check(rng, LARGEST, network, program, spikes, reference, stall=0.1, timeout=60_000)
    fired = reference.spikes["many"].mean()
    assert 0 < fired < 0.5
    assert reference.spikes["few"].any()
    assert run.words_added > 2047


BUG_TIMEOUT = 2000
"""Cycles after which a design with a bug hangs; without one the run ends in fewer."""
MUTATIONS = {
    "rows on their way": ("rows.eq(rows + begins - (ends & (current.parity == number)))", "rows.eq(begins)"),
    "target of a word": ("current.target.eq(current.target + 1), ", ""),
    "rows dropped": ("dropped = row.delay & given.last", "dropped = row.delay & given.parity"),
    "bank of a delayed row": ("given.parity ^ given.other ^ row.delay", "given.parity ^ given.other"),
    "words of no row": ("self.weights.ready.eq(active)", "self.weights.ready.eq(1)"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(monkeypatch, mutation):
    rng = rng_of("a planted bug")
    everything = network_and_spikes(rng, CORE, more_delays=True)
    plant(monkeypatch, "spikeloom.hdl.core", module, *MUTATIONS[mutation])
    with pytest.raises((AssertionError, IndexError)):
        check(rng, CORE, *everything, stall=0.3, timeout=BUG_TIMEOUT)


def test_without_a_planted_bug_the_same_network_agrees():
    rng = rng_of("a planted bug")
    everything = network_and_spikes(rng, CORE, more_delays=True)
    _, run = check(rng, CORE, *everything, stall=0.3, timeout=BUG_TIMEOUT)
    assert run.cycles < BUG_TIMEOUT / 1.5
