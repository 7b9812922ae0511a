"""Boards with protocol version 1: just enough of its frames to recognise such a board, so that it can be refused.

A frame of version 1 has offsets of 16 bits and a length of one byte::

    body   | kind 1 | sequence 2 | acknowledge 2 | limit 2 | length 1 | payload | crc32 4 |
"""

import zlib

from spikeloom.sim.host.link import CRC_BYTES, NONCE_BYTES, FrameError, Kind, cobs_decode, cobs_encode

__all__ = ["Version1Listener", "version1_opening"]

_HEADER_BYTES = 8
_LONGEST = 255  # bytes of a frame without its delimiter: one COBS block


def version1_opening(nonce: bytes) -> bytes:
    """Return the frame OPEN of version 1 with its delimiter.

    A board of version 2 sees a damaged frame, which has no effect before its first session.
    """
    body = bytes([Kind.OPEN, 0, 0, 0, 0, 0, 0, len(nonce)]) + nonce
    return cobs_encode(body + zlib.crc32(body).to_bytes(CRC_BYTES, "little")) + b"\0"


class Version1Listener:
    """Finds the answer of a board of version 1 among the bytes of a line.

    Parameters
    ----------
    nonce
        The nonce in OPEN, which the answer repeats.
    """

    def __init__(self, nonce: bytes) -> None:
        self._nonce = nonce
        self._partial = b""

    def feed(self, data: bytes) -> bytes | None:
        """Return the identity record in the first answer that ``data`` completes, None without any."""
        *complete, partial = (self._partial + data).split(b"\0")
        self._partial = partial[: _LONGEST + 1]
        return next((record for record in map(self._record_of, complete) if record is not None), None)

    def _record_of(self, piece: bytes) -> bytes | None:
        try:
            body = cobs_decode(piece)
        except FrameError:
            return None
        payload = body[_HEADER_BYTES:-CRC_BYTES]
        intact = (
            len(payload) > NONCE_BYTES
            and body[0] == Kind.IDENTITY
            and body[_HEADER_BYTES - 1] == len(payload)
            and zlib.crc32(body[:-CRC_BYTES]) == int.from_bytes(body[-CRC_BYTES:], "little")
        )
        return payload[NONCE_BYTES:] if intact and payload[:NONCE_BYTES] == self._nonce else None
