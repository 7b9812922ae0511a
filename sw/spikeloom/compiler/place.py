"""Placement: a quantised network onto a fabric, as memory images.

Parts of the populations lie in tiles (`spikeloom.compiler.mapping`). In a tile, each part lies from a word of its own,
in the network's order (`spikeloom.compiler.layout`), and rows stand for the events of everybody who sends to it
(`spikeloom.compiler.synapses`).

A spike carries one axon, whoever gets it. So each source has a *block* of axons, and of rows, at the same addresses in
all tiles that it leads to, its own among them; the host reads its axons alike. Blocks are given out in the network's
order, the input first, each from the first address that is free in all of those tiles. With one core they follow each
other. What leads to the host alone takes no rows, only numbers that nobody else sends to the host. What attention reads
begins at a page of the attention tile, and is numbered there as its own neurons are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.aer_ports import AerInput, AerOutput
from spikeloom.compiler.dependencies import Rates, RelationError, Relations, heard
from spikeloom.compiler.layout import Layout, LayoutError, layouts
from spikeloom.compiler.mapping import AssignError, Assignment, assign
from spikeloom.compiler.program import MemoryImage, Program, Use
from spikeloom.compiler.synapses import Block, RowError, Rows, blocks_of, rows_of
from spikeloom.sim.attention.attention import AttentionTileParameters, register_seeds
from spikeloom.sim.core.memory_fields import parameter_values, rule_values
from spikeloom.sim.core.neuron import signed_range
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.messages import LARGEST_AXON
from spikeloom.sim.lib.registers import BRIDGE_TILE
from spikeloom.sim.lib.words import pack_lanes
from spikeloom.sim.network.network import INPUT, QuantisedAttention, QuantisedNetwork

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
    _check_network(network, list(cores.values()))
    _check_ports(network, fabric, input_from, output_to, observe)
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
    _check_network(original, list(cores.values()))
    _check_accumulators(network, {p.name: cores[tile_of[p.name]] for p in network.populations})
    spiking = [name for name in original.sources if name != INPUT and original.spikes(name)]
    observed = list(dict.fromkeys([original.output, *(name for name in spiking if name in observe)]))
    observed_parts = [part.name for name in observed for part in parts.parts_of(name)]
    input_from, output_to = assignment.input_from, assignment.output_to
    _check_ports(original, fabric, input_from, output_to, observe)
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
        axons = _allocate(network, tile_of, cores, units, blocks, observed_parts)
        rows = {tile: rows_of(network, core, layouts_of[tile], blocks) for tile, core in cores.items()}
    except (LayoutError, RowError, RelationError) as error:
        raise PlaceError(str(error)) from error
    uses = tuple(
        use for tile, core in cores.items() for use in _uses(tile, core, held[tile], layouts_of[tile], rows[tile])
    ) + tuple(Use(tile=tile_of[name], resource="attention", used=1, available=1) for name in units)
    _check_uses(original, fabric, uses)
    input_axons = axons.get(INPUT, np.arange(network.inputs))
    axons_of = {name: axons[INPUT] if name == INPUT else parts.join(axons, name) for name in observed}
    output_axons = np.concatenate([axons_of[name] for name in observed])
    _check_axons(original, fabric, input_axons, output_axons)
    memories = []
    for tile, core in cores.items():
        destinations = {name: _sinks(network, name, tile_of, observed_parts) - {tile} for name in held[tile]}
        chip_of = {name: _chips(original, parts.part(name).population, output_to) for name in held[tile]}
        sent = {name: heard(network, name, tile_of, observed_parts) for name in held[tile]}
        images = {
            **rows[tile].images,
            **({"neurons": _neurons(network, core, layouts_of[tile])} if core.neuron_layout.width else {}),
            "routes": _routes(network, core, layouts_of[tile], axons, rows[tile].reaches, sent),
            "populations": _populations(
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
        routes = unit.routes(_by_token(unit, axons.get(name, np.zeros(network.size(name), np.int64))))
        memory = unit.memories["routes"]
        memories.append(MemoryImage(tile=tile_of[name], memory=memory.number, name=memory.name, words=routes))
    ports = _ports(original, fabric, assignment, relations, input_axons, axons_of[original.output], INPUT in observe)
    return Program(
        network=original.name,
        fabric=fabric,
        memories=(*memories, *ports[0]),
        registers=(
            *_registers(fabric, relations, {tile: len(names) for tile, names in held.items()}, input_from),
            *(
                register
                for attention in network.attentions
                for register in _attention_registers(attention, units[attention.name], tile_of, relations, axons)
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


def _check_network(network: QuantisedNetwork, cores: Iterable[CoreParameters]) -> None:
    if not any(connection.source == INPUT for connection in network.connections):
        raise PlaceError(f"network {network.name} must have a connection from its input")
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
    return frozenset(host | {tile_of[sink] for sink in network.sinks(name)})


def _allocate(
    network: QuantisedNetwork,
    tile_of: Mapping[str, int],
    cores: Mapping[int, CoreParameters],
    units: Mapping[str, AttentionTileParameters],
    blocks: dict[str, Block],
    observed: Collection[str],
) -> dict[str, NDArray[np.int64]]:
    """Give each of ``blocks`` its place, the first that is free in all of its tiles; returns the axons of each source.

    What does not fit lies beyond the end: the caller refuses it by its count.
    """
    pages = _Pages(network, units)
    rows = sum(block.rows + pages.rows(name, block) for name, block in blocks.items())
    space = rows + max(core.axons for core in cores.values())
    taken = {tile: np.zeros(space, bool) for tile in cores}
    width = max((block.coordinate_width for block in blocks.values()), default=0)
    host = np.zeros((space << 2 * width) + network.neurons + pages.space, bool)
    axons: dict[str, NDArray[np.int64]] = {}
    for name in network.sources:
        sinks = _sinks(network, name, tile_of, observed)
        if name in blocks:
            block = blocks[name]
            tiles = [taken[tile] for tile in sinks if tile in cores]
            occupied = np.logical_or.reduce(tiles)
            if BRIDGE_TILE in sinks:
                size = 1 << 2 * block.coordinate_width
                occupied = occupied | host[: space * size].reshape(space, size).any(axis=1)
            occupied |= pages.occupied(name, block, space)
            blocks[name] = block = replace(block, first=_first_free(occupied, block.rows, pages.rows(name, block)))
            for tile in tiles:
                tile[block.first : block.first + block.rows] = True
            axons[name] = block.axons
        elif name in pages.names or name in observed:
            step = pages.size(name)
            occupied = host if name in observed else np.zeros_like(host)
            occupied = occupied | pages.taken(name, len(host))
            axons[name] = _first_free(occupied, network.size(name), step) + np.arange(network.size(name))
        if BRIDGE_TILE in sinks:
            host[axons[name]] = True
        pages.take(name, axons)
    return axons


class _Pages:
    """The pages of attention tiles: what attention reads lies at the beginning of one, in all tiles that read it."""

    def __init__(self, network: QuantisedNetwork, units: Mapping[str, AttentionTileParameters]) -> None:
        self._readers = {
            name: [a.name for a in network.attentions if name in a.sources]
            for name in network.sources
            if any(name in a.sources for a in network.attentions)
        }
        self._units = units
        self._taken: dict[str, list[tuple[int, int]]] = {name: [] for name in units}
        self.names = frozenset(self._readers)
        self.space = sum(4 << unit.index_bits for unit in units.values())

    def size(self, name: str) -> int:
        """Axons of a page that ``name`` begins at; 1 if no attention reads it."""
        return max((1 << self._units[reader].index_bits for reader in self._readers.get(name, ())), default=1)

    def rows(self, name: str, block: Block) -> int:
        """The rows of such a page."""
        return max(1, self.size(name) >> 2 * block.coordinate_width)

    def taken(self, name: str, space: int) -> NDArray[np.bool_]:
        """The axons ``(space,)`` of pages that others have in the attention tiles that read ``name``."""
        found = np.zeros(space, bool)
        for reader in self._readers.get(name, ()):
            for first, stop in self._taken[reader]:
                found[first:stop] = True
        return found

    def occupied(self, name: str, block: Block, space: int) -> NDArray[np.bool_]:
        """As `taken`, in rows. Raises `RowError` if the tile cannot know the neurons by the axons of ``block``."""
        if name not in self._readers:
            return np.zeros(space, bool)
        if not np.array_equal(replace(block, first=0).axons, np.arange(block.size)):
            raise RowError(
                f"population {name}: attention reads it, so that it may lead to no more than one population in each "
                "other tile, and to no convolution or pooling of another shape than the coordinates of the tiles have"
            )
        a_row = 1 << 2 * block.coordinate_width
        rows: NDArray[np.bool_] = np.logical_or.reduce(self.taken(name, space * a_row).reshape(space, a_row), axis=1)
        return rows

    def take(self, name: str, axons: Mapping[str, NDArray[np.int64]]) -> None:
        """``name`` has its axons now."""
        for reader in self._readers.get(name, ()):
            first = int(axons[name][0])
            self._taken[reader].append((first, first + (1 << self._units[reader].index_bits)))


def _by_token(unit: AttentionTileParameters, axons: NDArray[np.int64]) -> NDArray[np.int64]:
    """What holds for the spikes of attention in the order of the network, as ``(heads, N, d)``."""
    shape = unit.attention
    return axons.reshape(shape.heads, shape.features, shape.tokens).swapaxes(1, 2)


def _attention_registers(
    attention: QuantisedAttention,
    unit: AttentionTileParameters,
    tile_of: Mapping[str, int],
    relations: Relations,
    axons: Mapping[str, NDArray[np.int64]],
) -> Iterator[tuple[int, str, int]]:
    """All registers of the tile of an attention. Raises `PlaceError` if a page has too high a number."""
    tile = tile_of[attention.name]
    sinks: set[int] = set()
    for delayed in (False, True):
        yield from _tokens(relations, tile, delayed=delayed, mesh=True)
        sinks |= relations.sinks(tile, delayed=delayed)
    yield tile, "spike_destinations", _set_of(sinks)
    for role, source in zip(("query", "key", "value"), attention.sources, strict=True):
        page = int(axons[source][0]) >> unit.index_bits
        if page >> unit.page_bits:
            raise PlaceError(
                f"population {source}: its axons must begin at one of {1 << unit.page_bits} pages of the attention "
                f"tile {tile}, not at page {page}"
            )
        yield tile, f"{role}_page", page
    for name, seed in zip(("score_seed", "output_seed"), register_seeds(attention.seed), strict=True):
        yield tile, name, seed
    yield tile, "causal", int(attention.causal)


def _first_free(taken: NDArray[np.bool_], count: int, step: int = 1) -> int:
    """The first of ``count`` places in sequence that are not taken, a multiple of ``step``."""
    before = np.concatenate([[0], np.cumsum(taken)])
    free = before[count:] == before[: len(taken) - count + 1]
    return int(np.argmax(free[::step])) * step


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
    fabric: FabricConfig, relations: Relations, populations: Mapping[int, int], input_from: AerInput | None
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
        given = relations.inputs if input_from is None else ()
        registers.append((BRIDGE_TILE, "spike_destinations", _set_of(given)))
    return tuple(registers)


def _chips(network: QuantisedNetwork, population: str, output_to: AerOutput | None) -> frozenset[int]:
    """The AER tiles that get the spikes of a population."""
    return frozenset({output_to.tile} if output_to is not None and population == network.output else ())


def _check_ports(
    network: QuantisedNetwork,
    fabric: FabricConfig,
    input_from: AerInput | None,
    output_to: AerOutput | None,
    observe: Collection[str],
) -> None:
    if INPUT in observe and input_from is None:
        raise PlaceError("the input can be observed only where it comes from an AER tile")
    for port, is_input in ((input_from, True), (output_to, False)):
        if port is not None and (port.tile not in fabric.aers or fabric.aers[port.tile].is_input != is_input):
            what = "an AER input" if is_input else "an AER output"
            raise PlaceError(f"tile {port.tile} must be {what} of the fabric {fabric.name}")
    if output_to is None:
        return
    parameters, depth = network.population(network.output).parameters, fabric.aers[output_to.tile].depth
    if not parameters.spiking or parameters.graded:
        raise PlaceError(f"population {network.output} must have plain spikes, not values, to go to an AER tile")
    if network.size(network.output) > depth:
        raise PlaceError(
            f"population {network.output} must have at most {depth} neurons, as many events as wait in tile "
            f"{output_to.tile}, not {network.size(network.output)}"
        )


def _ports(
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
            registers.append((port.tile, "spike_destinations", _set_of(given)))
        # Its sources, without which the tile stands still, are written last.
        registers += reversed(list(_tokens(relations, port.tile, delayed=False, mesh=True)))
    return memories, registers


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
