"""The neuron sweep: each planted bug in a core of several banks makes the engine differ from the reference."""

import pytest
from harness.engine_bugs import assert_found

from spikeloom.hdl.core import engine, sweep

MUTATIONS = {
    "banks of lanes: what they send takes as long back": ("sent = end + 2 * far", "sent = end + far"),
    "banks of lanes: any of them sends": ("any_of_bank.any()", "any_of_bank[0]"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(monkeypatch, mutation):
    assert_found(monkeypatch, mutation, engine, sweep, *MUTATIONS[mutation])
