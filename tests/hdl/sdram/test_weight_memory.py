"""Weight memory with a chip model behind an asynchronous clock: rows, loading, read-back, checksum, self-test, size."""

import dataclasses

import pytest
from harness.networks import rng_of
from harness.weight_memory import BUSY, BUSY_32, LARGE, MemoryBench

from spikeloom.sim.sdram.commands import SdramCommand
from spikeloom.sim.sdram.weights import WeightMemoryParameters, checksum

ROWS = 24
# Several words per burst, one, and several bursts per word; widths that are no power of two; both widths of chips.
CASES = {
    "8 bits": (BUSY, 8, 60e6, {"idle": 0.2, "stall": 0.3}),
    "20 bits": (BUSY, 20, 77e6, {"idle": 0.0, "stall": 0.0}),
    "64 bits": (BUSY, 64, 60e6, {"long_stall": 1000}),
    "12 bits of 64": (BUSY_32, 12, 83e6, {"stall": 0.8}),
    "128 bits, 32 bits wide": (BUSY_32, 128, 60e6, {"idle": 0.7}),
}


def parameters_of(sdram, word_bits):
    return WeightMemoryParameters(sdram=sdram, word_bits=word_bits, words=1 << 12, row_words=20)


SLOW = ("20 bits", "128 bits, 32 bits wide")


@pytest.mark.parametrize("case", [pytest.param(case, marks=pytest.mark.slow if case in SLOW else ()) for case in CASES])
def test_rows_after_loading(request, case):
    """Bytes are loaded without a pause; read back, checked and streamed they are the same."""
    rng = rng_of(request.node.name)
    sdram, word_bits, core_hz, pace = CASES[case]
    p = parameters_of(sdram, word_bits)
    bench = MemoryBench(p, core_hz=core_hz, chip=LARGE if sdram is BUSY else None)
    count = 1200 // p.word_bytes
    image = rng.bytes(count * p.word_bytes)
    words = [
        int.from_bytes(image[start : start + p.word_bytes], "little") & (1 << word_bits) - 1
        for start in range(0, len(image), p.word_bytes)
    ]
    rows = []
    for _ in range(ROWS):
        address = int(rng.integers(count))
        rows.append((address, int(rng.integers(min(20, count - address)))))

    async def testbench(ctx):
        await bench.tested(ctx)
        await bench.write_bytes(ctx, 0, image)
        await ctx.tick().repeat(20)
        place = int(rng.integers(len(image) - 9))
        assert await bench.read_bytes(ctx, place, 9) == image[place : place + 9]
        bursts = len(image) // sdram.burst_bytes
        assert await bench.checksum(ctx, 0, bursts) == checksum(image)
        assert await bench.checksum(ctx, 3, 70) == checksum(image[3 * sdram.burst_bytes : 73 * sdram.burst_bytes])
        found = await bench.read_rows(ctx, rows, rng, **pace)
        assert found == [words[address : address + length + 1] for address, length in rows]
        assert await bench.status(ctx) == {"tested"}
        assert await bench.read_register(ctx, "larger") == (1 if sdram is BUSY else 0)

    bench.run(testbench)
    assert bench.device.counts[SdramCommand.REFRESH] > 8 + 20
    assert len({length for _, length in rows}) > 3


def test_a_clear_in_the_middle_of_rows(request):
    """Bursts of forgotten rows are dropped; the rows after the clear get their own words."""
    rng = rng_of(request.node.name)
    for word_bits in (8, 128):
        p = parameters_of(BUSY, word_bits)
        bench = MemoryBench(p)
        image = rng.bytes(64 * p.word_bytes)
        seen = []

        async def testbench(ctx, p=p, bench=bench, image=image, seen=seen):
            memory = bench.memory
            await bench.tested(ctx)
            await bench.write_bytes(ctx, 0, image)
            for delay in (1, 2, 9, 30, 60):
                ctx.set(memory.words.ready, 1)
                ctx.set(memory.rows.valid, 1)
                ctx.set(memory.rows.payload.address, 3)
                ctx.set(memory.rows.payload.length, 11)
                for _ in range(3):
                    await ctx.tick().until(memory.rows.ready)
                ctx.set(memory.rows.valid, 0)
                await ctx.tick().repeat(delay)
                ctx.set(memory.clear, 1)
                await ctx.tick()
                ctx.set(memory.clear, 0)
                seen.append(ctx.get(memory.rows.ready) or ctx.get(memory.words.valid))
                rows = [(40, 2), (7, 5)]
                found = await bench.read_rows(ctx, rows, rng)
                size = p.word_bytes
                assert found == [
                    [
                        int.from_bytes(image[word * size : word * size + size], "little")
                        for word in range(address, address + length + 1)
                    ]
                    for address, length in rows
                ]

        bench.run(testbench)
        assert not any(seen)


def test_reads_and_checksum_wait_for_the_rows_of_the_core(request):
    """The host interferes with a run, which it must not; nothing is mixed up all the same."""
    rng = rng_of(request.node.name)
    p = parameters_of(BUSY, 32)
    bench = MemoryBench(p)
    image = rng.bytes(4 * 200)
    words = [int.from_bytes(image[start : start + 4], "little") for start in range(0, len(image), 4)]
    rows = [(int(rng.integers(150)), 19) for _ in range(40)]
    loaded, sums = [], []

    async def host(ctx):
        await bench.tested(ctx)
        await bench.write_bytes(ctx, 0, image)
        loaded.append(True)
        for _ in range(5):
            sums.append(await bench.checksum(ctx, 0, 200))

    async def core(ctx):
        while not loaded:
            await ctx.tick()
        await ctx.tick().repeat(20)
        found = await bench.read_rows(ctx, rows, rng, stall=0.2)
        assert found == [words[address : address + length + 1] for address, length in rows]

    bench.run(core, host)
    assert len(sums) > 1
    assert set(sums) == {checksum(image)}


def test_bytes_at_random_places(request):
    """Single bytes of words, in any order and with pauses, leave all other bytes as they are."""
    rng = rng_of(request.node.name)
    p = parameters_of(BUSY, 16)
    bench = MemoryBench(p)
    image = bytearray(rng.bytes(64))
    places = [int(place) for place in rng.permutation(64)[:20]]

    async def testbench(ctx):
        await bench.tested(ctx)
        await bench.write_bytes(ctx, 0, bytes(image))
        for place in places:
            image[place] ^= 0xFF
            await bench.write_bytes(ctx, place, image[place : place + 1])
            await ctx.tick().repeat(int(rng.integers(1, 30)))
        await ctx.tick().repeat(20)
        assert await bench.read_bytes(ctx, 0, 64) == image
        assert await bench.status(ctx) == {"tested"}

    bench.run(testbench)


def test_lost_bytes_are_noticed(request):
    """Bytes before the end of the self-test, and a read that does not wait."""
    bench = MemoryBench(parameters_of(BUSY, 32))

    async def testbench(ctx):
        await ctx.tick().repeat(20)
        await bench.write_bytes(ctx, 0, b"\x55")
        assert await bench.status(ctx) == {"lost"}
        await bench.tested(ctx)
        await bench.write_register(ctx, "control", 2)
        assert await bench.status(ctx) == {"tested"}
        await bench.read_bytes(ctx, 0, 8, cycles=4)
        assert await bench.status(ctx) == {"tested", "lost"}
        ctx.set(bench.memory.reset, 1)
        await ctx.tick()
        ctx.set(bench.memory.reset, 0)
        await ctx.tick().repeat(100)
        assert await bench.status(ctx) == {"tested"}

    bench.run(testbench)


@pytest.mark.parametrize("size", ["32 MB", "64 MB"])
def test_size_and_self_test_of_a_good_chip(size):
    sdram = dataclasses.replace(BUSY, more_row_bits=1)
    bench = MemoryBench(parameters_of(sdram, 32), chip=BUSY.chip if size == "32 MB" else LARGE)

    async def testbench(ctx):
        await bench.tested(ctx)
        assert await bench.status(ctx) == {"tested"}
        assert await bench.read_register(ctx, "wrong") == 0
        assert await bench.read_register(ctx, "larger") == (0b00 if size == "32 MB" else 0b01)

    bench.run(testbench)


FAULTS = {
    "stuck at 0": (lambda word: word & ~0x0020, 0x0020_0020),
    "stuck at 1": (lambda word: word | 0x8000, 0x8000_8000),
    "two pins connected": (lambda word: word | (word & 1) << 1 | (word & 2) >> 1, 0x0003_0003),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_chip_with_wrong_data_pins_is_reported(fault):
    change, wrong = FAULTS[fault]
    bench = MemoryBench(parameters_of(BUSY, 32), fault=change)

    async def testbench(ctx):
        await bench.tested(ctx)
        assert await bench.status(ctx) == {"tested", "failed"}
        assert await bench.read_register(ctx, "wrong") == wrong

    bench.run(testbench)
