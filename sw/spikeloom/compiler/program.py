"""Program of a fabric: memory images, registers, and the meaning of packets at the host."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping import Assignment
from spikeloom.sim.fabric.fabric import FabricConfig

__all__ = ["MemoryImage", "Program", "Use"]


@dataclass(frozen=True, kw_only=True, eq=False)
class MemoryImage:
    """Words of one memory of one tile from index 0 on, as bytes ``(n_words, planes)``."""

    tile: int
    memory: int
    name: str
    words: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Use:
    """Use of one resource of a tile by a program."""

    tile: int
    resource: str
    used: int
    available: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """Network placed on a fabric.

    ``registers`` are written after the memories: (tile, register, value). ``input_axons`` ``(inputs,)`` is the axon of
    each input line, ascending. The input has values of ``input_value_width`` bits, or spikes if that is 0. ``observed``
    are the populations whose packets leave the fabric, the output population first, with their sizes; ``output_axons``
    ``(sum of sizes,)`` are the axons of their neurons. If ``membranes``, the output population sends its membranes, one
    per neuron per step, instead of spikes. ``graded`` are the observed populations with graded spikes. ``assignment``
    is the mapping of parts to tiles.
    """

    network: str
    fabric: FabricConfig
    memories: tuple[MemoryImage, ...]
    registers: tuple[tuple[int, str, int], ...]
    input_axons: NDArray[np.int64]
    input_value_width: int
    observed: tuple[tuple[str, int], ...]
    output_axons: NDArray[np.int64]
    membranes: bool
    graded: tuple[str, ...]
    uses: tuple[Use, ...]
    assignment: Assignment

    @property
    def counted(self) -> tuple[str, ...]:
        """The observed populations whose neurons fire several times per step: their values are numbers of spikes."""
        network = self.assignment.parts.original
        return tuple(name for name in self.graded if network.population(name).parameters.max_spikes > 1)
