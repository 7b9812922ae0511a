"""The board's end of the host link: reliable byte streams over a line that loses, flips and adds bytes.

``docs/link.md`` has the frames and the rules, :mod:`spikeloom.sim.link` specifies them in Python.

::

    from_line ─▶ FrameReceiver ─▶ receive ring ─▶ receive ─▶ (host bridge)
                      │ acknowledge, limit, again
                      ▼
    to_line ◀── FrameSender ◀── transmit ring ◀── transmit ◀─ (host bridge)

A payload is written to the receive ring as it comes, behind what has been accepted; it counts from the moment in which
the whole frame has proved right. The transmit ring keeps each byte until the host has acknowledged it.

The receiving side waits for nothing but itself, two cycles after each frame, so the link cannot deadlock. It takes a
byte a cycle; the sending side takes about three cycles a byte (two to build a frame, one to send it).
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, enum, stream
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from spikeloom.sim.link import CRC_BYTES, HEADER_BYTES, NONCE_BYTES, Kind, LinkParameters

__all__ = ["FrameReceiver", "FrameSender", "Header", "Link"]


class KindByte(data.Struct):
    """The first byte of a frame."""

    kind: unsigned(4)
    reply: unsigned(1)
    again: unsigned(1)
    zero: unsigned(2)


class Header(data.Struct):
    """The first eight bytes of a body, in the order of the line."""

    kind: KindByte
    sequence: unsigned(16)
    acknowledge: unsigned(16)
    limit: unsigned(16)
    length: unsigned(8)


class Part(enum.Enum, shape=2):
    """Where in a body."""

    HEADER = 0
    PAYLOAD = 1
    CRC = 2
    END = 3


class FrameReceiver(Component):
    """Line bytes to frames.

    Parameters
    ----------
    maximum_payload
        A frame with a longer payload is a bad one.

    Members
    -------
    i : In(stream.Signature(8))
        Bytes from the line. Not ready in the cycle of ``done`` and while ``hold`` is high.
    hold : In(1)
        The frame that has just ended is still being looked at.
    header : Out(Header)
        Complete one cycle before the first ``payload_valid`` until the next byte is taken after ``done``.
    payload : Out(8)
        A byte of the payload, to be forgotten if the frame turns out bad.
    payload_valid : Out(1)
        One cycle for each of them.
    nonce : Out(32)
        The last four bytes of payload.
    done : Out(1)
        One cycle: a frame has ended. Empty ones (delimiters in a row) are passed over.
    good : Out(1)
        With ``done``: CRC, length and COBS code are right.
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
                "nonce": Out(8 * NONCE_BYTES),
                "done": Out(1),
                "good": Out(1),
            }
        )

    def is_good(self, *, whole: Value, complete: Value, crc_matches: Value) -> Value:
        """A frame is good if its last COBS block ended in it, its length was right and its CRC matches."""
        return whole & complete & crc_matches

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC32_ISO_HDLC().create()

        # COBS: a code tells after how many bytes a zero is due. At most one byte comes out for each one that goes in.
        fresh = Signal(init=1)
        left = Signal(8)
        body = Signal(8)
        body_valid = Signal()
        ended = Signal()

        m.d.comb += self.i.ready.eq(~ended & ~self.hold)
        m.d.sync += [body_valid.eq(0), ended.eq(0)]
        with m.If(self.i.valid & self.i.ready):
            with m.If(self.i.payload == 0):
                m.d.sync += ended.eq(~fresh)
            with m.Elif(left == 0):
                m.d.sync += [left.eq(self.i.payload - 1), body.eq(0), body_valid.eq(~fresh), fresh.eq(0)]
            with m.Else():
                m.d.sync += [left.eq(left - 1), body.eq(self.i.payload), body_valid.eq(1)]

        # The parts of a body, each counted down.
        remaining = Signal(8, init=HEADER_BYTES - 1)
        last = remaining == 0
        part = Signal(Part)
        bad = Signal()
        m.d.comb += [crc.data.eq(body), crc.valid.eq(body_valid)]
        m.d.sync += [self.payload.eq(body), self.payload_valid.eq(0)]
        with m.If(body_valid):
            m.d.sync += remaining.eq(remaining - 1)
        with m.If(body_valid), m.Switch(part):
            with m.Case(Part.HEADER):
                m.d.sync += self.header.eq(Cat(Value.cast(self.header)[8:], body))
                with m.If(last):
                    m.d.sync += [part.eq(Part.PAYLOAD), remaining.eq(body - 1), bad.eq(body > self.maximum_payload)]
                    with m.If(body == 0):
                        m.d.sync += [part.eq(Part.CRC), remaining.eq(CRC_BYTES - 1)]
            with m.Case(Part.PAYLOAD):
                m.d.sync += [self.payload_valid.eq(~bad), self.nonce.eq(Cat(self.nonce[8:], body))]
                with m.If(last):
                    m.d.sync += [part.eq(Part.CRC), remaining.eq(CRC_BYTES - 1)]
            with m.Case(Part.CRC), m.If(last):
                m.d.sync += part.eq(Part.END)
            with m.Case(Part.END):
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

    COBS needs to know where the next zero is before it sends the bytes before it. So the whole frame is put together
    in memory first: a byte that is not zero is written where it belongs, a zero is written as the distance to the code
    before it, at the place of that code. That is one write a byte.

    The other half of the memory holds the identity record, which is its initial content and is never written.

    Parameters
    ----------
    identity
        The identity record.

    Members
    -------
    start : In(1)
        Begins a frame; only while ``ready``.
    ready : Out(1)
        No frame is on its way.
    header : In(Header)
        Sampled with ``start``.
    nonce : In(32)
        Sent ahead of the identity record in a frame of kind IDENTITY.
    offset : Out(16)
        Offset of the payload byte wanted in a frame of kind DATA.
    payload : In(8)
        The byte that was at ``offset`` in the cycle before.
    o : Out(stream.Signature(8))
        Bytes to the line.
    """

    def __init__(self, identity: bytes):
        self.identity = identity
        super().__init__(
            {
                "start": In(1),
                "ready": Out(1),
                "header": In(Header),
                "nonce": In(8 * NONCE_BYTES),
                "offset": Out(16),
                "payload": In(8),
                "o": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC32_ISO_HDLC().create()
        m.submodules.memory = memory = Memory(shape=8, depth=512, init=[*bytes(256), *self.identity])
        write = memory.write_port()
        read = memory.read_port()

        header = Signal(Header)
        identify = Signal()
        nonce_part = Signal()  # the first four bytes of an IDENTITY payload
        header_part = Signal()
        crc_part = Signal()
        remaining = Signal(8)
        last = remaining == 0
        place = Signal(8)  # where the next byte of the frame goes; when it is complete, its length
        code_place = Signal(8)  # where the code of the present block goes; while sending, the byte on its way
        byte = Signal(8)

        identity_index = Signal(8)
        m.d.comb += [
            write.data.eq(byte),
            write.addr.eq(place),
            read.addr.eq(Cat(identity_index, 1)),
            crc.data.eq(byte),
        ]
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

            # Two cycles a byte: choose it, ...
            with m.State("FETCH"):
                with m.If(header_part):
                    m.d.sync += [byte.eq(Value.cast(header)[:8]), header.eq(Value.cast(header) >> 8)]
                with m.Elif(crc_part):
                    m.d.sync += byte.eq(crc.crc.word_select(~remaining[:2], 8))
                with m.Elif(~identify):
                    m.d.sync += [byte.eq(self.payload), self.offset.eq(self.offset + 1)]
                with m.Elif(nonce_part):
                    m.d.sync += byte.eq(self.nonce.word_select(identity_index[:2], 8))
                    m.d.sync += identity_index.eq(identity_index + 1)
                    with m.If(identity_index == NONCE_BYTES - 1):
                        m.d.sync += [nonce_part.eq(0), identity_index.eq(0)]
                with m.Else():
                    m.d.sync += [byte.eq(read.data), identity_index.eq(identity_index + 1)]
                m.next = "WRITE"

            # ... and write it.
            with m.State("WRITE"):
                m.d.comb += [write.en.eq(1), crc.valid.eq(~crc_part)]
                m.d.sync += [place.eq(place + 1), remaining.eq(remaining - 1)]
                with m.If(byte == 0):
                    m.d.comb += [write.addr.eq(code_place), write.data.eq(code)]
                    m.d.sync += code_place.eq(place)
                m.next = "FETCH"
                with m.If(last):
                    with m.If(header_part):
                        # `byte` is the length now.
                        m.d.sync += [header_part.eq(0), nonce_part.eq(1), remaining.eq(byte - 1)]
                        with m.If(byte == 0):
                            m.d.sync += [crc_part.eq(1), remaining.eq(CRC_BYTES - 1)]
                    with m.Elif(~crc_part):
                        m.d.sync += [crc_part.eq(1), remaining.eq(CRC_BYTES - 1)]
                    with m.Else():
                        m.next = "CLOSE"

            with m.State("CLOSE"):
                m.d.comb += [write.en.eq(1), write.addr.eq(code_place), write.data.eq(code)]
                m.d.sync += code_place.eq(0)
                m.next = "READ"
            with m.State("READ"):
                m.d.comb += read.addr.eq(Cat(code_place, 0))
                m.next = "SEND"
            with m.State("SEND"):
                following = (code_place + 1)[:8]
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.payload.eq(read.data),
                    read.addr.eq(Cat(Mux(self.o.ready, following, code_place), 0)),
                ]
                with m.If(self.o.ready):
                    m.d.sync += code_place.eq(following)
                    with m.If(following == place):
                        m.next = "DELIMIT"
            with m.State("DELIMIT"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(0)]
                with m.If(self.o.ready):
                    m.next = "IDLE"

        return m


class Link(Component):
    """The board's end of the host link.

    Parameters
    ----------
    parameters
        Sizes.
    identity
        The record that answers OPEN (:meth:`spikeloom.sim.link.Identity.encode`), constant.

    Members
    -------
    from_line : In(stream.Signature(8))
        Bytes from the UART.
    to_line : Out(stream.Signature(8))
        Bytes to the UART.
    receive : Out(stream.Signature(8))
        The host's bytes, each once and in order.
    transmit : In(stream.Signature(8))
        Bytes for the host.
    flush : In(1)
        While high, what waits in the transmit ring is sent at once; otherwise a frame is sent when it is full or when
        nothing has come for ``idle_cycles``.
    reset : Out(1)
        High for one cycle when the host begins a session. In this cycle neither stream transfers; after it both are
        empty. Reset with it whatever is behind the link. It is the one exception from the rule that an offered byte
        stays offered.
    """

    def __init__(self, parameters: LinkParameters, identity: bytes):
        if not isinstance(parameters, LinkParameters):
            raise TypeError(f"parameters must be LinkParameters, not {parameters!r}")
        if not isinstance(identity, bytes):
            raise TypeError(f"identity must be bytes, not {identity!r}")
        largest = min(128, parameters.maximum_payload - NONCE_BYTES)
        if not 1 <= len(identity) <= largest:
            raise ValueError(f"identity must be from 1 to {largest} bytes, not {len(identity)}")
        self.parameters = parameters
        self.identity = identity
        super().__init__(
            {
                "from_line": In(stream.Signature(8)),
                "to_line": Out(stream.Signature(8)),
                "receive": Out(stream.Signature(8)),
                "transmit": In(stream.Signature(8)),
                "flush": In(1),
                "reset": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        parameters = self.parameters
        m.submodules.receiver = receiver = FrameReceiver(parameters.maximum_payload)
        m.submodules.sender = sender = FrameSender(self.identity)
        m.submodules.receive_ring = receive_ring = Memory(shape=8, depth=parameters.receive_buffer, init=[])
        m.submodules.transmit_ring = transmit_ring = Memory(shape=8, depth=parameters.transmit_buffer, init=[])

        # Offsets modulo 65536; their low bits are addresses of the rings.
        expected = Signal(16)  # next byte from the host
        tentative = Signal(16)  # the same, with the payload of the frame that is coming in
        consumed = Signal(16)  # next byte to `receive`
        advertised = Signal(16)  # `consumed` as the host knows it
        written = Signal(16)  # next byte from `transmit`
        sent = Signal(16)  # next byte to send
        acknowledged = Signal(16)  # next byte the host waits for
        limit = Signal(16)  # how far the host lets us send

        opened = Signal()
        nonce = Signal(8 * NONCE_BYTES)
        identify = Signal()  # OPEN wants an answer
        answer = Signal()  # a frame wants an answer
        again = Signal()  # the answer shall say AGAIN
        reported = Signal()  # AGAIN has been said since the last frame in order

        # From the line into the receive ring. The header stands still while its payload comes.
        header = receiver.header
        room = Signal(16)
        accept = Signal()
        ring_write = receive_ring.write_port()
        m.d.sync += [
            room.eq(consumed + parameters.receive_buffer - expected),
            accept.eq((header.sequence == expected) & (header.length <= room) & (header.kind.kind == Kind.DATA)),
        ]
        m.d.comb += [
            self.from_line.ready.eq(receiver.i.ready),
            receiver.i.valid.eq(self.from_line.valid),
            receiver.i.payload.eq(self.from_line.payload),
            ring_write.addr.eq(tentative),
            ring_write.data.eq(receiver.payload),
            ring_write.en.eq(receiver.payload_valid & accept & opened),
        ]
        with m.If(ring_write.en):
            m.d.sync += tentative.eq(tentative + 1)
        # Room may come up in the middle of a frame that had too little: such a frame stays refused.
        refused = Signal()
        with m.If(receiver.payload_valid & ~accept):
            m.d.sync += refused.eq(1)

        # From the receive ring to the bridge: the byte after the one that goes is read in the same cycle.
        ring_read = receive_ring.read_port()
        upcoming = Signal(16)
        offered = Signal()
        m.d.comb += [
            upcoming.eq(consumed + (self.receive.valid & self.receive.ready)),
            ring_read.addr.eq(upcoming),
            self.receive.payload.eq(ring_read.data),
            self.receive.valid.eq(offered & ~self.reset),
        ]
        m.d.sync += [consumed.eq(upcoming), offered.eq(upcoming != expected)]

        # From the bridge into the transmit ring.
        transmit_write = transmit_ring.write_port()
        stored = Signal(16)
        silence = Signal(range(parameters.idle_cycles + 1))
        full = Signal()
        m.d.comb += [
            stored.eq(written - acknowledged),
            full.eq(stored[(parameters.transmit_buffer).bit_length() - 1]),
            self.transmit.ready.eq(~full & opened & ~self.reset),
            transmit_write.addr.eq(written),
            transmit_write.data.eq(self.transmit.payload),
            transmit_write.en.eq(self.transmit.valid & self.transmit.ready),
        ]
        with m.If(transmit_write.en):
            m.d.sync += [written.eq(written + 1), silence.eq(parameters.idle_cycles)]
        with m.Elif(silence != 0):
            m.d.sync += silence.eq(silence - 1)

        # From the transmit ring to the line. What could be sent is worked out in two steps, and takes two cycles to be
        # right after `sent`, `acknowledged` or `limit` has jumped: until then `settling`.
        transmit_read = transmit_ring.read_port()
        waiting = Signal(16)
        credit = Signal(signed(16))
        size = Signal(8)
        worthwhile = Signal()
        update = Signal()
        settling = Signal(range(4))
        largest = parameters.maximum_payload
        at_most = [Mux(value >= largest, largest, value[:8]) for value in (waiting, credit.as_unsigned())]
        m.d.comb += [transmit_read.addr.eq(sender.offset), sender.payload.eq(transmit_read.data)]
        m.d.sync += [
            waiting.eq(written - sent),
            credit.eq(limit - sent),
            size.eq(Mux(credit < 0, 0, Mux(at_most[0] < at_most[1], at_most[0], at_most[1]))),
            worthwhile.eq((waiting >= largest) | (silence == 0) | self.flush | full),
            update.eq((consumed - advertised)[parameters.receive_buffer.bit_length() - 2 : 16].any()),
        ]
        with m.If(settling != 0):
            m.d.sync += settling.eq(settling - 1)

        # What a frame from the host changes. `moved` cancels a start of the sender in the same cycle.
        moved = Signal()
        m.d.comb += [
            sender.nonce.eq(nonce),
            sender.header.kind.kind.eq(Mux(identify, Kind.IDENTITY, Kind.DATA)),
            sender.header.kind.again.eq(again & ~identify),
            sender.header.sequence.eq(sent),
            sender.header.acknowledge.eq(expected),
            sender.header.limit.eq(consumed + parameters.receive_buffer),
            sender.header.length.eq(Mux(identify, NONCE_BYTES + len(self.identity), size)),
            sender.start.eq(
                sender.ready
                & ~moved
                & (settling == 0)
                & (identify | (opened & (answer | update | (worthwhile & (size != 0)))))
            ),
            sender.o.ready.eq(self.to_line.ready),
            self.to_line.valid.eq(sender.o.valid),
            self.to_line.payload.eq(sender.o.payload),
        ]
        with m.If(sender.start):
            m.d.sync += [advertised.eq(consumed), settling.eq(3)]
            with m.If(identify):
                m.d.sync += identify.eq(0)
            with m.Else():
                m.d.sync += [sent.eq(sent + size), answer.eq(0), again.eq(0)]

        step = Signal(16)  # how far the host's acknowledge moves ours
        step_valid = Signal()
        step_beyond = Signal()  # ... and it is beyond `sent`, after we went back
        ahead = Signal()
        good = Signal()
        renew = Signal()
        m.d.comb += step.eq(header.acknowledge - acknowledged)
        with m.FSM():
            with m.State("WAIT"), m.If(receiver.done):
                m.d.sync += good.eq(receiver.good)
                m.next = "COMPARE"
            with m.State("COMPARE"):
                m.d.comb += receiver.hold.eq(1)
                m.d.sync += [
                    step_valid.eq(step <= stored),
                    step_beyond.eq(step > (sent - acknowledged).as_unsigned()[:16]),
                    ahead.eq(((header.sequence - expected)[:16].as_signed()) > 0),
                    renew.eq(~opened | (nonce != receiver.nonce)),
                ]
                m.next = "APPLY"
            with m.State("APPLY"):
                m.d.comb += receiver.hold.eq(1)
                m.next = "WAIT"
                m.d.sync += [tentative.eq(expected), refused.eq(0)]
                known = header.kind.zero == 0
                with m.If(~good):
                    m.d.sync += [reported.eq(1), answer.eq(answer | ~reported), again.eq(again | ~reported)]
                with m.Elif(known & (header.kind.kind == Kind.OPEN) & (header.length == NONCE_BYTES)):
                    m.d.comb += [moved.eq(1), self.reset.eq(renew)]
                    m.d.sync += identify.eq(1)
                with m.Elif(known & (header.kind.kind == Kind.DATA) & opened):
                    m.d.comb += moved.eq(1)
                    with m.If(step_valid):
                        m.d.sync += [acknowledged.eq(header.acknowledge), limit.eq(header.limit), settling.eq(3)]
                        with m.If(header.kind.again | step_beyond):
                            m.d.sync += sent.eq(header.acknowledge)
                    with m.If(accept & ~refused & (header.length != 0)):
                        m.d.sync += [expected.eq(tentative), reported.eq(0), tentative.eq(tentative)]
                    with m.Elif(ahead & (header.kind.reply | ~reported)):
                        m.d.sync += [reported.eq(1), answer.eq(1), again.eq(1)]
                    with m.If((header.length != 0) | header.kind.reply):
                        m.d.sync += answer.eq(1)

        with m.If(self.reset):
            for offset in (expected, tentative, consumed, advertised, written, sent, acknowledged, limit):
                m.d.sync += offset.eq(0)
            m.d.sync += [
                opened.eq(1),
                nonce.eq(receiver.nonce),
                offered.eq(0),
                answer.eq(0),
                again.eq(0),
                reported.eq(0),
                settling.eq(3),
            ]

        return m
