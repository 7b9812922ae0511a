"""Small cores that several benches are built with: each design is then compiled once for all of them."""

from __future__ import annotations

from dataclasses import replace

from spikeloom.sim.core.parameters import CoreParameters

__all__ = ["FEW_ROWS", "MESHED", "NARROW", "NARROW_64", "NARROW_PAIR", "TINY_PAIR"]

NARROW = CoreParameters(
    lanes=1, neurons=32, axons=128, weight_words=1024, v_width=12, accumulator_width=16, beta_fraction=8
)
"""One lane, and membranes so narrow that they saturate now and then."""
NARROW_64 = replace(NARROW, neurons=64)
"""The same with twice the neurons."""
NARROW_PAIR = replace(NARROW, lanes=2)
"""The same with two lanes."""
TINY_PAIR = replace(NARROW_PAIR, neurons=16, axons=32, weight_words=128)
"""Two lanes and as little memory as a network of two layers takes: quick to load by the host."""
MESHED = CoreParameters(lanes=2, neurons=64, axons=256, weight_words=2048, populations=8)
"""Room for several populations and for the axons of other tiles."""
FEW_ROWS = CoreParameters(lanes=2, neurons=16, axons=32, weight_words=64, v_width=12, accumulator_width=12)
"""Memories that networks exceed, one after the other."""
