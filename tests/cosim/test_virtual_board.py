"""The driver on a serial port: a pseudo-terminal with the simulated design behind it."""

import subprocess
import sys

import pytest
from harness.networks import random_network, random_spikes, rng_of

from spikeloom.boards.fabric_file import fabric_to_json
from spikeloom.sim.fabric import FABRICS
from spikeloom.sim.reference import simulate
from spikeloom.sw.driver import DriverError
from spikeloom.sw.place import place
from spikeloom.sw.runner import BoardRunner
from spikeloom.sw.simulation import compare
from spikeloom.sw.transport import FaultyTransport, LinkError, SerialTransport
from spikeloom.sw.virtual_board import VirtualBoard

SMALL = FABRICS["small"]
BAUD = 1_000_000


@pytest.fixture
def board(tmp_path, shared_build):
    with VirtualBoard(SMALL, shared_build(tmp_path / "board")) as running:
        yield running


class Cut(SerialTransport):
    """A serial line that is cut after so many bytes from the board."""

    def __init__(self, port, left):
        super().__init__(port, BAUD)
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
    result = BoardRunner(program, transport or SerialTransport(board.port, BAUD)).run(spikes)
    compared, mismatches = compare(reference, result)
    assert compared > 20
    assert mismatches == 0


def test_networks_one_after_the_other_and_a_line_cut_in_between(request, board):
    """Two networks on one board; then runs that end in the middle of everything, each followed by one that is right."""
    rng = rng_of(request.node.name)
    check(board, rng)
    check(board, rng, samples=20)
    for left in rng.integers(1, 400, 6):
        _, program, spikes = network_and_spikes(rng, 10)
        with pytest.raises((LinkError, DriverError), match=r"the line has been cut$"):
            BoardRunner(program, Cut(board.port, int(left))).run(spikes)
        check(board, rng)


def test_faults_on_the_serial_line(request, board):
    line = FaultyTransport(
        SerialTransport(board.port, BAUD), seed=5, flip=1e-3, drop=1e-3, insert=1e-3, repeat=0.02, cut=0.02
    )
    check(board, rng_of(request.node.name), transport=line, samples=12)
    assert sum(line.faults.values()) > 5


def test_the_command_on_a_serial_port(board, tmp_path):
    built = tmp_path / "build" / "icebreaker" / "fabric.json"  # what a build leaves
    built.parent.mkdir(parents=True)
    built.write_text(fabric_to_json(SMALL))
    command = [sys.executable, "-m", "spikeloom.sw.cli", "run", "--port", board.port, "--board", "icebreaker"]
    done = subprocess.run([*command, "--images", "6"], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "digits-mlp on board" in done.stdout
    assert "of 6 images" in done.stdout


def test_a_port_that_is_not_there(tmp_path):
    with pytest.raises(LinkError, match=r"^the serial port .*nothing must exist and be free to use"):
        SerialTransport(str(tmp_path / "nothing"), BAUD)
