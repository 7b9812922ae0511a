"""Recordings of Rockpool's torch modules: neurons with and without synaptic currents, biases, recurrence, readouts."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import torch
from common import Recorder, dyadic, stimulus, two_layers_of
from rockpool.nn.combinators import Sequential
from rockpool.nn.modules import ExpSynTorch, LIFNeuronTorch, LIFTorch, LinearTorch
from rockpool.nn.modules.torch.nir import to_nir

warnings.simplefilter("ignore")
torch.set_num_threads(1)
RECORDER = Recorder("rockpool", "rockpool")
LINES, HIDDEN, CLASSES = 12, 16, 6
ONE = torch.tensor(1.0)


def tensor(values):
    return torch.tensor(np.asarray(values, np.float32))


def without_gradient(network):
    for _, layer in network.named_children():
        for parameter in torch.nn.Module.parameters(layer):
            parameter.requires_grad_(False)


class InDouble:
    """A spike function whose result is in double precision."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *arguments):
        return self.function(*arguments).double()


def linear(weight, bias=None):
    options = {} if bias is None else {"bias": tensor(bias)}
    return LinearTorch(weight.shape[::-1], weight=tensor(weight.T), has_bias=bias is not None, **options)


def record(feature, layers, inputs, *, prepare=lambda network: None, **options):
    """Record a ``Sequential``; the nodes of its modules are named ``0_LinearTorch`` and so on."""
    network = Sequential(*layers)
    prepare(network)
    spikes, membranes = {}, {}
    names = [f"{i}_{type(layer).__name__}" for i, layer in enumerate(layers)]
    torch.set_default_dtype(torch.float64)  # modules collect their output in arrays of this type
    x = torch.tensor(inputs, dtype=torch.float64).transpose(0, 1)
    with torch.no_grad():
        for name, layer in zip(names, layers, strict=True):
            double = copy.deepcopy(layer).double()
            if hasattr(double, "spike_generation_fn"):  # the module returns single precision
                double.spike_generation_fn = InDouble(double.spike_generation_fn)
            x, _, _ = double(x)
            if not isinstance(layer, LinearTorch):
                kept = membranes if isinstance(layer, ExpSynTorch) else spikes
                kept[name] = x.transpose(0, 1).numpy().copy()
    torch.set_default_dtype(torch.float32)
    export = lambda: to_nir(network)  # noqa: E731
    RECORDER.record(feature, export, inputs, spikes=spikes, membranes=membranes, **options)


def two_layers(feature, cell, *, scale=1.0, **options):
    """Record two layers with random weights and biases."""
    rng = RECORDER.rng(feature)
    layers = two_layers_of(rng, linear, cell, LINES, HIDDEN, CLASSES, scale)
    record(feature, layers, stimulus(rng, LINES), **options)


def taus(rng, size):
    return tensor(rng.uniform(5e-3, 30e-3, size))


def neuron(**options):
    def cell(rng, size):
        given = {"tau_mem": taus(rng, size), "threshold": torch.ones(size), "max_spikes_per_dt": ONE} | options
        return LIFNeuronTorch((size,), **given)

    return cell


def current(**options):
    def cell(rng, size):
        given = {
            "tau_mem": taus(rng, size),
            "tau_syn": tensor(rng.uniform(2e-3, 8e-3, (size, 1))),
            "threshold": torch.ones(size),
            "max_spikes_per_dt": ONE,
        } | options
        return LIFTorch((size,), **given)

    return cell


def main():
    two_layers("LIFNeuronTorch", neuron(), scale=0.5)
    two_layers("LIFNeuronTorch, step of 2 ms", neuron(dt=2e-3), scale=0.5, load={"time_step_s": 2e-3})
    feature = "LIFNeuronTorch, thresholds"
    rng = RECORDER.rng(feature)
    layers = [
        linear(rng.normal(0.1, 0.5, (HIDDEN, LINES))),
        neuron(threshold=tensor(rng.uniform(0.5, 1.5, HIDDEN)))(rng, HIDDEN),
    ]
    record(feature, layers, stimulus(rng, LINES))
    two_layers("LIFTorch", current(), scale=0.15)
    several = {"max_spikes": 15}
    two_layers("LIFNeuronTorch, several spikes", neuron(max_spikes_per_dt=torch.tensor(2.0**16)), load=several)
    three = neuron(max_spikes_per_dt=torch.tensor(3.0))
    two_layers("LIFNeuronTorch, at most 3 spikes", three, load={"max_spikes": 3})
    endless = current(max_spikes_per_dt=torch.tensor(2.0**16))
    two_layers("LIFTorch, several spikes", endless, scale=0.4, load=several)
    lost = "the exporter drops the bias of the neurons"
    two_layers("LIFNeuronTorch, bias", neuron(bias=torch.tensor(0.1)), scale=0.4, lost=lost)
    two_layers("LIFTorch, bias", current(bias=torch.tensor(0.1)), scale=0.1, lost=lost)

    feature = "LIFTorch recurrent"
    rng = RECORDER.rng(feature)
    layers = [
        linear(rng.normal(0.1, 0.5, (HIDDEN, LINES)) * 0.2),
        current(has_rec=True, w_rec=tensor(rng.normal(0.0, 0.1, (HIDDEN, HIDDEN))))(rng, HIDDEN),
    ]
    lost = "the exporter drops w_rec: the neurons get no spikes from each other"
    record(feature, layers, stimulus(rng, LINES), lost=lost)

    feature = "LIFNeuronTorch dyadic"
    rng = RECORDER.rng(feature)
    endless = {"tau_mem": torch.tensor(torch.inf), "threshold": torch.tensor(1.25)}
    layers = [
        linear(dyadic(rng, (HIDDEN, LINES), -0.5, 0.6), dyadic(rng, HIDDEN, -0.2, 0.2)),
        neuron(**endless)(rng, HIDDEN),
    ]
    record(feature, layers, stimulus(rng, LINES), exact=True)

    for feature, freeze, refused in (
        ("ExpSynTorch readout", False, "requires grad"),
        ("ExpSynTorch readout, without gradient", True, ""),
    ):
        rng = RECORDER.rng(feature)
        layers = [
            linear(rng.normal(0.1, 0.5, (HIDDEN, LINES)) * 0.5),
            neuron()(rng, HIDDEN),
            linear(rng.normal(0.0, 0.5, (CLASSES, HIDDEN)), rng.normal(0.0, 0.1, CLASSES)),
            ExpSynTorch((CLASSES,), tau=tensor(rng.uniform(5e-3, 20e-3, CLASSES))),
        ]
        prepare = without_gradient if freeze else lambda network: None
        record(feature, layers, stimulus(rng, LINES), prepare=prepare, refused=refused)


if __name__ == "__main__":
    main()
