"""Quantised networks: look-ups, bounds of the sums, and refused networks."""

import itertools

import numpy as np
import pytest
from harness.chains import Gate, chain, connection, graded, network, relay
from harness.networks import random_network, random_spatial_network, rng_of

from spikeloom.sim.core.neuron import NeuronParameters
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.projection import Convolution
from spikeloom.sim.network.sparse import SparseMatrix
from spikeloom.sim.network.unit import QuantisedUnit


def test_what_is_looked_up_by_name():
    net = network(
        [relay("a"), relay("b"), QuantisedPopulation(name="c", parameters=NeuronParameters(size=1, spiking=False))],
        [
            connection(INPUT, "b"),
            connection(INPUT, "a"),
            connection("a", "b"),
            connection("b", "a", delay=1),
            connection("unit", "c"),
            connection("a", "b", 3),
        ],
        units=(Gate("unit", ("a",)),),
    )
    assert net.sources == (INPUT, "a", "b", "c", "unit")
    assert [net.size(name) for name in net.sources] == [1] * 5
    assert net.sinks(INPUT) == ("b", "a"), "in the order of the connections"
    assert net.sinks("a") == ("b", "unit"), "each once, units last"
    assert net.sinks("unit") == ("c",)
    assert [c.source for c in net.connections_to("b")] == [INPUT, "a", "a"]
    assert [c.target for c in net.connections_from("b")] == ["a"]
    assert net.population("b") is net.populations[1]
    assert (net.unit("unit"), net.unit("a")) == (net.units[0], None)
    assert net.units_of(Gate) == net.units_of(QuantisedUnit) == net.units
    assert [len(net.readers(name)) for name in net.sources] == [0, 1, 0, 0, 0]
    assert [net.spikes(name) for name in ("a", "c", "unit")] == [True, False, True]
    assert (net.neurons, net.synapses) == (3, 6)


def test_a_unit_follows_the_last_of_its_sources():
    early, late = Gate("early", ("a",)), Gate("late", ("c", "a", "b"))
    chained = [connection(INPUT, "a"), connection("a", "b"), connection("b", "c"), connection("c", "d")]
    net = network([relay(name) for name in "abcd"], [*chained, connection("late", "d")], units=(late, early))
    assert [part.name for part in net.schedule] == ["a", "early", "b", "c", "late", "d"]
    with pytest.raises(
        ValueError, match=r"^a connection with delay 0 must lead to a later population, not from 'late'"
    ):
        network([relay(name) for name in "abcd"], [*chained, connection("late", "c")], units=(late, early))


def plain_matrix(projection):
    """The weights ``(n_target, n_source)``, one column per source neuron."""
    return projection.sum(np.eye(projection.source_size, dtype=np.int64)).T


def test_counts_and_bounds_are_those_of_the_plain_matrix(request):
    rng = rng_of(request.node.name)
    core = CoreParameters(coordinate_width=3, value_width=4, v_width=14, accumulator_width=24)
    pruned = graded_sources = 0
    for case in range(12):
        make = random_spatial_network if case % 2 else random_network
        net = make(rng, core)
        fan_out = {name: np.zeros(net.size(name), int) for name in net.sources}
        for population in net.populations:
            low = high = 0
            for c in net.connections_to(population.name):
                matrix = plain_matrix(c)
                graded_sources += net.value_bounds(c.source) != (0, 1)
                ends = [matrix * value for value in net.value_bounds(c.source)]
                low, high = low + np.minimum(*ends).sum(axis=1), high + np.maximum(*ends).sum(axis=1)
                pruned += bool((matrix == 0).any())
            assert net.current_bounds(population.name) == (low.min(), high.max())
        for c in net.connections:
            fan_out[c.source] += c.fan_out
            if c.convolution is None and c.pooling is None:
                assert (c.fan_out == c.target_size).all(), "zeros of an array count"
        assert all(np.array_equal(net.fan_out[name], fan_out[name]) for name in net.sources)
    assert min(pruned, graded_sources) > 5


def test_no_spikes_of_a_step_exceed_the_bounds():
    """All sets of spikes of both delays, for every sign of the weights."""
    for weights in itertools.product((-3, 2), repeat=3):
        net = network(
            [relay("a"), relay("b")],
            [
                connection(INPUT, "b", weights[0]),
                connection(INPUT, "a"),
                connection("a", "b", weights[1]),
                connection("b", "b", weights[2], delay=1),
            ],
        )
        sums = [np.dot(fired, weights) for fired in itertools.product((0, 1), repeat=3)]
        assert net.current_bounds("b") == (min(sums), max(sums))


def test_bounds_of_the_current_take_in_values():
    net = network(
        [graded("a", value_width=4), relay("b")],
        [connection(INPUT, "a", 2), connection("a", "b", -3), connection("b", "b", 5, delay=1)],
        input_value_width=3,
    )
    assert net.current_bounds("a") == (-8, 6)
    assert net.current_bounds("b") == (-3 * 7, -3 * -8 + 5)
    assert network([relay("a")], [connection(INPUT, "a", -2)]).current_bounds("a") == (-2, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output": "b"}, r"^output must be one of \['a'\], not 'b'$"),
        ({"weight_width": 0}, r"^weight_width must be an integer from 1 to 16, not 0$"),
        ({"input_value_width": 1}, r"^input_value_width must be 0 or from 2 to 16, not 1$"),
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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: network([relay("a"), relay("a")], []),
            r"^population names must be unique and none 'input', not \['a', 'a'\]$",
        ),
        (
            lambda: network([relay(INPUT)], []),
            r"^population names must be unique and none 'input', not \['input'\]$",
        ),
        (
            lambda: network([relay("a")], [connection(INPUT, "a")], units=(Gate("a", ("a",)),)),
            r"^population names must be unique and none 'input', not \['a', 'a'\]$",
        ),
        (
            lambda: network([relay("a")], [connection(INPUT, "unit")], units=(Gate("unit", ("a",)),)),
            r"^a connection must join known populations, not 'input' to 'unit'$",
        ),
        (
            lambda: network([relay("a")], [connection(INPUT, "a", 0)], weight_width=1),
            r"^weight from 'input' to 'a' must be -1 or 1 at 1 bit, not 0$",
        ),
        (
            lambda: network([relay("a")], [connection(INPUT, "a")], weight_width=17),
            r"^weight_width must be an integer from 1 to 16, not 17$",
        ),
        (
            lambda: network([relay("a")], [connection(INPUT, "a")], input_value_width=17),
            r"^input_value_width must be 0 or from 2 to 16, not 17$",
        ),
        (lambda: connection("a", "b", delay=2), r"^delay must be 0 or 1, not 2$"),
        (lambda: connection(INPUT, "b", delay=1), r"^delay of a connection from the input must be 0, not 1$"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("weight", "convolution", "message"),
    [
        (np.ones((1, 1)), None, r"^weight must be a two-dimensional integer array, not 2-d float64$"),
        (np.ones(3, int), None, r"^weight must be a two-dimensional integer array, not 1-d int64$"),
        (
            np.ones((1, 1), int),
            Convolution(input_shape=(1, 2, 2), output_channels=1, kernel=(1, 1)),
            r"^weight must be a four-dimensional integer array, not 2-d int64$",
        ),
    ],
)
def test_weights_must_be_integers_of_as_many_dimensions(weight, convolution, message):
    with pytest.raises(TypeError, match=message):
        QuantisedConnection(source=INPUT, target="a", weight=weight, convolution=convolution)


def test_weights_cannot_be_changed_afterwards():
    given = np.ones((2, 3), np.int8)
    kept = QuantisedConnection(source=INPUT, target="a", weight=given).weight
    given[0, 0] = 5
    assert (kept.dtype, kept[0, 0]) == (np.int64, 1)
    with pytest.raises(ValueError, match="read-only"):
        kept[0, 0] = 5


def test_a_sparse_matrix_is_checked_like_a_full_one():
    rows, columns, values = np.array([0, 1]), np.array([0, 2]), np.array([5, 9])
    sparse = SparseMatrix.of((2, 3), rows, columns, values)
    c = QuantisedConnection(source=INPUT, target="a", weight=sparse)
    net = chain(3, 2)
    with pytest.raises(ValueError, match=r"^weight from 'input' to 'a' must be from -8 to 7 at 4 bits, not 5 to 9$"):
        network(net.populations, [c], inputs=3, weight_width=4)
    with pytest.raises(ValueError, match=r"^weight from 'input' to 'a' must be -1 or 1 at 1 bit, not 0$"):
        network(net.populations, [c], inputs=3, weight_width=1)
    assert network(net.populations, [c], inputs=3).current_bounds("a") == (0, 9)


@pytest.mark.parametrize(("name", "values"), [("weight_width", (1, 16)), ("input_value_width", (0, 2, 16))])
def test_first_and_last_width(name, values):
    for value in values:
        assert getattr(network([relay("a")], [connection(INPUT, "a")], **{name: value}), name) == value


def test_the_first_and_the_last_weight():
    for width in (2, 8, 16):
        low, high = -(1 << width - 1), (1 << width - 1) - 1
        a = QuantisedPopulation(name="a", parameters=relay("a").parameters, weight_width=width)
        for weight in (low, high):
            network([a], [connection(INPUT, "a", weight)], weight_width=16)
        for weight in (low - 1, high + 1) if width < 16 else ():
            message = rf"^weight from 'input' to 'a' must be from {low} to {high} at {width} bits, not {weight} to "
            with pytest.raises(ValueError, match=message):
                network([a], [connection(INPUT, "a", weight)], weight_width=16)
    for width in (0, 17, 2.0):
        with pytest.raises(
            ValueError, match=rf"^weight_width of 'a' must be None or an integer from 1 to 16, not {width}$"
        ):
            QuantisedPopulation(name="a", parameters=relay("a").parameters, weight_width=width)
    nothing = SparseMatrix.from_dense(np.zeros((1, 1), int))
    assert network([relay("a")], [QuantisedConnection(source=INPUT, target="a", weight=nothing)]).synapses == 0


def test_values_of_each_kind_of_source():
    counting = graded("c", value_width=4, max_spikes=7, threshold=1)
    populations = [relay("a"), graded("b", value_width=4), counting]
    net = network(populations, [connection(INPUT, "a")], units=(Gate("unit", (INPUT,)),))
    found = {name: net.value_bounds(name) for name in net.sources}
    assert found == {INPUT: (0, 1), "a": (0, 1), "b": (-8, 7), "c": (0, 7), "unit": (0, 1)}
    assert [part.name for part in net.schedule] == ["unit", "a", "b", "c"]


def test_the_weights_into_a_population_can_be_narrower():
    a = QuantisedPopulation(name="a", parameters=relay("a").parameters, weight_width=3)
    net = network([a, relay("b")], [connection(INPUT, "a", 3), connection("a", "b", 100)])
    assert (net.width_of("a"), net.width_of("b"), net.weight_width) == (3, 8, 8)
    message = r"^weight from 'input' to 'a' must be from -4 to 3 at 3 bits, not 4 to 4$"
    with pytest.raises(ValueError, match=message):
        network([a, relay("b")], [connection(INPUT, "a", 4), connection("a", "b", 100)])
    with pytest.raises(ValueError, match=r"^weight_width of 'a' must be at most that of the network, 2, not 3$"):
        network([a, relay("b")], [connection(INPUT, "a"), connection("a", "b")], weight_width=2)
    with pytest.raises(ValueError, match=r"^weight_width of 'a' must be None or an integer from 1 to 16, not 17$"):
        QuantisedPopulation(name="a", parameters=relay("a").parameters, weight_width=17)
