"""LUT RAM reads in the same cycle; a registered read follows one cycle later and can be held."""

from amaranth.hdl import Fragment, Module, Signal
from amaranth.lib.wiring import Component, In, Out
from amaranth.sim import Simulator
from harness.networks import rng_of

from spikeloom.hdl.tech.ram import DistributedMemory, block_memory, registered_read


def simulate(design, bench):
    simulator = Simulator(design)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_lut_ram_reads_at_once(request):
    rng = rng_of(request.node.name)
    memory, held, seen = DistributedMemory(5, 10), [0] * 10, set()

    async def bench(ctx):
        for _ in range(300):
            place, value, enable = int(rng.integers(10)), int(rng.integers(32)), int(rng.integers(2))
            ctx.set(memory.write_address, place)
            ctx.set(memory.write_data, value)
            ctx.set(memory.write_enable, enable)
            for address in range(10):
                ctx.set(memory.address, address)
                await ctx.delay(0)
                assert ctx.get(memory.data) == held[address]
                seen.add(held[address])
            if enable:
                held[place] = value
            await ctx.tick()

    simulate(memory, bench)
    assert len(seen) > 20


class Held(Component):
    """Six words that are read with an enable."""

    address: In(3)
    enable: In(1)
    data: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = block_memory(8, 6, (11, 22, 33, 44, 55, 66))
        m.d.comb += self.data.eq(registered_read(m, memory, self.address, enable=self.enable))
        return m


def test_a_registered_read_can_be_held(request):
    rng = rng_of(request.node.name)
    design, expected, held = Held(), None, 0

    async def bench(ctx):
        nonlocal expected, held
        for _ in range(200):
            address, enable = int(rng.integers(6)), int(rng.integers(2))
            ctx.set(design.address, address)
            ctx.set(design.enable, enable)
            if expected is not None:
                assert ctx.get(design.data) == expected
            held += not enable
            expected = (11, 22, 33, 44, 55, 66)[address] if enable else expected
            await ctx.tick()

    simulate(design, bench)
    assert 50 < held < 150


def test_the_register_of_a_read_has_no_reset():
    m = Module()
    memory = block_memory(8, 4)
    m.submodules.memory = memory
    assert registered_read(m, memory, Signal(2)).reset_less
    Fragment.get(m, None)  # a design that is never elaborated makes Amaranth warn, in whatever test runs then
