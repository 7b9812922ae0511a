"""The mesh of routers: where each tile is, which way a packet goes, and what it costs. The specification of the
hardware.

Tiles stand in ``rows`` rows of ``columns`` each; tile ``t`` is in column ``t % columns`` and row ``t // columns``. East
is the next column, north the next row. A packet carries its destination set: bit ``t`` of ``destinations`` is tile t.

Dimension order: a packet goes along its row first, then along a column, and forks where its destinations part. All of
it is said by constant masks. With ``x`` and ``y`` those of the router::

    mask(EAST)  = tiles in columns > x               mask(NORTH) = tiles in column x, rows > y
    mask(WEST)  = tiles in columns < x               mask(SOUTH) = tiles in column x, rows < y
    mask(LOCAL) = the tile itself

A packet leaves by each port whose mask meets its destinations, with the destinations that the mask names: the masks of
a router are disjoint and cover all tiles, so each destination is on exactly one branch. What can arrive at a port is
what the neighbour's mask lets out, and an output whose mask meets none of it needs no wire from there: a packet never
turns back, nor from a column into a row. That is why packets cannot wait for each other in a circle (Dally and Seitz
1987, IEEE Transactions on Computers C-36(5)): an output waits only for outputs of the next router that lie further
along the same row, in a column or at a tile, and in a column only for those further along it or at a tile. A branch of
a multicast waits for its own output alone. At the end stands a tile, and a tile's input is always consumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Link", "LinkCount", "MeshParameters", "Port", "Route"]

MOST_COLUMNS = MOST_ROWS = 8
DEEPEST_QUEUE = 1024


class Port(Enum):
    """A side of a router."""

    LOCAL = "local"
    EAST = "east"
    WEST = "west"
    NORTH = "north"
    SOUTH = "south"

    @property
    def opposite(self) -> Port:
        """The port of the neighbour on the same link."""
        return _OPPOSITE[self]


_OPPOSITE = {
    Port.LOCAL: Port.LOCAL,
    Port.EAST: Port.WEST,
    Port.WEST: Port.EAST,
    Port.NORTH: Port.SOUTH,
    Port.SOUTH: Port.NORTH,
}
_STEPS = {Port.EAST: (1, 0), Port.WEST: (-1, 0), Port.NORTH: (0, 1), Port.SOUTH: (0, -1)}

Link = tuple[int, Port]
"""The output of a router: its tile and the port. ``(t, Port.LOCAL)`` is what tile ``t`` is given."""


def _integer(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} must be an integer from {low} to {high}, not {value!r}")


class LinkCount(NamedTuple):
    """What a router has counted at an output."""

    packets: int  #: that have left
    waits: int  #: cycles in which a packet was offered and not taken


@dataclass(frozen=True, kw_only=True)
class Route:
    """The way of one packet.

    Parameters
    ----------
    source
        The tile that sends it.
    links
        Each router output that it takes, once.
    hops
        For each destination, the links between routers on the way to it.
    """

    source: int
    links: frozenset[Link]
    hops: Mapping[int, int]

    @property
    def traffic(self) -> int:
        """Transfers between routers: what the packet costs the mesh."""
        return sum(port is not Port.LOCAL for _, port in self.links)


@dataclass(frozen=True, kw_only=True)
class MeshParameters:
    """A mesh and the words that it carries.

    Parameters
    ----------
    columns, rows
        Shape, 1 to 8 each.
    payload_width
        Bits of a packet beside its destination set.
    queue_depth
        Packets that wait at each input of a router: 0, or a power of two up to 1024. From 2 on all outputs of a router
        are registers, readiness included. With 0 and 1, readiness runs through a row and a column of routers in one
        cycle.
    counters
        Whether each router counts what leaves it and what waits (`spikeloom.sim.noc.registers.ROUTER`).
    """

    columns: int = 4
    rows: int = 4
    payload_width: int = 24
    queue_depth: int = 2
    counters: bool = False

    def __post_init__(self) -> None:
        _integer("columns", self.columns, 1, MOST_COLUMNS)
        _integer("rows", self.rows, 1, MOST_ROWS)
        _integer("payload_width", self.payload_width, 1, 1024)
        depth = self.queue_depth
        if not isinstance(depth, int) or not 0 <= depth <= DEEPEST_QUEUE or depth & (depth - 1):
            raise ValueError(f"queue_depth must be 0 or a power of two up to {DEEPEST_QUEUE}, not {depth!r}")
        if not isinstance(self.counters, bool):
            raise ValueError(f"counters must be True or False, not {self.counters!r}")

    @property
    def tiles(self) -> int:
        """Tiles, which is also the width of a destination set."""
        return self.columns * self.rows

    def tile(self, column: int, row: int) -> int:
        """The number of the tile in a place."""
        _integer("column", column, 0, self.columns - 1)
        _integer("row", row, 0, self.rows - 1)
        return row * self.columns + column

    def place(self, tile: int) -> tuple[int, int]:
        """Column and row of a tile."""
        _integer("tile", tile, 0, self.tiles - 1)
        return tile % self.columns, tile // self.columns

    def neighbours(self, tile: int) -> dict[Port, int]:
        """The tiles next to one, by the port that leads there."""
        column, row = self.place(tile)
        found = {}
        for port, (right, up) in _STEPS.items():
            if 0 <= column + right < self.columns and 0 <= row + up < self.rows:
                found[port] = self.tile(column + right, row + up)
        return found

    def ports(self, tile: int) -> tuple[Port, ...]:
        """The ports of a tile's router: LOCAL, and one for each neighbour."""
        return (Port.LOCAL, *self.neighbours(tile))

    def mask(self, tile: int, port: Port) -> int:
        """The destinations that leave the router of ``tile`` by ``port``."""
        column, row = self.place(tile)
        leaves = {
            Port.LOCAL: lambda x, y: (x, y) == (column, row),
            Port.EAST: lambda x, y: x > column,
            Port.WEST: lambda x, y: x < column,
            Port.NORTH: lambda x, y: x == column and y > row,
            Port.SOUTH: lambda x, y: x == column and y < row,
        }[port]
        return sum(1 << other for other in range(self.tiles) if leaves(*self.place(other)))

    def arrivals(self, tile: int, port: Port) -> int:
        """The destinations that can arrive at the router of ``tile`` by ``port``: all of them at LOCAL."""
        if port is Port.LOCAL:
            return (1 << self.tiles) - 1
        return self.mask(self.neighbours(tile)[port], port.opposite)

    def inputs(self, tile: int, port: Port) -> tuple[Port, ...]:
        """The inputs from which a packet can leave by the output ``port``."""
        mask = self.mask(tile, port)
        return tuple(entry for entry in self.ports(tile) if self.arrivals(tile, entry) & mask)

    def destinations(self, tiles: Iterable[int]) -> int:
        """The destination set of some tiles."""
        found = 0
        for tile in tiles:
            _integer("tile", tile, 0, self.tiles - 1)
            found |= 1 << tile
        return found

    @property
    def links(self) -> tuple[Link, ...]:
        """The outputs of all routers."""
        return tuple((tile, port) for tile in range(self.tiles) for port in self.ports(tile))

    def route(self, source: int, destinations: int) -> Route:
        """The way of a packet from ``source``; one without destinations goes nowhere."""
        _integer("source", source, 0, self.tiles - 1)
        _integer("destinations", destinations, 0, (1 << self.tiles) - 1)
        links: set[Link] = set()
        hops: dict[int, int] = {}
        waiting = [(source, destinations, 0)]
        while waiting:
            tile, left, distance = waiting.pop()
            for port in self.ports(tile):
                branch = left & self.mask(tile, port)
                if not branch:
                    continue
                links.add((tile, port))
                if port is Port.LOCAL:
                    hops[tile] = distance
                else:
                    waiting.append((self.neighbours(tile)[port], branch, distance + 1))
        return Route(source=source, links=frozenset(links), hops=hops)

    def latency(self, hops: int) -> int:
        """Cycles from the one in which a router takes a packet to the one in which a tile so far away has it offered,
        if nothing is in its way: a register at each output, and the queue of each input before it."""
        return (hops + 1) * (1 if self.queue_depth == 0 else 2)

    def link_loads(self, rates: NDArray[np.float64]) -> dict[Link, float]:
        """Packets a cycle on each link, if tile ``s`` sends ``rates[s, d]`` packets a cycle to tile ``d`` alone."""
        if np.shape(rates) != (self.tiles, self.tiles):
            raise ValueError(f"rates must be of shape {(self.tiles, self.tiles)}, not {np.shape(rates)}")
        loads: dict[Link, float] = {(tile, port): 0.0 for tile in range(self.tiles) for port in self.ports(tile)}
        for source in range(self.tiles):
            for sink in range(self.tiles):
                for link in self.route(source, 1 << sink).links:
                    loads[link] += float(rates[source, sink])
        return loads
