"""The attention unit with streams: every sample equal to the reference under any pauses, its cycles, bad shapes."""

import gc

import numpy as np
import pytest
from harness.attention import input_words, output_words, random_attention
from harness.networks import rng_of
from harness.streams import run_streams

from spikeloom.hdl.attention import AttentionUnit
from spikeloom.hdl.attention_engine import AttentionEngine
from spikeloom.sim.attention import AttentionParameters, simulate

CONSTANT = 26
"""Cycles at most from the first word of a unit that nobody keeps waiting to its last, beyond those of the rows."""


def run_unit(unit, rng, q, k, v, *, samples=1, causal=False, **options):
    """The unit's run for ``samples`` samples of all the steps of ``q``, ``k`` and ``v``."""
    unit.steps.init = len(q) // samples
    unit.causal.init = causal
    return run_streams(unit, [unit.q, unit.k, unit.v], [unit.o], input_words(q, k, v), rng, timeout=400_000, **options)


def expected(parameters, q, k, v, *, samples=1, causal=False):
    """What the unit is to give, and A."""
    outputs = np.concatenate(
        [
            simulate(parameters, *sample, causal=causal).outputs
            for sample in zip(*(np.split(part, samples) for part in (q, k, v)), strict=True)
        ]
    )
    return output_words(parameters, outputs), outputs


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
    (64, 16, 2, 64, False),
    (64, 64, 1, 8, True),
]


@pytest.mark.parametrize(("tokens", "features", "heads", "rows", "causal"), SHAPES)
def test_every_sample_equals_the_reference(request, tokens, features, heads, rows, causal):
    rng = rng_of(request.node.name)
    parameters = AttentionParameters(tokens=tokens, features=features, heads=heads, rows=rows)
    steps = 4 if tokens * features >= 1024 else 6
    q, k, v = random_attention(rng, parameters, steps)
    run = run_unit(AttentionUnit(parameters), rng, q, k, v, samples=2, causal=causal)
    words, outputs = expected(parameters, q, k, v, samples=2, causal=causal)
    assert run.words(0) == words
    assert 0 < outputs.sum() < outputs.size
