"""Driver, host bridge and tiles together, without UART and link: spikes equal the reference."""

import dataclasses

import numpy as np
import pytest
from harness.cores import NARROW_PAIR
from harness.fabric import mesh_of, random_program
from harness.mutations import plant
from harness.networks import random_network, random_spatial_network, random_spikes, rng_of
from harness.simulated_link import SimulatedLink

from spikeloom.compiler.place import place
from spikeloom.hdl.lib import memory as memory_module
from spikeloom.host.driver import Board
from spikeloom.host.protocols import DriverError
from spikeloom.host.transport import LinkError
from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.attention.parameters import AttentionTileParameters
from spikeloom.sim.fabric import fabric as fabric_module
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.messages import ConfigurationAddress, MessageDecoder, encode_read
from spikeloom.sim.lib.registers import READ_BACK_CYCLES
from spikeloom.sim.network.reference import simulate
from spikeloom.sim.noc.mesh import MeshParameters

CORE = NARROW_PAIR
FABRIC = FabricConfig(core=CORE)


def test_the_driver_runs_networks(request):
    rng = rng_of(request.node.name)
    board = Board(SimulatedLink(rng, FABRIC, stall=0.3))
    fired = []
    # One program follows another, first by clearing after an odd number of steps, then by a new session.
    for number, readout in enumerate((False, True, False)):
        if number == 2:
            board.reopen()
        network = random_network(rng, CORE, readout=readout)
        program = place(network, FabricConfig(core=CORE))
        board.load(program)
        for samples in (2, 1):
            spikes = random_spikes(rng, 5, samples, network.inputs)
            result = board.run(spikes)
            board.check_errors()
            reference = simulate(network, spikes)
            if program.membranes:
                assert (result.membranes == reference.states[network.output].v).all()
            else:
                size = network.size(network.output)
                assert (result.spikes[..., :size] == reference.spikes[network.output]).all()
                fired.append(result.spikes.mean())
        counters = board.counters()[1]
        assert counters["steps"] == 5 * 3
        assert counters["words"] > 0
        assert counters["busy_cycles"] > counters["words"]
    assert 0 < np.mean(fired) < 1


def check_input_values(board, network, program, values):
    """Run values on the board and compare with the reference, spikes and their values."""
    result = board.run(values)
    board.check_errors()
    reference = simulate(network, values)
    first = 0
    for name, size in program.observed:
        columns = slice(first, first + size)
        assert (result.spikes[..., columns] == reference.spikes[name]).all()
        if name in reference.values:
            assert (result.values[..., columns] == reference.values[name]).all()
        first += size
    return int(result.spikes.sum())


@pytest.mark.parametrize("mesh", [False, True])
def test_values_of_the_input(request, mesh):
    """Dense and sparse values of different widths, and some that are 0 or 1; a second network after some of them."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(CORE, value_width=9, v_width=16, accumulator_width=26)
    fabric = mesh_of(2, 1, core=core) if mesh else FabricConfig(core=core)
    board = Board(SimulatedLink(rng, fabric, stall=0.1))
    fired = 0
    for ranges in ((-8, 8, 0.9), (0, 256, 1.0), (0, 1, 0.0)), ((-256, 256, 0.05), (0, 2, 0.5)):
        network = dataclasses.replace(random_network(rng, core, inputs=12), input_value_width=9)
        program = place(network, fabric, observe=[p.name for p in network.populations])
        board.load(program)
        for low, high, density in ranges:
            values = rng.integers(low, high, (4, 2, 12)) * (rng.random((4, 2, 12)) < density)
            fired += check_input_values(board, network, program, values)
            stream = board.stream()
            for step in range(3):
                stream.send(values[step, 0])
            steps = stream.finish()
            alone = np.concatenate([values[:3, :1], np.zeros((1, 1, 12), int)])
            expected = simulate(network, alone).spikes[network.output][:, 0]
            assert np.array_equal([step.spikes[: expected.shape[1]] for step in steps], expected)
    assert fired > 0
    with pytest.raises(ValueError, match=r"^values must be from -256 to 255, not 256$"):
        board.run(np.full((1, 1, 12), 256))


def test_values_of_an_input_with_coordinates(request):
    """The axons of an image have gaps, which a run fills with zeros."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(
        CORE,
        neurons=512,
        axons=256,
        weight_words=4096,
        populations=8,
        coordinate_width=3,
        geometries=32,
        sparse=True,
        value_width=6,
        accumulator_width=26,
    )
    fabric = FabricConfig(core=core)
    network = dataclasses.replace(random_spatial_network(rng, core, extent=6), input_value_width=6)
    program = place(network, fabric, observe=[p.name for p in network.populations])
    assert np.diff(program.input_axons).max() > 1
    board = Board(SimulatedLink(rng, fabric, stall=0.1))
    values = rng.integers(-32, 32, (3, 2, network.inputs))
    board.load(program)
    assert check_input_values(board, network, program, values) > 0


def test_values_come_back(request):
    """Values of graded spikes in every population, including 1."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(CORE, value_width=6, accumulator_width=24)
    # Stalls have a generator of their own, so that the networks do not depend on how long an answer takes.
    board = Board(SimulatedLink(rng_of(f"{request.node.name}, stalls"), FabricConfig(core=core), stall=0.1))
    seen = []
    for _ in range(3):
        network = random_network(rng, core)
        program = place(network, FabricConfig(core=core), observe=[p.name for p in network.populations])
        board.load(program)
        spikes = random_spikes(rng, 5, 2, network.inputs)
        result = board.run(spikes)
        board.check_errors()
        reference = simulate(network, spikes)
        expected = np.concatenate([reference.spikes[name] for name, _ in program.observed], axis=2)
        values = np.concatenate(
            [reference.values.get(name, reference.spikes[name]) for name, _ in program.observed], axis=2
        )
        assert (result.spikes == expected).all()
        if program.graded:
            assert (result.values == values).all()
            seen += np.unique(values).tolist()
    assert len(set(seen)) > 4
    assert 1 in seen


def test_the_driver_runs_maps(request):
    """Axons have 17 bits inside the core and at most 16 for the host; slots are not in the order of the neurons'
    numbers."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(
        CORE, neurons=512, axons=512, weight_words=4096, populations=8, coordinate_width=4, geometries=32, sparse=True
    )
    assert core.axon_width == 17
    board = Board(SimulatedLink(rng, FabricConfig(core=core), stall=0.1))
    network = random_spatial_network(rng, core, extent=5)
    spikes = random_spikes(rng, 4, 2, network.inputs)
    program = place(network, FabricConfig(core=core), observe=["map0"])
    board.load(program)
    result = board.run(spikes)
    board.check_errors()
    reference = simulate(network, spikes)
    expected = np.concatenate([reference.spikes[name] for name, _ in program.observed], axis=2)
    assert (result.spikes == expected).all()
    assert 0 < reference.spikes["map0"].mean() < 1


@pytest.mark.parametrize("shape", [(2, 1), pytest.param((2, 2), marks=pytest.mark.slow)])
def test_the_driver_runs_networks_on_a_mesh(request, shape):
    """Several tiles that the host sends to and receives from."""
    rng = rng_of(request.node.name)
    fabric = mesh_of(*shape)
    board = Board(SimulatedLink(rng, fabric, stall=0.2))
    fired = 0
    for _ in range(2):
        network, program = random_program(rng, fabric)
        board.load(program)
        for samples in (2, 1):
            spikes = random_spikes(rng, 5, samples, network.inputs)
            result = board.run(spikes)
            board.check_errors()
            reference = simulate(network, spikes)
            expected = np.concatenate([reference.spikes[name] for name, _ in program.observed], axis=2)
            assert (result.spikes == expected).all()
            fired += int(expected.sum())
        # A tile that leads to nobody observed may still be at its last step when the host has all that it waits for.
        assert all(counters["steps"] in (0, 14, 15) for counters in board.counters().values())
    assert fired > 20


READABLE = dataclasses.replace(
    CORE, neurons=6, axons=5, weight_words=10, populations=2, coordinate_width=1, geometries=2, sparse=True
)
FABRICS = {
    "all memories, one of a single port": FabricConfig(
        core=dataclasses.replace(READABLE, weight_memory="single-port"), read_back=True
    ),
    "banks and wide words": FabricConfig(
        core=dataclasses.replace(
            READABLE,
            lanes=16,
            lane_banks=2,
            neurons=32,
            weight_words=4,
            coordinate_width=0,
            multiplier=False,
            shifts=(1, 2),
            reset_value=False,
            readout=False,
        ),
        read_back=True,
    ),
    "every kind of tile": FabricConfig(
        tiles=(
            None,
            dataclasses.replace(READABLE, coordinate_width=0),
            AttentionTileParameters(attention=AttentionParameters(tokens=2, features=4), axon_width=6),
            AerTileParameters(direction=AerDirection.INPUT, address_width=3, depth=4),
            AerTileParameters(direction=AerDirection.OUTPUT, address_width=3, depth=4),
        ),
        mesh=MeshParameters(columns=3, rows=2, counters=True),
        read_back=True,
    ),
}


def check_read_back(rng, fabric):
    """Every word of every memory reads as it was written, in both orders; nonexistent words read as 0."""
    link = SimulatedLink(rng, fabric, stall=0.1)
    board = Board(link, fabric)
    written = {}
    for tile, parameters in fabric.numbered.items():
        for memory in parameters.memories.values():
            words = rng.integers(0, 256, (memory.depth, memory.planes), np.uint8)
            words[:, -1] &= 0xFF >> -memory.width % 8
            board.write_memory(tile, memory.number, words)
            written[tile, memory.number] = words
    for (tile, number), words in written.items():
        assert np.array_equal(board.read_memory(tile, number), words), (tile, number)
        some = board.read_memory(tile, number, first=len(words) - 1, count=1)
        assert np.array_equal(some, words[-1:])
    tile, number = max(written, key=lambda place: written[place].shape[1])
    words, decoder = written[tile, number], MessageDecoder()
    planes = words.shape[1]
    assert planes > 3
    for plane in (0, planes // 2, planes - 1, planes):
        link.send(encode_read(ConfigurationAddress(tile=tile, memory=number, plane=plane), 2))
        found = b""
        while len(found) < 5:
            found += link.receive()
        expected = words[:2, plane] if plane < planes else np.zeros(2, np.uint8)
        assert decoder.feed(found).reads == (expected.tobytes(),)
    board.check_errors()
    assert all(words.any() for (_, _), words in written.items() if words.size > 10)


@pytest.mark.parametrize("name", FABRICS)
def test_memories_are_read_back(request, name):
    check_read_back(rng_of(request.node.name), FABRICS[name])


def check_that_reading_back_changes_nothing(rng, *, mesh):
    """Before, between and after runs; a step that immediately follows a READ finds its memories unchanged."""
    core = dataclasses.replace(CORE, axons=64, weight_words=256, read_back=True)
    fabric = mesh_of(2, 1, core=core) if mesh else FabricConfig(core=core)
    board = Board(SimulatedLink(rng, fabric, stall=0), fabric)
    network = random_network(rng, core, inputs=4, sizes=(3, 4))
    program = place(network, fabric)
    board.load(program, verify=True)
    populations = program.fabric.cores[1].memories["populations"]
    fired = 0
    for _ in range(2):
        spikes = random_spikes(rng, 4, 2, network.inputs)
        result = board.run(spikes)
        expected = simulate(network, spikes).spikes[network.output]
        assert (result.spikes[..., : expected.shape[2]] == expected).all()
        fired += expected.sum()
        for image in program.memories:
            words = board.read_memory(image.tile, image.memory, count=min(3, len(image.words)))
            assert np.array_equal(words, image.words[:3])
        # The last word read is not the one that a step needs first.
        board.read_memory(1, populations.number, first=populations.depth - 1)
    assert fired > 0


@pytest.mark.parametrize("mesh", [False, True])
def test_reading_back_changes_nothing(request, mesh):
    check_that_reading_back_changes_nothing(rng_of(request.node.name), mesh=mesh)


READ_BUGS = {
    "the host keeps a memory during the run": (
        memory_module,
        "addressed = enable & (",
        "addressed = (",
    ),
    "the registers' data only": (memory_module, "registers.read_data | load.read_data", "registers.read_data"),
    "the next word": (memory_module, "eq(memory.write_address)", "eq(memory.write_address + 1)"),
}


@pytest.mark.parametrize("bug", READ_BUGS)
def test_planted_bugs_in_reading_back_are_found(request, monkeypatch, bug):
    plant(monkeypatch, "spikeloom.hdl", *READ_BUGS[bug])
    with pytest.raises((AssertionError, DriverError, LinkError)):
        check_that_reading_back_changes_nothing(rng_of(request.node.name), mesh=False)


def test_data_that_are_fetched_too_early_are_found(request, monkeypatch):
    """The cycles allowed to a tile for a byte exceed the needed ones by a bounded factor: a quarter of them is too
    few."""
    monkeypatch.setattr(fabric_module, "READ_BACK_CYCLES", READ_BACK_CYCLES // 4)
    with pytest.raises((AssertionError, DriverError)):
        check_that_reading_back_changes_nothing(rng_of(request.node.name), mesh=False)
