"""The frame format and the model of the board's end."""

import dataclasses
import random
import zlib

import pytest
from harness.bounds import assert_bounds

from spikeloom.sim.host.identity import Identity
from spikeloom.sim.host.link import (
    FRAME_OVERHEAD,
    LARGEST_BLOCK_PAYLOAD,
    LARGEST_PAYLOAD,
    OFFSETS,
    Deframer,
    DeviceModel,
    Frame,
    FrameError,
    Kind,
    LinkParameters,
    UnknownKindError,
    cobs_decode,
    cobs_encode,
    offset_difference,
)

IDENTITY = Identity(lanes=8, neurons=256, axons=784, weight_words=8192, weight_width=8, v_width=16)


@pytest.mark.parametrize(
    ("data", "encoded"),
    [
        (b"", b"\x01"),
        (b"\0", b"\x01\x01"),
        (b"\0\0", b"\x01\x01\x01"),
        (b"\x11\x22\0\x33", b"\x03\x11\x22\x02\x33"),
        (b"\x11\0\0\0", b"\x02\x11\x01\x01\x01"),
        (bytes(range(1, 255)), b"\xff" + bytes(range(1, 255))),
        (bytes(range(1, 255)) + b"\0", b"\xff" + bytes(range(1, 255)) + b"\x01\x01"),
        (bytes(range(1, 256)), b"\xff" + bytes(range(1, 255)) + b"\x02\xff"),
        (b"\0" + bytes(range(1, 255)), b"\x01\xff" + bytes(range(1, 255))),
        (bytes([7]) * 508, 2 * (b"\xff" + bytes([7]) * 254)),
    ],
)
def test_cobs_examples(data, encoded):
    assert cobs_encode(data) == encoded
    assert cobs_decode(encoded) == data


def test_cobs_decodes_the_optional_empty_block():
    """Other encoders add an empty block after a last block of 254 bytes."""
    data = bytes(range(1, 255))
    assert cobs_decode(b"\xff" + data + b"\x01") == data


def encoded_by_bytes(data):
    """The encoding, implemented byte by byte."""
    encoded, block = b"", b""
    for position, byte in enumerate(data):
        if byte:
            block += bytes([byte])
        if not byte or len(block) == 254:
            encoded += bytes([len(block) + 1]) + block
            block = b""
            if byte and position == len(data) - 1:
                return encoded
    return encoded + bytes([len(block) + 1]) + block


def test_cobs_bytes():
    """Frames with few and many zeros, with runs of nonzero bytes that take several blocks."""
    rng = random.Random("test_cobs_bytes")
    many = long = 0
    for number in range(400):
        data = b""
        while len(data) < number * 4:
            zeros = rng.random() < 0.5
            data += bytes(
                rng.choice((0, 1, 255)) if zeros else 9 for _ in range(rng.choice((1, 20, 253, 254, 255, 600)))
            )
        assert cobs_encode(data) == encoded_by_bytes(data)
        assert cobs_decode(cobs_encode(data)) == data
        many += data.count(0) > 40
        long += data.count(0) > 40 and max(map(len, data.split(b"\0"))) > 254
    assert long > 50
    assert many > long > 50


def test_cobs_round_trip():
    rng = random.Random("test_cobs_round_trip")
    zeros = 0
    for _ in range(2000):
        data = bytes(rng.choice((0, rng.randrange(256))) for _ in range(rng.randrange(600)))
        zeros += data.count(0)
        encoded = cobs_encode(data)
        assert 0 not in encoded
        assert cobs_decode(encoded) == data
    for size in (253, 254, 255, 508, 509):
        assert cobs_decode(cobs_encode(bytes([7]) * size)) == bytes([7]) * size
    assert zeros > 10_000


@pytest.mark.parametrize("damaged", [b"\x05abc", b"\x00abc", b"\x02a\x03"])
def test_cobs_decode_error(damaged):
    with pytest.raises(FrameError, match=r"^a block must end inside its frame$"):
        cobs_decode(damaged)


def test_frame_bytes():
    """The wire format, byte by byte."""
    frame = Frame(sequence=0x04030201, acknowledge=0x08070605, limit=0x0C0B0A09, payload=b"xyz", reply=True, again=True)
    body = b"\x31" + bytes(range(1, 13)) + b"\x03\0xyz"
    body += zlib.crc32(body).to_bytes(4, "little")
    assert body.count(0) == 1
    assert frame.encode() == b"\x0f" + body[:14] + bytes([len(body) - 14]) + body[15:] + b"\0"
    assert len(frame.encode()) == FRAME_OVERHEAD + 3


@pytest.mark.parametrize(("payload", "codes"), [(LARGEST_BLOCK_PAYLOAD, 1), (489, 2), (490, 3), (1400, 6)])
def test_size_on_the_line(payload, codes):
    """At most one code byte per 254 bytes of the body."""
    frame = Frame(payload=bytes([1]) * payload, sequence=0x01010101, acknowledge=0x01010101, limit=0x01010101)
    assert len(frame.encode()) <= FRAME_OVERHEAD - 1 + payload + codes
    assert Frame.decode(frame.encode()[:-1]) == frame


def random_frame(rng):
    return Frame(
        kind=rng.choice(list(Kind)),
        sequence=rng.randrange(OFFSETS),
        acknowledge=rng.randrange(OFFSETS),
        limit=rng.randrange(OFFSETS),
        payload=bytes(rng.choice((0, rng.randrange(256))) for _ in range(rng.randrange(LARGEST_PAYLOAD + 1))),
        reply=rng.random() < 0.5,
        again=rng.random() < 0.5,
    )


def test_frame_round_trip_in_any_pieces():
    rng = random.Random("test_frame_round_trip_in_any_pieces")
    frames = [random_frame(rng) for _ in range(500)]
    line = b"".join(frame.encode() + b"\0" * rng.randrange(3) for frame in frames)
    deframer, seen, position = Deframer(), [], 0
    while position < len(line):
        size = rng.choice((1, 7, 300))
        seen += deframer.feed(line[position : position + size])
        position += size
    assert seen == frames
    assert len({frame.kind for frame in frames}) == 3


def test_no_damage_goes_unnoticed():
    """Every single flip, loss and insertion of a byte in a frame is found."""
    rng = random.Random("test_no_damage_goes_unnoticed")
    frame = Frame(sequence=5, payload=bytes([1, 0, 2, 0, 0, 3]))
    line = frame.encode()[:-1]
    tried = 0
    for place in range(len(line)):
        damaged = [line[:place] + bytes([line[place] ^ 1 << bit]) + line[place + 1 :] for bit in range(8)]
        damaged += [line[:place] + line[place + 1 :], line[:place] + rng.randbytes(1) + line[place:]]
        for piece in damaged:
            if piece != line:
                assert frame not in Deframer().feed(piece + b"\0")
                tried += 1
    assert tried > 9 * len(line)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:11], r"^a body must be 19 to 1,419 bytes, not 11$"),
        (lambda b: b + b"x", r"^the CRC must match$"),
        (lambda b: with_crc(b[:13] + b"\x02" + b[14:-4]), r"^the length must be that of the payload, not 2$"),
        (lambda b: with_crc(b[:14] + b"\x01" + b[15:-4]), r"^the length must be that of the payload, not 259$"),
        (lambda b: with_crc(b"\x04" + b[1:-4]), r"^the kind must be known, not 0x04$"),
        (lambda b: with_crc(b"\x41" + b[1:-4]), r"^the kind must be known, not 0x41$"),
    ],
)
def test_frame_decode_errors(change, message):
    with pytest.raises(FrameError, match=message):
        Frame.decode(cobs_encode(change(cobs_decode(Frame(payload=b"abc").encode()[:-1]))))


def with_crc(body):
    return body + zlib.crc32(body).to_bytes(4, "little")


def test_a_payload_that_is_too_long_for_the_receiver():
    frame = Frame(payload=bytes(65))
    assert Deframer(65).feed(frame.encode()) == [frame]
    assert Deframer(64).feed(frame.encode()) == [None]


def test_the_longest_frame_in_two_pieces():
    """1,425 nonzero bytes on the line, six of them codes, and not one more."""
    frame = Frame(payload=bytes([1]) * 1400, sequence=0x01010101, acknowledge=0x01010101, limit=0x01010101)
    line = frame.encode()[:-1]
    while 0 in cobs_decode(line):
        frame = dataclasses.replace(frame, sequence=frame.sequence + 1)
        line = frame.encode()[:-1]
    assert len(line) == 1419 + 6
    deframer = Deframer()
    for extra, found in ((b"", [frame]), (b"\x01", [None]), (b"", [frame])):
        assert deframer.feed(line + extra) == []
        assert deframer.feed(b"\0") == found


def test_intact_frames_of_an_unknown_kind_are_skipped():
    """A later version may define them; they do not indicate a loss."""
    body = bytearray(cobs_decode(Frame(payload=b"abc").encode()[:-1])[:-4])
    for flags in (0x00, 0x04, 0x0F, 0x41, 0x82):
        body[0] = flags
        with pytest.raises(UnknownKindError):
            Frame.decode(cobs_encode(with_crc(bytes(body))))
        assert Deframer().feed(cobs_encode(with_crc(bytes(body))) + b"\0") == []
    body[0], body[13] = 0x04, 2
    assert Deframer().feed(cobs_encode(with_crc(bytes(body))) + b"\0") == [None]


def test_deframer_survives_endless_noise():
    deframer = Deframer()
    for _ in range(100):
        assert deframer.feed(bytes([0x55]) * 1000) == []
    frame = Frame(payload=b"after")
    assert deframer.feed(b"\0" + frame.encode()) == [None, frame]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"receive_buffer": 1000},
            ValueError,
            r"^receive_buffer must be a power of two from maximum_payload \(235\) to 65536, not 1000$",
        ),
        (
            {"transmit_buffer": 1024, "receive_buffer": 2048, "maximum_payload": 1400},
            ValueError,
            r"^transmit_buffer must be a power of two from maximum_payload \(1400\) to 65536, not 1024$",
        ),
        ({"transmit_buffer": 256.0}, TypeError, r"^transmit_buffer must be an integer, not 256\.0$"),
        ({"maximum_payload": 1401}, ValueError, r"^maximum_payload must be from 64 to 1400, not 1401$"),
        ({"maximum_payload": 63}, ValueError, r"^maximum_payload must be from 64 to 1400, not 63$"),
        ({"idle_cycles": 0}, ValueError, r"^idle_cycles must be from 1 to 65535, not 0$"),
        ({"idle_cycles": True}, TypeError, r"^idle_cycles must be an integer, not True$"),
    ],
)
def test_parameter_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        LinkParameters(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sequence": 1 << 32}, ValueError, r"^sequence must be from 0 to 4294967295, not 4294967296$"),
        ({"payload": bytes(1401)}, ValueError, r"^payload must be at most 1,400 bytes, not 1,401$"),
        *(
            ({name: value}, TypeError, rf"^{name} must be an integer, not {value}$")
            for name in ("sequence", "acknowledge", "limit")
            for value in (1.5, True)
        ),
        ({"kind": 1}, TypeError, r"^kind must be a Kind, not 1$"),
    ],
)
def test_frame_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        Frame(**arguments)


def test_offset_difference():
    assert offset_difference(5, 3) == 2
    assert offset_difference(3, OFFSETS - 3) == 6
    assert offset_difference(OFFSETS - 3, 3) == -6
    assert offset_difference(1 << 31, 0) == -(1 << 31)
    assert offset_difference((1 << 31) - 1, 0) == (1 << 31) - 1
    assert offset_difference(5, 3 * OFFSETS + 3) == 2


def exchange(model, *frames):
    model.from_line(b"".join(frame.encode() for frame in frames))
    return Deframer().feed(model.to_line())


def test_model_opens_once_per_nonce():
    model = DeviceModel(LinkParameters(), IDENTITY.encode())
    assert exchange(model, Frame(payload=b"early", reply=True)) == []
    opening = Frame(kind=Kind.OPEN, payload=b"1234")
    (identity,) = exchange(model, opening)
    assert identity == Frame(kind=Kind.IDENTITY, limit=1024, payload=b"1234" + IDENTITY.encode())
    exchange(model, Frame(limit=16384, payload=b"abc"))
    (identity,) = exchange(model, opening)
    assert (identity.acknowledge, model.resets, model.receive()) == (3, 1, b"abc")
    exchange(model, Frame(sequence=3, limit=16384, payload=b"lost with its session"))
    (identity,) = exchange(model, Frame(kind=Kind.OPEN, payload=b"5678"))
    assert (identity.acknowledge, model.resets, model.receive()) == (0, 2, b"")


def test_model_says_again_once_per_gap():
    model = DeviceModel(LinkParameters(), IDENTITY.encode())
    exchange(model, Frame(kind=Kind.OPEN, payload=b"1234"))
    late = Frame(sequence=3, payload=b"def")
    assert [frame.again for frame in exchange(model, late)] == [True]
    assert [frame.again for frame in exchange(model, late)] == [False]
    assert [frame.again for frame in exchange(model, Frame(sequence=3, reply=True))] == [True]
    assert [frame.acknowledge for frame in exchange(model, Frame(payload=b"abc"))] == [3]
    assert [frame.again for frame in exchange(model, Frame(sequence=9, payload=b"def"))] == [True]
    assert model.receive() == b"abc"


def test_model_takes_no_more_than_its_ring():
    model = DeviceModel(LinkParameters(transmit_buffer=64, maximum_payload=64), IDENTITY.encode())
    assert model.transmit(b"x") == 0, "no session yet"
    exchange(model, Frame(kind=Kind.OPEN, payload=b"1234"))
    assert model.transmit(bytes(100)) == 64
    assert model.transmit(b"x") == 0


def test_model_accepts_no_more_than_its_ring():
    """A frame that fills the ring is accepted, and one byte more is not; after that, as many bytes as have been
    consumed."""
    model = DeviceModel(LinkParameters(receive_buffer=128, maximum_payload=64), IDENTITY.encode())
    exchange(model, Frame(kind=Kind.OPEN, payload=b"1234"))
    data = bytes(range(200))
    for first, size, expected in ((0, 64, 64), (64, 63, 127), (127, 2, 127), (127, 1, 128), (128, 1, 128)):
        exchange(model, Frame(sequence=first, payload=data[first : first + size]))
        (frame,) = exchange(model, Frame(sequence=expected, reply=True))
        assert (frame.acknowledge, frame.again) == (expected, False), "nothing is lost; the host has to wait for room"
    assert model.receive(10) == data[:10]
    for first, size, expected in ((128, 11, 128), (128, 10, 138)):
        exchange(model, Frame(sequence=first, payload=data[first : first + size]))
        (frame,) = exchange(model, Frame(sequence=expected, reply=True))
        assert frame.acknowledge == expected
    assert model.receive() == data[10:138]


def test_model_tells_of_room_when_half_of_its_ring_is_free():
    model = DeviceModel(LinkParameters(receive_buffer=128, maximum_payload=64), IDENTITY.encode())
    exchange(model, Frame(kind=Kind.OPEN, payload=b"1234"))
    for first in (0, 64):
        (frame,) = exchange(model, Frame(sequence=first, payload=bytes(64)))
        assert frame.limit == 128
    assert len(model.receive(63)) == 63
    assert exchange(model) == []
    model.receive(1)
    assert exchange(model) == [Frame(acknowledge=128, limit=192)]
    model.receive(63)
    assert exchange(model) == []


def test_model_says_again_of_a_single_byte_and_of_damage():
    model = DeviceModel(LinkParameters(), IDENTITY.encode())
    damaged = b"\x05abc\0"
    model.from_line(damaged)
    assert model.to_line() == b"", "no session yet"
    exchange(model, Frame(kind=Kind.OPEN, payload=bytes(4)))
    assert (model.resets, [frame.again for frame in exchange(model, Frame(sequence=1, reply=True))]) == (1, [True])
    assert [frame.again for frame in exchange(model, Frame(payload=b"abc"))] == [False]
    for answers in ([True], []):
        model.from_line(damaged)
        assert [frame.again for frame in Deframer().feed(model.to_line())] == answers
    assert exchange(model, Frame(kind=Kind.OPEN, payload=b"123")) == [], "another nonce has four bytes"
    assert model.resets == 1


def test_bounds():
    assert_bounds(LinkParameters, "idle_cycles", 1, 65535)
    assert_bounds(LinkParameters, "maximum_payload", 64, 1400, receive_buffer=2048, transmit_buffer=2048)


@pytest.mark.parametrize("name", ["receive_buffer", "transmit_buffer"])
def test_sizes_of_buffers(name):
    for size in (64, 65536):
        assert getattr(LinkParameters(maximum_payload=64, **{name: size}), name) == size
    for size in (32, 65, 131072):
        message = rf"^{name} must be a power of two from maximum_payload \(64\) to 65536, not {size}$"
        with pytest.raises(ValueError, match=message):
            LinkParameters(maximum_payload=64, **{name: size})
    parameters = LinkParameters()
    assert (parameters.receive_buffer, parameters.transmit_buffer) == (1024, 1024)
    assert (parameters.maximum_payload, parameters.idle_cycles) == (235, 64)


def test_model_opens_whatever_the_flags():
    model = DeviceModel(LinkParameters(), IDENTITY.encode())
    (identity,) = exchange(model, Frame(kind=Kind.OPEN, payload=b"1234", reply=True, again=True))
    assert (identity.kind, model.resets) == (Kind.IDENTITY, 1)


@pytest.mark.parametrize("first", [0, (1 << 16) - 100, (1 << 32) - 100])
def test_offsets_wrap(first):
    """Offsets on the line are the byte counts modulo 2^32, in both directions."""
    rng = random.Random(f"test_offsets_wrap {first}")
    parameters = LinkParameters(receive_buffer=128, transmit_buffer=128, maximum_payload=64)
    model = DeviceModel(parameters, IDENTITY.encode(), first_offset=first)
    (identity,) = exchange(model, Frame(kind=Kind.OPEN, payload=b"1234"))
    assert (identity.sequence, identity.acknowledge, identity.limit) == (first, first, (first + 128) % OFFSETS)
    there = back = 0
    for _ in range(20):
        there_now, back_now = rng.randbytes(rng.randrange(1, 65)), rng.randbytes(rng.randrange(1, 65))
        assert model.transmit(back_now) == len(back_now)
        frame = Frame(
            sequence=(first + there) % OFFSETS,
            acknowledge=(first + back) % OFFSETS,
            limit=(first + back + 4096) % OFFSETS,
            payload=there_now,
        )
        (answer,) = exchange(model, frame)
        assert (answer.sequence, answer.payload) == ((first + back) % OFFSETS, back_now)
        there, back = there + len(there_now), back + len(back_now)
        assert answer.acknowledge == (first + there) % OFFSETS
        assert model.receive() == there_now
    assert there > 200
    assert back > 200


def test_a_limit_that_is_far_away_or_behind():
    parameters = LinkParameters(transmit_buffer=128, maximum_payload=64)
    for limit, frames in ((63, 0), (64, 1), (1 << 20, 2), ((1 << 31) - 1, 2), (1 << 31, 0), (OFFSETS - 1, 0)):
        model = DeviceModel(parameters, IDENTITY.encode())
        exchange(model, Frame(kind=Kind.OPEN, payload=b"1234"))
        model.transmit(bytes(128))
        assert len([frame for frame in exchange(model, Frame(limit=limit)) if frame.payload]) == frames
