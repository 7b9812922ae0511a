"""Meshes of many shapes against the model: each packet once at each destination, in order, under any stalls."""

import gc

import pytest
from amaranth.hdl import Module
from harness.mesh import Traffic, check, mesh_traffic, run_mesh
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.hdl.noc import mesh as mesh_module
from spikeloom.hdl.noc.mesh import Mesh
from spikeloom.sim.noc.mesh import MeshParameters


@pytest.mark.parametrize("depth", [0, 1, 2, 4])
@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (1, 3), (5, 1), (2, 2), (3, 2), (2, 4)])
def test_shapes(request, columns, rows, depth):
    rng = rng_of(request.node.name)
    mesh = MeshParameters(columns=columns, rows=rows, payload_width=12, queue_depth=depth)
    traffic = mesh_traffic(rng, mesh, 25)
    assert traffic.copies > 12 * mesh.tiles
    idle, stall = [(0.5, 0.2), (0.0, 0.6), (0.0, 0.0)][int(rng.integers(3))]
    check(run_mesh(Mesh(mesh), traffic, rng, idle=idle, stall=stall), traffic)


@pytest.mark.parametrize("depth", [0, 2])
def test_four_by_four(request, depth):
    rng = rng_of(request.node.name)
    mesh = MeshParameters(queue_depth=depth)
    traffic = mesh_traffic(rng, mesh, 12)
    assert traffic.copies > 500
    check(run_mesh(Mesh(mesh), traffic, rng, idle=0.0, stall=0.5), traffic)


@pytest.mark.parametrize("depth", [0, 1, 2, 4])
def test_latency_is_what_the_model_says(depth):
    """One multicast to all tiles from a corner of an empty mesh."""
    mesh = MeshParameters(columns=3, rows=3, payload_width=4, queue_depth=depth)
    words = [[5 | 0x1FF << 4]] + [[]] * 8
    run = run_mesh(Mesh(mesh), Traffic(words=words), rng_of("latency"), idle=0, stall=0)
    (_, taken), *_ = run.taken[0]
    hops = mesh.route(0, 0x1FF).hops
    assert {tile: cycle - taken for tile, cycle in enumerate(run.offered)} == {
        tile: mesh.latency(hops[tile]) for tile in range(9)
    }


def test_a_tile_that_takes_nothing_stops_only_what_needs_the_way(request):
    """Tile 0 never accepts: packets between others still arrive, and those for tile 0 wait from the end of its row."""
    rng = rng_of(request.node.name)
    mesh = MeshParameters(columns=2, rows=2, payload_width=12)

    class OneStuck(mesh_module.Mesh):
        def elaborate(self, platform):
            m = Module()
            m.submodules.mesh = inner = Mesh(self.parameters)
            for tile in range(4):
                for mine, its in ((self.i[tile], inner.i[tile]), (inner.o[tile], self.o[tile])):
                    stuck = tile == 0 and mine is not self.i[0]
                    m.d.comb += [
                        its.payload.eq(mine.payload),
                        its.valid.eq(0 if stuck else mine.valid),
                        mine.ready.eq(0 if stuck else its.ready),
                    ]
            return m

    # From 3 to 2 and 1, from 0 to 1, 2 and 3, while 2 sends one packet to 0.
    words = [[n | 0b1110 << 12 for n in range(20)], [], [1000 | 1 << 12], [n + 100 | 0b0110 << 12 for n in range(20)]]
    run = run_mesh(OneStuck(mesh), Traffic(words=words), rng)
    assert [len(given) for given in run.given] == [0, 40, 40, 20]


def test_tiles_that_are_exchanged_are_found(request):
    copy = mutated(mesh_module, "flipped(self.o[tile])", "flipped(self.o[tile ^ 1])")
    rng = rng_of(request.node.name)
    mesh = MeshParameters(columns=2, rows=2, payload_width=12)
    traffic = mesh_traffic(rng, mesh, 20)
    with pytest.raises(AssertionError):
        check(run_mesh(copy.Mesh(mesh), traffic, rng, timeout=2000), traffic)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_bad_parameters():
    with pytest.raises(TypeError, match=r"^parameters must be MeshParameters, not 16$"):
        Mesh(16)
    gc.collect()  # Amaranth warns when a refused design, never elaborated, is collected: do that here
