"""UDP port that is read in bounded batches and accounts for every datagram, however many arrive.

Whatever arrives from a network is counted once: as received, as malformed, as dropped by the operating system because
its queue was full, or as sent by a stranger. The queue and the batch have a fixed size, so memory does not depend on
the sender.

On Linux the kernel separates strangers from the named peer before anything is queued: two sockets share the port, a
filter on the source address selects one of them (``SO_ATTACH_REUSEPORT_CBPF``), and the one for strangers drops what it
is given. Strangers therefore cost no time here and cannot displace datagrams of the peer. Elsewhere the source of each
datagram is compared after it has been read. Dropped datagrams are known on Linux only (``SO_MEMINFO``, per socket and
exact; a lost datagram is counted there even if no other one follows, unlike with ``SO_RXQ_OVFL``).
"""

from __future__ import annotations

import ctypes
import errno
import select
import socket
import struct
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spikeloom.host.transport import Closing

__all__ = ["BATCH_BYTES", "BATCH_DATAGRAMS", "DatagramPort"]

BATCH_BYTES = 1 << 16
BATCH_DATAGRAMS = 4096
"""A batch is full with so many bytes or datagrams: it is decoded in a fraction of a millisecond."""

_LARGEST_DATAGRAM = 1 << 16
_QUEUE_BYTES = 1 << 20
"""Size of the kernel's queue; about 1300 small datagrams, because the kernel counts its own overhead."""

# From Linux's include/uapi/asm-generic/socket.h; Python's socket module does not name them.
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_SO_ATTACH_REUSEPORT_CBPF = 51
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=9I")  # the last one counts dropped datagrams

# Classic BPF: (code, jump if true, jump if false, operand). Offsets from _HEADER on count from the IP header.
_LOAD_WORD, _LOAD_HALF_INDEXED, _LOAD_HEADER_SIZE = 0x20, 0x48, 0xB1
_EQUAL, _RETURN = 0x15, 0x06
_HEADER = (1 << 32) - (1 << 20)
_SOURCE_ADDRESS = _HEADER + 12
_INSTRUCTION = struct.Struct("=HBBI")
_Instruction = tuple[int, int, int, int]


class DatagramPort(Closing):
    """IPv4 UDP port. Datagrams are read into a batch, which `take` returns.

    Parameters
    ----------
    host, port
        Address to listen on. Port 0 selects a free port, which ``port`` then holds.
    peer
        Accept datagrams from this address only, and from this port if it is not None; without ``peer``, from any.
    unit
        The length of a datagram must be a multiple of this number of bytes; others are malformed.
    kernel_filter
        Whether the kernel separates strangers; None: if it can.

    Raises ``OSError`` if an address is unknown or the port is in use.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        peer: tuple[str, int | None] | None = None,
        unit: int = 4,
        kernel_filter: bool | None = None,
    ) -> None:
        self._unit = unit
        self._peer = None if peer is None else (socket.gethostbyname(peer[0]), peer[1])
        self.received = 0
        """Number of well-formed datagrams read."""
        self.malformed = 0
        self._refused = 0  # strangers found by comparing addresses
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._stranger: socket.socket | None = None
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE_BYTES)
            separated = self._peer is not None and kernel_filter is not False and _close(self._socket)
            _bind(self._socket, host, port)
            self.port: int = self._socket.getsockname()[1]
            if separated:
                assert self._peer is not None
                self._stranger = _separate(self._socket, self._peer)
            if kernel_filter and self._peer is not None and self._stranger is None:
                raise OSError(f"the kernel ({sys.platform}) cannot separate datagrams by their sender")
        except BaseException:
            self._socket.close()
            raise
        self._dropped, self._strangers = _Counter(self._socket), _Counter(self._stranger)
        self._batch = np.zeros(BATCH_BYTES + _LARGEST_DATAGRAM, np.uint8)
        self._view = memoryview(self._batch.data)
        self._filled = 0
        self._sizes: list[int] = []

    def close(self) -> None:
        """Stop listening; the counts remain."""
        self._dropped.close()
        self._strangers.close()
        self._socket.close()
        if self._stranger is not None:
            self._stranger.close()

    @property
    def dropped(self) -> int | None:
        """Number of datagrams dropped because the queue was full; None if the system does not report it."""
        return self._dropped.value()

    @property
    def strangers(self) -> int:
        """Number of datagrams from other senders than the peer. They are not in any other count."""
        return self._refused + (self._strangers.value() or 0)

    @property
    def full(self) -> bool:
        """Whether the batch must be taken before more can be read."""
        return self._filled >= BATCH_BYTES or len(self._sizes) >= BATCH_DATAGRAMS

    def wait(self, timeout_s: float) -> None:
        """Wait for a datagram, at most ``timeout_s`` seconds. (The timeouts of sockets are whole milliseconds.)"""
        select.select([self._socket], [], [], max(0.0, timeout_s))

    def read(self, most: int) -> bool:
        """Read at most ``most`` datagrams into the batch, less if it is `full`; return whether the queue is empty."""
        compare = self._peer is not None and self._stranger is None
        for _ in range(most):
            if self.full:
                return False
            free = self._view[self._filled :]
            try:
                if compare:
                    size, source = self._socket.recvfrom_into(free)
                else:
                    size, source = self._socket.recv_into(free), None
            except BlockingIOError:
                return True
            if compare and not self._is_peer(source):
                self._refused += 1
            elif size % self._unit:
                self.malformed += 1
            else:
                self.received += 1
                self._filled += size
                self._sizes.append(size)
        return False

    def take(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the batch and begin the next one: the bytes ``(k,)`` of all ``m`` datagrams, and their sizes ``(m,)``.

        Sizes are in bytes. The bytes are valid until the next `read`.
        """
        batch, sizes = self._batch[: self._filled], np.array(self._sizes, np.int64)
        self._filled = 0
        self._sizes.clear()
        self._dropped.value()  # the kernel's counters have 32 bits: look before they wrap
        self._strangers.value()
        return batch, sizes

    def reject(self, number: int) -> None:
        """Count ``number`` datagrams of the batch as malformed after all."""
        self.received -= number
        self.malformed += number

    def _is_peer(self, source: tuple[str, int] | None) -> bool:
        assert self._peer is not None
        assert source is not None
        return source[0] == self._peer[0] and self._peer[1] in (None, source[1])


class _Counter:
    """Datagrams that the kernel has dropped at a socket; None if there is no such counter."""

    def __init__(self, counted: socket.socket | None) -> None:
        self._socket = counted
        self._total: int | None = 0
        self._last = 0 if counted is None else _dropped_at(counted) or 0

    def value(self) -> int | None:
        if self._socket is not None and self._total is not None:
            now = _dropped_at(self._socket)
            self._total = None if now is None else self._total + (now - self._last) % (1 << 32)
            self._last = now or 0
        return self._total

    def close(self) -> None:
        self.value()
        self._socket = None


def _dropped_at(counted: socket.socket) -> int | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        return int(_MEMINFO.unpack(counted.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[-1])
    except (OSError, struct.error):  # a kernel before 4.12, or an imitation of one
        return None


def _bind(made: socket.socket, host: str, port: int) -> None:
    try:
        made.bind((host, port))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise OSError(f"UDP port {port} of {host} is in use by another program; end it, or use another port") from error


def _close(made: socket.socket) -> bool:
    """Let the kernel drop all datagrams at a socket, and count them as dropped; return whether it can."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        _attach(made, _SO_ATTACH_FILTER, [(_RETURN, 0, 0, 0)])
    except OSError:
        return False
    return True


def _separate(used: socket.socket, peer: tuple[str, int | None]) -> socket.socket | None:
    """Open the closed socket ``used`` to datagrams of ``peer``; return another one at its port, which drops the others.

    If the kernel cannot separate them, open ``used`` to all datagrams and return None.
    """
    stranger: socket.socket | None = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    assert stranger is not None
    try:
        # Both sockets are closed until strangers are separated, so neither ever queues a datagram of a stranger. `used`
        # was bound alone, so that a port in use is found; from here on programs of the same user can share it.
        if not _close(stranger):
            raise OSError("not closed")
        used.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(used.getsockname())
        _attach(used, _SO_ATTACH_REUSEPORT_CBPF, _selector(peer))
    except OSError:
        stranger.close()
        stranger = None
    used.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
    return stranger


def _selector(peer: tuple[str, int | None]) -> Sequence[_Instruction]:
    """Return the program that gives the index of the socket for a datagram: 0 for the peer, 1 for all others."""
    (address,) = struct.unpack("!I", socket.inet_aton(peer[0]))
    ours, others = (_RETURN, 0, 0, 0), (_RETURN, 0, 0, 1)
    source: _Instruction = (_LOAD_WORD, 0, 0, _SOURCE_ADDRESS)
    if peer[1] is None:
        return [source, (_EQUAL, 0, 1, address), ours, others]
    # The source port is the first half word after an IP header of any size.
    port = [(_LOAD_HEADER_SIZE, 0, 0, _HEADER), (_LOAD_HALF_INDEXED, 0, 0, _HEADER), (_EQUAL, 0, 1, peer[1])]
    return [source, (_EQUAL, 0, 4, address), *port, ours, others]


def _attach(to: socket.socket, option: int, program: Sequence[_Instruction]) -> None:
    """Attach a program of classic BPF; the kernel copies it during the call."""
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*instruction) for instruction in program))
    to.setsockopt(socket.SOL_SOCKET, option, struct.pack("@HP", len(program), ctypes.addressof(code)))
