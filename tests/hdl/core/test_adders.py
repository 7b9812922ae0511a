"""The adders of the lanes: a planted bug in what is forwarded makes the engine differ from the reference."""

import pytest
from harness.engine_bugs import assert_found

from spikeloom.hdl.core import accumulate, adders

MUTATIONS = {
    "forwarding of the sum before": ("Mux(control.is_last_on_way, last, earlier)", "earlier"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(monkeypatch, mutation):
    assert_found(monkeypatch, mutation, accumulate, adders, *MUTATIONS[mutation])
