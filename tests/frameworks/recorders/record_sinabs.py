"""Recordings of sinabs: neurons with one and several spikes per step, both resets, readouts, pooling, convolutions."""

from __future__ import annotations

import warnings

import numpy as np
import sinabs.layers as sl
import torch
from common import BATCH, Recorder, dyadic, stimulus, two_layers_of
from sinabs.activation import MaxSpike, MembraneReset, MultiSpike, SingleSpike
from sinabs.nir import to_nir
from torch_layers import conv, in_double, linear, outputs_of_modules

warnings.simplefilter("ignore")
RECORDER = Recorder("sinabs", "sinabs")
LINES, HIDDEN, CLASSES = 12, 16, 6


def record(feature, layers, inputs, sizes=None, **options):
    """Record a ``Sequential``, whose layers take samples and steps as one dimension.

    ``sizes`` are shapes that the exporter does not know: the shape of the image, and the shape that is flattened in
    layer 3.
    """
    steps, batch, *shape = inputs.shape
    module = torch.nn.Sequential(*layers)
    positions = [str(i) for i, layer in enumerate(layers) if isinstance(layer, sl.StatefulLayer)]
    series = torch.tensor(inputs).transpose(0, 1).reshape(batch * steps, *shape)
    double = in_double(module)
    _, found = outputs_of_modules(double, positions, lambda: double(series.double()))
    outputs = {name: array[0].reshape(batch, steps, -1).transpose(1, 0, 2) for name, array in found.items()}
    readouts = [name for name in positions if isinstance(layers[int(name)], sl.ExpLeakSqueeze)]

    def export():
        graph = to_nir(module, series[: batch * 2])
        if sizes:
            graph.nodes["0"].input_shape = sizes[0]
            graph.nodes["3"].input_type = {"input": np.array(sizes[1])}
        return graph

    RECORDER.record(
        feature,
        export,
        inputs,
        spikes={name: array for name, array in outputs.items() if name not in readouts},
        membranes={name: outputs[name] for name in readouts},
        **options,
    )


def two_layers(feature, cell, *, scale=1.0, **options):
    """Record two layers with random weights and biases."""
    rng = RECORDER.rng(feature)
    layers = two_layers_of(rng, linear, cell, LINES, HIDDEN, CLASSES, scale)
    record(feature, layers, stimulus(rng, LINES), **options)


def lif(**options):
    given = {"tau_mem": 5.0, "spike_fn": SingleSpike, "batch_size": BATCH} | options
    return lambda rng, size: sl.LIFSqueeze(**given)


def iaf(**options):
    return lambda rng, size: sl.IAFSqueeze(**{"spike_fn": SingleSpike, "batch_size": BATCH} | options)


def main():
    two_layers("LIF single spike", lif(), scale=4.0)
    two_layers("LIF single spike, threshold", lif(spike_threshold=torch.tensor(0.7)), scale=3.0)
    two_layers("LIF, norm_input False", lif(norm_input=False), load={"norm_input": False})
    two_layers("LIF, reset to zero", lif(reset_fn=MembraneReset()), scale=4.0, load={"reset": "zero"})
    two_layers("IAF single spike", iaf(), scale=0.5)
    two_layers("IAF, reset to zero", iaf(reset_fn=MembraneReset()), scale=0.7, load={"reset": "zero"})

    several = {"max_spikes": 15}
    two_layers("LIF several spikes", lif(spike_fn=MultiSpike), scale=6.0, load=several)
    two_layers("IAF several spikes", iaf(spike_fn=MultiSpike), load=several)
    two_layers("IAF at most 3 spikes", iaf(spike_fn=MaxSpike(3)), load={"max_spikes": 3})
    lost = "the exporter drops tau_syn: the input reaches the membrane at once"
    two_layers("LIF, synaptic current", lif(tau_syn=3.0), scale=1.5, lost=lost)
    two_layers("IAF, lower bound", iaf(min_v_mem=-0.5), scale=0.5, load={"lower_bound": -0.5})
    bound = {"lower_bound": 0.25}
    above = iaf(min_v_mem=0.25, reset_fn=MembraneReset())
    two_layers("IAF, lower bound above 0, reset to zero", above, scale=0.5, load=bound | {"reset": "zero"})
    bound = {"lower_bound": -0.25}
    clipped = lif(spike_fn=MultiSpike, min_v_mem=-0.25)
    two_layers("LIF several spikes, lower bound", clipped, scale=6.0, load=several | bound)

    feature = "LIF, time constant per neuron"
    rng = RECORDER.rng(feature)
    layers = [
        linear(rng.normal(0.1, 0.5, (HIDDEN, LINES)) * 4.0),
        lif(tau_mem=torch.tensor(rng.uniform(2.0, 10.0, HIDDEN).astype("f4")), spike_threshold=torch.ones(HIDDEN))(
            rng, HIDDEN
        ),
    ]
    record(feature, layers, stimulus(rng, LINES))

    feature = "IAF dyadic"
    rng = RECORDER.rng(feature)
    layers = [
        linear(dyadic(rng, (HIDDEN, LINES), -0.5, 0.75), dyadic(rng, HIDDEN, -0.2, 0.2)),
        iaf(spike_threshold=torch.tensor(1.25))(rng, HIDDEN),
        linear(dyadic(rng, (CLASSES, HIDDEN))),
        iaf()(rng, CLASSES),
    ]
    record(feature, layers, stimulus(rng, LINES), exact=True)

    feature = "IAF dyadic, lower bound"
    rng = RECORDER.rng(feature)
    layers = [
        linear(dyadic(rng, (HIDDEN, LINES), -0.5, 0.75), dyadic(rng, HIDDEN, -0.2, 0.2)),
        iaf(spike_threshold=torch.tensor(1.25), min_v_mem=-0.5)(rng, HIDDEN),
        linear(dyadic(rng, (CLASSES, HIDDEN))),
        iaf(min_v_mem=-0.25)(rng, CLASSES),
    ]
    bounds = {"1": {"lower_bound": -0.5}, "3": {"lower_bound": -0.25}}
    record(feature, layers, stimulus(rng, LINES), exact=True, load={"layers": bounds})

    for norm_input in (False, True):
        feature = f"ExpLeak readout, norm_input {norm_input}"
        rng = RECORDER.rng(feature)
        layers = [
            linear(rng.normal(0.1, 0.5, (HIDDEN, LINES)) * 4.0),
            lif()(rng, HIDDEN),
            linear(rng.normal(0.0, 0.5, (CLASSES, HIDDEN)), rng.normal(0.0, 0.1, CLASSES)),
            sl.ExpLeakSqueeze(tau_mem=6.0, norm_input=norm_input, batch_size=BATCH),
        ]
        # The default differs between the kinds of layers; spikeloom assumes these defaults.
        load = {"layers": {"3": {"norm_input": True}}} if norm_input else {}
        record(feature, layers, stimulus(rng, LINES), load=load)

    for feature, sizes, refused in (
        ("Conv2d, SumPool2d, Flatten", None, "One of data, shape or dtype must be specified"),
        ("Conv2d, SumPool2d, Flatten, with their shapes", ((8, 8), (3, 4, 4)), ""),
    ):
        rng = RECORDER.rng(feature)
        layers = [
            conv(rng.normal(0.1, 0.5, (3, 2, 3, 3)), rng.normal(0.0, 0.1, 3), padding=1),
            iaf(batch_size=2)(rng, HIDDEN),
            sl.SumPool2d(2),
            torch.nn.Flatten(),
            linear(rng.normal(0.02, 0.3, (CLASSES, 48))),
            iaf(batch_size=2)(rng, CLASSES),
        ]
        record(feature, layers, stimulus(rng, (2, 8, 8), steps=50, batch=2), sizes, refused=refused)

    feature = "ALIF"
    rng = RECORDER.rng(feature)
    layers = [linear(rng.normal(0.3, 0.5, (HIDDEN, LINES))), sl.ALIF(tau_mem=5.0, tau_adapt=10.0)]
    record(feature, layers, stimulus(rng, LINES), refused="not supported")

    recurrent = sl.LIFRecurrent(tau_mem=5.0, rec_connect=linear(rng.normal(0.0, 0.3, (LINES, LINES))))
    module = torch.nn.Sequential(recurrent)
    RECORDER.record("LIFRecurrent", lambda: to_nir(module, torch.zeros(1, 4, LINES)), refused="empty graph")


if __name__ == "__main__":
    main()
