"""Several cores at one weight memory: the slices of its address space, and the recurrence of the arbiter of their rows.

Core ``c`` owns the words whose address has ``c`` above the ``address_bits`` bits of its own addresses, so that nothing
is added::

    address in the memory = c << address_bits | address of the core

Each core requests rows of words. The arbiter grants one request per cycle to the core, among those that wait, whose
last grant is longest ago. Words arrive in the order of the requests; a queue of (core, length) says whose they are::

    requests ─▶ grant ─┬─▶ offered rows, 2 ──▶ memory
                       └─▶ incomplete rows, 16 ─┐
    words of each core ◀────────────────────────┴── words of the memory

One cycle, with ``restart[c]`` while core ``c`` forgets its rows. All values on the right are those before the cycle:

    wants[c]    = request of c and not dropping[c] and not restart[c]
    grant       = the first c in order with wants[c], if fewer than 16 rows are incomplete and fewer than 2 offered
    head        = the oldest incomplete row, of core h
    offers[c]   = a word is there, a head exists, h = c and not dropping[c]
    takes       = a head exists and (dropping[h] or ready[h])
    taken       = a word is there and takes; the last word of the row completes it
    order       = the granted core moves to the end
    rows[c]     = rows[c] + (c is granted) - (a row of c is completed)
    dropping[c] = 1 with restart[c], else 0 if rows[c] = 0, else unchanged

Hence a core that waits is granted after at most one row of each other core, and after the rows of all cores that were
granted before. A core that has requested a row takes its words in a bounded time, whatever the other cores do, so that
no core waits for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from spikeloom.sim.lib.words import bits_for

__all__ = ["INCOMPLETE_ROWS", "MOST_CORES", "OFFERED_ROWS", "ArbiterModel", "ArbiterOutputs", "ArbiterParameters"]

MOST_CORES = 16
"""Largest number of cores at one memory. The order of the cores takes a bit for each pair of them."""

INCOMPLETE_ROWS = 16
"""Largest number of granted rows of all cores of which not all words have been taken."""

OFFERED_ROWS = 2
"""Largest number of granted rows that the memory has not accepted."""


@dataclass(frozen=True, kw_only=True)
class ArbiterParameters:
    """Several cores that share a weight memory.

    Parameters
    ----------
    cores
        Number of cores, 2 to `MOST_CORES`.
    address_bits
        Width of an address of each core in words, 1 to 25: each has 2^``address_bits`` words.
    row_words
        Largest number of words of a row.
    """

    cores: int
    address_bits: int
    row_words: int

    def __post_init__(self) -> None:
        limits = {"cores": (2, MOST_CORES), "address_bits": (1, 25), "row_words": (1, 1 << 14)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ValueError(f"{name} must be from {low} to {high}, not {value!r}")

    @property
    def core_bits(self) -> int:
        """Width of the number of a core."""
        return bits_for(self.cores)

    @property
    def words(self) -> int:
        """Words of all cores."""
        return self.cores << self.address_bits

    def first(self, core: int) -> int:
        """Address in the memory of word 0 of ``core``."""
        return core << self.address_bits


@dataclass(frozen=True, kw_only=True)
class ArbiterOutputs:
    """Outputs of one cycle: the core whose request is accepted and the one to which a word is offered, None for none;
    the row offered to the memory as (address, length), None without one; and whether a word of the memory is
    accepted."""

    granted: int | None
    row: tuple[int, int] | None
    receiver: int | None
    ready: bool


class ArbiterModel:
    """The arbiter, cycle by cycle."""

    def __init__(self, parameters: ArbiterParameters) -> None:
        self.parameters = parameters
        self.order = list(range(parameters.cores))  #: cores, the one that was granted longest ago first
        self.offered: deque[tuple[int, int]] = deque()
        self.incomplete: deque[tuple[int, int]] = deque()  #: (core, length) of each row, the oldest first
        self.arrived = 0  #: words of the oldest row that have been taken
        self.rows = [0] * parameters.cores
        self.dropping = [False] * parameters.cores

    def step(
        self,
        requests: Sequence[tuple[int, int] | None],
        restarts: Sequence[bool],
        *,
        memory_ready: bool,
        word: bool,
        readies: Sequence[bool],
    ) -> ArbiterOutputs:
        """Advance by one cycle and return its outputs.

        ``requests`` has the (address, length) that each core requests, None for none, ``restarts`` and ``readies``
        what each core signals. ``memory_ready`` tells whether the memory accepts a row, ``word`` whether it has a word.
        """
        p = self.parameters
        wants = [
            request is not None and not dropping and not restart
            for request, dropping, restart in zip(requests, self.dropping, restarts, strict=True)
        ]
        granted = None
        if len(self.incomplete) < INCOMPLETE_ROWS and len(self.offered) < OFFERED_ROWS:
            granted = next((core for core in self.order if wants[core]), None)
        row = self.offered[0] if self.offered else None
        head = self.incomplete[0][0] if self.incomplete else None
        receiver = head if word and head is not None and not self.dropping[head] else None
        ready = head is not None and (self.dropping[head] or readies[head])

        idle = [rows == 0 for rows in self.rows]
        if row is not None and memory_ready:
            self.offered.popleft()
        if word and ready:
            self._take()
        if granted is not None:
            request = requests[granted]
            assert request is not None
            self.offered.append((p.first(granted) + request[0], request[1]))
            self.incomplete.append((granted, request[1]))
            self.rows[granted] += 1
            self.order.remove(granted)
            self.order.append(granted)
        for core, restart in enumerate(restarts):
            self.dropping[core] = restart or (self.dropping[core] and not idle[core])
        return ArbiterOutputs(granted=granted, row=row, receiver=receiver, ready=ready)

    def _take(self) -> None:
        core, length = self.incomplete[0]
        if self.arrived < length:
            self.arrived += 1
            return
        self.arrived = 0
        self.incomplete.popleft()
        self.rows[core] -= 1
