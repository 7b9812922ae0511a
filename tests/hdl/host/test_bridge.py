"""The host bridge equals its model under random pauses and stalls; planted bugs are found."""

import gc
import re
from collections import deque

import numpy as np
import pytest
from amaranth.sim import Simulator
from harness.bridge import (
    PLANTED,
    BridgeBench,
    bridge_with_bug,
    check,
    expected_of,
    find_planted_bug,
    messages_of,
    random_data,
    read,
    write,
)
from harness.networks import rng_of

from spikeloom.hdl.host import answer_encoder, bridge
from spikeloom.hdl.host.bridge import HostBridge
from spikeloom.hdl.noc.packet import PacketKind
from spikeloom.sim.host.bridge import AXON_ERROR, MESSAGE_ERROR, Spike, Tick
from spikeloom.sim.host.messages import (
    ConfigurationAddress,
    MessageDecoder,
    Opcode,
    encode_read,
    encode_spikes,
    encode_write,
)
from spikeloom.sim.host.registers import BRIDGE
from spikeloom.sim.lib.registers import BRIDGE_TILE


@pytest.mark.parametrize("stall", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("axon_width", [1, 7, 10, 16])
def test_samples_and_configuration(request, axon_width, stall):
    rng = rng_of(request.node.name)
    bench = BridgeBench(HostBridge(axon_width, 20), rng, idle=float(rng.choice([0, 0.5])), stall=stall)
    run, expected = check(bench, random_data(rng, axon_width, samples=6))
    assert expected.error == 0
    assert 0 < sum(isinstance(r, Spike) for r in run.requests) < len(run.requests)
    assert {PacketKind.SPIKE, PacketKind.MEMBRANE, PacketKind.TICK} == {kind for kind, *_ in run.taken}
    assert run.writes
    assert any(expected.reads)
    assert run.at_limit > 0, "the host must have been as far ahead as it may"


@pytest.mark.parametrize("axon_width", [17, 20])
def test_messages_reach_axons_of_16_bits_in_wider_fabrics(request, axon_width):
    """The last axon of messages is used; the next one does not exist for the host, although the fabric has it."""
    rng = rng_of(request.node.name)
    bench = BridgeBench(HostBridge(axon_width, 20), rng, density=0)
    steps = bytes([Opcode.SKIP | 63] * 7 + [Opcode.SKIP | 62])  # 511 times 128 axons
    data = steps + bytes([Opcode.SPIKE | 126, Opcode.SPIKE | 0, Opcode.SPIKE | 0, Opcode.TICK_LAST])
    run = bench.simulate(data, then=read("error"))
    _, (error,) = messages_of(bench.run.answers)
    assert run.requests == [Spike(65534), Spike(65535), Tick(True)]
    assert error == bytes([AXON_ERROR])


@pytest.mark.parametrize("reset_at", [35, 60, 97, 130, 200])
def test_a_session_begins_anew(request, reset_at):
    rng = rng_of(request.node.name)
    bench = BridgeBench(HostBridge(7, 16), rng, idle=0.1)
    data = random_data(rng, 7, samples=4)
    before = BridgeBench(HostBridge(7, 16), rng_of(request.node.name), idle=0.1).simulate(data)
    assert reset_at < before.cycles - 100, "the reset must come in the middle"
    check(bench, data, reset_at=reset_at)


def test_a_host_that_does_not_read_stops_no_input(request):
    rng = rng_of(request.node.name)
    spikes = rng.random((5, 30)) < 0.5
    bench = BridgeBench(HostBridge(7, 16), rng, stalled=("host",), density=0)
    run = bench.simulate(encode_spikes(spikes))
    # The TICK that answers step 0 waits as a byte, so the ACK behind it has passed; TICK 1 waits as a packet.
    steps = run.acknowledged + 2
    assert steps < 5
    assert sum(isinstance(r, Tick) for r in run.requests) == steps
    assert sum(isinstance(r, Spike) for r in run.requests) == spikes[:steps].sum() > 0
    assert run.answered == run.acknowledged == 1
    assert not run.answers


def test_a_fabric_that_does_not_listen_stops_no_answers(request):
    # Two steps have been sent when the fabric stops listening; all of its answers to them reach the host.
    rng = rng_of(request.node.name)
    bench = BridgeBench(HostBridge(7, 16), rng, density=8, idle=0, stall=0)
    data = encode_spikes(np.ones((2, 5), bool))
    run = bench.simulate(data)
    whole = bytes(run.answers)

    class Deaf(BridgeBench):
        def _request(self, packet):
            super()._request(packet)
            if len(self.lasts) == 2:
                self.stalled = ("fabric",)

    deaf = Deaf(HostBridge(7, 16), rng, density=8)
    run = deaf.simulate(data)
    assert deaf.stalled
    assert bytes(run.answers) == whole == expected_of(bench, data).answers
    assert run.answered < 2


NAMES = ("scratch", "error", "events_in", "events_out")


def test_registers_of_the_bridge(request):
    rng = rng_of(request.node.name)
    spikes = rng.random((3, 200)) < 0.5
    bench = BridgeBench(HostBridge(8, 16), rng)
    # The third sample waits for all answers to the first: then the counters stand still.
    data = b"".join(map(read, NAMES)) + write("scratch", 0x5A) + b"\x04" + encode_spikes(spikes)
    data += b"\x20\x20\x20" + b"".join(map(read, NAMES))
    run = bench.simulate(data)
    values = [int.from_bytes(read, "little") for read in messages_of(run.answers)[1]]
    events_out = sum(kind is not PacketKind.TICK for kind, *_ in run.taken)
    assert values[:4] == [0, 0, 0, 0]
    assert values[4:7] == [0x5A, MESSAGE_ERROR, spikes.sum()]
    assert 0 < values[7] <= events_out
    assert not run.writes, "a write to the bridge must not reach the core"


def test_registers_that_do_not_exist_read_zero(request):
    bench = BridgeBench(HostBridge(8, 16), rng_of(request.node.name))
    data = write("scratch", 0xFF) + encode_read(ConfigurationAddress(tile=BRIDGE_TILE), 64)
    data += encode_read(ConfigurationAddress(tile=BRIDGE_TILE, index=64), 64)
    data += encode_read(ConfigurationAddress(tile=BRIDGE_TILE, memory=1), 64)
    _, reads = messages_of(bench.simulate(data).answers)
    scratch = BRIDGE.register("scratch").offset
    assert reads == [bytes(scratch) + b"\xff" + bytes(63 - scratch), bytes(64), bytes(64)]


def test_clearing_begins_with_parity_zero(request):
    # An odd number of steps, answered only by the bench, and the same again after clearing.
    rng = rng_of(request.node.name)

    class Cleared(BridgeBench):
        async def _clock(self, ctx, data, cycles, reset, reset_at):
            await super()._clock(ctx, data, cycles, reset, reset_at)
            self.first = self.run
            await super()._clock(ctx, write("control", 1) + write("scratch", 7), cycles, reset, reset_at)
            await super()._clock(ctx, data + b"".join(map(read, NAMES)), cycles, reset, reset_at)

    bench = Cleared(HostBridge(8, 16), rng, density=0)
    data = b"\x03" + encode_spikes(rng.random((3, 200)) < 0.1) + b"\x85"
    run = bench.simulate(data)
    expected = expected_of(bench, data)
    assert bench.first.requests == run.requests == expected.requests
    values = [int.from_bytes(read, "little") for read in messages_of(run.answers)[1]]
    assert values == [7, MESSAGE_ERROR, sum(isinstance(r, Spike) for r in run.requests), 0]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 8), ValueError, "axon_width must be from 1 to 32, not 0"),
        ((33, 8), ValueError, "axon_width must be from 1 to 32, not 33"),
        ((8, 25), ValueError, "value_width must be from 1 to 24, not 25"),
        ((8.0, 8), TypeError, "axon_width must be an integer, not 8.0"),
        ((8, True), TypeError, "value_width must be an integer, not True"),
    ],
)
@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_bad_parameters_are_refused(arguments, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        HostBridge(*arguments)
    gc.collect()  # warnings about the unfinished object appear, and are ignored, here


def several_tiles(bridge, rng, *, steps=12):
    """Three sources, any of which may be a step ahead of another, and two sinks: the messages to the host, and the
    expected ones.

    Packets come in an order that elastic time allows. The packets for the fabric are returned too.
    """
    sources, sinks, sets = 3, 2, {"spike": 0b0101, "tick": 0b0111, "ack": 0b1110}
    data = b""
    values = {"sources": sources, "sinks": sinks} | {f"{kind}_destinations": tiles for kind, tiles in sets.items()}
    for name, value in values.items():
        register = BRIDGE.register(name)
        data += encode_write(ConfigurationAddress(tile=BRIDGE_TILE, index=register.offset), register.encode(value))
    host = deque(data + encode_spikes(rng.random((steps, 30)) < 0.1, np.arange(30)))
    done = [0] * sources  # steps that each source has finished
    left = [int(rng.integers(4)) for _ in done]  # spikes that it has yet to send in this step
    expected, answers, given = [], bytearray(), []
    acks, acknowledged = deque(), []
    answered = sent = 0

    async def clock(ctx):
        nonlocal answered, sent
        waiting = None
        quiet = 0
        while quiet < 100:
            if waiting is None and rng.random() < 0.6:
                may = [s for s in range(sources) if done[s] < min(sent, answered + 2, steps)]
                if acks and rng.random() < 0.5:
                    # One of two sinks may be ahead of the other.
                    place = 1 if len(acks) == 3 and rng.random() < 0.5 else 0
                    waiting = {"kind": PacketKind.ACK, "parity": acks[place]}
                    del acks[place]
                    acknowledged.append(waiting["parity"])
                elif may:
                    source = int(rng.choice(may))
                    parity, last = done[source] & 1, int(done[source] == steps - 1)
                    waiting = {"kind": PacketKind.TICK, "parity": parity, "last": last}
                    if left[source]:
                        left[source] -= 1
                        axon = int(rng.integers(1 << 9))
                        waiting = {"kind": PacketKind.SPIKE, "parity": parity, "axon": axon, "value": 1}
                        expected.append((done[source], axon))
                    else:
                        done[source] += 1
                        left[source] = int(rng.integers(4))
            ctx.set(bridge.receive.valid, bool(host))
            ctx.set(bridge.receive.payload, host[0] if host else 0)
            ctx.set(bridge.from_fabric.valid, waiting is not None)
            if waiting is not None:
                ctx.set(bridge.from_fabric.payload, {"last": 0, "axon": 0, "value": 0} | waiting)
            ctx.set(bridge.transmit.ready, rng.random() < 0.7)
            ctx.set(bridge.to_fabric.ready, rng.random() < 0.7)
            _, _, taken, came, told, byte, gave, packet = await ctx.tick().sample(
                bridge.receive.valid & bridge.receive.ready,
                bridge.from_fabric.valid & bridge.from_fabric.ready,
                bridge.transmit.valid & bridge.transmit.ready,
                bridge.transmit.payload,
                bridge.to_fabric.valid & bridge.to_fabric.ready,
                bridge.to_fabric.payload,
            )
            quiet = 0 if taken or came or told or gave else quiet + 1
            if taken:
                host.popleft()
            if came:
                waiting = None
            if told:
                answers.append(byte)
            if gave:
                given.append(packet)
                name = packet.kind.name.lower()
                assert packet.destinations == sets[name]
                if packet.kind == PacketKind.ACK:
                    assert packet.parity == answered & 1
                    answered += 1
                    assert answered <= min(done)
                else:
                    assert packet.parity == sent & 1
                    assert sent < 2 or acknowledged.count(packet.parity) >= sinks * (sent // 2), "two steps ahead"
                if packet.kind == PacketKind.TICK:
                    acks.extend([sent & 1] * sinks)
                    sent += 1

    simulator = Simulator(bridge)
    simulator.add_clock(1e-6)
    simulator.add_testbench(clock)
    simulator.run()
    assert min(done) == sent == answered == steps
    found = MessageDecoder().feed(bytes(answers))
    assert sorted(zip(found.spike_step.tolist(), found.spike_axon.tolist(), strict=True)) == sorted(expected)
    assert found.ticks.tolist() == [False] * (steps - 1) + [True]
    return answers, given


def test_several_tiles(request):
    rng = rng_of(request.node.name)
    ahead = 0
    for _ in range(4):
        answers, given = several_tiles(HostBridge(9, 20, tiles=4), rng)
        ahead += answers.count(Opcode.AHEAD)
        assert {packet.kind for packet in given} == {PacketKind.SPIKE, PacketKind.TICK, PacketKind.ACK}
    assert ahead > 10


SEVERAL = {
    "the step of a spike": (answer_encoder, "(self.parity ^ self.step_parity) != ahead", "Const(0)"),
    "the end of being ahead": (answer_encoder, "[flushing.eq(last), ahead.eq(0)]", "flushing.eq(last)"),
    "when a step has ended": (bridge, "encoder.complete.eq(tokens.complete)", "encoder.complete.eq(1)"),
    "whose TICK": (bridge, "tokens.tick_parity.eq(encoder.parity)", "tokens.tick_parity.eq(0)"),
    "where an answer goes": (bridge, "Mux(answered, registers.ack_destinations, tick_or_spike)", "tick_or_spike"),
    "how many sinks": (bridge, "tokens.sinks.eq(registers.sinks if self.tiles else 1)", "tokens.sinks.eq(1)"),
    "the distance after a TICK": (answer_encoder, "(drop if self.several else leave).eq(1)", "leave.eq(1)"),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_planted_bugs_with_several_tiles_are_found(monkeypatch, name):
    design = bridge_with_bug(monkeypatch, *SEVERAL[name])
    with pytest.raises((AssertionError, ValueError)):
        several_tiles(design(9, 20, tiles=4), rng_of(name), steps=60)


MUTATIONS = {
    "credit": ("decoder.credit.eq(1 if self.encoder else tokens.allowed)", "decoder.credit.eq(1)"),
    "whose acknowledgement": ("tokens.ack_parity.eq(encoder.parity)", "tokens.ack_parity.eq(0)"),
    "parity of a step": ("packet.parity.eq(tokens.sent_parity)", "packet.parity.eq(0)"),
    "parity of an answer": ("packet.parity.eq(owed_parity)", "packet.parity.eq(0)"),
    "answers": ("owed + (encoder.ticked & tokens.complete) - answered", "owed - answered"),
    "last": ("packet.last.eq(events.payload.last)", "packet.last.eq(0)"),
    "stalled packet": ("free = ~packet_valid | self.to_fabric.ready", "free = 1"),
    "other tiles": ("others = ~is_bridge if self.tiles else decoder.tile == CORE_TILE", "others = ~is_bridge"),
}


def test_the_bench_for_planted_bugs_finds_none():
    check(BridgeBench(HostBridge(9, 20), rng_of("planted")), PLANTED)


@pytest.mark.parametrize("name", MUTATIONS)
def test_planted_bugs_are_found(monkeypatch, name):
    find_planted_bug(monkeypatch, bridge, *MUTATIONS[name])
