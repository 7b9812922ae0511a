"""Train a spiking transformer with stochastic attention on the digits, with plain PyTorch.

    python examples/train_digits_transformer.py                     # trains and writes models/digits-transformer.nir
    python examples/train_digits_transformer.py --folds 4           # cross-validates on the training images
    python examples/train_digits_transformer.py --attention exact   # the same with exact attention; writes nothing
    python examples/train_digits_transformer.py --attention none    # the same without attention; writes nothing

8 tokens (patches of 2 by 4 pixels) of 64 features see 16 steps of the rate encoder that the hardware has. Neurons have
the threshold 1 and a subtractive reset, without delay, and no leak but for those of q, k and v, 1/8 a step; weights are
8-bit integers times a power of two, and gradients pass the rounding straight through::

    x = IF(patch)
    q, k, v = LIF(x W + place)          4 heads of 16 features; the place of a token enters here and nowhere else
    S ~ Bernoulli(q k / 16),  A ~ Bernoulli(S v / 8)
    y = IF(A W + x)                     residual: the spikes of x through weights of 1 beside the projection's
    z = IF(IF(y W) W + y)
    counts of IF(sum over tokens of z W)     the answer is the output neuron that spiked most often

The readout has the same weights for all tokens, and x does not know where it is: what lies where in the image is known
through attention alone. Each W but the readout's is followed by a normalisation over batch, steps and tokens, which is
folded into weights and biases before they are rounded, in training too. At the end those of all training images count.

Song, Katti, Simeone and Rajendran, "Stochastic Spiking Attention", AICAS 2024, arXiv 2402.09109. Samples are 0 or 1
forwards, and their gradient is that of the probability; that of an output neuron's count is that of its current. Exact
attention is Spikformer's (Zhou et al., ICLR 2023, arXiv 2209.15425): A = IF(q k v / 32). Nothing here is chosen by the
held-out images: settings come from cross-validation, and the number of epochs is fixed.
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
from train_digits import SLOPE, scale_of, straight_through

from spikeloom.datasets.encoders import RateEncoder
from spikeloom.datasets.shipped import Digits, load_digits
from spikeloom.frontends.nir_attention import SpikeloomAttention
from spikeloom.sim.lib.formats import NIR_METADATA
from spikeloom.sim.lib.lfsr import Lfsr

ENCODER = RateEncoder(steps=16, bits=4, lfsr=Lfsr(width=4, seed=1))
GRID, PATCH = (4, 2), (2, 4)  # rows and columns of tokens; of pixels of a token
TOKENS, FEATURES, HEADS, HIDDEN, CLASSES, WIDTH = 8, 64, 4, 64, 10, 8
EPOCHS, BATCH, LEARNING_RATE, WARM_UP, KEEP = 24, 64, 5e-3, 50, 0.99
LEAK = 1 / 8
EXACT_SCALE = 1 / 32
RESIDUAL_LIMIT = 64  # a residual is a weight of one threshold, so that has to fit 8 bits
ROLES = ("query", "key", "value")
# The mean current at first: queries and keys spike often, or few samples of attention would be 1.
START = {"patch": 0.3, "query": 0.7, "key": 0.7, "value": 0.3, "projection": 0.0, "expand": 0.3, "contract": 0.0}
SPREAD, PLACE_SPREAD, READOUT_SPREAD = 0.5, 0.5, 2.0
MODEL = Path(__file__).resolve().parents[1] / "models" / "digits-transformer.nir"
TIME_STEP_S = 1e-4

Parameters = dict[str, Tensor]
Layer = tuple[Tensor, Tensor]  # weight (out, in) and bias, which is added in each step: (out,) or (tokens, out)
Layers = dict[str, Layer]


def scaled(name: str, weight: Tensor) -> float:
    """What one threshold is as an integer: as the quantiser picks it, less where a residual has to fit beside."""
    scale = scale_of(weight, WIDTH)
    return min(scale, RESIDUAL_LIMIT) if name in ("projection", "contract") else scale


def rounded(name: str, layer: Layer) -> tuple[Tensor, Tensor, float]:
    """Weight and bias as integers hold them, in units of the threshold, and the scale; gradients pass the rounding."""
    weight, bias = layer
    scale = scaled(name, weight)
    low, high = -(2 ** (WIDTH - 1)), 2 ** (WIDTH - 1) - 1
    clipped = (weight * scale).round().clamp(low, high) / scale
    return straight_through(weight, clipped), straight_through(bias, (bias * scale).round() / scale), scale


def patches(spikes: Tensor) -> Tensor:
    """Spikes ``(T, B, 64)`` of 8 by 8 pixels as ``(T, B, tokens, 8)``, patches in order of rows."""
    steps, batch = spikes.shape[:2]
    split = spikes.view(steps, batch, GRID[0], PATCH[0], GRID[1], PATCH[1])
    return split.transpose(-2, -3).reshape(steps, batch, TOKENS, -1)


class Neurons(torch.autograd.Function):
    """Spikes of neurons with threshold 1 and subtractive reset from currents ``(T, ...)``.

    Backwards a spike has the slope of a fast sigmoid, a membrane passes on what its leak leaves, and a reset nothing.
    """

    @staticmethod
    def forward(context, currents: Tensor, leak: float, scale: float) -> Tensor:
        above, v = torch.empty_like(currents), torch.zeros_like(currents[0])
        fired = torch.empty_like(v)
        for t, current in enumerate(currents):
            if leak:
                v -= (v * (leak * scale)).floor_() / scale  # the leak rounds down
            v += current
            torch.sub(v, 1.0, out=above[t])
            v -= torch.gt(v, 1.0, out=fired)
        context.save_for_backward(above)
        context.leak = leak
        return (above > 0).to(above.dtype)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None, None]:
        (above,) = context.saved_tensors
        passed = gradient / (1 + SLOPE * above.abs()) ** 2
        for t in reversed(range(len(passed) - 1)):
            passed[t] += (1 - context.leak) * passed[t + 1]
        return passed, None, None


def neurons(currents: Tensor, *, leak: float = 0.0, scale: float = 1.0) -> Tensor:
    return Neurons.apply(currents, leak, scale)


def sample(probability: Tensor) -> Tensor:
    """Bernoulli samples forwards, the gradient of the probability backwards."""
    return straight_through(probability, (torch.rand_like(probability) < probability).to(probability.dtype))


def attention(kind: str, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of spikes ``(T, B, tokens, features)``: stochastic, exact, or none, which never spikes."""
    if kind == "none":
        return torch.zeros_like(v)
    q, k, v = (x.unflatten(-1, (HEADS, -1)).transpose(-2, -3) for x in (q, k, v))
    scores = q @ k.transpose(-1, -2)
    if kind == "exact":
        return neurons(scores @ v * EXACT_SCALE).transpose(-2, -3).flatten(-2)
    return sample(sample(scores / q.shape[-1]) @ v / TOKENS).transpose(-2, -3).flatten(-2)


def output_counts(layer_of, kind: str, spikes: Tensor) -> Tensor:
    """Spikes ``(B, classes)`` of the output neurons, from spikes ``(T, B, pixels)``.

    ``layer_of(name, x)`` is the layer behind ``x``; its gradient is that of the currents of the output neurons.
    """

    def through(name: str, x: Tensor, residual: Tensor | float = 0.0) -> Tensor:
        weight, bias, scale = rounded(name, layer_of(name, x))
        return neurons(x @ weight.T + bias + residual, leak=LEAK if name in ROLES else 0.0, scale=scale)

    x = through("patch", patches(spikes))
    y = through("projection", attention(kind, *(through(role, x) for role in ROLES)), x)
    z = through("contract", through("expand", y), y).sum(-2)
    weight, bias, _ = rounded("readout", layer_of("readout", z))
    currents = z @ weight.T + bias
    total = currents.sum(0)
    # A count is from 0 to the number of steps; without most of the slope gone outside, currents would grow for ever.
    slope = 0.1 * total + 0.9 * total.clamp(0, len(currents))
    return straight_through(slope, neurons(currents.detach()).sum(0))


def normalising(parameters: Parameters, found: Layers | None = None):
    """Layers out of what is trained and of the statistics of each batch; ``found`` gets the last ones."""

    def layer_of(name: str, x: Tensor) -> Layer:
        weight = parameters[f"{name}.weight"]
        if name == "readout":
            layer = weight / TOKENS, parameters["readout.bias"]
        else:
            flat = x.flatten(0, -2)
            mean = torch.ones(len(flat)) @ flat / len(flat)
            covariance = flat.T @ flat / len(flat) - torch.outer(mean, mean)
            factor = parameters[f"{name}.spread"] / (((weight @ covariance) * weight).sum(1) + 1e-6).sqrt()
            bias = parameters[f"{name}.bias"] - weight @ mean * factor
            layer = weight * factor[:, None], bias + parameters.get(f"{name}.place", 0.0)
        if found is not None:
            found[name] = layer
        return layer

    return layer_of


def initial() -> Parameters:
    sizes = {"patch": (PATCH[0] * PATCH[1], FEATURES), "expand": (FEATURES, HIDDEN), "contract": (HIDDEN, FEATURES)}
    parameters = {}
    for name, mean in START.items():
        inputs, outputs = sizes.get(name, (FEATURES, FEATURES))
        parameters[f"{name}.weight"] = torch.randn(outputs, inputs) / inputs**0.5
        parameters[f"{name}.bias"] = torch.full((outputs,), mean)
        parameters[f"{name}.spread"] = torch.full((outputs,), SPREAD)
    for role in ROLES:
        parameters[f"{role}.place"] = PLACE_SPREAD * torch.randn(TOKENS, FEATURES)
    parameters["readout.weight"] = READOUT_SPREAD * torch.randn(CLASSES, FEATURES) / FEATURES**0.5
    parameters["readout.bias"] = torch.full((CLASSES,), 0.1)
    return parameters


def train(digits: Digits, kind: str, *, seed: int, epochs: int) -> Layers:
    """Layers trained on ``digits``: the moving average of what is trained, at the end of a cosine schedule."""
    random = np.random.Generator(np.random.PCG64(seed))
    torch.manual_seed(seed)
    parameters = initial()
    average = {name: parameter.clone() for name, parameter in parameters.items()}
    labels = torch.tensor(digits.labels)
    batches = len(digits) // BATCH
    optimiser = torch.optim.Adam([parameter.requires_grad_() for parameter in parameters.values()], lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda update: min(1.0, (update + 1) / WARM_UP) * 0.5 * (1 + np.cos(np.pi * update / (epochs * batches))),
    )
    for epoch in range(epochs):
        # Ink, not paper, changes by up to one level: a new set of spikes in each epoch.
        images = digits.images.astype(np.int64)
        images = np.where(images > 0, np.clip(images + random.integers(-1, 2, images.shape), 0, 16), 0)
        spikes = torch.tensor(ENCODER.encode(images), dtype=torch.float32)
        total, right = 0.0, 0
        for batch in torch.tensor(random.permutation(len(digits))[: batches * BATCH]).split(BATCH):
            counts = output_counts(normalising(parameters), kind, spikes[:, batch])
            loss = torch.nn.functional.cross_entropy(counts, labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
            right += int((counts.argmax(-1) == labels[batch]).sum())
            with torch.no_grad():
                for name, parameter in parameters.items():
                    average[name].mul_(KEEP).add_(parameter, alpha=1 - KEEP)
        if epoch % 4 == 3:
            share = 100 * right / (batches * BATCH)
            print(f"  epoch {epoch + 1}: loss {total / batches:.3f}, {share:.1f} % of training images", flush=True)
    layers: Layers = {}
    with torch.no_grad():
        spikes = torch.tensor(ENCODER.encode(digits.images), dtype=torch.float32)
        output_counts(normalising(average, layers), kind, spikes)
    return layers


@torch.no_grad()
def report(layers: Layers, kind: str, digits: Digits, *, seeds: int = 5) -> float:
    """Mean accuracy over ``seeds`` draws of the samples, with PyTorch's random numbers instead of the hardware's."""
    spikes = torch.tensor(ENCODER.encode(digits.images), dtype=torch.float32)
    labels, means = torch.tensor(digits.labels), []
    for used in (kind, "none"):
        scores = []
        for seed in range(seeds if used == "stochastic" else 1):
            torch.manual_seed(seed)
            counts = output_counts(lambda name, x: layers[name], used, spikes)
            scores.append(100 * (counts.argmax(-1) == labels).double().mean().item())
        means.append(np.mean(scores))
        print(f"  attention {used}: {means[-1]:.2f} % ({', '.join(f'{score:.2f}' for score in scores)})", flush=True)
    return means[0]


def graph_of(layers: Layers) -> nir.NIRGraph:
    """The layers as NIR, rounded as they are in training, with what it takes to step and to feed them.

    Tokens are the positions of a convolution and features its channels, so that the weights that tokens share are
    stored once. A residual is an edge from neuron to neuron.
    """
    image, tokens = np.array([1, 8, 8]), np.array([FEATURES, *GRID])
    shapes = {"patch": (FEATURES, *GRID), "expand": (HIDDEN, *GRID), "readout": (CLASSES,)}
    nodes: dict[str, nir.NIRNode] = {"input": nir.Input(image)}
    edges: list[tuple[str, str]] = []

    def population(name: str, source: str) -> None:
        weight, bias = (tensor.double().numpy() for tensor in rounded(name, layers[name])[:2])
        shape = shapes.get(name, (FEATURES, *GRID))
        full = np.ones(shape)
        if name == "readout":
            nodes["pool"] = nir.SumPool2d(kernel_size=np.array(GRID), stride=np.array(GRID), padding=np.zeros(2, int))
            nodes["flatten"] = nir.Flatten({"input": np.array([FEATURES, 1, 1])}, start_dim=0, end_dim=-1)
            nodes["to_readout"] = nir.Affine(weight=weight, bias=bias)
            path = (source, "pool", "flatten", "to_readout", name)
        else:
            kernel, extents = (PATCH, (8, 8)) if name == "patch" else ((1, 1), GRID)
            constant = np.zeros(shape[0]) if name in ROLES else bias
            weight = weight.reshape(shape[0], -1, *kernel)
            nodes[f"to_{name}"] = nir.Conv2d(extents, weight, np.array(kernel), 0, 1, 1, constant)
            path = (source, f"to_{name}", name)
        if name in ROLES:  # NIR's LIF has a bias a neuron, that its leak leads to; r makes the weights' gain 1
            nodes[name] = nir.LIF(
                tau=full * TIME_STEP_S / LEAK,
                r=full / LEAK,
                v_leak=bias.T.reshape(shape) / LEAK,
                v_threshold=full,
                v_reset=0 * full,
            )
            edges.append((name, "attention"))
        else:
            nodes[name] = nir.IF(r=full / TIME_STEP_S, v_threshold=full, v_reset=0 * full)
        edges.extend(pairwise(path))

    population("patch", "input")
    for role in ROLES:
        population(role, "patch")
    nodes["attention"] = SpikeloomAttention(shape=tokens, heads=HEADS, query="query", key="key", value="value")
    population("projection", "attention")
    edges.append(("patch", "projection"))
    population("expand", "projection")
    population("contract", "expand")
    edges.append(("projection", "contract"))
    population("readout", "contract")
    nodes["output"] = nir.Output(np.array([CLASSES]))
    edges.append(("readout", "output"))
    metadata = {
        "spikeloom": {
            **NIR_METADATA.entry,
            "preset": "nir",
            "time_step_s": TIME_STEP_S,
            "reset": "subtract",
            "reset_delay": 0,
        },
        "spikeloom_encoder": ENCODER.settings(),
    }
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=metadata)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--attention", choices=("stochastic", "exact", "none"), default="stochastic")
    parser.add_argument("--folds", type=int, default=0, help="cross-validate on the training images instead")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="a .nir file; the model if attention is stochastic")
    arguments = parser.parse_args()
    kind = arguments.attention
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    training, held_out = load_digits()
    start = time.monotonic()
    if arguments.folds:
        place = np.random.Generator(np.random.PCG64(0)).permutation(len(training)) % arguments.folds
        scores = []
        for fold in range(arguments.folds):
            inside, outside = (
                Digits(images=training.images[part], labels=training.labels[part])
                for part in (place != fold, place == fold)
            )
            print(f"fold {fold + 1} of {arguments.folds}", flush=True)
            scores.append(report(train(inside, kind, seed=fold, epochs=arguments.epochs), kind, outside))
        print(f"mean: {np.mean(scores):.2f} %")
    else:
        layers = train(training, kind, seed=arguments.seed, epochs=arguments.epochs)
        output = arguments.output or (MODEL if kind == "stochastic" else None)
        if output is not None:
            nir.write(output, graph_of(layers))
        print(f"{len(held_out)} held-out images:")
        report(layers, kind, held_out)
    print(f"{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
