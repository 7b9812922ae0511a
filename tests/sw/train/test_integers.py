"""Integers of layers as networks: their connections and populations."""

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.compiler.quantise import Quantisation
from spikeloom.sim.core.neuron import Compare, Leak, NeuronParameters, Reset, Rounding
from spikeloom.sim.network.population import INPUT
from spikeloom.train.integers import LayerIntegers, float_network, quantised_network


def layers_of(rng):
    first = LayerIntegers(
        name="first",
        exponent=5,
        weight=rng.integers(-8, 8, (6, 4)),
        convolution=None,
        recurrent=rng.integers(-8, 8, (6, 6)),
        parameters=NeuronParameters(
            size=6,
            threshold=rng.integers(20, 40, 6),
            bias=rng.integers(-3, 4, 6),
            leak=Leak.SHIFT,
            leak_factor=3,
            reset=Reset.VALUE,
            reset_value=-7,
            compare=Compare.GREATER_EQUAL,
            refractory=2,
            rounding=Rounding.NEAREST,
        ),
    )
    last = LayerIntegers(
        name="last",
        exponent=-2,
        weight=rng.integers(-8, 8, (3, 6)),
        convolution=None,
        recurrent=None,
        parameters=NeuronParameters(
            size=3,
            spiking=False,
            threshold=0,
            leak=Leak.MULTIPLY,
            leak_factor=rng.integers(9000, 16000, 3),
            rounding=Rounding.NEAREST,
        ),
    )
    return first, last


def test_the_chain():
    first, last = layers_of(rng_of("chain"))
    network = quantised_network([first, last], name="chain", inputs=4, quantisation=Quantisation(weight_width=4))
    assert [(c.source, c.target, c.delay) for c in network.connections] == [
        (INPUT, "first", 0),
        ("first", "first", 1),
        ("first", "last", 0),
    ]
    assert network.output == "last"
    assert network.populations[0].parameters is first.parameters


def test_layers_have_widths_of_their_own():
    first, last = layers_of(rng_of("chain"))
    widths = Quantisation(weight_width=8, weight_widths={"last": 4})
    network = quantised_network([first, last], name="chain", inputs=4, quantisation=widths)
    assert (network.width_of("first"), network.width_of("last"), network.weight_width) == (8, 4, 8)
    widths = Quantisation(weight_width=8, weight_widths={"first": 4, "last": 4})
    float_network([first, last], name="chain", input_shape=(4,), quantisation=widths, time_step_s=1e-3)
    widths = Quantisation(weight_width=7, weight_widths={"first": 4})
    message = (
        r"^layer last: its weights must be of the scale that the quantiser chooses at 7 bits; call rescale\(\) before$"
    )
    with pytest.raises(ValueError, match=message):
        float_network([first, last], name="chain", input_shape=(4,), quantisation=widths, time_step_s=1e-3)


def test_the_floats_are_the_integers_in_other_units():
    first, last = layers_of(rng_of("floats"))
    network = float_network(
        [first, last], name="chain", input_shape=(4,), quantisation=Quantisation(weight_width=4), time_step_s=1e-3
    )
    a, b = network.populations
    assert np.array_equal(a.threshold * 32, first.parameters.threshold)
    assert np.array_equal(a.bias * 32, first.parameters.bias)
    assert np.all(a.reset_value == -7 / 32)
    assert np.all(a.beta == 0.875)
    assert (a.refractory, a.compare, a.reset) == (2, Compare.GREATER_EQUAL, Reset.VALUE)
    assert np.array_equal(b.beta * 2**14, last.parameters.leak_factor)
    assert not b.spiking
    assert np.array_equal(network.connections[2].weight, last.weight * 4.0)
