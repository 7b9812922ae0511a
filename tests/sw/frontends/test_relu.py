"""Conversion of ReLU networks: rates approach activations as 1/T, for both balances, in floats and integers."""

import re

import numpy as np
import pytest
from harness.networks import rng_of
from harness.torch_modules import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
)
from numpy.lib.stride_tricks import sliding_window_view

from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import encoder_from
from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.nir import load
from spikeloom.frontends.relu import from_torch
from spikeloom.frontends.saving import save
from spikeloom.sim.network.reference import simulate


def weights(rng, *shape):
    return (rng.normal(0, 1, shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def dense(rng):
    return Sequential(
        Linear(weights(rng, 20, 12), 0.1 * weights(rng, 20, 1)[:, 0]), ReLU(), Linear(weights(rng, 5, 20))
    )


def values_of_dense(module, inputs):
    (_, first), _, (_, last) = module.layers
    hidden = np.maximum(inputs @ first.weight.value.T.astype(float) + first.bias.value, 0)
    return hidden @ last.weight.value.T.astype(float)


def convolutional(rng):
    return Sequential(
        Conv2d(weights(rng, 4, 1, 3, 3), 0.1 * weights(rng, 4, 1)[:, 0]),
        BatchNorm2d(rng.normal(0, 0.1, 4), rng.uniform(0.5, 1.5, 4), rng.uniform(0.5, 1.5, 4), rng.normal(0, 0.1, 4)),
        ReLU(),
        MaxPool2d(2),
        Conv2d(weights(rng, 6, 4, 3, 3), 0.1 * weights(rng, 6, 1)[:, 0]),
        ReLU(),
        AvgPool2d(2),
        Flatten(),
        Linear(weights(rng, 5, 24), weights(rng, 5, 1)[:, 0]),
    )


def values_of_convolutional(module, inputs):
    """The values of the module, by the definition of each layer."""
    conv1, norm, _, _, conv2, _, _, _, last = (layer for _, layer in module.layers)

    def convolved(image, layer):
        windows = sliding_window_view(image, (3, 3), (2, 3))
        weight = layer.weight.value.astype(float)
        return np.einsum("bcyxij,ocij->boyx", windows, weight) + layer.bias.value[:, None, None]

    def each(tensor):
        return tensor.value.astype(float)[:, None, None]

    first = convolved(inputs, conv1)
    first = (first - each(norm.running_mean)) / np.sqrt(each(norm.running_var) + norm.eps)
    first = np.maximum(first * each(norm.weight) + each(norm.bias), 0)
    first = first.reshape(-1, 4, 6, 2, 6, 2).max((3, 5))
    second = np.maximum(convolved(first, conv2), 0).reshape(-1, 6, 2, 2, 2, 2).mean((3, 5)).reshape(-1, 24)
    return second @ last.weight.value.T.astype(float) + last.bias.value


CASES = {
    "dense": (dense, values_of_dense, (12,)),
    "convolutional": (convolutional, values_of_convolutional, (1, 14, 14)),
}


@pytest.mark.parametrize("balance", ["weights", "thresholds"])
@pytest.mark.parametrize("case", CASES)
def test_membranes_approach_the_values_of_the_original(case, balance, request):
    """The error of the mean membrane falls as 1/T: by about a factor of four for four times as many steps."""
    build, values_of, shape = CASES[case]
    rng = rng_of(request.node.nodeid)
    module, inputs = build(rng), rng.random((40, *shape))
    network = from_torch(module, shape, inputs, percentile=100.0, balance=balance)
    encoder = encoder_from(dict(network.encoder) | {"steps": 128})
    levels = encoder.encode(inputs.reshape(40, -1))
    # The values that the integers of the input represent, so that only the conversion is measured.
    seen = levels[0] * (inputs.max() / 256)
    expected = values_of(module, seen.reshape(inputs.shape))
    membranes = network.simulate(levels)
    errors = [np.abs(membranes[steps - 1] / steps - expected).max() for steps in (8, 32, 128)]
    assert errors[0] > 2.5 * errors[1] > 6 * errors[2]
    assert errors[2] < 0.1 * expected.std()
    assert network.population("output").spiking is False
    assert [p.name for p in network.populations if p.spiking] == (
        ["1"] if case == "dense" else ["2", "3.1", "3.2", "3.3", "3", "5"]
    )


def test_integers_fire_at_the_rates_of_the_floats(request, tmp_path):
    """8-bit weights, from the saved file, which holds the encoder and the width of its input."""
    rng = rng_of(request.node.nodeid)
    module, inputs = dense(rng), rng.normal(0, 1, (60, 12))
    network = from_torch(module, 12, inputs, steps=64)
    save(network, tmp_path / "net.nir")
    loaded = load(tmp_path / "net.nir")
    assert loaded.input_value_width == 9
    levels = encoder_from(loaded.encoder).encode(inputs)
    assert -256 <= levels.min() < -200
    assert 200 < levels.max() <= 255
    integers = quantise(loaded, Quantisation(weight_width=8, v_width=24))
    result = simulate(integers, levels, record=("output",))
    answers = result.states["output"].v[-1].argmax(1)
    assert np.mean(answers == values_of_dense(module, inputs).argmax(1)) > 0.9
    rates, exact = result.spikes["1"].mean(0), network.run(levels).spikes["1"].mean(0)
    assert np.abs(rates - exact).max() < 0.1
    assert 0.05 < exact.mean() < 0.9


def test_a_percentile_cuts_off_the_largest_activations(request):
    rng = rng_of(request.node.nodeid)
    module, inputs = dense(rng), rng.random((200, 12))
    biases = [
        from_torch(module, 12, inputs, percentile=percentile).population("1").bias for percentile in (100.0, 99.0, 50.0)
    ]
    hidden = np.maximum(inputs @ module.layers[0][1].weight.value.T + module.layers[0][1].bias.value, 0)
    for bias, percentile in zip(biases, (100.0, 99.0, 50.0), strict=True):
        expected = module.layers[0][1].bias.value / np.percentile(hidden, percentile)
        np.testing.assert_allclose(bias, expected, rtol=1e-5)


class Written(Module):
    """A module with one ReLU for all layers, called as a module and as a function, and a softmax."""

    def __init__(self, rng):
        self.one, self.two, self.three = (Linear(weights(rng, 8, 8)) for _ in range(3))
        self.relu = ReLU()

    def forward(self, x):
        x = self.relu(self.one(x.view(x.shape[0], -1)))
        x = self.two(self.relu(x)).relu() + x
        return self.probable(self.three(self.relu(self.two(x))))

    def probable(self, value):
        function = lambda: None  # noqa: E731
        function.__name__ = "log_softmax"
        return type(value).__torch_function__(function, (), (value, 1), {})


def test_a_module_with_a_forward_of_its_own(request):
    rng = rng_of(request.node.nodeid)
    module, inputs = Written(rng), rng.random((30, 2, 4))
    network = from_torch(module, (2, 4), inputs, percentile=100.0)
    assert [p.name for p in network.populations] == ["relu", "two.relu", "relu.1", "output"]
    one, two, three = (layer.weight.value.T.astype(float) for layer in (module.one, module.two, module.three))
    levels = encoder_from(dict(network.encoder) | {"steps": 256}).encode(inputs.reshape(30, 8))
    first = np.maximum(levels[0] * (inputs.max() / 256) @ one, 0)
    second = np.maximum(first @ two, 0) + first
    expected = np.maximum(second @ two, 0) @ three
    assert np.abs(network.simulate(levels)[-1] / 256 - expected).max() < 0.1 * expected.std()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"percentile": 0.0}, "percentile must be above 0 and at most 100, not 0.0"),
        ({"balance": "both"}, "balance must be 'weights' or 'thresholds', not 'both'"),
        ({"calibration": np.zeros((3, 11))}, "calibration must have numbers of shape (B, 12), not (3, 11)"),
        ({"calibration": np.zeros((3, 12))}, "calibration must be finite and not 0 throughout"),
        ({"calibration": np.full((3, 12), np.nan)}, "calibration must be finite and not 0 throughout"),
        ({"input_bits": 9}, "bits must be an integer from 1 to 8, not 9"),
        (
            {"module": Sequential(Linear(np.ones((2, 12))), MaxPool2d(2))},
            "module '1' must get spikes, of which a max",
        ),
    ],
)
def test_what_cannot_be_converted_is_refused(options, message, request):
    given = {"module": dense(rng_of(request.node.nodeid)), "input_shape": 12, "calibration": np.ones((3, 12))} | options
    with pytest.raises(LoadError, match=f"^{re.escape(message)}"):
        from_torch(**given)
