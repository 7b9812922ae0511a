"""Answers from spikes: the neuron that fired most often, the lowest of equals."""

import numpy as np
import pytest

from spikeloom.datasets.readout import accuracy, classify

SPIKES = np.zeros((3, 4, 3), bool)
SPIKES[:, 0, 2] = True
SPIKES[:2, 1, 1] = SPIKES[1:, 1, 2] = True  # twice each
SPIKES[0, 2, 0] = SPIKES[1:, 2, 1] = True


def test_the_neuron_that_fired_most_often_wins():
    assert classify(SPIKES).tolist() == [2, 1, 1, 0]
    assert accuracy(SPIKES, [2, 1, 0, 0]) == 0.75


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"^spikes must have shape \(T, B, n\), not \(3, 4\)$"):
        classify(SPIKES[..., 0])
    with pytest.raises(ValueError, match=r"^labels must have shape \(4,\) and not be empty, not \(3,\)$"):
        accuracy(SPIKES, [1, 2, 0])
    with pytest.raises(ValueError, match=r"^labels must have shape \(0,\) and not be empty, not \(0,\)$"):
        accuracy(SPIKES[:, :0], [])


def test_float_membranes_are_not_truncated():
    membranes = np.array([[[0.5, 0.25, 0.75]], [[0.25, 0.5, 0.125]]])
    assert classify(membranes).tolist() == [2]
    assert classify(membranes[:, :, :2] + [[0.0, 0.25]]).tolist() == [1]
