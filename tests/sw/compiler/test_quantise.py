"""Quantisation: scales, leaks, and notes about losses."""

import dataclasses
import re

import numpy as np
import pytest
from harness.floats import network, population, single
from harness.networks import rng_of

from spikeloom.compiler.quantise import Quantisation, QuantiseError, Scales, quantise, scale_exponents
from spikeloom.model.network import Connection, Network
from spikeloom.model.population import Population
from spikeloom.sim.core.neuron import Compare, Leak, Reset
from spikeloom.sim.lib.lfsr import distinct_seeds
from spikeloom.sim.lib.words import weight_range
from spikeloom.sim.network.projection import Convolution
from spikeloom.sim.network.reference import simulate
from spikeloom.sim.network.sparse import SparseMatrix


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


@pytest.mark.parametrize("most", [1, 7])
def test_a_lower_bound_has_the_scale_of_its_neuron(most):
    """Dyadic numbers, so that membranes are equal in every step; the bound is reached, and without it they differ."""
    rng = rng_of(f"a lower bound {most}")
    weight = rng.integers(-128, 128, (6, 10)) / 128
    rule = {"beta": np.array(1.0), "reset": Reset.SUBTRACT, "max_spikes": most}
    bound = np.array([-0.5, -0.25, 0.0, 0.125, -1.0, -2.0])
    spikes = rng.random((40, 5, 10)) < 0.3
    for scales in Scales:
        network = network_of(weight, lower_bound=bound, **rule)
        options = Quantisation(v_width=20, scales=scales)
        exact = quantise(network, options)
        exponent = scale_exponents(network, options)[0]["a"]
        assert exact.populations[0].parameters.lower_bound.tolist() == np.ldexp(bound, exponent).tolist()
        floats = network.run(spikes, record_membranes=["a"])
        found = simulate(exact, spikes, record=["a"])
        assert np.array_equal(floats.fired("a"), found.fired("a"))
        assert np.array_equal(np.ldexp(floats.membranes["a"], exponent), found.states["a"].v)
        assert 0.1 < np.mean(floats.membranes["a"] == bound) < 0.9
        free = network_of(weight, **rule)
        assert quantise(free).populations[0].parameters.lower_bound is None
        assert not np.array_equal(free.simulate(spikes), floats.fired("a"))


@pytest.mark.parametrize(("weight", "exponent"), [(0.5, 7), (2.0**-9, 8)])
def test_a_lower_bound_that_needs_room_makes_the_scale_coarser(weight, exponent):
    """40 times 2**8 is the largest that leaves a bit of headroom; a weight of one half needs less than that."""
    found = quantise(network_of([[weight, -weight / 2]], lower_bound=-40.0))
    parameters = found.populations[0].parameters
    assert parameters.lower_bound.tolist() == [-40 << exponent]
    assert parameters.threshold.tolist() == [1 << exponent]
    assert any("so that thresholds and biases fit" in note for note in found.notes) == (exponent == 8)


def test_exact_values_give_the_float_spikes():
    """With weights that are multiples of the step, and a leak without rounding, floats and integers agree in every
    step."""
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
        (0.0, Leak.CLEAR, 0),
    ],
)
def test_leaks(beta, leak, factor):
    parameters = quantise(network_of([[1.0]], beta=np.array(float(beta)))).populations[0].parameters
    assert (parameters.leak, parameters.leak_factor.tolist()) == (leak, [factor])


def test_a_leak_that_is_rounded_is_noted():
    assert quantise(network_of([[1.0]], beta=np.array(0.9))).notes == ("population a: beta is off by at most 2.4e-05",)


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
        r"become 0; use weights of at least 7 bits$",
    ):
        quantise(network_of([[7.0]], threshold=0.1), Quantisation(weight_width=4))
    assert quantise(network_of([[7.0]], threshold=0.1), Quantisation(weight_width=7)).populations


@pytest.mark.parametrize("threshold", [0.124, 0.125, 0.126, 0.25, 0.3])
def test_the_remedy_for_a_threshold_that_would_vanish_is_exact(threshold):
    """The stated number of bits suffices, and one bit less does not."""
    network = network_of([[7.0]], threshold=threshold)
    with pytest.raises(QuantiseError) as refusal:
        quantise(network, Quantisation(weight_width=4))
    bits = int(re.search(r"use weights of at least (\d+) bits$", str(refusal.value))[1])
    assert quantise(network, Quantisation(weight_width=bits)).populations
    if bits > 5:
        with pytest.raises(QuantiseError, match=f"use weights of at least {bits} bits$"):
            quantise(network, Quantisation(weight_width=bits - 1))


def test_scales_of_neurons_are_offered_where_they_keep_a_threshold():
    def uneven(weights):
        neurons = population("a", size=2, threshold=np.array([100.0, 0.1]))
        joined = [
            Connection(source="input", target="a", weight=weights),
            Connection(source="a", target="b", weight=[[1.0, 1.0]]),
        ]
        return network([neurons, population("b")], joined)

    of_population, of_neurons = (Quantisation(weight_width=4, scales=scales) for scales in Scales)
    start = (
        r"^population a: its threshold must be at least half of the weights' step at 4 bits, so that it does not "
        r"become 0; use "
    )
    small = uneven([[100.0], [0.1]])
    with pytest.raises(
        QuantiseError, match=start + r"a scale per neuron \(--scales neuron\) or weights of at least 11 bits$"
    ):
        quantise(small, of_population)
    assert (quantise(small, of_neurons).populations[0].parameters.threshold > 0).all()
    large = uneven([[100.0], [100.0]])
    for options in (of_population, of_neurons):
        with pytest.raises(QuantiseError, match=start + r"weights of at least 11 bits$"):
            quantise(large, options)


def test_currents_and_adaptations_share_the_scale():
    network = network_of(
        [[0.5]],
        alpha=np.array(0.75),
        adaptation_factor=np.array(0.9),
        adaptation_step=np.array(0.25),
        reset=Reset.ZERO,
    )
    result = quantise(network)
    p = result.populations[0].parameters
    assert (p.current_leak, p.current_leak_factor.tolist()) == (Leak.MULTIPLY, [3 << 12])
    assert (p.adaptation_leak, p.adaptation_leak_factor.tolist()) == (Leak.MULTIPLY, [round(0.9 * 2**14)])
    assert p.adaptation_step.tolist() == [p.threshold[0] // 4]
    assert result.notes == ("population a: adaptation factor is off by at most 2.4e-05",)


def test_without_a_multiplier_a_current_decays_by_a_shift_which_is_noted():
    result = quantise(network_of([[0.5]], alpha=np.array(0.75)), Quantisation(multiplier=False))
    p = result.populations[0].parameters
    assert (p.current_leak, p.current_leak_factor.tolist()) == (Leak.SHIFT, [2])
    assert result.notes == ("population a: alpha is a shift, which is less exact than a product",)


@pytest.mark.parametrize(("width", "most", "rate"), [(8, 0.08, 0.01), (16, 2e-4, 1e-3)])
def test_integers_with_currents_and_adaptation_follow_the_floats(width, most, rate):
    """Compared are the share of neurons and steps in which spikes of the first layer differ, and the relative error of
    both rates: at 8 bits spikes come earlier or later, but equally often."""
    rng = rng_of("test_integers_with_currents_and_adaptation_follow_the_floats")

    def layer(name, size, **options):
        return Population(
            name=name, shape=(size,), alpha=0.875, beta=0.9, threshold=1.0, reset=Reset.SUBTRACT, **options
        )

    network = Network(
        name="net",
        input_shape=(64,),
        populations=(layer("a", 64, adaptation_factor=0.95, adaptation_step=0.2), layer("b", 10)),
        connections=(
            Connection(source="input", target="a", weight=rng.normal(0.01, 0.05, (64, 64))),
            Connection(source="a", target="b", weight=rng.normal(0.0, 0.03, (10, 64))),
        ),
        output="b",
        time_step_s=1e-3,
    )
    spikes = rng.random((100, 8, 64)) < 0.05
    floats = network.run(spikes).spikes
    integers = simulate(quantise(network, Quantisation(weight_width=width, v_width=24)), spikes).spikes
    for name, fired in floats.items():
        assert 0.01 < fired.mean() < 0.5, name
        assert abs(integers[name].mean() / fired.mean() - 1) < rate
    assert (floats["a"] != integers["a"]).mean() < most


def test_a_current_that_keeps_nothing_is_none():
    p = quantise(network_of([[0.5]], alpha=np.array(0.0))).populations[0].parameters
    assert p.current_leak is None


def test_noise_is_a_power_of_two_steps_and_each_neuron_has_a_seed():
    result = quantise(dataclasses.replace(network_of([[0.5], [0.25]], noise=0.25), seed=7))
    p = result.populations[0].parameters
    assert p.threshold.tolist() == [128, 128]
    assert p.noise_bits == 6  # -32 .. 31 steps of 1/128
    assert p.seed.tolist() == distinct_seeds(7, 2).tolist()
    assert not result.notes
    assert quantise(network_of([[0.5]], noise=0.2)).notes == ("population a: its noise is 0.25, not 0.2",)
    silent = quantise(network_of([[0.5]], noise=0.001))
    assert silent.populations[0].parameters.noise_bits == 0
    assert silent.notes == ("population a: its noise is less than a step of its membrane and is dropped",)


def test_graded_values_have_a_scale_of_their_own():
    """Values up to 2 in 8 bits are 64ths; the weights that multiply them are scaled so that the sum is right."""
    first = Population(name="a", shape=(1,), threshold=0.5, reset=Reset.NONE, value_limit=2.0)
    readout = Population(name="b", shape=(1,), spiking=False, reset=Reset.NONE)
    network = Network(
        name="net",
        input_shape=(2,),
        populations=(first, readout),
        connections=(
            Connection(source="input", target="a", weight=[[0.5, 1.0]]),
            Connection(source="a", target="b", weight=[[0.75]]),
        ),
        output="b",
        time_step_s=1e-3,
    )
    result = quantise(network, Quantisation(weight_width=8))
    a = result.populations[0].parameters
    assert (a.graded, a.graded_shift, a.value_width) == (True, 0, 8)
    assert (a.threshold.tolist(), result.connections[1].weight.tolist()) == ([32], [[96]])
    spikes = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    floats, integers = network.run(spikes), simulate(result, spikes)
    assert floats.values["a"][:, 0, 0].tolist() == [0.0, 0.0, 1.0, 1.5]
    assert integers.values["a"][:, 0, 0].tolist() == [0, 0, 64, 96]
    scale = 128 * 64  # of a weight, times that of a value
    assert (integers.states["b"].v[:, 0, 0] / scale).tolist() == floats.membranes["b"][:, 0, 0].tolist()
    wide = quantise(network, Quantisation(weight_width=16, v_width=24)).populations[0].parameters
    assert wide.graded_shift == 8
    narrow = quantise(network, Quantisation(value_width=4)).populations[0].parameters
    assert (narrow.graded_shift, narrow.value_width) == (4, 4)


def test_numbers_of_spikes_have_no_scale():
    """Floats and integers are equal where nothing is rounded, and weights that multiply spike counts have the usual
    scale."""
    first = Population(
        name="a",
        shape=(1,),
        beta=np.ones(()),
        threshold=0.5,
        compare=Compare.GREATER_EQUAL,
        reset=Reset.SUBTRACT,
        max_spikes=5,
    )
    readout = Population(name="b", shape=(1,), beta=np.ones(()), spiking=False, reset=Reset.NONE)
    network = Network(
        name="net",
        input_shape=(3,),
        populations=(first, readout),
        connections=(
            Connection(source="input", target="a", weight=[[0.5, 1.0, 1.75]]),
            Connection(source="a", target="b", weight=[[0.75]]),
        ),
        output="b",
        time_step_s=1e-3,
    )
    result = quantise(network)
    a = result.populations[0].parameters
    assert (a.max_spikes, a.graded, a.graded_shift, a.value_width) == (5, True, 0, 8)
    assert result.value_bounds("a") == (0, 5)
    assert result.current_bounds("b") == (0, 5 * int(result.connections[1].weight[0, 0]))
    spikes = rng_of("test_numbers_of_spikes_have_no_scale").random((40, 1, 3)) < 0.4
    floats, integers = network.run(spikes), simulate(result, spikes)
    assert np.array_equal(floats.fired("a"), integers.fired("a"))
    assert set(np.unique(floats.fired("a"))) == set(range(6))
    exponents, values = scale_exponents(network, Quantisation())
    assert values == {"a": 0}
    assert np.array_equal(np.ldexp(integers.states["b"].v, -exponents["b"]), floats.membranes["b"])
    with pytest.raises(
        QuantiseError, match=r"^population a: its 5 spikes per step must fit value_width, which must be "
    ):
        quantise(network, Quantisation(value_width=3))


def test_a_graded_loop_settles_or_is_refused():
    def loop(weight):
        population = Population(name="a", shape=(1,), threshold=0.5, reset=Reset.NONE, value_limit=2.0)
        return Network(
            name="net",
            input_shape=(1,),
            populations=(population,),
            connections=(
                Connection(source="input", target="a", weight=[[1.0]]),
                Connection(source="a", target="a", weight=[[weight]], delay=1),
            ),
            output="a",
            time_step_s=1e-3,
        )

    p = quantise(loop(3.0)).populations[0].parameters
    assert p.graded_shift >= 0
    with pytest.raises(
        QuantiseError,
        match=r"^the values of a must not grow from step to step: make the weights of their loops smaller$",
    ):
        quantise(loop(1000.0))


def test_input_values_keep_their_width():
    network = dataclasses.replace(network_of([[0.5, 0.25]], spiking=False, reset=Reset.NONE), input_value_width=4)
    result = quantise(network)
    assert result.input_value_width == 4
    values = np.array([[7, -8], [0, 3]])
    floats = network.simulate(values)[:, 0, 0]
    scale = result.connections[0].weight[0, 0] / 0.5
    integers = simulate(result, values).states["a"].v[:, 0, 0]
    assert abs(floats[1] * scale - integers[1]) <= 1
    assert floats[0] * scale == integers[0]


def test_delay_lines():
    lines = Population(name="a", shape=(3,), delay=np.array([0, 2, 15]))
    network = Network(
        name="net",
        input_shape=(3,),
        populations=(lines,),
        connections=(Connection(source="input", target="a", weight=np.eye(3)),),
        output="a",
        time_step_s=1e-3,
    )
    result = quantise(network)
    assert result.populations[0].parameters.delay.tolist() == [0, 2, 15]
    rng = rng_of("test_delay_lines")
    spikes = rng.random((40, 2, 3)) < 0.3
    fired = network.simulate(spikes)
    for n, delay in enumerate((0, 2, 15)):
        assert np.array_equal(fired[delay:, :, n], spikes[: 40 - delay, :, n])
        assert not fired[:delay, :, n].any()
    assert np.array_equal(simulate(result, spikes).spikes["a"], fired)
    with pytest.raises(
        QuantiseError,
        match=r"^population a: its delays must be at most 11 steps where membranes have 12 bits, not 15; use wider "
        r"membranes or a longer time step$",
    ):
        quantise(network, Quantisation(v_width=12))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"adaptation_factor": np.array(0.5), "adaptation_step": 0.01},
            r"^population a: its adaptation step must be at least half of the weights' step at 4 bits, so that it does "
            r"not become 0; use weights of at least \d+ bits$",
        ),
        (
            {"noise": 1e6},
            r"^population a: its noise must be at most 32768, not 1e\+06, at 4 bits per weight; use fewer$",
        ),
    ],
)
def test_what_cannot_be_held_is_refused(options, message):
    with pytest.raises(QuantiseError, match=message):
        quantise(network_of([[7.0]], **options), Quantisation(weight_width=4))


@pytest.mark.parametrize("change", [{"value_width": 1}, {"weight_width": 0}, {"v_width": 25}, {"beta_fraction": 0}])
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
        QuantiseError, match=r"^population a: its weights must not be 0 at 1 bit, but 2 are; use 2 bits$"
    ):
        quantise(network_of([[0.5, 0.0, 0.0]]), Quantisation(weight_width=1))


@pytest.mark.parametrize(
    ("weight", "options", "exponent"),
    [
        (0.0, {"spiking": False, "threshold": 0.0}, 0),
        (0.0, {"spiking": False, "threshold": 0.0, "bias": 0.5}, 14),
        (0.0, {"threshold": 0.0}, 0),
        (0.0, {"threshold": 1.0}, 6),
        (1.0, {"threshold": 0.0}, 6),
        (1e300, {"threshold": 0.0}, -990),
        (1e300, {"threshold": 1e300}, -990),
        (1e-310, {"threshold": 0.0}, 1036),
    ],
)
def test_any_finite_weights_have_a_scale(weight, options, exponent):
    """All zeros, zero thresholds, and both ends of the range of floats: no warning, and a suitable scale."""
    network = single(weight=weight, beta=1.0, **options)
    quantised = quantise(network)
    parameters = quantised.populations[0].parameters
    assert quantised.connections[0].weight.item() == round(np.ldexp(weight, exponent))
    assert parameters.threshold.item() == (round(np.ldexp(options["threshold"], exponent)))
    assert parameters.bias.item() == round(np.ldexp(options.get("bias", 0.0), exponent))
    assert not any("weights" in note for note in quantised.notes)


def test_weights_that_become_0_are_counted():
    """They become 0 because of the threshold or because of one large weight; at 2 bits this is by design."""
    dead = single(weight=1e-5)
    assert any(note.startswith("population lif: 1 of 1 weights become 0, because ") for note in quantise(dead).notes)
    neuron = population(beta=1.0, threshold=0.0)
    weights = np.array([[0.0, 1e-5, 2e-5, 3e-5, 1e9]])
    uneven = network([neuron], [Connection(source="input", target="lif", weight=weights)], inputs=5)
    assert any("3 of 4 weights become 0, because" in note for note in quantise(uneven).notes)
    ternary = Quantisation(weight_width=2)
    assert not any("become 0" in note for note in quantise(uneven, ternary).notes)


def test_what_no_scale_can_hold_is_refused():
    with pytest.raises(
        QuantiseError,
        match=r"^population lif: its threshold must be at least half of the weights' step at 8 bits, so that it does "
        r"not become 0; 16 bits are too few as well: its largest weight must be \d+e\+\d+ times smaller$",
    ):
        quantise(single(weight=1e300))
    graded, neuron = population("a", value_limit=1e300, threshold=1e300), population("b")
    joined = [
        Connection(source="input", target="a", weight=[[1e300]]),
        Connection(source="a", target="b", weight=[[1e300]]),
    ]
    message = r"^population b: its weights times the largest values that reach it must be finite$"
    with pytest.raises(QuantiseError, match=message):
        quantise(network([graded, neuron], joined))


OWN = Quantisation(scales=Scales.NEURON)


def recurrent(rng, *, powers=None, inputs=20, hidden=32, sparse=False):
    """A recurrent network; ``powers`` scales all parameters of each hidden neuron, which changes no spike."""
    scale = np.ones(hidden) if powers is None else 2.0**powers
    forward = rng.normal(0.05, 0.25, (hidden, inputs)) * scale[:, None]
    back = rng.normal(0.0, 0.05, (hidden, hidden)) * scale[:, None]
    out = rng.normal(0.05, 0.3, (5, hidden))
    first = Population(
        name="first",
        shape=(hidden,),
        beta=np.array(0.9),
        threshold=scale,
        bias=rng.normal(0.0, 0.05, hidden) * scale,
        reset=Reset.VALUE,
        reset_value=-0.25 * scale,
    )
    last = Population(name="last", shape=(5,), beta=np.array(0.9), threshold=1.0, reset=Reset.SUBTRACT)
    weights = [SparseMatrix.from_dense(w) if sparse else w for w in (forward, back, out)]
    return Network(
        name="rows",
        input_shape=(inputs,),
        populations=(first, last),
        connections=(
            Connection(source="input", target="first", weight=weights[0]),
            Connection(source="first", target="first", weight=weights[1], delay=1),
            Connection(source="first", target="last", weight=weights[2]),
        ),
        output="last",
        time_step_s=1e-3,
    )


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("width", [2, 4, 8])
def test_powers_of_two_between_neurons_make_no_difference(width, sparse):
    """The integers of each neuron are those of the network without the powers of two."""
    name = f"powers {width}"
    powers = rng_of(name).integers(-6, 7, 32)
    options = dataclasses.replace(OWN, weight_width=width)
    plain = recurrent(rng_of(name), sparse=sparse)
    scaled = recurrent(rng_of(name), powers=powers, sparse=sparse)
    # The generator draws the same numbers for both networks.
    assert np.array_equal(scaled.population("first").threshold, 2.0**powers)
    found, expected = quantise(scaled, options), quantise(plain, options)
    for one, other in zip(found.connections, expected.connections, strict=True):
        assert np.array_equal(one.as_dense(), other.as_dense())
    for field in ("threshold", "bias", "reset_value"):
        for one, other in zip(found.populations, expected.populations, strict=True):
            assert np.array_equal(getattr(one.parameters, field), getattr(other.parameters, field))
    exponents = [scale_exponents(n, options)[0]["first"] for n in (scaled, plain)]
    assert np.array_equal(exponents[0], exponents[1] - powers)


def agreement(network, options, spikes):
    """Share of the cells of hidden neurons in which floats and integers agree, among those in which either fires."""
    exact = network.run(spikes).spikes["first"]
    found = simulate(quantise(network, options), spikes).spikes["first"]
    assert 0.02 < exact.mean() < 0.5
    return np.count_nonzero(exact & found) / np.count_nonzero(exact | found)


def test_scales_of_their_own_keep_recurrent_networks():
    """Rows differ by powers of two, as in trained networks whose gains are folded into the weights."""
    shared, own = [], []
    for number in range(6):
        rng = rng_of(f"rows {number}")
        network = recurrent(rng, powers=rng_of(f"of rows {number}").integers(-3, 4, 32))
        spikes = rng.random((30, 16, 20)) < 0.2
        shared.append(agreement(network, Quantisation(), spikes))
        own.append(agreement(network, OWN, spikes))
    assert np.mean(shared) < 0.55
    assert np.mean(own) > 0.85
    assert min(own) > max(shared) + 0.25


def test_the_neurons_of_a_channel_share_a_scale():
    rng = rng_of("channels")
    geometry = Convolution(input_shape=(2, 4, 4), output_channels=3, kernel=(3, 3), padding=(1, 1))
    weight = rng.uniform(-1, 1, geometry.weight_shape) * np.array([1.0, 0.125, 8.0]).reshape(3, 1, 1, 1)
    conv = Population(name="conv", shape=(3, 4, 4), beta=np.array(1.0), threshold=np.repeat([1.0, 0.125, 8.0], 16))
    last = population("lif", beta=1.0)
    net = dataclasses.replace(
        network([conv, last], [Connection(source="conv", target="lif", weight=rng.normal(size=(1, 48)))], inputs=32),
        connections=(
            Connection(source="input", target="conv", weight=weight, convolution=geometry),
            Connection(source="conv", target="lif", weight=rng.normal(size=(1, 48))),
        ),
    )
    exponents, _ = scale_exponents(net, OWN)
    of_channels = exponents["conv"].reshape(3, 16)
    assert np.all(of_channels == of_channels[:, :1])
    assert len(set(of_channels[:, 0])) == 3
    found = quantise(net, OWN)
    scale = of_channels[:, 0].reshape(3, 1, 1, 1)
    assert np.array_equal(found.connections[0].kernel, np.clip(np.rint(np.ldexp(weight, scale)), -128, 127))
    assert np.array_equal(found.populations[0].parameters.threshold, np.ldexp(conv.threshold, exponents["conv"]))


@pytest.mark.parametrize("kind", [{}, {"noise": 0.25}, {"value_limit": 4.0}])
def test_populations_that_share_a_scale_in_any_case(kind):
    """The output, whose membranes are compared; populations with noise, whose width is shared; values that multiply the
    same weights."""
    rng = rng_of("shared")
    first = population("first", size=4, beta=1.0, **kind)
    last = population("last", size=3, beta=1.0, spiking=False)
    joined = [
        Connection(source="input", target="first", weight=rng.normal(size=(4, 6)) * [[1], [4], [0.1], [2]]),
        Connection(source="first", target="last", weight=rng.normal(size=(3, 4)) * [[1], [4], [0.1]]),
    ]
    net = network([first, last], joined, inputs=6)
    shared, own = (scale_exponents(net, options)[0] for options in (Quantisation(), OWN))
    assert own["last"] == shared["last"]
    assert np.ndim(own["first"]) == (0 if kind else 1)


def test_a_threshold_bounds_the_scale_of_its_neuron():
    net = recurrent(rng_of("bounds"))
    first = dataclasses.replace(net.population("first"), threshold=np.where(np.arange(32) == 5, 200.0, 1.0))
    net = dataclasses.replace(net, populations=(first, net.populations[1]))
    found = quantise(net, OWN)
    assert np.max(found.populations[0].parameters.threshold) < 1 << 14
    note = "population first: the scales of 1 of 32 neurons are coarser than their weights need, so that thresholds"
    assert any(text.startswith(note) for text in found.notes)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ({"noise": 0.25}, "its noise has one amplitude for all of them"),
        ({"value_limit": 4.0}, "their values meet the same weights"),
    ],
)
def test_neurons_that_must_share_a_scale_are_noted(kind, why):
    rng = rng_of("shared")
    weight = rng.normal(size=(4, 6))
    last = population("last", size=3, beta=1.0, spiking=False)

    def notes(factors, options):
        joined = [
            Connection(source="input", target="first", weight=weight * factors),
            Connection(source="first", target="last", weight=rng.normal(size=(3, 4))),
        ]
        return quantise(network([population("first", size=4, **kind), last], joined, inputs=6), options).notes

    note = f"population first: its neurons share a scale, because {why}"
    assert note in notes([[1], [4], [0.1], [2]], OWN)
    assert note not in notes([[1], [4], [0.1], [2]], Quantisation())
    weight = np.sign(weight)
    assert note not in notes([[1], [1], [1], [1]], OWN)


def two_layers(rng, **options):
    hidden = population("hidden", size=12, reset=Reset.SUBTRACT, **options)
    last = population("last", size=5, reset=Reset.SUBTRACT)
    joined = [
        Connection(source="input", target="hidden", weight=rng.normal(0, 0.3, (12, 20))),
        Connection(source="hidden", target="hidden", weight=rng.normal(0, 0.1, (12, 12)), delay=1),
        Connection(source="hidden", target="last", weight=rng.normal(0, 0.3, (5, 12))),
    ]
    return network([hidden, last], joined, inputs=20)


@pytest.mark.parametrize(("hidden", "last"), [(4, 8), (8, 4), (1, 16), (16, 2)])
def test_each_population_has_the_width_of_its_weights(hidden, last):
    """The result equals quantising the network at that width alone: the scales of populations are independent of each
    other."""
    net = two_layers(rng_of(f"widths {hidden} {last}"))
    found = quantise(net, Quantisation(weight_widths={"hidden": hidden, "last": last}))
    assert (found.weight_width, found.width_of("hidden"), found.width_of("last")) == (max(hidden, last), hidden, last)
    for name, width in (("hidden", hidden), ("last", last)):
        alone = quantise(net, Quantisation(weight_width=width))
        for connection, other in zip(found.connections_to(name), alone.connections_to(name), strict=True):
            assert np.array_equal(connection.kernel, other.kernel)
            low, high = weight_range(width)
            assert low <= connection.kernel.min() < 0 < connection.kernel.max() <= high
        of, other = (x.population(name).parameters for x in (found, alone))
        assert np.array_equal(of.threshold, other.threshold)


def test_a_population_asks_for_a_width_and_the_options_decide():
    net = two_layers(rng_of("asks"), weight_bits=3)
    assert [quantise(net).width_of(name) for name in ("hidden", "last")] == [3, 8]
    found = quantise(net, Quantisation(weight_width=5, weight_widths={"hidden": 4}))
    assert [found.width_of(name) for name in ("hidden", "last")] == [4, 5]
    assert [p.weight_width for p in found.populations] == [4, None]


def test_widths_of_unknown_populations_are_refused():
    net = two_layers(rng_of("unknown"))
    message = r"^weight widths must be of populations of network test, which are hidden, last, not of lif$"
    with pytest.raises(QuantiseError, match=message):
        quantise(net, Quantisation(weight_widths={"lif": 4}))
    with pytest.raises(ValueError, match=r"^weight_widths of 'last' must be an integer from 1 to 16, not 17$"):
        Quantisation(weight_widths={"last": 17})
    message = r"^weight_bits of population 'a' must be None or an integer from 1 to 16, not 0$"
    with pytest.raises(ValueError, match=message):
        Population(name="a", shape=(1,), weight_bits=0)


def test_narrow_weights_where_they_suffice_agree_better_than_narrow_weights_everywhere():
    """The hidden layer has ternary weights, which fit two bits; the last layer needs eight."""
    rng = rng_of("mixed")
    net = two_layers(rng, beta=1.0)
    into, loop, out = net.connections
    ternary = dataclasses.replace(into, weight=rng.integers(-1, 2, (12, 20)) * 0.5)
    net = dataclasses.replace(net, connections=(ternary, dataclasses.replace(loop, weight=0 * loop.weight), out))
    spikes = rng.random((40, 20, 20)) < 0.2
    floats = net.run(spikes).spikes
    share = {}
    for name, widths in {"2": {"hidden": 2, "last": 2}, "mixed": {"hidden": 2}, "8": {}}.items():
        integers = simulate(quantise(net, Quantisation(weight_widths=widths)), spikes).spikes
        share[name] = np.mean(integers["last"] == floats["last"])
    assert 0.02 < floats["last"].mean() < 0.5
    assert share["2"] < 0.9 < 0.95 < share["mixed"] == share["8"]


def test_scales_are_checked():
    with pytest.raises(TypeError, match=r"^scales must be a Scales, not 'neuron'$"):
        Quantisation(scales="neuron")
