"""Scores of each mode by hand, saturation, and the lowest output on a tie."""

import numpy as np
import pytest
from harness.bounds import assert_bounds

from spikeloom.sim.host.readout import ReadoutMode, ReadoutParameters, answers, scores

SPIKES = np.array([[[1, 0, 0]], [[1, 0, 1]], [[0, 0, 1]]])
COUNTS = np.array([[[15, 0, 100]], [[0, 1, 15]], [[0, 2, 15]]])
MEMBRANES = np.array([[[5, -3, 100]], [[-9, 2, 100]], [[4, 1, 100]]])


@pytest.mark.parametrize(
    ("mode", "values", "expected"),
    [
        (ReadoutMode.COUNT, SPIKES, [2, 0, 2]),
        (ReadoutMode.COUNT, COUNTS, [15, 3, 127]),
        (ReadoutMode.FIRST, COUNTS, [127, 126, 127]),
        (ReadoutMode.FIRST, SPIKES, [127, 0, 126]),
        (ReadoutMode.LAST, MEMBRANES, [4, 1, 100]),
        (ReadoutMode.LARGEST, MEMBRANES, [5, 2, 100]),
        (ReadoutMode.SUM, MEMBRANES, [0, 0, 127]),
    ],
)
def test_scores_of_eight_bits(mode, values, expected):
    found = scores(mode, values, 8)
    assert found.tolist() == [expected]
    assert answers(found).tolist() == [expected.index(max(expected))]


def test_scores_saturate():
    many = np.ones((200, 1, 1), int)
    assert (ReadoutParameters(width=8).top, ReadoutParameters(width=24).top) == (127, 8_388_607)
    assert scores(ReadoutMode.COUNT, many, 8).item() == 127
    assert scores(ReadoutMode.SUM, -many, 8).item() == -128
    late = np.concatenate([np.zeros((150, 1, 1), int), many])
    assert scores(ReadoutMode.FIRST, late, 8).item() == 1, "a late spike still beats none"
    # A saturated sum continues from its limit.
    assert scores(ReadoutMode.SUM, np.concatenate([many, -many[:30]]), 8).item() == 97


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": 12}, "outputs must be a power of two, not 12"),
        ({"outputs": 8192}, "outputs must be an integer from 2 to 4096, not 8192"),
        ({"width": 1}, "width must be an integer from 2 to 24, not 1"),
        ({"width": True}, "width must be an integer from 2 to 24, not True"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        ReadoutParameters(**options)


def test_what_has_no_score():
    with pytest.raises(ValueError, match=r"^values must have shape \(T, B, n\) and not be empty, not \(3, 1\)$"):
        scores(ReadoutMode.COUNT, SPIKES[..., 0])
    with pytest.raises(ValueError, match=r"^values must have shape \(T, B, n\) and not be empty, not \(0, 1, 3\)$"):
        scores(ReadoutMode.COUNT, SPIKES[:0])
    with pytest.raises(ValueError, match=r"^values must be numbers of spikes, at least 0, for mode COUNT, not -9$"):
        scores(ReadoutMode.COUNT, MEMBRANES)
    with pytest.raises(ValueError, match=r"^values must be numbers of spikes, at least 0, for mode FIRST, not -9$"):
        scores(ReadoutMode.FIRST, MEMBRANES)
    with pytest.raises(ValueError, match=r"^mode must be one that scores, not <ReadoutMode.OFF: 0>$"):
        scores(ReadoutMode.OFF, SPIKES)


def test_numbers_of_spikes_are_counted_as_a_sum_of_values():
    """The mode of the unit gives the score, saturation included; every other mode is that of the unit."""
    many = np.repeat(COUNTS, 12, axis=0)
    for counts in (COUNTS, many, SPIKES):
        of_unit = scores(ReadoutMode.COUNT.of_unit(counted=True), counts, 8)
        assert np.array_equal(of_unit, scores(ReadoutMode.COUNT, counts, 8))
    assert scores(ReadoutMode.COUNT, many, 8).tolist() == [[127, 36, 127]]
    assert ReadoutMode.COUNT.of_unit(counted=True) is ReadoutMode.SUM
    others = [mode for mode in ReadoutMode if mode is not ReadoutMode.COUNT]
    assert [mode.of_unit(counted=True) for mode in others] == others
    assert [mode.of_unit(counted=False) for mode in ReadoutMode] == list(ReadoutMode)


@pytest.mark.parametrize(("name", "high"), [("outputs", 4096), ("width", 24)])
def test_bounds(name, high):
    assert_bounds(ReadoutParameters, name, 2, high)
    assert (ReadoutParameters().outputs, ReadoutParameters().width) == (16, 24)
