"""Recordings of Spyx: neurons with and without synaptic currents, recurrence, convolutions, losses of its exporter."""

from __future__ import annotations

import jax
import numpy as np
from common import Recorder, dyadic, stimulus

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import nir  # noqa: E402
import spyx.nn as snn  # noqa: E402
from flax import nnx  # noqa: E402
from spyx.nir import to_nir  # noqa: E402

RECORDER = Recorder("spyx", "spyx")
LINES, HIDDEN, CLASSES = 12, 16, 6
RNGS = nnx.Rngs(0)
NEURONS = (snn.IF, snn.LIF, snn.CuBaLIF, snn.RIF, snn.RLIF, snn.RCuBaLIF, snn.ALIF, snn.LI)


def single(values):
    return jnp.asarray(np.asarray(values, np.float32))


def linear(weight, bias=None):
    layer = nnx.Linear(weight.shape[1], weight.shape[0], use_bias=bias is not None, rngs=RNGS)
    layer.kernel.value = single(weight.T)
    if bias is not None:
        layer.bias.value = single(bias)
    return layer


def neuron(kind, size, rng, **options):
    """Return neurons with one ``beta`` each, and one ``alpha`` where they have it."""
    size = (size,) if isinstance(size, int) else size
    layer = kind(size, rngs=RNGS, **options)
    for name, low, high in (("alpha", 0.3, 0.8), ("beta", 0.6, 0.95)):
        if hasattr(layer, name):
            getattr(layer, name).value = single(rng.uniform(low, high, size))
    return layer


def recurrent(kind, size, rng, scale=0.3, **options):
    layer = neuron(kind, size, rng, **options)
    layer.recurrent_w.value = single(rng.normal(0.0, scale, (size, size)))
    return layer


def node_of(i, layer):
    name = {"RIF": "lif", "RLIF": "lif", "RCuBaLIF": "lif"}.get(type(layer).__name__)
    return f"layer_{i}.layer_{i}.{name}" if name else f"layer_{i}"


def record(feature, layers, inputs, *, last=None, **options):
    """Record a ``Sequential``; images are channels-first in the recording and channels-last in Spyx."""
    _, batch, *shape = inputs.shape
    image = len(shape) == 3
    size = last or CLASSES
    graph = to_nir(
        snn.Sequential(*layers),
        {"input": np.array(shape)},
        {"output": np.array([size] if isinstance(size, int) else size)},
    )
    # Double precision, with the single-precision values that the graph was made with.
    for layer in layers:
        for _, value in nnx.iter_graph(layer):
            if isinstance(value, nnx.Param):
                value.value = jnp.asarray(value.value, jnp.float64)
        for name in ("dtype", "param_dtype"):
            if hasattr(layer, name):
                setattr(layer, name, jnp.float64)
    states = [layer.initial_state(batch) if isinstance(layer, NEURONS) else None for layer in layers]
    kept = {node_of(i, layer): [] for i, layer in enumerate(layers) if isinstance(layer, NEURONS)}
    for step in inputs:
        x = jnp.asarray(step, jnp.float64)
        x = x.transpose(0, 2, 3, 1) if image else x
        for i, layer in enumerate(layers):
            if isinstance(layer, NEURONS):
                x, states[i] = layer(x, jnp.asarray(states[i], jnp.float64))
                y = np.asarray(x)
                kept[node_of(i, layer)].append(y.transpose(0, 3, 1, 2) if y.ndim == 4 else y)
            else:
                x = layer(x)
    spikes = {name: np.stack(values) for name, values in kept.items()}
    RECORDER.record(feature, lambda: graph, inputs, spikes=spikes, late=1, **options)


def two_layers(feature, cell, *, scale=1.0, **options):
    """Record two layers with random weights and biases."""
    rng = RECORDER.rng(feature)
    layers = [
        linear(rng.normal(0.1, 0.5, (HIDDEN, LINES)) * scale, rng.normal(0.0, 0.1, HIDDEN) * scale),
        cell(HIDDEN, rng),
        linear(rng.normal(0.1, 0.5, (CLASSES, HIDDEN)) * scale),
        cell(CLASSES, rng),
    ]
    record(feature, layers, stimulus(rng, LINES), **options)


def main():
    two_layers("LIF", lambda n, rng: neuron(snn.LIF, n, rng))
    two_layers("LIF, threshold", lambda n, rng: neuron(snn.LIF, n, rng, threshold=0.7))
    two_layers("CuBaLIF", lambda n, rng: neuron(snn.CuBaLIF, n, rng), scale=0.5)
    two_layers("IF", lambda n, rng: neuron(snn.IF, n, rng), scale=0.5)

    feature = "IF dyadic"
    rng = RECORDER.rng(feature)
    layers = [
        linear(dyadic(rng, (HIDDEN, LINES), -0.5, 0.75), dyadic(rng, HIDDEN, -0.2, 0.2)),
        neuron(snn.IF, HIDDEN, rng, threshold=1.25),
        linear(dyadic(rng, (CLASSES, HIDDEN))),
        neuron(snn.IF, CLASSES, rng),
    ]
    record(feature, layers, stimulus(rng, LINES), exact=True)

    for kind in (snn.RIF, snn.RLIF, snn.RCuBaLIF):
        feature = kind.__name__
        rng = RECORDER.rng(feature)
        layers = [
            linear(rng.normal(0.1, 0.4, (HIDDEN, LINES)) * 0.6),
            recurrent(kind, HIDDEN, rng, 0.1),
            linear(rng.normal(0.1, 0.5, (CLASSES, HIDDEN))),
            neuron(snn.LIF, CLASSES, rng),
        ]
        record(feature, layers, stimulus(rng, LINES), recurrent=True)

    feature = "Conv, SumPool, Flatten"
    rng = RECORDER.rng(feature)
    conv = nnx.Conv(2, 3, (3, 3), strides=(1, 1), padding="VALID", rngs=RNGS)
    conv.kernel.value = single(rng.normal(0.1, 0.5, (3, 3, 2, 3)))
    conv.bias.value = single(rng.normal(0.0, 0.1, 3))
    layers = [
        conv,
        neuron(snn.LIF, (6, 6, 3), rng),
        snn.SumPool((2, 2), (2, 2), "VALID"),
        snn.Flatten(),
        linear(rng.normal(0.05, 0.3, (CLASSES, 27))),
        neuron(snn.LIF, CLASSES, rng),
    ]
    record(feature, layers, stimulus(rng, (2, 8, 8), steps=50, batch=2))

    feature = "ALIF"
    rng = RECORDER.rng(feature)
    layers = [linear(rng.normal(0.1, 0.5, (HIDDEN, LINES))), snn.ALIF((HIDDEN,), rngs=RNGS)]
    record(feature, layers, stimulus(rng, LINES), last=HIDDEN, lost="the exporter drops ALIF")

    feature = "LI readout"
    rng = RECORDER.rng(feature)
    layers = [
        linear(rng.normal(0.1, 0.5, (HIDDEN, LINES))),
        neuron(snn.LIF, HIDDEN, rng),
        linear(rng.normal(0.0, 0.5, (CLASSES, HIDDEN))),
        neuron(snn.LI, CLASSES, rng),
    ]
    graph = to_nir(snn.Sequential(*layers), {"input": np.array([LINES])}, {"output": np.array([CLASSES])})
    assert isinstance(graph, nir.NIRGraph)
    lost = "the exporter drops LI"
    RECORDER.record(feature, lambda: graph, stimulus(rng, LINES), lost=lost, late=1)


if __name__ == "__main__":
    main()
