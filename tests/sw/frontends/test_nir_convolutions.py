"""Convolutions and pooling of NIR graphs: shapes, composition and refusals, against the definitions as loops."""

import re
from itertools import pairwise

import nir
import numpy as np
import pytest
from harness.loops import convolved, pooled
from harness.networks import random_convolution, rng_of

from spikeloom.compiler.quantise import quantise
from spikeloom.frontends.nir import LoadError, load
from spikeloom.sim.network.projection import Convolution


def exactly(message):
    return f"^{re.escape(message)}$"


def neurons(shape, **options):
    values = {"r": 1.0, "v_threshold": 1.0} | options
    return nir.IF(**{key: np.broadcast_to(value, shape).astype(float) for key, value in values.items()})


def convolution_node(convolution, weight, bias=None, *, input_shape=None):
    return nir.Conv2d(
        input_shape,
        weight,
        convolution.stride,
        convolution.padding,
        convolution.dilation,
        convolution.groups,
        np.zeros(len(weight)) if bias is None else bias,
    )


def chain(inputs, *nodes):
    named = {f"n{number}": node for number, node in enumerate(nodes)}
    named = {"in": nir.Input(np.array(inputs)), **named, "out": nir.Output(np.array([1]))}
    shape = getattr(nodes[-1], "v_threshold", np.ones(1)).shape
    named["out"] = nir.Output(np.array(shape))
    return nir.NIRGraph(nodes=named, edges=list(pairwise(named)), type_check=False)


def load_both(tmp_path, source):
    """Load from the graph and from a file, which must agree. NIR cannot write a convolution without an input_shape."""
    if any(getattr(node, "input_shape", ()) is None for node in source.nodes.values()):
        return load(source, time_step_s=1.0)
    nir.write(tmp_path / "net.nir", source)
    first, second = load(source, time_step_s=1.0), load(tmp_path / "net.nir", time_step_s=1.0)
    for one, other in zip(first.connections, second.connections, strict=True):
        assert np.array_equal(one.weight, other.weight)
        assert (one.convolution, one.pooling) == (other.convolution, other.pooling)
    return second


@pytest.mark.parametrize("case", range(8))
def test_random_convolutions(request, case, tmp_path):
    rng = rng_of(request.node.name)
    convolution = random_convolution(rng)
    weight, bias = rng.normal(size=convolution.weight_shape), rng.normal(size=convolution.output_channels)
    shape = convolution.output_shape
    gain = rng.uniform(0.5, 2.0, (shape[0], 1, 1))
    node = convolution_node(convolution, weight, bias, input_shape=convolution.input_shape[1:] if case % 2 else None)
    network = load_both(tmp_path, chain(convolution.input_shape, node, neurons(shape, r=gain)))
    (connection,), (population,) = network.connections, network.populations
    assert connection.convolution == convolution
    assert population.shape == shape
    image = rng.normal(size=convolution.input_shape)
    expected = gain * (convolved(convolution, weight, image) + bias[:, None, None])
    np.testing.assert_allclose(connection.sum(image.ravel()) + population.bias, expected.ravel(), atol=1e-12)
    # ... and the integers are the same convolution.
    (integers,) = quantise(network).connections
    assert integers.convolution == convolution
    assert np.abs(integers.weight).max() > 60


def test_a_convolution_in_one_dimension_is_one_of_height_one(request, tmp_path):
    rng = rng_of(request.node.name)
    weight, bias = rng.normal(size=(4, 3, 3)), rng.normal(size=4)
    node = nir.Conv1d(11, weight, 2, 1, 2, 1, bias)
    network = load_both(tmp_path, chain((3, 11), node, neurons((4, 5))))
    geometry = Convolution(
        input_shape=(3, 1, 11), output_channels=4, kernel=(1, 3), stride=(1, 2), padding=(0, 1), dilation=(1, 2)
    )
    assert network.connections[0].convolution == geometry
    image = rng.normal(size=(3, 1, 11))
    expected = convolved(geometry, weight[:, :, None], image)
    np.testing.assert_allclose(network.connections[0].sum(image.ravel()), expected.ravel(), atol=1e-12)
    assert network.populations[0].shape == (4, 5)


def test_pooling_in_front_of_a_convolution_and_of_a_matrix(request, tmp_path):
    """Windows of windows are one window; the factor of an average is folded into the weights that follow."""
    rng = rng_of(request.node.name)
    convolution = Convolution(input_shape=(2, 3, 2), output_channels=3, kernel=(2, 1), padding=(1, 0))
    weight, matrix = rng.normal(size=convolution.weight_shape), rng.normal(size=(5, 6))
    network = load_both(
        tmp_path,
        chain(
            (2, 13, 9),
            nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
            nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
            convolution_node(convolution, weight, input_shape=(3, 2)),
            neurons((3, 4, 2)),
            nir.AvgPool2d(np.array([2, 1]), np.array([2, 1]), np.array([0, 0])),
            nir.Flatten({"input": np.array([3, 2, 2])}, 0, -1),
            nir.Linear(np.hstack([matrix] * 2)),
            neurons((5,)),
        ),
    )
    one, two = network.connections
    assert one.pooling.window == (4, 4)
    image = rng.normal(size=(2, 13, 9))
    small = pooled((2, 2), pooled((2, 2), image) / 4)
    np.testing.assert_allclose(one.sum(image.ravel()), convolved(convolution, weight, small).ravel(), atol=1e-12)
    image = rng.normal(size=(3, 4, 2))
    np.testing.assert_allclose(
        two.sum(image.ravel()), np.hstack([matrix] * 2) @ pooled((2, 1), image).ravel() / 2, atol=1e-12
    )


@pytest.mark.parametrize(
    ("window", "stride", "padding"), [((2, 2), (2, 2), (0, 0)), ((3, 2), (1, 2), (0, 0)), ((3, 3), (2, 1), (1, 1))]
)
@pytest.mark.parametrize("kind", [nir.SumPool2d, nir.AvgPool2d])
def test_pooling_in_front_of_neurons_is_a_convolution_of_ones(request, tmp_path, kind, window, stride, padding):
    rng = rng_of(request.node.name)
    image = rng.normal(size=(3, 6, 7))
    expected = pooled(window, image, stride, padding) / (1 if kind is nir.SumPool2d else window[0] * window[1])
    node = kind(np.array(window), np.array(stride), np.array(padding))
    network = load_both(tmp_path, chain((3, 6, 7), node, neurons(expected.shape)))
    (connection,) = network.connections
    assert connection.convolution.groups == 3
    assert network.populations[0].shape == expected.shape
    np.testing.assert_allclose(connection.sum(image.ravel()), expected.ravel(), atol=1e-12)


@pytest.mark.parametrize("case", range(4))
def test_pooling_behind_a_convolution_makes_a_larger_kernel(request, tmp_path, case):
    rng = rng_of(request.node.name)
    while True:
        convolution = random_convolution(rng)
        window, stride = (tuple(int(k) for k in rng.integers(1, 4, 2)) for _ in range(2))
        if all(w <= extent for w, extent in zip(window, convolution.output_shape[1:], strict=True)):
            break
    weight, bias = rng.normal(size=convolution.weight_shape), rng.normal(size=convolution.output_channels)
    image = rng.normal(size=convolution.input_shape)
    expected = pooled(window, convolved(convolution, weight, image) + bias[:, None, None], stride)
    nodes = (
        convolution_node(convolution, weight, bias),
        nir.SumPool2d(np.array(window), np.array(stride), np.array([0, 0])),
        neurons(expected.shape),
    )
    network = load_both(tmp_path, chain(convolution.input_shape, *nodes))
    total = network.connections[0].sum(image.ravel()) + network.populations[0].bias
    np.testing.assert_allclose(total, expected.ravel(), atol=1e-12)


def test_an_input_that_leads_straight_to_neurons_keeps_its_kernel_small():
    network = load(chain((2, 9, 9), neurons((2, 9, 9))), time_step_s=1.0)
    assert network.synapses == 2


def test_two_ways_between_the_same_neurons_are_two_connections(request):
    rng = rng_of(request.node.name)
    convolution = Convolution(input_shape=(2, 4, 4), output_channels=2, kernel=(3, 3), padding=(1, 1))
    weight = rng.normal(size=convolution.weight_shape)
    nodes = {
        "in": nir.Input(np.array([2, 4, 4])),
        "conv": convolution_node(convolution, weight),
        "lif": neurons((2, 4, 4)),
        "out": nir.Output(np.array([2, 4, 4])),
    }
    edges = [("in", "conv"), ("conv", "lif"), ("in", "lif"), ("lif", "out")]
    network = load(nir.NIRGraph(nodes=nodes, edges=edges, type_check=False), time_step_s=1.0)
    image = rng.normal(size=(2, 4, 4))
    total = sum(connection.sum(image.ravel()) for connection in network.connections)
    np.testing.assert_allclose(total, (convolved(convolution, weight, image) + image).ravel(), atol=1e-12)


CONVOLUTION = Convolution(input_shape=(1, 6, 6), output_channels=2, kernel=(3, 3))
ONES = np.ones(CONVOLUTION.weight_shape)


@pytest.mark.parametrize(
    ("inputs", "nodes", "message"),
    [
        ((36,), [convolution_node(CONVOLUTION, ONES), neurons((2, 4, 4))],
         "node 'n0' is a Conv2d and must get values of shape (channels, height, width), not (36,)"),
        ((2, 6, 6), [convolution_node(CONVOLUTION, ONES), neurons((2, 4, 4))],
         "node 'n0' must get values of 1 channels, not 2"),
        ((1, 6, 6), [convolution_node(CONVOLUTION, ONES, input_shape=(6, 5)), neurons((2, 4, 4))],
         "node 'n0' must get values of extent [6, 5], not (6, 6)"),
        ((1, 2, 6), [convolution_node(CONVOLUTION, ONES), neurons((2, 4, 4))],
         "node 'n0': kernel of a convolution must fit the padded input (1, 2, 6), not (3, 3) with dilation (1, 1)"),
        ((1, 6, 6), [convolution_node(CONVOLUTION, ONES), neurons((2, 4, 5))],
         "node 'n1' must get 40 values, not 32 from 'n0'"),
        ((1, 6, 6), [convolution_node(CONVOLUTION, ONES), neurons((2, 4, 4), r=np.arange(1.0, 33).reshape(2, 4, 4))],
         "node 'n1' must have the same gain for all neurons of a channel after a convolution; its time "
         "constants or its r differ"),
        ((1, 6, 6), [nir.AvgPool2d(np.array([3, 3]), np.array([1, 1]), np.array([0, 0])),
                     convolution_node(CONVOLUTION, ONES), neurons((2, 2, 2))],
         "node 'n1' follows a convolution or an overlapping pooling without a neuron between them, which is not "
         "supported"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(inputs, nodes, message):
    with pytest.raises(LoadError, match=exactly(message)):
        load(chain(inputs, *nodes), time_step_s=1.0)


def leaky(shape, own=None, *, tau=4e-3):
    """Neurons of ``shape``, with parameters of shape ``own``."""
    own = shape if own is None else own
    return nir.LIF(
        tau=np.broadcast_to(tau, own).astype(float),
        r=np.full(own, 4.0),
        v_leak=np.zeros(own),
        v_threshold=np.full(own, 1.0),
    )


def test_a_batch_of_one_sample_in_front_of_the_input_is_dropped(tmp_path):
    geometry = Convolution(input_shape=(2, 6, 6), output_channels=3, kernel=(3, 3))
    weight = np.full(geometry.weight_shape, 0.25)
    networks = []
    for batch in ((), (1,)):
        shape = (*batch, 3, 4, 4)
        source = chain((*batch, 2, 6, 6), convolution_node(geometry, weight, input_shape=(6, 6)), leaky(shape))
        source.nodes["out"] = nir.Output(np.array(shape))
        nir.write(tmp_path / "net.nir", source)
        networks.append(load(tmp_path / "net.nir", time_step_s=1e-3))
    plain, batched = networks
    assert plain.input_shape == batched.input_shape == (2, 6, 6)
    assert batched.populations[0].shape == (3, 4, 4)
    spikes = rng_of("test_a_batch_of_one_sample").random((20, 2, 72)) < 0.2
    assert np.array_equal(plain.simulate(spikes), batched.simulate(spikes))
    assert 0 < plain.simulate(spikes).sum() < plain.simulate(spikes).size


def test_parameters_per_channel_hold_for_all_its_neurons():
    geometry = Convolution(input_shape=(2, 6, 6), output_channels=3, kernel=(3, 3))
    weight = np.full(geometry.weight_shape, 0.25)
    tau = np.array([2e-3, 4e-3, 8e-3]).reshape(3, 1, 1)
    networks = []
    for own in ((3, 4, 4), (3, 1, 1)):
        node = leaky((3, 4, 4), own, tau=tau)
        source = chain((2, 6, 6), convolution_node(geometry, weight, input_shape=(6, 6)), node)
        source.nodes["out"] = nir.Output(np.array([3, 4, 4]))
        # In a file, the neurons may precede the layer that determines their shape.
        source.nodes = dict(sorted(source.nodes.items(), reverse=True))
        networks.append(load(source, time_step_s=1e-3))
    each, shared = networks
    assert shared.populations[0].shape == (3, 4, 4)
    assert np.array_equal(each.populations[0].beta, shared.populations[0].beta)
    assert shared.populations[0].beta.reshape(3, -1)[:, 0].tolist() == [0.5, 0.75, 0.875]
    assert np.array_equal(each.connections[0].weight, shared.connections[0].weight)


def test_a_recurrent_layer_of_one_row_knows_its_own_shape():
    source = nir.NIRGraph(
        nodes={
            "in": nir.Input(np.array([1, 4])),
            "lif": leaky((1, 4)),
            "out": nir.Output(np.array([1, 4])),
            "back": nir.Linear(np.eye(4)),
        },
        edges=[("in", "lif"), ("lif", "back"), ("back", "lif"), ("lif", "out")],
        type_check=False,
    )
    assert load(source, time_step_s=1e-3).population("lif").shape == (1, 4)


def test_a_scale_is_a_diagonal_weight(tmp_path):
    fc, scale = np.array([[0.125, -0.125, 0.625, 0.125]]), np.array([0.5, 1.0, 2.0, 4.0])
    source = chain((4,), nir.Scale(scale), nir.Linear(fc), neurons((1,)))
    assert np.array_equal(load_both(tmp_path, source).connections[0].weight, fc * scale)
    bias = nir.Affine(weight=np.eye(2), bias=np.array([1.0, 2.0]))
    after = load(chain((2,), bias, nir.Scale(np.array([3.0])), neurons((2,))), time_step_s=1.0)
    assert np.array_equal(after.connections[0].weight, 3.0 * np.eye(2))
    assert after.populations[0].bias.tolist() == [3.0, 6.0]
    with pytest.raises(LoadError, match=exactly("scale of node 'n0' must have 1 or 4 values, not 3")):
        load(chain((4,), nir.Scale(np.ones(3)), nir.Linear(fc), leaky((1,))), time_step_s=1e-3)
