"""What the tests of attention share: random spikes, and the words that go into a unit and come out of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.attention import AttentionParameters


def random_attention(
    rng: np.random.Generator, parameters: AttentionParameters, steps: int
) -> tuple[NDArray[np.bool_], ...]:
    """Q, K and V ``(T, heads, N, d)``, dense enough that A is often 1; each head and step with a density of its own."""
    shape = (steps, parameters.heads, parameters.tokens, parameters.features)
    return tuple(rng.random(shape) < rng.uniform(0.5, 1.0, (*shape[:2], 1, 1)) for _ in range(3))


def words_of(bits: NDArray[np.bool_]) -> list[int]:
    """The words ``(..., width)`` as numbers, the first bit lowest."""
    flat = bits.reshape(-1, bits.shape[-1])
    return [int.from_bytes(row.tobytes(), "little") for row in np.packbits(flat, axis=1, bitorder="little")]


def input_words(q: NDArray[np.bool_], k: NDArray[np.bool_], v: NDArray[np.bool_]) -> list[list[int]]:
    """What the streams q, k and v of a unit take."""
    return [words_of(q), words_of(k), words_of(v.swapaxes(2, 3))]


def output_words(parameters: AttentionParameters, outputs: NDArray[np.bool_]) -> list[int]:
    """What the unit gives for A ``(T, heads, N, d)``: groups of rows, features within a group."""
    steps, heads, _, features = outputs.shape
    grouped = outputs.reshape(steps, heads, parameters.groups, parameters.rows, features)
    return words_of(grouped.swapaxes(3, 4))
