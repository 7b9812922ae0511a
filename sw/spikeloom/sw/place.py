"""Placement: a quantised network onto a fabric, as memory images.

Parts of the populations lie in tiles (`spikeloom.sw.assign`). In a tile, each part lies from a word of its own, in the
network's order (`spikeloom.sw.layout`), and rows stand for the events of everybody who sends to it
(`spikeloom.sw.rows`).

A spike carries one axon, whoever gets it. So each source has a *block* of axons, and of rows, at the same addresses in
all tiles that it leads to, its own among them; the host reads its axons alike. Blocks are given out in the network's
order, the input first, each from the first address that is free in all of those tiles. With one core they follow each
other. What leads to the host alone takes no rows, only numbers that nobody else sends to the host.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.core import CoreParameters
from spikeloom.sim.fabric import FabricConfig
from spikeloom.sim.messages import LARGEST_AXON
from spikeloom.sim.network import INPUT, QuantisedNetwork
from spikeloom.sim.neuron import signed_range
from spikeloom.sim.registers import BRIDGE_TILE
from spikeloom.sim.rule import parameter_values, rule_values
from spikeloom.sim.words import pack_lanes
from spikeloom.sw.assign import AssignError, Assignment, assign
from spikeloom.sw.layout import Layout, LayoutError, layouts
from spikeloom.sw.program import MemoryImage, Program, Use
from spikeloom.sw.relations import Rates, RelationError, Relations
from spikeloom.sw.rows import Block, RowError, Rows, blocks_of, rows_of

__all__ = ["PlaceError", "place", "place_assigned"]

_ROOMS = (1.0, 0.85, 0.7, 0.5)
"""Shares of a tile's rows that an assignment may count on: blocks at common addresses can leave gaps between them."""


class PlaceError(ValueError):
    """A network that the fabric cannot run. The message is one sentence that names what is short."""


def place(
    network: QuantisedNetwork,
    fabric: FabricConfig,
    *,
    observe: Collection[str] = (),
    tiles: int | None = None,
    seed: int = 0,
    rates: Rates | None = None,
) -> Program:
    """Lay ``network`` out on ``fabric``. Raises `PlaceError` if a resource or a feature is missing.

    Besides the output's, the spikes of the populations in ``observe`` leave the fabric too. ``tiles``, ``seed`` and
    ``rates`` are those of `spikeloom.sw.assign.assign`.
    """
    cores = fabric.cores
    _check_network(network, list(cores.values()))
    first: PlaceError | None = None
    for banded, room in product((True, False), _ROOMS):
        try:
            assignment = assign(
                network,
                cores,
                fabric.mesh,
                observe=observe,
                tiles=tiles,
                seed=seed,
                rates=rates,
                room=room,
                banded=banded,
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
    cores = {tile: fabric.cores[tile] for tile in assignment.tiles}
    _check_network(original, list(cores.values()))
    _check_accumulators(network, {part: cores[tile] for part, tile in tile_of.items()})
    spiking = [p.name for p in original.populations if p.parameters.spiking]
    observed = list(dict.fromkeys([original.output, *(name for name in spiking if name in observe)]))
    observed_parts = [part.name for name in observed for part in parts.parts_of(name)]
    held = {tile: [p.name for p in network.populations if tile_of[p.name] == tile] for tile in cores}
    try:
        relations = Relations.of(parts, tile_of, observed_parts)
        layouts_of = {tile: layouts(network, core.lanes, held[tile]) for tile, core in cores.items()}
        layout_of = {name: layout for here in layouts_of.values() for name, layout in here.items()}
        blocks = blocks_of(network, tile_of, cores, layout_of)
        axons = _allocate(network, tile_of, cores, blocks, observed_parts)
        rows = {tile: rows_of(network, core, layouts_of[tile], blocks) for tile, core in cores.items()}
    except (LayoutError, RowError, RelationError) as error:
        raise PlaceError(str(error)) from error
    uses = tuple(
        use for tile, core in cores.items() for use in _uses(tile, core, held[tile], layouts_of[tile], rows[tile])
    )
    _check_uses(original, fabric, uses)
    input_axons = axons.get(INPUT, np.arange(network.inputs))
    output_axons = np.concatenate([parts.join(axons, name) for name in observed])
    _check_axons(original, fabric, input_axons, output_axons)
    memories = []
    for tile, core in cores.items():
        destinations = {name: _sinks(network, name, tile_of, observed_parts) - {tile} for name in held[tile]}
        sent = {
            name: np.logical_or.reduce(
                [np.full(network.size(name), name in observed_parts)]
                + [rows[sink].reaches[name] for sink in destinations[name] - {BRIDGE_TILE}]
            )
            for name in held[tile]
        }
        images = {
            **rows[tile].images,
            **({"neurons": _neurons(network, core, layouts_of[tile])} if core.neuron_layout.width else {}),
            "routes": _routes(network, core, layouts_of[tile], axons, rows[tile].reaches, sent),
            "populations": _populations(
                network, core, layouts_of[tile], destinations if fabric.mesh else {}, observed_parts
            ),
        }
        memories += [
            MemoryImage(tile=tile, memory=core.memories[name].number, name=name, words=images[name])
            for name in core.memories
        ]
    return Program(
        network=original.name,
        fabric=fabric,
        memories=tuple(memories),
        registers=_registers(fabric, relations, {tile: len(names) for tile, names in held.items()}),
        input_axons=input_axons,
        observed=tuple((name, original.size(name)) for name in observed),
        output_axons=output_axons,
        membranes=not original.population(original.output).parameters.spiking,
        graded=tuple(name for name in observed if original.population(name).parameters.graded),
        uses=uses,
        assignment=assignment,
    )


def _check_network(network: QuantisedNetwork, cores: Iterable[CoreParameters]) -> None:
    if not any(connection.source == INPUT for connection in network.connections):
        raise PlaceError(f"network {network.name} must have a connection from its input")
    if network.attentions:
        raise PlaceError(f"network {network.name}: attention cannot be placed on a fabric of cores alone")
    if network.input_value_width:
        raise PlaceError(
            f"network {network.name}: the input must be spikes, not values of {network.input_value_width} bits, which "
            f"the host link does not carry"
        )
    for core in dict.fromkeys(cores):
        _check_features(network, core)


def _sinks(
    network: QuantisedNetwork, name: str, tile_of: Mapping[str, int], observed: Collection[str]
) -> frozenset[int]:
    """The tiles that a source leads to, its own and the host among them."""
    host = {BRIDGE_TILE} if name in observed else set()
    return frozenset(host | {tile_of[c.target] for c in network.connections if c.source == name})


def _allocate(
    network: QuantisedNetwork,
    tile_of: Mapping[str, int],
    cores: Mapping[int, CoreParameters],
    blocks: dict[str, Block],
    observed: Collection[str],
) -> dict[str, NDArray[np.int64]]:
    """Give each of ``blocks`` its place, the first that is free in all of its tiles; returns the axons of each source.

    What does not fit lies beyond the end: the caller refuses it by its count.
    """
    space = sum(block.rows for block in blocks.values()) + max(core.axons for core in cores.values())
    taken = {tile: np.zeros(space, bool) for tile in cores}
    width = max((block.coordinate_width for block in blocks.values()), default=0)
    host = np.zeros((space << 2 * width) + network.neurons, bool)
    axons: dict[str, NDArray[np.int64]] = {}
    for name in (INPUT, *(p.name for p in network.populations)):
        sinks = _sinks(network, name, tile_of, observed)
        if name in blocks:
            block = blocks[name]
            tiles = [taken[tile] for tile in sinks - {BRIDGE_TILE}]
            occupied = np.logical_or.reduce(tiles)
            if BRIDGE_TILE in sinks:
                size = 1 << 2 * block.coordinate_width
                occupied = occupied | host[: space * size].reshape(space, size).any(axis=1)
            blocks[name] = block = replace(block, first=_first_free(occupied, block.rows))
            for tile in tiles:
                tile[block.first : block.first + block.rows] = True
            axons[name] = block.axons
            if BRIDGE_TILE in sinks:
                host[axons[name]] = True
    for name in observed:
        if name not in blocks:
            first = _first_free(host, network.size(name))
            axons[name] = first + np.arange(network.size(name))
            host[axons[name]] = True
    return axons


def _first_free(taken: NDArray[np.bool_], count: int) -> int:
    """The first of ``count`` places in sequence that are not taken."""
    before = np.concatenate([[0], np.cumsum(taken)])
    return int(np.argmax(before[count:] == before[: len(taken) - count + 1]))


def _check_axons(
    network: QuantisedNetwork,
    fabric: FabricConfig,
    input_axons: NDArray[np.int64],
    output_axons: NDArray[np.int64],
) -> None:
    most = min(LARGEST_AXON, (1 << fabric.axon_width) - 1)
    for whose, axons in (("input", input_axons), ("output", output_axons)):
        if axons.max() > most:
            raise PlaceError(
                f"network {network.name}: the axons of the {whose} must be at most {most}, not {axons.max()}; its "
                "coordinates take too many bits"
            )


def _registers(
    fabric: FabricConfig, relations: Relations, populations: Mapping[int, int]
) -> tuple[tuple[int, str, int], ...]:
    """Who waits for whom, in each tile. Without a mesh nobody can choose whom to send to."""
    registers: list[tuple[int, str, int]] = []
    for tile, count in populations.items():
        registers += _tokens(relations, tile, delayed=False, mesh=fabric.mesh is not None)
        if fabric.mesh is not None:
            registers += _tokens(relations, tile, delayed=True, mesh=True)
        registers.append((tile, "populations", count))
    if fabric.mesh is not None:
        registers += _tokens(relations, BRIDGE_TILE, delayed=False, mesh=True)
        registers.append((BRIDGE_TILE, "spike_destinations", _set_of(relations.inputs)))
    return tuple(registers)


def _tokens(relations: Relations, tile: int, *, delayed: bool, mesh: bool) -> Iterator[tuple[int, str, int]]:
    """The registers of a tile that are about its tokens."""
    sources, sinks = relations.sources(tile, delayed=delayed), relations.sinks(tile, delayed=delayed)
    kind = "delayed_" if delayed else ""
    yield tile, f"{kind}sources", len(sources)
    yield tile, f"{kind}sinks", len(sinks)
    if mesh:
        yield tile, f"{kind}tick_destinations", _set_of(sinks)
        yield tile, f"{kind}ack_destinations", _set_of(sources)


def _set_of(tiles: Collection[int]) -> int:
    """A destination set: bit t is tile t."""
    return sum(1 << tile for tile in tiles)


def _uses(
    tile: int, core: CoreParameters, held: Collection[str], layout_of: Mapping[str, Layout], rows: Rows
) -> list[Use]:
    words = sum(layout.words for layout in layout_of.values())
    counts = {
        "neurons": (words * core.lanes, core.neurons),
        "rows": (rows.rows, core.axons),
        f"weight words of {core.lanes} weights": (rows.weight_words, core.weight_words),
        "populations": (len(held), core.populations),
    }
    if core.coordinate_width:
        counts["geometries"] = rows.geometries, core.geometries
    return [
        Use(tile=tile, resource=resource, used=used, available=available)
        for resource, (used, available) in counts.items()
    ]


def _check_uses(network: QuantisedNetwork, fabric: FabricConfig, uses: Iterable[Use]) -> None:
    short: dict[int, list[str]] = {}
    for use in uses:
        if use.used > use.available:
            short.setdefault(use.tile, []).append(f"{use.used} {use.resource}, there are {use.available}")
    if short:
        tile, missing = next(iter(short.items()))
        where = "" if len(fabric.cores) == 1 else f" in tile {tile}"
        raise PlaceError(
            f"network {network.name} does not fit the fabric {fabric.name}: it needs {'; '.join(missing)}{where}"
        )


def _check_features(network: QuantisedNetwork, core: CoreParameters) -> None:
    if core.weight_width == 1 and network.weight_width != 1:
        raise PlaceError(
            f"weights must be of 1 bit, -1 or 1, on this fabric, network {network.name} has {network.weight_width}"
        )
    if network.weight_width > core.weight_width:
        raise PlaceError(
            f"weights must have at most {core.weight_width} bits on this fabric, network {network.name} has "
            f"{network.weight_width}"
        )
    for population in network.populations:
        try:
            rule_values(core, population.parameters)
            parameter_values(core, population.parameters)
        except ValueError as error:
            raise PlaceError(f"population {population.name}: {error}") from error


def _check_accumulators(network: QuantisedNetwork, cores: Mapping[str, CoreParameters]) -> None:
    for population in network.populations:
        core = cores[population.name]
        low, high = signed_range(core.accumulator_width)
        least, greatest = network.current_bounds(population.name)
        if least < low or greatest > high:
            needed = max(greatest.bit_length(), (-least - 1).bit_length() if least < 0 else 0) + 1
            raise PlaceError(
                f"population {population.name}: its weights could overflow the accumulator, their sum needs {needed} "
                f"bits, there are {core.accumulator_width}"
            )


def _neurons(network: QuantisedNetwork, core: CoreParameters, layout_of: Mapping[str, Layout]) -> NDArray[np.uint8]:
    """The parameters of every slot. A slot that pads a word may fire; its route leads nowhere."""
    words = []
    for name, layout in layout_of.items():
        population = network.population(name)
        bits = core.neuron_layout.bits(parameter_values(core, population.parameters), population.size)
        slots = np.zeros((layout.words * core.lanes, bits.shape[1]), np.uint8)
        slots[layout.offsets] = bits
        words.append(slots)
    return pack_lanes(np.concatenate(words), core.lanes)


def _routes(
    network: QuantisedNetwork,
    core: CoreParameters,
    layout_of: Mapping[str, Layout],
    axons: Mapping[str, NDArray[np.int64]],
    local: Mapping[str, NDArray[np.bool_]],
    sent: Mapping[str, NDArray[np.bool_]],
) -> NDArray[np.uint8]:
    """Where the spikes of each slot go: back into the core, out, or both."""
    slots = sum(layout.words for layout in layout_of.values()) * core.lanes
    fields = {field.name: np.zeros(slots, np.int64) for field in core.route_layout.fields}
    for name, layout in layout_of.items():
        here = layout.slots
        fields["axon"][here] = axons.get(name, 0)
        fields["local"][here] = local.get(name, 0)
        fields["send"][here] = sent[name]
        fields["membrane"][here] = sent[name] & (not network.population(name).parameters.spiking)
    return pack_lanes(core.route_layout.bits(fields, slots), 1)


def _populations(
    network: QuantisedNetwork,
    core: CoreParameters,
    layout_of: Mapping[str, Layout],
    destinations: Mapping[str, Collection[int]],
    read: Collection[str],
) -> NDArray[np.uint8]:
    """The words, the rule and the destinations of every population; the membranes of those to be ``read`` are sent."""
    words = []
    for name, layout in layout_of.items():
        parameters = network.population(name).parameters
        values = {
            "first": layout.first_word,
            "last": layout.first_word + layout.words - 1,
            "destinations": _set_of(destinations.get(name, ())),
            **parameter_values(core, parameters),
            **rule_values(core, parameters, readout=not parameters.spiking and name in read),
        }
        words.append(core.population_layout.bits(values, 1))
    return pack_lanes(np.concatenate(words), 1)
