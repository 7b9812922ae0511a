"""Rank order: by hand, against a sort in Python, and the response of desensitising neurons."""

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.datasets.encoders import RankOrderEncoder, rank_order_activation


def test_by_hand():
    """Largest first; of equal values the lower channel first; 0 never fires."""
    encoder = RankOrderEncoder(steps=5, bits=4)
    spikes = encoder.encode([[3, 9, 0, 9, 16]])
    assert spikes[:, 0].argmax(axis=0).tolist() == [3, 1, 0, 2, 0]
    assert spikes.sum() == 4
    assert not spikes[:, 0, 2].any()
    ranked = RankOrderEncoder(steps=5, bits=4, dark="ranked").encode([[3, 9, 0, 9, 16]])
    assert ranked[:, 0].argmax(axis=0).tolist() == [3, 1, 4, 2, 0]
    assert np.array_equal(ranked.sum(axis=2), np.ones((5, 1)))


@pytest.mark.parametrize(("bits", "steps"), [(4, 3), (16, 7), (8, 30)])
def test_against_a_sort(bits, steps, request):
    """Groups have equal sizes, and each step follows all larger values."""
    values = rng_of(request.node.name).integers(0, (1 << bits) + 1, (4, 3, 30))
    values[0, 0, :15] = values[0, 0, 15:]
    spikes = RankOrderEncoder(steps=steps, bits=bits, dark="ranked").encode_series(values)
    when = spikes.reshape(4, steps, 3, 30).argmax(axis=1)
    for time in range(4):
        for sample in range(3):
            order = sorted(range(30), key=lambda channel: (-values[time, sample, channel], channel))
            expected = {channel: rank * steps // 30 for rank, channel in enumerate(order)}
            assert when[time, sample].tolist() == [expected[channel] for channel in range(30)]


def test_order_survives_decoding():
    values = rng_of("test_order_survives_decoding").integers(1, 17, (10, 4, 6))
    for lookup in ((), (16, 12, 8, 5, 3, 1)):
        encoder = RankOrderEncoder(steps=6, bits=4, lookup=lookup)
        decoded = encoder.decode(encoder.encode_series(values))
        for sample, found in zip(values.reshape(-1, 6), decoded.reshape(-1, 6), strict=True):
            assert np.array_equal(np.argsort(-sample, kind="stable"), np.argsort(-found, kind="stable"))


def test_fitted_lookup():
    """The mean of each rank, with a smaller error than a straight line for values that are unevenly spread."""
    values = rng_of("test_fitted_lookup").integers(0, 65, (1, 200, 8)) ** 2 // 64
    fitted = RankOrderEncoder.fit(values, steps=8, bits=6)
    ranks = -np.sort(-values, axis=2)[0]
    means = [ranks[ranks[:, rank] > 0, rank].mean() for rank in range(8)]
    assert fitted.lookup == tuple(int(np.floor(mean + 0.5)) for mean in means)
    line = RankOrderEncoder(steps=8, bits=6)
    errors = [np.square(e.decode(e.encode_series(values)) - values).mean() for e in (fitted, line)]
    assert errors[0] < errors[1]


def test_activation_is_largest_in_the_order_of_the_weights():
    """With weights 5 to 1 and 80 %, the activation is 5 + 4 * 0.8 + 3 * 0.64 + 2 * 0.512 + 0.4096 in this order, and
    smallest in the opposite order."""
    encoder = RankOrderEncoder(steps=5, bits=4)
    samples = np.array([[10, 8, 6, 4, 2], [2, 4, 6, 8, 10], [8, 10, 6, 4, 2]])
    activation = rank_order_activation(encoder.encode(samples), [[5, 4, 3, 2, 1]], percent=80)[:, 0]
    assert activation[0] == pytest.approx(11.5536)
    assert activation[1] == pytest.approx(1 + 2 * 0.8 + 3 * 0.64 + 4 * 0.512 + 5 * 0.4096)
    assert activation[1] < activation[2] < activation[0]
    # An axon that never fires contributes nothing.
    assert rank_order_activation(encoder.encode([[0, 7, 0, 0, 0]]), [[5, 4, 3, 2, 1]])[0, 0] == 4.0


def test_bad_input():
    with pytest.raises(ValueError, match=r"^lookup must be left out or have one entry per step, 3, not 2$"):
        RankOrderEncoder(steps=3, bits=4, lookup=(1, 2))
    with pytest.raises(ValueError, match=r"^lookup must be an integer from 0 to 16, not 17$"):
        RankOrderEncoder(steps=1, bits=4, lookup=(17,))
    with pytest.raises(ValueError, match=r"^weights must have shape \(outputs, 3\), not \(1, 2\)$"):
        rank_order_activation(np.zeros((2, 1, 3), bool), [[1, 2]])
    with pytest.raises(ValueError, match=r"^spikes must have shape \(T, B, axons\) and not be empty, not \(2, 3\)$"):
        rank_order_activation(np.zeros((2, 3), bool), [[1, 2, 3]])
    with pytest.raises(ValueError, match=r"^percent must be an integer from 1 to 100, not 0$"):
        rank_order_activation(np.zeros((2, 1, 3), bool), [[1, 2, 3]], percent=0)
