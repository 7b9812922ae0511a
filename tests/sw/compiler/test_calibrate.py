"""Scales chosen by the activity on calibration inputs."""

import numpy as np
import pytest
from harness.floats import network, population
from harness.networks import rng_of

from spikeloom.compiler.calibrate import calibrate
from spikeloom.compiler.quantise import Quantisation, Scales, quantise, scale_exponents
from spikeloom.model.network import Connection
from spikeloom.sim.core.neuron import Reset
from spikeloom.sim.network.projection import Convolution, Pooling
from spikeloom.sim.network.reference import simulate
from spikeloom.sim.network.sparse import SparseMatrix, numbers_of


def layers(first, second, **options):
    hidden = population("hidden", size=len(first), reset=Reset.SUBTRACT, **options)
    last = population("last", size=len(second), reset=Reset.SUBTRACT)
    joined = [
        Connection(source="input", target="hidden", weight=first),
        Connection(source="hidden", target="last", weight=second),
    ]
    return network([hidden, last], joined, inputs=first.shape[1])


def test_the_activity_is_that_of_the_floats():
    """One neuron that receives 0.75 per spike and fires above 1: its membranes are 0.75, 0.5, 0.25 and 0 in turn."""
    net = layers(np.array([[0.75]]), np.array([[0.25]]), beta=1.0)
    found = calibrate(net, np.ones((8, 1, 1)))
    assert found.power["input"].tolist() == [1.0]
    fired = net.run(np.ones((8, 1, 1))).spikes["hidden"]
    assert found.power["hidden"].tolist() == [fired.mean()]
    assert 0.5 < fired.mean() < 1
    assert found.largest["hidden"].tolist() == [1.0]
    assert 0.0 < calibrate(net, np.ones((8, 1, 1)), percentile=20).largest["hidden"][0] < 0.75


@pytest.mark.parametrize("wrong", [0, 101, -1.0])
def test_percentiles(wrong):
    net = layers(np.array([[0.75]]), np.array([[0.25]]))
    with pytest.raises(ValueError, match=rf"^percentile must be above 0 and at most 100, not {wrong!r}$"):
        calibrate(net, np.ones((8, 1, 1)), percentile=wrong)


@pytest.mark.parametrize("kind", ["matrix", "sparse", "convolution", "pooled", "pooled matrix"])
def test_an_error_counts_as_much_as_its_source_fires(kind, request):
    """The importance is the mean square of the sum that a weight of 1 alone contributes, per target that it reaches."""
    rng = rng_of(request.node.name)
    convolution = Convolution(input_shape=(4, 3, 2), output_channels=6, kernel=(1, 1), groups=2)
    pooling = Pooling(input_shape=(4, 6, 4), window=(2, 2))
    inner = Convolution(input_shape=(4, 3, 2), output_channels=6, kernel=(1, 1), groups=2)
    made = {
        "matrix": {"weight": rng.normal(size=(5, 24))},
        "sparse": {"weight": SparseMatrix.from_dense(rng.normal(size=(5, 24)) * (rng.random((5, 24)) < 0.3))},
        "convolution": {"weight": rng.normal(size=(6, 2, 1, 1)), "convolution": convolution},
        "pooled": {"weight": rng.normal(size=(6, 2, 1, 1)), "convolution": inner, "pooling": pooling},
        "pooled matrix": {"weight": rng.normal(size=(5, 24)), "pooling": pooling},
    }[kind]
    connection = Connection(source="input", target="last", **made)
    size, inputs = connection.target_size, connection.source_size
    net = network([population("last", size=size)], [connection], inputs=inputs)
    # All positions of a channel fire alike, so its mean is exact.
    shape = connection.source_shape or (inputs, 1, 1)
    fires = rng.random((200, 1, shape[0])) < rng.random(shape[0])
    spikes = np.repeat(fires, inputs // shape[0], axis=2)
    found = calibrate(net, spikes).importance(connection)
    numbers = numbers_of(connection.weight)
    assert found.shape == numbers.shape
    window = 4 if connection.pooling is not None else 1
    rates = fires.mean(axis=(0, 1)) * window
    if connection.convolution is not None:
        expected = [rates[2 * (o // 3) + i] for o in range(6) for i in range(2)]
    elif kind == "sparse":
        expected = rates[connection.weight.columns]
    else:
        expected = np.tile(np.repeat(rates, 24 // shape[0]), 5)
    assert np.allclose(found, expected, rtol=1e-12)
    assert len(set(np.round(found, 9))) > 2


@pytest.mark.parametrize("scales", Scales)
def test_large_weights_of_silent_inputs_do_not_spoil_the_others(scales):
    rng = rng_of("silent")
    first = rng.normal(0, 0.3, (20, 30))
    first[:, 15:] *= 10
    net = layers(first, rng.normal(0, 0.4, (5, 20)))
    training, held_out = ((rng.random((40, 20, 30)) < 0.2) & (np.arange(30) < 15) for _ in range(2))
    floats = net.run(held_out).spikes
    plain = Quantisation(weight_width=6, scales=scales)
    by_data = Quantisation(weight_width=6, scales=scales, calibration=calibrate(net, training))
    share = {}
    for name, options in (("plain", plain), ("by data", by_data)):
        integers = simulate(quantise(net, options), held_out).spikes
        share[name] = np.mean([np.mean(integers[p] == floats[p]) for p in ("hidden", "last")])
    assert 0.05 < floats["hidden"].mean() < 0.5
    assert share["plain"] < 0.94 < 0.96 < share["by data"]
    assert np.all(scale_exponents(net, by_data)[0]["hidden"] > scale_exponents(net, plain)[0]["hidden"])


def test_recorded_membranes_do_not_saturate():
    """Inhibition drives membranes to -55 thresholds, which fit 10 bits only at a coarser scale."""
    net = layers(np.array([[0.5, -20.0]]), np.array([[1.0]]), beta=0.75)
    spikes = np.ones((30, 2, 2))
    spikes[:, :, 1] = ((np.arange(30) > 2) & (np.arange(30) < 7))[:, None]
    narrow = {"weight_width": 10, "v_width": 10}
    plain = quantise(net, Quantisation(**narrow))
    assert simulate(plain, spikes, record=["hidden"]).states["hidden"].v.min() == -512
    for percentile, saturates in ((100.0, False), (50.0, True)):
        options = Quantisation(**narrow, calibration=calibrate(net, spikes, percentile=percentile))
        found = quantise(net, options)
        assert (simulate(found, spikes, record=["hidden"]).states["hidden"].v.min() == -512) == saturates
    found = quantise(net, Quantisation(**narrow, calibration=calibrate(net, spikes)))
    assert "so that thresholds, biases and recorded membranes fit 10 bits" in found.notes[0]


def test_silence_says_nothing_about_weights():
    rng = rng_of("silence")
    net = layers(rng.normal(0, 0.3, (6, 8)), rng.normal(0, 0.4, (5, 6)))
    silent = Quantisation(calibration=calibrate(net, np.zeros((5, 2, 8))))
    for connection, other in zip(quantise(net, silent).connections, quantise(net).connections, strict=True):
        assert np.array_equal(connection.kernel, other.kernel)
