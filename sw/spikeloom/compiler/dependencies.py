"""Who sends to whom: the relations between tiles that follow from where parts lie.

A relation is *direct* where spikes count in the step in which they are fired, *delayed* where they count in the next
one; two tiles can have both. A tile waits for its direct sources in every step, so direct relations must not lead in a
circle: tiles would wait for each other for ever. Delayed ones may.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.partition import SplitNetwork
from spikeloom.compiler.ports import Port
from spikeloom.sim.lib.registers import BRIDGE_TILE
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.population import INPUT

__all__ = [
    "TOKENS",
    "UNIFORM_RATE",
    "Flow",
    "Rates",
    "RelationError",
    "Relations",
    "flows_of",
    "heard",
    "uniform_rates",
]

TOKENS = ("TICK", "ACK")
"""What a tile sends at the end of a step: to its sinks, and to its sources."""

UNIFORM_RATE = 0.1
"""Spikes a step that are expected of a neuron of which nothing is known."""

Rates = Mapping[str, NDArray[np.float64]]
"""Spikes a step of each neuron ``(n,)`` of the input and of each population."""


class RelationError(ValueError):
    """Tiles that would wait for each other. The message is one sentence."""


@dataclass(frozen=True, kw_only=True)
class Relations:
    """Pairs ``(source tile, sink tile)``. ``inputs`` are the tiles that are given the network's input.

    A tile that brings the input has the host for a source, which says when a step begins; one that takes the output
    has the host for a sink, which so hears of the end of a step.
    """

    direct: frozenset[tuple[int, int]]
    delayed: frozenset[tuple[int, int]]
    inputs: frozenset[int]

    @classmethod
    def of(
        cls,
        parts: SplitNetwork,
        tile_of: Mapping[str, int],
        observed: Collection[str],
        *,
        input_from: Port | None = None,
        output_to: Port | None = None,
    ) -> Relations:
        """The relations of ``parts`` in the tiles ``tile_of``, of which those in ``observed`` send to the host too.

        A tile without a direct source has the host for one, which says when a step begins. Raises `RelationError` if
        direct relations lead in a circle.
        """
        tiles = set(tile_of.values())
        inputs = {tile_of[sink] for sink in parts.network.sinks(INPUT)}
        giver = BRIDGE_TILE if input_from is None else input_from.tile
        place_of = {**tile_of, INPUT: giver}
        direct = {(giver, tile) for tile in inputs} | {(place_of[name], BRIDGE_TILE) for name in observed}
        if input_from is not None:
            direct.add((BRIDGE_TILE, input_from.tile))
        if output_to is not None:
            of_output = {tile_of[part.name] for part in parts.parts_of(parts.original.output)}
            direct |= {(tile, output_to.tile) for tile in of_output} | {(output_to.tile, BRIDGE_TILE)}
        delayed: set[tuple[int, int]] = set()
        for connection in parts.network.connections:
            if connection.source != INPUT:
                pair = tile_of[connection.source], tile_of[connection.target]
                if pair[0] != pair[1]:
                    (delayed if connection.delay else direct).add(pair)
        for unit in parts.network.units:
            direct |= {(place_of[source], tile_of[unit.name]) for source in unit.sources}
        _check_order(parts, tile_of, direct)
        direct |= {(BRIDGE_TILE, tile) for tile in tiles - {sink for _, sink in direct}}
        return cls(direct=frozenset(direct), delayed=frozenset(delayed), inputs=frozenset(inputs))

    def sources(self, tile: int, *, delayed: bool = False) -> frozenset[int]:
        """The tiles that send to ``tile``."""
        return frozenset(source for source, sink in (self.delayed if delayed else self.direct) if sink == tile)

    def sinks(self, tile: int, *, delayed: bool = False) -> frozenset[int]:
        """The tiles that ``tile`` sends to."""
        return frozenset(sink for source, sink in (self.delayed if delayed else self.direct) if source == tile)


def _check_order(parts: SplitNetwork, tile_of: Mapping[str, int], direct: Collection[tuple[int, int]]) -> None:
    """Refuse direct relations that lead in a circle."""
    waiting = {
        tile: {source for source, sink in direct if sink == tile and source != BRIDGE_TILE} for _, tile in direct
    }
    waiting.pop(BRIDGE_TILE, None)
    while free := {tile for tile, sources in waiting.items() if not sources & set(waiting)}:
        for tile in free:
            del waiting[tile]
    if not waiting:
        return
    circle = [min(waiting)]
    while circle.count(circle[-1]) == 1:
        circle.append(min(waiting[circle[-1]] & set(waiting)))
    circle = circle[circle.index(circle[-1]) : -1]

    def held(tile: int) -> str:
        return ", ".join(part.name for part in parts.parts if tile_of[part.name] == tile)

    raise RelationError(
        "layers may share a tile only if nothing between them lies elsewhere, and in one step "
        + ", ".join(
            f"tile {tile} ({held(tile)}) waits for tile {before}"
            for tile, before in zip(circle, [*circle[1:], circle[0]], strict=True)
        )
    )


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Packets that one tile sends to others, each once and to all of ``sinks``: ``packets`` of them a step.

    ``name`` is the part whose spikes they are, `INPUT`, or one of `TOKENS`.
    """

    name: str
    source: int
    sinks: frozenset[int]
    packets: float


def uniform_rates(network: QuantisedNetwork, rate: float = UNIFORM_RATE) -> Rates:
    """The same ``rate`` for all neurons that can spike."""
    of = {INPUT: rate} | {name: rate * network.spikes(name) for name in network.sources if name != INPUT}
    return {name: np.full(network.size(name), value) for name, value in of.items()}


def heard(
    network: QuantisedNetwork, name: str, tile_of: Mapping[str, int], observed: Collection[str]
) -> NDArray[np.bool_]:
    """The neurons ``(n,)`` of ``name`` that send their spikes out of their tile: those that lead to another tile.

    The host and units hear of all neurons, and a unit sends all of its spikes.
    """
    every = name in observed or network.unit(name) is not None or bool(network.readers(name))
    found = np.full(network.size(name), every)
    for connection in network.connections_from(name):
        if tile_of[connection.target] != tile_of[name]:
            found |= connection.fan_out > 0
    return found


def flows_of(
    parts: SplitNetwork,
    tile_of: Mapping[str, int],
    observed: Collection[str],
    rates: Rates,
    *,
    input_from: Port | None = None,
    output_to: Port | None = None,
) -> tuple[Flow, ...]:
    """What goes from tile to tile in a step: the spikes of the input and of each part, and the tokens of each tile."""
    flows = []
    relations = Relations.of(parts, tile_of, observed, input_from=input_from, output_to=output_to)
    giver = BRIDGE_TILE if input_from is None else input_from.tile
    for name in (INPUT, *(part.name for part in parts.parts)):
        sinks = {tile_of[sink] for sink in parts.network.sinks(name)}
        here = giver if name == INPUT else tile_of[name]
        sinks |= {BRIDGE_TILE} if name in observed else set()
        if output_to is not None and name != INPUT and parts.part(name).population == parts.original.output:
            sinks.add(output_to.tile)
        sinks -= {here}
        if name == INPUT:
            packets = float(rates[INPUT].sum())
        else:
            part = parts.part(name)
            sent = heard(parts.network, name, tile_of, observed)
            spikes = float(rates[part.population][part.neurons] @ sent)
            packets = spikes if parts.network.spikes(name) else float(part.size)
        if sinks:
            flows.append(Flow(name=name, source=here, sinks=frozenset(sinks), packets=packets))
    for tile in sorted({BRIDGE_TILE, *(end for pair in relations.direct for end in pair), *tile_of.values()}):
        for kind, to in zip(TOKENS, (relations.sinks, relations.sources), strict=True):
            for delayed in (False, True):
                if others := to(tile, delayed=delayed):
                    flows.append(Flow(name=kind, source=tile, sinks=others, packets=1.0))
    return tuple(flows)
