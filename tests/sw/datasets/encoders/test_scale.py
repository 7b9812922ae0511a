"""Scales: levels and numbers, fitted ranges, invalid input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.datasets.encoders import Scale


def test_by_hand():
    """A quarter per level; values outside are clipped; halves go to the even level."""
    scale = Scale(low=(-1.0,), high=(3.0,), bits=4)
    assert scale.levels([[-5.0], [-1.0], [0.0], [0.125], [0.375], [3.0], [9.0]])[:, 0].tolist() == [
        0,
        0,
        4,
        4,
        6,
        16,
        16,
    ]
    assert scale.restore([[0], [4], [16]])[:, 0].tolist() == [-1.0, 0.0, 3.0]
    signed = Scale(low=(-2.0, -1.0), high=(2.0, 1.0), bits=3, origin=-4)
    assert signed.levels([[0.0, 0.0], [-2.0, 1.0]]).tolist() == [[0, 0], [-4, 4]]
    assert signed.restore([[0, 4]]).tolist() == [[0.0, 1.0]]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20), st.integers(1, 23))
def test_restored_numbers_are_within_half_a_level(numbers, bits):
    values = np.array(numbers)[:, None]
    width = values.max() - values.min()
    if width < 1e-3:
        return
    scale = Scale.fit(values, bits=bits)
    levels = scale.levels(values)
    assert levels.min() == 0
    assert levels.max() == 1 << bits
    assert np.abs(scale.restore(levels) - values).max() <= width / (2 << bits) * (1 + 1e-6)
    order = np.argsort(values[:, 0])
    assert (np.diff(levels[order, 0]) >= 0).all()


def test_fit():
    values = np.array([[[0.0, -3.0]], [[4.0, 1.0]]])
    assert Scale.fit(values, bits=4) == Scale(low=(0.0, -3.0), high=(4.0, 1.0), bits=4)
    assert Scale.fit(values, bits=4, shared=True) == Scale(low=(-3.0,), high=(4.0,), bits=4)
    assert Scale.fit(values, bits=4, signed=True) == Scale(low=(-4.0, -3.0), high=(4.0, 3.0), bits=4, origin=-8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Scale(low=(0,), high=(0,), bits=4), r"^scale_high must be above scale_low, 0.0, not 0.0$"),
        (
            lambda: Scale(low=(0,), high=(1, 2), bits=4),
            r"^scale_high must have as many entries as scale_low, 1, not 2$",
        ),
        (lambda: Scale(low=(np.nan,), high=(1,), bits=4), r"^scale_low must be finite numbers, not nan$"),
        (lambda: Scale(low=("a",), high=(1,), bits=4), r"^scale_low must be finite numbers, not 'a'$"),
        (lambda: Scale(low=(), high=(1,), bits=4), r"^scale_low must have 1 to 65536 entries, not 0$"),
        (lambda: Scale(low=(0,), high=(5e-324,), bits=4), r"^scale_high must be above scale_low"),
        (lambda: Scale(low=(-1e308,), high=(1e308,), bits=4), r"^scale_high must be above scale_low"),
        (lambda: Scale(low=(0,), high=(1,), bits=24), r"^scale_bits must be an integer from 1 to 23, not 24$"),
        (
            lambda: Scale.fit(np.full((3, 2), 1.5), bits=4),
            r"^values of channel 0 must vary to be scaled, not be 1.5 through",
        ),
        (lambda: Scale.fit([[1.0, np.nan]], bits=4), r"^values must be finite, not nan$"),
        (
            lambda: Scale.fit([1.0, 2.0], bits=4),
            r"^values must have shape \(..., channels\) and not be empty, not \(2,\)$",
        ),
        (
            lambda: Scale(low=(0, 1), high=(1, 2), bits=4).levels([[1, 2, 3]]),
            r"^scale must be of one channel or of 3, not",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
