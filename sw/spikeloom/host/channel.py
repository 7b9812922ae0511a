"""Messages to and from a board, on top of the byte streams of a link."""

from __future__ import annotations

from collections.abc import Iterable

from spikeloom.host.protocols import ByteLink, DriverError
from spikeloom.sim.host.identity import Identity
from spikeloom.sim.host.messages import MessageDecoder, MessageError, Messages

__all__ = ["PIECE", "MessageChannel"]

PIECE = 1 << 14
"""Maximum number of bytes given to the link at once; received bytes are read in between."""


class MessageChannel:
    """Messages of one session.

    Every method may raise the `LinkError` of the link, and `DriverError` for malformed messages from the board.
    """

    def __init__(self, link: ByteLink) -> None:
        self._link = link
        self._decoder = MessageDecoder()

    def open(self) -> Identity:
        """Begin a new session and return the identity of the board."""
        self.restart()
        return self._link.open()

    def restart(self) -> None:
        """Restart the step count at 0, as the board does when it is cleared."""
        self._decoder = MessageDecoder()

    @property
    def steps(self) -> int:
        """Steps that have ended since the start."""
        return self._decoder.steps

    def send(self, data: bytes) -> None:
        """Send one or more messages at once."""
        self._link.send(data)

    def send_all(self, messages: Iterable[bytes]) -> None:
        """Send ``messages`` in pieces of limited size."""
        piece = bytearray()
        for message in messages:
            piece += message
            if len(piece) >= PIECE:
                self.send(bytes(piece))
                piece.clear()
        if piece:
            self.send(bytes(piece))

    def poll(self) -> Messages:
        """Return the messages received so far, without waiting."""
        return self._decode(self._link.poll())

    def receive(self, *, timeout_s: float | None = None) -> Messages:
        """Return the received messages; wait for at least one byte."""
        return self._decode(self._link.receive(1, timeout_s=timeout_s))

    def _decode(self, data: bytes) -> Messages:
        try:
            return self._decoder.feed(data)
        except MessageError as error:
            raise DriverError(f"malformed message from the board: {error}") from error
