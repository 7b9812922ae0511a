"""UDP to a board: the real driver over sockets, with every fault of a network, and what a second host is told."""

import re
import socket

import pytest
from harness.faults import WrongAnswer, run_with_faults
from harness.lines import IDENTITY, echo
from harness.link_bugs import WithoutCrc
from harness.network import KINDS, BoardOnNetwork, ModelBoard
from harness.networks import rng_of

from spikeloom.cli.ports import transport_to
from spikeloom.datasets.inputs import InputError
from spikeloom.host.endpoint import Endpoint
from spikeloom.host.transport import LinkError
from spikeloom.host.udp import UdpTransport
from spikeloom.sim.host.ethernet import DEFAULT_PORT, IDLE_S, UDP_LINK
from spikeloom.sim.host.link import DeviceModel


@pytest.fixture
def board():
    board = ModelBoard(DeviceModel(UDP_LINK, IDENTITY.encode()), echo())
    yield board
    board.network.close()


def echoed(endpoint, data):
    endpoint.send(data)
    return endpoint.receive(len(data))


def test_bytes_both_ways(board, request):
    data = rng_of(request.node.name).bytes(50_000)
    with Endpoint(board.transport()) as endpoint:
        assert endpoint.open() == IDENTITY
        assert echoed(endpoint, data) == data
        assert (endpoint.polls, endpoint.rewinds) == (0, 0)
    assert board.ethernet.peer is None, "closing ends the session"


def test_a_second_host_is_refused(board):
    with Endpoint(board.transport()) as first, Endpoint(board.transport()) as second:
        first.open()
        message = (
            f"the board at 127.0.0.1:{board.network.port} is in use by a program at 127.0.0.1, "
            f"port {board.ethernet.peer.port}; end it, or wait {IDLE_S} s if it has ended without closing the board"
        )
        with pytest.raises(LinkError, match=f"^{re.escape(message)}$"):
            second.open()
        assert echoed(first, b"still") == b"still"
        first.close()
        second.open()
        assert echoed(second, b"now") == b"now"
        # A host that comes back without a session of its own is told so, too.
    with Endpoint(board.transport()) as third, Endpoint(board.transport()) as fourth:
        third.open()
        board.wait(IDLE_S)
        fourth.open()
        with pytest.raises(LinkError, match=r"is in use by a program"):
            echoed(third, b"mine")


def test_each_session_has_a_port_of_its_own(board):
    """Datagrams of an earlier session that arrive late are refused; the end of that session may be lost."""
    with Endpoint(board.transport()) as endpoint:
        endpoint.open()
        first = board.ethernet.peer
        endpoint.open()
        assert board.ethernet.peer.port != first.port
        assert echoed(endpoint, b"abc") == b"abc"
        second = board.ethernet.peer
        board.network.rates = {"loss": 1.0}
        endpoint_lost = board.network.faults["loss"]
        with pytest.raises(LinkError, match=r"^no board answers on 127.0.0.1:\d+: it must be powered and configured$"):
            Endpoint.open(endpoint)
        assert board.network.faults["loss"] > endpoint_lost
        assert board.ethernet.peer == second


def test_the_lost_end_of_our_own_session_is_sent_again(board):
    transport = board.transport()
    with Endpoint(transport) as endpoint:
        endpoint.open()
        first = board.ethernet.peer
        receive = board.ethernet.receive
        lost = []

        def without_the_first_end(frame):
            if not lost and frame[38:40] == bytes((0, 8)):
                lost.append(frame)
                return None
            return receive(frame)

        board.ethernet.receive = without_the_first_end
        endpoint.open()
        assert lost
        assert board.ethernet.peer.port != first.port


def test_nothing_listens():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    message = f"no board answers on 127.0.0.1:{port}: it must be powered and configured"
    refused = pytest.raises(LinkError, match=f"^{re.escape(message)}$")
    with Endpoint(UdpTransport("127.0.0.1", port), timeout_s=0.05) as endpoint, refused:
        endpoint.open()


def test_time_passes_and_reads_end():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        transport = UdpTransport("127.0.0.1", far.getsockname()[1])
        before = transport.now()
        assert transport.read(0.01) == b""
        assert transport.now() >= before + 0.01
        transport.write(b"\0one\0\0two\0")
        assert [far.recv(100), far.recv(100)] == [b"one\0", b"two\0"]
        transport.close()
        transport.close()
        assert far.recv(100) == b""


def test_no_network():
    with pytest.raises(
        LinkError, match=r"^no network leads to 255.255.255.255 \(.*\); give the address of the board, "
    ):
        UdpTransport("255.255.255.255")


def test_ports():
    transport = transport_to("board-udp://127.0.0.1", 1_000_000)
    assert isinstance(transport, UdpTransport)
    assert transport.name == f"127.0.0.1:{DEFAULT_PORT}"
    transport.close()
    transport = transport_to("board-udp://localhost:77", 1_000_000)
    assert transport.name == "localhost:77"
    transport.close()
    for wrong in ("board-udp://", "board-udp://:1", "board-udp://a:", "board-udp://a:0", "board-udp://a:65536"):
        message = (
            f"port must be board-udp://ADDRESS or board-udp://ADDRESS:PORT with a number from 1 to 65535, not {wrong!r}"
        )
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            transport_to(wrong, 1_000_000)


@pytest.mark.parametrize("faults", [2500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_faults_of_the_network(faults, request):
    """Equal spikes or one error, and the board serves the next host."""
    happened, ended = run_with_faults(rng_of(request.node.name), faults=faults, board_class=BoardOnNetwork)
    assert all(happened[kind] > faults // 20 for kind in KINDS), happened
    assert min(ended[kind] for kind in ("equal", "error", "new host equal")) > faults // 1000, ended


def test_a_planted_bug_is_found(request):
    with pytest.raises(WrongAnswer):
        run_with_faults(rng_of(request.node.name), faults=10_000, model_class=WithoutCrc, board_class=BoardOnNetwork)
