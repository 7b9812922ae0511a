"""Frames against their model: reception from a line, and the bytes that the sender puts on one."""

import zlib
from collections import deque
from dataclasses import replace
from itertools import chain, repeat

import pytest
from amaranth.hdl import Fragment
from amaranth.sim import Simulator
from harness.assign import assign
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.hdl.host import frames
from spikeloom.hdl.host.frames import FrameReceiver, FrameSender
from spikeloom.sim.host.link import (
    CRC_BYTES,
    HEADER_BYTES,
    LENGTH_BYTES,
    NONCE_BYTES,
    OFFSETS,
    Frame,
    FrameError,
    Kind,
    cobs_decode,
    cobs_encode,
    offset_difference,
)

LARGEST = 40
IDENTITY = bytes((7 * number) % 11 for number in range(45))  # a zero every eleven bytes


def random_payload(rng, size):
    """Bytes of which about a third are 0, the delimiter of the line."""
    return bytes(int(byte) for byte in rng.integers(256, size=size) * (rng.random(size) > 0.3))


def random_frame(rng, largest=LARGEST, expected=0, acknowledged=0):
    kind = Kind.OPEN if rng.random() < 0.3 else Kind.DATA
    size = NONCE_BYTES if kind is Kind.OPEN and rng.random() < 0.5 else int(rng.integers(largest + 1))
    sequence, acknowledge, limit = (random_offset(rng, near) for near in (expected, acknowledged, acknowledged))
    return Frame(
        kind=kind,
        sequence=sequence,
        acknowledge=acknowledge,
        limit=limit,
        payload=random_payload(rng, size),
        reply=bool(rng.integers(2)),
        again=bool(rng.integers(2)),
    )


DISTANCES = (0, 1, 2, 255, 256, 32_767, 32_768, 65_535, 65_536, 1 << 23, 1 << 24, 1 << 30, (1 << 31) - 1, 1 << 31)
"""Distances between offsets at which a carry or a sign can go wrong."""


def random_offset(rng, near):
    """An offset at a distance of ``near``, ahead or behind, or anywhere."""
    if rng.random() < 0.1:
        return int(rng.integers(OFFSETS))
    return (near + int(rng.choice(DISTANCES)) * int(rng.choice((1, -1)))) % OFFSETS


def line_of(rng, frame, largest=LARGEST):
    """The bytes of ``frame`` without its delimiter: unchanged in half of the cases, otherwise damaged or invalid."""
    line = bytearray(frame.encode()[:-1])
    damage = rng.choice(["none", "bytes", "length", "long"], p=[0.5, 0.3, 0.1, 0.1])
    if damage == "bytes":
        for _ in range(int(rng.integers(1, 3))):
            where = int(rng.integers(len(line)))
            line[where : where + int(rng.integers(2))] = bytes([int(rng.integers(1, 256))]) * int(rng.integers(2))
    elif damage == "length":  # of another payload, while the CRC matches
        body = cobs_decode(bytes(line))[:-CRC_BYTES]
        length = int(rng.choice([rng.integers(largest + 1), len(frame.payload) + 256]))
        length = length.to_bytes(LENGTH_BYTES, "little")
        body = body[: HEADER_BYTES - LENGTH_BYTES] + length + body[HEADER_BYTES:]
        line[:] = cobs_encode(body + zlib.crc32(body).to_bytes(CRC_BYTES, "little"))
    elif damage == "long":
        line[:] = replace(frame, payload=random_payload(rng, largest + 1)).encode()[:-1]
    return bytes(line)


FIELDS = ("in_order", "ahead", "acknowledge", "acknowledge_near", "limit", "limit_near", "limit_behind", "length")


def fields_of(frame, bases, low_bytes):
    """The fields that a receiver reports for the header of a frame, where the offsets of the link are ``bases``."""
    ahead = offset_difference(frame.sequence, bases[0])
    near = 1 << 8 * low_bytes
    window = offset_difference(frame.limit, bases[1])
    return {
        "in_order": ahead == 0,
        "ahead": ahead > 0,
        "acknowledge": frame.acknowledge % near,
        "acknowledge_near": (frame.acknowledge - bases[1]) % OFFSETS < near,
        "limit": frame.limit % near,
        "limit_near": 0 <= window < near // 2,
        "limit_behind": window < 0,
        "length": len(frame.payload),
        "kind": frame.kind,
        "reply": frame.reply,
        "again": frame.again,
    }


def receive(receiver, pieces, rng, *, idle, bases, hold=0.0, check=lambda number, *frame: None):
    """For each frame on the line that ends: whether it is good, its fields, its payload and nonce.

    ``bases`` are the offsets expected and acknowledged for each frame; they change when a frame has ended. ``check``
    gets the number of each frame and what was found, as soon as it was.
    """
    found, payload = [], bytearray()

    async def clock(ctx):
        line = deque(byte for piece in pieces for byte in (*piece, 0))
        to_come = chain(bases, repeat((0, 0)))
        assign(ctx, zip((receiver.expected, receiver.acknowledged), next(to_come), strict=True))
        driven = receiver.hold, receiver.i.valid, receiver.i.payload
        ticks = aiter(ctx.tick())
        before = None
        offered = change = False
        quiet = held = 0
        while quiet < 10:
            offered = offered or (bool(line) and rng.random() >= idle)
            held = held - 1 if held else 0
            levels = held > 0, offered, line[0] if offered else 0
            if levels != before:
                assign(ctx, zip(driven, levels, strict=True))
                before = levels
            ready = ctx.get(receiver.i.ready)
            assert not (held and ready), "a frame that is still being looked at must not be overwritten"
            if ctx.get(receiver.payload_valid):
                payload.append(ctx.get(receiver.payload))
            if ctx.get(receiver.done):
                assert not ready
                fields = {name: ctx.get(getattr(receiver, name)) for name in FIELDS}
                kind = {name: ctx.get(getattr(receiver.kind, name)) for name in ("kind", "reply", "again")}
                nonce = ctx.get(receiver.nonce).to_bytes(NONCE_BYTES, "little")
                opening = ctx.get(receiver.opening)
                found.append((ctx.get(receiver.good), fields | kind, bytes(payload), opening, nonce))
                check(len(found) - 1, *found[-1])
                payload.clear()
                held = int(rng.integers(1, 9)) + 1 if rng.random() < hold else 0
                change = True
            elif change:
                change = False
                assign(ctx, zip((receiver.expected, receiver.acknowledged), next(to_come), strict=True))
            if offered and ready:
                line.popleft()
                offered = False
            quiet = 0 if line else quiet + 1
            await anext(ticks)

    simulator = Simulator(receiver)
    simulator.add_clock(1e-6)
    simulator.add_testbench(clock)
    simulator.run()
    return found


def check_receiver(receiver, rng, *, idle=0.3, count=25, largest=LARGEST):
    """Compare a receiver with the model, on frames of which some are damaged; returns how many are good of how many."""
    sent, pieces, bases = [], [], []
    while len(pieces) < count:
        bases.append((random_offset(rng, 0), random_offset(rng, 0)))
        frame = random_frame(rng, largest, *bases[-1])
        line = line_of(rng, frame, largest)
        pieces.append(line)
        try:
            sent.append(Frame.decode(line, maximum_payload=largest))
        except FrameError:
            sent.append(None)
        if rng.random() < 0.2:
            pieces.append(b"")  # delimiters in a row
    sent = [frame for frame, piece in zip(sent, (piece for piece in pieces if piece), strict=True)]

    def check(number, good, fields, payload, opening, nonce):
        assert number < len(sent)
        frame = sent[number]
        assert good == (frame is not None)
        if frame is None:
            return
        assert opening == (frame.kind is Kind.OPEN and len(frame.payload) == NONCE_BYTES)
        assert payload == frame.payload
        expected = fields_of(frame, bases[number], receiver.low_bytes)
        if opening:
            assert nonce == payload
            expected["limit"] = fields["limit"]
        assert fields == expected

    found = receive(receiver, pieces, rng, idle=idle, hold=0.5, bases=bases, check=check)
    assert len(found) == len(sent)
    return sum(frame is not None for frame in sent), len(sent)


@pytest.mark.parametrize("idle", [0.0, 0.5])
@pytest.mark.parametrize("low_bytes", [2, 3])
def test_frames_that_come(request, idle, low_bytes):
    receiver = FrameReceiver(LARGEST, low_bytes=low_bytes)
    good, all_ = check_receiver(receiver, rng_of(request.node.name), idle=idle, count=100)
    assert 0.3 * all_ < good < 0.9 * all_


@pytest.mark.parametrize(("largest", "width"), [(100, 8), (255, 8), (256, 9), (1023, 10), (1400, 11)])
def test_the_width_of_a_length(largest, width):
    """At least the eight bits that the low byte of the length takes, and no more than the longest payload needs."""
    receiver = FrameReceiver(largest)
    Fragment.get(receiver, None)
    assert len(receiver.length) == width


@pytest.mark.parametrize(
    ("largest", "count"),
    [(235, 30), (255, 30), (256, 30), (300, 30), (1399, 15), pytest.param(1399, 100, marks=pytest.mark.slow)],
)
def test_long_frames_that_come(request, largest, count):
    """Bodies of one COBS block, of exactly 254 bytes, and of several blocks."""
    rng = rng_of(request.node.name)
    good, all_ = check_receiver(FrameReceiver(largest), rng, idle=0.0, count=count, largest=largest)
    assert 0.3 * all_ < good < 0.9 * all_


@pytest.mark.parametrize("size", [234, 235, 236, 488, 489, 490, 1400])
@pytest.mark.parametrize("zeros", [0, 1])
def test_blocks_end_where_the_frame_does(request, size, zeros):
    """Payloads with which the last COBS block is full, or nearly full, in both directions."""
    rng = rng_of(request.node.name)
    payload = bytearray(rng.integers(1, 256, size, dtype="u1").tobytes())
    payload[-1] *= 1 - zeros
    offset = 0x01010101
    frame = Frame(sequence=offset, acknowledge=offset, limit=offset, payload=bytes(payload))
    line = frame.encode()[:-1]
    ((good, _, arrived, _, _),) = receive(FrameReceiver(1400), [line], rng, idle=0.0, bases=[(0, 0)])
    assert (good, arrived) == (1, frame.payload)
    ring = bytearray(2048)
    for place, byte in enumerate(frame.payload, offset):
        ring[place % 2048] = byte
    sender = FrameSender(IDENTITY, maximum_payload=1400, offset_width=11)
    send(sender, [frame], ring, rng, stall=0.0, nonce=bytes(4))


def send(sender, sent, ring, rng, *, stall, nonce):
    """Compare the bytes that ``sender`` sends for successive frames with the expected ones, byte by byte.

    The payload is read from ``ring``.
    """

    async def memory(ctx):
        before = None
        async for _, _, offset in ctx.tick().sample(sender.offset):
            if offset != before:
                ctx.set(sender.payload, ring[offset])
                before = offset

    async def clock(ctx):
        ctx.set(sender.nonce, int.from_bytes(nonce, "little"))
        ticks = aiter(ctx.tick())
        for frame in sent:
            assert ctx.get(sender.ready)
            kind = {"kind": frame.kind, "reply": int(frame.reply), "again": int(frame.again), "zero": 0}
            fields = {"sequence": frame.sequence, "acknowledge": frame.acknowledge, "limit": frame.limit}
            ctx.set(sender.header, {"kind": kind, "length": len(frame.payload)} | fields)
            ctx.set(sender.start, 1)
            await anext(ticks)
            ctx.set(sender.start, 0)
            ctx.set(sender.header, {"length": 99})  # sampled with `start`
            held, before = None, False
            expected, place = frame.encode(), 0
            for _ in range(20_000):
                ready = rng.random() >= stall
                if ready != before:
                    ctx.set(sender.o.ready, int(ready))
                    before = ready
                valid, byte = ctx.get(sender.o.valid), ctx.get(sender.o.payload)
                assert held is None or (valid, byte) == (1, held), "what is offered must stay until it is taken"
                held = byte if valid and not ready else None
                if valid and ready:
                    assert byte == expected[place]
                    place += 1
                await anext(ticks)
                if ctx.get(sender.ready):
                    break
            assert place == len(expected)
            ctx.set(sender.o.ready, 0)

    simulator = Simulator(sender)
    simulator.add_clock(1e-6)
    simulator.add_testbench(clock)
    simulator.add_testbench(memory, background=True)
    simulator.run()


def ending_with_zero(frame):
    """The frame with another limit, chosen so that the last byte of its CRC is 0."""
    return next(
        changed
        for limit in range(10_000)
        if cobs_decode((changed := replace(frame, limit=limit)).encode()[:-1])[-1] == 0
    )


def check_sender(sender, rng, *, stall=0.3, count=12, largest=LARGEST):
    """Compare the bytes of a sender with those of the model."""
    size = 256 if largest <= 256 else 2048
    # In the first half there are no zeros, so that blocks become full.
    ring = rng.integers(1, 256, size // 2, dtype="u1").tobytes() + random_payload(rng, size // 2)
    nonce = random_payload(rng, NONCE_BYTES)
    sent = []
    for number in range(count):
        frame = random_frame(rng, largest)
        start = frame.sequence % size
        frame = replace(frame, kind=Kind.DATA, payload=(ring + ring)[start : start + len(frame.payload)])
        if number % 4 == 0:
            frame = replace(frame, kind=Kind.IDENTITY, payload=nonce + IDENTITY)
        if number % 4 == 2:
            frame = ending_with_zero(frame)
        sent.append(frame)
    send(sender, sent, ring, rng, stall=stall, nonce=nonce)
    assert {frame.kind for frame in sent} == {Kind.DATA, Kind.IDENTITY}
    assert any(0 in frame.payload for frame in sent)


@pytest.mark.parametrize("stall", [0.0, 0.7])
def test_frames_that_go(request, stall):
    check_sender(FrameSender(IDENTITY, offset_width=8), rng_of(request.node.name), stall=stall)


@pytest.mark.parametrize(("largest", "count"), [(235, 12), (1400, 8), pytest.param(1400, 40, marks=pytest.mark.slow)])
def test_long_frames_that_go(request, largest, count):
    width = 8 if largest <= 256 else 11
    sender = FrameSender(IDENTITY, maximum_payload=largest, offset_width=width)
    check_sender(sender, rng_of(request.node.name), stall=0.2, count=count, largest=largest)


RECEIVER = {
    "the CRC": ("whole & complete & crc_matches", "whole & complete"),
    "frames that are cut short": ("whole & complete & crc_matches", "whole & crc_matches"),
    "too long a payload": ("bad.eq(length > self.maximum_payload)", "bad.eq(0)"),
    "the high byte of a length": ("length.eq(Cat(self.length[:8], body))", "length.eq(self.length[:8])"),
    "bytes in each cycle": ("ready.eq(~body_first & ~ended", "ready.eq(~ended"),
    "hold": ("& ~ended & ~self.hold", "& ~ended"),
    "the first block": ("body_first.eq(~joined), fresh.eq(0)", "body_first.eq(1), fresh.eq(0)"),
    "delimiters in a row": ("ended.eq(~fresh)", "ended.eq(1)"),
    "an opening of another length": ("& (length == NONCE_BYTES)", ""),
    "an opening with flags": ("(self.kind.kind == Kind.OPEN)", "(Value.cast(self.kind) == Kind.OPEN)"),
    "the nonce": ("with m.If(self.opening):", "with m.If(0):"),
    "a new frame after one that is cut short": ("joined.eq(1), left.eq(0), bad", "joined.eq(1), bad"),
    "a borrow into the next offset": ("borrow.eq(difference[8] & ~ends)", "borrow.eq(difference[8])"),
    "a borrow": ("body - base - borrow", "body - base"),
    "low bytes that differ": ("in_order.eq(matches & low_zero)", "in_order.eq(matches)"),
    "high bytes that differ": ("in_order.eq(matches & low_zero)", "in_order.eq(low_zero)"),
    "an offset that is far behind": ("& ~difference[7])\n", ")\n"),
    "an acknowledge that is far away": ("acknowledge_near.eq(matches)", "acknowledge_near.eq(1)"),
    "a limit that is far ahead": ("matches & ~low_top", "matches"),
    "a limit that is behind": ("limit_behind.eq(difference[7])", "limit_behind.eq(0)"),
}


@pytest.mark.parametrize("bug", RECEIVER)
def test_a_planted_bug_in_the_receiver_is_found(bug):
    copy = mutated(frames, *RECEIVER[bug])
    with pytest.raises(AssertionError):
        check_receiver(copy.FrameReceiver(LARGEST), rng_of(bug), idle=0.0, count=100)


def test_a_planted_zero_after_a_full_block_is_found():
    copy = mutated(frames, "joined.eq(self.i.payload == BLOCK_BYTES + 1)", "joined.eq(0)")
    line = Frame(payload=bytes([1]) * 300).encode()[:-1]
    ((good, *_),) = receive(FrameReceiver(300), [line], rng_of("joined"), idle=0.0, bases=[(0, 0)])
    assert good
    ((good, *_),) = receive(copy.FrameReceiver(300), [line], rng_of("joined"), idle=0.0, bases=[(0, 0)])
    assert not good


SENDER = {
    "zeros": (
        "with m.If(byte == 0):\n                    m.d.comb += closing",
        "with m.If(0):\n                    m.d.comb += closing",
    ),
    "full blocks": ("place == BLOCK_BYTES", "0"),
    "a zero at the end": ("with m.Elif(byte != 0):\n", "with m.Elif(1):\n"),
    "the first byte of a block": ("m.d.sync += index.eq(0)", "pass"),
    "the identity after a block": ("with m.If(~sending):", "with m.If(1):"),
    "halves of bytes": ("crc.data.eq(byte[4:])", "crc.data.eq(byte[:4])"),
    "the next byte of the payload": ("self.offset.eq(self.offset + 1)", "self.offset.eq(self.offset)"),
    "the nonce": ("nonce_part.eq(1), remaining", "nonce_part.eq(0), remaining"),
    "a line that stalls": ("(index + self.o.ready)", "(index + 1)"),
    "the CRC starts anew": ("ready.eq(1), crc.start.eq(1)", "ready.eq(1)"),
}


@pytest.mark.parametrize("bug", SENDER)
def test_a_planted_bug_in_the_sender_is_found(bug):
    copy = mutated(frames, *SENDER[bug])
    sender = copy.FrameSender(IDENTITY, maximum_payload=1400, offset_width=11)
    with pytest.raises((AssertionError, IndexError)):
        check_sender(sender, rng_of(bug), largest=1400)
