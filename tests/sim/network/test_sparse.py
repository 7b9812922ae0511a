"""Sparse matrices against arrays: every operation, with empty rows, columns and matrices among them."""

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.sim.network import sparse
from spikeloom.sim.network.projection import Pooling, Projection
from spikeloom.sim.network.sparse import SparseMatrix, numbers_of, part_of


def random_matrix(rng, shape, density, *, integers=True):
    weights = rng.integers(-9, 10, shape) if integers else rng.normal(0, 1, shape)
    return weights * (rng.random(shape) < density)


@pytest.mark.parametrize("density", [0.0, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("integers", [True, False], ids=["integers", "floats"])
def test_operations(request, monkeypatch, density, integers):
    rng = rng_of(request.node.name)
    monkeypatch.setattr(sparse, "_CHUNK", 40)  # several chunks
    dense = random_matrix(rng, (13, 9), density, integers=integers)
    matrix = SparseMatrix.from_dense(dense)
    assert (matrix.shape, matrix.ndim, matrix.count) == ((13, 9), 2, np.count_nonzero(dense))
    assert matrix.dtype == dense.dtype
    assert matrix.is_full == bool(dense.all())
    assert matrix.any() == bool(dense.any())
    assert np.array_equal(matrix.dense(), dense)
    gain = rng.normal(0, 1, 13)
    assert np.array_equal(matrix.scaled(gain).dense(), dense * gain[:, None])
    assert np.array_equal(matrix.column_counts(), (dense != 0).sum(axis=0))
    for values in (rng.random((5, 9)) < 0.5, rng.integers(-3, 4, (5, 9)), np.zeros((0, 9), bool)):
        np.testing.assert_allclose(matrix.apply(values), values @ dense.T, atol=1e-12)
    for rows, columns in ((slice(2, 7), slice(0, 9)), (np.array([5, 0, 3]), np.array([8, 1])), (slice(3, 3), slice(2))):
        assert np.array_equal(matrix.part(rows, columns).dense(), dense[rows][:, columns])
        assert np.array_equal(part_of(dense, rows, columns), dense[rows][:, columns])
    other = random_matrix(rng, (13, 9), 0.3, integers=integers)
    assert np.array_equal(matrix.plus(SparseMatrix.from_dense(other)).dense(), dense + other)
    assert np.array_equal(numbers_of(matrix), numbers_of(dense)[numbers_of(dense) != 0])


def test_weights_in_any_order_add_up_and_zeros_vanish():
    rows, columns = np.array([2, 0, 2, 1, 1]), np.array([1, 0, 1, 2, 2])
    matrix = SparseMatrix.of((3, 3), rows, columns, np.array([5, 1, 2, 4, -4]))
    assert matrix.dense().tolist() == [[1, 0, 0], [0, 0, 0], [0, 7, 0]]
    assert matrix.count == 2
    halved = matrix.map(lambda values: values // 2)
    assert (halved.count, halved.dense()[2, 1]) == (1, 3)
    with pytest.raises(ValueError, match="read-only"):
        matrix.values[0] = 3


def test_the_identity():
    assert np.array_equal(SparseMatrix.identity(4).dense(), np.eye(4))


@pytest.mark.parametrize("pooled", [False, True], ids=["plain", "pooled"])
def test_a_projection_is_the_same_sparse(request, pooled):
    """Sums, bounds and shapes are equal; the synapses are the nonzero entries."""
    rng = rng_of(request.node.name)
    pooling = Pooling(input_shape=(2, 4, 4), window=(2, 2)) if pooled else None
    dense = Projection(weight=random_matrix(rng, (7, 8), 0.3), pooling=pooling)
    thin = Projection(weight=SparseMatrix.from_dense(dense.weight), pooling=pooling)
    thin.check_shape("it")
    values = rng.integers(-4, 5, (6, dense.source_size))
    assert np.array_equal(thin.sum(values), dense.sum(values))
    assert np.array_equal(thin.as_dense(), dense.as_dense())
    for bounds in ((0, 1), (-8, 7)):
        assert all(np.array_equal(a, b) for a, b in zip(thin.bounds(*bounds), dense.bounds(*bounds), strict=True))
    assert (thin.source_size, thin.target_size, thin.source_shape) == (
        dense.source_size,
        dense.target_size,
        dense.source_shape,
    )
    assert (thin.synapses, dense.synapses) == (np.count_nonzero(dense.weight), 56)
    spread = np.count_nonzero(thin.as_dense(), axis=0)
    assert np.array_equal(thin.fan_out, spread)


def test_weights_at_positions(request):
    rng = rng_of(request.node.name)
    dense = np.where(rng.random((13, 9)) < 0.3, rng.integers(-9, 10, (13, 9)), 0)
    matrix = SparseMatrix.from_dense(dense)
    rows, columns = rng.permuted(np.indices(dense.shape).reshape(2, -1), axis=1)
    rows, columns = np.append(rows, matrix.rows), np.append(columns, matrix.columns)  # each stored one, too
    assert 10 < matrix.count < 60
    assert np.array_equal(matrix.at(rows, columns), dense[rows, columns])
    assert matrix.at(rows, columns).dtype == dense.dtype
    empty = SparseMatrix.from_dense(np.zeros((13, 9)))
    assert not empty.at(rows, columns).any()
