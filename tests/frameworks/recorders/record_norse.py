"""Recordings of Norse: neurons with and without synaptic currents, readouts, leak potentials, reset values."""

from __future__ import annotations

import copy
import warnings

import norse.torch as norse
import numpy as np
import torch
from common import Recorder, dyadic, stimulus, two_layers_of
from norse.torch.functional.iaf import IAFParameters
from norse.torch.functional.leaky_integrator_box import LIBoxParameters
from norse.torch.functional.lif import LIFParameters
from norse.torch.functional.lif_box import LIFBoxParameters
from norse.torch.functional.reset import reset_subtract
from norse.torch.module.iaf import IAFCell
from norse.torch.utils.export_nir import to_nir
from torch_layers import conv, linear

warnings.simplefilter("ignore")
RECORDER = Recorder("norse", "norse")
LINES, HIDDEN, CLASSES = 12, 16, 6


def numbers(low, high, size, rng):
    return torch.tensor(rng.uniform(low, high, size).astype(np.float32))


def constant(value):
    return torch.tensor(value, dtype=torch.float32)


def in_double(parameters):
    """Return the parameters of a neuron in double precision, with their single-precision values."""
    return type(parameters)(*(x.detach().double() if isinstance(x, torch.Tensor) else x for x in parameters))


def record(feature, layers, inputs, **options):
    """Record a sequence of layers; each is run separately with its own state."""
    spikes, membranes = {}, {}
    double = [copy.deepcopy(layer).double() for layer in layers]
    for layer in double:
        if hasattr(layer, "p"):
            layer.p = in_double(layer.p)
    states = [None] * len(layers)
    found = {str(i): [] for i, layer in enumerate(layers) if hasattr(layer, "p")}
    torch.set_default_dtype(torch.float64)
    with torch.no_grad():
        for step in inputs:
            x = torch.tensor(step, dtype=torch.float64)
            for i, layer in enumerate(double):
                if hasattr(layer, "p"):
                    if states[i] is None:
                        # An initial membrane with one element is broadcast to all neurons.
                        state = layer.initial_state(x)
                        states[i] = type(state)(*(part.detach().double() + torch.zeros_like(x) for part in state))
                    x, states[i] = layer(x, states[i])
                    found[str(i)].append(x.numpy().copy())
                else:
                    x = layer(x)
    torch.set_default_dtype(torch.float32)
    for name, outputs in found.items():
        readout = type(layers[int(name)]).__name__.startswith("LI") and "F" not in type(layers[int(name)]).__name__
        (membranes if readout else spikes)[name] = np.stack(outputs)
    module = norse.SequentialState(*layers)

    def export():
        if not any(isinstance(layer, torch.nn.Conv2d) for layer in layers):
            return to_nir(module, torch.tensor(inputs[0, :1]))
        # The exporter mistakes the batch for a dimension, and the convolution has no input shape until types are
        # inferred.
        graph = to_nir(module, torch.tensor(inputs[0, 0]))
        graph.infer_types()
        return graph

    RECORDER.record(
        feature,
        export,
        inputs,
        spikes=spikes,
        membranes=membranes,
        **options,
    )


def two_layers(feature, cell, *, scale=1.0, inputs=None, **options):
    """Record two layers with random weights and biases."""
    rng = RECORDER.rng(feature)
    layers = two_layers_of(rng, linear, lambda rng, size: cell(size, rng), LINES, HIDDEN, CLASSES, scale)
    record(feature, layers, stimulus(rng, LINES), **options)


def box(**fixed):
    def cell(size, rng):
        given = {"tau_mem_inv": numbers(80.0, 400.0, size, rng), "v_leak": torch.zeros(size), "v_th": torch.ones(size)}
        return norse.LIFBoxCell(LIFBoxParameters(**given | {key: value(size, rng) for key, value in fixed.items()}))

    return cell


def current(**fixed):
    def cell(size, rng):
        given = {
            "tau_syn_inv": numbers(200.0, 600.0, size, rng),
            "tau_mem_inv": numbers(80.0, 400.0, size, rng),
            "v_leak": torch.zeros(size),
            "v_th": torch.ones(size),
        }
        return norse.LIFCell(LIFParameters(**given | {key: value(size, rng) for key, value in fixed.items()}))

    return cell


def integrate(**fixed):
    def cell(size, rng):
        return IAFCell(IAFParameters(**{"v_th": torch.ones(size)} | {k: v(size, rng) for k, v in fixed.items()}))

    return cell


def main():
    two_layers("LIFBoxCell", box(), scale=3.0)
    two_layers("LIFBoxCell, leak potential", box(v_leak=lambda n, rng: numbers(-0.3, 0.6, n, rng)), scale=3.0)
    two_layers("LIFBoxCell, thresholds", box(v_th=lambda n, rng: numbers(0.5, 1.5, n, rng)), scale=3.0)
    lost = "the exporter drops v_reset: the membrane is 0 after a spike"
    two_layers("LIFBoxCell, reset value", box(v_reset=lambda n, rng: constant(-0.5)), scale=3.0, lost=lost)
    lost = "the exporter drops reset_method: the membrane is 0 after a spike"
    two_layers(
        "LIFBoxCell, reset by subtraction", box(reset_method=lambda n, rng: reset_subtract), scale=3.0, lost=lost
    )
    two_layers(
        "LIFBoxCell, reset by subtraction, given",
        box(reset_method=lambda n, rng: reset_subtract),
        scale=3.0,
        load={"reset": "subtract"},
    )
    two_layers("LIFCell", current(), scale=1.5)
    two_layers("LIFCell, leak potential", current(v_leak=lambda n, rng: numbers(-0.3, 0.6, n, rng)), scale=1.5)
    two_layers("IAFCell", integrate(), scale=0.7)
    two_layers("IAFCell, thresholds", integrate(v_th=lambda n, rng: numbers(0.5, 1.5, n, rng)), scale=0.7)
    lost = "the exporter drops v_reset: the membrane is 0 at the start and after a spike"
    two_layers("IAFCell, reset value", integrate(v_reset=lambda n, rng: constant(0.25)), scale=0.7, lost=lost)

    feature = "IAFCell dyadic"
    rng = RECORDER.rng(feature)
    layers = [
        linear(dyadic(rng, (HIDDEN, LINES), -0.5, 0.75), dyadic(rng, HIDDEN, -0.2, 0.2)),
        integrate(v_th=lambda n, rng: constant(1.25) + torch.zeros(n))(HIDDEN, rng),
        linear(dyadic(rng, (CLASSES, HIDDEN))),
        integrate()(CLASSES, rng),
    ]
    record(feature, layers, stimulus(rng, LINES), exact=True)

    for feature, leak in (("LIBoxCell readout", 0.0), ("LIBoxCell readout, leak potential", 0.4)):
        rng = RECORDER.rng(feature)
        layers = [
            linear(rng.normal(0.1, 0.5, (HIDDEN, LINES)) * 3.0),
            box()(HIDDEN, rng),
            linear(rng.normal(0.0, 0.5, (CLASSES, HIDDEN)), rng.normal(0.0, 0.1, CLASSES)),
            norse.LIBoxCell(LIBoxParameters(numbers(80.0, 400.0, CLASSES, rng), torch.full((CLASSES,), leak))),
        ]
        record(feature, layers, stimulus(rng, LINES))

    feature = "Conv2d, LIFBoxCell"
    rng = RECORDER.rng(feature)
    layers = [
        conv(rng.normal(0.2, 0.5, (3, 2, 3, 3)) * 2.0, rng.normal(0.0, 0.1, 3), stride=2, padding=1),
        box(tau_mem_inv=lambda n, rng: numbers(100.0, 300.0, (3, 1, 1), rng).expand(n).clone())((3, 4, 4), rng),
    ]
    record(feature, layers, stimulus(rng, (2, 8, 8), steps=50, batch=2))

    feature = "LIFRecurrentCell"
    rng = RECORDER.rng(feature)
    layers = [
        linear(rng.normal(0.2, 0.5, (HIDDEN, LINES)) * 3.0),
        norse.LIFRecurrentCell(HIDDEN, HIDDEN),
        linear(rng.normal(0.2, 0.5, (CLASSES, HIDDEN)) * 3.0),
        box()(CLASSES, rng),
    ]
    # The exporter has no node for recurrent cells, so the graph cannot be written.
    record(feature, layers, stimulus(rng, LINES), refused="'NoneType' object has no attribute 'to_dict'")


if __name__ == "__main__":
    main()
