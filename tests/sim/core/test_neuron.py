"""The neuron step against closed forms, worked examples and its own definition in plain Python."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from harness.networks import (
    FEATURES,
    can_fire_several_times,
    can_have_lower_bound,
    can_have_second_threshold,
    firing_several_times,
    random_parameters,
    rng_of,
    with_features,
)

from spikeloom.sim.core.neuron import (
    Compare,
    Leak,
    NeuronParameters,
    NeuronState,
    Reset,
    Rounding,
    leak,
    noise,
    saturate,
    signed_range,
    step,
)
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.lfsr import Lfsr


def run(parameters, currents):
    """Membranes and spikes of one neuron for a list of inputs."""
    state = NeuronState.cleared(1, parameters)
    membranes, spikes = [], []
    for current in currents:
        state, fired, _ = step(state, np.full((1, parameters.size), current), parameters)
        membranes.append(int(state.v[0, 0]))
        spikes.append(int(fired[0, 0]))
    return membranes, spikes


def test_shift_leak_by_hand():
    parameters = NeuronParameters(size=1, threshold=1000, leak=Leak.SHIFT, leak_factor=3)
    # 100; 100 - 12 + 10; 98 - 12 + 10; ...
    assert run(parameters, [100, 10, 10])[0] == [100, 98, 96]


def test_shift_leak_of_negative_membranes_rounds_towards_zero():
    parameters = NeuronParameters(size=1)
    assert leak(np.array([[-1, -8, -9]]), Leak.SHIFT, 3, parameters).tolist() == [[0, -7, -7]]


@pytest.mark.parametrize(
    ("rounding", "expected"), [(Rounding.FLOOR, [4, -5, 0, -1]), (Rounding.NEAREST, [5, -4, 1, 0])]
)
def test_multiply_leak_rounds_as_stated(rounding, expected):
    parameters = NeuronParameters(size=4, beta_fraction=8, rounding=rounding)
    assert leak(np.array([[9, -9, 1, -1]]), Leak.MULTIPLY, 1 << 7, parameters).tolist() == [expected]


def test_no_leak_integrates():
    assert run(NeuronParameters(size=1, threshold=30000), [5, 5, -3])[0] == [5, 10, 7]


def test_constant_input_approaches_the_closed_form():
    """v_n = I (1 - beta**n) / (1 - beta), within one unit of rounding per step."""
    beta = 1 - 2**-4
    parameters = NeuronParameters(size=1, v_width=24, threshold=(1 << 23) - 1, leak=Leak.SHIFT, leak_factor=4)
    membranes, _ = run(parameters, [20000] * 200)
    n = np.arange(1, 201)
    assert np.all(np.abs(np.array(membranes) - 20000 * (1 - beta**n) / (1 - beta)) <= 1 / (1 - beta))


@pytest.mark.parametrize(("compare", "spikes"), [(Compare.GREATER, [0, 0]), (Compare.GREATER_EQUAL, [1, 1])])
def test_compare_at_the_threshold(compare, spikes):
    parameters = NeuronParameters(size=1, threshold=10, compare=compare, leak=Leak.MULTIPLY, leak_factor=0)
    assert run(parameters, [10, 10])[1] == spikes


@pytest.mark.parametrize(
    ("reset", "delay", "membranes"),
    [
        (Reset.NONE, 0, [15, 16, 17]),
        (Reset.ZERO, 0, [0, 1, 2]),
        (Reset.VALUE, 0, [-4, -3, -2]),
        (Reset.SUBTRACT, 0, [5, 6, 7]),
        (Reset.NONE, 1, [15, 16, 17]),
        (Reset.ZERO, 1, [15, 1, 2]),
        (Reset.VALUE, 1, [15, -3, -2]),
        (Reset.SUBTRACT, 1, [15, 6, 7]),
    ],
)
def test_reset_now_and_later(reset, delay, membranes):
    parameters = NeuronParameters(size=1, threshold=10, reset=reset, reset_value=-4, reset_delay=delay)
    assert run(parameters, [15, 1, 1])[0] == membranes


def test_delayed_subtraction_comes_after_the_leak():
    """snnTorch with reset_delay: v = beta v + I - r threshold."""
    parameters = NeuronParameters(
        size=1, threshold=16, leak=Leak.SHIFT, leak_factor=1, reset=Reset.SUBTRACT, reset_delay=1
    )
    assert run(parameters, [40, 0, 0]) == ([40, 4, 2], [1, 0, 0])


def test_refractory_holds_the_membrane_and_ignores_input():
    parameters = NeuronParameters(
        size=1, threshold=10, reset=Reset.SUBTRACT, refractory=2, leak=Leak.SHIFT, leak_factor=1, bias=1
    )
    assert run(parameters, [30, 500, 500, 0]) == ([21, 21, 21, 2], [1, 0, 0, 1])


def test_delayed_reset_happens_while_refractory():
    parameters = NeuronParameters(size=1, threshold=10, reset=Reset.ZERO, refractory=2, reset_delay=1)
    assert run(parameters, [30, 500, 500, 7]) == ([30, 0, 0, 7], [1, 0, 0, 0])


def test_saturation_only_when_written_back():
    """A sum beyond the width is compared and reset exactly; only the stored membrane is clamped."""
    parameters = NeuronParameters(size=1, v_width=8, threshold=100, reset=Reset.SUBTRACT)
    assert run(parameters, [220, 0]) == ([120, 20], [1, 1])
    silent = NeuronParameters(size=1, v_width=8, spiking=False)
    assert run(silent, [300, -1, -600, 1])[0] == [127, 126, -128, -127]


def test_saturate_is_symmetric_in_its_treatment_of_both_ends():
    assert saturate(np.array([-(1 << 20), -129, -128, 127, 128, 1 << 20]), 8).tolist() == [
        -128,
        -128,
        -128,
        127,
        127,
        127,
    ]
    assert signed_range(8) == (-128, 127)


def test_a_leaky_integrator_never_spikes():
    assert run(NeuronParameters(size=1, threshold=-5, spiking=False), [100, 100])[1] == [0, 0]


def decayed(value, kind, factor, p):
    """A leak in Python integers."""
    if kind is Leak.SHIFT:
        return value - (value >> factor)
    if kind is Leak.MULTIPLY:
        half = 1 << (p.beta_fraction - 1) if p.rounding is Rounding.NEAREST else 0
        return (value * factor + half) >> p.beta_fraction
    return 0 if kind is Leak.CLEAR else value


def clamped(value, width):
    low, high = signed_range(width)
    return min(max(value, low), high)


def one_neuron(state, current, p, n):
    """The recurrence in the docstring of the module, statement by statement, for one neuron in Python integers.

    ``state`` is a dictionary. Returns the next state, the spike and its value.
    """
    v, random = state["v"], state["random"]
    if p.delay_line:
        line = (v << 1 | (current > 0)) % (1 << p.v_width)
        spike = line >> int(p.delay[n]) & 1
        return state | {"v": line - (line >> (p.v_width - 1) << p.v_width)}, spike, spike
    threshold, value = int(p.threshold[n]), int(p.reset_value[n])
    threshold_now = threshold + state["adaptation"]
    resets = {Reset.NONE: lambda x, _: x, Reset.ZERO: lambda x, _: 0, Reset.VALUE: lambda x, _: value}
    resets[Reset.SUBTRACT] = lambda x, by: x - by
    hold = state["refractory_count"] > 0
    synaptic = p.current_leak is not None
    if synaptic:
        current = decayed(state["current"], p.current_leak, int(p.current_leak_factor[n]), p) + current
    base = v if hold else decayed(v, p.leak, int(p.leak_factor[n]), p)
    if state["pending"]:
        base = resets[p.reset](base, threshold)
    u = base if hold else base + int(p.bias[n]) + current
    noise = random % (1 << p.noise_bits)
    if p.noise_bits and noise >= 1 << (p.noise_bits - 1):
        noise -= 1 << p.noise_bits
    needed = threshold_now + (threshold if p.second_threshold and v > threshold else 0)
    over = [u + noise - k * needed for k in range(1, p.max_spikes + 1)]
    count = sum(x > 0 if p.compare is Compare.GREATER else x >= 0 for x in over)
    spike = int(count > 0 and not hold and p.spiking)
    sent = (clamped(u >> p.graded_shift, p.value_width) if p.graded else 1) * spike
    if p.max_spikes > 1:
        sent = count * spike
    if spike and p.reset_delay == 0:
        u = resets[p.reset](u, count * threshold_now)
    if p.lower_bound is not None and u < int(p.lower_bound[n]):
        u = int(p.lower_bound[n])
    adaptation = state["adaptation"]
    if p.adaptation_leak is not None:
        adaptation = decayed(adaptation, p.adaptation_leak, int(p.adaptation_leak_factor[n]), p)
        adaptation = clamped(adaptation + (int(p.adaptation_step[n]) if spike else 0), p.v_width)
    if p.noise_bits:
        register = Lfsr(width=16)
        for _ in range(16):
            random = register.step(random)
    new = {
        "v": clamped(u, p.v_width),
        "pending": int(spike and p.reset_delay == 1),
        "refractory_count": p.refractory if spike else max(state["refractory_count"] - 1, 0),
        "current": clamped(current, p.v_width) if synaptic else 0,
        "adaptation": adaptation,
        "random": random,
    }
    return new, spike, sent


def fields_of(state, b, n):
    """The state of one neuron as a dictionary."""
    return {name: int(array[b, n]) for name, array in vars(state).items()}


@pytest.mark.parametrize("case", range(80))
def test_vectorised_step_equals_the_definition(request, case):
    rng = rng_of(request.node.name)
    parameters = random_parameters(rng, 5, CoreParameters(v_width=int(rng.integers(8, 25))), spiking=case % 5 > 0)
    features = [name for name in FEATURES if rng.random() < (0.1 if name == "delay_line" else 0.4)]
    parameters = with_features(rng, parameters, features)
    if not parameters.delay_line and case % 7 == 0:
        parameters = replace(parameters, leak=Leak.CLEAR)
    if case % 3 == 0 and can_have_second_threshold(parameters):
        parameters = replace(parameters, reset=Reset.SUBTRACT, reset_delay=0, second_threshold=True)
    if case % 4 == 1 and can_fire_several_times(parameters):
        parameters = firing_several_times(rng, parameters)
    if case % 5 > 2 and can_have_lower_bound(parameters):
        parameters = replace(parameters, lower_bound=rng.integers(-100, 20, 5))
    state = NeuronState.cleared(3, parameters)
    expected = [[fields_of(state, b, n) for n in range(5)] for b in range(3)]
    fired = 0
    for _ in range(30):
        current = rng.integers(-150, 250, (3, 5))
        state, spikes, values = step(state, current, parameters)
        for b in range(3):
            for n in range(5):
                expected[b][n], spike, value = one_neuron(expected[b][n], int(current[b, n]), parameters, n)
                assert expected[b][n] == fields_of(state, b, n)
                assert (spike, value) == (spikes[b, n], values[b, n])
                fired += spike
    assert fired > 0 or not parameters.spiking


def test_random_neurons_reach_every_feature(request):
    """The neurons that the test above draws are interesting: each feature occurs, alone and with others."""
    rng = rng_of(request.node.name)
    seen = set()
    for _ in range(200):
        features = [name for name in FEATURES if rng.random() < (0.1 if name == "delay_line" else 0.4)]
        p = with_features(rng, random_parameters(rng, 2, CoreParameters()), features)
        has = (p.current_leak is not None, p.adaptation_leak is not None, p.noise_bits > 0, p.graded, p.delay_line)
        seen.add(has)
    assert len(seen) == 2**4 + 1


# Closed forms of each model


def test_a_membrane_above_the_threshold_fires_above_twice_the_threshold():
    """snntorch.Leaky(reset_mechanism="subtract", reset_delay=False): r = v > threshold; v = v + I - r threshold;
    s = v > threshold; v = v - (s - r) threshold."""
    parameters = NeuronParameters(size=1, threshold=10, reset=Reset.SUBTRACT, second_threshold=True)
    state, expected, v = NeuronState.cleared(1, parameters), [], 0
    spikes, membranes = [], []
    for current in (25, 3, 3, 30, 1, 0, -40, 26, 4):
        state, spike, _ = step(state, np.array([[current]]), parameters)
        spikes.append(int(spike[0, 0]))
        membranes.append(int(state.v[0, 0]))
        r = int(v > 10)
        v = v + current - r * 10
        s = int(v > 10)
        v = v - (s - r) * 10
        expected.append((s, v))
    assert list(zip(spikes, membranes, strict=True)) == expected
    one = NeuronParameters(size=1, threshold=10, reset=Reset.SUBTRACT)
    plain, others = NeuronState.cleared(1, one), []
    for current in (25, 3, 3, 30, 1, 0, -40, 26, 4):
        plain, spike, _ = step(plain, np.array([[current]]), one)
        others.append(int(spike[0, 0]))
    assert 0 < sum(spikes) < sum(others)


def test_a_membrane_of_several_thresholds_fires_several_times():
    """sinabs MultiSpike: the number of spikes is the quotient of membrane and threshold, and the threshold is
    subtracted as often; MaxSpike limits it.

    Computed by multiplication and division of Python integers, unlike the comparisons of the step.
    """
    rng = rng_of("test_a_membrane_of_several_thresholds_fires_several_times")
    for compare, most in itertools.product(Compare, (2, 3, 7, 15)):
        parameters = NeuronParameters(
            size=1,
            threshold=10,
            compare=compare,
            reset=Reset.SUBTRACT,
            graded=True,
            max_spikes=most,
        )
        state, v, seen = NeuronState.cleared(1, parameters), 0, set()
        for current in rng.integers(-40, 60 + 10 * most, 200):
            state, spikes, values = step(state, np.array([[current]]), parameters)
            v += int(current)
            # A membrane of exactly k thresholds gives k spikes with >=, and k - 1 with >.
            whole = v // 10 if compare is Compare.GREATER_EQUAL else -(-v // 10) - 1
            count = min(max(whole, 0), most)
            v -= 10 * count
            assert (int(values[0, 0]), int(spikes[0, 0]), int(state.v[0, 0])) == (count, count > 0, v)
            seen.add(count)
        assert seen == set(range(most + 1))


@pytest.mark.parametrize(("reset", "after"), [(Reset.ZERO, 0), (Reset.VALUE, -3), (Reset.NONE, 47)])
def test_other_resets_come_once_for_several_spikes(reset, after):
    parameters = NeuronParameters(size=1, threshold=10, reset=reset, reset_value=-3, graded=True, max_spikes=7)
    state, spikes, values = step(NeuronState.cleared(1, parameters), np.array([[47]]), parameters)
    assert (int(state.v[0, 0]), int(spikes[0, 0]), int(values[0, 0])) == (after, 1, 4)


@pytest.mark.parametrize("most", [1, 15])
@pytest.mark.parametrize("bound", [-7, 0, 4])
def test_the_membrane_is_clipped_after_the_reset(bound, most):
    """sinabs IAF(min_v_mem): v = v + I; spikes; v = v - spikes threshold; v = max(v, min_v_mem)."""
    rng = rng_of(f"the membrane is clipped {bound} {most}")
    parameters = NeuronParameters(
        size=1,
        threshold=10,
        compare=Compare.GREATER_EQUAL,
        reset=Reset.SUBTRACT,
        graded=most > 1,
        max_spikes=most,
        lower_bound=bound,
    )
    state, v, seen = NeuronState.cleared(1, parameters), 0, set()
    for current in rng.integers(-15, 20, 300):
        state, spikes, values = step(state, np.array([[current]]), parameters)
        before = v + int(current)
        count = min(max(before // 10, 0), most)
        v = max(before - 10 * count, bound)
        assert (int(values[0, 0]), int(spikes[0, 0]), int(state.v[0, 0])) == (count, count > 0, v)
        # A bound above 0 is reached by resets, where a comparison with the bounded membrane would differ.
        seen |= {(count > 0, before - 10 * count < bound)}
    assert seen >= {(False, False), (True, False), (False, True)}
    assert ((True, True) in seen) == (bound > 0)


@pytest.mark.parametrize(("reset", "after"), [(Reset.ZERO, 5), (Reset.VALUE, 5), (Reset.NONE, 47)])
def test_a_lower_bound_holds_after_every_reset(reset, after):
    parameters = NeuronParameters(size=1, threshold=10, reset=reset, reset_value=-3, lower_bound=5)
    state, spikes, _ = step(NeuronState.cleared(1, parameters), np.array([[47]]), parameters)
    assert (int(state.v[0, 0]), int(spikes[0, 0])) == (after, 1)
    # A reset in the next step, and a step that holds the membrane, end with the bound too.
    late = replace(parameters, reset_delay=1, refractory=1)
    state, _, _ = step(NeuronState.cleared(1, late), np.array([[47]]), late)
    state, _, _ = step(state, np.array([[99]]), late)
    assert int(state.v[0, 0]) == after


def test_the_smallest_lower_bound_is_that_of_saturation():
    low, high = signed_range(9)
    plain = NeuronParameters(size=1, v_width=9, threshold=50, reset=Reset.SUBTRACT)
    bounded = replace(plain, lower_bound=low)
    states = [NeuronState.cleared(1, plain)] * 2
    for current in (-200, -400, 90, 10_000, -10_000):
        states = [step(state, np.array([[current]]), p)[0] for state, p in zip(states, (plain, bounded), strict=True)]
        assert np.array_equal(states[0].v, states[1].v)
    assert int(states[0].v[0, 0]) == low < high


def test_synaptic_current_decays_in_closed_form():
    """One event of weight w: the current is w (1 - 2**-k)**n, within the rounding of each step."""
    parameters = NeuronParameters(
        size=1, v_width=24, spiking=False, leak=Leak.CLEAR, current_leak=Leak.SHIFT, current_leak_factor=3
    )
    membranes, _ = run(parameters, [1 << 20] + [0] * 60)
    exact = (1 << 20) * (1 - 2**-3) ** np.arange(61)
    assert np.all(np.abs(membranes - exact) <= 8)
    assert membranes[0] == 1 << 20, "the current drives the membrane in the step in which it comes"


def test_cuba_membrane_is_the_difference_of_two_exponentials():
    """With a current factor a and a membrane factor b, v_n = w (a**(n+1) - b**(n+1)) / (a - b)."""
    a, b, one = 0.75, 0.9, 1 << 20
    parameters = NeuronParameters(
        size=1,
        v_width=24,
        spiking=False,
        beta_fraction=20,
        rounding=Rounding.NEAREST,
        leak=Leak.MULTIPLY,
        leak_factor=round(b * one),
        current_leak=Leak.MULTIPLY,
        current_leak_factor=round(a * one),
    )
    membranes, _ = run(parameters, [1 << 18] + [0] * 50)
    n = np.arange(1, 52)
    exact = (1 << 18) * (a**n - b**n) / (a - b)
    assert np.all(np.abs(membranes - exact) <= 40)
    assert np.argmax(membranes) == np.argmax(exact) > 0


def test_current_flows_on_while_the_neuron_holds():
    parameters = NeuronParameters(
        size=1, threshold=9, refractory=2, current_leak=Leak.SHIFT, current_leak_factor=1, reset=Reset.ZERO
    )
    state, currents, membranes = NeuronState.cleared(1, parameters), [], []
    for current in [16, 0, 8, 0]:
        state, _, _ = step(state, np.array([[current]]), parameters)
        currents.append(int(state.current[0, 0]))
        membranes.append(int(state.v[0, 0]))
    assert currents == [16, 8, 12, 6]
    assert membranes == [0, 0, 0, 6]


def test_exact_current_drives_and_clamped_current_is_stored():
    parameters = NeuronParameters(
        size=1, v_width=8, threshold=100, reset=Reset.SUBTRACT, current_leak=Leak.NONE, leak=Leak.CLEAR
    )
    state, spikes, _ = step(NeuronState.cleared(1, parameters), np.array([[220]]), parameters)
    assert (int(state.v[0, 0]), int(state.current[0, 0]), int(spikes[0, 0])) == (120, 127, 1)
    state, _, _ = step(state, np.array([[0]]), parameters)
    assert int(state.v[0, 0]) == 127 - 100


def test_threshold_node_has_no_memory():
    parameters = NeuronParameters(size=1, threshold=10, leak=Leak.CLEAR, reset=Reset.NONE)
    assert run(parameters, [10, 11, 6, 6, -3, 30]) == ([10, 11, 6, 6, -3, 30], [0, 1, 0, 0, 0, 1])


def test_adaptive_threshold_by_hand():
    """Threshold 10, raised by 8 after each spike, halved in each step: 10, 18, 14, 12, ..."""
    parameters = NeuronParameters(
        size=1,
        threshold=10,
        leak=Leak.CLEAR,
        reset=Reset.NONE,
        adaptation_leak=Leak.SHIFT,
        adaptation_leak_factor=1,
        adaptation_step=8,
    )
    assert run(parameters, [11, 18, 15, 12, 12, 19])[1] == [1, 0, 1, 0, 0, 1]


def test_adaptation_subtracts_the_raised_threshold():
    parameters = NeuronParameters(
        size=1, threshold=10, reset=Reset.SUBTRACT, adaptation_leak=Leak.NONE, adaptation_step=5
    )
    # 12 - 10; 2 + 14 > 15: - 15; 1 + 20 > 20: - 20
    assert run(parameters, [12, 14, 20]) == ([2, 1, 1], [1, 1, 1])


def test_interval_of_an_adaptive_neuron_grows_to_its_fixed_point():
    """At a constant drive the adaptation just after a spike settles at a = step / (1 - rho**n), where the interval n is
    the smallest one at which the membrane of a neuron without leak, n drive, exceeds threshold + a rho**(n - 1)."""
    k, drive, threshold, add = 6, 100, 1000, 400
    parameters = NeuronParameters(
        size=1,
        v_width=24,
        threshold=threshold,
        reset=Reset.ZERO,
        adaptation_leak=Leak.SHIFT,
        adaptation_leak_factor=k,
        adaptation_step=add,
    )
    _, spikes = run(parameters, [drive] * 3000)
    fired = np.flatnonzero(spikes)
    intervals = np.diff(fired)
    rho = 1 - 2.0**-k
    fixed = next(n for n in range(1, 200) if n * drive > threshold + add / (1 - rho**n) * rho ** (n - 1))
    assert fired[0] == threshold // drive, "the first spike comes as without adaptation"
    assert np.all(np.diff(intervals[:5]) >= 0)
    assert intervals[0] < intervals[4]
    assert intervals[0] < fixed
    assert np.all(np.abs(intervals[-10:] - fixed) <= 1)


def test_stochastic_neuron_fires_as_often_as_its_noise_says():
    """P(spike) is the share of noise values above threshold - u; 256 neurons with different seeds, 400 steps."""
    bits, threshold, count, steps = 8, 500, 256, 400
    seeds = 1 + np.arange(count) * 251 % 65535
    for distance in (-200, -128, -64, 0, 50, 127, 128, 200):
        parameters = NeuronParameters(
            size=count, threshold=threshold, leak=Leak.CLEAR, reset=Reset.NONE, noise_bits=bits, seed=seeds
        )
        state, fired = NeuronState.cleared(1, parameters), 0
        for _ in range(steps):
            state, spikes, _ = step(state, np.full((1, count), threshold + distance), parameters)
            fired += int(spikes.sum())
        noise_values = np.arange(-(1 << (bits - 1)), 1 << (bits - 1))
        probability = float(np.mean(noise_values + distance > 0))
        deviation = 5 * np.sqrt(probability * (1 - probability) / (count * steps))
        assert abs(fired / (count * steps) - probability) <= deviation, distance


def test_random_words_are_those_of_the_shift_register():
    parameters = NeuronParameters(size=2, noise_bits=16, seed=[1, 0xACE1])
    state, words = NeuronState.cleared(1, parameters), []
    for _ in range(40):
        words.append(state.random[0])
        state, _, _ = step(state, np.zeros((1, 2), np.int64), parameters)
    for n, seed in enumerate((1, 0xACE1)):
        assert [int(word[n]) for word in words] == Lfsr(width=16, seed=seed).words(40, 16).tolist()


def test_noise_is_the_low_bits_in_twos_complement():
    words = np.array([0x0000, 0x0007, 0x0008, 0x000F, 0xFFF1])
    assert noise(words, 4).tolist() == [0, 7, -8, -1, 1]
    assert noise(words, 0).tolist() == [0] * 5
    assert noise(np.array([0x7FFF, 0x8000]), 16).tolist() == [32767, -32768]


def test_graded_spikes_bring_the_membrane_before_the_reset():
    parameters = NeuronParameters(
        size=4,
        threshold=[10, 10, 10, -50],
        reset=Reset.ZERO,
        graded=True,
        graded_shift=2,
        value_width=4,
    )
    state, spikes, values = step(NeuronState.cleared(1, parameters), np.array([[23, 10, 400, -21]]), parameters)
    assert values.tolist() == [[5, 0, 7, -6]]  # 23 >> 2, no spike, clamped to 4 bits, -21 >> 2
    assert spikes.tolist() == [[1, 0, 1, 1]]
    assert state.v.tolist() == [[0, 10, 0, 0]]


def test_delay_lines_delay_each_by_its_own():
    parameters = NeuronParameters(size=4, v_width=8, delay_line=True, delay=[0, 1, 6, 7])
    pattern = [1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    state, fired = NeuronState.cleared(1, parameters), []
    for bit in pattern:
        state, spikes, _ = step(state, np.full((1, 4), 3 * bit - 1), parameters)
        fired.append(spikes[0])
    for n, delay in enumerate((0, 1, 6, 7)):
        assert [int(spikes[n]) for spikes in fired] == ([0] * delay + pattern)[: len(pattern)]
    assert -128 <= int(state.v.min()) <= int(state.v.max()) <= 127


def test_adaptation_and_current_are_clamped_at_both_ends():
    rule = {"size": 2, "v_width": 8, "threshold": -128, "compare": Compare.GREATER_EQUAL, "leak": Leak.CLEAR}
    parameters = NeuronParameters(
        **rule, adaptation_leak=Leak.NONE, adaptation_step=[100, -100], current_leak=Leak.NONE
    )
    state = NeuronState.cleared(1, parameters)
    for current in ([[100, -20]], [[100, -20]]):
        state, _, _ = step(state, np.array(current), parameters)
    assert state.adaptation.tolist() == [[127, -128]]
    assert state.current.tolist() == [[127, -40]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"v_width": 7}, r"^v_width must be an integer from 8 to 24, not 7$"),
        ({"v_width": 25}, r"^v_width must be an integer from 8 to 24, not 25$"),
        ({"size": 0}, r"^size must be an integer from 1 to 1048576, not 0$"),
        ({"reset_delay": 2}, r"^reset_delay must be an integer from 0 to 1, not 2$"),
        ({"refractory": -1}, r"^refractory must be an integer from 0 to 255, not -1$"),
        ({"threshold": 40000}, r"^threshold must be from -32768 to 32767, not 40000$"),
        ({"bias": -40000}, r"^bias must be from -32768 to 32767, not -40000$"),
        ({"leak": Leak.SHIFT, "leak_factor": 0}, r"^leak_factor must be from 1 to 15, not 0$"),
        ({"leak": Leak.MULTIPLY, "leak_factor": 20000}, r"^leak_factor must be from 0 to 16384, not 20000$"),
        ({"noise_bits": 17}, r"^noise_bits must be an integer from 0 to 16, not 17$"),
        ({"noise_bits": 4, "seed": 0}, r"^seed must be from 1 to 65535, not 0$"),
        ({"value_width": 1}, r"^value_width must be an integer from 2 to 16, not 1$"),
        ({"graded_shift": 16}, r"^graded_shift must be an integer from 0 to 15, not 16$"),
        ({"delay_line": True, "delay": 16}, r"^delay must be from 0 to 15, not 16$"),
        ({"current_leak": Leak.SHIFT}, r"^current_leak_factor must be from 1 to 15, not 0$"),
        (
            {"adaptation_leak": Leak.MULTIPLY, "adaptation_leak_factor": -1},
            r"^adaptation_leak_factor must be from 0 to 16384, not -1$",
        ),
        (
            {"adaptation_leak": Leak.NONE, "adaptation_step": 32768},
            r"^adaptation_step must be from -32768 to 32767, not 32768$",
        ),
        (
            {"current_leak": Leak.CLEAR},
            r"^current_leak must be Leak.NONE, Leak.SHIFT, Leak.MULTIPLY or None, not Leak.CLEAR$",
        ),
        ({"delay_line": True, "leak": Leak.CLEAR}, r"^a delay line must not have a leak$"),
        ({"delay_line": True, "bias": [3]}, r"^a delay line must not have a bias$"),
        ({"delay_line": True, "current_leak": Leak.NONE}, r"^a delay line must not have a synaptic current$"),
        ({"delay_line": True, "adaptation_leak": Leak.NONE}, r"^a delay line must not have adaptation$"),
        ({"delay_line": True, "noise_bits": 1}, r"^a delay line must not have noise$"),
        ({"delay_line": True, "graded": True}, r"^a delay line must not have graded spikes$"),
        ({"delay_line": True, "reset_delay": 1}, r"^a delay line must not have a reset delay$"),
        ({"delay_line": True, "refractory": 1}, r"^a delay line must not have a refractory period$"),
        ({"delay_line": True, "spiking": False}, r"^a delay line must not have a membrane to read out$"),
        ({"spiking": False, "adaptation_leak": Leak.NONE}, r"^neurons that never spike must not have adaptation$"),
        ({"spiking": False, "noise_bits": 1}, r"^neurons that never spike must not have noise$"),
        ({"spiking": False, "graded": True}, r"^neurons that never spike must not have graded spikes$"),
        ({"spiking": False, "second_threshold": True}, r"^neurons that never spike must not have a second thresh"),
        ({"delay_line": True, "second_threshold": True}, r"^a delay line must not have a second threshold$"),
        ({"second_threshold": True}, r"^a second threshold needs reset subtract in the step of the spike "),
        (
            {"spiking": False, "graded": False, "max_spikes": 2},
            r"^neurons that never spike must not have several spikes per step$",
        ),
        ({"delay_line": True, "max_spikes": 2}, r"^a delay line must not have several spikes per step$"),
        ({"delay_line": True, "lower_bound": 0}, r"^a delay line must not have a lower bound$"),
        ({"spiking": False, "lower_bound": 0}, r"^neurons that never spike must not have a lower bound$"),
        ({"v_width": 8, "lower_bound": -129}, r"^lower_bound must be from -128 to 127, not -129$"),
        ({"max_spikes": 0}, r"^max_spikes must be an integer from 1 to 15, not 0$"),
        ({"max_spikes": 16}, r"^max_spikes must be an integer from 1 to 15, not 16$"),
        (
            {"max_spikes": 2, "graded": True, "noise_bits": 1},
            r"^neurons with several spikes per step must not have noise$",
        ),
        (
            {"max_spikes": 2, "graded": True, "reset_delay": 1},
            r"^neurons with several spikes per step must not have a reset delay$",
        ),
        (
            {"max_spikes": 4, "graded": True, "value_width": 3},
            r"^neurons with up to 4 spikes per step must be graded, with graded_shift 0 and a value_width of at least",
        ),
        ({"max_spikes": 2}, r"^neurons with up to 2 spikes per step must be graded, with graded_shift 0 and a val"),
        (
            {"max_spikes": 2, "graded": True, "threshold": 0},
            r"^threshold must be at least 1 with several spikes per step, not 0$",
        ),
        (
            {"adaptation_leak": Leak.NONE, "reset": Reset.SUBTRACT, "reset_delay": 1},
            r"^an adaptive threshold must be subtracted in the step of the spike \(reset_delay 0\), because the "
            r"threshold of the comparison is not stored$",
        ),
    ],
)
def test_bad_values(change, message):
    with pytest.raises(ValueError, match=message):
        NeuronParameters(**({"size": 1} | change))


RANGES = (
    ("size", 1, 1 << 20, {}),
    ("v_width", 8, 24, {}),
    ("beta_fraction", 1, 20, {}),
    ("reset_delay", 0, 1, {}),
    ("refractory", 0, 255, {}),
    ("noise_bits", 0, 16, {}),
    ("graded_shift", 0, 15, {}),
    ("value_width", 2, 16, {}),
    ("max_spikes", 1, 15, {"graded": True}),
    *((name, -(1 << 15), (1 << 15) - 1, {}) for name in ("threshold", "bias", "reset_value", "lower_bound")),
    ("adaptation_step", -(1 << 15), (1 << 15) - 1, {"adaptation_leak": Leak.NONE}),
    ("seed", 1, 65535, {"noise_bits": 1}),
    ("delay", 0, 15, {"delay_line": True}),
    *(
        (f"{name}_factor", low, high, {name: kind})
        for name in ("leak", "current_leak", "adaptation_leak")
        for kind, low, high in ((Leak.SHIFT, 1, 15), (Leak.MULTIPLY, 0, 1 << 14))
    ),
)


@pytest.mark.parametrize(("name", "low", "high", "others"), RANGES)
def test_first_and_last_value(name, low, high, others):
    for value in (low, high):
        assert np.all(getattr(NeuronParameters(**{"size": 1} | others | {name: value}), name) == value)
    for wrong in (low - 1, high + 1):
        with pytest.raises(ValueError, match=rf"^{name} must be (an integer )?from {low} to {high}, not {wrong}$"):
            NeuronParameters(**{"size": 1} | others | {name: wrong})


def test_of_several_values_the_worst_is_named():
    for values, worst in (([-32768, 40000], 40000), ([-32769, 32767], -32769), ([0, 32768], 32768)):
        with pytest.raises(ValueError, match=rf"^threshold must be from -32768 to 32767, not {worst}$"):
            NeuronParameters(size=2, threshold=values)


def test_as_many_spikes_as_a_value_holds():
    counting = {"size": 1, "threshold": 1, "max_spikes": 3, "graded": True, "value_width": 3}
    assert NeuronParameters(**counting).max_spikes == 3
    for change in ({"max_spikes": 4}, {"graded_shift": 1}, {"graded": False}):
        with pytest.raises(
            ValueError, match=r"^neurons with up to \d spikes per step must be graded, with graded_shift"
        ):
            NeuronParameters(**counting | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leak": "shift"}, r"^leak must be a Leak, not 'shift'$"),
        ({"reset": 0}, r"^reset must be a Reset, not 0$"),
        ({"threshold": 1.5}, r"^threshold must be integers, not float64$"),
        ({"current_leak": "shift"}, r"^current_leak must be a Leak or None, not 'shift'$"),
        ({"graded": 1}, r"^graded must be a bool, not 1$"),
    ],
)
def test_wrong_kinds(change, message):
    with pytest.raises(TypeError, match=message):
        NeuronParameters(**({"size": 1} | change))
