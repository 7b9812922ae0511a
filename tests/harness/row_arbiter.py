"""Cores of random requests at the model of the arbiter, and what each of them sees."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from spikeloom.sim.sdram.arbiter import INCOMPLETE_ROWS, OFFERED_ROWS, ArbiterModel

__all__ = ["ArbiterRun", "run_arbiter"]


@dataclass
class ArbiterRun:
    """``passed`` is the largest number of rows of one other core, ``waited`` that of cycles, for which a request has
    waited; ``words`` and ``dropped`` are the numbers of words that cores have taken, and that no core needed."""

    passed: int = 0
    waited: int = 0
    words: int = 0
    dropped: int = 0


class _Core:
    def __init__(self, cores: int) -> None:
        self.request: tuple[int, int] | None = None
        self.due: deque[deque[int]] = deque()  # the words of each row that have not come
        self.waiting, self.passed = 0, [0] * cores

    def served(self) -> None:
        """The request is granted or forgotten."""
        self.request, self.waiting, self.passed = None, 0, [0] * len(self.passed)


def run_arbiter(
    rng: np.random.Generator,
    model: ArbiterModel,
    *,
    rows: int = 60,
    idle: float = 0.3,
    stall: float = 0.3,
    long_stall: int = 0,
    restart: float = 0.0,
) -> ArbiterRun:
    """Let each core request ``rows`` random rows of a memory whose words are their addresses.

    The memory delivers words in order after random times and, when it has delivered ``rows`` words, none for
    ``long_stall`` cycles. Each core has at most nine incomplete rows. With the probabilities ``idle``, ``stall`` and
    ``restart``, a core that could does not request a row in a cycle, does not take a word, and forgets its rows.
    """
    p = model.parameters
    cores = [_Core(p.cores) for _ in range(p.cores)]
    found = ArbiterRun()
    left, waits, quiet = [rows] * p.cores, 0, 0
    due: deque[int] = deque()  # words of the memory
    while any(left) or model.incomplete or any(core.request for core in cores):
        for number, core in enumerate(cores):
            if core.request is None and left[number] and len(core.due) < 9 and rng.random() >= idle:
                length = int(rng.integers(p.row_words))
                core.request = int(rng.integers((1 << p.address_bits) - length)), length
                left[number] -= 1
        if long_stall and found.words + found.dropped >= rows:
            waits, long_stall = long_stall, 0
        waits = max(0, waits - 1)
        restarts = [bool(rng.random() < restart) for _ in cores]
        word, memory_ready = bool(due) and not waits and rng.random() >= 0.1, bool(rng.random() >= 0.2)
        readies = [bool(core.due) and rng.random() >= stall for core in cores]
        wants = [
            core.request is not None and not model.dropping[number] and not restarts[number]
            for number, core in enumerate(cores)
        ]
        requests = [core.request for core in cores]
        out = model.step(requests, restarts, memory_ready=memory_ready, word=word, readies=readies)
        assert sum(model.rows) == len(model.incomplete) <= INCOMPLETE_ROWS
        assert len(model.offered) <= OFFERED_ROWS

        if out.row is not None and memory_ready:
            due.extend(range(out.row[0], out.row[0] + out.row[1] + 1))
        quiet = 0 if word and out.ready else quiet + 1
        assert quiet < 1200, "words must keep moving"
        if word and out.ready:
            arrived = due.popleft()
            if out.receiver is None:
                found.dropped += 1
            else:
                core = cores[out.receiver]
                assert readies[out.receiver]
                assert arrived == core.due[0].popleft(), "a core gets the words of its rows in order"
                found.words += 1
                if not core.due[0]:
                    core.due.popleft()
        for number, core in enumerate(cores):
            core.waiting += wants[number]
            found.waited = max(found.waited, core.waiting)
            if wants[number] and out.granted not in (None, number):
                core.passed[out.granted] += 1
                found.passed = max(found.passed, *core.passed)
        if out.granted is not None:
            core = cores[out.granted]
            assert core.request is not None
            first, length = p.first(out.granted) + core.request[0], core.request[1]
            core.due.append(deque(range(first, first + length + 1)))
            core.served()
        for number, core in enumerate(cores):
            if restarts[number]:
                core.due.clear()
                core.served()
    return found
