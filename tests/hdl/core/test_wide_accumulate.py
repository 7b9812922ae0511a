"""Accumulators of several words per cycle against sums in a list: groups anywhere; one bank is swept, one written."""

import dataclasses

import numpy as np
import pytest
from amaranth.sim import Simulator
from harness.assign import assign
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.hdl.core import wide_accumulate
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.words import pack_lanes, weight_bits, weight_range


class Bench:
    """Adds groups of random words to the accumulators, and sweeps all of them."""

    def __init__(self, rng, core, module=wide_accumulate):
        self.rng, self.core, self.dut = rng, core, module.WideAccumulator(core)
        low, high = weight_range(core.weight_width)
        choices = [low, high] if core.weight_width == 1 else np.arange(low, high + 1)
        self.weights = rng.choice(choices, (core.weight_words, core.lanes))
        self.image = pack_lanes(weight_bits(self.weights.reshape(-1), core.weight_width), core.lanes)
        self.sums = [{}, {}]
        # For each cycle, whether an accumulator is swept, and its content, if any.
        self.due = [(False, None)] * self.dut.READ_LATENCY
        self.seen, self.expected = [], []
        self.groups = set()  # (column of the weights, column of the accumulators, others)

    async def load(self, ctx):
        load, core = self.dut.load, self.core
        ctx.set(load.write_enable, 1)
        ctx.set(load.memory, core.memories["weights"].number)
        for index, word in enumerate(self.image.tolist()):
            for plane, value in enumerate(word):
                assign(ctx, [(load.plane, plane), (load.index, index), (load.write_data, value)])
                await ctx.tick()
        ctx.set(load.write_enable, 0)
        await ctx.tick().repeat(4)

    async def cycle(self, ctx, *, bank=None, swept=None):
        """Run one cycle, in which a group may arrive for ``bank``, and ``swept``, a bank and an address, may be
        swept."""
        dut, rng, core = self.dut, self.rng, self.core
        ctx.set(dut.word.valid, 0)
        if bank is not None and rng.random() < 0.8:
            others = int(rng.integers(core.words_per_cycle))
            target, at = (int(rng.integers(count - others)) for count in (core.words, core.weight_words))
            group = {"valid": 1, "weight_address": at, "target": target, "bank": bank, "parity": bank, "others": others}
            ctx.set(dut.word, group)
            for number in range(others + 1):
                before = self.sums[bank].get(target + number, 0)
                self.sums[bank][target + number] = before + self.weights[at + number]
            self.groups.add((at % core.words_per_cycle, target % core.words_per_cycle, others))
        ctx.set(dut.sweep, swept is not None)
        if swept is not None:
            ctx.set(dut.bank, swept[0])
            ctx.set(dut.address, swept[1])
            self.due.append((True, self.sums[swept[0]].pop(swept[1], None)))
        else:
            self.due.append((False, None))
        await ctx.tick()
        is_swept, held = self.due[-dut.READ_LATENCY]
        if is_swept:
            valid = ctx.get(dut.current_valid)
            self.seen.append([ctx.get(dut.current[lane]) for lane in range(core.lanes)] if valid else None)
            self.expected.append(None if held is None else held.tolist())

    async def run(self, ctx):
        dut, core = self.dut, self.core
        # The bits are undefined before: here, all words count as touched.
        for bits in (bits for columns in dut.touched for bits in columns):
            for row in range(bits.memory.depth):
                ctx.set(bits.memory.data[row], 1)
        ctx.set(dut.clear, 1)
        for word in range(core.words):
            ctx.set(dut.clear_address, word)
            await ctx.tick()
        ctx.set(dut.clear, 0)
        await self.load(ctx)
        for turn in range(8):
            bank = turn % 2
            # In the last turns only a few words are added, and others are swept untouched.
            for _ in range(40 if turn < 6 else 2):
                await self.cycle(ctx, bank=int(self.rng.integers(2)))
            while ctx.get(dut.busy):
                await self.cycle(ctx)
            for place in self.rng.permutation(core.words).tolist():
                await self.cycle(ctx, bank=1 - bank, swept=(bank, place))
            for _ in range(2):
                await self.cycle(ctx, bank=1 - bank)


def check(bench):
    simulator = Simulator(bench.dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench.run)
    simulator.run()
    assert bench.seen == bench.expected


SMALL = CoreParameters(
    lanes=1, words_per_cycle=4, neurons=14, weight_words=32, accumulator_memory="distributed", accumulator_width=18
)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"words_per_cycle": 2, "lanes": 4, "neurons": 4 * 11, "weight_words": 26},
        {"words_per_cycle": 8, "neurons": 16, "weight_words": 16},
        {"weight_width": 1},
        {"weight_width": 5, "lanes": 2, "neurons": 16},
    ],
    ids=lambda changes: ", ".join(f"{name} {value}" for name, value in changes.items()) or "small",
)
def test_sums(request, changes):
    core = dataclasses.replace(SMALL, **changes)
    bench = Bench(rng_of(request.node.name), core)
    check(bench)
    assert len(bench.seen) == 8 * core.words
    assert any(word is None for word in bench.seen)
    assert len(np.unique([word for word in bench.seen if word is not None])) > 10
    # Rows may begin in any column of either memory, with any rotation from one to the other.
    every = set(range(core.words_per_cycle))
    assert every == {at for at, *_ in bench.groups} == {(at - target) % len(every) for at, target, _ in bench.groups}
    assert every == {others for *_, others in bench.groups}


MUTATIONS = {
    "row of the weights": ("Mux(first[:low] > column, following", "Mux(first[:low] > column, first[low:]"),
    "row of the accumulators": (" + (group.target[:low] > column)", ""),
    "rotation": ("weights[column - (1 << place)]", "weights[column]"),
    "rotation of another group": ("stages[ARRIVAL + place - 1]", "stages[ARRIVAL + place]"),
    "words beyond the group": ("group.valid & (number <= group.others)", "group.valid"),
    "touched: never": ("counts.eq(Mux(", "counts.eq(0 & Mux("),
    "touched: always": ("counts.eq(Mux(", "counts.eq(1 | Mux("),
    "touched: of the other bank": ("counts.eq(Mux(bank,", "counts.eq(Mux(~bank,"),
    "touched: set by a sweep": ("write_data.eq(~(self.clear | sweeping))", "write_data.eq(~self.clear)"),
    "touched: not cleared at first": ("write_enable.eq(self.clear | ", "write_enable.eq("),
    "touched: all columns swept": ("self.clear | swept_here |", "self.clear | sweeping |"),
    "bank of the sweep": ("swept_bank.eq(self.bank)", "swept_bank.eq(~self.bank)"),
    "column of the sweep": ("column_read.eq(swept[:low])", "column_read.eq(0)"),
    "busy too short": ("for word in stages[1:])", "for word in stages[1:3])"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(mutation):
    with pytest.raises(AssertionError):
        check(Bench(rng_of(mutation), SMALL, mutated(wide_accumulate, *MUTATIONS[mutation])))
