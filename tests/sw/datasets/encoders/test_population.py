"""Receptive fields: the formula by hand, field by field, and decoded values."""

from math import exp

import numpy as np
import pytest

from spikeloom.datasets.encoders import PopulationEncoder


def test_centres_by_hand():
    """Bohte et al.: centre i of M is (2 i - 3) / 2 * range / (M - 2), and the width is range / (beta (M - 2))."""
    centres, width = PopulationEncoder(steps=10, bits=4, fields=6, beta=1.5).centres()
    assert centres.tolist() == [(2 * i - 3) / 2 * 16 / 4 for i in range(1, 7)]
    assert width == 16 / (1.5 * 4)
    centres, width = PopulationEncoder(steps=10, bits=4, fields=5, centres_at="ends", beta=2.0).centres()
    assert centres.tolist() == [0, 4, 8, 12, 16]
    assert width == 2.0


@pytest.mark.parametrize("centres_at", ["outside", "ends"])
@pytest.mark.parametrize(("steps", "fields", "beta"), [(10, 6, 1.5), (1, 3, 1.0), (4, 8, 0.7)])
def test_each_field_by_itself(steps, fields, beta, centres_at):
    encoder = PopulationEncoder(steps=steps, bits=5, fields=fields, beta=beta, centres_at=centres_at)
    centres, width = encoder.centres()
    spikes = encoder.encode(np.arange(33)[None]).reshape(steps, 33, fields)
    assert 0 < spikes.sum() < spikes.size
    for value in range(33):
        for field in range(fields):
            step = round((1 - exp(-((value - centres[field]) ** 2) / (2 * width**2))) * steps)
            expected = [step] if step < steps else []
            assert np.flatnonzero(spikes[:, value, field]).tolist() == expected


def test_the_nearest_field_is_first_and_its_neighbours_follow():
    encoder = PopulationEncoder(steps=10, bits=4, fields=5, centres_at="ends")
    when = np.where(encoder.encode([[8]]).any(axis=0)[0], encoder.encode([[8]]).argmax(axis=0)[0], 10)
    assert when[2] == 0
    assert when[1] == when[3] > 0
    assert when[0] == when[4] == 10


@pytest.mark.parametrize(("steps", "most"), [(1, 8), (4, 4), (10, 2)])
def test_more_steps_decode_better(steps, most):
    encoder = PopulationEncoder(steps=steps, bits=6, fields=8)
    assert 0 < encoder.error_bound <= most


def test_no_spikes_decode_to_the_middle():
    encoder = PopulationEncoder(steps=4, bits=4, fields=4)
    assert encoder.decode(np.zeros((4, 1, 4), bool)).tolist() == [[[8]]]
