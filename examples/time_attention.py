"""How long a CPU takes for the block that `spikeloom.hdl.attention.AttentionUnit` does: stochastic attention in torch.

All T steps and heads are one batch of matrix products, in single precision, and the samples come from torch's own
generator: the friendliest form for a CPU. Prints the median of many runs::

    python examples/time_attention.py --tokens 64 --features 64 --steps 10
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """A of spikes ``(T, heads, N, d)`` as numbers 0 and 1."""
    tokens, features = q.shape[2:]
    scores = torch.bernoulli(q @ k.transpose(2, 3) / features)
    return torch.bernoulli(scores @ v / tokens)


def median_microseconds(tokens: int, features: int, heads: int, steps: int, *, runs: int) -> float:
    """Of one call for all steps, after some that warm up."""
    torch.manual_seed(1)
    q, k, v = ((torch.rand(steps, heads, tokens, features) < 0.5).float() for _ in range(3))
    times = []
    for _ in range(runs + 10):
        begin = time.perf_counter()
        attention(q, k, v)
        times.append(time.perf_counter() - begin)
    return 1e6 * statistics.median(times[10:])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("tokens", 64), ("features", 64), ("heads", 1), ("steps", 10), ("runs", 200), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shape = (options.tokens, options.features, options.heads, options.steps)
    with torch.inference_mode():
        microseconds = median_microseconds(*shape, runs=options.runs)
    print(f"N = {shape[0]}, d = {shape[1]}, heads = {shape[2]}, T = {shape[3]}: {microseconds:.0f} us")


if __name__ == "__main__":
    main()
