"""The compiled RTL equals the reference and the simulated RTL in every state."""

import collections
import dataclasses
import os
import re
import threading

import numpy as np
import pytest
from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from harness.compiled import BUILD, CORES, library, placed, run_compiled
from harness.engine import assert_equal_to_reference, run_engine
from harness.networks import random_network, random_spatial_network, random_spikes, rng_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikeloom.compiler.place import place
from spikeloom.hdl.core.engine import LifEngine
from spikeloom.hdl.core.tile import LifCore
from spikeloom.hdl.noc.packet import PacketKind
from spikeloom.hdl.tech import ecp5_carry
from spikeloom.host.protocols import DriverError
from spikeloom.host.results import StepCollector
from spikeloom.sim.core.neuron import signed_range
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.reference import simulate
from spikeloom.simulators.build import compile_design
from spikeloom.simulators.compiled import CompiledSimulator, Pauses
from spikeloom.simulators.verilator import SimulationError


def drawn(rng, core, *, inputs, readout, sizes=(7, 5, 4)):
    """A random network for ``core``; a spatial one, with random shapes, if the core has coordinates."""
    if core.coordinate_width:
        return random_spatial_network(rng, core, extent=5, readout=readout)
    return random_network(rng, core, inputs=inputs, sizes=sizes, readout=readout)


def check(name, network, spikes, **options):
    """Compare every state after every step, then the same with overlapping steps and random pauses. Returns the
    reference."""
    core = CORES[name]
    program = place(network, FabricConfig(core=core))
    reference = simulate(network, spikes, record=[p.name for p in network.populations])
    run = run_compiled(library(name), program, spikes, **options)
    assert_equal_to_reference(run, network, program, spikes, reference)
    pauses = Pauses(idle=0.3, stall=0.3, seed=int(spikes.sum()) + 1)
    overlapping = run_compiled(library(name), program, spikes, pauses=pauses, credit=2, **options)
    for part in ("spikes", "membranes", "packets", "words_added"):
        assert getattr(overlapping, part) == getattr(run, part)
    return reference


def case_of(rng, name):
    """A network for a core, and its input."""
    network = drawn(rng, CORES[name], inputs=24, readout=CORES[name].readout)
    return network, random_spikes(rng, 5, 2, network.inputs)


@pytest.mark.parametrize("name", CORES)
def test_compiled_and_reference_agree(request, name):
    """In every state."""
    reference = check(name, *case_of(rng_of(request.node.name), name))
    fired = sum(int(s.sum()) for s in reference.spikes.values())
    assert 0 < fired < sum(s.size for s in reference.spikes.values())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if core.lanes > 4 else name for name, core in CORES.items()]
)
def test_compiled_simulated_and_reference_agree(request, name):
    """One network on all three, in every state. Amaranth's simulator takes long for many lanes."""
    rng = rng_of(request.node.name)
    core = CORES[name]
    network, spikes = case_of(rng, name)
    program = place(network, FabricConfig(core=core))
    reference = simulate(network, spikes, record=[p.name for p in network.populations])
    simulated = run_engine(LifEngine(core), program, spikes, rng)
    assert_equal_to_reference(simulated, network, program, spikes, reference)
    compiled_run = run_compiled(library(name), program, spikes)
    assert compiled_run.states == simulated.states
    fired = sum(int(s.sum()) for s in reference.spikes.values())
    assert 0 < fired < sum(s.size for s in reference.spikes.values())


def test_several_spikes_per_step_in_every_state(request):
    """Spike counts from 0 to limits of up to 15, which reach other neurons, the host and saturated membranes."""
    rng = rng_of(request.node.name)
    name = "two lanes, every model"
    seen = collections.Counter()
    for _ in range(13):
        network = drawn(rng, CORES[name], inputs=24, readout=False, sizes=(9, 7, 6))
        reference = check(name, network, random_spikes(rng, 6, 2, network.inputs))
        for population in network.populations:
            p = population.parameters
            if p.max_spikes > 1:
                counts, v = reference.fired(population.name), reference.states[population.name].v
                seen.update(counts.reshape(-1).tolist())
                seen["bound"] += int((counts == p.max_spikes).sum())
                seen["saturated"] += int(np.isin(v, signed_range(p.v_width)).sum())
                seen["received"] += any(c.source == population.name for c in network.connections)
    assert set(range(9)) <= set(seen), seen
    assert seen["bound"] * seen["saturated"] * seen["received"], seen


def test_lower_bounds_and_second_thresholds_in_every_state(request):
    """Membranes at their lower bound, and membranes above the threshold after a reset."""
    rng = rng_of(request.node.name)
    name = "two lanes, every model"
    seen = collections.Counter()
    for _ in range(4):
        network = drawn(rng, CORES[name], inputs=24, readout=False, sizes=(9, 7, 6))
        reference = check(name, network, random_spikes(rng, 6, 2, network.inputs))
        for population in network.populations:
            p, v = population.parameters, reference.states[population.name].v
            if p.lower_bound is not None:
                held = v == p.lower_bound
                seen.update({"held": int(held.sum()), "free": int((~held).sum())})
            if p.second_threshold:
                seen["raised"] += int((v[:-1] > p.threshold).sum())
    assert min(seen["held"], seen["free"], seen["raised"]) > 10, seen


@pytest.mark.parametrize(
    ("lanes", "lane_banks", "most_copies", "widths"),
    [
        (64, 8, 2, {"accumulator_width": 10}),
        pytest.param(256, 32, 4, {"weight_width": 8, "accumulator_width": 18, "v_width": 16}, marks=pytest.mark.slow),
    ],
    ids=["64-8", "256-32"],
)
def test_a_core_of_many_banks(request, monkeypatch, lanes, lane_banks, most_copies, widths):
    """Neurons in every lane, whose control signals pass through copies of copies.

    With 256 lanes there are three ranks of copies in any case, with 64 if each register has few copies.
    """
    monkeypatch.setattr(ecp5_carry, "MOST_COPIES", most_copies)
    assert ecp5_carry.far_cycles(lane_banks) == 3
    rng = rng_of(request.node.name)
    core = dataclasses.replace(
        CORES["sixteen lanes, fewest features"],
        lanes=lanes,
        lane_banks=lane_banks,
        neurons=4 * lanes,
        axons=1024,
        state_memory="distributed",
        accumulator_memory="distributed",
        **widths,
    )
    network = random_network(rng, core, inputs=12, sizes=(lanes + 4, lanes - 6))
    program = place(network, FabricConfig(core=core))
    spikes = random_spikes(rng, 4, 2, network.inputs)
    reference = simulate(network, spikes, record=["layer0", "layer1"])
    run = run_compiled(compile_design(LifCore(core), BUILD).library, program, spikes)
    assert_equal_to_reference(run, network, program, spikes, reference)
    fired = reference.spikes["layer0"][..., :lanes].any(axis=(0, 1)).reshape(lane_banks, 8)
    assert fired.any(axis=1).all()
    assert not fired.all()


@st.composite
def cases(draw):
    """The name of a core, the shape of a network, and how its input is sent."""
    return {
        "name": draw(st.sampled_from(list(CORES))),
        "seed": draw(st.integers(0, 2**32 - 1)),
        "inputs": draw(st.integers(1, 12)),
        "sizes": tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))),
        "readout": draw(st.booleans()),
        "sparsity": draw(st.sampled_from([0.0, 0.5, 0.95])),
        "steps": draw(st.integers(1, 8)),
        "samples": draw(st.integers(1, 4)),
        "burst": draw(st.sampled_from([0.02, 0.3, 1.0, None])),
    }


def run_case(case):
    core = CORES[case["name"]]
    rng = np.random.default_rng(case["seed"])
    network = drawn(rng, core, inputs=case["inputs"], sizes=case["sizes"], readout=case["readout"] and core.readout)
    thinned = tuple(
        dataclasses.replace(c, weight=c.weight * (rng.random(c.weight.shape) >= case["sparsity"]))
        for c in network.connections
    )
    network = dataclasses.replace(network, connections=thinned)
    shape = (case["steps"], case["samples"], network.inputs)
    spikes = random_spikes(rng, *shape) if case["burst"] is None else rng.random(shape) < case["burst"]
    return check(case["name"], network, spikes, random_start=case["seed"] % 1000 + 1)


@given(case=cases())
@settings(
    max_examples=int(os.environ.get("SPIKELOOM_EXAMPLES", "40")),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_any_network_agrees_in_every_state(case):
    run_case(case)


def test_the_cases_are_interesting():
    """The first networks of a seed include silent ones and ones that fire."""
    fired = []
    for seed in range(6):
        case = {"name": "one lane", "seed": seed, "inputs": 6, "sizes": (5, 4), "readout": False, "sparsity": 0.5}
        reference = run_case(case | {"steps": 6, "samples": 2, "burst": 0.3 if seed else 0.0})
        fired.append(sum(int(s.sum()) for s in reference.spikes.values()))
    assert len(set(fired)) > 3
    assert sum(count > 0 for count in fired) > 2


def test_a_run_is_the_same_on_what_memories_hold_by_chance(request):
    rng = rng_of(request.node.name)
    network, program = placed(rng, CORES["one lane"])
    spikes = random_spikes(rng, 4, 2, network.inputs)
    runs = [run_compiled(library("one lane"), program, spikes, random_start=start) for start in (None, 1, 2)]
    assert runs[0].spikes == runs[1].spikes == runs[2].spikes
    assert runs[0].cycles == runs[1].cycles
    unused = [run.states[0][-1] for run in runs]
    assert unused[0] == 0
    assert unused[1] != unused[2], "words that no neuron has must keep what they began with"


def test_the_clock_does_not_wait_for_python():
    """Another thread runs while the design does."""
    core = CORES["one lane"]
    rng = rng_of("the clock does not wait")
    network, program = placed(rng, core, sizes=(20, 20))
    spikes = np.ones((50, 40, network.inputs), bool)
    path = library("one lane")
    with CompiledSimulator(path) as simulator:
        simulator.load(program)
        simulator.feed(spikes, program.input_axons)
        running = threading.Thread(target=simulator.advance, args=(2000,))
        turns = 0
        running.start()
        while running.is_alive():
            turns += 1
        running.join()
    assert turns > 10


_BUG_MEMORY = 15  # no memory of the core has this number


class Planted(wiring.Component):
    """A core with a bug behind its ports, selected by a write to memory 15; with 0, it is correct."""

    BUGS = {
        "an event for another row": (1, DriverError, None),
        "a spike too many": (2, DriverError, "twice|does not observe"),
        "samples that do not end": (3, SimulationError, "must end a sample where the input did"),
        "the parity of a TICK": (4, SimulationError, "TICK number 1 must have the parity of its step"),
        "a packet that goes away": (5, SimulationError, "a packet must stay until it is taken"),
        "no acknowledgement": (6, SimulationError, "not hang in step 0 with nothing in or out for 500 cycles"),
        "acknowledgements ahead of the input": (7, SimulationError, "must wait for the TICK of its step"),
    }

    def __init__(self, parameters):
        self.core = LifCore(parameters)
        super().__init__(self.core.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = core = self.core
        bug = Signal(8)
        port = self.configuration
        with m.If(port.write_enable & (port.memory == _BUG_MEMORY)):
            m.d.sync += bug.eq(port.write_data)
        wiring.connect(m, wiring.flipped(port), core.configuration)
        wiring.connect(m, wiring.flipped(self.i), core.i)
        m.d.comb += [
            core.reset.eq(self.reset),
            self.o.payload.eq(core.o.payload),
            self.o.valid.eq(core.o.valid),
            core.o.ready.eq(self.o.ready),
        ]
        kind = core.o.payload.kind.as_value()
        cycle, flag = Signal(), Signal()
        m.d.sync += cycle.eq(~cycle)
        with m.Switch(bug):
            with m.Case(1):
                m.d.comb += core.i.payload.axon.eq(Mux(self.i.payload.axon == 3, 2, self.i.payload.axon))
            with m.Case(2), m.If(core.o.valid & self.o.ready & (kind == PacketKind.SPIKE.value)):
                m.d.sync += flag.eq(~flag)  # every SPIKE is sent twice
                m.d.comb += core.o.ready.eq(flag)
            with m.Case(3):
                m.d.comb += core.i.payload.last.eq(0)
            with m.Case(4):
                m.d.comb += self.o.payload.parity.eq(core.o.payload.parity & (kind != PacketKind.TICK.value))
            with m.Case(5):
                m.d.comb += [self.o.valid.eq(core.o.valid & cycle), core.o.ready.eq(self.o.ready & cycle)]
            with m.Case(6), m.If(kind == PacketKind.ACK.value):
                m.d.comb += self.o.valid.eq(0)
            with m.Case(7):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.kind.eq(PacketKind.ACK), self.o.payload.parity.eq(flag)]
                with m.If(self.o.ready):
                    m.d.sync += flag.eq(~flag)
        return m


def run_planted(number):
    """Run a network on a core with a bug; return the mismatches."""
    rng = rng_of("planted")
    core = CORES["one lane"]
    network, program = placed(rng, core)
    spikes = random_spikes(rng, 6, 4, network.inputs)
    path = compile_design(Planted(core), BUILD).library
    collector = StepCollector(program, 6, 4)
    with CompiledSimulator(path, pauses=Pauses(stall=0.3), timeout_cycles=500) as simulator:
        simulator.write_memory(_BUG_MEMORY, np.array([[number]], np.uint8))
        simulator.load(program)
        simulator.feed(spikes, program.input_axons)
        simulator.advance(24)
        simulator.finish()
        collector.take(simulator.take())
    reference = simulate(network, spikes)
    expected = np.concatenate([reference.spikes[name] for name, _ in program.observed], axis=2)
    assert expected.any()
    return int((collector.result().spikes != expected).sum())


def test_without_a_planted_bug():
    assert run_planted(0) == 0


@pytest.mark.parametrize("bug", Planted.BUGS)
def test_a_planted_bug_is_found(bug):
    number, error, message = Planted.BUGS[bug]
    if message is None:
        assert run_planted(number) > 0
        return
    with pytest.raises(error, match=message):
        run_planted(number)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pauses(idle=1.0), "idle must be from 0 to less than 1, not 1.0"),
        (lambda: Pauses(stall=-0.1), "stall must be from 0 to less than 1, not -0.1"),
        (lambda: Pauses(seed=0), "seed must be from 1 to 9223372036854775807, not 0"),
        (lambda: CompiledSimulator(library("one lane"), credit=3), "credit must be 1 or 2, not 3"),
        (lambda: CompiledSimulator(library("one lane"), timeout_cycles=0), "timeout_cycles must be at least 1, not 0"),
        (
            lambda: CompiledSimulator(library("one lane"), random_start=0),
            "random_start must be from 1 to 2147483647, not 0",
        ),
    ],
)
def test_refuses_bad_arguments(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


def test_refuses_an_unknown_memory():
    with CompiledSimulator(library("one lane")) as simulator:
        assert "engine.accumulator.bank0.weights.memory.memory" in simulator.memories
        with pytest.raises(ValueError, match=r"^path must be one of engine\.accumulator\..*, not 'engine\.nothing'$"):
            simulator.inspect("engine.nothing")
