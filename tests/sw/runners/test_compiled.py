"""The runner of the compiled design: equal to the reference, with the samples shared among copies."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from harness.compiled import BUILD, CORES, placed
from harness.networks import random_network, random_spikes, rng_of
from harness.simulated_link import SimulatedLink, simulated_line

from spikeloom.compiler.place import place
from spikeloom.runners.compare import compare
from spikeloom.runners.compiled import CompiledRunner
from spikeloom.runners.runner import BoardRunner, ReferenceRunner
from spikeloom.sim.core.neuron import signed_range
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.network.reference import simulate
from spikeloom.simulators import build
from spikeloom.simulators.cache import user_cache
from spikeloom.simulators.compiled import Pauses


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_share_the_samples(request, workers):
    rng = rng_of(request.node.name)
    core = CORES["one lane"]
    network, program = placed(rng, core)
    spikes = random_spikes(rng, 5, 23, network.inputs)
    done = []
    runner = CompiledRunner(program, BUILD, workers=workers)
    result = runner.run(spikes, progress=lambda count, total: done.append((count, total)))
    compared, mismatches = compare(simulate(network, spikes), result)
    assert (compared > 100, mismatches) == (True, 0)
    assert set(result.spikes) == {p.name for p in network.populations}
    assert done[-1] == (23, 23)
    assert [count for count, _ in done] == sorted(count for count, _ in done)
    assert result.counters[1]["steps"] == 5 * 23
    assert result.cycles_per_sample.shape == (23,)
    assert result.cycles_per_sample.min() > 5 * sum(p.size for p in network.populations)
    # Samples overlap by the step that is sent ahead, so together they take less than the sum of the single ones.
    assert result.cycles < result.cycles_per_sample.sum()
    assert result.counters[1]["words"] < result.counters[1]["busy_cycles"] < 1.1 * result.cycles


def test_a_design_is_compiled_with_the_profile_of_its_samples(request, tmp_path, monkeypatch):
    """The first samples run in an instrumented library, whose counts the second one is compiled with."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    rng = rng_of(request.node.name)
    network, program = placed(rng, CORES["one lane"])
    spikes = random_spikes(rng, 5, 9, network.inputs)
    call, commands, profiles = build._call, [], []

    def recorded(command, *arguments):
        commands.append(command)
        if "-fprofile-use" in command and "-c" in command:
            unit = Path(command[-1])
            profiles.append((unit.name, unit.with_suffix(".gcda").exists()))
        call(command, *arguments)

    monkeypatch.setattr(build, "_call", recorded)
    runner = CompiledRunner(program, tmp_path, optimise=True)
    result = runner.run(spikes)
    assert compare(simulate(network, spikes), result)[1] == 0
    assert profiles, "no unit was compiled with a profile"
    assert all(found for name, found in profiles if name.startswith("fast"))
    kinds = ["use" if "-fprofile-use" in c else "generate" if "-fprofile-generate" in c else "" for c in commands]
    assert kinds.index("generate") < kinds.index("use")
    # The second library is another entry of the cache than one without a profile, and is used again.
    digest = runner.compile(spikes).library
    assert CompiledRunner(program, tmp_path, optimise=True).compile(spikes).library == digest
    assert not list(tmp_path.rglob("*.gcda"))
    profiled = build._Build(source=digest, verilator=build.find_verilator(), cache=user_cache(), trial=print)
    plain = build._Build(source=digest, verilator=build.find_verilator(), cache=user_cache())
    assert profiled.digest != plain.digest


def test_membranes_come_back(request):
    rng = rng_of(request.node.name)
    network, program = placed(rng, CORES["two lanes, every model"], readout=True)
    spikes = random_spikes(rng, 5, 9, network.inputs)
    result = CompiledRunner(program, BUILD, workers=2, pauses=Pauses(idle=0.2, stall=0.2)).run(spikes)
    assert compare(simulate(network, spikes), result)[1] == 0
    assert np.ptp(result.output) > 10


def test_values_come_back(request):
    """Values of graded spikes, of the output and of the populations before it."""
    rng = rng_of(request.node.name)
    core = CORES["two lanes, every model"]
    seen = set()
    for _ in range(6):
        network, program = placed(rng, core)
        spikes = random_spikes(rng, 6, 4, network.inputs)
        result = CompiledRunner(program, BUILD, workers=2, pauses=Pauses(idle=0.2, stall=0.2)).run(spikes)
        assert compare(simulate(network, spikes), result)[1] == 0
        assert set(result.values) == {p.name for p in network.populations if p.parameters.graded}
        seen |= {int(value) for values in result.values.values() for value in np.unique(values)}
    assert len(seen) > 10


def test_input_with_values(request):
    """Random values through the reference, the compiled design, and a board at the end of a link."""
    rng = rng_of(request.node.name)
    core = CORES["two lanes, every model"]
    drawn, _ = placed(rng, core)
    network = replace(drawn, input_value_width=core.value_width)
    program = place(network, FabricConfig(core=core), observe=[p.name for p in network.populations])
    low, high = signed_range(core.value_width)
    values = rng.integers(low, high + 1, (5, 3, network.inputs)) * (rng.random((5, 3, network.inputs)) < 0.6)
    reference = ReferenceRunner(network).run(values)
    line = simulated_line(SimulatedLink(rng, program.fabric, stall=0.1))
    for runner in (CompiledRunner(program, BUILD, workers=2), BoardRunner(program, line)):
        result = runner.run(values)
        assert compare(simulate(network, values), result)[1] == 0
        assert np.array_equal(result.output, reference.output)
    assert 0 < np.count_nonzero(reference.output) < reference.output.size


def test_pauses_change_cycles_and_nothing_else(request):
    rng = rng_of(request.node.name)
    network, program = placed(rng, CORES["one lane"])
    spikes = random_spikes(rng, 6, 5, network.inputs)
    results = [
        CompiledRunner(program, BUILD, pauses=pauses).run(spikes)
        for pauses in (Pauses(), Pauses(idle=0.5), Pauses(stall=0.9), Pauses(idle=0.5), Pauses(idle=0.5, seed=2))
    ]
    assert results[0].output.any()
    for result in results[1:]:
        assert all((result.spikes[name] == fired).all() for name, fired in results[0].spikes.items())
        assert result.cycles != results[0].cycles
    assert results[2].cycles > results[0].cycles
    assert results[1].cycles == results[3].cycles != results[4].cycles


@pytest.mark.parametrize("name", [pytest.param("medium", marks=pytest.mark.slow), "wide"])
def test_named_fabrics(request, name):
    rng = rng_of(request.node.name)
    fabric = FABRICS[name]
    network = random_network(rng, fabric.core, inputs=40, sizes=(30, 20, 10))
    program = place(network, fabric, observe=[p.name for p in network.populations])
    spikes = random_spikes(rng, 8, 12, 40)
    result = CompiledRunner(program, BUILD, workers=2).run(spikes)
    compared, mismatches = compare(simulate(network, spikes), result)
    assert compared > 1000
    assert mismatches == 0


def test_refuses_no_workers():
    with pytest.raises(ValueError, match=r"^workers must be at least 1, not 0$"):
        CompiledRunner(None, BUILD, workers=0)
