"""Dependencies between tiles, as they follow from the mapping.

A dependency is *direct* if spikes take effect in the step in which they are fired, *delayed* if they take effect in the
next one; two tiles can have both. A tile waits for its direct sources in every step. Direct dependencies must therefore
not form a cycle, which would deadlock; delayed ones may.
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
    "Dependencies",
    "DependencyError",
    "Flow",
    "Rates",
    "flows_of",
    "senders_of",
    "uniform_rates",
]

TOKENS = ("TICK", "ACK")
"""Tokens that a tile sends at the end of a step: to its sinks, and to its sources."""

UNIFORM_RATE = 0.1
"""Expected spikes per neuron per step in the absence of other data."""

Rates = Mapping[str, NDArray[np.float64]]
"""Spikes per step of each neuron ``(n,)`` of the input and of each population."""


class DependencyError(ValueError):
    """Tiles that would wait for each other. The message is one sentence."""


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """Pairs ``(source tile, sink tile)``. ``inputs`` are the tiles that receive the input of the network.

    A tile that supplies the input has the host as a source, which starts each step. A tile that takes the output has
    the host as a sink, which thereby learns of the end of each step.
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
    ) -> Dependencies:
        """Return the dependencies of ``parts`` in the tiles ``tile_of``; parts in ``observed`` also send to the host.

        A tile without a direct source has the host as its source, which starts each step. Raises `DependencyError` if
        direct dependencies form a cycle.
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
        """Return the tiles that send to ``tile``."""
        return frozenset(source for source, sink in (self.delayed if delayed else self.direct) if sink == tile)

    def sinks(self, tile: int, *, delayed: bool = False) -> frozenset[int]:
        """Return the tiles that ``tile`` sends to."""
        return frozenset(sink for source, sink in (self.delayed if delayed else self.direct) if source == tile)


def _check_order(parts: SplitNetwork, tile_of: Mapping[str, int], direct: Collection[tuple[int, int]]) -> None:
    """Refuse cycles of direct dependencies."""
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

    raise DependencyError(
        "layers may share a tile only if nothing between them lies elsewhere, and in one step "
        + ", ".join(
            f"tile {tile} ({held(tile)}) waits for tile {before}"
            for tile, before in zip(circle, [*circle[1:], circle[0]], strict=True)
        )
    )


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Packets from one tile to others, each sent once to all of ``sinks``: ``packets`` per step.

    ``name`` is the source of the spikes (a part or `INPUT`), or one of `TOKENS`.
    """

    name: str
    source: int
    sinks: frozenset[int]
    packets: float


def uniform_rates(network: QuantisedNetwork, rate: float = UNIFORM_RATE) -> Rates:
    """Return the same ``rate`` for all neurons that can spike."""
    of = {INPUT: rate} | {name: rate * network.spikes(name) for name in network.sources if name != INPUT}
    return {name: np.full(network.size(name), value) for name, value in of.items()}


def senders_of(
    network: QuantisedNetwork, name: str, tile_of: Mapping[str, int], observed: Collection[str]
) -> NDArray[np.bool_]:
    """Return the neurons ``(n,)`` of ``name`` that send spikes to another tile.

    The host and units receive the spikes of all neurons, and a unit sends all of its spikes.
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
    """Return the traffic between tiles in a step: spikes of the input and of each part, and tokens of each tile."""
    flows = []
    dependencies = Dependencies.of(parts, tile_of, observed, input_from=input_from, output_to=output_to)
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
            sent = senders_of(parts.network, name, tile_of, observed)
            spikes = float(rates[part.population][part.neurons] @ sent)
            packets = spikes if parts.network.spikes(name) else float(part.size)
        if sinks:
            flows.append(Flow(name=name, source=here, sinks=frozenset(sinks), packets=packets))
    for tile in sorted({BRIDGE_TILE, *(end for pair in dependencies.direct for end in pair), *tile_of.values()}):
        for kind, to in zip(TOKENS, (dependencies.sinks, dependencies.sources), strict=True):
            for delayed in (False, True):
                if others := to(tile, delayed=delayed):
                    flows.append(Flow(name=kind, source=tile, sinks=others, packets=1.0))
    return tuple(flows)
