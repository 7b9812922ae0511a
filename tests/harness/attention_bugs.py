"""Helpers for planted bugs in attention: each must make a unit differ from the reference."""

from __future__ import annotations

import types

import pytest

from harness.attention import expected_words, random_attention, run_unit
from harness.mutations import plant
from harness.networks import rng_of
from spikeloom.hdl.attention import unit
from spikeloom.sim.attention.attention import AttentionParameters


def compare(bug: str, module: types.ModuleType) -> None:
    """Compare the unit of ``module`` with the reference on an input that shows the bug of this name."""
    rng = rng_of(bug)
    parameters = AttentionParameters(tokens=8, features=8, heads=3, rows=4)
    if "sample is" in bug:  # the end of a two-word pass is known when the pass begins
        parameters = AttentionParameters(tokens=2, features=2, rows=2)
    # Sources without pauses and a sink with many stalls fill all memories; the opposite leaves them empty.
    pauses = {"idle": 0.6 if "complete" in bug else 0, "stall": 0.9 if "room" in bug else 0.3}
    q, k, v = random_attention(rng, parameters, 6)
    words, _ = expected_words(parameters, q, k, v, samples=3, causal=True)
    unit_of = module.AttentionUnit(parameters)
    run = run_unit(unit_of, rng, q, k, v, samples=3, causal=True, timeout=10_000, **pauses)
    assert run.words(0) == words


def assert_shown(bug: str, module: types.ModuleType = unit) -> None:
    """Assert that the unit of ``module``, with the bug ``bug``, differs from the reference."""
    with pytest.raises(AssertionError):
        compare(bug, module)


def assert_found(
    monkeypatch: pytest.MonkeyPatch,
    bug: str,
    user: types.ModuleType,
    module: types.ModuleType,
    old: str,
    new: str,
) -> None:
    """Like `assert_shown`, where ``user`` imports ``module`` with ``old`` replaced by ``new``."""
    plant(monkeypatch, user.__name__, module, old, new)
    assert_shown(bug)
