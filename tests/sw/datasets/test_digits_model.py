"""The shipped digits network agrees with its description in models/README.md."""

import numpy as np
import pytest

from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import RateEncoder, encoder_from
from spikeloom.datasets.readout import accuracy
from spikeloom.datasets.shipped import load_digits, shipped
from spikeloom.frontends.nir import load
from spikeloom.sim.core.neuron import Leak, Reset
from spikeloom.sim.lib.lfsr import Lfsr
from spikeloom.sim.network.reference import simulate


@pytest.fixture(scope="module")
def network():
    return load(shipped("digits-mlp.nir"))


@pytest.fixture(scope="module")
def held_out(network):
    _, digits = load_digits()
    return encoder_from(network.encoder).encode(digits.images), digits.labels


def test_file_needs_no_options(network):
    """Reset rule, leak and encoder are in the file, and nothing has to be assumed."""
    assert network.notes == ()
    assert [(p.name, p.size, p.reset, p.reset_delay, p.refractory) for p in network.populations] == [
        ("hidden", 32, Reset.ZERO, 0, 0),
        ("digit", 10, Reset.ZERO, 0, 0),
    ]
    assert all((p.beta == 0.875).all() and (p.threshold == 1.0).all() for p in network.populations)
    assert encoder_from(network.encoder) == RateEncoder(steps=8, bits=4, lfsr=Lfsr(width=4, seed=1))


def test_events_per_image(held_out):
    events = held_out[0].sum(axis=(0, 2))
    assert events.mean() < 160
    assert events.max() < 230


def test_float_accuracy(network, held_out):
    spikes, labels = held_out
    assert accuracy(network.simulate(spikes), labels) >= 0.97


@pytest.mark.parametrize(("width", "least"), [(8, 0.97), (4, 0.96)])
def test_integer_accuracy(network, held_out, width, least):
    spikes, labels = held_out
    quantised = quantise(network, Quantisation(weight_width=width))
    assert all(p.parameters.leak is Leak.SHIFT for p in quantised.populations)
    result = simulate(quantised, spikes)
    assert accuracy(result.spikes["digit"], labels) >= least
    for fired in result.spikes.values():
        assert 0.02 < fired.mean() < 0.5
        assert np.count_nonzero(fired.any(axis=(0, 1))) >= fired.shape[2] - 1  # one hidden neuron never fires
