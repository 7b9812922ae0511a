"""Recordings of SpikingJelly: IF, LIF, parametric LIF and current-based LIF neurons, every reset, convolutions."""

from __future__ import annotations

import warnings

import torch
from common import Recorder, dyadic, stimulus
from spikingjelly.activation_based import functional, neuron
from spikingjelly.activation_based.nir_exchange import export_to_nir
from torch_layers import conv, in_double, linear, outputs_of_modules

warnings.simplefilter("ignore")
RECORDER = Recorder("spikingjelly", "spikingjelly")
LINES, HIDDEN, CLASSES = 12, 16, 6


def record(feature, layers, inputs, *, dt=1e-4, **options):
    """Record a ``Sequential``; the nodes of its neurons are named after their positions, for example ``_1``."""
    module = torch.nn.Sequential(*layers)
    positions = [str(i) for i, layer in enumerate(layers) if isinstance(layer, neuron.BaseNode)]
    double = in_double(module)
    functional.reset_net(double)
    _, spikes = outputs_of_modules(
        double, positions, lambda: [double(torch.tensor(step, dtype=torch.float64)) for step in inputs]
    )

    def export():
        functional.reset_net(module)
        return export_to_nir(module, torch.tensor(inputs[0, :1]), dt=dt)

    RECORDER.record(feature, export, inputs, spikes={f"_{name}": array for name, array in spikes.items()}, **options)


def two_layers(feature, cell, *, scale=1.0, **options):
    """Record two layers with random weights and biases."""
    rng = RECORDER.rng(feature)
    layers = [
        linear(rng.normal(0.1, 0.5, (HIDDEN, LINES)) * scale, rng.normal(0.0, 0.1, HIDDEN) * scale),
        cell(),
        linear(rng.normal(0.1, 0.5, (CLASSES, HIDDEN)) * scale),
        cell(),
    ]
    record(feature, layers, stimulus(rng, LINES), **options)


def main():
    two_layers("IFNode", lambda: neuron.IFNode(), scale=0.7)
    two_layers("IFNode, reset value", lambda: neuron.IFNode(v_reset=-0.5, v_threshold=0.75), scale=0.7)
    two_layers("LIFNode", lambda: neuron.LIFNode(tau=2.5), scale=2.0)
    two_layers("LIFNode, reset value", lambda: neuron.LIFNode(tau=3.0, v_reset=0.25, v_threshold=1.5), scale=2.0)
    two_layers("LIFNode, input not decayed", lambda: neuron.LIFNode(tau=4.0, decay_input=False))
    two_layers(
        "LIFNode, input not decayed, reset value",
        lambda: neuron.LIFNode(tau=4.0, decay_input=False, v_reset=-0.25),
    )
    two_layers("LIFNode, step of 1 ms", lambda: neuron.LIFNode(tau=2.5), scale=2.0, dt=1e-3, load={"time_step_s": 1e-3})
    two_layers("ParametricLIFNode", lambda: neuron.ParametricLIFNode(init_tau=3.3), scale=2.0)
    two_layers("CUBALIFNode", lambda: neuron.CUBALIFNode(c_decay=0.4, v_decay=0.7, v_threshold=1.0))
    two_layers("CUBALIFNode, reset value", lambda: neuron.CUBALIFNode(v_threshold=1.0, v_reset=-0.25))
    for kind in (neuron.IFNode, neuron.LIFNode):
        two_layers(f"{kind.__name__}, soft reset", lambda kind=kind: kind(v_reset=None), refused="soft reset")

    feature = "IFNode dyadic"
    rng = RECORDER.rng(feature)
    layers = [
        linear(dyadic(rng, (HIDDEN, LINES), -0.5, 0.75), dyadic(rng, HIDDEN, -0.2, 0.2)),
        neuron.IFNode(v_threshold=1.25, v_reset=-0.5),
        linear(dyadic(rng, (CLASSES, HIDDEN))),
        neuron.IFNode(v_threshold=1.25),
    ]
    record(feature, layers, stimulus(rng, LINES), exact=True)

    feature = "Conv2d, AvgPool2d, Flatten"
    rng = RECORDER.rng(feature)
    layers = [
        conv(rng.normal(0.1, 0.5, (3, 2, 3, 3)) * 2.0, rng.normal(0.0, 0.1, 3), padding=1),
        neuron.LIFNode(tau=2.0),
        torch.nn.AvgPool2d(2),
        torch.nn.Flatten(),
        linear(rng.normal(0.1, 0.5, (CLASSES, 48)) * 2.0),
        neuron.IFNode(),
    ]
    record(feature, layers, stimulus(rng, (2, 8, 8), steps=50, batch=2))

    feature = "Conv1d"
    rng = RECORDER.rng(feature)
    layers = [conv(rng.normal(0.1, 0.5, (3, 2, 4)), rng.normal(0.0, 0.1, 3), stride=2, padding=1), neuron.IFNode()]
    record(feature, layers, stimulus(rng, (2, 16), steps=50))

    feature = "Conv2d groups"
    rng = RECORDER.rng(feature)
    layers = [conv(rng.normal(0.1, 0.5, (4, 1, 3, 3)), groups=2), neuron.IFNode()]
    record(feature, layers, stimulus(rng, (2, 8, 8), steps=50), refused="Grouped convolutions")


if __name__ == "__main__":
    main()
