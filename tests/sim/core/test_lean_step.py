"""The step with few operations equals the specification in every state."""

from dataclasses import replace

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.sim.core.lean_step import LeanStep
from spikeloom.sim.core.neuron import Compare, Leak, NeuronParameters, NeuronState, Reset, Rounding, step

SIZE, BATCH, STEPS = 6, 5, 60


def drawn(rng, v_width):
    """Random neurons without features: any leak, comparison and reset."""
    greatest = (1 << (v_width - 1)) - 1
    kind = Leak(rng.choice([leak.value for leak in Leak]))
    fraction = int(rng.integers(1, 17))
    factors = {Leak.SHIFT: (1, v_width), Leak.MULTIPLY: (0, (1 << fraction) + 1)}
    return NeuronParameters(
        size=SIZE,
        v_width=v_width,
        leak=kind,
        leak_factor=rng.integers(*factors[kind], SIZE) if kind in factors else 0,
        beta_fraction=fraction,
        rounding=Rounding(rng.choice([rounding.value for rounding in Rounding])),
        compare=Compare(rng.choice([compare.value for compare in Compare])),
        reset=Reset(rng.choice([reset.value for reset in Reset])),
        reset_delay=int(rng.integers(2)),
        spiking=bool(rng.random() < 0.85),
        threshold=rng.integers(-greatest // 8, greatest // 2, SIZE),
        bias=rng.integers(-greatest // 16, greatest // 16, SIZE) if rng.random() < 0.5 else 0,
        reset_value=rng.integers(-greatest // 4, greatest // 4, SIZE),
    )


def bounded(rng, parameters):
    """The neurons with a lower bound, if they can have one."""
    greatest = 1 << (parameters.v_width - 1)
    bound = rng.integers(-greatest // 2, greatest // 8, SIZE)
    return replace(parameters, lower_bound=bound) if parameters.spiking else parameters


def compare(parameters, currents, lean):
    """Run both forms; return what occurred: saturation, spikes, delayed resets."""
    state = NeuronState.cleared(BATCH, parameters)
    spikes = np.ones((BATCH, parameters.size), np.bool_)
    seen = set()
    for current in currents:
        state, expected, _ = step(state, current.astype(np.int64), parameters)
        lean.step(current, spikes)
        assert np.array_equal(spikes, expected)
        found = lean.state()
        for name, array in vars(state).items():
            assert getattr(found, name).dtype == array.dtype
            assert np.array_equal(getattr(found, name), array), name
        seen |= {"spike"} if spikes.any() else set()
        seen |= {"pending"} if state.pending.any() else set()
        seen |= {"saturated"} if (np.abs(state.v) >= (1 << (parameters.v_width - 1)) - 1).any() else set()
    return seen


@pytest.mark.parametrize("v_width", [8, 12, 16, 20, 24])
def test_equals_the_specification(request, v_width):
    rng = rng_of(request.node.name)
    seen, kinds = set(), set()
    for _ in range(60):
        parameters = drawn(rng, v_width)
        parameters = bounded(rng, parameters) if rng.random() < 0.3 else parameters
        greatest = 1 << (v_width - 1)
        lean = LeanStep.of(parameters, BATCH, greatest)
        assert lean is not None
        currents = rng.integers(-greatest, greatest + 1, (STEPS, BATCH, SIZE)) // rng.choice([1, 4, 16])
        kinds.add(lean.kind)
        # The sums of a network are passed as floating point.
        seen |= compare(parameters, currents.astype(lean.kind), lean)
        bound = parameters.lower_bound
        seen |= {"bound"} if bound is not None and (lean.state().v == bound).any() else set()
        seen |= {parameters.leak, parameters.reset, parameters.compare, parameters.rounding}
    assert seen >= {*Leak, *Reset, *Compare, *Rounding, "spike", "pending", "saturated", "bound"}
    assert kinds == ({np.float64} if v_width == 24 else {np.float32, np.float64} if v_width > 8 else {np.float32})


def test_numbers_at_the_bound_of_the_type():
    """A current that single precision would round is computed in double precision."""
    p = NeuronParameters(size=1, v_width=8, threshold=100, spiking=False)
    odd = (1 << 24) + 1
    lean = LeanStep.of(p, BATCH, odd)
    assert lean is not None
    assert lean.kind is np.float64
    assert compare(p, [np.full((BATCH, 1), value) for value in (odd, -2 * 127, -odd, 5)], lean) >= {"saturated"}
    # 3 * 128 for the membrane, the bias and a reset.
    below = (1 << 24) - 3 * 128
    assert [LeanStep.of(p, BATCH, bound).kind for bound in (below - 1, below)] == [np.float32, np.float64]
    assert LeanStep.of(p, BATCH, 1 << 53) is None


PLAIN = NeuronParameters(size=1, threshold=5)


@pytest.mark.parametrize(
    "parameters",
    [
        replace(PLAIN, refractory=1),
        replace(PLAIN, noise_bits=3, seed=1),
        replace(PLAIN, graded=True),
        replace(PLAIN, current_leak=Leak.SHIFT, current_leak_factor=2),
        replace(PLAIN, adaptation_leak=Leak.SHIFT, adaptation_leak_factor=2, adaptation_step=3),
        replace(PLAIN, second_threshold=True, reset=Reset.SUBTRACT),
        replace(PLAIN, max_spikes=2, graded=True),
        NeuronParameters(size=1, delay_line=True),
    ],
)
def test_features_are_left_to_the_specification(parameters):
    assert LeanStep.of(PLAIN, 1, 1) is not None
    assert LeanStep.of(parameters, 1, 1) is None
