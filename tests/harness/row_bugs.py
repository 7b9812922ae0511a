"""Helpers for planted bugs in the row reader: random rows, and the comparison of their words with the model."""

from __future__ import annotations

import types

import pytest

from harness.mutations import plant
from harness.networks import random_spatial_network, rng_of
from harness.rows import expected_words, loaded, read_rows
from spikeloom.compiler.layout import layouts
from spikeloom.compiler.synapses import rows_of
from spikeloom.hdl.core import row_reader as rows
from spikeloom.hdl.core.row_reader import RowReader
from spikeloom.sim.core.parameters import CoreParameters

CORE = CoreParameters(
    lanes=1,
    neurons=256,
    axons=256,
    weight_words=4096,
    populations=8,
    accumulator_width=20,
    coordinate_width=3,
    geometries=32,
    sparse=True,
)


def differs(case: int, reader: RowReader) -> bool:
    """Whether the words of a random network differ from those of the model."""
    rng = rng_of(f"row mutations {case}")
    last = case % 3 == 2
    network = random_spatial_network(rng, CORE, extent=6)
    laid_out = rows_of(network, CORE, layouts(network, CORE.lanes))
    axons = [axon for of in laid_out.axons.values() for axon in rng.permutation(of)[:10]]
    events = [(axon, rng.integers(2)) for axon in rng.permutation(axons)]
    try:
        found, _ = read_rows(reader, loaded(laid_out), events, rng, idle=0.5 * (case % 2), last=last)
    except AssertionError:
        return True
    return sorted(found) != sorted(expected_words(CORE, laid_out.images, events, last=last))


def assert_shown(mutation: str, row_reader: types.ModuleType = rows) -> None:
    """Assert that a reader with the bug ``mutation`` gives words that differ from the model's, or gives them late."""
    for case in range(6):
        if differs(case, row_reader.RowReader(CORE)):
            return
    pytest.fail(f"the planted bug in {mutation!r} must be found")


def assert_found(monkeypatch: pytest.MonkeyPatch, mutation: str, module: types.ModuleType, old: str, new: str) -> None:
    """Like `assert_shown`, where the reader imports ``module`` with ``old`` replaced by ``new``."""
    plant(monkeypatch, rows.__name__, module, old, new)
    assert_shown(mutation)
