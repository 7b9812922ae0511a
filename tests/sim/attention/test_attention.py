"""Stochastic attention against the equations of the paper, sample by sample and in its statistics."""

import numpy as np
import pytest
from harness.attention import random_attention
from harness.bounds import assert_bounds
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.sim.attention import attention
from spikeloom.sim.attention.attention import (
    OUTPUT_WIDTH,
    SCORE_WIDTH,
    AttentionParameters,
    expectation,
    register_seeds,
    simulate,
)
from spikeloom.sim.lib import lfsr
from spikeloom.sim.lib.lfsr import Lfsr, field_product


def by_hand(parameters, q, k, v, *, seed, causal):
    """Compute S and A by their definition, one sample after the other."""
    tokens, features, m = parameters.tokens, parameters.features, parameters.word_bits
    registers = [
        Lfsr(width=width, seed=start)
        for width, start in zip((SCORE_WIDTH, OUTPUT_WIDTH), register_seeds(seed), strict=True)
    ]
    states = [register.seed for register in registers]

    def words(which):
        """The words of all rows, and the register advanced by ``2 m`` steps."""
        low, high = states[which] & ((1 << m) - 1), states[which] >> m & ((1 << m) - 1)
        for _ in range(2 * m):
            states[which] = registers[which].step(states[which])
        return [low ^ int(field_product(high, row, m)) for row in range(tokens)]

    scores = np.zeros((len(q), parameters.heads, tokens, tokens), bool)
    outputs = np.zeros(q.shape, bool)
    for t in range(len(q)):
        for h in range(parameters.heads):
            for j in range(tokens):
                for i, word in enumerate(words(0)):
                    count = sum(int(q[t, h, i, f] and k[t, h, j, f]) for f in range(features))
                    scores[t, h, i, j] = count + word % features >= features and not (causal and j > i)
            for f in range(features):
                for i, word in enumerate(words(1)):
                    count = sum(int(scores[t, h, i, j] and v[t, h, j, f]) for j in range(tokens))
                    outputs[t, h, i, f] = count + word % tokens >= tokens
    return scores, outputs


@pytest.mark.parametrize(
    ("tokens", "features", "heads", "causal"),
    [(2, 2, 1, False), (4, 4, 3, True), (8, 4, 1, False), (4, 16, 2, True), (16, 8, 2, False)],
)
def test_every_sample_by_hand(request, tokens, features, heads, causal):
    rng = rng_of(request.node.name)
    parameters = AttentionParameters(tokens=tokens, features=features, heads=heads)
    q, k, v = random_attention(rng, parameters, 4)
    result = simulate(parameters, q, k, v, seed=9, causal=causal)
    scores, outputs = by_hand(parameters, q, k, v, seed=9, causal=causal)
    assert np.array_equal(result.scores, scores)
    assert np.array_equal(result.outputs, outputs)
    assert 0 < scores.sum() < scores.size
    assert 0 < outputs.sum() < outputs.size


def test_certain_samples():
    """Tokens with all or with no ones in common give certain samples, whatever the words are."""
    parameters = AttentionParameters(tokens=8, features=4)
    ones, zeros = np.ones((5, 1, 8, 4)), np.zeros((5, 1, 8, 4))
    assert simulate(parameters, ones, ones, ones).outputs.all()
    assert not simulate(parameters, ones, zeros, ones).scores.any()
    assert not simulate(parameters, ones, ones, zeros).outputs.any()
    masked = simulate(parameters, ones, ones, ones, causal=True)
    assert np.array_equal(masked.scores[0, 0], np.tril(np.ones((8, 8), bool)))
    assert masked.outputs[:, :, -1].all()
    assert not masked.outputs[:, :, 0].all()


def test_rows_are_no_part_of_the_numbers():
    rng = rng_of("test_rows_are_no_part_of_the_numbers")
    q, k, v = random_attention(rng, AttentionParameters(tokens=8, features=8, heads=2), 3)
    results = [
        simulate(AttentionParameters(tokens=8, features=8, heads=2, rows=rows), q, k, v).outputs for rows in (1, 4, 8)
    ]
    assert all(np.array_equal(results[0], other) for other in results[1:])


# The mean of n samples with probability p lies within z sqrt(p (1 - p) / n) of p, except once in about two million
# cases at z = 5. Of 5,000 entries none is expected beyond.


def deviations(module, parameters, q, k, v, *, seeds, causal=False):
    """The deviation of each A from its expectation over ``seeds``, in standard deviations; certain entries are left
    out.

    Raises ``AssertionError`` if a certain entry does not have its certain value.
    """
    total = np.zeros(q.shape)
    for seed in range(seeds):
        total += module.simulate(parameters, q, k, v, seed=seed, causal=causal).outputs
    probability = expectation(parameters, q, k, v, causal=causal)
    certain = (probability == 0) | (probability == 1)
    assert np.array_equal(total[certain], seeds * probability[certain])
    p = probability[~certain]
    return (total[~certain] / seeds - p) / np.sqrt(p * (1 - p) / seeds)


def assert_unbiased(z):
    """No entry deviates too far, and all together scatter like independent samples."""
    assert len(z) > 500
    assert np.abs(z).max() < 5
    assert abs(z.mean()) < 0.2
    assert 0.85 < (z * z).mean() < 1.15


STATISTICS = [(8, 8, 2, False), (16, 8, 1, True), (8, 32, 1, False), (32, 16, 1, False)]


@pytest.mark.parametrize(("tokens", "features", "heads", "causal"), STATISTICS)
def test_the_mean_over_seeds_approaches_the_expectation(request, tokens, features, heads, causal):
    rng = rng_of(request.node.name)
    parameters = AttentionParameters(tokens=tokens, features=features, heads=heads)
    q, k, v = random_attention(rng, parameters, 6)
    assert_unbiased(deviations(attention, parameters, q, k, v, seeds=600, causal=causal))


def test_the_error_falls_as_one_over_the_root_of_the_steps():
    """With the same Q, K and V in each step, the root mean square error of the mean over T steps falls with slope
    -1/2."""
    rng = rng_of("test_the_error_falls_as_one_over_the_root_of_the_steps")
    parameters = AttentionParameters(tokens=16, features=16)
    q, k, v = random_attention(rng, parameters, 1)
    probability = expectation(parameters, q, k, v)[0]
    counts = np.array([1, 4, 16, 64, 256, 1024])
    repeated = [np.repeat(part, counts[-1], axis=0) for part in (q, k, v)]
    squares = np.zeros(len(counts))
    seeds = 24
    for seed in range(seeds):
        outputs = simulate(parameters, *repeated, seed=seed).outputs
        for place, count in enumerate(counts):
            squares[place] += np.mean((outputs[:count].mean(axis=0) - probability) ** 2) / seeds
    errors = np.sqrt(squares)
    ideal = np.sqrt(np.mean(probability * (1 - probability)) / counts)
    assert np.all(np.abs(errors / ideal - 1) < 0.12), errors / ideal
    slope = np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.03)


PLANTED = {
    "a sample is 1 too rarely": (lfsr, "+ word >= 1 << width", "+ word > 1 << width"),
    "a sample is 1 too often": (lfsr, "+ word >= 1 << width", "+ word >= (1 << width) - 1"),
    "A has the words of S": (
        attention,
        "Lfsr(width=OUTPUT_WIDTH, seed=output_seed)",
        "Lfsr(width=SCORE_WIDTH, seed=score_seed)",
    ),
    "features have the same word": (
        attention,
        "swapaxes(2, 3)\n\n\ndef _visible",
        "swapaxes(2, 3)[..., :1]\n\n\ndef _visible",
    ),
    "one seed for all": (attention, "z = (int(seed) + 1) *", "z ="),
}


def assert_all_unbiased(module, name):
    for number, (tokens, features, heads, causal) in enumerate(STATISTICS):
        rng = rng_of(f"{name} {number}")
        parameters = AttentionParameters(tokens=tokens, features=features, heads=heads)
        q, k, v = random_attention(rng, parameters, 6)
        assert_unbiased(deviations(module, parameters, q, k, v, seeds=400, causal=causal))


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(monkeypatch, bug):
    copy = mutated(*PLANTED[bug])
    if PLANTED[bug][0] is lfsr:
        monkeypatch.setattr(attention, "bernoulli", copy.bernoulli)
        copy = attention
    with pytest.raises(AssertionError):
        assert_all_unbiased(copy, bug)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tokens": 12}, r"^tokens must be a power of two from 2 to 256, not 12$"),
        ({"tokens": 1}, r"^tokens must be a power of two from 2 to 256, not 1$"),
        ({"features": 512}, r"^features must be a power of two from 2 to 256, not 512$"),
        ({"features": 8.0}, r"^features must be a power of two from 2 to 256, not 8\.0$"),
        ({"tokens": 8, "rows": 16}, r"^rows must be a power of two from 1 to 8, not 16$"),
        ({"tokens": 8, "rows": 3}, r"^rows must be a power of two from 1 to 8, not 3$"),
        ({"rows": True}, r"^rows must be a power of two from 1 to 16, not True$"),
        ({"heads": 0}, r"^heads must be an integer from 1 to 16, not 0$"),
        ({"heads": 17}, r"^heads must be an integer from 1 to 16, not 17$"),
    ],
)
def test_bad_shapes(arguments, message):
    with pytest.raises(ValueError, match=message):
        AttentionParameters(**arguments)


@pytest.mark.parametrize(
    ("shape", "steps", "sizes", "cycles"),
    [
        # All rows at once: (T + 1) d cycles.
        ({"tokens": 8, "features": 8, "rows": 8}, 5, (1, 3, 3, 3, 8), 6 * 8),
        ({"tokens": 4, "features": 16, "heads": 3, "rows": 2}, 5, (2, 4, 2, 4, 16), 29 * 16 + 4 + 16),
        ({"tokens": 16, "features": 4, "heads": 3, "rows": 2}, 5, (8, 2, 4, 4, 16), 119 * 16 + 16 + 4),
        ({"tokens": 2, "features": 2}, 1, (2, 1, 1, 1, 2), 2 + 2 + 2),
    ],
)
def test_sizes_and_cycles_by_hand(shape, steps, sizes, cycles):
    p = AttentionParameters(**shape)
    assert (p.groups, p.score_bits, p.output_bits, p.word_bits, p.pass_cycles) == sizes
    assert p.cycles(steps) == cycles


def test_bad_spikes():
    parameters = AttentionParameters(tokens=4, features=2)
    good = np.zeros((3, 1, 4, 2))
    with pytest.raises(ValueError, match=r"^k must have the shape \('T', 1, 4, 2\), not \(3, 1, 2, 4\)$"):
        simulate(parameters, good, good.swapaxes(2, 3), good)
    with pytest.raises(ValueError, match=r"^q must have the shape \('T', 1, 4, 2\), not \(0, 1, 4, 2\)$"):
        simulate(parameters, good[:0], good[:0], good[:0])
    with pytest.raises(ValueError, match=r"^v must be spikes, 0 or 1$"):
        expectation(parameters, good, good, good + 2)
    with pytest.raises(ValueError, match=r"^q, k and v must have the same number of steps, not 3, 3 and 2$"):
        simulate(parameters, good, good, good[:2])
    with pytest.raises(ValueError, match=r"^seed must be an integer from 0 to 2\*\*64 - 1, not -1$"):
        simulate(parameters, good, good, good, seed=-1)


def test_seeds_are_scattered_by_splitmix64():
    """The first numbers of the published generator for seed 0, cut to the widths of the two registers."""
    for seed, number in enumerate((0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F)):
        assert register_seeds(seed) == (number % (2**31 - 1) + 1, (number >> 32) % (2**32 - 1) + 1)
    for wrong in (-1, 1 << 64, True):
        with pytest.raises(ValueError, match=rf"^seed must be an integer from 0 to 2\*\*64 - 1, not {wrong}$"):
            register_seeds(wrong)
    assert len(register_seeds((1 << 64) - 1)) == 2


@pytest.mark.parametrize(("name", "low", "high"), [("tokens", 2, 256), ("features", 2, 256), ("rows", 1, 16)])
def test_sizes_are_powers_of_two(name, low, high):
    for size in (low, high):
        assert getattr(AttentionParameters(**{name: size}), name) == size
    for size in (low - 1, 3, 2 * high, True):
        with pytest.raises(ValueError, match=f"^{name} must be a power of two from {low} to {high}, not {size}$"):
            AttentionParameters(**{name: size})


def test_heads_and_defaults():
    assert_bounds(AttentionParameters, "heads", 1, 16)
    parameters = AttentionParameters()
    assert (parameters.tokens, parameters.features, parameters.heads, parameters.rows) == (16, 16, 1, 1)
