"""Frames against their model: what the receiver makes of a line, and the bytes that the sender puts on one."""

import zlib
from dataclasses import replace

import pytest
from amaranth.sim import Simulator
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.hdl.host import frames
from spikeloom.hdl.host.frames import FrameReceiver, FrameSender
from spikeloom.sim.host.link import (
    CRC_BYTES,
    HEADER_BYTES,
    NONCE_BYTES,
    Frame,
    FrameError,
    Kind,
    cobs_decode,
    cobs_encode,
)

LARGEST = 40
IDENTITY = bytes((7 * number) % 11 for number in range(45))  # a zero every eleven bytes


def random_payload(rng, size):
    """Bytes of which about a third are 0, the delimiter of the line."""
    return bytes(int(byte) for byte in rng.integers(256, size=size) * (rng.random(size) > 0.3))


def random_frame(rng):
    kind = Kind.OPEN if rng.random() < 0.3 else Kind.DATA
    size = NONCE_BYTES if kind is Kind.OPEN and rng.random() < 0.5 else int(rng.integers(LARGEST + 1))
    sequence, acknowledge, limit = (int(value) for value in rng.choice([0, 1, 255, 256, 40_000, 65_535], 3))
    return Frame(
        kind=kind,
        sequence=sequence,
        acknowledge=acknowledge,
        limit=limit,
        payload=random_payload(rng, size),
        reply=kind is Kind.DATA and bool(rng.integers(2)),
        again=kind is Kind.DATA and bool(rng.integers(2)),
    )


def line_of(rng, frame):
    """The bytes of ``frame`` without its delimiter: in half of the cases as they are, else damaged or not allowed."""
    line = bytearray(frame.encode()[:-1])
    damage = rng.choice(["none", "bytes", "length", "long"], p=[0.5, 0.3, 0.1, 0.1])
    if damage == "bytes":
        for _ in range(int(rng.integers(1, 3))):
            where = int(rng.integers(len(line)))
            line[where : where + int(rng.integers(2))] = bytes([int(rng.integers(1, 256))]) * int(rng.integers(2))
    elif damage == "length":  # of another payload, while the CRC matches
        body = cobs_decode(bytes(line))[:-CRC_BYTES]
        body = body[: HEADER_BYTES - 1] + bytes([int(rng.integers(LARGEST + 1))]) + body[HEADER_BYTES:]
        line[:] = cobs_encode(body + zlib.crc32(body).to_bytes(CRC_BYTES, "little"))
    elif damage == "long":
        line[:] = replace(frame, payload=random_payload(rng, LARGEST + 1)).encode()[:-1]
    return bytes(line)


def receive(receiver, pieces, rng, *, idle, hold=0.0):
    """For each frame on the line that ends: whether it is good, its fields, its payload and nonce."""
    found, payload = [], bytearray()

    async def clock(ctx):
        line = [byte for piece in pieces for byte in (*piece, 0)]
        offered = False
        quiet = held = 0
        while quiet < 10:
            offered = offered or (bool(line) and rng.random() >= idle)
            held = held - 1 if held else 0
            ctx.set(receiver.hold, int(held > 0))
            ctx.set(receiver.i.valid, int(offered))
            if offered:
                ctx.set(receiver.i.payload, line[0])
            ready = ctx.get(receiver.i.ready)
            assert not (held and ready), "a frame that is still being looked at must not be overwritten"
            if ctx.get(receiver.payload_valid):
                payload.append(ctx.get(receiver.payload))
            if ctx.get(receiver.done):
                assert not ready
                header = receiver.header
                fields = {name: ctx.get(getattr(header, name)) for name in ("sequence", "acknowledge", "limit")}
                kind = {name: ctx.get(getattr(header.kind, name)) for name in ("kind", "reply", "again")}
                nonce = ctx.get(receiver.nonce).to_bytes(NONCE_BYTES, "little")
                opening = ctx.get(receiver.opening)
                found.append((ctx.get(receiver.good), fields | kind, bytes(payload), opening, nonce))
                payload.clear()
                held = int(rng.integers(1, 9)) + 1 if rng.random() < hold else 0
            if offered and ready:
                line.pop(0)
                offered = False
            quiet = 0 if line else quiet + 1
            await ctx.tick()

    simulator = Simulator(receiver)
    simulator.add_clock(1e-6)
    simulator.add_testbench(clock)
    simulator.run()
    return found


def check_receiver(receiver, rng, *, idle=0.3, count=25):
    """Compare a receiver with the model, on frames of which some are damaged; returns how many are good of how many."""
    sent, pieces = [], []
    while len(pieces) < count:
        frame = random_frame(rng)
        line = line_of(rng, frame)
        pieces.append(line)
        try:
            decoded = Frame.decode(line)
            sent.append(decoded if len(decoded.payload) <= LARGEST else None)
        except FrameError:
            sent.append(None)
        if rng.random() < 0.2:
            pieces.append(b"")  # delimiters in a row
    sent = [frame for frame, piece in zip(sent, (piece for piece in pieces if piece), strict=True)]
    found = receive(receiver, pieces, rng, idle=idle, hold=0.5)
    assert [bool(good) for good, *_ in found] == [frame is not None for frame in sent]
    for frame, (_, fields, payload, opening, nonce) in zip(sent, found, strict=True):
        if frame is None:
            continue
        assert opening == (frame.kind is Kind.OPEN and len(frame.payload) == NONCE_BYTES)
        assert payload == frame.payload
        if opening:
            assert nonce == payload
            continue
        expected = {"sequence": frame.sequence, "acknowledge": frame.acknowledge, "limit": frame.limit}
        assert fields == expected | {"kind": frame.kind, "reply": frame.reply, "again": frame.again}
    return sum(frame is not None for frame in sent), len(sent)


@pytest.mark.parametrize("idle", [0.0, 0.5])
def test_frames_that_come(request, idle):
    good, all_ = check_receiver(FrameReceiver(LARGEST), rng_of(request.node.name), idle=idle, count=60)
    assert 0.3 * all_ < good < 0.9 * all_


def send(sender, sent, ring, rng, *, stall, nonce):
    """What ``sender`` puts on the line for frames one after the other; its payload comes out of ``ring``."""
    line = bytearray()

    async def memory(ctx):
        async for _, _, offset in ctx.tick().sample(sender.offset):
            ctx.set(sender.payload, ring[offset])

    async def clock(ctx):
        ctx.set(sender.nonce, int.from_bytes(nonce, "little"))
        for frame in sent:
            assert ctx.get(sender.ready)
            kind = {"kind": frame.kind, "reply": int(frame.reply), "again": int(frame.again), "zero": 0}
            fields = {"sequence": frame.sequence, "acknowledge": frame.acknowledge, "limit": frame.limit}
            ctx.set(sender.header, {"kind": kind, "length": len(frame.payload)} | fields)
            ctx.set(sender.start, 1)
            await ctx.tick()
            ctx.set(sender.start, 0)
            ctx.set(sender.header, {"length": 99})  # sampled with `start`
            held = None
            for _ in range(4000):
                ready = rng.random() >= stall
                ctx.set(sender.o.ready, int(ready))
                valid, byte = ctx.get(sender.o.valid), ctx.get(sender.o.payload)
                assert held is None or (valid, byte) == (1, held), "what is offered must stay until it is taken"
                held = byte if valid and not ready else None
                if valid and ready:
                    line.append(byte)
                await ctx.tick()
                if ctx.get(sender.ready):
                    break
            ctx.set(sender.o.ready, 0)

    simulator = Simulator(sender)
    simulator.add_clock(1e-6)
    simulator.add_testbench(clock)
    simulator.add_testbench(memory, background=True)
    simulator.run()
    return bytes(line)


def check_sender(sender, rng, *, stall=0.3, count=12):
    """Compare the bytes of a sender with those of the model."""
    ring, nonce = random_payload(rng, 256), random_payload(rng, NONCE_BYTES)
    sent = []
    for number in range(count):
        frame = random_frame(rng)
        start = frame.sequence % 256
        frame = replace(frame, kind=Kind.DATA, payload=(ring + ring)[start : start + len(frame.payload)])
        if number % 4 == 3:
            frame = replace(frame, kind=Kind.IDENTITY, payload=nonce + IDENTITY)
        sent.append(frame)
    assert send(sender, sent, ring, rng, stall=stall, nonce=nonce) == b"".join(frame.encode() for frame in sent)
    assert {frame.kind for frame in sent} == {Kind.DATA, Kind.IDENTITY}
    assert any(0 in frame.payload for frame in sent)


@pytest.mark.parametrize("stall", [0.0, 0.7])
def test_frames_that_go(request, stall):
    check_sender(FrameSender(IDENTITY, offset_width=8), rng_of(request.node.name), stall=stall)


RECEIVER = {
    "the CRC": ("whole & complete & crc_matches", "whole & complete"),
    "frames that are cut short": ("whole & complete & crc_matches", "whole & crc_matches"),
    "too long a payload": ("bad.eq(body > self.maximum_payload)", "bad.eq(0)"),
    "bytes in each cycle": ("ready.eq(~body_first & ~ended", "ready.eq(~ended"),
    "hold": ("& ~ended & ~self.hold", "& ~ended"),
    "the first block": ("body_first.eq(~fresh), fresh.eq(0)", "body_first.eq(1), fresh.eq(0)"),
    "delimiters in a row": ("ended.eq(~fresh)", "ended.eq(1)"),
    "an opening of another length": ("& (body == NONCE_BYTES)", ""),
    "the nonce": ("eq(Cat(self.nonce[8:], body))", "eq(self.nonce)"),
    "a new frame after one that is cut short": ("fresh.eq(1), left.eq(0), bad", "fresh.eq(1), bad"),
}


@pytest.mark.parametrize("bug", RECEIVER)
def test_a_planted_bug_in_the_receiver_is_found(bug):
    copy = mutated(frames, *RECEIVER[bug])
    with pytest.raises(AssertionError):
        check_receiver(copy.FrameReceiver(LARGEST), rng_of(bug), idle=0.0, count=60)


SENDER = {
    "zeros": (
        "with m.If(byte == 0):\n                    m.d.comb += [memory.write_address",
        "with m.If(0):\n                    m.d.comb += [memory.write_address",
    ),
    "the place of the last code": ("m.d.sync += code_place.eq(0)", "pass"),
    "halves of bytes": ("crc.data.eq(byte[4:])", "crc.data.eq(byte[:4])"),
    "the next byte of the payload": ("self.offset.eq(self.offset + 1)", "self.offset.eq(self.offset)"),
    "the nonce": ("nonce_part.eq(1), remaining", "nonce_part.eq(0), remaining"),
    "a line that stalls": ("(code_place + self.o.ready)", "(code_place + 1)"),
    "the CRC starts anew": ("ready.eq(1), crc.start.eq(1)", "ready.eq(1)"),
}


@pytest.mark.parametrize("bug", SENDER)
def test_a_planted_bug_in_the_sender_is_found(bug):
    copy = mutated(frames, *SENDER[bug])
    with pytest.raises((AssertionError, IndexError)):
        check_sender(copy.FrameSender(IDENTITY, offset_width=8), rng_of(bug))
