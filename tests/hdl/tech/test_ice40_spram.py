"""Single-port memories give the same words as simulated block RAM and as the RAM cells of an iCE40 UP5K."""

import itertools

import pytest
from amaranth.hdl import Cat, Fragment, Module, Signal, Value, unsigned
from amaranth.lib.memory import Memory
from amaranth.sim import Simulator
from harness.networks import rng_of

from spikeloom.hdl.tech.ice40_spram import SinglePortMemory

SHAPES = [(8, 300), (16, 16384), (24, 16384), (32, 20000), (12, 65536)]


class Up5k:
    """The platform as the boards' build passes it."""

    family = "iCE40"
    device = "iCE40UP5K"


def cell(kind, **ports):
    """The RAM cell as described by Lattice (FPGA-TN-02022): four write enables of a nibble each, no read during a
    write."""
    assert kind == "SB_SPRAM256KA"
    constants = {"i_CHIPSELECT": 1, "i_STANDBY": 0, "i_SLEEP": 0, "i_POWEROFF": 1}
    assert {name: ports[name].value for name in constants} == constants
    m = Module()
    m.submodules.memory = memory = Memory(shape=unsigned(16), depth=1 << 14, init=[])
    write, read = memory.write_port(granularity=4), memory.read_port(domain="comb")
    assert [len(Value.cast(ports[name])) for name in ("i_ADDRESS", "i_DATAIN", "i_MASKWREN")] == [14, 16, 4]
    m.d.comb += [
        write.addr.eq(ports["i_ADDRESS"]),
        read.addr.eq(ports["i_ADDRESS"]),
        write.data.eq(ports["i_DATAIN"]),
        write.en.eq(Cat(bit & ports["i_WREN"] for bit in ports["i_MASKWREN"])),
    ]
    unknown = Signal(16, init=0xAAAA)
    m.d.sync += [unknown.eq(~unknown), ports["o_DATAOUT"].eq(read.data)]
    with m.If(ports["i_WREN"]):
        m.d.sync += ports["o_DATAOUT"].eq(unknown)
    return m


@pytest.mark.parametrize(
    ("shape", "cells"), [*itertools.product(SHAPES, (True, False))], ids=lambda value: str(value).replace(" ", "")
)
def test_words_come_back(shape, cells, monkeypatch, request):
    """Bytes are written at random, then read: each word comes `latency` cycles after its address."""
    rng = rng_of(request.node.name)
    width, depth = shape
    memory = SinglePortMemory(width, depth)
    assert memory.latency == (2 if depth <= 16384 else 3)
    planes = -(-width // 8)
    # Where there are several blocks, some addresses differ in the number of the block only.
    addresses = [int(a) for a in rng.choice(depth, 60, replace=False)]
    if depth > 16384:
        low = [int(a) for a in rng.choice(depth % 16384 or 16384, 10, replace=False)]
        twins = [at for a in low for at in range(a, depth, 16384)]
        addresses = list(dict.fromkeys([*twins, *addresses]))[:60]
        assert sum(a % 16384 == b % 16384 for a, b in itertools.combinations(addresses, 2)) >= 10
    words = dict.fromkeys(addresses, 0)

    async def bench(ctx):
        writes = [(address, (1 << planes) - 1) for address in words]
        writes += [
            (addresses[int(place)], int(enable)) for place, enable in rng.integers(0, [60, 1 << planes], (99, 2))
        ]
        for address, enable in writes:
            value = int(rng.integers(0, 1 << width))
            ctx.set(memory.write_address, address)
            ctx.set(memory.write_data, value)
            ctx.set(memory.write_enable, enable)
            ctx.set(memory.address, int(rng.integers(depth)))
            await ctx.tick()
            mask = sum(0xFF << 8 * plane for plane in range(planes) if enable >> plane & 1) & ((1 << width) - 1)
            words[address] = (words[address] & ~mask) | (value & mask)
        ctx.set(memory.write_enable, 0)
        for place in range(60 + memory.latency):
            if place < 60:
                ctx.set(memory.address, addresses[place])
            if place >= memory.latency:
                assert ctx.get(memory.data) == words[addresses[place - memory.latency]]
            await ctx.tick()

    made = []
    monkeypatch.setattr(
        "spikeloom.hdl.tech.ice40_spram.Instance", lambda kind, **ports: made.append(1) or cell(kind, **ports)
    )
    simulator = Simulator(Fragment.get(memory, Up5k() if cells else None))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert len(made) == (-(-width // 16) * -(-depth // 16384) if cells else 0)
    assert len(set(words.values())) > 30
