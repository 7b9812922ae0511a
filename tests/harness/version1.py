"""A board with protocol version 1 for the current driver: it answers its own OPEN, and NAKs damaged frames."""

import zlib

from spikeloom.sim.host.link import FrameError, cobs_decode, cobs_encode

__all__ = ["IDENTITY_1", "Version1Board"]

IDENTITY_1 = (b"SPKL\x01" + bytes(range(1, 14)) + b"0123456789abcdef").ljust(40, b"\0")

_OPEN, _IDENTITY, _DATA, _AGAIN = 2, 3, 1, 0x20


def _frame(kind, payload=b""):
    body = bytes([kind, 0, 0, 0, 0, 0, 4, len(payload)]) + payload
    return cobs_encode(body + zlib.crc32(body).to_bytes(4, "little")) + b"\0"


class Version1Board:
    """Called with line bytes, it returns the bytes that it sends. ``sessions`` counts the intact OPEN frames."""

    def __init__(self, record=IDENTITY_1):
        self.record = record
        self.sessions = 0
        self._partial = b""

    def __call__(self, data):
        *complete, self._partial = (self._partial + data).split(b"\0")
        return b"".join(self._answer(piece) for piece in complete if piece)

    def _answer(self, piece):
        try:
            body = cobs_decode(piece)
        except FrameError:
            body = b""
        crc = zlib.crc32(body[:-4]).to_bytes(4, "little")
        if len(body) < 12 or body[7] != len(body) - 12 or crc != body[-4:]:
            return _frame(_DATA | _AGAIN) if self.sessions else b""
        if body[0] != _OPEN or body[7] != 4:
            return b""
        self.sessions += 1
        return _frame(_IDENTITY, body[8:12] + self.record)
