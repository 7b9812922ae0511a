"""Self-test against a memory of bursts with faults of data and address pins."""

import dataclasses

import pytest
from amaranth.hdl import Cat
from amaranth.sim import Simulator
from harness.assign import assign
from harness.networks import rng_of
from harness.sdram import COLORLIGHT, ULX3S

from spikeloom.hdl.sdram.self_test import SelfTest
from spikeloom.sim.sdram.weights import TEST_BURSTS, WeightMemoryParameters

WIDE = dataclasses.replace(ULX3S, more_row_bits=2)


def run(rng, sdram, *, place=lambda address: address, word=lambda number: number):
    """The result of the test with a memory whose address and read data are changed; also the addresses written."""
    dut = SelfTest(WeightMemoryParameters(sdram=sdram, word_bits=8, words=1, row_words=1))
    memory, written = {}, set()
    result = {}

    async def testbench(ctx):
        request, write, bursts = dut.requests, dut.writes, dut.bursts
        sampled = Cat(
            request.ready, request.valid, write.valid, bursts.ready, request.payload.write, request.payload.address
        )
        ctx.set(dut.ready, 1)
        due, storing = [], []
        for _ in range(4000):
            takes, stores, gives = (rng.random() < 0.7 for _ in range(3))
            gives, stores = gives and bool(due), stores and bool(storing)
            offered = word(memory.get(place(due[0]), 0)) if gives else 0
            assign(
                ctx,
                [(request.ready, takes), (write.ready, stores), (bursts.valid, gives), (bursts.payload, offered)],
            )
            _, _, bits, count, data = await ctx.tick().sample(sampled, request.payload.count, write.payload.data)
            if gives and bits >> 3 & 1:
                due.pop(0)
            if stores and bits >> 2 & 1:
                address = storing.pop(0)
                written.add(address)
                memory[place(address)] = data
            if takes and bits >> 1 & 1:
                address = bits >> 5
                (storing if bits >> 4 & 1 else due).extend(range(address, address + count + 1))
            if ctx.get(dut.done):
                break
        result["done"], result["wrong"], result["larger"] = ctx.get(dut.done), ctx.get(dut.wrong), ctx.get(dut.larger)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert result["done"]
    return result["wrong"], result["larger"], written


@pytest.mark.parametrize("sdram", [COLORLIGHT, WIDE], ids=["32 bits", "larger rows"])
def test_sizes(request, sdram):
    """Every size that the largest chip of a board may have: bits that a chip lacks are ignored."""
    rng = rng_of(request.node.name)
    more = sdram.more_column_bits + sdram.more_row_bits
    for larger in range(1 << more):
        mask = (1 << sdram.least_address_bits) - 1 | larger << sdram.least_address_bits
        wrong, found, written = run(rng, sdram, place=lambda address, mask=mask: address & mask)
        assert (wrong, found) == (0, larger)
    assert written == {1 << bit for bit in range(sdram.address_bits)} | set(range(TEST_BURSTS))


def test_address_bits_is_tested(request):
    """Columns, banks and rows: an address pin that is open, or connected with another one."""
    rng = rng_of(request.node.name)
    for bit in (0, 7, 8, 10, ULX3S.least_address_bits - 1):
        assert run(rng, ULX3S, place=lambda address, bit=bit: address & ~(1 << bit))[0]
    for bit in (0, 7, 13):

        def connected(address, bit=bit):
            both = address >> bit & 3
            return address | 3 << bit if both else address

        assert run(rng, ULX3S, place=connected)[0]


def test_data_bits(request):
    rng = rng_of(request.node.name)
    for sdram, bits in ((ULX3S, (0, 31)), (COLORLIGHT, (63,))):
        for bit in bits:
            assert run(rng, sdram, word=lambda word, bit=bit: word | 1 << bit)[0] == 1 << bit
            assert run(rng, sdram, word=lambda word, bit=bit: word & ~(1 << bit))[0] == 1 << bit


def test_a_missing_chip_fails(request):
    rng = rng_of(request.node.name)
    for level in (0, (1 << 32) - 1):
        assert run(rng, ULX3S, word=lambda word, level=level: level)[0] == (1 << 32) - 1
