"""Random chains of layers as PyTorch modules, with weights, inputs and thresholds."""

import numpy as np
import torch
from harness.recordings import GEOMETRY

from spikeloom.compiler.quantise import Quantisation
from spikeloom.sim.core.neuron import Compare, Reset, Rounding
from spikeloom.train.layers import Convolutional, Dense
from spikeloom.train.network import SpikingNetwork
from spikeloom.train.neurons import Neurons

INPUTS, OUTPUTS = 30, 5


def random_neurons(rng, *, spiking=True):
    def pick(*values):
        return values[rng.integers(len(values))]

    alpha = pick(None, None, 0.75, 0.8, 1 - 2**-9)
    learned = [name for name in ("threshold", "bias", "beta") if rng.random() < 0.4]
    if alpha is not None and rng.random() < 0.4:
        learned.append("alpha")
    return Neurons(
        beta=pick(1.0, 0.0, 0.875, 0.9, 0.95),
        alpha=alpha,
        threshold=pick(0.5, 1.0, 3.0),
        reset_value=-0.25,
        bias=pick(0.0, 0.1, -0.1),
        compare=pick(*Compare),
        reset=pick(*Reset),
        reset_delay=pick(0, 1),
        refractory=pick(0, 0, 2),
        spiking=spiking,
        learned=tuple(learned),
    )


def random_model(rng, *, hidden=24, weight_width=None, v_width=None):
    """Two layers with integers; the first may be convolutional or recurrent, and the input may have values."""
    torch.manual_seed(int(rng.integers(1 << 31)))
    input_value_width = 5 * int(rng.integers(2))
    options = {"input_bits": 4 if input_value_width else 0}
    if rng.random() < 0.3:
        first = Convolutional("first", GEOMETRY, random_neurons(rng), **options)
    else:
        recurrent = bool(rng.integers(2))
        first = Dense("first", INPUTS, hidden, random_neurons(rng), recurrent=recurrent, activity=0.3, **options)
    last = Dense("last", first.size, OUTPUTS, random_neurons(rng, spiking=bool(rng.integers(2))), activity=0.3)
    with torch.no_grad():
        for layer in (first, last):
            if layer.recurrent is not None:
                layer.recurrent.normal_(0, 0.3)
            for name in layer.neurons.learned:
                values = getattr(layer, name)
                values.mul_(1 + 0.1 * torch.rand(layer.size)).clamp_(max=1.0 if name in ("alpha", "beta") else 9.0)
    quantisation = Quantisation(
        weight_width=weight_width or int(rng.integers(1, 9)),
        v_width=v_width or int(rng.choice([8, 10, 16, 24])),
        rounding=Rounding.NEAREST if rng.integers(2) else Rounding.FLOOR,
    )
    return SpikingNetwork(
        [first, last], input_shape=(INPUTS,), input_value_width=input_value_width, quantisation=quantisation
    )


def random_inputs(rng, model, *, steps=20, batch=5):
    shape = (steps, batch, INPUTS)
    values = rng.integers(-16, 16, shape) if model.input_value_width else rng.integers(0, 2, shape)
    return torch.from_numpy(values.astype(np.float32))
