"""Train the networks of models/vowels-*.nir, one per coding scheme, with plain PyTorch on one thread.

    pip install -e '.[train]'
    python examples/train_series.py --select     # compares settings on a validation part; writes nothing
    python examples/train_series.py              # trains on all training utterances and writes models/vowels-*.nir

The task is to tell the nine speakers of the Japanese vowels (`spikeloom.datasets.vowels`). A recurrent network of 64
LIF neurons and nine output neurons reads the spikes of an encoder. One step of a neuron is ``u = v - v / 8 + I +
bias``; it spikes when ``u > 1`` and then goes back to 0. What the 64 neurons send each other arrives one step later.
The answer is the output neuron that spiked most often.

Training goes through the integers of 8-bit weights, as in train_digits.py. Encoders and settings were chosen with
--select, on every third utterance of each speaker of the training split; the test split is never looked at here.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nir
import numpy as np
import torch
from torch import Tensor
from train_digits import LEAK_SHIFT, TIME_STEP_S, as_integers, neurons

from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import (
    BensSpikerEncoder,
    Encoder,
    PopulationEncoder,
    Scale,
    SigmaDeltaEncoder,
    StepForwardEncoder,
)
from spikeloom.datasets.readout import accuracy
from spikeloom.datasets.vowels import CHANNELS, SPEAKERS, Vowels, fetch_vowels, load_vowels
from spikeloom.frontends.nir import load
from spikeloom.sim.lib.formats import NIR_METADATA
from spikeloom.sim.network.reference import simulate

HIDDEN, WIDTH = 64, 8
BATCH, LEARNING_RATE, WARM_UP, KEEP = 90, 1e-2, 30, 0.98
MODELS = Path(__file__).resolve().parents[1] / "models"
DATA = Path("build/series")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: epochs, and what makes each epoch's utterances different.

    ``noise`` is the deviation of what is added to each sample, and ``shift`` that of what is added to a whole channel,
    in deviations of the channel; ``drop`` is the share of input spikes that are lost.
    """

    epochs: int = 150
    noise: float = 0.15
    shift: float = 0.15
    drop: float = 0.05


def candidates(training: Vowels) -> dict[str, list[Encoder]]:
    """The encoders to choose from, fitted to ``training``."""
    levels, signed = (Scale.fit(training.series, bits=6, signed=sign) for sign in (False, True))
    return {
        "population": [
            PopulationEncoder(steps=1, bits=6, fields=fields, beta=beta, scale=levels)
            for fields, beta in ((6, 1.0), (8, 1.0), (8, 0.7), (10, 1.0))
        ],
        "sigma-delta": [SigmaDeltaEncoder(steps=steps, bits=5, scale=signed) for steps in (1, 2, 3)],
        "step-forward": [
            StepForwardEncoder(threshold=threshold, first="zero", scale=signed) for threshold in (2, 3, 5)
        ],
        "bens": [
            BensSpikerEncoder.fit(training.series, length=length, cutoffs=(cutoff,), tail="cut", scale=levels)
            for length, cutoff in ((5, 0.4), (5, 0.7), (7, 0.4))
        ],
    }


CHOSEN = {"population": 2, "sigma-delta": 0, "step-forward": 0, "bens": 0}
"""Which of the candidates --select found best."""

Weights = Mapping[str, Tensor]


def run(weights: Weights, spikes: Tensor) -> Tensor:
    """Spikes ``(B, speakers)`` of the output neurons, from spikes ``(T, B, axons)``, in 8-bit integers."""
    axons = weights["input"].shape[1]
    joined = torch.cat([weights["input"], weights["recurrent"]], dim=1)
    both, bias, scale = as_integers((joined, weights["hidden_bias"]), WIDTH)
    output, output_bias, output_scale = as_integers((weights["output"], weights["output_bias"]), WIDTH)
    currents = spikes @ both[:, :axons].T + bias
    recurrent = both[:, axons:].T
    v = torch.zeros(spikes.shape[1], HIDDEN)
    fired, v_output = torch.zeros_like(v), torch.zeros(spikes.shape[1], SPEAKERS)
    counts = torch.zeros_like(v_output)
    for current in currents:
        v, fired = neurons(v, current + fired @ recurrent, scale)
        v_output, answered = neurons(v_output, fired @ output.T + output_bias, output_scale)
        counts = counts + answered
    return counts


def train(vowels: Vowels, encoder: Encoder, recipe: Recipe, *, seed: int) -> Weights:
    """Weights trained on ``vowels``: their moving average at the end of a cosine schedule."""
    random = np.random.Generator(np.random.PCG64(seed))
    torch.manual_seed(seed)
    axons = encoder.axons(CHANNELS)
    rate = max(float(encoder.encode_series(vowels.series).mean()), 0.02)
    weights = {
        "input": 0.5 / np.sqrt(axons * rate) * torch.randn(HIDDEN, axons),
        "recurrent": 0.5 / np.sqrt(HIDDEN) * torch.randn(HIDDEN, HIDDEN),
        "hidden_bias": torch.full((HIDDEN,), 0.05),
        "output": 0.4 / np.sqrt(HIDDEN * 0.2) * torch.randn(SPEAKERS, HIDDEN),
        "output_bias": torch.full((SPEAKERS,), 0.05),
    }
    parameters = [weight.requires_grad_() for weight in weights.values()]
    average = {name: weight.detach().clone() for name, weight in weights.items()}
    labels = torch.tensor(vowels.labels)
    deviation = vowels.series.std(axis=(0, 1))
    batches = -(-len(vowels) // BATCH)
    optimiser = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda update: (
            min(1.0, (update + 1) / WARM_UP) * 0.5 * (1 + np.cos(np.pi * update / (recipe.epochs * batches)))
        ),
    )
    for epoch in range(recipe.epochs):
        series = vowels.series + deviation * (
            recipe.noise * random.standard_normal(vowels.series.shape)
            + recipe.shift * random.standard_normal((1, len(vowels), CHANNELS))
        )
        encoded = encoder.encode_series(series)
        spikes = torch.tensor(encoded & (random.random(encoded.shape) >= recipe.drop), dtype=torch.float32)
        total = 0.0
        for batch in torch.tensor(random.permutation(len(vowels))).split(BATCH):
            counts = run(weights, spikes[:, batch])
            loss = torch.nn.functional.cross_entropy(counts * (4.0 / len(spikes) ** 0.5), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
            with torch.no_grad():
                for name, weight in weights.items():
                    average[name].mul_(KEEP).add_(weight, alpha=1 - KEEP)
        if epoch % 50 == 49:
            print(f"  epoch {epoch + 1}: loss {total / batches:.3f}", flush=True)
    return average


def graph_of(weights: Weights, encoder: Encoder) -> nir.NIRGraph:
    """The network as NIR, with what it takes to step and to feed it."""
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

    arrays = {name: weight.numpy() for name, weight in weights.items()}
    nodes = {
        "input": nir.Input(np.array([arrays["input"].shape[1]])),
        "to_hidden": nir.Affine(weight=arrays["input"], bias=arrays["hidden_bias"]),
        "hidden": lif(HIDDEN),
        "recurrent": nir.Linear(weight=arrays["recurrent"]),
        "to_speaker": nir.Affine(weight=arrays["output"], bias=arrays["output_bias"]),
        "speaker": lif(SPEAKERS),
        "output": nir.Output(np.array([SPEAKERS])),
    }
    edges = [
        ("input", "to_hidden"),
        ("to_hidden", "hidden"),
        ("hidden", "recurrent"),
        ("recurrent", "hidden"),
        ("hidden", "to_speaker"),
        ("to_speaker", "speaker"),
        ("speaker", "output"),
    ]
    metadata = {
        "spikeloom": {
            **NIR_METADATA.entry,
            "preset": "snntorch",
            "time_step_s": TIME_STEP_S,
            "reset": "zero",
            "reset_delay": 0,
        },
        "spikeloom_encoder": encoder.settings(),
    }
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=metadata)


def score(graph: nir.NIRGraph, encoder: Encoder, vowels: Vowels) -> float:
    """Accuracy of the integers, by spikeloom's own reference."""
    quantised = quantise(load(graph), Quantisation(weight_width=WIDTH))
    return accuracy(simulate(quantised, encoder.encode_series(vowels.series)).spikes[quantised.output], vowels.labels)


def select(training: Vowels, schemes: list[str], recipe: Recipe) -> None:
    """Print the accuracy of every candidate on every third utterance, trained on the others."""
    held = np.arange(len(training)) % 3 == 2  # 30 per speaker, in order: ten of each
    inside, outside = training.part(~held), training.part(held)
    for scheme in schemes:
        for number, encoder in enumerate(candidates(inside)[scheme]):
            start = time.monotonic()
            graph = graph_of(train(inside, encoder, recipe, seed=0), encoder)
            shown = {name: value for name, value in encoder.settings().items() if not name.startswith("scale")}
            print(
                f"{scheme} {number}: {100 * score(graph, encoder, outside):.1f} % of {len(outside)}, "
                f"{time.monotonic() - start:.0f} s, {shown}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--select", action="store_true", help="compare settings on a validation part instead")
    parser.add_argument("--schemes", nargs="+", default=list(CHOSEN), choices=list(CHOSEN))
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="folder with the files; downloaded if not given")
    parser.add_argument("--output", type=Path, default=MODELS, help="folder for the networks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    training = load_vowels(arguments.data or fetch_vowels(DATA), "train")
    recipe = Recipe(epochs=arguments.epochs)
    if arguments.select:
        select(training, arguments.schemes, recipe)
        return
    for scheme in arguments.schemes:
        start = time.monotonic()
        encoder = candidates(training)[scheme][CHOSEN[scheme]]
        graph = graph_of(train(training, encoder, recipe, seed=arguments.seed), encoder)
        path = arguments.output / f"vowels-{scheme}.nir"
        nir.write(path, graph)
        print(f"{path}: {time.monotonic() - start:.0f} s, {100 * score(graph, encoder, training):.1f} % in training")


if __name__ == "__main__":
    main()
