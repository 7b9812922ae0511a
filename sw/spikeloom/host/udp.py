"""Transport over Ethernet: UDP datagrams to a board with an Ethernet device, one frame of the link in each.

Datagrams may be lost, repeated or reordered; the link recovers all of it. The board belongs to the program, more
precisely to its UDP port, that has opened the session, and refuses all others.
"""

import contextlib
import select
import socket
import time

from spikeloom.host.transport import LinkError, Transport
from spikeloom.sim.host.ethernet import DEFAULT_PORT, IDLE_S, OPENING, refusal_holder
from spikeloom.sim.host.link import Frame, FrameError

__all__ = ["UdpTransport"]

_LARGEST_DATAGRAM = 2048
_BUFFER_BYTES = 1 << 20
_STALL_S = 2.0
_AT_ONCE = 256  # datagrams returned by one read, so that a fast board cannot keep it from returning


class UdpTransport(Transport):
    """Connection to a board by its IPv4 address.

    Parameters
    ----------
    address
        Address or name of the board.
    port
        UDP port of the board.
    """

    round_trip_s = 0.001

    def __init__(self, address: str, port: int = DEFAULT_PORT) -> None:
        self.name = f"{address}:{port}"
        self._destination = (address, port)
        self._socket = self._connected()
        self._opening = b""
        self._previous: socket.socket | None = None

    def _connected(self) -> socket.socket:
        found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            found.setblocking(False)
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            # A connected socket receives datagrams of this board only.
            found.connect(self._destination)
        except OSError as error:
            found.close()
            raise LinkError(
                f"no network leads to {self._destination[0]} ({error}); give the address of the board, and give this "
                "machine one in the same network"
            ) from error
        return found

    def write(self, data: bytes) -> None:
        # A zero ends each frame. One at the start of a frame, which frees it from noise on a line, is not needed here.
        for piece in data.split(b"\0"):
            if piece:
                if piece.startswith(OPENING):
                    self._begin(piece)
                self._send(self._socket, piece + b"\0")

    def _begin(self, piece: bytes) -> None:
        """Use a new socket for each session, so that late datagrams of an earlier one are not part of it."""
        try:
            nonce = Frame.decode(piece).payload
        except FrameError:
            return  # OPEN of another protocol version
        if self._opening and nonce != self._opening:
            self._send(self._socket, b"")
            if self._previous is not None:
                self._previous.close()
            self._previous, self._socket = self._socket, self._connected()
        self._opening = nonce

    def _send(self, to_board: socket.socket, datagram: bytes) -> None:
        deadline = time.monotonic() + _STALL_S
        while time.monotonic() < deadline:
            try:
                to_board.send(datagram)
                return
            except BlockingIOError:
                select.select([], [to_board], [], _STALL_S)
            except ConnectionRefusedError:
                return  # an earlier datagram has found no listener; it was lost like any other
            except OSError as error:
                raise self._lost(error) from error
        raise LinkError(f"the network to {self.name} has taken no data for {_STALL_S:g} s")

    def _lost(self, error: OSError) -> LinkError:
        return LinkError(
            f"{self.name} cannot be reached ({error.strerror or error}); check the cable and the address of the board"
        )

    def read(self, timeout_s: float) -> bytes:
        if not (data := self._receive()) and timeout_s > 0:
            select.select([self._socket], [], [], timeout_s)
            data = self._receive()
        return data

    def _receive(self) -> bytes:
        found: list[bytes] = []
        while len(found) < _AT_ONCE:
            try:
                datagram = self._socket.recv(_LARGEST_DATAGRAM)
            except (BlockingIOError, ConnectionRefusedError):
                break
            except OSError as error:
                raise self._lost(error) from error
            if (holder := refusal_holder(datagram)) is not None:
                self._refused(*holder)
            else:
                found.append(datagram)
        return b"".join(found)

    def _refused(self, address: str, port: int) -> None:
        previous = self._previous
        if previous is not None and previous.getsockname() == (address, port):
            self._send(previous, b"")  # the end of our own earlier session was lost
            return
        raise LinkError(
            f"the board at {self.name} is in use by a program at {address}, port {port}; end it, or wait {IDLE_S} s if "
            "it has ended without closing the board"
        )

    def now(self) -> float:
        return time.monotonic()

    def close(self) -> None:
        if self._socket.fileno() < 0:
            return
        with contextlib.suppress(LinkError):  # the board notices the silence, too
            self._send(self._socket, b"")
        self._socket.close()
        if self._previous is not None:
            self._previous.close()
