"""Cost of a placement: work, traffic, the sentence about the limit, and the tables."""

import io
from dataclasses import replace

import numpy as np
import pytest
from harness.aer_ports import network_of, placed
from harness.chains import chain
from harness.fabric import SMALL, mesh_of
from harness.networks import random_network, random_spikes, rng_of
from rich.console import Console

from spikeloom.boards.families.device import DEVICES
from spikeloom.boards.sizing.choose import choose_fabric
from spikeloom.compiler.dependencies import TOKENS, uniform_rates
from spikeloom.compiler.place import place
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.compiler.work import TileWork
from spikeloom.datasets.shipped import shipped
from spikeloom.explore.cost import Explanation, explain, measured_rates, tables
from spikeloom.frontends.nir import load
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.population import INPUT
from spikeloom.sim.network.reference import simulate
from spikeloom.sim.noc.mesh import Port


def work(tile, cycles):
    return TileWork(tile=tile, parts=(), events=0.0, words_added=cycles, words_updated=0)


def shown(found):
    console = Console(width=200, file=io.StringIO())
    console.print(*found)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("links", "cycles", "limit"),
    [
        ({}, 1500, "tile 2 limits the throughput, with 1,500 cycles per step"),
        (
            {(1, Port.LOCAL): 5.0, (0, Port.EAST): 7.4},
            1500,
            "tile 2 limits the throughput, with 1,500 cycles per step; the busiest link, from tile 0 to the east, "
            "moves 7 packets per step",
        ),
        ({(1, Port.LOCAL): 2000.0}, 2000, "the link into tile 1 limits the throughput, with 2,000 packets per step"),
    ],
)
def test_the_slowest_of_tiles_and_links_decides(links, cycles, limit):
    found = Explanation(work=(work(1, 10), work(2, 1500)), flows=(), links=links)
    assert (found.cycles, found.limit) == (cycles, limit)


def test_rates_are_those_of_the_reference(request):
    rng = rng_of(request.node.name)
    network = random_network(rng, SMALL)
    spikes = random_spikes(rng, 6, 4, network.inputs)
    rates = measured_rates(network, spikes)
    fired = simulate(network, spikes).spikes
    assert set(rates) == {INPUT, *fired}
    for name, of in ({INPUT: spikes} | fired).items():
        counted = [sum(of[t, b, n] for t in range(6) for b in range(4)) / 24 for n in range(of.shape[2])]
        assert rates[name] == pytest.approx(counted)
    assert 0 < rates[INPUT].mean() < 1


def test_links_carry_all_that_flows_over_them(request):
    network = random_network(rng_of(request.node.name), SMALL)
    program = place(network, mesh_of(2, 2), tiles=3)
    found = explain(program, uniform_rates(network))
    mesh = program.fabric.mesh
    for link, packets in found.links.items():
        crossing = [f for f in found.flows if link in mesh.route(f.source, mesh.destinations(f.sinks)).links]
        assert packets == pytest.approx(sum(flow.packets for flow in crossing))
    assert [work.tile for work in found.work] == sorted(program.assignment.tiles)
    assert sum(work.words_updated for work in found.work) > 0


def test_one_core_has_work_and_no_links():
    network = chain(4, 6, 3, v_width=12)
    program = place(network, FabricConfig(core=SMALL))
    found = explain(program, {INPUT: np.full(4, 0.5), "a": np.full(6, 0.25), "b": np.zeros(3)})
    assert found.links == {}
    (only,) = found.work
    assert found.cycles == only.cycles == 2.0 * 3 + 1.5 * 2 + 5 + 2 * 16
    (table,) = tables(program, found)
    text = shown([table])
    assert "net on fabric custom" in text
    assert "mesh" not in text


def test_ports_take_part_in_the_flows_and_cost_nothing(request):
    network = network_of(request.node.name)
    found = explain(placed(network), uniform_rates(network))
    assert not {2, 4} & {work.tile for work in found.work}
    assert any(flow.source == 2 and flow.name == INPUT for flow in found.flows)


def test_tables_name_every_tile_part_and_flow(request):
    network = random_network(rng_of(request.node.name), SMALL)
    program = place(network, mesh_of(2, 2), tiles=2)
    found = explain(program, uniform_rates(network))
    text = shown(tables(program, found))
    assert "random on fabric 2x2, a mesh of 2 x 2" in text
    for part in program.assignment.parts.parts:
        assert part.name in text
    for flow in found.flows:
        if flow.name not in TOKENS:
            assert f"{flow.packets:,.1f}" in text
    tokens = sum(flow.packets for flow in found.flows if flow.name in TOKENS)
    (row,) = [line for line in text.splitlines() if line.strip().startswith("all tokens")]
    assert f"{tokens:,.1f}" in row
    assert " host " in text


@pytest.mark.parametrize(
    ("name", "device", "gain"),
    [("mnist-mlp", "LFE5U-85F", 6), ("mnist-mlp-128", "LFE5U-85F", 6), ("digits-mlp", "LFE5U-12F", 2)],
)
def test_general_fabrics_hold_what_one_word_per_cycle_holds_and_are_faster(name, device, gain):
    """Shipped networks on a general fabric, and on the smaller core with one word per cycle that it replaces."""
    network = quantise(load(shipped(f"{name}.nir")), Quantisation(weight_width=8, v_width=18))
    wide = choose_fabric(DEVICES[device], filled=True).core
    neurons = {"LFE5U-85F": 512, "LFE5U-12F": 256}[device]
    narrow = replace(wide, words_per_cycle=1, accumulator_memory="block", neurons=neurons, axons=4 * neurons)
    words = {}
    for core in (narrow, wide):
        (tile,) = explain(place(network, FabricConfig(core=core)), uniform_rates(network)).work
        words[core] = tile.words_added
    assert words[narrow] > gain * words[wide]
