"""Gearbox against the arithmetic of words and bursts, with a memory that answers after random times."""

from collections import deque

import pytest
from amaranth.hdl import Cat
from amaranth.sim import Simulator
from harness.assign import assign
from harness.mutations import mutated
from harness.networks import rng_of
from harness.sdram import COLORLIGHT, ULX3S

from spikeloom.hdl.sdram import gearbox as module
from spikeloom.sim.sdram.weights import WeightMemoryParameters

WORDS = 256


def run(rng, p, rows, *, stall, gearbox=None, clear_at=None, timeout=4000):
    """The words of ``rows``, and the cycles in which they were taken; after ``clear_at`` cycles all rows are asked
    again."""
    dut = gearbox or module.Gearbox(p)
    memory = [int.from_bytes(rng.bytes(p.sdram.burst_bytes), "little") for _ in range(WORDS * p.bursts_per_word)]
    wanted, found, cycles = sum(length + 1 for _, length in rows), [], []

    async def testbench(ctx):
        nonlocal clear_at
        due, asked, cycle = deque(), 0, 0
        sampled = Cat(
            dut.rows.ready,
            dut.requests.valid,
            dut.bursts.ready,
            dut.words.valid,
            dut.requests.payload.address,
            dut.requests.payload.count,
        )
        address_bits = len(dut.requests.payload.address)
        while len(found) < wanted or ctx.get(dut.busy):
            assert cycle < timeout, "every word must come"
            clear = cycle == clear_at
            valid = asked < len(rows)
            ready, gives, takes = (rng.random() >= stall for _ in range(3))
            gives = gives and bool(due)
            assign(
                ctx,
                [
                    (dut.rows.valid, valid),
                    (dut.rows.payload.address, rows[asked][0] if valid else 0),
                    (dut.rows.payload.length, rows[asked][1] if valid else 0),
                    (dut.requests.ready, takes),
                    (dut.bursts.valid, gives),
                    (dut.bursts.payload, memory[due[0]] if gives else 0),
                    (dut.words.ready, ready),
                    (dut.clear, clear),
                ],
            )
            _, _, bits, word = await ctx.tick().sample(sampled, dut.words.payload)
            accepted, requested, given, offered = (bits >> bit & 1 for bit in range(4))
            if gives and given:
                due.popleft()
            if valid and accepted:
                asked += 1
            if takes and requested:
                address, count = bits >> 4 & (1 << address_bits) - 1, bits >> 4 + address_bits
                due.extend(range(address, address + count + 1))
            if ready and offered:
                found.append(word)
                cycles.append(cycle)
            if clear:
                assert due, "a clear is interesting while bursts are on their way"
                asked = 0
                found.clear()
            cycle += 1

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    image = b"".join(burst.to_bytes(p.sdram.burst_bytes, "little") for burst in memory)
    words = [
        int.from_bytes(image[start : start + p.word_bytes], "little") & (1 << p.word_bits) - 1
        for start in range(0, len(image), p.word_bytes)
    ]
    expected = [word for address, length in rows for word in words[address : address + length + 1]]
    return found, expected, cycles


def rows_of(rng, count, most=20):
    rows = []
    for _ in range(count):
        address = int(rng.integers(WORDS - most))
        rows.append((address, int(rng.integers(most)) if rng.random() < 0.7 else 0))
    return rows


def parameters(sdram, bits):
    return WeightMemoryParameters(sdram=sdram, word_bits=bits, words=WORDS, row_words=32)


@pytest.mark.parametrize("bits", [5, 8, 16, 24, 64, 128])
@pytest.mark.parametrize("sdram", [ULX3S, COLORLIGHT], ids=["16 bits", "32 bits"])
def test_random_rows(request, sdram, bits):
    rng = rng_of(request.node.name)
    rows = rows_of(rng, 12)
    found, expected, _ = run(rng, parameters(sdram, bits), rows, stall=0.3)
    assert found == expected
    assert len(set(expected)) > 5


@pytest.mark.parametrize("bits", [8, 32, 64])
def test_no_pause_between_rows(request, bits):
    """One word per cycle, or one burst if a word has several."""
    rng = rng_of(request.node.name)
    p = parameters(ULX3S, bits)
    rows = [(int(rng.integers(WORDS - 20)) // 4 * 4, 7) for _ in range(8)]
    found, expected, cycles = run(rng, p, rows, stall=0.0)
    assert found == expected
    assert cycles[-1] - cycles[0] == p.bursts_per_word * (len(cycles) - 1)


@pytest.mark.parametrize("bits", [8, 32, 128])
@pytest.mark.parametrize("clear_at", [7, 30])
def test_clear(request, bits, clear_at):
    rng = rng_of(request.node.name)
    found, expected, _ = run(rng, parameters(ULX3S, bits), rows_of(rng, 12), stall=0.4, clear_at=clear_at)
    assert found == expected


MUTATIONS = {
    "first word of a burst": (8, None, "queue.i.payload.place.eq(first)", "queue.i.payload.place.eq(0)"),
    "bursts of a row": (8, None, "count.eq(end[place_bits:])", "count.eq(row.length[place_bits:])"),
    "order of bursts": (64, None, "Cat(earlier, self.bursts.payload)[p", "Cat(self.bursts.payload, earlier)[p"),
    "bursts on their way": (32, 30, "flight + added - taken", "0"),
    "rows before a clear": (8, 30, "with m.If(self.clear | dropping):", "with m.If(0):"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(mutation):
    bits, clear_at, old, new = MUTATIONS[mutation]
    rng = rng_of(mutation)
    p = parameters(ULX3S, bits)
    rows = rows_of(rng, 12)
    wrong = mutated(module, old, new)

    def check():
        # What a clear leaves behind depends on its time.
        for at in [None] if clear_at is None else range(clear_at, clear_at + 40, 8):
            found, expected, _ = run(rng, p, rows, stall=0.6, clear_at=at, gearbox=wrong.Gearbox(p))
            assert found == expected

    with pytest.raises((AssertionError, IndexError)):
        check()
