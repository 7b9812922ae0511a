"""AER tiles between cores on a mesh, compiled, with chips at their wires that run at their own pace.

Events arrive at random times. The host therefore observes which events the input tile has put into which step. With
these events, the reference must give every spike of every population, and every address that the other chip gets.
"""

import functools

import numpy as np
from harness.aer import ADDRESS, CHIPS, WiredTiles, random_script
from harness.compiled import BUILD
from harness.fabric import SMALL
from harness.networks import random_network, rng_of
from harness.streams import can_be_cut

from spikeloom.compiler.aer_ports import AerInput, AerOutput
from spikeloom.compiler.place import place
from spikeloom.host.results import StepCollector
from spikeloom.runners.runner import RunResult, by_population
from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.population import INPUT
from spikeloom.sim.network.reference import simulate
from spikeloom.sim.noc.mesh import MeshParameters
from spikeloom.simulators.build import compile_design
from spikeloom.simulators.compiled import CompiledSimulator, Pauses

INPUTS, OUTPUTS = 12, 10
STEPS, SAMPLES = 8, 3


FABRIC = FabricConfig(
    name="aer",
    tiles=(
        None,
        SMALL,
        AerTileParameters(direction=AerDirection.INPUT, address_width=5, depth=8),
        SMALL,
        AerTileParameters(
            direction=AerDirection.OUTPUT, address_width=6, depth=16, active_low=True, stages=3, setup_cycles=2
        ),
    ),
    mesh=MeshParameters(columns=3, rows=2),
)


@functools.cache
def library():
    return compile_design(WiredTiles(FABRIC), BUILD).library


def run(rng, step_cycles):
    """Run and check a random network on the fabric; return the interesting properties."""
    network = random_network(rng, SMALL, inputs=INPUTS, sizes=(14, 12, OUTPUTS))
    addresses, to_chip = (tuple(map(int, rng.permutation(1 << width)[:n])) for width, n in ((5, INPUTS), (6, OUTPUTS)))
    (give, take), every = FABRIC.tiles_of(AerTileParameters), [INPUT, *(p.name for p in network.populations)]
    program = place(
        network,
        FABRIC,
        tiles=int(rng.integers(1, 3)),
        seed=int(rng.integers(100)),
        observe=every,
        input_from=AerInput(tile=give, addresses=addresses, step_cycles=step_cycles),
        output_to=AerOutput(tile=take, addresses=to_chip),
    )
    idle, stall = (float(rng.choice([0.0, 0.3, 0.9])) for _ in range(2))
    pauses = Pauses(idle=idle, stall=stall, seed=int(rng.integers(1, 1 << 40)))
    start = int(rng.integers(1, 1 << 30))
    with CompiledSimulator(library(), pauses=pauses, timeout_cycles=20_000, random_start=start) as simulator:
        scripts = {tile: random_script(rng, int(rng.integers(4))) for tile in (give, take)}
        scripts[give][:, ADDRESS] &= 31
        for tile, script in scripts.items():
            simulator.write_memory(1, script, tile=CHIPS + tile)
        simulator.load(program)
        for path in ("words", "counted"):
            simulator.inspect(f"chip_{take}.{path}", tile=take)
        simulator.feed(np.zeros((STEPS, SAMPLES, INPUTS), np.int64), program.input_axons)
        simulator.advance(STEPS * SAMPLES)
        simulator.finish()
        collector = StepCollector(program, STEPS, SAMPLES)
        collector.take(simulator.take())
        found = RunResult(**by_population(program, [collector.result()])).spikes
        left = [words[0] for words in simulator.kept(f"chip_{take}.counted")]
        received = simulator.kept(f"chip_{take}.words")[-1]
        simulator.write_register("sources", 0, tile=give)  # otherwise it would continue to count
        counters = {n: simulator.read_register(n, tile=give) for n in ("events", "repeated", "unknown", "status")}
        sent = simulator.read_register("events", tile=take)

    recorded = found.pop(INPUT)
    reference = simulate(network, recorded)
    for population, spikes in found.items():
        assert np.array_equal(spikes, reference.spikes[population]), population

    # The packets of the input tile are the events of the chip: all of them, in order, each line once per step.
    lines = {address: line for line, address in enumerate(addresses)}
    taken = scripts[give][: counters["events"], ADDRESS].tolist()
    known = [lines[address] for address in taken if address in lines]
    in_time = recorded.transpose(1, 0, 2).reshape(STEPS * SAMPLES, INPUTS)
    assert can_be_cut(known, [set(np.flatnonzero(step).tolist()) for step in in_time])
    waiting = counters["events"] - counters["repeated"] - counters["unknown"] - int(recorded.sum())
    assert 0 <= waiting <= FABRIC.tiles_of(AerTileParameters)[give].depth + 1  # plus the one that is being looked up
    assert counters["unknown"] == len(taken) - len(known)

    # The other chip received the spikes of the output, step by step.
    assert len(left) == STEPS * SAMPLES
    assert left[-1] == sent
    fired = reference.spikes[network.output].transpose(1, 0, 2).reshape(STEPS * SAMPLES, OUTPUTS)
    for step, (first, stop) in enumerate(zip([0, *left], left, strict=False)):
        assert sorted(received[first:stop]) == sorted(to_chip[n] for n in np.flatnonzero(fired[step])), step
    return int(recorded.sum()), sum(int(s.sum()) for s in found.values()), sent, counters


def test_the_reference_tells_everything_from_the_recorded_events(request):
    rng = rng_of(request.node.name)
    runs = [run(rng, step_cycles) for step_cycles in (0, 0, 60, 300, 1000) * 4]
    events, spikes, sent = (np.array([r[place] for r in runs]) for place in range(3))
    assert np.count_nonzero(events > 20) > 10
    assert events.max() > 150
    assert np.count_nonzero(spikes) > 15
    assert np.count_nonzero(sent) > 10
    for counter in ("repeated", "unknown"):
        assert sum(r[3][counter] for r in runs) > 100
