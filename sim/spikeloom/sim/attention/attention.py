"""Stochastic spiking attention in integers, bit-exact with the hardware, and its expectation.

Song, Katti, Simeone and Rajendran, "Stochastic Spiking Attention: Accelerating Attention with Stochastic Computing in
Spiking Networks", AICAS 2024, arXiv 2402.09109. For each head and time step, with spikes ``Q``, ``K``, ``V`` from
{0, 1} of ``N`` tokens by ``d`` features of the head, both powers of two::

    S[i, j] ~ Bernoulli(sum over f of Q[i, f] K[j, f] / d)
    A[i, f] ~ Bernoulli(sum over j of S[i, j] V[j, f] / N)

With a causal mask ``S[i, j]`` is 0 for ``j > i``. The normaliser remains ``N``: row ``i`` then has at most ``i + 1``
ones, and early tokens attend weakly. A division by ``i + 1`` would cost hardware, and training compensates for it.

**Samples.** Because ``d`` and ``N`` are powers of two, a sample is the carry of a sum
(`spikeloom.sim.lib.lfsr.bernoulli`)::

    S[i, j] = count + word >= d         count = 0 .. d, word = log2(d) random bits
    A[i, f] = count + word >= N         count = 0 .. N, word = log2(N) random bits

**Random words.** The assignment of random words to samples is part of the specification. It depends neither on the
number of rows that the hardware computes in parallel nor on stalls. There are two shift registers, one of `SCORE_WIDTH`
bits for S and one of `OUTPUT_WIDTH` bits for A. Their periods have no common factor, so that over both periods samples
of S and A are independent. At the start of each sample of ``T`` steps both registers are set to `register_seeds`. With
``H`` heads and ``m = max(log2 N, log2 d)``::

    the words of S[:, j] in step t of head h come from word (t H + h) N + j of the first,
    the words of A[:, f] in step t of head h come from word (t H + h) d + f of the second,

where each word has ``2 m`` bits (`Lfsr.words`) and yields one word per row ``i`` by
`spikeloom.sim.lib.lfsr.shared_words`. Its low log2(d) bits are used for S, its low log2(N) bits for A. The words of any
two rows are therefore independent.

**Expectation.** Each comparison has the correct marginal probability, and S is independent of the words of A. Given Q,
K and V, and whatever the correlation between rows::

    E[A[i, f]] = 1 / N * sum over j of S'[i, j] V[j, f],    S'[i, j] = sum over f of Q[i, f] K[j, f] / d   (0 if masked)
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.sim.lib.lfsr import Lfsr, bernoulli, shared_words

__all__ = [
    "OUTPUT_WIDTH",
    "PIPELINE_CYCLES",
    "RESULT_PASSES",
    "SCORE_WIDTH",
    "AttentionParameters",
    "AttentionResult",
    "Part",
    "Words",
    "attend",
    "draw",
    "expectation",
    "register_seeds",
    "simulate",
]

PIPELINE_CYCLES = 14
"""Maximum latency of the unit's registers in cycles, in addition to `AttentionParameters.cycles`."""

RESULT_PASSES = 4
"""Capacity of the result queue in passes: one computing A, one computing S, one being sent, and one spare."""

SCORE_WIDTH = 31
OUTPUT_WIDTH = 32
"""Widths of the shift registers; ``2**31 - 1`` is a prime that does not divide ``2**32 - 1``."""


def _power_of_two(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high or value & (value - 1):
        raise ValueError(f"{name} must be a power of two from {low} to {high}, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class AttentionParameters:
    """Sizes of an attention unit.

    Parameters
    ----------
    tokens, features
        ``N`` and ``d``, the number of features of one head: powers of two from 2 to 256.
    heads
        Number of heads, 1 to 16.
    rows
        Rows of S and A computed in parallel, a power of two from 1 to ``tokens``. It trades area for time and does not
        affect the results.
    """

    tokens: int = 16
    features: int = 16
    heads: int = 1
    rows: int = 1

    def __post_init__(self) -> None:
        _power_of_two("tokens", self.tokens, 2, 256)
        _power_of_two("features", self.features, 2, 256)
        _power_of_two("rows", self.rows, 1, self.tokens)
        if not isinstance(self.heads, int) or isinstance(self.heads, bool) or not 1 <= self.heads <= 16:
            raise ValueError(f"heads must be an integer from 1 to 16, not {self.heads!r}")

    @property
    def groups(self) -> int:
        """Number of groups of ``rows`` rows, which are computed one after another."""
        return self.tokens // self.rows

    @property
    def score_bits(self) -> int:
        """Width of a random word of S: log2 of ``features``."""
        return self.features.bit_length() - 1

    @property
    def output_bits(self) -> int:
        """Width of a random word of A: log2 of ``tokens``."""
        return self.tokens.bit_length() - 1

    @property
    def word_bits(self) -> int:
        """Degree ``m`` of the field in which the rows share a word of ``2 m`` bits."""
        return max(self.score_bits, self.output_bits)

    @property
    def pass_cycles(self) -> int:
        """Cycles between the starts of two passes: one key and one feature per cycle, in parallel."""
        return max(self.tokens, self.features)

    def cycles(self, steps: int) -> int:
        """Cycles of ``steps`` steps after the spikes of the first head have arrived, without `PIPELINE_CYCLES`.

        Each pass takes `pass_cycles`, and A of the last group follows its S: ``(T + 1) d`` for one head with ``rows = N
        = d``.
        """
        passes = steps * self.heads * self.groups
        return (passes - 1) * self.pass_cycles + self.tokens + self.features


class Part(enum.IntEnum):
    """Matrix that an event belongs to, in the order of the pages at reset."""

    QUERY = 0
    KEY = 1
    VALUE = 2


@dataclass(frozen=True, kw_only=True)
class AttentionResult:
    """All samples: ``scores`` (S) ``(T, heads, N, N)`` and ``outputs`` (A) ``(T, heads, N, d)``, boolean."""

    scores: NDArray[np.bool_]
    outputs: NDArray[np.bool_]


def register_seeds(seed: int) -> tuple[int, int]:
    """Initial values of the two shift registers, derived from a seed from 0 to ``2**64 - 1``.

    The seed is scrambled by the output function of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom
    number generators", OOPSLA 2014), because registers that start at 1, 2, 3 begin with the same words.

    Raises ``ValueError`` for a seed out of range.
    """
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or not 0 <= seed < 1 << 64:
        raise ValueError(f"seed must be an integer from 0 to 2**64 - 1, not {seed!r}")
    mask = (1 << 64) - 1
    # Plus 1, because the output function maps 0 to 0.
    z = (int(seed) + 1) * 0x9E3779B97F4A7C15 & mask
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
    z ^= z >> 31
    # A shift register at 0 would stay there: both seeds are from 1 to their period.
    return z % ((1 << SCORE_WIDTH) - 1) + 1, (z >> 32) % ((1 << OUTPUT_WIDTH) - 1) + 1


def _spikes(parameters: AttentionParameters, name: str, spikes: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(spikes)
    shape = (parameters.heads, parameters.tokens, parameters.features)
    if array.ndim != 4 or array.shape[1:] != shape or not len(array):
        raise ValueError(f"{name} must have the shape {('T', *shape)}, not {array.shape}")
    if not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name} must be spikes, 0 or 1")
    return array.astype(np.int64)


def _words(parameters: AttentionParameters, register: Lfsr, steps: int, per_head: int) -> NDArray[np.uint32]:
    """The random words ``(steps, heads, tokens, per_head)`` of one register, ``m`` bits each."""
    # The order in which the hardware draws them: step, head, key or feature; all rows share one draw.
    words = register.words(steps * parameters.heads * per_head, 2 * parameters.word_bits)
    shared = shared_words(words, parameters.word_bits, parameters.tokens)
    return shared.reshape(steps, parameters.heads, per_head, parameters.tokens).swapaxes(2, 3)


def _visible(parameters: AttentionParameters, causal: bool) -> NDArray[np.bool_]:
    every = np.ones((parameters.tokens, parameters.tokens), np.bool_)
    return np.tril(every) if causal else every


@dataclass(frozen=True, kw_only=True)
class Words:
    """Random words of S ``(T, heads, N, N)`` and of A ``(T, heads, N, d)``, or of one step, without ``T``."""

    scores: NDArray[np.integer]
    outputs: NDArray[np.integer]

    def step(self, t: int) -> Words:
        """The words of step ``t``."""
        return Words(scores=self.scores[t], outputs=self.outputs[t])


def draw(parameters: AttentionParameters, steps: int, *, seed: int = 0) -> Words:
    """Draw the random words of the first ``steps`` steps of a sample. They are the same in every sample.

    Raises ``ValueError`` for a seed that is not from 0 to ``2**64 - 1``.
    """
    score_seed, output_seed = register_seeds(seed)
    scores = _words(parameters, Lfsr(width=SCORE_WIDTH, seed=score_seed), steps, parameters.tokens)
    outputs = _words(parameters, Lfsr(width=OUTPUT_WIDTH, seed=output_seed), steps, parameters.features)
    # A sampler uses the lower bits of a shared word, as many as its comparison needs.
    return Words(scores=scores & (parameters.features - 1), outputs=outputs & (parameters.tokens - 1))


def attend(
    parameters: AttentionParameters,
    q: NDArray[np.int64],
    k: NDArray[np.int64],
    v: NDArray[np.int64],
    words: Words,
    *,
    causal: bool = False,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Compute S ``(..., heads, N, N)`` and A ``(..., heads, N, d)`` from spikes ``(..., heads, N, d)``, 0 or 1.

    The words broadcast against S and A.
    """
    scores = bernoulli(q @ k.swapaxes(-1, -2), words.scores, parameters.score_bits)
    # Masked after sampling: the random words of masked positions are drawn all the same, so the mask changes no other
    # sample.
    scores &= _visible(parameters, causal)
    return scores, bernoulli(scores.astype(np.int64) @ v, words.outputs, parameters.output_bits)


def simulate(
    parameters: AttentionParameters, q: ArrayLike, k: ArrayLike, v: ArrayLike, *, seed: int = 0, causal: bool = False
) -> AttentionResult:
    """Simulate a sample of ``T`` steps with the spikes ``q``, ``k``, ``v`` ``(T, heads, N, d)``, 0 or 1.

    Raises ``ValueError`` for other shapes or values.
    """
    q, k, v = (_spikes(parameters, name, spikes) for name, spikes in (("q", q), ("k", k), ("v", v)))
    if not len(q) == len(k) == len(v):
        raise ValueError(f"q, k and v must have the same number of steps, not {len(q)}, {len(k)} and {len(v)}")
    scores, outputs = attend(parameters, q, k, v, draw(parameters, len(q), seed=seed), causal=causal)
    return AttentionResult(scores=scores, outputs=outputs)


def expectation(
    parameters: AttentionParameters, q: ArrayLike, k: ArrayLike, v: ArrayLike, *, causal: bool = False
) -> NDArray[np.float64]:
    """The probability ``(T, heads, N, d)`` that each A is 1, given the spikes of `simulate`.

    Raises ``ValueError`` for other shapes or values.
    """
    q, k, v = (_spikes(parameters, name, spikes) for name, spikes in (("q", q), ("k", k), ("v", v)))
    # Counts, not probabilities yet: both divisions take place at the end, so that all sums are exact integers.
    scores = q @ k.swapaxes(2, 3) * _visible(parameters, causal)
    return scores @ v / (parameters.features * parameters.tokens)
