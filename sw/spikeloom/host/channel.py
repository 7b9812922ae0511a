"""Messages to and from a board, over the byte streams of a link."""

from __future__ import annotations

from collections.abc import Iterable

from spikeloom.host.protocols import ByteLink, DriverError
from spikeloom.sim.host.link import Identity
from spikeloom.sim.host.messages import MessageDecoder, MessageError, Messages

__all__ = ["PIECE", "MessageChannel"]

PIECE = 2048
"""Bytes given to the link at once. What has come back is looked at between pieces."""


class MessageChannel:
    """The messages of a session.

    Every method raises `LinkError` as the link does, and `DriverError` where the bytes that have come are no message.
    """

    def __init__(self, link: ByteLink) -> None:
        self._link = link
        self._decoder = MessageDecoder()

    def open(self) -> Identity:
        """Begin a new session."""
        self.restart()
        return self._link.open()

    def restart(self) -> None:
        """Count steps from 0 again, as the board does after it was cleared."""
        self._decoder = MessageDecoder()

    @property
    def steps(self) -> int:
        """The steps that have ended since the start."""
        return self._decoder.steps

    def send(self, data: bytes) -> None:
        """Send one or more messages at once."""
        self._link.send(data)

    def send_all(self, messages: Iterable[bytes]) -> None:
        """Send ``messages`` in pieces that the link takes at once."""
        piece = bytearray()
        for message in messages:
            piece += message
            if len(piece) >= PIECE:
                self.send(bytes(piece))
                piece.clear()
        if piece:
            self.send(bytes(piece))

    def poll(self) -> Messages:
        """The messages that have come, without waiting."""
        return self._decode(self._link.poll())

    def receive(self, *, timeout_s: float | None = None) -> Messages:
        """The messages that have come; waits until there is at least a byte."""
        return self._decode(self._link.receive(1, timeout_s=timeout_s))

    def _decode(self, data: bytes) -> Messages:
        try:
            return self._decoder.feed(data)
        except MessageError as error:
            raise DriverError(f"the board has sent what is no message: {error}") from error
