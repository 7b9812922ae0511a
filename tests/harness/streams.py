"""Bench for designs with input and output streams, under random pauses and stalls."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from amaranth.hdl import Elaboratable, Value
from amaranth.sim import Simulator

from harness.assign import assign

QUIET = 60
"""Cycles without a transfer after which most designs have no more output."""


@dataclass
class StreamRun:
    """The result of a run: for each stream, the words that it transferred and the cycle of each transfer."""

    taken: list[list[tuple[int, int]]] = field(default_factory=list)
    given: list[list[tuple[int, int]]] = field(default_factory=list)
    offered: list[int] = field(default_factory=list)  #: the first cycle in which each output was valid, or -1
    cycles: int = 0

    def words(self, output: int) -> list[int]:
        """The words of an output."""
        return [word for word, _ in self.given[output]]


def run_streams(
    design: Elaboratable,
    inputs: list,
    outputs: list,
    words: list[list[int]],
    rng: np.random.Generator,
    *,
    idle: float = 0.3,
    stall: float = 0.3,
    timeout: int = 20_000,
    quiet: int = QUIET,
) -> StreamRun:
    """Offer ``words[n]`` at ``inputs[n]`` until all are taken and the design is silent.

    ``idle`` and ``stall`` are the probabilities, in each cycle, of a pause before a word and of an output that is not
    ready. A word that an output offers must stay until it is taken. After ``quiet`` cycles without a transfer, nothing
    more is expected.
    """
    run = StreamRun([[] for _ in inputs], [[] for _ in outputs], [-1] * len(outputs))
    waiting = [deque(some) for some in words]
    offering = [False] * len(inputs)
    kept: list[int | None] = [None] * len(outputs)

    async def clock(ctx) -> None:
        silent = 0
        while silent < quiet:
            assert run.cycles < timeout, "the design must end its work, not hang"
            levels: list[tuple[object, int]] = []
            for number, stream in enumerate(inputs):
                if not offering[number] and waiting[number] and rng.random() >= idle:
                    offering[number] = True
                    levels.append((stream.payload, waiting[number][0]))
                levels.append((stream.valid, offering[number]))
            assign(ctx, [*levels, *((stream.ready, rng.random() >= stall) for stream in outputs)])
            silent = silent + 1 if not any(waiting) else 0
            for number, stream in enumerate(inputs):
                if offering[number] and ctx.get(stream.ready):
                    run.taken[number].append((waiting[number].popleft(), run.cycles))
                    offering[number] = False
                    silent = 0
            for number, stream in enumerate(outputs):
                valid = ctx.get(stream.valid)
                word = ctx.get(Value.cast(stream.payload)) if valid else None
                if kept[number] is not None:
                    assert word == kept[number], "what is offered must stay until it is taken"
                kept[number] = word
                if not valid:
                    continue
                if run.offered[number] < 0:
                    run.offered[number] = run.cycles
                silent = 0
                if ctx.get(stream.ready):
                    run.given[number].append((word, run.cycles))
                    kept[number] = None
            await ctx.tick()
            run.cycles += 1

    simulator = Simulator(design)
    simulator.add_clock(1e-6)
    simulator.add_testbench(clock)
    simulator.run()
    return run


def can_be_cut(events: list[int], steps: list[set[int]]) -> bool:
    """Whether a sequence can be cut into pieces with exactly the members of each step, and a rest."""
    starts = {0}
    for wanted in steps:
        reached = set()
        for start in starts:
            seen: set[int] = set()
            for stop in range(start, len(events) + 1):
                if seen == wanted:
                    reached.add(stop)
                if stop < len(events):
                    if events[stop] not in wanted:
                        break
                    seen.add(events[stop])
        starts = reached
    return bool(starts)
