"""Membranes of the last neurons as the result."""

import numpy as np
import pytest
from harness.floats import join, network, population, single
from harness.networks import rng_of

from spikeloom.model.network import Connection
from spikeloom.model.readout import membrane_readout
from spikeloom.sim.core.neuron import Reset


@pytest.mark.parametrize(
    "options",
    [{}, {"alpha": 0.5}, {"noise": 0.5}, {"adaptation_factor": 0.5, "adaptation_step": 1.0}, {"value_limit": 2.0}],
    ids=lambda options: next(iter(options), "plain"),
)
def test_the_membranes_are_those_of_the_neurons_that_fired(options, request):
    """Only spikes are dropped; no membrane changes."""
    hidden, last = population("hidden", 4), population("last", 3, reset=Reset.NONE, bias=0.25, **options)
    rng = rng_of(request.node.nodeid)
    weights = [
        Connection(source="input", target="hidden", weight=rng.normal(0.5, 0.5, (4, 6))),
        Connection(source="hidden", target="last", weight=rng.normal(0, 1, (3, 4))),
    ]
    fired = network([hidden, last], weights, inputs=6)
    inputs = rng.random((30, 3, 6)) < 0.5
    expected = fired.run(inputs, record_membranes=["last"])
    silent = membrane_readout(fired)
    assert np.array_equal(silent.simulate(inputs), expected.membranes["last"])
    assert 0 < expected.spikes["last"].sum() < expected.spikes["last"].size
    assert membrane_readout(silent) is silent


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"reset": Reset.ZERO}, "reset zero"),
        ({"reset": Reset.NONE, "refractory": 2}, "a refractory period"),
        ({"reset": Reset.NONE, "delay": np.array([1])}, "delay"),
    ],
)
def test_membranes_that_spikes_change_are_refused(options, rule):
    message = "the output 'lif' must have reset none and no refractory period for its membranes to be the result, not"
    with pytest.raises(ValueError, match=f"^{message} {rule}$"):
        membrane_readout(single(**options))


def test_spikes_that_others_get_are_refused():
    recurrent = network([population(reset=Reset.NONE)], [join("input", "lif"), join("lif", "lif", delay=1)])
    with pytest.raises(ValueError, match=r"^the spikes of the output 'lif' must reach no neurons for its"):
        membrane_readout(recurrent)
