"""Graphs of Spyx, with the topology and the order of weights that its exporter writes."""

import nir
import numpy as np
import pytest
from harness.nir_graphs import exactly, graph, only, stimulus, weight

from spikeloom.frontends.nir import LoadError, load
from spikeloom.frontends.nir_graph import unfold
from spikeloom.frontends.spyx import repaired
from spikeloom.frontends.tensors import content_of
from spikeloom.sim.network.sparse import SparseMatrix

BETA = np.array([0.75, 0.875], np.float32)


def lif(beta=BETA, kind=nir.LIF, **options):
    tau = "tau_mem" if kind is nir.CubaLIF else "tau"
    zero = np.zeros_like(beta)
    return kind(
        **{tau: 1 / (1 - beta)}, r=beta.copy(), v_leak=zero, v_threshold=zero + 1, v_reset=zero.copy(), **options
    )


def dense(*shape, low=-0.2):
    return nir.Linear(np.random.default_rng(2).uniform(low, 0.8, shape).astype(np.float32))


def test_neurons_fire_one_step_late():
    """Spyx 1.0.0, LIF: s = (V > 1); V = beta V + x - s. Each of the two layers is a step late."""
    first, second = dense(2, 3), dense(2, 2, low=0.3)
    nodes = {"layer_0": first, "layer_1": lif(), "layer_2": second, "layer_3": lif(BETA[::-1])}
    network = load(graph(nodes), preset="spyx")
    inputs = stimulus("spyx late")
    found = network.run(inputs).spikes
    a, b = np.zeros((4, 2)), np.zeros((4, 2))
    fired = np.zeros((2, len(inputs), 4, 2), bool)
    for t, x in enumerate(inputs):
        fired[0, t] = a > 1
        a = BETA * a + x @ first.weight.T - fired[0, t]
        fired[1, t] = b > 1
        b = BETA[::-1] * b + fired[0, t] @ second.weight.T - fired[1, t]
    assert 0 < fired[1].sum() < fired[1].size
    assert not fired[:, 0].any()
    for name, spikes in zip(("layer_1", "layer_3"), fired, strict=True):
        assert np.array_equal(found[name][:-1], spikes[1:])
    assert any("one step earlier here" in note for note in network.notes)
    assert [(c.source, c.target, c.delay) for c in network.connections] == [
        ("input", "layer_1", 0),
        ("layer_1", "layer_3", 1),
    ]


def test_a_synaptic_current_is_reset_at_once():
    """Spyx 1.0.0, CuBaLIF: s = (V > 1); V = V - s; I = alpha I + x; V = beta V + I."""
    alpha, first = np.array([0.5, 0.25], np.float32), dense(2, 3)
    nodes = {"layer_0": first, "layer_1": lif(kind=nir.CubaLIF, tau_syn=1 / (1 - alpha), w_in=np.ones(2))}
    network = load(graph(nodes), preset="spyx")
    inputs = stimulus("spyx current")
    v, current, fired = np.zeros((4, 2)), np.zeros((4, 2)), []
    for x in inputs:
        fired.append(v > 1)
        current = alpha * current + x @ first.weight.T
        v = BETA * (v - fired[-1]) + current
    assert only(network).reset_delay == 0
    assert np.array_equal(network.simulate(inputs)[:-1], fired[1:])
    assert 0 < np.sum(fired) < np.size(fired)


def test_the_input_of_a_recurrent_layer_goes_around_its_weights():
    recurrent = nir.NIRGraph(
        nodes={
            "layer_1.lif": lif(),
            "layer_1.w_rec": dense(2, 2),
            "layer_1.input": nir.Input(np.array([2])),
            "layer_1.output": nir.Output(np.array([2])),
        },
        edges=[
            ("layer_1.input", "layer_1.w_rec"),
            ("layer_1.w_rec", "layer_1.lif"),
            ("layer_1.lif", "layer_1.w_rec"),
            ("layer_1.lif", "layer_1.output"),
        ],
        type_check=False,
    )
    source = graph({"layer_0": dense(2, 3), "layer_1": recurrent})
    network = load(source, preset="spyx")
    name = "layer_1.layer_1.lif"
    assert f"{name}: its input does not go through the recurrent weights, as in Spyx" in network.notes
    assert np.array_equal(weight(network, "input", name), source.nodes["layer_0"].weight)
    assert np.array_equal(weight(network, name, name), dense(2, 2).weight)


def flattening(follower):
    nodes = {
        "layer_0": nir.Flatten(input_type={"input": np.array([2, 1, 3])}, start_dim=0, end_dim=-1),
        "layer_1": follower,
        "layer_2": lif(),
    }
    return graph(nodes, inputs=(2, 1, 3))


def test_weights_behind_a_flatten_are_reordered():
    network = load(flattening(dense(2, 6)), preset="spyx")
    assert "the weights of layer_1 are reordered, because Spyx flattens channels-last" in network.notes
    # (height, width, channels) for the weights, (channels, height, width) for the lines.
    expected = dense(2, 6).weight.reshape(2, 3, 2).transpose(0, 2, 1).reshape(2, 6)
    assert np.array_equal(weight(network, "input", "layer_2"), expected)
    other = load(flattening(dense(2, 6)), time_step_s=1.0)
    assert not np.array_equal(weight(other, "input", "layer_2"), weight(network, "input", "layer_2"))


def test_sparse_weights_are_reordered():
    flat = unfold(content_of(flattening(dense(2, 6))))
    notes = []
    expected = repaired(flat, notes).nodes["layer_1"].parameters["weight"]
    node = flat.nodes["layer_1"]
    sparse = SparseMatrix.from_dense(dense(2, 6).weight)
    flat.nodes["layer_1"] = type(node)(kind="Linear", parameters={"weight": sparse}, metadata={})
    found = repaired(flat, notes).nodes["layer_1"].parameters["weight"]
    assert np.array_equal(found.dense(), expected)
    assert len(notes) == 2


def test_what_cannot_be_reordered_is_refused():
    with pytest.raises(
        LoadError, match=exactly("weight of node 'layer_1' must have 6 columns for (2, 1, 3), not (2, 5)")
    ):
        load(flattening(dense(2, 5)), preset="spyx")
    nodes = {"layer_0": flattening(dense(2, 6)).nodes["layer_0"], "layer_1": lif(np.full(6, 0.5, np.float32))}
    with pytest.raises(LoadError, match=r"^node 'layer_0' is a Flatten of Spyx and must lead to a Linear or Affine"):
        load(graph(nodes, inputs=(2, 1, 3)), preset="spyx")


def test_r_must_be_the_decay_factor():
    wrong = lif()
    wrong.r[:] = 1.0
    with pytest.raises(LoadError, match=r"^r of node 'layer_1' must be 0\.75, as Spyx writes it, not 1; "):
        load(graph({"layer_0": dense(2, 3), "layer_1": wrong}), preset="spyx")


def test_the_writer_is_found_by_the_names():
    source = graph({"layer_0": dense(2, 3), "layer_1": lif()})
    assert load(source, preset="auto").notes[0].startswith("preset spyx was found")
    unnamed = graph({"fc": dense(2, 3), "lif": lif()})
    with pytest.raises(LoadError, match=r"^preset 'auto' must be replaced by one of .*, because the numbers"):
        load(unnamed, preset="auto")
