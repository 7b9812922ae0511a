"""A bank of lanes with its states: a planted bug makes the engine differ from the reference."""

import pytest
from harness.engine_bugs import assert_found

from spikeloom.hdl.core import neuron_bank, sweep

MUTATIONS = {
    "fresh state": ("lane.fresh.eq(control.fresh)", "lane.fresh.eq(0)"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(monkeypatch, mutation):
    assert_found(monkeypatch, mutation, sweep, neuron_bank, *MUTATIONS[mutation])
