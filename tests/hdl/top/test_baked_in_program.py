"""A program in the bitstream: it runs without loading, and another program can replace it."""

import gc
from dataclasses import replace

import numpy as np
import pytest
from harness.attention_fabric import NAME, fabric_of, random_attention_network
from harness.cores import NARROW_PAIR
from harness.fabric import mesh_of, random_program
from harness.mutations import mutated
from harness.networks import random_network, random_spatial_network, random_spikes, rng_of
from harness.simulated_link import SimulatedLink

from spikeloom.compiler.bake import bake
from spikeloom.compiler.place import place
from spikeloom.hdl.core import adders
from spikeloom.hdl.lib import memory
from spikeloom.hdl.lib.registers import RegisterBank
from spikeloom.hdl.top import fabric
from spikeloom.host.driver import Board
from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.core.registers import CORE
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.lib.contents import Contents
from spikeloom.sim.lib.memory import Memory
from spikeloom.sim.lib.registers import BRIDGE_TILE, CORE_TILE
from spikeloom.sim.network.reference import simulate

SMALL = NARROW_PAIR
IN_BANKS = replace(SMALL, lanes=16, lane_banks=2, neurons=64, weight_words=512)
WITH_TABLES = replace(
    SMALL, neurons=512, axons=512, weight_words=4096, populations=8, coordinate_width=4, geometries=32, sparse=True
)


class CountingLink(SimulatedLink):
    """Counts the bytes that the host sends."""

    sent = 0

    def send(self, data):
        self.sent += len(data)
        super().send(data)


def check(board, network, program, spikes):
    """Compare spikes or membranes with the reference; return how many neurons fire."""
    result = board.run(spikes)
    board.check_errors()
    reference = simulate(network, spikes)
    if program.membranes:
        assert (result.membranes == reference.states[network.output].v).all()
        return 0
    expected = np.concatenate([reference.spikes[name] for name, _ in program.observed], axis=2)
    assert (result.spikes == expected).all()
    return int(expected.sum())


def bytes_to_load(board, link, program):
    before = link.sent
    board.load(program)
    return link.sent - before


def without_memories(program):
    return replace(program, memories=())


@pytest.mark.parametrize("core", [SMALL, IN_BANKS], ids=["one bank", "two banks"])
def test_it_runs_without_being_loaded(request, core):
    rng = rng_of(request.node.name)
    network = random_network(rng, core, sizes=(9, 4, 11))  # more neurons than a bank has lanes
    program = place(network, FabricConfig(core=core))
    board = Board(SimulatedLink(rng, bake(program), stall=0.1))
    # An empty program: the registers too have the values from the bitstream, also after a new session.
    for _ in range(2):
        board.load(replace(program, memories=(), registers=()))
        assert check(board, network, program, random_spikes(rng, 4, 1, network.inputs))
        board.reopen()


def test_what_the_bitstream_has_brought_is_not_loaded(request):
    rng = rng_of(request.node.name)
    fabric = FabricConfig(core=SMALL)
    network, other = (random_network(rng, SMALL) for _ in range(2))
    program, another = place(network, fabric), place(other, fabric)
    link = CountingLink(rng, bake(program), stall=0.1)
    board = Board(link)
    for _ in range(2):
        assert bytes_to_load(board, link, program) == bytes_to_load(board, link, without_memories(program))
        assert check(board, network, program, random_spikes(rng, 4, 1, network.inputs))
        board.reopen()
    # Another program is loaded over it; from then on, a session must not take the first one for loaded.
    assert bytes_to_load(board, link, another) > bytes_to_load(board, link, without_memories(another))
    check(board, other, another, random_spikes(rng, 4, 1, other.inputs))
    board.reopen()
    assert board.read_register(BRIDGE_TILE, "program") == 0
    assert bytes_to_load(board, link, program) > bytes_to_load(board, link, without_memories(program))
    assert check(board, network, program, random_spikes(rng, 4, 1, network.inputs))


def test_a_load_that_was_cut_off(request):
    """One byte is written over it, followed by a new session: the program of the bitstream no longer counts as
    present."""
    rng = rng_of(request.node.name)
    network = random_network(rng, SMALL)
    program = place(network, FabricConfig(core=SMALL))
    link = CountingLink(rng, bake(program), stall=0.1)
    board = Board(link)
    assert board.read_register(BRIDGE_TILE, "program") != 0
    board.write_memory(CORE_TILE, 1, np.full((1, 1), 99, np.uint8))
    assert board.read_register(BRIDGE_TILE, "program") == 0
    board.reopen()
    assert board.read_register(BRIDGE_TILE, "program") == 0
    assert bytes_to_load(board, link, program) > bytes_to_load(board, link, without_memories(program))
    board.load(program)
    assert check(board, network, program, random_spikes(rng, 4, 1, network.inputs))


def test_maps_and_sparse_rows(request):
    """Every memory that a core may have."""
    rng = rng_of(request.node.name)
    network = random_spatial_network(rng, WITH_TABLES, extent=5)
    program = place(network, FabricConfig(core=WITH_TABLES), observe=["map0"])
    assert len(program.memories) == 8
    link = CountingLink(rng, bake(program), stall=0.1)
    board = Board(link)
    assert bytes_to_load(board, link, program) == bytes_to_load(board, link, without_memories(program))
    assert check(board, network, program, random_spikes(rng, 4, 2, network.inputs))


def test_several_tiles(request):
    """The registers of the bridge define the tiles that the host communicates with."""
    rng = rng_of(request.node.name)
    network, program = random_program(rng, mesh_of(2, 2))
    link = CountingLink(rng, bake(program), stall=0.1)
    board = Board(link)
    board.load(replace(program, memories=(), registers=()))
    assert check(board, network, program, random_spikes(rng, 4, 1, network.inputs))
    assert bytes_to_load(board, link, program) == bytes_to_load(board, link, without_memories(program))


def test_attention(request):
    """An attention tile has its own memory and registers."""
    rng = rng_of(request.node.name)
    on = fabric_of(AttentionParameters(tokens=4, features=4, rows=2))
    network = random_attention_network(rng, on.tiles[2].attention)
    program = place(network, on, observe=(NAME,))
    board = Board(SimulatedLink(rng, bake(program), stall=0.1))
    board.load(replace(program, memories=(), registers=()))
    assert check(board, network, program, random_spikes(rng, 6, 1, network.inputs)) > 10


def test_aer_tiles():
    words = (1, 0, 3)
    tile = AerTileParameters(direction=AerDirection.INPUT, address_width=4, contents=Contents(memories={1: words}))
    assert tile.memories["table"].words == words
    assert tile == AerTileParameters(direction=AerDirection.INPUT, address_width=4)


BUGS = {
    "what was overwritten counts as there": (fabric, "overwritten.eq(1)", "overwritten.eq(0)"),
    "registers count as memories": (fabric, "port.memory != REGISTER_MEMORY", "port.memory == REGISTER_MEMORY"),
    "each bank holds the first one's part": (memory, "word >> low & mask", "word & mask"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_are_found(request, monkeypatch, bug):
    module, old, new = BUGS[bug]
    copy = mutated(module, old, new)
    if module is fabric:
        monkeypatch.setattr("harness.simulated_link.Fabric", copy.Fabric)
        broken, core = test_a_load_that_was_cut_off, ()
    else:
        monkeypatch.setattr(adders, "LoadedMemory", copy.LoadedMemory)
        broken, core = test_it_runs_without_being_loaded, (IN_BANKS,)
    with pytest.raises(AssertionError):
        broken(request, *core)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_refusals():
    with pytest.raises(ValueError, match="must be 'block' to hold a program from power-up, not 'single-port'"):
        replace(SMALL, weight_memory="single-port", contents=Contents(memories={1: (1,)}))
    with pytest.raises(ValueError, match="contents must be of the memories 1, 2, 3, 4, 5, not of 9"):
        replace(SMALL, contents=Contents(memories={9: (1,)}))
    with pytest.raises(ValueError, match="words of table must be at most 2, not 3"):
        Memory("table", 1, 2, 8, (1, 2, 3))
    with pytest.raises(ValueError, match="words of table must have 8 bits each"):
        Memory("table", 1, 2, 8, (1, 256))
    with pytest.raises(ValueError, match="sources must be from 0 to 255, not 256"):
        RegisterBank(CORE, Contents(registers={"sources": 256}))
    with pytest.raises(ValueError, match="register status must be writable, not read"):
        RegisterBank(CORE, Contents(registers={"status": 1}))
    gc.collect()  # warnings about the unfinished objects appear, and are ignored, here
