"""The float network: validation, spikes between populations, description."""

import dataclasses
import re

import numpy as np
import pytest
from harness.floats import join, network, population, single
from harness.networks import rng_of

from spikeloom.model.network import Connection
from spikeloom.sim.core.neuron import Reset


def exactly(message):
    return f"^{re.escape(message)}$"


def test_layers_pass_spikes_in_the_same_step_and_recurrence_in_the_next():
    first, second = population("first", beta=0.0, threshold=0.5), population("second", beta=0.0, threshold=0.5)
    one = np.ones((1, 1))
    model = network(
        [first, second],
        [
            Connection(source="input", target="first", weight=one),
            Connection(source="first", target="second", weight=one),
            Connection(source="second", target="first", weight=one, delay=1),
        ],
    )
    fired = model.run(np.array([[1], [0], [0]])).spikes
    assert fired["first"][:, 0, 0].tolist() == [True, True, True]
    assert fired["second"][:, 0, 0].tolist() == [True, True, True]
    broken = network(model.populations, model.connections[:2])
    assert broken.simulate(np.array([[1], [0], [0]]))[:, 0, 0].tolist() == [True, False, False]


def test_a_batch_is_its_samples():
    generator = rng_of("test_a_batch_is_its_samples")
    neurons = population(size=6, reset=Reset.SUBTRACT, reset_delay=1, refractory=1)
    model = network(
        [neurons],
        [
            Connection(source="input", target="lif", weight=generator.normal(0.5, 1, (6, 4))),
            Connection(source="lif", target="lif", weight=generator.normal(0, 0.5, (6, 6)), delay=1),
        ],
        inputs=4,
    )
    inputs = generator.random((20, 9, 4)) < 0.5
    spikes = model.simulate(inputs)
    assert spikes.shape == (20, 9, 6)
    assert 0 < spikes.sum() < spikes.size
    for sample in range(9):
        assert np.array_equal(model.simulate(inputs[:, sample]), spikes[:, sample : sample + 1])


def test_values_of_the_input_are_weighted():
    model = dataclasses.replace(single(weight=0.5, beta=1.0, spiking=False), input_value_width=4)
    assert model.simulate(np.array([[7], [-8], [1]]))[:, 0, 0].tolist() == [3.5, -0.5, 0.0]
    with pytest.raises(ValueError, match=r"^values must be from -8 to 7, not 8$"):
        model.simulate(np.array([[8]]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": [[np.inf]]}, "weight of the connection from 'a' to 'b' must be finite, not inf"),
        ({"weight": [1.0]}, "weight of the connection from 'a' to 'b' must have two dimensions, not 1"),
        ({"delay": 2}, "delay of the connection from 'a' to 'b' must be 0 or 1, not 2"),
        ({"source": "input", "delay": 1},
         "delay of the connection from 'input' to 'b' must be 0 because it starts at the input, not 1"),
    ],
)  # fmt: skip
def test_a_connection_refuses(options, message):
    with pytest.raises(ValueError, match=exactly(message)):
        Connection(**({"source": "a", "target": "b", "weight": np.ones((1, 1))} | options))


@pytest.mark.parametrize(
    ("populations", "connections", "options", "message"),
    [
        (["a"], [], {"seed": 0}, "seed must be an integer from 1 to 4294967295, not 0"),
        (["a"], [], {"input_value_width": 1}, "input_value_width must be 0 or from 2 to 16, not 1"),
        (["a"], [], {"time_step_s": 0}, "time_step_s must be positive and finite, not 0"),
        (["a"], [], {"input_shape": ()}, "input_shape must be one or more positive integers, not ()"),
        (["a", "a"], [], {}, "population names must be unique, but 'a' occurs twice"),
        (["a", "b"], [], {"output": "c"}, "output must be one of a, b, not 'c'"),
        (["a"], [join("x", "a")], {},
         "source of the connection from 'x' to 'a' must be 'input' or a population, not 'x'"),
        (["a"], [join("a", "input", delay=1)], {},
         "target of the connection from 'a' to 'input' must be a population, not 'input'"),
        (["a"], [join("input", "a", (1, 2))], {},
         "weight of the connection from 'input' to 'a' must have shape (1, 1), not (1, 2)"),
        (["a", "b"], [join("a", "b"), join("b", "a")], {},
         "delay of the connection from 'b' to 'a' must be 1 because its target is not a later population: "
         "connections with delay 0 must not form a cycle and must follow the order of the populations"),
    ],
)  # fmt: skip
def test_a_network_refuses(populations, connections, options, message):
    with pytest.raises(ValueError, match=exactly(message)):
        network([population(name) for name in populations], connections, **options)


def test_a_network_refuses_no_populations_and_integrators_inside():
    with pytest.raises(ValueError, match=r"^a network must have at least one population, not none$"):
        network([], [], output="a")
    with pytest.raises(
        ValueError,
        match=r"^source of the connection from 'a' to 'b' must spike; 'a' is an integrator and can only be the output$",
    ):
        network([population("a", spiking=False), population("b")], [join("a", "b")])


def test_a_delay_line_takes_no_values():
    line = population("b", delay=2)
    with pytest.raises(
        ValueError,
        match=r"^source of the connection from 'a' to 'b' must not carry values, because a delay line stores none$",
    ):
        network([population("a", value_limit=1.0), line], [join("a", "b")])
    with pytest.raises(ValueError, match=r"^source of the connection from 'input' to 'b' must not carry values, "):
        network([line], [join("input", "b")], input_value_width=4)


def test_spikes_must_fit_the_network():
    with pytest.raises(ValueError, match=r"^spikes must have shape \(T, B, 1\) or \(T, 1\), not \(3, 2\)$"):
        single().simulate(np.zeros((3, 2)))
    with pytest.raises(KeyError, match=r"^'other'$"):
        single().run(np.zeros((3, 1)), record_membranes=["other"])
