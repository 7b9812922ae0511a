"""Models of the board's end of the link, each with one bug that tests must find."""

import zlib

from spikeloom.sim.host.link import CRC_BYTES, OFFSETS, DeviceModel, Frame, FrameError, cobs_decode, cobs_encode

__all__ = ["WithoutCrc", "WithoutNewSession", "WithoutRewind", "WithoutSequence"]


class WithoutCrc(DeviceModel):
    """Planted: the CRC is not compared."""

    def from_line(self, data):
        *complete, self._rest = (getattr(self, "_rest", b"") + data).split(b"\0")
        super().from_line(b"".join(_with_right_crc(piece) + b"\0" for piece in complete if piece))


def _with_right_crc(piece):
    """The bytes between two delimiters, with the correct CRC if they are a frame at all."""
    try:
        body = cobs_decode(piece)
    except FrameError:
        return piece
    return cobs_encode(body[:-CRC_BYTES] + zlib.crc32(body[:-CRC_BYTES]).to_bytes(CRC_BYTES, "little"))


class WithoutSequence(DeviceModel):
    """Planted: every payload is taken as the next bytes."""

    def _data(self, frame):
        super()._data(
            Frame(
                sequence=self._expected % OFFSETS,
                acknowledge=frame.acknowledge,
                limit=frame.limit,
                payload=frame.payload,
                reply=frame.reply,
                again=frame.again,
            )
        )


class WithoutRewind(DeviceModel):
    """Planted: AGAIN is ignored."""

    def _data(self, frame):
        super()._data(
            Frame(
                sequence=frame.sequence,
                acknowledge=frame.acknowledge,
                limit=frame.limit,
                payload=frame.payload,
                reply=frame.reply,
            )
        )


class WithoutNewSession(DeviceModel):
    """Planted: a new session finds the rings as the last one left them."""

    def _clear(self):
        waiting = bytes(getattr(self, "_received", b""))
        super()._clear()
        self._received += waiting
