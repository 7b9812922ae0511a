"""The LIF engine equals the integer reference in every spike, membrane and state, under random stalls."""

import dataclasses

import numpy as np
import pytest
from amaranth.hdl import Assert
from amaranth.sim import Simulator
from harness.block_ram import shallow_block_ram
from harness.cores import NARROW_64
from harness.engine import EngineSimulator, assert_equal_to_reference, run_engine
from harness.networks import random_network, random_spikes, rng_of
from harness.rate import rate_run

from spikeloom.compiler.place import place
from spikeloom.hdl.core.engine import LifEngine
from spikeloom.hdl.tech import ecp5_carry as ecp5
from spikeloom.hdl.tech.block_ram import BlockMemory
from spikeloom.sim.core.neuron import NeuronParameters, Reset
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.reference import simulate

SMALL = NARROW_64
WITHOUT = {"multiplier": False, "reset_value": False, "reset_delay": False, "refractory_width": 0, "readout": False}


def check(rng, core, network, spikes, *, simulator=None, **bench):
    """Run the RTL, in a ``simulator`` that others share or in its own, and the reference; return both runs."""
    program = place(network, FabricConfig(core=core))
    reference = simulate(network, spikes, record=[p.name for p in network.populations])
    run = run_engine(simulator or LifEngine(core), program, spikes, rng, **bench)
    assert_equal_to_reference(run, network, program, spikes, reference)
    return reference, run


def one_layer(weight, **parameters):
    """A network whose inputs lead directly to one population."""
    targets, inputs = weight.shape
    neurons = NeuronParameters(**({"size": targets, "v_width": 12, "threshold": 100} | parameters))
    return QuantisedNetwork(
        name="one-layer",
        inputs=inputs,
        populations=(QuantisedPopulation(name="a", parameters=neurons),),
        connections=(QuantisedConnection(source=INPUT, target="a", weight=weight),),
        output="a",
    )


@pytest.mark.parametrize(
    ("features", "lanes"),
    [
        *(("all", lanes) for lanes in (1, 2, 4, 8, 16, 32)),
        *((features, lanes) for features in ("shifts", "fewest") for lanes in (1, 4)),
        *(
            pytest.param(features, lanes, marks=pytest.mark.slow)
            for features in ("shifts", "fewest")
            for lanes in (2, 8, 16, 32)
        ),
    ],
)
def test_random_networks(request, lanes, features):
    rng = rng_of(request.node.name)
    changes = {"all": {}, "shifts": {"multiplier": False, "shifts": (3, 1, 5)}, "fewest": WITHOUT}[features]
    core = dataclasses.replace(SMALL, lanes=lanes, neurons=max(SMALL.neurons, 8 * lanes), **changes)
    network = random_network(rng, core)
    reference, _ = check(rng, core, network, random_spikes(rng, 6, 2, network.inputs))
    fired = sum(int(s.sum()) for s in reference.spikes.values())
    assert 0 < fired < sum(s.size for s in reference.spikes.values())


@pytest.mark.parametrize("lanes", [1, 4])
def test_delayed_connections_forward(request, lanes):
    """Spikes that reach a later population in the next step, as in networks of Spyx."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(SMALL, lanes=lanes, neurons=max(SMALL.neurons, 8 * lanes))
    network = random_network(rng, core)
    late = tuple(dataclasses.replace(c, delay=int(c.source != INPUT)) for c in network.connections)
    assert sum(c.delay for c in late) > sum(c.delay for c in network.connections)
    network = dataclasses.replace(network, connections=late)
    reference, _ = check(rng, core, network, random_spikes(rng, 6, 2, network.inputs))
    fired = sum(int(s.sum()) for s in reference.spikes.values())
    assert 0 < fired < sum(s.size for s in reference.spikes.values())


@pytest.mark.parametrize(("lanes", "lane_banks", "most_copies"), [(16, 1, 4), (16, 2, 4), (32, 4, 4), (32, 4, 2)])
def test_lanes_in_banks(request, monkeypatch, lanes, lane_banks, most_copies):
    """Neurons in every lane, and populations that wait for each other's spikes; membranes come back from all banks.

    If each register has few copies, control signals take two cycles to the banks, as with more banks.
    """
    monkeypatch.setattr(ecp5, "MOST_COPIES", most_copies)
    assert ecp5.far_cycles(lane_banks) == {1: 0, 2: 1, 4: 1 if most_copies == 4 else 2}[lane_banks]
    rng = rng_of(request.node.name)
    core = dataclasses.replace(
        SMALL, **WITHOUT | {"readout": True}, lanes=lanes, lane_banks=lane_banks, neurons=4 * lanes
    )
    network = random_network(rng, core, inputs=6, sizes=(lanes + 3, lanes - 1), readout=True)
    reference, run = check(rng, core, network, random_spikes(rng, 2, 1, network.inputs))
    fired = reference.spikes["layer0"].any(axis=(0, 1))[:lanes].reshape(lane_banks, -1)
    assert fired.any(axis=1).all()
    assert not fired.all()
    assert len(set(run.membranes.values())) > lanes / 2


@pytest.mark.parametrize("lanes", [1, 4, 16])
def test_output_registers_take_only_what_enabled_memories_give(request, monkeypatch, lanes):
    """`BlockMemory` requires this, although the simulated memory does not depend on it."""
    asserted = []

    def elaborate(memory, platform, original=BlockMemory.elaborate):
        m = original(memory, platform)
        m.d.sync += Assert(memory.enable | ~memory.output_enable)
        asserted.append(memory)
        return m

    monkeypatch.setattr(BlockMemory, "elaborate", elaborate)
    rng = rng_of(request.node.name)
    core = dataclasses.replace(SMALL, lanes=lanes, neurons=max(16, 8 * lanes))
    network = random_network(rng, core, sizes=(3 * lanes, 2 * lanes, 4))
    reference, _ = check(rng, core, network, random_spikes(rng, 6, 2, network.inputs))
    assert sum(fired.any() for fired in reference.spikes.values()) > 1
    assert len(asserted) > 8


@pytest.mark.parametrize("lanes", [1, 4])
def test_block_rams_that_are_not_deep_enough_change_nothing(request, monkeypatch, lanes):
    """Every memory of more than eight words consists of several block RAMs, one of which is selected."""
    shallow_block_ram(monkeypatch)
    rng = rng_of(request.node.name)
    core = dataclasses.replace(SMALL, lanes=lanes, sparse=lanes == 1)
    network = random_network(rng, core, sizes=(9, 17, 4))
    reference, _ = check(rng, core, network, random_spikes(rng, 4, 1, network.inputs))
    assert sum(fired.any() for fired in reference.spikes.values()) > 1


@pytest.mark.parametrize("lanes", [1, 4])
def test_membranes_are_read_out(request, lanes):
    rng = rng_of(request.node.name)
    core = dataclasses.replace(SMALL, lanes=lanes)
    network = random_network(rng, core, readout=True)
    reference, run = check(rng, core, network, random_spikes(rng, 5, 2, network.inputs))
    assert len(set(run.membranes.values())) > 5
    assert np.ptp(reference.states[network.output].v) > 0


@pytest.mark.parametrize("weight_width", [2, 4, 5, 8, 16])
@pytest.mark.parametrize("lanes", [1, 2])
def test_weight_widths(request, weight_width, lanes):
    rng = rng_of(request.node.name)
    core = dataclasses.replace(SMALL, lanes=lanes, weight_width=weight_width, accumulator_width=weight_width + 8)
    network = random_network(rng, core, sizes=(6, 3))
    reference, _ = check(rng, core, network, random_spikes(rng, 5, 2, network.inputs))
    assert any(fired.any() for fired in reference.spikes.values())


@pytest.mark.parametrize("lanes", [1, 4])
def test_every_event_to_the_same_neurons_counts(request, lanes):
    """Rows of one word, all for the same accumulators, in consecutive cycles: four spikes of weight 10 add up to 40."""
    core = dataclasses.replace(SMALL, lanes=lanes)
    network = one_layer(np.full((lanes, 12), 10), threshold=2000, reset=Reset.NONE)
    spikes = np.zeros((4, 1, 12), bool)
    for step, events in enumerate((1, 2, 4, 12)):
        spikes[step, 0, :events] = True
    reference, _ = check(rng_of(request.node.name), core, network, spikes, idle=0, stall=0, shuffle=False)
    assert reference.states["a"].v[:, 0, 0].tolist() == [10, 30, 70, 190]


@pytest.mark.parametrize("kind", ["block", "distributed"])
@pytest.mark.parametrize("lanes", [1, 4])
def test_words_that_are_no_power_of_two(request, lanes, kind):
    """The banks follow each other in a memory: the last words of the second one must exist too."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(
        SMALL, lanes=lanes, neurons=5 * lanes, accumulator_memory=kind, state_memory=kind, reset_value=False
    )
    network = random_network(rng, core, sizes=(2 * lanes, 2 * lanes, lanes))
    reference, _ = check(rng, core, network, random_spikes(rng, 6, 2, network.inputs))
    assert sum(fired.any() for fired in reference.spikes.values()) > 1


@pytest.mark.parametrize("words", [1, 5, 8])
def test_every_word_is_cleared_after_a_reset_and_takes_a_cycle(words):
    """Block RAM keeps what a step in progress has left; input and the host wait until it is erased."""
    engine = LifEngine(dataclasses.replace(SMALL, lanes=2, neurons=2 * words))
    touched = [memory.memory.data for memory in engine.accumulator.touched]
    idle = []

    async def bench(ctx):
        for data in touched:
            for word in range(words):
                ctx.set(data[word], 1)
        for _ in range(words + 4):
            idle.append(ctx.get(engine.idle))
            await ctx.tick()
        assert [ctx.get(data[word]) for data in touched for word in range(words)] == [0] * 2 * words

    simulator = Simulator(engine)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert idle.index(1) == words
    assert all(idle[words:])


def test_weights_in_memory_with_one_port(request):
    rng = rng_of(request.node.name)
    core = dataclasses.replace(SMALL, lanes=2, weight_memory="single-port")
    network = random_network(rng, core)
    reference, _ = check(rng, core, network, random_spikes(rng, 6, 2, network.inputs))
    assert sum(fired.any() for fired in reference.spikes.values()) > 1


def test_input_is_consumed_while_the_output_waits(request):
    """While the output is stalled, the whole input of the next step and its TICK are still accepted."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(SMALL, lanes=2)
    network = one_layer(rng.integers(1, 100, (12, 9)), threshold=0)
    program = place(network, FabricConfig(core=core))
    spikes = np.ones((2, 1, 9), bool)
    with pytest.raises(AssertionError, match="the engine must end its run, not hang"):
        run_engine(LifEngine(core), program, spikes, rng, stall=1.0, timeout=3000, on_accepted=(accepted := []).append)
    assert len(accepted) == 2 * (9 + 1)


def test_a_sample_starts_from_nothing(request):
    """State from the last step of a sample, including delayed spikes, does not reach the next sample."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(SMALL, lanes=2)
    weight = rng.integers(20, 60, (5, 5))
    network = one_layer(rng.integers(20, 60, (5, 3)), reset_delay=1, refractory=1)
    loop = QuantisedConnection(source="a", target="a", weight=weight, delay=1)
    network = dataclasses.replace(network, connections=(*network.connections, loop))
    spikes = np.zeros((3, 4, 3), bool)
    spikes[:, ::2] = True  # the second and the fourth sample have no input at all
    reference, _ = check(rng, core, network, spikes)
    assert reference.spikes["a"][-1, 0].any()
    assert not reference.spikes["a"][:, 1].any()


def test_sweep_time(request):
    """A sweep takes ceil(n / lanes) cycles plus a constant; this is measured in steps without events."""
    rng = rng_of(request.node.name)
    cycles = {}
    for lanes in (1, 4):
        core = dataclasses.replace(SMALL, lanes=lanes)
        simulator = EngineSimulator(LifEngine(core))
        for neurons in (16, 48):
            network = one_layer(np.ones((neurons, 2), np.int64))
            spikes = np.zeros((6, 1, 2), bool)  # the time of the last step counts
            _, run = check(rng, core, network, spikes, simulator=simulator, idle=0, stall=0)
            cycles[lanes, neurons] = run.step_cycles
    assert cycles[1, 48] - cycles[1, 16] == 32
    assert cycles[4, 48] - cycles[4, 16] == 8
    assert cycles[1, 16] - 16 == cycles[4, 16] - 4 <= 20


_ROWS = [(1, 1, 1), (1, 2, 1), (2, 3, 1), (1, 4, 1), (4, 5, 1), (1, 9, 1), (1, 1, 2), (2, 1, 3), (1, 2, 3)]


@pytest.mark.parametrize(
    ("lanes", "words", "chained", "memory"),
    [
        *((*row, memory) for row in _ROWS for memory in ("block", "distributed")),
        (64, 1, 1, "block"),
        pytest.param(64, 1, 1, "distributed", marks=pytest.mark.slow),
    ],
)
def test_a_word_is_added_in_each_cycle_in_which_events_wait(lanes, words, chained, memory):
    """The rate is at least 95 %, for rows of any length, all for the same neurons, one after the other, chained or
    not."""
    run = rate_run(lanes, words, chained, accumulator_memory=memory)
    assert run.words_added == 4 * 60 * words * chained
    assert run.words_added >= 0.95 * run.waiting_cycles


@pytest.mark.parametrize("memory", ["block", "distributed"])
def test_sums_on_their_way(request, memory):
    """Rows of one to four words in any order, so that words for the same accumulators occur at every distance."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(SMALL, lanes=2, accumulator_memory=memory)
    sizes = {"a": 2, "b": 4, "c": 6, "d": 8}
    network = QuantisedNetwork(
        name="distances",
        inputs=24,
        populations=tuple(
            QuantisedPopulation(name=n, parameters=NeuronParameters(size=size, v_width=12, threshold=50))
            for n, size in sizes.items()
        ),
        connections=tuple(
            QuantisedConnection(source=INPUT, target=n, weight=rng.integers(-9, 12, (size, 24)))
            for n, size in sizes.items()
        ),
        output="d",
    )
    spikes = rng.random((6, 2, 24)) < 0.7
    reference, _ = check(rng, core, network, spikes, idle=0.2, stall=0)
    assert all(0 < fired.sum() < fired.size for fired in reference.spikes.values())


@pytest.mark.parametrize("name", ["small", "medium"])  # `wide` is run in the compiled RTL
def test_named_fabrics(request, name):
    rng = rng_of(request.node.name)
    core = FABRICS[name].core
    network = random_network(rng, core, inputs=20, sizes=(21, 17, 5))
    reference, _ = check(rng, core, network, random_spikes(rng, 4, 1, 20), idle=0.05, stall=0.1)
    assert all(fired.any() for fired in reference.spikes.values())
