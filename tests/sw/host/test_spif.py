"""SPIF words against their definition, and over a real socket."""

import re
import socket
import time

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.host.spif import PixelMap, SpifError, SpifReceiver, SpifSender, decode_events, encode_events


def test_a_word_by_hand():
    # x = 3, polarity 1, y = 5, no timestamp: 1000 0000 0000 0011 1000 0000 0000 0101, lowest byte first
    assert encode_events([3], [5], [1]) == bytes([0x05, 0x80, 0x03, 0x80])
    assert encode_events([0x7FFF], [0], [0]) == bytes([0x00, 0x00, 0xFF, 0xFF])


def test_there_and_back(request):
    rng = rng_of(request.node.name)
    x, y, polarity = rng.integers(1 << 15, size=500), rng.integers(1 << 15, size=500), rng.integers(2, size=500)
    found = decode_events(encode_events(x, y, polarity))
    assert all((one == other).all() for one, other in zip(found, (x, y, polarity), strict=True))
    assert {array.dtype for array in found} == {np.dtype(np.int64)}


def test_timestamps_are_skipped():
    with_time = (7 << 16 | 1 << 15 | 9).to_bytes(4, "little")
    words = with_time + b"\xff\xff\xff\xff" + encode_events([1], [2], [0]) + with_time + bytes(4)
    assert [values.tolist() for values in decode_events(words)] == [[7, 1, 7], [9, 2, 9], [1, 0, 1]]


def decode_word_by_word(words):
    """The definition: a word without bit 31 is followed by a timestamp. None if the timestamp is missing."""
    events, waiting = [], list(words)
    while waiting:
        word = waiting.pop(0)
        events.append((word >> 16 & 0x7FFF, word & 0x7FFF, word >> 15 & 1))
        if word < 1 << 31:
            if not waiting:
                return None
            waiting.pop(0)
    return events


def test_any_words_are_decoded_by_their_definition(request):
    """Single datagrams, and all of them received in batches: the events of the complete ones, and the number of the
    others."""
    rng = rng_of(request.node.name)
    pixels = PixelMap(columns=64, rows=64)
    expected, sizes, incomplete = np.zeros(pixels.size, bool), set(), 0
    with SpifReceiver(pixels, step_s=0.2) as receiver, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as camera:
        for _ in range(400):
            words = rng.integers(1 << 32, size=rng.integers(12)) & ~(0x7FC07FC0 if rng.random() < 0.7 else 0)
            words[rng.random(len(words)) < rng.random()] &= 0x7FFFFFFF
            data = words.astype("<u4").tobytes()
            events = decode_word_by_word(words.tolist())
            if events is None:
                incomplete += 1
                with pytest.raises(SpifError, match=r"timestamp of its last event$"):
                    decode_events(data)
            else:
                assert list(zip(*map(np.ndarray.tolist, decode_events(data)), strict=True)) == events
                expected[pixels.lines(*np.array(events, np.int64).reshape(-1, 3).T)] = True
            sizes.add(len(words))
            camera.sendto(data, ("127.0.0.1", receiver.port))
        assert len(sizes) == 12
        assert 100 < incomplete < 300
        assert 100 < expected.sum() < 2000
        assert (receiver.steps(1)[0] == expected).all()
        assert (receiver.used, receiver.malformed) == (400 - incomplete, incomplete)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x00\x00\x00", "a datagram must consist of whole 32-bit words, not of 3 bytes"),
        (bytes(4), "a datagram must not end before the timestamp of its last event"),
    ],
)
def test_refuses_malformed_spif(data, message):
    with pytest.raises(SpifError, match=f"^{message}$"):
        decode_events(data)


def test_lines_and_pixels():
    pixels = PixelMap(columns=4, rows=3, left=10, top=20, scale=2)
    assert pixels.size == 24
    every = np.arange(24)
    assert (pixels.lines(*pixels.pixels(every)) == every).all()
    assert pixels.lines([10, 11, 12, 9, 18, 17], [20, 21, 20, 20, 20, 26], [0, 1, 1, 0, 0, 0]).tolist() == [0, 12, 13]
    assert PixelMap(columns=4, rows=3, polarities=1).lines([1, 1], [2, 2], [0, 1]).tolist() == [9, 9]


def test_over_a_socket(request):
    rng = rng_of(request.node.name)
    pixels = PixelMap(columns=40, rows=30)
    with SpifReceiver(pixels, step_s=0.2) as receiver, SpifSender(pixels, receiver.port) as sender:
        sent = rng.random(pixels.size) < 0.3
        assert sender.send(sent) == sent.sum() > 256  # several datagrams
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"hello", ("127.0.0.1", receiver.port))
        received = receiver.steps(2)
        assert (received[0] == sent).all()
        assert not received[1].any()
        assert (receiver.used, receiver.malformed, receiver.strangers) == (-(-int(sent.sum()) // 256), 1, 0)
        with pytest.raises(ValueError, match=r"^spikes must have shape \(2400,\), not \(1,\)$"):
            sender.send([1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: encode_events([1], [2], [2]), "polarity must be from 0 to 1, not 2 to 2"),
        (lambda: encode_events([-1], [2], [0]), "x must be from 0 to 32767, not -1 to -1"),
        (lambda: encode_events([1], [1 << 15], [0]), "y must be from 0 to 32767, not 32768 to 32768"),
        (lambda: encode_events([1, 2], [1], [0]), "x, y and polarity must have equal lengths, not 2, 1 and 1"),
        (lambda: PixelMap(columns=0, rows=1), "columns must be an integer from 1 to 32768, not 0"),
        (lambda: PixelMap(columns=1, rows=1, polarities=3), "polarities must be an integer from 1 to 2, not 3"),
        (lambda: SpifReceiver(PixelMap(columns=1, rows=1), step_s=0), "step_s must be more than 0, not 0"),
    ],
)
def test_refuses_bad_arguments(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


def test_late_steps_have_what_came_meanwhile():
    """A late caller receives everything that waits, and the steps after it are on time again."""
    pixels, called = PixelMap(columns=4, rows=1, polarities=1), []
    with SpifReceiver(pixels, step_s=0.05) as receiver, SpifSender(pixels, receiver.port) as sender:
        steps = receiver.each(meanwhile=lambda: called.append(1))
        sender.send([1, 0, 0, 0])
        assert next(steps).tolist() == [True, False, False, False]
        assert len(called) > 3
        time.sleep(0.12)
        sender.send([0, 0, 1, 1])
        start = time.monotonic()
        assert next(steps).tolist() == [False, False, True, True]
        assert time.monotonic() - start < 0.04
        assert not next(steps).any()


def test_only_the_peer_is_heard():
    pixels = PixelMap(columns=4, rows=1, polarities=1)
    with (
        SpifReceiver(pixels, step_s=0.05, peer=("127.0.0.2", None)) as receiver,
        SpifSender(pixels, receiver.port) as stranger,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as camera,
    ):
        camera.bind(("127.0.0.2", 0))
        stranger.send([1, 1, 0, 0])
        camera.sendto(encode_events([3], [0], [0]), ("127.0.0.1", receiver.port))
        assert receiver.steps(1).tolist() == [[False, False, False, True]]
        assert (receiver.used, receiver.strangers) == (1, 1)
