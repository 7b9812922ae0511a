"""Graded spikes against the integer reference: values, from the membrane of one neuron to the sums of others."""

import dataclasses

import numpy as np
import pytest
from harness.engine import EngineSimulator, assert_equal_to_reference, run_engine
from harness.mutations import mutated
from harness.networks import random_network, random_spatial_network, random_spikes, rng_of

from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.place import place
from spikeloom.hdl.core import accumulate, adders, emit, engine, geometry, graded
from spikeloom.hdl.core import row_reader as rows
from spikeloom.sim.core.neuron import NeuronParameters, signed_range
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.reference import simulate

CORE = CoreParameters(
    lanes=2,
    neurons=64,
    axons=128,
    weight_words=1024,
    v_width=12,
    accumulator_width=24,
    beta_fraction=8,
    value_width=6,
)
MAPS = dataclasses.replace(
    CORE, neurons=512, axons=512, weight_words=4096, populations=8, coordinate_width=3, geometries=32, sparse=True
)


def values_of(rng, network, steps, batch):
    """Input values ``(T, B, inputs)``, some of which are 0."""
    low, high = signed_range(network.input_value_width)
    values = rng.integers(low, high + 1, (steps, batch, network.inputs))
    return values * random_spikes(rng, steps, batch, network.inputs)


def negative(network):
    """Thresholds so low that membranes of spiking neurons can be negative."""
    populations = []
    for population in network.populations:
        p = population.parameters
        lower = p.threshold if p.delay_line else p.threshold - 80
        populations.append(dataclasses.replace(population, parameters=dataclasses.replace(p, threshold=lower)))
    return dataclasses.replace(network, populations=tuple(populations))


def check(rng, core, network, inputs, *, simulator=None, **bench):
    """Run the RTL, in a ``simulator`` that others share or in its own, and the reference; return both runs."""
    program = place(network, FabricConfig(core=core))
    reference = simulate(network, inputs, record=[p.name for p in network.populations])
    run = run_engine(simulator or engine.LifEngine(core), program, inputs, rng, **bench)
    assert_equal_to_reference(run, network, program, inputs, reference)
    return reference, run


def is_interesting(reference):
    """Some population sends values of both signs, and several different ones."""
    return any(len(np.unique(v)) > 4 and v.min() < 0 < v.max() for v in reference.values.values())


@pytest.mark.parametrize(
    ("lanes", "weight_width", "memory"),
    [(1, 8, "block"), (4, 1, "block"), (4, 8, "distributed"), (2, 16, "block"), (32, 1, "block")],
)
def test_random_networks(request, lanes, weight_width, memory):
    rng = rng_of(request.node.name)
    core = dataclasses.replace(
        CORE,
        lanes=lanes,
        neurons=max(CORE.neurons, 4 * lanes),
        weight_width=weight_width,
        accumulator_width=weight_width + 14,
        accumulator_memory=memory,
        readout=lanes > 1,
    )
    interesting, simulator = 0, EngineSimulator(engine.LifEngine(core))
    for case in range(3 if lanes < 32 else 2):
        network = negative(random_network(rng, core, readout=core.readout and case == 1))
        spikes = random_spikes(rng, 5, 2, network.inputs)
        reference, _ = check(rng, core, network, spikes, simulator=simulator)
        interesting += is_interesting(reference)
    assert interesting


@pytest.mark.parametrize(("lanes", "count_width"), [(1, 2), (4, 4)])
def test_several_spikes_per_step(request, lanes, count_width):
    """Spike counts as values, from 1 to the bound, up to sums that saturate the membrane."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(
        CORE, lanes=lanes, v_width=8, count_width=count_width, noise_bits=4, adaptation=True, readout=True
    )
    seen, saturated, simulator = set(), 0, EngineSimulator(engine.LifEngine(core))
    for case in range(4):
        network = random_network(rng, core, inputs=12, sizes=(7, 5, 6), readout=case == 1)
        spikes = random_spikes(rng, 5, 2, network.inputs)
        reference, _ = check(rng, core, network, spikes, simulator=simulator, idle=0.1)
        for population in network.populations:
            p = population.parameters
            if p.max_spikes > 1:
                counts = reference.fired(population.name)
                seen |= {"none", "one", "several", "bound"} & {
                    name
                    for name, found in (
                        ("none", counts == 0),
                        ("one", counts == 1),
                        ("several", (counts > 1) & (counts < p.max_spikes)),
                        ("bound", counts == p.max_spikes),
                    )
                    if found.any()
                }
                low, high = signed_range(p.v_width)
                saturated += int(np.isin(reference.states[population.name].v, (low, high)).sum())
    assert seen == {"none", "one", "several", "bound"}
    assert saturated


@pytest.mark.parametrize("lanes", [1, 2, 8])
def test_input_with_values(request, lanes):
    """Packets may carry values, as those of another tile do; most words are added to the same sums."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(CORE, lanes=lanes)
    network = dataclasses.replace(random_network(rng, core, inputs=12), input_value_width=core.value_width)
    values = values_of(rng, network, 6, 2)
    check(rng, core, network, values, idle=0, stall=0.1)
    assert values.min() < -20
    assert values.max() > 20


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("lanes", [1, 4])
def test_convolutions_and_lists(request, lanes, sparse):
    rng = rng_of(request.node.name)
    core = dataclasses.replace(MAPS, lanes=lanes, sparse=sparse)
    network = negative(random_spatial_network(rng, core, extent=6))
    network = dataclasses.replace(network, input_value_width=core.value_width)
    reference, _ = check(rng, core, network, values_of(rng, network, 4, 2), idle=0.1)
    assert is_interesting(reference)


def test_widest_values(request):
    """16 bits of weight times 16 of value, in the widest accumulator."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(CORE, weight_width=16, value_width=16, v_width=24, accumulator_width=32)
    network = random_network(rng, core, inputs=2, sizes=(2, 1))
    network = dataclasses.replace(
        network,
        connections=tuple(dataclasses.replace(c, weight=c.weight // 8) for c in network.connections),
        input_value_width=16,
    )
    check(rng, core, network, values_of(rng, network, 8, 2))


def test_the_accumulator_must_hold_weights_times_values():
    """100 times -32 needs 13 bits."""
    populations = (
        QuantisedPopulation(name="a", parameters=NeuronParameters(size=1, v_width=12, graded=True, value_width=6)),
        QuantisedPopulation(name="b", parameters=NeuronParameters(size=1, v_width=12)),
    )
    network = QuantisedNetwork(
        name="product",
        inputs=1,
        populations=populations,
        connections=(
            QuantisedConnection(source=INPUT, target="a", weight=np.array([[1]])),
            QuantisedConnection(source="a", target="b", weight=np.array([[100]])),
        ),
        output="b",
    )
    place(network, FabricConfig(core=dataclasses.replace(CORE, accumulator_width=13)))
    message = "^population b: its weights could overflow the accumulator, their sum needs 13 bits, but it has 12$"
    with pytest.raises(PlaceError, match=message):
        place(network, FabricConfig(core=dataclasses.replace(CORE, accumulator_width=12)))


MUTATIONS = {
    "a spike without its value": (adders, "multiply(m, platform, of_lane, control.value)", "of_lane"),
    "the value of the word before": (accumulate, "way[3].value)", "way[4].value)"),
    "the value of the word after": (accumulate, "way[3].value)", "way[2].value)"),
    "the sign of a value": (adders, '"value": value_shape(parameters)', '"value": parameters.value_width'),
    "the sign of a value on its way out": (
        emit,
        "Shape(value_width, signed=value_width > 0)",
        "Shape(value_width)",
    ),
    "the product a cycle late": (accumulate, "PRODUCT_CYCLES = 2", "PRODUCT_CYCLES = 3"),
    "the product a cycle early": (accumulate, "PRODUCT_CYCLES = 2", "PRODUCT_CYCLES = 1"),
    "the value of a row that continues": (rows, "again.value.eq(fetched.value)", "again.value.eq(1)"),
    "the value of an event": (rows, "word.value.eq(fetched.value)", "word.value.eq(1)"),
    "the value of a position": (geometry, "word.value.eq(start.value)", "word.value.eq(1)"),
    "values of events from outside": (
        engine,
        "emitter.local.payload.value, packet.value)",
        "emitter.local.payload.value, 1)",
    ),
    "values of events of its own": (engine, "emitter.local.payload.value, packet.value)", "1, packet.value)"),
    "values for the outside": (
        emit,
        "m.d.comb += self.packets.payload.value.eq(out.value)\n        elif",
        "pass\n        elif",
    ),
    "the shift of values": (graded, "sent >> rule.graded_shift", "sent"),
    "saturation of values": (
        graded,
        "saturated(shifted, parameters.value_width)",
        "shifted[: parameters.value_width].as_signed()",
    ),
    "spikes that are not graded": (graded, "parameters.value_width), 1)", "parameters.value_width), 2)"),
}


def draw(name, core, spatial):
    """A network with values between populations and at its input, and its input."""
    rng = rng_of(name)
    network = random_spatial_network(rng, core, extent=5) if spatial else random_network(rng, core, inputs=6)
    network = dataclasses.replace(negative(network), input_value_width=core.value_width)
    return rng, network, values_of(rng, network, 6, 2)


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(monkeypatch, mutation):
    module, old, new = MUTATIONS[mutation]
    copy = mutated(module, old, new)
    engine_module = engine
    users = {
        accumulate: [(engine, "Accumulator")],
        rows: [(engine, "RowReader")],
        emit: [(engine, "SpikeEmitter")],
        graded: [(emit, "shifted_value"), (emit, "spike_value")],
        adders: [(accumulate, "AdderBank"), (accumulate, "control_layout")],
        geometry: [(rows, "GeometrySequencer")],
    }
    if module is engine:
        engine_module = copy
    else:
        for user, name in users[module]:
            monkeypatch.setattr(user, name, getattr(copy, name))
    core = MAPS if module is geometry else CORE
    simulator = EngineSimulator(engine_module.LifEngine(core))
    for case in range(8):
        rng, network, inputs = draw(f"{mutation} {case}", core, module is geometry)
        try:
            check(rng, core, network, inputs, simulator=simulator, idle=0.1, timeout=10_000)
        except AssertionError:
            return
    pytest.fail(f"the planted bug in {mutation!r} must be found")
