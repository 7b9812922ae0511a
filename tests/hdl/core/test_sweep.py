"""The neuron sweep against the recurrence, by population: words, spikes and cycles; and planted bugs."""

import dataclasses

import numpy as np
import pytest
from amaranth.sim import Simulator
from harness.assign import assign
from harness.lane import EVERYTHING, PLAIN, random_rule
from harness.loading import load_memory, neuron_words, rule_of
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.hdl.core import sweep
from spikeloom.hdl.core.accumulate import Accumulator
from spikeloom.hdl.core.lane import LaneTiming
from spikeloom.hdl.tech.ecp5_carry import far_cycles
from spikeloom.sim.core.features import PER_NEURON
from spikeloom.sim.core.neuron import NeuronState, step

STEPS = 4
READ_LATENCY = Accumulator.READ_LATENCY


class Bench:
    """Sweeps of populations one after the other, with accumulators that answer `READ_LATENCY` cycles late."""

    def __init__(self, rng, core, ranges, module):
        self.core, self.dut = core, module.NeuronSweep(core, read_latency=READ_LATENCY)
        self.ranges = ranges  # first and last word of each population
        self.parameters = [
            random_rule(rng, core, (last - first + 1) * core.lanes, wide=False) for first, last in ranges
        ]
        self.currents = rng.integers(-90, 160, (STEPS, core.words, core.lanes))
        self.valid = rng.random((STEPS, core.words)) < 0.85
        self.pauses = rng.integers(0, 4, (STEPS, len(ranges)))
        self.sent = {}  # (step, word) -> (emit bits, values)
        self.read = []  # (step, word) in the order of the reads
        self.busy_cycles = []
        self.far = far_cycles(core.lane_banks)  # accumulators in banks answer this many cycles after `current_valid`

    async def run(self, ctx):
        dut, core = self.dut, self.core
        if core.neuron_layout.width:
            image = np.zeros((core.words, core.memories["neurons"].planes), np.uint8)
            for (first, last), p in zip(self.ranges, self.parameters, strict=True):
                image[first : last + 1] = neuron_words(core, p)
            await load_memory(ctx, dut.load, core.memories["neurons"].number, image)
        for number in range(STEPS):
            ctx.set(dut.fresh, number == 0)
            for place, ((first, last), p) in enumerate(zip(self.ranges, self.parameters, strict=True)):
                rule = rule_of(core, p, first=first, last=last)
                ctx.set(dut.rule, rule)
                ctx.set(dut.start, 1)
                await ctx.tick()
                ctx.set(dut.start, 0)
                ctx.set(dut.rule, {})  # the word is held from here on
                await self._sweep(ctx, number)
                assert {name: ctx.get(getattr(dut.held_rule, name)) for name in rule} == rule
                for _ in range(self.pauses[number, place]):
                    await ctx.tick()

    async def _sweep(self, ctx, number):
        dut, core = self.dut, self.core
        cycles, on_way = 0, [None] * (READ_LATENCY + self.far)
        while ctx.get(dut.busy):
            on_way.append(ctx.get(dut.address) if ctx.get(dut.reading) else None)
            if on_way[-1] is not None:
                self.read.append((number, on_way[-1]))
            word = on_way[-1 - READ_LATENCY]
            ctx.set(dut.current_valid, word is not None and bool(self.valid[number, word]))
            word = on_way[-1 - READ_LATENCY - self.far]
            assign(
                ctx, zip(dut.current, [0] * core.lanes if word is None else self.currents[number, word], strict=True)
            )
            if ctx.get(dut.emit_valid):
                values = [ctx.get(dut.sent[lane]) for lane in range(core.lanes)]
                key = number, ctx.get(dut.emit_word)
                assert key not in self.sent, "a word is sent once in a step"
                self.sent[key] = ctx.get(dut.emit), values
            await ctx.tick()
            cycles += 1
        self.busy_cycles.append(cycles)

    def expected(self):
        """``(step, word)`` of all words that send something, with the bits and the membranes."""
        found, fired = {}, 0
        lanes = self.core.lanes
        for (first, last), p in zip(self.ranges, self.parameters, strict=True):
            state = NeuronState.cleared(1, p)
            for number in range(STEPS):
                drive = self.currents[number] * self.valid[number][:, None]
                state, spikes, _ = step(state, drive[first : last + 1].reshape(1, -1), p)
                fired += int(spikes.sum())
                sends = spikes[0] if p.spiking else np.ones(p.size, int)
                for word in range(first, last + 1):
                    part = slice((word - first) * lanes, (word - first + 1) * lanes)
                    if sends[part].any():
                        bits = sum(int(bit) << lane for lane, bit in enumerate(sends[part]))
                        found[number, word] = bits, state.v[0, part]
        return found, fired


CASES = {
    "plain": (PLAIN, {}),
    "LUT RAM": (PLAIN, {"state_memory": "distributed"}),
    "own parameters": (PLAIN, {"bias": True, "refractory_width": 3, "per_neuron": frozenset(PER_NEURON)}),
    "everything": (
        PLAIN,
        {name: value for name, value in EVERYTHING.items() if name not in ("value_width", "count_width")},
    ),
    "shifts, LUT RAM": (PLAIN, {"multiplier": False, "shifts": (3, 1), "state_memory": "distributed"}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("lanes", "banks"), [(1, 1), (4, 1), (16, 2)])
def test_populations_in_turn(request, case, lanes, banks):
    check(rng_of(request.node.name), case, lanes, banks)


def test_banks_behind_two_registers(request):
    check(rng_of(request.node.name), "plain", 64, 8)
    assert far_cycles(8) == 2


def check(rng, case, lanes, banks, module=sweep):
    """Sweep three populations of a core, in ``module``'s sweep, and compare what is sent, and when."""
    plain, changes = CASES[case]
    core = dataclasses.replace(plain, **changes, lanes=lanes, lane_banks=banks, neurons=9 * lanes)
    bench = Bench(rng, core, [(0, 3), (4, 4), (7, 8)], module)
    simulator = Simulator(bench.dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench.run)
    simulator.run()
    expected, fired = bench.expected()
    assert bench.sent.keys() == expected.keys()
    for key, (bits, values) in expected.items():
        found, sent = bench.sent[key]
        assert found == bits, key
        assert all(sent[lane] == values[lane] for lane in range(lanes) if bits >> lane & 1), key
    assert 0 < fired < STEPS * 7 * lanes
    # Each accumulator is read once per step, in order, and words that belong to no population never are.
    words = [word for first, last in bench.ranges for word in range(first, last + 1)]
    assert bench.read == [(number, word) for number in range(STEPS) for word in words]
    # A word per cycle plus a constant, which includes the lanes, the slowest memory and the path to the banks.
    timing = LaneTiming.of(core)
    states = 2 if core.state_memory == "block" else 1
    arrival = max(states, 2 if core.neuron_layout.width else 0, READ_LATENCY - timing.current)
    constant = arrival + timing.latency + 2 * bench.far
    lengths = [last - first + 1 for first, last in bench.ranges] * STEPS
    assert bench.busy_cycles == [length + constant for length in lengths]


MUTATIONS = {
    "banks of lanes: what they send takes as long back": ("sent = end + 2 * far", "sent = end + far"),
    "banks of lanes: any of them sends": ("any_of_bank.any()", "any_of_bank[0]"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(mutation):
    """In a core of several banks, what is sent differs from the reference."""
    with pytest.raises(AssertionError):
        check(rng_of(mutation), "plain", 16, 2, mutated(sweep, *MUTATIONS[mutation]))


def test_without_a_planted_bug_the_same_sweeps_agree():
    for mutation in MUTATIONS:
        check(rng_of(mutation), "plain", 16, 2)
