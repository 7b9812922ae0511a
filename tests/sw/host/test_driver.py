"""The driver against a board in plain Python: the model decodes messages, a known function answers them."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from harness.fake_board import IDENTITY, INPUTS, FakeBoard, FakeLink, answer_of, loaded, program_of
from harness.networks import rng_of

from spikeloom.host.driver import Board
from spikeloom.host.endpoint import Endpoint
from spikeloom.host.protocols import DriverError
from spikeloom.host.transport import FaultyTransport, ModelTransport
from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.aer.registers import AER
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.core.registers import CORE, COUNTERS
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.bridge import BridgeModel
from spikeloom.sim.host.identity import Feature
from spikeloom.sim.host.link import DeviceModel, LinkParameters
from spikeloom.sim.host.messages import ADDRESS_BYTES, COUNT_BYTES
from spikeloom.sim.lib.registers import BRIDGE_TILE
from spikeloom.sim.noc.mesh import MeshParameters

HEADER = 1 + ADDRESS_BYTES + COUNT_BYTES


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
        # Data that arrives in pieces is reported sample by sample, data that arrives together in one call.
        done = list(range(1, samples + 1)) if piece < 10 else [number for number, _ in seen]
        assert seen == [(number, samples) for number in done]
        assert done == sorted(set(done))
        assert done[-1] == samples


@pytest.mark.parametrize("kind", ["clean", "faulty"])
def test_small_buffers_do_not_lock(request, kind):
    # Over a real link whose board accepts no more bytes while its 64 bytes for the host are full.
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


@pytest.mark.parametrize(
    ("words", "planes", "messages"),
    [(70_000, 2, 3), (65_535, 2, 2), (65_536, 1, 2), (200, 8, 1), (3, 1000, 1), (66, 1024, 2)],
)
def test_programs_are_loaded(request, words, planes, messages):
    """Each memory takes as few messages as possible; for 65,535 words of 2 bytes, byte lanes take fewer."""
    rng = rng_of(request.node.name)
    program = program_of(rng, words=(words, planes))
    seen, sent = [], []

    class Counted(FakeLink):
        def send(self, data):
            sent.append(len(data))
            super().send(data)

    fake = FakeBoard(program)
    board = Board(Counted(fake))
    board.load(program, progress=lambda *done: seen.append(done))
    size = words * planes
    assert seen == [(size, 2 * size), (2 * size, 2 * size)]
    # In addition: control, two reads, and two registers of one byte.
    assert sum(sent) - 2 * size == (2 * messages + 5) * HEADER + 3
    for image in program.memories:
        found = [[fake.memory[1, image.memory, plane, index] for plane in range(planes)] for index in range(words)]
        assert (np.array(found) == image.words).all()
    assert fake.memory[1, 0, 0, CORE.register("sources").offset] == 1
    assert fake.memory[1, 0, 0, CORE.register("populations").offset] == 3
    board.write_memory(1, 2, np.array([[7]], np.uint8), first=40)
    board.read_register(BRIDGE_TILE, "scratch")
    assert fake.memory[1, 2, 0, 40] == 7


READABLE = FabricConfig(core=CoreParameters(lanes=2, neurons=64, axons=300, weight_words=512), read_back=True)


def readable_board(rng):
    """A board whose memories can be read back, and a program for it."""
    program = program_of(rng)
    weights, routes = (READABLE.core.memories[name] for name in ("weights", "routes"))
    for image, memory in zip(program.memories, (weights, routes), strict=True):
        image.words = rng.integers(0, 256, (9, memory.planes), np.uint8)
    fake = FakeBoard(program)
    return Board(FakeLink(fake, identity=replace(IDENTITY, features=READABLE.features)), READABLE), fake, program


def test_memories_are_read_back(request):
    board, _, program = readable_board(rng_of(request.node.name))
    board.load(program, verify=True)
    for image in program.memories:
        assert (board.read_memory(1, image.memory, count=9) == image.words).all()
        assert (board.read_memory(1, image.memory, first=4, count=3) == image.words[4:7]).all()
        assert board.read_memory(1, image.memory).shape == (512 if image.memory == 1 else 64, image.words.shape[1])
        assert board.read_memory(1, image.memory, count=0).shape == (0, image.words.shape[1])


def test_a_word_that_differs_is_named(request):
    rng = rng_of(request.node.name)
    board, fake, program = readable_board(rng)
    write = fake.write

    def damaged(request):
        write(request)
        if request.address.memory == 4:
            fake.memory[1, 4, 0, 7] ^= 0x10
            fake.memory[1, 4, 1, 8] ^= 1

    fake.write = damaged
    word = program.memories[1].words[7]
    expected = bytes(word[::-1]).hex()
    read = bytes((word ^ [0x10, *[0] * (len(word) - 1)]).astype(np.uint8)[::-1]).hex()
    message = (
        f"memory 4 of tile 1 does not hold what was written: word 7 is 0x{read}, expected 0x{expected} "
        "(2 words differ): load again, and suspect the board's clock or supply if it happens again"
    )
    with pytest.raises(DriverError, match=f"^{re.escape(message)}$"):
        board.load(program, verify=True)
    with pytest.raises(DriverError, match=r"^a program must be loaded before a run$"):
        board.run(np.zeros((1, 1, INPUTS), np.bool_))
    board.load(program)


def test_what_cannot_be_read_back_is_refused(request):
    rng = rng_of(request.node.name)
    board, fake, program = readable_board(rng)
    for call, error, message in (
        (lambda: board.read_memory(1, 9), ValueError, "memory of tile 1 must be one of 1, 2, 3, 4, 5, not 9"),
        (
            lambda: board.read_memory(1, 1, first=500, count=13),
            ValueError,
            "words must be from 0 to 511, not 13 from 500 on",
        ),
        (
            lambda: Board(FakeLink(fake)).load(program, verify=True),
            DriverError,
            "the board cannot read its memories back: load a bitstream of a fabric that is built with read_back",
        ),
        (
            lambda: Board(FakeLink(fake, identity=board.identity)).read_memory(1, 1),
            DriverError,
            "the fabric must be given to read memories back, not None",
        ),
    ):
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            call()


def test_values_of_the_input(request):
    """Values go to boards that accept them; for other boards the program is refused before anything is written."""
    rng = rng_of(request.node.name)
    program = program_of(rng)
    program.input_value_width = 5
    fake = FakeBoard(program)
    with pytest.raises(
        DriverError,
        match=r"^the program's input has values, which the board does not accept: load a bitstream of a fabric whose "
        r"cores have value_width=5$",
    ):
        Board(FakeLink(fake)).load(program)
    assert not fake.memory
    board = Board(FakeLink(fake, identity=replace(IDENTITY, features=Feature.HOST_VALUES)))
    board.load(program)
    fake.model = BridgeModel(9, value_width=5)
    values = rng.integers(-16, 16, (3, 4, INPUTS))
    given = []
    fake.end_step = lambda last: given.append(dict(fake.values)) or fake.values.clear() or fake.model.tick(last)
    board.run(values)
    for number, found in enumerate(given):
        sample, step = divmod(number, 3)
        wanted = values[step, sample]
        assert found == {int(program.input_axons[i]): int(wanted[i]) for i in np.flatnonzero(wanted)}
    for wrong, error, message in (
        (np.full((1, 1, INPUTS), 16), ValueError, "values must be from -16 to 15, not 16"),
        (np.full((1, 1, INPUTS), 0.5), TypeError, "values must be integers, not float64"),
        (np.zeros((1, 1, 9), int), ValueError, "values must have shape (T, B, 70) or (T, 70), not (1, 1, 9)"),
    ):
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            board.run(wrong)


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
        ({"protocol_version": 7}, "has protocol version 7, expected 2: "),
        ({"tiles": 3}, "has 3 tiles, expected 1: "),
        ({"lanes": 1}, "has 1 lanes, expected 2: "),
        ({"neurons": 32}, "has 32 neurons, expected 64: "),
        ({"axons": 64}, "has 64 axons, expected 300: "),
        ({"weight_words": 256}, "has 256 weight words, expected 512: "),
        ({"weight_width": 4}, "has weights of 4 bits, expected 8: "),
        ({"v_width": 12}, "has membranes of 12 bits, expected 16: "),
        ({"features": Feature.READOUT}, "has features readout, expected none: "),
    ],
)
def test_another_fabric_is_refused(request, change, message):
    rng = rng_of(request.node.name)
    board = Board(FakeLink(FakeBoard(program_of(rng)), identity=replace(IDENTITY, **change)))
    text = f"the board {message}load the bitstream of the fabric that the program was compiled for"
    with pytest.raises(DriverError, match=f"^{re.escape(text)}$"):
        board.check(IDENTITY)


def test_another_build_is_refused(request):
    rng = rng_of(request.node.name)
    other = replace(IDENTITY, build_hash=bytes(16))
    board = Board(FakeLink(FakeBoard(program_of(rng)), identity=other))
    board.check(IDENTITY, build=False)
    board.check(other)
    text = "the board runs build 00000000000000000000000000000000, expected 000102030405060708090a0b0c0d0e0f: "
    with pytest.raises(DriverError, match=f"^{text}load the bitstream of the expected build$"):
        board.check(IDENTITY)


def test_what_comes_at_the_wrong_time_is_found(request):
    program = program_of(rng_of(request.node.name))
    board, fake = loaded(program)
    fake.link.incoming += b"\x85"
    with pytest.raises(DriverError, match=r"^unexpected spikes or steps from the board: no run is in progress$"):
        board.read_register(BRIDGE_TILE, "scratch")
    board, fake = loaded(program)
    fake.link.incoming += b"\x02\x01\x00a"
    with pytest.raises(DriverError, match=r"^the board answered 2 reads, expected 1$"):
        board.read_register(BRIDGE_TILE, "scratch")
    board, fake = loaded(program)
    fake.read = lambda request: fake.model.read_data(b"ab")
    with pytest.raises(DriverError, match=r"^the board answered a read with 2 bytes, expected 1$"):
        board.read_register(BRIDGE_TILE, "scratch")
    board, fake = loaded(program)
    fake.read = lambda request: b""
    message = r"^no answer from the board when a register was read \(scratch\): the board has not answered$"
    with pytest.raises(DriverError, match=message):
        board.read_register(BRIDGE_TILE, "scratch")


def test_errors_of_the_board_are_told(request):
    board, fake = loaded(program_of(rng_of(request.node.name)))
    fake.model.error = 1
    with pytest.raises(DriverError, match=r"^the board has received an unknown message: driver and .* same release$"):
        board.check_errors()
    fake.model.error = 2
    with pytest.raises(DriverError, match=r"^the board has received a spike for an axon that does not exist: "):
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
            "words must have shape (n, planes) with 1 to 1024 planes, not (4,)",
        ),
        (
            lambda b: b.write_memory(1, 1, np.zeros((4, 0), np.uint8)),
            ValueError,
            "words must have shape (n, planes) with 1 to 1024 planes, not (4, 0)",
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
    # The driver runs on a machine with only NumPy and pyserial.
    heavy = ("nir", "typer", "rich", "amaranth", "serial", "torch", "cocotb")
    code = f"import sys, spikeloom.host.driver; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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
