"""A bank of lanes with its memories against the recurrence: spikes, values, stored states; and a planted bug."""

import dataclasses

import numpy as np
import pytest
from amaranth.sim import Simulator
from harness.assign import assign
from harness.engine_bugs import assert_found
from harness.lane import EVERYTHING, PLAIN, random_rule
from harness.loading import load_memory, neuron_words, rule_of
from harness.networks import rng_of

from spikeloom.hdl.core import neuron_bank, sweep
from spikeloom.hdl.core.lane import LaneTiming
from spikeloom.hdl.core.neuron_bank import NEURON_LATENCY, NeuronBank
from spikeloom.sim.core.features import PER_NEURON
from spikeloom.sim.core.neuron import NeuronState, step
from spikeloom.sim.lib.words import unpack_lanes

STEPS = 5


class Bench:
    """Words of neurons, one per cycle, repeated in each step; ``order`` is the order of the words."""

    def __init__(self, rng, core, number):
        self.core, self.dut, self.number = core, NeuronBank(core, number), number
        self.p = random_rule(rng, core, core.neurons, wide=False)
        self.timing = LaneTiming.of(core)
        state_latency = 2 if core.state_memory == "block" else 1
        neuron_latency = NEURON_LATENCY if core.neuron_layout.width else 0
        # The cycle of the first lane stage, relative to the cycle in which the slowest memory is addressed.
        self.arrival = max(state_latency, neuron_latency)
        self.addressed = {"state": self.arrival - state_latency, "neuron": self.arrival - neuron_latency}
        self.currents = rng.integers(-90, 160, (STEPS, core.neurons))
        self.valid = rng.random((STEPS, core.words)) < 0.85
        self.orders = [rng.permutation(core.words) for _ in range(STEPS)]
        self.emit = np.zeros((STEPS, core.neurons), int)
        self.sent = np.zeros((STEPS, core.neurons), int)
        self.states = []

    def lanes_of(self, word):
        first = word * self.core.lanes + self.number * self.core.bank_lanes
        return range(first, first + self.core.bank_lanes)

    async def run(self, ctx):
        dut, core = self.dut, self.core
        if core.neuron_layout.width:
            await load_memory(ctx, dut.load, core.memories["neurons"].number, neuron_words(core, self.p))
        ctx.set(dut.control.rule, rule_of(core, self.p))
        end = self.arrival + self.timing.latency
        for number, order in enumerate(self.orders):
            ctx.set(dut.control.fresh, number == 0)
            for cycle in range(core.words + end + 3):
                for name, since in self.addressed.items():
                    at = cycle - since
                    ctx.set(getattr(dut.control, name), int(order[at]) if 0 <= at < core.words else 0)
                at = cycle - self.arrival - self.timing.current
                if 0 <= at < core.words:
                    ctx.set(dut.control.current_valid, bool(self.valid[number, order[at]]))
                    assign(ctx, zip(dut.current, self.currents[number, self.lanes_of(order[at])], strict=True))
                at = cycle - end
                ctx.set(dut.control.write_valid, 0 <= at < core.words)
                if 0 <= at < core.words:
                    ctx.set(dut.control.write, int(order[at]))
                    for place, neuron in enumerate(self.lanes_of(order[at])):
                        self.emit[number, neuron] = ctx.get(dut.emit[place])
                        self.sent[number, neuron] = ctx.get(dut.sent[place])
                await ctx.tick()
            self.states.append([ctx.get(dut.states.memory.data[word]) for word in range(core.words)])

    def stored(self, number):
        """The states after a step, by field, of the neurons of this bank in order."""
        core = self.core
        width = core.state_layout.width * core.bank_lanes
        octets = [np.frombuffer(word.to_bytes(-(-width // 8), "little"), np.uint8) for word in self.states[number]]
        return core.state_layout.values(unpack_lanes(np.stack(octets), core.bank_lanes, core.state_layout.width))


CASES = {
    "plain": PLAIN,
    "everything": dataclasses.replace(PLAIN, **EVERYTHING),
    "own parameters": dataclasses.replace(PLAIN, **EVERYTHING, per_neuron=frozenset(PER_NEURON)),
    "own parameters, LUT RAM": dataclasses.replace(
        PLAIN, bias=True, refractory_width=3, per_neuron=frozenset(PER_NEURON), state_memory="distributed"
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("lanes", "banks", "number"), [(1, 1, 0), (4, 1, 0), (16, 2, 1)])
def test_steps_of_all_words(request, case, lanes, banks, number):
    """Each word reaches its lanes with its own parameters and states, in any order; entries that are not valid count as
    0."""
    rng = rng_of(request.node.name)
    core = dataclasses.replace(CASES[case], lanes=lanes, lane_banks=banks, neurons=6 * lanes)
    bench = Bench(rng, core, number)
    simulator = Simulator(bench.dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench.run)
    simulator.run()
    own = np.concatenate([bench.lanes_of(word) for word in range(core.words)])
    state, fired = NeuronState.cleared(1, bench.p), 0
    for number_of_step in range(STEPS):
        drive = bench.currents[number_of_step] * np.repeat(bench.valid[number_of_step], core.lanes)
        state, spikes, values = step(state, drive[None], bench.p)
        wanted = spikes[0] if bench.p.spiking else np.ones(core.neurons, int)
        assert np.array_equal(bench.emit[number_of_step, own], wanted[own]), number_of_step
        fired += int(spikes.sum())
        for name, found in bench.stored(number_of_step).items():
            assert np.array_equal(found, getattr(state, name)[0, own]), (number_of_step, name)
        if not core.value_width:
            sends = wanted[own] == 1
            assert np.array_equal(bench.sent[number_of_step, own][sends], state.v[0, own][sends])
        elif bench.p.graded:
            shifted = bench.sent[number_of_step] >> bench.p.graded_shift
            limit = (1 << core.value_width - 1) - 1
            some = own[spikes[0, own] == 1]
            assert np.array_equal(np.clip(shifted, -limit - 1, limit)[some], values[0, some])
    assert not bench.p.spiking or 0 < fired < STEPS * core.neurons


MUTATIONS = {
    "fresh state": ("lane.fresh.eq(control.fresh)", "lane.fresh.eq(0)"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(monkeypatch, mutation):
    """The bug is in the inputs of a lane: the engine differs."""
    assert_found(monkeypatch, mutation, sweep, neuron_bank, *MUTATIONS[mutation])
