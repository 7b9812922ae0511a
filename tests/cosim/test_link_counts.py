"""Router counters of a mesh, link by link, equal the model: spikes and tokens along their routes."""

from dataclasses import replace

import pytest
from harness.compiled import BUILD
from harness.fabric import SMALL, mesh_of, random_program
from harness.networks import random_network, random_spikes, rng_of

from spikeloom.compiler import dependencies
from spikeloom.compiler.place import place
from spikeloom.explore.cost import explain, measured_rates
from spikeloom.report.traffic import Traffic
from spikeloom.runners.compare import compare
from spikeloom.runners.compiled import CompiledRunner
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.reference import simulate
from spikeloom.sim.noc.mesh import Port
from spikeloom.simulators.compiled import Pauses

STEPS, SAMPLES = 6, 4


def counting(fabric):
    return FabricConfig(name=fabric.name, tiles=fabric.tiles, mesh=replace(fabric.mesh, counters=True))


FABRIC = counting(mesh_of(3, 2))


def expected(program, network, spikes):
    """Packets on each link in the whole run, by the model."""
    traffic = Traffic.of(program.fabric.mesh, explain(program, measured_rates(network, spikes)))
    return {link: round(packets * STEPS * SAMPLES) for link, packets in traffic.packets.items()}


def counted(program, spikes, **options):
    result = CompiledRunner(program, BUILD, **options).run(spikes)
    return result, {link: count.packets for link, count in result.links.items() if count.packets}


def test_every_link_of_random_networks(request):
    rng = rng_of(request.node.name)
    links, waited, multicast = set(), 0, 0
    for _ in range(12):
        network, program = random_program(rng, FABRIC)
        spikes = random_spikes(rng, STEPS, SAMPLES, network.inputs)
        pauses = Pauses(stall=float(rng.choice([0.0, 0.5, 0.9])), seed=int(rng.integers(1, 1 << 40)))
        result, packets = counted(program, spikes, pauses=pauses)
        wanted = expected(program, network, spikes)
        assert packets == wanted
        assert not compare(simulate(network, spikes), result)[1]
        links |= set(wanted)
        waited += sum(count.waits for count in result.links.values())
        flows = explain(program, measured_rates(network, spikes)).flows
        multicast += any(len(flow.sinks) > 1 and flow.name not in dependencies.TOKENS for flow in flows)
    assert len(links) > 0.8 * len(FABRIC.mesh.links)
    assert {port for _, port in links} == set(Port)
    assert waited > 100
    assert multicast > 5


def test_a_sum_over_copies(request):
    """Two copies of the design share the samples."""
    rng = rng_of(request.node.name)
    network = random_network(rng, SMALL, inputs=12, sizes=(20, 16, 8))
    program = place(network, FABRIC, tiles=3)
    spikes = random_spikes(rng, STEPS, SAMPLES, network.inputs)
    _, packets = counted(program, spikes, workers=2)
    assert packets == expected(program, network, spikes)


def test_a_link_that_the_model_forgets_is_found(request, monkeypatch):
    rng = rng_of(request.node.name)
    network = random_network(rng, SMALL, inputs=12, sizes=(20, 16, 8))
    program = place(network, FABRIC, tiles=3)
    spikes = random_spikes(rng, STEPS, SAMPLES, network.inputs)
    _, packets = counted(program, spikes)
    monkeypatch.setattr(dependencies, "TOKENS", ("TICK",))
    with pytest.raises(ValueError, match=r"^zip\(\)"):
        expected(program, network, spikes)
    monkeypatch.undo()
    wanted = expected(program, network, spikes)
    link = max(wanted, key=wanted.__getitem__)
    assert packets == wanted
    assert packets != wanted | {link: wanted[link] - 1}


def test_a_fabric_that_does_not_count(request):
    rng = rng_of(request.node.name)
    fabric = mesh_of(2, 1)
    network, program = random_program(rng, fabric)
    assert CompiledRunner(program, BUILD).run(random_spikes(rng, 2, 2, network.inputs)).links == {}
