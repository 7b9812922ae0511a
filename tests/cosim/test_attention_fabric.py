"""An attention tile between cores on a mesh, compiled: every output spike equals the reference."""

from dataclasses import replace

import numpy as np
import pytest
from harness.attention_fabric import ANOTHER, NAME, SOURCES, fabric_of, random_attention_network
from harness.fabric import tiles_library
from harness.networks import random_spikes, rng_of

from spikeloom.compiler.place import place
from spikeloom.host.protocols import DriverError
from spikeloom.host.results import StepCollector
from spikeloom.runners.compare import compare
from spikeloom.runners.runner import RunResult, by_population
from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.attention.parameters import AttentionTileParameters
from spikeloom.sim.network.reference import simulate
from spikeloom.simulators.compiled import CompiledSimulator, Pauses

FABRICS = {
    "one head": fabric_of(AttentionParameters(tokens=4, features=4, rows=2)),
    "two, of two heads": fabric_of(
        AttentionParameters(tokens=4, features=2, heads=2, rows=4), units=(3, 5), columns=3, queue_depth=0
    ),
}


def random_pauses(rng):
    idle, stall = (float(rng.choice([0.0, 0.3, 0.9])) for _ in range(2))
    return Pauses(idle=idle, stall=stall, seed=int(rng.integers(1, 1 << 40)))


def random_case(rng, fabric):
    parameters, *more = fabric.tiles_of(AttentionTileParameters).values()
    network = random_attention_network(rng, parameters.attention, count=1 + len(more))
    observe = tuple(name for name in (*SOURCES, NAME, ANOTHER) if rng.random() < 0.5)
    return network, place(network, fabric, observe=observe), random_spikes(rng, 6, 4, network.inputs)


def run(program, spikes, pauses, *, random_start=None):
    """The output, and the number of steps that each core has finished."""
    steps, samples, _ = spikes.shape
    library = tiles_library(program.fabric)
    with CompiledSimulator(library, pauses=pauses, timeout_cycles=20_000, random_start=random_start) as simulator:
        simulator.load(program)
        simulator.feed(spikes, program.input_axons)
        simulator.advance(steps * samples)
        simulator.finish()
        collector = StepCollector(program, steps, samples)
        collector.take(simulator.take())
        done = [simulator.read_register("steps", tile=tile) for tile in program.fabric.cores]
    return RunResult(**by_population(program, [collector.result()])), done


@pytest.mark.parametrize("name", FABRICS)
def test_every_spike(request, name):
    rng, fabric = rng_of(request.node.name), FABRICS[name]
    compared, attended, loops, shown = 0, 0, 0, 0
    for _ in range(15):
        network, program, spikes = random_case(rng, fabric)
        reference = simulate(network, spikes)
        start = int(rng.integers(1, 1 << 30))
        result, steps = run(program, spikes, random_pauses(rng), random_start=start)
        found, mismatches = compare(reference, result)
        assert not mismatches
        assert set(steps) <= {6 * 4, 0}
        compared += found
        attended += 0 < reference.spikes[NAME].mean() < 1
        loops += any(c.delay and c.source == NAME for c in network.connections)
        shown += NAME in result.spikes
    assert compared > 2000
    assert min(attended, loops, shown) > 5


def with_registers(change):
    """The program with other registers of its attention tile."""

    def changed(program, tile):
        values = {name: value for number, name, value in program.registers if number == tile}
        others = (register for register in program.registers if register[0] != tile)
        return replace(program, registers=(*others, *((tile, *item) for item in (values | change(values)).items())))

    return changed


def with_routes(change):
    """The program with other output axons of its attention tile."""

    def changed(program, tile):
        memories = (
            replace(image, words=change(image.words)) if image.tile == tile else image for image in program.memories
        )
        return replace(program, memories=tuple(memories))

    return changed


BUGS = {
    "the seed": with_registers(lambda values: {"score_seed": values["score_seed"] ^ 1}),
    "Q and K": with_registers(lambda values: {"query_page": values["key_page"], "key_page": values["query_page"]}),
    "K and V": with_registers(lambda values: {"key_page": values["value_page"], "value_page": values["key_page"]}),
    "who may see whom": with_registers(lambda values: {"causal": 1 - values["causal"]}),
    "the axons that come out": with_routes(lambda words: np.roll(words, 1, axis=0)),
}


@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_are_found(request, bug):
    rng, fabric = rng_of(request.node.name), FABRICS["one head"]
    (tile,) = fabric.tiles_of(AttentionTileParameters)
    for _ in range(4):
        network, program, spikes = random_case(rng, fabric)
        try:
            result, _ = run(BUGS[bug](program, tile), spikes, Pauses())
        except DriverError:  # axons that no tile has
            return
        _, mismatches = compare(simulate(network, spikes), result)
        if mismatches:
            return
    raise AssertionError("nothing was wrong")
