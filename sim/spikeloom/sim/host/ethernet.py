"""The Ethernet device of a board: frames as bytes, and its reaction to each. This module is the specification.

The device carries the frames of the host link in UDP over IPv4, one frame in one datagram. It answers ARP requests and
pings, and belongs to one host at a time. ``docs/ethernet.md`` describes it.

::

    frame      destination 6 | source 6 | kind 2 | content, padded to at least 46 | FCS 4
    content    IPv4 header 20 | UDP header 8 | payload
    payload    a frame of the link; or empty: the host ends its session; or 00 "BUSY" 00 address 4 port 2: a refusal

Numbers in headers are big-endian. The FCS is the CRC-32 of everything before it, lowest byte first.
"""

import ipaddress
import re
import zlib
from dataclasses import dataclass
from typing import NamedTuple

from spikeloom.sim.host.link import BLOCK_BYTES, CRC_BYTES, HEADER_BYTES, LinkParameters

__all__ = [
    "BROADCAST",
    "DEFAULT_ADDRESS",
    "DEFAULT_PORT",
    "ECHO_BYTES",
    "ETHERNET_HEADER",
    "ETHERNET_HZ",
    "FCS_BYTES",
    "IDLE_CYCLES",
    "IDLE_S",
    "IPV4_HEADER",
    "LARGEST_FRAME",
    "OPENING",
    "PREAMBLE",
    "REFUSAL",
    "SMALLEST_FRAME",
    "UDP_HEADER",
    "UDP_LINK",
    "Answer",
    "EthernetModel",
    "EthernetParameters",
    "Protocol",
    "Station",
    "arp_frame",
    "checksum",
    "ethernet_frame",
    "ipv4_frame",
    "largest_datagram",
    "link_over_udp",
    "refusal_holder",
    "udp_frame",
    "udp_payload",
]

ETHERNET_HZ = 125_000_000
"""Clock of the device: one byte per cycle at 1 Gbit/s."""
DEFAULT_ADDRESS = "192.168.1.50"
DEFAULT_PORT = 50_505
IDLE_CYCLES = 1 << 32
"""Cycles of the Ethernet clock without a datagram of its host after which another host may open a session."""
IDLE_S = -(-IDLE_CYCLES // ETHERNET_HZ)
"""The same in seconds, rounded up."""

BROADCAST = b"\xff" * 6
PREAMBLE = bytes([0x55] * 7 + [0xD5])
"""What precedes each frame on the line."""
SMALLEST_FRAME, LARGEST_FRAME = 64, 1518
"""Bytes of a frame from the destination to the FCS; shorter and longer ones are dropped."""
FCS_BYTES = 4
ETHERNET_HEADER, IPV4_HEADER, UDP_HEADER = 14, 20, 8

OPENING = b"\x02\x02"
"""The first bytes of a datagram that opens a session: those of a link frame of kind OPEN with sequence 0."""
REFUSAL = b"\0BUSY\0"
"""The first bytes of a refusal. No link frame begins with a zero, so it cannot be confused with one."""

UDP_LINK = LinkParameters(receive_buffer=4096, transmit_buffer=2048, maximum_payload=1400)
"""Sizes of the link over UDP: the longest payload, so that a datagram carries as much as possible, and a block RAM or
two of an ECP5 for each ring."""

ECHO_BYTES = 64
"""Bytes of an ICMP echo request behind its checksum that the device can keep: 60 of data, 56 are usual."""


def link_over_udp(parameters: LinkParameters) -> LinkParameters:
    """Return the sizes of the link over UDP: `UDP_LINK` instead of the defaults; sizes that were chosen stay."""
    return UDP_LINK if parameters == LinkParameters() else parameters


class Kind:
    """Kinds of the content of a frame."""

    IPV4 = 0x0800
    ARP = 0x0806


class Protocol:
    """Protocols in IPv4."""

    ICMP = 1
    UDP = 17


class Station(NamedTuple):
    """One end of a UDP connection: MAC address of 6 bytes, IPv4 address of 4 bytes, number of the port."""

    mac: bytes
    address: bytes
    port: int


@dataclass(frozen=True, kw_only=True)
class EthernetParameters:
    """Addresses of a board.

    Parameters
    ----------
    address : str
        IPv4 address of the board, such as ``"192.168.1.50"``.
    port : int
        UDP port of the board.
    mac : str
        MAC address of the board, such as ``"02:00:00:00:00:01"``; empty for one that is derived from the identity of
        the bitstream. Two boards in one network must have different ones.
    """

    address: str = DEFAULT_ADDRESS
    port: int = DEFAULT_PORT
    mac: str = ""

    def __post_init__(self) -> None:
        for name in ("address", "mac"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name} must be text, not {getattr(self, name)!r}")
        if isinstance(self.port, bool) or not isinstance(self.port, int):
            raise TypeError(f"port must be an integer, not {self.port!r}")
        if not 0 < self.port < 1 << 16:
            raise ValueError(f"port must be from 1 to 65535, not {self.port}")
        try:
            found = ipaddress.IPv4Address(self.address)
        except ValueError:
            found = None
        if found is None or found.is_multicast or found.is_loopback or found.is_unspecified or found.packed[0] >= 240:
            raise ValueError(
                f"address must be an IPv4 address of one board, such as 192.168.1.50, not {self.address!r}"
            )
        if self.mac and (
            not re.fullmatch("[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", self.mac)
            or _mac_of(self.mac)[0] & 1
            or not any(_mac_of(self.mac))
        ):
            raise ValueError(
                f"mac must be the MAC address of one board, such as 02:00:00:00:00:01, not {self.mac!r} "
                "(the first byte of the address of one board is even)"
            )

    def station(self, identity: bytes) -> Station:
        """Return the board's end of the connection.

        Without a ``mac``, its first byte is 02, which marks a locally administered address, and the others are the
        first five of ``identity``, the hash of the build.
        """
        mac = _mac_of(self.mac) if self.mac else b"\x02" + identity[:5]
        return Station(mac, ipaddress.IPv4Address(self.address).packed, self.port)


def _mac_of(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def largest_datagram(maximum_payload: int) -> int:
    """Return the bytes of the longest link frame with this payload: body, a code for each block, delimiter."""
    body = HEADER_BYTES + maximum_payload + CRC_BYTES
    return body + -(-body // BLOCK_BYTES) + 1


def checksum(data: bytes) -> int:
    """Return the Internet checksum of ``data``: the complement of the one's complement sum of its 16-bit words."""
    data += b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(data[place : place + 2], "big") for place in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def _word(value: int) -> bytes:
    return value.to_bytes(2, "big")


def ethernet_frame(destination: bytes, source: bytes, kind: int, content: bytes) -> bytes:
    """Return a frame with padding and FCS. Its preamble is not part of it."""
    body = (destination + source + _word(kind) + content).ljust(SMALLEST_FRAME - FCS_BYTES, b"\0")
    return body + zlib.crc32(body).to_bytes(FCS_BYTES, "little")


def ipv4_frame(source: Station, destination: Station, protocol: int, payload: bytes) -> bytes:
    """Return a frame with an IPv4 packet, as the device sends it: identification 0, "do not fragment", 64 hops."""
    head = bytes((0x45, 0, *_word(IPV4_HEADER + len(payload)), 0, 0, 0x40, 0, 64, protocol))
    addresses = source.address + destination.address
    head += _word(checksum(head + addresses)) + addresses
    return ethernet_frame(destination.mac, source.mac, Kind.IPV4, head + payload)


def udp_frame(source: Station, destination: Station, payload: bytes) -> bytes:
    """Return a frame with a UDP datagram."""
    length = _word(UDP_HEADER + len(payload))
    head = _word(source.port) + _word(destination.port) + length
    pseudo = source.address + destination.address + bytes((0, Protocol.UDP)) + length
    # A checksum of 0 would mean that there is none.
    return ipv4_frame(
        source, destination, Protocol.UDP, head + _word(checksum(pseudo + head + payload) or 0xFFFF) + payload
    )


def arp_frame(operation: int, source: Station, destination: Station, *, to: bytes | None = None) -> bytes:
    """Return an ARP request (``operation`` 1) or answer (2); ``to`` is the destination if not that of the answer."""
    content = bytes((0, 1, 8, 0, 6, 4, 0, operation)) + source.mac + source.address
    content += destination.mac + destination.address
    return ethernet_frame(destination.mac if to is None else to, source.mac, Kind.ARP, content)


def udp_payload(frame: bytes) -> bytes:
    """Return the payload of a datagram of the device, from its frame without preamble; nothing is checked."""
    start = ETHERNET_HEADER + IPV4_HEADER
    return frame[start + UDP_HEADER : start + int.from_bytes(frame[start + 4 : start + 6], "big")]


def refusal_holder(payload: bytes) -> tuple[str, int] | None:
    """Return address and port of the host that holds the session, if ``payload`` is a refusal; else None."""
    if not payload.startswith(REFUSAL) or len(payload) != len(REFUSAL) + 6:
        return None
    address, port = payload[len(REFUSAL) : -2], payload[-2:]
    return str(ipaddress.IPv4Address(address)), int.from_bytes(port, "big")


class Answer(NamedTuple):
    """A frame that the device sends by itself, and what for: ``"arp"``, ``"echo"`` or ``"refusal"``."""

    kind: str
    frame: bytes


class EthernetModel:
    """Reactions of the device, packet by packet; equivalent to the RTL of `spikeloom.hdl.host.ethernet`.

    The state is ``peer``, the host of the session or None, and ``idle``, the cycles since its last datagram. A frame
    is dropped without any effect unless its FCS is right, it was received without an error, and it has 64 to 1,518
    bytes. Then, with the destination as the board's MAC address, or the broadcast address for ARP only:

    * an ARP request for the board's address is answered;
    * an ICMP echo request (ping) to the board is answered with the same content, up to `ECHO_BYTES`. Its checksum is
      adjusted, not checked: the answer to a damaged request is damaged too;
    * a UDP datagram to the board's port is judged by its sender and its payload::

        sender is the peer      empty       peer := None
                                else        idle := 0, the payload is passed on
        any other, first byte   02 02       and (no peer, or idle >= idle_cycles): peer := sender, the same
        of the payload not 0    else        if there is a peer: refused, with the address of the peer

    Everything else is dropped: IPv4 with options, fragments, a wrong checksum of the IPv4 header, lengths that
    contradict each other or exceed the frame. The checksum of UDP is not checked; each frame of the link has a CRC.

    Parameters
    ----------
    station
        The board's addresses.
    idle_cycles
        Cycles of silence after which another host may take over.
    """

    def __init__(self, station: Station, *, idle_cycles: int = IDLE_CYCLES) -> None:
        self.station = station
        self.idle_cycles = idle_cycles
        self.idle = 0
        self.peer: Station | None = None
        self.received = bytearray()
        """Payloads that were passed on, to be taken by the user."""

    def wait(self, cycles: int) -> None:
        """Let ``cycles`` cycles of the Ethernet clock pass."""
        self.idle = min(self.idle + cycles, self.idle_cycles)

    def receive(self, frame: bytes, *, error: bool = False) -> Answer | None:
        """Process a frame, from its destination to its FCS; return the frame that answers it, if any."""
        body = frame[:-FCS_BYTES]
        if error or not SMALLEST_FRAME <= len(frame) <= LARGEST_FRAME:
            return None
        if zlib.crc32(body).to_bytes(FCS_BYTES, "little") != frame[-FCS_BYTES:]:
            return None
        own, content = body[:6] == self.station.mac, body[ETHERNET_HEADER:]
        kind = int.from_bytes(body[12:14], "big")
        if kind == Kind.ARP and (own or body[:6] == BROADCAST):
            return self._arp(content)
        if kind == Kind.IPV4 and own:
            return self._ipv4(body[6:12], content)
        return None

    def _arp(self, content: bytes) -> Answer | None:
        if content[:8] != bytes((0, 1, 8, 0, 6, 4, 0, 1)) or content[24:28] != self.station.address:
            return None
        asking = Station(content[8:14], content[14:18], 0)
        return Answer("arp", arp_frame(2, self.station, asking))

    def _ipv4(self, mac: bytes, content: bytes) -> Answer | None:
        head, length = content[:IPV4_HEADER], int.from_bytes(content[2:4], "big")
        is_fragment = int.from_bytes(head[6:8], "big") & 0x3FFF  # "more fragments" and the offset
        if head[0] != 0x45 or is_fragment or checksum(head) or head[16:] != self.station.address:
            return None
        # Both protocols have a header of eight bytes.
        if not IPV4_HEADER + UDP_HEADER <= length <= len(content):
            return None
        packet = content[IPV4_HEADER:length]
        port = int.from_bytes(packet[:2], "big")
        sender = Station(mac, head[12:16], port)
        if head[9] == Protocol.ICMP and packet[:2] == b"\x08\0" and len(packet) <= 4 + ECHO_BYTES:
            adjusted = int.from_bytes(packet[2:4], "big") + 0x0800
            adjusted = (adjusted & 0xFFFF) + (adjusted >> 16)
            answer = b"\0\0" + _word(adjusted) + packet[4:]
            return Answer("echo", ipv4_frame(self.station, sender, Protocol.ICMP, answer))
        if head[9] != Protocol.UDP or packet[2:4] != _word(self.station.port) or packet[4:6] != _word(len(packet)):
            return None
        return self._datagram(sender, packet[UDP_HEADER:])

    def _datagram(self, sender: Station, payload: bytes) -> Answer | None:
        opens = payload.startswith(OPENING) and (self.peer is None or self.idle >= self.idle_cycles)
        if sender == self.peer or opens:
            self.peer = sender if payload else None
            self.idle = 0
            self.received += payload
        elif self.peer is not None and payload and payload[0]:
            holder = self.peer.address + _word(self.peer.port)
            return Answer("refusal", udp_frame(self.station, sender, REFUSAL + holder))
        return None

    def send(self, payload: bytes) -> bytes | None:
        """Return the frame that carries ``payload`` to the peer; None without a peer: the payload is dropped."""
        return None if self.peer is None else udp_frame(self.station, self.peer, payload)
