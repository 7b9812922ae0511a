"""The model of the mesh against dimension-order routing, written out by hand or in another way."""

import numpy as np
import pytest
from harness.bounds import assert_bounds
from harness.networks import rng_of

from spikeloom.sim.noc.mesh import MeshParameters, Port

SHAPES = [(1, 1), (1, 5), (6, 1), (2, 3), (4, 4), (3, 2), (8, 8)]


def walk(mesh, source, sink):
    """The links of one packet, in words: along the row, then along the column."""
    column, row = mesh.place(source)
    target_column, target_row = mesh.place(sink)
    links = []
    while column != target_column:
        step = 1 if target_column > column else -1
        links.append((mesh.tile(column, row), Port.EAST if step == 1 else Port.WEST))
        column += step
    while row != target_row:
        step = 1 if target_row > row else -1
        links.append((mesh.tile(column, row), Port.NORTH if step == 1 else Port.SOUTH))
        row += step
    return [*links, (sink, Port.LOCAL)]


@pytest.mark.parametrize(("columns", "rows"), SHAPES)
def test_every_pair_takes_the_row_first_and_the_shortest_way(columns, rows):
    mesh = MeshParameters(columns=columns, rows=rows)
    for source in range(mesh.tiles):
        for sink in range(mesh.tiles):
            route = mesh.route(source, 1 << sink)
            expected = walk(mesh, source, sink)
            assert route.links == frozenset(expected)
            assert route.hops == {sink: len(expected) - 1}
            assert route.traffic == len(expected) - 1


@pytest.mark.parametrize(("columns", "rows"), SHAPES)
def test_multicast_is_the_union_of_the_ways_and_takes_each_link_once(request, columns, rows):
    rng = rng_of(request.node.name)
    mesh = MeshParameters(columns=columns, rows=rows)
    shared = 0
    for _ in range(200):
        source = int(rng.integers(mesh.tiles))
        tiles = np.flatnonzero(rng.random(mesh.tiles) < rng.choice([0.1, 0.5, 1.0])).tolist()
        route = mesh.route(source, mesh.destinations(tiles))
        ways = [walk(mesh, source, sink) for sink in tiles]
        assert route.links == frozenset(link for way in ways for link in way)
        assert route.hops == {sink: len(way) - 1 for sink, way in zip(tiles, ways, strict=True)}
        shared += sum(map(len, ways)) - len(route.links)
    assert shared > 0 or mesh.tiles == 1


@pytest.mark.parametrize(("columns", "rows"), SHAPES)
def test_masks_part_the_tiles(columns, rows):
    """Every destination is behind exactly one port, and a packet that enters by one port leaves by others."""
    mesh = MeshParameters(columns=columns, rows=rows)
    for tile in range(mesh.tiles):
        masks = {port: mesh.mask(tile, port) for port in mesh.ports(tile)}
        assert sum(masks.values()) == (1 << mesh.tiles) - 1
        assert sum(mask.bit_count() for mask in masks.values()) == mesh.tiles
        assert all(masks.values())
        for port in mesh.ports(tile):
            outside = mesh.arrivals(tile, port)
            assert outside & 1 << tile
            assert port is Port.LOCAL or not outside & masks[port]


def test_turns():
    """A router in the middle: rows are entered from the tile and from the row only."""
    mesh = MeshParameters(columns=4, rows=4)
    assert set(mesh.inputs(5, Port.EAST)) == {Port.LOCAL, Port.WEST}
    assert set(mesh.inputs(5, Port.WEST)) == {Port.LOCAL, Port.EAST}
    assert set(mesh.inputs(5, Port.NORTH)) == {Port.LOCAL, Port.EAST, Port.WEST, Port.SOUTH}
    assert set(mesh.inputs(5, Port.SOUTH)) == {Port.LOCAL, Port.EAST, Port.WEST, Port.NORTH}
    assert set(mesh.inputs(5, Port.LOCAL)) == set(Port)
    assert mesh.ports(0) == (Port.LOCAL, Port.EAST, Port.NORTH)
    assert MeshParameters(columns=1, rows=1).ports(0) == (Port.LOCAL,)


@pytest.mark.parametrize(("columns", "rows"), SHAPES)
def test_links_wait_for_each_other_in_no_circle(columns, rows):
    """The graph of links that can wait for each other is acyclic."""
    mesh = MeshParameters(columns=columns, rows=rows)
    behind = {}
    for tile in range(mesh.tiles):
        for port, neighbour in mesh.neighbours(tile).items():
            entry = port.opposite
            behind[tile, port] = {
                (neighbour, output) for output in mesh.ports(neighbour) if entry in mesh.inputs(neighbour, output)
            }
        behind[tile, Port.LOCAL] = set()
    while behind:
        free = {link for link, others in behind.items() if not others}
        assert free, "some link must wait for no other"
        behind = {link: others - free for link, others in behind.items() if link not in free}


def test_an_example_by_hand():
    """Tile 0 of 4 x 4 to tiles 1, 10 and 15: columns 1, 2 and 3, rows 0, 2 and 3."""
    mesh = MeshParameters(columns=4, rows=4)
    route = mesh.route(0, mesh.destinations([1, 10, 15]))
    assert route.hops == {1: 1, 10: 4, 15: 6}
    assert route.traffic == 3 + 2 + 3
    assert (1, Port.LOCAL) in route.links
    assert (2, Port.NORTH) in route.links
    assert (0, Port.NORTH) not in route.links


def test_no_destinations():
    route = MeshParameters().route(3, 0)
    assert (route.links, route.hops, route.traffic) == (frozenset(), {}, 0)


def test_loads_of_links():
    """All to all in a row of four tiles: the middle link carries the packets of two sources to two sinks."""
    mesh = MeshParameters(columns=4, rows=1)
    loads = mesh.link_loads(np.full((4, 4), 0.25))
    assert loads[1, Port.EAST] == loads[2, Port.WEST] == 1.0
    assert loads[0, Port.EAST] == loads[2, Port.EAST] == 0.75
    assert all(loads[tile, Port.LOCAL] == 1.0 for tile in range(4))


def test_places():
    mesh = MeshParameters(columns=3, rows=2)
    assert [mesh.place(tile) for tile in range(6)] == [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]
    assert [mesh.tile(*mesh.place(tile)) for tile in range(6)] == list(range(6))
    assert mesh.neighbours(1) == {Port.EAST: 2, Port.WEST: 0, Port.NORTH: 4}
    assert mesh.destinations([0, 5, 5]) == 0b100001


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": 0}, r"^columns must be an integer from 1 to 8, not 0$"),
        ({"rows": 9}, r"^rows must be an integer from 1 to 8, not 9$"),
        ({"rows": True}, r"^rows must be an integer from 1 to 8, not True$"),
        ({"payload_width": 0}, r"^payload_width must be an integer from 1 to 1024, not 0$"),
        ({"queue_depth": 3}, r"^queue_depth must be 0 or a power of two up to 1024, not 3$"),
        ({"queue_depth": -1}, r"^queue_depth must be 0 or a power of two up to 1024, not -1$"),
    ],
)
def test_bad_parameters(change, message):
    with pytest.raises(ValueError, match=message):
        MeshParameters(**change)


def test_bad_arguments():
    mesh = MeshParameters(columns=2, rows=2)
    with pytest.raises(ValueError, match=r"^source must be an integer from 0 to 3, not 4$"):
        mesh.route(4, 1)
    with pytest.raises(ValueError, match=r"^destinations must be an integer from 0 to 15, not 16$"):
        mesh.route(0, 16)
    with pytest.raises(ValueError, match=r"^tile must be an integer from 0 to 3, not 9$"):
        mesh.destinations([9])
    with pytest.raises(ValueError, match=r"^column must be an integer from 0 to 1, not 2$"):
        mesh.tile(2, 0)
    with pytest.raises(ValueError, match=r"^rates must be of shape \(4, 4\), not \(2, 2\)$"):
        mesh.link_loads(np.zeros((2, 2)))


@pytest.mark.parametrize(("name", "high"), [("columns", 8), ("rows", 8), ("payload_width", 1024)])
def test_bounds(name, high):
    assert_bounds(MeshParameters, name, 1, high)


def test_numbers_of_a_mesh_are_in_it():
    mesh = MeshParameters(columns=3, rows=2)
    for make, name, high, others in (
        (mesh.tile, "column", 2, {"row": 1}),
        (mesh.tile, "row", 1, {"column": 2}),
        (mesh.place, "tile", 5, {}),
        (mesh.route, "source", 5, {"destinations": 1}),
        (mesh.route, "destinations", 63, {"source": 0}),
        (lambda tile: mesh.destinations([tile]), "tile", 5, {}),
    ):
        assert_bounds(make, name, 0, high, **others)


def test_latency():
    """A cycle per output, of which there is one more than hops, and one per queue at an input."""
    assert [MeshParameters(queue_depth=0).latency(hops) for hops in (0, 1, 6)] == [1, 2, 7]
    for depth in (1, 2, 16):
        assert [MeshParameters(queue_depth=depth).latency(hops) for hops in (0, 1, 6)] == [2, 4, 14]


def test_counters_are_there_or_not():
    with pytest.raises(ValueError, match=r"^counters must be True or False, not 1$"):
        MeshParameters(counters=1)


def test_defaults():
    mesh = MeshParameters()
    assert (mesh.columns, mesh.rows, mesh.payload_width, mesh.queue_depth, mesh.counters) == (4, 4, 24, 2, False)
    assert MeshParameters(queue_depth=1024).queue_depth == 1024
    with pytest.raises(ValueError, match=r"^queue_depth must be 0 or a power of two up to 1024, not 2048$"):
        MeshParameters(queue_depth=2048)


@pytest.mark.parametrize(("columns", "rows"), SHAPES)
def test_all_destinations_behind_an_output_arrive_at_the_inputs_that_lead_there(columns, rows):
    mesh = MeshParameters(columns=columns, rows=rows)
    for tile in range(mesh.tiles):
        for output in set(mesh.ports(tile)) - {Port.LOCAL}:
            for entry in mesh.inputs(tile, output):
                assert mesh.mask(tile, output) & ~mesh.arrivals(tile, entry) == 0
