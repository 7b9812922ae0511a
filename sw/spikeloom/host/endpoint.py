"""Host end of the link: every byte arrives once and in order, in both directions.

``docs/link.md`` specifies the protocol. Only the host has timers: if it waits and nothing moves, it asks the board for
its state (a frame with REPLY). From the answer, each side learns what the other one lacks.

All times are seconds of the transport, so that the same timers work on a board and on a simulator that is a thousand
times slower.
"""

import secrets
from collections.abc import Callable

from spikeloom.host.transport import Closing, LinkError, Transport
from spikeloom.host.version1 import Version1Listener, version1_opening
from spikeloom.sim.host.identity import PROTOCOL_VERSION, Identity
from spikeloom.sim.host.link import (
    AGAIN_FLAG,
    LARGEST_BLOCK_PAYLOAD,
    LARGEST_PAYLOAD,
    NONCE_BYTES,
    OFFSETS,
    REPLY_FLAG,
    SMALLEST_PAYLOAD,
    Deframer,
    Frame,
    Kind,
    encode_frame,
    offset_difference,
)

__all__ = ["Endpoint", "LinkError"]

_REMEDIES = (
    "rebuild its bitstream with this release (spikeloom bitstream --board BOARD) and load it (spikeloom flash BOARD)",
    "install a newer release of spikeloom, or rebuild the bitstream with this one (spikeloom bitstream --board BOARD)",
)
"""Remedies for a board with an older, and with a newer protocol version."""

_WINDOW = 1 << 20
"""Receive window. The host accepts everything it receives, so that this limit never stops the board."""
_SMALL = 32
"""Largest payload in bytes that is acknowledged with the next frame, not at once, when it completes a `receive`."""


class Endpoint(Closing):
    """Host end of the link.

    Parameters
    ----------
    transport
        Connection to the board. The endpoint closes it.
    maximum_payload
        Largest payload in bytes of frames to the board, if it is to be smaller than that in the identity of the board.
    timeout_s
        Timeout: `LinkError` after this many seconds of waiting without a byte in either direction.
    nonce
        Session number, which must differ from that of the session before; None for a random one.

    Examples
    --------
    ::

        with Endpoint(SerialTransport("/dev/ttyUSB1", 1_000_000)) as endpoint:
            print(endpoint.open())
            endpoint.send(request)
            answer = endpoint.receive(4)
    """

    def __init__(
        self,
        transport: Transport,
        *,
        maximum_payload: int | None = None,
        timeout_s: float = 5.0,
        nonce: bytes | None = None,
    ) -> None:
        if not timeout_s > 0:
            raise ValueError(f"timeout_s must be above 0, not {timeout_s!r}")
        if nonce is not None and len(nonce) != NONCE_BYTES:
            raise ValueError(f"nonce must be {NONCE_BYTES} bytes, not {len(nonce)}")
        self._transport = transport
        if maximum_payload is not None and not SMALLEST_PAYLOAD <= maximum_payload <= LARGEST_PAYLOAD:
            raise ValueError(
                f"maximum_payload must be from {SMALLEST_PAYLOAD} to {LARGEST_PAYLOAD}, not {maximum_payload!r}"
            )
        self._most = LARGEST_PAYLOAD if maximum_payload is None else maximum_payload
        self._maximum_payload = self._most
        self._timeout_s = timeout_s
        self._nonce = nonce
        self.identity: Identity | None = None
        """Identity of the board; None before :meth:`open`."""
        self.polls = 0
        """Number of timeouts after which the board was asked for its state."""
        self.rewinds = 0
        """Number of retransmissions requested by the board."""
        self._begin()

    def _begin(self) -> None:
        """Initialise the state of a session. Offsets are kept in full here, and modulo 2^32 on the line."""
        self._opened = False
        self._deframer = Deframer()
        self._outgoing = bytearray()  # from offset _acknowledged on
        self._acknowledged = 0
        self._sent = 0
        self._limit = 0
        self._window = 1
        self._incoming = bytearray()
        self._expected = 0
        self._answer = False  # a frame is due, even without payload
        self._owes = False  # a small payload has arrived that no frame has acknowledged
        self._again = False
        self._reported = False
        self._heard = False  # a valid frame has arrived since the last request
        self._now = self._transport.now()  # end of the last read
        self._outgoing_at = self._incoming_at = self._now  # last progress, or last repeated request
        self._timed: tuple[int, float] | None = None  # (offset, time): its acknowledgement completes the round trip
        self._round_trip: float | None = None
        self._deviation = 0.0

    # Interface for the driver.

    def close(self) -> None:
        """Close the transport."""
        self._opened = False
        self._transport.close()

    def open(self) -> Identity:
        """Begin a session, which resets everything behind the link of the board; return the identity of the board.

        Raises `LinkError` if no board answers, or one of another protocol version.
        """
        self._begin()
        nonce = self._nonce if self._nonce is not None else secrets.token_bytes(NONCE_BYTES)
        # The zero byte ends a frame that the board may have received in part.
        opening = b"\0" + Frame(kind=Kind.OPEN, payload=nonce).encode()
        listener = Version1Listener(nonce)
        deadline = self._transport.now() + self._timeout_s
        pause = 4 * self._transport.round_trip_s
        first = True
        untried = max(1, len(self._transport.settings))
        while (now := self._transport.now()) < deadline:
            # A board of version 1 knows only its own frames. Ours comes last, because a board of this version takes the
            # other one for a damaged frame.
            self._transport.write(opening if first else b"\0" + version1_opening(nonce) + opening)
            asked, until = now, min(deadline, now + pause)
            while (now := self._transport.now()) < until:
                data = self._transport.read(max(until - now, self._transport.round_trip_s / 50))
                if (record := listener.feed(data)) is not None:
                    self._decode_identity(record)
                for frame in self._deframer.feed(data):
                    if self._opened:
                        self._handle(frame)
                    elif frame and frame.kind == Kind.IDENTITY and frame.payload[:NONCE_BYTES] == nonce:
                        self._accept(frame)
                        if first:
                            self._measure(self._transport.now() - asked)
                if self._opened:
                    assert self.identity is not None
                    return self.identity
            first = False
            untried -= 1
            if not untried:
                pause *= 2
                untried = max(1, len(self._transport.settings))
            if self._transport.settings:
                self._transport.next_setting()
                self._deframer = Deframer()  # noise at the last setting must not damage an answer at this one
        tried = " at " * bool(self._transport.settings) + ", ".join(self._transport.settings)
        raise LinkError(f"no board answers on {self._transport.name}{tried}: it must be powered and configured")

    def _decode_identity(self, record: bytes) -> Identity:
        """Return the identity; raise `LinkError` if it is not one of this protocol version."""
        try:
            identity = Identity.decode(record)
        except ValueError as error:
            raise LinkError(f"the device on {self._transport.name} is not a spikeloom board ({error})") from error
        if identity.protocol_version != PROTOCOL_VERSION:
            raise LinkError(
                f"the board on {self._transport.name} has protocol version {identity.protocol_version}, "
                f"expected {PROTOCOL_VERSION}: {_REMEDIES[identity.protocol_version > PROTOCOL_VERSION]}"
            )
        return identity

    def _accept(self, frame: Frame) -> None:
        self.identity = identity = self._decode_identity(frame.payload[NONCE_BYTES:])
        # Identity records made by tests may not specify the largest payload.
        self._maximum_payload = min(self._most, identity.maximum_payload or LARGEST_BLOCK_PAYLOAD)
        # Nothing but OPEN has been sent, so these are the offsets with which the board begins: 0, except in tests.
        self._acknowledged = self._sent = frame.acknowledge
        self._expected = frame.sequence
        self._window = max(1, (frame.limit - frame.acknowledge) % OFFSETS)
        self._limit = self._acknowledged + self._window
        self._opened = True

    def send(self, data: bytes) -> None:
        """Send ``data``; return when all of it is on its way, possibly before it has arrived (see :meth:`flush`).

        Bytes from the board are received at the same time, so that the board never has to wait for the host.
        """
        self._check_open()
        self._outgoing += data
        self._wait(lambda: self._sent - self._acknowledged == len(self._outgoing), "take")

    def flush(self) -> None:
        """Wait until the board has received every byte sent. Raises `LinkError` on a timeout."""
        self._check_open()
        self._wait(lambda: not self._outgoing, "acknowledge")

    def receive(self, minimum: int = 1, *, timeout_s: float | None = None) -> bytes:
        """Return all bytes received from the board, once there are at least ``minimum``.

        With ``minimum`` 0, read once without waiting. ``timeout_s`` replaces the timeout of the endpoint. Raises
        `LinkError` on a timeout.
        """
        self._check_open()
        if len(self._incoming) < minimum:
            self._wait(lambda: len(self._incoming) >= minimum, "send", timeout_s)
        elif not minimum:
            self._read(0.0)
            self._answer |= self._owes
            self._write_frames()
        data = bytes(self._incoming)
        self._incoming.clear()
        return data

    def poll(self) -> bytes:
        """Return the bytes received from the board, without waiting."""
        return self.receive(0)

    # Implementation.

    def _check_open(self) -> None:
        if not self._opened:
            raise LinkError("the session must be open")

    def _wait(self, done: Callable[[], bool], verb: str, timeout_s: float | None = None) -> None:
        """Move bytes until ``done()``; while nothing moves, ask the board for its state at increasing intervals."""
        self._now = self._transport.now()
        self._answer |= self._owes
        self._write_frames()
        if done():
            return
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        began = asked = moved = self._now
        progress = self._progress()
        pause = self._retry_s()
        while not done():
            if self._progress() != progress:
                progress, moved = self._progress(), self._now
                pause = self._retry_s()
            if self._now >= moved + timeout_s:
                state = "still answers, but" if self._heard else "no longer answers and"
                raise LinkError(
                    f"the board on {self._transport.name} {state} did not {verb} any bytes for {timeout_s:g} s"
                )
            # One direction may be stuck while the other one moves, so the timeout requires both to be idle.
            outgoing, incoming = self._sent > self._acknowledged, self._reported
            rest = max(self._outgoing_at, self._incoming_at)
            if outgoing:
                rest = min(rest, self._outgoing_at)
            if incoming:
                rest = min(rest, self._incoming_at)
            ask = max(rest, asked, began) + pause
            if self._now >= ask:
                self._write_frames(ask=True)
                asked = self._now
                pause = min(2 * pause, (4 if outgoing or incoming else 32) * self._retry_s(), timeout_s / 8)
                ask = asked + pause
            # At least one clock cycle, because otherwise the time of a simulator might not advance.
            self._read(max(min(ask, moved + timeout_s) - self._now, self._transport.round_trip_s / 50))
            # The frame with the answer to a small step acknowledges it too, unless there is none.
            if not (self._owes and done()):
                self._answer |= self._owes
                self._write_frames()

    def _progress(self) -> tuple[int, int]:
        return self._acknowledged, self._expected

    def _read(self, timeout_s: float) -> None:
        data = self._transport.read(timeout_s)
        self._now = self._transport.now()
        for frame in self._deframer.feed(data):
            self._handle(frame)

    def _handle(self, frame: Frame | None) -> None:
        if frame is None:
            if not self._reported:
                self._report()
            return
        if frame.kind != Kind.DATA:
            return  # repeated IDENTITY
        self._heard = True
        self._handle_acknowledge(frame)
        ahead = offset_difference(frame.sequence, self._expected)
        if frame.payload and ahead == 0:
            self._incoming += frame.payload
            self._expected += len(frame.payload)
            self._incoming_at = self._now
            self._reported = False
        elif ahead > 0 and (frame.reply or not self._reported):
            self._report()
        if frame.reply or len(frame.payload) > _SMALL:
            self._answer = True
        elif frame.payload:
            self._owes = True

    def _report(self) -> None:
        self._reported = self._again = self._answer = True
        self._incoming_at = self._now

    def _handle_acknowledge(self, frame: Frame) -> None:
        step = (frame.acknowledge - self._acknowledged) % OFFSETS
        if step > len(self._outgoing):
            return  # repeated old frame
        if step:
            del self._outgoing[:step]
            self._acknowledged += step
            self._outgoing_at = self._now
        if self._timed is not None and self._acknowledged >= self._timed[0]:
            self._measure(self._now - self._timed[1])
            self._timed = None
        if frame.again and self._sent > self._acknowledged:
            self.rewinds += 1
            self._sent = self._acknowledged
            self._outgoing_at = self._now
            self._timed = None
        self._sent = max(self._sent, self._acknowledged)
        self._limit = max(self._limit, self._acknowledged + (frame.limit - frame.acknowledge) % OFFSETS)

    def _write_frames(self, *, ask: bool = False) -> None:
        """Write as much as the credit allows, and an empty frame if only that is due or if ``ask`` requests an
        answer."""
        frames = []
        rested = self._sent == self._acknowledged
        end = self._acknowledged + len(self._outgoing)
        while self._sent < end and not ask:
            wanted = min(end - self._sent, self._maximum_payload)
            size = min(wanted, self._limit - self._sent)
            # Small frames are expensive. Wait for credit, which the board grants in units of half its buffer.
            if size < min(wanted, (self._window + 1) // 2):
                break
            start = self._sent - self._acknowledged
            frames.append(self._frame(bytes(self._outgoing[start : start + size])))
            self._sent += size
        if frames and rested:
            self._outgoing_at = self._now
        if frames and self._timed is None:
            self._timed = (self._sent, self._now)
        if ask:
            self.polls += 1
            self._again |= self._reported  # no frame in order has arrived since AGAIN was sent: it may have been lost
            self._heard = False
            self._timed = None
        if not frames and (ask or self._answer):
            # The line may have picked up a stray byte during a pause; the leading zero ends it.
            frames.append(b"\0" * ask + self._frame(b"", reply=ask))
        if frames:
            self._transport.write(b"".join(frames))

    def _frame(self, payload: bytes, *, reply: bool = False) -> bytes:
        frame = encode_frame(
            Kind.DATA | reply * REPLY_FLAG | self._again * AGAIN_FLAG,
            self._sent % OFFSETS,
            self._expected % OFFSETS,
            (self._expected + _WINDOW) % OFFSETS,
            payload,
        )
        self._answer = self._again = self._owes = False
        return frame

    def _measure(self, round_trip: float) -> None:
        if self._round_trip is None:
            self._round_trip, self._deviation = round_trip, round_trip / 2
        else:
            self._deviation += (abs(round_trip - self._round_trip) - self._deviation) / 4
            self._round_trip += (round_trip - self._round_trip) / 8

    def _retry_s(self) -> float:
        """Return the time after which an answer counts as late."""
        guess = self._transport.round_trip_s
        if self._round_trip is None:
            return 4 * guess
        return max(2 * self._round_trip + 4 * self._deviation, guess / 5)
