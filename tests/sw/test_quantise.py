"""Quantisation: scales, leaks, and what is said about what is lost."""

import dataclasses

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.sim.neuron import Compare, Leak, Reset
from spikeloom.sim.reference import simulate
from spikeloom.sw.network import Connection, Network, Population
from spikeloom.sw.quantise import Quantisation, QuantiseError, quantise


def network_of(weight, **population):
    weight = np.asarray(weight, float)
    targets, inputs = weight.shape
    neurons = Population(**({"name": "a", "shape": (targets,), "beta": np.array(0.875), "threshold": 1.0} | population))
    return Network(
        name="net",
        input_shape=(inputs,),
        populations=(neurons,),
        connections=(Connection(source="input", target="a", weight=weight),),
        output="a",
        time_step_s=1e-3,
    )


def test_one_scale_for_weights_threshold_bias_and_reset():
    network = network_of([[0.5, -0.25, 0.75]], bias=0.125, reset=Reset.VALUE, reset_value=-0.5)
    result = quantise(network)
    parameters = result.populations[0].parameters
    assert result.connections[0].weight.tolist() == [[64, -32, 96]]
    assert parameters.threshold.tolist() == [128]
    assert parameters.bias.tolist() == [16]
    assert parameters.reset_value.tolist() == [-64]
    assert (parameters.leak, parameters.leak_factor.tolist()) == (Leak.SHIFT, [3])
    assert not result.notes


def test_exact_values_give_the_float_spikes():
    """Weights that are multiples of the step, and a leak without rounding: float and integer agree in every step."""
    rng = rng_of("test_exact_values_give_the_float_spikes")
    weight = rng.integers(-128, 128, (6, 10)) / 128
    network = network_of(weight, beta=np.array(1.0), reset=Reset.SUBTRACT)
    spikes = rng.random((40, 5, 10)) < 0.3
    fired = network.simulate(spikes)
    assert 0 < fired.sum() < fired.size
    assert np.array_equal(fired, simulate(quantise(network), spikes).spikes["a"])


@pytest.mark.parametrize(("width", "limit"), [(8, 2**-7), (4, 2**-3), (2, 1.0), (16, 2**-15)])
def test_weights_are_within_half_a_step(width, limit):
    rng = rng_of(f"weights {width}")
    weight = rng.uniform(-0.99, 0.99, (8, 8))
    result = quantise(network_of(weight, threshold=4.0), Quantisation(weight_width=width, v_width=24))
    scale = result.populations[0].parameters.threshold[0] / 4.0
    assert np.abs(result.connections[0].weight / scale - weight).max() <= limit
    assert abs(np.log2(scale) % 1) == 0


@pytest.mark.parametrize(
    ("beta", "leak", "factor"),
    [
        (1.0, Leak.NONE, 0),
        (0.5, Leak.SHIFT, 1),
        (np.float32(1 - 1 / 16), Leak.SHIFT, 4),
        (0.9, Leak.MULTIPLY, round(0.9 * 2**14)),
        (0.0, Leak.MULTIPLY, 0),
    ],
)
def test_leaks(beta, leak, factor):
    parameters = quantise(network_of([[1.0]], beta=np.array(float(beta)))).populations[0].parameters
    assert (parameters.leak, parameters.leak_factor.tolist()) == (leak, [factor])


def test_a_leak_that_is_rounded_is_noted():
    assert quantise(network_of([[1.0]], beta=np.array(0.9))).notes == ("population a: beta is off by 2.4e-05 at most",)


def test_rules_are_kept():
    network = network_of([[1.0]], compare=Compare.GREATER_EQUAL, reset=Reset.NONE, reset_delay=1, refractory=2)
    p = quantise(network).populations[0].parameters
    assert (p.compare, p.reset, p.reset_delay, p.refractory) == (Compare.GREATER_EQUAL, Reset.NONE, 1, 2)


def test_an_outlier_is_clipped_where_that_loses_less_and_noted():
    rng = rng_of("test_an_outlier_is_clipped_where_that_loses_less_and_noted")
    weight = rng.uniform(-0.4, 0.4, (30, 30))
    weight[0, 0] = 0.52
    result = quantise(network_of(weight), Quantisation(weight_width=4))
    assert result.connections[0].weight.max() == 7
    assert result.notes == ("population a: 1 of 900 weights are clipped",)


def test_a_large_threshold_makes_the_scale_coarser_and_is_noted():
    result = quantise(network_of([[1.0]], threshold=1000.0), Quantisation(v_width=12))
    assert result.populations[0].parameters.threshold.tolist() == [1000]
    assert result.notes == ("population a: its scale is 2**0, not 2**6, so that thresholds and biases fit 12 bits",)


def test_a_threshold_that_would_vanish_is_refused():
    with pytest.raises(
        QuantiseError,
        match=r"^population a: its threshold must be at least half of the weights' step at 4 bits, so that it does not "
        r"become 0; use wider weights$",
    ):
        quantise(network_of([[7.0]], threshold=0.1), Quantisation(weight_width=4))


@pytest.mark.parametrize("change", [{"weight_width": 0}, {"v_width": 25}, {"beta_fraction": 0}])
def test_bad_widths(change):
    name, value = next(iter(change.items()))
    with pytest.raises(ValueError, match=rf"^{name} must be an integer from \d+ to \d+, not {value}$"):
        Quantisation(**change)


def test_integrators_keep_their_membrane_scale():
    network = dataclasses.replace(network_of([[0.5]], spiking=False))
    parameters = quantise(network).populations[0].parameters
    assert not parameters.spiking


def test_binary_weights_are_signs_at_the_scale_with_the_least_error(request):
    rng = rng_of(request.node.name)
    weight = rng.normal(0, 0.3, (20, 50))
    result = quantise(network_of(weight), Quantisation(weight_width=1))
    (connection,) = result.connections
    assert np.array_equal(connection.weight, np.sign(weight))
    scale = 1 / result.populations[0].parameters.threshold[0]
    errors = {exponent: np.sum((np.sign(weight) * 2.0**exponent - weight) ** 2) for exponent in range(-8, 3)}
    assert scale == 2.0 ** min(errors, key=errors.get)
    assert not result.notes


def test_ternary_weights_are_kept_exactly(request):
    weight = rng_of(request.node.name).choice([-0.5, 0.0, 0.5], (6, 9))
    (connection,) = quantise(network_of(weight), Quantisation(weight_width=2)).connections
    assert np.array_equal(connection.weight, 2 * weight)


def test_a_weight_of_zero_has_no_sign():
    with pytest.raises(
        QuantiseError, match=r"^population a: its weights must not be 0 at 1 bit, and 2 are; use 2 bits$"
    ):
        quantise(network_of([[0.5, 0.0, 0.0]]), Quantisation(weight_width=1))
