"""One or more encoders of every kind, small enough for any test."""

from spikeloom.datasets.encoders import (
    BensSpikerEncoder,
    BurstEncoder,
    DeltaEncoder,
    DirectEncoder,
    GradedEncoder,
    HilbertEncoder,
    HoughSpikerEncoder,
    IntervalEncoder,
    LatencyEncoder,
    LevelEncoder,
    ModifiedHoughSpikerEncoder,
    MovingWindowEncoder,
    PhaseEncoder,
    PoissonEncoder,
    PopulationEncoder,
    RankOrderEncoder,
    RateEncoder,
    Scale,
    SigmaDeltaEncoder,
    StepForwardEncoder,
    TemporalContrastEncoder,
)
from spikeloom.sim.lib.lfsr import Lfsr

CHANNELS = 4
LATENCIES = tuple(
    LatencyEncoder(steps=6, bits=4, curve=curve, dark=dark, tau=2, threshold=2)
    for curve in ("floor", "nearest", "charging", "decaying")
    for dark in ("silent", "last")
)
EXAMPLES = (
    RateEncoder(steps=6, bits=4),
    RateEncoder(steps=6, bits=4, lfsr=Lfsr(width=4, seed=9)),
    PoissonEncoder(steps=6, bits=4),
    *LATENCIES,
    RankOrderEncoder(steps=3, bits=4),
    RankOrderEncoder(steps=4, bits=4, dark="ranked", lookup=(15, 9, 4, 1)),
    PopulationEncoder(steps=10, bits=4, fields=5),
    PopulationEncoder(steps=1, bits=4, fields=4, centres_at="ends", beta=1.0),
    PhaseEncoder(steps=6, bits=4, phases=3),
    PhaseEncoder(steps=4, bits=4, phases=4, curve="arcsine"),
    BurstEncoder(steps=13, bits=4, most=4, shortest=1, longest=4),
    BurstEncoder(steps=24, bits=4, most=5, shortest=0, longest=4, spacing="gap"),
    IntervalEncoder(steps=10, bits=4, shortest=2, longest=9),
    IntervalEncoder(steps=9, bits=4, shortest=1, longest=5, train="regular"),
    TemporalContrastEncoder(threshold=3),
    TemporalContrastEncoder(threshold=(3, 2, 5, 1), compare=">=", difference="forward"),
    StepForwardEncoder(threshold=3),
    StepForwardEncoder(threshold=(3, 2, 5, 1), compare=">=", first="zero"),
    MovingWindowEncoder(threshold=2, window=3),
    MovingWindowEncoder(threshold=(3, 2, 5, 1), window=1, compare=">="),
    DeltaEncoder(threshold=3),
    DeltaEncoder(threshold=(3, 2, 5, 1), compare=">", reference="sent", first="sample"),
    SigmaDeltaEncoder(steps=5, bits=4),
    SigmaDeltaEncoder(steps=1, bits=4, start="zero"),
    HoughSpikerEncoder(taps=(1, 3, 1)),
    ModifiedHoughSpikerEncoder(taps=(1, 3, 1), threshold=1),
    BensSpikerEncoder(taps=(1, 3, 1), threshold=(1, 2, 3, 0)),
    BensSpikerEncoder(taps=(1, 3, 1), threshold=200, rule="ratio", tail="cut"),
    GradedEncoder(bits=6),
    GradedEncoder(bits=7, reference="previous", threshold=3),
    GradedEncoder(bits=7, reference="sent", threshold=(3, 2, 5, 1)),
    DirectEncoder(steps=3, bits=4),
    HilbertEncoder(half=2, width=1),
    HilbertEncoder(half=3, width=2, edges="falling"),
    LatencyEncoder(steps=6, bits=4, scale=Scale(low=(-1.5,), high=(20.0,), bits=4)),
    StepForwardEncoder(
        threshold=2, scale=Scale(low=(0.0, -1.0, -2.0, 0.5), high=(9.0, 17.0, 16.0, 8.0), bits=6, origin=-32)
    ),
)
"""Encoders of series of `CHANNELS` channels."""


def label(encoder):
    """The id of a test: the kind of encoder and its unusual settings."""
    settings = {name: value for name, value in encoder.settings().items() if name not in ("kind", "lfsr_width")}
    return encoder.kind + "".join(f"-{value}" for value in settings.values()).replace(" ", "")


def values_for(encoder, rng, *shape):
    """Random values of ``shape`` that ``encoder`` accepts, small enough for every example."""
    low = -16 if encoder.signed else 0
    return rng.integers(low, 17, shape)


def is_level(encoder):
    """Whether the encoder takes each value by itself."""
    return isinstance(encoder, LevelEncoder)
