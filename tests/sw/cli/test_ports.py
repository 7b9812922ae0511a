"""Connections selected by ``--port``."""

import os
import re
import socket

import pytest

from spikeloom.cli.ports import transport_to
from spikeloom.datasets.inputs import InputError
from spikeloom.host.transport import BOARD_CLOCK, LinkError, SerialTransport, TcpTransport, VirtualSerialTransport


def test_a_host_and_a_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = transport_to(f"127.0.0.1:{listener.getsockname()[1]}", 1_000_000)
        assert isinstance(line, TcpTransport)
        line.close()


@pytest.mark.parametrize(
    ("port", "message"),
    [
        (None, "a port must be given with --port, such as /dev/ttyUSB1 or localhost:5000"),
        ("localhost:0", "port must be HOST:PORT with a number from 1 to 65535, not 'localhost:0'"),
        ("localhost:65536", "port must be HOST:PORT with a number from 1 to 65535, not 'localhost:65536'"),
    ],
)
def test_ports_that_are_none(port, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        transport_to(port, 1_000_000)


def test_any_other_port_is_a_serial_one():
    with pytest.raises(LinkError, match=r"^the serial port host:name must exist "):
        transport_to("host:name", 1_000_000)


def test_the_link_of_a_simulated_board(tmp_path):
    """Only a link beside a clock counts as one: the same pseudo-terminal under its own name is a serial port."""
    ours, theirs = os.openpty()
    name, link = os.ttyname(theirs), tmp_path / "port"
    link.symlink_to(name)
    plain = transport_to(str(link), 1_000_000)
    assert type(plain) is SerialTransport
    plain.close()
    (tmp_path / "clock").write_bytes(BOARD_CLOCK.pack(7.5))
    line = transport_to(str(link), 1_000_000)
    assert isinstance(line, VirtualSerialTransport)
    assert line.now() == 7.5
    line.close()
    plain = transport_to(name, 1_000_000)
    assert type(plain) is SerialTransport
    plain.close()
    os.close(theirs)
    os.close(ours)
