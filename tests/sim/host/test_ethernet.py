"""The Ethernet device of a board as bytes: frames read independently, and each rule of its reactions."""

import collections
import struct

import pytest
from harness.networks import rng_of
from harness.packets import BOARD, FRAMES, HOSTS, Packet, arp_request, echo_request, fcs, random_frame, udp

from spikeloom.sim.host.ethernet import (
    ECHO_BYTES,
    IDLE_CYCLES,
    IDLE_S,
    OPENING,
    REFUSAL,
    UDP_LINK,
    EthernetModel,
    EthernetParameters,
    Station,
    arp_frame,
    checksum,
    ethernet_frame,
    largest_datagram,
    link_over_udp,
    refusal_holder,
    udp_frame,
    udp_payload,
)
from spikeloom.sim.host.link import LARGEST_PAYLOAD, Frame, Kind, LinkParameters

FIRST, SECOND, THIRD = HOSTS


def opened(**options):
    model = EthernetModel(BOARD, **options)
    model.receive(udp(FIRST, OPENING))
    assert model.peer == FIRST
    model.received.clear()
    return model


def test_check_values():
    """The CRC of "123456789", and the checksum in the example of RFC 1071."""
    assert fcs(b"123456789") == bytes.fromhex("2639f4cb")
    body = ethernet_frame(b"123456", b"789012", 0x0800, b"")
    assert (body[-4:], len(body)) == (fcs(body[:-4]), 64)
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xDDF2 ^ 0xFFFF
    assert checksum(b"\x01\x02\x03") == 0xFFFF - 0x0402


def test_a_frame_of_the_link_is_a_datagram():
    """The longest frame fits, and the first bytes of OPEN are those that open a session, with any nonce."""
    for nonce in (b"abcd", bytes(4), b"\xff" * 4):
        assert Frame(kind=Kind.OPEN, payload=nonce).encode().startswith(OPENING)
    for payload in (b"", b"a", bytes(LARGEST_PAYLOAD), b"\x01" * 64):
        assert not Frame(payload=payload).encode().startswith((OPENING, b"\0"))
    longest = Frame(payload=b"\x01" * LARGEST_PAYLOAD, sequence=0x01010101, acknowledge=0x01010101, limit=0x01010101)
    assert len(longest.encode()) <= largest_datagram(LARGEST_PAYLOAD) <= 1472
    assert UDP_LINK.maximum_payload == LARGEST_PAYLOAD
    assert link_over_udp(LinkParameters()) == UDP_LINK
    chosen = LinkParameters(receive_buffer=512)
    assert link_over_udp(chosen) is chosen


@pytest.mark.parametrize("size", [0, 1, 2, 17, 18, 19, 500, 1472])
def test_datagrams_are_well_formed(size, request):
    rng = rng_of(request.node.name)
    for _ in range(20):
        payload = rng.bytes(size)
        packet = Packet(udp_frame(BOARD, FIRST, payload))
        assert (packet.destination, packet.source) == (FIRST.mac, BOARD.mac)
        assert (packet.sender, packet.receiver) == (BOARD.address, FIRST.address)
        assert (packet.ports, packet.payload) == ((BOARD.port, FIRST.port), payload)
        assert udp_payload(packet.frame) == payload


def test_a_checksum_of_zero_is_sent_as_ones():
    for value in range(1 << 16):  # one word decides the checksum, so one of its values makes it zero
        frame = udp_frame(BOARD, FIRST, struct.pack(">H", value))
        assert frame[40:42] != b"\0\0"
        if frame[40:42] == b"\xff\xff":
            Packet(frame)
            return
    raise AssertionError("one of the values must lead to 0xFFFF")


def test_the_header_of_a_datagram_by_value():
    """RFC 791: no service, 30 bytes, identification 0, "do not fragment", 64 hops, UDP."""
    frame = udp_frame(BOARD, FIRST, b"ab")
    assert frame[:14] == bytes.fromhex("a0b1c2d3e4f5 0213579bdf24 0800")
    assert frame[14:24] == bytes.fromhex("45 00 001e 0000 4000 40 11")
    assert frame[26:40] == bytes.fromhex("0a000709 0a000701 1267 c350 000a")
    assert frame[42:60] == b"ab" + bytes(16)


def test_sizes_by_value():
    """A code for each 254 bytes of the body, and the delimiter; 34.36 s of silence."""
    assert [largest_datagram(payload) for payload in (1400, 235, 236, 64)] == [1426, 256, 258, 85]
    assert LinkParameters(receive_buffer=4096, transmit_buffer=2048, maximum_payload=1400) == UDP_LINK
    assert ECHO_BYTES == 64
    assert (IDLE_S, IDLE_CYCLES) == (35, 2**32)


def test_arp_is_answered():
    model = EthernetModel(BOARD)
    for destination in (b"\xff" * 6, BOARD.mac):
        answer = model.receive(arp_request(FIRST, destination=destination))
        assert answer.kind == "arp"
        packet = Packet(answer.frame)
        assert (packet.destination, packet.source) == (FIRST.mac, BOARD.mac)
        assert packet.arp == (1, 0x0800, 6, 4, 2, BOARD.mac, BOARD.address, FIRST.mac, FIRST.address)
    assert model.receive(arp_frame(1, FIRST, Station(bytes(6), BOARD.address, 0), to=b"\xff" * 6)) == answer


@pytest.mark.parametrize("size", [0, 1, 18, 56, 60])
def test_a_ping_is_answered(size, request):
    data = rng_of(request.node.name).bytes(size)
    asked = echo_request(THIRD, data)
    answer = EthernetModel(BOARD).receive(asked)
    assert answer.kind == "echo"
    packet = Packet(answer.frame)
    assert (packet.destination, packet.receiver, packet.protocol) == (THIRD.mac, THIRD.address, 1)
    assert packet.is_right
    assert packet.content[:2] == b"\0\0"
    assert packet.content[4:] == asked[38 : 42 + size]


@pytest.mark.parametrize("check", [0xF7FE, 0xF7FF, 0xF800, 0xFFFE, 0xFFFF, 0])
def test_the_checksum_of_a_ping_is_adjusted_at_its_limits(check):
    word = (0xFFFF - 0x0800 - 0x77 - 3 - check) % 0xFFFF
    asked = echo_request(FIRST, struct.pack(">H", word))
    assert int.from_bytes(asked[36:38], "big") % 0xFFFF == check % 0xFFFF
    assert Packet(EthernetModel(BOARD).receive(asked).frame).is_right


def test_a_session_belongs_to_one_host():
    """The host that opens it, until it sends an empty datagram or is silent; all others are refused."""
    model = EthernetModel(BOARD)
    assert model.receive(udp(FIRST, b"early")) is None
    assert model.send(b"early") is None
    assert model.receive(udp(FIRST, OPENING + b"a")) is None
    assert model.receive(udp(FIRST, b"bcd")) is None
    assert model.receive(udp(FIRST, b"\0e")) is None
    assert bytes(model.received) == OPENING + b"abcd\0e"
    assert Packet(model.send(b"yes")).ports == (BOARD.port, FIRST.port)
    for other in (SECOND, THIRD, FIRST._replace(mac=THIRD.mac), FIRST._replace(address=THIRD.address)):
        for payload in (OPENING, b"x"):
            answer = model.receive(udp(other, payload))
            assert answer.kind == "refusal"
            packet = Packet(answer.frame)
            assert (packet.destination, packet.receiver, packet.ports[1]) == (other.mac, other.address, other.port)
            assert packet.payload.startswith(REFUSAL)
            assert refusal_holder(packet.payload) == ("10.0.7.1", FIRST.port)
        # The end of another's session, and what may be a refusal itself.
        assert model.receive(udp(other, b"")) is None
        assert model.receive(udp(other, packet.payload)) is None
    assert model.peer == FIRST
    assert model.receive(udp(FIRST, b"")) is None
    assert model.peer is None
    assert model.receive(udp(SECOND, OPENING)) is None
    assert model.peer == SECOND


def test_a_silent_host_is_replaced():
    model = opened(idle_cycles=1000)
    model.wait(999)
    assert model.receive(udp(SECOND, OPENING)).kind == "refusal"
    model.wait(1)
    assert model.receive(udp(SECOND, b"data")).kind == "refusal", "only by one that opens a session"
    assert model.receive(udp(FIRST, b"still here")) is None
    model.wait(999)
    assert model.receive(udp(SECOND, OPENING)).kind == "refusal"
    model.wait(1)
    assert model.receive(udp(SECOND, OPENING)) is None
    assert (model.peer, model.idle) == (SECOND, 0)
    assert EthernetModel(BOARD).idle_cycles == IDLE_CYCLES


def test_refusals():
    assert refusal_holder(REFUSAL + bytes((10, 0, 7, 1, 1, 2))) == ("10.0.7.1", 258)
    for other in (b"", b"\0", REFUSAL, REFUSAL + bytes(5), REFUSAL + bytes(7), b"\x01BUSY" + bytes(6)):
        assert refusal_holder(other) is None


REACTIONS = {
    "datagram": "payload",
    "open": "payload",
    "large": "payload",
    "padded": "payload",
    "empty": "end",
    "ping": "echo",
    "ping without data": "echo",
    "arp": "arp",
}
"""What a peer achieves with each kind of frame; nothing with all others."""


@pytest.mark.parametrize("name", FRAMES)
def test_each_kind_of_frame(name, request):
    rng = rng_of(request.node.name)
    for _ in range(12):
        model = opened()
        answer = model.receive(FRAMES[name](rng, FIRST))
        reaction = answer.kind if answer else "payload" if model.received else "nothing" if model.peer else "end"
        assert reaction == REACTIONS.get(name, "nothing")


def test_a_frame_with_an_error_is_dropped():
    model = opened()
    assert model.receive(arp_request(FIRST), error=True) is None
    assert model.receive(udp(FIRST, b"abc"), error=True) is None
    assert not model.received


def test_answers_are_well_formed(request):
    """Whatever arrives: every answer is a packet that another reading accepts, and every reaction occurs."""
    rng = rng_of(request.node.name)
    model = EthernetModel(BOARD, idle_cycles=20)
    kinds = collections.Counter()
    for _ in range(800):
        model.wait(1)
        _, frame = random_frame(rng, model.peer)
        answer = model.receive(frame)
        if answer:
            Packet(answer.frame)
            kinds[answer.kind] += 1
    assert min(kinds[kind] for kind in ("arp", "echo", "refusal")) > 10
    assert len(model.received) > 1000


def test_addresses():
    parameters = EthernetParameters()
    assert (parameters.address, parameters.port) == ("192.168.1.50", 50505)
    station = parameters.station(bytes(range(16)))
    assert station == Station(bytes((2, 0, 1, 2, 3, 4)), bytes((192, 168, 1, 50)), 50505)
    for port in (1, 65535):
        assert EthernetParameters(port=port).station(bytes(16)).port == port
    for address in ("1.240.0.1", "223.255.255.254", "10.0.0.1"):
        assert EthernetParameters(address=address).address == address
    assert EthernetParameters(mac="02:01:00:00:00:00").station(bytes(16)).mac == bytes((2, 1, 0, 0, 0, 0))
    assert EthernetParameters(mac="0A:bc:00:00:00:01").station(bytes(16)).mac == bytes((10, 188, 0, 0, 0, 1))


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"address": 7}, TypeError, r"^address must be text, not 7$"),
        ({"mac": b""}, TypeError, r"^mac must be text, not b''$"),
        ({"port": "1"}, TypeError, r"^port must be an integer, not '1'$"),
        ({"port": True}, TypeError, r"^port must be an integer, not True$"),
        ({"port": 0}, ValueError, r"^port must be from 1 to 65535, not 0$"),
        ({"port": 1 << 16}, ValueError, r"^port must be from 1 to 65535, not 65536$"),
        *(
            (
                {"address": text},
                ValueError,
                r"^address must be an IPv4 address of one board, such as 192.168.1.50, not '",
            )
            for text in (
                "",
                "board",
                "1.2.3",
                "256.1.1.1",
                "224.0.0.1",
                "127.0.0.1",
                "0.0.0.0",
                "240.0.0.1",
                "255.255.255.255",
            )
        ),
        *(
            ({"mac": text}, ValueError, r"^mac must be the MAC address of one board, such as 02:00:00:00:00:01, not '")
            for text in ("0", "00:00:00:00:00:00", "03:00:00:00:00:01", "02-00-00-00-00-01", "02:00:00:00:00:01:02")
        ),
    ],
)
def test_parameters_that_are_none(wrong, error, message):
    with pytest.raises(error, match=message):
        EthernetParameters(**wrong)
