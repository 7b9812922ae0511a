"""Graphs with entries that are invalid in NIR are refused with one sentence, from files and from programs."""

import time
from itertools import pairwise

import h5py
import nir
import numpy as np
import pytest
from harness.nir_graphs import write_small

from spikeloom.frontends.nir import LoadError, load
from spikeloom.frontends.nir_content import check_content


@pytest.fixture
def path(tmp_path):
    """A small network, to be damaged."""
    return write_small(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("node/edges", 5, "edges of the graph must be pairs of names of nodes, not .*5.*"),
        ("node/edges", np.zeros((2, 2)), "edges of the graph must be pairs of names of nodes, not .*"),
        ("node/edges", ["in", "fc"], "edges of the graph must be pairs of names of nodes, not 'in'"),
        ("node/edges", [["in", "fc", "li"]], "edges of the graph must be pairs of names of nodes, not .*"),
        ("node/metadata", 1.0, "metadata of the graph must be a group of keys, not .*1.0.*"),
        ("node/nodes/li/metadata", "text", "metadata of node 'li' must be a group of keys, not 'text'"),
        ("node/nodes/li/type", np.arange(3), r"type of node 'li' must be the name of a kind of node, not array\(.*\)"),
        ("node/nodes/li/type", "L\x1b[31m", r"type of node 'li' must be the name of a kind of node, not 'L\\x1b\[31m'"),
        ("node/type", "x" * 100, "type of the graph must be the name of a kind of node, not 'x+\\.\\.\\."),
        ("node/nodes", np.zeros(3), "the graph has no nodes"),
        ("node/nodes/li", np.zeros(3), "node 'li' has no type"),
        ("node/nodes/li/tau", "text", "tau of node 'li' must be numbers, not .*"),
    ],
)
def test_a_graph_that_is_none_is_refused(path, name, value, message):
    with h5py.File(path, "a") as file:
        if name in file:
            del file[name]
        file[name] = value
    with pytest.raises(LoadError, match=f"^{message}$"):
        load(path, time_step_s=1e-3)


def test_a_graph_of_a_program_is_checked_too(path):
    content = nir.read(path).to_dict()
    check_content(content)
    content["nodes"]["li"]["type"] = b"\xff"
    with pytest.raises(LoadError, match=r"^type of node 'li' must be the name of a kind of node, not b'\\xff'$"):
        check_content(content)


def chain(nodes):
    """A graph whose nodes form a chain and are stored in the worst order."""
    nodes = {"in": nir.Input(np.array([1, 2, 2])), **nodes}
    nodes["out"] = nir.Output(np.array([1, 2, 2]))
    edges = list(pairwise(nodes))
    return nir.NIRGraph(dict(reversed(nodes.items())), edges, type_check=False)


def fires(shape):
    return nir.IF(r=np.ones(shape), v_threshold=np.ones(shape))


def test_a_graph_of_very_many_nodes_is_refused():
    pooling = nir.SumPool2d(kernel_size=np.array([1, 1]), stride=np.array([1, 1]), padding=np.array([0, 0]))
    many = {f"p{number}": pooling for number in range(1022)}
    with pytest.raises(
        LoadError, match=r"^a graph must have at most 1,024 nodes and 8,192 edges, not 1,026 and 1,024$"
    ):
        load(chain({**many, "if": fires((1, 2, 2))}), time_step_s=1e-3)
    begin = time.process_time()
    load(chain({**dict(list(many.items())[:500]), "if": fires((1, 2, 2))}), time_step_s=1e-3)
    assert time.process_time() - begin < 5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stride": np.array([np.inf, 1])}, r"stride of node 'conv' must be one or two integers, not \[inf, 1.0\]"),
        ({"dilation": np.array([1e300])}, r"dilation of node 'conv' must be one or two integers, not \[1e\+300\]"),
        ({"padding": np.array([np.nan, 0])}, r"padding of node 'conv' must be one or two integers, not \[nan, 0.0\]"),
        ({"groups": 1.5}, "groups of node 'conv' must be an integer, not 1.5"),
        ({"groups": np.inf}, "groups of node 'conv' must be a finite number, not inf"),
    ],
)
def test_numbers_of_a_convolution_must_be_integers(values, message):
    whole = {"stride": np.array([1]), "padding": np.array([0]), "dilation": np.array([1]), "groups": 1}
    weight = np.ones((1, 1, 1, 1))
    convolution = nir.Conv2d(input_shape=None, weight=weight, bias=np.zeros(1), **whole)
    for key, value in values.items():
        setattr(convolution, key, value)
    with pytest.raises(LoadError, match=f"^{message}$"):
        load(chain({"conv": convolution, "if": fires((1, 2, 2))}), time_step_s=1e-3)


def test_paths_that_double_at_every_node_are_refused():
    """Twenty pairs of parallel poolings would give a million paths."""
    pooling = nir.SumPool2d(kernel_size=np.array([1, 1]), stride=np.array([1, 1]), padding=np.array([0, 0]))
    nodes, edges, last = {"in": nir.Input(np.array([1, 2, 2]))}, [], ["in"]
    for number in range(20):
        pair = [f"a{number}", f"b{number}"]
        nodes |= dict.fromkeys(pair, pooling)
        edges += [(before, after) for before in last for after in pair]
        last = pair
    nodes |= {"if": fires((1, 2, 2)), "out": nir.Output(np.array([1, 2, 2]))}
    edges += [(last[0], "if"), (last[1], "if"), ("if", "out")]
    message = "the spikes of a node must reach another by at most 64 paths, not 128"
    with pytest.raises(LoadError, match=f"^{message}$"):
        load(nir.NIRGraph(nodes, edges, type_check=False), time_step_s=1e-3)


def test_a_shape_that_only_a_number_declares_is_bounded():
    """A scalar neuron takes the shape of its source, and three numbers in a file can claim a size of 2**60."""
    huge = nir.NIRGraph(
        {"in": nir.Input(np.array([1 << 20, 1 << 20])), "if": fires(()), "out": nir.Output(np.array([1 << 40]))},
        [("in", "if"), ("if", "out")],
        type_check=False,
    )
    with pytest.raises(LoadError, match=r"^node 'in' must have at most 1,048,576 values, not 1,099,511,627,776$"):
        load(huge, time_step_s=1e-3)
