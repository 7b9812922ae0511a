"""``spikeloom info``."""

import contextlib
import json
import socket
import threading

import pytest

from spikeloom.cli.app import main
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.host.identity import PROTOCOL_VERSION, LinkKind
from spikeloom.sim.host.link import DeviceModel, LinkParameters
from spikeloom.sim.sdram.phase import PhaseEye


def test_info_lists_versions_and_fabrics(capsys):
    main(["info"])
    text = capsys.readouterr().out
    assert all(name in text for name in (*FABRICS, "amaranth", "boards: 42"))
    assert f"protocol version of the host link: {PROTOCOL_VERSION}" in text


def test_info_as_json(capsys):
    main(["info", "--json"])
    content = json.loads(capsys.readouterr().out)
    assert content["format"] == 1
    assert content["protocol_version"] == PROTOCOL_VERSION
    assert content["boards"] == 42
    assert content["fabrics"]["small"]["lanes"] == 1
    assert content["packages"]["numpy"]


@contextlib.contextmanager
def listening(identity):
    """A port at which a board answers with ``identity``, once."""

    def serve(listener, model):
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(4096):
                model.from_line(data)
                connection.sendall(model.to_line())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener, DeviceModel(LinkParameters(), identity.encode())))
        server.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        server.join(10)


IDENTITY = FABRICS["small"].identity(bytes(range(16)), link_kind=LinkKind.UART, clock_hz=27_000_000)


def test_the_board_at_a_port(capsys):
    with listening(IDENTITY) as port:
        main(["info", "--port", port])
    text = capsys.readouterr().out
    assert all(found in text for found in (port, "UART", "27,000,000", bytes(range(16)).hex()))


def test_the_board_at_a_port_as_json(capsys):
    with listening(IDENTITY) as port:
        main(["info", "--port", port, "--json"])
    board = json.loads(capsys.readouterr().out)["board"]
    core = FABRICS["small"].core
    assert (board["link"], board["clock_hz"], board["features"]) == ("UART", 27_000_000, [])
    assert (board["lanes"], board["neurons"], board["membrane_bits"]) == (core.lanes, core.neurons, core.v_width)
    assert board["build"] == bytes(range(16)).hex()


@pytest.fixture
def sweeping_board(monkeypatch):
    """A board whose memory is swept when asked to, or with a value of its own when the session begins."""

    class Sweeping:
        passed_at_first: str | None = None

        def __init__(self, endpoint):
            self.identity = endpoint.open()
            self.memory_eye = None if self.passed_at_first is None else _eye(self.passed_at_first)

        def sweep_memory(self, *, progress):
            progress(8, 8)
            return _eye("..###...")

    monkeypatch.setattr("spikeloom.host.driver.Board", Sweeping)
    return Sweeping


def _eye(line):
    return PhaseEye(passed=tuple(character == "#" for character in line), step_ps=100)


def test_the_memory_is_swept(capsys, sweeping_board):
    with listening(IDENTITY) as port:
        main(["info", "--port", port, "--sweep-memory"])
    lines = " ".join(capsys.readouterr().out.split())
    assert "phases of the memory's clock, 45 degrees or 100 ps each: ..###..." in lines
    assert (
        "from 90 degrees (200 ps) to 180 degrees (400 ps), 300 ps wide; its clock is set to 135 degrees (300 ps)"
        in lines
    )
    assert "load the program again, because a sweep overwrites the weights" in lines


def test_a_sweep_as_json(capsys, sweeping_board):
    """One that the beginning of the session has made is not repeated."""
    sweeping_board.passed_at_first = "##....##"
    with listening(IDENTITY) as port:
        main(["info", "--port", port, "--sweep-memory", "--json"])
    content = json.loads(capsys.readouterr().out)
    assert content["memory"] == {
        "phases": 8,
        "step_ps": 100,
        "eye": "##....##",
        "first": 6,
        "length": 4,
        "phase": 7,
    }
    assert content["board"]["build"] == bytes(range(16)).hex()


def test_what_cannot_be_swept(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["info", "--sweep-memory"])
    assert ended.value.code == 2
    assert (
        capsys.readouterr().err
        == "spikeloom: a port must be given with --port to sweep the memory of the board there\n"
    )
    with listening(IDENTITY) as port, pytest.raises(SystemExit) as ended:
        main(["info", "--port", port, "--sweep-memory"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(
        "spikeloom: the board does not use an SDRAM: load a bitstream of a fabric "
    )


def test_nothing_at_the_port(capsys):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = f"127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(SystemExit) as ended:
        main(["info", "--port", port])
    assert ended.value.code == 2
    assert "no program listens" in capsys.readouterr().err
