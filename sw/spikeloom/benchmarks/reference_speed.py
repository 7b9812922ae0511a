"""Speed of the integer reference: part of ``make bench``, written to ``build/bench/reference.json``.

The reference runs a network of leaky neurons, 784-128-10, beside a loop in NumPy with 32-bit floats that does the same
without being exact, and beside snnTorch where it is installed. Only processor time counts, in one thread, and only
ratios are comparable between machines.
"""

# snnTorch and torch are used where they are installed.
# pyright: reportMissingImports=false

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.model.network import Connection, Network
from spikeloom.model.population import INPUT, Population
from spikeloom.sim.core.neuron import Reset
from spikeloom.sim.lib.files import write_whole
from spikeloom.sim.lib.formats import BENCHMARK_FILE
from spikeloom.sim.network.reference import simulate

__all__ = ["ReferenceSpeed", "float_loop", "measure", "measure_all", "network_of"]

SIZES = (784, 128, 10)
STEPS = 25
BETA = 0.9375
BATCHES = (1, 1000)
_RATE = 0.1
"""Spikes per input and step."""
_DIRECTORY = Path("build/bench")
_RUNS = 5


@dataclass(frozen=True, kw_only=True)
class ReferenceSpeed:
    """Samples of `STEPS` steps per second of processor time, the best of five runs, for ``batch`` samples together.

    ``of_numpy`` and ``of_snntorch`` are the ratios of the reference's speed to that of each; None without snnTorch.
    ``spikes`` counts those of all neurons, ``operations`` additions of a weight.
    """

    batch: int
    reference_per_s: float
    numpy_per_s: float
    snntorch_per_s: float | None
    of_numpy: float
    of_snntorch: float | None
    spikes: int
    operations: int


def network_of(rng: np.random.Generator) -> tuple[Network, list[NDArray[np.float32]]]:
    """Return a network with random weights, and the weights ``(n, m)`` of its layers."""
    names = ("hidden", "output")
    weights = [rng.normal(0, 2 / np.sqrt(n_in), (n_out, n_in)).astype(np.float32) for n_in, n_out in pairwise(SIZES)]
    network = Network(
        name="leaky",
        input_shape=(SIZES[0],),
        populations=tuple(
            Population(name=name, shape=(size,), beta=np.array(BETA), threshold=np.array(1.0), reset=Reset.SUBTRACT)
            for name, size in zip(names, SIZES[1:], strict=True)
        ),
        connections=tuple(
            Connection(source=source, target=target, weight=weight)
            for source, target, weight in zip((INPUT, *names), names, weights, strict=False)
        ),
        output=names[-1],
        time_step_s=1e-3,
    )
    return network, weights


def float_loop(weights: list[NDArray[np.float32]], spikes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Run ``spikes`` ``(T, B, n)`` through layers of ``v = beta v + W x``; above 1, a spike subtracts 1."""
    potentials = [np.zeros((spikes.shape[1], len(weight)), np.float32) for weight in weights]
    found = []
    for step in spikes:
        values = step.astype(np.float32)
        for layer, weight in enumerate(weights):
            potential = np.float32(BETA) * potentials[layer] + values @ weight.T
            values = (potential > 1).astype(np.float32)
            potentials[layer] = potential - values
        found.append(values > 0)
    return np.array(found)


def _snntorch_loop(weights: list[NDArray[np.float32]], spikes: NDArray[np.bool_]) -> Callable[[], Any]:
    import snntorch
    import torch

    torch.set_num_threads(1)
    neurons = [snntorch.Leaky(beta=BETA, reset_mechanism="subtract") for _ in weights]
    matrices = [torch.from_numpy(weight) for weight in weights]
    inputs = torch.from_numpy(spikes.astype(np.float32))

    def run() -> Any:
        with torch.no_grad():
            membranes = [neuron.init_leaky() for neuron in neurons]
            found = []
            for values in inputs:
                for layer, (matrix, neuron) in enumerate(zip(matrices, neurons, strict=True)):
                    values, membranes[layer] = neuron(torch.nn.functional.linear(values, matrix), membranes[layer])
                found.append(values)
            return torch.stack(found)

    return run


def _best(run: Callable[[], Any]) -> float:
    """Return the shortest processor time of ``run`` in seconds."""
    best = float("inf")
    for _ in range(_RUNS):
        start = time.process_time()
        run()
        best = min(best, max(time.process_time() - start, 1e-9))
    return best


def measure(batch: int, *, steps: int = STEPS) -> ReferenceSpeed:
    """Run ``batch`` samples together in each way."""
    rng = np.random.default_rng(0)
    network, weights = network_of(rng)
    quantised = quantise(network, Quantisation())
    spikes = rng.random((steps, batch, SIZES[0])) < _RATE
    result = simulate(quantised, spikes)
    ours = _best(lambda: simulate(quantised, spikes))
    loop = _best(lambda: float_loop(weights, spikes))
    theirs = _best(_snntorch_loop(weights, spikes)) if find_spec("snntorch") else None
    return ReferenceSpeed(
        batch=batch,
        reference_per_s=round(batch / ours, 1),
        numpy_per_s=round(batch / loop, 1),
        snntorch_per_s=None if theirs is None else round(batch / theirs, 1),
        of_numpy=round(loop / ours, 2),
        of_snntorch=None if theirs is None else round(theirs / ours, 2),
        spikes=sum(int(of_population.sum()) for of_population in result.spikes.values()),
        operations=int(result.synaptic_operations.sum()),
    )


def measure_all() -> list[ReferenceSpeed]:
    """Measure all of `BATCHES` in a process in which matrix products use one thread: idle threads of a product wait
    actively, which would count."""
    os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return list(process.map(measure, BATCHES))


def main() -> None:
    speeds = measure_all()
    for speed in speeds:
        beside = "" if speed.of_snntorch is None else f", {speed.of_snntorch:.2f} of snnTorch's"
        print(
            f"reference, {speed.batch:5,} together {speed.reference_per_s:9,.0f} samples/s, "
            f"{speed.of_numpy:.2f} of a float loop's{beside}"
        )
    path = _DIRECTORY / "reference.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, BENCHMARK_FILE.text([asdict(speed) for speed in speeds]))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
