"""Sparse matrices, which store only nonzero weights.

The base install depends on NumPy but not on SciPy, so this class implements just the operations that loading and
compiling a network require.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Matrix", "SparseMatrix", "numbers_of", "part_of"]

IntArray = NDArray[np.int64]
Selection = slice | NDArray[Any]

_CHUNK = 1 << 22
"""Maximum number of products that `SparseMatrix.apply` holds in memory at a time."""


@dataclass(frozen=True, eq=False)
class SparseMatrix:
    """The weights ``values[k]`` at ``rows[k], columns[k]`` of a matrix of ``shape``, sorted by row, then by column.

    Positions are unique, and no value is 0. `of` accepts weights in any order.
    """

    shape: tuple[int, int]
    rows: IntArray
    columns: IntArray
    values: NDArray[Any]

    ndim = 2

    def __post_init__(self) -> None:
        # Parts and maps share the arrays.
        for array in (self.rows, self.columns, self.values):
            array.setflags(write=False)

    @classmethod
    def of(cls, shape: tuple[int, int], rows: IntArray, columns: IntArray, values: NDArray[Any]) -> SparseMatrix:
        """Create a matrix from weights in any order; weights at the same position are added."""
        # One number per position sorts by row, then by column.
        keys, place = np.unique(rows.astype(np.int64) * shape[1] + columns, return_inverse=True)
        total = np.zeros(len(keys), values.dtype)
        np.add.at(total, place, values)
        # Weights may cancel, and stored zeros would count as synapses.
        kept = total != 0
        where, across = np.divmod(keys[kept], shape[1])
        return cls(shape=shape, rows=where, columns=across, values=total[kept])

    @classmethod
    def from_dense(cls, matrix: NDArray[Any]) -> SparseMatrix:
        """Create a matrix from the nonzero weights of an array ``(n_rows, n_columns)``."""
        rows, columns = np.nonzero(matrix)
        return cls(shape=(matrix.shape[0], matrix.shape[1]), rows=rows, columns=columns, values=matrix[rows, columns])

    @classmethod
    def identity(cls, size: int) -> SparseMatrix:
        """Create the identity matrix."""
        return cls(shape=(size, size), rows=np.arange(size), columns=np.arange(size), values=np.ones(size))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the weights."""
        return self.values.dtype

    @property
    def count(self) -> int:
        """Number of nonzero weights."""
        return len(self.values)

    @property
    def is_full(self) -> bool:
        """Whether all weights are nonzero."""
        return self.count == self.shape[0] * self.shape[1]

    def any(self) -> bool:
        """Whether any weight is nonzero."""
        return self.count > 0

    def map(self, function: Callable[[NDArray[Any]], NDArray[Any]]) -> SparseMatrix:
        """Apply ``function`` to every weight; it must map 0 to 0."""
        values = np.asarray(function(self.values))
        kept = values != 0
        return SparseMatrix(self.shape, self.rows[kept], self.columns[kept], values[kept])

    def scaled(self, gain: NDArray[Any]) -> SparseMatrix:
        """Multiply each row by its ``gain`` ``(n_rows,)``."""
        return self.map(lambda values: values * gain[self.rows])

    def part(self, rows: Selection, columns: Selection) -> SparseMatrix:
        """``matrix[rows][:, columns]``; no row or column may be selected twice."""
        new_row, new_column = (
            np.full(size, -1, np.int64) for size in self.shape
        )  # -1 for those that are not in the part
        for places, chosen in ((new_row, rows), (new_column, columns)):
            taken = np.arange(len(places))[chosen]
            places[taken] = np.arange(len(taken))
        row, column = new_row[self.rows], new_column[self.columns]
        inside = (row >= 0) & (column >= 0)
        shape = int((new_row >= 0).sum()), int((new_column >= 0).sum())
        return SparseMatrix.of(shape, row[inside], column[inside], self.values[inside])

    def plus(self, other: SparseMatrix) -> SparseMatrix:
        """The sum of two matrices of equal shape."""
        joined = [np.concatenate([getattr(m, name) for m in (self, other)]) for name in ("rows", "columns", "values")]
        return SparseMatrix.of(self.shape, *joined)

    def apply(self, values: NDArray[Any]) -> NDArray[Any]:
        """The product with ``values`` ``(B, n_columns)``, as sums ``(B, n_rows)`` in the type of the weights."""
        result = np.zeros((len(values), self.shape[0]), self.dtype)
        if not self.count:
            return result
        # `reduceat` sums runs of equal rows; rows without weights have no run and stay 0.
        filled, first = np.unique(self.rows, return_index=True)
        chunk = max(1, _CHUNK // self.count)
        for start in range(0, len(values), chunk):
            products = values[start : start + chunk, self.columns] * self.values
            result[start : start + chunk, filled] = np.add.reduceat(products, first, axis=1)
        return result

    def at(self, rows: IntArray, columns: IntArray) -> NDArray[Any]:
        """The weights ``(n,)`` at the positions ``rows``, ``columns`` ``(n,)``, 0 where none is stored."""
        stored = self.rows * self.shape[1] + self.columns  # ascending
        wanted = rows.astype(np.int64) * self.shape[1] + columns
        if not self.count:
            return np.zeros(len(wanted), self.dtype)
        # A position after the last stored one is compared with the last, and differs.
        place = np.minimum(np.searchsorted(stored, wanted), self.count - 1)
        return np.where(stored[place] == wanted, self.values[place], self.dtype.type(0))

    def column_counts(self) -> IntArray:
        """Number of weights in each column."""
        return np.bincount(self.columns, minlength=self.shape[1]).astype(np.int64)

    def dense(self) -> NDArray[Any]:
        """The same matrix as an array."""
        matrix = np.zeros(self.shape, self.dtype)
        matrix[self.rows, self.columns] = self.values
        return matrix


Matrix = NDArray[Any] | SparseMatrix


def numbers_of(weight: Matrix) -> NDArray[Any]:
    """All weights ``(n,)`` of an array, or the nonzero weights of a sparse matrix."""
    return weight.values if isinstance(weight, SparseMatrix) else weight.reshape(-1)


def part_of(weight: Matrix, rows: Selection, columns: Selection) -> Matrix:
    """``weight[rows][:, columns]``."""
    return weight.part(rows, columns) if isinstance(weight, SparseMatrix) else weight[rows][:, columns]
