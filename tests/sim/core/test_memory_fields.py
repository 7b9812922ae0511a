"""Fields of the memory words of a core: leaks as factors or as shift distances, and refused values."""

from dataclasses import replace

import numpy as np
import pytest
from harness.networks import FEATURES, random_leak, random_parameters, rng_of, with_features

from spikeloom.sim.core.features import PER_NEURON, RESET_CODES
from spikeloom.sim.core.memory_fields import leak_code, parameter_values, rule_values
from spikeloom.sim.core.neuron import Compare, Leak, NeuronParameters, Reset, Rounding, leak
from spikeloom.sim.core.parameters import CoreParameters

MULTIPLIES = CoreParameters(v_width=12, beta_fraction=8)
SHIFTS = CoreParameters(v_width=12, multiplier=False, shifts=(3, 0, 5), beta_fraction=8)
ALL = CoreParameters(
    v_width=14,
    accumulator_width=20,
    beta_fraction=8,
    synaptic_current=True,
    adaptation=True,
    noise_bits=6,
    value_width=6,
    delay_line=True,
    lower_bound=True,
)


def multiplied(core, code, v):
    """What a lane does with a factor: a product, whose sign selects the rounding."""
    code = np.asarray(code)
    return np.where(code < 0, -((v * code) >> core.beta_fraction), (v * code) >> core.beta_fraction)


def shifted(core, code, v):
    """What a lane does with the index of a shift: no leak, a shift, or 0 to clear."""
    shifts = np.array([0, *core.shifts])[np.asarray(code)]
    return np.where(np.asarray(code) == 0, v, v - (v >> shifts))


@pytest.mark.parametrize("core", [MULTIPLIES, SHIFTS], ids=["multiplier", "shifts"])
def test_the_field_leaks_as_the_model_does(request, core):
    rng = rng_of(request.node.name)
    v = rng.integers(-2048, 2048, 300)
    lane = multiplied if core.multiplier else shifted
    kinds = set()
    for _ in range(60):
        chosen = random_leak(rng, 300, core, clear=True)
        kind, factor = chosen["leak"], np.broadcast_to(chosen["leak_factor"], 300)
        p = NeuronParameters(size=300, v_width=12, beta_fraction=8, **chosen)
        code = leak_code(core, kind, factor, 8)
        expected = leak(v, kind, p.leak_factor, p)
        assert np.array_equal(lane(core, code, v), expected), kind
        kinds.add(kind)
    assert kinds == set(Leak) - (set() if core.multiplier else {Leak.MULTIPLY})


def test_codes_by_hand():
    assert [leak_code(MULTIPLIES, kind, 3, 8) for kind in (None, Leak.NONE, Leak.CLEAR, Leak.SHIFT, Leak.MULTIPLY)] == [
        0,
        256,
        0,
        32 - 256,
        3,
    ]
    assert [leak_code(SHIFTS, kind, 5, 8) for kind in (None, Leak.NONE, Leak.CLEAR, Leak.SHIFT)] == [0, 0, 2, 3]
    assert leak_code(SHIFTS, Leak.SHIFT, np.array([5, 3, 5]), 8).tolist() == [3, 1, 3]
    assert leak_code(MULTIPLIES, Leak.SHIFT, np.array([1, 8]), 8).tolist() == [128 - 256, 1 - 256]


@pytest.mark.parametrize(
    ("core", "kind", "factor", "fraction", "message"),
    [
        (MULTIPLIES, Leak.SHIFT, 9, 8, "a leak shift must be at most 8 on this fabric"),
        (MULTIPLIES, Leak.MULTIPLY, 9, 14, "beta_fraction must be 8 on this fabric, not 14"),
        (
            SHIFTS,
            Leak.SHIFT,
            [3, 4],
            8,
            r"a leak must be none, to clear the membrane or a shift by one of \(3, 5\) on this fabric, which has no "
            "multiplier",
        ),
        (
            replace(SHIFTS, shifts=(1,)),
            Leak.CLEAR,
            0,
            8,
            r"a leak must be none or a shift by one of \(1,\) on this fabric, which has no multiplier",
        ),
        (
            replace(SHIFTS, shifts=()),
            Leak.MULTIPLY,
            1,
            8,
            r"a leak must be none or a shift by one of \(\) on this fabric, which has no multiplier",
        ),
    ],
)
def test_leaks_that_a_core_cannot_do_exactly(core, kind, factor, fraction, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        leak_code(core, kind, np.asarray(factor), fraction)


def test_every_field_fits_the_words(request):
    """The fields of any neurons that a core supports survive packing into its words and unpacking."""
    rng = rng_of(request.node.name)
    seen = set()
    for _ in range(60):
        own = frozenset(name for name in PER_NEURON if rng.random() < 0.5)
        core = replace(ALL, per_neuron=own)
        p = random_parameters(rng, 5, core, spiking=bool(rng.integers(4)))
        values = parameter_values(core, p) | rule_values(core, p)
        layouts = core.neuron_layout, core.population_layout
        assert set(values) <= {field.name for layout in layouts for field in layout.fields}
        assert {name for name, value in values.items() if np.ndim(value)} <= own
        for layout, count in zip(layouts, (5, 1), strict=True):
            if not layout.fields:  # no parameter is stored per neuron
                continue
            named = {f.name: values[f.name] for f in layout.fields if f.name in values}
            found = layout.values(layout.bits(named, count))
            assert all(np.array_equal(found[name], np.broadcast_to(value, count)) for name, value in named.items())
        has = {"line": p.delay_line, "graded": p.graded, "noise": p.noise_bits}
        has |= {"bound": p.lower_bound is not None, "no bound": p.lower_bound is None}
        seen |= {name for name, found in has.items() if found}
    assert seen == {"line", "graded", "noise", "bound", "no bound"}


def test_neurons_without_a_lower_bound_have_that_of_saturation():
    core = replace(MULTIPLIES, lower_bound=True)
    p = NeuronParameters(size=2, v_width=12)
    assert parameter_values(core, p)["lower_bound"] == -2048
    assert parameter_values(core, replace(p, lower_bound=[-3, -3]))["lower_bound"] == -3
    assert parameter_values(MULTIPLIES, p)["lower_bound"] == 0


def test_one_value_per_population_where_the_words_have_no_other():
    core = replace(MULTIPLIES, per_neuron=frozenset({"bias"}))
    p = NeuronParameters(size=3, v_width=12, threshold=[7, 7, 7], bias=[1, 2, 3])
    values = parameter_values(core, p)
    assert (values["threshold"], list(values["bias"])) == (7, [1, 2, 3])
    with pytest.raises(
        ValueError, match=r"^threshold must be the same for all neurons on this fabric, not \[.*7.*8.*\]$"
    ):
        parameter_values(core, replace(p, threshold=[8, 7, 8]))


@pytest.mark.parametrize("readout", [False, True])
def test_the_rule_by_hand(readout):
    p = NeuronParameters(
        size=1,
        v_width=12,
        compare=Compare.GREATER_EQUAL,
        reset=Reset.SUBTRACT,
        reset_delay=1,
        refractory=3,
        rounding=Rounding.NEAREST,
        spiking=not readout,
    )
    values = rule_values(MULTIPLIES, p, readout=readout)
    assert values["reset"] == RESET_CODES[Reset.SUBTRACT]
    wanted = {"greater_equal": 1, "reset_delay": 1, "refractory": 3, "nearest": 1, "readout": int(readout)}
    assert {name: int(values[name]) for name in wanted} == wanted
    assert rule_values(SHIFTS, p)["nearest"] == 0, "shifts round one way only"


def test_a_rule_names_what_the_core_lacks():
    p = NeuronParameters(size=2, v_width=12, spiking=True)
    with pytest.raises(ValueError, match=r"^v_width must be 14 on this fabric, not 12$"):
        rule_values(ALL, p)
    noisy = with_features(rng_of("noisy"), p, FEATURES[2:3])
    assert noisy.noise_bits
    with pytest.raises(ValueError, match=r"^noise_bits must be at most 0 on this fabric, not \d+$"):
        rule_values(MULTIPLIES, noisy)
