"""Packets read and made without the code under test: by ``struct``, a bitwise CRC and sums over words.

`random_frame` draws what an Ethernet may carry to a board: good and damaged frames of every kind that it reacts to.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spikeloom.sim.host.ethernet import EthernetParameters, Station

__all__ = ["BOARD", "FRAMES", "HOSTS", "Packet", "arp_request", "echo_request", "fcs", "padded", "random_frame", "udp"]

BOARD = EthernetParameters(address="10.0.7.9", port=4711, mac="02:13:57:9b:df:24").station(bytes(16))
HOSTS = (
    Station(bytes.fromhex("a0b1c2d3e4f5"), bytes((10, 0, 7, 1)), 50_000),
    Station(bytes.fromhex("a0b1c2d3e4f5"), bytes((10, 0, 7, 1)), 50_001),  # another program of the same host
    Station(bytes.fromhex("001122334455"), bytes((10, 0, 7, 200)), 50_000),
)


def fcs(data: bytes) -> bytes:
    """The check sequence of Ethernet, bit by bit."""
    state = 0xFFFFFFFF
    for byte in data:
        for place in range(8):
            state = state >> 1 ^ (0xEDB88320 if (state ^ byte >> place) & 1 else 0)
    return struct.pack("<I", state ^ 0xFFFFFFFF)


def _sum(data: bytes) -> int:
    """The sum of the 16-bit words of ``data``, from 0 to 0xFFFF; 0xFFFF if they hold a right checksum."""
    words = struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) & 1))
    total = sum(words)
    return total and (total - 1) % 0xFFFF + 1


def padded(body: bytes) -> bytes:
    """A frame of at least 64 bytes with its check sequence."""
    body += bytes(max(0, 60 - len(body)))
    return body + fcs(body)


@dataclass
class Packet:
    """What a frame says. Raises ``AssertionError`` unless it is well formed."""

    frame: bytes

    def __post_init__(self) -> None:
        frame = self.frame
        assert 64 <= len(frame) <= 1518
        assert fcs(frame[:-4]) == frame[-4:]
        self.destination, self.source, self.kind = struct.unpack_from(">6s6sH", frame)
        self.protocol = -1
        content = frame[14:-4]
        if self.kind == 0x0806:
            self.arp = struct.unpack_from(">HHBBH6s4s6s4s", content)
            assert not any(content[28:])
            return
        assert self.kind == 0x0800
        first, _, length, _, flags, hops, self.protocol, _, self.sender, self.receiver = struct.unpack_from(
            ">BBHHHBBH4s4s", content
        )
        assert (first, flags, hops > 0) == (0x45, 0x4000, True)
        assert _sum(content[:20]) == 0xFFFF
        assert not any(content[length:]), "padding is zero"
        self.content = content[20:length]
        if self.protocol == 17:
            self.ports = struct.unpack_from(">HH", self.content)
            size, check = struct.unpack_from(">HH", self.content, 4)
            assert size == len(self.content)
            assert check
            assert _sum(self.sender + self.receiver + struct.pack(">HH", 17, size) + self.content) == 0xFFFF
            self.payload = self.content[8:]
        else:
            assert self.protocol == 1
            self.is_right = _sum(self.content) == 0xFFFF  # the answer to a damaged ping is damaged


def _ipv4(sender: Station, board: Station, protocol: int, content: bytes, **changed: Any) -> bytes:
    """An IPv4 frame; ``changed`` are fields other than usual. A changed ``check`` is added to the right one."""
    values: dict[str, Any] = {
        "first": 0x45,
        "service": 0x10,
        "length": 20 + len(content),
        "identification": 0x1234,
        "flags": 0x4000,
        "hops": 57,
        "sender": sender.address,
        "receiver": board.address,
        "destination": board.mac,
        "check": 0,
        "options": b"",
    } | changed
    head = struct.pack(
        ">BBHHHBBH4s4s",
        *(values[name] for name in ("first", "service", "length", "identification", "flags", "hops")),
        protocol,
        0,
        values["sender"],
        values["receiver"],
    )
    head += values["options"]
    check = (0xFFFF - _sum(head) + values["check"]) & 0xFFFF
    head = head[:10] + struct.pack(">H", check) + head[12:]
    return padded(struct.pack(">6s6sH", values["destination"], sender.mac, 0x0800) + head + content)


def udp(sender: Station, payload: bytes, *, board: Station = BOARD, checked: bool = True, **changed: Any) -> bytes:
    """A UDP datagram to the board. ``size`` and ``port`` may be changed, like the fields of IPv4."""
    size = changed.pop("size", 8 + len(payload))
    head = struct.pack(">HHHH", sender.port, changed.pop("port", board.port), size, 0)
    if checked:
        check = 0xFFFF - _sum(sender.address + board.address + struct.pack(">HH", 17, size) + head + payload)
        head = head[:6] + struct.pack(">H", check or 0xFFFF)
    return _ipv4(sender, board, 17, head + payload, **changed)


def echo_request(sender: Station, data: bytes, *, board: Station = BOARD, kind: int = 8, **changed: Any) -> bytes:
    """An ICMP echo request to the board, or another message of ICMP."""
    head = struct.pack(">BBHHH", kind, changed.pop("code", 0), 0, 0x77, 3)
    check = (0xFFFF - _sum(head + data) + changed.pop("message_check", 0)) & 0xFFFF
    return _ipv4(sender, board, 1, head[:2] + struct.pack(">H", check) + head[4:] + data, **changed)


def arp_request(sender: Station, *, board: Station = BOARD, operation: int = 1, **changed: Any) -> bytes:
    """A request for the MAC address of the board."""
    target = changed.pop("target", board.address)
    content = struct.pack(
        ">HHBBH6s4s6s4s",
        changed.pop("hardware", 1),
        0x0800,
        6,
        4,
        operation,
        sender.mac,
        sender.address,
        bytes(6),
        target,
    )
    return padded(changed.pop("destination", b"\xff" * 6) + sender.mac + struct.pack(">H", 0x0806) + content)


def _payload(rng: np.random.Generator) -> bytes:
    size = int(rng.choice([1, 2, 17, 18, 19, 40, int(rng.integers(1, 200))]))
    data = rng.integers(0, 256, size, np.uint8).tobytes()
    start = rng.random()
    return b"\x02\x02" + data if start < 0.4 else b"\0" + data if start < 0.5 else data


def _flipped(rng: np.random.Generator, frame: bytes) -> bytes:
    place = int(rng.integers(0, 8 * len(frame)))
    return bytes(byte ^ (1 << place % 8 if number == place // 8 else 0) for number, byte in enumerate(frame))


def _other(rng: np.random.Generator, data: bytes) -> bytes:
    """The same bytes but one."""
    place = int(rng.integers(0, len(data)))
    return data[:place] + bytes((data[place] ^ int(1 << rng.integers(0, 8)),)) + data[place + 1 :]


Draw = Callable[[np.random.Generator, Station], bytes]

FRAMES: dict[str, Draw] = {
    "datagram": lambda rng, host: udp(host, _payload(rng), checked=rng.random() < 0.5),
    "open": lambda rng, host: udp(host, b"\x02\x02" + _payload(rng)),
    "empty": lambda rng, host: udp(host, b""),
    "large": lambda rng, host: udp(host, rng.integers(1, 256, int(rng.choice([1471, 1472])), np.uint8).tobytes()),
    "ping": lambda rng, host: echo_request(host, _payload(rng)[: int(rng.choice([7, 56, 60]))]),
    "ping without data": lambda rng, host: echo_request(host, b"", message_check=int(rng.integers(0, 2))),
    "arp": lambda rng, host: arp_request(host, destination=(b"\xff" * 6, BOARD.mac)[int(rng.integers(0, 2))]),
    "damaged": lambda rng, host: _flipped(rng, udp(host, _payload(rng))),
    "damaged ping": lambda rng, host: _flipped(rng, echo_request(host, _payload(rng))),
    "damaged arp": lambda rng, host: _flipped(rng, arp_request(host)),
    "cut": lambda rng, host: (lambda frame: frame[: int(rng.integers(1, len(frame)))])(udp(host, _payload(rng))),
    "short": lambda rng, host: (lambda body: body + fcs(body))(udp(host, b"ab")[: int(rng.integers(43, 60))]),
    "long": lambda rng, host: udp(host, bytes([5]) * int(rng.choice([1473, 1474, 1600]))),
    "fragment": lambda rng, host: udp(host, _payload(rng), flags=int(rng.choice([0x2000, 0x0001, 0x2100, 0x1F00]))),
    "options": lambda rng, host: udp(host, _payload(rng), first=0x46, options=bytes((1, 1, 1, 0))),
    "header checksum": lambda rng, host: udp(host, _payload(rng), check=int(rng.integers(1, 0xFFFE))),
    "other port": lambda rng, host: udp(host, _payload(rng), port=BOARD.port ^ int(1 << rng.integers(0, 16))),
    "other address": lambda rng, host: udp(host, _payload(rng), receiver=_other(rng, BOARD.address)),
    "other mac": lambda rng, host: udp(host, _payload(rng), destination=_other(rng, BOARD.mac)),
    "broadcast": lambda rng, host: udp(host, _payload(rng), destination=b"\xff" * 6),
    "datagram too long": lambda rng, host: udp(host, b"abc", size=8 + int(rng.choice([2, 4, 500]))),
    "packet too long": lambda rng, host: udp(
        host, b"x" * 30, size=38 + (more := int(rng.choice([1, 2, 4, 5, 900]))), length=58 + more
    ),
    "packet too short": lambda rng, host: udp(host, b"", size=(size := int(rng.integers(0, 8))), length=20 + size),
    "padded": lambda rng, host: (lambda body: body + fcs(body))(udp(host, _payload(rng))[:-4] + b"padding"),
    "tcp": lambda rng, host: _ipv4(host, BOARD, 6, bytes(30)),
    "unreachable": lambda rng, host: echo_request(host, bytes(40), kind=3, code=3),
    "pong": lambda rng, host: echo_request(host, bytes(40), kind=0),
    "ping of another": lambda rng, host: echo_request(host, b"abc", receiver=_other(rng, BOARD.address)),
    "arp for another": lambda rng, host: arp_request(host, target=_other(rng, BOARD.address)),
    "arp to another": lambda rng, host: arp_request(host, destination=_other(rng, BOARD.mac)),
    "arp answer": lambda rng, host: arp_request(host, operation=2),
    "arp of other hardware": lambda rng, host: arp_request(host, hardware=6),
    "ipv6": lambda rng, host: padded(BOARD.mac + host.mac + b"\x86\xdd" + bytes(60)),
    "large ping": lambda rng, host: echo_request(host, bytes(int(rng.choice([61, 64, 1472])))),
}
"""Ways to draw a frame from a host, by name."""


def random_frame(
    rng: np.random.Generator, favoured: Station | None = None, hosts: Sequence[Station] = HOSTS
) -> tuple[str, bytes]:
    """A frame of any kind, half of them those of a session, and more than half from the ``favoured`` host."""
    names = list(FRAMES)
    name = names[int(rng.integers(0, len(names)))] if rng.random() < 0.5 else names[int(rng.choice([0, 0, 0, 1, 4, 6]))]
    host = favoured or hosts[0] if rng.random() < 0.6 else hosts[int(rng.integers(0, len(hosts)))]
    return name, FRAMES[name](rng, host)
