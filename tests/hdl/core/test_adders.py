"""A bank of adders against sums in a list, with control signals derived from the list; and planted bugs."""

import numpy as np
import pytest
from amaranth.hdl import Value
from amaranth.sim import Simulator
from harness.engine_bugs import assert_found
from harness.loading import load_memory
from harness.networks import rng_of

from spikeloom.hdl.core import accumulate, adders
from spikeloom.hdl.core.adders import AdderBank
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.words import bits_for, pack_lanes, weight_bits, weight_range

PRODUCT_CYCLES = 2
SETTLED = 4
"""Cycles from the addition of a word until a read no longer returns the old sum."""


class Bench:
    """Random words for a few accumulators, a word in most cycles, with reads of the sums for a sweep in between.

    The control signals of a cycle are computed from the words themselves, each by its definition in `control_layout`,
    independently of `spikeloom.hdl.core.accumulate`.
    """

    def __init__(self, rng, core, number):
        self.core, self.dut = core, AdderBank(core, number)
        low, high = weight_range(core.weight_width)
        whole = (
            rng.choice([low, high], (core.weight_words, core.lanes))
            if core.weight_width == 1
            else rng.integers(low, high + 1, (core.weight_words, core.lanes))
        )
        self.image = pack_lanes(weight_bits(whole.reshape(-1), core.weight_width), core.lanes)
        self.weights = whole[:, number * core.bank_lanes : (number + 1) * core.bank_lanes]
        self.places = [0, 1, core.words - 1, 1 << bits_for(core.words), (1 << bits_for(core.words)) + 1]
        self.words = [None] * 8  # for each cycle: the address, the weight word, and the value of its event
        for _ in range(300):
            value = (
                int(rng.integers(-(1 << core.value_width) // 2, 1 << core.value_width >> 1)) if core.value_width else 1
            )
            word = (int(rng.choice(self.places)), int(rng.integers(core.weight_words)), value)
            self.words.append(word if rng.random() < 0.8 else None)
        self.words += [None] * 8
        self.sums, self.history, self.hits = {}, [], set()
        self.seen, self.expected = [], []

    def word_at(self, cycle):
        return self.words[cycle] if 0 <= cycle < len(self.words) else None

    def same(self, cycle, before):
        """Whether the words added in two cycles have the same accumulators."""
        one, other = self.word_at(cycle), self.word_at(before)
        return one is not None and other is not None and one[0] == other[0]

    def control(self, cycle):
        """The control signals of the cycle in which ``words[cycle]`` is added."""
        is_block = self.core.accumulator_memory == "block"
        early = cycle + (PRODUCT_CYCLES if self.core.value_width else 0)
        given = {}
        if word := self.word_at(early + self.dut.weight_latency):
            given["weight_address"] = word[1]
        if self.core.value_width and (word := self.word_at(early)):
            given["value"] = word[2]
        if word := self.word_at(cycle + 2 if is_block else cycle):
            given["read"] = word[0]
        if word := self.word_at(cycle - 1 if is_block else cycle):
            given |= {"write": word[0], "write_valid": 1}
        if is_block:
            given["last"] = self.same(cycle, cycle - 1)
            given["is_on_way"] = self.same(cycle, cycle - 2) or self.same(cycle, cycle - 3)
            given["is_last_on_way"] = self.same(cycle + 1, cycle - 1)
        if word := self.word_at(cycle):
            given["counts"] = word[0] in self.sums
        return given

    async def run(self, ctx):
        dut, core = self.dut, self.core
        await load_memory(ctx, dut.load, core.memories["weights"].number, self.image)
        asked = []
        for cycle in range(len(self.words)):
            # An address without a recent addition, so that the memory certainly has its last sum.
            lately = {word[0] for c in range(cycle - SETTLED, cycle + 3) if (word := self.word_at(c))}
            free = [place for place in self.sums if place not in lately]
            swept = free[cycle % len(free)] if free and cycle % 3 else None
            asked.append(None if swept is None else list(self.sums[swept]))
            given = self.control(cycle) | ({} if swept is None else {"swept": swept})
            ctx.set(Value.cast(dut.control), 0)
            for name, value in given.items():
                ctx.set(getattr(dut.control, name), int(value))
            if word := self.word_at(cycle):
                self.hits.add(next((d for d in (1, 2, 3) if self.same(cycle, cycle - d)), 0))
                place, at, value = word
                total = np.asarray(self.sums.get(place, 0)) + self.weights[at] * value
                assert np.abs(total).max() < 1 << core.accumulator_width - 1, "the accumulator must be wide enough"
                self.sums[place] = total.tolist()
            await ctx.tick()
            if cycle and asked[cycle - 1] is not None:
                self.seen.append([ctx.get(dut.current[lane]) for lane in range(core.bank_lanes)])
                self.expected.append(asked[cycle - 1])


@pytest.mark.parametrize("memory", ["block", "distributed"])
@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({"lanes": 1}, 0),
        ({"lanes": 4, "weight_width": 1}, 0),
        ({"lanes": 2, "weight_width": 5, "value_width": 4}, 0),
        ({"lanes": 16, "lane_banks": 2}, 0),
        ({"lanes": 16, "lane_banks": 2}, 1),
        pytest.param({"lanes": 32}, 0, id="a wide bank, whose weights go a cycle longer"),
        pytest.param({"lanes": 1, "weight_width": 2, "weight_memory": "single-port"}, 0, id="single-port RAM"),
    ],
)
def test_sums(request, changes, number, memory):
    lanes = changes["lanes"]
    options = {"neurons": 5 * lanes, "weight_words": 16, "accumulator_width": 24, "accumulator_memory": memory}
    core = CoreParameters(**options | changes)
    bench = Bench(rng_of(request.node.name), core, number)
    simulator = Simulator(bench.dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench.run)
    simulator.run()
    assert bench.seen == bench.expected
    assert len(bench.seen) > 40
    assert len(np.unique(bench.seen)) > 20
    assert bench.hits == {0, 1, 2, 3}
    is_late = lanes > adders.NEAR_LANES * core.lane_banks
    assert bench.dut.weight_latency == 2 + is_late


MUTATIONS = {
    "forwarding of the sum before": ("Mux(control.is_last_on_way, last, earlier)", "earlier"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(monkeypatch, mutation):
    """The bug is in the forwarding: the engine differs."""
    assert_found(monkeypatch, mutation, accumulate, adders, *MUTATIONS[mutation])
