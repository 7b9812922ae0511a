"""Rows with coordinates: each planted bug makes the words differ from the model, or arrive late."""

import pytest
from harness.row_bugs import assert_found

from spikeloom.hdl.core import geometry

MUTATIONS = {
    "vertical for horizontal": (
        "(columns, given.x), (lines, given.y)",
        "(columns, given.y), (lines, given.x)",
    ),
    "geometry": ("Cat(coordinate, given.row.geometry)", "coordinate"),
    "vertical weight": ("column.weight + line.weight", "column.weight"),
    "horizontal target": ("column.target + line.target", "line.target"),
    "positions that meet nothing": ("found.valid & ~column.skip & ~line.skip", "found.valid & ~column.skip"),
    "empty rows": ("dropped |= given.row.empty", "dropped |= 0"),
    "rows of a finished sample": ("given.row.delay & given.last", "0 & given.last"),
    "delay": ("start.other ^ start.delay", "start.other"),
    "next line": ("Mux(ends[1], held.line_target, held.next_target)", "held.next_target"),
    "weights of a line": ("GATE, line_ends, held.line_weight", "GATE, row_ends, held.line_weight"),
    "count of lines": ('"length", "columns", "lines")', '"length", "columns", "columns")'),
    "a row before the end of another": ("(~word.valid | row_ends)", "(~word.valid | line_ends)"),
    "busy": ("(reading, found, start, word)", "(reading, start, word)"),
    "what waits": ("space[1].eq(~found.valid | space[2])", "space[1].eq(1)"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(monkeypatch, mutation):
    assert_found(monkeypatch, mutation, geometry, *MUTATIONS[mutation])
