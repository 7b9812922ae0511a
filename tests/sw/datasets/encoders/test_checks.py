"""Checks of encoder arguments: types, ranges, one value per channel, finite numbers."""

import re

import numpy as np
import pytest

from spikeloom.datasets.encoders.checks import MOST_CHANNELS, integer, numbers, one_of, per_channel, thresholds


@pytest.mark.parametrize("value", [2, 7, np.int8(2), np.uint16(7)])
def test_integers(value):
    found = integer("steps", value, 2, 7)
    assert (found, type(found)) == (value, int)


@pytest.mark.parametrize("value", [1, 8, 2.0, True, "3", None, np.float64(3)])
def test_other_values_are_no_integers_of_the_range(value):
    with pytest.raises(ValueError, match=r"^steps must be an integer from 2 to 7, not "):
        integer("steps", value, 2, 7)


def test_true_is_no_one():
    with pytest.raises(ValueError, match=r"^bits must be an integer from 0 to 1, not True$"):
        integer("bits", True, 0, 1)


@pytest.mark.parametrize("value", ["c", "", "A", 1, None, ["a"]])
def test_one_of(value):
    assert one_of("curve", "b", ("a", "b")) == "b"
    with pytest.raises(ValueError, match=r"^curve must be one of a, b, not "):
        one_of("curve", value, ("a", "b"))


def test_a_value_from_a_file_cannot_fill_the_screen():
    with pytest.raises(ValueError, match=r"^curve must be one of a, not ") as caught:
        one_of("curve", "\x1b[2J" * 10_000, ("a",))
    assert len(str(caught.value)) < 300
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("value", [[3, 4], (3, 4), np.array([3, 4])])
def test_one_threshold_per_channel(value):
    assert thresholds("threshold", value, 1, 9) == (3, 4)
    assert all(type(each) is int for each in thresholds("threshold", value, 1, 9))
    assert thresholds("threshold", 5, 1, 9) == 5


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], f"threshold must have 1 to {MOST_CHANNELS} entries, not 0"),
        ([1] * (MOST_CHANNELS + 1), f"threshold must have 1 to {MOST_CHANNELS} entries, not {MOST_CHANNELS + 1}"),
        ([3, 10], "threshold must be an integer from 1 to 9, not 10"),
        (0, "threshold must be an integer from 1 to 9, not 0"),
        ([[3]], "threshold must be an integer from 1 to 9, not [3]"),
    ],
)
def test_bad_thresholds(value, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        thresholds("threshold", value, 1, 9)


def test_thresholds_for_as_many_channels():
    assert per_channel("threshold", 5, 3).tolist() == [5, 5, 5]
    assert per_channel("threshold", (1, 2, 3), 3).tolist() == [1, 2, 3]
    for given in ((1, 2), (1,)):
        with pytest.raises(
            ValueError, match=f"^threshold must be one integer or one per channel, 3, not {len(given)}$"
        ):
            per_channel("threshold", given, 3)


@pytest.mark.parametrize("kind", [np.int8, np.uint32, np.float32])
def test_numbers_keep_their_type(kind):
    assert numbers("values", np.array([0, 3], kind)).dtype == kind


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([1.0, np.nan], ValueError, "values must be finite, not nan"),
        ([[1.0, -np.inf]], ValueError, "values must be finite, not -inf"),
        (["a"], TypeError, "values must be numbers, not <U1"),
        ([True], TypeError, "values must be numbers, not bool"),
        ([1j], TypeError, "values must be numbers, not complex128"),
    ],
)
def test_other_arrays_are_refused(values, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        numbers("values", values)
