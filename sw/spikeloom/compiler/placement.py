"""Complete placement of a network, from which each kind of tile derives its memories and registers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.axons import sinks_of
from spikeloom.compiler.dependencies import Dependencies
from spikeloom.compiler.layout import Layout
from spikeloom.compiler.mapping import Assignment
from spikeloom.compiler.partition import Part, SplitNetwork
from spikeloom.compiler.ports import Port
from spikeloom.compiler.synapses import Block
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.unit import QuantisedUnit

__all__ = ["Placed", "Placement"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """Part of a population in a core: its neurons, their parameters and their layout."""

    part: Part
    population: QuantisedPopulation
    layout: Layout

    @property
    def name(self) -> str:
        """Name of the part."""
        return self.part.name


@dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """Network on a fabric.

    ``held`` are the parts of each core, in network order. ``observed`` are the sources whose spikes the host gets.
    ``axons`` ``(n,)`` are those of each source that has any; ``blocks`` are the rows of each source that leads to
    cores. Sources are the input, parts and units, by name.
    """

    fabric: FabricConfig
    assignment: Assignment
    dependencies: Dependencies
    held: Mapping[int, tuple[Placed, ...]]
    observed: Collection[str]
    blocks: Mapping[str, Block]
    axons: Mapping[str, NDArray[np.int64]]

    @property
    def parts(self) -> SplitNetwork:
        """Network and its parts."""
        return self.assignment.parts

    @property
    def network(self) -> QuantisedNetwork:
        """Network of the parts."""
        return self.assignment.parts.network

    @property
    def tile_of(self) -> Mapping[str, int]:
        """Tile of each part and unit."""
        return self.assignment.tile_of

    @property
    def units(self) -> dict[int, QuantisedUnit]:
        """Unit of each tile that holds one."""
        return {self.tile_of[unit.name]: unit for unit in self.network.units}

    @property
    def ports(self) -> dict[int, Port]:
        """Port of each tile that supplies the input or takes the output, in this order."""
        ports = (self.assignment.input_from, self.assignment.output_to)
        return {port.tile: port for port in ports if port is not None}

    @property
    def output_axons(self) -> NDArray[np.int64]:
        """Axon ``(n,)`` of each neuron of the output population."""
        return self.parts.join(self.axons, self.parts.original.output)

    @property
    def input_axons(self) -> NDArray[np.int64]:
        """Axon ``(inputs,)`` of each input line."""
        found = self.axons.get(INPUT)
        return np.arange(self.network.inputs) if found is None else found

    def destinations(self, name: str) -> frozenset[int]:
        """Return the destination tiles of the spikes of a part or unit, except its own tile: its sinks, the host if it
        is observed, and the tile that takes the network output if the part belongs to the output."""
        found = set(sinks_of(self.network, name, self.tile_of, self.observed))
        output_to = self.assignment.output_to
        if output_to is not None and self.parts.part(name).population == self.parts.original.output:
            found.add(output_to.tile)
        return frozenset(found - {self.tile_of[name]})
