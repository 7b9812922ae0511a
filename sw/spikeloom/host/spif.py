"""Events over UDP in the word format of SPIF, used by event cameras and by the SpiNNaker interface.

A datagram is a sequence of 32-bit words, the lowest byte first. A word is an event::

    bit     31             30 .. 16   15         14 .. 0
            no timestamp   x          polarity   y

If bit 31 is 0, the next word is the timestamp of the event. (SPIF is described at
https://github.com/SpiNNakerManchester/spif; AEStream sends and receives these words as ``output udp``.)

Pixels become inputs of a network, channel first as in a convolution of shape ``(polarities, rows, columns)``.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.host.datagrams import DatagramPort
from spikeloom.host.transport import Closing

__all__ = ["PixelMap", "SpifError", "SpifReceiver", "SpifSender", "decode_events", "encode_events"]

LARGEST_COORDINATE = (1 << 15) - 1
WORDS_PER_DATAGRAM = 256
"""1024 bytes per datagram, below any usual MTU, so that no datagram is fragmented."""

_WORD = np.dtype("<u4")
_NO_TIMESTAMP = 1 << 31
_PATIENCE_S = 0.001
_BURST = 64
"""Datagrams between two looks at the clock."""
_LATE_SHARE = 0.1
"""Share of a step for which a late step continues to receive if datagrams are waiting."""
_BUSY_S, _REST_S = 0.0008, 0.0001
"""A receiver that rests does so for at least ``_REST_S`` after it has been busy for ``_BUSY_S``."""

Events = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""``x``, ``y`` and ``polarity``, each ``(n,)``."""


class SpifError(ValueError):
    """The data is not a valid sequence of SPIF words."""


def encode_events(x: ArrayLike, y: ArrayLike, polarity: ArrayLike) -> bytes:
    """Return the words of events without timestamps: ``x``, ``y`` 0 to 32767 and ``polarity`` 0 or 1, each ``(n,)``.

    Raises ``ValueError`` for values out of range or different lengths.
    """
    columns, rows, signs = (np.asarray(values, np.int64).reshape(-1) for values in (x, y, polarity))
    if not len(columns) == len(rows) == len(signs):
        raise ValueError(f"x, y and polarity must have equal lengths, not {len(columns)}, {len(rows)} and {len(signs)}")
    for name, values, high in (
        ("x", columns, LARGEST_COORDINATE),
        ("y", rows, LARGEST_COORDINATE),
        ("polarity", signs, 1),
    ):
        if values.size and (values.min() < 0 or values.max() > high):
            raise ValueError(f"{name} must be from 0 to {high}, not {values.min()} to {values.max()}")
    return (_NO_TIMESTAMP | columns << 16 | signs << 15 | rows).astype(_WORD).tobytes()


def decode_events(data: bytes) -> Events:
    """Return ``x``, ``y`` and ``polarity`` of the events of one datagram; timestamps are skipped.

    Raises `SpifError` if the datagram ends within a word, or lacks the timestamp of its last event.
    """
    if len(data) % _WORD.itemsize:
        raise SpifError(f"a datagram must consist of whole 32-bit words, not of {len(data)} bytes")
    words = np.frombuffer(data, _WORD)
    events, incomplete = _decode(words, np.array([len(words)]))
    if incomplete:
        raise SpifError("a datagram must not end before the timestamp of its last event")
    return events


def _decode(words: NDArray[np.uint32], sizes: NDArray[np.int64]) -> tuple[Events, int]:
    """Return the events of datagrams, and the number of those that end before the timestamp of their last event.

    ``words`` ``(n,)`` holds the datagrams one after the other, ``sizes`` ``(m,)`` their sizes in words. Incomplete
    datagrams are left out as a whole.
    """
    timed = words < _NO_TIMESTAMP
    if not timed.any():
        return _parts(words), 0
    ends = np.cumsum(sizes)[sizes > 0]
    starts = np.concatenate([[0], ends[:-1]])
    # A word without bit 31 is an event or a timestamp, depending on the word before it. A word after one with bit 31 is
    # an event in either case, so from there, or from the start of the datagram, events are at even distances.
    begins = np.zeros(len(words), np.bool_)
    begins[starts] = True
    begins[1:] |= ~timed[:-1]
    place = np.arange(len(words))
    is_event = (place - np.maximum.accumulate(np.where(begins, place, 0))) % 2 == 0
    incomplete = is_event[ends - 1] & timed[ends - 1]
    is_event &= ~np.repeat(incomplete, ends - starts)
    return _parts(words[is_event]), int(incomplete.sum())


def _parts(events: NDArray[np.uint32]) -> Events:
    words = events.astype(np.int64)
    return words >> 16 & LARGEST_COORDINATE, words & LARGEST_COORDINATE, words >> 15 & 1


@dataclass(frozen=True, kw_only=True)
class PixelMap:
    """Mapping of camera pixels to input lines.

    Parameters
    ----------
    columns, rows
        Shape of the network input, in lines.
    polarities
        2: one channel per polarity; 1: the polarity is ignored.
    left, top
        Camera pixel of column 0 and row 0. Pixels outside the network input are dropped.
    scale
        Number of pixels per line, in each direction.
    """

    columns: int
    rows: int
    polarities: int = 2
    left: int = 0
    top: int = 0
    scale: int = 1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("columns", 1, LARGEST_COORDINATE + 1),
            ("rows", 1, LARGEST_COORDINATE + 1),
            ("polarities", 1, 2),
            ("left", 0, LARGEST_COORDINATE),
            ("top", 0, LARGEST_COORDINATE),
            ("scale", 1, LARGEST_COORDINATE),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ValueError(f"{name} must be an integer from {low} to {high}, not {value!r}")

    @property
    def size(self) -> int:
        """Number of input lines."""
        return self.polarities * self.rows * self.columns

    def lines(self, x: ArrayLike, y: ArrayLike, polarity: ArrayLike) -> NDArray[np.int64]:
        """Return the lines ``(m,)`` of the events ``(n,)`` that are inside the network input, in the same order."""
        column = (np.asarray(x, np.int64) - self.left) // self.scale
        row = (np.asarray(y, np.int64) - self.top) // self.scale
        channel = np.asarray(polarity, np.int64) if self.polarities == 2 else np.zeros_like(column)
        seen = (column >= 0) & (column < self.columns) & (row >= 0) & (row < self.rows)
        return ((channel * self.rows + row) * self.columns + column)[seen]

    def pixels(self, lines: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return ``x``, ``y`` and ``polarity``, each ``(n,)``, of the upper left pixel of each line ``(n,)``."""
        line = np.asarray(lines, np.int64)
        channel, place = np.divmod(line, self.rows * self.columns)
        row, column = np.divmod(place, self.columns)
        return column * self.scale + self.left, row * self.scale + self.top, channel


class SpifReceiver(Closing):
    """Receiver of events at a UDP port; a step consists of the events that arrive in ``step_s`` seconds.

    Parameters
    ----------
    pixels
        Mapping of events to input lines.
    port, host
        Address to listen on. Port 0 selects a free port, which ``port`` then holds.
    step_s
        Duration of a step in seconds.
    peer
        Accept events from this address only, and from this port if it is not None; without ``peer``, from any sender.
    rests
        Leave the processor for a tenth of the time under a flood, too; for a thread with real-time priority, which the
        kernel stops for 50 ms of each second otherwise.

    Repeated events of a pixel within a step count once, as everywhere in the input of a network. Malformed datagrams
    are dropped, because anything may arrive from a network. Steps end in time even if more datagrams arrive than can
    be received: those that do not fit into the queue of the operating system are lost. Every datagram is in one of the
    counts ``used``, ``malformed``, ``dropped`` and ``strangers``, once the queue has been emptied.
    """

    def __init__(
        self,
        pixels: PixelMap,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        step_s: float = 0.001,
        peer: tuple[str, int | None] | None = None,
        rests: bool = False,
    ) -> None:
        if not step_s > 0:
            raise ValueError(f"step_s must be more than 0, not {step_s!r}")
        self.pixels = pixels
        self.step_s = step_s
        self._port = DatagramPort(host, port, peer=peer, unit=_WORD.itemsize)
        self._rests = rests
        self._busy_since = time.monotonic()
        self.port = self._port.port

    def close(self) -> None:
        """Stop listening; the counts remain."""
        self._port.close()

    @property
    def used(self) -> int:
        """Number of datagrams whose events are in a step."""
        return self._port.received

    @property
    def malformed(self) -> int:
        """Number of datagrams that are not SPIF."""
        return self._port.malformed

    @property
    def dropped(self) -> int | None:
        """Number of datagrams lost because they arrived faster than they were received; None if unknown: not Linux."""
        return self._port.dropped

    @property
    def strangers(self) -> int:
        """Number of datagrams from other senders than the peer."""
        return self._port.strangers

    def steps(self, number: int) -> NDArray[np.bool_]:
        """Wait for ``number`` steps and return their spikes ``(number, size)``."""
        steps = self.each()
        return np.array([next(steps) for _ in range(number)])

    def each(self, meanwhile: Callable[[], object] | None = None) -> Iterator[NDArray[np.bool_]]:
        """Yield the spikes ``(size,)`` of one step after the other, without end; the first step begins now.

        ``meanwhile`` is called regularly. A consumer that is late gets the next step at once, with all events so far;
        the steps stay in time as long as the consumer is fast enough on average.
        """
        end = time.monotonic()
        while True:
            end += self.step_s
            spikes = np.zeros(self.pixels.size, np.bool_)
            self._until(end, spikes, meanwhile)
            yield spikes

    def _until(self, end: float, spikes: NDArray[np.bool_], meanwhile: Callable[[], object] | None) -> None:
        """Receive until ``end``. If it has passed, receive what is waiting, for at most `_LATE_SHARE` of a step."""
        called = time.monotonic()
        limit = max(end, called + _LATE_SHARE * self.step_s)
        while True:
            empty = self._port.read(_BURST)
            if self._port.full:
                self._decode(spikes)
            now = time.monotonic()
            if now >= end and (empty or now >= limit):
                break
            if meanwhile is None:
                pause = end - now
            else:
                if now - called >= _PATIENCE_S:
                    meanwhile()
                    called = now = time.monotonic()
                pause = min(end - now, _PATIENCE_S)
            if empty:
                self._port.wait(pause)
            elif self._rests and now - self._busy_since >= _BUSY_S:
                time.sleep(_REST_S)
            else:
                continue
            self._busy_since = time.monotonic()
        self._decode(spikes)

    def _decode(self, spikes: NDArray[np.bool_]) -> None:
        data, sizes = self._port.take()
        events, incomplete = _decode(data.view(_WORD), sizes // _WORD.itemsize)
        self._port.reject(incomplete)
        spikes[self.pixels.lines(*events)] = True


class SpifSender(Closing):
    """Sender of events to a UDP port.

    Parameters
    ----------
    pixels
        Mapping of lines, or neurons, to pixels.
    port, host
        Destination.
    """

    def __init__(self, pixels: PixelMap, port: int, *, host: str = "127.0.0.1") -> None:
        self.pixels = pixels
        self._to = (host, port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def close(self) -> None:
        """Stop sending."""
        self._socket.close()

    def send(self, spikes: ArrayLike) -> int:
        """Send the spikes ``(size,)`` of one step and return the number of events.

        Raises ``ValueError`` for another shape.
        """
        array = np.asarray(spikes, np.bool_)
        if array.shape != (self.pixels.size,):
            raise ValueError(f"spikes must have shape {(self.pixels.size,)}, not {array.shape}")
        lines = np.flatnonzero(array)
        for first in range(0, len(lines), WORDS_PER_DATAGRAM):
            self._socket.sendto(encode_events(*self.pixels.pixels(lines[first : first + WORDS_PER_DATAGRAM])), self._to)
        return len(lines)
