"""Direct coding: every value in every step."""

import numpy as np
import pytest

from spikeloom.datasets.encoders import DirectEncoder, encoder_from_text
from spikeloom.datasets.encoders.scale import Scale


def test_a_value_is_presented_in_every_step():
    encoder = DirectEncoder(steps=3, bits=4)
    images = np.array([[0, 7, 16], [-16, 15, 1]])
    spikes = encoder.encode(images)
    assert spikes.shape == (3, 2, 3)
    assert np.array_equal(spikes, np.broadcast_to([[0, 7, 15], [-16, 15, 1]], (3, 2, 3)))
    assert encoder.value_width == 5
    assert np.array_equal(encoder.decode(spikes)[0], [[0, 7, 15], [-16, 15, 1]])
    assert encoder.error_bound == 1
    assert encoder_from_text("direct:steps=3,bits=4") == encoder


def test_series_and_real_numbers():
    encoder = DirectEncoder(steps=2, bits=3, scale=Scale(low=(-1.0,), high=(1.0,), bits=4, origin=-8))
    series = np.array([[[0.5, -1.0]], [[1.0, 0.0]]])
    assert encoder.encode_series(series)[:, 0].tolist() == [[4, -8]] * 2 + [[7, 0]] * 2


@pytest.mark.parametrize("bits", [0, 9])
def test_bits_are_checked(bits):
    with pytest.raises(ValueError, match=r"^bits must be an integer from 1 to (8|16), not"):
        DirectEncoder(steps=1, bits=bits)


def test_only_integers_are_decoded():
    with pytest.raises(TypeError, match=r"^graded spikes must be integers, not float64$"):
        DirectEncoder(steps=1, bits=1).decode(np.zeros((1, 1, 1)))
