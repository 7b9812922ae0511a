"""One router against the model: every position in a mesh, every depth, random pauses and stalls, throughput."""

import gc

import pytest
from amaranth.sim import Simulator
from harness.mesh import Traffic, check, router_traffic, run_router
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.hdl.lib import arbiter as arbiter_module
from spikeloom.hdl.lib import fifo as fifo_module
from spikeloom.hdl.noc import router as router_module
from spikeloom.hdl.noc.router import Router
from spikeloom.sim.noc.mesh import MeshParameters, Port

PLACES = [(1, 1, 0), (1, 4, 0), (1, 4, 2), (4, 1, 1), (4, 1, 3), (2, 2, 3), (4, 4, 0), (4, 4, 5), (4, 4, 7), (3, 5, 13)]


@pytest.mark.parametrize("depth", [0, 1, 2, 4, 16])
@pytest.mark.parametrize(("columns", "rows", "tile"), PLACES)
def test_every_place(request, columns, rows, tile, depth):
    rng = rng_of(request.node.name)
    mesh = MeshParameters(columns=columns, rows=rows, payload_width=int(rng.choice([9, 24])), queue_depth=depth)
    for idle, stall in ((0.3, 0.3), (0.0, float(rng.choice([0, 0.7])))):
        traffic = router_traffic(rng, mesh, tile, 40)
        assert traffic.copies > 10
        check(run_router(Router(mesh, tile), traffic, rng, idle=idle, stall=stall), traffic)


@pytest.mark.parametrize("depth", [0, 1, 2, 4])
def test_a_packet_a_cycle_on_every_port_at_once(request, depth):
    """Five streams that do not meet: straight through rows and columns, and from the tile to itself."""
    mesh = MeshParameters(queue_depth=depth)
    tile, count = 5, 60
    targets = {Port.LOCAL: 5, Port.EAST: 4, Port.WEST: 7, Port.NORTH: 1, Port.SOUTH: 13}
    words = [[n | 1 << targets[port] + 24 for n in range(count)] for port in mesh.ports(tile)]
    run = run_router(Router(mesh, tile), Traffic(words=words), rng_of(request.node.name), idle=0, stall=0)
    for given in run.given:
        assert len(given) == count
        assert given[-1][1] - given[0][1] == count - 1
    assert {given[0][1] for given in run.given} == {mesh.latency(0)}


@pytest.mark.parametrize("depth", [0, 1, 2, 4])
def test_a_multicast_a_cycle(request, depth):
    """One stream that leaves by every port."""
    mesh = MeshParameters(queue_depth=depth)
    words = [[n | 0xFFFF << 24 for n in range(60)], [], [], [], []]
    run = run_router(Router(mesh, 5), Traffic(words=words), rng_of(request.node.name), idle=0, stall=0)
    for given in run.given:
        assert [cycle for _, cycle in given] == list(range(mesh.latency(0), mesh.latency(0) + 60))


@pytest.mark.parametrize("depth", [0, 1, 2, 4])
def test_inputs_that_want_the_same_output_take_turns(request, depth):
    """Five streams to the tile: it receives one packet per cycle, every fifth one from the same stream."""
    mesh = MeshParameters(queue_depth=depth)
    words = [[number << 16 | n | 1 << 24 + 5 for n in range(30)] for number in range(5)]
    run = run_router(Router(mesh, 5), Traffic(words=words), rng_of(request.node.name), idle=0, stall=0)
    (given,) = [given for given in run.given if given]
    assert [cycle for _, cycle in given] == list(range(mesh.latency(0), mesh.latency(0) + 150))
    for start in range(0, 150, 5):
        assert {word >> 16 for word, _ in given[start : start + 5]} == set(range(5))


@pytest.mark.parametrize("depth", [0, 2])
def test_branches_do_not_wait_for_each_other(depth):
    """The east is blocked: branches to the north and south still leave, as far as the queue allows."""
    mesh = MeshParameters(queue_depth=depth)
    router = Router(mesh, 5)
    words = [n | (1 << 6 | 1 << 9 | 1 << 1) << 24 for n in range(20)]
    given = {port: [] for port in mesh.ports(5)}

    async def clock(ctx):
        sent = 0
        for cycle in range(120):
            blocked = cycle < 60
            for port in mesh.ports(5):
                ctx.set(getattr(router, f"{port.value}_o").ready, not (blocked and port is Port.EAST))
            ctx.set(router.local_i.valid, sent < 20)
            if sent < 20:
                ctx.set(router.local_i.payload.as_value(), words[sent])
                sent += ctx.get(router.local_i.ready)
            for port in given:
                output = getattr(router, f"{port.value}_o")
                if ctx.get(output.valid & output.ready):
                    given[port].append(cycle)
            await ctx.tick()

    simulator = Simulator(router)
    simulator.add_clock(1e-6)
    simulator.add_testbench(clock)
    simulator.run()
    early = {port: sum(cycle < 60 for cycle in cycles) for port, cycles in given.items()}
    # One packet waits in the register of the east port, the next one in the queue: its other branches have left.
    assert (early[Port.EAST], early[Port.NORTH], early[Port.SOUTH]) == (0, 2, 2)
    assert {port: len(cycles) for port, cycles in given.items() if cycles} == {
        Port.EAST: 20,
        Port.NORTH: 20,
        Port.SOUTH: 20,
    }


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_bad_parameters():
    with pytest.raises(TypeError, match=r"^parameters must be MeshParameters, not 4$"):
        Router(4, 0)
    with pytest.raises(ValueError, match=r"^tile must be an integer from 0 to 15, not 16$"):
        Router(MeshParameters(), 16)
    gc.collect()  # Amaranth warns when a refused design, never elaborated, is collected: do that here


MUTATIONS = {
    "gone with the first branch": (
        router_module,
        "done.eq(~entry.left.any())",
        "done.eq(~entry.left.all())",
    ),
    "a branch goes twice": (router_module, "Mux(done, arriving, entry.left)", "Mux(done, arriving, entry.pending)"),
    "a branch counts as gone when its output is not free": (router_module, " & free[port])", ")"),
    "an output overwrites its packet": (router_module, "free.eq(~outgoing.valid | outgoing.ready)", "free.eq(1)"),
    "a branch too many": (
        router_module,
        "self.parameters.mask(self.tile, output) & entry.arrivals)).any()",
        "entry.arrivals)).any()",
    ),
    "a destination is lost on the way": (
        router_module,
        "return self.front.destinations[self.kept.index(bit)]",
        "return self.front.destinations[self.kept.index(bit)] & (bit != self.kept[-1])",
    ),
    "two words exchanged": (router_module, "Mux(odd, words[1], words[0])", "Mux(odd, words[0], words[1])"),
    "a later pair exchanged": (
        router_module,
        "words[number + 1][bit], words[number][bit]",
        "words[number][bit], words[number + 1][bit]",
    ),
    "the first table is not told": (router_module, "Mux(beyond, odd.replicate(width),", "Mux(0, odd.replicate(width),"),
    "two grants": (arbiter_module, "granted = granted & ~other", "granted = granted"),
    "a queue takes what it has no room for": (fifo_module, "self.i.ready.eq(~full)", "self.i.ready.eq(1)"),
    "a queue forgets that it holds a word": (fifo_module, "self.o.valid.eq(push | more |", "self.o.valid.eq(push |"),
    "a queue gives the word behind": (fifo_module, "read.addr.eq(first)", "read.addr.eq(second)"),
    "the following word comes from the wrong place": (fifo_module, "Mux(more, ahead.data", "Mux(0, ahead.data"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(monkeypatch, mutation):
    module, old, new = MUTATIONS[mutation]
    copy = mutated(module, old, new)
    router_class = Router
    if module is router_module:
        router_class = copy.Router
    else:
        name = {arbiter_module: "RoundRobinArbiter", fifo_module: "Fifo"}[module]
        monkeypatch.setattr(router_module, name, getattr(copy, name))
    mesh = MeshParameters()
    for case in range(4):
        rng = rng_of(f"{mutation} {case}")
        traffic = router_traffic(rng, mesh, 5, 40)
        try:
            check(run_router(router_class(mesh, 5), traffic, rng, timeout=2000), traffic)
        except AssertionError:
            return
    pytest.fail(f"the planted bug in {mutation!r} must be found")
