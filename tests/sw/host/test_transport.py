"""Transports: repeatable faults, and serial ports and sockets that appear and disappear."""

import contextlib
import os
import random
import re
import socket
import threading
import time

import pytest
from harness.lines import IDENTITY, Scripted, echo

from spikeloom.host.endpoint import Endpoint, LinkError
from spikeloom.host.transport import (
    BOARD_CLOCK,
    FaultyTransport,
    SerialTransport,
    TcpTransport,
    VirtualSerialTransport,
)
from spikeloom.sim.host.link import DeviceModel, LinkParameters


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
    """A model behind real bytes, which echoes its input."""
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
    """Over a pseudo-terminal, which the driver treats like a serial port."""
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
    with pytest.raises(LinkError, match=r"^the serial port /dev/\S+ has disappeared \("):
        line.read(0.1)
    line.close()


@contextlib.contextmanager
def virtual_port(tmp_path, now=3.25):
    """A pseudo-terminal with a clock file, and the function that sets the clock."""
    ours, theirs = os.openpty()
    clock = tmp_path / "clock"
    clock.write_bytes(BOARD_CLOCK.pack(now))
    line = VirtualSerialTransport(os.ttyname(theirs), clock)
    try:
        yield line, ours, clock
    finally:
        line.close()
        line.close()  # closing twice is allowed
        os.close(theirs)
        os.close(ours)


def set_clock(clock, now):
    with clock.open("r+b") as file:  # overwritten in place, as the simulation does
        file.write(BOARD_CLOCK.pack(now))


def test_the_clock_of_a_simulated_board(tmp_path):
    """Waiting ends by this clock, whatever the clock of the host reads."""
    with virtual_port(tmp_path) as (line, ours, clock):
        assert line.now() == 3.25
        os.write(ours, b"abc")
        assert line.read(5.0) == b"abc"
        started = time.monotonic()
        later = threading.Timer(0.2, lambda: set_clock(clock, 8.25))
        later.start()
        assert line.read(5.0) == b""
        assert time.monotonic() - started > 0.15
        later.join()
        assert line.now() == 8.25


@pytest.mark.parametrize("virtual", [True, False])
def test_a_slow_simulation_is_not_a_board_that_is_gone(tmp_path, virtual):
    """The board begins to answer after more than the timeout of the link, while no time has passed by its own clock."""
    with virtual_port(tmp_path) as (line, ours, _):
        if not virtual:
            line.close()
            line = SerialTransport(line.name, 115200)
        os.set_blocking(ours, False)
        slow = time.monotonic() + 0.6

        def read():
            try:
                return os.read(ours, 4096) if time.monotonic() > slow else b""
            except BlockingIOError:
                return b""

        with served(read, lambda data: os.write(ours, data)), Endpoint(line, timeout_s=0.3) as endpoint:
            if virtual:
                assert endpoint.open() == IDENTITY
                endpoint.send(b"abc")
                assert endpoint.receive(3) == b"abc"
            else:
                with pytest.raises(LinkError, match=r"^no board answers on "):
                    endpoint.open()


def test_a_simulated_board_that_has_ended(tmp_path):
    with virtual_port(tmp_path) as (line, _, clock):
        os.truncate(clock, 0)
        with pytest.raises(LinkError, match=r"^the simulated board at /dev/\S+ has stopped its clock: it has ended$"):
            line.now()
    with pytest.raises(LinkError, match="has stopped its clock"):
        line.now()


def test_a_simulated_board_that_stands_still(tmp_path, monkeypatch):
    with virtual_port(tmp_path) as (line, _, clock):
        line.now()
        now = time.monotonic()
        monkeypatch.setattr("spikeloom.host.transport.time.monotonic", lambda: now + 59)
        assert line.now() == 3.25
        monkeypatch.setattr("spikeloom.host.transport.time.monotonic", lambda: now + 61)
        message = r"^the simulated board at /dev/\S+ has not advanced for 60 s; start it again$"
        with pytest.raises(LinkError, match=message):
            line.now()
        set_clock(clock, 3.5)
        assert line.now() == 3.5


def test_a_simulated_board_without_clock(tmp_path):
    ours, theirs = os.openpty()
    message = rf"^the simulated board at /dev/\S+ must have a clock at {re.escape(str(tmp_path))}/clock \(No such file"
    with pytest.raises(LinkError, match=message):
        VirtualSerialTransport(os.ttyname(theirs), tmp_path / "clock")
    os.close(theirs)
    os.close(ours)


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
    remedy = "start one there, or give another port"
    with pytest.raises(LinkError, match=rf"^no program listens at 127\.0\.0\.1:{port} \(.*\); {remedy}$"):
        TcpTransport(host, port)


def test_socket_peer_that_writes_before_it_reads():
    """There is no deadlock when both have more to send than the sockets hold."""
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


def test_a_serial_port_is_for_one_program():
    ours, theirs = os.openpty()
    port = os.ttyname(theirs)
    first = SerialTransport(port, 115200)
    with pytest.raises(LinkError, match=rf"^the serial port {port} is busy: another program uses it$"):
        SerialTransport(port, 115200)
    first.close()
    SerialTransport(port, 115200).close()
    os.close(theirs)
    os.close(ours)


def test_a_serial_port_tries_the_other_rates():
    """It begins with the expected rate; the rate is set on the port, and a pseudo-terminal stores it too."""
    ours, theirs = os.openpty()
    try:
        line = SerialTransport(os.ttyname(theirs), 3_000_000)
        assert line.settings == ("3 Mbaud", "12 Mbaud", "6 Mbaud", "4 Mbaud", "2 Mbaud", "1 Mbaud")
        found = []
        for _ in range(7):
            found.append(line._serial.baudrate)
            line.next_setting()
        assert found == [3_000_000, 12_000_000, 6_000_000, 4_000_000, 2_000_000, 1_000_000, 3_000_000]
        assert FaultyTransport(line, seed=1).settings == line.settings
        line.close()
    finally:
        os.close(ours)
        os.close(theirs)
