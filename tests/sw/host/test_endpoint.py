"""The host's end of the link, over a board model, a faulty line, a pseudo-terminal and a socket."""

import random
import re
from dataclasses import replace

import pytest
from harness.lines import IDENTITY, Scripted, echo
from harness.link_bugs import WithoutCrc, WithoutRewind, WithoutSequence
from harness.version1 import Version1Board

from spikeloom.host.endpoint import Endpoint, LinkError
from spikeloom.host.transport import FaultyTransport, ModelTransport
from spikeloom.host.version1 import version1_opening
from spikeloom.sim.host.identity import Identity
from spikeloom.sim.host.link import Deframer, DeviceModel, Frame, Kind, LinkParameters


def model_line(model_class=DeviceModel, parameters=None, serve=None, **options):
    parameters = parameters or LinkParameters()
    identity = replace(IDENTITY, maximum_payload=parameters.maximum_payload)
    model = model_class(parameters, identity.encode(), **options)
    return model, ModelTransport(model, serve or echo())


def echo_through(endpoint, data, rng):
    """Send ``data`` in random pieces and collect the same number of bytes."""
    got, position = b"", 0
    while position < len(data):
        size = rng.choice((1, 10, 1000, 5000))
        endpoint.send(data[position : position + size])
        position += size
        if rng.random() < 0.5:
            got += endpoint.poll()
        if rng.random() < 0.1:
            endpoint.flush()
    endpoint.flush()
    while len(got) < len(data):
        got += endpoint.receive()
    return got


def test_open_tells_what_the_board_is():
    model, line = model_line()
    with Endpoint(line) as endpoint:
        assert endpoint.identity is None
        assert endpoint.open() == endpoint.identity == Identity.decode(model.identity)
        assert model.resets == 1
        assert endpoint.open() == endpoint.identity
        assert model.resets == 2


def test_good_line():
    """No query is sent and nothing is sent twice; the line is busy most of the time."""
    rng = random.Random("test_good_line")
    _, line = model_line()
    endpoint = Endpoint(line)
    endpoint.open()
    data = rng.randbytes(200_000)
    began = line.now()
    assert echo_through(endpoint, data, rng) == data
    assert (endpoint.polls, endpoint.rewinds) == (0, 0)
    # 10 us per byte, one direction at a time on this line
    assert line.now() - began < 1.25 * 2 * len(data) * 1e-5


def test_small_answers_are_acknowledged_with_the_next_frame():
    """A closed loop sends one frame per step, and a caller that waits for more still acknowledges."""
    _, line = model_line()
    endpoint = Endpoint(line)
    endpoint.open()
    write, frames = line.write, []

    def counted(data):
        frames.append(data)
        write(data)

    line.write = counted
    for step in range(50):
        endpoint.send(bytes([step]) * 5)
        assert endpoint.receive(5) == bytes([step]) * 5
    assert len(frames) == 50
    assert (endpoint.polls, endpoint.rewinds) == (0, 0)
    # Larger answers are acknowledged immediately, so that the board continues while the caller computes.
    endpoint.send(bytes(100))
    endpoint.receive(100)
    assert len(frames) == 52
    endpoint.send(bytes(10))
    endpoint.receive(10)
    endpoint.poll()
    assert len(frames) == 54


FIRST_OFFSETS = (0, (1 << 16) - 5000, (1 << 32) - 5000)
"""A few frames before the low and high parts of the offsets wrap."""


@pytest.mark.parametrize("first", FIRST_OFFSETS)
@pytest.mark.parametrize("maximum_payload", [64, 235, 236, 1400])
def test_payloads_and_offsets_of_the_board(first, maximum_payload):
    """The endpoint takes the largest payload and the first offsets from the board."""
    rng = random.Random(f"{first} {maximum_payload}")
    parameters = LinkParameters(receive_buffer=4096, transmit_buffer=4096, maximum_payload=maximum_payload)
    _, line = model_line(parameters=parameters, first_offset=first)
    sizes = set()
    write = line.write

    def watched(data):
        sizes.update(len(frame.payload) for frame in Deframer().feed(data))
        write(data)

    line.write = watched
    endpoint = Endpoint(line)
    endpoint.open()
    data = rng.randbytes(30_000)
    assert echo_through(endpoint, data, rng) == data
    assert (endpoint.polls, endpoint.rewinds) == (0, 0)
    assert max(sizes) == maximum_payload


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("first", FIRST_OFFSETS[1:])
@pytest.mark.parametrize("maximum_payload", [235, 1400])
def test_bad_line_where_offsets_wrap(first, seed, maximum_payload):
    rng = random.Random(f"{first} {seed}")
    parameters = LinkParameters(receive_buffer=2048, transmit_buffer=2048, maximum_payload=maximum_payload)
    model, line = model_line(parameters=parameters, first_offset=first)
    faulty = FaultyTransport(line, seed=seed, flip=3e-4, drop=3e-4, insert=3e-4, repeat=0.05, cut=0.05)
    endpoint = Endpoint(faulty, nonce=b"once", timeout_s=20)
    endpoint.open()
    data = rng.randbytes(20_000)
    assert echo_through(endpoint, data, rng) == data
    assert model.resets == 1
    assert all(faulty.faults[name] > 5 for name in ("flip", "drop", "insert", "repeat", "cut"))


def test_the_window_of_the_host():
    """The window of the host does not limit a board with large rings."""
    parameters = LinkParameters(transmit_buffer=65536, receive_buffer=65536, maximum_payload=1400)
    model, line = model_line(parameters=parameters, serve=lambda model: None)
    endpoint = Endpoint(line)
    endpoint.open()
    endpoint.send(b"x")
    data = random.Random(1).randbytes(65536)
    assert model.transmit(data) == len(data)
    assert len(model.to_line()) > len(data)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "rates",
    [
        {"flip": 1e-3, "drop": 1e-3, "insert": 1e-3},
        {"repeat": 0.3, "cut": 0.1},
        {"flip": 3e-4, "drop": 3e-4, "insert": 3e-4, "repeat": 0.05, "cut": 0.05},
    ],
    ids=["bytes", "frames", "both"],
)
def test_bad_line(seed, rates):
    """Every byte arrives once and in order, in both directions, whatever the line does."""
    rng = random.Random(f"test_bad_line {seed} {rates}")
    model, line = model_line()
    faulty = FaultyTransport(line, seed=seed, **rates)
    endpoint = Endpoint(faulty, nonce=b"once")
    endpoint.open()
    data = rng.randbytes(150_000)
    assert echo_through(endpoint, data, rng) == data
    assert model.resets == 1
    assert sum(faulty.faults.values()) > 500
    assert all(faulty.faults[name] > 100 for name in rates)
    assert endpoint.rewinds > 50


def test_ten_thousand_faults():
    rng = random.Random("test_ten_thousand_faults")
    _, line = model_line(parameters=LinkParameters(maximum_payload=64, receive_buffer=512, transmit_buffer=256))
    faulty = FaultyTransport(line, seed=1, flip=2e-3, drop=2e-3, insert=2e-3, repeat=0.02, cut=0.02)
    endpoint = Endpoint(faulty, maximum_payload=64, timeout_s=20)
    endpoint.open()
    data = rng.randbytes(300_000)
    assert echo_through(endpoint, data, rng) == data
    assert sum(faulty.faults.values()) > 10_000


@pytest.mark.parametrize("planted", [WithoutCrc, WithoutSequence, WithoutRewind])
def test_planted_bugs_are_found(planted):
    rng = random.Random("test_planted_bugs_are_found")
    _, line = model_line(planted)
    faulty = FaultyTransport(line, seed=1, flip=3e-4, drop=3e-4, insert=3e-4, repeat=0.05, cut=0.05)
    endpoint = Endpoint(faulty)
    endpoint.open()
    data = rng.randbytes(20_000)
    try:
        got = echo_through(endpoint, data, rng)
    except LinkError:
        return
    assert got != data


def test_a_board_that_answers_slowly_is_not_hurried():
    """A computation of three seconds causes a few queries, no error, and no byte sent twice."""
    model, line = model_line(serve=lambda model: None)
    endpoint = Endpoint(line, timeout_s=5)
    endpoint.open()
    endpoint.send(b"a question")
    began = line.now()

    def serve(model):
        if line.now() > began + 3 and not answered:
            answered.append(model.transmit(b"its answer"))

    answered = []
    line._serve = serve
    assert endpoint.receive(10) == b"its answer"
    assert 3 < line.now() - began < 4
    assert 0 < endpoint.polls < 100
    assert endpoint.rewinds == 0
    assert model.receive() == b"a question"


def test_the_board_cannot_stop_while_the_host_sends():
    """An echo with small rings: while sending, the host accepts any number of answers."""
    parameters = LinkParameters(receive_buffer=64, transmit_buffer=64, maximum_payload=64)
    _, line = model_line(parameters=parameters)
    endpoint = Endpoint(line, maximum_payload=64)
    endpoint.open()
    data = random.Random(1).randbytes(3000)
    endpoint.send(data)
    endpoint.flush()
    assert len(got := endpoint.poll()) > 2900
    assert got + endpoint.receive(len(data) - len(got)) == data


def test_receive_waits_for_the_minimum_and_returns_all():
    _, line = model_line()
    endpoint = Endpoint(line)
    endpoint.open()
    assert endpoint.poll() == b""
    endpoint.send(b"abcdef")
    assert endpoint.receive(3) == b"abcdef"


def test_stale_frames_of_an_older_session_are_ignored():
    model, line = model_line()
    endpoint = Endpoint(line)
    endpoint.open()
    endpoint.send(b"old")
    # Neither end has read what the other has sent when the new session begins.
    endpoint.open()
    endpoint.send(b"new")
    assert endpoint.receive(3) == b"new"
    assert model.resets == 2


def identify(record):
    def answer(data):
        *_, frame = Deframer().feed(data)
        return Frame(kind=Kind.IDENTITY, limit=1024, payload=frame.payload + record).encode()

    return answer


def test_no_board_answers():
    line = Scripted(lambda data: b"")
    with pytest.raises(
        LinkError,
        match=r"^no board answers on a script: it must be powered and configured$",
    ):
        Endpoint(line, timeout_s=2).open()
    assert 2 <= line.seconds < 2.1


class Rates(Scripted):
    """A line on which the board answers at one of four settings, and sends noise at the others."""

    settings = ("12 Mbaud", "6 Mbaud", "3 Mbaud", "1 Mbaud")

    def __init__(self, answering, record):
        super().__init__(lambda data: identify(record)(data) if self.setting == answering else b"\xf8\x00\x80")
        self.setting = 0
        self.tried = [0]

    def next_setting(self):
        self.setting = (self.setting + 1) % len(self.settings)
        self.waiting = b""
        self.tried.append(self.setting)


@pytest.mark.parametrize("answering", range(4))
def test_the_rate_of_the_board_is_found(answering):
    line = Rates(answering, IDENTITY.encode())
    with Endpoint(line, timeout_s=2) as endpoint:
        assert endpoint.open() == IDENTITY
    assert line.tried == list(range(answering + 1))
    assert line.seconds < 4 * (answering + 1) * line.round_trip_s


def test_every_rate_is_tried_again_and_named():
    line = Rates(7, b"")
    message = "no board answers on a script at 12 Mbaud, 6 Mbaud, 3 Mbaud, 1 Mbaud: it must be powered and configured"
    with pytest.raises(LinkError, match=f"^{re.escape(message)}$"):
        Endpoint(line, timeout_s=5).open()
    assert line.tried[:9] == [0, 1, 2, 3, 0, 1, 2, 3, 0]


def test_only_noise_answers():
    line = Scripted(lambda data: b"\0U\xaa\0" * 50)
    with pytest.raises(LinkError, match=r"^no board answers on a script"):
        Endpoint(line, timeout_s=2).open()


@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        (
            1,
            "rebuild its bitstream with this release (spikeloom bitstream --board BOARD) and load it "
            "(spikeloom flash BOARD)",
        ),
        (
            3,
            "install a newer release of spikeloom, or rebuild the bitstream with this one "
            "(spikeloom bitstream --board BOARD)",
        ),
    ],
)
def test_another_protocol_version(version, remedy):
    record = bytearray(IDENTITY.encode())
    record[4] = version
    board = Version1Board() if version == 1 else identify(bytes(record))
    message = f"the board on a script has protocol version {version}, expected 2: {remedy}"
    with pytest.raises(LinkError, match=f"^{re.escape(message)}$"):
        Endpoint(Scripted(board)).open()


@pytest.mark.parametrize("seed", range(5))
def test_version_1_over_a_bad_line(seed):
    line = FaultyTransport(Scripted(Version1Board()), seed=seed, flip=3e-3, drop=3e-3, insert=3e-3, cut=0.1)
    with pytest.raises(LinkError, match=r"^the board on a script has protocol version 1, expected 2: rebuild"):
        Endpoint(line, timeout_s=60).open()


def test_version_1_frames_do_not_disturb_a_slow_board():
    """A board that answers late is asked in both versions, opens one session, and loses nothing."""
    model, line = model_line()
    write, late = line.write, []

    def held(data):
        late.append(data)
        if len(late) > 2:
            write(b"".join(late))
            line.write = write

    line.write = held
    endpoint = Endpoint(line, nonce=b"1234")
    endpoint.open()
    assert version1_opening(b"1234")[:9] in late[1]
    endpoint.send(b"all of it")
    assert endpoint.receive(9) == b"all of it"
    assert model.resets == 1


def test_something_else_answers():
    with pytest.raises(LinkError, match=r"^the device on a script is not a spikeloom board \(an identity record must"):
        Endpoint(Scripted(identify(bytes(40)))).open()


def test_the_answer_to_another_nonce_is_ignored():
    def answer(data):
        return Frame(kind=Kind.IDENTITY, payload=b"else" + IDENTITY.encode()).encode()

    with pytest.raises(LinkError, match=r"^no board answers"):
        Endpoint(Scripted(answer), nonce=b"this", timeout_s=1).open()


def send_and_flush(endpoint):
    endpoint.send(b"x")
    endpoint.flush()


@pytest.mark.parametrize(
    ("call", "verb"),
    [
        (lambda endpoint: endpoint.send(bytes(2000)), "take"),
        (send_and_flush, "acknowledge"),
        (lambda endpoint: endpoint.receive(1), "send"),
    ],
    ids=["send", "flush", "receive"],
)
def test_a_board_that_goes_away(call, verb):
    _, line = model_line(serve=lambda model: None)
    endpoint = Endpoint(line, timeout_s=2)
    endpoint.open()
    line.read = lambda timeout_s: (setattr(line, "_now", line._now + timeout_s), b"")[1]
    began = line.now()
    message = rf"^the board on the model no longer answers and did not {verb} any bytes for 2 s$"
    with pytest.raises(LinkError, match=message):
        call(endpoint)
    assert 2 <= line.now() - began < 2.2


def test_a_board_that_only_answers():
    _, line = model_line(serve=lambda model: None)
    endpoint = Endpoint(line, timeout_s=2)
    endpoint.open()
    with pytest.raises(
        LinkError, match=r"^the board on the model still answers, but did not send any bytes for 0\.5 s$"
    ):
        endpoint.receive(1, timeout_s=0.5)


def test_session_must_be_open():
    endpoint = Endpoint(model_line()[1])
    for call in (lambda: endpoint.send(b"x"), endpoint.receive, endpoint.flush, endpoint.poll):
        with pytest.raises(LinkError, match=r"^the session must be open$"):
            call()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"timeout_s": 0}, r"^timeout_s must be above 0, not 0$"),
        ({"nonce": b"123"}, r"^nonce must be 4 bytes, not 3$"),
        ({"maximum_payload": 1401}, r"^maximum_payload must be from 64 to 1400, not 1401$"),
    ],
)
def test_endpoint_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        Endpoint(model_line()[1], **arguments)
