"""Core parameters, memory words and the identity behind the single multiplier."""

from dataclasses import replace

import numpy as np
import pytest
from harness.bounds import assert_bounds
from harness.networks import rng_of

from spikeloom.sim.core.memory_fields import leak_code
from spikeloom.sim.core.neuron import Leak, NeuronParameters, leak
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.lib.words import Field, WordLayout, bits_for, pack_lanes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lanes": 3}, r"^lanes must be a power of two from 1 to 256, not 3$"),
        ({"lanes": 512}, r"^lanes must be a power of two from 1 to 256, not 512$"),
        ({"lanes": 8.0}, r"^lanes must be a power of two from 1 to 256, not 8.0$"),
        ({"lanes": "8"}, r"^lanes must be a power of two from 1 to 256, not '8'$"),
        ({"lanes": True}, r"^lanes must be a power of two from 1 to 256, not True$"),
        (
            {"lanes": 16, "lane_banks": 2.0},
            r"^lane_banks must be 1, or a power of two with at least 8 of the 16 lanes in each bank, not 2.0$",
        ),
        (
            {"lane_banks": 2},
            r"^lane_banks must be 1, or a power of two with at least 8 of the 1 lanes in each bank, not 2$",
        ),
        (
            {"lanes": 32, "neurons": 64, "lane_banks": 3},
            r"^lane_banks must be 1, or a power of two with at least 8 of the 32 lanes in each bank, not 3$",
        ),
        ({"lanes": 4, "neurons": 30}, r"^neurons must be a multiple of lanes \(4\), not 30$"),
        ({"weight_width": 17}, r"^weight_width must be an integer from 1 to 16, not 17$"),
        ({"accumulator_width": 7}, r"^accumulator_width must be an integer from 8 to 32, not 7$"),
        ({"coordinate_width": 8}, r"^coordinate_width must be an integer from 0 to 7, not 8$"),
        (
            {"weight_memory": "distributed"},
            r"^weight_memory must be 'block', 'single-port' or 'sdram', not 'distributed'$",
        ),
        (
            {"weight_memory": "sdram", "sparse": True},
            r"^weight_memory must be 'block' in a core with coordinates or sparse rows, not 'sdram': rows with them "
            r"cannot be streamed$",
        ),
        (
            {"weight_memory": "sdram", "coordinate_width": 3},
            r"^weight_memory must be 'block' in a core with coordinates or sparse rows, not 'sdram'",
        ),
        (
            {"weight_memory": "sdram", "weight_words": (1 << 25) + 1},
            r"^weight_words must be an integer from 1 to 33554432, not 33554433$",
        ),
        ({"streamed_words": -1}, r"^streamed_words must be an integer from 0 to 33554432, not -1$"),
        (
            {"streamed_words": 16, "weight_memory": "sdram"},
            r"^streamed_words must be 0 in a core without weights in block RAM, with a built-in program, or with "
            r"several words per cycle, not 16$",
        ),
        ({"streamed_words": 16, "words_per_cycle": 2}, r"^streamed_words must be 0 in a core without weights in block"),
        ({"state_memory": "single-port"}, r"^state_memory must be 'block' or 'distributed', not 'single-port'$"),
        ({"geometries": 0}, r"^geometries must be an integer from 1 to 128, not 0$"),
        ({"shifts": (2,)}, r"^shifts must be empty where there is a multiplier, not \(2,\)$"),
        ({"multiplier": False, "shifts": (16,)}, r"^shifts must be different integers from 0 to 15, not \(16,\)$"),
        ({"multiplier": False, "shifts": ("2",)}, r"^shifts must be different integers from 0 to 15, not \('2',\)$"),
        ({"multiplier": False, "shifts": [2]}, r"^shifts must be a tuple, not \[2\]$"),
        ({"multiplier": "no"}, r"^multiplier must be True or False, not 'no'$"),
        (
            {"lanes": 256, "neurons": 256},
            r"^words of neurons must have at most 1,024 bytes, not 2,048; "
            r"use fewer lanes, or fewer names in per_neuron$",
        ),
        ({"multiplier": False, "shifts": (2, 2)}, r"^shifts must be different integers from 0 to 15, not \(2, 2\)$"),
    ],
)
def test_bad_parameters(change, message):
    with pytest.raises(ValueError, match=message):
        CoreParameters(**change)


@pytest.mark.parametrize("shift", range(1, 15))
def test_a_shift_is_a_product_rounded_up(shift):
    """The multiplier computes ``v - (v >> k)`` for every 16-bit membrane: a negative factor rounds up."""
    core = CoreParameters()
    parameters = NeuronParameters(size=1, leak=Leak.SHIFT, leak_factor=shift)
    factor = leak_code(core, Leak.SHIFT, shift, core.beta_fraction)
    v = np.arange(-(1 << 15), 1 << 15)
    negated = v * np.asarray(factor) >> core.beta_fraction
    assert factor < 0
    assert negated.min() >= -(1 << 15)
    assert negated.max() < 1 << 15
    assert np.array_equal(-negated, leak(v[:, None], Leak.SHIFT, shift, parameters)[:, 0])


def test_words_hold_their_fields():
    rng = rng_of("test_words_hold_their_fields")
    layout = WordLayout((Field("a", 3), Field("none", 0), Field("b", 7, signed=True), Field("c", 1)))
    values = {"a": rng.integers(0, 8, 12), "b": rng.integers(-64, 64, 12), "c": rng.integers(0, 2, 12)}
    packed = pack_lanes(layout.bits(values, 12), 4)
    assert packed.shape == (3, 6)
    for slot in range(12):
        word = int.from_bytes(packed[slot // 4].tobytes(), "little") >> (slot % 4 * layout.width)
        assert word & 7 == values["a"][slot]
        assert word >> 3 & 127 == values["b"][slot] & 127
        assert word >> 10 & 1 == values["c"][slot]


def test_words_refuse_what_does_not_fit():
    layout = WordLayout((Field("a", 3), Field("none", 0)))
    with pytest.raises(ValueError, match=r"^a must be from 0 to 7, not 8 to 8$"):
        layout.bits({"a": 8}, 1)
    with pytest.raises(ValueError, match=r"^none must be from 0 to 0, not 1 to 1$"):
        layout.bits({"none": 1}, 1)
    with pytest.raises(ValueError, match=r"^the number of words must be a multiple of 2 lanes, not 3$"):
        pack_lanes(np.zeros((3, 4), np.uint8), 2)


def test_bits_for():
    assert [bits_for(count) for count in (1, 2, 3, 4, 5, 256, 257)] == [1, 1, 2, 2, 3, 8, 9]


@pytest.mark.parametrize("name", FABRICS)
def test_named_fabrics_address_all_their_memories(name):
    core = FABRICS[name].core
    assert FABRICS[name].name == name
    assert FABRICS[name].synapses == core.weight_words * core.lanes * len(FABRICS[name].cores)
    for memory in core.memories.values():
        assert memory.depth <= 1 << 18
        assert memory.planes <= 1 << 10
    numbers = [memory.number for memory in core.memories.values()]
    assert len(set(numbers)) == len(numbers)
    assert {1, 2, 4, 5} <= set(numbers) <= set(range(1, 16))


def test_a_value_is_no_wider_than_a_membrane():
    with pytest.raises(ValueError, match=r"^value_width must be at most v_width \(8\), not 9$"):
        CoreParameters(v_width=8, value_width=9)


BOUNDS = {
    "neurons": (16, 1 << 14),
    "axons": (1, 1 << 14),
    "weight_words": (1, 1 << 18),
    "populations": (1, 255),
    "weight_width": (1, 16),
    "coordinate_width": (0, 7),
    "geometries": (1, 128),
    "v_width": (8, 24),
    "accumulator_width": (8, 32),
    "beta_fraction": (1, 20),
    "destinations": (0, 64),
    "sent_axon_width": (0, 32),
    "refractory_width": (0, 8),
    "noise_bits": (0, 16),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds(name):
    assert_bounds(CoreParameters, name, *BOUNDS[name], lanes=16, neurons=64, axons=64, weight_words=64)


def test_values_and_counts_of_several_bits():
    """Not a single one; a value that is a number of spikes has a sign besides."""
    for width in (0, 2, 16):
        assert CoreParameters(value_width=width).value_width == width
    for width in (0, 2, 4):
        assert CoreParameters(value_width=8, count_width=width).count_width == width
    for name, high in (("value_width", 16), ("count_width", 4)):
        for wrong in (-1, high + 1):
            with pytest.raises(ValueError, match=rf"^{name} must be an integer from 0 to {high}, not {wrong}$"):
                CoreParameters(**{"value_width": 8} | {name: wrong})
    with pytest.raises(ValueError, match=r"^value_width must be 0 or from 2 to 16, not 1$"):
        CoreParameters(value_width=1)


def test_the_widest_word():
    """256 lanes of 32 bits are 1,024 bytes."""
    core = {"lanes": 256, "neurons": 256, "per_neuron": frozenset({"threshold", "bias"})}
    assert CoreParameters(**core, v_width=16).memories["neurons"].planes == 1024
    message = (
        r"^words of neurons must have at most 1,024 bytes, not 1,088; use fewer lanes, or fewer names in per_neuron$"
    )
    with pytest.raises(ValueError, match=message):
        CoreParameters(**core, v_width=17)


def test_weights_that_fit():
    for weight_width in (1, 8):
        core = CoreParameters(weight_width=weight_width)
        assert [core.holds_weights(width) for width in (1, weight_width, weight_width + 1)] == [True, True, False]


WIDE = {"lanes": 2, "words_per_cycle": 4, "accumulator_memory": "distributed"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"words_per_cycle": 3}, r"^words_per_cycle must be a power of two from 1 to 32, not 3$"),
        ({"words_per_cycle": 64}, r"^words_per_cycle must be a power of two from 1 to 32, not 64$"),
        ({"words_per_cycle": True}, r"^words_per_cycle must be a power of two from 1 to 32, not True$"),
        (
            {"lanes": 32, "words_per_cycle": 16, "neurons": 1024},
            r"^words_per_cycle must be at most 8 with 32 lanes, 256 weights per cycle, not 16$",
        ),
        (
            {"accumulator_memory": "block"},
            r"^accumulator_memory must be 'distributed' in a core that adds several words per cycle, not 'block'$",
        ),
        (
            {"weight_memory": "single-port"},
            r"^weight_memory must be 'block' in a core that adds several words per cycle, not 'single-port'$",
        ),
        (
            {"lanes": 16, "lane_banks": 2, "neurons": 256},
            r"^lane_banks must be 1 in a core that adds several words per cycle, not 2$",
        ),
        ({"value_width": 2}, r"^value_width must be 0 in a core that adds several words per cycle, not 2$"),
        (
            {"weight_words": 4098},
            r"^weight_words must be a multiple of words_per_cycle, 4, and at least 8, not 4098$",
        ),
        ({"weight_words": 4}, r"^weight_words must be a multiple of words_per_cycle, 4, and at least 8, not 4$"),
        ({"neurons": 14}, r"^neurons must be at least 16, two words for each of the 4 added per cycle, not 14$"),
    ],
)
def test_bad_words_per_cycle(change, message):
    with pytest.raises(ValueError, match=message):
        CoreParameters(**WIDE | change)


def test_words_per_cycle_change_no_memory():
    core = CoreParameters(**WIDE, neurons=16, weight_words=8)
    narrow = replace(core, words_per_cycle=1)
    assert core.memories == narrow.memories
    assert (core.capacity.operations_per_cycle, narrow.capacity.operations_per_cycle) == (8, 2)
    assert (core.capacity.synapses, core.capacity.neurons) == (16, 16) == (narrow.capacity.synapses, narrow.neurons)


def test_the_cost_of_several_words_per_cycle():
    core = CoreParameters(**WIDE, neurons=192, weight_width=5, accumulator_width=18)
    # 96 words of both banks: 48 in each of the four columns, three rows of 16.
    narrow = replace(core, words_per_cycle=1).cost
    differences = {name: value for name, value in core.cost.items() if value != narrow[name]}
    assert differences == {
        "sums": 4 * 36,
        "sums in deep LUT RAM": 2 * 4 * 36,
        "columns": 4,
        "columns, bits of sums": 4 * 36,
        "columns, bits of rotated weights": 2 * 4 * 10,  # in two stages
    }


def test_lanes_and_banks():
    for lanes in (1, 256):
        core = {"neurons": 256, "axons": 64, "weight_words": 64, "multiplier": False, "per_neuron": frozenset()}
        assert CoreParameters(lanes=lanes, **core).lanes == lanes
    assert CoreParameters(lanes=64, lane_banks=8, neurons=256, axons=64, weight_words=64).lane_banks == 8
    for banks in (0, 16):
        with pytest.raises(ValueError, match=r"^lane_banks must be 1, or a power of two with at least 8 of the 64"):
            CoreParameters(lanes=64, lane_banks=banks, neurons=256, axons=64, weight_words=64)
    assert CoreParameters(multiplier=False, per_neuron=frozenset(), shifts=(0, 15)).shifts == (0, 15)
    for shift in (-1, 16):
        with pytest.raises(ValueError, match=rf"^shifts must be different integers from 0 to 15, not \({shift},\)$"):
            CoreParameters(multiplier=False, per_neuron=frozenset(), shifts=(shift,))


EVERYTHING = CoreParameters(
    lanes=2,
    neurons=66,
    axons=40,
    weight_words=300,
    populations=3,
    coordinate_width=1,
    geometries=5,
    sparse=True,
    v_width=13,
    accumulator_width=11,
    beta_fraction=9,
    destinations=6,
    synaptic_current=True,
    adaptation=True,
    noise_bits=5,
    value_width=4,
    delay_line=True,
    second_threshold=True,
    lower_bound=True,
    refractory_width=3,
    accumulator_memory="distributed",
    state_memory="distributed",
    per_neuron=frozenset({"threshold", "delay"}),
)
"""No size is a power of two, so that one more or one less changes a width or a number of words."""
SHIFTING = replace(
    EVERYTHING,
    multiplier=False,
    shifts=(1, 3, 4),
    coordinate_width=0,
    sparse=False,
    value_width=0,
    delay_line=False,
    accumulator_memory="block",
    state_memory="block",
    per_neuron=frozenset(),
)


def widths(layout):
    """The width of each field, negative if it is signed."""
    return {field.name: -field.width if field.signed else field.width for field in layout.fields}


def test_every_field_has_the_width_of_what_it_holds():
    """33 words of 2 neurons, 300 weight words, axons of 2 coordinates and 6 bits."""
    first = {"weight": 9, "target": 6, "taps": 1, "skip": 1}
    assert widths(EVERYTHING.line_layout) == first
    assert widths(EVERYTHING.column_layout) == first | {"next_target": 6, "line_weight": 9, "line_target": 6}
    assert widths(replace(EVERYTHING, coordinate_width=3).line_layout) == first | {"taps": 3}
    row = {"weight_address": 9, "target": 6, "length": 6, "geometry": 3, "sparse": 1, "empty": 1, "delay": 1, "more": 1}
    row["streamed"] = 0
    assert widths(EVERYTHING.row_layout) == row
    mixed = replace(EVERYTHING, streamed_words=1000)
    assert widths(mixed.row_layout) == row | {"weight_address": 10, "streamed": 1}
    assert widths(SHIFTING.row_layout) == row | {"geometry": 0, "sparse": 0, "empty": 0}
    assert widths(EVERYTHING.route_layout) == {"send": 1, "local": 1, "membrane": 1, "axon": 8}
    assert widths(EVERYTHING.neuron_layout) == {"threshold": -13, "delay": 4}
    leaks = {"leak_factor": -11, "current_leak_factor": -11, "adaptation_leak_factor": -11}
    population = {
        "first": 6,
        "last": 6,
        "destinations": 6,
        "bias": -13,
        "reset_value": -13,
        "adaptation_step": -13,
        "seed": 16,
        "lower_bound": -13,
        "nearest": 1,
        "greater_equal": 1,
        "reset": 2,
        "reset_delay": 1,
        "refractory": 3,
        "spiking": 1,
        "readout": 1,
        "current": 1,
        "noise": 5,
        "graded": 1,
        "graded_shift": 4,
        "delay_line": 1,
        "second_threshold": 1,
        "max_spikes": 0,
        **leaks,
    }
    assert widths(EVERYTHING.population_layout) == population
    assert widths(replace(EVERYTHING, count_width=3).population_layout) == population | {"max_spikes": 3}
    # The index of a shift (none, or one of three) is unsigned.
    changes = dict.fromkeys(("nearest", "graded", "graded_shift", "delay_line"), 0) | dict.fromkeys(leaks, 2)
    assert widths(SHIFTING.population_layout) == population | changes | {"threshold": -13, "delay": 0}
    state = {"v": -13, "pending": 1, "refractory_count": 3, "current": -13, "adaptation": -13, "random": 16}
    assert widths(EVERYTHING.state_layout) == widths(SHIFTING.state_layout) == state
    assert (EVERYTHING.axon_width, EVERYTHING.event_width, SHIFTING.axon_width, SHIFTING.event_width) == (8, 8, 7, 6)
    assert replace(EVERYTHING, sent_axon_width=9).axon_width == 9
    assert (EVERYTHING.sent_width, SHIFTING.sent_width) == (EVERYTHING.update_widths.u, 13)


def test_every_memory_has_the_shape_of_its_words():
    shapes = {name: (m.number, m.depth, m.width, m.planes) for name, m in EVERYTHING.memories.items()}
    assert shapes == {
        "weights": (1, 300, 16, 2),
        "rows": (2, 40, 28, 4),
        "neurons": (3, 33, 34, 5),
        "routes": (4, 66, 11, 2),
        "populations": (5, 3, 142, 18),
        "columns": (6, 10, 38, 5),
        "lines": (7, 10, 17, 3),
        "targets": (8, 300, 6, 1),
    }
    assert list(SHIFTING.memories) == ["weights", "rows", "routes", "populations"]


def test_cost_is_the_size_of_each_part():
    """Two lanes and three leaks: 26 bits of membranes, 22 of sums, 118 of states."""
    membranes = dict.fromkeys(
        [
            *("membranes", "bias", "reset to a value", "reset delay", "reset delay and factor", "readout", "graded"),
            *("refractory and factor", "synaptic current", "adaptation", "delay lines", "second threshold"),
            "lower bound",
        ],
        26,
    )
    cost = {
        "core": 1,
        "addresses": 9 + 6 + 6 + 7,
        "lanes": 2,
        "sums": 22,
        "sums in block RAM": 0,
        # 66 words are five rows of 16, four of them in addition to the first.
        "sums in deep LUT RAM": 4 * 22,
        "columns": 0,
        "columns, bits of sums": 0,
        "columns, bits of rotated weights": 0,
        "states in LUT RAM": 118,
        "leaks by a factor": 3 * 26,
        "leaks by a shift": 0,
        "leaks by more shifts": 0,
        "refractory": 6,
        "noise": 2 * (16 + 5),
        "coordinates": 1,
        "sparse": 1,
        "spike counts": 0,
        **membranes,
    }
    assert EVERYTHING.cost == cost
    assert replace(EVERYTHING, count_width=3).cost == cost | {"spike counts": 2 * 26}
    absent = ["sums in deep LUT RAM", "states in LUT RAM", "leaks by a factor", "reset delay and factor", "graded"]
    absent += ["refractory and factor", "delay lines", "coordinates", "sparse"]
    shifts = {"sums in block RAM": 22, "leaks by a shift": 3 * 26, "leaks by more shifts": 6 * 26}
    assert SHIFTING.cost == cost | dict.fromkeys(absent, 0) | shifts
    block = replace(EVERYTHING, neurons=16, accumulator_memory="distributed")
    assert block.cost["sums in deep LUT RAM"] == 0
    assert replace(EVERYTHING, neurons=80).cost["sums in deep LUT RAM"] == 4 * 22
    assert replace(EVERYTHING, neurons=82).cost["sums in deep LUT RAM"] == 5 * 22


def test_no_intermediate_value_of_an_update_overflows():
    assert EVERYTHING.update_widths == (14, 15, 16, 14, 17, 18)
    assert replace(EVERYTHING, accumulator_width=20).update_widths == (14, 22, 23, 14, 24, 25)
    plain = dict.fromkeys(("synaptic_current", "adaptation", "second_threshold", "reset_delay", "bias"), False)
    assert replace(EVERYTHING, noise_bits=0, **plain).update_widths == (13, 11, 14, 13, 15, 15)
    assert replace(EVERYTHING, noise_bits=16, **plain).update_widths == (13, 11, 14, 13, 15, 17)
    assert replace(EVERYTHING, **plain | {"adaptation": True, "v_width": 20}).update_widths.threshold == 21
