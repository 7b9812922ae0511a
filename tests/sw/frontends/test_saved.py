"""A saved network is read back equal in every field; a file that was changed afterwards is refused."""

import contextlib
import copy
from dataclasses import fields, replace

import nir
import numpy as np
import pytest
from harness.float_networks import random_float_network, same
from harness.networks import rng_of

from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.nir import load
from spikeloom.frontends.saving import graph_of, save
from spikeloom.model.network import Connection, Network
from spikeloom.model.population import Population
from spikeloom.sim.core.neuron import Reset
from spikeloom.sim.network.sparse import SparseMatrix


def small(**options):
    neurons = Population(**{"name": "lif", "shape": (3,), "beta": 0.9, "threshold": 1.0, "bias": 0.1} | options)
    weight = np.arange(6.0).reshape(3, 2) / 4
    return Network(
        name="small",
        input_shape=(2,),
        populations=(neurons,),
        connections=(Connection(source="input", target="lif", weight=weight),),
        output="lif",
        time_step_s=1e-3,
    )


def count(seen, network):
    """Record which features of a network a round trip would lose if they were not saved."""
    populations, connections = network.populations, network.connections
    found = {
        "alpha": any(p.alpha is not None for p in populations),
        "adaptation": any(p.adaptation_factor is not None for p in populations),
        "noise": any(p.noise > 0 for p in populations),
        "graded": any(p.value_limit is not None for p in populations),
        "several spikes": any(p.max_spikes > 1 for p in populations),
        "lower bound": any(p.lower_bound is not None for p in populations),
        "second threshold": any(p.second_threshold for p in populations),
        "delay line": any(p.delay is not None for p in populations),
        "readout": not populations[-1].spiking,
        "no leak": any(p.delay is None and np.all(p.beta == 1.0) for p in populations),
        "bias": any(p.bias.any() for p in populations),
        "sparse": any(isinstance(c.weight, SparseMatrix) for c in connections),
        "pooling": any(c.pooling is not None for c in connections),
        "line": len(network.input_shape) == 2,
        "delay without a cycle": any(c.delay and c.source != c.target for c in connections),
        "several": len({(c.source, c.target) for c in connections}) < len(connections),
        "attention": bool(network.attentions),
        "notes": bool(network.notes),
        "encoder": network.encoder is not None,
        "values": network.input_value_width > 0,
    } | {f"reset {p.reset.value}": True for p in populations}
    for name, present in found.items():
        seen[name] = seen.get(name, 0) + present


def test_random_networks_come_back_equal_in_every_field(request, tmp_path):
    rng = rng_of(request.node.nodeid)
    seen: dict[str, int] = {}
    for _ in range(10):
        network = random_float_network(rng)
        save(network, tmp_path / "saved.nir")
        assert same(load(tmp_path / "saved.nir"), network)
        count(seen, network)
    assert sum(map(bool, seen.values())) > 15


@pytest.mark.slow
def test_many_random_networks_come_back_equal_in_every_field(request, tmp_path):
    rng = rng_of(request.node.nodeid)
    for _ in range(300):
        network = random_float_network(rng)
        save(network, tmp_path / "saved.nir")
        assert same(load(tmp_path / "saved.nir"), network)


def test_graphs_of_many_random_networks_without_a_file(request):
    rng = rng_of(request.node.nodeid)
    seen: dict[str, int] = {}
    for _ in range(60):
        network = random_float_network(rng)
        assert same(load(graph_of(network)), network)
        count(seen, network)
    assert len(seen) > 20
    assert not [name for name, times in seen.items() if not times]


def test_a_file_is_named_and_seeded_by_the_caller_if_at_all(tmp_path):
    network = small(noise=0.1)
    save(network, tmp_path / "other.nir")
    assert load(tmp_path / "other.nir").name == "small"
    assert load(tmp_path / "other.nir", preset="auto").name == "small"
    again = load(tmp_path / "other.nir", name="mine", seed=7)
    assert same(again, replace(network, name="mine", seed=7))


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "snntorch"},
        {"time_step_s": 1e-3},
        {"discretisation": "euler"},
        {"compare": ">"},
        {"reset": "zero"},
        {"reset_delay": 0},
        {"refractory": 0},
        {"max_spikes": 2},
        {"lower_bound": -1.0},
        {"norm_input": True},
        {"layers": {"lif": {"reset": "zero"}}},
    ],
)
def test_options_that_would_change_saved_steps_are_refused(options):
    (name,) = options
    with pytest.raises(LoadError, match=rf"^{name} must be left out, because spikeloom saved the file with the exact"):
        load(graph_of(small()), **options)


def test_any_nir_reader_understands_the_nodes(tmp_path):
    """The same network, read by nir's own reader with its type check, and stepped by the equations of NIR alone."""
    network = small(reset=Reset.VALUE, reset_value=-0.5)
    save(network, tmp_path / "net.nir")
    graph = nir.read(tmp_path / "net.nir")
    assert {name: type(node).__name__ for name, node in graph.nodes.items()} == {
        "input": "Input", "input-lif": "Affine", "lif": "LIF", "output": "Output"
    }  # fmt: skip
    lif = graph.nodes["lif"]
    assert lif.tau == pytest.approx(np.full(3, 1e-3 / 0.1))
    assert lif.v_reset.tolist() == [-0.5] * 3
    assert graph.nodes["input-lif"].bias.tolist() == [0.1] * 3


@pytest.mark.parametrize("reset", [Reset.ZERO, Reset.SUBTRACT, Reset.NONE])
def test_alpha_neurons_come_back_equal(reset):
    """The saved node is the NIR node with the same response, one step earlier."""
    alpha, beta = np.array([0.9, 0.75, 0.5]), np.array([0.5, 0.0, 0.25])
    rule = {"alpha": alpha, "beta": beta, "bias": 0.0, "reset": reset, "reset_delay": int(reset is not Reset.NONE)}
    network = small(**rule, alpha_function=True)
    graph = graph_of(network)
    assert same(load(graph), network)
    node = graph.nodes["lif"]
    gain = node.w_in * (1e-3 / node.tau_syn) * node.r * (1e-3 / node.tau_mem)
    assert gain == pytest.approx(network.populations[0].synaptic_gain)


def test_files_of_networks_without_alpha_neurons_are_as_before():
    assert "alpha_function" not in graph_of(small()).nodes["lif"].metadata["spikeloom"]["exact"]


@pytest.mark.parametrize(
    "options",
    [
        {"beta": 1.0, "reset": Reset.SUBTRACT},
        {"reset_delay": 1, "refractory": 2},
        {"reset": Reset.SUBTRACT, "max_spikes": 3},
        {"reset": Reset.SUBTRACT, "lower_bound": -0.25},
        {"beta": 1.0, "lower_bound": np.array([-0.25, 0.125, -1.0])},
        {"alpha": 0.5, "bias": 0.0},
        {"spiking": False, "threshold": 0.0, "reset": Reset.NONE},
        {"spiking": False, "threshold": 0.0, "reset": Reset.NONE, "beta": 1.0, "bias": 0.0},
        {"spiking": False, "threshold": 0.0, "reset": Reset.NONE, "alpha": 0.25},
    ],
    ids=["IF", "LIF", "LIF-counts", "LIF-bound", "IF-bounds", "CubaLIF", "LI", "I", "CubaLI"],
)
def test_the_nodes_alone_give_the_same_network_within_rounding(options, request):
    """Without the groups 'exact', a saved graph is any other NIR graph."""
    network = small(**options)
    graph = graph_of(network)
    for node in (graph, *graph.nodes.values()):
        node.metadata.get("spikeloom", {}).pop("exact", None)
    loose = load(graph)
    kind = type(graph.nodes["lif"]).__name__
    assert kind == request.node.callspec.id.split("-")[0]
    assert loose.connections[0].weight == pytest.approx(network.connections[0].weight)
    for field in fields(Population):
        one, other = getattr(loose.populations[-1], field.name), getattr(network.populations[-1], field.name)
        assert one == other if not isinstance(other, np.ndarray) else one == pytest.approx(other), field.name


def changed(edit):
    graph = copy.deepcopy(graph_of(small()))
    edit(graph)
    return graph


def exact_of(graph, node):
    return graph.nodes[node].metadata["spikeloom"]["exact"]


@pytest.mark.parametrize(
    ("edit", "where"),
    [
        (lambda graph: graph.nodes["lif"].v_threshold.__setitem__(0, 2.0), "v_threshold of node 'lif'"),
        (lambda graph: graph.nodes["input-lif"].bias.__setitem__(1, 2.0), "bias of node 'input-lif'"),
        (lambda graph: exact_of(graph, "lif").update(beta=0.5), "tau of node 'lif'"),
        (lambda graph: graph.edges.append(("lif", "lif")), "the edges of the graph"),
        (lambda graph: graph.nodes.update(more=nir.Scale(scale=np.ones(3))), "node 'more'"),
        (lambda graph: graph.nodes["lif"].metadata["spikeloom"].update(reset="none"), "metadata of node 'lif'"),
        (
            lambda graph: graph.metadata["spikeloom"].update(preset="norse"),
            "preset in the metadata of the graph",
        ),
        (lambda graph: graph.metadata["spikeloom"].update(compare=">"), "compare in the metadata of the graph"),
    ],
)
def test_a_file_that_was_changed_is_refused(edit, where):
    with pytest.raises(LoadError, match=rf"^{where} is not what its metadata 'exact' says, because the file was chang"):
        load(changed(edit))


def test_weights_may_be_changed():
    graph = changed(lambda graph: graph.nodes["input-lif"].weight.__setitem__((0, 0), 5.0))
    assert load(graph).connections[0].weight[0, 0] == 5.0


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda graph: exact_of(graph, "lif").update(colour=1),
            "colour in the metadata 'exact' of node 'lif' is unkno",
        ),
        (lambda graph: exact_of(graph, "lif").pop("shape"), "the metadata 'exact' of node 'lif' must have a shape"),
        (lambda graph: exact_of(graph, "lif").update(beta="much"), "beta in the metadata 'exact' of node 'lif' must b"),
        (lambda graph: exact_of(graph, "lif").update(beta=7.0), "metadata 'exact' of the graph describes no network:"),
        (lambda graph: exact_of(graph, "lif").update(reset="red"), "reset in the metadata 'exact' of node 'lif' must "),
        (lambda graph: exact_of(graph, "input-lif").update(number=1), "the graph must have 1 connections, numbered fr"),
        (lambda graph: exact_of(graph, "input-lif").update(delay=2), "metadata 'exact' of the graph describes no netw"),
        (
            lambda graph: exact_of(graph, "input-lif").update(source=3),
            "metadata 'exact' of the graph describes no netw",
        ),
        (
            lambda graph: graph.metadata["spikeloom"].update(format=2),
            "metadata 'spikeloom' of the graph has format 2, ",
        ),
        (
            lambda graph: graph.metadata["spikeloom"].pop("seed"),
            "metadata of the graph: seed must be a finite number, ",
        ),
        (
            lambda graph: graph.metadata["spikeloom"]["exact"].update(populations=np.array(["none"])),
            "metadata 'exact' of the graph names 'none', which is not a node",
        ),
    ],
)
def test_metadata_that_describes_no_network_is_refused(edit, message):
    with pytest.raises(LoadError, match=f"^{message}"):
        load(changed(edit))


def test_random_damage_to_the_metadata_is_refused_or_harmless(request):
    """Every entry of the metadata is replaced by values of other kinds: the result is a one-sentence refusal or the
    network."""
    rng = rng_of(request.node.nodeid)
    values = [
        None,
        -1,
        3,
        0.5,
        np.inf,
        1 << 70,
        "",
        "x" * 300,
        np.zeros(0),
        np.zeros((2, 2)),
        np.arange(3),
        {},
        {"a": 1},
    ]
    refused = 0
    for _ in range(4):
        graph = copy.deepcopy(graph_of(random_float_network(rng)))
        groups = [node.metadata["spikeloom"] for node in (graph, *graph.nodes.values()) if "spikeloom" in node.metadata]
        for group in groups:
            for within in (group, group["exact"]):
                for key in list(within):
                    kept = within[key]
                    within[key] = values[rng.integers(len(values))]
                    with contextlib.suppress(LoadError):
                        load(graph)
                        refused -= 1
                    refused += 1
                    within[key] = kept
    assert refused > 100
