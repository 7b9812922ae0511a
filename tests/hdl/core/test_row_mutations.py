"""Planted bugs in the way from events to words: each must make the words differ from the model's, or come late."""

import pytest
from harness.mutations import mutated
from harness.networks import random_spatial_network, rng_of
from harness.rows import expected_words, loaded, read_rows

from spikeloom.compiler.layout import layouts
from spikeloom.compiler.synapses import rows_of
from spikeloom.hdl.core import geometry, words
from spikeloom.hdl.core import row_reader as rows
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

MUTATIONS = {
    "coordinates of a row that continues": (
        rows,
        "Cat(fetched.axon[:coordinates], fetched",
        "Cat(fetched.axon[:2], fetched",
    ),
    "address of a row": (rows, "first.axon[coordinates:]", "first.axon"),
    "vertical for horizontal": (
        geometry,
        "(columns, given.x), (lines, given.y)",
        "(columns, given.y), (lines, given.x)",
    ),
    "geometry": (geometry, "Cat(coordinate, given.row.geometry)", "coordinate"),
    "vertical weight": (geometry, "column.weight + line.weight", "column.weight"),
    "horizontal target": (geometry, "column.target + line.target", "line.target"),
    "positions that meet nothing": (geometry, "found.valid & ~column.skip & ~line.skip", "found.valid & ~column.skip"),
    "empty rows": (geometry, "dropped |= given.row.empty", "dropped |= 0"),
    "rows of a finished sample": (geometry, "given.row.delay & given.last", "0 & given.last"),
    "delay": (geometry, "start.other ^ start.delay", "start.other"),
    "next line": (geometry, "Mux(ends[1], held.line_target, held.next_target)", "held.next_target"),
    "weights of a line": (geometry, "line_ends, held.line_weight", "row_ends, held.line_weight"),
    "count of lines": (geometry, '"length", "columns", "lines")', '"length", "columns", "columns")'),
    "a row before the end of another": (geometry, "(~word.valid | row_ends)", "(~word.valid | line_ends)"),
    "busy": (geometry, "(reading, found, start, word)", "(reading, start, word)"),
    "what waits": (geometry, "space[1].eq(~found.valid | space[2])", "space[1].eq(1)"),
    "listed targets": (words, "Mux(sparse[-1], targets.data,", "Mux(0, targets.data,"),
    "listed targets of others": (words, "Mux(sparse[-1], targets.data,", "Mux(1, targets.data,"),
    "time of listed targets": (words, "Mux(sparse[-1], targets.data,", "Mux(sparse[0], targets.data,"),
    "busy with targets": (words, "for stage in stages)", "for stage in stages[:1])"),
}


def differs(case, reader):
    """Whether the words of a random network differ from the model's."""
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


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(monkeypatch, mutation):
    module, old, new = MUTATIONS[mutation]
    copy = mutated(module, old, new)
    reader = rows.RowReader
    if module is rows:
        reader = copy.RowReader
    else:
        name = {geometry: "GeometrySequencer", words: "TargetReader"}[module]
        monkeypatch.setattr(rows, name, getattr(copy, name))
    for case in range(6):
        if differs(case, reader(CORE)):
            return
    pytest.fail(f"the planted bug in {mutation!r} must be found")


def test_without_a_planted_bug_the_same_events_agree():
    for case in range(3):
        assert not differs(case, rows.RowReader(CORE))
