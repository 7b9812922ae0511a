"""The host link: frame format and protocol of its two ends. This module is the specification.

The link carries two byte streams, one per direction, over a line (a UART, for example) that may corrupt, drop, insert
or repeat bytes. Every byte arrives exactly once and in order. ``docs/link.md`` describes the protocol.

::

    line   | body without its zero bytes (COBS) | 00 |
    body   | kind 1 | sequence 4 | acknowledge 4 | limit 4 | length 2 | payload 0..1400 | crc32 4 |

All numbers are little-endian. Offsets count the payload bytes of one direction since the session began, modulo 2^32.

The board has no timeouts: the host detects every loss and requests retransmission. A board thus behaves identically at
any clock and baud rate, and sends nothing to a host that has stopped reading.
"""

import enum
import struct
import zlib
from dataclasses import dataclass

import numpy as np

__all__ = [
    "AGAIN_FLAG",
    "CRC_BYTES",
    "FRAME_OVERHEAD",
    "HEADER_BYTES",
    "LARGEST_BLOCK_PAYLOAD",
    "LARGEST_BUFFER",
    "LARGEST_PAYLOAD",
    "NONCE_BYTES",
    "OFFSETS",
    "REPLY_FLAG",
    "SMALLEST_PAYLOAD",
    "Deframer",
    "DeviceModel",
    "Frame",
    "FrameError",
    "Kind",
    "LinkParameters",
    "UnknownKindError",
    "cobs_decode",
    "cobs_encode",
    "encode_frame",
    "offset_difference",
]

NONCE_BYTES = 4
OFFSET_BYTES = 4
OFFSETS = 1 << 8 * OFFSET_BYTES
"""Number of offsets: they count modulo this."""
LENGTH_BYTES = 2
HEADER_BYTES = 1 + 3 * OFFSET_BYTES + LENGTH_BYTES
CRC_BYTES = 4
BLOCK_BYTES = 254
"""Bytes of a COBS block without its code."""
FRAME_OVERHEAD = 1 + HEADER_BYTES + CRC_BYTES + 1
"""Bytes on the line in addition to a payload whose body fits one COBS block: code, header, CRC, delimiter. A longer
body takes at most one more code per 254 bytes."""

LARGEST_BLOCK_PAYLOAD = BLOCK_BYTES - HEADER_BYTES - CRC_BYTES
"""Largest payload with which a body fits one COBS block, so that the encoding adds exactly one byte: 235."""
LARGEST_PAYLOAD = 1400
"""Largest payload of all: with it, a frame fits a UDP datagram that is not fragmented."""
SMALLEST_PAYLOAD = 64
"""Smallest value of ``maximum_payload``: the payload of IDENTITY must fit."""
LARGEST_BUFFER = 65536

_HEADER = struct.Struct("<BIIIH")
# Flags in the first byte of a frame, above the four bits of the kind.
REPLY_FLAG = 0x10
AGAIN_FLAG = 0x20

_CODES = tuple(bytes([code]) for code in range(256))
_MANY_RUNS = 32
"""Zeros in a frame above which array operations are faster than a loop over the runs."""


def _check_integer(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, not {value!r}")


def _check_range(name: str, value: int, low: int, high: int) -> None:
    _check_integer(name, value)
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, not {value!r}")


class FrameError(ValueError):
    """The bytes between two delimiters are not a frame."""


class UnknownKindError(FrameError):
    """An intact frame of a kind that this version does not know; its receiver ignores it."""


class Kind(enum.IntEnum):
    """Kind of a frame (the low four bits of its first byte)."""

    DATA = 1
    """Payload of the stream; without payload, ``acknowledge``, ``limit`` and ``sequence`` only."""
    OPEN = 2
    """Host to board, with a nonce of four bytes as payload. A new nonce begins a session."""
    IDENTITY = 3
    """Board to host, the reply to OPEN, with the nonce and the identity record as payload."""


_KINDS = {int(kind): kind for kind in Kind}


@dataclass(frozen=True, kw_only=True)
class LinkParameters:
    """Sizes of the board's end of the link.

    Parameters
    ----------
    receive_buffer, transmit_buffer
        Sizes of the two ring buffers in bytes, a power of two up to 65536 and at least ``maximum_payload``. They limit
        the bytes in flight from the host and from the board, respectively.
    maximum_payload
        Largest payload of a frame in bytes, 64 to 1400, which the board tells the host in its identity. The default is
        the largest with which a body fits one COBS block.
    idle_cycles
        Clock cycles without a further byte to send after which the board sends a frame that is not full.
    """

    receive_buffer: int = 1024
    transmit_buffer: int = 1024
    maximum_payload: int = LARGEST_BLOCK_PAYLOAD
    idle_cycles: int = 64

    def __post_init__(self) -> None:
        _check_range("maximum_payload", self.maximum_payload, SMALLEST_PAYLOAD, LARGEST_PAYLOAD)
        for name in ("receive_buffer", "transmit_buffer"):
            value = getattr(self, name)
            _check_integer(name, value)
            if not self.maximum_payload <= value <= LARGEST_BUFFER or value.bit_count() != 1:
                raise ValueError(
                    f"{name} must be a power of two from maximum_payload ({self.maximum_payload}) to {LARGEST_BUFFER}, "
                    f"not {value!r}"
                )
        _check_range("idle_cycles", self.idle_cycles, 1, 65535)


def cobs_encode(data: bytes) -> bytes:
    """Encode ``data`` without zero bytes (consistent overhead byte stuffing) and without a delimiter.

    Each run of up to 254 nonzero bytes is preceded by its length plus one. A zero byte is implied after each run except
    the last one and runs of 254 bytes. No empty block follows a run of 254 bytes at the end.
    """
    if data.count(0) > _MANY_RUNS:
        pieces = _encode_many_runs(data)
    else:
        pieces = []
        for run in data.split(b"\0"):
            if len(run) < BLOCK_BYTES:
                pieces += (_CODES[len(run) + 1], run)
            else:
                pieces += _blocks(run)
    encoded = b"".join(pieces)
    final = len(data) - 1 - data.rfind(b"\0")
    return encoded[:-1] if final and not final % BLOCK_BYTES else encoded


def _blocks(run: bytes) -> list[bytes]:
    """Return the blocks of a run of nonzero bytes. A block of 254 bytes implies no zero, so another block follows."""
    full = len(run) // BLOCK_BYTES * BLOCK_BYTES
    pieces: list[bytes] = []
    for start in range(0, full, BLOCK_BYTES):
        pieces += (b"\xff", run[start : start + BLOCK_BYTES])
    return [*pieces, _CODES[len(run) - full + 1], run[full:]]


def _encode_many_runs(data: bytes) -> list[bytes]:
    """Encode ``data`` with array operations, in a time that hardly depends on the number of its runs."""
    # A code stands at the start and in place of each zero. It is the distance to the next code, or to the end.
    stream = np.zeros(len(data) + 2, np.uint8)
    stream[1:-1] = np.frombuffer(data, np.uint8)
    places = np.flatnonzero(stream == 0)
    codes = np.diff(places)
    stream[places[:-1]] = codes.astype(np.uint8)
    encoded = stream.tobytes()
    # Runs of several blocks are inserted; a frame holds few of them.
    pieces, done = [], 0
    for number in np.flatnonzero(codes > BLOCK_BYTES).tolist():
        start, end = int(places[number]), int(places[number + 1])
        pieces += [encoded[done:start], *_blocks(data[start : end - 1])]
        done = end
    return [*pieces, encoded[done:-1]]


def cobs_decode(data: bytes) -> bytes:
    """Decode ``data``, the inverse of `cobs_encode`. Raises `FrameError` for invalid data."""
    decoded = bytearray(data)
    total, position = len(data), 0
    after_full = []
    # The code of a block takes the place of the zero before it, so nothing moves unless a block is full.
    while position < total:
        code = data[position]
        if not code:
            break
        decoded[position] = 0
        position += code
        if code == 0xFF:
            after_full.append(position)
    if position != total:
        raise FrameError("a block must end inside its frame")
    # No zero after a full block.
    for position in reversed(after_full):
        del decoded[position : position + 1]
    return bytes(memoryview(decoded)[1:])


def offset_difference(left: int, right: int) -> int:
    """``left - right`` of two offsets modulo 2^32, from -2^31 to 2^31 - 1."""
    # Buffers are far smaller than half of the offsets, so the sign is never ambiguous.
    return (left - right + OFFSETS // 2) % OFFSETS - OFFSETS // 2


def encode_frame(flags: int, sequence: int, acknowledge: int, limit: int, payload: bytes) -> bytes:
    """Return the bytes of a frame on the line, delimiter included; ``flags`` is its first byte, with the kind.

    `Frame` explains and checks the fields. This function, which checks nothing, is for a sender of many frames.
    """
    body = _HEADER.pack(flags, sequence, acknowledge, limit, len(payload)) + payload
    return cobs_encode(body + zlib.crc32(body).to_bytes(CRC_BYTES, "little")) + b"\0"


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
        At most 1400 bytes.
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
        # All fields are checked in one expression, because thousands of frames are made per second. The code below
        # finds the invalid one.
        offsets = (self.sequence, self.acknowledge, self.limit)
        if (
            type(self.kind) is Kind
            and type(offsets[0]) is type(offsets[1]) is type(offsets[2]) is int
            and min(offsets) >= 0
            and max(offsets) < OFFSETS
            and len(self.payload) <= LARGEST_PAYLOAD
        ):
            return
        if not isinstance(self.kind, Kind):
            raise TypeError(f"kind must be a Kind, not {self.kind!r}")
        for name in ("sequence", "acknowledge", "limit"):
            _check_range(name, getattr(self, name), 0, OFFSETS - 1)
        if len(self.payload) > LARGEST_PAYLOAD:
            raise ValueError(f"payload must be at most {LARGEST_PAYLOAD:,} bytes, not {len(self.payload):,}")

    def encode(self) -> bytes:
        """The bytes on the line, delimiter included."""
        flags = self.kind | self.reply * REPLY_FLAG | self.again * AGAIN_FLAG
        return encode_frame(flags, self.sequence, self.acknowledge, self.limit, self.payload)

    @classmethod
    def decode(cls, data: bytes, *, maximum_payload: int = LARGEST_PAYLOAD) -> "Frame":
        """Decode the line bytes ``data``, without delimiter.

        Raises `FrameError` if the frame is damaged or its payload is longer than ``maximum_payload``, and
        `UnknownKindError` if it is intact and of an unknown kind.
        """
        body = cobs_decode(data)
        shortest = HEADER_BYTES + CRC_BYTES
        if not shortest <= len(body) <= shortest + maximum_payload:
            raise FrameError(f"a body must be {shortest} to {shortest + maximum_payload:,} bytes, not {len(body):,}")
        # Before the header is read: nothing in a damaged frame can be trusted, its length included.
        if zlib.crc32(body[:-CRC_BYTES]) != int.from_bytes(body[-CRC_BYTES:], "little"):
            raise FrameError("the CRC must match")
        flags, sequence, acknowledge, limit, length = _HEADER.unpack_from(body)
        if length != len(body) - shortest:
            raise FrameError(f"the length must be that of the payload, not {length}")
        kind = _KINDS.get(flags & 0x0F)
        if kind is None or flags & ~(0x0F | REPLY_FLAG | AGAIN_FLAG):
            raise UnknownKindError(f"the kind must be known, not {flags:#04x}")
        return cls(
            kind=kind,
            sequence=sequence,
            acknowledge=acknowledge,
            limit=limit,
            payload=body[HEADER_BYTES:-CRC_BYTES],
            reply=bool(flags & REPLY_FLAG),
            again=bool(flags & AGAIN_FLAG),
        )


class Deframer:
    """Splits the bytes of a line into frames with payloads of at most ``maximum_payload`` bytes."""

    def __init__(self, maximum_payload: int = LARGEST_PAYLOAD) -> None:
        self._maximum_payload = maximum_payload
        body = HEADER_BYTES + maximum_payload + CRC_BYTES
        # The largest body, with a code byte per block.
        self._longest = body + body // BLOCK_BYTES + 1
        self._partial = b""

    def feed(self, data: bytes) -> list[Frame | None]:
        """The frames that ``data`` completes, with None for a damaged one.

        Empty frames and intact frames of an unknown kind are skipped.
        """
        *complete, partial = (self._partial + data).split(b"\0")
        # To bound the memory, only one byte beyond the longest frame is kept; it is enough to reject the frame.
        self._partial = partial[: self._longest + 1]
        frames: list[Frame | None] = []
        for piece in complete:
            if piece:
                try:
                    frames.append(Frame.decode(piece, maximum_payload=self._maximum_payload))
                except UnknownKindError:
                    pass
                except FrameError:
                    frames.append(None)
        return frames


class DeviceModel:
    """Model of the board's end of the link, equivalent to :class:`spikeloom.hdl.host.link.Link`, for tests without RTL.

    Offsets are kept in full here, and modulo 2^32 on the line.

    Parameters
    ----------
    parameters
        Sizes of buffers and frames.
    identity
        Identity record.
    first_offset
        Offset of the first byte of a session in both directions; tests set it to reach the wrap-around of offsets.

    ``resets`` counts the sessions; the user of the streams must start over when it changes.
    """

    def __init__(self, parameters: LinkParameters, identity: bytes, *, first_offset: int = 0) -> None:
        self.parameters = parameters
        self.identity = identity
        self.first_offset = first_offset
        self.resets = 0
        self._deframer = Deframer(parameters.maximum_payload)
        self._nonce = bytes(NONCE_BYTES)
        self._open = False
        self._identify = False
        self._clear()

    def _clear(self) -> None:
        self._received = bytearray()  # accepted and not yet consumed
        self._expected = self.first_offset  # offset of the next byte from the host
        self._advertised = self.first_offset  # offset consumed when a frame last carried the limit
        self._unacknowledged = bytearray()  # from offset _acknowledged on
        self._acknowledged = self.first_offset
        self._sent = self.first_offset
        self._limit = self.first_offset  # set by the host's first frame
        self._answer = False
        self._again = False
        self._reported = False  # a NAK (AGAIN) has been sent since the last frame in order

    # The line.

    def from_line(self, data: bytes) -> None:
        """Process bytes from the host."""
        for frame in self._deframer.feed(data):
            if frame is None:
                self._unreadable()
            elif frame.kind == Kind.OPEN and len(frame.payload) == NONCE_BYTES:
                self._begin(frame.payload)
            elif frame.kind == Kind.DATA and self._open:
                self._data(frame)

    def _begin(self, nonce: bytes) -> None:
        # A repeated OPEN with the same nonce must not reset the session again.
        if nonce != self._nonce or not self._open:
            self._clear()
            self.resets += 1
            self._nonce = nonce
            self._open = True
        self._identify = True

    def _unreadable(self) -> None:
        # One NAK per loss: frames that are already in flight would otherwise each cause another retransmission.
        if self._open and not self._reported:
            self._reported = self._answer = self._again = True

    def _data(self, frame: Frame) -> None:
        # An acknowledgement beyond the stored bytes, or an old one, is ignored together with its limit.
        step = (frame.acknowledge - self._acknowledged) % OFFSETS
        if step <= len(self._unacknowledged):
            self._limit = self._acknowledged + offset_difference(frame.limit, self._acknowledged)
            self._acknowledged += step
            del self._unacknowledged[:step]
            # After a NAK all bytes from there on are sent again (go-back-N).
            self._sent = self._acknowledged if frame.again else max(self._sent, self._acknowledged)
        ahead = offset_difference(frame.sequence, self._expected)
        room = self.parameters.receive_buffer - len(self._received)
        # Only in order and only whole frames, so that the receive ring needs no reassembly.
        if frame.payload and ahead == 0 and len(frame.payload) <= room:
            self._received += frame.payload
            self._expected += len(frame.payload)
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
        consumed = self._expected - len(self._received)
        kind, payload = Kind.IDENTITY, self._nonce + self.identity
        sequence = self._sent
        if not self._identify:
            kind = Kind.DATA
            start = self._sent - self._acknowledged
            # Payload is sent only with credit for a full frame; the host's window is far larger than that.
            enough = self._limit - self._sent >= self.parameters.maximum_payload
            size = self.parameters.maximum_payload if enough else 0
            payload = bytes(self._unacknowledged[start : start + size])
            # New room alone causes a frame only when half of the buffer has become free.
            freed = consumed - self._advertised
            if not payload and not self._answer and freed < self.parameters.receive_buffer // 2:
                return None
            self._sent += len(payload)
        frame = Frame(
            kind=kind,
            sequence=sequence % OFFSETS,
            acknowledge=self._expected % OFFSETS,
            limit=(consumed + self.parameters.receive_buffer) % OFFSETS,
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
        # Bytes stay in the ring until the host has acknowledged them.
        room = self.parameters.transmit_buffer - len(self._unacknowledged) if self._open else 0
        accepted = data[:room]
        self._unacknowledged += accepted
        return len(accepted)
