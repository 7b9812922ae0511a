"""Shapes of nodes and of their parameters."""

import h5py
import nir
import numpy as np
import pytest
from harness.nir_graphs import exactly, feed_forward, graph, integrate_and_fire, lif, linear, only, weight

from spikeloom.frontends.nir import LoadError, load


def test_flatten_counts_without_the_batch_and_keeps_the_order():
    nodes = {"flat": nir.Flatten(None, 0, -1), "fc": linear(2, 12), "lif": integrate_and_fire(2)}
    network = load(graph(nodes, inputs=(3, 4)), time_step_s=1.0)
    assert network.input_shape == (3, 4)
    assert np.array_equal(weight(network), nodes["fc"].weight)
    with pytest.raises(
        LoadError,
        match=exactly(
            "node 'fc' must get values of one dimension, not of shape (3, 4) from 'flat'; put a Flatten between them, "
            "with dimensions counted without the batch"
        ),
    ):
        load(graph(nodes | {"flat": nir.Flatten(None, 1, -1)}, inputs=(3, 4)), time_step_s=1.0)
    with pytest.raises(
        LoadError,
        match=exactly(
            "node 'flat' must flatten dimensions of a value of shape (3, 4), not 2 to -1; a batch dimension does "
            "not count"
        ),
    ):
        load(graph(nodes | {"flat": nir.Flatten(None, 2, -1)}, inputs=(3, 4)), time_step_s=1.0)


def test_a_population_keeps_its_shape():
    network = load(graph({"lif": integrate_and_fire((2, 3))}, inputs=(2, 3), outputs=(2, 3)), time_step_s=1.0)
    assert only(network).shape == (2, 3)
    assert only(network).size == 6


def test_parameters_without_dimensions_take_the_size_of_their_neighbours(tmp_path):
    source = graph(
        {"first": integrate_and_fire(()), "fc": linear(2, 3), "lif": lif(()), "flat": nir.Flatten(np.array([2]), 0)}
    )
    nir.write(tmp_path / "scalars.nir", source, compression=None)
    for given in (source, tmp_path / "scalars.nir"):
        network = load(given, time_step_s=1e-3)
        assert [population.size for population in network.populations] == [3, 2]
        assert network.populations[1].beta.tolist() == [0.875, 0.875]
    # The size of a single neuron in front of a Linear node is determined by that node alone.
    recurrent = graph({"lif": integrate_and_fire(()), "w": linear(2, 2)}, "in w, w lif, lif w, lif out", inputs=(2,))
    assert only(load(recurrent, time_step_s=1.0)).size == 2


def test_mixed_scalar_and_per_neuron_parameters_of_a_file_are_accepted(tmp_path):
    nir.write(tmp_path / "mixed.nir", feed_forward(lif(2)))
    with h5py.File(tmp_path / "mixed.nir", "a") as file:
        del file["node/nodes/lif/tau"]
        file["node/nodes/lif/tau"] = 4e-3
    assert only(load(tmp_path / "mixed.nir", time_step_s=1e-3)).beta.tolist() == [0.75, 0.75]
