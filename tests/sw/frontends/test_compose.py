"""Operations between neurons are composed exactly, or refused."""

import nir
import numpy as np
import pytest
from harness.nir_graphs import affine, full, graph, integrate_and_fire, lif, linear, only, weight

from spikeloom.frontends.nir import LoadError, load


def test_chains_of_linear_nodes_compose_exactly():
    nodes = {
        "a": affine(4, 3, seed=1),
        "b": affine(5, 4, seed=2),
        "flat": nir.Flatten(None, 0),
        "c": linear(2, 5, seed=3),
    }
    network = load(graph(nodes | {"lif": integrate_and_fire(2)}), time_step_s=1.0)
    a, b, c = nodes["a"], nodes["b"], nodes["c"]
    np.testing.assert_allclose(weight(network), c.weight @ b.weight @ a.weight)
    np.testing.assert_allclose(only(network).bias, c.weight @ (b.weight @ a.bias + b.bias))


def test_edges_between_neurons_are_identities_and_parallel_edges_add_up():
    network = load(
        graph(
            {"lif": integrate_and_fire(3), "fc": affine(3, 3), "second": integrate_and_fire(3)},
            "in lif, lif second, lif fc, fc second, in second, second out",
            outputs=(3,),
        ),
        time_step_s=1.0,
    )
    assert np.array_equal(weight(network), np.eye(3))
    np.testing.assert_allclose(weight(network, "lif", "second"), np.eye(3) + affine(3, 3).weight)
    assert np.array_equal(weight(network, "input", "second"), np.eye(3))
    np.testing.assert_allclose(network.populations[1].bias, affine(3, 3).bias)
    assert [connection.delay for connection in network.connections] == [0, 0, 0]


@pytest.mark.parametrize(
    "nodes",
    [
        {"w": nir.Linear(np.full((2, 3), 1e300)), "lif": integrate_and_fire(2, r=1e300)},
        {"w": nir.Linear(np.full((2, 3), 1e300)), "w2": nir.Linear(np.full((2, 2), 1e300)), "lif": lif(2)},
    ],
    ids=["gain", "product"],
)
def test_weights_that_overflow_are_refused(nodes):
    """The refusal is one sentence, without a warning."""
    with pytest.raises(LoadError, match=r"^weight of the connection from 'input' to 'lif' must be finite, not inf$"):
        load(graph(nodes), preset="norse")


def test_a_bias_that_overflows_is_refused():
    nodes = {"w": nir.Affine(np.zeros((2, 3)), full(2, 1e300)), "lif": integrate_and_fire(2, r=1e300)}
    with pytest.raises(LoadError, match=r"^bias of population 'lif' must be finite, not inf$"):
        load(graph(nodes), preset="norse")
