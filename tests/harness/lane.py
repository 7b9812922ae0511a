"""Bench of one lane: neurons in arbitrary states in, one per cycle, next states and spikes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from amaranth.hdl import Elaboratable, Value
from amaranth.sim import Simulator

from harness.assign import assign
from harness.networks import random_parameters
from spikeloom.hdl.core.lane import LaneTiming
from spikeloom.sim.core.features import WITHOUT_FEATURES
from spikeloom.sim.core.memory_fields import parameter_values, rule_values
from spikeloom.sim.core.neuron import NeuronParameters, NeuronState, saturate, signed_range, step
from spikeloom.sim.core.parameters import CoreParameters

PLAIN = CoreParameters(
    v_width=12,
    accumulator_width=14,
    beta_fraction=8,
    per_neuron=frozenset(),
    **WITHOUT_FEATURES,
)
"""A core for plain leaky integrate-and-fire neurons only."""
EVERYTHING = {
    "bias": True,
    "reset_value": True,
    "reset_delay": True,
    "refractory_width": 3,
    "readout": True,
    "synaptic_current": True,
    "adaptation": True,
    "noise_bits": 7,
    "value_width": 6,
    "delay_line": True,
    "second_threshold": True,
    "count_width": 4,
    "lower_bound": True,
}
"""Optional parts that can be added to it."""
NEEDED = {"count_width": {"value_width": 6}}
"""Other fields that a core with one of these parts must have."""
LEAKS = {
    "product": {},
    "shifts": {"multiplier": False, "shifts": (3, 1, 0, 7)},
    "shift": {"multiplier": False, "shifts": (4,)},
    "none": {"multiplier": False},
}
"""The kinds of leaks that a core can be built for."""


@dataclass
class LaneRun:
    """The result of the RTL for each neuron, all ``(1, n)`` as in `spikeloom.sim.core.neuron.step`."""

    state: NeuronState
    emit: np.ndarray
    sent: np.ndarray


def extremes(rng: np.random.Generator, low: int, high: int, size: int) -> np.ndarray:
    """Integers, a third of them an end of the range, a third near 0 or near an end, and a third anywhere."""
    ends, near = np.array([low, high]), np.array([low + 1, low + 2, -2, -1, 0, 0, 1, 2, high - 2, high - 1])
    near = near[(near >= low) & (near <= high)]
    anywhere = rng.integers(low, high + 1, size)
    return np.choose(rng.integers(3, size=size), [rng.choice(ends, size), rng.choice(near, size), anywhere])


def random_states(rng: np.random.Generator, core: CoreParameters, p: NeuronParameters) -> NeuronState:
    """Any state ``(1, n)`` that neurons with the rule ``p`` can be in."""
    size, (low, high) = p.size, signed_range(core.v_width)
    zero = np.zeros(size, np.int64)
    state = {
        "v": extremes(rng, low, high, size),
        "pending": rng.integers(2, size=size) if p.reset_delay else zero,
        "refractory_count": rng.integers(p.refractory + 1, size=size),
        "current": extremes(rng, low, high, size) if p.current_leak is not None else zero,
        "adaptation": extremes(rng, low, high, size) if p.adaptation_leak is not None else zero,
        "random": rng.integers(1, 1 << 16, size) if p.noise_bits else zero,
    }
    if p.second_threshold:  # around the threshold, where a unit matters
        near = np.clip(np.asarray(p.threshold) + rng.integers(-3, 30, size), low, high)
        state["v"] = np.where(rng.random(size) < 0.5, near, state["v"])
    return NeuronState(**{name: values[None].astype(np.int64) for name, values in state.items()})


def random_rule(rng: np.random.Generator, core: CoreParameters, size: int, *, wide: bool) -> NeuronParameters:
    """A random rule that ``core`` supports; with ``wide``, its thresholds, biases and steps come from their whole
    range."""
    p = random_parameters(rng, size, core, spiking=not core.readout or rng.random() < 0.85)
    if wide and not p.delay_line:
        low, high = signed_range(core.v_width)
        names = ["threshold", "reset_value", "bias"] if core.bias else ["threshold", "reset_value"]
        names += ["adaptation_step"] if p.adaptation_leak is not None else []
        names += ["lower_bound"] if p.lower_bound is not None else []
        changes = {name: extremes(rng, low, high, size) for name in names}
        if p.max_spikes > 1:
            # Membranes reach several thresholds only if these are small.
            changes["threshold"] = np.where(rng.random(size) < 0.5, extremes(rng, 1, high, size), p.threshold)
        shared = {name: int(values[0]) for name, values in changes.items() if name not in core.per_neuron}
        p = replace(p, **(changes | shared))
    return p


class LaneBench:
    """A lane and its simulator, which is made once and reset before each run: to make it takes longer than a run."""

    def __init__(self, lane: Elaboratable) -> None:
        self.lane, self.parameters = lane, lane.parameters
        self._stimulus: tuple[dict[str, int], int, list[tuple[int, int, int, int]]] = {}, 0, []
        self._found: list[tuple[int, int, int]] = []
        self._has_run = False
        self._simulator = Simulator(lane)
        self._simulator.add_clock(1e-6)
        self._simulator.add_testbench(self._bench)

    async def _bench(self, ctx) -> None:
        lane, latency = self.lane, LaneTiming.of(self.parameters).latency
        rule, fresh, cycles = self._stimulus
        ctx.set(lane.rule, rule)
        ctx.set(lane.fresh, fresh)
        inputs = [Value.cast(port) for port in (lane.state, lane.neuron, lane.current, lane.current_valid)]
        outputs = [Value.cast(port) for port in (lane.new_state, lane.emit, lane.sent)]
        for cycle, levels in enumerate(cycles):
            assign(ctx, zip(inputs, levels, strict=True))
            if cycle >= latency:
                self._found.append(tuple(ctx.get(port) for port in outputs))
            await ctx.tick()

    def run(
        self, p: NeuronParameters, state: NeuronState, current: np.ndarray, valid: np.ndarray, *, fresh: bool
    ) -> LaneRun:
        """Stream neurons ``(1, n)`` with the accumulators ``current`` through; those not ``valid`` count as 0."""
        core, timing = self.parameters, LaneTiming.of(self.parameters)
        values = {name: np.broadcast_to(value, p.size) for name, value in parameter_values(core, p).items()}
        shared = {name: array[0] for name, array in values.items()} | rule_values(core, p, readout=not p.spiking)
        rule = {f.name: int(shared[f.name]) for f in core.population_layout.fields if f.name in shared and f.width}
        states = _packed(core.state_layout, {f.name: getattr(state, f.name)[0] for f in fields(NeuronState)}, p.size)
        neurons = _packed(core.neuron_layout, values, p.size)
        cycles = []
        for cycle in range(p.size + timing.latency):
            n = cycle if cycle < p.size else 0
            late = min(max(cycle - timing.current, 0), p.size - 1)
            cycles.append((states[n], neurons[n], int(current[0, late]), int(valid[0, late])))
        self._stimulus, self._found = (rule, int(fresh), cycles), []
        if self._has_run:  # before the first run there is nothing to reset
            self._simulator.reset()
        self._has_run = True
        self._simulator.run()
        words, emit, sent = zip(*self._found, strict=True)
        zero = np.zeros(p.size, np.int64)
        after = _unpacked(core.state_layout, words)
        return LaneRun(
            state=NeuronState(**{f.name: after.get(f.name, zero)[None] for f in fields(NeuronState)}),
            emit=np.array([emit], np.int64),
            sent=np.array([sent], np.int64),
        )


def _packed(layout: Any, values: dict[str, np.ndarray], size: int) -> list[int]:
    """Words of ``layout``, the first field lowest, of ``size`` neurons."""
    words, low = [0] * size, 0
    for field in layout.fields:
        if field.width:
            mask = (1 << field.width) - 1
            words = [word | (int(value) & mask) << low for word, value in zip(words, values[field.name], strict=True)]
        low += field.width
    return words


def _unpacked(layout: Any, words: Sequence[int]) -> dict[str, np.ndarray]:
    """The fields ``(n,)`` of words of ``layout``."""
    found, low = {}, 0
    for field in layout.fields:
        values = [word >> low & (1 << field.width) - 1 for word in words]
        if field.signed and field.width:
            values = [value - (value >> (field.width - 1) << field.width) for value in values]
        found[field.name] = np.array(values, np.int64)
        low += field.width
    return found


@dataclass
class LaneCheck:
    """What a comparison covered, for the assertion that it was interesting."""

    parameters: NeuronParameters
    before: NeuronState
    after: NeuronState
    spikes: np.ndarray
    values: np.ndarray


def undriven(p: NeuronParameters, state: NeuronState) -> np.ndarray:
    """The membranes ``(n,)`` after a step without input and without spikes, starting from ``state`` ``(1, n)``."""
    quiet = replace(
        p,
        spiking=False,
        max_spikes=1,
        graded=False,
        noise_bits=0,
        adaptation_leak=None,
        second_threshold=False,
        lower_bound=None,
    )
    after, _, _ = step(state, np.zeros((1, p.size), np.int64), quiet)
    return after.v[0]


def check_lane(
    bench: LaneBench, rng: np.random.Generator, *, size: int = 48, wide: bool = False, fresh: bool = False
) -> LaneCheck:
    """Compare the lane of ``bench`` with the recurrence, for neurons with a random rule and arbitrary states."""
    core = bench.parameters
    p = random_rule(rng, core, size, wide=wide)
    state = random_states(rng, core, p)
    low, high = signed_range(core.accumulator_width)
    current = extremes(rng, low, high, size) if wide or rng.random() < 0.3 else rng.integers(-90, 130, size)
    valid = (rng.random(size) < 0.85)[None]
    start = NeuronState.cleared(1, p) if fresh else state
    if p.spiking and not p.delay_line:
        # Membranes equal or next to a multiple of the threshold, where one unit decides.
        count = rng.integers(1, p.max_spikes + 1, size)
        aimed = count * np.asarray(p.threshold) - undriven(p, start) + rng.integers(-1, 2, size)
        current = np.where(rng.random(size) < 0.3, aimed, current)
    current = np.clip(current, low, high)[None]
    expected, spikes, values = step(start, current * valid, p)
    run = bench.run(p, state, current, valid, fresh=fresh)
    for field in fields(NeuronState):
        assert np.array_equal(getattr(run.state, field.name), getattr(expected, field.name)), field.name
    assert np.array_equal(run.emit, spikes if p.spiking else np.ones_like(spikes))
    emitted = run.emit == 1
    sent = saturate(run.sent, core.v_width) if not p.spiking else run.sent >> p.graded_shift
    if p.max_spikes > 1:
        assert np.array_equal(run.sent[emitted], values[emitted])
    if core.value_width and p.graded:
        assert np.array_equal(saturate(sent, core.value_width)[emitted], values[emitted])
    elif not (core.value_width and p.spiking):
        assert np.array_equal(sent[emitted], expected.v[emitted])
    return LaneCheck(p, start, expected, spikes, values)
