"""Driver, bridge, encoder, readout and tiles together: images in, answers out, equal to the models."""

import dataclasses

import numpy as np
import pytest
from harness.cores import NARROW_PAIR, TINY_PAIR
from harness.fabric import mesh_of, random_program
from harness.networks import random_network, random_spikes, rng_of
from harness.simulated_link import SimulatedLink

from spikeloom.compiler.place import place
from spikeloom.datasets.encoders import LatencyEncoder, RateEncoder
from spikeloom.host.driver import Board
from spikeloom.host.protocols import DriverError
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.encoder import EncoderParameters
from spikeloom.sim.host.identity import Feature
from spikeloom.sim.host.messages import (
    ADDRESS_BYTES,
    COUNT_BYTES,
    ConfigurationAddress,
    MessageDecoder,
    encode_write,
)
from spikeloom.sim.host.readout import ReadoutMode, ReadoutParameters, answers, scores
from spikeloom.sim.host.registers import BRIDGE
from spikeloom.sim.host.samples import encode_images
from spikeloom.sim.lib.lfsr import Lfsr
from spikeloom.sim.lib.registers import BRIDGE_TILE, REGISTER_MEMORY
from spikeloom.sim.network.reference import simulate

CORE = NARROW_PAIR
UNITS = {
    "encoder": EncoderParameters(pixels=32, bits=4, steps=16, lfsr_width=10),
    "readout": ReadoutParameters(outputs=32),
}
FABRIC = FabricConfig(core=CORE, **UNITS)
ENCODERS = (RateEncoder(steps=4, bits=4, lfsr=Lfsr(width=10, seed=77)), LatencyEncoder(steps=5, bits=2))


def program_of(rng, fabric, **how):
    """A network whose outputs have consecutive axons, as is the case if they do not lead back into their core."""
    while True:
        network = random_network(rng, CORE, inputs=20, **how)
        program = place(network, fabric)
        if (np.diff(program.output_axons) == 1).all() and (np.diff(program.input_axons) == 1).all():
            return network, program


def test_images_in_answers_out(request):
    rng = rng_of(request.node.name)
    board = Board(SimulatedLink(rng, FABRIC, stall=0.2), FABRIC)
    seen = set()
    for number, readout in enumerate((False, True)):
        network, program = program_of(rng, FABRIC, readout=readout)
        board.load(program)
        encoder = ENCODERS[number]
        images = rng.integers(0, (1 << encoder.bits) + 1, (2, 4, 5))
        spikes = encoder.encode(images)
        reference = simulate(network, spikes)
        output = reference.states[network.output].v if readout else reference.spikes[network.output]
        result = board.run_images(images, encoder)
        assert ((result.membranes if readout else result.spikes) == output).all()
        for mode in ReadoutMode:
            if mode is ReadoutMode.OFF or readout != (mode >= ReadoutMode.LAST):
                continue
            score = scores(mode, output)
            found = board.classify(images, encoder=encoder, mode=mode, scores=True)
            assert (found.scores == score).all()
            assert (found.classes == answers(score)).all()
            seen |= set(found.scores.ravel().tolist())
        mode = ReadoutMode.SUM if readout else ReadoutMode.COUNT
        assert (board.classify(spikes, mode=mode).classes == answers(scores(mode, output))).all()
        # Spikes are ordinary spikes again, and all of them come back.
        again = board.run(spikes)
        assert ((again.membranes if readout else again.spikes) == output).all()
        board.check_errors()
    assert len(seen) > 3


@pytest.mark.parametrize("programs", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_on_a_mesh(request, programs):
    rng = rng_of(request.node.name)
    mesh = mesh_of(2, 2)
    fabric = FabricConfig(tiles=mesh.tiles, mesh=mesh.mesh, **UNITS)
    board = Board(SimulatedLink(rng, fabric, stall=0.2), fabric)
    done = 0
    while done < programs:
        network, program = random_program(rng, fabric)
        size = program.observed[0][1]
        axons = program.output_axons[:size]
        if network.inputs > 32 or (np.diff(axons) != 1).any() or (np.diff(program.input_axons) != 1).any():
            continue
        done += 1
        board.load(program)
        spikes = random_spikes(rng, 5, 3, network.inputs)
        reference = simulate(network, spikes).spikes[network.output]
        found = board.classify(spikes, scores=True)
        assert (found.scores == scores(ReadoutMode.COUNT, reference)).all()
        assert (found.classes == answers(found.scores)).all()


@pytest.mark.parametrize("on_mesh", [False, True])
def test_several_spikes_per_step_are_all_counted(request, on_mesh):
    """An output that fires up to three times in a step: the scores are numbers of spikes, not of events."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(TINY_PAIR, value_width=4, count_width=2, accumulator_width=18)
    fabric = FabricConfig(core=core, **UNITS)
    fabric = fabric.on_mesh(2, 1) if on_mesh else fabric
    link = SimulatedLink(rng, fabric, stall=0.2)
    board, differ, done = Board(link, fabric), 0, 0
    while done < (1 if on_mesh else 2):
        network = random_network(rng, core, inputs=8, sizes=(4, 5))
        several = network.population(network.output).parameters.max_spikes > 1
        program = place(network, fabric)
        size = program.observed[0][1]
        # The second program fires once per step, so the mode must change on the same board.
        if several != (done == 0) or (np.diff(program.output_axons[:size]) != 1).any():
            continue
        done += 1
        board.load(program)
        spikes = random_spikes(rng, 5, 3, network.inputs)
        fired = simulate(network, spikes).fired(network.output)
        assert program.counted == ((network.output,) if several else ())
        for mode in (ReadoutMode.COUNT,) if on_mesh else (ReadoutMode.COUNT, ReadoutMode.FIRST):
            found = board.classify(spikes, mode=mode, scores=True)
            assert (found.scores == scores(mode, fired)).all()
            assert (found.classes == answers(found.scores)).all()
        differ += (scores(ReadoutMode.COUNT, fired) != scores(ReadoutMode.COUNT, fired != 0)).sum()
        board.check_errors()
    assert differ > 2


def test_only_registers_that_change_are_written(request):
    """A second image costs only its own messages, and a register that was changed in between is set again."""
    rng = rng_of(request.node.name)
    link = SimulatedLink(rng, FABRIC, stall=0)
    board = Board(link, FABRIC)
    network, program = program_of(rng, FABRIC)
    board.load(program)
    sent = []
    send = link.send
    link.send = lambda data: (sent.append(bytes(data)), send(data))
    given = bytearray()
    receive = link.receive

    def record(*arguments, **options):
        data = receive(*arguments, **options)
        given.extend(data)
        return data

    link.receive = record

    def classified(encoder, mode=ReadoutMode.COUNT):
        """Compare the answers with the reference, and return the bytes of the exchange without those of the image."""
        images = rng.integers(0, (1 << encoder.bits) + 1, (1, 20))
        output = simulate(network, encoder.encode(images)).spikes[network.output]
        sent.clear()
        given.clear()
        assert (board.classify(images, encoder=encoder, mode=mode, scores=True).scores == scores(mode, output)).all()
        # No message of a step comes back, but for the last one.
        assert MessageDecoder().feed(bytes(given)).ticks.tolist() == [True]
        return sum(map(len, sent)) - len(encode_images(images, encoder.bits))

    write = 1 + ADDRESS_BYTES + COUNT_BYTES  # bytes in front of the value of one register
    first, second = ENCODERS
    assert classified(first) > 8 * write
    assert classified(first) == 0
    assert classified(second, ReadoutMode.FIRST) > 3 * write  # modes, stride, steps and advance
    # Each of these changes the registers outside of the following run.
    spikes = rng.random((4, 2, 20)) < 0.4
    output = simulate(network, spikes).spikes[network.output]
    assert output.any()
    assert (board.run(spikes).spikes == output).all()
    assert classified(second, ReadoutMode.FIRST) == 2 * (write + 1)  # both modes
    board.write_register(BRIDGE_TILE, "encoder_steps", 1)
    assert classified(second, ReadoutMode.FIRST) == write + 2
    mode = BRIDGE.register("readout_mode").offset
    board.write_memory(BRIDGE_TILE, REGISTER_MEMORY, np.zeros((1, 1), np.uint8), first=mode)
    assert classified(second, ReadoutMode.FIRST) > 9 * write
    stream = board.stream()
    for step, row in enumerate(spikes[:, 0]):
        stream.send(row, last=step == len(spikes) - 1)
    assert (np.array([result.spikes for result in stream.finish()]) == output[:, 0]).all()
    assert classified(second, ReadoutMode.FIRST) == 2 * (write + 1)
    board.check_errors()


@pytest.mark.parametrize("on_mesh", [False, True])
def test_a_constant_input_is_sent_once_per_sample(request, on_mesh):
    """The bytes of one step replace those of all steps; the result equals the reference, and that of a board that gets
    every step."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(TINY_PAIR, value_width=6, accumulator_width=20)
    steps, samples, consecutive = 6, 3, False
    while not consecutive:  # as the readout needs them
        network = dataclasses.replace(random_network(rng, TINY_PAIR, inputs=8, sizes=(4, 3)), input_value_width=6)
        axons = place(network, FabricConfig(core=core)).output_axons
        consecutive = bool((np.diff(axons) == 1).all())
    values = rng.integers(-32, 32, (samples, network.inputs)) * (rng.random((samples, network.inputs)) < 0.7)
    constant, varying = np.repeat(values[None], steps, axis=0), rng.integers(-32, 32, (3, 2, network.inputs))
    expected = simulate(network, constant).spikes[network.output]
    assert 0 < expected.sum() < expected.size
    sent = {}
    for hold in (True,) if on_mesh else (False, True):
        units = UNITS | {"encoder": dataclasses.replace(UNITS["encoder"], hold=hold)}
        fabric = FabricConfig(core=core, **units)
        fabric = fabric.on_mesh(2, 1) if on_mesh else fabric
        program = place(network, fabric)
        link = Counting(SimulatedLink(rng, fabric, stall=0.2))
        board = Board(link, fabric)
        assert (Feature.HELD_INPUT in board.identity.features) == hold
        board.load(program)
        before = link.sent
        assert (board.run(constant).spikes == expected).all()
        sent[hold] = link.sent - before
        assert (board.run(varying).spikes == simulate(network, varying).spikes[network.output]).all()
        found = board.classify(constant, scores=True)
        assert (found.scores == scores(ReadoutMode.COUNT, expected)).all()
        assert (board.run(varying[:1]).spikes == simulate(network, varying[:1]).spikes[network.output]).all()
        board.check_errors()
    if on_mesh:
        return
    settings = sum(len(encode_write(ConfigurationAddress(tile=0), bytes(1))) for _ in range(7)) + 10
    assert sent[True] <= sent[False] / steps + settings < sent[False]


class Counting:
    """A link that counts the bytes to the board."""

    def __init__(self, link):
        self.link, self.sent = link, 0

    def send(self, data):
        self.sent += len(data)
        self.link.send(data)

    def __getattr__(self, name):
        return getattr(self.link, name)


def test_after_a_run_that_was_given_up(request):
    """A new session begins with an empty encoder and readout."""
    rng = rng_of(request.node.name)
    link = SimulatedLink(rng, FABRIC, stall=0)
    board = Board(link, FABRIC)
    network, program = program_of(rng, FABRIC)
    encoder = ENCODERS[0]
    images = rng.integers(0, 17, (3, 20))
    expected = answers(scores(ReadoutMode.COUNT, simulate(network, encoder.encode(images)).spikes[network.output]))
    for _ in range(2):
        board.reopen()
        board.load(program)
        assert (board.classify(images, encoder=encoder).classes == expected).all()
        board._set_encoder(program, images, encoder)
        link.send(b"\x81\x82\x83\x20\x80\x84")  # an image without an end


@pytest.mark.parametrize(("unit", "what"), [("encoder", "an encoder"), ("readout", "a readout")])
def test_a_board_without_a_unit(request, unit, what):
    rng = rng_of(request.node.name)
    without = FabricConfig(core=CORE, **{name: value for name, value in UNITS.items() if name != unit})
    _, program = program_of(rng, FABRIC)
    images = rng.integers(0, 17, (1, 20))
    board = Board(SimulatedLink(rng, without, stall=0), FABRIC)
    board.load(program)
    with pytest.raises(DriverError, match=f"^the board does not have {what}: load a bitstream"):
        board.classify(images, encoder=ENCODERS[0])
    known = Board(SimulatedLink(rng, without, stall=0), without)
    known.load(dataclasses.replace(program, fabric=without))
    with pytest.raises(ValueError, match=f"^the fabric must have {what} to .* on the board; .* --units builds one$"):
        known.classify(images, encoder=ENCODERS[0])
