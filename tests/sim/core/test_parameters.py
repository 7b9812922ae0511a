"""Core parameters, memory words and the identity behind the single multiplier."""

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
        ({"weight_memory": "distributed"}, r"^weight_memory must be 'block' or 'single-port', not 'distributed'$"),
        ({"state_memory": "single-port"}, r"^state_memory must be 'block' or 'distributed', not 'single-port'$"),
        ({"geometries": 0}, r"^geometries must be an integer from 1 to 128, not 0$"),
        ({"shifts": (2,)}, r"^shifts must be empty where there is a multiplier, not \(2,\)$"),
        ({"multiplier": False, "shifts": (16,)}, r"^shifts must be different integers from 0 to 15, not \(16,\)$"),
        ({"multiplier": False, "shifts": ("2",)}, r"^shifts must be different integers from 0 to 15, not \('2',\)$"),
        ({"multiplier": False, "shifts": [2]}, r"^shifts must be a tuple, not \[2\]$"),
        ({"multiplier": "no"}, r"^multiplier must be True or False, not 'no'$"),
        (
            {"lanes": 256, "neurons": 256},
            r"^words of neurons must have at most 1,024 bytes, not 2,048: fewer lanes, or fewer names in per_neuron$",
        ),
        ({"multiplier": False, "shifts": (2, 2)}, r"^shifts must be different integers from 0 to 15, not \(2, 2\)$"),
    ],
)
def test_bad_parameters(change, message):
    with pytest.raises(ValueError, match=message):
        CoreParameters(**change)


@pytest.mark.parametrize("shift", range(1, 15))
def test_a_shift_is_a_product_rounded_up(shift):
    """The multiplier does ``v - (v >> k)`` for every membrane of 16 bits: a negative factor is one to round up."""
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
    "beta_fraction": (1, 16),
    "destinations": (0, 64),
    "sent_axon_width": (0, 32),
    "refractory_width": (0, 8),
    "noise_bits": (0, 16),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds(name):
    assert_bounds(CoreParameters, name, *BOUNDS[name], lanes=16, neurons=64, axons=64, weight_words=64)


def test_lanes_and_banks():
    for lanes in (1, 256):
        core = {"neurons": 256, "axons": 64, "weight_words": 64, "multiplier": False, "per_neuron": frozenset()}
        assert CoreParameters(lanes=lanes, **core).lanes == lanes
    assert CoreParameters(lanes=64, lane_banks=8, neurons=256, axons=64, weight_words=64).lane_banks == 8
    for banks in (0, 16):
        with pytest.raises(ValueError, match=r"^lane_banks must be 1, or a power of two with at least 8 of the 64"):
            CoreParameters(lanes=64, lane_banks=banks, neurons=256, axons=64, weight_words=64)
    for shift in (-1, 16):
        with pytest.raises(ValueError, match=rf"^shifts must be different integers from 0 to 15, not \({shift},\)$"):
            CoreParameters(multiplier=False, per_neuron=frozenset(), shifts=(shift,))
