"""The request decoder alone and in its bridge: messages, flags, a byte per cycle, writes that settle, planted bugs."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from harness.bridge import BridgeBench, check, find_planted_bug, model_of, random_data, write
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.hdl.host import request_decoder
from spikeloom.hdl.host.bridge import HostBridge
from spikeloom.sim.host.bridge import (
    ADDRESS_ERROR,
    AXON_ERROR,
    MESSAGE_ERROR,
    BridgeModel,
    Spike,
    Tick,
    Write,
)
from spikeloom.sim.host.messages import ConfigurationAddress, Opcode, encode_spikes, encode_write
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
    """The byte after the last index is dropped, and so are those after it, however many."""
    rng = rng_of(request.node.name)
    bench = BridgeBench(HostBridge(8, 8, index_width=6), rng, idle=0, stall=0)
    address = ConfigurationAddress(tile=CORE_TILE, memory=3, index=62, word_bytes=3 if words else 0)
    data = encode_write(address, bytes(range(250))) + encode_spikes(np.eye(2, 5, dtype=bool))
    run, expected = check(bench, data)
    assert expected.error == ADDRESS_ERROR
    assert [index for _, _, index, _ in run.writes] == ([62] * 3 + [63] * 3 if words else [62, 63])
    assert [plane for _, plane, _, _ in run.writes] == ([0, 1, 2] * 2 if words else [0, 0])


def test_a_spike_a_cycle_in(request):
    spikes = np.ones((1, 500), bool)
    bench = BridgeBench(HostBridge(9, 16), rng_of(request.node.name), idle=0, stall=0, density=0)
    run, _ = check(bench, encode_spikes(spikes))
    assert run.last_byte == 501
    assert run.last_request <= 501 + 8


def test_a_write_settles_before_what_follows(request):
    # The clearing has been done when the TICK right behind it goes: it has parity 0 again.
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


def run_decoder(decoder, messages, rng, *, idle=0.3, stall=0.3):
    """What a decoder alone does with ``messages``, in order, and when: (cycle, requests, error flags)."""
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
    """Random messages, most of them near the last axon: each leads to what the model makes of it, and to one flag."""
    model, messages, expected = BridgeModel(decoder.axon_width), [], []
    seen = {Spike: 0, Tick: 0, Write: 0, MESSAGE_ERROR: 0, AXON_ERROR: 0, ADDRESS_ERROR: 0}
    others = [byte for byte in range(64) if byte not in set(Opcode)]
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
    the tile: one ends the write, and the tile and its memory take theirs in the others. A write of nothing waits as
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
