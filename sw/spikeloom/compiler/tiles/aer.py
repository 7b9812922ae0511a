"""What placement writes into the tables and registers of AER tiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.aer_ports import AerInput, AerOutput
from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.dependencies import Relations
from spikeloom.compiler.mapping import Assignment
from spikeloom.compiler.program import MemoryImage
from spikeloom.compiler.tiles.tokens import set_of, token_registers
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.lib.registers import BRIDGE_TILE
from spikeloom.sim.network.network import QuantisedNetwork

__all__ = ["chips_of", "port_program"]


def port_program(
    network: QuantisedNetwork,
    fabric: FabricConfig,
    assignment: Assignment,
    relations: Relations,
    input_axons: NDArray[np.int64],
    output_axons: NDArray[np.int64],
    observed: bool,
) -> tuple[list[MemoryImage], list[tuple[int, str, int]]]:
    """The memories and registers of the AER tiles; ``observed`` tells whether the host gets the input too."""
    memories: list[MemoryImage] = []
    registers: list[tuple[int, str, int]] = []
    for port, axons in ((assignment.input_from, input_axons), (assignment.output_to, output_axons)):
        if port is None:
            continue
        tile = fabric.aers[port.tile]
        addresses = np.arange(len(axons)) if port.addresses is None else np.asarray(port.addresses, np.int64)
        try:
            words = tile.table_words(addresses, axons)
        except ValueError as error:
            raise PlaceError(f"network {network.name}, tile {port.tile}: {error}") from error
        memories.append(MemoryImage(tile=port.tile, memory=tile.table.number, name=tile.table.name, words=words))
        registers.append((port.tile, "patience", port.patience))
        if isinstance(port, AerInput):
            registers.append((port.tile, "step_cycles", port.step_cycles))
            given = relations.inputs | ({BRIDGE_TILE} if observed else set())
            registers.append((port.tile, "spike_destinations", set_of(given)))
        # Its sources, without which the tile stands still, are written last.
        registers += reversed(list(token_registers(relations, port.tile, delayed=False, mesh=True)))
    return memories, registers


def chips_of(network: QuantisedNetwork, population: str, output_to: AerOutput | None) -> frozenset[int]:
    """The AER tiles that get the spikes of a population."""
    return frozenset({output_to.tile} if output_to is not None and population == network.output else ())
