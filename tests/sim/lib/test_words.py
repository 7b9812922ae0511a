"""Words of fields: packing and unpacking, values that do not fit, and lanes joined into words."""

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.sim.lib.words import Field, WordLayout, bits_for, pack_lanes, unpack_lanes, weight_bits, weight_range

LAYOUT = WordLayout(
    (Field("a", 3), Field("absent", 0), Field("b", 5, signed=True), Field("nothing", 0, signed=True), Field("c", 1))
)


def test_bits_for():
    assert [bits_for(count) for count in (1, 2, 3, 4, 5, 256, 257)] == [1, 1, 2, 2, 3, 8, 9]


def test_fields_stand_one_after_the_other(request):
    rng = rng_of(request.node.name)
    values = {"a": rng.integers(0, 8, 50), "b": rng.integers(-16, 16, 50), "c": rng.integers(0, 2, 50)}
    bits = LAYOUT.bits(values, 50)
    assert bits.shape == (50, LAYOUT.width) == (50, 9)
    words = bits.astype(np.int64) @ (1 << np.arange(9))
    assert (words == values["a"] | (values["b"] & 31) << 3 | values["c"] << 8).all()
    found = LAYOUT.values(bits)
    assert all((found[name] == values[name]).all() for name in values)
    ends = {"a": [0, 7], "absent": [0, 0], "b": [-16, 15], "nothing": [0, 0], "c": [0, 1]}
    assert {name: field.tolist() for name, field in LAYOUT.values(LAYOUT.bits(ends, 2)).items()} == ends
    assert not found["absent"].any()
    assert not LAYOUT.bits({}, 3).any()


@pytest.mark.parametrize(
    ("name", "value", "bounds"),
    [
        *(("a", 8, "0 to 7"), ("a", -1, "0 to 7"), ("b", 16, "-16 to 15"), ("b", -17, "-16 to 15"), ("c", 2, "0 to 1")),
        *((name, value, "0 to 0") for name in ("absent", "nothing") for value in (-1, 1)),
    ],
)
def test_what_does_not_fit_is_refused(name, value, bounds):
    with pytest.raises(ValueError, match=rf"^{name} must be from {bounds}, not {value} to {value}$"):
        LAYOUT.bits({name: value}, 2)


def test_weights():
    assert weight_range(1) == (-1, 1)
    assert weight_range(4) == (-8, 7)
    assert weight_bits(np.array([1, -1, 0]), 1).tolist() == [[1], [0], [0]]
    assert weight_bits(np.array([-3, 5]), 4).tolist() == [[1, 0, 1, 1], [1, 0, 1, 0]]


@pytest.mark.parametrize("width", range(2, 17))
def test_weights_of_every_width_are_in_twos_complement(width):
    low, high = weight_range(width)
    assert (low, high) == (-(2 ** (width - 1)), 2 ** (width - 1) - 1)
    weights = np.unique(np.r_[low, low + 1, -1, 0, 1, high - 1, high])
    bits = weight_bits(weights, width)
    assert bits.shape == (len(weights), width)
    assert (WordLayout((Field("weight", width, signed=True),)).values(bits)["weight"] == weights).all()
    for wrong in (low - 1, high + 1):
        with pytest.raises(ValueError, match=rf"^weight must be from {low} to {high}, not {wrong} to {wrong}$"):
            weight_bits(np.array([wrong]), width)
    assert weight_bits(weights[:0], width).shape == (0, width)


def test_lanes_are_joined_and_cut_again(request):
    bits = rng_of(request.node.name).integers(0, 2, (12, 5)).astype(np.uint8)
    words = pack_lanes(bits, 4)
    assert words.shape == (3, 3)
    assert int.from_bytes(words[0].tobytes(), "little") == int("".join(map(str, bits[:4].ravel()[::-1])), 2)
    assert (unpack_lanes(words, 4, 5) == bits).all()
    with pytest.raises(ValueError, match=r"^the number of words must be a multiple of 5 lanes, not 12$"):
        pack_lanes(bits, 5)
