"""A program: what runs on a fabric. Memory images, registers, and what packets mean to the outside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping import Assignment
from spikeloom.sim.fabric.fabric import FabricConfig

__all__ = ["MemoryImage", "Program", "Use"]


@dataclass(frozen=True, kw_only=True, eq=False)
class MemoryImage:
    """The words of one memory of one tile, from index 0, as bytes ``(n_words, planes)``."""

    tile: int
    memory: int
    name: str
    words: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Use:
    """How much of a resource of a tile a program takes."""

    tile: int
    resource: str
    used: int
    available: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """A network placed on a fabric.

    ``registers`` are written after the memories: (tile, register, value). ``input_axons`` ``(inputs,)`` is the axon of
    each input line, ascending. ``observed`` are the populations whose packets leave the fabric, the output population
    first, with their sizes, and ``output_axons`` ``(sum of sizes,)`` the axons that the packets of their neurons carry.
    ``membranes`` tells that the output population sends its membranes, one per neuron and step, instead of spikes;
    ``graded`` are those of the observed populations whose spikes bring values. ``assignment`` says which part lies
    where.
    """

    network: str
    fabric: FabricConfig
    memories: tuple[MemoryImage, ...]
    registers: tuple[tuple[int, str, int], ...]
    input_axons: NDArray[np.int64]
    observed: tuple[tuple[str, int], ...]
    output_axons: NDArray[np.int64]
    membranes: bool
    graded: tuple[str, ...]
    uses: tuple[Use, ...]
    assignment: Assignment
