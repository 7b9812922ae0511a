"""The float network: its validation, its step against closed forms and against plain loops, its description."""

import re

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.sim.neuron import Compare, Reset
from spikeloom.sw.network import Connection, Network, Population, describe


def population(name="lif", size=1, **options):
    return Population(**({"name": name, "shape": (size,), "beta": 0.875, "threshold": 1.0} | options))


def network(populations, connections, inputs=1, output=None, **options):
    return Network(
        **{
            "name": "test",
            "input_shape": (inputs,),
            "populations": tuple(populations),
            "connections": tuple(connections),
            "output": output or populations[-1].name,
            "time_step_s": 1e-3,
        }
        | options
    )


def single(weight=1.0, **options):
    """One neuron on one input line."""
    neuron = population(**options)
    return network([neuron], [Connection(source="input", target=neuron.name, weight=np.array([[weight]]))])


def exactly(message):
    return f"^{re.escape(message)}$"


def test_constant_input_to_an_integrator_follows_the_closed_form():
    steps, beta, current = 40, 0.9, 0.3
    membranes = single(weight=current, beta=beta, spiking=False).simulate(np.ones((steps, 1)))
    n = np.arange(1, steps + 1)
    np.testing.assert_allclose(membranes[:, 0, 0], current * (1 - beta**n) / (1 - beta), rtol=1e-12)


def test_bias_alone_drives_a_neuron_without_leak_at_a_constant_rate():
    spikes = single(weight=0.0, beta=1.0, bias=0.25, compare=Compare.GREATER_EQUAL).simulate(np.zeros((12, 1)))
    assert spikes[:, 0, 0].tolist() == [False, False, False, True] * 3


@pytest.mark.parametrize(
    ("compare", "expected"), [(Compare.GREATER, [False, False, True]), (Compare.GREATER_EQUAL, [False, True, False])]
)
def test_a_membrane_equal_to_the_threshold_fires_only_with_greater_equal(compare, expected):
    spikes = single(weight=0.5, beta=1.0, compare=compare).simulate(np.ones((3, 1)))
    assert spikes[:, 0, 0].tolist() == expected


# With weight 0.75, threshold 1 and beta 1/2, and input in every step, computed by hand.
@pytest.mark.parametrize(
    ("options", "membranes", "spikes"),
    [
        ({"reset": Reset.ZERO}, [0.75, 0.0, 0.75, 0.0], [0, 1, 0, 1]),
        ({"reset": Reset.SUBTRACT}, [0.75, 0.125, 0.8125, 0.15625], [0, 1, 0, 1]),
        ({"reset": Reset.VALUE, "reset_value": 0.5}, [0.75, 0.5, 1.0, 0.5], [0, 1, 0, 1]),
        ({"reset": Reset.NONE}, [0.75, 1.125, 1.3125, 1.40625], [0, 1, 1, 1]),
        ({"reset": Reset.ZERO, "reset_delay": 1}, [0.75, 1.125, 0.75, 1.125], [0, 1, 0, 1]),
        ({"reset": Reset.SUBTRACT, "reset_delay": 1}, [0.75, 1.125, 0.3125, 0.90625], [0, 1, 0, 0]),
        ({"reset": Reset.VALUE, "reset_value": 0.5, "reset_delay": 1}, [0.75, 1.125, 1.25, 1.25], [0, 1, 1, 1]),
        ({"reset": Reset.ZERO, "refractory": 1}, [0.75, 0.0, 0.0, 0.75], [0, 1, 0, 0]),
        ({"reset": Reset.SUBTRACT, "refractory": 2}, [0.75, 0.125, 0.125, 0.125], [0, 1, 0, 0]),
    ],
)
def test_every_reset_steps_as_computed_by_hand(options, membranes, spikes):
    result = single(weight=0.75, beta=0.5, **options).run(np.ones((4, 1)), record_membranes=["lif"])
    assert result.membranes["lif"][:, 0, 0].tolist() == membranes
    assert result.spikes["lif"][:, 0, 0].tolist() == [bool(spike) for spike in spikes]


def test_delayed_reset_is_what_snntorch_does_by_default():
    """reset_delay=True: r = v_before > threshold; subtract: beta v + I - r threshold; zero: beta v (1 - r) + I."""
    generator = rng_of("test_delayed_reset_is_what_snntorch_does_by_default")
    weight, beta, threshold = generator.normal(0.3, 0.5, (5, 7)), generator.uniform(0.5, 1, 5), 0.8
    inputs = generator.random((60, 3, 7)) < 0.4
    for reset in (Reset.SUBTRACT, Reset.ZERO):
        neurons = population(size=5, beta=beta, threshold=threshold, reset=reset, reset_delay=1)
        model = network([neurons], [Connection(source="input", target="lif", weight=weight)], inputs=7)
        spikes = model.simulate(inputs)
        v = np.zeros((3, 5))
        for t in range(60):
            r, current = v > threshold, inputs[t] @ weight.T
            v = beta * v + current - r * threshold if reset is Reset.SUBTRACT else beta * v * (1 - r) + current
            assert np.array_equal(spikes[t], v > threshold)
        assert 0 < spikes.sum() < spikes.size


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


def test_arrays_are_broadcast_checked_and_frozen():
    neurons = population(size=3, bias=[1, 2, 3])
    assert neurons.beta.tolist() == [0.875] * 3
    assert neurons.bias.dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        neurons.bias[0] = 0
    assert Population(name="a", shape=(2, 3), beta=1).size == 6


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"name": 3}, TypeError, "name of a population must be a string, not 3"),
        ({"name": "input"}, ValueError,
         "name of a population must be a non-empty string other than 'input', not 'input'"),
        ({"shape": ()}, ValueError, "shape of population 'lif' must be one or more positive integers, not ()"),
        ({"shape": (2, 0)}, ValueError, "shape of population 'lif' must be one or more positive integers, not (2, 0)"),
        ({"compare": ">"}, TypeError, "compare of population 'lif' must be a Compare, not '>'"),
        ({"reset": None}, TypeError, "reset of population 'lif' must be a Reset, not None"),
        ({"reset_delay": 2}, ValueError, "reset_delay of population 'lif' must be an integer from 0 to 1, not 2"),
        ({"refractory": 256}, ValueError, "refractory of population 'lif' must be an integer from 0 to 255, not 256"),
        ({"beta": "fast"}, TypeError, "beta of population 'lif' must be numbers, not <U4"),
        ({"beta": 1.5}, ValueError, "beta of population 'lif' must be from 0 to 1, not 1.5"),
        ({"beta": -0.5}, ValueError, "beta of population 'lif' must be from 0 to 1, not -0.5"),
        ({"bias": np.nan}, ValueError, "bias of population 'lif' must be finite, not nan"),
        ({"threshold": [1.0, 2.0]}, ValueError, "threshold of population 'lif' must have shape (1,), not (2,)"),
    ],
)  # fmt: skip
def test_a_population_refuses(options, kind, message):
    with pytest.raises(kind, match=exactly(message)):
        population(**options)


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


def join(source, target, shape=(1, 1), delay=0):
    return Connection(source=source, target=target, weight=np.ones(shape), delay=delay)


@pytest.mark.parametrize(
    ("populations", "connections", "options", "message"),
    [
        (["a"], [], {"time_step_s": 0}, "time_step_s must be positive and finite, not 0"),
        (["a"], [], {"input_shape": ()}, "input_shape must be one or more positive integers, not ()"),
        (["a", "a"], [], {}, "population names must be unique, not twice 'a'"),
        (["a", "b"], [], {"output": "c"}, "output must be one of a, b, not 'c'"),
        (["a"], [join("x", "a")], {},
         "source of the connection from 'x' to 'a' must be 'input' or a population, not 'x'"),
        (["a"], [join("a", "input", delay=1)], {},
         "target of the connection from 'a' to 'input' must be a population, not 'input'"),
        (["a"], [join("input", "a", (1, 2))], {},
         "weight of the connection from 'input' to 'a' must have shape (1, 1), not (1, 2)"),
        (["a", "b"], [join("a", "b"), join("b", "a")], {},
         "delay of the connection from 'b' to 'a' must be 1 because it does not lead to a later population: over the "
         "connections with delay 0 a network has no cycle and its populations are in order"),
    ],
)  # fmt: skip
def test_a_network_refuses(populations, connections, options, message):
    with pytest.raises(ValueError, match=exactly(message)):
        network([population(name) for name in populations], connections, **options)


def test_a_network_refuses_no_populations_and_integrators_inside():
    with pytest.raises(ValueError, match=r"^populations must be one or more, not none$"):
        network([], [], output="a")
    with pytest.raises(
        ValueError,
        match=r"^source of the connection from 'a' to 'b' must spike; 'a' is an integrator and can only be the output$",
    ):
        network([population("a", spiking=False), population("b")], [join("a", "b")])


def test_spikes_must_fit_the_network():
    with pytest.raises(ValueError, match=r"^spikes must have shape \(T, B, 1\) or \(T, 1\), not \(3, 2\)$"):
        single().simulate(np.zeros((3, 2)))
    with pytest.raises(KeyError, match=r"^'other'$"):
        single().run(np.zeros((3, 1)), record_membranes=["other"])


@pytest.mark.parametrize(
    ("options", "equation"),
    [
        ({}, "v = 0.875 v + I; spike if v > 1; then v = 0"),
        ({"beta": 1.0, "compare": Compare.GREATER_EQUAL, "reset": Reset.SUBTRACT},
         "v = v + I; spike if v >= 1; then v = v - 1"),
        ({"beta": 0.0, "reset": Reset.NONE}, "v = I; spike if v > 1; no reset"),
        ({"reset": Reset.VALUE, "reset_value": 0.25}, "v = 0.875 v + I; spike if v > 1; then v = 0.25"),
        ({"reset_delay": 1}, "v = 0.875 v + I; spike if v > 1; the step after starts from 0"),
        ({"reset_delay": 1, "reset": Reset.SUBTRACT, "bias": 0.5, "refractory": 2},
         "v = 0.875 v + I + 0.5; spike if v > 1; the step after subtracts 1; held for 2 steps after a spike"),
        ({"spiking": False}, "v = 0.875 v + I; never spikes"),
        ({"size": 2, "beta": [0.5, 0.75]}, "v = [0.5 .. 0.75] v + I; spike if v > 1; then v = 0"),
    ],
)  # fmt: skip
def test_the_equation_reads_as_the_step(options, equation):
    assert population(**options).equation == equation


def test_describe_has_a_row_for_each_population():
    model = network(
        [population("first", 3), population("second", 2)],
        [join("input", "first", (3, 1)), join("first", "second", (2, 3)), join("second", "second", (2, 2), 1)],
        notes=("whole network", "second: reset assumed"),
    )
    first, second = describe(model)
    assert (first.name, first.neurons, first.synapses, first.sources, first.notes) == ("first", 3, 3, ("input",), ())
    assert second.sources == ("first", "second (delay 1)")
    assert second.synapses == 10
    assert second.notes == ("reset assumed",)
    assert second.equation == model.populations[1].equation
    assert (model.neurons, model.synapses, model.inputs) == (5, 13, 1)
