"""Small cores shared by several benches, so that each design is compiled once."""

from __future__ import annotations

from dataclasses import replace

from spikeloom.sim.core.parameters import CoreParameters

__all__ = [
    "EXACT",
    "EXACT_MAPS",
    "EXACT_MODELS",
    "FEW_ROWS",
    "LEAN",
    "MESHED",
    "NARROW",
    "NARROW_64",
    "NARROW_PAIR",
    "TINY_PAIR",
]

NARROW = CoreParameters(
    lanes=1, neurons=32, axons=128, weight_words=1024, v_width=12, accumulator_width=16, beta_fraction=8
)
"""One lane, with membranes so narrow that they saturate occasionally."""
NARROW_64 = replace(NARROW, neurons=64)
"""The same with twice the neurons."""
NARROW_PAIR = replace(NARROW, lanes=2)
"""The same with two lanes."""
TINY_PAIR = replace(NARROW_PAIR, neurons=16, axons=32, weight_words=128)
"""Two lanes and the least memory that a network of two layers needs, so that the host loads it quickly."""
MESHED = CoreParameters(lanes=2, neurons=64, axons=256, weight_words=2048, populations=8)
"""Room for several populations and for the axons of other tiles."""
FEW_ROWS = CoreParameters(lanes=2, neurons=16, axons=32, weight_words=64, v_width=12, accumulator_width=12)
"""Memories that networks exceed, one after the other."""
LEAN = CoreParameters(
    neurons=32,
    axons=64,
    weight_words=512,
    multiplier=False,
    bias=False,
    reset_value=False,
    reset_delay=False,
    refractory_width=0,
    readout=False,
    per_neuron=frozenset(),
)
"""One lane without any optional part: the fewest lookup tables."""
EXACT = CoreParameters(v_width=14, accumulator_width=20, beta_fraction=8)
"""Accumulators that hold the sums of random networks in any placement."""
EXACT_MAPS = replace(EXACT, coordinate_width=3)
"""The same with coordinates, for maps of up to eight by eight."""
EXACT_MODELS = replace(
    EXACT_MAPS,
    synaptic_current=True,
    adaptation=True,
    noise_bits=6,
    delay_line=True,
    value_width=6,
    second_threshold=True,
    count_width=4,
    lower_bound=True,
)
"""The same with every neuron model."""
