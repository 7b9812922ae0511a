"""A matrix of which only the weights that are not 0 are kept: for networks with few of all possible weights.

NumPy alone is what this part of the project needs, so this is not SciPy's class: it has what the way from a file to the
memories of a core asks for, and no more.
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
"""Products that `SparseMatrix.apply` holds at once."""


@dataclass(frozen=True, eq=False)
class SparseMatrix:
    """The weights ``values[k]`` at ``rows[k], columns[k]`` of a matrix of ``shape``, by row and then by column.

    `of` makes one of weights in any order. No place is there twice, and no value is 0.
    """

    shape: tuple[int, int]
    rows: IntArray
    columns: IntArray
    values: NDArray[Any]

    ndim = 2

    def __post_init__(self) -> None:
        for array in (self.rows, self.columns, self.values):
            array.setflags(write=False)

    @classmethod
    def of(cls, shape: tuple[int, int], rows: IntArray, columns: IntArray, values: NDArray[Any]) -> SparseMatrix:
        """Weights in any order; those at the same place add up."""
        keys, place = np.unique(rows.astype(np.int64) * shape[1] + columns, return_inverse=True)
        total = np.zeros(len(keys), values.dtype)
        np.add.at(total, place, values)
        kept = total != 0
        where, across = np.divmod(keys[kept], shape[1])
        return cls(shape=shape, rows=where, columns=across, values=total[kept])

    @classmethod
    def from_dense(cls, matrix: NDArray[Any]) -> SparseMatrix:
        """The weights of an array ``(n_rows, n_columns)`` that are not 0."""
        rows, columns = np.nonzero(matrix)
        return cls(shape=(matrix.shape[0], matrix.shape[1]), rows=rows, columns=columns, values=matrix[rows, columns])

    @classmethod
    def identity(cls, size: int) -> SparseMatrix:
        """Each column leads to the row of its number."""
        return cls(shape=(size, size), rows=np.arange(size), columns=np.arange(size), values=np.ones(size))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the weights."""
        return self.values.dtype

    @property
    def count(self) -> int:
        """Weights that are not 0."""
        return len(self.values)

    @property
    def is_full(self) -> bool:
        """Whether no weight is 0."""
        return self.count == self.shape[0] * self.shape[1]

    def any(self) -> bool:
        """Whether there is a weight."""
        return self.count > 0

    def map(self, function: Callable[[NDArray[Any]], NDArray[Any]]) -> SparseMatrix:
        """``function`` of every weight; it must make 0 of 0."""
        values = np.asarray(function(self.values))
        kept = values != 0
        return SparseMatrix(self.shape, self.rows[kept], self.columns[kept], values[kept])

    def scaled(self, gain: NDArray[Any]) -> SparseMatrix:
        """Each row times its ``gain`` ``(n_rows,)``."""
        return self.map(lambda values: values * gain[self.rows])

    def part(self, rows: Selection, columns: Selection) -> SparseMatrix:
        """``matrix[rows][:, columns]``, of which no row and no column is taken twice."""
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
        """The sum of two matrices of one shape."""
        joined = [np.concatenate([getattr(m, name) for m in (self, other)]) for name in ("rows", "columns", "values")]
        return SparseMatrix.of(self.shape, *joined)

    def apply(self, values: NDArray[Any]) -> NDArray[Any]:
        """The sums ``(B, n_rows)`` of weight times value of ``values`` ``(B, n_columns)``, in the weights' type."""
        result = np.zeros((len(values), self.shape[0]), self.dtype)
        if not self.count:
            return result
        filled, first = np.unique(self.rows, return_index=True)
        chunk = max(1, _CHUNK // self.count)
        for start in range(0, len(values), chunk):
            products = values[start : start + chunk, self.columns] * self.values
            result[start : start + chunk, filled] = np.add.reduceat(products, first, axis=1)
        return result

    def column_counts(self) -> IntArray:
        """Weights in each column."""
        return np.bincount(self.columns, minlength=self.shape[1]).astype(np.int64)

    def dense(self) -> NDArray[Any]:
        """The same as an array."""
        matrix = np.zeros(self.shape, self.dtype)
        matrix[self.rows, self.columns] = self.values
        return matrix


Matrix = NDArray[Any] | SparseMatrix


def numbers_of(weight: Matrix) -> NDArray[Any]:
    """All weights in sequence, of a sparse matrix those that are not 0."""
    return weight.values if isinstance(weight, SparseMatrix) else weight.reshape(-1)


def part_of(weight: Matrix, rows: Selection, columns: Selection) -> Matrix:
    """``weight[rows][:, columns]``."""
    return weight.part(rows, columns) if isinstance(weight, SparseMatrix) else weight[rows][:, columns]
