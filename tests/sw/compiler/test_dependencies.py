"""Direct and delayed dependencies between tiles, and the traffic between them."""

import re
from dataclasses import replace

import numpy as np
import pytest
from harness.aer_ports import network_of
from harness.chains import Gate, chain, connection, graded, network, relay
from harness.cores import EXACT
from harness.networks import random_network, rng_of
from harness.parts import random_cuts

from spikeloom.compiler.aer_ports import AerInput, AerOutput
from spikeloom.compiler.dependencies import (
    TOKENS,
    Dependencies,
    DependencyError,
    Flow,
    flows_of,
    senders_of,
    uniform_rates,
)
from spikeloom.compiler.partition import split
from spikeloom.sim.core.neuron import NeuronParameters
from spikeloom.sim.network.network import QuantisedConnection
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
from spikeloom.sim.network.sparse import SparseMatrix

CORE = EXACT
LOOP = network(
    [relay("a"), relay("b"), relay("c")],
    [
        connection(INPUT, "a"),
        connection("a", "b"),
        connection("b", "c"),
        connection("c", "a", delay=1),
        connection("b", "b", delay=1),
        connection("c", "b", delay=1),
    ],
)


def dependencies(net, tile_of, observed, **ports):
    found = Dependencies.of(split(net, {}), tile_of, observed, **ports)
    return set(found.direct), set(found.delayed), set(found.inputs)


def test_direct_and_delayed_by_hand():
    assert dependencies(LOOP, {"a": 1, "b": 2, "c": 3}, ["c"]) == (
        {(0, 1), (1, 2), (2, 3), (3, 0)},
        {(3, 1), (3, 2)},
        {1},
    )


def test_two_tiles_can_have_both_relations():
    direct, delayed, _ = dependencies(LOOP, {"a": 1, "b": 1, "c": 2}, ["c"])
    assert (1, 2) in direct
    assert delayed == {(2, 1)}, "within a tile there is none"


def test_a_tile_without_a_direct_source_has_the_host():
    net = network(
        [relay("a"), relay("b")], [connection(INPUT, "a"), connection("a", "b", delay=1), connection("b", "a", delay=1)]
    )
    direct, delayed, inputs = dependencies(net, {"a": 1, "b": 2}, ["b"])
    assert direct == {(0, 1), (0, 2), (2, 0)}
    assert (delayed, inputs) == ({(1, 2), (2, 1)}, {1})


def test_ports_stand_between_the_host_and_the_network():
    direct, _, inputs = dependencies(
        chain(2, 3, 3), {"a": 1, "b": 2}, ["b", INPUT], input_from=AerInput(tile=5), output_to=AerOutput(tile=6)
    )
    assert direct == {(0, 5), (5, 1), (5, 0), (1, 2), (2, 0), (2, 6), (6, 0)}
    assert inputs == {1}


def test_a_unit_receives_its_sources():
    net = network(
        [relay("a"), relay("b")],
        [connection(INPUT, "a"), connection("gate", "b")],
        units=(Gate("gate", (INPUT, "a")),),
    )
    tile_of = {"a": 1, "b": 2, "gate": 3}
    assert dependencies(net, tile_of, ["b"])[0] == {(0, 1), (0, 3), (1, 3), (3, 2), (2, 0)}


def test_sources_and_sinks_of_a_tile():
    found = Dependencies.of(split(LOOP, {}), {"a": 1, "b": 2, "c": 3}, ["c"])
    assert (found.sources(2), found.sinks(2)) == ({1}, {3})
    assert (found.sources(2, delayed=True), found.sinks(2, delayed=True)) == ({3}, set())
    assert (found.sources(0), found.sinks(0)) == ({3}, {1})


@pytest.mark.parametrize(
    ("tile_of", "message"),
    [
        (
            {"a": 1, "b": 2, "c": 1},
            "tile 1 (a, c) waits for tile 2, tile 2 (b) waits for tile 1",
        ),
        (
            {"a": 4, "b": 2, "c": 3, "d": 4, "e": 5},
            "tile 2 (b) waits for tile 4, tile 4 (a, d) waits for tile 3, tile 3 (c) waits for tile 2",
        ),
    ],
)
def test_a_circle_is_named_tile_by_tile(tile_of, message):
    start = "layers may share a tile only if nothing between them lies elsewhere, and in one step "
    with pytest.raises(DependencyError, match=f"^{re.escape(start + message)}$"):
        dependencies(chain(2, *[2] * len(tile_of)), tile_of, [])


def reaches_itself(pairs):
    """Whether following ``pairs`` from some tile leads back to it."""
    tiles = {tile for pair in pairs for tile in pair}
    for start in tiles:
        seen, ahead = set(), {start}
        while ahead:
            ahead = {sink for source, sink in pairs if source in ahead} - seen
            seen |= ahead
        if start in seen:
            return True
    return False


def test_parts_anywhere_against_a_plain_search(request):
    """An assignment is refused exactly if a tile would wait for itself; otherwise there is a pair for each connection
    between tiles."""
    rng = rng_of(request.node.name)
    counts = {True: 0, False: 0}
    for _ in range(60):
        net = random_network(rng, CORE, sizes=(5, 4, 4))
        parts = split(net, *random_cuts(rng, net, most=2))
        tile_of = {part.name: int(rng.integers(1, 5)) for part in parts.parts}
        pairs = {0: set(), 1: set()}
        for c in parts.network.connections:
            if c.source != INPUT and tile_of[c.source] != tile_of[c.target]:
                pairs[c.delay].add((tile_of[c.source], tile_of[c.target]))
        circle = reaches_itself(pairs[0])
        counts[circle] += 1
        if circle:
            with pytest.raises(DependencyError):
                Dependencies.of(parts, tile_of, [])
            continue
        found = Dependencies.of(parts, tile_of, [])
        assert {pair for pair in found.direct if 0 not in pair} == pairs[0]
        assert found.delayed == pairs[1]
        assert all(found.sources(tile) for tile in set(tile_of.values())), "each tile is told when a step begins"
    assert min(counts.values()) > 5


def test_rates_of_what_can_spike():
    silent = QuantisedPopulation(name="c", parameters=NeuronParameters(size=3, spiking=False))
    net = replace(chain(2, 3, 3), populations=(*chain(2, 3, 3).populations, silent))
    rates = uniform_rates(net, 0.25)
    assert {name: rate.tolist() for name, rate in rates.items()} == {
        INPUT: [0.25] * 2,
        "a": [0.25] * 3,
        "b": [0.25] * 3,
        "c": [0.0] * 3,
    }
    assert uniform_rates(net)["a"][0] == 0.1


def test_neurons_that_lead_to_no_other_tile_stay_silent():
    """Columns of a pruned matrix: neuron 1 leads nowhere, neuron 2 only to its own tile."""
    base = chain(1, 3, 2, 2)
    pruned = [
        connection_of("a", "b", [[0, 0, 1], [0, 0, 1]]),
        connection_of("a", "c", [[1, 0, 0], [0, 0, 0]]),
    ]
    net = replace(base, connections=(base.connections[0], *pruned, base.connections[2]))
    tile_of = {"a": 1, "b": 1, "c": 2}
    sparse = [c.fan_out.tolist() for c in net.connections_from("a")]
    assert sparse == [[0, 0, 2], [1, 0, 0]]
    assert senders_of(net, "a", tile_of, []).tolist() == [True, False, False]
    assert senders_of(net, "a", tile_of | {"c": 1}, []).tolist() == [False] * 3
    assert senders_of(net, "a", tile_of | {"c": 1}, ["a"]).tolist() == [True] * 3, "the host receives all"


def connection_of(source, target, matrix):
    """A sparse connection: entries that are not set are not synapses."""
    return QuantisedConnection(source=source, target=target, weight=SparseMatrix.from_dense(np.array(matrix)))


def test_a_unit_receives_all_of_its_sources():
    net = network([relay("a"), graded("b")], [connection(INPUT, "a")], units=(Gate("gate", ("a",)),))
    assert senders_of(net, "a", {"a": 1, "b": 1, "gate": 2}, []).tolist() == [True]
    assert senders_of(net, "b", {"a": 1, "b": 1, "gate": 2}, []).tolist() == [False]
    assert senders_of(net, "gate", {"a": 1, "b": 1, "gate": 2}, []).tolist() == [True]


def test_flows_by_hand():
    net = chain(4, 3, 2)
    rates = {INPUT: np.array([0.5] * 4), "a": np.array([0.1, 0.2, 0.3]), "b": np.array([1.0, 0.0])}
    flows = flows_of(split(net, {}), {"a": 1, "b": 2}, ["b"], rates)
    spikes = [flow for flow in flows if flow.name not in TOKENS]
    assert spikes == [
        Flow(name=INPUT, source=0, sinks=frozenset({1}), packets=2.0),
        Flow(name="a", source=1, sinks=frozenset({2}), packets=pytest.approx(0.6)),
        Flow(name="b", source=2, sinks=frozenset({0}), packets=1.0),
    ]
    tokens = [(flow.name, flow.source, set(flow.sinks)) for flow in flows if flow.name in TOKENS]
    assert tokens == [
        ("TICK", 0, {1}),
        ("ACK", 0, {2}),
        ("TICK", 1, {2}),
        ("ACK", 1, {0}),
        ("TICK", 2, {0}),
        ("ACK", 2, {1}),
    ]
    assert {flow.packets for flow in flows if flow.name in TOKENS} == {1.0}


def test_membranes_flow_in_every_step():
    net = chain(2, 3, 5)
    silent = replace(net.populations[1].parameters, spiking=False)
    net = replace(net, populations=(net.populations[0], QuantisedPopulation(name="b", parameters=silent)))
    flows = flows_of(split(net, {}), {"a": 1, "b": 1}, ["b"], uniform_rates(net))
    assert [(flow.name, flow.packets) for flow in flows[:2]] == [(INPUT, pytest.approx(0.2)), ("b", 5.0)]


def test_each_part_sends_its_own_spikes(request):
    net = network_of(request.node.name)
    parts = split(net, {"layer0": [4]})
    rates = {name: rng_of(name).random(net.size(name)) for name in net.sources}
    tile_of = {part.name: number for number, part in enumerate(parts.parts, 1)}
    ports = {"input_from": AerInput(tile=8), "output_to": AerOutput(tile=9)}
    try:
        flows = {flow.name: flow for flow in flows_of(parts, tile_of, [], rates, **ports)}
    except DependencyError:
        pytest.fail("parts in the order of the network never wait in a circle")
    assert flows[INPUT].source == 8
    for part in parts.parts:
        if part.population == net.output:
            assert 9 in flows[part.name].sinks
        elif part.name in flows:
            sent = senders_of(parts.network, part.name, tile_of, [])
            assert flows[part.name].packets == pytest.approx(rates["layer0"][part.neurons][sent].sum())
    assert len([name for name in flows if name.startswith("layer0")]) == 2
