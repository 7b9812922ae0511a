"""The attention node of NIR files: written, read, loaded, run, and refused where it is invalid."""

import re
import subprocess
import sys
from itertools import pairwise

import h5py
import nir
import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.compiler.quantise import quantise
from spikeloom.frontends.nir import LoadError, load
from spikeloom.frontends.nir_attention import SpikeloomAttention, read
from spikeloom.model.describe import describe
from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.attention.attention import simulate as attend
from spikeloom.sim.network.reference import simulate

METADATA = {"spikeloom": {"preset": "nir", "time_step_s": 1.0, "reset": "subtract"}}


def neurons(shape):
    return nir.IF(r=np.ones(shape), v_threshold=np.ones(shape), v_reset=np.zeros(shape))


def pointwise(rng, channels, extents):
    weight = rng.integers(-24, 40, (channels, channels, 1, 1)) / 32
    return nir.Conv2d(extents, weight, 1, 0, 1, 1, np.full(channels, 0.25))


def parts(rng, *, channels=8, extents=(2, 2), outputs=3, **options):
    """Nodes and edges of an input, a patch embedding, attention with a parallel residual, and a readout."""
    shape = (channels, *extents)
    nodes = {"input": nir.Input(np.array(shape)), "patch": neurons(shape)}
    edges = [("input", "patch")]
    for role in ("query", "key", "value"):
        nodes |= {f"{role}_weight": pointwise(rng, channels, extents), role: neurons(shape)}
        edges += [("patch", f"{role}_weight"), (f"{role}_weight", role), (role, "attention")]
    settings = {"shape": np.array(shape), "heads": 2, "query": "query", "key": "key", "value": "value", "seed": 5}
    nodes["attention"] = SpikeloomAttention(**(settings | options))
    nodes |= {"projection_weight": pointwise(rng, channels, extents), "projection": neurons(shape)}
    edges += [("attention", "projection_weight"), ("projection_weight", "projection"), ("patch", "projection")]
    size = int(np.prod(shape))
    nodes |= {
        "flat": nir.Flatten({"input": np.array(shape)}, 0, -1),
        "readout_weight": nir.Linear(rng.integers(-16, 24, (outputs, size)) / 32),
        "readout": neurons((outputs,)),
        "output": nir.Output(np.array([outputs])),
    }
    path = ("projection", "flat", "readout_weight", "readout", "output")
    return nodes, [*edges, *pairwise(path)]


def graph(rng, **options):
    return nir.NIRGraph(*parts(rng, **options), metadata=METADATA)


@pytest.mark.parametrize(
    ("channels", "extents", "heads", "causal", "seed"),
    [(8, (2, 2), 2, False, 5), (12, (2, 4), 3, True, 2**64 - 1), (4, (1, 8), 1, False, 0)],
)
def test_a_graph_goes_through_a_file_into_a_network(request, tmp_path, channels, extents, heads, causal, seed):
    rng = rng_of(request.node.name)
    source = graph(rng, channels=channels, extents=extents, heads=heads, causal=causal, seed=seed)
    path = tmp_path / "attention.nir"
    nir.write(path, source)
    again = read(path)
    assert sorted(again.edges) == sorted(source.edges)
    assert again.nodes["attention"].to_dict().keys() == source.nodes["attention"].to_dict().keys()
    shape = AttentionParameters(tokens=extents[0] * extents[1], features=channels // heads, heads=heads)
    for given in (source, again, path):
        network = load(given)
        (attention,) = network.attentions
        assert (attention.sources, attention.parameters) == (("query", "key", "value"), shape)
        assert (attention.seed, attention.causal) == (seed, causal)
    # Floats that are multiples of the scale, integers and the definition give the same results.
    spikes = rng.random((6, 3, network.inputs)) < 0.6
    quantised = quantise(network)
    result, floats = simulate(quantised, spikes), network.run(spikes)
    assert not quantised.notes
    assert result.spikes["attention"].any()
    for name in result.spikes:
        assert np.array_equal(result.spikes[name], floats.spikes[name]), name
    for sample in range(3):
        q, k, v, a = (
            result.spikes[name][:, sample].reshape(6, heads, shape.features, shape.tokens).swapaxes(2, 3)
            for name in ("query", "key", "value", "attention")
        )
        assert np.array_equal(attend(shape, q, k, v, seed=seed, causal=causal).outputs, a)


def test_a_residual_is_one_threshold(request):
    network = quantise(load(graph(rng_of(request.node.name))))
    (residual,) = (c for c in network.connections if (c.source, c.target) == ("patch", "projection"))
    threshold = int(np.unique(network.population("projection").parameters.threshold).item())
    assert residual.weight.size == 8
    assert (residual.weight == threshold).all()


def test_attention_is_described_behind_its_sources(request):
    names = [row.name for row in describe(load(graph(rng_of(request.node.name))))]
    assert names == ["patch", "query", "key", "value", "attention", "projection", "readout"]


def test_one_population_can_be_query_and_key(request):
    nodes, edges = parts(rng_of(request.node.name), key="query")
    del nodes["key"], nodes["key_weight"]
    edges = [edge for edge in edges if not {"key", "key_weight"} & set(edge)]
    (attention,) = load(nir.NIRGraph(nodes, edges, metadata=METADATA)).attentions
    assert attention.sources == ("query", "query", "value")


def test_an_attention_in_a_nested_graph_finds_its_sources(request):
    nodes, edges = parts(rng_of(request.node.name))
    inner = ("query_weight", "query", "key_weight", "key", "value_weight", "value", "attention")
    block = {"in": nir.Input(np.array([8, 2, 2])), **{name: nodes.pop(name) for name in inner}}
    block["out"] = nir.Output(np.array([8, 2, 2]))
    inside = [edge for edge in edges if set(edge) <= set(inner)]
    inside += [("in", f"{role}_weight") for role in ("query", "key", "value")] + [("attention", "out")]
    outside = [edge for edge in edges if not set(edge) & set(inner)] + [("patch", "block")]
    nodes["block"] = nir.NIRGraph(block, inside)
    outside.append(("block", "projection_weight"))
    network = load(nir.NIRGraph(nodes, outside, metadata=METADATA))
    assert network.attentions[0].sources == ("block.query", "block.key", "block.value")
    assert network.attentions[0].name == "block.attention"


def refused(message, nodes, edges):
    with pytest.raises(LoadError, match=f"^{re.escape(message)}$"):
        load(nir.NIRGraph(nodes, edges, metadata=METADATA, type_check=False))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 0}, "heads of node 'attention' must be an integer from 1 to 16, not 0"),
        ({"heads": 2.5}, "heads of node 'attention' must be an integer from 1 to 16, not 2.5"),
        ({"heads": 3}, "shape of node 'attention' must have channels divisible by 3 heads, not 8"),
        ({"heads": 8}, "node 'attention': features must be a power of two from 2 to 256, not 1"),
        ({"channels": 12}, "node 'attention': features must be a power of two from 2 to 256, not 6"),
        ({"extents": (3, 2)}, "node 'attention': tokens must be a power of two from 2 to 256, not 6"),
        ({"seed": -1}, "seed of node 'attention' must be an integer from 0 to 18446744073709551615, not -1"),
        ({"causal": 2}, "causal of node 'attention' must be an integer from 0 to 1, not 2"),
        ({"query": "nobody"}, "query of node 'attention' must be a node with an edge to it, not 'nobody'"),
        ({"key": "patch"}, "key of node 'attention' must be a node with an edge to it, not 'patch'"),
        ({"value": "key"}, "node 'attention' must have edges from its query, key and value alone, not from 'value'"),
        ({"shape": np.array([0, 2])}, "node 'attention' must have a shape of positive integers"),
    ],
)
def test_a_node_that_makes_no_sense_is_refused(request, options, message):
    refused(message, *parts(rng_of(request.node.name), **options))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 4, 2), "query of node 'attention' must have shape (4, 4, 2), not (8, 2, 2)"),
        ((8, 2, 4), "node 'attention' must get 64 values, not 32 from 'query'"),
    ],
)
def test_sources_must_have_the_shape_of_the_node(request, shape, message):
    nodes, edges = parts(rng_of(request.node.name), shape=np.array(shape))
    del nodes["projection_weight"]
    edges = [edge for edge in edges if "projection_weight" not in edge] + [("attention", "projection")]
    refused(message, nodes, edges)


def test_sources_must_be_neurons_as_they_are(request):
    nodes, edges = parts(rng_of(request.node.name))
    edges.remove(("key", "attention"))
    refused("key of node 'attention' must be a node with an edge to it, not 'key'", nodes, edges)

    nodes, edges = parts(rng_of(request.node.name), value="value_weight")
    edges[edges.index(("value", "attention"))] = ("value_weight", "attention")
    refused("value of node 'attention' must be the unmodified spikes of neurons, not 'value_weight'", nodes, edges)

    nodes, edges = parts(rng_of(request.node.name))
    nodes["value"] = nir.I(r=np.ones((8, 2, 2)))
    refused("value of 'attention' must be neurons with plain spikes, unlike 'value'", nodes, edges)


def test_an_attention_may_not_be_an_end_or_close_a_cycle(request):
    nodes, edges = parts(rng_of(request.node.name))
    edges[edges.index(("readout", "output"))] = ("attention", "output")
    nodes["output"] = nir.Output(np.array([8, 2, 2]))
    refused("node 'attention' leads to the Output without a neuron; end the network with a LIF, IF or LI", nodes, edges)

    nodes, edges = parts(rng_of(request.node.name), query="back")
    nodes |= {"back": neurons((8, 2, 2)), "back_weight": nodes["query_weight"]}
    edges[edges.index(("query", "attention"))] = ("back", "attention")
    edges += [("projection", "back_weight"), ("back_weight", "back")]
    edges.remove(("patch", "projection"))  # otherwise the loop would close at the projection, which is allowed
    refused(
        "the spikes of 'back' must reach attention 'attention' without closing a cycle; close the loop at neurons",
        nodes,
        edges,
    )


@pytest.mark.parametrize("key", ["query", "key", "value", "shape", "heads"])
def test_a_file_without_a_parameter_is_refused(request, tmp_path, key):
    path = tmp_path / "attention.nir"
    nir.write(path, graph(rng_of(request.node.name)))
    with h5py.File(path, "a") as file:
        del file[f"node/nodes/attention/{key}"]
    with pytest.raises(LoadError, match=r"^(node 'attention'|heads of node 'attention') .*must"):
        load(path)


def test_plain_readers_fail_and_give_no_network(request, tmp_path):
    path = tmp_path / "attention.nir"
    nir.write(path, graph(rng_of(request.node.name)))
    with pytest.raises(AssertionError):
        nir.read(path)
    unknown = "Unknown unit type: b'SpikeloomAttention'"
    with h5py.File(path) as file, pytest.raises(ValueError, match=f"^{unknown}$"):
        nir.serialization.read_node(file["node"])
    script = f"import nir; nir.read({str(path)!r})"
    ran = subprocess.run([sys.executable, "-O", "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == "KeyError: 'SpikeloomAttention'"
