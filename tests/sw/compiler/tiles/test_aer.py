"""AER tiles: tables and registers, and networks that a port cannot carry."""

import re

import numpy as np
import pytest
from harness.aer_ports import FABRIC, network_of, placed
from harness.networks import rng_of

from spikeloom.compiler.aer_ports import AerInput, AerOutput
from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.dependencies import uniform_rates
from spikeloom.compiler.place import placement_of
from spikeloom.compiler.tiles.aer import AerCompiler
from spikeloom.sim.aer.parameters import AerTileParameters
from spikeloom.sim.lib.words import unpack_lanes


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


def test_sources_are_written_last(request):
    """A port takes events once it has sources, so everything else must be written before."""
    program = placed(network_of(request.node.name))
    placement = placement_of(program)
    for tile in (2, 4):
        compiler = AerCompiler(placement, tile)
        names = [name for name, _ in compiler.registers()]
        assert names[-1] == "sources"
        assert names[0] == "patience"
        assert ("step_cycles" in names) == ("spike_destinations" in names) == (tile == 2)
        written = [(name, value) for number, name, value in program.registers if number == tile]
        assert list(compiler.registers()) == written


@pytest.mark.parametrize("observe", [[], ["input"]])
def test_events_go_to_what_the_input_leads_to(request, observe):
    program = placed(network_of(request.node.name), observe=observe)
    placement = placement_of(program)
    registers = dict(AerCompiler(placement, 2).registers())
    wanted = {placement.tile_of[name] for name in placement.network.sinks("input")} | ({0} if observe else set())
    assert registers["spike_destinations"] == sum(1 << tile for tile in wanted)


def test_it_takes_nothing_of_its_tile_and_costs_no_cycles(request):
    network = network_of(request.node.name)
    compiler = AerCompiler(placement_of(placed(network)), 2)
    assert compiler.uses == ()
    assert compiler.work(uniform_rates(network)) is None


def test_refuses(request):
    network = network_of(request.node.name)
    silent = network_of(request.node.name, readout=True)
    wide = network_of(request.node.name, sizes=(10, 9))
    for make, message in (
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
            f"network {network.name}, tile 4: addresses must have one entry per axon, 8, not 1",
        ),
    ):
        with pytest.raises(PlaceError, match=f"^{re.escape(message)}$"):
            make()
