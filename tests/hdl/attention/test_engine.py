"""The attention engine in its unit: each planted bug makes a sample differ from the reference."""

import pytest
from harness.attention_bugs import assert_found

from spikeloom.hdl.attention import engine, unit

PLANTED = {
    "groups begin with other words": ("m.d.comb += register.seed.eq(begin)", "pass"),
    "words of A go on from sample to sample": (
        "outputs.final.eq(later_final)",
        "outputs.final.eq(0)",
    ),
    "the mask is one key late": ("scores.index > scores.group", "scores.index >= scores.group"),
    "no mask": ("(visible | ~causal[row])", "1"),
    "S of the pass before": ("m.d.sync += held.eq(next_made)", "m.d.sync += held.eq(made)"),
    "queries of the next pass": ("query.eq(waiting[row])", "query.eq(entering)"),
    "A without room": ("room.eq(passes != RESULT_PASSES)", "room.eq(1)"),
    "a pass too early": ("(cycles_left <= 1)", "1"),
    "another group's words": ("_delayed(m, phase.group, cycles)", "0"),
    "the end of a sample is a step late": ("Mux(self.go, self.final, final)", "final"),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(monkeypatch, bug):
    assert_found(monkeypatch, bug, unit, engine, *PLANTED[bug])
