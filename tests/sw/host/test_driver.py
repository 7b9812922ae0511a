"""The driver against a board in plain Python: the model takes messages apart, a known function answers them."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from harness.fake_board import IDENTITY, INPUTS, OUTPUTS, READOUTS, FakeBoard, answer_of, program_of
from harness.networks import rng_of

from spikeloom.host.driver import Board
from spikeloom.host.endpoint import Endpoint
from spikeloom.host.protocols import DriverError
from spikeloom.host.transport import FaultyTransport, LinkError, ModelTransport
from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.aer.registers import AER
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.core.registers import CORE, COUNTERS
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.link import DeviceModel, LinkParameters
from spikeloom.sim.lib.registers import BRIDGE_TILE
from spikeloom.sim.noc.mesh import MeshParameters


class FakeLink:
    """A link that loses nothing. What comes back comes in pieces of ``piece`` bytes; at the end it times out."""

    def __init__(self, board, *, identity=IDENTITY, piece=1000):
        self.board = board
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
    """A board with the program."""
    edit = link.pop("edit", lambda step, answer: answer)
    fake = FakeBoard(program, edit=edit)
    board = Board(FakeLink(fake, **link))
    board.load(program)
    return board, fake


@pytest.mark.parametrize("piece", [1, 7, 1000])
@pytest.mark.parametrize("membranes", [False, True])
def test_spikes_come_back_where_they_belong(request, membranes, piece):
    rng = rng_of(request.node.name)
    program = program_of(rng, membranes=membranes)
    board, _ = loaded(program, piece=piece)
    for samples in (1, 9):
        spikes = rng.random((6, samples, INPUTS)) < 0.3
        seen = []
        result = board.run(spikes, progress=lambda *done, seen=seen: seen.append(done))
        expected, values = answer_of(program, spikes)
        assert result.spikes.dtype == np.bool_
        assert (result.spikes == expected).all()
        assert 0 < expected.sum() < expected.size
        if membranes:
            assert (result.membranes == values).all()
            assert values.min() < 0 < values.max()
        else:
            assert result.membranes is None
        assert seen == [(done, samples) for done in range(1, samples + 1)]


@pytest.mark.parametrize("kind", ["clean", "faulty"])
def test_small_buffers_do_not_lock(request, kind):
    # Over a real link whose board takes nothing more while its 64 bytes for the host are full.
    rng = rng_of(request.node.name)
    program = program_of(rng, membranes=True)
    fake = FakeBoard(program)
    parameters = LinkParameters(receive_buffer=64, transmit_buffer=64, maximum_payload=64)
    waiting = bytearray()
    waits = resets = 0

    def serve(model):
        nonlocal waits, resets
        if model.resets != resets:
            resets = model.resets
            fake.begin()
            waiting.clear()
        while not waiting and (data := model.receive(5)):
            waiting.extend(fake.answer(data))
        del waiting[: model.transmit(bytes(waiting))]
        waits += bool(waiting)

    transport = ModelTransport(DeviceModel(parameters, IDENTITY.encode()), serve)
    if kind == "faulty":
        transport = FaultyTransport(transport, seed=5, flip=0.001, drop=0.001, insert=0.001)
    with Endpoint(transport, maximum_payload=64) as endpoint:
        board = Board(endpoint)
        board.check(IDENTITY)
        board.load(program)
        spikes = rng.random((8, 20, INPUTS)) < 0.3
        result = board.run(spikes)
    expected, values = answer_of(program, spikes)
    assert (result.spikes == expected).all()
    assert (result.membranes == values).all()
    assert waits > 5, "the board must have had to wait for the host"
    if kind == "faulty":
        assert sum(transport.faults.values()) > 5


def test_programs_are_loaded(request):
    rng = rng_of(request.node.name)
    program = program_of(rng, words=(70_000, 2))
    seen = []
    fake = FakeBoard(program)
    board = Board(FakeLink(fake))
    board.load(program, progress=lambda *done: seen.append(done))
    assert seen == [(140_000, 280_000), (280_000, 280_000)]
    for image in program.memories:
        found = [[fake.memory[1, image.memory, plane, index] for plane in range(2)] for index in range(70_000)]
        assert (np.array(found) == image.words).all()
    assert fake.memory[1, 0, 0, CORE.register("sources").offset] == 1
    assert fake.memory[1, 0, 0, CORE.register("populations").offset] == 3
    board.write_memory(1, 2, np.array([[7]], np.uint8), first=40)
    board.read_register(BRIDGE_TILE, "scratch")
    assert fake.memory[1, 2, 0, 40] == 7


def test_registers(request):
    board, _ = loaded(program_of(rng_of(request.node.name)))
    board.write_register(BRIDGE_TILE, "scratch", 0xA5)
    assert board.read_registers([(BRIDGE_TILE, "scratch"), (BRIDGE_TILE, "error")]) == [0xA5, 0]
    offsets = {name: CORE.register(name).offset for name in COUNTERS}
    expected = {name: int.from_bytes(bytes(range(o, o + 4)), "little") for name, o in offsets.items()}
    assert board.counters() == {1: expected}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol_version": 7}, "speak protocol version 1, not 7: "),
        ({"tiles": 3}, "have 1 tiles, not 3: "),
        ({"lanes": 1}, "have 2 lanes, not 1: "),
        ({"neurons": 32}, "have 64 neurons, not 32: "),
        ({"axons": 64}, "have 300 axons, not 64: "),
        ({"weight_words": 256}, "have 512 words of weights, not 256: "),
        ({"weight_width": 4}, "have weights of 8 bits, not 4: "),
        ({"v_width": 12}, "have membranes of 16 bits, not 12: "),
    ],
)
def test_another_fabric_is_refused(request, change, message):
    rng = rng_of(request.node.name)
    board = Board(FakeLink(FakeBoard(program_of(rng)), identity=replace(IDENTITY, **change)))
    text = f"the board must {message}load the bitstream of the fabric that the program is made for"
    with pytest.raises(DriverError, match=f"^{re.escape(text)}$"):
        board.check(IDENTITY)


def test_another_build_is_refused(request):
    rng = rng_of(request.node.name)
    other = replace(IDENTITY, build_hash=bytes(16))
    board = Board(FakeLink(FakeBoard(program_of(rng)), identity=other))
    board.check(IDENTITY, build=False)
    board.check(other)
    text = "the board must run build 000102030405060708090a0b0c0d0e0f, not 00000000000000000000000000000000: "
    with pytest.raises(DriverError, match=f"^{text}load the bitstream of this build$"):
        board.check(IDENTITY)


def unsound(step, answer, *, at=3, change=lambda answer: answer):
    return change(answer) if step == at else answer


SLOT = 63
EDITS = {
    "fewer": (lambda answer: b"", "the run has stopped after 11 of 12 steps: the board has not answered"),
    "more": (lambda answer: answer + b"\x20", "the board must end 12 steps, not more"),
    "early": (lambda answer: answer[:-1] + b"\x21", "the board must end a sample after 4 steps, not earlier (step 1)"),
    "late": (lambda answer: answer[:-1] + b"\x20", "the board must end a sample after 4 steps, not later (step 3)"),
    "no message": (
        lambda answer: b"\x05" + answer,
        "the board has sent what is no message: a message must begin with a known byte, not 0x05",
    ),
    "read": (lambda answer: b"\x02\x00\x00" + answer, "the board has sent the answer to a read that was not made"),
    "slot": (
        lambda answer: bytes([0x10, SLOT, 0]) + answer,
        "the board has sent a spike of axon 63, which the program does not observe",
    ),
    "high slot": (
        lambda answer: bytes([0x10, 0, 9]) + answer,
        "the board has sent a spike of axon 2304, which the program does not observe",
    ),
    "membrane": (
        lambda answer: bytes([0x11, SLOT, 0, 0, 0, 0]) + answer,
        "the board has sent a value of axon 63, which the program does not observe",
    ),
    "twice": (
        lambda answer: answer[:-1] + bytes([0x10, 5, 0, 0x10, 5, 0]) + answer[-1:],
        "the board must send a spike of an axon at most once a step, not twice",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_unsound_answers_are_found(request, name):
    rng = rng_of(request.node.name)
    change, message = EDITS[name]
    program = program_of(rng)
    program.output_axons = np.arange(5, 5 + OUTPUTS)
    at = {"fewer": 11, "early": 1}.get(name, 3)
    board, _ = loaded(program, edit=lambda step, answer: unsound(step, answer, at=at, change=change))
    spikes = rng.random((4, 3, INPUTS)) < 0.1
    with pytest.raises(DriverError, match=f"^{re.escape(message)}$"):
        board.run(spikes)
    with pytest.raises(DriverError, match=r"^a program must be loaded before a run$"):
        board.run(spikes)
    board.reopen()
    board.load(program)


def test_steps_after_the_last_are_found(request):
    rng = rng_of(request.node.name)
    program = program_of(rng)
    board, _ = loaded(program, edit=lambda step, answer: answer + b"\x20" * (step == 3))
    with pytest.raises(DriverError, match=r"^the board must end 4 steps, not more$"):
        board.run(np.zeros((4, 1, INPUTS)))
    board, _ = loaded(program, edit=lambda step, answer: answer + b"\x80" * (step == 3))
    with pytest.raises(DriverError, match=r"^the board has sent a spike after the last step$"):
        board.run(np.zeros((4, 1, INPUTS)))


def test_missing_membranes_are_found(request):
    program = program_of(rng_of(request.node.name), membranes=True)
    board, _ = loaded(program, edit=lambda step, answer: answer[-1:] if step == 2 else answer)
    message = "the board must send 5 membranes each step, not fewer (step 2)"
    with pytest.raises(DriverError, match=f"^{re.escape(message)}$"):
        board.run(np.zeros((4, 1, INPUTS)))


def test_what_comes_at_the_wrong_time_is_found(request):
    program = program_of(rng_of(request.node.name))
    board, _ = loaded(program)
    board._link.incoming += b"\x85"
    with pytest.raises(DriverError, match=r"^the board has sent spikes or steps while nothing was running$"):
        board.read_register(BRIDGE_TILE, "scratch")
    board, _ = loaded(program)
    board._link.incoming += b"\x02\x01\x00a"
    with pytest.raises(DriverError, match=r"^the board must answer 1 reads, not 2$"):
        board.read_register(BRIDGE_TILE, "scratch")
    board, fake = loaded(program)
    fake.read = lambda request: fake.model.read_data(b"ab")
    with pytest.raises(DriverError, match=r"^the board must answer with 1 bytes, not 2$"):
        board.read_register(BRIDGE_TILE, "scratch")
    board, fake = loaded(program)
    fake.read = lambda request: b""
    message = r"^the board has not answered when a register was read \(scratch\): the board has not answered$"
    with pytest.raises(DriverError, match=message):
        board.read_register(BRIDGE_TILE, "scratch")


def test_errors_of_the_board_are_told(request):
    board, fake = loaded(program_of(rng_of(request.node.name)))
    fake.model.error = 1
    with pytest.raises(DriverError, match=r"^the board has received an unknown message: driver and .* one release$"):
        board.check_errors()
    fake.model.error = 2
    with pytest.raises(DriverError, match=r"^the board has received a spike of an axon that it does not have: "):
        board.check_errors()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda b: b.run(np.zeros((4, INPUTS))), ValueError, "spikes must have shape (T, B, 70), not (4, 70)"),
        (lambda b: b.run(np.zeros((4, 1, 9))), ValueError, "spikes must have shape (T, B, 70), not (4, 1, 9)"),
        (lambda b: b.run(np.zeros((4, 0, 70))), ValueError, "spikes must have shape (T, B, 70), not (4, 0, 70)"),
        (lambda b: b.run(np.full((1, 1, 70), 2)), ValueError, "spikes must be 0 or 1, not other values"),
        (lambda b: b.run(np.full((1, 1, 70), "x")), ValueError, "spikes must be 0 or 1, not other values"),
        (lambda b: b.write_memory(1, 1, np.zeros((4, 1))), TypeError, "words must be uint8, not float64"),
        (
            lambda b: b.write_memory(1, 1, np.zeros(4, np.uint8)),
            ValueError,
            "words must have shape (n, planes), not (4,)",
        ),
        (lambda b: b.write_register(256, "sinks", 0), ValueError, "tile must be from 0 to 255, not 256"),
        (lambda b: b.write_register(0, "scratch", 256), ValueError, "scratch must be from 0 to 255, not 256"),
        (lambda b: b.write_register(0, "error", 0), ValueError, "register error must be writable, not read"),
        (lambda b: b.read_register(1, "sources"), ValueError, "register sources must be readable, not write"),
        (
            lambda b: b.read_register(0, "speed"),
            ValueError,
            "register of bridge must be one of control, error, sources, sinks, scratch, events_in, events_out, "
            "spike_destinations, tick_destinations, ack_destinations, units, program, encoder_mode, encoder_stride, "
            "encoder_pixels, encoder_steps, encoder_advance, readout_mode, readout_vector, encoder_seed, "
            "readout_outputs, readout_first, not 'speed'",
        ),
    ],
)
def test_bad_input_is_refused(request, call, error, message):
    board, _ = loaded(program_of(rng_of(request.node.name)))
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call(board)
    board.run(np.zeros((1, 1, INPUTS), bool))


def test_nothing_but_numpy_is_needed():
    # The driver runs on a machine with NumPy and pyserial only.
    heavy = ("nir", "typer", "rich", "amaranth", "serial", "torch", "cocotb")
    code = f"import sys, spikeloom.host.driver; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("piece", [1, 1000])
@pytest.mark.parametrize("membranes", [False, True])
def test_a_stream_gives_steps_as_they_come(request, membranes, piece):
    rng = rng_of(request.node.name)
    program = program_of(rng, membranes=membranes)
    board, _ = loaded(program, piece=piece)
    for ends in (True, False):  # with a last step, or cut off, which adds a step without spikes
        spikes = rng.random((9, 1, INPUTS)) < 0.3
        spikes[-1] &= ends
        stream, found = board.stream(), []
        for t in range(9 if ends else 8):
            stream.send(spikes[t, 0], last=ends and t == 8)
            found += stream.poll() if t % 2 else stream.receive()
        found += stream.finish()
        expected, values = answer_of(program, spikes)
        assert np.array_equal([step.spikes for step in found], expected[:, 0])
        assert 0 < expected.sum() < expected.size
        if membranes:
            assert np.array_equal([step.values[:READOUTS] for step in found], values[:, 0])
        else:
            assert np.array_equal([step.values for step in found], expected[:, 0])
    result = board.run(spikes)  # and the board can be used again
    assert np.array_equal(result.spikes, expected)


def test_a_stream_refuses_what_cannot_be(request):
    rng = rng_of(request.node.name)
    program = program_of(rng)
    board, fake = loaded(program)
    stream = board.stream()
    with pytest.raises(DriverError, match=r"^a program must be loaded before a run$"):
        board.run(np.zeros((1, 1, INPUTS)))
    with pytest.raises(ValueError, match=rf"^spikes must have shape \({INPUTS},\), not \(1,\)$"):
        stream.send([1])
    nothing = np.zeros(INPUTS, np.bool_)
    stream.send(nothing, last=True)
    with pytest.raises(DriverError, match=r"^a step must not come after the last one$"):
        stream.send(nothing)
    stream.finish()
    for answer, message in (
        (fake.model.tick(False), "the board must end the sample where it was told to, not in step 0"),
        (fake.model.tick(True) * 2, "the board must end 1 steps, not more"),
        (fake.model.spike(999), "the board has sent axon 999, which the program does not observe"),
        (fake.model.spike(int(program.output_axons[0])) * 2, "the board must send a spike of an axon at most once"),
        (b"", "the run has stopped after 0 steps: the board has not answered"),
    ):
        board, _ = loaded(program, edit=lambda step, _, answer=answer: answer)
        stream = board.stream()
        stream.send(nothing, last=True)
        with pytest.raises(DriverError, match=f"^{message}"):
            stream.finish()


def test_chips_that_do_not_answer():
    core = CoreParameters()
    tiles = (None, core, *(AerTileParameters(direction=direction) for direction in AerDirection))
    fabric = FabricConfig(tiles=tiles, mesh=MeshParameters(columns=2, rows=2))
    fake = FakeBoard(program_of(rng_of("chips")))
    board = Board(FakeLink(fake), fabric)
    offset = AER.register("status").offset
    fake.memory |= {(2, 0, 0, offset): 1, (3, 0, 0, offset): 3}
    assert board.stalled_chips() == [3]
    assert Board(FakeLink(fake)).stalled_chips() == []
