"""The mesh of routers: positions of tiles, routes of packets and their cost. This module specifies the hardware.

Tiles are arranged in ``rows`` rows of ``columns`` tiles; tile ``t`` is in column ``t % columns`` and row
``t // columns``. East is the next column, north the next row. A packet carries its destination set, in which bit ``t``
is tile t.

Routing is in dimension order: a packet travels along its row first, then along columns, and forks where its
destinations diverge. Constant masks define the routes. With the router at column ``x`` and row ``y``::

    mask(EAST)  = tiles in columns > x               mask(NORTH) = tiles in column x, rows > y
    mask(WEST)  = tiles in columns < x               mask(SOUTH) = tiles in column x, rows < y
    mask(LOCAL) = the tile itself

A packet leaves by each port whose mask intersects its destinations, and carries this intersection. The masks of a
router are disjoint and cover all tiles, so each destination is on exactly one branch. The destinations that can arrive
at a port are those in the neighbour's mask, and an output is not connected to an input whose destinations its mask
excludes: a packet never turns back, nor from a column into a row. Hence there is no deadlock (Dally and Seitz 1987,
IEEE Transactions on Computers C-36(5)): an output in a row waits only for outputs further along the row, in a column or
at a tile, and an output in a column only for those further along it or at a tile. A branch of a multicast waits only
for its own output. Each chain ends at a tile, and a tile always consumes its input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Link", "LinkCount", "MeshParameters", "Port", "Route"]

# 64 tiles at most: a destination set fills a register of 64 bits.
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
"""The output of a router: its tile and the port. ``(t, Port.LOCAL)`` leads to tile ``t`` itself."""


def _integer(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} must be an integer from {low} to {high}, not {value!r}")


class LinkCount(NamedTuple):
    """Counters of a router output."""

    packets: int  #: packets sent
    waits: int  #: cycles in which a packet was offered and not taken


@dataclass(frozen=True, kw_only=True)
class Route:
    """The route of one packet.

    Parameters
    ----------
    source
        The sending tile.
    links
        The router outputs that it passes.
    hops
        For each destination, the number of links between routers on the way to it.
    """

    source: int
    links: frozenset[Link]
    hops: Mapping[int, int]

    @property
    def traffic(self) -> int:
        """Number of transfers between routers, the cost of the packet in the mesh."""
        return sum(port is not Port.LOCAL for _, port in self.links)


@dataclass(frozen=True, kw_only=True)
class MeshParameters:
    """Shape of a mesh and width of its packets.

    Parameters
    ----------
    columns, rows
        Shape, 1 to 8 each.
    payload_width
        Width of a packet without its destination set.
    queue_depth
        Capacity of the queue at each router input in packets: 0, or a power of two up to 1024. From 2 on all outputs of
        a router are registers, including ``ready``. With 0 and 1, ``ready`` is combinational through a row and a column
        of routers.
    counters
        Whether routers count packets and wait cycles (`spikeloom.sim.noc.registers.ROUTER`).
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
        # A power of two, because the pointers of the queues wrap around by overflow.
        depth = self.queue_depth
        if not isinstance(depth, int) or not 0 <= depth <= DEEPEST_QUEUE or depth & (depth - 1):
            raise ValueError(f"queue_depth must be 0 or a power of two up to {DEEPEST_QUEUE}, not {depth!r}")
        if not isinstance(self.counters, bool):
            raise ValueError(f"counters must be True or False, not {self.counters!r}")

    @property
    def tiles(self) -> int:
        """Number of tiles, which is also the width of a destination set."""
        return self.columns * self.rows

    def tile(self, column: int, row: int) -> int:
        """The number of the tile at a position."""
        _integer("column", column, 0, self.columns - 1)
        _integer("row", row, 0, self.rows - 1)
        return row * self.columns + column

    def place(self, tile: int) -> tuple[int, int]:
        """Column and row of a tile."""
        _integer("tile", tile, 0, self.tiles - 1)
        return tile % self.columns, tile // self.columns

    def neighbours(self, tile: int) -> dict[Port, int]:
        """The neighbours of a tile, by the port that leads there."""
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
        # Columns first: a packet goes north or south only in the column of its destination.
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
        # Whatever the neighbour sends this way: by its own mask, nothing else can arrive.
        return self.mask(self.neighbours(tile)[port], port.opposite)

    def inputs(self, tile: int, port: Port) -> tuple[Port, ...]:
        """The inputs from which a packet can leave by the output ``port``."""
        mask = self.mask(tile, port)
        # LOCAL counts too: a tile may send to itself.
        return tuple(entry for entry in self.ports(tile) if self.arrivals(tile, entry) & mask)

    def destinations(self, tiles: Iterable[int]) -> int:
        """The destination set of ``tiles``."""
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
        """The route of a packet from ``source``; empty for a packet without destinations."""
        _integer("source", source, 0, self.tiles - 1)
        _integer("destinations", destinations, 0, (1 << self.tiles) - 1)
        links: set[Link] = set()
        hops: dict[int, int] = {}
        # Follows the packet from router to router, as the hardware forks it.
        waiting = [(source, destinations, 0)]
        while waiting:
            tile, left, distance = waiting.pop()
            for port in self.ports(tile):
                # The masks are disjoint, so every destination follows exactly one port.
                branch = left & self.mask(tile, port)
                if not branch:
                    continue
                # A link carries a multicast packet once, however many destinations are behind it.
                links.add((tile, port))
                if port is Port.LOCAL:
                    hops[tile] = distance
                else:
                    waiting.append((self.neighbours(tile)[port], branch, distance + 1))
        return Route(source=source, links=frozenset(links), hops=hops)

    def latency(self, hops: int) -> int:
        """Cycles from the acceptance of a packet by a router to its arrival at a tile ``hops`` away without contention:
        one for the register of each output, and one for the queue of each input."""
        return (hops + 1) * (1 if self.queue_depth == 0 else 2)

    def link_loads(self, rates: NDArray[np.float64]) -> dict[Link, float]:
        """Packets per cycle on each link, if tile ``s`` sends ``rates[s, d]`` unicast packets per cycle to tile ``d``.

        Raises ``ValueError`` unless ``rates`` has the shape ``(tiles, tiles)``.
        """
        if np.shape(rates) != (self.tiles, self.tiles):
            raise ValueError(f"rates must be of shape {(self.tiles, self.tiles)}, not {np.shape(rates)}")
        loads: dict[Link, float] = {(tile, port): 0.0 for tile in range(self.tiles) for port in self.ports(tile)}
        for source in range(self.tiles):
            for sink in range(self.tiles):
                for link in self.route(source, 1 << sink).links:
                    loads[link] += float(rates[source, sink])
        return loads
