"""Losses of the weights in integers, counted by hand, for every kind of weights."""

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.compiler.quantise import Quantisation, Scales, quantise, scale_exponents
from spikeloom.compiler.weight_losses import weight_losses
from spikeloom.model.network import Connection, Network
from spikeloom.model.population import Population
from spikeloom.sim.core.neuron import Reset
from spikeloom.sim.network.projection import Convolution
from spikeloom.sim.network.sparse import SparseMatrix


def losses_of(network, **widths):
    quantisation = Quantisation(**widths)
    return weight_losses(network, quantise(network, quantisation), quantisation)


def network_of(populations, connections, inputs=2):
    return Network(
        name="n",
        input_shape=(inputs,),
        populations=populations,
        connections=connections,
        output=populations[-1].name,
        time_step_s=1e-3,
    )


def test_small_weights_become_0_and_are_counted():
    weight = np.array([[1.0, 0.5, 0.001, 0.0], [-1.0, 0.25, -0.002, 0.0]])
    neurons = Population(name="a", shape=(2,), threshold=np.array([1.0, 2.0]))
    into = [Connection(source="input", target="a", weight=weight)]
    (row,) = losses_of(network_of([neurons], into, 4), weight_width=8)
    assert (row.population, row.weights, row.low, row.high) == ("a", 8, -1.0, 1.0)
    assert (row.zeroed, row.clipped, row.step) == (2, 0, 1 / 64)
    assert (row.threshold_low, row.threshold_high) == (64, 128)
    assert row.threshold_text == "threshold is 64 to 128 weight steps"
    (wide,) = losses_of(network_of([neurons], into, 4), weight_width=16)
    assert (wide.zeroed, wide.step) == (0, 2.0**-12)  # the thresholds have 16 bits


def test_clipped_weights_are_counted(request):
    weight = rng_of(request.node.name).normal(0, 0.1, (20, 30))
    weight[3, 4] = 1.9
    neurons = Population(name="a", shape=(20,), threshold=np.array(1.0))
    network = network_of([neurons], [Connection(source="input", target="a", weight=weight)], 30)
    (row,) = losses_of(network, weight_width=3)
    exponents, _ = scale_exponents(network, Quantisation(weight_width=3))
    scaled = np.rint(np.ldexp(weight, exponents["a"]))
    assert row.clipped == np.count_nonzero((scaled > 3) | (scaled < -4)) > 0
    assert row.zeroed == np.count_nonzero(scaled == 0) > 0
    assert row.step == 2.0 ** -exponents["a"]
    assert row.threshold_text == f"threshold is {row.threshold_low} weight steps"


def test_a_readout_has_no_threshold_and_a_population_without_weights_no_row():
    first = Population(name="a", shape=(2,), threshold=np.array(-0.5))
    last = Population(name="b", shape=(1,), spiking=False, reset=Reset.NONE)
    (row,) = losses_of(network_of([first, last], [Connection(source="a", target="b", weight=np.ones((1, 2)))]))
    assert (row.population, row.threshold_low, row.threshold_text) == ("b", None, "")


def test_a_sparse_matrix_counts_its_own_weights_and_a_kernel_once():
    neurons = Population(name="a", shape=(2, 4, 4), threshold=np.array(1.0))
    geometry = Convolution(input_shape=(1, 4, 4), output_channels=2, kernel=(3, 3), padding=(1, 1))
    kernel = np.full(geometry.weight_shape, 0.5)
    sparse = SparseMatrix.from_dense(np.eye(32, 16) * 0.75)
    network = network_of(
        [neurons],
        [
            Connection(source="input", target="a", weight=kernel, convolution=geometry),
            Connection(source="input", target="a", weight=sparse),
        ],
        16,
    )
    (row,) = losses_of(network)
    assert (row.weights, row.low, row.high, row.zeroed) == (18 + 16, 0.0, 0.75, 0)


@pytest.mark.parametrize("value_width", [4, 8])
def test_weights_of_graded_spikes_have_the_scale_of_their_values(value_width):
    first = Population(name="a", shape=(1,), threshold=np.array(0.5), reset=Reset.NONE, value_limit=2.0)
    last = Population(name="b", shape=(1,), threshold=np.array(1.0))
    network = network_of(
        [first, last],
        [
            Connection(source="input", target="a", weight=np.ones((1, 2))),
            Connection(source="a", target="b", weight=np.full((1, 1), 0.5)),
        ],
    )
    assert all(row.zeroed == row.clipped == 0 for row in losses_of(network, value_width=value_width))


def test_sparse_weights_that_become_0(request):
    """The counts equal those of the dense matrix, apart from the entries that a sparse matrix does not store."""
    rng = rng_of(request.node.name)
    weight = np.where(rng.random((20, 30)) < 0.4, rng.normal(0, 0.1, (20, 30)), 0.0)
    weight *= np.where(rng.random((20, 30)) < 0.3, 1e-4, 1.0)
    neurons = Population(name="a", shape=(20,), threshold=np.array(1.0))

    def row_of(of):
        (row,) = losses_of(network_of([neurons], [Connection(source="input", target="a", weight=of)], 30))
        return row

    dense, sparse = row_of(weight), row_of(SparseMatrix.from_dense(weight))
    assert sparse.weights == np.count_nonzero(weight) > 200
    assert 20 < sparse.zeroed < sparse.weights
    assert (sparse.zeroed, sparse.low, sparse.high) == (dense.zeroed, dense.low, dense.high)
    assert sparse.clipped == dense.clipped


def test_scales_of_neurons_are_counted_for_every_kind_of_weights(request):
    weight = rng_of(request.node.name).normal(0, 1, (6, 30)) * np.array([[1.0], [0.1], [4.0], [1.0], [0.2], [1.0]])
    first = Population(name="a", shape=(6,), threshold=np.array([1.0, 0.5, 4.0, 1.0, 0.5, 1.0]))
    last = Population(name="b", shape=(1,), threshold=np.array(1.0))
    found = {}
    for scales in Scales:
        for kind in (np.asarray, SparseMatrix.from_dense):
            into = [
                Connection(source="input", target="a", weight=kind(weight)),
                Connection(source="a", target="b", weight=np.ones((1, 6))),
            ]
            row, _ = losses_of(network_of([first, last], into, 30), weight_width=6, scales=scales)
            assert found.setdefault(scales, row) == row
    shared, own = found[Scales.POPULATION], found[Scales.NEURON]
    assert own.zeroed < shared.zeroed
    assert own.step >= shared.step
    assert (own.low, own.high, own.weights) == (shared.low, shared.high, shared.weights)
