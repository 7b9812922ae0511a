"""Comparison of the reference with the hardware: every kind of difference counts."""

from types import SimpleNamespace

import numpy as np
from harness.networks import rng_of

from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.inputs import Inputs
from spikeloom.model.network import Connection, Network
from spikeloom.model.population import Population
from spikeloom.runners.compare import agreement, compare
from spikeloom.runners.runner import RunResult
from spikeloom.sim.core.neuron import Reset


def both(rng):
    """A reference and a run that agree: spikes of two populations, values of one, membranes of a third."""
    spikes = {name: rng.random((4, 3, 5)) < 0.4 for name in ("a", "b")}
    values = {"b": np.where(spikes["b"], rng.integers(2, 9, (4, 3, 5)), 0)}
    membranes = rng.integers(-50, 50, (4, 3, 2))
    states = {"c": SimpleNamespace(v=membranes)}
    reference = SimpleNamespace(spikes=spikes, values=values, states=states)
    run = RunResult(
        output_name="c",
        spikes={name: array.copy() for name, array in spikes.items()},
        values={"b": values["b"].copy()},
        membranes={"c": membranes.copy()},
    )
    return reference, run


def test_what_agrees(request):
    reference, run = both(rng_of(request.node.name))
    fired = {name: int(array.sum()) for name, array in reference.spikes.items()}
    assert compare(reference, run) == (fired["a"] + 2 * fired["b"] + 4 * 3 * 2, 0)
    assert fired["a"] != fired["b"]


def test_every_difference_counts(request):
    reference, run = both(rng_of(request.node.name))
    run.spikes["a"][1, 2, 3] ^= True
    run.spikes["b"][0, 0] ^= True
    run.values["b"][3, 1, 4] += 1
    run.membranes["c"][2] += 1
    assert compare(reference, run)[1] == 1 + 5 + 1 + 6


def test_floats_and_integers_of_one_network(request):
    """Dyadic weights and thresholds without a leak are exact; a leak is not."""
    rng = rng_of(request.node.name)
    inputs = Inputs(spikes=rng.random((40, 6, 8)) < 0.4, labels=rng.integers(0, 3, 6))
    shares = {}
    for beta in (1.0, 0.9):
        network = Network(
            name="n",
            input_shape=(8,),
            populations=[
                Population(name="a", shape=(5,), beta=beta, threshold=np.array(1.0), reset=Reset.SUBTRACT),
                Population(name="b", shape=(3,), beta=beta, spiking=False, reset=Reset.NONE),
            ],
            connections=[
                Connection(source="input", target="a", weight=rng.integers(-8, 16, (5, 8)) / 16),
                Connection(source="a", target="b", weight=rng.integers(-8, 16, (3, 5)) / 16),
            ],
            output="b",
            time_step_s=1e-3,
        )
        found = agreement(network, quantise(network, Quantisation(v_width=16, beta_fraction=8)), inputs)
        assert found.cells == {"a": 40 * 6 * 5}
        membranes = network.simulate(inputs.spikes)
        assert found.accuracy_float == np.mean(membranes.sum(axis=0).argmax(axis=1) == inputs.labels)
        shares[beta] = found.share
    assert shares[1.0] == 1.0
    assert 0.5 < shares[0.9] < 1.0
    unlabelled = agreement(network, quantise(network), Inputs(spikes=inputs.spikes))
    assert (unlabelled.accuracy_float, unlabelled.accuracy_integers) == (None, None)
