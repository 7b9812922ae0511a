"""Messages between host and board: both sides against each other."""

import re
import time
from pathlib import Path

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.sim.host.bridge import BridgeModel, Read, Spike, Tick, Write
from spikeloom.sim.host.messages import (
    ConfigurationAddress,
    MessageDecoder,
    MessageError,
    Opcode,
    encode_events,
    encode_read,
    encode_spikes,
    encode_values,
    encode_write,
)

ADDRESS = ConfigurationAddress(tile=1, memory=3, plane=517, index=0x12345678)
WORDS = ConfigurationAddress(tile=1, memory=3, index=70_000, word_bytes=300)


def pieces(rng, data, largest):
    """Cut ``data`` at random places."""
    position = 0
    while position < len(data):
        size = int(rng.integers(1, largest + 1))
        yield data[position : position + size]
        position += size


def requests_of(spikes, axons):
    """The requests that the board must decode, computed by a plain loop."""
    wanted = []
    for t, step in enumerate(spikes):
        wanted += [Spike(axon) for axon in sorted(int(axons[i]) for i in np.flatnonzero(step))]
        wanted.append(Tick(t == len(spikes) - 1))
    return wanted


@pytest.mark.parametrize("density", [0.0, 0.001, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("inputs", [1, 64, 129, 20_000])
def test_board_understands_samples(request, inputs, density):
    rng = rng_of(request.node.name)
    spikes = rng.random((5, inputs)) < density
    axons = rng.choice(1 << 16, inputs, replace=False) if inputs > 129 else np.arange(inputs) * 3
    model = BridgeModel(16)
    found = []
    for piece in pieces(rng, encode_spikes(spikes, axons), 4000):
        found += model.from_host(piece)
    assert found == requests_of(spikes, axons)
    assert model.error == 0
    assert 0 < spikes.sum() < spikes.size or density in (0.0, 0.001, 1.0) or inputs == 1


def test_events_are_spikes(request):
    rng = rng_of(request.node.name)
    spikes = rng.random((7, 300)) < 0.2
    step, axon = np.nonzero(spikes)
    order = rng.permutation(len(step))
    assert (np.diff(step[order]) < 0).any()
    assert encode_events(step[order], axon[order], 7) == encode_spikes(spikes)
    assert encode_spikes(spikes.astype(int)) == encode_spikes(spikes)
    assert encode_spikes(spikes, last=False) == encode_spikes(spikes)[:-1] + b"\x20"


def test_encoding_by_hand():
    # Axon 0; a distance of 127 axons; a skip and the rest; two skips; the end of the step.
    assert encode_events([0] * 4, [0, 128, 128 + 130, 128 + 130 + 64 * 128 + 130], 2) == bytes(
        [0x80, 0xFF, 0x40, 0x81, 0x7F, 0x40, 0x81, 0x20, 0x21]
    )
    assert encode_events([], [], 1) == b"\x21"
    address, words = bytes([1, 3, 0x78, 0x56, 0x34, 0x12, 5, 2]), bytes([1, 3, 0x70, 0x11, 1, 0, 0x2B, 1])
    assert encode_write(ADDRESS, b"\x07\x08") == b"\x01" + address + bytes([2, 0, 7, 8])
    assert encode_read(ADDRESS, 258) == b"\x02" + address + bytes([2, 1])
    assert encode_write(WORDS, b"\x07\x08") == b"\x05" + words + bytes([2, 0, 7, 8])
    assert encode_read(WORDS, 258) == b"\x06" + words + bytes([2, 1])


def test_the_example_of_the_documents():
    """Two words of ``docs/programming.md`` in both orders, as ``docs/host-protocol.md`` shows them."""
    words = [0x0A28, 0x1900]
    address = ConfigurationAddress(tile=1, memory=1, word_bytes=2)
    messages = [encode_write(address, b"".join(word.to_bytes(2, "little") for word in words))]
    for plane in range(2):
        address = ConfigurationAddress(tile=1, memory=1, plane=plane)
        messages.append(encode_write(address, bytes(word >> 8 * plane & 0xFF for word in words)))
    text = " ".join((Path(__file__).parents[3] / "docs" / "host-protocol.md").read_text().split())
    shown = [found.replace(" ", "").lower() for found in re.findall(r"`(0[15] 01 01 [0-9A-F ]+)`", text)]
    assert shown == [message.hex() for message in messages]
    run, value, spike = (bytes.fromhex(found) for found in re.findall(r"`((?:1E|11 10|90)[0-9A-F ]*)`", text))
    model = BridgeModel(16, value_width=5)
    assert model.from_host(run) == [Spike(16, 1), Spike(18, -2), Spike(19, 7)]
    assert encode_values([[1, 0, -2, 7]], range(16, 20), last=False)[:-1] == run
    assert model.from_host(value) == model.from_host(spike) == [Spike(16, 1)]


def test_the_order_of_bytes():
    """All bytes in one byte lane of successive words, or word by word."""
    assert [ADDRESS.place(offset) for offset in (0, 1, 300)] == [(0x12345678 + k, 517) for k in (0, 1, 300)]
    assert [WORDS.place(offset) for offset in (0, 1, 299, 300, 605)] == [
        (70_000, 0),
        (70_000, 1),
        (70_000, 299),
        (70_001, 0),
        (70_002, 5),
    ]


def values_of(values, axons):
    """The values that the board must decode, computed by a plain loop."""
    wanted = []
    for t, step in enumerate(values):
        wanted += [Spike(int(axons[i]), int(step[i])) for i in np.argsort(axons) if step[i]]
        wanted.append(Tick(t == len(values) - 1))
    return wanted


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 7, 8, 12])
def test_board_understands_values(request, bits, signed):
    """The shortest form is used, whichever it is: few or many bits, most or none of the values 0, any axons."""
    rng = rng_of(request.node.name)
    forms = set()
    for _ in range(30):
        inputs, space = int(rng.integers(1, 80)), int(rng.choice([80, 300, 1 << 16]))
        axons = rng.choice(space, inputs, replace=False)
        low, high = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
        values = rng.integers(low, high, (3, inputs)) * (rng.random((3, inputs)) < rng.choice([0.05, 0.5, 1]))
        data = encode_values(values, axons)
        forms.add(data[0])
        model = BridgeModel(16, value_width=16)
        found = [request for piece in pieces(rng, data, 20) for request in model.from_host(piece)]
        assert found == values_of(values, axons)
        assert model.error == 0
    assert len(forms - {Opcode.TICK, Opcode.TICK_LAST}) > (bits <= 8), "several forms, or only VALUEs for many bits"


def test_values_by_hand():
    assert encode_values([[0, 2, 3]], last=False) == bytes([0x19, 1, 0, 2, 0, 0x0E, 0x20]), "2 bits each"
    assert encode_values([[0, -2, 1, 0]]) == bytes([0x1D, 1, 0, 2, 0, 0x06, 0x21])
    assert encode_values([[200, 0, 1]]) == bytes([0x1B, 0, 0, 3, 0, 200, 0, 1, 0x21])
    assert encode_values([[0, 1000, 0]]) == bytes([0x11, 1, 0, 0xE8, 3, 0, 0x21])
    assert encode_values([[0, 1, 0]]) == bytes([0x81, 0x21]), "a spike"
    assert encode_values([[0, 0]]) == bytes([0x21])
    assert encode_values([[0, 7, 0]], [5, 3, 9]) == bytes([0x11, 3, 0, 7, 0, 0, 0x21])
    # A gap of 10 axons takes 40 bits of zeros, as long as another header; a gap of 11 takes more.
    assert encode_values([[7, 7, 7]], [0, 1, 12]) == bytes([0x1A, 0, 0, 13, 0, 0x77, 0, 0, 0, 0, 0, 7, 0x21])
    two = [0x1A, 0, 0, 3, 0, 0x77, 7, 0x1A, 14, 0, 2, 0, 0x77, 0x21]
    assert encode_values([[7] * 5], [0, 1, 2, 14, 15]) == bytes(two)


@pytest.mark.parametrize(("bits", "following"), [(1, 2), (2, 4), (4, 8), (8, None)])
def test_a_run_has_the_least_width_that_holds_all_values(bits, following):
    """The bounds of each width, unsigned and signed. A value beyond the widest is sent as a VALUE."""

    def form(values):
        data = encode_values([values * 20])
        assert BridgeModel(16, value_width=16).from_host(data) == values_of([values * 20], range(40))
        return data[0]

    def run(width, signed):
        return 0x11 if width is None else 0x18 | {1: 0, 2: 1, 4: 2, 8: 3}[width] | signed << 2

    top = (1 << bits) - 1
    assert form([top, top]) == run(bits, signed=False)
    assert form([top + 1, 1]) == run(following, signed=False)
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    assert form([low, high or low]) == run(bits, signed=True)
    assert form([low, high + 1]) == form([low - 1, low]) == run(following, signed=True)


def test_the_largest_values_and_axons():
    assert encode_values([[-(1 << 23)]]) == bytes([0x11, 0, 0, 0, 0, 0x80, 0x21])
    assert encode_values([[(1 << 23) - 1]]) == bytes([0x11, 0, 0, 0xFF, 0xFF, 0x7F, 0x21])
    assert encode_events([0], [65535], 1) == bytes([*[0x7F] * 7, 0x7E, 0xFF, 0x21])
    assert encode_events([0], [8192], 1) == bytes([0x7F, 0x80, 0x21]), "a SKIP over 64 times 128 axons"
    address = ConfigurationAddress(tile=255, memory=255, plane=65535, index=(1 << 32) - 1)
    for count in (0, 1):
        assert encode_read(address, count) == bytes([2, *[255] * 8, count, 0])
    words = ConfigurationAddress(tile=0, index=(1 << 32) - 1, word_bytes=65536)
    assert encode_write(words, bytes(65535)) == bytes([5, 0, 0, *[255] * 8]) + bytes(65535)


def test_a_run_of_all_axons(request):
    """A run holds up to 65,535 values, one less than there are axons."""
    rng = rng_of(request.node.name)
    values = rng.integers(1, 256, (2, 1 << 16))
    data = encode_values(values)
    assert len(data) == 2 * (2 * 5 + (1 << 16) + 1)
    model = BridgeModel(16, value_width=9)
    assert model.from_host(data) == values_of(values, np.arange(1 << 16))


def test_configuration_requests(request):
    rng = rng_of(request.node.name)
    stream, wanted = b"", []
    for _ in range(60):
        words = bool(rng.random() < 0.5)
        address = ConfigurationAddress(
            tile=int(rng.integers(256)),
            memory=int(rng.integers(256)),
            index=int(rng.integers((1 << 32) - 300)),
            **({"word_bytes": int(rng.integers(1, 1025))} if words else {"plane": int(rng.integers(1024))}),
        )
        assert ConfigurationAddress.decode(address.encode(), words=words) == address
        data = rng.bytes(int(rng.choice([0, 1, 2, 255, 256, 300])))
        if rng.random() < 0.5:
            stream += encode_write(address, data)
            wanted.append(Write(address, data))
        else:
            stream += encode_read(address, len(data))
            wanted.append(Read(address, len(data)))
        if rng.random() < 0.5:
            stream += encode_spikes(np.eye(2, 200, dtype=bool))
            wanted += requests_of(np.eye(2, 200), np.arange(200))
    model = BridgeModel(8, index_width=32)
    assert [found for piece in pieces(rng, stream, 50) for found in model.from_host(piece)] == wanted
    assert {type(request) for request in wanted} == {Spike, Tick, Write, Read}


def random_answers(rng, count, axons=1 << 14):
    """A random stream from the board, and its content."""
    model = BridgeModel(16)
    stream, step, near = [], 0, -1
    spikes, membranes, ticks, reads = [], [], [], []
    for _ in range(count):
        kind = rng.choice(["near", "anywhere", "membrane", "tick", "read"], p=[0.6, 0.1, 0.15, 0.13, 0.02])
        if kind == "near" and near + 130 < axons:
            near += int(rng.integers(1, 130))
            stream.append(model.spike(near))
            spikes.append((step, near))
        elif kind == "anywhere":
            near = int(rng.integers(axons))
            stream.append(model.spike(near))
            spikes.append((step, near))
        elif kind == "membrane":
            axon, value = int(rng.integers(1 << 16)), int(rng.integers(-(1 << 23), 1 << 23))
            stream.append(model.value(axon, value))
            membranes.append((step, axon, value))
        elif kind == "tick":
            ticks.append(bool(rng.random() < 0.3))
            stream.append(model.tick(ticks[-1]))
            step, near = step + 1, -1
        else:
            reads.append(rng.bytes(int(rng.choice([0, 1, 5, 256, 700]))))
            stream.append(model.read_data(reads[-1]))
    return b"".join(stream), spikes, membranes, ticks, reads


@pytest.mark.parametrize("largest", [1, 3, 40, 1000, 5000, 1_000_000])
def test_host_understands_answers(request, largest):
    rng = rng_of(request.node.name)
    stream, spikes, membranes, ticks, reads = random_answers(rng, 600 if largest == 1 else 4000)
    assert min(map(len, (spikes, membranes, ticks, reads))) > 3
    decoder = MessageDecoder()
    parts = [decoder.feed(piece) for piece in pieces(rng, stream, largest)]

    def joined(*names):
        return list(zip(*(np.concatenate([getattr(p, n) for p in parts]).tolist() for n in names), strict=True))

    assert joined("spike_step", "spike_axon") == spikes
    assert joined("value_step", "value_axon", "value") == membranes
    assert [last for part in parts for last in part.ticks.tolist()] == ticks
    assert [read for part in parts for read in part.reads] == reads
    assert decoder.steps == len(ticks)
    assert not decoder.inside


def test_host_understands_its_own_skips(request):
    rng = rng_of(request.node.name)
    spikes = rng.random((20, 9000)) < 0.002
    axons = np.arange(9000) * 7
    decoder = MessageDecoder()
    messages = decoder.feed(encode_spikes(spikes, axons))
    step, position = np.nonzero(spikes)
    assert 0 < len(step) < spikes.size
    assert messages.spike_step.tolist() == step.tolist()
    assert messages.spike_axon.tolist() == axons[position].tolist()
    assert messages.ticks.tolist() == [False] * 19 + [True]


def test_few_bytes_are_decoded_as_many(request):
    """Decoding byte by byte or all at once, with messages of every kind and with damage, gives the same messages and
    errors."""
    rng = rng_of(request.node.name)
    failed = turned = 0
    for number in range(12):
        messages = []
        for kind in rng.choice([0x02, 0x10, 0x11, 0x12, 0x20, 0x21, 0x40, 0x80], 1000).tolist():
            size = {0x10: 2, 0x11: 5}.get(kind, 0)
            messages.append(bytes([kind | int(rng.integers(kind & 0xC0 or 1))]) + rng.bytes(size))
            if kind == 0x02:
                messages.append(bytes([number, 0]) + rng.bytes(number))
        stream = b"".join(messages)
        if number % 2:
            stream = stream[:3000] + rng.bytes(8) + stream[3000:]
        found = []
        for largest in (1, 300, 2500, 1 << 20):
            decoder, parts, error = MessageDecoder(), [], None
            try:
                for piece in pieces(rng, stream, largest):
                    parts.append(decoder.feed(piece))
            except MessageError as problem:
                error = str(problem)
            names = ("spike_step", "spike_axon", "value_step", "value_axon", "value", "ticks")
            merged = [[each for part in parts for each in getattr(part, name).tolist()] for name in names]
            reads = [read for part in parts for read in part.reads]
            # Messages before the damage are lost with the call that detects it.
            found.append((error, (merged, reads, decoder.steps, decoder.inside) if error is None else None))
        assert found[0] == found[1] == found[2] == found[3]
        failed += error is not None
        turned += error is None and stream.count(0x12) > 10
    assert failed > 3
    assert turned > 3


@pytest.mark.parametrize("tail", [b"\x10", b"\x10\x05", b"\x11\x00\x00\x01\x02", b"\x02", b"\x02\x02", b"\x02\x02\0\1"])
def test_a_message_may_be_incomplete(tail):
    for spikes in (0, 2000):
        decoder = MessageDecoder()
        stream = bytes([0x80]) * spikes + b"\x85\x11\x03\x00\xfe\xff\xff\x20" + tail
        assert decoder.feed(stream).spike_axon.tolist() == [*range(spikes), spikes + 5]
        assert decoder.inside
        assert decoder.feed(b"").ticks.size == 0


@pytest.mark.parametrize("spikes", [0, 2000])
@pytest.mark.parametrize(
    ("last", "name", "value"),
    [
        (b"\x10\x05\x07", "spike_axon", 0x705),
        (b"\x11\x03\x00\xfe\xff\xff", "value", -2),
        (b"\x02\x00\x00", "reads", b""),
        (b"\x02\x02\x00ab", "reads", b"ab"),
    ],
)
def test_a_message_is_complete_with_its_last_byte(spikes, last, name, value):
    decoder = MessageDecoder()
    messages = decoder.feed(bytes([0x80]) * spikes + last)
    assert list(getattr(messages, name))[-1] == value
    assert not decoder.inside
    # One byte less is an incomplete message.
    messages = decoder.feed(bytes([0x80]) * spikes + last[:-1])
    assert list(getattr(messages, name))[spikes * (name == "spike_axon") :] == []
    assert decoder.inside
    assert list(getattr(decoder.feed(last[-1:]), name)) == [value]


@pytest.mark.parametrize("spikes", [1, 2000])
def test_unknown_messages_are_found(spikes):
    start = bytes([0x80]) * spikes
    with pytest.raises(MessageError, match=r"^a message must begin with a known byte, not 0x3f$"):
        MessageDecoder().feed(start + b"\x11\x3f\x3f\x3f\x3f\x3f\x3f\x80")
    # The same byte inside other messages is not a message of its own.
    assert len(MessageDecoder().feed(start + b"\x11\x3f\x3f\x3f\x3f\x3f\x80").spike_axon) == spikes + 1


def test_encoding_is_fast():
    rng = np.random.default_rng(0)
    spikes = rng.random((25, 784)) < 0.1
    start = time.perf_counter()
    for _ in range(200):
        encode_spikes(spikes)
    assert (time.perf_counter() - start) / 200 < 0.01, "an image must take well below 10 ms"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: encode_events([0], [65536], 1), ValueError, "axon must be from 0 to 65535, not 65536"),
        (lambda: encode_events([0], [-1], 1), ValueError, "axon must be from 0 to 65535, not -1"),
        (lambda: encode_events([0], [9], 1, largest_axon=8), ValueError, "axon must be from 0 to 8, not 9"),
        (lambda: encode_events([3], [9], 3), ValueError, "step must be from 0 to 2, not 3"),
        (lambda: encode_events([], [], 0), ValueError, "count must be at least 1, not 0"),
        (lambda: encode_events([0], [1, 2], 1), ValueError, "steps and axons must have the same length, not 1 and 2"),
        (lambda: encode_events([[0]], [1], 1), ValueError, "steps must have one dimension, not 2"),
        (lambda: encode_events([0], [0.5], 1), TypeError, "axons must be integers, not float64"),
        (
            lambda: encode_events([1, 1], [5, 5], 2),
            ValueError,
            "axon must fire at most once per step, not twice as axon 5 in step 1",
        ),
        (
            lambda: encode_events([0, 0, 0], [0, 4, 4], 1),
            ValueError,
            "axon must fire at most once per step, not twice as axon 4 in step 0",
        ),
        *(
            (
                lambda encode=encode, shape=shape: encode(np.ones(shape, int)),
                ValueError,
                f"{name} must have shape (T, n) with at least one step and input, not {shape}",
            )
            for encode, name in ((encode_spikes, "spikes"), (encode_values, "values"))
            for shape in ((0, 3), (3, 0), (2,))
        ),
        (
            lambda: encode_spikes(np.ones((1, 2, 3))),
            ValueError,
            "spikes must have shape (T, n) with at least one step and input, not (1, 2, 3)",
        ),
        (lambda: encode_spikes([[2]]), ValueError, "spikes must be 0 or 1, not other values"),
        (lambda: encode_spikes([["a"]]), ValueError, "spikes must be 0 or 1, not other values"),
        (lambda: encode_spikes([[1, 0]], [0]), ValueError, "axons must be 2, one for each input, not 1"),
        (lambda: encode_spikes([[1]], [300], largest_axon=255), ValueError, "axon must be from 0 to 255, not 300"),
        (
            lambda: encode_values([1, 2]),
            ValueError,
            "values must have shape (T, n) with at least one step and input, not (2,)",
        ),
        (lambda: encode_values([[0.5]]), TypeError, "values must be integers, not float64"),
        (lambda: encode_values([[1 << 23]]), ValueError, "value must be from -8388608 to 8388607, not 8388608"),
        (lambda: encode_values([[-(1 << 23) - 1]]), ValueError, "value must be from -8388608 to 8388607, not -8388609"),
        (
            lambda: encode_values([[-(1 << 23), 1 << 23]]),
            ValueError,
            "value must be from -8388608 to 8388607, not 8388608",
        ),
        (lambda: encode_values([[1, 2]], [5, 5]), ValueError, "axons must be different, not 5 twice"),
        (lambda: encode_values([[1, 2]], [5]), ValueError, "axons must be 2, one for each input, not 1"),
        (lambda: encode_values([[1]], [300], largest_axon=255), ValueError, "axon must be from 0 to 255, not 300"),
        (lambda: encode_write(ADDRESS, bytes(65536)), ValueError, "count must be from 0 to 65535, not 65536"),
        (lambda: encode_read(ADDRESS, -1), ValueError, "count must be from 0 to 65535, not -1"),
        (
            lambda: encode_read(ConfigurationAddress(tile=0, index=(1 << 32) - 1), 2),
            ValueError,
            "index must be at most 4294967294 for 2 bytes, not 4294967295",
        ),
        (
            lambda: encode_read(ConfigurationAddress(tile=0, index=(1 << 32) - 2, word_bytes=2), 5),
            ValueError,
            "index must be at most 4294967293 for 5 bytes, not 4294967294",
        ),
        (lambda: ConfigurationAddress(tile=256), ValueError, "tile must be from 0 to 255, not 256"),
        (lambda: ConfigurationAddress(tile=0, memory=256), ValueError, "memory must be from 0 to 255, not 256"),
        (lambda: ConfigurationAddress(tile=0, plane=65536), ValueError, "plane must be from 0 to 65535, not 65536"),
        (
            lambda: ConfigurationAddress(tile=0, index=1 << 32),
            ValueError,
            "index must be from 0 to 4294967295, not 4294967296",
        ),
        (
            lambda: ConfigurationAddress(tile=0, word_bytes=-1),
            ValueError,
            "word_bytes must be from 0 to 65536, not -1",
        ),
        (lambda: ConfigurationAddress(tile=0, plane=1, word_bytes=2), ValueError, "plane must be from 0 to 0, not 1"),
        (lambda: ConfigurationAddress(tile=1.0), TypeError, "tile must be an integer, not 1.0"),
        (lambda: ConfigurationAddress.decode(b"1234"), ValueError, "an address must be 8 bytes, not 4"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()
