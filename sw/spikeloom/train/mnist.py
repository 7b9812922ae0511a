"""MNIST trained on integers of 8, 4, 2 and 1 bit, and a published network fine-tuned at 4 bits: ``make train``.

A `Recipe` is a network and how it is trained. `train` runs it; each epoch is kept, and a training that was interrupted
goes on there. `measure` classifies the held-out images twice, by the trained layers and by the integer reference, and
counts the cells (step, image, neuron) in which they differ: there must be none.

* The networks 784-128-10 take four steps per image (`LatencyEncoder`). Neurons integrate, fire and subtract their
  threshold, without a leak. The loss is the cross-entropy of the output's spike counts and, because counts are few, of
  the sums that the output neurons received as well. Images are rotated, scaled, sheared and shifted at random.
* The network 784-1000-10 is that of snnTorch's introduction (tutorial 5 of snnTorch 1.0.0: Eshraghian et al. 2023,
  arXiv 2109.12894): ``beta`` 0.95, 25 steps, reset by subtraction in the step after a spike, the pixels as values in
  every step, the cross-entropy of the output's membranes summed over the steps. It is trained in floats first, then
  fine-tuned with integers, where a pixel has the 17 levels of 4 bits.

Training uses 55,000 of the 60,000 training images. The settings were chosen on the other 5,000 (``--validate``), and
the test images are used once, at the end.
"""

# PyTorch is installed only where networks are trained.
# pyright: reportMissingImports=false

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import LatencyEncoder
from spikeloom.datasets.mnist import pixel_levels
from spikeloom.datasets.readout import accuracy
from spikeloom.datasets.shipped import Digits
from spikeloom.sim.core.neuron import Reset
from spikeloom.sim.lib.files import replaced, write_whole
from spikeloom.sim.lib.formats import SUMMARY_FILE
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.reference import simulate
from spikeloom.train.neurons import Neurons

if TYPE_CHECKING:
    from torch import Tensor

    from spikeloom.train.network import SpikingNetwork

__all__ = [
    "INTRODUCTION",
    "RECIPES",
    "VALIDATION",
    "Outcome",
    "Recipe",
    "checkpoint",
    "complaints",
    "distorted",
    "measure",
    "model_of",
    "network_file",
    "split",
    "train",
    "write_summary",
]

SIDE, CLASSES = 28, 10
VALIDATION = 5000
"""Number of training images, the last ones, that are kept for validation."""

_COUNT_SCALE = 2.0  # nats that a spike of an output neuron is worth
_WARM_UP = 200  # updates
_KEEP = 0.999  # decay per update of the moving average of the parameters
_PART = 500  # images that are measured at a time


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A network of one hidden layer, and how it is trained.

    Parameters
    ----------
    name
        Name of the result.
    hidden
        Number of hidden neurons.
    quantisation
        Widths of the integers; None for floats.
    neurons
        Rule of all neurons.
    epochs, batch, learning_rate, distortion
        The training; ``distortion`` scales the random changes of the images, 0 for none.
    encoder
        Encoder of the images; None for pixels as values in each of ``steps`` steps.
    readout
        Whether the output neurons never spike and the largest sum of their membranes is the answer. The loss is then
        that of their mean current alone.
    pixel_bits
        A pixel has ``2**pixel_bits + 1`` levels.
    start
        Name of the recipe whose parameters this one starts from; empty for none.
    least_accuracy
        Minimum accuracy on all test images, 0 to 1.
    most_lost
        Maximum loss of accuracy against ``start``.
    most_seconds
        Maximum duration of the training in seconds on an idle machine with two cores; None for no limit.
    """

    name: str
    hidden: int
    quantisation: Quantisation | None
    neurons: Neurons
    epochs: int
    batch: int = 128
    learning_rate: float
    distortion: float = 0.0
    encoder: LatencyEncoder | None = None
    readout: bool = False
    steps: int = 4
    pixel_bits: int = 4
    start: str = ""
    least_accuracy: float = 0.0
    most_lost: float = 1.0
    most_seconds: float | None = None

    @property
    def membranes(self) -> bool:
        """Whether the loss is that of the output's membranes, not of its spikes."""
        return self.encoder is None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a recipe on a ``part`` of the images, "validation" or "test": an entry of ``summary.json``.

    ``accuracy`` is that of the trained layers and ``integer_accuracy`` that of the reference, from 0 to 1; None for
    floats. ``cells`` counts the steps of all neurons and images that were compared, and ``differing`` those in which a
    spike differs. ``seconds`` is the wall time of the training.
    """

    name: str
    weight_bits: int | None
    images: int
    part: str
    accuracy: float
    integer_accuracy: float | None
    cells: int
    differing: int
    epochs: int
    seconds: float


_LATENCY = LatencyEncoder(steps=4, bits=2)
_FIRING = Neurons(reset=Reset.SUBTRACT)
INTRODUCTION = Neurons(beta=0.95, reset=Reset.SUBTRACT, reset_delay=1, learned=("bias",))
"""The neurons of snnTorch's introduction."""

RECIPES = (
    *(
        Recipe(
            name=f"784-128-10 at {bits} bits" if bits > 1 else "784-128-10 at 1 bit",
            hidden=128,
            quantisation=Quantisation(weight_width=bits),
            neurons=_FIRING if bits > 2 else replace(_FIRING, learned=("threshold", "bias")),
            epochs=epochs,
            learning_rate=3e-3,
            distortion=distortion,
            encoder=_LATENCY,
            pixel_bits=2,
            least_accuracy=least,
        )
        for bits, epochs, distortion, least in (
            (8, 24, 0.3, 0.98),
            (4, 24, 0.3, 0.975),
            (2, 16, 0.2, 0.965),
            (1, 16, 0.1, 0.95),
        )
    ),
    Recipe(
        name="784-1000-10 in floats",
        hidden=1000,
        quantisation=None,
        neurons=INTRODUCTION,
        epochs=1,
        learning_rate=5e-4,
        steps=25,
    ),
    Recipe(
        name="784-1000-10 at 4 bits",
        hidden=1000,
        quantisation=Quantisation(weight_width=4, v_width=18),
        neurons=INTRODUCTION,
        epochs=1,
        learning_rate=2e-4,
        steps=25,
        start="784-1000-10 in floats",
        most_lost=0.01,
        most_seconds=15 * 60,
    ),
)
"""Recipes that ``make train`` trains, in this order."""


def split(digits: Digits, held: int) -> tuple[Digits, Digits]:
    """Return all but the last ``held`` images, and the last ``held`` images."""
    kept = len(digits) - held
    return (
        Digits(images=digits.images[:kept], labels=digits.labels[:kept]),
        Digits(images=digits.images[kept:], labels=digits.labels[kept:]),
    )


def model_of(recipe: Recipe, seed: int = 0) -> SpikingNetwork:
    """Return the untrained network of ``recipe``; ``seed`` decides its weights."""
    import torch

    from spikeloom.train.layers import Dense
    from spikeloom.train.network import SpikingNetwork

    torch.manual_seed(seed)
    values = recipe.encoder is None
    sizes = (SIDE * SIDE, recipe.hidden), (recipe.hidden, CLASSES)
    output = Neurons(beta=recipe.neurons.beta, spiking=False) if recipe.readout else recipe.neurons
    layers = [
        Dense(name, inputs, outputs, neurons, input_bits=recipe.pixel_bits if values and not number else 0)
        for number, (name, (inputs, outputs), neurons) in enumerate(
            zip(("hidden", "digit"), sizes, (recipe.neurons, output), strict=True)
        )
    ]
    if values:
        # As torch.nn.Linear and the tutorial begin.
        for layer in layers:
            bound = layer.weight.shape[1] ** -0.5
            with torch.no_grad():
                layer.weight.uniform_(-bound, bound)
    return SpikingNetwork(
        layers,
        input_shape=(SIDE * SIDE,),
        # Signed values: one bit more, and one for full scale itself.
        input_value_width=recipe.pixel_bits + 2 if values else 0,
        quantisation=recipe.quantisation,
        encoder=recipe.encoder,
        name=recipe.name,
    )


def _inputs(recipe: Recipe, images: NDArray[np.uint8]) -> Tensor:
    """Return the input ``(T, B, 784)`` of the network for ``images`` ``(B, 28, 28)``."""
    import torch

    from spikeloom.train.network import encoded

    levels = pixel_levels(images, recipe.pixel_bits)
    if recipe.encoder is not None:
        return encoded(recipe.encoder, levels)
    values = torch.from_numpy(levels.reshape(1, len(levels), -1).astype(np.float32))
    return values.expand(recipe.steps, -1, -1)


def distorted(images: Tensor, amount: float) -> Tensor:
    """Return each of ``images`` ``(B, 28, 28)`` rotated, scaled, sheared and shifted at random.

    With an ``amount`` of 1, the rotation is at most 11 degrees, the scale 12 %, the shear 20 % and the shift 2 pixels.
    """
    import torch

    def random(most: float) -> Tensor:
        return (2 * torch.rand(len(images)) - 1) * most * amount

    angle, shear = random(0.2), random(0.2)
    wide, high = 1 + random(0.12), 1 + random(0.12)
    cosine, sine = angle.cos(), angle.sin()
    rows = (
        torch.stack([cosine * wide, shear - sine * high, random(4 / SIDE)], 1),
        torch.stack([sine * wide, cosine * high, random(4 / SIDE)], 1),
    )
    grid = torch.nn.functional.affine_grid(torch.stack(rows, 1), [len(images), 1, SIDE, SIDE], align_corners=False)
    return torch.nn.functional.grid_sample(images[:, None], grid, align_corners=False)[:, 0]


def _loss(recipe: Recipe, model: SpikingNetwork, inputs: Tensor, labels: Tensor) -> Tensor:
    import torch

    cross_entropy = torch.nn.functional.cross_entropy
    received, fired = model.run(inputs)[-1]
    if not recipe.membranes:
        counts = _COUNT_SCALE * fired.sum(0)
        return cross_entropy(counts, labels) + cross_entropy(received.sum(0), labels)
    if recipe.readout:
        return cross_entropy(received.mean(0), labels)
    return cross_entropy(fired.sum(0), labels) + cross_entropy(received.mean(0), labels)


def train(
    recipe: Recipe,
    digits: Digits,
    *,
    folder: Path,
    start: Path | None = None,
    report: Callable[[str], None] = print,
    seed: int = 0,
) -> tuple[SpikingNetwork, float]:
    """Return ``recipe`` trained on ``digits``, with the moving average of its parameters, and the seconds it took.

    Every epoch is kept in ``folder``, under the name of the recipe. ``start`` is the file with the parameters that the
    training starts from.
    """
    import torch

    model = model_of(recipe, seed)
    if start is not None:
        kept = torch.load(start, weights_only=True)["average"]
        model.load_state_dict(
            {k: v for k, v in kept.items() if not k.endswith(("holds", "held_exponent"))}, strict=False
        )
    path = checkpoint(recipe, folder)
    parameters = [p for p in model.parameters() if p.requires_grad]
    average = [p.detach().clone() for p in parameters]
    images, labels = torch.tensor(digits.images, dtype=torch.float32), torch.tensor(digits.labels)
    batches = len(digits) // recipe.batch
    updates = recipe.epochs * batches
    optimiser = torch.optim.Adam(parameters, lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda update: min(1.0, (update + 1) / _WARM_UP) * 0.5 * (1 + math.cos(math.pi * update / updates))
    )
    first, seconds = 0, 0.0
    if path.exists():
        state = torch.load(path, weights_only=True)
        first, seconds = state["epoch"], state["seconds"]
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        average = state["means"]
    keep = min(_KEEP, 1 - 10 / updates)
    for epoch in range(first, recipe.epochs):
        began, total = time.monotonic(), 0.0
        model.rescale()
        for batch in torch.randperm(len(digits))[: batches * recipe.batch].split(recipe.batch):
            chosen = images[batch]
            if recipe.distortion:
                chosen = distorted(chosen, recipe.distortion).round_()
            inputs = _inputs(recipe, chosen.numpy().astype(np.uint8))
            loss = _loss(recipe, model, inputs, labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            model.constrain()
            total += float(loss.detach())
            with torch.no_grad():
                for mean, parameter in zip(average, parameters, strict=True):
                    mean.mul_(keep).add_(parameter, alpha=1 - keep)
        seconds += time.monotonic() - began
        averaged = dict(model.state_dict())
        averaged.update(zip((n for n, p in model.named_parameters() if p.requires_grad), average, strict=True))
        state = {
            "epoch": epoch + 1,
            "seconds": seconds,
            "model": model.state_dict(),
            "means": average,
            "average": averaged,
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
            "random": torch.get_rng_state(),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as partial:
            torch.save(state, partial)
        report(f"  epoch {epoch + 1} of {recipe.epochs}: loss {total / batches:.3f}, {time.monotonic() - began:.0f} s")
    with torch.no_grad():
        for parameter, mean in zip(parameters, average, strict=True):
            parameter.copy_(mean)
    model.rescale()
    return model, seconds


def checkpoint(recipe: Recipe, folder: Path) -> Path:
    """Return the file in ``folder`` that holds the last epoch of ``recipe``."""
    return folder / (recipe.name.replace(" ", "-") + ".pt")


def network_file(recipe: Recipe, folder: Path) -> Path:
    """Return the file in ``folder`` to which ``make train`` saves the network of ``recipe`` for the commands."""
    return checkpoint(recipe, folder).with_suffix(".nir")


def measure(recipe: Recipe, model: SpikingNetwork, digits: Digits, *, part: str, seconds: float) -> Outcome:
    """Return how well ``model`` classifies ``digits``, by its layers and by the integers of the network's file."""
    import torch

    network = None
    if recipe.quantisation is not None:
        # What a user gets: the float network, converted as every command converts it.
        network = quantise(model.to_network(), recipe.quantisation)
    trained, integers = [], []
    cells = differing = 0
    for first in range(0, len(digits), _PART):
        inputs = _inputs(recipe, digits.images[first : first + _PART])
        with torch.no_grad():
            outputs = {
                layer.name: fired.numpy() for layer, (_, fired) in zip(model.layers, model.run(inputs), strict=True)
            }
        trained.append(outputs["digit"])
        if network is not None:
            found = _reference(network, inputs.numpy())
            cells += sum(spikes.size for spikes in found.values())
            differing += sum(int(np.count_nonzero(found[name] != outputs[name])) for name in found)
            integers.append(found["digit"])
    return Outcome(
        name=recipe.name,
        weight_bits=None if recipe.quantisation is None else recipe.quantisation.weight_width,
        images=len(digits),
        part=part,
        accuracy=accuracy(np.concatenate(trained, axis=1), digits.labels),
        integer_accuracy=accuracy(np.concatenate(integers, axis=1), digits.labels) if integers else None,
        cells=cells,
        differing=differing,
        epochs=recipe.epochs,
        seconds=round(seconds, 1),
    )


def _reference(network: QuantisedNetwork, inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the spikes or membranes of each population for ``inputs`` ``(T, B, n)``, by the integer reference."""
    result = simulate(network, inputs.astype(np.int64))
    return {name: result.states[name].v if name in result.states else spikes for name, spikes in result.spikes.items()}


def complaints(outcomes: Sequence[Outcome], recipes: Iterable[Recipe] = RECIPES) -> list[str]:
    """Return one sentence for each bound that a recipe misses on the test images."""
    found = []
    by_name = {outcome.name: outcome for outcome in outcomes if outcome.part == "test"}
    for recipe in recipes:
        outcome = by_name.get(recipe.name)
        if outcome is None:
            continue
        percent = f"{100 * outcome.accuracy:.2f} %"
        if outcome.differing or outcome.integer_accuracy not in (None, outcome.accuracy):
            found.append(
                f"{recipe.name}: the integers must equal the training in every cell, but {outcome.differing:,} differ"
            )
        if outcome.accuracy < recipe.least_accuracy:
            found.append(f"{recipe.name}: accuracy must be at least {100 * recipe.least_accuracy:.1f} %, not {percent}")
        before = by_name.get(recipe.start)
        if before is not None and before.accuracy - outcome.accuracy > recipe.most_lost:
            least = f"{100 * (before.accuracy - recipe.most_lost):.2f} %"
            found.append(f"{recipe.name}: accuracy must be at least {least}, not {percent}")
        if recipe.most_seconds is not None and outcome.seconds > recipe.most_seconds:
            found.append(
                f"{recipe.name}: training must take at most {recipe.most_seconds:.0f} s, not {outcome.seconds:.0f} s"
            )
    return found


def write_summary(path: Path, outcomes: Iterable[Outcome]) -> None:
    """Write ``summary.json``: a list of outcomes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, SUMMARY_FILE.text([asdict(outcome) for outcome in outcomes]))
