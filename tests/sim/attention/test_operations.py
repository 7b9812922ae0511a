"""Operation counts of attention: the formulas against a bit-by-bit reference that counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.sim.attention.attention import OUTPUT_WIDTH, SCORE_WIDTH, AttentionParameters, register_seeds, simulate
from spikeloom.sim.attention.operations import Energies, Operations, exact_operations, stochastic_operations
from spikeloom.sim.lib.lfsr import FIELDS, TAPS

SHAPES = [(4, 4, 1), (8, 4, 2), (4, 16, 2), (16, 16, 1)]


class Counter:
    """Counts operations on bits, one at a time."""

    def __init__(self) -> None:
        self.gates = self.counted = self.added = self.drawn = self.written = self.read = 0

    def gate(self, value: int) -> int:
        self.gates += 1
        return value

    def count(self, total: int, bit: int) -> int:
        self.counted += 1
        return total + bit

    def add(self, a: int, b: int, bits: int) -> int:
        self.added += bits
        return a + b

    def write(self, array: np.ndarray, bits: int = 1) -> np.ndarray:
        self.written += array.size * bits
        return array.copy()

    def take(self, array: np.ndarray, bits: int = 1) -> np.ndarray:
        self.read += array.size * bits
        return array

    @property
    def operations(self) -> Operations:
        return Operations(**vars(self))


class Register:
    """A shift register that counts its new bits."""

    def __init__(self, width: int, seed: int, counter: Counter) -> None:
        self.width, self.state, self.counter, self.started = width, seed, counter, False

    def word(self, bits: int) -> int:
        for _ in range(bits * self.started):
            new = sum(self.state >> (tap - 1) & 1 for tap in TAPS[self.width]) & 1
            self.state = (self.state << 1 | new) & ((1 << self.width) - 1)
        self.started = True
        self.counter.drawn += bits  # including those of the first word, which the next one shifts out
        return self.state & ((1 << bits) - 1)


def rows_words(word: int, m: int, rows: int, counter: Counter) -> list[int]:
    """``b + a i`` for each row i: each bit is a parity of bits of a, built from two others by one XOR, plus one XOR per
    bit and row with b; row 0 is b itself."""
    low, high = word & ((1 << m) - 1), word >> m
    parity = [0] * (1 << m)
    for mask in range(1, 1 << m):
        lowest = mask & -mask
        value = high >> (lowest.bit_length() - 1) & 1
        parity[mask] = value if mask == lowest else counter.gate(parity[mask ^ lowest] ^ value)
    words = [low]
    for row in range(1, rows):
        value = 0
        for bit in range(m):
            mask = 0  # the bits of a whose parity is this bit of the product of a and row
            for place in range(m):
                product, factor = 0, 1 << place
                for digit in range(m):
                    product ^= factor if row >> digit & 1 else 0
                    factor = (factor << 1) ^ (FIELDS[m] if factor >> (m - 1) & 1 else 0)
                mask |= (product >> bit & 1) << place
            value |= counter.gate((low >> bit & 1) ^ parity[mask]) << bit
        words.append(value)
    return words


def stochastic(shape, q, k, v, seed, counter):
    """One sample, bit by bit: outputs ``(T, heads, N, d)``."""
    tokens, features, m = shape.tokens, shape.features, shape.word_bits
    widths = zip((SCORE_WIDTH, OUTPUT_WIDTH), register_seeds(seed), strict=True)
    score_register, output_register = (Register(width, start, counter) for width, start in widths)
    outputs = np.zeros_like(q)
    for t, head in np.ndindex(q.shape[:2]):
        queries, keys, values = (counter.take(counter.write(x[t, head])) for x in (q, k, v))
        scores = np.zeros((tokens, tokens), np.int64)
        for j in range(tokens):
            words = rows_words(score_register.word(2 * m), m, tokens, counter)
            for i in range(tokens):
                total = 0
                for f in range(features):
                    total = counter.count(total, counter.gate(queries[i, f] & keys[j, f]))
                word = words[i] & (features - 1)
                scores[i, j] = counter.add(total, word, shape.score_bits) >= features
        scores = counter.take(counter.write(scores))
        for f in range(features):
            words = rows_words(output_register.word(2 * m), m, tokens, counter)
            for i in range(tokens):
                total = 0
                for j in range(tokens):
                    total = counter.count(total, counter.gate(scores[i, j] & values[j, f]))
                outputs[t, head, i, f] = counter.add(total, words[i] & (tokens - 1), shape.output_bits) >= tokens
        counter.write(outputs[t, head])
    return outputs


def exact(shape, q, k, v, scale, counter, membrane_bits=16):
    """One sample of ``(Q K^T) V`` into neurons with threshold ``scale``, bit by bit."""
    tokens, features = shape.tokens, shape.features
    score_bits, total_bits = shape.score_bits + 1, shape.score_bits + shape.output_bits + 1
    membranes, outputs = np.zeros(q.shape[1:], np.int64), np.zeros_like(q)
    for t, head in np.ndindex(q.shape[:2]):
        queries, keys, values = (counter.take(counter.write(x[t, head])) for x in (q, k, v))
        scores = np.zeros((tokens, tokens), np.int64)
        for i, j in np.ndindex(tokens, tokens):
            total = 0
            for f in range(features):
                total = counter.count(total, counter.gate(queries[i, f] & keys[j, f]))
            scores[i, j] = total
        scores = counter.take(counter.write(scores, score_bits), score_bits)
        v_before = counter.take(membranes[head], membrane_bits)
        for i, f in np.ndindex(tokens, features):
            total = 0
            for j in range(tokens):
                masked = sum(
                    counter.gate((int(scores[i, j]) >> bit & 1) & int(values[j, f])) << bit for bit in range(score_bits)
                )
                total = counter.add(total, masked, total_bits)
            membrane = counter.add(int(v_before[i, f]), total, membrane_bits)
            outputs[t, head, i, f] = counter.add(membrane, -scale, membrane_bits) > 0
            membranes[head, i, f] = counter.add(membrane, -scale * int(outputs[t, head, i, f]), membrane_bits)
        counter.write(membranes[head], membrane_bits)
        counter.write(outputs[t, head])
    return outputs


def spikes(rng, shape, steps):
    return (rng.random((3, steps, shape.heads, shape.tokens, shape.features)) < 0.6).astype(np.int64)


@pytest.mark.parametrize(("tokens", "features", "heads"), SHAPES)
def test_stochastic_attention_takes_what_the_formulas_say(request, tokens, features, heads):
    shape, steps = AttentionParameters(tokens=tokens, features=features, heads=heads), 2
    q, k, v = spikes(rng_of(request.node.name), shape, steps)
    counter = Counter()
    outputs = stochastic(shape, q, k, v, 7, counter)
    assert np.array_equal(outputs, simulate(shape, q, k, v, seed=7).outputs)
    assert 0 < outputs.mean() < 1
    one = stochastic_operations(shape)
    assert counter.operations == Operations(**{name: steps * value for name, value in vars(one).items()})


@pytest.mark.parametrize(("tokens", "features", "heads"), SHAPES)
def test_exact_attention_takes_what_the_formulas_say(request, tokens, features, heads):
    shape, steps = AttentionParameters(tokens=tokens, features=features, heads=heads), 2
    q, k, v = spikes(rng_of(request.node.name), shape, steps)
    counter, scale = Counter(), tokens * features // 4
    outputs = exact(shape, q, k, v, scale, counter)
    totals, membranes = q @ k.swapaxes(-1, -2) @ v, 0
    for t in range(steps):
        membranes = membranes + totals[t]
        assert np.array_equal(outputs[t], membranes > scale)
        membranes = membranes - scale * outputs[t]
    assert 0 < outputs.mean() < 1
    one = exact_operations(shape)
    assert counter.operations == Operations(**{name: steps * value for name, value in vars(one).items()})


def test_energies_are_those_of_the_source():
    """In femtojoules: 100 for a 32-bit addition, 10,000 for 64 bits of memory, and a fifth of a full adder for a
    gate."""
    energies = Energies()
    found = [energies.full_adder_j, energies.gate_j, energies.bit_j]
    assert found == pytest.approx([3.125e-15, 0.625e-15, 156.25e-15])


def test_energies_are_sums_of_operations():
    energies = Energies(full_adder_j=5.0, gate_j=1.0, bit_j=100.0)
    one = Operations(gates=1, counted=2, added=3, drawn=4, written=5, read=6)
    assert one.computing_j(energies) == 1 + 3 * 4 + (2 + 3) * 5
    assert one.memory_j(energies) == 1100
    assert replace(one, read=7).memory_j(energies) == 1200
