"""Paths of spikes: consecutive operations become one matrix or one convolution, or are refused."""

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.frontends.affine import Path, geometry_of
from spikeloom.frontends.errors import LoadError

MAP = (2, 6, 6)


def convolution(*, shape=MAP, kernel=3, stride=1, padding=0, outputs=3):
    return geometry_of("c", shape, outputs=outputs, kernel=kernel, stride=stride, padding=padding)


def window(shape, size, stride=None):
    return geometry_of("p", shape, outputs=shape[0], kernel=size, stride=stride or size, padding=0, groups=shape[0])


def matrix_of(path, shape):
    """The path to neurons of ``shape`` as a matrix."""
    return path.projection("n", shape, np.ones(int(np.prod(shape)))).as_dense()


def test_matrices_multiply(request):
    rng = rng_of(request.node.name)
    first, second = rng.normal(size=(4, 6)), rng.normal(size=(3, 4))
    path = Path().through_matrix("a", first).through_matrix("b", second)
    assert path.is_matrix
    np.testing.assert_allclose(matrix_of(path, (3,)), second @ first)
    assert Path().is_identity
    np.testing.assert_array_equal(matrix_of(Path(), (5,)), np.eye(5))


def test_an_average_owes_its_scale_to_what_follows(request):
    weight = rng_of(request.node.name).normal(size=(3, 18))
    path = Path().through_pooling("p", window(MAP, 2), 0.25)
    assert not path.is_identity
    sums = matrix_of(Path().through_pooling("p", window(MAP, 2), 1.0), (2, 3, 3))
    assert set(sums.ravel()) == {0.0, 1.0}
    np.testing.assert_allclose(matrix_of(path.through_matrix("m", weight), (3,)), 0.25 * weight @ sums)


def test_pools_side_by_side_become_one():
    first = window(MAP, 2)
    path = Path().through_pooling("p", first, 0.5).through_pooling("q", window((2, 3, 3), 3), 0.5)
    assert path.pooling.window == (6, 6)
    assert path.scale == 0.25


def test_a_convolution_that_is_pooled_is_a_larger_convolution(request):
    rng = rng_of(request.node.name)
    geometry = convolution()
    weight = rng.normal(size=geometry.weight_shape)
    plain = matrix_of(Path().through_convolution("c", geometry, weight), geometry.output_shape)
    pooled = (
        Path().through_convolution("c", geometry, weight).through_pooling("p", window(geometry.output_shape, 2), 1.0)
    )
    sums = np.zeros((3, 2, 2, 3, 4, 4))
    for channel, y, x in np.ndindex(3, 2, 2):
        sums[channel, y, x, channel, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2] = 1
    np.testing.assert_allclose(matrix_of(pooled, (3, 2, 2)), sums.reshape(12, 48) @ plain)


@pytest.mark.parametrize("scale", [np.full(6, 0.5), np.arange(1.0, 7.0)])
def test_a_scale_multiplies_what_comes_before(scale, request):
    rng = rng_of(request.node.name)
    first, second = rng.normal(size=(6, 4)), rng.normal(size=(3, 6))
    diagonal = np.diag(scale)
    path = Path().through_matrix("m", first).through_scale("s", scale, (6,))
    np.testing.assert_allclose(matrix_of(path, (6,)), diagonal @ first)
    path = Path().through_scale("s", scale, (6,))
    assert not path.is_identity
    np.testing.assert_allclose(matrix_of(path, (6,)), diagonal)
    np.testing.assert_allclose(matrix_of(path.through_matrix("m", second), (3,)), second @ diagonal)
    np.testing.assert_allclose(matrix_of(path.through_scale("t", scale, (6,)), (6,)), diagonal @ diagonal)
    many = np.resize(scale, 2000)
    large = Path().through_scale("s", many, (2000,)).through_scale("t", many, (2000,))
    np.testing.assert_allclose(np.diag(matrix_of(large, (2000,))), many**2)


def test_a_scale_around_windows(request):
    geometry = convolution()
    weight = rng_of(request.node.name).normal(size=geometry.weight_shape)
    plain = matrix_of(Path().through_convolution("c", geometry, weight), (3, 4, 4))
    half = np.full(72, 0.5)
    before = Path().through_scale("s", half, MAP)
    np.testing.assert_allclose(matrix_of(before, MAP), np.diag(half))
    np.testing.assert_allclose(matrix_of(before.through_convolution("c", geometry, weight), (3, 4, 4)), plain / 2)
    by_channel = np.repeat([1.0, 2.0, 3.0], 16)
    after = Path().through_convolution("c", geometry, weight).through_scale("s", by_channel, (3, 4, 4))
    np.testing.assert_allclose(matrix_of(after, (3, 4, 4)), by_channel[:, None] * plain)
    pooled = Path().through_pooling("p", window(MAP, 2), 0.25)
    sums = matrix_of(pooled, (2, 3, 3))
    np.testing.assert_allclose(matrix_of(pooled.through_scale("s", half[:18], (2, 3, 3)), (2, 3, 3)), sums / 2)
    with pytest.raises(LoadError, match=r"^s must have one factor for all values after a pooling$"):
        pooled.through_scale("s", np.arange(18.0), (2, 3, 3))
    with pytest.raises(LoadError, match=r"^s must have the same factor for all values of a channel after a conv"):
        after.through_scale("s", np.arange(48.0), (3, 4, 4))


def test_what_is_no_single_map_is_refused():
    geometry = convolution()
    after = Path().through_convolution("c", geometry, np.ones(geometry.weight_shape))
    with pytest.raises(LoadError, match=r"^m follows a convolution without a neuron between them, "):
        after.through_matrix("m", np.ones((2, 48)))
    with pytest.raises(LoadError, match=r"^d follows a convolution or an overlapping pooling without a neuron "):
        after.through_convolution("d", geometry, np.ones(geometry.weight_shape))
    with pytest.raises(LoadError, match=r"^p follows a matrix without a neuron between them, "):
        Path().through_matrix("m", np.ones((72, 72))).through_pooling("p", window(MAP, 2), 1.0)
    gains = np.ones(48)
    gains[7] = 2
    with pytest.raises(LoadError, match=r"^n must have the same gain for all neurons of a channel "):
        after.projection("n", geometry.output_shape, gains)


def test_padding_by_its_name():
    assert convolution(padding="same").output_shape == (3, 6, 6)
    assert convolution(padding="valid").output_shape == (3, 4, 4)
    for options in ({"kernel": 2}, {"stride": 2}):
        with pytest.raises(
            LoadError, match=r"^padding of c must be integers, 'valid', or 'same' with stride 1 and odd "
        ):
            convolution(padding="same", **options)
    with pytest.raises(LoadError, match=r"^kernel of c must be one or two integers, not \[1, 2, 3\]$"):
        convolution(kernel=[1, 2, 3])
