"""The attention unit with streams: samples equal to the reference under any pauses, cycle counts, invalid shapes."""

import gc

import pytest
from harness.attention import expected_words, random_attention, run_unit
from harness.attention_bugs import assert_shown
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.hdl.attention import unit
from spikeloom.hdl.attention.unit import AttentionUnit
from spikeloom.sim.attention.attention import PIPELINE_CYCLES, AttentionParameters

SHAPES = [
    # tokens, features, heads, rows, causal
    (2, 2, 1, 1, False),
    (2, 2, 3, 2, True),
    (2, 4, 1, 2, False),
    (4, 2, 2, 4, True),
    (4, 4, 1, 1, True),
    (2, 64, 1, 2, False),
    (64, 2, 1, 8, True),
    (8, 8, 2, 2, False),
    (8, 8, 2, 8, True),
    (16, 8, 3, 4, True),
    (8, 16, 2, 8, False),
    (16, 16, 1, 1, True),
    (16, 16, 2, 16, False),
    (32, 8, 1, 32, True),
    (8, 32, 4, 4, True),
    (32, 32, 1, 8, False),
    pytest.param(64, 16, 2, 64, False, marks=pytest.mark.slow),
    pytest.param(64, 64, 1, 8, True, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("tokens", "features", "heads", "rows", "causal"), SHAPES)
def test_every_sample_equals_the_reference(request, tokens, features, heads, rows, causal):
    rng = rng_of(request.node.name)
    parameters = AttentionParameters(tokens=tokens, features=features, heads=heads, rows=rows)
    steps = 4 if tokens * features >= 1024 else 6
    q, k, v = random_attention(rng, parameters, steps)
    run = run_unit(AttentionUnit(parameters), rng, q, k, v, samples=2, causal=causal)
    words, outputs = expected_words(parameters, q, k, v, samples=2, causal=causal)
    assert run.words(0) == words
    assert 0 < outputs.sum() < outputs.size


@pytest.mark.parametrize("number", range(8))
def test_random_shapes(request, number):
    """Random shapes, samples, steps, seeds, masks and pauses."""
    rng = rng_of(request.node.name)
    tokens, features = (1 << int(rng.integers(1, 6)) for _ in range(2))
    rows = 1 << int(rng.integers(0, tokens.bit_length()))
    parameters = AttentionParameters(tokens=tokens, features=features, heads=int(rng.integers(1, 6)), rows=rows)
    samples = int(rng.integers(1, 4))
    options = {"samples": samples, "seed": int(rng.integers(1 << 60)), "causal": bool(rng.integers(2))}
    q, k, v = random_attention(rng, parameters, samples * int(rng.integers(1, 3)))
    run = run_unit(
        AttentionUnit(parameters), rng, q, k, v, idle=rng.random() * 0.6, stall=rng.random() * 0.6, **options
    )
    words, outputs = expected_words(parameters, q, k, v, **options)
    assert run.words(0) == words
    assert 0 < outputs.sum() < outputs.size


@pytest.mark.parametrize(("idle", "stall"), [(0.0, 0.0), (0.0, 0.8), (0.9, 0.0), (0.6, 0.6)])
def test_pauses_change_nothing(request, idle, stall):
    rng = rng_of(request.node.name)
    parameters = AttentionParameters(tokens=8, features=4, heads=2, rows=4)
    q, k, v = random_attention(rng, parameters, 9)
    run = run_unit(AttentionUnit(parameters), rng, q, k, v, samples=3, seed=77, idle=idle, stall=stall)
    words, outputs = expected_words(parameters, q, k, v, samples=3, seed=77)
    assert run.words(0) == words
    assert 0 < outputs.sum() < outputs.size


@pytest.mark.parametrize(
    ("tokens", "features", "heads", "rows", "steps"),
    [
        (8, 8, 1, 8, 10),
        (8, 8, 3, 8, 5),
        (8, 8, 1, 2, 5),
        (16, 4, 2, 8, 4),
        (4, 16, 2, 1, 3),
        (32, 32, 1, 32, 4),
        (64, 64, 1, 64, 2),
        pytest.param(64, 64, 1, 64, 10, marks=pytest.mark.slow),
    ],
)
def test_cycles(request, tokens, features, heads, rows, steps):
    """From the start of the first pass to the last A: the cycles of the rows, and a constant for all shapes."""
    rng = rng_of(request.node.name)
    parameters = AttentionParameters(tokens=tokens, features=features, heads=heads, rows=rows)
    q, k, v = random_attention(rng, parameters, steps)
    run = run_unit(AttentionUnit(parameters), rng, q, k, v, idle=0, stall=0)
    words, _ = expected_words(parameters, q, k, v)
    assert run.words(0) == words
    # The first pass can start when the last word of the first head has been accepted.
    complete = max(run.taken[0][rows - 1][1], run.taken[1][tokens - 1][1], run.taken[2][features - 1][1])
    last = run.given[0][-1][1]
    assert parameters.cycles(steps) <= last - complete <= parameters.cycles(steps) + PIPELINE_CYCLES


PLANTED = {
    "steps of a sample": ("Mux(final, 1, step + 1)", "Mux(final, 0, step + 1)"),
}
"""Bugs in the parts of the unit are in the tests of these parts."""


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(bug):
    assert_shown(bug, mutated(unit, *PLANTED[bug]))


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_bad_parameters():
    with pytest.raises(TypeError, match=r"^parameters must be AttentionParameters, not 64$"):
        AttentionUnit(64)
    gc.collect()  # Amaranth warns when a refused design, never elaborated, is collected: do that here
