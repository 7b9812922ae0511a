"""Placement: a quantised network onto a fabric, as memory images.

Parts of the populations lie in tiles (`spikeloom.compiler.mapping`). In a tile, each part lies from a word of its own,
in the network's order (`spikeloom.compiler.layout`), and rows stand for the events of everybody who sends to it
(`spikeloom.compiler.synapses`).

Each source has a block of axons of its own (`spikeloom.compiler.axons`). What goes into the memories and registers of a
tile depends on its kind (`spikeloom.compiler.tiles`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import product

import numpy as np

from spikeloom.compiler.aer_ports import AerInput, AerOutput
from spikeloom.compiler.axons import allocate, sinks_of
from spikeloom.compiler.checks import (
    PlaceError,
    check_accumulators,
    check_axons,
    check_network,
    check_ports,
    check_uses,
)
from spikeloom.compiler.dependencies import Rates, RelationError, Relations, heard
from spikeloom.compiler.layout import LayoutError, layouts
from spikeloom.compiler.mapping import AssignError, Assignment, assign
from spikeloom.compiler.program import MemoryImage, Program, Use
from spikeloom.compiler.synapses import RowError, blocks_of, rows_of
from spikeloom.compiler.tiles.aer import chips_of, port_program
from spikeloom.compiler.tiles.attention import attention_registers, by_token
from spikeloom.compiler.tiles.core import neuron_words, population_words, route_words, uses_of
from spikeloom.compiler.tiles.tokens import set_of, token_registers
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.lib.registers import BRIDGE_TILE
from spikeloom.sim.network.network import INPUT, QuantisedNetwork

__all__ = ["place", "place_assigned"]

_ROOMS = (1.0, 0.85, 0.7, 0.5)
"""Shares of a tile's rows that an assignment may count on: blocks at common addresses can leave gaps between them."""


def place(
    network: QuantisedNetwork,
    fabric: FabricConfig,
    *,
    observe: Collection[str] = (),
    tiles: int | None = None,
    seed: int = 0,
    rates: Rates | None = None,
    input_from: AerInput | None = None,
    output_to: AerOutput | None = None,
) -> Program:
    """Lay ``network`` out on ``fabric``. Raises `PlaceError` if a resource or a feature is missing.

    Besides the output's, the spikes of the populations in ``observe`` leave the fabric too. ``tiles``, ``seed`` and
    ``rates`` are those of `spikeloom.compiler.mapping.assign`. The input can come from an AER tile, ``input_from``;
    then ``observe`` may hold the input (`spikeloom.sim.network.network.INPUT`) too. The output goes to an AER tile as
    well, if there is ``output_to``.
    """
    cores = fabric.cores
    check_network(network, list(cores.values()))
    check_ports(network, fabric, input_from, output_to, observe)
    first: PlaceError | None = None
    for banded, room in product((True, False), _ROOMS):
        try:
            assignment = assign(
                network,
                cores,
                fabric.mesh,
                attentions=fabric.attentions,
                observe=observe,
                tiles=tiles,
                seed=seed,
                rates=rates,
                room=room,
                banded=banded,
                input_from=input_from,
                output_to=output_to,
            )
            return place_assigned(assignment, fabric, observe=observe)
        except (AssignError, RowError, LayoutError) as error:
            first = first or PlaceError(str(error))
        except PlaceError as error:
            first = first or error
        if len(cores) == 1:
            break
    assert first is not None
    raise first from first.__cause__


def place_assigned(assignment: Assignment, fabric: FabricConfig, *, observe: Collection[str] = ()) -> Program:
    """Lay out parts that are assigned to tiles of ``fabric`` already.

    Raises `PlaceError` if they do not fit, or if tiles would wait for each other.
    """
    parts, tile_of = assignment.parts, assignment.tile_of
    original, network = parts.original, parts.network
    cores = {tile: fabric.cores[tile] for tile in assignment.tiles if tile in fabric.cores}
    units = {attention.name: fabric.attentions[tile_of[attention.name]] for attention in network.attentions}
    check_network(original, list(cores.values()))
    check_accumulators(network, {p.name: cores[tile_of[p.name]] for p in network.populations})
    spiking = [name for name in original.sources if name != INPUT and original.spikes(name)]
    observed = list(dict.fromkeys([original.output, *(name for name in spiking if name in observe)]))
    observed_parts = [part.name for name in observed for part in parts.parts_of(name)]
    input_from, output_to = assignment.input_from, assignment.output_to
    check_ports(original, fabric, input_from, output_to, observe)
    if INPUT in observe:
        observed.append(INPUT)
        observed_parts.append(INPUT)
    valued = {p.name for p in original.populations if p.parameters.graded}
    held = {tile: [p.name for p in network.populations if tile_of[p.name] == tile] for tile in cores}
    try:
        relations = Relations.of(parts, tile_of, observed_parts, input_from=input_from, output_to=output_to)
        layouts_of = {tile: layouts(network, core.lanes, held[tile]) for tile, core in cores.items()}
        layout_of = {name: layout for here in layouts_of.values() for name, layout in here.items()}
        blocks = blocks_of(network, tile_of, cores, layout_of)
        axons = allocate(network, tile_of, cores, units, blocks, observed_parts)
        rows = {tile: rows_of(network, core, layouts_of[tile], blocks) for tile, core in cores.items()}
    except (LayoutError, RowError, RelationError) as error:
        raise PlaceError(str(error)) from error
    uses = tuple(
        use for tile, core in cores.items() for use in uses_of(tile, core, held[tile], layouts_of[tile], rows[tile])
    ) + tuple(Use(tile=tile_of[name], resource="attention", used=1, available=1) for name in units)
    check_uses(original, fabric, uses)
    input_axons = axons.get(INPUT, np.arange(network.inputs))
    axons_of = {name: axons[INPUT] if name == INPUT else parts.join(axons, name) for name in observed}
    output_axons = np.concatenate([axons_of[name] for name in observed])
    check_axons(original, fabric, input_axons, output_axons)
    memories = []
    for tile, core in cores.items():
        destinations = {name: sinks_of(network, name, tile_of, observed_parts) - {tile} for name in held[tile]}
        chip_of = {name: chips_of(original, parts.part(name).population, output_to) for name in held[tile]}
        sent = {name: heard(network, name, tile_of, observed_parts) for name in held[tile]}
        images = {
            **rows[tile].images,
            **({"neurons": neuron_words(network, core, layouts_of[tile])} if core.neuron_layout.width else {}),
            "routes": route_words(network, core, layouts_of[tile], axons, rows[tile].reaches, sent),
            "populations": population_words(
                network,
                core,
                layouts_of[tile],
                {name: destinations[name] | chip_of[name] for name in held[tile]} if fabric.mesh else {},
                observed_parts,
            ),
        }
        memories += [
            MemoryImage(tile=tile, memory=core.memories[name].number, name=name, words=images[name])
            for name in core.memories
        ]
    for name, unit in units.items():
        routes = unit.routes(by_token(unit, axons.get(name, np.zeros(network.size(name), np.int64))))
        memory = unit.memories["routes"]
        memories.append(MemoryImage(tile=tile_of[name], memory=memory.number, name=memory.name, words=routes))
    ports = port_program(
        original, fabric, assignment, relations, input_axons, axons_of[original.output], INPUT in observe
    )
    return Program(
        network=original.name,
        fabric=fabric,
        memories=(*memories, *ports[0]),
        registers=(
            *_registers(fabric, relations, {tile: len(names) for tile, names in held.items()}, input_from),
            *(
                register
                for attention in network.attentions
                for register in attention_registers(attention, units[attention.name], tile_of, relations, axons)
            ),
            *ports[1],
        ),
        input_axons=input_axons,
        observed=tuple((name, original.size(name)) for name in observed),
        output_axons=output_axons,
        membranes=not original.population(original.output).parameters.spiking,
        graded=tuple(name for name in observed if name in valued),
        uses=uses,
        assignment=assignment,
    )


def _registers(
    fabric: FabricConfig, relations: Relations, populations: Mapping[int, int], input_from: AerInput | None
) -> tuple[tuple[int, str, int], ...]:
    """Who waits for whom, in each tile. Without a mesh nobody can choose whom to send to."""
    registers: list[tuple[int, str, int]] = []
    for tile, count in populations.items():
        registers += token_registers(relations, tile, delayed=False, mesh=fabric.mesh is not None)
        if fabric.mesh is not None:
            registers += token_registers(relations, tile, delayed=True, mesh=True)
        registers.append((tile, "populations", count))
    if fabric.mesh is not None:
        registers += token_registers(relations, BRIDGE_TILE, delayed=False, mesh=True)
        given = relations.inputs if input_from is None else ()
        registers.append((BRIDGE_TILE, "spike_destinations", set_of(given)))
    return tuple(registers)
