"""The arbiter equals its recurrence in every cycle; with a memory and its chip behind it, each core gets its words."""

import dataclasses
import gc
import re

import pytest
from amaranth.hdl import Cat
from amaranth.lib import wiring
from amaranth.sim import Simulator
from harness.assign import assign
from harness.mutations import mutated
from harness.networks import rng_of
from harness.weight_memory import BUSY, MemoryBench

from spikeloom.hdl.sdram import arbiter as module
from spikeloom.hdl.sdram.arbiter import RowArbiter
from spikeloom.hdl.sdram.gearbox import ROWS
from spikeloom.sim.sdram.arbiter import INCOMPLETE_ROWS, ArbiterModel, ArbiterParameters
from spikeloom.sim.sdram.weights import WeightMemoryParameters, checksum

PARAMETERS = ArbiterParameters(cores=3, address_bits=8, row_words=6)


def memory_of(p, sdram=BUSY, word_bits=32):
    return WeightMemoryParameters(sdram=sdram, word_bits=word_bits, words=p.words, row_words=p.row_words)


def compare(rng, kind, p, *, cycles=1500, restart=0.03):
    """Drive all inputs at random and compare all outputs with the model; return how many words were offered and
    dropped, and how often the arbiter was full."""
    dut, model = kind(p, memory_of(p)), ArbiterModel(p)
    outputs = Cat(
        Cat(request.ready for request in dut.requests),
        Cat(sink.valid for sink in dut.weights),
        dut.words.ready,
        dut.rows.valid,
        dut.rows.payload,
    )
    offered = dropped = full = 0
    word_rate, ready_rate, memory_rate = 1.0, 1.0, 1.0

    async def testbench(ctx):
        nonlocal offered, dropped, full, word_rate, ready_rate, memory_rate
        for cycle in range(cycles):
            if cycle % 100 == 0:  # phases in which words, or cores, or the memory are slow
                word_rate, ready_rate, memory_rate = rng.choice([0.1, 0.5, 1.0], 3)
            requests = [
                (int(rng.integers(1 << p.address_bits)), int(rng.integers(p.row_words))) if rng.random() < 0.6 else None
                for _ in range(p.cores)
            ]
            restarts = [bool(rng.random() < restart) for _ in range(p.cores)]
            readies = [bool(rng.random() < ready_rate) for _ in range(p.cores)]
            word, memory_ready = bool(rng.random() < word_rate), bool(rng.random() < memory_rate)
            payload = int(rng.integers(1 << 32))
            assign(
                ctx,
                [
                    *(
                        (stream.valid, request is not None)
                        for stream, request in zip(dut.requests, requests, strict=True)
                    ),
                    *(
                        pair
                        for stream, (address, length) in zip(dut.requests, (r or (0, 0) for r in requests), strict=True)
                        for pair in ((stream.payload.address, address), (stream.payload.length, length))
                    ),
                    *zip((sink.ready for sink in dut.weights), readies, strict=True),
                    (dut.restarted, sum(1 << core for core in range(p.cores) if restarts[core])),
                    (dut.rows.ready, memory_ready),
                    (dut.words.valid, word),
                    (dut.words.payload, payload),
                ],
            )
            levels = ctx.get(outputs)
            dropping, head = list(model.dropping), model.incomplete[0][0] if model.incomplete else None
            full += len(model.incomplete) == INCOMPLETE_ROWS
            expected = model.step(requests, restarts, memory_ready=memory_ready, word=word, readies=readies)
            row = expected.row
            wanted = [
                *(core == expected.granted for core in range(p.cores)),
                *(core == expected.receiver for core in range(p.cores)),
                expected.ready,
                row is not None,
            ]
            assert [bool(levels >> bit & 1) for bit in range(len(wanted))] == wanted, f"cycle {cycle}"
            if row is not None:
                payload_bits = levels >> len(wanted)
                address_bits = len(dut.rows.payload.address)
                assert payload_bits == row[0] | row[1] << address_bits
            if expected.receiver is not None:
                assert ctx.get(dut.weights[expected.receiver].payload) == payload
                offered += 1
            dropped += word and expected.ready and head is not None and dropping[head]
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return offered, dropped, full


@pytest.mark.parametrize("cores", [2, 3, 4])
def test_every_cycle_is_that_of_the_recurrence(request, cores):
    found = compare(rng_of(request.node.name), RowArbiter, dataclasses.replace(PARAMETERS, cores=cores))
    assert min(found) > 10


def test_the_memory_takes_as_many_rows():
    assert INCOMPLETE_ROWS <= ROWS


MUTATIONS = {
    "the same core first": ("order.taken.eq(granted)", "order.taken.eq(0)"),
    "slices": ("Cat(chosen.address, number)", "Cat(chosen.address, Const(0, p.core_bits))"),
    "length of a row": ("arrived == head.length", "arrived == 0"),
    "words of forgotten rows": (
        "sink.valid.eq(self.words.valid & mine & ~dropping[core])",
        "sink.valid.eq(self.words.valid & mine)",
    ),
    "forgotten rows that nobody takes": ("takes.eq(dropping[core] | sink.ready)", "takes.eq(sink.ready)"),
    "requests while rows are dropped": ("& ~dropping & ~self.restarted", "& ~self.restarted"),
    "a request of a core that restarts": ("& ~dropping & ~self.restarted", "& ~dropping"),
    "the end of dropping": ("m.Elif(rows == 0)", "m.Elif(rows == 1)"),
    "rows that are not complete": ("room.eq(offered.i.ready & incomplete.i.ready)", "room.eq(offered.i.ready)"),
    "rows that are not accepted": ("room.eq(offered.i.ready & incomplete.i.ready)", "room.eq(incomplete.i.ready)"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(mutation):
    wrong = mutated(module, *MUTATIONS[mutation])
    with pytest.raises(AssertionError, match=r"cycle|assert"):
        compare(rng_of("a planted bug"), wrong.RowArbiter, PARAMETERS)


def test_without_a_planted_bug_the_same_cycles_agree():
    compare(rng_of("a planted bug"), RowArbiter, PARAMETERS)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_a_memory_of_other_words():
    with pytest.raises(ValueError, match=re.escape("words of the memory must be 768, those of all cores, not 512")):
        RowArbiter(PARAMETERS, memory_of(dataclasses.replace(PARAMETERS, cores=2)))
    gc.collect()  # Amaranth warns when a refused design, never elaborated, is collected: do that here


class SharedBench(MemoryBench):
    """A weight memory behind the arbiter of several cores."""

    def __init__(self, p, **options):
        super().__init__(memory_of(p), **options)
        self.arbiter = RowArbiter(p, self.parameters)

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.submodules.arbiter = arbiter = self.arbiter
        wiring.connect(m, arbiter.rows, self.memory.rows)
        wiring.connect(m, self.memory.words, arbiter.words)
        return m

    def streams(self, core):
        return self.arbiter.requests[core], self.arbiter.weights[core]


def shared_rows(rng, p, image, count):
    """Rows of each core, and their words."""
    rows = []
    for _ in range(p.cores):
        mine = []
        for _ in range(count):
            length = int(rng.integers(p.row_words))
            mine.append((int(rng.integers((1 << p.address_bits) - length)), length))
        rows.append(mine)
    words = [int.from_bytes(image[start : start + 4], "little") for start in range(0, len(image), 4)]
    expected = [
        [words[p.first(core) + address : p.first(core) + address + length + 1] for address, length in rows[core]]
        for core in range(p.cores)
    ]
    return rows, expected


def test_three_cores_at_one_chip(request):
    """All refreshes, a core that stalls for 1,000 cycles, and a host that computes checksums meanwhile."""
    rng = rng_of(request.node.name)
    p = dataclasses.replace(PARAMETERS, address_bits=6)
    bench = SharedBench(p)
    image = rng.bytes(4 * p.words)
    rows, expected = shared_rows(rng, p, image, 20)
    paces = [{"idle": 0.2}, {"stall": 0.5}, {"long_stall": 1000}]
    found, sums, loaded = {}, [], []

    def core(number):
        async def process(ctx):
            while not loaded:
                await ctx.tick()
            streams = bench.streams(number)
            found[number] = await bench.read_rows(ctx, rows[number], rng, streams=streams, **paces[number])

        return process

    async def host(ctx):
        await bench.tested(ctx)
        await bench.write_bytes(ctx, 0, image)
        await ctx.tick().repeat(20)
        loaded.append(True)
        while len(found) < p.cores:
            sums.append(await bench.checksum(ctx, 0, p.words))

    bench.run(host, *map(core, range(p.cores)))
    assert [found[number] for number in range(p.cores)] == expected
    assert len(sums) > 1
    assert set(sums) == {checksum(image)}


def test_a_core_that_restarts_in_the_middle_of_its_rows(request):
    """The words of its forgotten rows are dropped, and the other core gets all of its own."""
    rng = rng_of(request.node.name)
    p = dataclasses.replace(PARAMETERS, cores=2, address_bits=6)
    bench = SharedBench(p)
    image = rng.bytes(4 * p.words)
    (first, other), (first_words, other_words) = shared_rows(rng, p, image, 40)
    found, loaded, refused = {}, [], []

    async def steady(ctx):
        while not loaded:
            await ctx.tick()
        found[1] = await bench.read_rows(ctx, other, rng, stall=0.5, streams=bench.streams(1))

    async def restarting(ctx):
        await bench.tested(ctx)
        await bench.write_bytes(ctx, 0, image)
        await ctx.tick().repeat(20)
        loaded.append(True)
        arbiter, requests = bench.arbiter, bench.arbiter.requests[0]
        for delay in (1, 3, 20, 45):
            # Three rows are requested, and after a while forgotten.
            assign(ctx, [(requests.valid, 1), (requests.payload.address, 5), (requests.payload.length, 5)])
            for _ in range(3):
                await ctx.tick().until(requests.ready)
            ctx.set(requests.valid, 0)
            await ctx.tick().repeat(delay)
            ctx.set(arbiter.restarted, 1)
            await ctx.tick()
            ctx.set(arbiter.restarted, 0)
            ctx.set(requests.valid, 1)
            refused.append(not ctx.get(requests.ready))
            ctx.set(requests.valid, 0)
            found[0] = await bench.read_rows(ctx, first[:6], rng, stall=0.2, streams=bench.streams(0))
            assert found[0] == first_words[:6]
        while 1 not in found:
            await ctx.tick()

    bench.run(restarting, steady)
    assert found[1] == other_words
    assert all(refused)
