"""The driver, the host bridge and the tiles together, without UART and link: spikes equal to the reference."""

import dataclasses

import numpy as np
import pytest
from harness.cores import NARROW_PAIR
from harness.fabric import mesh_of, random_program
from harness.networks import random_network, random_spatial_network, random_spikes, rng_of
from harness.simulated_link import SimulatedLink

from spikeloom.compiler.place import place
from spikeloom.host.driver import Board
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.reference import simulate

CORE = NARROW_PAIR
FABRIC = FabricConfig(core=CORE)


def test_the_driver_runs_networks(request):
    rng = rng_of(request.node.name)
    board = Board(SimulatedLink(rng, FABRIC, stall=0.3))
    fired = []
    # From one program to the next by clearing after an odd number of steps, then by a new session.
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


def check_input_values(rng, board, network, program, values):
    """Run values on the board and compare with the reference, spikes and their values."""
    board.load(program)
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
    """Dense and sparse values of different widths, and some that are 0 or 1."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(CORE, value_width=9, v_width=16, accumulator_width=26)
    fabric = mesh_of(2, 1, core=core) if mesh else FabricConfig(core=core)
    board = Board(SimulatedLink(rng, fabric, stall=0.1))
    fired = 0
    for low, high, density in ((-8, 8, 0.9), (0, 256, 1.0), (-256, 256, 0.05), (0, 2, 0.5), (0, 1, 0.0)):
        network = dataclasses.replace(random_network(rng, core, inputs=20), input_value_width=9)
        program = place(network, fabric, observe=[p.name for p in network.populations])
        values = rng.integers(low, high, (4, 2, 20)) * (rng.random((4, 2, 20)) < density)
        fired += check_input_values(rng, board, network, program, values)
        stream = board.stream()
        for step in range(3):
            stream.send(values[step, 0])
        steps = stream.finish()
        alone = np.concatenate([values[:3, :1], np.zeros((1, 1, 20), int)])
        expected = simulate(network, alone).spikes[network.output][:, 0]
        assert np.array_equal([step.spikes[: expected.shape[1]] for step in steps], expected)
    assert fired > 0
    with pytest.raises(ValueError, match=r"^values must be from -256 to 255, not 256$"):
        board.run(np.full((1, 1, 20), 256))


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
    assert check_input_values(rng, board, network, program, values) > 0


def test_values_come_back(request):
    """Of graded spikes, in every population, and 1 is one of them."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(CORE, value_width=6, accumulator_width=24)
    board = Board(SimulatedLink(rng, FabricConfig(core=core), stall=0.1))
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
    """Axons of 17 bits inside the core, 16 at most for the host; slots that do not follow the neurons' numbers."""
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
    """Several tiles that the host sends to and hears from."""
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
