"""Placement: convert a quantised network to memory images for a fabric.

Parts of the populations lie in tiles (`spikeloom.compiler.mapping`). In a tile, each part starts at a word of its own,
in network order (`spikeloom.compiler.layout`), and rows hold the weights for the events of every sender
(`spikeloom.compiler.synapses`).

Each source has its own block of axons (`spikeloom.compiler.axons`). The content of the memories and registers of a tile
depends on its kind (`spikeloom.compiler.tiles`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import product

import numpy as np

from spikeloom.compiler.axons import allocate
from spikeloom.compiler.checks import (
    PlaceError,
    check_accumulators,
    check_axons,
    check_network,
    check_ports,
    check_uses,
    check_weights,
)
from spikeloom.compiler.dependencies import Dependencies, DependencyError, Rates
from spikeloom.compiler.layout import LayoutError, layouts
from spikeloom.compiler.mapping import AssignError, Assignment, assign
from spikeloom.compiler.placement import Placed, Placement
from spikeloom.compiler.ports import Port
from spikeloom.compiler.program import MemoryImage, Program, Use
from spikeloom.compiler.synapses import RowError, blocks_of
from spikeloom.compiler.tiles.registry import TileCompiler, compiler_of
from spikeloom.compiler.tiles.tokens import set_of, token_registers
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.lib.registers import BRIDGE_TILE
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.population import INPUT

__all__ = ["place", "place_assigned", "placement_of", "tiles_written"]

_ROOMS = (1.0, 0.85, 0.7, 0.5)
"""Shares of the rows of a tile that the mapping may use: blocks at common addresses can leave gaps."""


def place(
    network: QuantisedNetwork,
    fabric: FabricConfig,
    *,
    observe: Collection[str] = (),
    tiles: int | None = None,
    seed: int = 0,
    rates: Rates | None = None,
    separate_widths: bool | None = None,
    input_from: Port | None = None,
    output_to: Port | None = None,
) -> Program:
    """Place ``network`` on ``fabric``. Raises `PlaceError` if a resource or a feature is missing.

    The spikes of the output and of the populations in ``observe`` leave the fabric. ``tiles``, ``seed``, ``rates`` and
    ``separate_widths`` are those of `spikeloom.compiler.mapping.assign`; with ``separate_widths`` None, weights of
    different widths lie in different tiles where tiles differ in width and the network fits in this way. With
    ``input_from``, the input comes from a tile, and ``observe`` may contain the input
    (`spikeloom.sim.network.population.INPUT`). With ``output_to``, the output also goes to a tile.
    """
    cores = fabric.cores
    unit_tiles = {number: tile for number, tile in fabric.numbered.items() if compiler_of(tile).is_unit}
    check_network(network, cores.values())
    check_ports(network, fabric, input_from, output_to, observe)
    first: PlaceError | None = None
    apart: tuple[bool, ...] = (False,) if separate_widths is None else (separate_widths,)
    if separate_widths is None and len({core.weight_width for core in cores.values()}) > 1:
        apart = (True, False)
    for separate, banded, room in product(apart, (True, False), _ROOMS):
        try:
            assignment = assign(
                network,
                cores,
                fabric.mesh,
                unit_tiles=unit_tiles,
                observe=observe,
                tiles=tiles,
                seed=seed,
                rates=rates,
                room=room,
                banded=banded,
                separate_widths=separate,
                input_from=input_from,
                output_to=output_to,
            )
            return _lay_out(assignment, fabric, observe)
        except (AssignError, RowError, LayoutError) as error:
            first = first or PlaceError(str(error))
        except PlaceError as error:
            first = first or error
        if len(cores) == 1:
            break
    assert first is not None
    raise first from first.__cause__


def place_assigned(assignment: Assignment, fabric: FabricConfig, *, observe: Collection[str] = ()) -> Program:
    """Place parts that are already assigned to tiles of ``fabric``.

    Raises `PlaceError` if they do not fit, or if tiles would wait for each other.
    """
    network = assignment.parts.original
    check_network(network, [fabric.cores[tile] for tile in assignment.tiles if tile in fabric.cores])
    check_ports(network, fabric, assignment.input_from, assignment.output_to, observe)
    return _lay_out(assignment, fabric, observe)


def _lay_out(assignment: Assignment, fabric: FabricConfig, observe: Collection[str]) -> Program:
    """Return the program of parts in their tiles; the network has been checked against the fabric."""
    parts, original = assignment.parts, assignment.parts.original
    observed = _observed(assignment, observe)
    try:
        placement = _placement(assignment, fabric, observed)
        tiles = [compiler_of(fabric.tile(n))(placement, n) for n in tiles_written(placement)]
        uses = tuple(
            Use(tile=tile.number, resource=resource, used=used, available=available)
            for tile in tiles
            for resource, used, available in tile.uses
        )
    except (LayoutError, RowError, DependencyError) as error:
        raise PlaceError(str(error)) from error
    check_uses(original, fabric, uses)
    axons_of = {
        name: placement.input_axons if name == INPUT else parts.join(placement.axons, name) for name in observed
    }
    output_axons = np.concatenate(list(axons_of.values()))
    check_axons(original, fabric, placement.input_axons, output_axons)
    graded = {population.name for population in original.populations if population.parameters.graded}
    return Program(
        network=original.name,
        fabric=fabric,
        memories=tuple(image for tile in tiles for image in _images(fabric, tile)),
        registers=tuple(_registers(placement, tiles)),
        input_axons=placement.input_axons,
        input_value_width=original.input_value_width,
        observed=tuple((name, original.size(name)) for name in observed),
        output_axons=output_axons,
        membranes=not original.population(original.output).parameters.spiking,
        graded=tuple(name for name in observed if name in graded),
        uses=uses,
        assignment=assignment,
    )


def _observed(assignment: Assignment, observe: Collection[str]) -> list[str]:
    """Return the sources whose spikes the host gets: the output, the observed populations in network order, the
    input."""
    network = assignment.parts.original
    spiking = [name for name in network.sources if name != INPUT and network.spikes(name) and name in observe]
    return [*dict.fromkeys([network.output, *spiking]), *([INPUT] if INPUT in observe else [])]


def _placement(assignment: Assignment, fabric: FabricConfig, observed: Collection[str]) -> Placement:
    """Return the placement. Raises the exceptions of its passes."""
    parts, network, tile_of = assignment.parts, assignment.parts.network, assignment.tile_of
    cores = {tile: fabric.cores[tile] for tile in assignment.tiles if tile in fabric.cores}
    units = {unit.name: fabric.tile(tile_of[unit.name]) for unit in network.units}
    core_of = {p.name: cores[tile_of[p.name]] for p in network.populations}
    check_weights(network, core_of)
    check_accumulators(network, core_of)
    sent = [part.name for name in observed if name != INPUT for part in parts.parts_of(name)]
    sent += [INPUT] if INPUT in observed else []
    ports = {"input_from": assignment.input_from, "output_to": assignment.output_to}
    dependencies = Dependencies.of(parts, tile_of, sent, **ports)
    held: dict[int, tuple[Placed, ...]] = {}
    for tile, core in cores.items():
        here = [population for population in network.populations if tile_of[population.name] == tile]
        layout_of = layouts(network, core.lanes, {population.name for population in here})
        held[tile] = tuple(
            Placed(part=parts.part(population.name), population=population, layout=layout_of[population.name])
            for population in here
        )
    every_layout = {placed.name: placed.layout for here in held.values() for placed in here}
    blocks = blocks_of(network, tile_of, cores, every_layout)
    return Placement(
        fabric=fabric,
        assignment=assignment,
        dependencies=dependencies,
        held=held,
        observed=tuple(sent),
        axons=allocate(network, tile_of, cores, units, blocks, sent),
        blocks=blocks,
    )


def placement_of(program: Program) -> Placement:
    """Return the placement of ``program``."""
    return _placement(program.assignment, program.fabric, [name for name, _ in program.observed])


def tiles_written(placement: Placement) -> list[int]:
    """Return the tiles to write: cores, units in network order, and last the ports, which may start immediately."""
    return [*placement.held, *placement.units, *placement.ports]


def _images(fabric: FabricConfig, tile: TileCompiler) -> Iterator[MemoryImage]:
    memories = fabric.tile(tile.number).memories
    for name, words in tile.memories().items():
        # In SDRAM a word has padding up to a power of two of bytes.
        padding = memories[name].planes - words.shape[1]
        padded = np.pad(words, ((0, 0), (0, padding))) if padding else words
        yield MemoryImage(tile=tile.number, memory=memories[name].number, name=name, words=padded)


def _registers(placement: Placement, tiles: Collection[TileCompiler]) -> Iterator[tuple[int, str, int]]:
    """Yield the registers of the cores, of the host bridge and of the other tiles. Without a mesh the bridge has
    none."""
    cores = [tile for tile in tiles if tile.number in placement.held]
    for tile in cores:
        yield from ((tile.number, name, value) for name, value in tile.registers())
    if placement.fabric.mesh is not None:
        dependencies = placement.dependencies
        for name, value in token_registers(dependencies, BRIDGE_TILE, delayed=False, mesh=True):
            yield BRIDGE_TILE, name, value
        given = dependencies.inputs if placement.assignment.input_from is None else ()
        yield BRIDGE_TILE, "spike_destinations", set_of(given)
    for tile in tiles:
        if tile not in cores:
            yield from ((tile.number, name, value) for name, value in tile.registers())
