"""Train the MNIST networks of models/ with plain PyTorch, on one thread.

    pip install -e '.[train]'
    python examples/train_mnist.py mlp           # five minutes: writes models/mnist-mlp.nir
    python examples/train_mnist.py mlp-128       # ten minutes: writes models/mnist-mlp-128.nir
    python examples/train_mnist.py conv          # a quarter of an hour: writes models/mnist-conv.nir
    python examples/train_mnist.py mlp --held 5000   # trains on 55,000 images, measures on the others, writes nothing

An image takes a few steps: a pixel spikes once, the brighter the earlier
(`spikeloom.datasets.encoders.LatencyEncoder`). One step of a neuron is ``u = v + I``; it spikes when ``u > 1``, which
then is subtracted (`Recipe.reset`). There are neither leaks nor biases, so that a core needs neither. The answer is the
output neuron that spiked most often.

One file serves 8 and 4 bits: batches are trained through the integers of both widths in turn, and gradients pass the
rounding straight through. Spikes have the gradient of a fast sigmoid. The loss is the cross-entropy of the output's
spike counts and, because counts are few, of the current that the output neurons received as well. Images are rotated,
scaled, sheared and shifted at random.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import nir
import numpy as np
import torch
from torch import Tensor

from spikeloom.datasets.encoders import LatencyEncoder
from spikeloom.datasets.mnist import fetch_mnist, load_mnist
from spikeloom.datasets.shipped import Digits
from spikeloom.sim.lib.formats import NIR_METADATA
from spikeloom.train.mnist import distorted

ROOT = Path(__file__).resolve().parents[1]
SIDE, CLASSES = 28, 10
TIME_STEP_S = 1e-4
SLOPE = 3.0  # of the fast sigmoid
COUNT_SCALE = 2.0  # nats that a spike of an output neuron is worth
WARM_UP = 200  # updates
KEEP = 0.999  # of the moving average of the weights


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """A square kernel and its stride; the padding keeps the image's size at stride 1."""

    channels: int
    kernel: int
    stride: int

    @property
    def padding(self) -> int:
        return self.kernel // 2


@dataclass(frozen=True, kw_only=True)
class Dense:
    """All to all."""

    neurons: int


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of a training, with a schedule of its own; ``distortion`` scales the random changes of the images."""

    encoder: LatencyEncoder
    widths: tuple[int, ...]
    epochs: int
    learning_rate: float
    distortion: float


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A network and how it is trained; the last stage has the encoder that the file names."""

    layers: dict[str, Convolution | Dense]
    stages: tuple[Stage, ...]
    reset: str = "subtract"
    batch: int = 128


FOUR_STEPS = LatencyEncoder(steps=4, bits=2)
RECIPES = {
    "mlp": Recipe(
        layers={"hidden": Dense(neurons=256), "digit": Dense(neurons=CLASSES)},
        stages=(Stage(encoder=FOUR_STEPS, widths=(8, 4), epochs=40, learning_rate=3e-3, distortion=0.5),),
    ),
    "mlp-128": Recipe(
        layers={"hidden": Dense(neurons=128), "digit": Dense(neurons=CLASSES)},
        stages=(Stage(encoder=FOUR_STEPS, widths=(8, 4), epochs=60, learning_rate=3e-3, distortion=0.4),),
    ),
    "conv": Recipe(
        layers={
            "edges": Convolution(channels=16, kernel=5, stride=2),
            "parts": Convolution(channels=32, kernel=3, stride=2),
            "digit": Dense(neurons=CLASSES),
        },
        stages=(
            Stage(encoder=FOUR_STEPS, widths=(8,), epochs=24, learning_rate=3e-3, distortion=0.6),
            Stage(
                encoder=LatencyEncoder(steps=6, bits=2),
                widths=(8, 4),
                epochs=6,
                learning_rate=1.5e-3,
                distortion=0.4,
            ),
        ),
    ),
}


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


@torch.no_grad()
def rounded(weight: Tensor, width: int) -> Tensor:
    """The weights as ``width``-bit integers hold them, in the unit of the threshold.

    The scale is the power of two that the quantiser picks (see `spikeloom.compiler.quantise`): least squared error of
    three.
    """
    low, high = -(2 ** (width - 1)), 2 ** (width - 1) - 1
    finest = 2.0 ** math.floor(math.log2(high / weight.abs().max().item()))
    candidates = [(weight * scale).round().clamp(low, high) / scale for scale in (finest, 2 * finest, 4 * finest)]
    return min(candidates, key=lambda candidate: (candidate - weight).square().sum().item())


def currents(layer: Convolution | Dense, weight: Tensor, spikes: Tensor) -> Tensor:
    """What spikes ``(T, B, ...)`` bring to the neurons of ``layer``, ``(T, B, ...)``."""
    together = spikes.flatten(0, 1)  # all steps of all images as one batch
    if isinstance(layer, Convolution):
        sums = torch.nn.functional.conv2d(together, weight, stride=layer.stride, padding=layer.padding)
    else:
        sums = torch.nn.functional.linear(together.flatten(1), weight)
    return sums.unflatten(0, spikes.shape[:2])


def fire(received: Tensor, reset: str) -> Tensor:
    """Spikes ``(T, B, ...)`` of neurons that receive these currents."""
    v = torch.zeros_like(received[0])
    spikes = []
    for current in received:
        u = v + current
        spiked = Spike.apply(u - 1.0)
        v = u - spiked.detach() if reset == "subtract" else u * (1 - spiked.detach())
        spikes.append(spiked)
    return torch.stack(spikes)


def run(recipe: Recipe, weights: list[Tensor], spikes: Tensor, width: int | None) -> tuple[Tensor, Tensor]:
    """Spike counts ``(B, classes)`` of the output, and the sum of what it received, in ``width``-bit integers.

    Without a width, in floating point.
    """
    for layer, weight in zip(recipe.layers.values(), weights, strict=True):
        exact = weight if width is None else weight + (rounded(weight, width) - weight).detach()
        received = currents(layer, exact, spikes)
        spikes = fire(received, recipe.reset)
    return spikes.sum(0), received.sum(0)


def encode(encoder: LatencyEncoder, images: Tensor) -> Tensor:
    """Spikes ``(T, B, 1, 28, 28)`` of images ``(B, 28, 28)`` from 0 to 255: `pixel_levels` and `LatencyEncoder`."""
    levels = (images.round().to(torch.int64) + (1 << (7 - encoder.bits))) >> (8 - encoder.bits)
    when = (((1 << encoder.bits) - levels) * encoder.steps) >> encoder.bits
    steps = torch.arange(encoder.steps).reshape(-1, 1, 1, 1)
    return ((when == steps) & (levels > 0)).float()[:, :, None]


def first_weights(recipe: Recipe) -> list[Tensor]:
    """Normal weights, so large that a neuron comes near its threshold where one input in six spikes in the sample."""
    channels, side, size, weights = 1, SIDE, SIDE * SIDE, []
    for layer in recipe.layers.values():
        if isinstance(layer, Convolution):
            fan_in = channels * layer.kernel**2
            weights.append(torch.randn(layer.channels, channels, layer.kernel, layer.kernel) / math.sqrt(0.2 * fan_in))
            side = (side + 2 * layer.padding - layer.kernel) // layer.stride + 1
            channels, size = layer.channels, layer.channels * side * side
        else:
            weights.append(torch.randn(layer.neurons, size) / math.sqrt(0.15 * size))
            size = layer.neurons
    return [weight.requires_grad_() for weight in weights]


def train(recipe: Recipe, digits: Digits, *, seed: int, checkpoint: Path) -> list[Tensor]:
    """Weights trained on ``digits``: the moving average of the last stage.

    Every stage is kept beside ``checkpoint``, every epoch in it, and a training that was cut off goes on there.
    """
    torch.manual_seed(seed)
    weights = first_weights(recipe)
    for number, stage in enumerate(recipe.stages, 1):
        train_stage(recipe, stage, digits, weights, checkpoint.with_suffix(f".{number}.training"))
    return [weight.detach() for weight in weights]


def train_stage(recipe: Recipe, stage: Stage, digits: Digits, weights: list[Tensor], checkpoint: Path) -> None:
    """Train ``weights`` by a cosine schedule and leave their moving average in them."""
    average = [weight.detach().clone() for weight in weights]
    images, labels = torch.tensor(digits.images, dtype=torch.float32), torch.tensor(digits.labels)
    batches = len(digits) // recipe.batch
    optimiser = torch.optim.Adam(weights, lr=stage.learning_rate)
    updates = stage.epochs * batches
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda update: min(1.0, (update + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * update / updates))
    )
    first = 0
    if checkpoint.exists():
        kept = torch.load(checkpoint)
        first = kept["epoch"]
        optimiser.load_state_dict(kept["optimiser"])
        schedule.load_state_dict(kept["schedule"])
        torch.set_rng_state(kept["random"])
        with torch.no_grad():
            for weight, mean, (old, old_mean) in zip(weights, average, kept["weights"], strict=True):
                weight.copy_(old)
                mean.copy_(old_mean)
    for epoch in range(first, stage.epochs):
        start, total = time.monotonic(), 0.0
        for number, batch in enumerate(torch.randperm(len(digits))[: batches * recipe.batch].split(recipe.batch)):
            spikes = encode(stage.encoder, distorted(images[batch], stage.distortion))
            counts, received = run(recipe, weights, spikes, stage.widths[number % len(stage.widths)])
            loss = torch.nn.functional.cross_entropy(COUNT_SCALE * counts, labels[batch])
            loss = loss + torch.nn.functional.cross_entropy(received, labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
            with torch.no_grad():
                for mean, weight in zip(average, weights, strict=True):
                    mean.mul_(KEEP).add_(weight, alpha=1 - KEEP)
        state = {
            "epoch": epoch + 1,
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
            "random": torch.get_rng_state(),
            "weights": [(weight.detach(), mean) for weight, mean in zip(weights, average, strict=True)],
        }
        torch.save(state, checkpoint.with_suffix(".partial"))
        checkpoint.with_suffix(".partial").replace(checkpoint)
        print(f"  epoch {epoch + 1}: loss {total / batches:.3f}, {time.monotonic() - start:.0f} s", flush=True)
    with torch.no_grad():
        for weight, mean in zip(weights, average, strict=True):
            weight.copy_(mean)


def graph_of(recipe: Recipe, weights: list[Tensor]) -> nir.NIRGraph:
    """The layers as NIR, with what it takes to step and to feed them.

    Weights are those of 8 bits, which pack better and from which the quantiser makes the same integers.
    """
    flat = isinstance(next(iter(recipe.layers.values())), Dense)
    shape: tuple[int, ...] = (SIDE * SIDE,) if flat else (1, SIDE, SIDE)
    nodes = {"input": nir.Input(np.array(shape))}
    for (name, layer), weight in zip(recipe.layers.items(), weights, strict=True):
        array = rounded(weight, 8).numpy()
        if isinstance(layer, Convolution):
            nodes[f"to_{name}"] = nir.Conv2d(
                input_shape=shape[1:],
                weight=array,
                stride=layer.stride,
                padding=layer.padding,
                dilation=1,
                groups=1,
                bias=np.zeros(layer.channels, np.float32),
            )
            side = (shape[1] + 2 * layer.padding - layer.kernel) // layer.stride + 1
            shape = (layer.channels, side, side)
        else:
            if len(shape) > 1:
                nodes["flatten"] = nir.Flatten(input_type={"input": np.array(shape)}, start_dim=0, end_dim=-1)
            nodes[f"to_{name}"] = nir.Linear(weight=array)
            shape = (layer.neurons,)
        # dv/dt = r I, stepped by time steps of TIME_STEP_S: a gain of 1.
        nodes[name] = nir.IF(r=np.full(shape, 1 / TIME_STEP_S), v_threshold=np.ones(shape), v_reset=np.zeros(shape))
    nodes["output"] = nir.Output(np.array([CLASSES]))
    metadata = {
        "spikeloom": {
            **NIR_METADATA.entry,
            "preset": "nir",
            "time_step_s": TIME_STEP_S,
            "reset": recipe.reset,
            "reset_delay": 0,
        },
        "spikeloom_encoder": recipe.stages[-1].encoder.settings(),
    }
    return nir.NIRGraph(nodes=nodes, edges=list(pairwise(nodes)), metadata=metadata)


@torch.no_grad()
def report(recipe: Recipe, weights: list[Tensor], digits: Digits) -> None:
    """Print the accuracy as floats and as the integers of 8 and 4 bits that the network's file gives."""
    stored = [rounded(weight, 8) for weight in weights]
    for name, given, width in (("float", weights, None), ("8 bits", stored, 8), ("4 bits", stored, 4)):
        right = 0
        for first in range(0, len(digits), 500):
            part = slice(first, first + 500)
            images = torch.tensor(digits.images[part], dtype=torch.float32)
            counts, _ = run(recipe, given, encode(recipe.stages[-1].encoder, images), width)
            right += int((counts.numpy().argmax(1) == digits.labels[part]).sum())
        print(f"{name}: {100 * right / len(digits):.2f} % of {len(digits)} images")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--data", type=Path, help="folder with the IDX files; downloaded to build/mnist if not given")
    parser.add_argument("--held", type=int, default=0, help="evaluate on the first N training images and write nothing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="where the network goes; models/mnist-NAME.nir if not given")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    recipe = RECIPES[arguments.name]
    folder = arguments.data or fetch_mnist(ROOT / "build" / "mnist")
    digits, measured = load_mnist(folder, "train"), load_mnist(folder, "test")
    if arguments.held:
        kept = len(digits) - arguments.held
        measured = Digits(images=digits.images[kept:], labels=digits.labels[kept:])
        digits = Digits(images=digits.images[:kept], labels=digits.labels[:kept])
    path = arguments.output or ROOT / "models" / f"mnist-{arguments.name}.nir"
    checkpoint = ROOT / "build" / f"mnist-{arguments.name}-{arguments.held}-{arguments.seed}"
    start = time.monotonic()
    weights = train(recipe, digits, seed=arguments.seed, checkpoint=checkpoint)
    print(f"trained in {time.monotonic() - start:.0f} s")
    report(recipe, weights, measured)
    if not arguments.held:
        nir.write(path, graph_of(recipe, weights), 9)


if __name__ == "__main__":
    main()
