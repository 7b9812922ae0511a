"""Rows by hand, and those of whole networks: the words of an event add up to the weights of its neuron."""

from dataclasses import replace

import numpy as np
import pytest
from harness.networks import random_network, random_spatial_network, rng_of

from spikeloom.compiler.layout import layouts
from spikeloom.compiler.synapses import rows_of
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.core.row_reader import RowTables, Word
from spikeloom.sim.lib.words import Field, WordLayout, bits_for, pack_lanes, unpack_lanes

PLAIN = CoreParameters(lanes=2, neurons=64, axons=32, weight_words=64, coordinate_width=0)
SPARSE = replace(PLAIN, sparse=True)
PLACED = replace(PLAIN, coordinate_width=2, geometries=4)


def tables(core, **words):
    """Tables with these words, each a dictionary of its fields; absent fields are 0."""
    layout_of = {
        "rows": core.row_layout,
        "columns": core.column_layout,
        "lines": core.line_layout,
        "targets": WordLayout((Field("target", bits_for(core.words)),)),
    }
    images = {}
    for name, given in words.items():
        columns = {field.name: [word.get(field.name, 0) for word in given] for field in layout_of[name].fields}
        images[name] = pack_lanes(layout_of[name].bits(columns, len(given)), 1)
    return RowTables(core, images)


def read(found, axon):
    return [(word.weight_address, word.target, word.delay) for word in found.words(axon)]


def test_a_row_is_words_in_sequence_and_may_be_continued():
    found = tables(
        PLAIN,
        rows=[
            {"weight_address": 9, "target": 1},
            {"weight_address": 10, "target": 4, "length": 2, "more": 1},
            {"weight_address": 30, "target": 0, "length": 1, "delay": 1},
            {"weight_address": 40},
        ],
    )
    assert read(found, 0) == [(9, 1, 0)]
    assert read(found, 1) == [(10, 4, 0), (11, 5, 0), (12, 6, 0), (30, 0, 1), (31, 1, 1)]
    assert read(found, 2) == [(30, 0, 1), (31, 1, 1)]
    assert list(found.words(3)) == [Word(40, 0, 0)]


def test_addresses_and_targets_wrap_around():
    found = tables(PLAIN, rows=[{"weight_address": 63, "target": 31, "length": 1}])
    assert read(found, 0) == [(63, 31, 0), (0, 0, 0)]


def test_words_of_a_streamed_row_are_plain_in_any_core():
    """Its coordinates do not count, and its addresses are those of the larger memory."""
    core = replace(PLAIN, coordinate_width=2, sparse=True, streamed_words=256)
    found = tables(
        core,
        rows=[
            {"weight_address": 254, "target": 30, "length": 2, "streamed": 1, "geometry": 3, "delay": 1, "more": 1},
            {"empty": 1, "sparse": 1},
        ],
    )
    assert list(found.words(0b0111)) == [Word(254, 30, 1, 1), Word(255, 31, 1, 1), Word(0, 0, 1, 1)]


def test_words_of_a_sparse_row_name_their_targets():
    found = tables(
        SPARSE,
        rows=[
            {"weight_address": 1, "length": 2, "sparse": 1, "target": 30},
            {"empty": 1, "more": 1, "weight_address": 5},
            {"weight_address": 2, "target": 9, "delay": 1},
            {"empty": 1},
        ],
        targets=[{"target": target} for target in (7, 3, 11, 5)],
    )
    assert read(found, 0) == [(1, 3, 0), (2, 11, 0), (3, 5, 0)]
    assert read(found, 1) == [(2, 9, 1)], "an empty row is passed over"
    assert read(found, 3) == []


def test_a_position_has_the_taps_of_its_column_and_line():
    """Two columns and two lines of taps of two words each, written out by hand."""
    column = {"weight": 4, "target": 1, "taps": 1, "next_target": 10, "line_weight": 5, "line_target": 20}
    line = {"weight": 30, "target": 2, "taps": 1}
    found = tables(
        PLACED,
        rows=[{}, {"weight_address": 2, "target": 3, "length": 1, "geometry": 1}],
        columns=[{}] * 6 + [column, {"skip": 1}],
        lines=[{}] * 4 + [{"skip": 1}, line],
    )
    axon = 1 << 4 | 1 << 2 | 2  # row 1, y 1, x 2: entries 6 and 5, those of geometry 1
    first = [(36, 6), (37, 7), (38, 17), (39, 18)]  # 2 + 4 + 30 and 3 + 1 + 2; the tap of the next column is 10 further
    second = [(44, 38 % 32), (45, 39 % 32), (46, 49 % 32), (47, 50 % 32)]  # 5 words and 20 targets after the last ones
    assert [word[:2] for word in read(found, axon)] == first + second
    assert read(found, 1 << 4 | 1 << 2 | 3) == read(found, 1 << 4 | 0 << 2 | 2) == [], "nothing at column 3 and line 0"


@pytest.mark.parametrize("kind", ["plain", "sparse", "placed", "placed and sparse"])
def test_the_words_of_an_event_add_up_to_the_weights_of_its_neuron(request, kind):
    rng = rng_of(request.node.name)
    placed = "placed" in kind
    core = replace(
        PLAIN,
        lanes=4,
        neurons=1024,
        axons=1024,
        weight_words=8192,
        accumulator_width=20,
        coordinate_width=3 if placed else 0,
        geometries=32,
        sparse="sparse" in kind,
    )
    network = random_spatial_network(rng, core) if placed else random_network(rng, core, sizes=(9, 7, 6))
    layout_of = layouts(network, core.lanes)
    rows = rows_of(network, core, layout_of)
    found = RowTables(core, {name: image for name, image in rows.images.items() if name != "weights"})
    bits = unpack_lanes(rows.images["weights"], core.lanes, core.weight_width).astype(np.int64)
    places = np.array([1, 2, 4, 8, 16, 32, 64, -128])
    weights = (bits @ places).reshape(-1, core.lanes)
    added = 0
    for name, axons in rows.axons.items():
        for neuron in rng.permutation(len(axons))[:20]:
            sums = np.zeros((2, core.words, core.lanes), np.int64)
            for word in found.words(int(axons[neuron])):
                sums[word.delay, word.target] += weights[word.weight_address]
                added += 1
            one = np.zeros(network.size(name), np.int64)
            one[neuron] = 1
            wanted = np.zeros((2, core.words * core.lanes), np.int64)
            for connection in network.connections_from(name):
                wanted[connection.delay, layout_of[connection.target].slots] += connection.sum(one)
            assert np.array_equal(sums.reshape(2, -1), wanted), (name, neuron)
    assert added > 50
