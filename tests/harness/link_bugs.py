"""Models of the board's end of the link with a bug each, which tests have to find."""

from spikeloom.sim.host.link import Deframer, DeviceModel, Frame

__all__ = ["WithoutCrc", "WithoutNewSession", "WithoutRewind", "WithoutSequence"]


class WithoutCrc(DeviceModel):
    """Planted: a damaged payload is taken as long as its frame can be found."""

    def from_line(self, data):
        for piece in data.split(b"\0"):
            frames = Deframer().feed(piece + b"\0")
            if frames == [None] and len(piece) > 14 and not self._reported:
                size = min(len(piece) - 13, self.parameters.receive_buffer - len(self._received))
                self._received += piece[8 : 8 + size]
                self._expected = (self._expected + size) & 0xFFFF
            else:
                super().from_line(piece + b"\0")


class WithoutSequence(DeviceModel):
    """Planted: what comes is taken as the next bytes."""

    def _data(self, frame):
        super()._data(
            Frame(
                sequence=self._expected,
                acknowledge=frame.acknowledge,
                limit=frame.limit,
                payload=frame.payload,
                reply=frame.reply,
                again=frame.again,
            )
        )


class WithoutRewind(DeviceModel):
    """Planted: AGAIN is not heeded."""

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
    """Planted: a new host finds the rings as the last one has left them."""

    def _clear(self):
        waiting = bytes(getattr(self, "_received", b""))
        super()._clear()
        self._received += waiting
