"""Round robin by age: of those that ask, the one whose last turn is longest ago.

Each pair of requesters has one bit that says which of the two goes first. All pairs are compared at once, which is two
levels of 4-input tables for up to five requesters, where a rotating pointer needs more. Whoever is granted goes behind
all others, so among requesters that always ask the turns go round; and whoever keeps asking waits for at most one turn
of each other.
"""

from itertools import combinations

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["RoundRobinArbiter"]


class RoundRobinArbiter(wiring.Component):
    """Grants one of the requests.

    Parameters
    ----------
    requesters
        How many there are. After a reset they are served in the order of their numbers.

    Members
    -------
    requests : Signal(requesters), in
        A bit for each.
    grants : Signal(requesters), out
        At most one bit, of one that requests: always one if any does. Follows ``requests`` in the same cycle.
    taken : Signal, in
        The grant is used: the requester goes behind all others. Without it the order stays.
    """

    def __init__(self, requesters: int) -> None:
        if not isinstance(requesters, int) or requesters < 1:
            raise ValueError(f"requesters must be at least 1, not {requesters!r}")
        self.requesters = requesters
        super().__init__({"requests": In(requesters), "grants": Out(requesters), "taken": In(1)})
        # Of each pair (a, b), a < b: b is served before a. Here so that proofs can speak of it (tests/formal).
        self._swapped = {(a, b): Signal(name=f"{b}_before_{a}") for a, b in combinations(range(requesters), 2)}

    def later(self, a: int, b: int) -> Value:
        """Requester ``a`` is served after ``b``."""
        return self._swapped[a, b] if a < b else ~self._swapped[b, a]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        numbers = range(self.requesters)
        with m.If(self.taken):
            for (a, b), swapped in self._swapped.items():
                with m.If(self.grants[a]):
                    m.d.sync += swapped.eq(1)
                with m.Elif(self.grants[b]):
                    m.d.sync += swapped.eq(0)
        for a in numbers:
            beaten = [self.requests[b] & self.later(a, b) for b in numbers if b != a]
            granted = self.requests[a]
            for other in beaten:
                granted = granted & ~other
            m.d.comb += self.grants[a].eq(granted)
        return m
