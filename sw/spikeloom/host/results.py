"""Assignment of received messages to step, sample and output axon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.host.protocols import DriverError, LoadableProgram, Progress
from spikeloom.sim.host.messages import Messages

__all__ = ["BoardResult", "StepCollector", "StepResult"]


@dataclass(frozen=True, kw_only=True, eq=False)
class BoardResult:
    """Output of a run, in the order of the program's ``output_axons``.

    ``spikes`` is ``(T, B, n)``. ``membranes`` ``(T, B, m)`` int64 holds the membranes of the first ``m`` outputs if the
    output population sends membranes (its spikes are then all False), otherwise None. ``values`` ``(T, B, n)`` int64
    holds the value of each graded spike, 0 without a spike; it is None without graded spikes.
    """

    spikes: NDArray[np.bool_]
    membranes: NDArray[np.int64] | None
    values: NDArray[np.int64] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class StepResult:
    """Output of one step, in the order of the program's ``output_axons``.

    ``spikes`` ``(n,)`` is bool. ``values`` ``(n,)`` int64 holds the membranes if they are sent, the values of graded
    spikes, 1 for plain spikes, and 0 elsewhere.
    """

    spikes: NDArray[np.bool_]
    values: NDArray[np.int64]


class StepCollector:
    """Sort received messages by step and sample: TICK number ``first + sample * T + t`` ends step t of its sample.

    Raises `DriverError` for messages that the program cannot send.
    """

    def __init__(
        self,
        program: LoadableProgram,
        steps: int,
        samples: int,
        *,
        first: int = 0,
        progress: Progress | None = None,
    ) -> None:
        axons = np.asarray(program.output_axons, np.int64)
        self._place = np.full(int(axons.max(initial=0)) + 1, -1, np.int64)
        self._place[axons] = np.arange(len(axons))
        self._steps, self._samples = steps, samples
        self._first = first
        self._progress = progress
        self._readouts = program.observed[0][1] if program.membranes else 0
        total = steps * samples
        self._spikes = np.zeros((total, len(axons)), np.bool_)
        self._membranes = np.zeros((total, self._readouts), np.int64)
        self._seen = np.zeros((total, self._readouts), np.bool_)
        self._graded = np.concatenate([np.full(size, name in program.graded) for name, size in program.observed])
        self._values = np.zeros((total if program.graded else 0, len(axons)), np.int64)
        self.done = 0
        """Number of steps that have ended."""
        self.total = f"{total:,} steps"

    @property
    def complete(self) -> bool:
        """Whether all steps of all samples have ended."""
        return self.done >= len(self._spikes)

    def take(self, messages: Messages) -> None:
        """Add the content of ``messages``, in the order in which they arrive."""
        self._take_ticks(messages.ticks)
        if messages.reads:
            raise DriverError("unexpected answer to a read from the board")
        everywhere = np.ones_like(self._graded)
        step, place = self._positions(messages.spike_step, messages.spike_axon, everywhere, "spike")
        self._take_spikes(step, place, np.ones(len(step), np.int64))
        if messages.value_step.size:
            is_readout = np.arange(len(self._graded)) < self._readouts
            valued = self._graded | is_readout
            step, place = self._positions(messages.value_step, messages.value_axon, valued, "value")
            read_out = is_readout[place]
            self._take_spikes(step[~read_out], place[~read_out], messages.value[~read_out])
            step, place = step[read_out], place[read_out]
            self._check_new(self._seen, step, place, "membrane")
            self._seen[step, place] = True
            self._membranes[step, place] = messages.value[read_out]

    def _take_spikes(self, step: NDArray[np.int64], place: NDArray[np.int64], values: NDArray[np.int64]) -> None:
        self._check_new(self._spikes, step, place, "spike")
        self._spikes[step, place] = True
        if len(self._values):
            self._values[step, place] = values

    def _take_ticks(self, ticks: NDArray[np.bool_]) -> None:
        if not ticks.size:
            return
        before = self.done // self._steps
        number = self.done + np.arange(len(ticks))
        self.done += len(ticks)
        if self.done > len(self._spikes):
            raise DriverError(f"the board has ended more than the expected {len(self._spikes):,} steps")
        wrong = ticks != (number % self._steps == self._steps - 1)
        if wrong.any():
            step = int(number[np.argmax(wrong)])
            raise DriverError(
                f"sample ended in the wrong step, expected {self._steps} steps, found "
                f"{'earlier' if step % self._steps < self._steps - 1 else 'later'} (step {step})"
            )
        if self._progress is not None and self.done // self._steps > before:
            self._progress(self.done // self._steps, self._samples)

    def _positions(
        self, steps: NDArray[np.int64], axons: NDArray[np.int64], allowed: NDArray[np.bool_], what: str
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return step and column indices of the ``axons`` received in ``steps``; ``allowed`` ``(n,)`` masks the
        columns."""
        row = steps - self._first
        if row.size and row.max() >= len(self._spikes):
            raise DriverError(f"the board has sent a {what} after the last step")
        place = np.where(axons < len(self._place), self._place[np.minimum(axons, len(self._place) - 1)], -1)
        unknown = (place < 0) | ~allowed[place]
        if unknown.any():
            raise DriverError(
                f"the board has sent a {what} of axon {int(axons[np.argmax(unknown)])}, which the program does not "
                f"observe"
            )
        return row, place

    @staticmethod
    def _check_new(seen: NDArray[np.bool_], step: NDArray[np.int64], place: NDArray[np.int64], what: str) -> None:
        if not len(step):
            return
        # Each position remembers the last of its messages; where that is not the message itself, there are two.
        first = step.min()
        position = (step - first) * seen.shape[1] + place
        number = np.arange(len(step))
        last = np.empty((step.max() - first + 1) * seen.shape[1], np.int64)
        last[position] = number
        if (last[position] != number).any() or seen[step, place].any():
            raise DriverError(f"the board has sent a {what} of the same axon twice in one step")

    def result(self) -> BoardResult:
        """Return the result of the complete run, time first. Raises `DriverError` if membranes are missing."""
        if not self._seen.all():
            missing = int(np.argmin(self._seen.all(axis=1)))
            raise DriverError(f"too few membranes from the board in step {missing}, expected {self._readouts}")

        def in_time(array: NDArray[Any]) -> NDArray[Any]:
            return array.reshape(self._samples, self._steps, -1).transpose(1, 0, 2).copy()

        return BoardResult(
            spikes=in_time(self._spikes),
            membranes=in_time(self._membranes) if self._readouts else None,
            values=in_time(self._values) if len(self._values) else None,
        )
