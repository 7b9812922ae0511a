"""Frames of the host link: a receiver from line bytes to frames, and a sender from frames to line bytes.

Both compute the CRC four bits at a time.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, enum, stream
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import Component, In, Out

from spikeloom.hdl.lib.byte_memory import ByteMemory
from spikeloom.sim.host.link import CRC_BYTES, HEADER_BYTES, NONCE_BYTES, Kind

__all__ = ["FrameReceiver", "FrameSender", "Header"]


class KindByte(data.Struct):
    """The first byte of a frame."""

    kind: unsigned(4)
    reply: unsigned(1)
    again: unsigned(1)
    zero: unsigned(2)


class Header(data.Struct):
    """The first eight bytes of a body, in transmission order."""

    kind: KindByte
    sequence: unsigned(16)
    acknowledge: unsigned(16)
    limit: unsigned(16)
    length: unsigned(8)


class Part(enum.Enum, shape=2):
    """Position in a body."""

    HEADER = 0
    PAYLOAD = 1
    CRC = 2
    END = 3


class FrameReceiver(Component):
    """Decodes line bytes into frames.

    Parameters
    ----------
    maximum_payload
        Frames with a longer payload are rejected.

    Members
    -------
    i : Stream(8), in
        Bytes from the line, at most every other cycle. Not ready in the cycle of ``done`` and while ``hold`` is high.
    hold : Signal, in
        The last frame is still being processed.
    header : Header, out
        Valid from one cycle before the first ``payload_valid`` until the first byte after ``done`` is taken.
    payload : Signal(8), out
        A byte of the payload, to be discarded if the frame turns out to be bad.
    payload_valid : Signal, out
        High for one cycle per byte of the payload.
    opening : Signal, out
        The frame has the kind and the length of OPEN.
    nonce : Signal(32), out
        Payload of an OPEN frame. It shares the upper half of the header, which OPEN does not use.
    done : Signal, out
        High for one cycle when a frame has ended. Empty frames (consecutive delimiters) are skipped.
    good : Signal, out
        With ``done``: CRC, length and COBS encoding are correct.
    """

    def __init__(self, maximum_payload: int):
        self.maximum_payload = maximum_payload
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "hold": In(1),
                "header": Out(Header),
                "payload": Out(8),
                "payload_valid": Out(1),
                "opening": Out(1),
                "nonce": Out(8 * NONCE_BYTES),
                "done": Out(1),
                "good": Out(1),
            }
        )

    def is_good(self, *, whole: Value, complete: Value, crc_matches: Value) -> Value:
        """A frame is good if its last COBS block is complete, its length is correct and its CRC matches."""
        return whole & complete & crc_matches

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=4).create()

        # COBS: a code byte gives the distance to the next zero. The code is replaced by that zero, except for the first
        # code of a frame, so each input byte produces at most one output byte.
        fresh = Signal(init=1)
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
                m.d.sync += [left.eq(self.i.payload - 1), body.eq(0), body_first.eq(~fresh), fresh.eq(0)]
            with m.Else():
                m.d.sync += [left.eq(left - 1), body.eq(self.i.payload), body_first.eq(1)]

        # The parts of a body, each with a down counter. The header is a shift register: its last byte, the length,
        # initialises the counter of the payload.
        remaining = Signal(8, init=HEADER_BYTES - 1)
        last = remaining == 0
        part = Signal(Part)
        bad = Signal()
        header = Value.cast(self.header)
        m.d.comb += [
            crc.data.eq(Mux(body_first, body[:4], body[4:])),
            crc.valid.eq(body_first | body_valid),
            self.payload.eq(body),
            self.payload_valid.eq(body_valid & (part == Part.PAYLOAD) & ~bad),
            self.nonce.eq(header[-8 * NONCE_BYTES :]),
        ]
        with m.If(body_valid):
            m.d.sync += remaining.eq(remaining - 1)
        with m.If(body_valid), m.Switch(part):
            with m.Case(Part.HEADER):
                m.d.sync += header.eq(Cat(header[8:], body))
                with m.If(last):
                    # The kind is one byte away from its final position, which it reaches in this cycle.
                    m.d.sync += self.opening.eq((header[8:16] == Kind.OPEN) & (body == NONCE_BYTES))
                    m.d.sync += [part.eq(Part.PAYLOAD), remaining.eq(body - 1), bad.eq(body > self.maximum_payload)]
                    with m.If(body == 0):
                        m.d.sync += [part.eq(Part.CRC), remaining.eq(CRC_BYTES - 1)]
            with m.Case(Part.PAYLOAD):
                with m.If(self.opening):
                    m.d.sync += header[-8 * NONCE_BYTES :].eq(Cat(self.nonce[8:], body))
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
            m.d.sync += [fresh.eq(1), left.eq(0), bad.eq(0), part.eq(Part.HEADER), remaining.eq(HEADER_BYTES - 1)]

        return m


class FrameSender(Component):
    """Builds a frame in a block RAM, then sends it.

    COBS sends the distance to the next zero ahead of the bytes in between, so the whole frame is first assembled in
    memory. A nonzero byte is written at its own address. For a zero, the distance to the previous code is written at
    the address of that code. Each byte thus takes one write.

    The other half of the memory holds the identity record as initial contents and is never written.

    Parameters
    ----------
    identity
        The identity record.
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
        The byte at the ``offset`` of the previous cycle.
    o : Stream(8), out
        Bytes to the line.
    """

    def __init__(self, identity: bytes, *, offset_width: int = 16):
        self.identity = identity
        super().__init__(
            {
                "start": In(1),
                "ready": Out(1),
                "header": In(Header),
                "nonce": In(8 * NONCE_BYTES),
                "offset": Out(offset_width),
                "payload": In(8),
                "o": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=4).create()
        m.submodules.memory = memory = ByteMemory(512, bytes(256) + self.identity)

        header = Signal(Header)
        identify = Signal()
        nonce_part = Signal()  # the first four bytes of an IDENTITY payload
        header_part = Signal()
        crc_part = Signal()
        remaining = Signal(8)
        last = remaining == 0
        # Both counters have two uses. `place` is the address of the next byte while the frame is built, then the number
        # of bytes still to send. `code_place` is the address of the current block's code, then that of the byte sent.
        place = Signal(8)
        code_place = Signal(8)
        byte = Signal(8)
        # The output of a block RAM is late in the cycle, so each is registered before the multiplexer.
        identity_byte, payload_byte = Signal(8, reset_less=True), Signal(8, reset_less=True)
        stored = Mux(identify, identity_byte, payload_byte)

        identity_index = Signal(range(len(self.identity) + 1))
        m.d.comb += [
            memory.write_data.eq(byte),
            memory.write_address.eq(place),
            memory.address.eq(256 | identity_index),
            crc.data.eq(byte[4:]),
        ]
        m.d.sync += [identity_byte.eq(memory.data), payload_byte.eq(self.payload)]
        code = place - code_place

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.ready.eq(1), crc.start.eq(1)]
                m.d.sync += [
                    header.eq(self.header),
                    self.offset.eq(self.header.sequence),
                    identify.eq(self.header.kind.kind == Kind.IDENTITY),
                    identity_index.eq(0),
                    header_part.eq(1),
                    crc_part.eq(0),
                    remaining.eq(HEADER_BYTES - 1),
                    code_place.eq(0),
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
                m.next = "WRITE"

            with m.State("WRITE"):
                m.d.comb += [memory.write_enable.eq(1), crc.valid.eq(~crc_part)]
                m.d.sync += [place.eq(place + 1), remaining.eq(remaining - 1)]
                with m.If(byte == 0):
                    m.d.comb += [memory.write_address.eq(code_place), memory.write_data.eq(code)]
                    m.d.sync += code_place.eq(place)
                m.next = "FETCH"
                with m.If(last):
                    with m.If(header_part):
                        # The last byte of the header is the length of the payload.
                        m.d.sync += [header_part.eq(0), nonce_part.eq(1), remaining.eq(byte - 1)]
                        with m.If(byte == 0):
                            m.d.sync += [crc_part.eq(1), remaining.eq(CRC_BYTES - 1)]
                    with m.Elif(~crc_part):
                        m.d.sync += [crc_part.eq(1), remaining.eq(CRC_BYTES - 1)]
                    with m.Else():
                        m.next = "CLOSE"

            with m.State("CLOSE"):
                m.d.comb += [memory.write_enable.eq(1), memory.write_address.eq(code_place), memory.write_data.eq(code)]
                m.d.sync += code_place.eq(0)
                m.next = "READ"
            with m.State("READ"):
                m.d.comb += memory.address.eq(Cat(code_place, 0))
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.payload.eq(memory.data),
                    memory.address.eq(Cat((code_place + self.o.ready)[:8], 0)),
                ]
                with m.If(self.o.ready):
                    m.d.sync += [code_place.eq(code_place + 1), place.eq(place - 1)]
                    with m.If(place == 1):
                        m.next = "DELIMIT"
            with m.State("DELIMIT"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(0)]
                with m.If(self.o.ready):
                    m.next = "IDLE"

        return m
