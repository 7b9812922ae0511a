"""Words of events, by the model of the row reader, against the connections as matrices; and memory use."""

import dataclasses
import re

import numpy as np
import pytest
from harness.networks import random_spatial_network, rng_of

from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.layout import layouts
from spikeloom.compiler.place import place
from spikeloom.compiler.synapses import rows_of, words_stored
from spikeloom.sim.core.neuron import NeuronParameters
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.core.row_reader import RowTables
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.lib.words import unpack_lanes
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.projection import Convolution, Pooling
from spikeloom.sim.network.sparse import SparseMatrix
from spikeloom.sim.sdram.chips import BOARDS
from spikeloom.sim.sdram.parameters import SdramParameters

CORE = CoreParameters(
    lanes=4,
    neurons=1024,
    axons=256,
    weight_words=8192,
    populations=8,
    v_width=16,
    accumulator_width=20,
    coordinate_width=3,
    geometries=32,
)


def weights_of(core, image):
    """The weights ``(words, lanes)`` in a weight memory."""
    bits = unpack_lanes(image, core.lanes, core.weight_width).astype(np.int64)
    if core.weight_width == 1:
        return (2 * bits[:, 0] - 1).reshape(-1, core.lanes)
    place = 1 << np.arange(core.weight_width)
    place[-1] = -place[-1]
    return (bits @ place).reshape(-1, core.lanes)


def exactly(message):
    return f"^{re.escape(message)}$"


def check_words(network, core):
    """Assert that every event of every source adds its column of every connection, at its delay, and nothing else."""
    layout_of = layouts(network, core.lanes)
    rows = rows_of(network, core, layout_of)
    program = place(network, FabricConfig(core=core))
    tables, weights = RowTables(core, rows.images), weights_of(core, rows.images["weights"])
    words = 0
    for source, axons in rows.axons.items():
        assert np.all(np.diff(axons) > 0)
        expected = np.zeros((2, len(axons), core.words * core.lanes), np.int64)
        for connection in network.connections:
            if connection.source == source:
                expected[connection.delay][:, layout_of[connection.target].slots] += connection.as_dense().T
        for neuron, axon in enumerate(axons):
            sums = np.zeros((2, core.words, core.lanes), np.int64)
            before = words
            for word in tables.words(int(axon)):
                sums[word.delay, word.target] += weights[word.weight_address]
                words += 1
            assert rows.reaches[source][neuron] == (words > before)
            real = np.zeros(core.words * core.lanes, bool)
            for layout in layout_of.values():
                real[layout.slots] = True
            assert np.array_equal(sums.reshape(2, -1)[:, real], expected[:, neuron][:, real]), (source, neuron)
    assert [use.used for use in program.uses if use.resource == "rows"] == [rows.rows]
    return rows, words


@pytest.mark.parametrize("case", range(4))
@pytest.mark.parametrize("lanes", [1, 2, 4, 16])
@pytest.mark.parametrize("sparse", [False, True])
def test_random_networks(request, lanes, sparse, case):
    rng = rng_of(request.node.name)
    core = dataclasses.replace(CORE, lanes=lanes, sparse=sparse, axons=512)
    rows, words = check_words(random_spatial_network(rng, core), core)
    assert words > 600 // lanes
    flags = core.row_layout.values(unpack_lanes(rows.images["rows"], 1, core.row_layout.width))
    assert flags["sparse"].any() == sparse


@pytest.mark.parametrize("weight_width", [1, 2, 4, 16])
def test_weight_widths(request, weight_width):
    rng = rng_of(request.node.name)
    core = dataclasses.replace(CORE, lanes=2, weight_width=weight_width, accumulator_width=weight_width + 12)
    rows, _ = check_words(random_spatial_network(rng, core), core)
    assert rows.images["weights"].shape == (rows.weight_words, -(-2 * weight_width // 8))
    assert core.memories["weights"].width == 2 * weight_width


def neurons(name, size):
    return QuantisedPopulation(name=name, parameters=NeuronParameters(size=size, threshold=50))


def network_of(inputs, *connections):
    """A network with the populations that the connections name, in order of appearance."""
    names = list(dict.fromkeys(c.target for c in connections))
    size = {c.target: c.target_size for c in connections}
    return QuantisedNetwork(
        name="net",
        inputs=inputs,
        populations=tuple(neurons(name, size[name]) for name in names),
        connections=connections,
        output=names[-1],
    )


def test_a_convolution_takes_the_space_of_its_kernel():
    """5 x 5 kernels, 1 to 16 channels, on 28 x 28: 400 weights, not the 9.8 million of the matrix."""
    core = dataclasses.replace(CORE, lanes=16, neurons=1 << 14, coordinate_width=5)
    convolution = Convolution(input_shape=(1, 28, 28), output_channels=16, kernel=(5, 5), padding=(2, 2))
    pooling = Pooling(input_shape=(16, 28, 28), window=(2, 2))
    deeper = Convolution(input_shape=(16, 14, 14), output_channels=32, kernel=(3, 3), stride=(2, 2), padding=(1, 1))
    network = network_of(
        784,
        QuantisedConnection(
            source=INPUT, target="a", weight=np.ones(convolution.weight_shape, int), convolution=convolution
        ),
        QuantisedConnection(
            source="a", target="b", weight=np.ones(deeper.weight_shape, int), convolution=deeper, pooling=pooling
        ),
        QuantisedConnection(source="b", target="c", weight=np.ones((10, 32 * 49), int)),
    )
    rows = rows_of(network, core, layouts(network, core.lanes))
    assert rows.weight_words == 25 + 16 * 9 * 2 + 32 * 49
    assert rows.rows == 1 + 16 + 2  # one row per channel; b is folded into two blocks of 32 x 32
    assert rows.geometries == 3
    assert network.synapses == 400 + 16 * 9 * 32 + 10 * 32 * 49
    assert network.connections[0].fan_out.max() == 400


def test_a_layout_by_hand():
    """Two channels on 2 x 2 with one lane: channels are adjacent, and the taps of the kernel are stored by phase."""
    core = dataclasses.replace(CORE, lanes=1)
    convolution = Convolution(input_shape=(1, 2, 5), output_channels=2, kernel=(1, 3), stride=(1, 2), padding=(0, 0))
    weight = np.array([[1, 2, 3], [11, 12, 13]]).reshape(2, 1, 1, 3)
    network = network_of(10, QuantisedConnection(source=INPUT, target="a", weight=weight, convolution=convolution))
    layout = layouts(network, 1)["a"]
    assert layout.offsets.tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    rows = rows_of(network, core, {"a": layout})
    assert rows.images["weights"].ravel().tolist() == [1, 11, 3, 13, 2, 12]  # taps 0 and 2, then tap 1
    assert rows.axons[INPUT].tolist() == [0, 1, 2, 3, 4, 8, 9, 10, 11, 12]
    tables = RowTables(core, rows.images)
    words = [[(word.weight_address, word.target) for word in tables.words(axon)] for axon in range(5)]
    assert words == [
        [(0, 0), (1, 1)],
        [(4, 0), (5, 1)],
        [(0, 2), (1, 3), (2, 0), (3, 1)],
        [(4, 2), (5, 3)],
        [(2, 2), (3, 3)],
    ]
    assert [word.target for word in tables.words(8 + 2)] == [6, 7, 4, 5]


def test_pooled_positions_share_their_words():
    core = dataclasses.replace(CORE, lanes=1)
    pooling = Pooling(input_shape=(1, 3, 5), window=(3, 2))
    network = network_of(15, QuantisedConnection(source=INPUT, target="a", weight=np.array([[7, 8]]), pooling=pooling))
    rows = rows_of(network, core, layouts(network, 1))
    assert rows.weight_words == 2
    tables = RowTables(core, rows.images)
    found = [[word.weight_address for word in tables.words(int(axon))] for axon in rows.axons[INPUT]]
    assert found == [[0], [0], [1], [1], []] * 3


WIDE = dataclasses.replace(
    CORE, coordinate_width=0, sparse=True, lanes=2, words_per_cycle=4, accumulator_memory="distributed"
)


def cycles_of(rows, core):
    """The cycles in which all rows of the input are added once."""
    tables = RowTables(core, rows.images)
    return sum(len(list(tables.groups(int(axon)))) for axon in rows.axons[INPUT])


def test_a_core_of_several_words_per_cycle_stores_matrices_whole_if_that_is_faster():
    """A matrix with few zero words, and one with few others: 8 words are two cycles, sparse ones a cycle each."""
    rng = rng_of("test_a_core_of_several_words_per_cycle_stores_matrices_whole_if_that_is_faster")
    full = rng.integers(1, 9, (16, 20))
    full[4:6, ::3] = 0
    thin = np.zeros((16, 20), int)
    thin[3, ::2] = 1
    for weight, stored, cycles in ((full, 20 * 8, 20 * 2), (thin, 10, 10)):
        network = network_of(20, QuantisedConnection(source=INPUT, target="a", weight=weight))
        rows, _ = check_words(network, WIDE)
        assert (rows.weight_words, cycles_of(rows, WIDE)) == (stored, cycles)
        fewest = rows_of(network, dataclasses.replace(WIDE, words_per_cycle=1), layouts(network, 2))
        assert fewest.weight_words == np.count_nonzero(weight.reshape(8, 2, 20).any(axis=1))


def test_several_words_per_cycle_cost_no_capacity(request):
    """Random networks in the smallest core of one word per cycle that holds them fit with more words per cycle."""
    rng = rng_of(request.node.name)
    whole = compact = 0
    for _ in range(20):
        size, inputs, count = (int(rng.integers(20, 60)) for _ in range(3))
        weights = [rng.integers(-9, 9, shape) for shape in ((size, inputs), (count, size), (size, count))]
        weights = [w * (rng.random(w.shape) < rng.choice([0.1, 0.3, 1.0])) for w in weights]
        places = [(INPUT, "a", 0), ("a", "b", 0), ("b", "a", 1)]
        network = QuantisedNetwork(
            name="random",
            inputs=inputs,
            populations=tuple(
                QuantisedPopulation(name=name, parameters=NeuronParameters(size=n, threshold=100))
                for name, n in (("a", size), ("b", count))
            ),
            connections=tuple(
                QuantisedConnection(source=source, target=target, weight=weight, delay=delay)
                for (source, target, delay), weight in zip(places, weights, strict=True)
            ),
            output="b",
        )
        roomy = dataclasses.replace(WIDE, words_per_cycle=1)
        used = rows_of(network, roomy, layouts(network, 2)).weight_words
        room = int(rng.choice([0, 200, 4000]))
        core = dataclasses.replace(WIDE, weight_words=-(-used // 4) * 4 + room)
        rows, _ = check_words(network, core)  # it fits
        more = rows.weight_words - used
        assert 0 <= more <= room + 3
        assert cycles_of(rows, core) <= cycles_of(rows, dataclasses.replace(core, words_per_cycle=1))
        whole += more > 0
        compact += more == 0
    assert min(whole, compact) > 2


def test_a_sparse_matrix_takes_its_weights_and_no_more():
    rng = rng_of("test_a_sparse_matrix_takes_its_weights_and_no_more")
    weight = rng.integers(1, 9, (20, 30)) * (rng.random((20, 30)) < 0.1)
    network = network_of(30, QuantisedConnection(source=INPUT, target="a", weight=weight))
    for lanes in (1, 4):
        core = dataclasses.replace(CORE, lanes=lanes, coordinate_width=0, sparse=True)
        rows, words = check_words(network, core)
        count = np.count_nonzero(weight) if lanes == 1 else np.count_nonzero(weight.reshape(5, 4, 30).any(axis=1))
        assert rows.weight_words == words == count < weight.size // lanes
        dense = dataclasses.replace(core, sparse=False)
        assert rows_of(network, dense, layouts(network, lanes)).weight_words == weight.size // lanes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"coordinate_width": 2},
            "the input: its convolutions and poolings need coordinates of 3 bits, the fabric has 2",
        ),
        (
            {"coordinate_width": 0},
            "the input: its convolutions and poolings need coordinates of 3 bits, the fabric has 0",
        ),
        ({"geometries": 1}, "network net does not fit the fabric custom: it needs 2 geometries (1 available)"),
        ({"axons": 2}, "network net does not fit the fabric custom: it needs 3 rows (2 available)"),
        ({"weight_width": 1}, "weights must be of 1 bit, -1 or 1, on this fabric, but network net has 8 bits"),
    ],
)
def test_what_a_core_cannot_hold_is_refused(change, message):
    convolution = Convolution(input_shape=(2, 6, 6), output_channels=2, kernel=(3, 3), groups=2)
    network = network_of(
        72,
        QuantisedConnection(
            source=INPUT, target="a", weight=np.ones(convolution.weight_shape, int), convolution=convolution
        ),
        QuantisedConnection(source="a", target="b", weight=np.ones((3, 32), int)),
    )
    place(network, FabricConfig(core=CORE))
    with pytest.raises(PlaceError, match=exactly(message)):
        place(network, FabricConfig(core=dataclasses.replace(CORE, **change)))


def test_convolutions_that_disagree_are_refused():
    ones = {"kernel": (1, 1), "output_channels": 1}
    wide, high = (Convolution(input_shape=shape, **ones) for shape in ((1, 2, 8), (1, 4, 4)))
    kernel = np.ones((1, 1, 1, 1), int)
    first = QuantisedConnection(source=INPUT, target="a", weight=kernel, convolution=wide)
    second = QuantisedConnection(source=INPUT, target="a", weight=kernel, convolution=high)
    with pytest.raises(
        PlaceError,
        match=exactly(
            "population a: its input convolutions must have the same output shape, not (1, 2, 8) and (1, 4, 4)"
        ),
    ):
        place(network_of(16, first, second), FabricConfig(core=CORE))
    with pytest.raises(
        PlaceError,
        match=exactly(
            "the input: its target convolutions and poolings must have the same input shape, "
            "not (1, 2, 8) and (1, 4, 4)"
        ),
    ):
        place(network_of(16, first, dataclasses.replace(second, target="b")), FabricConfig(core=CORE))


def test_binary_groups_must_fill_words():
    convolution = Convolution(input_shape=(2, 4, 4), output_channels=4, kernel=(1, 1), groups=2)
    connection = QuantisedConnection(
        source=INPUT, target="a", weight=np.ones(convolution.weight_shape, int), convolution=convolution
    )
    network = dataclasses.replace(network_of(32, connection), weight_width=1)
    core = dataclasses.replace(CORE, weight_width=1, lanes=2)
    check_words(network, core)
    with pytest.raises(
        PlaceError,
        match=exactly(
            "population a: the 2 output channels of a group must fill whole words of 4 lanes at 1 bit, because there "
            "is no weight of 0"
        ),
    ):
        place(network, FabricConfig(core=dataclasses.replace(core, lanes=4)))


def test_a_kernel_larger_than_the_coordinates_is_refused():
    core = dataclasses.replace(CORE, coordinate_width=1)
    convolution = Convolution(input_shape=(1, 1, 2), output_channels=1, kernel=(1, 4), padding=(0, 3))
    connection = QuantisedConnection(
        source=INPUT, target="a", weight=np.ones((1, 1, 1, 4), int), convolution=convolution
    )
    with pytest.raises(
        PlaceError, match=exactly("a position must meet at most 2 taps of a kernel in each direction, not 4")
    ):
        place(network_of(2, connection), FabricConfig(core=core))


def test_axons_of_the_input_that_no_message_can_hold_are_refused():
    core = dataclasses.replace(CORE, coordinate_width=7, neurons=16)
    convolution = Convolution(input_shape=(5, 2, 2), output_channels=1, kernel=(2, 2))
    connection = QuantisedConnection(
        source=INPUT, target="a", weight=np.ones((1, 5, 2, 2), int), convolution=convolution
    )
    with pytest.raises(
        PlaceError,
        match=exactly(
            "network net: the axons of the input must be at most 65535, not 65665; its coordinates take too many bits"
        ),
    ):
        place(network_of(20, connection), FabricConfig(core=core))


def thinned(network):
    """The same network with its matrices as sparse ones."""
    connections = tuple(
        dataclasses.replace(c, weight=SparseMatrix.from_dense(c.weight)) if c.convolution is None else c
        for c in network.connections
    )
    return dataclasses.replace(network, connections=connections)


@pytest.mark.parametrize("sparse", [False, True], ids=["plain", "sparse"])
@pytest.mark.parametrize("lanes", [1, 4])
def test_sparse_matrices_take_the_same_words(request, lanes, sparse):
    rng = rng_of(request.node.name)
    core = dataclasses.replace(CORE, lanes=lanes, sparse=sparse, weight_words=32768 // lanes)
    thin_rows = 0
    for _ in range(5):
        network = random_spatial_network(rng, core)
        thin = thinned(network)
        layout_of = layouts(network, lanes)
        found, expected = rows_of(thin, core, layout_of), rows_of(network, core, layout_of)
        assert found.images.keys() == expected.images.keys()
        for name, image in expected.images.items():
            assert np.array_equal(found.images[name], image), name
        for connection, other in zip(network.connections, thin.connections, strict=True):
            layout = layout_of[connection.target]
            assert words_stored(other, layout, sparse=sparse) == words_stored(connection, layout, sparse=sparse)
            thin_rows += connection.convolution is None and (connection.weight == 0).mean() > 0.5
        if sparse:  # (in plain rows, a neuron without weights has words of zeros, which need not be added)
            check_words(thin, core)
    assert thin_rows


def test_words_beyond_the_memory_are_counted_and_not_made():
    """A matrix of 2**28 entries on a core that cannot skip words is refused by its count, immediately and in little
    memory."""
    size = 1 << 14
    network = network_of(
        size, QuantisedConnection(source=INPUT, target="a", weight=SparseMatrix.identity(size).map(np.int64))
    )
    with pytest.raises(PlaceError, match=r"it needs 67,108,864 weight words of 4 weights \(8,192 available\)$"):
        place(network, FabricConfig(core=dataclasses.replace(CORE, coordinate_width=0, neurons=size, axons=size)))


SDRAM = SdramParameters(chip=BOARDS["ulx3s"], clock_hz=120_000_000)
MIXED = dataclasses.replace(CORE, axons=1024, weight_words=80, streamed_words=8192, coordinate_width=0)


def dense_network(rng, *sizes):
    """A chain of dense layers without a weight of 0."""
    names = [INPUT, *(f"layer{number}" for number in range(1, len(sizes)))]
    return QuantisedNetwork(
        name="dense",
        inputs=sizes[0],
        populations=tuple(
            QuantisedPopulation(name=name, parameters=NeuronParameters(size=size))
            for name, size in zip(names[1:], sizes[1:], strict=True)
        ),
        connections=tuple(
            QuantisedConnection(source=source, target=target, weight=rng.integers(1, 90, (after, before)))
            for source, target, before, after in zip(names, names[1:], sizes, sizes[1:], strict=False)
        ),
        output=names[-1],
        weight_width=8,
    )


def rows_in_block_ram(network, core, rates=None):
    """Whether each row of each source lies in block RAM, by the words that its event adds."""
    rows = rows_of(network, core, layouts(network, core.lanes), rates=rates)
    tables = RowTables(core, rows.images)
    weights = [weights_of(core, rows.images[name]) for name in ("weights", "streamed_weights")]
    found = {}
    for connection in network.connections:
        layout = layouts(network, core.lanes)[connection.target]
        found[connection.source] = np.zeros(network.size(connection.source), np.bool_)
        for neuron, axon in enumerate(rows.axons[connection.source]):
            words = list(tables.words(int(axon)))
            (kind,) = {word.streamed for word in words}
            added = np.zeros((core.words, core.lanes), np.int64)
            for word in words:
                added[word.target] += weights[kind][word.weight_address]
            expected = np.zeros(core.words * core.lanes, np.int64)
            expected[layout.slots] = connection.as_dense()[:, neuron]
            assert np.array_equal(added.reshape(-1), expected)
            found[connection.source][neuron] = not kind
    assert rows.weight_words == sum(of[0] for of in rows.lies_in.values()) <= core.weight_words
    assert rows.streamed_words == sum(of[1] for of in rows.lies_in.values())
    return found, rows


def test_short_rows_lie_in_block_ram_and_others_are_streamed(request):
    """30 rows of 10 words, then 40 rows of 2 words: 80 words hold the latter exactly."""
    network = dense_network(rng_of(request.node.name), 30, 40, 8)
    found, rows = rows_in_block_ram(network, MIXED)
    assert not found[INPUT].any()
    assert found["layer1"].all()
    assert rows.lies_in == {"layer1": (0, 300), "layer2": (80, 0)}
    program = place(network, FabricConfig(core=MIXED, sdram=SDRAM))
    uses = {use.resource: (use.used, use.available) for use in program.uses}
    assert uses["streamed weight words"] == (300, 8192)
    with pytest.raises(PlaceError, match=r"it needs 300 streamed weight words \(256 available\)$"):
        place(network, FabricConfig(core=dataclasses.replace(MIXED, streamed_words=256), sdram=SDRAM))


def test_frequent_rows_lie_in_block_ram(request):
    """Those of the eight most frequent input lines: 80 words."""
    rng = rng_of(request.node.name)
    network = dense_network(rng, 30, 40, 8)
    rates = {INPUT: rng.permutation(30) / 30, "layer1": np.full(40, 0.001), "layer2": np.zeros(8)}
    found, rows = rows_in_block_ram(network, MIXED, rates)
    assert np.array_equal(found[INPUT], rates[INPUT] >= 22 / 30)
    assert rows.lies_in["layer1"] == (80, 220)
    program = place(network, FabricConfig(core=MIXED, sdram=SDRAM), rates=rates)
    (image,) = (image for image in program.memories if image.name == "streamed_weights")
    assert len(image.words) == rows.streamed_words == 300
    assert np.array_equal(image.words, rows.images["streamed_weights"])


def test_kernels_and_sparse_rows_lie_in_block_ram(request):
    """Matrices of sources with coordinates, too: only the plain rows of ``flat`` can be streamed."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(CORE, weight_words=1, streamed_words=8192, axons=1024, sparse=True)
    network = random_spatial_network(rng, core, extent=5)
    weight = rng.integers(1, 90, (network.size("out"), network.size("flat")))
    network = dataclasses.replace(
        network,
        connections=tuple(
            dataclasses.replace(c, weight=weight) if c.target == "out" else c for c in network.connections
        ),
    )
    layout = layouts(network, core.lanes)
    assert {name for name, of in rows_of(network, core, layout).lies_in.items() if of[1]} == {"out"}
