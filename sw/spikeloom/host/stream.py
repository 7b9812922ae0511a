"""A sample that is sent to the board step by step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from spikeloom.host.channel import MessageChannel
from spikeloom.host.protocols import DriverError, LoadableProgram
from spikeloom.host.results import StepResult
from spikeloom.host.transport import LinkError
from spikeloom.sim.host.messages import Messages, encode_values
from spikeloom.sim.host.samples import SampleEncoder
from spikeloom.sim.network.reference import as_values

__all__ = ["StepStream"]


class StepStream:
    """Sample that is sent and received step by step, made by `Board.stream`.

    The board is at most two steps behind its input. Answers can be received at any time; they are kept until then.

    Parameters
    ----------
    channel
        Messages to and from the board. It must not be used otherwise until the stream has ended.
    program
        The loaded program.
    encoder
        Encoder of the program's inputs.
    on_end
        Called when the sample has ended and all of its steps have been received.
    """

    def __init__(
        self,
        channel: MessageChannel,
        program: LoadableProgram,
        encoder: SampleEncoder,
        on_end: Callable[[], None],
    ) -> None:
        self._channel, self._program, self._encoder, self._on_end = channel, program, encoder, on_end
        self._place = {axon: place for place, axon in enumerate(np.asarray(program.output_axons).tolist())}
        self._silent = program.observed[0][1] if program.membranes else 0
        self._first = channel.steps
        self._found: dict[int, StepResult] = {}
        self._ended = False
        self.sent = self.received = 0
        """Number of steps sent to the board, and number received back."""

    def send(self, spikes: ArrayLike, *, last: bool = False) -> None:
        """Send the spikes ``(inputs,)`` of a step to the board, or values if the program takes them; ``last`` ends the
        sample.

        Raises ``ValueError`` for another shape or other values, and `DriverError` after the last step or if the board
        stops.
        """
        array = np.asarray(spikes)
        inputs = len(self._program.input_axons)
        if self._ended:
            raise DriverError("a step must not follow the last one")
        if array.shape != (inputs,):
            raise ValueError(f"spikes must have shape {(inputs,)}, not {array.shape}")
        if width := self._program.input_value_width:
            data = encode_values(as_values(array[None], inputs, width)[:, 0], self._program.input_axons, last=last)
        else:
            if array.dtype != np.bool_:
                if array.dtype.kind not in "iuf" or not np.isin(array, (0, 1)).all():
                    raise ValueError("spikes must be 0 or 1, not other values")
                array = array.astype(np.bool_)
            data = self._encoder.encode_step(array, last=last)
        try:
            self._channel.send(data)
        except LinkError as error:
            raise DriverError(f"the run has stopped in step {self.sent}: {error}") from error
        self.sent += 1
        self._ended = last

    def poll(self) -> list[StepResult]:
        """Return the steps received since the previous call, without waiting.

        Raises `DriverError` for messages that the program cannot send.
        """
        return self._take(self._channel.poll())

    def receive(self, *, timeout_s: float | None = None) -> list[StepResult]:
        """Like `poll`, but wait for a step if one is outstanding. Raises `DriverError` also if the board stops."""
        found = [] if self.received < self.sent else self.poll()
        while not found and self.received < self.sent:
            try:
                found = self._take(self._channel.receive(timeout_s=timeout_s))
            except LinkError as error:
                raise DriverError(f"the run has stopped after {self.received:,} steps: {error}") from error
        return found

    def finish(self, *, timeout_s: float | None = None) -> list[StepResult]:
        """End the sample, with an empty step unless the last step was marked, and return all outstanding steps."""
        if not self._ended:
            self.send(np.zeros(len(self._program.input_axons), np.bool_), last=True)
        found = []
        while self.received < self.sent:
            found += self.receive(timeout_s=timeout_s)
        self._on_end()
        return found

    def _take(self, messages: Messages) -> list[StepResult]:
        if messages.reads:
            raise DriverError("unexpected answer to a read from the board")
        for step, axon in zip(messages.spike_step.tolist(), messages.spike_axon.tolist(), strict=True):
            self._put(step - self._first, axon, 1, valued=False)
        valued = messages.value_step.tolist(), messages.value_axon.tolist(), messages.value.tolist()
        for step, axon, value in zip(*valued, strict=True):
            self._put(step - self._first, axon, value, valued=True)
        found = []
        for last in messages.ticks.tolist():
            if self.received == self.sent:
                raise DriverError(f"the board has ended more than the expected {self.sent:,} steps")
            if last != (self._ended and self.received == self.sent - 1):
                raise DriverError(f"the board has ended the sample in step {self.received}, not in its last step")
            found.append(self._of(self.received))
            del self._found[self.received]
            self.received += 1
        return found

    def _of(self, step: int) -> StepResult:
        """Return the partial result of a step."""
        if (result := self._found.get(step)) is None:
            size = len(self._place)
            result = StepResult(spikes=np.zeros(size, np.bool_), values=np.zeros(size, np.int64))
            self._found[step] = result
        return result

    def _put(self, step: int, axon: int, value: int, *, valued: bool) -> None:
        place = self._place.get(axon)
        if place is None:
            raise DriverError(f"the board has sent axon {axon}, which the program does not observe")
        result = self._of(step)
        result.values[place] = value
        if not (valued and place < self._silent):
            if result.spikes[place]:
                raise DriverError("the board has sent a spike of the same axon twice in one step")
            result.spikes[place] = True
