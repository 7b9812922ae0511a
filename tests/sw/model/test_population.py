"""Neurons in floats: validation, the step against closed forms and plain loops, and the equation."""

import dataclasses
import re

import numpy as np
import pytest
from harness.floats import network, population, single
from harness.networks import rng_of

from spikeloom.compiler.quantise import QuantiseError, quantise
from spikeloom.model.network import Connection
from spikeloom.model.population import Population
from spikeloom.sim.core.neuron import Compare, Reset
from spikeloom.sim.network.reference import simulate


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


@pytest.mark.parametrize("compare", Compare)
@pytest.mark.parametrize("most", [2, 3, 15])
def test_several_spikes_per_step_are_the_quotient_of_membrane_and_threshold(request, compare, most):
    """sinabs MultiSpike and MaxSpike: the number of spikes is the quotient, up to a bound, and the threshold is
    subtracted as often. Dyadic numbers are exact."""
    rng = rng_of(request.node.name)
    threshold = 0.75
    rule = {"beta": 0.5, "threshold": threshold, "compare": compare, "reset": Reset.SUBTRACT, "max_spikes": most}
    model = dataclasses.replace(single(weight=1.0, **rule), input_value_width=8)
    inputs = rng.integers(-8, 4 + 2 * most, (200, 1))
    result, v, seen, capped = model.run(inputs, record_membranes=["lif"]), 0.0, set(), 0
    for t in range(200):
        v = 0.5 * v + float(inputs[t, 0])
        # A membrane of exactly k thresholds gives k spikes with >=, and k - 1 with >.
        whole = v // threshold if compare is Compare.GREATER_EQUAL else -(-v // threshold) - 1
        count = min(max(int(whole), 0), most)
        capped += whole > most
        v -= count * threshold
        assert (result.fired("lif")[t, 0, 0], result.values["lif"][t, 0, 0]) == (count, count)
        assert result.spikes["lif"][t, 0, 0] == (count > 0)
        assert result.membranes["lif"][t, 0, 0] == v
        seen.add(count)
    assert seen == set(range(most + 1))
    assert result.capped == {"lif": capped}
    assert capped > 0
    assert np.array_equal(model.simulate(inputs), result.fired("lif"))


def test_a_synaptic_current_makes_the_difference_of_two_exponentials():
    """For one spike, v_n = w (alpha**(n+1) - beta**(n+1)) / (alpha - beta), with alpha the decay of the current and
    beta that of the membrane."""
    membranes = single(weight=2.0, alpha=0.8, beta=0.9, spiking=False).simulate(np.eye(1, 30).T)[:, 0, 0]
    n = np.arange(1, 31)
    np.testing.assert_allclose(membranes, 2.0 * (0.8**n - 0.9**n) / (0.8 - 0.9), rtol=1e-12)


def test_all_models_equal_the_recurrence_in_plain_python(request):
    """The recurrence of the module, statement by statement, for random combinations; noise uses the same random
    numbers."""
    rng, seen = rng_of(request.node.name), 0
    for _ in range(40):
        has = rng.random(3) < 0.5
        delay = int(rng.integers(2))
        resets = [r for r in Reset if not (has[1] and delay and r is Reset.SUBTRACT)]
        options = {
            "beta": float(rng.random()),
            "threshold": float(rng.normal(0.5, 0.5)),
            "bias": float(rng.normal(0, 0.1)),
            "reset": resets[rng.integers(len(resets))],
            "reset_value": float(rng.normal(0, 0.2)),
            "reset_delay": delay,
            "refractory": int(rng.integers(3)),
            "alpha": float(rng.random()) if has[0] else None,
            "adaptation_factor": float(rng.random()) if has[1] else None,
            "adaptation_step": float(rng.random()) if has[1] else 0.0,
            "value_limit": 1.25 if has[2] else None,
            "lower_bound": float(rng.normal(-0.1, 0.3)) if rng.random() < 0.5 else None,
        }
        model = single(**options)
        inputs = (rng.random((40, 1)) < 0.6).astype(int)
        result = model.run(inputs, record_membranes=["lif"])
        v = i = a = pending = count = 0
        resets = {Reset.NONE: lambda x, _: x, Reset.ZERO: lambda x, _: 0.0, Reset.SUBTRACT: lambda x, by: x - by}
        resets[Reset.VALUE] = lambda x, _, to=options["reset_value"]: to
        reset = resets[options["reset"]]
        for t in range(40):
            hold = count > 0
            i = options["alpha"] * i + inputs[t, 0] if has[0] else inputs[t, 0]
            base = v if hold else options["beta"] * v
            base = reset(base, options["threshold"]) if pending else base
            u = base if hold else base + (options["bias"] + i)
            theta = options["threshold"] + a
            spike = not hold and u > theta
            value = max(-1.25, min(u, 1.25)) * spike
            v = reset(u, theta) if spike and not delay else u
            v = v if options["lower_bound"] is None else max(v, options["lower_bound"])
            a = options["adaptation_factor"] * a + options["adaptation_step"] * spike if has[1] else 0.0
            pending, count = spike and delay, options["refractory"] if spike else max(count - 1, 0)
            assert result.spikes["lif"][t, 0, 0] == spike
            assert result.membranes["lif"][t, 0, 0] == pytest.approx(v, rel=1e-12, abs=1e-12)
            if has[2]:
                assert result.values["lif"][t, 0, 0] == pytest.approx(value, rel=1e-12)
            seen += spike
    assert 200 < seen < 1400


def test_noise_makes_the_probability_rise_linearly_over_its_width():
    """P(spike) = (u - threshold + noise) / (2 noise); 400 neurons, 200 steps, within five standard deviations; the
    integers fire equally often."""
    for drive in (0.5, 0.8, 1.0, 1.15, 1.5):
        neuron = population(size=400, beta=0.0, reset=Reset.NONE, noise=0.25)
        model = network([neuron], [Connection(source="input", target="lif", weight=np.full((400, 1), drive))], seed=11)
        expected = min(max((drive - 1.0 + 0.25) / 0.5, 0.0), 1.0)
        bound = 5 * np.sqrt(expected * (1 - expected) / 80000)
        inputs = np.ones((200, 1))
        spikes = model.simulate(inputs)
        assert abs(spikes.mean() - expected) <= bound
        integers = simulate(quantise(model), inputs).spikes["lif"]
        assert abs(integers.mean() - expected) <= bound + 1.5 / 64, "64 steps of noise, and a weight is rounded"
        if 0 < expected < 1:
            other = dataclasses.replace(model, seed=12).simulate(inputs)
            assert not np.array_equal(other, spikes)
            correlation = np.corrcoef(spikes[:, 0, :].T)[np.triu_indices(400, 1)]
            assert abs(correlation.mean()) < 5e-3, "neurons are independent of each other"


def test_samples_of_a_stochastic_network_have_the_same_noise():
    model = single(weight=1.0, beta=0.5, noise=0.5)
    spikes = model.simulate(np.ones((50, 3, 1)))
    assert 0 < spikes.sum() < spikes.size
    assert np.array_equal(spikes[:, 0], spikes[:, 1])


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
        ({"alpha": 1.5}, ValueError, "alpha of population 'lif' must be from 0 to 1, not 1.5"),
        ({"adaptation_factor": -0.5}, ValueError,
         "adaptation_factor of population 'lif' must be from 0 to 1, not -0.5"),
        ({"noise": -1.0}, ValueError, "noise of population 'lif' must be finite and at least 0, not -1.0"),
        ({"value_limit": 0.0}, ValueError, "value_limit of population 'lif' must be finite and positive, not 0.0"),
        ({"max_spikes": 16}, ValueError, "max_spikes of population 'lif' must be an integer from 1 to 15, not 16"),
        ({"max_spikes": 2, "threshold": 0.0}, ValueError,
         "threshold of population 'lif', which fires several times per step, must be positive, not 0.0"),
        ({"max_spikes": 2, "noise": 0.5}, ValueError,
         "population 'lif' fires several times per step and must not have noise"),
        ({"max_spikes": 2, "value_limit": 0.5}, ValueError,
         "population 'lif' fires several times per step and must not have graded spikes"),
        ({"max_spikes": 2, "reset_delay": 1}, ValueError,
         "population 'lif' fires several times per step and must not have a reset delay"),
        ({"spiking": False, "max_spikes": 2}, ValueError,
         "population 'lif' never spikes and must not have several spikes per step"),
        ({"lower_bound": np.inf}, ValueError, "lower_bound of population 'lif' must be finite, not inf"),
        ({"spiking": False, "lower_bound": 0.0}, ValueError,
         "population 'lif' never spikes and must not have a lower bound"),
        ({"delay": 1, "lower_bound": 0.0}, ValueError,
         "population 'lif' consists of delay lines and must not have a lower bound"),
        ({"delay": 24}, ValueError, "delay of population 'lif' must be from 0 to 23 steps, not 24"),
        ({"delay": 1.5}, TypeError, "delay of population 'lif' must be integers, not float64"),
        ({"delay": 1, "alpha": 0.5}, ValueError,
         "population 'lif' consists of delay lines and must not have a synaptic current"),
        ({"delay": 1, "noise": 0.5}, ValueError, "population 'lif' consists of delay lines and must not have noise"),
        ({"delay": 1, "spiking": False}, ValueError,
         "population 'lif' consists of delay lines and must not have a membrane to read out"),
        ({"spiking": False, "value_limit": 1.0}, ValueError,
         "population 'lif' never spikes and must not have graded spikes"),
        ({"adaptation_factor": 0.5, "reset": Reset.SUBTRACT, "reset_delay": 1}, ValueError,
         "population 'lif' has an adaptive threshold, which must be subtracted in the step of the spike "
         "(reset_delay 0), because the threshold of the comparison is not stored"),
    ],
)  # fmt: skip
def test_a_population_refuses(options, kind, message):
    with pytest.raises(kind, match=exactly(message)):
        population(**options)


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
        ({"alpha": 0.5}, "i = 0.5 i + I; v = 0.875 v + i; spike if v > 1; then v = 0"),
        ({"adaptation_factor": 0.75, "adaptation_step": 0.5, "reset": Reset.SUBTRACT},
         "v = 0.875 v + I; spike if v > 1 + a; then v = v - (1 + a); a = 0.75 a, 0.5 more after a spike"),
        ({"noise": 0.25}, "v = 0.875 v + I; spike if v + noise > 1; then v = 0; noise is uniform in -0.25 .. 0.25"),
        ({"max_spikes": 7, "reset": Reset.SUBTRACT},
         "v = 0.875 v + I; n spikes if v > n 1, n up to 7; then v = v - n 1"),
        ({"lower_bound": -0.5, "reset": Reset.SUBTRACT},
         "v = 0.875 v + I; spike if v > 1; then v = v - 1; v is at least -0.5"),
        ({"value_limit": 2.0}, "v = 0.875 v + I; spike if v > 1; then v = 0; a spike carries v, at most 2"),
        ({"delay": 3}, "spike 3 steps after I > 0"),
        ({"size": 2, "beta": [0.5, 0.75]}, "v = [0.5 .. 0.75] v + I; spike if v > 1; then v = 0"),
    ],
)  # fmt: skip
def test_the_equation_reads_as_the_step(options, equation):
    assert population(**options).equation == equation


# With weight 1, alpha 1/2 and beta 0, whose gain is 1, v is alpha e of the step before; computed by hand.
@pytest.mark.parametrize(
    ("options", "membranes", "spikes"),
    [
        ({"reset": Reset.NONE}, [0.0, 0.5, 0.75, 0.875, 0.9375], [0, 0, 1, 1, 1]),
        ({"reset": Reset.ZERO, "reset_delay": 1}, [0.0, 0.5, 0.75, 0.0, 0.0], [0, 0, 1, 0, 0]),
        # v += h0 = -1 and e = 1.75 / 2 + 1 - 0.625 = 1.25 after the spike.
        ({"reset": Reset.SUBTRACT, "reset_delay": 1}, [0.0, 0.5, 0.75, -0.125, 0.625], [0, 0, 1, 0, 0]),
    ],
)
def test_alpha_neurons_step_as_computed_by_hand(options, membranes, spikes):
    neuron = {"alpha": 0.5, "beta": 0.0, "threshold": 0.625, "alpha_function": True, **options}
    result = single(**neuron).run(np.ones((5, 1)), record_membranes=["lif"])
    assert result.membranes["lif"][:, 0, 0].tolist() == membranes
    assert result.spikes["lif"][:, 0, 0].tolist() == [bool(spike) for spike in spikes]


def test_the_response_of_alpha_neurons_is_an_alpha_function_one_step_after_a_synaptic_one():
    alpha, beta, steps = 0.9, 0.7, 30
    rule = {"alpha": alpha, "beta": beta, "reset": Reset.NONE, "threshold": 100.0}
    kernel = single(**rule, alpha_function=True)
    inputs = np.zeros((steps, 1))
    inputs[0] = 1
    membranes = kernel.run(inputs, record_membranes=["lif"]).membranes["lif"][:, 0, 0]
    n = np.arange(steps)
    gain = np.log(alpha) / (np.log(beta) - np.log(alpha)) + 1
    np.testing.assert_allclose(membranes, gain * (alpha**n - beta**n), atol=1e-12)
    weight = kernel.populations[0].synaptic_gain[0]
    synaptic = single(weight=weight, **rule).run(inputs, record_membranes=["lif"]).membranes["lif"][:, 0, 0]
    np.testing.assert_allclose(synaptic[:-1], membranes[1:], atol=1e-12)


@pytest.mark.parametrize(
    ("options", "feature"),
    [
        ({"bias": 0.5}, "a bias"),
        ({"refractory": 1}, "a refractory period"),
        ({"noise": 1.0}, "noise"),
        ({"reset_delay": 0}, "reset zero with reset_delay 0"),
        ({"reset": Reset.VALUE}, "reset value with reset_delay 1"),
        ({"compare": Compare.GREATER_EQUAL}, "a threshold compared by >="),
    ],
)
def test_alpha_neurons_have_no_other_features(options, feature):
    rule = {"alpha": 0.5, "beta": 0.25, "reset_delay": 1, "alpha_function": True}
    message = f"population 'p' has a membrane that is an alpha function, and must not have {feature}"
    with pytest.raises(ValueError, match=exactly(message)):
        Population(name="p", shape=(2,), **(rule | options))


@pytest.mark.parametrize("options", [{"alpha": None}, {"beta": 0.5}])
def test_alpha_neurons_rise_before_they_fall(options):
    message = "alpha of population 'p' must be greater than its beta, because its membrane is an alpha function"
    with pytest.raises(ValueError, match=exactly(message)):
        Population(**{"name": "p", "shape": (2,), "alpha": 0.5, "alpha_function": True} | options)


def test_the_equation_of_alpha_neurons():
    rule = {"name": "p", "shape": (1,), "alpha": 0.5, "threshold": 2.0, "alpha_function": True}
    assert Population(**rule, reset_delay=1).equation == (
        "e = 0.5 e + I; h = -I; v = 1 (e + h); spike if v > 2; the step after ends with e = h = v = 0"
    )
    assert Population(**rule, reset_delay=1, reset=Reset.SUBTRACT).equation.endswith(
        "; the step after subtracts 2 from e, adds the last h to v and ends with h = 0"
    )
    assert Population(**rule | {"beta": 0.25}, reset=Reset.NONE).equation == (
        "e = 0.5 e + I; h = 0.25 h - I; v = 2 (e + h); spike if v > 2; no reset"
    ).replace("v = 2 ", f"v = {np.log(0.5) / (np.log(0.25) - np.log(0.5)) + 1:.6g} ")
    silent = Population(**rule, spiking=False, reset=Reset.NONE)
    assert silent.equation == "e = 0.5 e + I; h = -I; v = 1 (e + h); never spikes"


def test_alpha_neurons_are_refused_as_integers():
    message = (
        "population 'lif' consists of Alpha neurons, which run in the float model only; train it with Synaptic "
        "neurons of the same alpha and beta and input weights times 0.5, which respond to input alike, one step earlier"
    )
    with pytest.raises(QuantiseError, match=exactly(message)):
        quantise(single(alpha=0.5, beta=0.0, reset_delay=1, alpha_function=True))
