# amaranth: UnusedElaboratable=no
"""Block RAM that returns garbage where silicon may: no design uses it, and a design that relies on such data is found.

`harness.block_ram` lists the cases. The reset of every board lasts until its block RAM has started, which is checked in
netlists (`tests/boards/bitstream/test_silicon_lint.py`).
"""

from functools import partial

import pytest
from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out
from amaranth.sim import Simulator
from harness.attention import expected_words, random_attention, run_unit
from harness.block_ram import COLLISION, ROW_COLLISION, garbage_block_ram
from harness.compiled import CORES
from harness.engine import assert_equal_to_reference, run_engine
from harness.link import IDENTITY, Board, BoardTransport, Echo
from harness.mutations import mutated
from harness.networks import random_network, random_spatial_network, random_spikes, rng_of
from harness.streams import run_streams

from spikeloom.compiler.place import place
from spikeloom.hdl.attention.unit import AttentionUnit
from spikeloom.hdl.core import accumulate, adders
from spikeloom.hdl.core.engine import LifEngine
from spikeloom.hdl.host import link
from spikeloom.hdl.lib.block_queue import BlockQueue
from spikeloom.hdl.tech.block_ram import BlockMemory
from spikeloom.hdl.tech.ice40_spram import SinglePortMemory
from spikeloom.host.endpoint import Endpoint
from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.link import FrameError, LinkParameters
from spikeloom.sim.network.reference import simulate

BUFFERS = LinkParameters(receive_buffer=128, transmit_buffer=128, maximum_payload=64)


class DelayLine(Component):
    """Planted: reads the word of ``distance`` cycles ago. The word of 16 cycles ago is overwritten in the same cycle;
    the others share a row with it if they may."""

    i: In(8)
    o: Out(8)

    def __init__(self, distance=16, *, shared_rows=False):
        self.distance, self.shared_rows = distance, shared_rows
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = BlockMemory(8, 16, shared_rows=self.shared_rows)
        m.d.sync += memory.address.eq(memory.address + 1)
        m.d.comb += [
            memory.write_address.eq(memory.address + self.distance),
            memory.write_data.eq(self.i),
            memory.write_enable.eq(1),
            self.o.eq(memory.data),
        ]
        return m


def delayed(values, *arguments, **options):
    """The output of a `DelayLine` for ``values``."""
    line, found = DelayLine(*arguments, **options), []

    async def bench(ctx):
        for value in values:
            ctx.set(line.i, value)
            await ctx.tick()
            found.append(ctx.get(line.o))

    simulator = Simulator(line)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found


def test_a_read_of_what_is_being_written_is_found(request, monkeypatch, capsys):
    values = rng_of(request.node.name).integers(0, 256, 100).tolist()
    latency = 17  # 16 words, and the output register
    assert delayed(values)[latency:] == values[:-latency], "the simulator gives the old word"
    assert COLLISION not in capsys.readouterr().out
    garbage_block_ram(monkeypatch)
    found = zip(delayed(values)[latency:], values[:-latency], strict=True)
    assert sum(a != b for a, b in found) > 70
    assert capsys.readouterr().out.count(COLLISION) == 100


def test_a_read_beside_what_is_being_written_is_found_where_words_share_a_row(request, monkeypatch, capsys):
    values = rng_of(request.node.name).integers(0, 256, 100).tolist()
    garbage_block_ram(monkeypatch)
    latency = 6  # 5 words, and the output register
    assert delayed(values, 5)[latency:] == values[:-latency], "each word has its row"
    assert "read while" not in capsys.readouterr().out
    found = zip(delayed(values, 5, shared_rows=True)[latency:], values[:-latency], strict=True)
    assert sum(a != b for a, b in found) > 70
    assert capsys.readouterr().out.count(ROW_COLLISION) == 100


@pytest.mark.parametrize("name", ["one lane", "two lanes, every model", "two lanes, maps and lists"])
def test_no_core_uses_it(request, monkeypatch, capsys, name):
    garbage_block_ram(monkeypatch)
    check_core(rng_of(request.node.name), CORES[name])
    assert capsys.readouterr().out.count(COLLISION) > 10


@pytest.mark.parametrize("module", [accumulate, adders], ids=["touched", "accumulators"])
def test_a_core_whose_words_share_rows_is_found(request, monkeypatch, capsys, module):
    garbage_block_ram(monkeypatch)
    monkeypatch.setattr(module, "BlockMemory", partial(BlockMemory, shared_rows=True))
    with pytest.raises(AssertionError):
        check_core(rng_of(request.node.name), CORES["one lane"])
    assert capsys.readouterr().out.count(ROW_COLLISION) > 10


def test_a_memory_with_one_port_never_reads_while_it_writes(request, monkeypatch, capsys):
    """Writes to the address of the read, or to another word of its row: the word before stays in the output."""
    garbage_block_ram(monkeypatch)
    rng = rng_of(request.node.name)
    memory, words, found, expected = SinglePortMemory(16, 64), {}, [], []

    async def bench(ctx):
        before = None
        for _ in range(300):
            address, write = int(rng.integers(64)), bool(rng.random() < 0.6)
            near = address ^ int(rng.integers(4))
            value = int(rng.integers(1 << 16))
            for port, level in (
                (memory.address, address),
                (memory.write_address, near),
                (memory.write_data, value),
                (memory.write_enable, 3 * write),
            ):
                ctx.set(port, level)
            await ctx.tick()
            if before is not None:
                found.append(ctx.get(memory.data))
                expected.append(before)
            if write:
                words[near] = value
            else:
                before = words.get(address, 0)

    simulator = Simulator(memory)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert found == expected
    assert len(set(found)) > 30
    assert "read while" not in capsys.readouterr().out


def check_core(rng, core):
    """Compare a run of a random network with the reference."""
    if core.coordinate_width:
        network = random_spatial_network(rng, core, extent=3, readout=core.readout)
    else:
        network = random_network(rng, core, inputs=12, sizes=(6, 4), readout=core.readout)
    program = place(network, FabricConfig(core=core))
    spikes = random_spikes(rng, 4, 2, network.inputs)
    reference = simulate(network, spikes, record=[p.name for p in network.populations])
    run = run_engine(LifEngine(core), program, spikes, rng, idle=0.1)
    assert_equal_to_reference(run, network, program, spikes, reference)


def test_no_attention_unit_uses_it(request, monkeypatch, capsys):
    garbage_block_ram(monkeypatch)
    rng = rng_of(request.node.name)
    parameters = AttentionParameters(tokens=8, features=8, heads=2, rows=2)
    q, k, v = random_attention(rng, parameters, 4)
    run = run_unit(AttentionUnit(parameters), rng, q, k, v, samples=2, causal=True)
    words, _ = expected_words(parameters, q, k, v, samples=2, causal=True)
    assert run.words(0) == words
    assert capsys.readouterr().out.count(COLLISION) > 0


def test_no_queue_uses_it(request, monkeypatch, capsys):
    garbage_block_ram(monkeypatch)
    rng = rng_of(request.node.name)
    words = rng.integers(0, 256, 300).tolist()
    for idle, stall in ((0.0, 0.0), (0.3, 0.3), (0.6, 0.1)):
        dut = BlockQueue(8, 16)
        assert run_streams(dut, [dut.i], [dut.o], [words], rng, idle=idle, stall=stall).words(0) == words
    assert capsys.readouterr().out.count(COLLISION) > 100


def test_no_link_uses_it(request, monkeypatch, capsys):
    garbage_block_ram(monkeypatch)
    data = rng_of(request.node.name).bytes(300)
    assert echoed(link.Link, data, take=0.8, give=0.8) == data
    printed = capsys.readouterr().out
    assert printed.count(COLLISION) > 0
    assert printed.count(ROW_COLLISION) > 20


SHARED = {
    "a byte is stored where one is read for the bridge": (" & ~receive_ring.write_enable)", ")"),
    "a byte is stored where one is read for the line": (" & ~sender.reading)", ")"),
}


@pytest.mark.parametrize("bug", SHARED)
def test_a_link_that_uses_it_is_found(monkeypatch, bug):
    garbage_block_ram(monkeypatch)
    data = rng_of("a ring in rows").bytes(400)
    assert echoed(mutated(link, *SHARED[bug]).Link, data, take=0.1, give=1, flush=True) != data


def echoed(link_class, data, *, take, give, flush=False):
    """The bytes that come back for ``data`` from a board that echoes through small rings."""
    buffers = LinkParameters(receive_buffer=64, transmit_buffer=64, maximum_payload=64)
    board = Board(link_class(buffers, IDENTITY), take=take, give=give, serve=Echo())
    board.flush = flush
    endpoint = Endpoint(BoardTransport(board), maximum_payload=64, nonce=b"test")
    assert endpoint.open().encode() == IDENTITY
    endpoint.send(data)
    endpoint.flush()
    return endpoint.receive(len(data))


@pytest.mark.parametrize("start_cycles", [10, 5000])
def test_a_read_before_the_start_is_found(monkeypatch, start_cycles):
    """The identity is in block RAM from power-up: a board that is asked for it too early returns garbage."""
    garbage_block_ram(monkeypatch, start_cycles=start_cycles)
    try:
        answers = Board(link.Link(BUFFERS, IDENTITY)).open(b"1234")
    except FrameError:  # garbage may end the frame too early
        answers = []
    assert ([answer.payload for answer in answers] == [b"1234" + IDENTITY]) == (start_cycles == 10)
