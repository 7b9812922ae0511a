"""The request decoder, alone and in its bridge: messages, flags, one byte per cycle, settling writes, planted bugs."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from harness.bridge import (
    BridgeBench,
    bridge_with_bug,
    check,
    find_planted_bug,
    model_of,
    random_data,
    random_values,
    write,
)
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.hdl.host import request_decoder
from spikeloom.hdl.host.bridge import HostBridge
from spikeloom.sim.host.bridge import (
    ADDRESS_ERROR,
    AXON_ERROR,
    MESSAGE_ERROR,
    VALUE_ERROR,
    BridgeModel,
    Spike,
    Tick,
    Write,
)
from spikeloom.sim.host.messages import (
    ConfigurationAddress,
    Opcode,
    encode_read,
    encode_spikes,
    encode_values,
    encode_write,
)
from spikeloom.sim.lib.registers import CORE_TILE


@pytest.mark.parametrize(("index_width", "plane_width"), [(18, 10), (16, 3), (6, 1), (32, 10)])
def test_bad_messages_are_skipped(request, index_width, plane_width):
    rng = rng_of(request.node.name)
    bench = BridgeBench(HostBridge(8, 8, index_width=index_width, plane_width=plane_width), rng)
    data = random_data(rng, 8, errors=True, samples=6)
    run, expected = check(bench, data)
    assert expected.error == MESSAGE_ERROR | AXON_ERROR | ADDRESS_ERROR
    assert sum(isinstance(r, Spike) for r in run.requests) > 0
    writes = [request for request in model_of(bench.bridge).from_host(data) if isinstance(request, Write)]
    assert 0 < len(run.writes) < sum(len(write.data) for write in writes), "some bytes are dropped"
    assert any(write.address.word_bytes for write in writes)


@pytest.mark.parametrize("words", [False, True])
def test_an_index_never_wraps(request, words):
    """The byte after the last index is dropped, and so are all bytes after it."""
    rng = rng_of(request.node.name)
    bench = BridgeBench(HostBridge(8, 8, index_width=6), rng, idle=0, stall=0)
    address = ConfigurationAddress(tile=CORE_TILE, memory=3, index=62, word_bytes=3 if words else 0)
    data = encode_write(address, bytes(range(250))) + encode_spikes(np.eye(2, 5, dtype=bool))
    run, expected = check(bench, data)
    assert expected.error == ADDRESS_ERROR
    assert [index for _, _, index, _ in run.writes] == ([62] * 3 + [63] * 3 if words else [62, 63])
    assert [plane for _, plane, _, _ in run.writes] == ([0, 1, 2] * 2 if words else [0, 0])


@pytest.mark.parametrize("errors", [False, True])
@pytest.mark.parametrize(("axon_width", "value_width"), [(4, 2), (8, 5), (10, 8), (16, 9), (16, 16)])
def test_values_of_the_host(request, axon_width, value_width, errors):
    """VALUEs and RUNs among spikes, WRITEs and READs, in fabrics whose index is narrower or wider than an axon."""
    rng = rng_of(request.node.name)
    width = int(rng.choice([6, 18]))
    bench = BridgeBench(HostBridge(axon_width, 16, input_value_width=value_width, index_width=width), rng, stall=0.2)
    data = random_data(rng, axon_width, value_width=value_width, errors=errors, requests=errors)
    run, expected = check(bench, data)
    values = [request.value for request in run.requests if isinstance(request, Spike)]
    assert len(set(values)) > (2 if value_width == 2 else 10)
    assert min(values) < 0 < max(values)
    assert expected.error == (MESSAGE_ERROR | AXON_ERROR | ADDRESS_ERROR | VALUE_ERROR) * errors or (
        axon_width == 16 and expected.error | AXON_ERROR == 15 * errors | AXON_ERROR
    )


def test_a_value_of_a_run_a_cycle(request):
    """Values of any width take one cycle each, zero or not; the resulting spikes come at the same rate."""
    rng = rng_of(request.node.name)
    for power, is_signed in ((0, 0), (1, 1), (2, 0), (3, 1)):
        design = HostBridge(10, 16, input_value_width=9)
        bench = BridgeBench(design, rng, idle=0, stall=0, density=0)
        head = bytes([Opcode.RUN | is_signed << 2 | power]) + bytes([0, 0, 0x20, 3])
        run, _ = check(bench, head + bytes(rng.integers(256, size=100 << power, dtype=np.uint8)) + b"\x21")
        assert 800 <= run.last_request <= 800 + 20
        assert sum(isinstance(request, Spike) for request in run.requests) > 300


def test_fabrics_without_values_do_not_know_them(request):
    """Each byte that would begin a value is skipped, and the following bytes are parsed as messages."""
    rng = rng_of(request.node.name)
    bench = BridgeBench(HostBridge(8, 16), rng)
    data = bytes([Opcode.VALUE, 0, 0, 0xFE, 0xFF, 0xFF, Opcode.TICK]) + encode_values([[-1, -1, -1]])
    run, expected = check(bench, data)
    assert expected.error == MESSAGE_ERROR | AXON_ERROR
    assert run.requests == [Spike(126), Spike(254), Tick(False), Tick(True)]


def test_a_spike_a_cycle_in(request):
    spikes = np.ones((1, 500), bool)
    bench = BridgeBench(HostBridge(9, 16), rng_of(request.node.name), idle=0, stall=0, density=0)
    run, _ = check(bench, encode_spikes(spikes))
    assert run.last_byte == 501
    assert run.last_request <= 501 + 8


def test_a_write_settles_before_what_follows(request):
    # The clear is finished when the TICK right behind it leaves: it has parity 0 again.
    rng = rng_of(request.node.name)

    class Twice(BridgeBench):
        async def _clock(self, ctx, data, cycles, reset, reset_at):
            await super()._clock(ctx, b"\x20", cycles, reset, reset_at)
            await super()._clock(ctx, data, cycles, reset, reset_at)

    run = Twice(HostBridge(8, 16), rng, density=0, idle=0, stall=0).simulate(write("control", 1) + b"\x80\x21")
    assert run.requests == [Spike(0), Tick(True)]


MUTATIONS = {
    "skip": ("Const(0, DISTANCE_BITS), ~byte[:SKIP_BITS]", "Const(0, DISTANCE_BITS - 1), ~byte[:SKIP_BITS]"),
    "first spike of a step": (
        "with m.If(take & is_tick):\n                        m.d.sync += previous.eq(-1)",
        "with m.If(take & is_tick):\n                        m.d.sync += previous.eq(previous)",
    ),
    "a byte that waits": ("with m.Elif(~spare_valid):", "with m.Else():"),
    "unready byte": ("self.i.ready.eq(~spare_valid)", "self.i.ready.eq(1)"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_planted_bugs_are_found(monkeypatch, name):
    find_planted_bug(monkeypatch, request_decoder, *MUTATIONS[name])


VALUED = random_data(rng_of("values"), 9, samples=8, errors=True, value_width=6)
"""The input for a bridge with values and another planted bug."""

ONLY_VALUES = random_values(rng_of("only values"), 9, 6, True)
"""The same without other messages that set the same flags."""

WITH_VALUES = {
    "an index that wraps": ("with m.If(following[-1]):", "with m.If(0):"),
    "bits of an address without a register": ("with m.If(spare.any()):", "with m.If(0):"),
    "the first byte of a word": (
        "self.plane.eq(Mux(is_words, 0, last_plane))]\n                self._store",
        "self.plane.eq(last_plane)]\n                self._store",
    ),
    "the bytes of a word": ("with m.If((self.plane == last_plane) | is_valued):", "with m.If(1):"),
    "the next word": (
        "self.plane.eq(Mux(is_words, 0, last_plane))]\n                with",
        "self.plane.eq(last_plane)]\n                with",
    ),
    "the error of an address": ("self.misplaced.eq(step & ~is_valued & self.outside)", "self.misplaced.eq(0)"),
    "a write that is dropped": ("self.write_enable.eq(~self.outside)", "self.write_enable.eq(1)"),
    "the index of an earlier message": ("[position.eq(_INDEX), index.eq(0)]", "position.eq(_INDEX)"),
    "a value of 0": ("some.eq(value != 0)", "some.eq(1)"),
    "a value that does not fit": ("fits.eq(value == kept)", "fits.eq(1)"),
    "an axon that does not exist": ("is_axon = ~(ended | index[self.axon_width :].any())", "is_axon = Const(1)"),
    "the error of an axon": ("self.beyond.eq(some & ~is_axon)", "self.beyond.eq(0)"),
    "the error of a value": ("self.too_large.eq(some & ~fits)", "self.too_large.eq(0)"),
    "the sign of a run": ("Mux(code[2], field.as_signed(), field)", "field"),
    "the end of a run": ("take.eq(done & (is_last | (self.count == 1)))", "take.eq(done & is_last)"),
    "the place in the next run": ("place.eq(Mux(take, 0, place + 1))", "place.eq(place + 1)"),
    "a value without credit": ("self.packets.valid.eq(self.credit & sent)", "self.packets.valid.eq(sent)"),
    "a value that is not taken": (
        "done.eq(~sent | (self.credit & self.packets.ready))",
        "done.eq(~sent | self.credit)",
    ),
}


def check_valued(design):
    for data in (VALUED, ONLY_VALUES):
        check(BridgeBench(design(9, 20, input_value_width=6), rng_of("values")), data)


def test_the_bench_for_planted_bugs_with_values_finds_none():
    check_valued(HostBridge)


@pytest.mark.parametrize("name", WITH_VALUES)
def test_planted_bugs_with_values_are_found(monkeypatch, name):
    design = bridge_with_bug(monkeypatch, request_decoder, *WITH_VALUES[name])
    with pytest.raises((AssertionError, ValueError)):
        check_valued(design)


def run_decoder(decoder, messages, rng, *, idle=0.3, stall=0.3):
    """The output of a decoder alone for ``messages``, in order and with its time: (cycle, requests, error flags)."""
    data, found = b"".join(messages), []

    async def bench(ctx):
        place, offered, cycle, quiet = 0, False, 0, 0
        while quiet < 50:
            offered = offered or (place < len(data) and rng.random() >= idle)
            ctx.set(decoder.i.valid, offered)
            ctx.set(decoder.i.payload, data[place] if offered else 0)
            credit = rng.random() >= stall
            ctx.set(decoder.credit, credit)
            ctx.set(decoder.packets.ready, rng.random() >= stall)
            (
                *_,
                taken,
                unknown,
                beyond,
                misplaced,
                valid,
                gave,
                packet,
                write,
                byte,
                tile,
                memory,
                plane,
                index,
            ) = await ctx.tick().sample(
                decoder.i.valid & decoder.i.ready,
                decoder.unknown,
                decoder.beyond,
                decoder.misplaced,
                decoder.packets.valid,
                decoder.packets.valid & decoder.packets.ready,
                decoder.packets.payload,
                *(decoder.write_enable, decoder.write_data),
                *(decoder.tile, decoder.memory, decoder.plane, decoder.index),
            )
            assert credit or not valid, "a packet needs credit"
            requests = []
            if gave:
                requests.append(Tick(bool(packet.last)) if packet.tick else Spike(packet.axon))
            if write:
                requests.append((tile, memory, plane, index, byte))
            flags = MESSAGE_ERROR * unknown | AXON_ERROR * beyond | ADDRESS_ERROR * misplaced
            if requests or flags:
                found.append((cycle, requests, flags))
            place, offered = place + taken, offered and not taken
            quiet = 0 if taken or gave or place < len(data) else quiet + 1
            cycle += 1

    simulator = Simulator(decoder)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found


def _written(write):
    """Tile, memory, plane, index and byte of a WRITE of one byte."""
    place = write.address
    index, plane = place.place(0)
    return place.tile, place.memory, plane, index, write.data[0]


def check_messages(decoder, rng, count=1200):
    """Random messages, most of them near the last axon: each leads to the requests of the model and to one flag."""
    model, messages, expected = BridgeModel(decoder.axon_width), [], []
    seen = {Spike: 0, Tick: 0, Write: 0, MESSAGE_ERROR: 0, AXON_ERROR: 0, ADDRESS_ERROR: 0}
    known = (Opcode.WRITE, Opcode.READ, Opcode.WRITE_WORDS, Opcode.READ_WORDS, Opcode.TICK, Opcode.TICK_LAST)
    others = [byte for byte in range(64) if byte not in known]
    while len(messages) < count:
        kind = rng.random()
        few = rng.random() < 0.5
        if kind < 0.4:
            message = bytes([Opcode.SPIKE | int(rng.integers(16 if few else 128))])
        elif kind < 0.82:
            message = bytes([Opcode.SKIP | int(rng.integers(4 if few else 64))])
        elif kind < 0.86:
            message = bytes([Opcode.TICK | int(rng.integers(2))])
        elif kind < 0.93:
            message = bytes([int(rng.choice(others))])
        else:
            place = ConfigurationAddress(
                tile=int(rng.integers(256)),
                memory=int(rng.integers(17)),
                index=int(rng.integers(1 << int(rng.choice([18, 18, 19, 32])))),
                **(
                    {"plane": int(rng.integers(1100))}
                    if rng.random() < 0.5
                    else {"word_bytes": 1 + int(rng.integers(1100))}
                ),
            )
            message = encode_write(place, rng.bytes(1))
        model.error = 0
        requests = model.from_host(message)
        if model.error == ADDRESS_ERROR:
            requests = []
        for what in [*map(type, requests), model.error]:
            seen[what] = seen.get(what, 0) + 1
        messages.append(message)
        requests = [_written(found) if isinstance(found, Write) else found for found in requests]
        if requests or model.error:
            expected.append((requests, model.error))
    assert min(seen.values()) > 10, seen
    assert [(requests, error) for _, requests, error in run_decoder(decoder, messages, rng)] == expected


@pytest.mark.parametrize("axon_width", [1, 6, 7, 8, 13, 16])
def test_every_message_does_what_the_model_says(request, axon_width):
    check_messages(request_decoder.RequestDecoder(axon_width), rng_of(request.node.name))


def check_settling(module):
    """From the last byte of a write to the packet of the next message there are five cycles more than the latency to
    the tile: one ends the write, and the others are for the tile and its memory. A write of nothing waits equally
    long."""
    place = ConfigurationAddress(tile=1)
    for latency in (1, 2, 5):
        for count in (0, 1, 3):
            decoder = module.RequestDecoder(8, latency)
            messages = [bytes([Opcode.SPIKE]), encode_write(place, bytes(count)), bytes([Opcode.TICK])]
            found = run_decoder(decoder, messages, np.random.default_rng(0), idle=0, stall=0)
            cycles = [cycle for cycle, *_ in found]
            assert len(found) == count + 2
            end = cycles[count] if count else cycles[0] + 11  # behind the spike come the opcode and ten bytes
            assert cycles[-1] - end == 5 + latency, (latency, count)


def test_a_message_waits_until_a_write_has_settled():
    check_settling(request_decoder)


def check_settling_of_reads(module, *, read_back):
    """From the end of a READ to the packet of the next message there are as many cycles as after a WRITE, if memories
    are read: the tile is using them again by then. Every byte of the READ is requested, one index after the other."""
    for latency in (1, 3, 17):
        decoder, found = module.RequestDecoder(8, latency, read_back=read_back), {}
        data = encode_read(ConfigurationAddress(tile=1, memory=2, index=5), 3) + bytes([Opcode.TICK])

        async def bench(ctx, decoder=decoder, data=data, found=found):
            place, cycle, indices = 0, 0, []
            ctx.set(decoder.credit, 1)
            ctx.set(decoder.packets.ready, 1)
            while "packet" not in found:
                assert cycle < 200
                reading, count = ctx.get(decoder.reading), ctx.get(decoder.count)
                ctx.set(decoder.i.valid, place < len(data))
                ctx.set(decoder.i.payload, data[min(place, len(data) - 1)])
                ctx.set(decoder.read_next, reading and count > 0)
                ctx.set(decoder.read_done, reading and count == 0)
                if reading and count:
                    indices.append((ctx.get(decoder.tile), ctx.get(decoder.memory), ctx.get(decoder.index)))
                if reading and not count:
                    found["done"] = cycle
                if ctx.get(decoder.packets.valid):
                    found["packet"] = cycle
                place += ctx.get(decoder.i.ready)
                await ctx.tick()
                cycle += 1
            assert indices == [(1, 2, 5), (1, 2, 6), (1, 2, 7)]

        simulator = Simulator(decoder)
        simulator.add_clock(1e-6)
        simulator.add_testbench(bench)
        simulator.run()
        assert found["packet"] - found["done"] == (4 + latency if read_back else 1), latency


@pytest.mark.parametrize("read_back", [False, True])
def test_a_message_waits_until_a_read_has_settled(read_back):
    check_settling_of_reads(request_decoder, read_back=read_back)


READ_BUGS = {
    "the tile has its memory too late": ('"SETTLE" if self.read_back else "MESSAGE"', '"MESSAGE"', True),
    "a wait where nothing has to settle": ('"SETTLE" if self.read_back else "MESSAGE"', '"SETTLE"', False),
    "every other index": ("following.eq(index + 1)", "following.eq(index + 2)", True),
    "the same index": ("[self.reading.eq(1), step.eq(self.read_next)]", "self.reading.eq(1)", True),
}


@pytest.mark.parametrize("bug", READ_BUGS)
def test_planted_bugs_in_reads_are_found(bug):
    old, new, read_back = READ_BUGS[bug]
    with pytest.raises(AssertionError):
        check_settling_of_reads(mutated(request_decoder, old, new), read_back=read_back)


ALONE = {
    "the last axon": ("axon[self.axon_width :].any()", "axon[self.axon_width]"),
    "no flag": ("self.beyond.eq(moving & outside)", "self.beyond.eq(0)"),
    "a flag for each move": ("self.beyond.eq(moving & outside)", "self.beyond.eq(moving)"),
    "a flag for each byte": ("self.beyond.eq(moving & outside)", "self.beyond.eq(outside)"),
    "no other flag": ("m.d.comb += self.unknown.eq(1)", "pass"),
    "an axon that is too far": ("with m.If(moving & ~outside):", "with m.If(moving):"),
    "a packet without credit": ("self.packets.valid.eq(self.credit & ~(", "self.packets.valid.eq(~("),
}


@pytest.mark.parametrize("name", ALONE)
def test_planted_bugs_in_a_decoder_alone_are_found(name):
    copy = mutated(request_decoder, *ALONE[name])
    with pytest.raises(AssertionError):
        check_messages(copy.RequestDecoder(8), rng_of(name))


@pytest.mark.parametrize("bug", [("SETTLING = 4", "SETTLING = 3"), ("SETTLING + self.latency - 1", "SETTLING")])
def test_a_write_that_settles_too_soon_is_found(bug):
    with pytest.raises(AssertionError):
        check_settling(mutated(request_decoder, *bug))
