"""Train a spiking transformer with stochastic attention on the digits, with plain PyTorch.

    python examples/train_digits_transformer.py              # trains and writes models/digits-transformer.npz
    python examples/train_digits_transformer.py --folds 4    # cross-validates on the training images

16 tokens (patches of 2 by 2 pixels) of 32 features see 8 steps of the rate encoder that the hardware has. Every
population is of IF neurons with threshold 1 and subtractive reset, without delay; weights are 8-bit integers times a
power of two, and gradients pass the rounding straight through::

    x = IF(patch)                       a bias per token and feature stands for the place of the token
    q, k, v = IF(x W)                   2 heads of 16 features
    S ~ Bernoulli(q k / 16),  A ~ Bernoulli(S v / 16)
    y = IF(A W + x)                     residual: the spikes of x through weights of 1 beside the projection's
    z = IF(IF(y W) W + y)
    counts of IF(z of all tokens W)     the answer is the output neuron that spiked most often

Song, Katti, Simeone and Rajendran, "Stochastic Spiking Attention", AICAS 2024, arXiv 2402.09109. Samples are 0 or 1
forwards, and their gradient is that of the probability. Nothing here is chosen by the held-out images.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from train_digits import ENCODER, Spike, scale_of, straight_through

from spikeloom.sw.data import Digits, load_digits

TOKENS, FEATURES, HEADS, HIDDEN, CLASSES, PATCH, WIDTH = 16, 32, 2, 64, 10, 4, 8
EPOCHS, BATCH, LEARNING_RATE, WARM_UP, KEEP = 40, 128, 4e-3, 50, 0.99
RESIDUAL_LIMIT = 64  # a residual is a weight of one threshold, so that has to fit 8 bits
MODEL = Path(__file__).resolve().parents[1] / "models" / "digits-transformer.npz"

Layer = tuple[Tensor, Tensor]  # weight (out, in) and bias, which is added in each step
Layers = dict[str, Layer]


def scaled(name: str, weight: Tensor) -> float:
    """What one threshold is as an integer: as the quantiser picks it, less where a residual has to fit beside."""
    scale = scale_of(weight, WIDTH)
    return min(scale, RESIDUAL_LIMIT) if name in ("projection", "contract") else scale


def as_integers(name: str, layer: Layer) -> Layer:
    """Weight and bias as integers hold them, in units of the threshold; gradients pass the rounding."""
    weight, bias = layer
    scale = scaled(name, weight)
    low, high = -(2 ** (WIDTH - 1)), 2 ** (WIDTH - 1) - 1
    rounded = (weight * scale).round().clamp(low, high) / scale
    return straight_through(weight, rounded), straight_through(bias, (bias * scale).round() / scale)


def patches(spikes: Tensor) -> Tensor:
    """Spikes ``(T, B, 64)`` of 8 by 8 pixels as ``(T, B, tokens, 4)``, patches in order of rows."""
    steps, batch = spikes.shape[:2]
    return spikes.view(steps, batch, 4, 2, 4, 2).permute(0, 1, 2, 4, 3, 5).reshape(steps, batch, TOKENS, PATCH)


def neurons(currents: Tensor) -> Tensor:
    """Spikes of IF neurons with threshold 1 and subtractive reset from currents ``(T, ...)``."""
    v, spikes = torch.zeros_like(currents[0]), []
    for current in currents:
        u = v + current
        fired = Spike.apply(u - 1.0)
        v = u - fired.detach()
        spikes.append(fired)
    return torch.stack(spikes)


def sample(probability: Tensor) -> Tensor:
    """Bernoulli samples forwards, the gradient of the probability backwards."""
    return straight_through(probability, (torch.rand_like(probability) < probability).to(probability.dtype))


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Stochastic attention of spikes ``(T, B, tokens, features)``."""
    q, k, v = (x.unflatten(-1, (HEADS, -1)).transpose(-2, -3) for x in (q, k, v))
    scores = sample(q @ k.transpose(-1, -2) / q.shape[-1])
    return sample(scores @ v / TOKENS).transpose(-2, -3).flatten(-2)


def output_counts(layers: Layers, spikes: Tensor) -> Tensor:
    """Spikes ``(B, classes)`` of the output neurons, from spikes ``(T, B, pixels)``."""

    def through(name: str, x: Tensor) -> Tensor:
        weight, bias = as_integers(name, layers[name])
        return x @ weight.T + bias

    x = neurons(through("patch", patches(spikes)))
    q, k, v = neurons(through("qkv", x)).chunk(3, dim=-1)
    y = neurons(through("projection", attention(q, k, v)) + x)
    hidden = neurons(through("expand", y))
    z = neurons(through("contract", hidden) + y)
    return neurons(through("readout", z.flatten(-2))).sum(0)


def initial() -> Layers:
    """Weights that keep about a quarter of all neurons spiking."""

    def layer(inputs: int, outputs: int, gain: float, bias: float) -> Layer:
        return gain * torch.randn(outputs, inputs) / inputs**0.5, torch.full((outputs,), bias)

    layers = {
        "patch": layer(PATCH, FEATURES, 1.0, 0.1),
        "qkv": layer(FEATURES, 3 * FEATURES, 1.0, 0.3),
        "projection": layer(FEATURES, FEATURES, 1.0, 0.0),
        "expand": layer(FEATURES, HIDDEN, 1.0, 0.1),
        "contract": layer(HIDDEN, FEATURES, 0.7, 0.0),
        "readout": layer(TOKENS * FEATURES, CLASSES, 1.0, 0.0),
    }
    layers["patch"] = (layers["patch"][0], layers["patch"][1] + 0.1 * torch.randn(TOKENS, FEATURES))
    return layers


def train(digits: Digits, *, seed: int, epochs: int) -> Layers:
    """Layers trained on ``digits``: the moving average of the weights at the end of a cosine schedule."""
    random = np.random.Generator(np.random.PCG64(seed))
    torch.manual_seed(seed)
    layers = initial()
    parameters = [parameter.requires_grad_() for layer in layers.values() for parameter in layer]
    average = [parameter.detach().clone() for parameter in parameters]
    labels = torch.tensor(digits.labels)
    batches = len(digits) // BATCH
    optimiser = torch.optim.Adam(parameters, lr=LEARNING_RATE)
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
            counts = output_counts(layers, spikes[:, batch])
            loss = torch.nn.functional.cross_entropy(counts, labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
            right += int((counts.argmax(-1) == labels[batch]).sum())
            with torch.no_grad():
                for mean, parameter in zip(average, parameters, strict=True):
                    mean.mul_(KEEP).add_(parameter, alpha=1 - KEEP)
        if epoch % 5 == 4:
            share = 100 * right / (batches * BATCH)
            print(f"  epoch {epoch + 1}: loss {total / batches:.3f}, {share:.1f} % of training images", flush=True)
    return {name: (average[2 * i], average[2 * i + 1]) for i, name in enumerate(layers)}


@torch.no_grad()
def report(layers: Layers, digits: Digits, *, seeds: int = 5) -> list[float]:
    """Accuracy over ``seeds`` draws of the samples, with PyTorch's random numbers instead of the hardware's."""
    spikes = torch.tensor(ENCODER.encode(digits.images), dtype=torch.float32)
    labels, scores = torch.tensor(digits.labels), []
    for seed in range(seeds):
        torch.manual_seed(seed)
        scores.append((output_counts(layers, spikes).argmax(-1) == labels).double().mean().item())
    print(f"  mean of {seeds} draws {100 * np.mean(scores):.2f} %: {', '.join(f'{100 * s:.2f}' for s in scores)}")
    return scores


def integers(layers: Layers) -> dict[str, np.ndarray]:
    """What `spikeloom.sw.transformer.transformer` takes: weights, biases and thresholds as integers."""
    arrays = {}
    for name, (weight, bias) in layers.items():
        scale = scaled(name, weight)
        arrays[f"{name}_weight"] = (weight * scale).round().clamp(-128, 127).short().numpy()
        arrays[f"{name}_bias"] = (bias * scale).round().short().numpy()
        arrays[f"{name}_threshold"] = np.int16(scale)
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folds", type=int, default=0, help="cross-validate on the training images instead")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=MODEL)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    training, held_out = load_digits()
    start = time.monotonic()
    if arguments.folds:
        place = np.random.Generator(np.random.PCG64(0)).permutation(len(training)) % arguments.folds
        for fold in range(arguments.folds):
            inside, outside = (
                Digits(images=training.images[part], labels=training.labels[part])
                for part in (place != fold, place == fold)
            )
            print(f"fold {fold + 1} of {arguments.folds}", flush=True)
            report(train(inside, seed=fold, epochs=arguments.epochs), outside)
    else:
        layers = train(training, seed=arguments.seed, epochs=arguments.epochs)
        np.savez_compressed(arguments.output, **integers(layers))
        print(f"{len(held_out)} held-out images:")
        report(layers, held_out)
    print(f"{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
