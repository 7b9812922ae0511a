"""Cores: memory words by name and by hand, resource use, and the work of a step."""

from dataclasses import replace

import numpy as np
import pytest
from harness.chains import chain
from harness.fabric import SMALL, mesh_of
from harness.networks import random_network, random_spatial_network, rng_of

from spikeloom.compiler.mapping import Assignment
from spikeloom.compiler.partition import split
from spikeloom.compiler.place import place, place_assigned, placement_of
from spikeloom.compiler.tiles.core import CoreCompiler
from spikeloom.sim.core.memory_fields import parameter_values, rule_values
from spikeloom.sim.core.row_reader import RowTables
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.lib.words import unpack_lanes
from spikeloom.sim.network.population import INPUT

WITH_TABLES = replace(
    SMALL,
    neurons=512,
    axons=512,
    weight_words=8192,
    coordinate_width=3,
    geometries=64,
    sparse=True,
    accumulator_width=20,
)


def compilers(program):
    placement = placement_of(program)
    return [CoreCompiler(placement, tile) for tile in placement.held]


def decoded(compiler, name):
    """The fields of a memory's words."""
    core = compiler.core
    layout, lanes = {
        "neurons": (core.neuron_layout, core.lanes),
        "routes": (core.route_layout, 1),
        "populations": (core.population_layout, 1),
    }[name]
    return layout.values(unpack_lanes(compiler.memories()[name], lanes, layout.width))


def programs(rng):
    """Programs on one core, on several cores, with coordinates, and with a readout of membranes."""
    for case in range(8):
        network = random_network(rng, SMALL, readout=case % 2 == 0)
        observe = [name for name in ("layer0", "layer1") if rng.random() < 0.5 and network.spikes(name)]
        fabric = FabricConfig(core=SMALL) if case < 3 else mesh_of(2, 2)
        yield network, place(network, fabric, observe=observe, tiles=1 if case < 3 else 2)
    spatial = random_spatial_network(rng, WITH_TABLES, extent=5)
    yield spatial, place(spatial, FabricConfig(core=WITH_TABLES))


def test_neurons_have_their_parameters_and_slots_that_pad_have_none(request):
    padded = 0
    for _, program in programs(rng_of(request.node.name)):
        for compiler in compilers(program):
            found = decoded(compiler, "neurons")
            slots = np.ones(compiler.words * compiler.core.lanes, bool)
            first = 0
            for placed in compiler.held:
                values = parameter_values(compiler.core, placed.population.parameters)
                for name in found:
                    here = found[name][placed.layout.slots]
                    assert np.array_equal(here, np.broadcast_to(values[name], placed.population.size)), name
                assert placed.layout.first_word == first
                slots[placed.layout.slots] = False
                first += placed.layout.words
            padded += slots.sum()
            assert all((values[slots] == 0).all() for values in found.values())
    assert padded > 3


def test_routes_lead_where_spikes_count(request):
    """Back into the core if they have words there; out if another tile or the host receives them."""
    ways, deaf = set(), 0
    for _, program in programs(rng_of(request.node.name)):
        for compiler in compilers(program):
            placement, routes = compiler.placement, decoded(compiler, "routes")
            network, tile_of = placement.network, placement.tile_of
            padding = np.ones(len(routes["send"]), bool)
            for placed in compiler.held:
                slots, name = placed.layout.slots, placed.name
                padding[slots] = False
                local = np.zeros(placed.population.size, bool)
                send = np.full(placed.population.size, name in placement.observed)
                for connection in network.connections_from(name):
                    leads = np.array([any(connection.sum(one)) for one in np.eye(len(slots), dtype=np.int64)])
                    if tile_of[connection.target] == compiler.number:
                        local |= leads
                    else:
                        send |= leads
                # A synapse of weight 0 is walked too, so more may be sent than has an effect.
                assert (routes["local"][slots] >= local).all()
                assert (routes["send"][slots] >= send).all()
                assert not send.any() or set(routes["axon"][slots]) == set(placement.axons[name].tolist())
                silent = not placed.population.parameters.spiking
                assert np.array_equal(routes["membrane"][slots], routes["send"][slots] * silent)
                ways |= set(zip(local.tolist(), send.tolist(), strict=True))
                if not placement.destinations(name) - {compiler.number} and name not in placement.observed:
                    assert not routes["send"][slots].any()
                    deaf += 1
            assert not any(values[padding].any() for values in routes.values())
    assert len(ways) >= 3
    assert deaf


def test_populations_say_their_words_rule_and_destinations(request):
    membranes = several = 0
    for _, program in programs(rng_of(request.node.name)):
        for compiler in compilers(program):
            found, placement = decoded(compiler, "populations"), compiler.placement
            several += len(compiler.held) > 1
            for number, placed in enumerate(compiler.held):
                layout, parameters = placed.layout, placed.population.parameters
                assert found["first"][number] == layout.first_word
                assert found["last"][number] == layout.slots.max() // compiler.core.lanes
                wanted = placement.destinations(placed.name) if program.fabric.mesh else ()
                assert found["destinations"][number] == sum(1 << tile for tile in wanted)
                rule = rule_values(compiler.core, parameters)
                named = [name for name in rule if name in found and name != "readout"]
                assert all(found[name][number] == rule[name] for name in named)
                assert "reset" in named
                read = not parameters.spiking and placed.name in placement.observed
                assert found["readout"][number] == read
                membranes += read
    assert membranes > 2
    assert several > 2


def test_what_it_takes_of_its_tile():
    network = chain(5, 7, 3, v_width=12)
    (compiler,) = compilers(place(network, FabricConfig(core=SMALL)))
    assert compiler.words == 4 + 2
    assert compiler.uses == [
        ("neurons", 12, 64),
        ("rows", 5 + 7, 256),
        ("weight words of 2 weights", 5 * 4 + 7 * 2, 1024),
        ("populations", 2, 16),
    ]
    (compiler,) = compilers(place(chain(5, 7, 3, v_width=12), FabricConfig(core=replace(SMALL, coordinate_width=1))))
    assert compiler.uses[-1][0] == "geometries"


def test_registers_of_a_core_alone_and_on_a_mesh():
    network = chain(5, 7, 3, v_width=12)
    (alone,) = compilers(place(network, FabricConfig(core=SMALL)))
    assert list(alone.registers()) == [("sources", 1), ("sinks", 1), ("populations", 2)]
    assignment = Assignment(parts=split(network, {}), tile_of={"a": 1, "b": 2})
    first, second = compilers(place_assigned(assignment, mesh_of(2, 2)))
    assert dict(first.registers()) == {
        "sources": 1,
        "sinks": 1,
        "tick_destinations": 1 << 2,
        "ack_destinations": 1 << 0,
        "delayed_sources": 0,
        "delayed_sinks": 0,
        "delayed_tick_destinations": 0,
        "delayed_ack_destinations": 0,
        "populations": 1,
    }
    assert dict(second.registers())["tick_destinations"] == 1 << 0


def test_work_is_no_less_than_the_words_that_rows_walk(request):
    """The words of every source neuron, counted by the row reader; an event without any words costs one more."""
    rng = rng_of(request.node.name)
    equal = 0
    for network, program in programs(rng):
        rates = {name: rng.random(network.size(name)) for name in network.sources}
        for compiler in compilers(program):
            images = {name: image for name, image in compiler.memories().items() if name != "weights"}
            rows, placement = RowTables(compiler.core, images), compiler.placement
            words = events = empty = 0.0
            for name, block in placement.blocks.items():
                targets = [c.target for c in placement.network.connections_from(name)]
                into = [target for target in targets if placement.tile_of[target] == compiler.number]
                if not into:
                    continue
                part = None if name == INPUT else placement.parts.part(name)
                rate = rates[INPUT] if part is None else rates[part.population][part.neurons]
                walked = np.array([len(list(rows.words(int(axon)))) for axon in block.axons])
                words += float(rate @ walked)
                empty += float(rate.sum()) * len(into)
                events += float(rate.sum())
            work = compiler.work(rates)
            assert words <= work.words_added * (1 + 1e-9) <= (words + empty) * (1 + 1e-6)
            equal += work.words_added == pytest.approx(words)
            assert work.events == pytest.approx(events)
            assert work.words_updated == compiler.words
            assert work.parts == tuple(placed.name for placed in compiler.held)
    assert equal > 3


def test_work_by_hand():
    network = chain(4, 6, 3, v_width=12)
    (compiler,) = compilers(place(network, FabricConfig(core=SMALL)))
    work = compiler.work({INPUT: np.full(4, 0.5), "a": np.full(6, 0.25), "b": np.zeros(3)})
    assert work.events == 2.0 + 1.5
    assert work.words_added == 2.0 * 3 + 1.5 * 2, "three words of a, two of b"
    assert work.words_updated == 3 + 2


def test_work_of_a_core_that_adds_several_words_per_cycle():
    """Three words of a and two of b, at most two per cycle."""
    network = chain(4, 6, 3, v_width=12)
    core = replace(SMALL, words_per_cycle=2, accumulator_memory="distributed")
    (compiler,) = compilers(place(network, FabricConfig(core=core)))
    work = compiler.work({INPUT: np.full(4, 0.5), "a": np.full(6, 0.25), "b": np.zeros(3)})
    assert work.words_added == 2.0 * 2 + 1.5 * 1
    assert work.words_updated == 3 + 2
