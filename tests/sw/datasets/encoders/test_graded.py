"""Graded codes: values and changes by hand, withheld changes, and values out of range."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.datasets.encoders import GradedEncoder

SEVEN = np.array([0, 2, 5, 4, 8, 8, 3])[:, None, None]


def values(encoder, series=SEVEN):
    return encoder.encode_series(series)[:, 0, 0].tolist()


def test_by_hand():
    assert values(GradedEncoder(bits=5)) == [0, 2, 5, 4, 8, 8, 3]
    assert values(GradedEncoder(bits=5, threshold=4)) == [0, 0, 5, 4, 8, 8, 0]
    assert values(GradedEncoder(bits=5, reference="previous")) == [0, 2, 3, -1, 4, 0, -5]
    assert values(GradedEncoder(bits=5, reference="previous", threshold=3)) == [0, 0, 3, 0, 4, 0, -5]
    # 2 is held back and sent with the next change; 4 differs from 5 by one, and 8 from it by three.
    assert values(GradedEncoder(bits=5, reference="sent", threshold=3)) == [0, 0, 5, 0, 3, 0, -5]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-30, 30), min_size=1, max_size=30), st.integers(1, 9))
def test_what_is_held_back_is_below_the_threshold(series, threshold):
    encoder = GradedEncoder(bits=8, reference="sent", threshold=threshold)
    array = np.array(series)[:, None, None]
    decoded = encoder.decode(encoder.encode_series(array))
    assert np.abs(decoded - array).max() < threshold
    assert encoder.error_bound == threshold - 1
    exact = GradedEncoder(bits=8, reference="previous")
    assert np.array_equal(exact.decode(exact.encode_series(array)), array)


def test_signs_need_no_second_axon():
    assert GradedEncoder(bits=5).axons(7) == 7


def test_changes_that_do_not_fit():
    encoder = GradedEncoder(bits=4, reference="previous")
    with pytest.raises(ValueError, match=r"^changes must be from -8 to 7 to fit 4 bits, not 15$"):
        encoder.encode_series(np.array([-8, 7])[:, None, None])
    with pytest.raises(ValueError, match=r"^changes must be from -8 to 7 to fit 4 bits, not -14$"):
        encoder.encode_series(np.array([7, -7])[:, None, None])
