"""Accumulators against sums in a list: words at any distance, one bank swept while the other is written."""

import dataclasses

import numpy as np
import pytest
from amaranth.sim import Simulator
from harness.assign import assign
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.hdl.core import accumulate
from spikeloom.hdl.core.accumulate import Accumulator
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.words import bits_for


class Bench:
    """Adds words of random weights to a few accumulators, all except one, and sweeps them."""

    def __init__(self, rng, core, module=accumulate):
        self.rng, self.core, self.dut = rng, core, module.Accumulator(core)
        self.places = _spread(core.words)
        self.weights = {at: rng.integers(-128, 128, core.lanes) for at in _spread(core.weight_words)}
        self.sums = [{}, {}]
        self.due = [
            (False, None)
        ] * Accumulator.READ_LATENCY  # for each cycle, whether an accumulator is swept, and its content, if any
        self.seen, self.expected = [], []
        self.latest, self.distances = {}, set()  # between words for the same accumulators

    async def load(self, ctx):
        load, core = self.dut.load, self.core
        ctx.set(load.write_enable, 1)
        ctx.set(load.memory, core.memories["weights"].number)
        for index, weights in self.weights.items():
            for plane, weight in enumerate(weights.tolist()):
                assign(ctx, [(load.plane, plane), (load.index, index), (load.write_data, weight)])
                await ctx.tick()
        ctx.set(load.write_enable, 0)
        await ctx.tick().repeat(4)

    async def cycle(self, ctx, *, bank=None, swept=None):
        """Run one cycle, in which a word may arrive for ``bank``, and ``swept``, a bank and an address, may be
        swept."""
        dut, rng = self.dut, self.rng
        ctx.set(dut.word.valid, 0)
        if bank is not None and rng.random() < 0.8:
            target, at = int(rng.choice(self.places[1:])), int(rng.choice(list(self.weights)))
            ctx.set(dut.word, {"valid": 1, "weight_address": at, "target": target, "bank": bank, "parity": bank})
            self.sums[bank][target] = self.sums[bank].get(target, 0) + self.weights[at]
            self.distances.add(len(self.due) - self.latest.get((bank, target), -100))
            self.latest[bank, target] = len(self.due)
        ctx.set(dut.sweep, swept is not None)
        if swept is not None:
            ctx.set(dut.bank, swept[0])
            ctx.set(dut.address, swept[1])
            self.due.append((True, self.sums[swept[0]].pop(swept[1], None)))
        else:
            self.due.append((False, None))
        await ctx.tick()
        is_swept, held = self.due[-Accumulator.READ_LATENCY]
        if is_swept:
            valid = ctx.get(dut.current_valid)
            self.seen.append([ctx.get(dut.current[lane]) for lane in range(self.core.lanes)] if valid else None)
            self.expected.append(None if held is None else held.tolist())

    async def run(self, ctx):
        await self.load(ctx)
        for turn in range(8):
            bank = turn % 2
            for _ in range(40):
                await self.cycle(ctx, bank=int(self.rng.integers(2)))
            while ctx.get(self.dut.busy):
                await self.cycle(ctx)
            for place in self.rng.permutation(self.places).tolist():
                await self.cycle(ctx, bank=1 - bank, swept=(bank, place))
            for _ in range(2):  # (No core is faster: the spikes of a sweep go through its emitter first.)
                await self.cycle(ctx, bank=1 - bank)


def _spread(count):
    """A few numbers below ``count`` that differ in every bit, including the first and the last."""
    return sorted({0, 1, count - 2, count - 1, *(1 << bit for bit in range(bits_for(count)) if 1 << bit < count)})


def check(bench):
    simulator = Simulator(bench.dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench.run)
    simulator.run()
    assert bench.seen == bench.expected


@pytest.mark.parametrize(
    ("lanes", "changes"),
    [
        (1, {}),
        (4, {}),
        (4, {"accumulator_memory": "distributed"}),
        (1, {"weight_words": 20_000}),
        pytest.param(1, {"neurons": 1 << 13}, id="as many as one block RAM holds"),
        pytest.param(1, {"neurons": (1 << 13) + 1}, id="more than one block RAM holds"),
        pytest.param(1, {"neurons": 1 << 14, "weight_words": 1 << 18}, id="the most"),
    ],
)
def test_sums(request, lanes, changes):
    core = CoreParameters(**{"lanes": lanes, "neurons": 12 * lanes, "weight_words": 64} | changes)
    bench = Bench(rng_of(request.node.name), core)
    check(bench)
    assert len(bench.seen) == 8 * len(bench.places)
    assert any(word is None for word in bench.seen)
    assert len(np.unique([word for word in bench.seen if word is not None])) > 20
    assert bench.distances >= {1, 2, 3, 4, 5}


SMALL = CoreParameters(lanes=1, neurons=12, weight_words=64)
DISTRIBUTED = dataclasses.replace(SMALL, accumulator_memory="distributed")
MUTATIONS = {
    "forwarding of the last sum": ("control.last.eq(hits[2][0])", "control.last.eq(0)"),
    "forwarding of the third sum": ("stages[1:4])", "stages[1:3])"),
    "forwarding of another bank's sum": ("(earlier.bank == later.bank) &", ""),
    "touched: never": ("ok.eq(", "ok.eq(0 & "),
    "touched: always": ("ok.eq(", "ok.eq(1 | "),
    "touched: of the other bank": ("bit_select(stages[2].bank, 1)", "bit_select(~stages[2].bank, 1)"),
    "touched by the word before, LUT RAM": (" | hits[1][0]),", "),"),
    "touched: where nothing was added": ("stages[0].valid &", ""),
    "touched: in both banks": ("& (stages[0].bank == number)", ""),
    "touched: the wrong word": (
        "self.clear_address, memory.address",
        "self.clear_address, stages[1].target",
    ),
    "clearing of accumulators": ("~(self.clear | sweeping)", "~self.clear"),
    "bank of the sweep": ("swept_bank.eq(self.bank)", "swept_bank.eq(~self.bank)"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(mutation):
    """The bug is in the touched bits, the clearing or the forwarding: the sums differ."""
    core = DISTRIBUTED if "LUT RAM" in mutation else SMALL
    with pytest.raises(AssertionError):
        check(Bench(rng_of(mutation), core, mutated(accumulate, *MUTATIONS[mutation])))


@pytest.mark.parametrize("core", [SMALL, DISTRIBUTED], ids=["block", "distributed"])
def test_without_a_planted_bug_the_same_sums_agree(request, core):
    check(Bench(rng_of(request.node.name), core))
