"""Every spike and membrane of the layers equals the integer model, and the exported network gives the same integers."""

import numpy as np
import pytest
import torch
from harness.networks import rng_of

from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.sim.core.neuron import signed_range
from spikeloom.sim.network.reference import simulate
from spikeloom.train.layers import Dense
from spikeloom.train.network import SpikingNetwork
from spikeloom.train.neurons import Neurons
from training.cases import random_inputs, random_model

MODELS = 150


def compared(model, inputs, network):
    """The results of the reference, after every cell of every layer has been compared."""
    values = inputs.numpy().astype(np.int64)
    found = simulate(network, values, record=[layer.name for layer in model.layers])
    for layer, (_, outputs) in zip(model.layers, model.run(inputs), strict=True):
        expected = found.spikes[layer.name] if layer.neurons.spiking else found.states[layer.name].v
        assert np.array_equal(outputs.detach().numpy(), expected)
    return found


def test_random_networks_equal_the_integers_in_every_cell():
    fired = saturated = silent = 0
    for number in range(MODELS):
        rng = rng_of(f"layers {number}")
        model = random_model(rng)
        inputs = random_inputs(rng, model)
        found = compared(model, inputs, model.integers())
        compared(model, inputs, quantise(model.to_network(), model.quantisation))
        low, high = signed_range(model.quantisation.v_width)
        membranes = np.concatenate([state.v.ravel() for state in found.states.values()])
        fired += 0 < found.spikes["first"].mean() < 1
        saturated += bool(np.any((membranes == low) | (membranes == high)))
        silent += not model.layers[-1].neurons.spiking
    assert fired > 0.9 * MODELS
    assert saturated > 0.1 * MODELS
    assert 0.3 * MODELS < silent < 0.7 * MODELS


@pytest.mark.parametrize("width", range(1, 9))
def test_training_keeps_the_integers(width):
    """The integers are equal after each of several updates, at every width."""
    rng = rng_of(f"updates {width}")
    model = random_model(rng, weight_width=width, v_width=16)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    inputs = random_inputs(rng, model)
    before = model.integers().connections[0].kernel
    wanted = torch.from_numpy(rng.normal(size=model(inputs).shape[1:]))
    for _ in range(8):
        optimiser.zero_grad()
        (model.run(inputs)[-1][0].mean(0) - wanted).square().mean().backward()
        optimiser.step()
        model.constrain()
        model.rescale()
        compared(model, inputs, quantise(model.to_network(), model.quantisation))
    assert np.any(model.integers().connections[0].kernel != before)


def test_an_input_that_stays_the_same_is_added_up_once():
    rng = rng_of("constant")
    model = random_model(rng)
    once = random_inputs(rng, model, steps=1)
    spikes = model(once.expand(20, -1, -1))
    assert torch.equal(spikes, model(once.repeat(20, 1, 1)))
    assert spikes.any()


def test_shorter_products_are_refused():
    model = random_model(rng_of("precision"))
    torch.set_float32_matmul_precision("medium")
    try:
        with pytest.raises(
            RuntimeError, match=r"^torch\.get_float32_matmul_precision\(\) must be 'highest', .*'medium'$"
        ):
            model(random_inputs(rng_of("precision"), model))
    finally:
        torch.set_float32_matmul_precision("highest")


def test_wide_sums_take_double_precision():
    """20,000 weights of 16 bits have sums that single precision would round."""
    torch.manual_seed(1)
    model = SpikingNetwork(
        [Dense("last", 20_000, 2, Neurons(threshold=50.0, spiking=False))],
        input_shape=(20_000,),
        quantisation=Quantisation(weight_width=16, v_width=24),
    )
    inputs = torch.randint(0, 2, (3, 2, 20_000)).float()
    found = compared(model, inputs, model.integers())
    assert np.abs(found.states["last"].v).max() > 1 << 15
    assert model(inputs).dtype == torch.float64


def test_shapes_are_checked():
    model = random_model(rng_of("shape"))
    with pytest.raises(ValueError, match=r"^spikes must have shape \(T, B, n\), not \(3, 30\)$"):
        model(torch.zeros(3, 30))


def test_floats_have_no_integers():
    model = random_model(rng_of("floats"))
    model.quantise(None)
    with pytest.raises(ValueError, match=r"^a network must have a quantisation to have integers, not None$"):
        model.to_network()
    with pytest.raises(ValueError, match=r"^layer first must have a quantisation, not None$"):
        model.layers[0].integers()
