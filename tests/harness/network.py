"""A network between real UDP sockets of hosts and the Ethernet device of a board, model or RTL, with faults.

The board has a socket of its own. What hosts send to it becomes frames for the device; frames of the device are read
independently (`harness.packets.Packet`) and sent to the host that they name.
"""

from __future__ import annotations

import collections
import random
import socket
from collections.abc import Callable, Mapping
from typing import Any

from harness.faults import BoardOnLine
from harness.gmii import GmiiPhy
from harness.packets import BOARD, Packet, padded, udp
from spikeloom.host.udp import UdpTransport
from spikeloom.sim.host.ethernet import ETHERNET_HZ, EthernetModel, Station
from spikeloom.sim.host.link import DeviceModel

__all__ = ["KINDS", "BoardOnNetwork", "ModelBoard", "Network", "NetworkTransport", "RtlBoard"]

KINDS = ("loss", "repeat", "reorder", "flip", "alter")
"""Kinds of faults: a frame is lost, arrives twice, arrives after the next one, arrives with a bit flipped, or with a
byte of its payload altered and a right check sequence, as by a faulty switch."""

_HOST_MAC = bytes.fromhex("7a0000000001")


class Network:
    """The network, and the device on it.

    Parameters
    ----------
    device
        Called with a frame; passes it to the board.
    frames
        Returns the frames of the board since the last call.
    rates
        Probability of each of `KINDS` per frame.
    """

    def __init__(
        self, device: Callable[[bytes], None], frames: Callable[[], list[bytes]], rates: Mapping[str, float] = {}
    ) -> None:
        self.rates, self.faults = dict(rates), collections.Counter[str]()
        self.random = random.Random(1)
        self._device, self._frames = device, frames
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self._late: dict[str, list[bytes]] = {"in": [], "out": []}
        self.port: int = self._socket.getsockname()[1]

    def _pass(self, frame: bytes, way: str) -> list[bytes]:
        """What becomes of a frame."""
        happens = {kind: self.random.random() < self.rates.get(kind, 0) for kind in KINDS}
        if happens["loss"]:
            self.faults["loss"] += 1
            return []
        self.faults.update(kind for kind, found in happens.items() if found)
        if happens["flip"]:
            place = self.random.randrange(8 * len(frame))
            frame = frame[: place // 8] + bytes((frame[place // 8] ^ 1 << place % 8,)) + frame[place // 8 + 1 :]
        elif happens["alter"]:
            place = self.random.randrange(42, len(frame) - 4)
            frame = padded(frame[:place] + bytes((self.random.randrange(256),)) + frame[place + 1 : -4])
        if happens["reorder"] and not self._late[way]:
            self._late[way].append(frame)
            return []
        late, self._late[way] = self._late[way], []
        return [frame] * (1 + happens["repeat"]) + late

    def move(self) -> None:
        """Move what has been sent, in both directions."""
        while True:
            try:
                payload, (_, port) = self._socket.recvfrom(2048)
            except BlockingIOError:
                break
            host = Station(_HOST_MAC, bytes((127, 0, 0, 1)), port)
            for frame in self._pass(udp(host, payload, checked=False), "in"):
                self._device(frame)
        for sent in self._frames():
            Packet(sent)
            for frame in self._pass(sent, "out"):
                try:
                    packet = Packet(frame)
                except AssertionError:
                    continue  # hosts drop damaged frames
                assert packet.destination == _HOST_MAC
                self._socket.sendto(packet.payload, ("127.0.0.1", packet.ports[1]))

    def close(self) -> None:
        """Close the board's socket."""
        self._socket.close()


class NetworkTransport(UdpTransport):
    """The transport of the driver on a network whose time is simulated.

    Parameters
    ----------
    network
        The network.
    advance
        Called with seconds; lets time pass for the board.
    now
        Time of the board.
    slice_s
        Seconds for which the board runs at once.
    """

    def __init__(
        self, network: Network, advance: Callable[[float], None], now: Callable[[], float], slice_s: float
    ) -> None:
        super().__init__("127.0.0.1", network.port)
        self.network, self._advance, self._now, self._slice_s = network, advance, now, slice_s

    def read(self, timeout_s: float) -> bytes:
        """As that of `UdpTransport`, in the time of the board."""
        end = self._now() + timeout_s
        while True:
            self.network.move()
            data = super().read(0.0)
            if data or self._now() >= end:
                return data
            self._advance(min(self._slice_s, end - self._now() + 1e-9))

    def now(self) -> float:
        return self._now()

    def close(self) -> None:
        super().close()
        self.network.move()


class ModelBoard:
    """A board on a network, all in Python: Ethernet device and link are models; ``serve`` is what is behind them."""

    def __init__(self, model: DeviceModel, serve: Callable[[DeviceModel], None]) -> None:
        self.ethernet = EthernetModel(BOARD)
        self.seconds = 0.0
        self._model, self._serve = model, serve
        self._sent: list[bytes] = []
        self.network = Network(self._receive, self._take)

    def _receive(self, frame: bytes) -> None:
        answer = self.ethernet.receive(frame)
        if answer is not None:
            self._sent.append(answer.frame)
        self._model.from_line(bytes(self.ethernet.received))
        self.ethernet.received.clear()
        self._work()

    def _work(self) -> None:
        self._serve(self._model)
        for piece in self._model.to_line().split(b"\0")[:-1]:
            frame = self.ethernet.send(piece + b"\0")
            if frame is not None:
                self._sent.append(frame)

    def _take(self) -> list[bytes]:
        self._work()
        sent, self._sent = self._sent, []
        return sent

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds
        self.ethernet.wait(round(seconds * ETHERNET_HZ))

    def transport(self) -> NetworkTransport:
        """A transport for a host."""
        return NetworkTransport(self.network, self.wait, lambda: self.seconds, 1e-3)


class RtlBoard:
    """A board on a network whose ``design`` has GMII pins and is simulated."""

    def __init__(self, design: Any, *, rates: Mapping[str, float] = {}, sync_hz: float = 90e6) -> None:
        self.phy = GmiiPhy(design, sync_hz=sync_hz)
        self.network = Network(self.phy.put, self._take, rates)

    def _take(self) -> list[bytes]:
        sent, self.phy.sent = self.phy.sent, []
        return sent

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.phy.advance(max(1, round(seconds * ETHERNET_HZ)))

    def transport(self) -> NetworkTransport:
        """A transport for a host."""
        transport = NetworkTransport(self.network, self.wait, lambda: self.phy.cycle / ETHERNET_HZ, 1e-6)
        transport.round_trip_s = 2e-6
        return transport


class BoardOnNetwork(BoardOnLine):
    """A board that keeps its state while hosts come and go, on a network."""

    rates = (  # type: ignore[assignment]
        {},
        {"loss": 0.05, "flip": 0.05},
        {"repeat": 0.1, "reorder": 0.1},
        {"loss": 0.05, "repeat": 0.05, "reorder": 0.05, "flip": 0.03, "alter": 0.03},
        dict.fromkeys(KINDS, 0.3),
    )

    def __init__(self, program: Any, model_class: type[DeviceModel], parameters: Any) -> None:
        super().__init__(program, model_class, parameters)
        self.board = ModelBoard(self.model, self.serve)

    def line(self) -> NetworkTransport:
        """A good line, to a board that the last host may have left without a word a minute ago."""
        self.board.network.rates = {}
        self.board.wait(60)
        return self.board.transport()

    def faulty_line(self, seed: int, rates: Mapping[str, float]) -> tuple[NetworkTransport, collections.Counter[str]]:
        """A line with faults, after a minute or at once."""
        network = self.board.network
        network.random.seed(seed)
        if network.random.random() < 0.5:
            self.board.wait(60)
        network.rates, network.faults = dict(rates), collections.Counter()
        return self.board.transport(), network.faults

    def close(self) -> None:
        self.board.network.close()
