"""A fabric whose weights lie in SDRAM, with the real driver: self-test, loading, checksum, read-back and runs."""

import dataclasses

import numpy as np
import pytest
from harness.cores import NARROW_64
from harness.networks import random_network, random_spikes, rng_of
from harness.sdram import keys_of
from harness.sdram_link import SdramLink
from harness.weight_memory import BUSY, LARGE

from spikeloom.compiler.mapping import Assignment
from spikeloom.compiler.partition import split
from spikeloom.compiler.place import place, place_assigned
from spikeloom.host.driver import Board
from spikeloom.host.protocols import DriverError
from spikeloom.sim.core.registers import CORE
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.identity import Feature
from spikeloom.sim.host.messages import encode_spikes
from spikeloom.sim.network.reference import simulate
from spikeloom.sim.noc.mesh import MeshParameters
from spikeloom.sim.sdram.commands import SdramCommand
from spikeloom.sim.sdram.phase import PinTiming

WEIGHTS = CORE.memory("weights").number
STREAMED = dataclasses.replace(
    NARROW_64, lanes=4, neurons=64, axons=256, weight_words=1 << 20, weight_memory="sdram", read_back=False
)
FABRIC = FabricConfig(name="streamed", core=STREAMED, sdram=BUSY)


def weights_of(program):
    (image,) = (image for image in program.memories if image.memory == WEIGHTS)
    return image


def check_run(board, network, spikes):
    result = board.run(spikes)
    board.check_errors()
    reference = simulate(network, spikes)
    size = network.size(network.output)
    assert (result.spikes[..., :size] == reference.spikes[network.output]).all()
    return float(result.spikes.mean())


@pytest.mark.parametrize(
    ("inputs", "sizes"), [(10, (6, 5)), pytest.param(64, (32, 10), marks=pytest.mark.slow)], ids=["10-6-5", "64-32-10"]
)
def test_a_network_runs_from_sdram(request, inputs, sizes):
    """Loaded, checked and read back through the host protocol; run before and after a new session."""
    rng = rng_of(request.node.name)
    network = random_network(rng, STREAMED, inputs=inputs, sizes=sizes)
    program = place(network, FABRIC)
    link = SdramLink(rng, FABRIC, stall=0.1, chip=LARGE)
    board = Board(link, FABRIC)
    assert Feature.SDRAM in board.identity.features
    board.load(program)
    image = weights_of(program)
    first = len(image.words) // 2
    assert (board.read_memory(1, WEIGHTS, first=first, count=3) == image.words[first : first + 3]).all()
    rates = [check_run(board, network, random_spikes(rng, 3, 2, inputs))]
    # The weights outlive a session; only the registers are loaded again.
    board.reopen()
    written = dataclasses.replace(program, memories=())
    board.load(written)
    rates.append(check_run(board, network, random_spikes(rng, 3, 1, inputs)))
    assert 0 < np.mean(rates) < 1
    assert board.counters()[1]["words"] > 10


def test_a_network_runs_from_block_ram_and_sdram(request):
    """Both memories are loaded and read back; only the one in SDRAM is compared by its checksum."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(STREAMED, weight_memory="block", weight_words=16, streamed_words=1 << 20)
    fabric = FabricConfig(name="mixed", core=core, sdram=BUSY)
    network = random_network(rng, core, inputs=8, sizes=(6, 5))
    program = place(network, fabric)
    link = SdramLink(rng, fabric, stall=0.1)
    board = Board(link, fabric)
    board.load(program)
    for name in ("weights", "streamed_weights"):
        (image,) = (image for image in program.memories if image.name == name)
        assert len(image.words) > 5
        assert (board.read_memory(1, image.memory, first=3, count=2) == image.words[3:5]).all()
    assert 0 < check_run(board, network, random_spikes(rng, 3, 2, 8)) < 1


SMALL = dataclasses.replace(STREAMED, lanes=1, neurons=8, axons=32, weight_words=1 << 10)
"""Holds one layer of a network."""


@pytest.mark.parametrize("sessions", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_two_cores_share_an_sdram(request, sessions):
    """Each has its slice, which is loaded, checked and read back, and kept for the next session."""
    rng = rng_of(request.node.name)
    mesh = MeshParameters(columns=3, rows=1)
    cores = SMALL, dataclasses.replace(SMALL, weight_words=1 << 9)
    fabric = FabricConfig(name="shared", tiles=(None, *cores), mesh=mesh, sdram=BUSY)
    network = random_network(rng, SMALL, inputs=6, sizes=(5, 4) if sessions > 1 else (3, 2))
    parts = split(network, {})
    tile_of = {part.name: tile for part, tile in zip(parts.parts, (2, 1), strict=True)}
    program = place_assigned(Assignment(parts=parts, tile_of=tile_of), fabric)
    link = SdramLink(rng, fabric, stall=0.1)
    board = Board(link, fabric)
    board.load(program)
    images = [image for image in program.memories if image.memory == WEIGHTS]
    assert [image.tile for image in images] == [1, 2]
    least = min(len(image.words) for image in images)
    place = int(np.flatnonzero((images[0].words[:least] != images[1].words[:least]).any(axis=1))[0])
    for image in images:
        found = board.read_memory(image.tile, WEIGHTS, first=place, count=1)
        assert (found == image.words[place : place + 1]).all()
    rates = [check_run(board, network, random_spikes(rng, 3, 1, 6))]
    for _ in range(sessions - 1):
        # A session that ends while the rows of its spikes are on their way.
        before = link.device.counts[SdramCommand.READ]
        link.send(encode_spikes(np.ones((1, 6), bool), program.input_axons))
        for _ in range(50):
            link.advance(10)
            if link.device.counts[SdramCommand.READ] > before:
                break
        assert before < link.device.counts[SdramCommand.READ] < before + 6, "not all words of six rows have been read"
        board.reopen()
        board.load(dataclasses.replace(program, memories=()))
        rates.append(check_run(board, network, random_spikes(rng, 3, 1, 6)))
    assert 0 < np.mean(rates) < 1
    assert min(board.counters()[tile]["words"] for tile in (1, 2)) > 2


@pytest.mark.slow
def test_a_network_runs_after_a_sweep(request):
    """The memory fails at first; the session moves its clock, and the weights stay in it as in any other memory."""
    rng = rng_of(request.node.name)
    fabric = FabricConfig(name="swept", core=STREAMED, sdram=dataclasses.replace(BUSY, phases=6))
    timing = PinTiming(clock_hz=BUSY.clock_hz, phases=6, access=9_000, kept=4_000)
    assert not timing.eye.passed[0]
    network = random_network(rng, STREAMED, inputs=10, sizes=(6, 5))
    program = place(network, fabric)
    link = SdramLink(rng, fabric, stall=0.1, at_pins=timing)
    board = Board(link, fabric)
    assert board.memory_eye.passed == timing.eye.passed
    board.load(program)
    assert 0 < check_run(board, network, random_spikes(rng, 3, 2, 10)) < 1
    with pytest.raises(
        DriverError,
        match=r"^a sweep of the SDRAM's clock overwrites the weights of the loaded program: sweep before a program is "
        r"loaded$",
    ):
        board.sweep_memory()


def test_a_memory_of_fixed_phase_cannot_be_swept(request):
    board = Board(SdramLink(rng_of(request.node.name), FABRIC, stall=0.0), FABRIC)
    with pytest.raises(
        DriverError,
        match=r"^the phase of the SDRAM's clock is fixed: build the bitstream of the board again with this release$",
    ):
        board.sweep_memory()


def test_wrong_weights_are_noticed(request):
    """A word of the memory that does not keep what is written."""
    rng = rng_of(request.node.name)
    program = place(random_network(rng, STREAMED, inputs=6, sizes=(5,)), FABRIC)
    link = SdramLink(rng, FABRIC, stall=0.0)
    board = Board(link, FABRIC)
    key = keys_of(BUSY, 2)[0]
    link.device.words = _Stuck(link.device.words, key)
    with pytest.raises(
        DriverError,
        match=r"^the SDRAM does not hold the weights that were written \(checksum 0x[0-9a-f]{8}, expected "
        r"0x[0-9a-f]{8}\): load again, and suspect the board's memory or supply if it happens again$",
    ):
        board.load(program)


def test_weights_that_the_chip_has_no_room_for(request):
    """The larger chip of the board would hold them."""
    rng = rng_of(request.node.name)
    program = place(random_network(rng, STREAMED, inputs=3, sizes=(2,)), FABRIC)
    image = dataclasses.replace(weights_of(program), words=np.zeros((9 << 20, 4), np.uint8))
    link = SdramLink(rng, FABRIC, stall=0.0)
    board = Board(link, FABRIC)
    with pytest.raises(
        DriverError,
        match=r"^the board's SDRAM has 32 MB, but the weights need 36 MB: use a board with a larger memory$",
    ):
        board.load(dataclasses.replace(program, memories=(image,)))
    with pytest.raises(DriverError, match=r"^the fabric must be given to load weights into SDRAM, not None$"):
        Board(link).load(program)


class _Stuck(dict):
    """A memory with one word of which the lowest bit is inverted."""

    def __init__(self, words, key):
        super().__init__(words)
        self._key = key

    def get(self, key, default=None):
        return super().get(key, default) ^ (key == self._key)


def test_a_failed_self_test_is_said_when_the_session_begins(request):
    rng = rng_of(request.node.name)
    with pytest.raises(
        DriverError,
        match=r"^the self-test of the board's SDRAM has failed, wrong bits 0x400040: load a bitstream that is built "
        r"for this board, and suspect its memory or supply if that does not help$",
    ):
        Board(SdramLink(rng, FABRIC, stall=0.0, fault=lambda word: word & ~0x40), FABRIC)
