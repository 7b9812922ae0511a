"""What ``--port`` names."""

import re
import socket

import pytest

from spikeloom.cli.ports import transport_to
from spikeloom.datasets.inputs import InputError
from spikeloom.host.transport import LinkError, TcpTransport


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
