"""Helpers for tests of attention: random spikes, and the input and output words of a unit."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Module
from numpy.typing import NDArray

from harness.streams import StreamRun, run_streams
from spikeloom.sim.attention.attention import AttentionParameters, register_seeds, simulate


def random_attention(
    rng: np.random.Generator, parameters: AttentionParameters, steps: int
) -> tuple[NDArray[np.bool_], ...]:
    """Random Q, K and V ``(T, heads, N, d)``, dense enough that A is often 1; each head and step has its own
    density."""
    shape = (steps, parameters.heads, parameters.tokens, parameters.features)
    return tuple(rng.random(shape) < rng.uniform(0.5, 1.0, (*shape[:2], 1, 1)) for _ in range(3))


def words_of(bits: NDArray[np.bool_]) -> list[int]:
    """The words ``(..., width)`` as numbers, with the first bit lowest."""
    flat = bits.reshape(-1, bits.shape[-1])
    return [int.from_bytes(row.tobytes(), "little") for row in np.packbits(flat, axis=1, bitorder="little")]


def input_words(q: NDArray[np.bool_], k: NDArray[np.bool_], v: NDArray[np.bool_]) -> list[list[int]]:
    """The words for the streams q, k and v of a unit."""
    return [words_of(q), words_of(k), words_of(v.swapaxes(2, 3))]


def output_words(parameters: AttentionParameters, outputs: NDArray[np.bool_]) -> list[int]:
    """The words that the unit outputs for A ``(T, heads, N, d)``: group by group of rows, feature by feature within a
    group."""
    steps, heads, _, features = outputs.shape
    grouped = outputs.reshape(steps, heads, parameters.groups, parameters.rows, features)
    return words_of(grouped.swapaxes(3, 4))


def run_unit(
    unit,
    rng: np.random.Generator,
    q: NDArray[np.bool_],
    k: NDArray[np.bool_],
    v: NDArray[np.bool_],
    *,
    samples: int = 1,
    causal: bool = False,
    seed: int = 0,
    timeout: int = 400_000,
    **options,
) -> StreamRun:
    """Run an attention unit with streams: the steps of ``q``, ``k`` and ``v`` are divided into the given number of
    samples."""
    m = Module()
    m.submodules.unit = unit
    score_seed, output_seed = register_seeds(seed)
    m.d.comb += [
        unit.steps.eq(len(q) // samples),
        unit.causal.eq(causal),
        unit.score_seed.eq(score_seed),
        unit.output_seed.eq(output_seed),
    ]
    words = input_words(q, k, v)
    return run_streams(m, [unit.q, unit.k, unit.v], [unit.o], words, rng, timeout=timeout, quiet=200, **options)


def expected_words(
    parameters: AttentionParameters,
    q: NDArray[np.bool_],
    k: NDArray[np.bool_],
    v: NDArray[np.bool_],
    *,
    samples: int = 1,
    **options,
) -> tuple[list[int], NDArray[np.bool_]]:
    """The expected output of a unit for a number of samples, and A ``(T, heads, N, d)``."""
    parts = zip(*(np.split(part, samples) for part in (q, k, v)), strict=True)
    outputs = np.concatenate([simulate(parameters, *part, **options).outputs for part in parts])
    return output_words(parameters, outputs), outputs
