"""Table of the attention unit: size and speed from ``qor/``, beside a CPU that is timed now, and the paper.

``make qor`` prints it after the measurement; on its own: ``python -m spikeloom.boards.qor.attention_table``.

The CPU computes the same block in the form that suits it best: all steps are one batch of matrix products in single
precision, with random numbers from the generator of the library. The library is torch if it is installed (the extra
``train``), otherwise NumPy.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from spikeloom.boards.qor.blocks import ATTENTION_SHAPES, ATTENTION_STEPS, attention_block
from spikeloom.boards.qor.measure import FOLDER, Quality

__all__ = ["PAPER", "cpu_microseconds", "main"]

PAPER = (
    "The paper (Song, Katti, Simeone, Rajendran, AICAS 2024, abstract of arXiv 2402.09109) reports, for another shape, "
    "clock and device: 48 times lower latency of its FPGA block than of a GPU, at 15 times less power; 6.3 times "
    "less computing energy and 1.7 times less memory access than attention by multiplication, estimated for CMOS; "
    "83.53 % accuracy on CIFAR-10 within 10 steps."
)
"""Figures of the paper, with their source."""

DENSITY = 0.5
"""Density of the spikes for the CPU, whose time does not depend on it."""


def _torch_call(tokens: int, steps: int) -> Callable[[], object]:
    import torch  # pyright: ignore[reportMissingImports]  # without torch, NumPy is used

    torch.manual_seed(1)
    torch.set_num_threads(1)
    q, k, v = ((torch.rand(steps, tokens, tokens) < DENSITY).float() for _ in range(3))

    def call() -> object:
        with torch.inference_mode():
            scores = torch.bernoulli(q @ k.transpose(1, 2) / tokens)
            return torch.bernoulli(scores @ v / tokens)

    return call


def _numpy_call(tokens: int, steps: int) -> Callable[[], object]:
    rng = np.random.default_rng(1)
    q, k, v = ((rng.random((steps, tokens, tokens)) < DENSITY).astype(np.float32) for _ in range(3))

    def sample(count: np.ndarray) -> np.ndarray:
        return (rng.random(count.shape, dtype=np.float32) < count / np.float32(tokens)).astype(np.float32)

    return lambda: sample(sample(q @ k.swapaxes(1, 2)) @ v)


def cpu_microseconds(tokens: int, *, steps: int = ATTENTION_STEPS, runs: int = 100) -> tuple[str, float]:
    """Return the library, and the median time in microseconds of one call: ``steps`` steps of one head with ``tokens``
    tokens and as many features."""
    try:
        library, call = "torch (one thread)", _torch_call(tokens, steps)
    except ImportError:
        library, call = "NumPy", _numpy_call(tokens, steps)
    times = []
    for _ in range(runs + 10):  # the first ten warm up
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return library, 1e6 * statistics.median(times[10:])


def _cpu_name() -> str:
    """Return the name of the processor, or its architecture if the system does not report a name."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m spikeloom.boards.qor.attention_table", description="prints the attention unit beside a CPU"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the results are kept")
    parser.add_argument("--runs", type=int, default=100, help="number of calls on the CPU; the median is reported")
    options = parser.parse_args(arguments)
    timed = {
        tokens: cpu_microseconds(tokens, runs=options.runs)
        for tokens in sorted({tokens for tokens, _ in ATTENTION_SHAPES})
    }
    library = next(iter(timed.values()))[0]
    table = Table(
        *("N = d", "rows", "lut", "ff", "ram", "fmax_mhz", "cycles", "us", f"us {library.split()[0]}"),
        title=f"Stochastic attention, one head, T = {ATTENTION_STEPS}",
    )
    for tokens, rows in ATTENTION_SHAPES:
        path = options.folder / attention_block(tokens, rows).file_name
        if path.exists():
            kept = Quality.from_json(path.read_text())
            unit = [f"{kept.lut:,}", f"{kept.ff:,}", str(kept.ram), f"{kept.fmax_mhz:.1f}"]
            unit += [f"{kept.cycles:,}", f"{kept.microseconds:.2f}"]
        else:
            unit = ["-"] * 6
        table.add_row(str(tokens), str(rows), *unit, f"{timed[tokens][1]:.0f}")
    console = Console()
    console.print(table)
    console.print(f"Units: ECP5-85F, speed grade 6, out of context. CPU: {library}, {_cpu_name()}.")
    if library == "NumPy":
        console.print("torch is not installed (the extra train has it): NumPy was timed in its place.")
    console.print(PAPER)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
