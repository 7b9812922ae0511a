"""Layers between neurons: one and two dimensions, folded normalisations, and refusals."""

import re

import numpy as np
import pytest
from harness.loops import convolved
from harness.networks import rng_of
from harness.torch_modules import (
    AvgPool1d,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv1d,
    Conv2d,
    Flatten,
    Linear,
)

from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.flow import LAYERS, Flow, through
from spikeloom.sim.network.projection import Convolution


def behind(shape, *layers):
    flow = Flow.of_spikes(("input", 0), shape)
    for number, layer in enumerate(layers):
        flow = through(f"module '{number}'", type(layer).__name__, layer, flow)
    return flow


def values_of(flow, inputs):
    """The result of a flow for input values ``(n,)``."""
    total = flow.bias.copy()
    for paths in flow.paths.values():
        for path in paths:
            total += path.projection("there", flow.shape, np.ones(flow.size)).sum(inputs)
    return total.reshape(flow.shape)


def test_a_convolution_in_one_dimension(request):
    rng = rng_of(request.node.nodeid)
    weight, bias = rng.normal(size=(4, 1, 3)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    layer = Conv1d(weight, bias, stride=(2,), padding=(1,), dilation=(2,), groups=2)
    flow = behind((2, 11), layer)
    geometry = Convolution(
        input_shape=(2, 1, 11),
        output_channels=4,
        kernel=(1, 3),
        stride=(1, 2),
        padding=(0, 1),
        dilation=(1, 2),
        groups=2,
    )
    assert flow.shape == (4, 5) == (geometry.output_shape[0], geometry.output_shape[2])
    inputs = rng.normal(size=(2, 11))
    expected = convolved(geometry, weight[:, :, None].astype(float), inputs[:, None]) + bias[:, None, None]
    np.testing.assert_allclose(values_of(flow, inputs.ravel()), expected[:, 0])


def test_an_average_in_one_dimension(request):
    inputs = rng_of(request.node.nodeid).normal(size=(2, 9))
    flow = behind((2, 9), AvgPool1d(3))
    np.testing.assert_allclose(values_of(flow, inputs.ravel()), inputs.reshape(2, 3, 3).mean(2))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("place", ["behind a convolution", "behind a matrix", "in front of a matrix"])
def test_a_normalisation_is_folded(place, affine, request):
    """The definition of BatchNorm in evaluation: (x - mean) / sqrt(variance + eps) * weight + bias, per channel."""
    rng = rng_of(request.node.nodeid)
    mean, variance, weight, bias = rng.normal(size=4), rng.uniform(0.1, 2, 4), rng.normal(size=4), rng.normal(size=4)
    given = (weight, bias) if affine else (None, None)
    matrix = Linear(rng.normal(size=(4, 4)), rng.normal(size=4))
    parts, norm = {
        "behind a convolution": ([Conv2d(rng.normal(size=(4, 2, 3, 3)), rng.normal(size=4))], BatchNorm2d),
        "behind a matrix": ([matrix], BatchNorm1d),
        "in front of a matrix": ([matrix], BatchNorm1d),
    }[place]
    shape = (2, 5, 5) if "conv" in place else (4,)
    layer = norm(mean, variance, *given)
    layers = [layer, *parts] if place.startswith("in") else [*parts, layer]
    inputs = rng.normal(size=shape)

    def normalised(values):
        each = (slice(None), *[None] * (values.ndim - 1))
        mean, variance, weight, bias = (
            array.value[each].astype(float) if array is not None else default
            for array, default in zip(
                (layer.running_mean, layer.running_var, layer.weight, layer.bias), (0, 0, 1.0, 0.0), strict=True
            )
        )
        return (values - mean) / np.sqrt(variance + layer.eps) * weight + bias

    if place.startswith("in"):
        expected = values_of(behind(shape, matrix), normalised(inputs))
    else:
        expected = normalised(values_of(behind(shape, *parts), inputs.ravel()))
    np.testing.assert_allclose(values_of(behind(shape, *layers), inputs.ravel()), expected)


@pytest.mark.parametrize(
    ("shape", "layers", "message"),
    [
        ((4,), [BatchNorm1d(None, None)],
         "module '0' must have running statistics (track_running_stats) to be folded, but has none"),
        ((3,), [BatchNorm1d([0.0] * 4, [1.0] * 4)], "module '0' must get values of 4 channels, not 3"),
        ((4,), [BatchNorm1d([np.nan] * 4, [1.0] * 4)], "running_mean of module '0' must be finite, not nan"),
        ((2, 4), [Conv2d(np.ones((1, 2, 1, 1)))],
         "module '0' must get values of shape (channels, height, width), not (2, 4)"),
        ((2, 4, 4), [Conv1d(np.ones((1, 2, 1)))],
         "module '0' must get values of shape (channels, length), not (2, 4, 4)"),
        ((2, 4), [AvgPool2d(2)], "module '0' must get values of shape (channels, height, width), not (2, 4)"),
        ((2, 4), [Flatten(0)], "module '0' must flatten from dimension 1, not 0, which is the batch"),
    ],
)  # fmt: skip
def test_layers_that_cannot_be_kept_are_refused(shape, layers, message):
    with pytest.raises(LoadError, match=f"^{re.escape(message)}$"):
        behind(shape, *layers)


def test_flows_are_added_by_source_and_step():
    one, other = Flow.of_spikes(("input", 0), (2,)), Flow.of_spikes(("lif", 1), (2,))
    both = one.plus(other).plus(one)
    assert both.paths.keys() == {("input", 0), ("lif", 1)}
    assert np.array_equal(both.paths["input", 0][0].weight, 2 * np.eye(2))
    assert (one.is_spikes, both.is_spikes, one.scaled("x", np.full(2, 0.5)).is_spikes) == (True, False, False)
    with pytest.raises(LoadError, match=r"^values that are added must have the same shape, not \(2,\) and \(3,\)$"):
        one.plus(Flow.of_spikes(("input", 0), (3,)))


def test_dropout_and_identity_have_no_effect():
    flow = Flow.of_spikes(("input", 0), (2,))
    assert all(through("x", kind, None, flow) is flow for kind in LAYERS if "Drop" in kind or kind == "Identity")
