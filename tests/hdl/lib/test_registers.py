"""A bank of registers: bytes written and read by the host, pulses, initial values, and unused addresses."""

from amaranth.sim import Simulator
from harness.networks import rng_of

from spikeloom.hdl.lib.registers import RegisterBank
from spikeloom.sim.core.registers import CORE
from spikeloom.sim.lib.contents import Contents


def test_every_register_of_a_core(request):
    rng = rng_of(request.node.name)
    bank = RegisterBank(CORE, Contents(registers={"sources": 5}))
    port = bank.configuration

    async def write(ctx, index, value, memory=0):
        ctx.set(port.memory, memory)
        ctx.set(port.index, index)
        ctx.set(port.write_data, value)
        ctx.set(port.write_enable, 1)
        await ctx.tick()
        ctx.set(port.write_enable, 0)

    async def read(ctx, index, memory=0):
        ctx.set(port.memory, memory)
        ctx.set(port.index, index)
        await ctx.tick()
        return ctx.get(port.read_data)

    async def bench(ctx):
        assert ctx.get(bank.sources) == 5
        memory = CORE.register_memory
        for register in CORE.registers:
            data = rng.integers(0, 256, register.size).tolist()
            value = int.from_bytes(bytes(data), "little") & ((1 << register.width_bits) - 1)
            if register.writable:
                for place, byte in enumerate(data):
                    await write(ctx, register.offset + place, byte, memory + 1)  # another memory: nothing happens
                    await write(ctx, register.offset + place + (1 << 12), byte, memory)
                before = 5 if register.name == "sources" else register.reset
                assert ctx.get(getattr(bank, register.name)) == before
                for place, byte in enumerate(data):
                    await write(ctx, register.offset + place, byte, memory)
                if register.access == "pulse":
                    assert ctx.get(getattr(bank, register.name)) == value
                    await ctx.tick()
                    assert ctx.get(getattr(bank, register.name)) == register.reset
                    continue
                assert ctx.get(getattr(bank, register.name)) == value
            else:
                ctx.set(getattr(bank, register.name), value)
            found = [await read(ctx, register.offset + place, memory) for place in range(register.size)]
            wanted = value if register.readable else 0
            assert int.from_bytes(bytes(found), "little") == wanted, register.name
            assert await read(ctx, register.offset, memory + 1) == 0

    simulator = Simulator(bank)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    kinds = {register.access for register in CORE.registers}
    assert {"read", "write"} <= kinds
