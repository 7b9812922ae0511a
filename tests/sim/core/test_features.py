"""The table of features: complete, consistent with the integer neuron, with unchanged memory words."""

import re
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from harness.lane import PLAIN

from spikeloom.sim.core.features import (
    FEATURES,
    GENERAL_LEVELS,
    LEAKS,
    PER_NEURON,
    WITHOUT_FEATURES,
    CoreFeatures,
    Feature,
    general_features,
    lane_products,
    leaks_of,
    update_widths,
)
from spikeloom.sim.core.memory_fields import parameter_values, rule_values
from spikeloom.sim.core.neuron import Compare, Leak, NeuronParameters, NeuronState, Reset, Rounding
from spikeloom.sim.core.parameters import CoreParameters

ROOT = Path(__file__).parents[3]

NEURONS = {
    "bias": {"bias": 3},
    "reset_value": {"reset": Reset.VALUE, "reset_value": 2},
    "reset_delay": {"reset_delay": 1},
    "refractory_width": {"refractory": 5},
    "readout": {"spiking": False},
    "synaptic_current": {"current_leak": Leak.NONE},
    "adaptation": {"adaptation_leak": Leak.NONE, "adaptation_step": 1},
    "noise_bits": {"noise_bits": 3},
    "value_width": {"graded": True, "value_width": 4},
    "delay_line": {"delay_line": True, "delay": 2},
    "second_threshold": {"second_threshold": True, "reset": Reset.SUBTRACT},
    "count_width": {"max_spikes": 7, "graded": True, "value_width": 4},
    "lower_bound": {"lower_bound": 0},
}
"""Neurons that need a feature, by the flag of the feature."""
NEEDED = dict.fromkeys(NEURONS, True) | {"refractory_width": 3, "noise_bits": 3, "value_width": 4, "count_width": 3}
REQUIRED = {"count_width": "value_width"}
"""The feature that another one requires, by flags."""
ABLE = replace(PLAIN, v_width=16, beta_fraction=14, **NEEDED | {"noise_bits": 8})
REFUSED = {
    "bias": "a bias is missing from this fabric",
    "reset_value": "a reset to a value is missing from this fabric",
    "reset_delay": "a reset delay is missing from this fabric",
    "refractory_width": "refractory must be at most 0 steps on this fabric, not 5",
    "readout": "the readout of membranes is missing from this fabric",
    "synaptic_current": "a synaptic current is missing from this fabric",
    "adaptation": "an adaptive threshold is missing from this fabric",
    "noise_bits": "noise_bits must be at most 0 on this fabric, not 3",
    "value_width": "a multiplication by the values of graded spikes is missing from this fabric",
    "delay_line": "a delay line is missing from this fabric",
    "second_threshold": "a second threshold is missing from this fabric",
    "count_width": "max_spikes must be at most 1 on this fabric, not 7",
    "lower_bound": "a lower bound of the membrane is missing from this fabric",
}
FLAGGED = [feature for feature in FEATURES if feature.flag]


def test_every_flag_state_and_parameter_has_one_entry():
    flags = [feature.flag for feature in FLAGGED]
    assert sorted(flags) == sorted(field.name for field in fields(CoreFeatures)) == sorted(NEURONS)
    states = [field.name for feature in FEATURES for field in feature.state]
    assert sorted(states) == sorted(field.name for field in fields(NeuronState))
    names = {field.name for field in fields(NeuronParameters)}
    assert set(PER_NEURON) <= names
    assert sorted(name for feature in FEATURES for name in feature.fields) == sorted(
        names - {"size", "v_width", "beta_fraction", "rounding"}
    )
    assert {leaking.leak for leaking in LEAKS} <= names
    assert all(feature.name and feature.meaning and feature.nir for feature in FEATURES)
    for feature in FLAGGED:
        assert feature.phrase or feature.is_width


def test_words_are_as_they_always_were():
    """Programs and bitstreams depend on the order of the fields: a new field is appended to its word."""
    core = replace(ABLE, per_neuron=frozenset(PER_NEURON))
    names = [[field.name for field in layout.fields] for layout in (core.neuron_layout, core.state_layout)]
    assert names == [
        [
            *("threshold", "bias", "leak_factor", "reset_value", "current_leak_factor", "adaptation_leak_factor"),
            *("adaptation_step", "seed", "delay", "lower_bound"),
        ],
        ["v", "pending", "refractory_count", "current", "adaptation", "random"],
    ]
    assert [field.name for field in core.population_layout.fields] == [
        *("first", "last", "destinations", "nearest", "greater_equal", "reset", "reset_delay", "refractory", "spiking"),
        *("readout", "current", "noise", "graded", "graded_shift", "delay_line", "second_threshold", "max_spikes"),
    ]


def zero(feature):
    """The changes to a core that remove a feature and the one that requires it."""
    removed = [other for other in FLAGGED if feature.flag in (other.flag, REQUIRED.get(other.flag))]
    return {other.flag: other.value(0) for other in removed}


@pytest.mark.parametrize("feature", FLAGGED, ids=lambda feature: feature.flag)
def test_a_feature_is_what_neurons_need(feature):
    """A core with all features but one refuses exactly the neurons that need it, costs less, and lacks its fields."""
    p = NeuronParameters(size=3, **NEURONS[feature.flag])
    without = replace(ABLE, **zero(feature))
    assert feature.needs(p) == NEEDED[feature.flag]
    assert feature.built(ABLE)
    assert not feature.built(without)
    rule_values(ABLE, p)
    parameter_values(ABLE, p)
    with pytest.raises(ValueError, match=f"^{REFUSED[feature.flag]}$"):
        rule_values(without, p)
    assert sum(feature.cost(without).values()) == 0 < sum(feature.cost(ABLE).values())
    for other in FLAGGED:
        needed = other is feature or other.flag == REQUIRED.get(feature.flag)
        assert needed == (other.needs(p) > 0)
        if not needed:
            rule_values(replace(ABLE, **zero(other)), p)
    required = REQUIRED.get(feature.flag)
    plain = replace(ABLE, **WITHOUT_FEATURES | ({required: getattr(ABLE, required)} if required else {}))
    only = replace(plain, **{feature.flag: getattr(ABLE, feature.flag)})
    bits = [c.neuron_layout.width + c.population_layout.width + c.state_layout.width for c in (plain, only)]
    assert bits[0] < bits[1]


def test_a_value_must_have_the_bits_of_the_fabric():
    p = NeuronParameters(size=1, graded=True, value_width=6)
    with pytest.raises(ValueError, match=r"^value_width must be 4 on this fabric, not 6$"):
        rule_values(ABLE, p)


@pytest.mark.parametrize(("count_width", "value_width"), [(1, 8), (2, 0), (3, 3), (4, 2)])
def test_counts_need_values(count_width, value_width):
    expected = (
        r"^count_width must be 0, or at least 2 and less than value_width, because the number of spikes is the value "
        rf"of a graded spike, not {count_width} with a value_width of {value_width}$"
    )
    with pytest.raises(ValueError, match=expected):
        replace(ABLE, count_width=count_width, value_width=value_width)


def test_tables_say_what_a_core_can_have():
    """A 2 for a flag that is on or off, and a width above the maximum, would otherwise be accepted silently."""
    for feature in FEATURES:
        if feature.flag and not feature.is_width:
            assert feature.most == 1, feature.name
        for amount in feature.general.values():
            assert type(amount) is int
            assert 1 <= amount <= feature.most, feature.name


def test_the_most_that_a_core_can_do_and_one_more():
    """The largest number of each width is accepted, and the next one refused with the largest in the message."""
    counting = replace(ABLE, value_width=5)
    for core, name, most, unit, others in (
        (ABLE, "refractory", 7, " steps", {}),
        (ABLE, "noise_bits", 8, "", {}),
        (counting, "max_spikes", 7, "", {"graded": True, "value_width": 5}),
    ):
        rule_values(core, NeuronParameters(size=1, **others | {name: most}))
        message = f"^{name} must be at most {most}{unit} on this fabric, not {most + 1}$"
        with pytest.raises(ValueError, match=message):
            rule_values(core, NeuronParameters(size=1, **others | {name: most + 1}))
    rule_values(replace(ABLE, refractory_width=0, noise_bits=0, count_width=0), NeuronParameters(size=1))
    assert replace(PLAIN, v_width=8, value_width=8).value_width == 8, "as wide as the membrane"


def test_values_of_neurons_without_features():
    """By value, on a core with all features: 0 wherever the neurons lack one."""
    p = NeuronParameters(size=1, threshold=7)
    found = {
        name: int(np.ravel(value)[0]) for name, value in (rule_values(ABLE, p) | parameter_values(ABLE, p)).items()
    }
    off = ("bias", "reset_value", "current_leak_factor", "adaptation_leak_factor", "adaptation_step", "delay")
    off += ("nearest", "greater_equal", "reset_delay", "refractory", "readout", "current", "noise", "graded")
    off += ("graded_shift", "delay_line", "second_threshold", "seed")
    on = {"threshold": 7, "leak_factor": 1 << 14, "lower_bound": -(1 << 15), "reset": 1, "spiking": 1, "max_spikes": 1}
    assert found == dict.fromkeys(off, 0) | on


def test_values_of_delay_lines_and_noise():
    line = NeuronParameters(size=1, threshold=9, delay_line=True, delay=4, reset=Reset.SUBTRACT)
    found = rule_values(ABLE, line) | parameter_values(ABLE, line)
    assert (int(found["threshold"]), int(found["reset"])) == (0, 0)
    noisy = NeuronParameters(size=1, noise_bits=3, seed=77)
    found = rule_values(ABLE, noisy) | parameter_values(ABLE, noisy)
    assert (int(found["noise"]), int(np.ravel(found["seed"])[0])) == (0b111, 77)


def test_words_of_a_plain_core():
    """No feature leaves a bit: 64 words of one neuron, and membranes of 12 bits."""
    core = replace(PLAIN, per_neuron=frozenset(PER_NEURON))
    present = [
        {field.name: field.width for field in layout.fields if field.width}
        for layout in (core.neuron_layout, core.population_layout, core.state_layout)
    ]
    rule = {"nearest": 1, "greater_equal": 1, "reset": 2, "spiking": 1}
    assert present == [{"threshold": 12, "leak_factor": 10}, {"first": 6, "last": 6} | rule, {"v": 12}]


def test_a_single_bit_is_a_feature():
    core = replace(PLAIN, noise_bits=1, refractory_width=1, per_neuron=frozenset(PER_NEURON))
    state = {field.name: field.width for field in core.state_layout.fields if field.width}
    assert state == {"v": 12, "refractory_count": 1, "random": 16}
    assert {field.name: field.width for field in core.neuron_layout.fields}["seed"] == 16
    cost = {name: number for name, number in core.cost.items() if number}
    assert (cost["noise"], cost["refractory"], cost["refractory and factor"]) == (16 + 1, 1, 12)


def test_a_feature_of_its_name_only_needs_and_costs_nothing():
    feature, p = Feature(name="nothing"), NeuronParameters(size=1)
    assert (feature.needs(p), feature.products(ABLE), feature.cost(ABLE), feature.missing(ABLE, p)) == (0, (), {}, "")
    assert feature.built(PLAIN)


def test_general_fabrics_by_value():
    plain = {"bias": True, "readout": True}
    small = plain | {"reset_value": True, "reset_delay": True, "refractory_width": 3}
    medium = small | {"refractory_width": 4}
    large = medium | {"synaptic_current": True, "adaptation": True, "delay_line": True}
    for level, features in zip(GENERAL_LEVELS, (plain, plain, small, medium, large), strict=True):
        assert general_features(level) == WITHOUT_FEATURES | features


def test_levels_have_what_those_before_them_have():
    levels = [general_features(level) for level in GENERAL_LEVELS]
    assert [sum(map(bool, level.values())) for level in levels] == [2, 2, 5, 5, 8]
    for before, after in pairwise(levels):
        assert all(before[flag] <= after[flag] for flag in before)
    for level in levels:
        CoreParameters(**level)
        assert all(type(level[field.name]) is type(field.default) for field in fields(CoreFeatures))


def test_widths_of_an_update_by_hand():
    """Membranes of 12 or 16 bits and accumulators of 14. With all features, a current of 17 bits and a bias make a
    drive of 18."""
    assert update_widths(PLAIN) == (12, 14, 15, 12, 16, 16)
    assert update_widths(ABLE) == (17, 18, 19, 17, 20, 21)
    assert update_widths(replace(ABLE, bias=False, synaptic_current=False)) == (17, 14, 18, 17, 19, 20)


def test_products_of_a_lane():
    assert (leaks_of(PLAIN), leaks_of(ABLE)) == (1, 3)
    assert lane_products(PLAIN) == [(12, 10)]
    assert lane_products(ABLE) == [(16, 16)] * 3 + [(8, 4)]
    assert lane_products(replace(ABLE, multiplier=False)) == [(8, 4)]


def test_a_feature_is_in_four_files():
    """The table and the three independent implementations of the arithmetic; adaptation has no special case
    elsewhere."""
    sources = [path for portion in ("sim", "hdl", "sw", "boards") for path in (ROOT / portion).rglob("*.py")]
    assert len(sources) > 100
    found = {path.name for path in sources if re.search(r"\badaptation\b", path.read_text(encoding="utf-8"))}
    assert found == {"features.py", "neuron.py", "population.py", "lane.py"}


def test_values_that_are_not_used_are_zero():
    """Programs of equal neurons are equal, whatever the parameters without an effect are."""
    core = replace(ABLE, count_width=0)

    def words(core=core, **values):
        p = NeuronParameters(size=1, threshold=9, **values)
        found = {**parameter_values(core, p), **rule_values(core, p)}
        return {name: int(np.ravel(value)[0]) for name, value in found.items()}

    assert words(reset_value=5)["reset_value"] == 0
    assert words(reset=Reset.VALUE, reset_value=5)["reset_value"] == 5
    line = words(delay_line=True, delay=3, compare=Compare.GREATER_EQUAL, reset=Reset.VALUE)
    assert (line["delay_line"], line["delay"], line["greater_equal"], line["reset_value"]) == (1, 3, 0, 0)
    assert words(compare=Compare.GREATER_EQUAL)["greater_equal"] == 1
    assert words(compare=Compare.GREATER)["greater_equal"] == 0
    assert words(rounding=Rounding.NEAREST)["nearest"] == 1
    shifting = replace(core, multiplier=False, shifts=(1, 2))
    assert words(shifting, rounding=Rounding.NEAREST)["nearest"] == 0
    assert words(graded_shift=3)["graded_shift"] == 0
    assert words(graded_shift=3, graded=True, value_width=4)["graded_shift"] == 3
