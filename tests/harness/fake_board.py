"""The part of a board behind its link, in plain Python: it decodes messages and answers steps with a known function."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from spikeloom.host.driver import Board
from spikeloom.host.transport import LinkError
from spikeloom.sim.host.bridge import BridgeModel, Read, Spike, Tick, Write
from spikeloom.sim.host.identity import Identity
from spikeloom.sim.host.registers import BRIDGE
from spikeloom.sim.lib.registers import BRIDGE_TILE, CORE_TILE

__all__ = ["IDENTITY", "INPUTS", "OUTPUTS", "READOUTS", "FakeBoard", "FakeLink", "answer_of", "loaded", "program_of"]

IDENTITY = Identity(
    lanes=2, neurons=64, axons=300, weight_words=512, weight_width=8, v_width=16, build_hash=bytes(range(16))
)
INPUTS, OUTPUTS, READOUTS = 70, 12, 5


def program_of(rng, *, membranes=False, words=(9, 3)):
    """A program in the form that the driver needs, with arbitrary axons and slots."""
    return SimpleNamespace(
        memories=tuple(
            SimpleNamespace(tile=CORE_TILE, memory=memory, words=rng.integers(0, 256, words, np.uint8))
            for memory in (1, 4)
        ),
        registers=((CORE_TILE, "sources", 1), (CORE_TILE, "populations", 3)),
        input_axons=np.sort(rng.choice(300, INPUTS, replace=False)),
        input_value_width=0,
        observed=(("output", READOUTS), ("hidden", OUTPUTS - READOUTS)),
        output_axons=rng.permutation(64)[:OUTPUTS],
        membranes=membranes,
        graded=(),
        counted=(),
    )


def answer_of(program, spikes):
    """The known function: the outputs for the input spikes of a step and those of the step before."""
    fired = spikes.astype(np.int64) @ np.arange(1, INPUTS + 1)
    history = fired.copy()
    history[1:] += 7 * fired[:-1]
    values = history[..., None] * np.arange(3, 3 + OUTPUTS)
    output = values % 5 == 0
    membranes = values[..., :READOUTS] % 40_000 - 20_000
    if program.membranes:
        output[..., :READOUTS] = False
    return output, membranes


@dataclass
class FakeBoard:
    """The fabric behind the board's ``link``. ``edit`` may change the answer to a step, from bytes to bytes."""

    program: SimpleNamespace
    edit: object = staticmethod(lambda step, answer: answer)
    memory: dict = field(default_factory=dict)

    def __post_init__(self):
        self.begin()

    def begin(self):
        self.model = BridgeModel(9)
        self.axons, self.before, self.step = set(), 0, 0
        self.values = {}  # of the spikes of this step
        self.memory = {address: value for address, value in self.memory.items() if address[1] != 0}

    def answer(self, data):
        """The bytes that answer ``data``."""
        answer = b""
        for request in self.model.from_host(data):
            if isinstance(request, Spike):
                self.axons.add(request.axon)
                self.values[request.axon] = request.value
            elif isinstance(request, Tick):
                answer += self.edit(self.step, self.end_step(request.last))
                self.step += 1
            elif isinstance(request, Write):
                self.write(request)
            elif isinstance(request, Read):
                answer += self.read(request)
        return answer

    def end_step(self, last):
        """The answer to a step, in an arbitrary order."""
        inputs = np.isin(self.program.input_axons, sorted(self.axons))
        now = int(inputs.astype(np.int64) @ np.arange(1, INPUTS + 1))
        values = (now + 7 * self.before) * np.arange(3, 3 + OUTPUTS)
        self.axons, self.before = set(), 0 if last else now
        answer = b""
        for place in np.random.default_rng(self.step).permutation(OUTPUTS):
            slot = int(self.program.output_axons[place])
            if self.program.membranes and place < READOUTS:
                answer += self.model.value(slot, int(values[place] % 40_000 - 20_000))
            elif values[place] % 5 == 0:
                answer += self.model.spike(slot)
        return answer + self.model.tick(last)

    def write(self, request):
        place = request.address
        for offset, byte in enumerate(request.data):
            index, plane = place.place(offset)
            self.memory[place.tile, place.memory, plane, index] = byte
        if place.memory == 0 and place.index == 0:
            if place.tile == BRIDGE_TILE:
                self.model.error = 0
            self.axons, self.before, self.step = set(), 0, 0

    def read(self, request):
        place = request.address
        self.memory[BRIDGE_TILE, 0, 0, BRIDGE.register("error").offset] = self.model.error
        indices = range(place.index, place.index + request.count)
        if place.memory:
            places = (place.place(offset) for offset in range(request.count))
            found = (self.memory.get((place.tile, place.memory, plane, index), 0) for index, plane in places)
            return self.model.read_data(bytes(found))
        return self.model.read_data(bytes(self.memory.get((place.tile, 0, 0, index), index % 256) for index in indices))


class FakeLink:
    """A link that loses nothing. Answers arrive in pieces of ``piece`` bytes; at the end, it times out."""

    def __init__(self, board, *, identity=IDENTITY, piece=1000):
        self.board = board
        board.link = self
        self.identity = identity
        self.piece = piece
        self.incoming = bytearray()
        self.opened = 0

    def open(self):
        self.opened += 1
        self.incoming.clear()
        self.board.begin()
        return self.identity

    def send(self, data):
        self.incoming += self.board.answer(data)

    def receive(self, minimum=1, *, timeout_s=None):
        data = bytes(self.incoming[: self.piece])
        if len(data) < minimum:
            raise LinkError("the board has not answered")
        del self.incoming[: len(data)]
        return data

    def poll(self):
        return self.receive(0)


def loaded(program, **link):
    """A board with the program loaded."""
    edit = link.pop("edit", lambda step, answer: answer)
    fake = FakeBoard(program, edit=edit)
    board = Board(FakeLink(fake, **link))
    board.load(program)
    return board, fake
