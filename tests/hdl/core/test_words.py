"""Targets of sparse rows: each planted bug makes the words differ from the model, or arrive late."""

import pytest
from harness.row_bugs import assert_found

from spikeloom.hdl.core import words

MUTATIONS = {
    "listed targets": ("Mux(sparse[-1], targets.data,", "Mux(0, targets.data,"),
    "listed targets of others": ("Mux(sparse[-1], targets.data,", "Mux(1, targets.data,"),
    "time of listed targets": ("Mux(sparse[-1], targets.data,", "Mux(sparse[0], targets.data,"),
    "busy with targets": ("for stage in stages)", "for stage in stages[:1])"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(monkeypatch, mutation):
    assert_found(monkeypatch, mutation, words, *MUTATIONS[mutation])
