"""The accumulators: each planted bug in what is touched, cleared or forwarded makes the engine differ."""

import pytest
from harness.engine_bugs import assert_found

from spikeloom.hdl.core import accumulate, engine

MUTATIONS = {
    "forwarding of the last sum": ("control.last.eq(hits[2][0])", "control.last.eq(0)"),
    "forwarding of the third sum": ("stages[1:4])", "stages[1:3])"),
    "forwarding of another bank's sum": ("(earlier.bank == later.bank) &", ""),
    "touched: never": ("ok.eq(", "ok.eq(0 & "),
    "touched: always": ("ok.eq(", "ok.eq(1 | "),
    "touched: of the other bank": ("bit_select(stages[2].bank, 1)", "bit_select(~stages[2].bank, 1)"),
    "touched by the word before, LUT RAM": (" | hits[1][0]),", "),"),
    "touched: where nothing was added": ("stages[0].valid &", ""),
    "touched: in both banks": ("& (stages[0].bank == number)", ""),
    "touched: the wrong word": (
        "self.clear_address, memory.address",
        "self.clear_address, stages[1].target",
    ),
    "clearing of accumulators": ("~(self.clear | sweeping)", "~self.clear"),
    "bank of the sweep": ("swept_bank.eq(self.bank)", "swept_bank.eq(~self.bank)"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(monkeypatch, mutation):
    assert_found(monkeypatch, mutation, engine, accumulate, *MUTATIONS[mutation])
