"""AER tiles: tables and registers of ports to other chips."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.aer_ports import AerInput, AerOutput
from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.dependencies import Rates
from spikeloom.compiler.placement import Placement
from spikeloom.compiler.ports import Port
from spikeloom.compiler.tiles.registry import TileCompiler, register_compiler
from spikeloom.compiler.tiles.tokens import set_of, token_registers
from spikeloom.compiler.work import TileWork
from spikeloom.sim.aer.parameters import AerTileParameters
from spikeloom.sim.lib.registers import BRIDGE_TILE
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.population import INPUT

__all__ = ["AerCompiler"]


@register_compiler(AerTileParameters)
class AerCompiler(TileCompiler):
    """AER tile that supplies the input or takes the output."""

    def __init__(self, placement: Placement, number: int) -> None:
        super().__init__(placement, number)
        self.tile = placement.fabric.tiles_of(AerTileParameters)[number]
        port = placement.ports[number]
        assert isinstance(port, AerInput | AerOutput)
        self.port = port

    @classmethod
    def is_port(cls, tile: AerTileParameters, port: Port, *, brings_input: bool) -> bool:
        return isinstance(port, AerInput if brings_input else AerOutput) and tile.is_input == brings_input

    @classmethod
    def check_port(cls, tile: AerTileParameters, port: Port, network: QuantisedNetwork, *, brings_input: bool) -> None:
        if brings_input:
            return
        name, parameters = network.output, network.population(network.output).parameters
        if not parameters.spiking or parameters.graded:
            raise PlaceError(f"population {name} must have plain spikes, not values, to go to an AER tile")
        if network.size(name) > tile.depth:
            raise PlaceError(
                f"population {name} must have at most {tile.depth:,} neurons, as many events as wait in tile "
                f"{port.tile}, not {network.size(name):,}"
            )

    def memories(self) -> dict[str, NDArray[np.uint8]]:
        """Return the table as bytes ``(n, planes)``. Raises `PlaceError` for invalid addresses."""
        placement, port = self.placement, self.port
        axons = placement.input_axons if self.tile.is_input else placement.output_axons
        addresses = np.arange(len(axons)) if port.addresses is None else np.asarray(port.addresses, np.int64)
        try:
            return {"table": self.tile.table_words(addresses, axons)}
        except ValueError as error:
            raise PlaceError(f"network {placement.parts.original.name}, tile {self.number}: {error}") from error

    def registers(self) -> Iterator[tuple[str, int]]:
        dependencies, port = self.placement.dependencies, self.port
        yield "patience", port.patience
        if isinstance(port, AerInput):
            yield "step_cycles", port.step_cycles
            given = dependencies.inputs | ({BRIDGE_TILE} if INPUT in self.placement.observed else set())
            yield "spike_destinations", set_of(given)
        # The sources are written last, because the tile is idle without them.
        yield from reversed(list(token_registers(dependencies, self.number, delayed=False, mesh=True)))

    def work(self, rates: Rates) -> TileWork | None:
        return None
