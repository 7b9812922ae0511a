"""The neuron step against closed forms, worked examples and its own definition in plain Python."""

import numpy as np
import pytest
from harness.networks import random_parameters, rng_of

from spikeloom.sim.core import CoreParameters
from spikeloom.sim.neuron import (
    Compare,
    Leak,
    NeuronParameters,
    NeuronState,
    Reset,
    Rounding,
    leak,
    saturate,
    signed_range,
    step,
)


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
    """v_n = I (1 - beta**n) / (1 - beta), within the one unit that each step can round away."""
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
    """A sum beyond the width is compared and reset exactly; only what remains is clamped."""
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


def one_neuron(v, pending, count, current, p, n):
    """The docstring of the module, statement by statement, for one neuron in Python integers."""
    threshold, value = int(p.threshold[n]), int(p.reset_value[n])
    resets = {Reset.NONE: lambda x: x, Reset.ZERO: lambda x: 0, Reset.VALUE: lambda x: value}
    resets[Reset.SUBTRACT] = lambda x: x - threshold
    hold = count > 0
    base = v
    if not hold and p.leak is Leak.SHIFT:
        base = v - (v >> int(p.leak_factor[n]))
    elif not hold and p.leak is Leak.MULTIPLY:
        half = 1 << (p.beta_fraction - 1) if p.rounding is Rounding.NEAREST else 0
        base = (v * int(p.leak_factor[n]) + half) >> p.beta_fraction
    if pending:
        base = resets[p.reset](base)
    u = base if hold else base + int(p.bias[n]) + current
    above = u > threshold if p.compare is Compare.GREATER else u >= threshold
    spike = above and not hold and p.spiking
    if spike and p.reset_delay == 0:
        u = resets[p.reset](u)
    low, high = signed_range(p.v_width)
    count = p.refractory if spike else max(count - 1, 0)
    return min(max(u, low), high), int(spike and p.reset_delay == 1), count, int(spike)


@pytest.mark.parametrize("case", range(40))
def test_vectorised_step_equals_the_definition(request, case):
    rng = rng_of(request.node.name)
    parameters = random_parameters(rng, 5, CoreParameters(v_width=int(rng.integers(8, 25))), spiking=case % 5 > 0)
    state = NeuronState.cleared(3, parameters)
    expected = [[(0, 0, 0)] * 5 for _ in range(3)]
    fired = 0
    for _ in range(30):
        current = rng.integers(-150, 250, (3, 5))
        state, spikes, _ = step(state, current, parameters)
        for b in range(3):
            for n in range(5):
                *new, spike = one_neuron(*expected[b][n], int(current[b, n]), parameters, n)
                expected[b][n] = tuple(new)
                assert tuple(new) == (state.v[b, n], state.pending[b, n], state.refractory_count[b, n])
                assert spike == spikes[b, n]
                fired += spike
    assert fired > 0 or not parameters.spiking


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
    ],
)
def test_bad_values(change, message):
    with pytest.raises(ValueError, match=message):
        NeuronParameters(**({"size": 1} | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leak": "shift"}, r"^leak must be a Leak, not 'shift'$"),
        ({"reset": 0}, r"^reset must be a Reset, not 0$"),
        ({"threshold": 1.5}, r"^threshold must be integers, not float64$"),
    ],
)
def test_wrong_kinds(change, message):
    with pytest.raises(TypeError, match=message):
        NeuronParameters(**({"size": 1} | change))
