"""The byte memory: written bytes are read one cycle after the address; and its initial content."""

from amaranth.sim import Simulator
from harness.networks import rng_of

from spikeloom.hdl.lib.byte_memory import ByteMemory


def test_bytes_come_back_a_cycle_later(request):
    rng = rng_of(request.node.name)
    memory = ByteMemory(32, bytes(range(100, 120)))
    held = [*range(100, 120), *[0] * 12]
    read = []

    async def bench(ctx):
        expected = None
        for _ in range(400):
            write, address = (int(place) for place in rng.integers(0, 32, 2))
            enable, value = bool(rng.integers(2)), int(rng.integers(256))
            address = (write + 1) % 32 if enable and address == write else address  # such a read is undefined
            ctx.set(memory.write_enable, enable)
            ctx.set(memory.write_address, write)
            ctx.set(memory.write_data, value)
            ctx.set(memory.address, address)
            if expected is not None:
                assert ctx.get(memory.data) == expected
                read.append(expected)
            expected = held[address]
            if enable:
                held[write] = value
            await ctx.tick()

    simulator = Simulator(memory)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert len(set(read)) > 100
