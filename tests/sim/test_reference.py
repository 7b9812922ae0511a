"""The reference run: order of populations, delays, exact sums, bad input."""

import numpy as np
import pytest
from harness.networks import random_network, random_spikes, rng_of

from spikeloom.sim.core import CoreParameters
from spikeloom.sim.network import INPUT, QuantisedConnection, QuantisedNetwork, QuantisedPopulation
from spikeloom.sim.neuron import NeuronParameters, NeuronState, Reset, step
from spikeloom.sim.reference import simulate


def relay(name):
    """A neuron that fires in each step in which anything reaches it."""
    return QuantisedPopulation(name=name, parameters=NeuronParameters(size=1, threshold=0, reset=Reset.ZERO))


def connection(source, target, weight=1, delay=0):
    return QuantisedConnection(source=source, target=target, weight=np.array([[weight]]), delay=delay)


def network(populations, connections, **changes):
    arguments = {"name": "test", "inputs": 1, "output": populations[-1].name} | changes
    return QuantisedNetwork(populations=tuple(populations), connections=tuple(connections), **arguments)


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
    assert result.synaptic_operations.tolist() == [1 + 2]  # the spike of the last step reaches nobody


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
    states = {p.name: NeuronState.cleared(3, p.size) for p in net.populations}
    before = {p.name: np.zeros((3, p.size), np.int64) for p in net.populations}
    total = 0
    for t in range(7):
        now = {INPUT: spikes[t].astype(np.int64)}
        for population in net.populations:
            current = np.zeros((3, population.size), np.int64)
            for c in net.connections:
                if c.target == population.name:
                    current += (before if c.delay else now)[c.source] @ c.weight.T
            states[population.name], now[population.name] = step(
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output": "b"}, r"^output must be one of \['a'\], not 'b'$"),
        ({"weight_width": 0}, r"^weight_width must be an integer from 1 to 16, not 0$"),
        ({"inputs": 0}, r"^inputs must be at least 1, not 0$"),
        (
            {"connections": (connection("a", "a"),)},
            r"^a connection with delay 0 must lead to a later population, not from 'a' to 'a'$",
        ),
        (
            {"connections": (connection("x", "a"),)},
            r"^a connection must join known populations, not 'x' to 'a'$",
        ),
        (
            {"connections": (connection(INPUT, "a", 200),)},
            r"^weight from 'input' to 'a' must be from -128 to 127 at 8 bits, not 200 to 200$",
        ),
        (
            {"inputs": 2},
            r"^weight from 'input' to 'a' must have shape \(1, 2\), not \(1, 1\)$",
        ),
    ],
)
def test_bad_networks(arguments, message):
    with pytest.raises(ValueError, match=message):
        QuantisedNetwork(
            **(
                {
                    "name": "test",
                    "inputs": 1,
                    "populations": (relay("a"),),
                    "connections": (connection(INPUT, "a"),),
                    "output": "a",
                }
                | arguments
            )
        )
