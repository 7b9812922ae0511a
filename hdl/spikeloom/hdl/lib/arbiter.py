"""Round-robin arbitration by age: the grant goes to the least recently granted requester.

Each pair of requesters has one priority bit. All pairs are compared in parallel, which takes two levels of 4-input
lookup tables for up to five requesters; a rotating pointer needs more. A granted requester moves behind all others, so
permanent requesters alternate, and each waits for at most one grant to each of the others.
"""

from itertools import combinations

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["RoundRobinArbiter"]


class RoundRobinArbiter(wiring.Component):
    """Grants one of several requests.

    Parameters
    ----------
    requesters
        Number of requesters. After a reset, lower numbers have priority.

    Members
    -------
    requests : Signal(requesters), in
        One bit per requester.
    grants : Signal(requesters), out
        One-hot if there is any request, else 0; combinational from ``requests``.
    taken : Signal, in
        The grant is used, and its requester moves behind all others. Otherwise the order is unchanged.
    """

    def __init__(self, requesters: int) -> None:
        if not isinstance(requesters, int) or requesters < 1:
            raise ValueError(f"requesters must be at least 1, not {requesters!r}")
        self.requesters = requesters
        super().__init__({"requests": In(requesters), "grants": Out(requesters), "taken": In(1)})
        # For each pair a < b: b has priority over a. Created here so that proofs can refer to it (tests/formal).
        self._swapped = {(a, b): Signal(name=f"{b}_before_{a}") for a, b in combinations(range(requesters), 2)}

    def later(self, a: int, b: int) -> Value:
        """Whether ``b`` has priority over ``a``."""
        return self._swapped[a, b] if a < b else ~self._swapped[b, a]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        numbers = range(self.requesters)
        with m.If(self.taken):
            # The grants are one-hot: of each pair at most one member moves, and pairs without the granted requester
            # stay.
            for (a, b), swapped in self._swapped.items():
                with m.If(self.grants[a]):
                    m.d.sync += swapped.eq(1)
                with m.Elif(self.grants[b]):
                    m.d.sync += swapped.eq(0)
        for a in numbers:
            # The pairwise bits always form a total order (shown in tests/formal), so exactly one requester is beaten by
            # no other.
            beaten = [self.requests[b] & self.later(a, b) for b in numbers if b != a]
            granted = self.requests[a]
            for other in beaten:
                granted = granted & ~other
            m.d.comb += self.grants[a].eq(granted)
        return m
