"""The UDP port: every datagram is counted once, memory is bounded, and only the named peer is accepted."""

import re
import socket
import sys
import threading
import time

import numpy as np
import pytest
from harness.networks import rng_of

from spikeloom.host.datagrams import BATCH_BYTES, BATCH_DATAGRAMS, DatagramPort

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system does not count lost datagrams")


def sender(host="127.0.0.1"):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, 0))
    return made


def read_all(port):
    """Read all datagrams that wait in the queue."""
    found = []
    empty = False
    while not empty:
        empty = port.read(10)
        data, sizes = port.take()
        found += [piece.tobytes() for piece in np.split(data, np.cumsum(sizes)[:-1])] if len(sizes) else []
    return found


def test_a_batch_holds_the_datagrams_in_order(request):
    rng = rng_of(request.node.name)
    sent = [rng.bytes(4 * int(words)) for words in rng.integers(0, 300, 100)]
    assert b"" in sent or len(sent) == 100
    sent[50] = b""
    with DatagramPort("127.0.0.1", 0) as port, sender() as camera:
        for each in sent:
            camera.sendto(each, ("127.0.0.1", port.port))
        port.wait(1)
        assert not port.read(30)  # no more than requested
        data, sizes = port.take()
        assert data.tobytes() == b"".join(sent[:30])
        assert sizes.tolist() == [len(each) for each in sent[:30]]
        assert read_all(port) == sent[30:]
        assert read_all(port) == []
        assert (port.received, port.malformed, port.dropped, port.strangers) == (100, 0, 0, 0)


def test_a_datagram_of_broken_units_is_not_in_the_batch():
    with DatagramPort("127.0.0.1", 0, unit=4) as port, sender() as camera:
        for each in (b"abcd", b"abcde", b"a", b"efgh"):
            camera.sendto(each, ("127.0.0.1", port.port))
        assert read_all(port) == [b"abcd", b"efgh"]
        port.reject(1)
        assert (port.received, port.malformed) == (1, 3)


@pytest.mark.parametrize(("size", "limit"), [(60_000, BATCH_BYTES // 60_000 + 1), (0, BATCH_DATAGRAMS)])
def test_a_batch_is_bounded(size, limit):
    """Neither the largest datagrams nor empty ones let it grow: once full, it reads nothing until it is taken."""
    taken = 0
    with DatagramPort("127.0.0.1", 0) as port, sender() as camera:
        while not port.full:
            camera.sendto(bytes(size), ("127.0.0.1", port.port))
            port.wait(1)
            port.read(1)
            taken += 1
            assert taken <= limit
        assert taken == limit
        camera.sendto(b"abcd", ("127.0.0.1", port.port))
        port.wait(1)
        assert not port.read(10)
        _, sizes = port.take()
        assert len(sizes) == limit
        assert read_all(port) == [b"abcd"]


@linux
def test_what_the_queue_cannot_hold_is_counted():
    """Without a reader, the queue is bounded, and sent = received + dropped."""
    number = 20_000
    with DatagramPort("127.0.0.1", 0) as port, sender() as camera:
        for _ in range(number):
            camera.sendto(bytes(40), ("127.0.0.1", port.port))
        dropped = port.dropped
        assert number / 2 < dropped < number
        waiting = len(read_all(port))
        assert waiting == port.received == number - dropped
        camera.sendto(bytes(40), ("127.0.0.1", port.port))
        assert len(read_all(port)) == 1
        assert port.dropped == dropped
    assert port.dropped == dropped, "closing keeps the count"


@pytest.mark.parametrize("kernel_filter", [pytest.param(True, marks=linux), False])
@pytest.mark.parametrize("named", ["host", "host and port"])
def test_only_the_named_peer_is_heard(kernel_filter, named):
    with sender("127.0.0.2") as camera, sender("127.0.0.2") as neighbour, sender() as stranger:
        peer = ("127.0.0.2", camera.getsockname()[1] if named == "host and port" else None)
        with DatagramPort("127.0.0.1", 0, peer=peer, kernel_filter=kernel_filter) as port:
            for number in range(40):
                for name, each in (("came", camera), ("near", neighbour), ("anon", stranger)):
                    each.sendto(name.encode() + bytes([number] * 4), ("127.0.0.1", port.port))
            stranger.sendto(b"broken", ("127.0.0.1", port.port))
            found = read_all(port)
            names = ["came"] if named == "host and port" else ["came", "near"]
            assert found == [name.encode() + bytes([number] * 4) for number in range(40) for name in names]
            assert (port.received, port.malformed, port.dropped or 0) == (len(found), 0, 0)
            assert port.strangers == 121 - len(found)
        assert port.strangers == 121 - len(found)


@linux
def test_strangers_do_not_displace_the_peer():
    """More datagrams of other senders than the queue could hold, followed by one of the peer."""
    with (
        sender("127.0.0.2") as camera,
        sender() as stranger,
        DatagramPort("127.0.0.1", 0, peer=("127.0.0.2", None), kernel_filter=True) as port,
    ):
        for _ in range(20_000):
            stranger.sendto(bytes(40), ("127.0.0.1", port.port))
        camera.sendto(b"abcd", ("127.0.0.1", port.port))
        assert read_all(port) == [b"abcd"]
        assert (port.dropped, port.strangers) == (0, 20_000)


@linux
def test_no_stranger_is_heard_while_the_port_opens():
    """Another sender sends continuously to a port that is opened again and again."""
    with DatagramPort("127.0.0.1", 0) as free:
        number = free.port
    stop = threading.Event()

    def send():
        with sender() as stranger:
            while not stop.is_set():
                stranger.sendto(b"abcd", ("127.0.0.1", number))

    thread = threading.Thread(target=send)
    thread.start()
    strangers = 0
    try:
        for _ in range(200):
            with DatagramPort("127.0.0.1", number, peer=("127.0.0.2", None), kernel_filter=True) as port:
                time.sleep(0.001)
                assert read_all(port) == []
                assert port.dropped == 0
                strangers += port.strangers
    finally:
        stop.set()
        thread.join()
    assert strangers > 200


@pytest.mark.parametrize("reason", ["another system", "another kernel"])
def test_a_kernel_that_cannot_separate(monkeypatch, reason):
    """The senders are then compared in software; a caller that requires the kernel to do so is refused."""
    if reason == "another system":
        monkeypatch.setattr("sys.platform", "darwin")
    else:
        real = socket.socket.setsockopt

        def refuse(made, level, option, value):
            if option == 51:  # SO_ATTACH_REUSEPORT_CBPF
                raise OSError("Protocol not available")
            real(made, level, option, value)

        monkeypatch.setattr("spikeloom.host.datagrams.socket.socket.setsockopt", refuse)
    with sender("127.0.0.2") as camera, sender() as stranger:
        with DatagramPort("127.0.0.1", 0, peer=("127.0.0.2", None)) as port:
            for each in (stranger, camera, stranger):
                each.sendto(b"abcd", ("127.0.0.1", port.port))
            assert len(read_all(port)) == 1
            assert (port.received, port.strangers) == (1, 2)
            assert port.dropped == (None if reason == "another system" else 0)
        with pytest.raises(OSError, match=r"^the kernel \((linux|darwin)\) cannot separate datagrams by their sender$"):
            DatagramPort("127.0.0.1", 0, peer=("127.0.0.2", None), kernel_filter=True)


def test_a_port_in_use():
    with DatagramPort("127.0.0.1", 0, peer=("127.0.0.2", None)) as port:
        message = f"UDP port {port.port} of 127.0.0.1 is in use by another program; end it, or use another port"
        with pytest.raises(OSError, match=f"^{re.escape(message)}$"):
            DatagramPort("127.0.0.1", port.port)
    DatagramPort("127.0.0.1", port.port).close()  # the port is free again
