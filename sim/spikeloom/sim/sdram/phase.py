"""Phase of the chip's clock: its positions, the eye in which the memory works, and the timing at the pins behind it.

The clock of the chip can be delayed in `SdramParameters.phases` steps of a whole cycle. At position 0, after power-up,
its rising edge is half a cycle behind that of the FPGA. At position ``p`` of ``n`` it is, with a clock period ``T``,
at::

    x = (T / 2 + p T / n) mod T

The FPGA changes commands and data at its own edge, time 0, and the chip samples them at ``x``. The word of a READ
leaves the chip at an edge ``x`` and is sampled at ``2 T``. The clock leaves the FPGA through an output cell like that
of all other pins, so that the delay of these cells cancels on the way to the chip, but not on the way back. Four
conditions follow, with the symbols of `PinTiming` in picoseconds::

    x                           >= setup      commands and data are stable before the edge of the chip
    T - x                       >= hold       ... and after it
    x + access + latest         <= 2 T        the word is there when it is sampled
    x + T + kept + earliest     >= 2 T        ... and not yet replaced by the next one

A larger ``x`` relaxes the second condition of each pair that limits an early clock and tightens those that limit a late
one; the positions at which all four hold are the *eye*. `PhaseEye` is what a sweep has found, by the self-test.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PhaseEye", "PinTiming"]

_PICOSECONDS = 10**12


@dataclass(frozen=True, kw_only=True)
class PinTiming:
    """Times at the pins of a chip, in picoseconds. The default values are those of `docs/sdram.md`.

    Parameters
    ----------
    clock_hz
        Clock of the memory in Hz.
    phases
        Number of positions of the chip's clock.
    setup, hold
        Setup and hold time of commands and data at the chip, skew included.
    access, kept
        Time from an edge of the chip until its word is valid, and until the word before it is no longer valid.
    latest, earliest
        Longest and shortest delay of output cell, board and input cell together.
    """

    clock_hz: int
    phases: int
    setup: int = 2_000
    hold: int = 1_000
    access: int = 6_000
    kept: int = 2_500
    latest: int = 4_500
    earliest: int = 3_000

    @property
    def period(self) -> int:
        """Clock period, rounded down."""
        return _PICOSECONDS // self.clock_hz

    def edge(self, position: int) -> int:
        """Time from an edge of the FPGA to the next edge of the chip."""
        return (self.period * (self.phases + 2 * position) // (2 * self.phases)) % self.period

    def reaches_chip(self, position: int) -> bool:
        """Whether the chip samples commands and data correctly."""
        return self.setup <= self.edge(position) <= self.period - self.hold

    def reaches_fpga(self, position: int) -> bool:
        """Whether the FPGA samples the words of the chip correctly."""
        edge, period = self.edge(position), self.period
        return edge + self.access + self.latest <= 2 * period <= edge + period + self.kept + self.earliest

    @property
    def eye(self) -> PhaseEye:
        """The eye that these times give."""
        passed = (self.reaches_chip(position) and self.reaches_fpga(position) for position in range(self.phases))
        return PhaseEye(passed=tuple(passed), step_ps=self.period // self.phases)


@dataclass(frozen=True, kw_only=True)
class PhaseEye:
    """Positions of the chip's clock at which the memory passes its self-test.

    Parameters
    ----------
    passed
        One value per position, from that after power-up on, each later than the one before by ``step_ps``. The last
        position is followed by the first one.
    step_ps
        Duration of a step in picoseconds.
    """

    passed: tuple[bool, ...]
    step_ps: int

    def __post_init__(self) -> None:
        if not self.passed:
            raise ValueError("passed must have at least one position, not none")

    @property
    def window(self) -> tuple[int, int]:
        """First position and number of positions of the widest window, the earlier one of two that are equally wide;
        its length is 0 if no position passes."""
        count = len(self.passed)
        if all(self.passed):
            return 0, count
        # A window may run over the last position: it begins behind a position that fails.
        starts = (p for p in range(count) if self.passed[p] and not self.passed[p - 1])
        found = [(start, next(n for n in range(count) if not self.passed[(start + n) % count])) for start in starts]
        return max(found, key=lambda window: window[1], default=(0, 0))

    @property
    def middle(self) -> int | None:
        """The position in the middle of the widest window; that after power-up if every position passes; None if none
        passes."""
        first, length = self.window
        if not length:
            return None
        return 0 if length == len(self.passed) else (first + (length - 1) // 2) % len(self.passed)

    @property
    def line(self) -> str:
        """One character per position: ``#`` passes, ``.`` fails."""
        return "".join(".#"[passed] for passed in self.passed)

    def degrees(self, steps: int) -> float:
        """The phase of ``steps`` steps."""
        return 360 * steps / len(self.passed)

    @property
    def sentence(self) -> str:
        """The window in one sentence, with the position that is chosen."""
        first, length = self.window
        if self.middle is None:
            return f"the memory fails its self-test at all {len(self.passed)} positions of its clock"
        last = (first + length - 1) % len(self.passed)
        return (
            f"the memory passes from {self._shown(first)} to {self._shown(last)}, {length * self.step_ps:,} ps wide; "
            f"its clock is set to {self._shown(self.middle)} behind its position after power-up"
        )

    def _shown(self, position: int) -> str:
        return f"{self.degrees(position):.0f} degrees ({position * self.step_ps:,} ps)"
