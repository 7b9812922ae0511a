"""Memories that the host loads byte by byte: whole words and parts of words, and what they hold from power-up."""

import gc
import re

import pytest
from amaranth.sim import Simulator
from harness.networks import rng_of

from spikeloom.hdl.lib.memory import LoadedMemory
from spikeloom.sim.core.parameters import Memory

WIDTH, DEPTH = 48, 20


def loaded(request, memory, *, first_plane=0):
    """Load random bytes, among those of other memories and of parts that are not here; then read all words."""
    rng = rng_of(request.node.name)
    dut = LoadedMemory(**memory)
    planes = len(dut.data) // 8
    held = [[0] * planes for _ in range(DEPTH)]
    words = []

    async def bench(ctx):
        load = dut.load
        for _ in range(600):
            number, plane = int(rng.choice([3, 3, 3, 2])), int(rng.integers(WIDTH // 8))
            index, value, enable = int(rng.integers(DEPTH)), int(rng.integers(256)), int(rng.random() < 0.8)
            for name, setting in (("memory", number), ("plane", plane), ("index", index), ("write_data", value)):
                ctx.set(getattr(load, name), setting)
            ctx.set(load.write_enable, enable)
            if number == 3 and enable and first_plane <= plane < first_plane + planes:
                held[index][plane - first_plane] = value
            await ctx.tick()
        ctx.set(load.write_enable, 0)
        await ctx.tick().repeat(3)
        for place in range(DEPTH + dut.latency):
            ctx.set(dut.address, min(place, DEPTH - 1))
            if place >= dut.latency:
                words.append(list(ctx.get(dut.data).to_bytes(planes, "little")))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert words == held
    assert sum(byte > 0 for word in held for byte in word) > 30


def test_whole_words(request):
    loaded(request, {"memory": Memory("table", 3, DEPTH, WIDTH)})


@pytest.mark.parametrize("part", [0, 1, 2])
def test_parts_of_words(request, part):
    loaded(request, {"memory": Memory("table", 3, DEPTH, WIDTH), "part": part, "parts": 3}, first_plane=2 * part)


def test_each_part_holds_its_bits_from_power_up():
    words = (0x111122223333, 0x444455556666)
    for part, expected in enumerate(([0x3333, 0x6666], [0x2222, 0x5555], [0x1111, 0x4444])):
        dut, found = LoadedMemory(Memory("table", 3, DEPTH, WIDTH, words), part=part, parts=3), []

        async def bench(ctx, dut=dut, found=found):
            for address in (0, 1):
                ctx.set(dut.address, address)
                await ctx.tick().repeat(dut.latency)
                found.append(ctx.get(dut.data))

        simulator = Simulator(dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(bench)
        simulator.run()
        assert found == expected


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_parts_must_be_whole_bytes():
    message = "parts must cut words of 48 bits into whole bytes, not 4"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        LoadedMemory(Memory("table", 3, DEPTH, WIDTH), parts=4)
    gc.collect()  # what was refused was never elaborated, of which Amaranth warns when it is collected: here
