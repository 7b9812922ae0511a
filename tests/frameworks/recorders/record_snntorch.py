"""Recordings of snnTorch: neurons with every reset, recurrence, convolutions, and the losses of its exporter."""

from __future__ import annotations

import warnings

import snntorch as snn
import torch
from common import Recorder, dyadic, stimulus
from snntorch import utils
from snntorch.export_nir import export_to_nir
from torch_layers import conv, in_double, linear, outputs_of_modules, tensor

warnings.simplefilter("ignore")
RECORDER = Recorder("snntorch", "snntorch")
LINES, HIDDEN, CLASSES = 12, 16, 6
RESETS = [(reset, delay) for reset in ("subtract", "zero") for delay in (1, 0)]


def neuron(kind, size, rng, *, beta=None, threshold=1.0, **options):
    """Return neurons with one ``beta`` and one threshold each, as tensors, which the exporter needs."""
    size = (size,) if isinstance(size, int) else size
    beta = rng.uniform(0.6, 0.95, size) if beta is None else beta
    options = {"init_hidden": True} | options
    return kind(beta=tensor(beta) + torch.zeros(size), threshold=tensor(threshold) + torch.zeros(size), **options)


def recurrent(layer, weight, bias=None):
    with torch.no_grad():
        layer.recurrent.weight.copy_(tensor(weight))
        if bias is None:
            layer.recurrent.bias.zero_()
        else:
            layer.recurrent.bias.copy_(tensor(bias))
    return layer


def record(feature, layers, inputs, *, nodes=None, **options):
    """Record a ``Sequential``; ``nodes`` maps the positions of its neurons to the names of their NIR nodes."""
    module = torch.nn.Sequential(*layers)
    positions = [str(i) for i, layer in enumerate(layers) if isinstance(layer, snn.SpikingNeuron)]
    nodes = nodes or {
        position: f"{position}.lif" if type(layers[int(position)]).__name__.startswith("R") else position
        for position in positions
    }

    def run():
        double = in_double(module)
        utils.reset(double)
        with torch.no_grad():
            for layer in double:  # the exporter's own forward pass leaves states of another batch
                for name in ("mem", "syn", "spk"):
                    if hasattr(layer, name) and isinstance(getattr(layer, name), torch.Tensor):
                        setattr(layer, name, torch.zeros((), dtype=torch.float64))
        return outputs_of_modules(
            double, positions, lambda: [double(torch.tensor(step, dtype=torch.float64)) for step in inputs]
        )[1]

    spikes = {nodes[position]: array for position, array in run().items()}

    def export():
        utils.reset(module)
        # One sample without a batch: the exporter mistakes a batch for a dimension of the neurons.
        sample = torch.tensor(inputs[0, :1])
        return export_to_nir(module, sample, ignore_dims=[0])

    RECORDER.record(feature, export, inputs, spikes=spikes, **options)


def plain(feature, kind=snn.Leaky, *, load=None, extra=None, **options):
    """Record two layers with random numbers."""
    rng = RECORDER.rng(feature)
    more = {} if kind is snn.Leaky else {"alpha": tensor(rng.uniform(0.3, 0.8, HIDDEN))}
    last = {} if kind is snn.Leaky else {"alpha": tensor(rng.uniform(0.3, 0.8, CLASSES))}
    layers = [
        linear(rng.normal(0.1, 0.5, (HIDDEN, LINES)), rng.normal(0.0, 0.1, HIDDEN)),
        neuron(kind, HIDDEN, rng, **more, **options),
        linear(rng.normal(0.05, 0.5, (CLASSES, HIDDEN))),
        neuron(kind, CLASSES, rng, **last, **options),
    ]
    record(feature, layers, stimulus(rng, LINES), load=load, **(extra or {}))


def main():
    for reset, delay in RESETS:
        load = {"reset": reset, "reset_delay": delay}
        when = "delayed" if delay else "at once"
        options = {"reset_mechanism": reset, "reset_delay": bool(delay)}
        plain(f"Leaky reset {reset} {when}", load=load, **options)
        held = {"refractory": 1} if reset == "zero" and delay else {}
        plain(f"Synaptic reset {reset} {when}", snn.Synaptic, load=load | held, **options)

        feature = f"Leaky no leak dyadic reset {reset} {when}"
        rng = RECORDER.rng(feature)
        layers = [
            linear(dyadic(rng, (HIDDEN, LINES), -0.5, 0.75), dyadic(rng, HIDDEN, -0.2, 0.2)),
            neuron(snn.Leaky, HIDDEN, rng, beta=1.0, threshold=1.25, **options),
            linear(dyadic(rng, (CLASSES, HIDDEN))),
            neuron(snn.Leaky, CLASSES, rng, beta=1.0, threshold=1.25, **options),
        ]
        record(feature, layers, stimulus(rng, LINES), load=load, exact=True)

        feature = f"RLeaky reset {reset} {when}"
        rng = RECORDER.rng(feature)
        layers = [
            linear(rng.normal(0.1, 0.5, (HIDDEN, LINES))),
            recurrent(
                neuron(snn.RLeaky, HIDDEN, rng, linear_features=HIDDEN, **options),
                rng.normal(0.0, 0.3, (HIDDEN, HIDDEN)),
                rng.normal(0.0, 0.1, HIDDEN),
            ),
            linear(rng.normal(0.1, 0.5, (CLASSES, HIDDEN))),
            neuron(snn.Leaky, CLASSES, rng, **options),
        ]
        hold = {"layers": {"1.lif": {"refractory": 1}}} if held else {}
        record(feature, layers, stimulus(rng, LINES), load=load | hold, recurrent=True)

    plain("Leaky reset none", load={"reset": "none"}, reset_mechanism="none")

    feature = "RLeaky one to one"
    rng = RECORDER.rng(feature)
    layers = [
        linear(rng.normal(0.1, 0.5, (HIDDEN, LINES))),
        neuron(snn.RLeaky, HIDDEN, rng, V=tensor(rng.normal(0.0, 0.4, HIDDEN)), all_to_all=False),
    ]
    record(feature, layers, stimulus(rng, LINES), recurrent=True)

    feature = "RSynaptic"
    rng = RECORDER.rng(feature)
    layers = [
        linear(rng.normal(0.1, 0.4, (HIDDEN, LINES))),
        recurrent(
            neuron(snn.RSynaptic, HIDDEN, rng, alpha=tensor(rng.uniform(0.3, 0.8, HIDDEN)), linear_features=HIDDEN),
            rng.normal(0.0, 0.2, (HIDDEN, HIDDEN)),
        ),
    ]
    record(feature, layers, stimulus(rng, LINES), recurrent=True)

    feature = "Leaky learned beta and threshold"
    rng = RECORDER.rng(feature)
    layers = [
        linear(rng.normal(0.1, 0.5, (HIDDEN, LINES))),
        neuron(snn.Leaky, HIDDEN, rng, threshold=rng.uniform(0.5, 1.5, HIDDEN), learn_beta=True, learn_threshold=True),
    ]
    record(feature, layers, stimulus(rng, LINES))

    feature = "Conv2d, AvgPool2d, Flatten"
    rng = RECORDER.rng(feature)
    layers = [
        conv(rng.normal(0.1, 0.5, (3, 1, 3, 3)), rng.normal(0.0, 0.1, 3), padding=1),
        neuron(snn.Leaky, (3, 8, 8), rng),
        torch.nn.AvgPool2d(2),
        torch.nn.Flatten(),
        linear(rng.normal(0.05, 0.5, (CLASSES, 48))),
        neuron(snn.Leaky, CLASSES, rng),
    ]
    record(feature, layers, stimulus(rng, (1, 8, 8), steps=50, batch=2))

    for feature, size, refused in (
        ("Conv2d stride, dilation, groups", (4, 5, 4), ""),
        ("Conv2d, beta per channel", (4, 1, 1), "Type inference error"),
    ):
        rng = RECORDER.rng(feature)
        layers = [
            conv(rng.normal(0.1, 0.5, (4, 1, 3, 3)), stride=2, padding=2, dilation=2, groups=2),
            neuron(snn.Leaky, size, rng),
        ]
        record(feature, layers, stimulus(rng, (2, 9, 7), steps=50, batch=2), refused=refused)

    feature = "AvgPool2d padding"
    rng = RECORDER.rng(feature)
    layers = [
        torch.nn.AvgPool2d(3, stride=2, padding=1),
        torch.nn.Flatten(),
        linear(rng.normal(0.3, 1.5, (CLASSES, 16))),
        neuron(snn.Leaky, CLASSES, rng),
    ]
    # The exporter writes a padding of 0, and then reports that the shapes do not match.
    record(feature, layers, stimulus(rng, (1, 8, 8)), refused="Type inference error")

    lost = "the exporter drops inhibition: only the neuron with the largest membrane fires in snnTorch"
    plain("Leaky inhibition", inhibition=True, extra={"lost": lost})
    lost = "the exporter drops graded_spikes_factor: the spikes of the network have the value 1"
    rng = RECORDER.rng("Leaky graded spikes")
    layers = [
        linear(rng.normal(0.1, 0.5, (HIDDEN, LINES))),
        neuron(snn.Leaky, HIDDEN, rng, graded_spikes_factor=2.0),
        linear(rng.normal(0.05, 0.5, (CLASSES, HIDDEN))),
        neuron(snn.Leaky, CLASSES, rng),
    ]
    record("Leaky graded spikes", layers, stimulus(rng, LINES), lost=lost)

    for kind in (snn.Lapicque, snn.Alpha):
        rng = RECORDER.rng(kind.__name__)
        options = {"alpha": 0.8, "beta": 0.7} if kind is snn.Alpha else {"beta": 0.8}
        layers = [linear(rng.normal(0.3, 0.5, (HIDDEN, LINES))), kind(init_hidden=True, **options)]
        record(kind.__name__, layers, stimulus(rng, LINES), refused="'NoneType' object")


if __name__ == "__main__":
    main()
