"""Speed of the encoders: part of ``make bench``, written to ``build/bench/encoders.json``.

Every coding scheme encodes random values of 1,000 channels on one processor core. Schemes in which a sample depends on
previous spikes are inherently sequential; the others must encode 10 million values per second.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from spikeloom.datasets.encoders import (
    BensSpikerEncoder,
    BurstEncoder,
    DeltaEncoder,
    DirectEncoder,
    Encoder,
    GradedEncoder,
    HilbertEncoder,
    HoughSpikerEncoder,
    IntervalEncoder,
    LatencyEncoder,
    ModifiedHoughSpikerEncoder,
    MovingWindowEncoder,
    PhaseEncoder,
    PoissonEncoder,
    PopulationEncoder,
    RankOrderEncoder,
    RateEncoder,
    SigmaDeltaEncoder,
    StepForwardEncoder,
    TemporalContrastEncoder,
    lowpass_taps,
)
from spikeloom.datasets.encoders.deconvolution import FilterEncoder
from spikeloom.sim.lib.files import write_whole
from spikeloom.sim.lib.formats import BENCHMARK_FILE

__all__ = ["LEAST_PER_SECOND", "MEASURED", "EncoderSpeed", "complaints", "is_sequential", "measure"]

LEAST_PER_SECOND = 10_000_000
CHANNELS, SAMPLES = 1000, 500
_TAPS = lowpass_taps(16, 0.1, 200)
_DIRECTORY = Path("build/bench")
_RUNS = 3

MEASURED: tuple[Encoder, ...] = (
    RateEncoder(steps=8, bits=8),
    PoissonEncoder(steps=4, bits=8),
    LatencyEncoder(steps=8, bits=8),
    RankOrderEncoder(steps=8, bits=8),
    PopulationEncoder(steps=4, bits=8, fields=8),
    PhaseEncoder(steps=8, bits=8, phases=8),
    BurstEncoder(steps=16, bits=8, most=5, shortest=1, longest=4),
    IntervalEncoder(steps=16, bits=8, shortest=1, longest=15),
    TemporalContrastEncoder(threshold=20),
    StepForwardEncoder(threshold=20),
    MovingWindowEncoder(threshold=20, window=8),
    DeltaEncoder(threshold=20),
    DeltaEncoder(threshold=20, reference="sent"),
    SigmaDeltaEncoder(steps=4, bits=8),
    HoughSpikerEncoder(taps=_TAPS),
    ModifiedHoughSpikerEncoder(taps=_TAPS, threshold=50),
    BensSpikerEncoder(taps=_TAPS, threshold=50),
    GradedEncoder(bits=10, reference="previous", threshold=20),
    GradedEncoder(bits=10, reference="sent", threshold=20),
    HilbertEncoder(half=15, width=4),
    DirectEncoder(steps=4, bits=8),
)
"""Encoders of every kind, with typical parameters."""


@dataclass(frozen=True, kw_only=True)
class EncoderSpeed:
    """Speed of an encoder: millions of input values, and of elements of the spike array, per second of processor time,
    the best of three runs."""

    encoder: str
    steps: int
    axons_per_channel: int
    sequential: bool
    million_values_per_second: float
    million_places_per_second: float


def is_sequential(encoder: Encoder) -> bool:
    """Return whether a sample is compared with a reference that depends on previous spikes."""
    if isinstance(encoder, DeltaEncoder | GradedEncoder):
        return encoder.reference == "sent"
    return isinstance(encoder, StepForwardEncoder | FilterEncoder)


def measure(encoder: Encoder, *, samples: int = SAMPLES) -> EncoderSpeed:
    """Return the speed of ``encoder`` on random values ``(samples, 1, 1000)`` from 0 to 255."""
    values = np.random.default_rng(0).integers(0, 256, (samples, 1, CHANNELS), dtype=np.int32)
    best, size = float("inf"), 0
    for _ in range(_RUNS):
        start = time.thread_time()  # of this thread: other load on the machine does not count
        size = encoder.encode_series(values).size
        best = min(best, max(time.thread_time() - start, 1e-9))
    return EncoderSpeed(
        encoder=encoder.kind,
        steps=encoder.steps,
        axons_per_channel=encoder.lines,
        sequential=is_sequential(encoder),
        million_values_per_second=round(values.size / best / 1e6, 1),
        million_places_per_second=round(size / best / 1e6, 1),
    )


def complaints(speeds: list[EncoderSpeed]) -> list[str]:
    """Return one sentence for each encoder that is too slow."""
    least = LEAST_PER_SECOND / 1e6
    return [
        f"the {each.encoder} encoder must take {least:g} million values per second, "
        f"not {each.million_values_per_second:g}"
        for each in speeds
        if not each.sequential and each.million_values_per_second < least
    ]


def main() -> None:
    speeds = [measure(encoder) for encoder in MEASURED]
    for each in speeds:
        shape = f"{each.steps} steps, {each.axons_per_channel} axons per channel"
        print(
            f"{each.encoder:18} {each.million_values_per_second:7.1f} M values/s,",
            f"{each.million_places_per_second:7.0f} M places/s, {shape}{', sequential' * each.sequential}",
        )
    _DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = _DIRECTORY / "encoders.json"
    write_whole(path, BENCHMARK_FILE.text([asdict(each) for each in speeds]))
    print(f"written to {path}")
    wrong = complaints(speeds)
    for sentence in wrong:
        print(f"spikeloom: {sentence}", file=sys.stderr)
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
