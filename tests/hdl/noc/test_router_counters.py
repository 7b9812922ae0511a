"""Counters of a router: every packet and wait is counted at its port, whenever the host reads or clears."""

import pytest
from amaranth.sim import Simulator
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.hdl.noc import router_counters
from spikeloom.hdl.noc.router_counters import RouterCounters
from spikeloom.sim.noc.mesh import MeshParameters, Port
from spikeloom.sim.noc.registers import ROUTER, ROUTER_MEMORY

MESH = MeshParameters(columns=3, rows=3)
CORNER, MIDDLE = MESH.ports(0), MESH.ports(4)
BEHIND = 2
"""Cycles from an event to its count: one to a register, one for the addition."""


def check(counters, rng, *, cycles=300, clears=3):
    """Compare the counters read by the host with random events."""
    ports = counters.ports
    happened = {f"{port.value}_{name}": [] for port in ports for name in ("packets", "waits")}
    clear_at = set(rng.choice(cycles // 2, clears, replace=False).tolist())

    async def read(ctx, register):
        """Read byte after byte, as the host does, each a cycle after its address."""
        octets = []
        ctx.set(counters.configuration.memory, ROUTER_MEMORY)
        for place in range(register.offset, register.offset + register.size):
            ctx.set(counters.configuration.index, place)
            await ctx.tick()
            octets.append(ctx.get(counters.configuration.read_data))
        return int.from_bytes(bytes(octets), "little")

    async def clock(ctx):
        for cycle in range(cycles):
            moved, waiting = (int(bits) for bits in rng.integers(1 << len(ports), size=2))
            ctx.set(counters.moved, moved)
            ctx.set(counters.waiting, waiting)
            ctx.set(counters.clear, int(cycle in clear_at))
            for name, bits in (("packets", moved), ("waits", waiting)):
                for number, port in enumerate(ports):
                    happened[f"{port.value}_{name}"].append(bits >> number & 1)
            await ctx.tick()
        ctx.set(counters.moved, 0)
        ctx.set(counters.waiting, 0)
        await ctx.tick().repeat(BEHIND)
        # A clear also discards the contents of the counters and the events that reach them in that cycle.
        first = max(clear_at) if clear_at else 0
        for register in ROUTER.registers:
            expected = sum(happened.get(register.name, [])[first:])
            assert await read(ctx, register) == expected, register.name
            if register.name in happened:
                assert 0 < expected < cycles
        ctx.set(counters.configuration.memory, 0)
        await ctx.tick()
        assert ctx.get(counters.configuration.read_data) == 0, "other memories are not its own"

    simulator = Simulator(counters)
    simulator.add_clock(1e-6)
    simulator.add_testbench(clock)
    simulator.run()


@pytest.mark.parametrize("ports", [CORNER, MIDDLE], ids=["corner", "middle"])
@pytest.mark.parametrize("clears", [0, 3])
def test_every_event_is_counted(request, ports, clears):
    assert {len(CORNER), len(MIDDLE)} == {3, len(Port)}
    check(RouterCounters(ports), rng_of(request.node.name), clears=clears)


def test_more_than_a_byte_of_events(request):
    check(RouterCounters(CORNER), rng_of(request.node.name), cycles=1500, clears=0)


BUGS = {
    "packets for waits": ('("waits", self.waiting)', '("waits", self.moved)'),
    "the first port for all": ("count + counted[number]", "count + counted[0]"),
    "a clear is ignored": ("Mux(self.clear, 0, count", "Mux(0, 0, count"),
    "narrow counters": ("count = Signal(32,", "count = Signal(7,"),
    "the wrong register": ('f"{port.value}_{name}").eq(count)', 'f"{self.ports[0].value}_{name}").eq(count)'),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug):
    copy = mutated(router_counters, *BUGS[bug])
    with pytest.raises(AssertionError):
        check(copy.RouterCounters(CORNER), rng_of(bug), clears=0 if "narrow" in bug else 3)
