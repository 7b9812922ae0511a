"""Planted bugs in the neuron update: each must make the comparison with the recurrence fail."""

import dataclasses

import pytest
from harness.lane import EVERYTHING, LEAKS, PLAIN, LaneBench, check_lane
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.hdl.core import lane
from spikeloom.sim.core.features import PER_NEURON

FULL = dataclasses.replace(PLAIN, **EVERYTHING)

MUTATIONS = {
    # Leaks.
    "leak: the first shift": ("part.eq(value >> p.shifts[0])", "part.eq(value >> (p.shifts[0] + 1))", "shifts"),
    "leak: another shift": ("part.eq(value >> shift)", "part.eq(value >> (shift + 1))", "shifts"),
    "leak: no shift": ("(code != 0) &", "", "shifts"),
    "leak: a shift while it holds": ("& ~Value.cast(hold)[0]", "", "shifts"),
    "leak: the subtraction's carry": ("leaks, carry=leaks)", "leaks, carry=0)", "shifts"),
    "leak: rounded to the nearest": ("(self.rule.nearest & product[p.beta_fraction - 1])", "0"),
    "leak: rounded up": ("negative.at(following) | (self", "(self"),
    "leak: negated": ("invert=negative,", "invert=None,"),
    "leak: a product while it holds": ("self.hold.at(leak), self.kept_v.at(leak), membrane", "0, 0, membrane"),
    "leak: rounding while it holds": ("carry & ~self.hold.at(leak)", "carry"),
    # The start of a sample.
    "start: leak": ("fresh | rule.delay_line if p.delay_line else fresh", "rule.delay_line if p.delay_line else 0"),
    "start: line": ('"kept_v", v, 1, clear=fresh', '"kept_v", v, 1'),
    "start: oldest of the line": ('"old", older, 1, clear=self.ports.fresh', '"old", older, 1'),
    "start: refractory": ("count.any(), 1, clear=self.ports.fresh)", "count.any(), 1)"),
    "start: count": ("[: len(count)], 1, clear=self.ports.fresh)", "[: len(count)], 1)"),
    "start: pending": ("self.ports.state.pending, 1, clear=fresh", "self.ports.state.pending, 1"),
    "start: current": ('("current_leak_factor"), 0, fresh', '("current_leak_factor"), 0, Const(0)'),
    "start: adaptation": ("self.ports.state.adaptation, 1, clear=self.ports.fresh", "self.ports.state.adaptation, 1"),
    "start: seed": ("Mux(self.ports.fresh, seed, self", "Mux(0, seed, self"),
    # The reset of an earlier spike.
    "pending: to zero": ("pending & rule.reset[0], pending", "pending & rule.reset.all(), pending"),
    "pending: by subtraction": ("subtracts = adds & ~rule.reset[0]", "subtracts = adds & 0"),
    "pending: to a value": ('Mux(rule.reset[0], self.parameter["reset_value"].at(leak), other)', "other"),
    "pending: rounding of what is erased": ("carry & ~erases", "carry"),
    "pending: not kept": ("fired.at(end) & self.rule.reset_delay", "0"),
    # Integration.
    "current: invalid": ("self.ports.current, self.ports.current_valid", "self.ports.current, Const(1)"),
    "current: while it holds": ("gate & ~self.hold.at(stage)", "gate"),
    "current: stored without": ("& rule.current.replicate(p.v_width), stage", ", stage"),
    "current: not saturated": ("saturated(drive, p.v_width) & rule", "drive[: p.v_width] & rule"),
    "bias": ('self.parameter["bias"].at(stage), stage', "self.parameter['bias'].at(stage) >> 1, stage"),
    # Firing.
    "compare: > for >=": ("(self.rule.greater_equal | difference[:-1].any())", "difference[:-1].any()"),
    "compare: >= for >": ("(self.rule.greater_equal | difference[:-1].any())", "1"),
    "compare: the lowest bit": ("difference[:-1].any()", "difference[1:-1].any()"),
    "spike: while it holds": ("& ~(0 if self.hold is None else self.hold.at(stage))", ""),
    "spike: of neurons that never spike": ("fires & rule.spiking &", "fires &"),
    "refractory: not started": ("Mux(fired.at(end), self.rule.refractory, less.at(end))", "less.at(end)"),
    "refractory: not counted": ("Mux(count.any(), count - 1, 0)", "Mux(count.any(), count, 0)"),
    "readout": ("fired.at(end) | self.rule.readout if", "fired.at(end) if"),
    # Reset and saturation.
    "reset: none": ("rule.reset != RESET_CODES[Reset.NONE]", "1"),
    "reset: delayed": ("takes & ~rule.reset_delay", "takes"),
    "reset: to a value": ("rule.reset[1] & rule.reset[0], self", "0 & rule.reset[0], self"),
    "reset: to zero": ("to_zero.eq(rule.reset == RESET_CODES[Reset.ZERO])", "to_zero.eq(0)"),
    "reset: overflow of a value": ("~condition & other_over", "other_over"),
    "saturation: of what stays": ('register("u_over", overflows(u, p.v_width))', 'register("u_over", Const(0))'),
    "saturation: after a reset": ('register("other_over", other_over, to_zero)', 'register("other_over", Const(0))'),
    "saturation: sign": ("Mux(same, ~sign, takes)", "Mux(same, sign, takes)"),
    # Adaptation.
    "adaptation: not added": ("added = self.adaptation.at(1)", "added = Const(0)"),
    "adaptation: no step": ("fired.at(stage), p.v_width + 1)", "0, p.v_width + 1)"),
    "adaptation: not saturated": (
        'saturated(self._register("adapted", total, stage + 1).at(stage + 1), p.v_width)',
        'self._register("adapted", total, stage + 1).at(stage + 1)[: p.v_width]',
    ),
    # Noise.
    "noise: sign": ("(bits & mask & ~below).any()", "Const(0)"),
    "noise: bits": ("below = Cat(mask[1:], 0)", "below = Cat(mask)"),
    "noise: steps": ("TAPS[RANDOM_WIDTH], RANDOM_WIDTH)", "TAPS[RANDOM_WIDTH], RANDOM_WIDTH - 1)"),
    # A second threshold.
    "second: not raised": ('self._register("raised", above, 1)', 'self._register("raised", above & 0, 1)'),
    "second: raised for all": (" & self.rule.second_threshold\n", "\n"),
    "second: subtracted twice": ("Mux(self.rule.second_threshold, once.at(decide), subtracted)", "subtracted"),
    "second: subtracted once": ("Mux(self.rule.second_threshold, once.at(decide), subtracted)", "once.at(decide)"),
    "start: raised": ("Mux(self.ports.fresh, now[-1], self.ports.state.v > now)", "(self.ports.state.v > now)"),
    # Several spikes per step.
    "counts: no bound": ("(Cat(Const(1), higher) <= self.rule.max_spikes[power:])", "1"),
    "counts: one less": ("<= self.rule.max_spikes[power:]", "< self.rule.max_spikes[power:]"),
    "counts: the multiple": ("Cat(Const(0, power), threshold", "Cat(Const(0, power - 1), threshold"),
    "counts: not subtracted": ("left = Mux(bit, difference", "left = Mux(bit & 0, difference"),
    "counts: the rest": ("Mux(one, subtracted, rest.at(decide))", "subtracted"),
    "counts: the rest of few": ("Mux(one, subtracted, rest.at(decide))", "Mux(reached, subtracted, rest.at(decide))"),
    "counts: fires at the threshold only": ("reached if higher is None else reached | higher.any()", "reached"),
    "counts: sent for all": ("Mux(self.rule.max_spikes > 1, Cat(one, higher", "Mux(1, Cat(one, higher"),
    "counts: sent without the lowest": ("Cat(one, higher.at(decide)), u", "Cat(Const(0, 1), higher.at(decide)), u"),
    # The lower bound.
    "bound: none": ("Mux(kept < bound, bound, kept)", "kept"),
    "bound: for all": ("Mux(kept < bound, bound, kept)", "bound"),
    "bound: an upper one": ("Mux(kept < bound, bound, kept)", "Mux(kept > bound, bound, kept)"),
    "bound: one less": ("Mux(kept < bound, bound, kept)", "Mux(kept < bound, bound - 1, kept)"),
    "bound: one later": ("Mux(kept < bound, bound, kept)", "Mux(kept < bound - 1, bound, kept)"),
    "bound: no signs": ("kept < bound, bound", "kept.as_unsigned() < bound.as_unsigned(), bound"),
    "bound: wraps": ("kept < bound, bound", "(kept - bound)[: len(kept)].as_signed() < 0, bound"),
    "bound: not where it saturates": ("Mux(kept < bound, bound", "Mux((kept < bound) & kept[:-1].any(), bound"),
    "bound: before the reset": (
        "        v = self._after(kept, subtracted, reached, spike)\n"
        "        if p.lower_bound:\n"
        "            v = self._bounded(v)\n",
        "        floor = self.parameter['lower_bound'].at(decide)\n"
        "        kept = Mux(kept < floor, floor, kept).as_signed()\n"
        "        v = self._after(kept, subtracted, reached, spike)\n",
    ),
    # Delay lines.
    "line: delay": ("bit_select(delay, 1)", "bit_select(delay + 1, 1)"),
    "line: no delay": ("Mux(at_once.at(stage), reached, old.at(stage))", "old.at(stage)"),
    "line: newest bit": ("Cat(reached, self.kept_v", "Cat(0, self.kept_v"),
    "line: takes a reset": ("takes = takes | rule.delay_line", "pass"),
    "line: leaks": ("fresh | rule.delay_line if p.delay_line else fresh", "fresh"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(mutation):
    old, new, *leak = MUTATIONS[mutation]
    rng = rng_of(mutation)
    copy = mutated(lane, old, new)
    core = dataclasses.replace(FULL, **(LEAKS[leak[0]] if leak else {}))
    for case in range(30):
        own = frozenset(name for name in PER_NEURON if rng.random() < 0.5)
        # Neurons with spike counts have no noise, no adaptation and no second threshold.
        counts = core.count_width if "counts" in mutation else 0
        lines = case % 2 == 0 or "line" in mutation
        case_core = dataclasses.replace(core, per_neuron=own, delay_line=lines, count_width=counts)
        bench = LaneBench(copy.NeuronLane(case_core))
        try:
            for rule in range(5):
                check_lane(bench, rng, size=24, wide=rule % 3 == 0, fresh="start" in mutation)
        except AssertionError:
            return
    pytest.fail(f"the planted bug in {mutation!r} must be found")


@pytest.mark.parametrize("leak", ["product", "shifts"])
def test_without_a_planted_bug_the_same_neurons_agree(leak):
    rng = rng_of(leak)
    for lines in (True, False):
        core = dataclasses.replace(FULL, **LEAKS[leak], delay_line=lines)
        bench = LaneBench(lane.NeuronLane(core))
        for case in range(15):
            check_lane(bench, rng, size=24, wide=case % 3 == 0, fresh=case % 4 == 0)
