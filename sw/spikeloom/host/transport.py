"""Transports to a board: a serial port, a socket, and a faulty line for tests.

A transport carries bytes and has a clock. It guarantees neither that bytes arrive nor that they are intact; the link
does (:mod:`spikeloom.host.endpoint`).
"""

import abc
import collections
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from spikeloom.sim.host.baud import BAUD_RATES
from spikeloom.sim.host.link import DeviceModel

__all__ = [
    "BOARD_CLOCK",
    "Closing",
    "FaultyTransport",
    "LinkError",
    "ModelTransport",
    "SerialTransport",
    "TcpTransport",
    "Transport",
    "VirtualSerialTransport",
]

BOARD_CLOCK = struct.Struct("@d")
"""Content of the clock file of a simulated board: its time in seconds."""


class LinkError(ConnectionError):
    """The board is unreachable. The message is one sentence for the user."""


class Closing(abc.ABC):
    """Base class of objects that a ``with`` statement closes at its end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abc.abstractmethod
    def close(self) -> None:
        """Release all resources."""


class Transport(abc.ABC):
    """Connection to a board.

    Every call may be expensive (a USB transfer, a step of a simulator); make few calls with much data.
    """

    name: str = "the line"
    """Name of the destination, for messages."""

    round_trip_s: float = 0.025
    """Initial estimate of the round-trip time in seconds of this transport; timers start from it."""

    settings: tuple[str, ...] = ()
    """Ways to reach a board, in words, which `next_setting` tries in turn; empty if there is only one."""

    def next_setting(self) -> None:  # noqa: B027 - most transports have one
        """Try the next one of ``settings``, because no board has answered."""

    @abc.abstractmethod
    def write(self, data: bytes) -> None:
        """Send ``data``; raise `LinkError` if the connection is lost."""

    @abc.abstractmethod
    def read(self, timeout_s: float) -> bytes:
        """Return the received bytes; wait at most ``timeout_s`` seconds for the first one, then return ``b""``.

        A simulator should return at the end of a frame (a zero byte) rather than after each byte.
        """

    @abc.abstractmethod
    def now(self) -> float:
        """Return the time in seconds as the board sees it: simulated time on a simulator. ``read`` lets it pass."""

    def close(self) -> None:  # noqa: B027 - some transports have nothing to release
        """Release the connection. The transport cannot be used afterwards; closing twice is allowed."""


class SerialTransport(Transport):
    """Serial port, 8N1.

    Parameters
    ----------
    port
        Name of the port, such as ``/dev/ttyUSB1`` or ``COM3``.
    baud
        Baud rate at which the board is expected; while it does not answer, the others of `BAUD_RATES` are tried too.
    """

    _SLICE_S = 0.005
    _WRITE_TIMEOUT_S = 2.0  # without flow control, a UART always accepts bytes: a write that blocks means a lost port

    def __init__(self, port: str, baud: int) -> None:
        try:
            import serial
        except ImportError as error:  # pragma: no cover - pyserial is a dependency of the package
            raise LinkError("a serial port needs the package pyserial, which is not installed") from error
        self.name = port
        self._failures: tuple[type[Exception], ...] = (serial.SerialException, OSError)
        try:
            self._serial: Any = serial.Serial(
                port, baud, timeout=self._SLICE_S, write_timeout=self._WRITE_TIMEOUT_S, exclusive=True
            )
        except (*self._failures, ValueError) as error:
            if "exclusively lock" in str(error):
                raise LinkError(f"the serial port {port} is busy: another program uses it") from error
            raise LinkError(f"the serial port {port} must exist and be free to use ({error})") from error
        self._rates = (baud, *(rate for rate in BAUD_RATES if rate != baud))
        self._rate = 0
        self.settings = tuple(f"{rate / 1e6:g} Mbaud" for rate in self._rates)

    def next_setting(self) -> None:
        self._rate = (self._rate + 1) % len(self._rates)
        try:
            self._serial.baudrate = self._rates[self._rate]
            self._serial.reset_input_buffer()  # what arrived at another rate means nothing
        except ValueError:
            pass  # a rate that the port cannot make: nothing will answer
        except self._failures as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> LinkError:
        return LinkError(f"the serial port {self.name} has disappeared ({error})")

    def write(self, data: bytes) -> None:
        try:
            self._serial.write(data)
        except self._failures as error:
            raise self._lost(error) from error

    def read(self, timeout_s: float) -> bytes:
        try:
            if waiting := self._serial.in_waiting:
                return bytes(self._serial.read(waiting))
            deadline = self.now() + timeout_s
            while self.now() < deadline:
                if first := self._serial.read(1):
                    return bytes(first + self._serial.read(self._serial.in_waiting))
        except self._failures as error:
            raise self._lost(error) from error
        return b""

    def now(self) -> float:
        return time.monotonic()

    def close(self) -> None:
        self._serial.close()


class VirtualSerialTransport(SerialTransport):
    """Pseudo-terminal of a simulated board, with the clock of the board.

    A simulation is hundreds of times slower than a board, and slower still on a busy machine. By the host's clock, a
    board that computes would seem to be gone, and each answer would be late. So the simulation keeps a file with its
    time, which passes with its clock cycles, and with the host's time while the board has nothing to do.

    Parameters
    ----------
    port
        Name of the pseudo-terminal.
    clock
        File with the time of the board, a `BOARD_CLOCK`.
    """

    round_trip_s = 500e-6  # the line of a simulated board is fast
    _WRITE_TIMEOUT_S = 60.0
    _STANDSTILL_S = 60.0

    def __init__(self, port: str, clock: Path) -> None:
        self._clock = -1  # before anything can fail
        super().__init__(port, 1_000_000)
        self.settings = ()  # a pseudo-terminal has no baud rate
        try:
            self._clock = os.open(clock, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self.close()
            raise LinkError(f"the simulated board at {port} must have a clock at {clock} ({error.strerror})") from error
        self._seen, self._seen_at = -1.0, time.monotonic()

    def next_setting(self) -> None:
        """Do nothing: there is only one setting."""

    def now(self) -> float:
        content = os.pread(self._clock, BOARD_CLOCK.size, 0) if self._clock >= 0 else b""
        if len(content) != BOARD_CLOCK.size:
            raise LinkError(f"the simulated board at {self.name} has stopped its clock: it has ended")
        (now,) = BOARD_CLOCK.unpack(content)
        if now != self._seen:
            self._seen, self._seen_at = now, time.monotonic()
        elif time.monotonic() > self._seen_at + self._STANDSTILL_S:
            raise LinkError(
                f"the simulated board at {self.name} has not advanced for {self._STANDSTILL_S:g} s; start it again"
            )
        return now

    def close(self) -> None:
        super().close()
        if self._clock >= 0:
            os.close(self._clock)
            self._clock = -1


class TcpTransport(Transport):
    """TCP socket, for a simulator or for a remote serial port."""

    _STALL_S = 10.0

    def __init__(self, host: str, port: int) -> None:
        self.name = f"{host}:{port}"
        try:
            self._socket = socket.create_connection((host, port), timeout=5)
        except OSError as error:
            raise LinkError(
                f"no program listens at {self.name} ({error}); start one there, or give another port"
            ) from error
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._early: list[bytes] = []

    def _receive(self) -> bytes:
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise LinkError(f"the connection to {self.name} has been lost ({error})") from error
        if not data:
            raise LinkError(f"{self.name} has closed the connection")
        return data

    def _send(self, data: memoryview) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise LinkError(f"the connection to {self.name} has been lost ({error})") from error

    def write(self, data: bytes) -> None:
        left = memoryview(data)
        left = left[self._send(left) :]
        while left:
            # The peer may be unable to read before it has written, so read while writing.
            readable, writable, _ = select.select([self._socket], [self._socket], [], self._STALL_S)
            if not readable and not writable:
                raise LinkError(f"{self.name} has taken no data for {self._STALL_S:g} s")
            if readable:
                self._early.append(self._receive())
            if writable:
                left = left[self._send(left) :]

    def read(self, timeout_s: float) -> bytes:
        if self._early:
            data = b"".join(self._early)
            self._early.clear()
            if data:
                return data
        if timeout_s > 0:
            readable, _, _ = select.select([self._socket], [], [], timeout_s)
            if not readable:
                return b""
        return self._receive()

    def now(self) -> float:
        return time.monotonic()

    def close(self) -> None:
        self._socket.close()


class FaultyTransport(Transport):
    """Transport that adds faults to another transport, in both directions.

    Parameters
    ----------
    inner
        Transport to disturb.
    seed
        Random seed: the same seed and traffic give the same faults.
    flip, drop, insert
        Probability per byte that one bit is flipped, the byte is lost, or a random byte is inserted before it.
    repeat
        Probability that a piece ending with a zero byte, usually a frame, arrives twice.
    cut
        Probability that a piece ending with a zero byte is lost as a whole.

    ``faults`` counts the faults by the names above; a lost byte within a lost frame is not counted separately.
    """

    def __init__(
        self,
        inner: Transport,
        *,
        seed: int,
        flip: float = 0.0,
        drop: float = 0.0,
        insert: float = 0.0,
        repeat: float = 0.0,
        cut: float = 0.0,
    ) -> None:
        self._rates = {"flip": flip, "drop": drop, "insert": insert, "repeat": repeat, "cut": cut}
        for name, rate in self._rates.items():
            if not 0 <= rate <= 1:
                raise ValueError(f"{name} must be from 0 to 1, not {rate!r}")
        self._inner = inner
        self.name = inner.name
        self.round_trip_s = inner.round_trip_s
        self.settings = inner.settings
        self._random = np.random.default_rng(seed)
        self.faults: collections.Counter[str] = collections.Counter()

    def next_setting(self) -> None:
        self._inner.next_setting()

    def _happens(self, name: str, size: int) -> np.ndarray:
        rate = self._rates[name]
        chosen = self._random.random(size) < rate if rate else np.zeros(size, bool)
        self.faults[name] += int(chosen.sum())
        return chosen

    def _damage(self, data: bytes) -> bytes:
        if not data:
            return data
        pieces = [piece + b"\0" for piece in data.split(b"\0")]
        pieces[-1] = pieces[-1][:-1]
        repeat, cut = self._happens("repeat", len(pieces)), self._happens("cut", len(pieces))
        data = b"".join(
            piece * (1 + int(again)) for piece, again, lost in zip(pieces, repeat, cut, strict=True) if not lost
        )
        array = np.frombuffer(data, np.uint8).copy()
        flip = self._happens("flip", len(array))
        array[flip] ^= (1 << self._random.integers(0, 8, int(flip.sum()))).astype(np.uint8)
        array = array[~self._happens("drop", len(array))]
        places = np.flatnonzero(self._happens("insert", len(array)))
        return np.insert(array, places, self._random.integers(0, 256, len(places), np.uint8)).tobytes()

    def write(self, data: bytes) -> None:
        self._inner.write(self._damage(data))

    def read(self, timeout_s: float) -> bytes:
        return self._damage(self._inner.read(timeout_s))

    def now(self) -> float:
        return self._inner.now()

    def close(self) -> None:
        self._inner.close()


class ModelTransport(Transport):
    """Transport to :class:`spikeloom.sim.host.link.DeviceModel`, with a time that advances with the bytes.

    Parameters
    ----------
    model
        Board end of the link.
    serve
        Called with the model whenever bytes move; consumes the host's bytes and produces the answers.
    baud
        Baud rate at ten bits per byte, which sets the time per byte.
    """

    name = "the model"
    round_trip_s = 0.005

    def __init__(self, model: DeviceModel, serve: Callable[[DeviceModel], None], *, baud: int = 1_000_000) -> None:
        self._model = model
        self._serve = serve
        self._byte_s = 10 / baud
        self._now = 0.0

    def write(self, data: bytes) -> None:
        self._now += len(data) * self._byte_s
        # Pieces of about a frame of a UART: a bad frame must not keep the model from answering the one before it.
        for start in range(0, len(data), 256):
            self._model.from_line(data[start : start + 256])
            self._serve(self._model)

    def read(self, timeout_s: float) -> bytes:
        self._serve(self._model)
        data = self._model.to_line()
        self._now += len(data) * self._byte_s if data else timeout_s
        return data

    def now(self) -> float:
        return self._now
