"""The attention unit with streams: every sample equal to the reference under any pauses, its cycles, bad shapes."""

import gc

import pytest
from harness.attention import expected_words, random_attention, run_unit
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.hdl.attention import engine as attention_engine
from spikeloom.hdl.attention import memory as attention_memory
from spikeloom.hdl.attention import sampler as attention_sampler
from spikeloom.hdl.attention import unit as attention
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
    words, outputs = expected_words(parameters, q, k, v, samples=2, causal=causal)
    assert run.words(0) == words
    assert 0 < outputs.sum() < outputs.size


@pytest.mark.parametrize("number", range(8))
def test_random_shapes(request, number):
    """Shapes, samples, steps, seeds, masks and pauses, all at random."""
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
        (64, 64, 1, 64, 10),
    ],
)
def test_cycles(request, tokens, features, heads, rows, steps):
    """From the start of the first pass to the last A: those of the rows, and a constant for all shapes."""
    rng = rng_of(request.node.name)
    parameters = AttentionParameters(tokens=tokens, features=features, heads=heads, rows=rows)
    q, k, v = random_attention(rng, parameters, steps)
    run = run_unit(AttentionUnit(parameters), rng, q, k, v, idle=0, stall=0)
    words, _ = expected_words(parameters, q, k, v)
    assert run.words(0) == words
    # The first pass can start when the last word of the first head has been taken.
    complete = max(run.taken[0][rows - 1][1], run.taken[1][tokens - 1][1], run.taken[2][features - 1][1])
    last = run.given[0][-1][1]
    assert parameters.cycles(steps) <= last - complete <= parameters.cycles(steps) + PIPELINE_CYCLES


PLANTED = {
    "groups begin with other words": (attention_engine, "m.d.comb += register.seed.eq(begin)", "pass"),
    "words of A go on from sample to sample": (
        attention_engine,
        "outputs.final.eq(later_final)",
        "outputs.final.eq(0)",
    ),
    "the mask is one key late": (attention_engine, "scores.index > scores.group", "scores.index >= scores.group"),
    "no mask": (attention_engine, "(visible | ~causal[row])", "1"),
    "S of the pass before": (attention_engine, "m.d.sync += held.eq(next_made)", "m.d.sync += held.eq(made)"),
    "queries of the next pass": (attention_engine, "query.eq(waiting[row])", "query.eq(entering)"),
    "A without room": (attention_engine, "room.eq(passes != RESULT_PASSES)", "room.eq(1)"),
    "a pass too early": (attention_engine, "(cycles_left <= 1)", "1"),
    "another group's words": (attention_engine, "_delayed(m, phase.group, cycles)", "0"),
    "keys of the head before": (attention_memory, "block.eq(block + self.release)", "block.eq(block)"),
    "blocks are written over": (attention_memory, "(full | ((used", "0 & (full | ((used"),
    "blocks before they are complete": (
        attention_memory,
        "available.eq((self.available",
        "available.eq(1 | (self.available",
    ),
    "the count without its odd one": (attention_sampler, "self.word, strict=True)], product)", "self.word)], (0, 0))"),
    "steps of a sample": (attention, "Mux(final, 1, step + 1)", "Mux(final, 0, step + 1)"),
    "the end of a sample is a step late": (attention_engine, "Mux(self.go, self.final, final)", "final"),
}


def assert_equal(unit, rng, parameters, **options):
    q, k, v = random_attention(rng, parameters, 6)
    words, _ = expected_words(parameters, q, k, v, samples=3, causal=True)
    run = run_unit(unit(parameters), rng, q, k, v, samples=3, causal=True, **options)
    assert run.words(0) == words


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(monkeypatch, bug):
    copy = mutated(*PLANTED[bug])
    unit = copy.AttentionUnit if hasattr(copy, "AttentionUnit") else AttentionUnit
    for user, name in (
        (attention, "AttentionEngine"),
        (attention, "SpikeBlocks"),
        (attention_engine, "AndSampler"),
    ):
        if getattr(copy, name, None) is not None and getattr(copy, name).__module__ == copy.__name__:
            monkeypatch.setattr(user, name, getattr(copy, name))
    # Sources without pauses and a sink with many fill all memories; the other way round they are empty.
    slow_sink = "room" in bug
    parameters = AttentionParameters(tokens=8, features=8, heads=3, rows=4)
    if "sample is" in bug:  # a pass of two words is about to end when it begins
        parameters = AttentionParameters(tokens=2, features=2, rows=2)
    idle = 0.6 if "complete" in bug else 0
    with pytest.raises(AssertionError):
        assert_equal(unit, rng_of(bug), parameters, idle=idle, stall=0.9 if slow_sink else 0.3, timeout=10_000)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_bad_parameters():
    with pytest.raises(TypeError, match=r"^parameters must be AttentionParameters, not 64$"):
        AttentionUnit(64)
    gc.collect()  # what was refused was never elaborated, of which Amaranth warns when it is collected: here
