# amaranth: UnusedElaboratable=no
"""The Ethernet device at its GMII pins: equal to the model for random packets, at full rate, with unrelated clocks."""

import collections

import pytest
from amaranth.sim import Simulator
from harness.gmii import LEAST_GAP, PREAMBLE, LineBench, opened
from harness.networks import rng_of
from harness.packets import BOARD, HOSTS, Packet, arp_request, echo_request, random_frame, udp

from spikeloom.hdl.host.ethernet import PayloadRing
from spikeloom.sim.host.ethernet import OPENING, EthernetModel, udp_frame

FIRST, SECOND, THIRD = HOSTS


def test_each_reaction():
    bench, model = opened()
    for frame in (arp_request(THIRD), echo_request(THIRD, b"ping" * 14), udp(SECOND, OPENING), udp(FIRST, b"data")):
        bench.put(frame)
        bench.finish(more=260)
        answer = model.receive(frame)
        if answer is not None:
            assert bench.sent.pop(0) == answer.frame
        assert bench.sent == []
    assert bench.received == model.received == OPENING + b"data"


@pytest.mark.parametrize("count", [30, pytest.param(1000, marks=pytest.mark.slow)])
def test_random_packets(count, request):
    """Whatever arrives, whenever: the same payloads are passed on, and the same answers are sent."""
    rng = rng_of(request.node.name)
    bench, model = LineBench(take=0.7), EthernetModel(BOARD)
    names, kinds = collections.Counter(), collections.Counter()
    for _ in range(count):
        name, frame = random_frame(rng, model.peer)
        names[name] += 1
        error = int(rng.integers(0, len(frame))) if rng.random() < 0.05 else -1
        bench.put(
            frame, gap=int(rng.integers(LEAST_GAP, 60)), error=error, preamble=PREAMBLE[int(rng.integers(0, 7)) :]
        )
        bench.finish(more=20)
        answer = model.receive(frame, error=error >= 0)
        if answer is not None:
            kinds[answer.kind] += 1
            bench.until_sent(1)
            assert bench.sent.pop() == answer.frame
    bench.advance(3000)
    assert bench.sent == []
    assert bench.received == model.received
    assert len(model.received) > 5 * count
    assert min(kinds[kind] for kind in ("arp", "echo", "refusal")) > count // 40
    assert len(names) > 10


def test_packets_back_to_back(request):
    """At full rate, payloads arrive all the same, and the answers are some of those of the model, in its order."""
    rng = rng_of(request.node.name)
    bench, model = LineBench(buffer=16384, sync_hz=125e6), EthernetModel(BOARD)
    expected = []
    bench.put(udp(FIRST, OPENING))
    model.receive(udp(FIRST, OPENING))
    for _ in range(55):
        _, frame = random_frame(rng, model.peer)
        bench.put(frame, preamble=PREAMBLE)
        answer = model.receive(frame)
        if answer is not None:
            expected.append(answer.frame)
    bench.finish(more=4000)
    assert bench.received == model.received
    assert len(model.received) > 200
    remaining = iter(expected)
    assert all(frame in remaining for frame in bench.sent)
    assert len(expected) > 10
    assert len(bench.sent) > 0.6 * len(expected)


def test_answers_keep_up_with_the_smallest_requests():
    """Every ARP request is answered although they arrive without a pause."""
    bench = LineBench()
    asked = [arp_request(host) for host in HOSTS * 4]
    for frame in asked:
        bench.put(frame)
    bench.finish()
    assert [Packet(frame).arp[7:] for frame in bench.sent] == [(h.mac, h.address) for h in HOSTS * 4]
    assert min(bench.gaps) >= LEAST_GAP


@pytest.mark.parametrize("size", [1, 18, 19, 255])
def test_frames_of_the_link(size, request):
    """Each frame is a datagram, with right headers and checksums, at any length."""
    rng = rng_of(request.node.name)
    bench, model = opened(give=0.8)
    frames = [rng.integers(1, 256, size - 1, "uint8").tobytes() + b"\0" for _ in range(2)]
    bench.frames += frames
    bench.until_sent(len(frames))
    assert bench.sent == [model.send(frame) for frame in frames]
    assert [Packet(frame).payload for frame in bench.sent] == frames


def test_datagrams_without_a_pause():
    """A frame arrives while another one is sent, and the gap between frames is that of Ethernet."""
    bench, _ = opened(sync_hz=200e6)
    bench.frames += [bytes([7]) * 299 + b"\0"] * 4
    bench.until_sent(4)
    assert set(bench.gaps) == {LEAST_GAP}


def test_the_longest_frames_fill_the_ring(request):
    """Bytes that arrive faster than they are sent wait, and are not lost when the ring wraps around."""
    rng = rng_of(request.node.name)
    bench, model = opened(sync_hz=250e6)
    frames = [rng.integers(1, 256, 1425, "uint8").tobytes() + b"\0" for _ in range(3)]
    bench.frames += frames
    bench.until_sent(3)
    assert bench.sent == [model.send(frame) for frame in frames]


def test_frames_without_a_session_are_dropped():
    bench, _ = opened()
    bench.put(udp(FIRST, b""))
    bench.finish()
    bench.frames += [b"old\0"] * 5
    bench.advance(600)
    assert (len(bench.frames), bench.sent) == (0, [])
    bench.put(udp(THIRD, OPENING))
    bench.finish()
    bench.frames.append(b"new\0")
    bench.until_sent(1)
    assert bench.sent == [udp_frame(BOARD, THIRD, b"new\0")]


def test_answers_and_datagrams_take_turns():
    bench, _ = opened(sync_hz=200e6)
    bench.frames += [bytes([7]) * 60 + b"\0"] * 40
    for _ in range(20):
        bench.put(arp_request(SECOND))
    bench.finish(more=600)
    kinds = "".join("A" if frame[12:14] == b"\x08\x06" else "D" for frame in bench.sent)
    assert "AA" not in kinds
    assert kinds.count("A") > 6
    assert kinds.count("D") > 8


def test_a_silent_host_is_replaced():
    bench, model = LineBench(idle_cycles=1000), EthernetModel(BOARD, idle_cycles=1000)
    for host, gap in ((FIRST, 0), (SECOND, 700), (SECOND, 400), (FIRST, 200)):
        bench.put(udp(host, OPENING), gap=gap + LEAST_GAP)
        bench.finish(more=0)
        model.wait(gap)
        answer = model.receive(udp(host, OPENING))
        if answer is not None:
            bench.until_sent(1)
            assert bench.sent.pop() == answer.frame
            model.wait(100)
    assert (model.peer, bench.sent) == (SECOND, [])
    bench.frames.append(b"x\0")
    bench.until_sent(1)
    assert bench.sent == [udp_frame(BOARD, SECOND, b"x\0")]


def test_a_full_ring_drops_whole_datagrams():
    bench, _ = opened(buffer=256)
    bench.take = 0
    payloads = [bytes([number]) * 60 for number in range(1, 9)]
    for payload in payloads:
        bench.put(udp(FIRST, payload))
    bench.finish()
    assert bench.received == OPENING
    bench.take = 1
    bench.put(udp(FIRST, b"next"))
    bench.finish(more=1500)
    assert bench.received == OPENING + b"".join(payloads[:4]) + b"next"


def test_how_much_the_ring_holds():
    """All but six bytes of a frame without a pause, again and again; a frame that does not fit leaves nothing."""
    ring = PayloadRing(64)
    simulator = Simulator(ring)
    simulator.add_clock(1e-6)

    async def store(ctx):
        ctx.set(ring.o.ready, 1)
        for size in (58, 59, 58, 64, 3, 58):
            ctx.set(ring.begin, 1)
            await ctx.tick()
            ctx.set(ring.begin, 0)
            await ctx.tick().repeat(3)  # the headers, which are longer
            ctx.set(ring.store, 1)
            for byte in range(size):
                ctx.set(ring.byte, byte)
                await ctx.tick()
            ctx.set(ring.store, 0)
            await ctx.tick()
            assert ctx.get(ring.overflow) == (size > 58)
            ctx.set(ring.accept, int(size <= 58))
            await ctx.tick()
            ctx.set(ring.accept, 0)
            found = []
            for _ in range(80):
                if ctx.get(ring.o.valid):
                    found.append(ctx.get(ring.o.payload))
                await ctx.tick()
            assert found == (list(range(size)) if size <= 58 else [])

    simulator.add_testbench(store)
    simulator.run()


@pytest.mark.parametrize("depth", [0, 8, 17, 4097])
def test_the_ring_has_a_power_of_two(depth):
    with pytest.raises(ValueError, match=f"^depth must be a power of two from 16 on, not {depth}$"):
        PayloadRing(depth)


def test_a_preamble_may_be_short_and_must_be_one():
    bench, model = opened()
    frame = udp(FIRST, b"abc")
    for preamble in (b"\x55\xd5", PREAMBLE[3:], b"\x55" * 20 + b"\xd5"):
        bench.put(frame, preamble=preamble)
        model.receive(frame)
    for preamble in (b"\xd5", b"", b"\x55\x54\xd5", b"\x55\x55"):
        bench.put(frame, preamble=preamble)
    bench.finish()
    assert bench.received == model.received
    assert len(bench.received) == 2 + 3 * 3
