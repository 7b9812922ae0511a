"""Frames of the host link: a receiver from line bytes to frames, and a sender from frames to line bytes.

Both compute the CRC four bits at a time.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, enum, stream
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import Component, In, Out

from spikeloom.hdl.lib.byte_memory import ByteMemory
from spikeloom.sim.host.link import (
    BLOCK_BYTES,
    CRC_BYTES,
    HEADER_BYTES,
    LARGEST_PAYLOAD,
    LENGTH_BYTES,
    NONCE_BYTES,
    OFFSET_BYTES,
    Kind,
)

__all__ = ["FrameReceiver", "FrameSender", "Header"]


class KindByte(data.Struct):
    """The first byte of a frame."""

    kind: unsigned(4)
    reply: unsigned(1)
    again: unsigned(1)
    zero: unsigned(2)


class Header(data.Struct):
    """The header of a body, in transmission order."""

    kind: KindByte
    sequence: unsigned(8 * OFFSET_BYTES)
    acknowledge: unsigned(8 * OFFSET_BYTES)
    limit: unsigned(8 * OFFSET_BYTES)
    length: unsigned(8 * LENGTH_BYTES)


class Part(enum.Enum, shape=2):
    """Position in a body."""

    HEADER = 0
    PAYLOAD = 1
    CRC = 2
    END = 3


class FrameReceiver(Component):
    """Decodes line bytes into frames.

    Offsets are compared byte by byte as they arrive, with one subtractor of eight bits: sequence with ``expected``,
    acknowledge and limit with ``acknowledged``. Only the low bytes are kept, as many as the rings need.

    Parameters
    ----------
    maximum_payload
        Frames with a longer payload are rejected.
    low_bytes
        Bytes of an offset that are kept, 2 or 3.

    Members
    -------
    i : Stream(8), in
        Bytes from the line, at most every other cycle. Not ready in the cycle of ``done`` and while ``hold`` is high.
    hold : Signal, in
        The last frame is still being processed.
    expected, acknowledged : Signal(32), in
        Offset of the next byte from the host, and the last valid acknowledge of the host. They must not change from the
        first byte of a frame until ``done``.
    kind : KindByte, out
    length : Signal(range(max(256, maximum_payload + 1))), out
        Kind and flags of the frame, and the length of its payload.
    in_order, ahead : Signal, out
        The sequence equals ``expected``, or is ahead of it.
    acknowledge : Signal(8 * low_bytes), out
        Low bytes of the acknowledge.
    acknowledge_near : Signal, out
        The acknowledge equals ``acknowledged`` or is ahead of it by less than ``2**(8 * low_bytes)``.
    limit : Signal(8 * low_bytes), out
        Low bytes of the limit.
    limit_near, limit_behind : Signal, out
        The limit equals ``acknowledged`` or is ahead of it by less than ``2**(8 * low_bytes - 1)``; or it is behind. If
        neither is set, it is far ahead.

        The whole header is valid from one cycle before the first ``payload_valid`` until the first byte after ``done``
        is taken; in an OPEN frame the nonce replaces the limit.
    payload : Signal(8), out
        A byte of the payload, to be discarded if the frame turns out to be bad.
    payload_valid : Signal, out
        High for one cycle per byte of the payload.
    opening : Signal, out
        The frame has the kind and the length of OPEN.
    nonce : Signal(32), out
        Payload of an OPEN frame.
    done : Signal, out
        High for one cycle when a frame has ended. Empty frames (consecutive delimiters) are skipped.
    good : Signal, out
        With ``done``: CRC, length and COBS encoding are correct.
    """

    def __init__(self, maximum_payload: int, *, low_bytes: int = 2):
        if low_bytes not in (2, 3):
            raise ValueError(f"low_bytes must be 2 or 3, not {low_bytes!r}")
        self.maximum_payload = maximum_payload
        self.low_bytes = low_bytes
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "hold": In(1),
                "expected": In(8 * OFFSET_BYTES),
                "acknowledged": In(8 * OFFSET_BYTES),
                "kind": Out(KindByte),
                "length": Out(range(max(256, maximum_payload + 1))),
                "in_order": Out(1),
                "ahead": Out(1),
                "acknowledge": Out(8 * low_bytes),
                "acknowledge_near": Out(1),
                "limit": Out(8 * low_bytes),
                "limit_near": Out(1),
                "limit_behind": Out(1),
                "payload": Out(8),
                "payload_valid": Out(1),
                "opening": Out(1),
                "nonce": Out(8 * NONCE_BYTES),
                "done": Out(1),
                "good": Out(1),
            }
        )

    def is_good(self, *, whole: Value, complete: Value, crc_matches: Value) -> Value:
        """Whether a frame is good: its last COBS block is complete, its length is correct and its CRC matches."""
        return whole & complete & crc_matches

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=4).create()

        # COBS: a code byte gives the distance to the next zero. The code is replaced by that zero, except for the first
        # code of a frame and after a code of 255, so each input byte produces at most one output byte.
        fresh = Signal(init=1)
        joined = Signal(init=1)  # no zero before the next block
        left = Signal(8)
        body = Signal(8)  # stable for two cycles, one for each half in the CRC
        body_first = Signal()  # first cycle
        body_valid = Signal()  # second cycle
        ended = Signal()

        m.d.comb += self.i.ready.eq(~body_first & ~ended & ~self.hold)
        m.d.sync += [body_first.eq(0), body_valid.eq(body_first), ended.eq(0)]
        with m.If(self.i.valid & self.i.ready):
            with m.If(self.i.payload == 0):
                m.d.sync += ended.eq(~fresh)
            with m.Elif(left == 0):
                m.d.sync += [left.eq(self.i.payload - 1), body.eq(0), body_first.eq(~joined), fresh.eq(0)]
                # A block of the largest size ends because it is full, not at a zero, so no zero is inserted after it.
                m.d.sync += joined.eq(self.i.payload == BLOCK_BYTES + 1)
            with m.Else():
                m.d.sync += [left.eq(left - 1), body.eq(self.i.payload), body_first.eq(1)]

        # The parts of a body, each with a down counter.
        remaining = Signal(range(max(HEADER_BYTES, self.maximum_payload + 1)), init=HEADER_BYTES - 1)
        last = remaining == 0
        part = Signal(Part)
        bad = Signal()
        # The last four bytes of the offsets, in the end those of the limit; in an OPEN frame then the nonce.
        shift = Signal(8 * OFFSET_BYTES)
        m.d.comb += [
            crc.data.eq(Mux(body_first, body[:4], body[4:])),
            crc.valid.eq(body_first | body_valid),
            self.payload.eq(body),
            self.payload_valid.eq(body_valid & (part == Part.PAYLOAD) & ~bad),
            self.nonce.eq(shift),
            self.limit.eq(shift),
        ]

        # Bytes 1 to 12 of the header are the offsets, lowest byte first, at which `remaining` is 13 to 2. Its low two
        # bits are then 1, 0, 3, 2 in each offset. A new byte arrives two cycles after the last one at the earliest, so
        # the byte to subtract may lag by a register.
        base, borrow, zero, low_zero, low_top = Signal(8), Signal(), Signal(), Signal(), Signal()
        place = 1 - remaining[:2]
        of_sequence = remaining[3] & (remaining[2] | remaining[1])
        of_limit = ~remaining[3] & ~(remaining[2] & remaining[1])
        m.d.sync += base.eq(Mux(of_sequence, self.expected, self.acknowledged).word_select(place[:2], 8))
        difference = Signal(9)
        matches = Signal()  # no bit differs since the low bytes or the high bytes began
        m.d.comb += [difference.eq(body - base - borrow), matches.eq(zero & (difference[:8] == 0))]
        ends_low, ends = place[:2] == self.low_bytes - 1, place[:2] == OFFSET_BYTES - 1

        length = Signal(8 * LENGTH_BYTES)
        m.d.comb += length.eq(Cat(self.length[:8], body))
        with m.If(body_valid):
            m.d.sync += remaining.eq(remaining - 1)
        with m.If(body_valid), m.Switch(part):
            with m.Case(Part.HEADER):
                m.d.sync += [borrow.eq(difference[8] & ~ends), zero.eq(matches | ends_low | ends)]
                with m.If(ends_low):
                    m.d.sync += [low_zero.eq(matches), low_top.eq(difference[7])]
                with m.If(remaining[1:] != 0):
                    m.d.sync += shift.eq(Cat(shift[8:], body))
                with m.If(remaining == HEADER_BYTES - 1):
                    m.d.sync += self.kind.eq(body)
                with m.Elif(last):
                    m.d.sync += self.length.eq(length)
                    m.d.sync += self.opening.eq((self.kind.kind == Kind.OPEN) & (length == NONCE_BYTES))
                    m.d.sync += [part.eq(Part.PAYLOAD), remaining.eq(length - 1), bad.eq(length > self.maximum_payload)]
                    with m.If(length == 0):
                        m.d.sync += [part.eq(Part.CRC), remaining.eq(CRC_BYTES - 1)]
                with m.Elif(remaining == 1):
                    m.d.sync += self.length[:8].eq(body)
                with m.Elif(of_sequence), m.If(ends):
                    m.d.sync += [self.in_order.eq(matches & low_zero)]
                    m.d.sync += self.ahead.eq(~(matches & low_zero) & ~difference[7])
                with m.Elif(of_limit), m.If(ends):
                    m.d.sync += [self.limit_near.eq(matches & ~low_top), self.limit_behind.eq(difference[7])]
                with m.Else():
                    with m.If(~place[1] if self.low_bytes == 2 else ~ends):
                        m.d.sync += self.acknowledge.eq(Cat(self.acknowledge[8:], body))
                    with m.If(ends):
                        m.d.sync += self.acknowledge_near.eq(matches)
            with m.Case(Part.PAYLOAD):
                with m.If(self.opening):
                    m.d.sync += shift.eq(Cat(shift[8:], body))
                with m.If(last):
                    m.d.sync += [part.eq(Part.CRC), remaining.eq(CRC_BYTES - 1)]
            with m.Case(Part.CRC), m.If(last):
                m.d.sync += part.eq(Part.END)
            with m.Case(Part.END):
                # A byte after the CRC: the frame is longer than its header says.
                m.d.sync += bad.eq(1)

        m.d.comb += [
            self.done.eq(ended),
            self.good.eq(
                self.is_good(whole=(left == 0) & ~bad, complete=part == Part.END, crc_matches=crc.match_detected),
            ),
        ]
        with m.If(ended):
            m.d.comb += crc.start.eq(1)
            m.d.sync += [fresh.eq(1), joined.eq(1), left.eq(0), bad.eq(0)]
            m.d.sync += [part.eq(Part.HEADER), remaining.eq(HEADER_BYTES - 1)]

        return m


class FrameSender(Component):
    """Builds a frame block by block in a block RAM, and sends each block when it is complete.

    COBS sends the distance to the next zero ahead of the bytes in between, so a block is first assembled in memory. It
    ends at a zero, after 254 bytes, or with the frame.

    The other half of the memory holds the identity record as initial contents and is never written.

    Parameters
    ----------
    identity
        The identity record.
    maximum_payload
        Largest payload of a frame of kind DATA.
    offset_width
        Number of low bits of an offset that address the transmit ring.

    Members
    -------
    start : Signal, in
        Begin a frame; allowed while ``ready`` is high.
    ready : Signal, out
        No frame is in progress.
    header : Header, in
        Sampled with ``start``.
    nonce : Signal(32), in
        Sent before the identity record in a frame of kind IDENTITY.
    offset : Signal(offset_width), out
        Offset of the next payload byte of a frame of kind DATA.
    payload : Signal(8), in
        The byte at the ``offset`` of the previous cycle. It is used only if ``reading`` was high in that cycle.
    reading : Signal, out
        The byte at ``offset`` is read; no byte may be stored in the meantime (`ByteMemory`).
    o : Stream(8), out
        Bytes to the line.
    """

    def __init__(self, identity: bytes, *, maximum_payload: int = LARGEST_PAYLOAD, offset_width: int = 16):
        self.identity = identity
        self.largest = max(maximum_payload, NONCE_BYTES + len(identity))
        super().__init__(
            {
                "start": In(1),
                "ready": Out(1),
                "header": In(Header),
                "nonce": In(8 * NONCE_BYTES),
                "offset": Out(offset_width),
                "payload": In(8),
                "reading": Out(1),
                "o": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=4).create()
        # In the upper half, at an address whose low bits are 0, so that an OR adds the index. It is not the first
        # address, because an iCE40 may write a zero to address 0 before the first cycle. The buffer is in the lower
        # half, so that no row of an iCE40 block RAM holds bytes of both.
        place_of_identity = 256 | 1 << len(self.identity).bit_length()
        m.submodules.memory = memory = ByteMemory(512, bytes(place_of_identity) + self.identity)

        header = Signal(Header)
        identify = Signal()
        nonce_part = Signal()  # the first four bytes of an IDENTITY payload
        header_part = Signal()
        crc_part = Signal()
        ending = Signal()  # the last byte has been written
        remaining = Signal(range(max(HEADER_BYTES, self.largest)))
        last = remaining == 0
        # Address of the next byte while a block is built, then the number of bytes still to send.
        place = Signal(8)
        index = Signal(8)  # address of the byte sent
        byte = Signal(8)
        # The output of a block RAM is late in the cycle, so each is registered before the multiplexer.
        identity_byte, payload_byte = Signal(8, reset_less=True), Signal(8, reset_less=True)
        stored = Mux(identify, identity_byte, payload_byte)

        identity_index = Signal(range(len(self.identity) + 1))
        closing = Signal()
        m.d.comb += [
            # The code of a block is at address 0.
            memory.write_data.eq(Mux(closing, place, byte)),
            memory.write_address.eq(Mux(closing, 0, place)),
            memory.address.eq(place_of_identity | identity_index),
            # The state HASH overrides this with the low half, which the CRC takes first.
            crc.data.eq(byte[4:]),
        ]
        sending = Signal()
        with m.If(~sending):  # while a block is sent, the next byte of the identity is kept
            m.d.sync += identity_byte.eq(memory.data)
        # The length of the payload, kept separately because `header` is shifted out byte by byte.
        length = Signal(range(self.largest + 1))

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.ready.eq(1), crc.start.eq(1)]
                m.d.sync += [
                    header.eq(self.header),
                    length.eq(self.header.length),
                    self.offset.eq(self.header.sequence),
                    identify.eq(self.header.kind.kind == Kind.IDENTITY),
                    identity_index.eq(0),
                    header_part.eq(1),
                    crc_part.eq(0),
                    ending.eq(0),
                    remaining.eq(HEADER_BYTES - 1),
                    place.eq(1),
                ]
                with m.If(self.start):
                    m.next = "FETCH"

            # Three cycles per byte: select it, feed its low half to the CRC, feed its high half and write it.
            with m.State("FETCH"):
                with m.If(header_part):
                    m.d.sync += [byte.eq(Value.cast(header)[:8]), header.eq(Value.cast(header) >> 8)]
                with m.Elif(crc_part):
                    m.d.sync += byte.eq(crc.crc.word_select(~remaining[:2], 8))
                with m.Elif(~identify):
                    m.d.sync += [byte.eq(stored), self.offset.eq(self.offset + 1)]
                with m.Elif(nonce_part):
                    m.d.sync += byte.eq(self.nonce.word_select(identity_index[:2], 8))
                    m.d.sync += identity_index.eq(identity_index + 1)
                    with m.If(identity_index == NONCE_BYTES - 1):
                        m.d.sync += [nonce_part.eq(0), identity_index.eq(0)]
                with m.Else():
                    m.d.sync += [byte.eq(stored), identity_index.eq(identity_index + 1)]
                m.next = "HASH"
            with m.State("HASH"):
                m.d.comb += [crc.data.eq(byte[:4]), crc.valid.eq(~crc_part)]
                # `offset` is stable for many cycles, but the payload is read only in this one, so that bytes can be
                # stored in all others.
                m.d.comb += self.reading.eq(1)
                m.next = "WRITE"

            with m.State("WRITE"):
                m.d.comb += [memory.write_enable.eq(1), crc.valid.eq(~crc_part)]
                m.d.sync += [remaining.eq(remaining - 1), payload_byte.eq(self.payload)]
                m.next = "FETCH"
                with m.If(byte != 0):
                    m.d.sync += place.eq(place + 1)
                with m.If(place == BLOCK_BYTES):
                    m.next = "CLOSE"
                with m.If(last):
                    with m.If(header_part):
                        m.d.sync += [header_part.eq(0), nonce_part.eq(1), remaining.eq(length - 1)]
                        with m.If(length == 0):
                            m.d.sync += [crc_part.eq(1), remaining.eq(CRC_BYTES - 1)]
                    with m.Elif(~crc_part):
                        m.d.sync += [crc_part.eq(1), remaining.eq(CRC_BYTES - 1)]
                    with m.Else():
                        m.d.sync += ending.eq(1)
                        m.next = "CLOSE"
                # A zero needs no write of its own.
                with m.If(byte == 0):
                    m.d.comb += closing.eq(1)
                    m.next = "READ"

            with m.State("CLOSE"):
                m.d.comb += [memory.write_enable.eq(1), closing.eq(1)]
                m.next = "READ"
            # The code comes first on the line but is known last, so each block is sent from address 0 on.
            with m.State("READ"):
                m.d.comb += memory.address.eq(0)
                m.d.sync += index.eq(0)
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += [
                    sending.eq(1),
                    self.o.valid.eq(1),
                    self.o.payload.eq(memory.data),
                    memory.address.eq(Cat((index + self.o.ready)[:8], 0)),
                ]
                with m.If(self.o.ready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(place != 1):
                        m.d.sync += place.eq(place - 1)
                    with m.Elif(~ending):
                        m.next = "FETCH"
                    with m.Elif(byte != 0):
                        m.next = "DELIMIT"
                    with m.Else():
                        # The zero at the end of the frame belongs to the block before; an empty block follows it.
                        m.d.sync += byte.eq(1)
                        m.next = "CLOSE"
            with m.State("DELIMIT"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(0)]
                with m.If(self.o.ready):
                    m.next = "IDLE"

        return m
