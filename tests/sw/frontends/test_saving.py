"""Networks that cannot be saved are refused in one sentence, and leave no file."""

from dataclasses import replace

import numpy as np
import pytest
from harness.floats import network, population, single

from spikeloom.frontends.nir import load
from spikeloom.frontends.saving import graph_of, save
from spikeloom.model.network import Connection
from spikeloom.sim.network.projection import Convolution
from spikeloom.sim.network.sparse import SparseMatrix


def sliced():
    window = Convolution(input_shape=(1, 4, 4), output_channels=1, kernel=(2, 2), padding=(-1, 0), extent=(1, 1))
    connection = Connection(source="input", target="lif", weight=np.ones((1, 1, 2, 2)), convolution=window)
    return network([population()], [connection], inputs=16)


def vast():
    """A sparse matrix with one weight, which takes 1 GiB if written with its zeros."""
    rows, columns = 1 << 10, 1 << 17
    weight = SparseMatrix((rows, columns), np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1))
    return network([population(size=rows)], [Connection(source="input", target="lif", weight=weight)], inputs=columns)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda: single(name="a/b"),
            r"name of a population must have at most 80 bytes and no '/' to be saved, not 'a/b'",
        ),
        (lambda: single(name="n" * 81), "name of a population must have at most 80 bytes"),
        (
            lambda: replace(single(), notes=("x" * 5000,)),
            "name and notes of a network must have at most 4,096 bytes each",
        ),
        (sliced, "extent of the connection from 'input' to 'lif' must be None to be saved"),
        (vast, "the weights of a network must have at most 536,870,912 bytes to be saved, not 1,073,741,824"),
    ],
)
def test_networks_that_nir_cannot_hold_are_refused(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        save(wrong(), tmp_path / "net.nir")
    assert not list(tmp_path.iterdir())


def test_a_network_of_too_many_nodes_is_refused(tmp_path):
    chain = [population(name=f"n{k}") for k in range(600)]
    joins = [
        Connection(source=f"n{k - 1}" if k else "input", target=f"n{k}", weight=np.ones((1, 1))) for k in range(600)
    ]
    with pytest.raises(
        ValueError, match=r"^a graph must have at most 1,024 nodes and 8,192 edges, not 1,203 and 1,201"
    ):
        save(network(chain, joins), tmp_path / "net.nir")
    assert not list(tmp_path.iterdir())


def test_a_file_survives_a_network_that_is_refused(tmp_path):
    save(single(), tmp_path / "net.nir")
    before = (tmp_path / "net.nir").read_bytes()
    with pytest.raises(ValueError, match=r"^name of"):
        save(single(name="a/b"), tmp_path / "net.nir")
    assert (tmp_path / "net.nir").read_bytes() == before


def test_widths_of_weights_are_kept(tmp_path):
    net = single(weight_bits=5)
    save(net, tmp_path / "x.nir")
    assert load(tmp_path / "x.nir").populations[0].weight_bits == 5
    save(single(), tmp_path / "x.nir")
    assert load(tmp_path / "x.nir").populations[0].weight_bits is None


def test_names_of_nodes_do_not_collide():
    """Populations with the names that the nodes between them would have."""
    names = ["output", "input-output", "output-input-output"]
    populations = [population(name=name) for name in names]
    connections = [Connection(source="input", target=name, weight=np.ones((1, 1))) for name in names]
    connections.append(Connection(source="output", target="input-output", weight=np.ones((1, 1))))
    graph = graph_of(network(populations, connections))
    assert len(graph.nodes) == 3 + 4 + 2
    assert [p.name for p in load(graph).populations] == names


def test_a_bias_stands_where_other_readers_find_it():
    biased = single(bias=0.25)
    graph = graph_of(biased)
    assert graph.nodes["input-lif"].bias.tolist() == [0.25]
    assert graph.nodes["lif"].v_leak.tolist() == [0.0]
    current = graph_of(single(bias=0.25, alpha=0.5, beta=0.5))
    assert type(current.nodes["input-lif"]).__name__ == "Linear"
    assert current.nodes["lif"].v_leak.tolist() == [0.5]
