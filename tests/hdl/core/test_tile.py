"""The core as a tile: its program, its counters, and the effects of clear and reset."""

import pytest
from amaranth.sim import Simulator
from harness.core_ports import Packet, assert_equal_to_reference, bytes_of, run_steps
from harness.cores import TINY_PAIR
from harness.engine import expected_words
from harness.mutations import mutated
from harness.networks import random_network, random_spikes, rng_of

from spikeloom.compiler.place import place
from spikeloom.hdl.core import tile
from spikeloom.hdl.core.tile import LifCore
from spikeloom.hdl.noc.packet import PacketKind
from spikeloom.sim.core.registers import CORE, COUNTERS
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.reference import simulate

SMALL = TINY_PAIR


class Ports:
    """The ports of a tile."""

    def __init__(self, core):
        self.core = core
        self.steps = 0
        self.sent = 0

    async def exchange(self, ctx, offered, *, ready):
        core = self.core
        ctx.set(core.i.valid, int(offered is not None))
        if offered is not None:
            ctx.set(core.i.payload, vars(offered))
        ctx.set(core.o.ready, int(ready))
        taken = offered is not None and ctx.get(core.i.ready)
        packet = None
        if ready and ctx.get(core.o.valid):
            packet = Packet(**{name: ctx.get(getattr(core.o.payload, name)) for name in vars(Packet(PacketKind.SPIKE))})
        self.steps += ctx.get(core.step_done)
        await ctx.tick()
        return taken, packet

    async def write(self, ctx, memory, plane, index, byte):
        port = self.core.configuration
        for name, value in zip(
            ("memory", "plane", "index", "write_data", "write_enable"), (memory, plane, index, byte, 1), strict=True
        ):
            ctx.set(getattr(port, name), value)
        await ctx.tick()
        ctx.set(port.write_enable, 0)

    async def read(self, ctx, name):
        register, octets = CORE.register(name), []
        ctx.set(self.core.configuration.memory, 0)
        for place_ in range(register.offset, register.offset + register.size):
            ctx.set(self.core.configuration.index, place_)
            await ctx.tick()
            octets.append(ctx.get(self.core.configuration.read_data))
        return int.from_bytes(bytes(octets), "little")


def check(core, rng):
    """Three runs: of a loaded program, of the same program after each kind of clear in the middle of a step, and after
    a reset without a program."""
    network = random_network(rng, SMALL, inputs=6, sizes=(5, 4))
    program = place(network, FabricConfig(core=SMALL))
    ports = Ports(core)

    async def bench(ctx):
        for write in bytes_of(program):
            await ports.write(ctx, *write)
        await ctx.tick().repeat(3)
        for number in range(3):
            spikes = random_spikes(rng, 4, 2, network.inputs)
            ports.steps = 0
            run = await run_steps(ctx, ports, program, spikes, rng)
            assert_equal_to_reference(run, network, program, spikes)
            await ctx.tick().repeat(40)
            assert ctx.get(core.o.valid) == 0
            counted = {name: await ports.read(ctx, name) for name in COUNTERS}
            assert await ports.read(ctx, "status") == 1, "idle"
            assert counted["steps"] == ports.steps == 8
            assert counted["spikes"] >= len(run.spikes)
            reference = simulate(network, spikes, record=[p.name for p in network.populations])
            assert counted["words"] == expected_words(network, SMALL, spikes, reference)
            assert 0 < counted["words"] <= counted["waiting_cycles"] < counted["busy_cycles"]
            assert 0 < counted["sweep_cycles"] < counted["busy_cycles"]
            # A spike of a step that does not end: a clear must discard it, and all states and counts.
            axon = int(program.input_axons[0])
            for _ in range(2):
                await ports.exchange(ctx, Packet(PacketKind.SPIKE, axon=axon, value=1), ready=False)
            ctx.set(core.i.valid, 0)
            await ctx.tick().repeat(8)
            if number == 0:
                await ports.write(ctx, 0, 0, CORE.register("control").offset, 1)
            else:
                signal = core.clear if number == 1 else core.reset
                ctx.set(signal, 1)
                await ctx.tick()
                ctx.set(signal, 0)
            await ctx.tick().repeat(2 * SMALL.words + 8)
            assert [await ports.read(ctx, name) for name in COUNTERS if name != "busy_cycles"] == [0] * 5
        # The reset has cleared `sources`, so no step begins.
        taken, _ = await ports.exchange(ctx, Packet(PacketKind.TICK, last=1), ready=True)
        assert taken
        for _ in range(60):
            assert await ports.exchange(ctx, None, ready=True) == (False, None)
        assert await ports.read(ctx, "steps") == 0

    simulator = Simulator(core)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_a_program_runs_and_is_counted(request):
    check(LifCore(SMALL), rng_of(request.node.name))


BUGS = {
    "control": ("self.clear | registers.control", "self.clear"),
    "clear": ("self.reset | self.clear | registers", "self.reset | registers"),
    "registers after a reset": ("ResetInserter(self.reset)(registers)", "registers"),
    "counters after a clear": (
        "with m.If(restart):\n                m.d.sync += [count",
        "with m.If(0):\n                m.d.sync += [count",
    ),
    "what is counted": ("(registers.words, engine.word_added)", "(registers.words, engine.step_done)"),
    "idle": ("registers.status.eq(engine.idle)", "registers.status.eq(~engine.idle)"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug):
    copy = mutated(tile, *BUGS[bug])
    with pytest.raises(AssertionError):
        check(copy.LifCore(SMALL), rng_of("test_a_planted_bug_is_found"))
