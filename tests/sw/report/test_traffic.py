"""Packets on links: those of all flows, or router counts."""

import pytest
from harness.networks import rng_of
from harness.reports import random_report

from spikeloom.compiler.dependencies import TOKENS, Flow
from spikeloom.explore.cost import Explanation
from spikeloom.report.traffic import Traffic
from spikeloom.sim.network.population import INPUT
from spikeloom.sim.network.reference import simulate
from spikeloom.sim.noc.mesh import LinkCount, MeshParameters, Port

MESH = MeshParameters(columns=3, rows=1)
FLOWS = (
    Flow(name="a", source=0, sinks=frozenset({1, 2}), packets=5.0),
    Flow(name="b", source=2, sinks=frozenset({0}), packets=0.5),
    Flow(name="TICK", source=0, sinks=frozenset({1}), packets=1.0),
)
EXPLANATION = Explanation(work=(), flows=FLOWS, links={})


@pytest.mark.parametrize("number", range(4))
def test_the_links_carry_what_the_spikes_and_tokens_add_up_to(number):
    rng = rng_of(f"report links {number}")
    network, spikes, report = random_report(rng)
    fired = {INPUT: spikes != 0} | simulate(network, spikes).spikes
    given = 0.0
    for flow in report.explanation.flows:
        if flow.name not in TOKENS:
            part = None if flow.name == INPUT else report.program.assignment.parts.part(flow.name)
            of = fired[INPUT] if part is None else fired[part.population][..., part.neurons]
            assert flow.packets <= of.sum(axis=2).mean() + 1e-9
        given += flow.packets * len(flow.sinks)
    local = sum(packets for (_, port), packets in report.traffic.packets.items() if port is Port.LOCAL)
    assert local == pytest.approx(given)
    assert local > 5
    if report.program.fabric.mesh is not None:
        assert report.traffic.packets == pytest.approx(report.explanation.links)


def test_flows_by_hand():
    """A multicast crosses each link once."""
    traffic = Traffic.of(MESH, EXPLANATION)
    assert traffic.packets == {
        (0, Port.EAST): 6.0,
        (1, Port.LOCAL): 6.0,
        (1, Port.EAST): 5.0,
        (2, Port.LOCAL): 5.0,
        (2, Port.WEST): 0.5,
        (1, Port.WEST): 0.5,
        (0, Port.LOCAL): 0.5,
    }
    assert traffic.flows[0, Port.EAST] == (0, 2)
    assert traffic.flows[1, Port.WEST] == (1,)
    assert traffic.waits == {}


def test_what_routers_have_counted_is_taken_instead():
    counted = {(0, Port.EAST): LinkCount(30, 8), (1, Port.EAST): LinkCount(0, 0), (2, Port.WEST): LinkCount(2, 1)}
    traffic = Traffic.of(MESH, EXPLANATION, counted, steps=4)
    assert traffic.packets == {(0, Port.EAST): 7.5, (2, Port.WEST): 0.5}
    assert traffic.waits == {(0, Port.EAST): 2.0, (1, Port.EAST): 0.0, (2, Port.WEST): 0.25}
    assert traffic.flows == Traffic.of(MESH, EXPLANATION).flows
