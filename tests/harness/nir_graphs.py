"""Small NIR graphs, and helpers to inspect the networks made from them."""

import re
from itertools import pairwise

import nir
import numpy as np

from harness.networks import rng_of


def full(size, value, kind=np.float64):
    return np.full(size, value, kind)


def lif(size, *, tau=8e-3, r=1.0, threshold=1.0, leak=0.0, reset=0.0, kind=np.float64, metadata=None):
    return nir.LIF(
        tau=full(size, tau, kind),
        r=full(size, r, kind),
        v_leak=full(size, leak, kind),
        v_threshold=full(size, threshold, kind),
        v_reset=full(size, reset, kind),
        metadata=metadata or {},
    )


def integrate_and_fire(size, *, r=1.0, threshold=1.0, kind=np.float64):
    return nir.IF(r=full(size, r, kind), v_threshold=full(size, threshold, kind))


def integrator(size, *, tau=8e-3, r=1.0, leak=0.0, kind=np.float64):
    return nir.LI(tau=full(size, tau, kind), r=full(size, r, kind), v_leak=full(size, leak, kind))


def linear(*shape, seed=0):
    return nir.Linear(weight=np.random.default_rng(seed).normal(size=shape))


def affine(*shape, seed=0):
    generator = np.random.default_rng(seed)
    return nir.Affine(weight=generator.normal(size=shape), bias=generator.normal(size=shape[0]))


def graph(nodes, edges=None, metadata=None, inputs=(3,), outputs=(2,)):
    """A graph with an ``in`` and an ``out``; ``edges`` is text such as ``"in fc, fc lif"``, or None for a chain."""
    nodes = {"in": nir.Input(np.array(inputs)), **nodes, "out": nir.Output(np.array(outputs))}
    if edges is None:
        names = list(nodes)
        pairs = list(pairwise(names))
    else:
        pairs = [tuple(pair.split()) for pair in edges.split(",")]
    return nir.NIRGraph(nodes=nodes, edges=pairs, metadata=metadata or {}, type_check=False)


def feed_forward(neuron, metadata=None):
    return graph({"fc": linear(2, 3), "lif": neuron}, metadata=metadata)


def write_small(folder):
    """Write a network of three inputs and two integrators to ``network.nir`` in ``folder``; return the path."""
    nodes = {
        "in": nir.Input(np.array([3])),
        "fc": nir.Linear(weight=np.ones((2, 3), np.float32)),
        "li": nir.LI(tau=np.full(2, 8e-3), r=np.ones(2), v_leak=np.zeros(2)),
        "out": nir.Output(np.array([2])),
    }
    path = folder / "network.nir"
    nir.write(path, nir.NIRGraph(nodes, [("in", "fc"), ("fc", "li"), ("li", "out")]))
    return path


def exactly(message):
    return f"^{re.escape(message)}$"


def only(network):
    (population,) = network.populations
    return population


def weight(network, source="input", target="lif"):
    (connection,) = [c for c in network.connections if (c.source, c.target) == (source, target)]
    return connection.weight


def step_by_step(network, inputs, one_step, threshold, compare, reset, start=0.0):
    """Compare a network of one population with a framework's own equation, written as a loop from ``start`` on."""
    spikes = network.simulate(inputs)
    v = np.full(spikes.shape[1:], start)
    for t, current in enumerate(inputs):
        v = one_step(v, current)
        expected = v > threshold if compare == ">" else v >= threshold
        assert np.array_equal(spikes[t], expected), t
        v = np.where(expected, reset(v), v)
    assert 0 < spikes.sum() < spikes.size


def stimulus(name, steps=80, batch=4, lines=3):
    return rng_of(name).random((steps, batch, lines)) < 0.5


def positive(*shape):
    return nir.Linear(weight=np.random.default_rng(3).uniform(0.1, 0.6, shape))
