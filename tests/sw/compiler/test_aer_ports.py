"""Programs with input from a chip and output to a chip: dependencies between tiles, and traffic."""

from harness.aer_ports import network_of, placed

from spikeloom.compiler.dependencies import uniform_rates
from spikeloom.explore.cost import explain
from spikeloom.sim.network.population import INPUT


def test_relations(request):
    program = placed(network_of(request.node.name))
    of = {(tile, name): value for tile, name, value in program.registers}
    output_tile = max(program.assignment.tile_of.values(), key=lambda t: t == program.assignment.tile_of["layer1"])
    inputs = of[2, "spike_destinations"]
    assert inputs & 1, "the host gets what comes in"
    assert inputs >> 1, "and tiles that are given the input"
    assert of[0, "spike_destinations"] == 0
    assert of[0, "tick_destinations"] >> 2 & 1, "the host gives the beat"
    assert (of[2, "sources"], of[2, "ack_destinations"], of[2, "tick_destinations"]) == (1, 1, inputs)
    assert (of[4, "sources"], of[4, "ack_destinations"]) == (1, 1 << output_tile)
    assert (of[4, "sinks"], of[4, "tick_destinations"]) == (1, 1)
    assert (of[2, "step_cycles"], of[4, "patience"]) == (77, 99)
    assert of[output_tile, "tick_destinations"] & 0b10001 == 0b10001, "the output goes to the chip and the host"
    assert of[0, "sources"] == bin(of[0, "ack_destinations"]).count("1")
    assert program.observed == (("layer1", 8), (INPUT, 12))
    assert program.output_axons[8:].tolist() == program.input_axons.tolist()
    assert not set(program.output_axons[:8]) & set(program.input_axons)


def test_flows(request):
    network = network_of(request.node.name)
    rates = uniform_rates(network)
    flows = {(flow.name, flow.source): flow for flow in explain(placed(network), rates).flows}
    assert flows[INPUT, 2].sinks >= {0}
    assert (INPUT, 0) not in flows
    assert any(4 in flow.sinks for (name, _), flow in flows.items() if name.startswith("layer1"))
    assert flows["TICK", 4].sinks == {0}
