"""Programs whose input comes from a chip and whose output goes to one: who is waited for, and what is refused."""

import re

import numpy as np
import pytest
from harness.fabric import SMALL
from harness.networks import random_network, rng_of

from spikeloom.compiler.aer_ports import AerInput, AerOutput
from spikeloom.compiler.bake import bake
from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.dependencies import uniform_rates
from spikeloom.compiler.place import place
from spikeloom.explore.cost import explain
from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.lib.words import unpack_lanes
from spikeloom.sim.network.population import INPUT
from spikeloom.sim.noc.mesh import MeshParameters

GIVE = AerTileParameters(direction=AerDirection.INPUT, address_width=4, depth=8)
TAKE = AerTileParameters(direction=AerDirection.OUTPUT, address_width=4, depth=8)
FABRIC = FabricConfig(name="ports", tiles=(None, SMALL, GIVE, SMALL, TAKE), mesh=MeshParameters(columns=3, rows=2))


def network_of(name, **options):
    return random_network(rng_of(name), SMALL, inputs=12, sizes=(10, 8), **options)


def placed(network, **options):
    ports = {"input_from": AerInput(tile=2, step_cycles=77), "output_to": AerOutput(tile=4, patience=99)}
    return place(network, FABRIC, tiles=2, **{"observe": [INPUT]} | ports | options)


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


def test_tables(request):
    addresses = tuple(rng_of(request.node.name).permutation(16)[:12].tolist())
    program = placed(network_of(request.node.name), input_from=AerInput(tile=2, addresses=addresses))
    for tile, before, after in (
        (2, np.array(addresses), program.input_axons),
        (4, program.output_axons[:8], np.arange(8)),
    ):
        (words,) = (image.words for image in program.memories if image.tile == tile)
        port = FABRIC.tiles_of(AerTileParameters)[tile]
        values = port.table_layout.values(unpack_lanes(words, 1, port.table.width))
        assert values["value"][before].tolist() == after.tolist()
        assert values["known"].sum() == len(before)


def test_ports_of_a_program_in_the_bitstream_wait_for_the_host(request):
    """A port takes events once its ``sources`` are written; before a program is loaded it must not."""
    program = placed(network_of(request.node.name))
    baked = bake(program)
    for tile in (2, 4):
        contents = baked.tiles_of(AerTileParameters)[tile].contents
        assert "sources" not in contents.registers
        assert "tick_destinations" in contents.registers
        (words,) = (image.words for image in program.memories if image.tile == tile)
        assert list(contents.memories[1]) == [int.from_bytes(word.tobytes(), "little") for word in words]
    assert all("sources" in core.contents.registers for core in baked.cores.values())


def test_flows(request):
    network = network_of(request.node.name)
    rates = uniform_rates(network)
    flows = {(flow.name, flow.source): flow for flow in explain(placed(network), rates).flows}
    assert flows[INPUT, 2].sinks >= {0}
    assert (INPUT, 0) not in flows
    assert any(4 in flow.sinks for (name, _), flow in flows.items() if name.startswith("layer1"))
    assert flows["TICK", 4].sinks == {0}


def test_refuses(request):
    network = network_of(request.node.name)
    silent = network_of(request.node.name, readout=True)
    wide = random_network(rng_of(request.node.name), SMALL, inputs=12, sizes=(10, 9))
    for make, message in (
        (
            lambda: placed(network, input_from=None),
            "the input can be observed only where a tile brings it, such as an AER tile",
        ),
        (lambda: placed(network, input_from=AerInput(tile=4)), "tile 4 must be an AER input of the fabric ports"),
        (lambda: placed(network, output_to=AerOutput(tile=1)), "tile 1 must be an AER output of the fabric ports"),
        (
            lambda: placed(silent),
            f"population {silent.output} must have plain spikes, not values, to go to an AER tile",
        ),
        (
            lambda: placed(wide),
            "population layer1 must have at most 8 neurons, as many events as wait in tile 4, not 9",
        ),
        (
            lambda: placed(network, input_from=AerInput(tile=2, addresses=tuple(range(5, 17)))),
            f"network {network.name}, tile 2: addresses must be from 0 to 15, not 5 to 16",
        ),
        (
            lambda: placed(network, output_to=AerOutput(tile=4, addresses=(1,))),
            f"network {network.name}, tile 4: addresses must be as many as axons, 8, not 1",
        ),
    ):
        with pytest.raises(PlaceError, match=f"^{re.escape(message)}$"):
            make()
