"""Sparse weights, from a NIR graph and from a file: they never become an array again."""

from dataclasses import replace

import nir
import numpy as np
import pytest
from harness.networks import rng_of
from harness.nir_graphs import graph, integrate_and_fire, lif, linear

from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.place import place
from spikeloom.compiler.quantise import quantise
from spikeloom.frontends.nir import LoadError, load
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.network.reference import simulate
from spikeloom.sim.network.sparse import SparseMatrix


def recurrent(size, synapses, *, kind=np.float32):
    """Sparse recurrent weights, as the array that NIR stores."""
    rng = rng_of(f"recurrent {size}")
    weight = np.zeros((size, size), kind)
    weight[rng.integers(0, size, synapses), rng.integers(0, size, synapses)] = rng.normal(0, 1, synapses)
    nodes = {"w": linear(size, 3), "lif": lif(size, r=8.0), "loop": nir.Linear(weight)}
    edges = "in w, w lif, lif loop, loop lif, lif out"
    return weight, graph(nodes, edges, outputs=(size,), metadata={"spikeloom": {"time_step_s": 1e-3}})


@pytest.mark.parametrize("from_file", [False, True], ids=["graph", "file"])
def test_large_sparse_weights_stay_sparse(tmp_path, from_file):
    """From a graph and from a file; the values are those of the array, and the spikes are the same."""
    weight, source = recurrent(1100, 3000)
    if from_file:
        nir.write(tmp_path / "net.nir", source)
        source = tmp_path / "net.nir"
    network = load(source)
    (loop,) = (c for c in network.connections if c.source == "lif")
    assert isinstance(loop.weight, SparseMatrix)
    assert np.array_equal(loop.weight.dense(), weight.astype(np.float64))
    assert network.synapses == np.count_nonzero(weight) + 3 * 1100
    same = replace(network, connections=[replace(c, weight=weight) if c is loop else c for c in network.connections])
    inputs = rng_of("inputs").random((12, 2, 3)) < 0.5
    spikes = network.simulate(inputs)
    assert 0 < spikes.sum() < spikes.size
    assert np.array_equal(spikes, same.simulate(inputs))
    integers = [simulate(quantise(model), inputs).spikes["lif"] for model in (network, same)]
    assert np.array_equal(*integers)


@pytest.mark.parametrize("from_file", [False, True], ids=["graph", "file"])
def test_large_sparse_weights_must_be_finite(tmp_path, from_file):
    weight, source = recurrent(1100, 3000)
    weight[7, 9] = np.nan
    source.nodes["loop"] = nir.Linear(weight)
    if from_file:
        nir.write(tmp_path / "net.nir", source)
        source = tmp_path / "net.nir"
    with pytest.raises(LoadError, match=r"^weight of node 'loop' must be finite, not nan$"):
        load(source)


def test_many_inputs_straight_into_neurons_need_no_matrix():
    """For 32,768 inputs, an identity matrix would take 8 GiB."""
    size = 1 << 15
    network = load(graph({"lif": lif(size)}, inputs=(size,), outputs=(size,)), preset="norse")
    (connection,) = network.connections
    assert isinstance(connection.weight, SparseMatrix)
    assert network.synapses == size
    gain = connection.weight.values
    inputs = rng_of("many").random((3, size)) < 0.5
    assert np.array_equal(connection.sum(inputs), inputs * gain)
    message = r"^network network does not fit the fabric small: it needs 32,768 neurons \(64 available\); "
    with pytest.raises(PlaceError, match=message):
        place(quantise(network), FABRICS["small"])


def test_a_large_sparse_matrix_behind_another_is_refused():
    size = 1 << 13
    weight = np.zeros((size, size), np.float32)
    weight[3, 5] = 1
    nodes = {"w": nir.Linear(weight), "w2": nir.Linear(weight), "lif": lif(size)}
    message = (
        r"^node 'w2' follows a matrix without a neuron between them, which for sparse matrices is supported up to "
    )
    with pytest.raises(LoadError, match=message):
        load(graph(nodes, inputs=(size,), outputs=(size,)), preset="norse")


def test_sparse_weights_add_up():
    """Weights of two paths add up, also with direct connections."""
    weight, _ = recurrent(1100, 3000)
    nodes = {"a": nir.Linear(weight), "b": nir.Linear(2 * weight), "lif": integrate_and_fire(1100)}
    edges = "in a, in b, a lif, b lif, in lif, lif out"
    network = load(graph(nodes, edges, inputs=(1100,), outputs=(1100,)), preset="norse")
    (connection,) = network.connections
    assert isinstance(connection.weight, SparseMatrix)
    np.testing.assert_allclose(connection.weight.dense(), 3 * weight.astype(np.float64) + np.eye(1100), rtol=1e-6)
