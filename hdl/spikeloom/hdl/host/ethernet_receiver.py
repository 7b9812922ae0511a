"""Frames from an Ethernet PHY: check, filter, and judge them by the rules of `spikeloom.sim.host.ethernet`.

::

    GMII ─▶ register ─▶ CRC, position ─▶ headers compared ─▶ payload, written as it arrives
                                                └──────────▶ verdict, two cycles after the frame: accept, answer

One byte per cycle of 125 MHz, without a pause between frames. Each stage has few levels of logic: what a header must
contain at the next position is looked up one cycle before it is compared, and the verdict is formed in two cycles.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, enum
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import Component, In, Out

from spikeloom.sim.host.ethernet import (
    ECHO_BYTES,
    FCS_BYTES,
    IDLE_CYCLES,
    IPV4_HEADER,
    LARGEST_FRAME,
    OPENING,
    SMALLEST_FRAME,
    UDP_HEADER,
    Station,
)

__all__ = ["Address", "Answer", "AnswerKind", "EthernetReceiver"]

_PREAMBLE, _START = 0x55, 0xD5

# Positions in a frame, from its destination on.
_SOURCE, _LENGTH, _IPV4, _PORTS = 6, 16, 14, 34
_ARP_SENDER, _ARP_TARGET = 22, 38
_IPV4_SENDER, _IPV4_RECEIVER = 26, 30
_UDP_LENGTH, _UDP_PAYLOAD = 38, 42
_ICMP_CHECKSUM, _ICMP_REST = 36, 38


class Address(data.Struct):
    """The far end of a connection, as a number with the MAC address in its highest bits.

    In a frame, these three follow each other in this order, with the highest byte first.
    """

    port: unsigned(16)
    address: unsigned(32)
    mac: unsigned(48)


class AnswerKind(enum.Enum, shape=2):
    """Frames that the device sends; all but DATA are answers."""

    ARP = 0
    ECHO = 1
    REFUSAL = 2
    DATA = 3


class Answer(data.Struct):
    """An answer to be sent.

    ``to`` is its destination, ``length`` the total length of its IPv4 packet, and ``checksum`` that of an echo request.
    """

    kind: AnswerKind
    to: Address
    length: unsigned(16)
    checksum: unsigned(16)


class EthernetReceiver(Component):
    """Receives frames, keeps the session, and decides on answers.

    Parameters
    ----------
    station
        The board's addresses.
    idle_cycles
        Cycles of silence after which another host may take over the session.

    Members
    -------
    rx_data : Signal(8), in
    rx_valid, rx_error : Signal, in
        GMII, with preamble and FCS.
    byte : Signal(8), out
        The byte for ``store`` and ``store_echo``.
    store : Signal, out
        ``byte`` belongs to the payload of a datagram, which may still turn out to be bad.
    store_echo : Signal, out
        ``byte`` is part of an ICMP echo request, behind its checksum. Never high while ``answer_pending`` is.
    begin : Signal, out
        A frame begins; bytes stored since the last ``accept`` are void.
    overflow : Signal, in
        Not all bytes since ``begin`` could be stored.
    accept : Signal, out
        One cycle: the payload stored since ``begin`` is good. It comes before the next ``begin``.
    answer : Answer, out
    answer_pending : Signal, out
        An answer is to be sent; it is stable while this is high.
    answer_done : Signal, in
        The answer has been sent.
    peer : Address, out
    bound : Signal, out
        The host of the session, if there is one.
    """

    def __init__(self, station: Station, *, idle_cycles: int = IDLE_CYCLES):
        self.station = station
        self.idle_cycles = idle_cycles
        super().__init__(
            {
                "rx_data": In(8),
                "rx_valid": In(1),
                "rx_error": In(1),
                "byte": Out(8),
                "store": Out(1),
                "store_echo": Out(1),
                "begin": Out(1),
                "overflow": In(1),
                "accept": Out(1),
                "answer": Out(Answer),
                "answer_pending": Out(1),
                "answer_done": In(1),
                "peer": Out(Address),
                "bound": Out(1),
            }
        )

    def _patterns(self) -> dict[str, dict[int, tuple[int, int]]]:
        """For each kind of frame, the value and the mask of the bytes at the positions that are compared."""

        def at(place: int, content: Sequence[int], masks: dict[int, int] | None = None) -> dict[int, tuple[int, int]]:
            return {place + n: (byte, (masks or {}).get(n, 0xFF)) for n, byte in enumerate(content)}

        own, address = self.station.mac, self.station.address
        arp = at(12, (8, 6, 0, 1, 8, 0, 6, 4, 0, 1)) | at(_ARP_TARGET, address)
        ipv4 = at(12, (8, 0, 0x45)) | at(20, (0, 0), {0: 0x3F}) | at(_IPV4_RECEIVER, address)
        return {
            "own": at(0, own),
            "all": at(0, bytes([0xFF] * 6)),
            "arp": arp,
            "echo": ipv4 | at(23, (1,)) | at(_PORTS, (8, 0)),
            "udp": ipv4 | at(23, (17,)) | at(_PORTS + 2, self.station.port.to_bytes(2, "big")),
        }

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=8).create()

        # First stage: the preamble is removed.
        byte, valid, error = Signal(8), Signal(), Signal()
        m.d.sync += [byte.eq(self.rx_data), valid.eq(self.rx_valid), error.eq(self.rx_error)]
        is_body = Signal()
        ended = Signal()  # high two cycles after the last byte: its effects are in all registers then
        judge = Signal()  # the cycle after that
        m.d.comb += [crc.data.eq(byte), crc.valid.eq(is_body)]
        m.d.sync += ended.eq(0)
        # A position saturates where no header is compared any more.
        beyond = _UDP_PAYLOAD + len(OPENING)
        position = Signal(range(beyond + 1))
        size = Signal(range(LARGEST_FRAME + 2))
        failed = Signal()  # an error of the PHY
        free = Signal()  # the memory for an echo may be written by this frame
        with m.FSM():
            with m.State("GAP"), m.If(valid):
                m.next = "SKIP"
                with m.If(byte == _PREAMBLE):
                    m.next = "PREAMBLE"
            with m.State("PREAMBLE"):
                with m.If(~valid):
                    m.next = "GAP"
                with m.Elif(byte == _START):
                    m.d.comb += self.begin.eq(1)
                    m.next = "BODY"
                with m.Elif(byte != _PREAMBLE):
                    m.next = "SKIP"
            with m.State("BODY"):
                m.d.comb += is_body.eq(valid)
                with m.If(~valid):
                    m.d.sync += ended.eq(1)
                    m.next = "SKIP"
            # Until the verdict on this frame, the next one must not begin. Only a gap that is far too short conflicts.
            with m.State("SKIP"), m.If(~valid & ~ended & ~judge):
                m.next = "GAP"
        with m.If(self.begin):
            m.d.comb += crc.start.eq(1)
            m.d.sync += [position.eq(0), size.eq(0), failed.eq(0), free.eq(~self.answer_pending)]
        with m.Elif(is_body):
            m.d.sync += failed.eq(failed | error)
            with m.If(position != beyond):
                m.d.sync += position.eq(position + 1)
            with m.If(size != LARGEST_FRAME + 1):
                m.d.sync += size.eq(size + 1)

        # Second stage: the byte, and what is looked up for its position.
        here = Signal()
        marks = {
            "mac": range(_SOURCE, _SOURCE + 6),
            "arp_sender": range(_ARP_SENDER, _ARP_SENDER + 12),
            "ipv4_sender": (*range(_IPV4_SENDER, _IPV4_SENDER + 4), _PORTS, _PORTS + 1),
            "ipv4_header": range(_IPV4, _PORTS),
            "is_high": range(0, _PORTS, 2),  # the high byte of a word
            "length": (_LENGTH, _LENGTH + 1),
            "counts": range(_LENGTH + 2, beyond + 1),
            "udp_length_high": (_UDP_LENGTH,),
            "udp_length_low": (_UDP_LENGTH + 1,),
            "icmp_checksum": (_ICMP_CHECKSUM, _ICMP_CHECKSUM + 1),
            "icmp_rest": range(_ICMP_REST, beyond + 1),
            "payload": range(_UDP_PAYLOAD, beyond + 1),
            "first": (_UDP_PAYLOAD,),
            "second": (_UDP_PAYLOAD + 1,),
        }
        mark = {name: Signal(name=f"at_{name}") for name in marks}
        patterns = self._patterns()
        value = {name: Signal(8, name=f"{name}_value") for name in patterns}
        mask = {name: Signal(8, name=f"{name}_mask") for name in patterns}
        m.d.sync += [here.eq(is_body), self.byte.eq(byte)]
        with m.Switch(position):
            for place in range(beyond + 1):
                with m.Case(place):
                    m.d.sync += [mark[name].eq(place in places) for name, places in marks.items()]
                    for name, pattern in patterns.items():
                        wanted, bits = pattern.get(place, (0, 0))
                        m.d.sync += [value[name].eq(wanted), mask[name].eq(bits)]

        # Third stage. Each flag holds until a byte contradicts it.
        fits = {name: Signal(name=f"is_{name}") for name in patterns}
        for name, flag in fits.items():
            with m.If(self.begin):
                m.d.sync += flag.eq(1)
            with m.Elif(here & (((self.byte ^ value[name]) & mask[name]) != 0)):
                m.d.sync += flag.eq(0)

        # The sender. In ARP, the last two bytes are not a port, and not used.
        sender = Signal(96)
        captures = mark["mac"] | Mux(fits["arp"], mark["arp_sender"], mark["ipv4_sender"])
        with m.If(here & captures):
            m.d.sync += sender.eq(Cat(self.byte, sender[:-8]))
        # In two steps, long before the verdict.
        equal = Signal(8)
        m.d.sync += [
            bit.eq(sender.word_select(place, 12) == Value.cast(self.peer).word_select(place, 12))
            for place, bit in enumerate(equal)
        ]
        is_peer = Signal()
        m.d.sync += is_peer.eq(equal.all() & self.bound)

        # One's complement sum of the IPv4 header; the carry is added with the next byte.
        total, carry = Signal(16), Signal()
        addend = Mux(mark["is_high"], Cat(Const(0, 8), self.byte), self.byte)
        with m.If(self.begin):
            m.d.sync += [total.eq(0), carry.eq(0)]
        with m.Elif(here):
            m.d.sync += Cat(total, carry).eq(total + Mux(mark["ipv4_header"], addend, 0) + carry)

        # Bytes of the packet behind the current one, minus one: its sign says whether the byte belongs to the packet.
        length = Signal(16)
        left = Signal(signed(17))
        with m.If(here & mark["length"]):
            m.d.sync += [
                length.eq(Cat(self.byte, length[:8])),
                left.eq(Cat(self.byte, length[:8]) - (_LENGTH - _IPV4 + 3)),
            ]
        with m.Elif(here & mark["counts"]):
            # It may be counted down below zero by a whole frame, but not further.
            m.d.sync += left.eq(left - 1)
        within = Signal()
        m.d.comb += within.eq(here & ~left[-1])
        # Each from registers that have not changed for several bytes.
        udp_length = Signal(16)
        long_enough, can_echo = Signal(), Signal()
        m.d.sync += [
            udp_length.eq(length - IPV4_HEADER),
            long_enough.eq(length >= IPV4_HEADER + UDP_HEADER),
            can_echo.eq(length <= IPV4_HEADER + (_ICMP_REST - _PORTS) + ECHO_BYTES),
        ]
        lengths_agree = Signal()
        with m.If(self.begin):
            m.d.sync += lengths_agree.eq(1)
        with m.Elif(here):
            with m.If(mark["udp_length_high"] & (self.byte != udp_length[8:])):
                m.d.sync += lengths_agree.eq(0)
            with m.If(mark["udp_length_low"] & (self.byte != udp_length[:8])):
                m.d.sync += lengths_agree.eq(0)

        # The payload: whether it is empty, its first byte zero, and whether it opens a session.
        empty, silent, opening = Signal(), Signal(), Signal()
        with m.If(self.begin):
            m.d.sync += [empty.eq(1), silent.eq(1), opening.eq(0)]
        with m.Elif(within & mark["first"]):
            m.d.sync += [empty.eq(0), silent.eq(self.byte == 0), opening.eq(self.byte == OPENING[0])]
        with m.Elif(here & mark["second"]):
            m.d.sync += opening.eq(opening & within & (self.byte == OPENING[1]))
        checksum = Signal(16)
        with m.If(here & mark["icmp_checksum"]):
            m.d.sync += checksum.eq(Cat(self.byte, checksum[:8]))
        m.d.comb += [
            self.store.eq(within & mark["payload"] & fits["udp"]),
            self.store_echo.eq(within & mark["icmp_rest"] & fits["echo"] & free),
        ]

        # Silence of the peer: a sign again.
        idle = Signal(signed((self.idle_cycles - 1).bit_length() + 1), init=-1)
        with m.If(~idle[-1]):
            m.d.sync += idle.eq(idle - 1)

        # The verdict: first on the frame and on the packet, then on what to do.
        whole, header_right, complete, opens = Signal(), Signal(), Signal(), Signal()
        m.d.sync += [
            judge.eq(ended),
            whole.eq(crc.match_detected & ~failed & (size >= SMALLEST_FRAME) & (size <= LARGEST_FRAME)),
            header_right.eq((total == 0xFFFF) & ~carry & long_enough),
            # The FCS is behind the packet.
            complete.eq((left + FCS_BYTES)[-1]),
            opens.eq(opening & (idle[-1] | ~self.bound)),
        ]
        good_arp, good_echo, good_udp = Signal(), Signal(), Signal()
        from_host, replaces, refuses = Signal(), Signal(), Signal()
        good_ipv4 = judge & whole & header_right & complete & fits["own"]
        m.d.sync += [
            good_arp.eq(judge & whole & fits["arp"] & (fits["own"] | fits["all"])),
            good_echo.eq(good_ipv4 & fits["echo"] & can_echo & free),
            good_udp.eq(good_ipv4 & fits["udp"] & lengths_agree),
            from_host.eq(is_peer | opens),
            replaces.eq(opens),
            refuses.eq(~is_peer & ~opens & self.bound & ~silent),
        ]
        m.d.comb += self.accept.eq(good_udp & from_host & ~self.overflow)
        with m.If(good_udp & from_host):
            m.d.sync += [self.bound.eq(~empty), idle.eq(self.idle_cycles - 1)]
            with m.If(replaces):
                m.d.sync += self.peer.eq(sender)
        with m.If(self.answer_done):
            m.d.sync += self.answer_pending.eq(0)
        # A request is dropped while the answer to another one waits: whoever asked will ask again.
        with m.If(~self.answer_pending & (good_arp | good_echo | (good_udp & refuses))):
            m.d.sync += [
                self.answer_pending.eq(1),
                self.answer.kind.eq(Mux(good_arp, AnswerKind.ARP, Mux(good_echo, AnswerKind.ECHO, AnswerKind.REFUSAL))),
                self.answer.to.eq(sender),
                self.answer.length.eq(length),
                self.answer.checksum.eq(checksum),
            ]
        return m
