"""Graphs: nested graphs, cycles, and unsupported nodes."""

import h5py
import nir
import numpy as np
import pytest
from harness.nir_graphs import (
    affine,
    exactly,
    feed_forward,
    graph,
    integrate_and_fire,
    lif,
    linear,
    only,
    stimulus,
    weight,
)

from spikeloom.frontends.nir import LoadError, load


def recurrent_inside(size=2):
    return nir.NIRGraph(
        nodes={
            "input": nir.Input(np.array([size])),
            "lif": lif(size),
            "w_rec": affine(size, size, seed=9),
            "output": nir.Output(np.array([size])),
        },
        edges=[("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
    )


def recurrent_networks():
    nested = graph({"0": linear(2, 3), "1": recurrent_inside(), "2": linear(2, 2, seed=4), "3": lif(2)})
    flat = graph(
        {"0": linear(2, 3), "1.w_rec": affine(2, 2, seed=9), "1.lif": lif(2), "2": linear(2, 2, seed=4), "3": lif(2)},
        "1.w_rec 1.lif, 1.lif 2, 2 3, in 0, 0 1.lif, 3 out, 1.lif 1.w_rec",
    )
    return nested, flat


def test_nested_and_flattened_recurrence_are_the_same_network():
    first, second = (load(source, time_step_s=1e-3) for source in recurrent_networks())
    for network in (first, second):
        assert [population.name for population in network.populations] == ["1.lif", "3"]
        assert [(c.source, c.target, c.delay) for c in network.connections] == [
            ("input", "1.lif", 0),
            ("1.lif", "1.lif", 1),
            ("1.lif", "3", 0),
        ]
        np.testing.assert_allclose(weight(network, "1.lif", "1.lif"), affine(2, 2, seed=9).weight / 8)
        np.testing.assert_allclose(network.populations[0].bias, affine(2, 2, seed=9).bias / 8)
    inputs = stimulus("test_nested_and_flattened_recurrence_are_the_same_network") * 1
    assert np.array_equal(first.simulate(inputs), second.simulate(inputs))


def test_nested_graphs_in_nested_graphs_unfold():
    inner = recurrent_inside()
    outer = nir.NIRGraph(
        nodes={"i": nir.Input(np.array([2])), "rec": inner, "o": nir.Output(np.array([2]))},
        edges=[("i", "rec"), ("rec", "o")],
    )
    network = load(graph({"block": outer}, inputs=(2,)), time_step_s=1e-3)
    assert only(network).name == "block.rec.lif"
    assert [connection.delay for connection in network.connections] == [0, 1]


def test_only_the_connection_that_closes_a_loop_has_a_delay():
    """A feedback loop over three layers with a skip connection; skip connections of any length have no delay."""
    nodes = {name: integrate_and_fire(2) for name in ("c", "a", "b")} | {"back": linear(2, 2)}
    for edges in (
        "in a, a b, b c, a c, c back, back a, c out",
        "c out, back a, c back, a c, b c, a b, in a",
        "in a, in c, a b, b c, a c, c out",
    ):
        network = load(
            graph(nodes if "back" in edges else {k: nodes[k] for k in "cab"}, edges, inputs=(2,)), time_step_s=1.0
        )
        assert [population.name for population in network.populations] == ["a", "b", "c"]
        delayed = [(c.source, c.target) for c in network.connections if c.delay]
        assert delayed == ([("c", "a")] if "back" in edges else [])
        assert ("a: spikes of c arrive one step later, because they close a cycle" in network.notes) == bool(delayed)


def test_a_delayed_bias_counts_in_every_step():
    """As in snnTorch, whose recurrent layer is called in the first step too."""
    source = graph(
        {"lif": integrate_and_fire(1, threshold=10.0), "w": nir.Affine(weight=np.zeros((1, 1)), bias=np.array([0.5]))},
        "in lif, lif w, w lif, lif out",
        inputs=(1,),
        outputs=(1,),
    )
    membranes = load(source, time_step_s=1.0).run(np.zeros((3, 1)), record_membranes=["lif"]).membranes["lif"]
    assert membranes[:, 0, 0].tolist() == [0.5, 1.0, 1.5]


def test_a_cycle_without_a_neuron_is_refused_by_name():
    nodes = {"a": linear(2, 2), "b": linear(2, 2), "lif": lif(2)}
    with pytest.raises(
        LoadError,
        match=r"^the nodes ('a' -> 'b' -> 'a'|'b' -> 'a' -> 'b') form a cycle without delay, because none is a neuron$",
    ):
        load(graph(nodes, "in a, a b, b a, b lif, lif out", inputs=(2,)), time_step_s=1e-3)
    with pytest.raises(
        LoadError, match=exactly("the nodes 'flat' -> 'flat' form a cycle without delay, because none is a neuron")
    ):
        load(graph({"flat": nir.Flatten(None, 0), "lif": lif(())}, "in flat, flat flat, flat lif, lif out"))


SUPPORTED = (
    "supported are Input, Output, Linear, Affine, LIF, IF, LI, I, CubaLIF, CubaLI, Threshold, Delay, Conv1d, Conv2d, "
    "SumPool2d, AvgPool2d, Scale and Flatten"
)


def test_an_unknown_node_is_refused_by_name(tmp_path):
    path = tmp_path / "future.nir"
    nir.write(path, feed_forward(lif(2)))
    with h5py.File(path, "a") as file:
        del file["node/nodes/lif/type"]
        file["node/nodes/lif/type"] = "AdLIF"
    with pytest.raises(LoadError, match=exactly(f"node 'lif' is a AdLIF: this kind of node is unknown; {SUPPORTED}")):
        load(path, time_step_s=1e-3)


def test_every_nir_node_is_supported():
    from spikeloom.frontends import nir_graph as module

    kinds = set(nir.ir.__all__) - {"NIRGraph", "NIRNode", "str2NIRNode", "dict2NIRNode"}
    assert kinds == set(module._SUPPORTED)
