"""The row reader against its model, word for word, and its words per cycle."""

import dataclasses

import numpy as np
import pytest
from harness import row_bugs
from harness.mutations import mutated
from harness.networks import random_spatial_network, rng_of
from harness.rows import expected_words, loaded, read_rows

from spikeloom.compiler.layout import layouts
from spikeloom.compiler.synapses import rows_of
from spikeloom.hdl.core import row_reader
from spikeloom.hdl.core.row_reader import RowReader
from spikeloom.sim.core.neuron import NeuronParameters
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.core.row_reader import RowTables
from spikeloom.sim.lib.words import unpack_lanes
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.projection import Convolution, Pooling

CORE = CoreParameters(
    lanes=2,
    neurons=512,
    axons=512,
    weight_words=4096,
    populations=8,
    accumulator_width=20,
    coordinate_width=3,
    geometries=32,
)


def one_connection(inputs, connection):
    size = connection.target_size
    neurons = NeuronParameters(size=size, threshold=100)
    return QuantisedNetwork(
        name="one",
        inputs=inputs,
        populations=(QuantisedPopulation(name="a", parameters=neurons),),
        connections=(connection,),
        output="a",
    )


@pytest.mark.parametrize("idle", [0.0, 0.6])
@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize("kind", ["plain", "coordinates", "sparse", "both"])
def test_random_networks_word_for_word(request, kind, case, idle):
    rng = rng_of(request.node.name)
    core = dataclasses.replace(CORE, lanes=int(rng.choice([1, 2, 4])), sparse=kind in ("sparse", "both"))
    network = random_spatial_network(rng, core)
    if kind in ("plain", "sparse"):  # the same matrices without coordinates
        core = dataclasses.replace(core, coordinate_width=0, axons=4096, weight_words=1 << 16)
        dense = [
            dataclasses.replace(c, weight=c.as_dense().clip(-128, 127), convolution=None, pooling=None)
            for c in network.connections
        ]
        network = dataclasses.replace(network, connections=tuple(dense))
    rows = rows_of(network, core, layouts(network, core.lanes))
    axons = np.concatenate([rng.permutation(axons)[:12] for axons in rows.axons.values()])
    events = [(axon, rng.integers(2)) for axon in rng.permutation(axons)]
    last = case == 2
    words, cycles = read_rows(RowReader(core), loaded(rows), events, rng, idle=idle, last=last)
    wanted = expected_words(core, rows.images, events, last=last)
    assert sorted(words) == sorted(wanted)
    assert rows.rows <= core.axons
    assert rows.weight_words <= core.weight_words
    assert len(words) > 50
    assert {bank ^ parity for _, _, bank, parity in words} == ({0} if last else {0, 1})
    if not idle and not last and not core.sparse:  # positions without taps may be visible between two short rows
        assert len(words) == cycles if kind == "plain" else len(words) >= 0.95 * cycles


@pytest.mark.parametrize("kind", ["plain", "coordinates", "sparse", "both"])
@pytest.mark.parametrize("count", [2, 8])
def test_groups_of_words(request, kind, count):
    """The same words, several at once where they follow each other in a dense row."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(CORE, lanes=1, sparse=kind in ("sparse", "both"))
    core = dataclasses.replace(core, words_per_cycle=count, accumulator_memory="distributed")
    network = random_spatial_network(rng, core)
    if kind in ("plain", "sparse"):
        core = dataclasses.replace(core, coordinate_width=0, axons=4096, weight_words=1 << 16)
        dense = [
            dataclasses.replace(c, weight=c.as_dense().clip(-128, 127), convolution=None, pooling=None)
            for c in network.connections
        ]
        network = dataclasses.replace(network, connections=tuple(dense))
    rows = rows_of(network, core, layouts(network, core.lanes))
    axons = np.concatenate([rng.permutation(axons)[:12] for axons in rows.axons.values()])
    events = [(axon, rng.integers(2)) for axon in rng.permutation(axons)]
    words, cycles = read_rows(RowReader(core), loaded(rows), events, rng)
    assert sorted(words) == sorted(expected_words(core, rows.images, events))
    tables = RowTables(core, rows.images)
    sizes = [group.others + 1 for axon, _ in events for group in tables.groups(int(axon))]
    assert len(words) == sum(sizes)
    assert len(set(sizes)) > 1
    assert max(sizes) > 2 or count == 2
    # Positions without taps may be visible between short rows.
    assert len(sizes) <= cycles < 1.2 * len(sizes)


@pytest.mark.parametrize("kind", ["plain", "coordinates", "streamed"])
def test_what_comes_with_an_event_goes_to_all_its_words(request, kind):
    """Graded events of a mesh, some of another step, some in the last step, in rows with delays and continuations."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(CORE, destinations=2, value_width=6, axons=2048, weight_words=1 << 14)
    network = random_spatial_network(rng, core, extent=4)
    if kind != "coordinates":
        core = dataclasses.replace(core, coordinate_width=0)
        dense = [
            dataclasses.replace(c, weight=c.as_dense().clip(-128, 127), convolution=None, pooling=None)
            for c in network.connections
        ]
        network = dataclasses.replace(network, connections=tuple(dense))
    rows = rows_of(network, core, layouts(network, core.lanes))
    axons = np.concatenate([rng.permutation(axons)[:20] for axons in rows.axons.values()])
    marks = [(*rng.integers(2, size=3).tolist(), int(rng.integers(-32, 32))) for _ in axons]
    events = [(int(axon), *of) for axon, of in zip(axons, marks, strict=True)]
    reader = RowReader(dataclasses.replace(core, weight_memory="sdram") if kind == "streamed" else core)
    words, _ = read_rows(reader, loaded(rows), events, rng, idle=0.3)
    wanted = expected_words(core, rows.images, events)
    if kind == "streamed":  # the weights come with their words, which have no address
        wanted = [(0, *place) for _, *place in wanted]
    assert sorted(words) == sorted(wanted)
    assert {(bank, parity) for _, _, bank, parity, _ in words} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    layout = core.row_layout
    assert layout.values(unpack_lanes(rows.images["rows"], 1, layout.width))["more"].any(), "some rows are continued"
    assert len({value for *_, value in words}) > 10


def test_rows_that_nothing_continues_keep_the_order(request):
    """One connection, so one row per event: the words come exactly as the model yields them."""
    rng = rng_of(request.node.name)
    convolution = Convolution(
        input_shape=(3, 8, 7), output_channels=4, kernel=(3, 2), stride=(2, 1), padding=(1, 1), dilation=(1, 2)
    )
    connection = QuantisedConnection(
        source=INPUT, target="a", weight=rng.integers(-9, 9, convolution.weight_shape), convolution=convolution
    )
    network = one_connection(168, connection)
    rows = rows_of(network, CORE, layouts(network, CORE.lanes))
    events = [(axon, 0) for axon in rng.permutation(rows.axons[INPUT])]
    words, cycles = read_rows(RowReader(CORE), loaded(rows), events, rng)
    assert words == expected_words(CORE, rows.images, events)
    assert cycles == len(words)


@pytest.mark.parametrize("kind", ["pooling", "depthwise", "pooled matrix", "sparse"])
def test_a_word_in_every_cycle_for_events_of_a_single_word(request, kind):
    rng = rng_of(request.node.name)
    core = dataclasses.replace(CORE, lanes=1, sparse=kind == "sparse")
    if kind == "sparse":
        core = dataclasses.replace(core, coordinate_width=0)
    pooling = Pooling(input_shape=(2, 8, 8), window=(2, 2))
    window = Convolution(input_shape=(2, 8, 8), output_channels=2, kernel=(2, 2), stride=(2, 2), groups=2)
    connection = {
        "pooling": QuantisedConnection(source=INPUT, target="a", weight=np.ones((2, 1, 2, 2), int), convolution=window),
        "depthwise": QuantisedConnection(
            source=INPUT,
            target="a",
            weight=np.ones((2, 1, 1, 1), int),
            convolution=Convolution(input_shape=(2, 8, 8), output_channels=2, kernel=(1, 1), groups=2),
        ),
        "pooled matrix": QuantisedConnection(source=INPUT, target="a", weight=np.ones((1, 32), int), pooling=pooling),
        "sparse": QuantisedConnection(source=INPUT, target="a", weight=np.eye(128, dtype=int)),
    }[kind]
    network = one_connection(128, connection)
    rows = rows_of(network, core, layouts(network, 1))
    events = [(axon, 1) for axon in rng.permutation(np.repeat(rows.axons[INPUT], 3))]
    words, cycles = read_rows(RowReader(core), loaded(rows), events, rng)
    assert words == expected_words(core, rows.images, events)
    assert len(words) == cycles == 384


LONG = CoreParameters(lanes=1, neurons=16, axons=16, weight_words=256, populations=1)


def check_long_rows(rng, module):
    """Rows of every length, up to all words of a core, one after the other, so that a counter reaches its maximum."""
    for size in range(1, LONG.words + 1):
        weight = rng.integers(-9, 9, (size, 4))
        network = one_connection(4, QuantisedConnection(source=INPUT, target="a", weight=weight))
        rows = rows_of(network, LONG, layouts(network, 1))
        events = [(axon, 0) for axon in rng.permutation(rows.axons[INPUT])]
        words, cycles = read_rows(module.RowReader(LONG), loaded(rows), events, rng)
        assert words == expected_words(LONG, rows.images, events)
        assert len(words) == cycles == 4 * size


def test_rows_as_long_as_the_core(request):
    check_long_rows(rng_of(request.node.name), row_reader)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("with m.Elif(remaining[-1]):", "with m.Elif(remaining[-2]):"),
        ("free = ~word.valid | remaining[-1]", "free = ~word.valid | remaining[-2]"),
        ("Signal(bits_for(p.words) + 1, init=-1)", "Signal(bits_for(p.words), init=-1)"),
    ],
)
def test_rows_that_end_too_early_are_found(request, old, new):
    with pytest.raises(AssertionError):
        check_long_rows(rng_of(request.node.name), mutated(row_reader, old, new))


def test_events_that_meet_nothing_cost_no_word(request):
    """Stride 3 and a kernel of 1: eight of nine positions have no taps; while words are being added, they cost no
    cycle."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(CORE, lanes=1)
    convolution = Convolution(input_shape=(1, 8, 8), output_channels=40, kernel=(1, 1), stride=(3, 3))
    connection = QuantisedConnection(
        source=INPUT, target="a", weight=np.ones(convolution.weight_shape, int), convolution=convolution
    )
    network = one_connection(64, connection)
    rows = rows_of(network, core, layouts(network, 1))
    words, cycles = read_rows(RowReader(core), loaded(rows), [(axon, 0) for axon in rows.axons[INPUT]], rng)
    assert len(words) == cycles == 9 * 40


def test_empty_sparse_rows_cost_no_word(request):
    rng = rng_of(request.node.name)
    weight = np.zeros((32, 60), int)
    weight[:, ::5] = 1
    for width, depth in ((0, 4096), (3, 4096), (3, 1 << 15)):  # deep memories take one more cycle
        core = dataclasses.replace(CORE, lanes=1, coordinate_width=width, weight_words=depth, sparse=True)
        network = one_connection(60, QuantisedConnection(source=INPUT, target="a", weight=weight))
        rows = rows_of(network, core, layouts(network, 1))
        events = [(axon, 0) for axon in rows.axons[INPUT]]
        words, cycles = read_rows(RowReader(core), loaded(rows), events, rng)
        assert words == expected_words(core, rows.images, events)
        assert len(words) == cycles == 12 * 32


MUTATIONS = {
    "coordinates of a row that continues": (
        "Cat(fetched.axon[:coordinates], fetched",
        "Cat(fetched.axon[:2], fetched",
    ),
    "address of a row": ("first.axon[coordinates:]", "first.axon"),
}
"""Bugs in the parts of the reader are in the tests of these parts."""


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(mutation):
    row_bugs.assert_shown(mutation, mutated(row_reader, *MUTATIONS[mutation]))


def test_without_a_planted_bug_the_same_events_agree():
    for case in range(3):
        assert not row_bugs.differs(case, RowReader(row_bugs.CORE))
