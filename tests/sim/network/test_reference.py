"""The reference run: order of populations, delays, exact sums, bad input."""

from dataclasses import replace

import numpy as np
import pytest
from harness.chains import Gate, connection, graded, network, relay
from harness.networks import FEATURES, random_network, random_spikes, rng_of, with_features

from spikeloom.sim.core.neuron import NeuronParameters, NeuronState, step
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.reference import simulate


def test_feed_forward_adds_no_delay():
    chain = network(
        [relay("a"), relay("b"), relay("c")],
        [connection(INPUT, "a"), connection("a", "b"), connection("b", "c")],
    )
    result = simulate(chain, np.array([[1], [0], [1]]))
    assert result.spikes["c"][:, 0, 0].tolist() == [True, False, True]
    assert result.synaptic_operations.tolist() == [6]


def test_recurrent_adds_exactly_one():
    loop = network([relay("a")], [connection(INPUT, "a"), connection("a", "a", delay=1)])
    result = simulate(loop, np.array([[0], [1], [0], [0]]))
    assert result.spikes["a"][:, 0, 0].tolist() == [False, True, True, True]
    assert result.synaptic_operations.tolist() == [1 + 2]  # the spike of the last step reaches no neuron


def test_samples_are_independent():
    rng = rng_of("test_samples_are_independent")
    core = CoreParameters()
    net = random_network(rng, core)
    spikes = random_spikes(rng, 8, 6, net.inputs)
    together = simulate(net, spikes)
    alone = [simulate(net, spikes[:, [b]]) for b in range(6)]
    for name, fired in together.spikes.items():
        assert np.array_equal(fired, np.concatenate([one.spikes[name] for one in alone], axis=1))
    assert together.synaptic_operations.tolist() == [int(one.synaptic_operations[0]) for one in alone]


@pytest.mark.parametrize("case", range(8))
def test_equals_a_plain_loop(request, case):
    rng = rng_of(request.node.name)
    net = random_network(rng, CoreParameters(), readout=case % 2 == 1)
    spikes = random_spikes(rng, 7, 3, net.inputs)
    result = simulate(net, spikes, record=[p.name for p in net.populations])
    states = {p.name: NeuronState.cleared(3, p.parameters) for p in net.populations}
    before = {p.name: np.zeros((3, p.size), np.int64) for p in net.populations}
    total = 0
    for t in range(7):
        now = {INPUT: spikes[t].astype(np.int64)}
        for population in net.populations:
            current = np.zeros((3, population.size), np.int64)
            for c in net.connections:
                if c.target == population.name:
                    current += (before if c.delay else now)[c.source] @ c.weight.T
            states[population.name], now[population.name], _ = step(
                states[population.name], current, population.parameters
            )
            assert np.array_equal(result.spikes[population.name][t], now[population.name])
            assert np.array_equal(result.states[population.name].v[t], states[population.name].v)
            total += int(now[population.name].sum())
        before = now
    assert total > 0


def test_large_weights_sum_exactly():
    weight = np.full((1, 5000), 32767)
    net = QuantisedNetwork(
        name="wide",
        inputs=5000,
        populations=(QuantisedPopulation(name="a", parameters=NeuronParameters(size=1, v_width=24, spiking=False)),),
        connections=(QuantisedConnection(source=INPUT, target="a", weight=weight),),
        output="a",
        weight_width=16,
    )
    assert net.current_bounds("a") == (0, 5000 * 32767)
    spikes = np.zeros((1, 1, 5000))
    spikes[..., :256] = 1
    assert simulate(net, spikes).states["a"].v[0, 0, 0] == 256 * 32767


def test_a_graded_spike_brings_weight_times_value():
    net = network(
        [graded("a"), relay("b"), QuantisedPopulation(name="c", parameters=NeuronParameters(size=1, spiking=False))],
        [connection(INPUT, "a", 5), connection(INPUT, "b"), connection("a", "c", 3), connection("b", "c", -1)],
        input_value_width=6,
    )
    result = simulate(net, np.array([[7], [0], [-2], [30]]), record=["a"])
    assert result.values["a"][:, 0, 0].tolist() == [35, 0, 0, 127]  # 150 is clamped to 8 bits
    assert result.spikes["a"][:, 0, 0].tolist() == [True, False, False, True]
    assert result.states["c"].v[:, 0, 0].tolist() == [104, 104, 104, 484]
    assert result.synaptic_operations.tolist() == [3 * 2 + 2 + 2]
    assert list(result.values) == ["a"]


@pytest.mark.parametrize(
    ("networks", "steps", "batch"),
    [(12, 7, 3), (5, 5, 100), (2, 3, 300)],
    ids=["all steps at once", "two steps at a time", "two parts of the samples"],
)
def test_values_and_states_of_all_models_equal_a_plain_loop(request, networks, steps, batch):
    rng = rng_of(request.node.name)
    seen = set()
    for _ in range(networks):
        drawn = random_network(rng, CoreParameters())
        populations = tuple(
            replace(p, parameters=with_features(rng, p.parameters, rng.choice(FEATURES, 2))) for p in drawn.populations
        )
        net = replace(drawn, populations=populations, input_value_width=4)
        inputs = rng.integers(-8, 8, (steps, batch, net.inputs)) * (rng.random((steps, batch, net.inputs)) < 0.4)
        result = simulate(net, inputs, record=[p.name for p in net.populations])
        states = {p.name: NeuronState.cleared(batch, p.parameters) for p in net.populations}
        before = {p.name: np.zeros((batch, p.size), np.int64) for p in net.populations}
        for t in range(steps):
            now = {INPUT: inputs[t]}
            for p in net.populations:
                current = np.zeros((batch, p.size), np.int64)
                for c in net.connections:
                    if c.target == p.name:
                        current += (before if c.delay else now)[c.source] @ c.weight.T
                low, high = net.current_bounds(p.name)
                assert low <= current.min()
                assert current.max() <= high
                states[p.name], spikes, now[p.name] = step(states[p.name], current, p.parameters)
                assert np.array_equal(result.spikes[p.name][t], spikes)
                for name, array in vars(states[p.name]).items():
                    assert np.array_equal(getattr(result.states[p.name], name)[t], array)
                    seen |= {name} if array.any() else set()
                if p.parameters.graded:
                    assert np.array_equal(result.values[p.name][t], now[p.name])
                    seen |= {"value"} if np.any(np.abs(now[p.name]) > 1) else set()
            before = now
    assert seen >= (
        {"v", "pending", "refractory_count", "current", "adaptation", "random", "value"} if networks > 2 else {"v"}
    )


@pytest.mark.parametrize("samples", [6, 300], ids=["all steps at once", "step by step"])
def test_cycles_run_together_and_the_rest_one_after_the_other(samples):
    """The populations in order: a, b with a loop around both, c that a feeds one step later, d that feeds back to c."""
    net = network(
        [relay(name) for name in "abcd"],
        [
            connection(INPUT, "a"),
            connection("a", "b"),
            connection("b", "a", delay=1),
            connection("a", "c", delay=1),
            connection("c", "d"),
            connection("d", "c", delay=1),
        ],
    )
    begins = np.arange(samples) % 6
    fired = simulate(net, np.eye(6)[begins].T[..., None]).spikes
    for name, delay in {"a": 0, "b": 0, "c": 1, "d": 1}.items():
        assert np.array_equal(fired[name][..., 0], np.arange(6)[:, None] >= begins + delay)


def test_a_delayed_connection_brings_nothing_in_a_run_of_one_step():
    net = network(
        [relay("a"), relay("b")],
        [connection(INPUT, "a"), connection("a", "b", delay=1), connection("b", "a", delay=1)],
    )
    fired = simulate(net, np.ones((1, 1, 1))).spikes
    assert [fired[name].item() for name in "ab"] == [True, False]


def test_a_unit_reads_the_values_of_the_input_as_spikes():
    unit = Gate("unit", (INPUT,))
    net = network([relay("a")], [connection("unit", "a")], units=(unit,), input_value_width=3)
    values = np.array([0, 1, -4, 3, 0])[:, None]
    for repeats in (1, 300):
        fired = simulate(net, np.repeat(values[:, None], repeats, axis=1)).spikes
        assert np.array_equal(fired["a"], np.broadcast_to(values[:, None] != 0, (5, repeats, 1)))


def test_what_fired_is_counted_where_neurons_fire_several_times():
    counting = graded("b", value_width=4, max_spikes=7, threshold=2)
    net = network([graded("a"), counting], [connection(INPUT, "a"), connection(INPUT, "b")], input_value_width=5)
    result = simulate(net, np.array([[1], [5], [15], [-3]]))
    assert (result.fired("a").dtype, result.fired("b").dtype) == (np.bool_, np.uint8)
    assert result.fired("a")[:, 0, 0].tolist() == [True, True, True, False]
    assert result.fired("b")[:, 0, 0].tolist() == [0, 2, 7, 0]


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (np.zeros((3, 2)), ValueError, r"^values must have shape \(T, B, 1\) or \(T, 1\), not \(3, 2\)$"),
        (np.zeros((0, 1), int), ValueError, r"^values must have shape \(T, B, 1\) or \(T, 1\), not \(0, 1\)$"),
        (np.array([[-4], [4]]), ValueError, r"^values must be from -4 to 3, not 4$"),
        (np.array([[-5], [3]]), ValueError, r"^values must be from -4 to 3, not -5$"),
        (np.full((3, 1), 4), ValueError, r"^values must be from -4 to 3, not 4$"),
        (np.full((3, 1), -5), ValueError, r"^values must be from -4 to 3, not -5$"),
        (np.full((3, 1), 0.5), TypeError, r"^values must be integers, not float64$"),
    ],
)
def test_bad_values(values, error, message):
    with pytest.raises(error, match=message):
        simulate(network([relay("a")], [connection(INPUT, "a")], input_value_width=3), values)


@pytest.mark.parametrize(
    ("spikes", "message"),
    [
        (np.zeros((3, 2)), r"^spikes must have shape \(T, B, 1\) or \(T, 1\), not \(3, 2\)$"),
        (np.zeros((0, 1)), r"^spikes must have shape \(T, B, 1\) or \(T, 1\), not \(0, 1\)$"),
        (np.full((3, 1), 2), r"^spikes must be 0 or 1, not other values$"),
    ],
)
def test_bad_spikes(spikes, message):
    with pytest.raises(ValueError, match=message):
        simulate(network([relay("a")], [connection(INPUT, "a")]), spikes)
