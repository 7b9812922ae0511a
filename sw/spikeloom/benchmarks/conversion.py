"""MNIST by converted ReLU networks: accuracy against the number of steps, as floats and as integers.

``make conversion`` trains a fully connected and a convolutional network without spikes (torch, about two minutes on one
core), converts each by weight and by threshold balancing, and presents the test images for up to 64 or 256 steps. The
answer after T steps is the largest membrane of the last layer in step T, so that one run gives every T. Results are
kept in ``build/conversion``; a network that was trained, and a run that is complete, are not repeated.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import encoder_from
from spikeloom.datasets.mnist import MnistError, fetch_mnist, load_mnist
from spikeloom.datasets.readout import Decision, classify
from spikeloom.datasets.shipped import Digits
from spikeloom.frontends.relu import from_torch
from spikeloom.model.network import Network
from spikeloom.sim.lib.files import write_whole
from spikeloom.sim.lib.formats import SUMMARY_FILE
from spikeloom.sim.network.reference import simulate

__all__ = ["TASKS", "Task", "correct_by_step", "main", "table_of"]

WIDTHS = Quantisation(weight_width=8, v_width=24)
"""Widths of the integers of the table."""

out = Console(width=160)

_CALIBRATION = 512
_BATCH = 250


@dataclass(frozen=True, kw_only=True)
class Task:
    """A network to train and convert.

    ``margin`` is how many points of accuracy the conversion may lose in ``steps`` steps, and ``images`` the number of
    test images.
    """

    name: str
    input_shape: tuple[int, ...]
    steps: int
    margin: float
    images: int
    epochs: int
    build: Callable[[Any], Any]


TASKS = (
    Task(
        name="784-256-10",
        input_shape=(784,),
        steps=64,
        margin=0.5,
        images=10_000,
        epochs=4,
        build=lambda nn: nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10)),
    ),
    Task(
        name="conv 8-16, maximum and average",
        input_shape=(1, 28, 28),
        steps=256,
        margin=1.0,
        images=1_000,
        epochs=1,
        build=lambda nn: nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 4), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(400, 10),
        ),
    ),
)  # fmt: skip
"""Tasks of ``make conversion``."""


def correct_by_step(
    network: Network, images: ArrayLike, labels: ArrayLike, *, steps: int, integers: bool
) -> NDArray[np.int64]:
    """Return how many answers are right after each of ``steps`` steps, ``(steps,)``, for ``images`` ``(B, n)``."""
    assert network.encoder is not None
    encoder = encoder_from(dict(network.encoder) | {"steps": steps})
    samples, wanted, right = np.asarray(images), np.asarray(labels), np.zeros(steps, np.int64)
    quantised = quantise(network, WIDTHS) if integers else None
    for first in range(0, len(samples), _BATCH):
        values = encoder.encode(samples[first : first + _BATCH])
        if quantised is None:
            membranes: NDArray[Any] = network.simulate(values)
        else:
            membranes = simulate(quantised, values, record=(network.output,)).states[network.output].v
        for step in range(steps):
            answers = classify(membranes[step : step + 1], Decision.LAST_MEMBRANE)
            right[step] += np.count_nonzero(answers == wanted[first : first + _BATCH])
    return right


def table_of(results: Sequence[dict[str, Any]]) -> Table:
    """Return the table of accuracy in per cent, one column per number of steps."""
    shown = [2**k for k in range(2, 9)]
    table = Table(title="MNIST: accuracy in per cent after T steps", box=box.MARKDOWN)
    for column in ("network", "balance", "numbers", "ReLU", *(f"T = {steps}" for steps in shown)):
        table.add_column(column, justify="left" if column in ("network", "balance", "numbers") else "right")
    for result in results:
        by_step = result["accuracy_by_step"]
        cells = [f"{100 * by_step[steps - 1]:.2f}" if steps <= len(by_step) else "" for steps in shown]
        relu = f"{100 * result['accuracy_relu']:.2f}"
        table.add_row(result["network"], result["balance"], result["numbers"], relu, *cells)
    return table


def _trained(task: Task, folder: Path, images: NDArray[Any], labels: NDArray[Any]) -> Any:
    """Return the trained module, from ``folder`` if it is there."""
    torch: Any = importlib.import_module("torch")
    torch.manual_seed(1)
    module, path = task.build(torch.nn), folder / f"{task.name}.pt"
    if path.exists():
        module.load_state_dict(torch.load(path, weights_only=True))
        return module.eval()
    optimizer = torch.optim.Adam(module.parameters(), 2e-3)
    inputs = torch.tensor(images.reshape(len(images), *task.input_shape), dtype=torch.float32)
    wanted = torch.tensor(labels.astype(np.int64))
    loss: Any = None
    for epoch in range(task.epochs):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * 0.6**epoch
        for batch in torch.randperm(len(inputs)).split(200):
            loss = torch.nn.functional.cross_entropy(module(inputs[batch]), wanted[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        out.print(f"{task.name}: epoch {epoch + 1} of {task.epochs}, loss {float(loss.detach()):.3f}")
    torch.save(module.state_dict(), path)
    return module.eval()


def _run(task: Task, folder: Path, train: Digits, test: Digits) -> list[dict[str, Any]]:
    torch: Any = importlib.import_module("torch")
    pixels = train.images.reshape(len(train.images), -1) / 255.0
    module = _trained(task, folder, pixels, train.labels)
    images = test.images[: task.images].reshape(task.images, -1) / 255.0
    labels = test.labels[: task.images]
    with torch.no_grad():
        inputs = torch.tensor(images.reshape(-1, *task.input_shape), dtype=torch.float32)
        relu = float(np.mean(module(inputs).argmax(1).numpy() == labels))
    results = []
    for balance in ("weights", "thresholds"):
        calibration = pixels[:_CALIBRATION].reshape(-1, *task.input_shape)
        network = from_torch(module, task.input_shape, calibration, steps=task.steps, balance=balance)
        for numbers in ("floats", "integers"):
            path = folder / f"{task.name}-{balance}-{numbers}.json"
            if not path.exists():
                begin = time.monotonic()
                right = correct_by_step(network, images, labels, steps=task.steps, integers=numbers == "integers")
                result = {
                    "network": task.name,
                    "balance": balance,
                    "numbers": numbers,
                    "images": task.images,
                    "accuracy_relu": relu,
                    "accuracy_by_step": (right / task.images).tolist(),
                    "margin_points": task.margin,
                }
                write_whole(path, json.dumps(result) + "\n")
                out.print(f"{task.name}, {balance}, {numbers}: {time.monotonic() - begin:.0f} s")
            results.append(json.loads(path.read_text()))
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tasks; return 1 if a conversion loses more than its margin, and 2 after an error."""
    parser = argparse.ArgumentParser(prog="python -m spikeloom.benchmarks.conversion", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with the four IDX files of MNIST; downloaded if not given")
    parser.add_argument("--only", default="", help="only networks with this in their name")
    given = parser.parse_args(arguments)
    chosen = [task for task in TASKS if given.only in task.name]
    if not chosen:
        names = ", ".join(repr(task.name) for task in TASKS)
        return _refused(f"--only must be part of one of {names}, not {given.only!r}")
    if find_spec("torch") is None:
        return _refused("conversion needs PyTorch; pip install 'spikeloom[train]'")
    try:
        data = given.data or fetch_mnist(Path("build/mnist"))
        train, test = (load_mnist(data, part) for part in ("train", "test"))
    except MnistError as error:
        return _refused(str(error))
    folder = Path("build/conversion")
    folder.mkdir(parents=True, exist_ok=True)
    results = [result for task in chosen for result in _run(task, folder, train, test)]
    write_whole(folder / "summary.json", SUMMARY_FILE.text(results))
    out.print(table_of(results))
    missed = [r for r in results if 100 * (r["accuracy_relu"] - r["accuracy_by_step"][-1]) > r["margin_points"]]
    for result in missed:
        out.print(f"{result['network']}, {result['balance']}, {result['numbers']}: loses more than its margin")
    return 1 if missed else 0


def _refused(sentence: str) -> int:
    print(f"spikeloom: {sentence}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
