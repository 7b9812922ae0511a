"""The host link: frame format and protocol of its two ends. This module is the specification.

The link carries two byte streams, one per direction, over a line (in practice a UART) that may corrupt, drop, insert or
repeat bytes. Every byte arrives exactly once and in order. ``docs/link.md`` describes the protocol.

::

    line   | code | body without its zero bytes (COBS)        | 00 |
    body   | kind 1 | sequence 2 | acknowledge 2 | limit 2 | length 1 | payload 0..192 | crc32 4 |

All numbers are little-endian. Offsets count the payload bytes of one direction since the session began, modulo 65536.

The board has no timers: the host detects every loss and requests retransmission. A board thus behaves identically at
any clock and baud rate, and sends nothing to a host that has stopped reading.
"""

import enum
import zlib
from dataclasses import dataclass

__all__ = [
    "FRAME_OVERHEAD",
    "NONCE_BYTES",
    "Deframer",
    "DeviceModel",
    "Frame",
    "FrameError",
    "Kind",
    "LinkParameters",
    "cobs_decode",
    "cobs_encode",
    "offset_difference",
]

NONCE_BYTES = 4
HEADER_BYTES = 8
CRC_BYTES = 4
FRAME_OVERHEAD = 1 + HEADER_BYTES + CRC_BYTES + 1
"""Bytes of a frame in addition to its payload: code, header, CRC, delimiter."""

LARGEST_PAYLOAD = 240
"""Largest payload with which a body fits one COBS block, so that the encoding adds exactly one byte."""

_REPLY = 0x10
_AGAIN = 0x20


def _check_integer(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, not {value!r}")


def _check_range(name: str, value: int, low: int, high: int) -> None:
    _check_integer(name, value)
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, not {value!r}")


class FrameError(ValueError):
    """The bytes between two delimiters are not a frame."""


class Kind(enum.IntEnum):
    """Kind of a frame (the low four bits of its first byte)."""

    DATA = 1
    """Payload of the stream; without payload, ``acknowledge``, ``limit`` and ``sequence`` only."""
    OPEN = 2
    """Host to board, with a nonce of four bytes as payload. A new nonce begins a session."""
    IDENTITY = 3
    """Board to host, the reply to OPEN, with the nonce and the identity record as payload."""


@dataclass(frozen=True, kw_only=True)
class LinkParameters:
    """Sizes of the board's end of the link.

    Parameters
    ----------
    receive_buffer, transmit_buffer
        Sizes of the two ring buffers in bytes, a power of two from 16 to 16384. They limit the bytes in flight from the
        host and from the board, respectively.
    maximum_payload
        Largest payload of a frame in bytes, 64 to 240. Both ends must use the same value.
    idle_cycles
        Clock cycles without a byte from its source after which the board sends a frame that is not full.
    """

    receive_buffer: int = 1024
    transmit_buffer: int = 1024
    maximum_payload: int = 192
    idle_cycles: int = 64

    def __post_init__(self) -> None:
        for name in ("receive_buffer", "transmit_buffer"):
            value = getattr(self, name)
            _check_integer(name, value)
            if not 16 <= value <= 16384 or value & (value - 1):
                raise ValueError(f"{name} must be a power of two from 16 to 16384, not {value!r}")
        _check_range("maximum_payload", self.maximum_payload, 64, LARGEST_PAYLOAD)
        _check_range("idle_cycles", self.idle_cycles, 1, 65535)


def cobs_encode(data: bytes) -> bytes:
    """Encode ``data`` without zero bytes (consistent overhead byte stuffing) and without a delimiter.

    Each run of up to 254 nonzero bytes is preceded by its length plus one. It implies a zero byte after each run,
    except the last one and runs of 254 bytes.
    """
    pieces = []
    for run in data.split(b"\0"):
        while len(run) >= 254:
            pieces += [b"\xff", run[:254]]
            run = run[254:]
        pieces += [bytes([len(run) + 1]), run]
    return b"".join(pieces)


def cobs_decode(data: bytes) -> bytes:
    """Decode ``data``, the inverse of :func:`cobs_encode`; raises FrameError for invalid data."""
    pieces = []
    position = 0
    while position < len(data):
        code = data[position]
        following = position + code
        if code == 0 or following > len(data):
            raise FrameError("a block must end inside its frame")
        pieces.append(data[position + 1 : following])
        if code != 0xFF and following < len(data):
            pieces.append(b"\0")
        position = following
    return b"".join(pieces)


def offset_difference(left: int, right: int) -> int:
    """``left - right`` of two offsets modulo 65536, from -32768 to 32767."""
    return ((left - right + 0x8000) & 0xFFFF) - 0x8000


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One frame.

    Parameters
    ----------
    kind
        Kind of the frame.
    sequence
        Offset of the first payload byte; without payload, of the sender's next byte.
    acknowledge
        Offset of the next byte that the sender of this frame expects; all earlier bytes have arrived.
    limit
        Offset up to which the receiver of this frame may send (end of its window).
    payload
        At most 240 bytes.
    reply
        The receiver must reply even to a frame without payload.
    again
        NAK: bytes were lost, and the receiver must retransmit from ``acknowledge`` on.
    """

    kind: Kind = Kind.DATA
    sequence: int = 0
    acknowledge: int = 0
    limit: int = 0
    payload: bytes = b""
    reply: bool = False
    again: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.kind, Kind):
            raise TypeError(f"kind must be a Kind, not {self.kind!r}")
        for name in ("sequence", "acknowledge", "limit"):
            _check_range(name, getattr(self, name), 0, 0xFFFF)
        if len(self.payload) > LARGEST_PAYLOAD:
            raise ValueError(f"payload must be at most {LARGEST_PAYLOAD} bytes, not {len(self.payload)}")

    def encode(self) -> bytes:
        """The bytes on the line, delimiter included."""
        body = b"".join(
            (
                (self.kind | self.reply * _REPLY | self.again * _AGAIN).to_bytes(1, "little"),
                self.sequence.to_bytes(2, "little"),
                self.acknowledge.to_bytes(2, "little"),
                self.limit.to_bytes(2, "little"),
                len(self.payload).to_bytes(1, "little"),
                self.payload,
            )
        )
        return cobs_encode(body + zlib.crc32(body).to_bytes(4, "little")) + b"\0"

    @classmethod
    def decode(cls, data: bytes) -> "Frame":
        """Decode the line bytes ``data``, without delimiter; raises FrameError if the frame is damaged."""
        body = cobs_decode(data)
        if not HEADER_BYTES + CRC_BYTES <= len(body) <= HEADER_BYTES + LARGEST_PAYLOAD + CRC_BYTES:
            raise FrameError(f"a body must be 12 to {12 + LARGEST_PAYLOAD} bytes, not {len(body)}")
        if zlib.crc32(body[:-CRC_BYTES]) != int.from_bytes(body[-CRC_BYTES:], "little"):
            raise FrameError("the CRC must match")
        if body[7] != len(body) - HEADER_BYTES - CRC_BYTES:
            raise FrameError(f"the length must be that of the payload, not {body[7]}")
        kind = body[0] & 0x0F
        if kind not in (1, 2, 3) or body[0] & ~(0x0F | _REPLY | _AGAIN):
            raise FrameError(f"the kind must be known, not {body[0]:#04x}")
        return cls(
            kind=Kind(kind),
            sequence=int.from_bytes(body[1:3], "little"),
            acknowledge=int.from_bytes(body[3:5], "little"),
            limit=int.from_bytes(body[5:7], "little"),
            payload=body[HEADER_BYTES:-CRC_BYTES],
            reply=bool(body[0] & _REPLY),
            again=bool(body[0] & _AGAIN),
        )


class Deframer:
    """Splits the bytes of a line into frames."""

    def __init__(self) -> None:
        self._partial = b""

    def feed(self, data: bytes) -> list[Frame | None]:
        """The frames that ``data`` completes, with None for a damaged one. Empty frames are skipped."""
        *complete, partial = (self._partial + data).split(b"\0")
        # Bytes beyond the longest frame are dropped, which bounds the memory; the frame still counts as damaged.
        self._partial = partial[: LARGEST_PAYLOAD + FRAME_OVERHEAD]
        frames: list[Frame | None] = []
        for piece in complete:
            if piece:
                try:
                    frames.append(Frame.decode(piece))
                except FrameError:
                    frames.append(None)
        return frames


class DeviceModel:
    """Model of the board's end of the link, equivalent to :class:`spikeloom.hdl.host.link.Link`, for tests without RTL.

    ``resets`` counts the sessions; the user of the streams must start over when it changes.
    """

    def __init__(self, parameters: LinkParameters, identity: bytes) -> None:
        self.parameters = parameters
        self.identity = identity
        self.resets = 0
        self._deframer = Deframer()
        self._nonce = bytes(NONCE_BYTES)
        self._open = False
        self._identify = False
        self._clear()

    def _clear(self) -> None:
        self._received = bytearray()  # accepted and not yet consumed
        self._expected = 0  # offset of the next byte from the host
        self._advertised = 0  # offset consumed when a frame last carried the limit
        self._unacknowledged = bytearray()  # from offset _acknowledged on
        self._acknowledged = 0
        self._sent = 0
        self._limit = 0  # set by the host's first frame
        self._answer = False
        self._again = False
        self._reported = False  # a NAK (AGAIN) has been sent since the last frame in order

    # The line.

    def from_line(self, data: bytes) -> None:
        """Process bytes from the host."""
        for frame in self._deframer.feed(data):
            if frame is None or len(frame.payload) > self.parameters.maximum_payload:
                self._unreadable()
            elif frame.kind == Kind.OPEN and len(frame.payload) == NONCE_BYTES:
                self._begin(frame.payload)
            elif frame.kind == Kind.DATA and self._open:
                self._data(frame)

    def _begin(self, nonce: bytes) -> None:
        if nonce != self._nonce or not self._open:
            self._clear()
            self.resets += 1
            self._nonce = nonce
            self._open = True
        self._identify = True

    def _unreadable(self) -> None:
        if self._open and not self._reported:
            self._reported = self._answer = self._again = True

    def _data(self, frame: Frame) -> None:
        distance = (frame.acknowledge - self._acknowledged) & 0xFFFF
        if distance <= len(self._unacknowledged):
            self._sent = max(0 if frame.again else (self._sent - self._acknowledged) & 0xFFFF, distance)
            self._sent = (self._acknowledged + self._sent) & 0xFFFF
            self._acknowledged = frame.acknowledge
            del self._unacknowledged[:distance]
            self._limit = frame.limit
        ahead = offset_difference(frame.sequence, self._expected)
        room = self.parameters.receive_buffer - len(self._received)
        if frame.payload and ahead == 0 and len(frame.payload) <= room:
            self._received += frame.payload
            self._expected = (self._expected + len(frame.payload)) & 0xFFFF
            self._reported = False
        elif ahead > 0 and (frame.reply or not self._reported):
            self._reported = self._again = self._answer = True
        if frame.payload or frame.reply:
            self._answer = True

    def to_line(self) -> bytes:
        """Return the line bytes of all frames that are ready to be sent."""
        frames = []
        while (frame := self._next_frame()) is not None:
            frames.append(frame.encode())
        return b"".join(frames)

    def _next_frame(self) -> Frame | None:
        consumed = (self._expected - len(self._received)) & 0xFFFF
        kind, payload = Kind.IDENTITY, self._nonce + self.identity
        sequence = self._sent
        if not self._identify:
            kind = Kind.DATA
            start = (self._sent - self._acknowledged) & 0xFFFF
            # A full frame's credit or nothing: the host's window is far larger than that.
            enough = offset_difference(self._limit, self._sent) >= self.parameters.maximum_payload
            size = self.parameters.maximum_payload if enough else 0
            payload = bytes(self._unacknowledged[start : start + size])
            freed = (consumed - self._advertised) & 0xFFFF
            if not payload and not self._answer and freed < self.parameters.receive_buffer // 2:
                return None
            self._sent = (self._sent + len(payload)) & 0xFFFF
        frame = Frame(
            kind=kind,
            sequence=sequence,
            acknowledge=self._expected,
            limit=(consumed + self.parameters.receive_buffer) & 0xFFFF,
            payload=payload,
            again=self._again and kind == Kind.DATA,
        )
        self._advertised = consumed
        if kind == Kind.IDENTITY:
            self._identify = False
        else:
            self._answer = self._again = False
        return frame

    # The streams.

    def receive(self, maximum: int | None = None) -> bytes:
        """Take the next bytes from the host, at most ``maximum``."""
        data = bytes(self._received[:maximum])
        del self._received[: len(data)]
        return data

    def transmit(self, data: bytes) -> int:
        """Send bytes to the host and return the number accepted by the ring buffer."""
        room = self.parameters.transmit_buffer - len(self._unacknowledged) if self._open else 0
        accepted = data[:room]
        self._unacknowledged += accepted
        return len(accepted)
