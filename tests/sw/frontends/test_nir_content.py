"""Graphs whose entries are not what NIR makes them are refused with one sentence, from files and from programs."""

import h5py
import nir
import numpy as np
import pytest

from spikeloom.frontends.nir import LoadError, load
from spikeloom.frontends.nir_content import check_content


@pytest.fixture
def path(tmp_path):
    """A small network, to be spoilt."""
    nodes = {
        "in": nir.Input(np.array([3])),
        "fc": nir.Linear(weight=np.ones((2, 3), np.float32)),
        "li": nir.LI(tau=np.full(2, 8e-3), r=np.ones(2), v_leak=np.zeros(2)),
        "out": nir.Output(np.array([2])),
    }
    path = tmp_path / "network.nir"
    nir.write(path, nir.NIRGraph(nodes, [("in", "fc"), ("fc", "li"), ("li", "out")]))
    return path


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
