"""Memories that the host loads byte by byte: whole words, parts of words, and initial content."""

import gc
import re

import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.lib import wiring
from amaranth.sim import Simulator
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.hdl.lib import memory as memory_module
from spikeloom.hdl.lib.memory import LoadedMemory, LoadFan, LoadPort, load_copies
from spikeloom.sim.core.parameters import Memory
from spikeloom.sim.lib.registers import READ_BACK_CYCLES

WIDTH, DEPTH = 48, 20


def loaded(request, memory, *, first_plane=0):
    """Load random bytes, among bytes for other memories and for nonexistent parts; then read all words."""
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


def test_columns_hold_every_fourth_word(request):
    """Four columns of a memory, loaded through the port of the whole memory, hold its words; so do initial contents."""
    rng = rng_of(request.node.name)
    initial = tuple(int(word) for word in rng.integers(1 << 16, size=DEPTH))
    memory = Memory("table", 3, DEPTH, 16, initial)
    m = Module()
    port = LoadPort(read_back=True).create()
    columns = [LoadedMemory(memory, column=column, columns=4, read_back=True) for column in range(4)]
    loads = LoadFan(m, wiring.flipped(port))
    for number, column in enumerate(columns):
        m.submodules[f"column{number}"] = column
        loads.connect(column.load)
    loads.finish()
    changed = {3: 0x1234, 6: 0xABCD, 16: 0x0F0E}

    async def bench(ctx):
        async def check(words):
            for index in range(DEPTH):
                ctx.set(columns[index % 4].address, index // 4)
                await ctx.tick().repeat(columns[0].latency)
                assert ctx.get(columns[index % 4].data) == words[index]
            ctx.set(port.memory, 3)
            ctx.set(port.reading, 1)
            for index in range(DEPTH):
                ctx.set(port.index, index)
                ctx.set(port.plane, index % 2)
                await ctx.tick().repeat(READ_BACK_CYCLES)
                assert ctx.get(port.read_data) == words[index] >> 8 * (index % 2) & 0xFF
            ctx.set(port.reading, 0)
            await ctx.tick().repeat(4)

        await check(initial)
        ctx.set(port.write_enable, 1)
        for index, word in changed.items():
            for plane in range(2):
                for name, setting in (("plane", plane), ("index", index), ("write_data", word >> 8 * plane & 0xFF)):
                    ctx.set(getattr(port, name), setting)
                await ctx.tick()
        ctx.set(port.write_enable, 0)
        await ctx.tick().repeat(3)
        await check([changed.get(index, word) for index, word in enumerate(initial)])

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize("columns", [3, 8])
def test_columns_must_divide_the_words(columns):
    message = f"columns must be a power of two that divides the {DEPTH} words among them, not {columns}"
    with pytest.raises(ValueError, match=f"^{message}$"):
        LoadedMemory(Memory("table", 3, DEPTH, WIDTH), columns=columns)
    gc.collect()  # as below


@pytest.mark.parametrize(("parts", "cycles"), [(1, 2), (2, 3)])
def test_a_byte_is_stored_after_the_next_cycle_and_one_later_in_a_slice(parts, cycles):
    dut = LoadedMemory(Memory("table", 3, DEPTH, WIDTH), parts=parts)
    seen = []

    async def bench(ctx):
        load = dut.load
        ctx.set(dut.address, 5)
        for name, setting in (("memory", 3), ("plane", 0), ("index", 5), ("write_data", 7), ("write_enable", 1)):
            ctx.set(getattr(load, name), setting)
        await ctx.tick()
        ctx.set(load.write_enable, 0)
        for _ in range(10):
            await ctx.tick()
            seen.append(ctx.get(dut.data))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    # It is read in the cycle after it is stored.
    assert seen.index(7) + 2 == cycles + dut.latency
    assert set(seen) == {0, 7}


READ_BACK = {
    "a last byte of 5 bits": (13, 20, {}),
    "slices": (48, 20, {"parts": 3, "part": 1}),
    "groups of bytes": (2400, 5, {"pipelined": True}),
    "deep slices": (128, 600, {"parts": 2, "part": 1, "pipelined": True}),
    "single port": (16, 40, {"single_port": True}),
}


def check_read_back(name, shape, module=memory_module):
    """Each byte is read correctly, whatever the tile's own address is; other memories and nonexistent planes read as 0.

    The tile stops reading now and then, while the host does not.
    """
    width, depth, options = READ_BACK[shape]
    rng = rng_of(name)
    dut = module.LoadedMemory(Memory("table", 3, depth, width), read_back=True, **options)
    parts = options.get("parts", 1)
    planes, first = -(-width // 8) // parts, -(-width // 8) // parts * options.get("part", 0)
    high = 0xFF >> -width % 8
    seen = []

    async def bench(ctx):
        load, held = dut.load, {}
        ctx.set(load.memory, 3)
        ctx.set(load.write_enable, 1)
        for plane in range(first, first + planes):
            for index in range(depth) if depth < 50 else (0, 77, depth - 1):
                held[index, plane] = int(rng.integers(256)) & (high if plane == -(-width // 8) - 1 else 0xFF)
                for name, value in (("plane", plane), ("index", index), ("write_data", held[index, plane])):
                    ctx.set(getattr(load, name), value)
                await ctx.tick()
        ctx.set(load.write_enable, 0)
        indices = sorted({index for index, _ in held})
        for _ in range(100):
            index, plane = int(rng.choice(indices)), int(rng.integers(max(0, first - 2), first + planes + 2))
            memory, reading = int(rng.choice([3, 3, 3, 2])), int(rng.random() < 0.9)
            for name, value in (("memory", memory), ("reading", reading), ("plane", plane), ("index", index)):
                ctx.set(getattr(load, name), value)
            ctx.set(dut.address, int(rng.choice(indices)))
            if not options.get("single_port"):
                ctx.set(dut.enable, int(rng.random() < 0.5))
                ctx.set(dut.output_enable, int(rng.random() < 0.5))
            # The other cycles are for the path to the memory and back.
            await ctx.tick().repeat(READ_BACK_CYCLES // 2)
            expected = held.get((index, plane), 0) if memory == 3 and reading else 0
            assert ctx.get(load.read_data) == expected, (index, plane)
            seen.append(expected)
        # When the host does not read it, the memory belongs to the tile.
        ctx.set(load.memory, 3)
        ctx.set(load.reading, 0)
        ctx.set(dut.enable, 1)
        ctx.set(dut.output_enable, 1)
        await ctx.tick().repeat(3)
        ctx.set(dut.address, indices[-1])
        await ctx.tick().repeat(dut.latency)
        word = sum(held[indices[-1], first + plane] << 8 * plane for plane in range(planes))
        assert ctx.get(dut.data) == word

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert 10 < sum(byte > 0 for byte in seen) < len(seen)


@pytest.mark.parametrize("shape", READ_BACK)
def test_words_are_read_back(request, shape):
    check_read_back(request.node.name, shape)


@pytest.mark.parametrize("count", [1, 2, 8])
def test_what_banks_read_back_is_combined_behind_a_register(count):
    """A single bank needs none."""
    m, load = Module(), LoadPort(read_back=True).create()
    m.domains.sync = ClockDomain()  # which nothing uses if there is one bank
    ports = load_copies(m, None, load, count)
    assert len(ports) == count

    async def bench(ctx):
        for number, port in enumerate(ports):
            ctx.set(port.read_data, 1 << number)
        together = (1 << count) - 1
        assert ctx.get(load.read_data) == (together if count == 1 else 0)
        await ctx.tick()
        assert ctx.get(load.read_data) == together

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


READ_BACK_BUGS = {
    "another byte lane": ("part.word_select(place, 8)", "part.word_select(place ^ 1, 8)", "slices"),
    "the lane of the whole word": ("eq(self.load.plane - self._first_plane)", "eq(self.load.plane)", "slices"),
    "every group": ("m.If(selected & (group == number))", "m.If(selected)", "groups of bytes"),
    "another group": ("(group == number)", "(group == number ^ 1)", "groups of bytes"),
    "the next word": ("eq(memory.write_address)", "eq(memory.write_address + 1)", "single port"),
    "the word before": ("eq(memory.write_address)", "eq(memory.write_address - 1)", "deep slices"),
    "the tile's word": ("m.d.comb += memory.address.eq(memory.write_address)", "pass", "deep slices"),
    "the last byte cut": (
        "memory.data, Const(0, ",
        "memory.data[: self._width // 8 * 8], Const(0, ",
        "a last byte of 5 bits",
    ),
    "the last byte shifted": (
        "Cat(memory.data, Const(0, 8 * planes - self._width))",
        "Cat(Const(0, 8 * planes - self._width), memory.data)",
        "a last byte of 5 bits",
    ),
    "the word that the tile holds": ("memory.enable.eq(1), ", "", "deep slices"),
    "the word at the output that the tile holds": (", memory.output_enable.eq(1)]", "]", "deep slices"),
    "a word of another memory": (
        "addressed = enable & (self.load.memory == self._number)",
        "addressed = enable",
        "slices",
    ),
    "a word without being asked": ("self._is_addressed(self.load.reading)", "self._is_addressed(Const(1))", "slices"),
    "the byte of the time before": ("m.d.sync += self.load.read_data.eq(0)", "pass", "slices"),
}


@pytest.mark.parametrize("bug", READ_BACK_BUGS)
def test_planted_bugs_in_reading_back_are_found(bug):
    old, new, shape = READ_BACK_BUGS[bug]
    with pytest.raises(AssertionError):
        check_read_back(bug, shape, mutated(memory_module, old, new))


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
@pytest.mark.parametrize(("width", "parts"), [(48, 4), (24, 2)])
def test_parts_must_be_whole_bytes(width, parts):
    message = f"parts must cut words of {width} bits into whole bytes, not {parts}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        LoadedMemory(Memory("table", 3, DEPTH, width), parts=parts)
    gc.collect()  # Amaranth warns when a refused design, never elaborated, is collected: do that here
