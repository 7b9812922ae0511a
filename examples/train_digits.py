"""Train the digits network of models/digits-mlp.nir with plain PyTorch, in minutes on one thread.

    pip install -e '.[train]'
    python examples/train_digits.py              # trains on all training images and writes models/digits-mlp.nir
    python examples/train_digits.py --folds 4    # cross-validates on the training images and writes nothing

A network of 64 inputs, 32 hidden and 10 output LIF neurons sees 8 steps of the rate encoder that the hardware has. One
step of a neuron is ``u = v - v / 8 + I + bias``; it spikes when ``u > 1`` and then goes back to 0, without delay. The
answer is the output neuron that spiked most often (`spikeloom.datasets.readout`).

One file serves 8 and 4 bits: each batch is trained twice, through the integers of both widths (weights, biases and the
shift that rounds down), and gradients pass the rounding straight through. Spikes have the gradient of a fast sigmoid.
Nothing here was chosen by the held-out images: settings come from cross-validation, and the number of epochs is fixed.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path

import nir
import numpy as np
import torch
from torch import Tensor

from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import RateEncoder
from spikeloom.datasets.readout import accuracy
from spikeloom.datasets.shipped import Digits, load_digits
from spikeloom.frontends.nir import load
from spikeloom.sim.lib.formats import NIR_METADATA
from spikeloom.sim.lib.lfsr import Lfsr
from spikeloom.sim.network.reference import simulate

ENCODER = RateEncoder(steps=8, bits=4, lfsr=Lfsr(width=4, seed=1))
PIXELS, HIDDEN, CLASSES = 64, 32, 10
LEAK_SHIFT = 3
WIDTHS = (8, 4)
EPOCHS, BATCH, LEARNING_RATE, WARM_UP, SLOPE, KEEP = 300, 128, 4e-2, 50, 3.0, 0.99
MODEL = Path(__file__).resolve().parents[1] / "models" / "digits-mlp.nir"
TIME_STEP_S = 1e-4

Layer = tuple[Tensor, Tensor]  # weight (out, in) and bias (out,)


class Spike(torch.autograd.Function):
    """1 where the membrane is above the threshold; backwards the slope of a fast sigmoid."""

    @staticmethod
    def forward(context, above: Tensor) -> Tensor:
        context.save_for_backward(above)
        return (above > 0).to(above.dtype)

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        (above,) = context.saved_tensors
        return gradient / (1 + SLOPE * above.abs()) ** 2


def straight_through(exact: Tensor, rounded: Tensor) -> Tensor:
    """``rounded`` forwards, the gradient of ``exact`` backwards."""
    return exact + (rounded - exact).detach()


@torch.no_grad()
def scale_of(weight: Tensor, width: int) -> float:
    """The power of two that the quantiser picks (see `spikeloom.compiler.quantise`): least squared error of three."""
    low, high = -(2 ** (width - 1)), 2 ** (width - 1) - 1
    finest = 2.0 ** torch.floor(torch.log2(high / weight.abs().max())).item()
    scales = (finest, 2 * finest, 4 * finest)
    errors = [((weight * scale).round().clamp(low, high) / scale - weight).square().sum().item() for scale in scales]
    return scales[int(np.argmin(errors))]


def as_integers(layer: Layer, width: int) -> tuple[Tensor, Tensor, float]:
    """Weight and bias as ``width``-bit integers hold them, still in the unit of the threshold, and their scale."""
    weight, bias = layer
    scale = scale_of(weight, width)
    low, high = -(2 ** (width - 1)), 2 ** (width - 1) - 1
    rounded = (weight * scale).round().clamp(low, high) / scale
    return straight_through(weight, rounded), straight_through(bias, (bias * scale).round() / scale), scale


def neurons(v: Tensor, current: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """One step: membranes after it and spikes."""
    leak = v / 2**LEAK_SHIFT
    u = v - straight_through(leak, (leak * scale).floor() / scale) + current
    spikes = Spike.apply(u - 1.0)
    return u * (1 - spikes.detach()), spikes


def output_counts(layers: list[Layer], spikes: Tensor, width: int) -> Tensor:
    """Spikes ``(B, classes)`` of the output neurons, from spikes ``(T, B, pixels)``, in ``width``-bit integers."""
    (w1, b1, scale1), (w2, b2, scale2) = (as_integers(layer, width) for layer in layers)
    currents = spikes @ w1.T + b1
    v1, v2 = torch.zeros(len(currents[0]), len(b1)), torch.zeros(len(currents[0]), len(b2))
    counts = torch.zeros_like(v2)
    for current in currents:
        v1, hidden = neurons(v1, current, scale1)
        v2, fired = neurons(v2, hidden @ w2.T + b2, scale2)
        counts = counts + fired
    return counts


def train(digits: Digits, *, seed: int) -> list[Layer]:
    """Layers trained on ``digits``: the moving average of the weights at the end of a cosine schedule."""
    random = np.random.Generator(np.random.PCG64(seed))
    torch.manual_seed(seed)
    layers = [
        (0.25 * torch.randn(HIDDEN, PIXELS), torch.zeros(HIDDEN)),
        (0.3 * torch.randn(CLASSES, HIDDEN), torch.zeros(CLASSES)),
    ]
    parameters = [parameter.requires_grad_() for layer in layers for parameter in layer]
    average = [parameter.detach().clone() for parameter in parameters]
    labels = torch.tensor(digits.labels)
    batches = len(digits) // BATCH
    optimiser = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda update: min(1.0, (update + 1) / WARM_UP) * 0.5 * (1 + np.cos(np.pi * update / (EPOCHS * batches))),
    )
    for epoch in range(EPOCHS):
        # Ink, not paper, changes by up to one level: a new set of spikes in each epoch.
        images = digits.images.astype(np.int64)
        images = np.where(images > 0, np.clip(images + random.integers(-1, 2, images.shape), 0, 16), 0)
        spikes = torch.tensor(ENCODER.encode(images), dtype=torch.float32)
        total = 0.0
        for batch in torch.tensor(random.permutation(len(digits))[: batches * BATCH]).split(BATCH):
            counts = [output_counts(layers, spikes[:, batch], width) for width in WIDTHS]
            loss = sum(torch.nn.functional.cross_entropy(count, labels[batch]) for count in counts)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
            with torch.no_grad():
                for mean, parameter in zip(average, parameters, strict=True):
                    mean.mul_(KEEP).add_(parameter, alpha=1 - KEEP)
        if epoch % 50 == 49:
            print(f"  epoch {epoch + 1}: loss {total / batches / len(WIDTHS):.3f}", flush=True)
    return [(average[0], average[1]), (average[2], average[3])]


def graph_of(layers: list[Layer]) -> nir.NIRGraph:
    """The layers as NIR, with what it takes to step and to feed them."""
    beta = 1 - 2.0**-LEAK_SHIFT

    def lif(size: int) -> nir.LIF:
        full = np.ones(size)
        return nir.LIF(
            tau=full * TIME_STEP_S / (1 - beta),
            r=full / (1 - beta),
            v_leak=0 * full,
            v_threshold=full,
            v_reset=0 * full,
        )

    nodes = {"input": nir.Input(np.array([PIXELS]))}
    for name, (weight, bias) in zip(("hidden", "digit"), layers, strict=True):
        nodes[f"to_{name}"] = nir.Affine(weight=weight.numpy(), bias=bias.numpy())
        nodes[name] = lif(len(bias))
    nodes["output"] = nir.Output(np.array([CLASSES]))
    names = list(nodes)
    metadata = {
        "spikeloom": {
            **NIR_METADATA.entry,
            "preset": "snntorch",
            "time_step_s": TIME_STEP_S,
            "reset": "zero",
            "reset_delay": 0,
        },
        "spikeloom_encoder": ENCODER.settings(),
    }
    return nir.NIRGraph(nodes=nodes, edges=list(pairwise(names)), metadata=metadata)


def report(source: Path | nir.NIRGraph, digits: Digits) -> list[float]:
    """Accuracies of the network as float, 8-bit and 4-bit integers, by spikeloom's own models."""
    network = load(source)
    spikes = ENCODER.encode(digits.images)
    scores = [accuracy(network.simulate(spikes), digits.labels)]
    for width in WIDTHS:
        quantised = quantise(network, Quantisation(weight_width=width))
        scores.append(accuracy(simulate(quantised, spikes).spikes[quantised.output], digits.labels))
    names = ("float", *(f"{width} bits" for width in WIDTHS))
    print("  " + ", ".join(f"{name} {100 * score:.2f} %" for name, score in zip(names, scores, strict=True)))
    return scores


def cross_validate(digits: Digits, folds: int) -> None:
    place = np.random.Generator(np.random.PCG64(0)).permutation(len(digits)) % folds
    scores = []
    for fold in range(folds):
        inside, outside = (
            Digits(images=digits.images[part], labels=digits.labels[part]) for part in (place != fold, place == fold)
        )
        print(f"fold {fold + 1} of {folds}")
        scores.append(report(graph_of(train(inside, seed=fold)), outside))
    print("mean: " + ", ".join(f"{100 * score:.2f} %" for score in np.mean(scores, axis=0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folds", type=int, default=0, help="cross-validate on the training images instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=MODEL)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    training, held_out = load_digits()
    start = time.monotonic()
    if arguments.folds:
        cross_validate(training, arguments.folds)
    else:
        nir.write(arguments.output, graph_of(train(training, seed=arguments.seed)))
        events = ENCODER.encode(held_out.images).sum() / len(held_out)
        print(f"{arguments.output}: {events:.0f} input events per image; accuracy on {len(held_out)} held-out images:")
        report(arguments.output, held_out)
    print(f"{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
