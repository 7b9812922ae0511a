"""Runs of the driver over a line with every kind of fault, and their outcomes.

A run loads a program and sends samples over a line with faults, which may also be cut at a random byte, as when a cable
is pulled. It may end in two ways: with the right spikes, or with one `LinkError` or `DriverError`. After an error the
same board, in whatever state it was left, gets a new host on a good line and must answer as if nothing had happened.
"""

from collections import Counter
from contextlib import closing

from harness.fake_board import IDENTITY, INPUTS, FakeBoard, answer_of, program_of
from spikeloom.host.driver import Board
from spikeloom.host.endpoint import Endpoint
from spikeloom.host.protocols import DriverError
from spikeloom.host.transport import FaultyTransport, LinkError, ModelTransport, Transport
from spikeloom.sim.host.link import DeviceModel, LinkParameters

__all__ = ["BoardOnLine", "WrongAnswer", "run_with_faults"]

RATES = (
    {},
    {"flip": 2e-3, "drop": 2e-3, "insert": 2e-3},
    {"repeat": 0.1, "cut": 0.1},
    {"flip": 1e-3, "drop": 1e-3, "insert": 1e-3, "repeat": 0.05, "cut": 0.05},
    {"flip": 0.02, "drop": 0.02, "insert": 0.02},  # hardly any frame gets through
)
TIMEOUT_S = 2.0
LONGEST_S = 3600.0
"""Simulated seconds after which a run counts as hanging: many times the longest one."""


class WrongAnswer(AssertionError):
    """The spikes returned are not those of the network, a board was unusable after an error, or a run hung."""


class _CutLine(Transport):
    """A line that is lost after a number of bytes in either direction."""

    def __init__(self, inner, left):
        self._inner, self.left = inner, left
        self.name, self.round_trip_s = inner.name, inner.round_trip_s

    def _pass(self, data):
        if self.left is None:
            return data
        kept, self.left = data[: self.left], self.left - len(data)
        if self.left < 0:
            raise LinkError("the line has been cut")
        return kept

    def write(self, data):
        self._inner.write(self._pass(data))

    def read(self, timeout_s):
        if self.now() > LONGEST_S:
            raise WrongAnswer(f"a run must end, and goes on after {LONGEST_S:g} s")
        return self._pass(self._inner.read(timeout_s))

    def now(self):
        return self._inner.now()

    def close(self):
        self._inner.close()


class BoardOnLine:
    """A board that keeps its state while hosts come and go."""

    rates = RATES

    def __init__(self, program, model_class, parameters):
        self.fake = FakeBoard(program)
        self.model = model_class(parameters, IDENTITY.encode())
        self._waiting = bytearray()
        self._resets = 0

    def line(self):
        """A good line to the board."""
        return ModelTransport(self.model, self.serve)

    def faulty_line(self, seed, rates):
        """A line with faults, and their numbers by kind."""
        faulty = FaultyTransport(self.line(), seed=seed, **rates)
        return faulty, faulty.faults

    def close(self):
        """End the board."""

    def serve(self, model):
        """Process what the link has received, and give it the answers."""
        if model.resets != self._resets:
            self._resets = model.resets
            self.fake.begin()
            self._waiting.clear()
        while not self._waiting and (data := model.receive(40)):
            self._waiting.extend(self.fake.answer(data))
        del self._waiting[: model.transmit(bytes(self._waiting))]


def _run(board, program, line, spikes, parameters):
    with Endpoint(line, maximum_payload=parameters.maximum_payload, timeout_s=TIMEOUT_S) as endpoint:
        driver = Board(endpoint)
        driver.check(IDENTITY)
        driver.load(program)
        result = driver.run(spikes)
        driver.check_errors()
    return result


def _check(program, spikes, result, when):
    expected, values = answer_of(program, spikes)
    right = (result.spikes == expected).all() and (not program.membranes or (result.membranes == values).all())
    if not right:
        raise WrongAnswer(f"spikes and membranes must be those of the network {when}, and differ")


def _hosts(board, program, parameters, rng):
    """Let several hosts use the board over bad lines, and one over a good one; count faults and outcomes."""
    happened, ended = Counter(), Counter()
    for _ in range(int(rng.integers(1, 5))):  # successive hosts on the same board
        density = rng.choice((0.2, 0.9))  # with few spikes, each frame has a TICK, so a lost frame is noticed
        spikes = rng.random((int(rng.integers(1, 8)), int(rng.integers(1, 20)), INPUTS)) < density
        rates = board.rates[rng.integers(len(board.rates))]
        faulty, counted = board.faulty_line(int(rng.integers(1 << 31)), rates)
        line = _CutLine(faulty, int(rng.integers(1, 20_000)) if rng.random() < 0.4 else None)
        try:
            result = _run(board, program, line, spikes, parameters)
        except (LinkError, DriverError) as error:
            if "\n" in str(error) or not str(error):
                raise WrongAnswer(f"an error must be one sentence, not {str(error)!r}") from error
            ended["error"] += 1
            happened["line cut"] += line.left is not None and line.left < 0
        else:
            _check(program, spikes, result, "on a bad line")
            ended["equal"] += 1
        happened.update(counted)
    try:
        result = _run(board, program, board.line(), spikes, parameters)
    except (LinkError, DriverError) as error:
        raise WrongAnswer(f"a board must be of use to a new host, and is not: {error}") from error
    _check(program, spikes, result, "for a new host")
    ended["new host equal"] += 1
    return happened, ended


def run_with_faults(rng, *, faults, model_class=DeviceModel, board_class=BoardOnLine):
    """Do runs until ``faults`` have happened; return the number of faults of each kind, and of runs by their outcome.

    Raises `WrongAnswer` for any outcome but the two allowed ones.
    """
    happened, ended = Counter(), Counter()
    while sum(happened.values()) < faults:
        membranes = bool(rng.integers(2))
        program = program_of(rng, membranes=membranes, words=(int(rng.integers(20, 400)), 2))
        size = 1 << int(rng.integers(6, 11))
        parameters = LinkParameters(receive_buffer=size, transmit_buffer=size, maximum_payload=64)
        with closing(board_class(program, model_class, parameters)) as board:
            happened_now, ended_now = _hosts(board, program, parameters, rng)
        happened.update(happened_now)
        ended.update(ended_now)
    return happened, ended
