"""The driver on a serial port: a pseudo-terminal in front of the simulated design."""

import contextlib
import json
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from harness.networks import random_network, random_spikes, rng_of
from harness.units import UNITS

from spikeloom.cli.app import main
from spikeloom.compiler.place import place
from spikeloom.datasets.readout import classify
from spikeloom.host.driver import Board
from spikeloom.host.endpoint import Endpoint
from spikeloom.host.protocols import DriverError
from spikeloom.host.spif import PixelMap, SpifReceiver, SpifSender, decode_events
from spikeloom.host.transport import FaultyTransport, LinkError, SerialTransport, VirtualSerialTransport
from spikeloom.runners.compare import compare
from spikeloom.runners.live import run_live
from spikeloom.runners.runner import BoardRunner
from spikeloom.sim.fabric.fabric_file import fabric_to_json
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.network.reference import simulate
from spikeloom.simulators import verilator
from spikeloom.simulators.virtual_board import VirtualBoard

SMALL = FABRICS["small"]
BAUD = 1_000_000


@pytest.fixture(autouse=True)
def optimised(monkeypatch):
    """Unlike in other tests: these runs take many cycles, most of them between the commands of a host."""
    monkeypatch.setattr(verilator, "FAST", "-O1")


@pytest.fixture
def board(request, tmp_path, shared_build):
    start = int(rng_of(request.node.name).integers(1, 1 << 31))
    with VirtualBoard(SMALL, shared_build(tmp_path / "board"), random_start=start) as running:
        yield running


class Cut(VirtualSerialTransport):
    """A serial line that is cut after a number of bytes from the board."""

    def __init__(self, board, left):
        super().__init__(str(board.link), board.clock)
        self.left = left

    def read(self, timeout_s):
        data = super().read(timeout_s)
        self.left -= len(data)
        if self.left < 0:
            self.close()
            raise LinkError("the line has been cut")
        return data


def network_and_spikes(rng, samples):
    network = random_network(rng, SMALL.core, inputs=30, sizes=(10, 8, 5))
    spikes = random_spikes(rng, 5, samples, 30)
    program = place(network, SMALL, observe=[p.name for p in network.populations])
    return network, program, spikes


def check(board, rng, *, transport=None, samples=6):
    network, program, spikes = network_and_spikes(rng, samples)
    reference = simulate(network, spikes)
    result = BoardRunner(program, transport or board.transport()).run(spikes)
    compared, mismatches = compare(reference, result)
    assert compared > 20
    assert mismatches == 0


def test_networks_one_after_the_other_and_a_line_cut_in_between(request, board):
    """Two networks on one board; then runs that are cut off in the middle, each followed by a correct one."""
    rng = rng_of(request.node.name)
    check(board, rng)
    check(board, rng, samples=20)
    for left in rng.integers(1, 400, 6):
        _, program, spikes = network_and_spikes(rng, 10)
        with pytest.raises((LinkError, DriverError), match=r"the line has been cut$"):
            BoardRunner(program, Cut(board, int(left))).run(spikes)
        check(board, rng)


def test_faults_on_the_serial_line(request, board):
    line = FaultyTransport(board.transport(), seed=5, flip=1e-3, drop=1e-3, insert=1e-3, repeat=0.02, cut=0.02)
    check(board, rng_of(request.node.name), transport=line, samples=12)
    assert sum(line.faults.values()) > 5


def leave_a_build(directory, fabric=SMALL):
    """The files that a build of the board leaves."""
    built = directory / "build" / "icebreaker" / "fabric.json"
    built.parent.mkdir(parents=True)
    built.write_text(fabric_to_json(fabric))


def test_run_and_report_on_a_serial_port(board, tmp_path, monkeypatch, capsys):
    """One command after the other on the same board."""
    monkeypatch.chdir(tmp_path)
    leave_a_build(tmp_path)
    main(["run", "--port", str(board.link), "--board", "icebreaker", "--images", "6"])
    said = capsys.readouterr().out
    assert "digits-mlp on board" in said
    assert "of 6 images" in said
    main(["report", "--backend", "board", "--port", str(board.link), "--images", "4"])
    page = (tmp_path / "report.html").read_text()
    assert "run on: board" in page
    assert "Counters of the run" in page
    assert re.search(r"<td>32</td>", page), "4 images of 8 steps, counted by the core"


def test_images_in_and_classes_out_by_the_command(tmp_path, shared_build, monkeypatch, capsys):
    """The units of the board do the work of the host: the same classes, the same spikes."""
    monkeypatch.chdir(tmp_path)
    leave_a_build(tmp_path, UNITS)

    def run(*options):
        main(["run", "--images", "8", "--output", "out.npy", *options])
        said = capsys.readouterr().out
        assert re.search(r"^8 images in [\d.]+ s, loading included: [\d.,]+ per second$", said, re.MULTILINE)
        return np.load(tmp_path / "out.npy")

    spikes = run("--backend", "reference")
    counts = run("--backend", "reference", "--encode", "board", "--answer", "count")
    assert counts.tolist() == classify(spikes).tolist()
    assert len(set(counts.tolist())) > 4
    with VirtualBoard(UNITS, shared_build(tmp_path / "run"), random_start=11) as running:
        port = ("--port", str(running.link))
        assert (run(*port, "--encode", "board") == spikes).all()
        assert (run(*port, "--answer", "first") == run("--backend", "reference", "--answer", "first")).all()
        assert (run(*port, "--encode", "board", "--answer", "count") == counts).all()
        assert (run(*port) == spikes).all()


def test_the_time_of_the_board(board):
    """It passes while the board computes and while it waits, and never runs backwards; after the end there is none."""
    line = board.transport()
    with Endpoint(line, maximum_payload=SMALL.link.maximum_payload) as endpoint:
        before = line.now()
        endpoint.open()
        opened = line.now()
        assert opened > before
        times = [opened]
        while times[-1] < opened + 0.2:  # much longer than it computes after the last byte
            assert line.read(0.01) == b""
            times.append(line.now())
        assert times == sorted(times)
        assert len(set(times)) > 10
    assert stat.S_IMODE(board.clock.stat().st_mode) == 0o600


def test_a_host_with_its_own_clock(request, board):
    """A program unaware of simulations uses the pseudo-terminal like a serial port."""
    check(board, rng_of(request.node.name), transport=SerialTransport(board.port, BAUD), samples=2)


def test_a_port_that_is_not_there(tmp_path):
    with pytest.raises(LinkError, match=r"^the serial port .*nothing must exist and be free to use"):
        SerialTransport(str(tmp_path / "nothing"), BAUD)


class Recorder(SpifReceiver):
    """Records the steps that it has given, and sends itself random events after each."""

    def __init__(self, rng, pixels, **settings):
        super().__init__(pixels, **settings)
        self.rng, self.given = rng, []

    def each(self, meanwhile=None):
        with SpifSender(self.pixels, self.port) as camera:
            for spikes in super().each(meanwhile):
                self.given.append(spikes)
                yield spikes
                camera.send(self.rng.random(self.pixels.size) < 0.3)


@contextlib.contextmanager
def listening():
    """A UDP socket at a free port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as behind:
        behind.bind(("127.0.0.1", 0))
        behind.settimeout(5)
        yield behind


def free_port():
    with listening() as free:
        return free.getsockname()[1]


def live_command(board, port):
    command = [sys.executable, "-m", "spikeloom.cli.app", "run", "--port", str(board.link), "--pixels", "8x8"]
    return [*command, "--inputs", f"udp://127.0.0.1:{port}"]


def _events_until(stop, rng, pixels, port):
    with SpifSender(pixels, port) as camera:
        while not stop.wait(0.002):
            camera.send(rng.random(pixels.size) < 0.2)


@contextlib.contextmanager
def camera(rng, pixels, port):
    """Send events continuously."""
    stop = threading.Event()
    running = threading.Thread(target=_events_until, args=(stop, rng, pixels, port))
    running.start()
    try:
        yield
    finally:
        stop.set()
        running.join()


def test_live_events_through_the_board(request, board):
    """Words are received at one UDP port and sent to another: the spikes equal those of the reference for the recorded
    steps."""
    rng = rng_of(request.node.name)
    network, program, _ = network_and_spikes(rng, 1)
    size = network.size(network.output)
    pixels, outputs = PixelMap(columns=6, rows=5, polarities=1), PixelMap(columns=size, rows=1, polarities=1)
    with (
        Recorder(rng, pixels, step_s=0.01) as receiver,
        listening() as behind,
        SpifSender(outputs, behind.getsockname()[1]) as sender,
        Endpoint(board.transport(), maximum_payload=SMALL.link.maximum_payload) as endpoint,
    ):
        running = Board(endpoint, SMALL)
        running.load(program)
        done = run_live(running, program, receiver, sender, steps=60)
        given = np.array(receiver.given)[:, None]
        fired = simulate(network, given).spikes[network.output][:, 0]
        for step in fired[fired.any(axis=1)]:  # one datagram for each step with spikes
            assert outputs.lines(*decode_events(behind.recv(2048))).tolist() == np.flatnonzero(step).tolist()
        assert (done.steps, done.events_in, done.spikes_out) == (60, given.sum(), fired.sum())
        assert fired.any(axis=1).sum() > 10
        assert given.any(axis=2).sum() > 50
        assert not given.all(axis=2).any()


def test_live_events_by_the_command(request, board, tmp_path):
    leave_a_build(tmp_path)
    pixels, port = PixelMap(columns=8, rows=8, polarities=1), free_port()
    with listening() as behind, camera(rng_of(request.node.name), pixels, port):
        command = [*live_command(board, port), "--output", f"udp://127.0.0.1:{behind.getsockname()[1]}"]
        steps = ["--steps", "40", "--step-ms", "10", "--peer", "127.0.0.1", "--real-time"]
        done = subprocess.run([*command, *steps], capture_output=True, text=True, timeout=120, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert re.search(r"^40 steps of 10 ms, [\d,]{3,} events in, [\d,]{2,} spikes out$", done.stdout, re.MULTILINE)
        assert re.search(
            r"^datagrams: [\d,]{2,} used, [\d,]+ dropped, 0 malformed, 0 not from 127\.0\.0\.1$",
            done.stdout,
            re.MULTILINE,
        )
        assert re.search(r"^\d+ steps late, at most [\d.]+ ms$", done.stdout, re.MULTILINE)
        assert len(decode_events(behind.recv(2048))[0])


@pytest.mark.parametrize(
    "cases",
    [
        [(signal.SIGTERM, 0.2), (signal.SIGINT, 0.0)],
        pytest.param([(signal.SIGINT, 0.2), (signal.SIGTERM, 0.0)], marks=pytest.mark.slow),
    ],
    ids=["SIGINT at once", "SIGTERM at once"],
)
def test_a_signal_ends_the_live_command_with_its_summary(board, tmp_path, cases):
    """Also a signal that arrives as soon as the run announces itself; the next program can use the board
    immediately."""
    leave_a_build(tmp_path)
    port = free_port()
    with camera(rng_of("camera"), PixelMap(columns=8, rows=8, polarities=1), port):
        for number, pause_s in cases:
            running = subprocess.Popen(
                [*live_command(board, port), "--step-ms", "10", "--json", "--peer", "127.0.0.2"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
            )
            said = [running.stderr.readline()]
            while "Ctrl-C ends" not in said[-1]:
                assert running.poll() is None, "".join(said)
                said.append(running.stderr.readline())
            time.sleep(pause_s)
            running.send_signal(number)
            output, errors = running.communicate(timeout=120)
            assert running.returncode == 0, errors
            assert "Traceback" not in errors
            summary = json.loads(output)
            assert summary["steps"] >= 1
            assert summary["strangers"] > 0  # the camera, since the port was bound
            assert (summary["used"], summary["events_in"], summary["malformed"]) == (0, 0, 0)
    check(board, rng_of("after a signal"))
