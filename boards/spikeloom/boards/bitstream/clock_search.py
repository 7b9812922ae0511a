"""Search for the clock of a build: just below what the best of several seeds of place and route reaches.

1. *Explore.* The design is placed and routed with all seeds for the clock of the board's description, the *aim*. The
   best seed tells which clock is in reach.
2. *Set.* If that clock differs from the aim, the nearest one that the PLL makes below it is set. The PLL, the divisor
   of the serial link, the identity and the constraint follow it, so the design is synthesised, placed and routed again.
   A small change of the netlist shuffles the results of the seeds; the first seed that meets the clock is used.
3. *Lower.* If none meets it, the clock is set below the best of these seeds, and so on. If the aim was met and no
   higher clock is, the result of step 1 is used.

Place and route checks every result at its own clock. A clock less than `WORTH` times the aim is not worth another run.
"""

from collections.abc import Callable, Sequence

from spikeloom.boards.bitstream.report import Clock
from spikeloom.boards.bitstream.steps import Routed, TimingError
from spikeloom.boards.targets.board import BoardDescription

__all__ = ["WORTH", "Attempt", "fabric_mhz", "fastest", "find_clock"]

WORTH = 1.02
"""Smallest ratio of a higher clock to the aim for which the design is built again."""

_SAME = 0.005
"""Largest relative difference between the fabric's clock and its constraint, which nextpnr rounds to picoseconds."""

Attempt = Callable[[BoardDescription, bool], Sequence[Routed]]
"""Place and route for the clock of a board: with all seeds or, if True, up to the first that meets the clock."""


def find_clock(
    board: BoardDescription, attempt: Attempt, *, raise_clock: bool, announce: Callable[[str], None]
) -> tuple[BoardDescription, Routed]:
    """Return the board with the clock that was found, and the result of place and route that meets it.

    Parameters
    ----------
    board : BoardDescription
        Board, with the aim as its clock.
    attempt : callable
        Place and route.
    raise_clock : bool
        Whether the clock may be higher than the aim. The clock of a board without a PLL is never raised.
    announce : callable
        Called with one sentence before each further attempt.

    Raises
    ------
    TimingError
        The board has no clock that is slow enough, or the design misses a clock other than that of the fabric.
    """
    best = fastest(board, attempt(board, False))
    is_met, target = not best.missed, board
    ceiling_mhz = _checked_mhz(board, best)
    if not raise_clock or board.pll_hz is None:
        ceiling_mhz = min(ceiling_mhz, board.clock_hz / 1e6)
    first = best
    while True:
        slower = board.with_clock(ceiling_mhz * 1e6)
        if is_met and (slower is None or slower.clock_hz < WORTH * board.clock_hz):
            return board, first
        if slower is None:
            raise timing_error(target, best)
        path = _fabric_clock(target, best).path
        announce(
            f"{board.name}: place and route reached {_checked_mhz(target, best):.2f} MHz, "
            f"expected {target.clock_hz / 1e6:.6g} MHz; "
            f"again with {slower.clock_hz / 1e6:.6g} MHz{'' if path is None else f' ({path})'}"
        )
        target = slower
        runs = attempt(target, True)
        if not runs[-1].missed:
            return target, runs[-1]
        best = fastest(target, runs)
        # Below the clock that was just missed, so that each attempt lowers it and the search ends.
        ceiling_mhz = min(_checked_mhz(target, best), target.clock_hz / 1e6 - 1e-6)


def fabric_mhz(board: BoardDescription, routed: Routed) -> float:
    """Return the highest frequency of the fabric's clock in MHz."""
    return _fabric_clock(board, routed).achieved_mhz


def _fabric_clock(board: BoardDescription, routed: Routed) -> Clock:
    clocks = [clock for clock in routed.clocks if _is_fabric(board, routed, clock.constraint_mhz)]
    return min(clocks, key=lambda clock: clock.achieved_mhz)


def fastest(board: BoardDescription, runs: Sequence[Routed]) -> Routed:
    """Return the run with the fastest fabric, if possible among those in which no other clock is missed."""
    return max(runs, key=lambda routed: (not _other_is_missed(board, routed), fabric_mhz(board, routed), -routed.seed))


def _is_fabric(board: BoardDescription, routed: Routed, constraint_mhz: float) -> bool:
    def near(mhz: float) -> bool:
        return abs(mhz * 1e6 / board.clock_hz - 1) < _SAME

    return near(constraint_mhz) or not any(near(clock.constraint_mhz) for clock in routed.clocks)


def _other_is_missed(board: BoardDescription, routed: Routed) -> bool:
    return any(clock.missed and not _is_fabric(board, routed, clock.constraint_mhz) for clock in routed.clocks)


def _checked_mhz(board: BoardDescription, routed: Routed) -> float:
    if _other_is_missed(board, routed):  # a slower fabric would not help
        raise timing_error(board, routed)
    return fabric_mhz(board, routed)


def timing_error(board: BoardDescription, routed: Routed) -> TimingError:
    """Return the error for a design that is too slow."""
    slow = next(
        (clock for clock in routed.clocks if clock.missed and not _is_fabric(board, routed, clock.constraint_mhz)),
        routed.clocks[0],
    )
    return TimingError(
        f"{board.name}: place and route reached {slow.achieved_mhz:.2f} MHz, expected at least "
        f"{slow.constraint_mhz:.2f} MHz; {routed.log} has the critical path",
        slow,
    )
