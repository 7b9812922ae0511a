"""The frame format, the identity record and the model of the board's end."""

import random
import zlib

import pytest
from harness.bounds import assert_bounds

from spikeloom.sim.host.identity import Identity
from spikeloom.sim.host.link import (
    FRAME_OVERHEAD,
    LARGEST_PAYLOAD,
    Deframer,
    DeviceModel,
    Frame,
    FrameError,
    Kind,
    LinkParameters,
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
        (bytes(range(1, 255)), b"\xff" + bytes(range(1, 255)) + b"\x01"),
    ],
)
def test_cobs_examples(data, encoded):
    # The last example has the optional code of an empty block at its end, which decoders accept.
    assert cobs_encode(data) == encoded
    assert cobs_decode(encoded) == data


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
    """The wire format, spelled out once."""
    frame = Frame(sequence=0x0201, acknowledge=0x0403, limit=0x0605, payload=b"xyz", reply=True, again=True)
    body = b"\x31\x01\x02\x03\x04\x05\x06\x03xyz"
    body += zlib.crc32(body).to_bytes(4, "little")
    assert b"\0" not in body
    assert frame.encode() == bytes([len(body) + 1]) + body + b"\0"
    assert len(frame.encode()) == FRAME_OVERHEAD + 3


def random_frame(rng):
    return Frame(
        kind=rng.choice(list(Kind)),
        sequence=rng.randrange(65536),
        acknowledge=rng.randrange(65536),
        limit=rng.randrange(65536),
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
        (lambda b: b[:11], r"^a body must be 12 to 252 bytes, not 11$"),
        (lambda b: b + b"x", r"^the CRC must match$"),
        (lambda b: with_crc(b[:7] + b"\x02" + b[8:-4]), r"^the length must be that of the payload, not 2$"),
        (lambda b: with_crc(b"\x04" + b[1:-4]), r"^the kind must be known, not 0x04$"),
        (lambda b: with_crc(b"\x41" + b[1:-4]), r"^the kind must be known, not 0x41$"),
    ],
)
def test_frame_decode_errors(change, message):
    with pytest.raises(FrameError, match=message):
        Frame.decode(cobs_encode(change(cobs_decode(Frame(payload=b"abc").encode()[:-1]))))


def with_crc(body):
    return body + zlib.crc32(body).to_bytes(4, "little")


def test_deframer_survives_endless_noise():
    deframer = Deframer()
    for _ in range(100):
        assert deframer.feed(bytes([0x55]) * 1000) == []
    frame = Frame(payload=b"after")
    assert deframer.feed(b"\0" + frame.encode()) == [None, frame]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"receive_buffer": 1000}, ValueError, r"^receive_buffer must be a power of two from 16 to 16384, not 1000$"),
        ({"transmit_buffer": 8}, ValueError, r"^transmit_buffer must be a power of two from 16 to 16384, not 8$"),
        ({"transmit_buffer": 64.0}, TypeError, r"^transmit_buffer must be an integer, not 64\.0$"),
        ({"maximum_payload": 241}, ValueError, r"^maximum_payload must be from 64 to 240, not 241$"),
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
        ({"sequence": 65536}, ValueError, r"^sequence must be from 0 to 65535, not 65536$"),
        ({"payload": bytes(241)}, ValueError, r"^payload must be at most 240 bytes, not 241$"),
        ({"kind": 1}, TypeError, r"^kind must be a Kind, not 1$"),
    ],
)
def test_frame_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        Frame(**arguments)


def test_offset_difference():
    assert offset_difference(5, 3) == 2
    assert offset_difference(3, 65533) == 6
    assert offset_difference(65533, 3) == -6
    assert offset_difference(0x8000, 0) == -32768
    assert offset_difference(0x7FFF, 0) == 32767


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
    model = DeviceModel(LinkParameters(transmit_buffer=64), IDENTITY.encode())
    assert model.transmit(b"x") == 0, "no session yet"
    exchange(model, Frame(kind=Kind.OPEN, payload=b"1234"))
    assert model.transmit(bytes(100)) == 64
    assert model.transmit(b"x") == 0


@pytest.mark.parametrize(("name", "low", "high"), [("maximum_payload", 64, 240), ("idle_cycles", 1, 65535)])
def test_bounds(name, low, high):
    assert_bounds(LinkParameters, name, low, high)


@pytest.mark.parametrize("name", ["receive_buffer", "transmit_buffer"])
def test_sizes_of_buffers(name):
    for size in (16, 16384):
        assert getattr(LinkParameters(**{name: size}), name) == size
    for size in (8, 17, 32768):
        message = f"^{name} must be a power of two from 16 to 16384, not {size}$"
        with pytest.raises(ValueError, match=message):
            LinkParameters(**{name: size})
    parameters = LinkParameters()
    assert (parameters.receive_buffer, parameters.transmit_buffer) == (1024, 1024)
    assert (parameters.maximum_payload, parameters.idle_cycles) == (192, 64)
