"""The AXI ports: registers and memories accessed by a bus master, packets as 64-bit words, and the protocol rules."""

import gc
from types import SimpleNamespace

import pytest
from amaranth.hdl import ClockSignal, DomainRenamer, Module, Value
from amaranth.sim import Simulator
from harness.core_ports import Packet, assert_equal_to_reference, bytes_of, run_steps
from harness.cores import TINY_PAIR
from harness.mutations import mutated
from harness.networks import random_network, random_spikes, rng_of

from spikeloom.compiler.place import place
from spikeloom.hdl.noc.packet import PacketKind
from spikeloom.hdl.top import axi
from spikeloom.hdl.top.axi import AxiConfiguration, AxiLifCore
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.core.registers import CORE
from spikeloom.sim.fabric.fabric import FabricConfig

SMALL = TINY_PAIR
MEMORY, PLANE, INDEX, DATA = 0x40, 0x44, 0x48, 0x4C
SLVERR = 2


def master(design, prefix=""):
    """The AXI4-Lite ports of ``design``, by their names."""
    names = ("aw", "w", "b", "ar", "r")
    ports = {n.removeprefix(prefix): getattr(design, n) for n in design.signature.members if n.startswith(prefix)}
    return SimpleNamespace(**{n: p for n, p in ports.items() if n.startswith(names) and n != "aclk"})


async def write(ctx, bus, address, value, rng, *, strobe=15, pauses=0.0):
    """A write whose address and data arrive in any order; returns the response."""
    ctx.set(bus.awaddr, address)
    ctx.set(bus.wdata, value)
    ctx.set(bus.wstrb, strobe)
    valids = [bus.awvalid, bus.wvalid]
    for valid in (valids[n] for n in rng.permutation(2)):
        ctx.set(valid, 1)
        if rng.random() < pauses:
            assert not ctx.get(bus.awready | bus.wready) or ctx.get(bus.awvalid & bus.wvalid)
            if not ctx.get(bus.awvalid & bus.wvalid):
                await ctx.tick("bus").repeat(int(rng.integers(1, 4)))
    await ctx.tick("bus").until(bus.awready & bus.wready)
    ctx.set(bus.awvalid, 0)
    ctx.set(bus.wvalid, 0)
    while not ctx.get(bus.bvalid):
        await ctx.tick("bus")
    while rng.random() < pauses:
        await ctx.tick("bus")
        assert ctx.get(bus.bvalid), "a response must stay until it is taken"
    response = ctx.get(bus.bresp)
    ctx.set(bus.bready, 1)
    await ctx.tick("bus")
    ctx.set(bus.bready, 0)
    return response


async def read(ctx, bus, address, rng, *, pauses=0.0):
    """A read; returns the response and the data."""
    ctx.set(bus.araddr, address)
    ctx.set(bus.arvalid, 1)
    await ctx.tick("bus").until(bus.arready)
    ctx.set(bus.arvalid, 0)
    while not ctx.get(bus.rvalid):
        await ctx.tick("bus")
    answer = ctx.get(bus.rresp), ctx.get(bus.rdata)
    while rng.random() < pauses:
        await ctx.tick("bus")
        assert (ctx.get(bus.rvalid), ctx.get(bus.rdata)) == (1, answer[1]), "data must stay until they are taken"
    ctx.set(bus.rready, 1)
    await ctx.tick("bus")
    ctx.set(bus.rready, 0)
    return answer


def check_configuration(slave, rng, *, accesses=320):
    """Random accesses to registers and memories, compared with a map of bytes behind the configuration port."""
    registers, stored = bytearray(64), []
    accessed, planes_of_registers = 0, set()
    port, bus = slave.configuration, master(slave)

    async def behind(ctx):
        sampled = (port.write_enable, port.memory, port.plane, port.index, port.write_data)
        async for _, _, enable, memory, plane, index, byte in ctx.tick("bus").sample(*sampled):
            ctx.set(port.read_data, registers[index] if memory == 0 and index < 64 else 0xEE)
            if enable and memory == 0 and index < 64:
                registers[index] = byte
                planes_of_registers.add((accessed < 64, plane))
            elif enable and memory:
                stored.append((memory, plane, index, byte))

    async def bench(ctx):
        nonlocal accessed
        model, place_, expected = bytearray(64), {MEMORY: 0, PLANE: 0, INDEX: 0}, []
        widths = {MEMORY: 4, PLANE: 10, INDEX: 18}
        unknown = reads = told = kept_bits = 0
        for _ in range(accesses):
            chance = rng.random()
            if chance < 0.3:
                address = int(rng.choice([0, 4, 36, 60]))
            elif chance < 0.7:
                address = int(rng.choice([rng.integers(16) * 4, MEMORY, PLANE, INDEX, DATA, 0x50, 0x7C]))
            else:
                address = DATA if place_[MEMORY] else MEMORY
            accessed = address
            if rng.random() < 0.3:
                response, value = await read(ctx, bus, address, rng, pauses=0.3)
                reads += 1
                if address < 64:
                    assert value == int.from_bytes(model[address : address + 4], "little")
                    told += len({*model[address : address + 4]}) == 4
                elif address in place_:
                    assert value == place_[address]
            else:
                value = int(rng.integers(1 << 32)) if address != MEMORY else int(rng.integers(1, 9))
                strobe = 15 if rng.random() < 0.6 else 1 if address in (PLANE, INDEX) else int(rng.integers(16))
                response = await write(ctx, bus, address, value, rng, strobe=strobe, pauses=0.3)
                kept = [n for n in range(4) if strobe >> n & 1]
                octets = value.to_bytes(4, "little")
                if address < 64:
                    for n in kept:
                        model[address + n] = octets[n]
                elif address in place_:
                    before = bytearray(place_[address].to_bytes(4, "little"))
                    kept_bits += 0 in kept and 1 not in kept and before[1] & 1
                    for n in kept:
                        before[n] = octets[n]
                    place_[address] = int.from_bytes(before, "little") & (1 << widths[address]) - 1
                elif address == DATA and 0 in kept:
                    if place_[MEMORY]:
                        expected.append((place_[MEMORY], place_[PLANE], place_[INDEX], octets[0]))
                    else:
                        model[place_[INDEX] : place_[INDEX] + 1] = octets[: place_[INDEX] < 64]
                    place_[INDEX] = (place_[INDEX] + 1) % (1 << 18)
            assert response == (0 if address < 0x50 else SLVERR)
            unknown += address >= 0x50
            assert registers == model
            assert stored == expected
        assert unknown > 3
        assert reads > 20
        assert told > 3, "registers whose four bytes differ are read"
        assert kept_bits > 1, "the first byte is written, and the bit behind it is 1"
        assert len(expected) > 10
        assert any(model)
        assert place_[PLANE]
        assert {plane for direct, plane in planes_of_registers if direct} == {0}

    simulator = Simulator(DomainRenamer("bus")(slave))
    simulator.add_clock(1e-6, domain="bus")
    simulator.add_testbench(bench)
    simulator.add_testbench(behind, background=True)
    simulator.run()


def test_registers_and_memories(request):
    check_configuration(AxiConfiguration(), rng_of(request.node.name))


class Ports:
    """The AXI4-Stream ports of a core."""

    def __init__(self, core):
        self.core = core

    async def exchange(self, ctx, offered, *, ready):
        core = self.core
        ctx.set(core.s_axis_tvalid, int(offered is not None))
        if offered is not None:
            low = offered.kind.value | offered.parity << 2 | offered.last << 3 | offered.axon << 8
            ctx.set(core.s_axis_tdata, low | (offered.value & 0xFFFFFFFF) << 32)
        ctx.set(core.m_axis_tready, int(ready))
        taken = offered is not None and ctx.get(core.s_axis_tready)
        packet = None
        if ready and ctx.get(core.m_axis_tvalid):
            word = ctx.get(core.m_axis_tdata)
            kind, value = PacketKind(word & 3), word >> 32
            assert ctx.get(core.m_axis_tlast) == (kind == PacketKind.TICK)
            assert word >> 4 & 15 == 0
            packet = Packet(
                kind, word >> 2 & 1, word >> 3 & 1, axon=word >> 8 & 0xFFFFFF, value=value - (value >> 31 << 32)
            )
        await ctx.tick("bus")
        return taken, packet


def test_a_word_is_a_packet(request):
    """Every field that the core receives, with the sign of its value, from its position in the word."""
    rng = rng_of(request.node.name)
    core = AxiLifCore(SMALL)
    given = core.core.i.payload

    async def bench(ctx):
        for _ in range(100):
            kind, parity, last = (int(rng.integers(most)) for most in (4, 2, 2))
            axon, number = (int(rng.integers(1 << len(field))) for field in (given.axon, given.value))
            value = number - (number >> len(given.value) - 1 << len(given.value))
            ctx.set(core.s_axis_tdata, kind | parity << 2 | last << 3 | axon << 8 | (value & 0xFFFFFFFF) << 32)
            found = [ctx.get(field) for field in (given.parity, given.last, given.axon, given.value)]
            assert (ctx.get(Value.cast(given.kind)), found) == (kind, [parity, last, axon, value])

    simulator = Simulator(core)
    simulator.add_testbench(bench)
    simulator.run()


def check_core(core, rng):
    """A network whose membranes are read out, loaded over the bus."""
    network = random_network(rng, SMALL, inputs=5, sizes=(4, 3), readout=True)
    program = place(network, FabricConfig(core=SMALL))
    spikes = random_spikes(rng, 4, 2, network.inputs)
    bus = master(core, "s_axi_")

    async def bench(ctx):
        ctx.set(core.aresetn, 0)
        await ctx.tick("bus").repeat(2)
        ctx.set(core.aresetn, 1)
        await ctx.tick("bus")
        at = None
        for memory, plane, index, byte in bytes_of(program):
            if memory == 0:
                await write(ctx, bus, index & ~3, byte << 8 * (index & 3), rng, strobe=1 << (index & 3))
                continue
            if at != (memory, plane, index):
                for address, value in ((MEMORY, memory), (PLANE, plane), (INDEX, index)):
                    await write(ctx, bus, address, value, rng)
            await write(ctx, bus, DATA, byte, rng)
            at = memory, plane, index + 1
        run = await run_steps(ctx, Ports(core), program, spikes, rng)
        assert_equal_to_reference(run, network, program, spikes)
        assert await read(ctx, bus, CORE.register("steps").offset, rng) == (0, 8)
        ctx.set(core.aresetn, 0)
        await ctx.tick("bus")
        ctx.set(core.aresetn, 1)
        assert await read(ctx, bus, CORE.register("steps").offset, rng) == (0, 0)

    m = Module()
    m.submodules.core = core
    m.d.comb += core.aclk.eq(ClockSignal("bus"))
    simulator = Simulator(m)
    simulator.add_clock(1e-6, domain="bus")
    simulator.add_testbench(bench)
    simulator.run()


def test_a_network_that_sends_membranes(request):
    check_core(AxiLifCore(SMALL), rng_of(request.node.name))


CONFIGURATION_BUGS = {
    "strobes": ("port.write_enable.eq(strobe[0] & (", "port.write_enable.eq(1 & ("),
    "the next index": ("m.d.sync += index.eq(index + 1)", "m.d.sync += index.eq(index)"),
    "more than a byte of data": ("(is_data & (byte == 0))", "is_data"),
    "unknown addresses": ("self.bresp.eq(~known << 1)", "self.bresp.eq(0)"),
    "a byte too early": ("with m.If(byte != 0):", "with m.If(byte != 4):"),
    "bytes from the last one": (
        "take five cycles.\n                m.d.sync += byte.eq(byte + 1)",
        "take five cycles.\n                m.d.sync += byte.eq(byte - 1)",
    ),
    "a response that is not waited for": ("with m.If(self.bready):", "with m.If(1):"),
}


@pytest.mark.parametrize("bug", CONFIGURATION_BUGS)
def test_a_planted_bug_in_the_configuration_is_found(bug):
    copy = mutated(axi, *CONFIGURATION_BUGS[bug])
    with pytest.raises(AssertionError):
        check_configuration(copy.AxiConfiguration(), rng_of(bug))


CORE_BUGS = {
    "sign": ("sign = value[-1] if value.shape().signed else Const(0)", "sign = Const(0)"),
    "the last packet of a step": ("taken.kind == PacketKind.TICK", "taken.kind == PacketKind.ACK"),
    "last": ("given.last.eq(source[3])", "given.last.eq(source[2])"),
    "reset": ("ResetSignal().eq(~self.aresetn)", "ResetSignal().eq(0)"),
}


@pytest.mark.parametrize("bug", CORE_BUGS)
def test_a_planted_bug_in_the_core_is_found(bug):
    copy = mutated(axi, *CORE_BUGS[bug])
    with pytest.raises(AssertionError):
        check_core(copy.AxiLifCore(SMALL), rng_of("test_a_network_that_sends_membranes"))


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_weights_in_sdram_are_refused():
    with pytest.raises(
        ValueError, match=r"^weight_memory must be 'block' or 'single-port' for a core with AXI ports, not 'sdram'$"
    ):
        AxiLifCore(CoreParameters(weight_memory="sdram"))
    gc.collect()  # Amaranth warns when a refused design, never elaborated, is collected: do that here
