"""Projections against the definitions written out as loops: convolutions, pooling, bounds and fan-out."""

import dataclasses
import re

import numpy as np
import pytest
from harness.loops import convolved, pooled
from harness.networks import random_convolution, rng_of

from spikeloom.sim.network import projection as module
from spikeloom.sim.network.network import QuantisedConnection
from spikeloom.sim.network.population import INPUT
from spikeloom.sim.network.projection import Convolution, Pooling, Projection


def exactly(message):
    return f"^{re.escape(message)}$"


@pytest.mark.parametrize("case", range(12))
def test_random_convolutions_are_their_definition(request, case):
    rng = rng_of(request.node.name)
    convolution = random_convolution(rng)
    weight = rng.integers(-8, 8, convolution.weight_shape)
    projection = Projection(weight=weight, convolution=convolution)
    for low, high in ((0, 2), (-20, 20)):  # spikes and graded values
        images = rng.integers(low, high, (3, *convolution.input_shape))
        sums = projection.sum(images.reshape(3, -1))
        expected = np.array([convolved(convolution, weight, image).ravel() for image in images])
        assert sums.dtype == np.int64
        assert np.array_equal(sums, expected)
        assert np.array_equal(images.reshape(3, -1) @ projection.as_dense().T, expected)
        assert np.any(expected > 0)
        assert np.any(expected < 0)
    np.testing.assert_allclose(
        Projection(weight=weight / 7, convolution=convolution).sum(images.reshape(3, -1)), expected / 7, atol=1e-12
    )


def test_a_convolution_by_hand():
    """Four inputs, kernel (1, 2, 3), stride 2, padding 1: the windows are (0 a b) and (b c d)."""
    convolution = Convolution(input_shape=(1, 1, 4), output_channels=1, kernel=(1, 3), stride=(1, 2), padding=(0, 1))
    projection = Projection(weight=np.array([1, 2, 3]).reshape(1, 1, 1, 3), convolution=convolution)
    assert convolution.output_shape == (1, 1, 2)
    assert projection.as_dense().tolist() == [[2, 3, 0, 0], [0, 1, 2, 3]]
    assert convolution.taps(1) == [[(1, 0)], [(0, 1), (2, 0)], [(1, 1)], [(2, 1)]]
    assert projection.fan_out.tolist() == [1, 2, 1, 1]
    assert [bound.tolist() for bound in projection.bounds()] == [[0, 0], [5, 6]]
    assert [bound.tolist() for bound in projection.bounds(-3, 2)] == [[-15, -18], [10, 12]]
    # A source need not fire, whatever its values are.
    assert [bound.tolist() for bound in projection.bounds(1, 2)] == [[0, 0], [10, 12]]
    assert [bound.tolist() for bound in projection.bounds(-3, -1)] == [[-15, -18], [0, 0]]


@pytest.mark.parametrize("case", range(6))
def test_pooling_in_front(request, case):
    rng = rng_of(request.node.name)
    shape = tuple(int(extent) for extent in rng.integers(2, 8, 3))
    pooling = Pooling(input_shape=shape, window=tuple(int(rng.integers(1, extent + 1)) for extent in shape[1:]))
    image = rng.integers(0, 2, shape)
    pooled_image = pooled(pooling.window, image)
    matrix = rng.integers(-8, 8, (5, pooled_image.size))
    dense = Projection(weight=matrix, pooling=pooling)
    assert np.array_equal(dense.sum(image.ravel()), matrix @ pooled_image.ravel())
    convolution = random_convolution(rng, pooling.output_shape)
    kernel = rng.integers(-8, 8, convolution.weight_shape)
    both = Projection(weight=kernel, convolution=convolution, pooling=pooling)
    assert np.array_equal(both.sum(image.ravel()), convolved(convolution, kernel, pooled_image).ravel())
    for projection in (dense, both):
        as_dense = projection.as_dense()
        least, greatest = projection.bounds()
        assert np.array_equal(least, np.minimum(as_dense, 0).sum(axis=1))
        assert np.array_equal(greatest, np.maximum(as_dense, 0).sum(axis=1))
    ones = Projection(weight=np.ones(convolution.weight_shape, np.int64), convolution=convolution, pooling=pooling)
    assert np.array_equal(both.fan_out, ones.as_dense().sum(axis=0))
    reached = np.zeros(shape, np.int64)
    reached[:, : pooling.output_shape[1] * pooling.window[0], : pooling.output_shape[2] * pooling.window[1]] = 5
    assert np.array_equal(dense.fan_out, reached.ravel())


def test_nothing_is_exact_in_single_precision():
    """The bound of the sums is 0 if all values are, or all weights."""
    large, nothing = np.array([[1 << 60, 0]]), np.zeros((1, 2), int)
    for weight, values in ((large, nothing), (nothing, large)):
        sums = Projection(weight=weight).exact_sums(values)
        assert (sums.dtype, sums.tolist()) == (np.float32, [[0]])


def test_sums_are_exact_beyond_single_and_double_precision():
    for width, count in ((22, 16), (52, 16), (60, 4)):
        weight = np.full((1, count), (1 << width) - 1)
        assert Projection(weight=weight).sum(np.ones(count, bool)).tolist() == [count * ((1 << width) - 1)]
    graded = Projection(weight=np.array([[(1 << 20) + 1, 1]])).sum(np.array([1 << 10, 1]))
    assert graded.tolist() == [(1 << 30) + (1 << 10) + 1]


def test_many_images_are_summed_in_pieces(request, monkeypatch):
    rng = rng_of(request.node.name)
    convolution = random_convolution(rng)
    projection = Projection(weight=rng.integers(-8, 8, convolution.weight_shape), convolution=convolution)
    values = rng.integers(0, 2, (3, 9, projection.source_size))
    whole = projection.sum(values)
    monkeypatch.setattr("spikeloom.sim.network.projection._CHUNK", 1)
    assert np.array_equal(projection.sum(values), whole)
    assert whole.shape == (3, 9, projection.target_size)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": 3}, "groups of a convolution must be a divisor of its 4 input and 6 output channels, not 3"),
        ({"stride": (0, 1)}, "stride of a convolution must be 2 integers of at least 1, not (0, 1)"),
        ({"padding": (1,)}, "padding of a convolution must be 2 integers of at least 0, not (1,)"),
        (
            {"kernel": (3, 9)},
            "kernel of a convolution must fit the padded input (4, 5, 5), not (3, 9) with dilation (1, 1)",
        ),
        ({"stride": (1.0, 1.0)}, "stride of a convolution must be 2 integers of at least 1, not (1.0, 1.0)"),
        ({"dilation": (1, 0)}, "dilation of a convolution must be 2 integers of at least 1, not (1, 0)"),
        ({"kernel": (0, 1)}, "kernel of a convolution must be 2 integers of at least 1, not (0, 1)"),
        ({"input_shape": (0, 5, 5)}, "input_shape of a convolution must be 3 integers of at least 1, not (0, 5, 5)"),
        ({"padding": (0, -1)}, "padding of a convolution must be 2 integers of at least 0, not (0, -1)"),
        (
            {"padding": (0, -16385), "extent": (1, 1)},
            "padding of a convolution must be 2 integers of at least -16384, not (0, -16385)",
        ),
        ({"groups": 0}, "groups of a convolution must be a positive integer, not 0"),
        ({"output_channels": 0}, "output_channels of a convolution must be a positive integer, not 0"),
    ],
)
def test_impossible_convolutions(change, message):
    with pytest.raises(ValueError, match=exactly(message)):
        Convolution(**({"input_shape": (4, 5, 5), "output_channels": 6, "kernel": (3, 3)} | change))


def test_the_farthest_and_the_smallest_convolution():
    far = Convolution(input_shape=(1, 1, 1), output_channels=1, kernel=(1, 1), padding=(0, -16384), extent=(1, 1))
    assert not Projection(weight=np.ones((1, 1, 1, 1), int), convolution=far).as_dense().any()
    assert Pooling(input_shape=(1, 1, 1), window=(1, 1)).output_shape == (1, 1, 1)
    with pytest.raises(ValueError, match=exactly("weight of it must have two dimensions, not 1")):
        Projection(weight=np.zeros(3)).check_shape("it")


def test_impossible_pooling():
    for shape, window, message in (
        ((0, 2, 2), (1, 1), "input_shape of a pooling must be 3 integers of at least 1, not (0, 2, 2)"),
        ((1, 2, 2), (0, 1), "window of a pooling must be 2 integers of at least 1, not (0, 1)"),
    ):
        with pytest.raises(ValueError, match=exactly(message)):
            Pooling(input_shape=shape, window=window)
    with pytest.raises(
        ValueError, match=exactly("window of a pooling must be at most (2, 2), the extent of its input, not (3, 1)")
    ):
        Pooling(input_shape=(1, 2, 2), window=(3, 1))


def test_weights_that_do_not_fit():
    convolution = Convolution(input_shape=(1, 4, 4), output_channels=2, kernel=(3, 3))
    pooling = Pooling(input_shape=(1, 4, 4), window=(2, 2))
    where = "the connection from 'input' to 'a'"
    for options, message in (
        (
            {"weight": np.zeros((2, 1, 3, 2), int), "convolution": convolution},
            f"weight of {where} must have shape (2, 1, 3, 3), not (2, 1, 3, 2)",
        ),
        (
            {"weight": np.zeros((2, 5), int), "pooling": pooling},
            f"weight of {where} must have shape (2, 4), not (2, 5)",
        ),
        (
            {"weight": np.zeros((2, 1, 3, 3), int), "convolution": convolution, "pooling": pooling},
            f"input_shape of {where} must be (1, 2, 2), the output of its pooling, not (1, 4, 4)",
        ),
    ):
        with pytest.raises(ValueError, match=exactly(message)):
            QuantisedConnection(source=INPUT, target="a", **options)


def test_a_part_of_the_outputs_of_a_part_of_the_inputs(request):
    """With an extent and a padding of any sign, a rectangle of a convolution is a convolution."""
    rng = rng_of(request.node.name)
    apart = 0
    for _ in range(100):
        convolution = random_convolution(rng)
        weight = rng.integers(-9, 10, convolution.weight_shape)
        shape = convolution.output_shape, convolution.input_shape
        whole = Projection(weight=weight, convolution=convolution).as_dense().reshape(*shape[0], *shape[1])
        (top, bottom), (left, right), (first, last) = (
            sorted(int(place) for place in rng.choice(size + 1, 2, replace=False))
            for size in (*shape[0][1:], shape[1][1])
        )
        part = dataclasses.replace(
            convolution,
            input_shape=(shape[1][0], last - first, shape[1][2]),
            extent=(bottom - top, right - left),
            padding=(
                convolution.padding[0] + first - top * convolution.stride[0],
                convolution.padding[1] - left * convolution.stride[1],
            ),
        )
        projection = Projection(weight=weight, convolution=part)
        found = projection.as_dense().reshape(*part.output_shape, *part.input_shape)
        assert np.array_equal(found, whole[:, top:bottom, left:right, :, first:last])
        apart += not projection.fan_out.any()
    assert 0 < apart < 50


def test_an_extent_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"^extent of a convolution must be 2 integers of at least 1, not \(0, 1\)$"):
        Convolution(input_shape=(1, 2, 2), output_channels=1, kernel=(1, 1), extent=(0, 1))


@pytest.mark.parametrize(
    ("rows", "shape", "rate"),
    [
        (1, (400, 900), 0.01),  # event by event
        (30, (1500, 1200), 0.002),
        (30, (300, 400), 0.01),  # only the active sources
        (200, (60, 300), 0.003),
        (40, (50, 70), 0.5),  # the whole matrix
        (3, (20, 30), 0.0),  # no events
    ],
)
@pytest.mark.parametrize("width", [8, 16], ids=["single", "double"])
@pytest.mark.parametrize("graded", [False, True])
def test_sums_at_any_activity(request, rows, shape, rate, width, graded):
    """Sums are correct whichever sources a product leaves out, including sums beyond 24 bits, which single precision
    would round."""
    rng = rng_of(request.node.name)
    weight = rng.integers(-(1 << (width - 1)), 1 << (width - 1), shape)
    events = rng.random((rows, shape[1])) < rate
    values = events * rng.integers(-2000, 2000, events.shape) if graded else events
    projection = Projection(weight=weight)
    for _ in range(2):  # the second time with the converted weights that were kept
        sums = projection.sum(values)
        assert sums.dtype == np.int64
        assert np.array_equal(sums, values.astype(np.int64) @ weight.T)
    assert events.any() == (rate > 0)
    assert np.abs(sums).max() < 1 << 24 or graded


def test_a_flag_set_by_the_matrix_library_is_not_a_warning(monkeypatch):
    """Sums of integers are never invalid; in this test suite, warnings are errors."""
    plain = module._product

    def flagged(values, factors):
        np.subtract(np.inf, np.inf)
        return plain(values, factors)

    with pytest.raises(RuntimeWarning, match="invalid value"):
        flagged(np.ones((1, 2)), np.ones((2, 1)))
    monkeypatch.setattr(module, "_product", flagged)
    projection = Projection(weight=np.array([[1, 2]]))
    assert projection.sum(np.array([[True, True]])).tolist() == [[3]]


def test_weights_are_converted_once():
    """Weights are converted once per type that the values need; for few samples, the conversion costs more than the
    sums."""
    projection = Projection(weight=np.full((3, 300), 1 << 14))
    few, many = np.eye(300, dtype=np.bool_)[:1], np.full((1, 300), 1 << 10)
    assert projection.exact_sums(few).dtype == np.float32
    assert projection.exact_sums(many).dtype == np.float64
    assert projection.exact_sums(many << 30).dtype == np.int64
    assert projection.sum(many << 30).tolist() == [[300 << 54] * 3]


@pytest.mark.parametrize(("bits", "types"), [(24, (np.float32, np.float64)), (53, (np.float64, np.int64))])
def test_the_type_is_the_fastest_that_is_exact(bits, types):
    """A type that holds every integer below a power of two is not used for a sum that exceeds it, by however little."""
    for weights, kind in (([(1 << bits) - 2, 1], types[0]), ([1 << bits, 1], types[1]), ([1 << bits, 0], types[1])):
        projection = Projection(weight=np.array([weights, [0, -1]]))
        sums = projection.exact_sums(np.ones((1, 2), bool))
        assert sums.dtype == kind
        assert sums.astype(np.int64).tolist() == [[sum(weights), -1]]
