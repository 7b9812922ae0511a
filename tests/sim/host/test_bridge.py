"""The board's side of the messages: requests from bytes, bytes from answers, and error flags."""

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.sim.host.bridge import (
    ADDRESS_ERROR,
    AXON_ERROR,
    MESSAGE_ERROR,
    VALUE_ERROR,
    BridgeModel,
    Read,
    Spike,
    Tick,
    Write,
)
from spikeloom.sim.host.messages import ConfigurationAddress, MessageDecoder, encode_read, encode_spikes, encode_write

ADDRESS = ConfigurationAddress(tile=3, memory=2, plane=1, index=1000)


def test_requests_by_hand():
    model = BridgeModel(16)
    assert model.from_host(b"\x80\x82") == [Spike(0), Spike(3)]  # counted from the axon after the previous one
    assert model.from_host(b"\x40\x81") == [Spike(3 + 128 + 2)]  # after a skip of 128 axons
    assert model.from_host(b"\x20\x80") == [Tick(False), Spike(0)]  # every step counts from axon 0 again
    assert model.from_host(b"\x21") == [Tick(True)]
    assert model.from_host(encode_write(ADDRESS, b"ab") + encode_read(ADDRESS, 5)) == [
        Write(ADDRESS, b"ab"),
        Read(ADDRESS, 5),
    ]
    assert model.error == 0


def test_requests_in_any_pieces(request):
    """The same requests result from the bytes one by one and from all at once; the data of a write is not parsed as
    messages."""
    rng = rng_of(request.node.name)
    data = b""
    for _ in range(20):
        data += encode_spikes(rng.random((3, 400)) < rng.choice([0.001, 0.3]))
        data += encode_write(ADDRESS, rng.bytes(int(rng.integers(0, 9)))) + encode_read(ADDRESS, 7)
    whole, pieces = BridgeModel(16), BridgeModel(16)
    wanted = whole.from_host(data)
    assert [request for byte in data for request in pieces.from_host(bytes([byte]))] == wanted
    assert {type(request) for request in wanted} == {Spike, Tick, Write, Read}
    assert (whole.error, pieces.error) == (0, 0)


def test_the_host_understands_the_answers(request):
    rng = rng_of(request.node.name)
    model, decoder = BridgeModel(16), MessageDecoder()
    for step in range(30):
        axons = np.sort(rng.choice(1 << 16 if step % 2 else 400, 20, replace=False))
        data = b"".join(model.spike(int(axon)) for axon in axons)
        messages = decoder.feed(data + model.tick(step == 29))
        assert messages.spike_axon.tolist() == axons.tolist()
        assert messages.ticks.tolist() == [step == 29]
    assert decoder.feed(model.read_data(b"xyz")).reads == (b"xyz",)


def test_answers_by_hand():
    model = BridgeModel(16)
    assert model.spike(0) == b"\x80"
    assert model.spike(128) == b"\xff", "127 axons between: the farthest that one byte reaches"
    assert model.spike(257) == b"\x10\x01\x01", "one more"
    assert model.value(5, -2) == b"\x11\x05\x00\xfe\xff\xff"
    assert model.spike(258) == b"\x80", "as if there had been no value"
    assert model.spike(258) == b"\x10\x02\x01", "an axon that does not follow"
    assert model.ahead() == b"\x12"
    assert (model.tick(False), model.spike(1), model.tick(True), model.spike(0)) == (b"\x20", b"\x81", b"\x21", b"\x80")
    assert model.read_data(b"ab") == b"\x02\x02\x00ab"


def test_board_notes_what_is_wrong():
    model = BridgeModel(7)
    assert model.from_host(b"\x80\x3f\xff\x80\x40\xfd\x80\x21") == [Spike(0), Spike(1), Spike(127), Tick(True)]
    assert model.error == MESSAGE_ERROR | AXON_ERROR
    model = BridgeModel(7)
    assert model.from_host(b"\x80\x00") == [Spike(0)]
    assert model.error == MESSAGE_ERROR
    with pytest.raises(ValueError, match=r"^axon_width must be from 1 to 16, not 17$"):
        BridgeModel(17)


def test_addresses_beyond_those_of_the_fabric():
    """An invalid index excludes one byte, any other invalid part the whole message."""

    def reached(data, place):
        model = BridgeModel(8, index_width=7, plane_width=2)
        address = ConfigurationAddress(tile=1, **place)
        for message in (encode_write(address, bytes(data)), encode_read(address, data)):
            model.error = 0
            model.from_host(message)
            whole = all(model.reaches(address, offset) for offset in range(data))
            assert model.error == (0 if whole else ADDRESS_ERROR)
        return [model.reaches(address, offset) for offset in range(data)]

    assert reached(3, {"index": 126}) == [True, True, False]
    assert reached(3, {"index": 127, "word_bytes": 2}) == [True, True, False]
    assert reached(2, {"index": 127, "word_bytes": 4}) == [True, True]
    assert reached(0, {"index": 1 << 31}) == []
    assert reached(2, {"index": 1 << 31}) == [False, False]
    assert reached(2, {"memory": 15, "plane": 3}) == [True, True]
    assert reached(2, {"memory": 16}) == [False, False]
    assert reached(2, {"plane": 4}) == [False, False]
    assert reached(2, {"word_bytes": 5}) == [False, False]


def test_values_by_hand():
    model = BridgeModel(4, value_width=5)
    assert model.from_host(b"\x80\x11\x07\x00\xfe\xff\xff\x80") == [Spike(0), Spike(7, -2), Spike(1)]
    assert model.from_host(b"\x18\x03\x00\x03\x00\x05") == [Spike(3), Spike(5)], "a bit each"
    assert model.from_host(b"\x1d\x00\x00\x05\x00\xe1\x02") == [Spike(0, 1), Spike(2, -2), Spike(3, -1), Spike(4, -2)]
    assert model.from_host(b"\x1a\x00\x00\x02\x00\x8f") == [Spike(0, 15), Spike(1, 8)]
    assert model.from_host(b"\x1e\x00\x00\x02\x00\x8f\x21") == [Spike(0, -1), Spike(1, -8), Tick(True)]
    assert model.from_host(b"\x1b\x00\x00\x00\x00\x20") == [Tick(False)], "a run of none"
    long = model.from_host(b"\x1b\x00\x00\x0f\x00" + bytes(range(1, 16)) + b"\x20")
    assert long == [*(Spike(axon, axon + 1) for axon in range(15)), Tick(False)]
    assert model.error == 0


@pytest.mark.parametrize(
    ("message", "spikes", "error"),
    [
        ("11 0f00 0f0000", [Spike(15, 15)], 0),
        ("11 1000 0f0000", [], AXON_ERROR),
        ("11 0001 0f0000", [], AXON_ERROR),
        ("11 0f00 100000", [], VALUE_ERROR),
        ("11 0f00 f0ffff", [Spike(15, -16)], 0),
        ("11 0f00 efffff", [], VALUE_ERROR),
        ("11 1000 000001", [], AXON_ERROR | VALUE_ERROR),
        ("11 1000 000000", [], 0),
        ("1b 0e00 0400 05 06 07 00", [Spike(14, 5), Spike(15, 6)], AXON_ERROR),
        ("1b 0e00 0400 05 06 00 00", [Spike(14, 5), Spike(15, 6)], 0),
        ("1b 0000 0300 05 10 06", [Spike(0, 5), Spike(2, 6)], VALUE_ERROR),
        ("1f ffff 0300 05 00 06", [], AXON_ERROR),
    ],
)
def test_values_and_axons_that_do_not_exist(message, spikes, error):
    """They are dropped, unless the value is 0; the other values of a run count."""
    model = BridgeModel(4, value_width=5)
    assert model.from_host(bytes.fromhex(message)) == spikes
    assert model.error == error


def test_a_board_without_values_knows_none():
    model = BridgeModel(4)
    assert model.from_host(b"\x11\x1f\x20") == [Tick(False)]
    assert model.error == MESSAGE_ERROR
    assert [BridgeModel(4, value_width=width).value_width for width in (0, 2, 16)] == [0, 2, 16]
    for width in (-1, 1, 17):
        with pytest.raises(ValueError, match=rf"^value_width must be 0 or from 2 to 16, not {width}$"):
            BridgeModel(4, value_width=width)


def test_what_goes_beyond_the_last_axon_is_dropped_and_moves_nothing():
    model = BridgeModel(8)
    assert model.from_host(b"\xfe\x41\x80") == [Spike(126), Spike(127)], "a skip of 256"
    assert model.error == AXON_ERROR
    assert model.from_host(b"\xff\x80\xfe\x80") == [Spike(255)], "no axon is left"


@pytest.mark.parametrize("width", [0, 17])
def test_axons_must_fit_their_bytes(width):
    with pytest.raises(ValueError, match=f"^axon_width must be from 1 to 16, not {width}$"):
        BridgeModel(width)


@pytest.mark.parametrize(("name", "high"), [("index_width", 32), ("plane_width", 10)])
def test_addresses_must_fit_their_bytes(name, high):
    for width in (0, high + 1):
        with pytest.raises(ValueError, match=f"^{name} must be from 1 to {high}, not {width}$"):
            BridgeModel(8, **{name: width})


def test_widths_by_default():
    model = BridgeModel(8)
    last = ConfigurationAddress(tile=1, memory=15, plane=1023, index=(1 << 18) - 1)
    assert model.reaches(last, 0)
    assert not model.reaches(last, 1)
    assert not model.reaches(ConfigurationAddress(tile=1, plane=1024), 0)
    assert not model.reaches(ConfigurationAddress(tile=1, memory=16), 0)
    model.from_host(b"\x11\x22\x00")
    assert model.error == MESSAGE_ERROR, "values are not for a host that sends spikes only"
