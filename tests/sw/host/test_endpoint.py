"""The host's end of the link, over a model of the board, a bad line, a pseudo-terminal and a socket."""

import contextlib
import os
import random
import socket
import threading

import pytest
from harness.link_bugs import WithoutCrc, WithoutRewind, WithoutSequence

from spikeloom.host.endpoint import Endpoint, LinkError
from spikeloom.host.transport import FaultyTransport, ModelTransport, SerialTransport, TcpTransport, Transport
from spikeloom.sim.host.link import (
    Deframer,
    DeviceModel,
    Frame,
    Identity,
    Kind,
    LinkParameters,
)

IDENTITY = Identity(
    lanes=8, neurons=256, axons=784, weight_words=8192, weight_width=8, v_width=16, build_hash=b"0123456789abcdef"
)


def echo():
    """Serves a model: what comes goes back, and a new session begins empty."""
    waiting, resets = bytearray(), 0

    def serve(model):
        nonlocal resets
        if model.resets != resets:
            resets = model.resets
            waiting.clear()
        waiting.extend(model.receive())
        del waiting[: model.transmit(bytes(waiting))]

    return serve


def model_line(model_class=DeviceModel, parameters=None, serve=None):
    model = model_class(parameters or LinkParameters(), IDENTITY.encode())
    return model, ModelTransport(model, serve or echo())


def echo_through(endpoint, data, rng):
    """Sends ``data`` in random pieces and collects as much."""
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
        assert endpoint.open() == IDENTITY
        assert endpoint.identity == IDENTITY
        assert model.resets == 1
        assert endpoint.open() == IDENTITY
        assert model.resets == 2


def test_good_line():
    """Offsets wrap three times; nothing is asked for and nothing sent twice; the line is busy most of the time."""
    rng = random.Random("test_good_line")
    _, line = model_line()
    endpoint = Endpoint(line)
    endpoint.open()
    data = rng.randbytes(200_000)
    began = line.now()
    assert echo_through(endpoint, data, rng) == data
    assert (endpoint.polls, endpoint.rewinds) == (0, 0)
    # 10 us a byte, one direction after the other on this line.
    assert line.now() - began < 1.25 * 2 * len(data) * 1e-5


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
    """Every byte once and in order, there and back, whatever the line does."""
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
    """A computation of three seconds: a few questions, no error, no byte sent twice."""
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
    """An echo with small rings: sending takes the answers in, however many."""
    _, line = model_line(parameters=LinkParameters(receive_buffer=16, transmit_buffer=16))
    endpoint = Endpoint(line)
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
    # Neither has read what the other has sent when the new session begins.
    assert endpoint.open() == IDENTITY
    endpoint.send(b"new")
    assert endpoint.receive(3) == b"new"
    assert model.resets == 2


class Scripted(Transport):
    """Answers each write by a function of its bytes; time passes when nothing comes."""

    name = "a script"

    def __init__(self, answer):
        self.answer = answer
        self.waiting = b""
        self.seconds = 0.0

    def write(self, data):
        self.waiting += self.answer(data)

    def read(self, timeout_s):
        data, self.waiting = self.waiting, b""
        self.seconds += timeout_s if not data else 0.001
        return data

    def now(self):
        return self.seconds


def identify(record):
    def answer(data):
        (frame,) = Deframer().feed(data)
        return Frame(kind=Kind.IDENTITY, limit=1024, payload=frame.payload + record).encode()

    return answer


def test_nobody_answers():
    line = Scripted(lambda data: b"")
    with pytest.raises(
        LinkError,
        match=r"^no board answers on a script: it must be powered, configured, and set to the same baud rate$",
    ):
        Endpoint(line, timeout_s=2).open()
    assert 2 <= line.seconds < 2.1


def test_only_noise_answers():
    line = Scripted(lambda data: b"\0U\xaa\0" * 50)
    with pytest.raises(LinkError, match=r"^no board answers on a script"):
        Endpoint(line, timeout_s=2).open()


def test_another_protocol_version():
    record = bytearray(IDENTITY.encode())
    record[4] = 2
    with pytest.raises(
        LinkError,
        match=r"^the board on a script must speak protocol version 1, not 2: "
        r"build its bitstream with this release of spikeloom$",
    ):
        Endpoint(Scripted(identify(bytes(record)))).open()


def test_something_else_answers():
    with pytest.raises(
        LinkError, match=r"^what answers on a script is not a spikeloom board \(an identity record must"
    ):
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
    message = rf"^the board on the model does not answer any more and did not {verb} any bytes for 2 s$"
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
        ({"maximum_payload": 300}, r"^maximum_payload must be from 64 to 240, not 300$"),
    ],
)
def test_endpoint_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        Endpoint(model_line()[1], **arguments)


def test_faults_are_repeatable_and_counted():
    data = random.Random(1).randbytes(5000)
    results = []
    for _ in range(2):
        line = Scripted(lambda written: written)
        faulty = FaultyTransport(line, seed=7, flip=0.01, drop=0.01, insert=0.02)
        faulty.write(data)
        results.append((line.waiting, dict(faulty.faults)))
    assert results[0] == results[1]
    damaged, faults = results[0]
    assert len(damaged) - len(data) == faults["insert"] - faults["drop"]
    assert min(faults[name] for name in ("flip", "drop", "insert")) > 20


def test_fault_rate_error():
    with pytest.raises(ValueError, match=r"^flip must be from 0 to 1, not 2$"):
        FaultyTransport(Scripted(None), seed=1, flip=2)


def serve_bytes(read, write, stop):
    """A model behind real bytes, with an echo."""
    model, serve = DeviceModel(LinkParameters(), IDENTITY.encode()), echo()
    while not stop.is_set():
        if data := read():
            model.from_line(data)
        serve(model)
        if data := model.to_line():
            write(data)


@contextlib.contextmanager
def served(read, write):
    """The model, in a thread, behind ``read`` and ``write``."""
    stop = threading.Event()
    thread = threading.Thread(target=serve_bytes, args=(read, write, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_serial_port():
    """Over a pseudo-terminal, which is a serial port as far as the driver knows."""
    ours, theirs = os.openpty()
    os.set_blocking(ours, False)

    def read():
        try:
            return os.read(ours, 4096)
        except BlockingIOError:
            return b""

    line = SerialTransport(os.ttyname(theirs), 115200)
    data = random.Random("test_serial_port").randbytes(20_000)
    with served(read, lambda data: os.write(ours, data)), Endpoint(line) as endpoint:
        assert endpoint.open() == IDENTITY
        endpoint.send(data)
        got = b""
        while len(got) < len(data):
            got += endpoint.receive()
        assert got == data
    os.close(theirs)
    os.close(ours)


def test_serial_port_that_is_not_there():
    with pytest.raises(LinkError, match=r"^the serial port /dev/nowhere must exist and be free to use \(.*\)$"):
        SerialTransport("/dev/nowhere", 115200)


def test_serial_port_that_goes_away():
    ours, theirs = os.openpty()
    line = SerialTransport(os.ttyname(theirs), 115200)
    os.close(theirs)
    os.close(ours)
    with pytest.raises(LinkError, match=r"^the serial port /dev/\S+ has gone away \("):
        line.read(0.1)
    line.close()


def test_socket():
    server = socket.create_server(("127.0.0.1", 0))
    line = TcpTransport(*server.getsockname())
    peer, _ = server.accept()
    peer.settimeout(0.01)

    def read():
        try:
            return peer.recv(4096)
        except TimeoutError:
            return b""

    data = random.Random("test_socket").randbytes(100_000)
    with served(read, peer.sendall), Endpoint(line) as endpoint:
        assert endpoint.open() == IDENTITY
        endpoint.send(data)
        got = b""
        while len(got) < len(data):
            got += endpoint.receive()
        assert got == data
    peer.close()
    server.close()


def test_socket_errors():
    server = socket.create_server(("127.0.0.1", 0))
    host, port = server.getsockname()
    line = TcpTransport(host, port)
    server.accept()[0].close()
    with pytest.raises(LinkError, match=rf"^127\.0\.0\.1:{port} has closed the connection$"):
        line.read(1)
    line.close()
    server.close()
    with pytest.raises(LinkError, match=rf"^somebody must listen at 127\.0\.0\.1:{port} \(.*\)$"):
        TcpTransport(host, port)


def test_socket_peer_that_writes_before_it_reads():
    """Neither waits for the other for ever when both have more to say than the sockets hold."""
    server = socket.create_server(("127.0.0.1", 0))
    line = TcpTransport(*server.getsockname())
    peer, _ = server.accept()
    size = 8_000_000

    def talk():
        peer.sendall(bytes(size))
        left = size
        while left:
            left -= len(peer.recv(65536))

    other = threading.Thread(target=talk, daemon=True)
    other.start()
    line.write(bytes(size))
    got = 0
    while got < size:
        got += len(line.read(1))
    other.join()
    line.close()
    peer.close()
    server.close()
