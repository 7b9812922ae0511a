"""The driver, the host bridge and the tiles together, without UART and link: spikes equal to the reference."""

import dataclasses
from collections import deque

import numpy as np
import pytest
from amaranth.sim import Simulator
from harness.fabric import mesh_of, random_program
from harness.networks import random_network, random_spatial_network, random_spikes, rng_of

from spikeloom.hdl.fabric import Fabric
from spikeloom.sim.core import CoreParameters
from spikeloom.sim.fabric import FabricConfig
from spikeloom.sim.reference import simulate
from spikeloom.sw.driver import Board
from spikeloom.sw.place import place
from spikeloom.sw.transport import LinkError

CORE = CoreParameters(
    lanes=2, neurons=32, axons=128, weight_words=1024, v_width=12, accumulator_width=16, beta_fraction=8
)
FABRIC = FabricConfig(core=CORE)


class SimulatedLink:
    """The bytes of the driver, straight into the simulated bridge; time passes when the driver waits."""

    def __init__(self, rng, fabric=FABRIC, *, stall):
        self.top = Fabric(fabric)
        self.identity = fabric.identity()
        self.rng = rng
        self.stall = stall
        self.outgoing, self.incoming = deque(), bytearray()
        self.cycles = 0
        self.opening = False
        self.simulator = Simulator(self.top)
        self.simulator.add_clock(1e-6)
        self.simulator.add_testbench(self._clock, background=True)

    async def _clock(self, ctx):
        top = self.top
        while True:
            ctx.set(top.reset, self.opening)
            ctx.set(top.receive.valid, bool(self.outgoing) and not self.opening)
            ctx.set(top.receive.payload, self.outgoing[0] if self.outgoing else 0)
            ctx.set(top.transmit.ready, self.rng.random() >= self.stall and not self.opening)
            _, _, taken, given, byte = await ctx.tick().sample(
                top.receive.valid & top.receive.ready, top.transmit.valid & top.transmit.ready, top.transmit.payload
            )
            self.opening = False
            if taken:
                self.outgoing.popleft()
            if given:
                self.incoming.append(byte)

    def _pass(self, cycles):
        self.cycles += cycles
        self.simulator.run_until(self.cycles * 1e-6)

    def open(self):
        self.outgoing.clear()
        self.opening = True
        self._pass(2)
        self.incoming.clear()
        return self.identity

    def send(self, data):
        self.outgoing.extend(data)
        while len(self.outgoing) > 64:
            self._pass(50)

    def receive(self, minimum=1, *, timeout_s=None):
        for _ in range(200):
            if len(self.incoming) >= minimum:
                break
            self._pass(50)
        else:
            raise LinkError("nothing has come for 10000 cycles")
        data = bytes(self.incoming)
        self.incoming.clear()
        return data

    def poll(self):
        return self.receive(0)


def test_the_driver_runs_networks(request):
    rng = rng_of(request.node.name)
    board = Board(SimulatedLink(rng, stall=0.3))
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


@pytest.mark.parametrize("shape", [(2, 1), (2, 2)])
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
