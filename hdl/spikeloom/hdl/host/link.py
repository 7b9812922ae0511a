"""The board's end of the host link: reliable byte streams over a line that loses, flips and adds bytes.

``docs/link.md`` has the frames and the rules, :mod:`spikeloom.sim.host.link` specifies them in Python.

::

    from_line ─▶ FrameReceiver ─▶ receive ring ─▶ receive ─▶ (host bridge)
                      │ acknowledge, limit, again
                      ▼
    to_line ◀── FrameSender ◀── transmit ring ◀── transmit ◀─ (host bridge)

A payload is written to the receive ring as it comes, behind what has been accepted; it counts from the moment in which
the whole frame has proved right. The transmit ring keeps each byte until the host has acknowledged it.

The receiving side waits for nothing but itself, so the link cannot deadlock. It takes two cycles a byte (the CRC is
worked out four bits at a time), the sending side four (three to build a frame, one to send it).
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, enum, stream
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from spikeloom.sim.host.link import CRC_BYTES, HEADER_BYTES, NONCE_BYTES, Kind, LinkParameters

__all__ = ["FrameReceiver", "FrameSender", "Header", "Link"]


class ByteMemory(Component):
    """A block RAM of bytes with one port to write and one to read; what a read of a byte just being written gives is
    left open.

    Because it is left open, no logic is spent on it, unlike with Amaranth's synchronous read port: an asynchronous
    read and a register after it become the read port of the block RAM. (The simulator gives the old byte.)

    Parameters
    ----------
    depth
        Bytes.
    init
        The first of them at power-up.

    Members
    -------
    write_enable, write_address, write_data : In
        A byte is written at the end of a cycle with ``write_enable``.
    address : In
        Of the byte to read.
    data : Out(8)
        The byte that was at the ``address`` of the cycle before.
    """

    def __init__(self, depth: int, init: bytes = b""):
        self.depth = depth
        self.init = init
        width = (depth - 1).bit_length()
        super().__init__(
            {
                "write_enable": In(1),
                "write_address": In(width),
                "write_data": In(8),
                "address": In(width),
                "data": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=8, depth=self.depth, init=self.init, attrs={"no_rw_check": 1, "ram_style": "block"}
        )
        write = memory.write_port()
        read = memory.read_port(domain="comb")
        m.d.comb += [
            write.en.eq(self.write_enable),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            read.addr.eq(self.address),
        ]
        m.d.sync += self.data.eq(read.data)
        return m


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
        Bytes from the line, at most every other cycle. Not ready in the cycle of ``done`` and while ``hold`` is high.
    hold : In(1)
        The frame that has just ended is still being looked at.
    header : Out(Header)
        Complete one cycle before the first ``payload_valid`` until the next byte is taken after ``done``.
    payload : Out(8)
        A byte of the payload, to be forgotten if the frame turns out bad.
    payload_valid : Out(1)
        One cycle for each of them.
    opening : Out(1)
        The frame has the kind and the length of OPEN. Then its payload is in ``nonce``, ...
    nonce : Out(32)
        ... which is the upper half of the header, where OPEN has nothing to say.
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
                "opening": Out(1),
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
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=4).create()

        # COBS: a code tells after how many bytes a zero is due. At most one byte comes out for each one that goes in.
        fresh = Signal(init=1)
        left = Signal(8)
        body = Signal(8)  # stays for two cycles, first ...
        body_first = Signal()
        body_valid = Signal()  # ... and second
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

        # The parts of a body, each counted down.
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
                    # The kind is still one byte from its place.
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
    offset_width
        How many low bits of an offset address the transmit ring.

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
    offset : Out(offset_width)
        Offset of the payload byte wanted in a frame of kind DATA.
    payload : In(8)
        The byte that was at ``offset`` in the cycle before.
    o : Out(stream.Signature(8))
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
        place = Signal(8)  # where the next byte of the frame goes; when it is complete, how many are still to send
        code_place = Signal(8)  # where the code of the present block goes; while sending, the byte on its way
        byte = Signal(8)
        stored = Signal(8)  # from a memory, a cycle after its output: that comes late

        identity_index = Signal(range(len(self.identity) + 1))
        m.d.comb += [
            memory.write_data.eq(byte),
            memory.write_address.eq(place),
            memory.address.eq(256 | identity_index),
            crc.data.eq(byte[4:]),
        ]
        m.d.sync += stored.eq(Mux(identify, memory.data, self.payload))
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

            # Three cycles a byte: choose it, put half of it into the CRC, ...
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

            # ... and write it.
            with m.State("WRITE"):
                m.d.comb += [memory.write_enable.eq(1), crc.valid.eq(~crc_part)]
                m.d.sync += [place.eq(place + 1), remaining.eq(remaining - 1)]
                with m.If(byte == 0):
                    m.d.comb += [memory.write_address.eq(code_place), memory.write_data.eq(code)]
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


class Link(Component):
    """The board's end of the host link.

    Parameters
    ----------
    parameters
        Sizes.
    identity
        The record that answers OPEN (:meth:`spikeloom.sim.host.link.Identity.encode`), constant.

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

    first_offset = 0
    """Offset of a session's first byte; only a test that wants to see offsets wrap soon has another one."""

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
        m.submodules.sender = sender = FrameSender(
            self.identity, offset_width=(parameters.transmit_buffer - 1).bit_length()
        )
        m.submodules.receiver = receiver = FrameReceiver(parameters.maximum_payload)

        m.submodules.receive_ring = receive_ring = ByteMemory(parameters.receive_buffer)
        m.submodules.transmit_ring = transmit_ring = ByteMemory(parameters.transmit_buffer)

        # Offsets modulo 65536. Those that stay on this side of the line need only tell a full ring from an empty one.
        receive_bits = parameters.receive_buffer.bit_length()
        transmit_bits = parameters.transmit_buffer.bit_length()
        expected = Signal(16)  # next byte from the host
        tentative = Signal(16)  # the same, with the payload of the frame that is coming in
        consumed = Signal(16)  # next byte to leave the ring for `receive`
        advertised = Signal(receive_bits)  # `consumed` as the host knows it
        written = Signal(transmit_bits)  # next byte from `transmit`
        sent = Signal(16)  # next byte to send
        acknowledged = Signal(16)  # next byte the host waits for
        limit = Signal(16)  # how far the host lets us send

        opened = Signal()
        nonce = Signal(8 * NONCE_BYTES)  # of this session
        identify = Signal()  # OPEN wants an answer
        answer = Signal()  # a frame wants an answer
        again = Signal()  # the answer shall say AGAIN
        reported = Signal()  # AGAIN has been said since the last frame in order

        # From the line into the receive ring. The header stands still while its payload comes.
        header = receiver.header
        room = Signal(receive_bits)
        accept = Signal()
        m.d.sync += [
            room.eq(consumed + parameters.receive_buffer - expected),
            accept.eq((header.sequence == expected) & (header.length <= room) & (header.kind.kind == Kind.DATA)),
        ]
        m.d.comb += [
            self.from_line.ready.eq(receiver.i.ready),
            receiver.i.valid.eq(self.from_line.valid),
            receiver.i.payload.eq(self.from_line.payload),
            receive_ring.write_address.eq(tentative),
            receive_ring.write_data.eq(receiver.payload),
            receive_ring.write_enable.eq(receiver.payload_valid & accept & opened),
        ]
        with m.If(receive_ring.write_enable):
            m.d.sync += tentative.eq(tentative + 1)
        # Room may come up in the middle of a frame that had too little: such a frame stays refused.
        refused = Signal()
        with m.If(receiver.payload_valid & ~accept):
            m.d.sync += refused.eq(1)

        # From the receive ring to the bridge, by a register; the byte after the one that goes is read in that cycle.
        upcoming = Signal(16)
        fetched = Signal()  # the ring's output is the byte at `consumed`
        offered = Signal()
        moves = Signal()
        m.d.comb += [
            moves.eq(fetched & (~offered | self.receive.ready)),
            upcoming.eq(consumed + moves),
            receive_ring.address.eq(upcoming),
            self.receive.valid.eq(offered & ~self.reset),
        ]
        m.d.sync += [consumed.eq(upcoming), fetched.eq(upcoming[:receive_bits] != expected[:receive_bits])]
        with m.If(moves):
            m.d.sync += [self.receive.payload.eq(receive_ring.data), offered.eq(1)]
        with m.Elif(self.receive.ready):
            m.d.sync += offered.eq(0)

        # From the bridge into the transmit ring.
        stored = Signal(transmit_bits)
        silence = Signal(range(parameters.idle_cycles + 1))
        full = Signal()
        difference = (written - acknowledged)[:transmit_bits]
        # One cycle late, so one place stays free for the byte that may come meanwhile.
        m.d.sync += [stored.eq(difference), full.eq(difference >= parameters.transmit_buffer - 1)]
        m.d.comb += [
            self.transmit.ready.eq(~full & opened & ~self.reset),
            transmit_ring.write_address.eq(written),
            transmit_ring.write_data.eq(self.transmit.payload),
            transmit_ring.write_enable.eq(self.transmit.valid & self.transmit.ready),
        ]
        with m.If(transmit_ring.write_enable):
            m.d.sync += [written.eq(written + 1), silence.eq(parameters.idle_cycles)]
        with m.Elif(silence != 0):
            m.d.sync += silence.eq(silence - 1)

        # From the transmit ring to the line. What could be sent is worked out in two steps, and takes two cycles to be
        # right after `sent`, `acknowledged` or `limit` has jumped: until then `settling`.
        waiting = Signal(transmit_bits)
        credit = Signal(signed(16))
        size = Signal(8)
        worthwhile = Signal()
        update = Signal()
        settling = Signal(range(4))
        largest = parameters.maximum_payload
        m.d.comb += [transmit_ring.address.eq(sender.offset), sender.payload.eq(transmit_ring.data)]
        m.d.sync += [
            waiting.eq(written - sent),
            credit.eq(limit - sent),
            size.eq(Mux(credit < largest, 0, Mux(waiting < largest, waiting, largest))),
            worthwhile.eq((waiting >= largest) | (silence == 0) | self.flush | full),
            update.eq((consumed - advertised)[receive_bits - 2 : receive_bits].any()),
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
        unanswered = Signal(transmit_bits)  # from ours to `sent`
        step_valid = Signal()
        step_beyond = Signal()  # ... and it is beyond `sent`, after we went back
        ahead = Signal()
        good = Signal()
        renew = Signal()
        resetting = Signal()
        with m.FSM():
            with m.State("WAIT"), m.If(receiver.done):
                m.d.sync += good.eq(receiver.good)
                m.next = "SUBTRACT"
            with m.State("SUBTRACT"):  # in a cycle of its own: a carry chain, and another to compare with
                m.d.comb += receiver.hold.eq(1)
                m.d.sync += [step.eq(header.acknowledge - acknowledged), unanswered.eq(sent - acknowledged)]
                m.next = "COMPARE"
            with m.State("COMPARE"):
                m.d.comb += receiver.hold.eq(1)
                m.d.sync += [
                    step_valid.eq(step <= stored),
                    step_beyond.eq(step[:transmit_bits] > unanswered),
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
                with m.Elif(known & receiver.opening):
                    m.d.comb += moved.eq(1)
                    m.d.sync += [identify.eq(1), resetting.eq(renew)]
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

        # From a register, as it goes to all that is behind the link; the header stands still for this cycle too.
        m.d.comb += self.reset.eq(resetting)
        with m.If(resetting):
            m.d.comb += [receiver.hold.eq(1), moved.eq(1)]
            m.d.sync += resetting.eq(0)
            for offset in (expected, tentative, consumed, advertised, written, sent, acknowledged, limit):
                m.d.sync += offset.eq(self.first_offset)
            m.d.sync += [
                opened.eq(1),
                nonce.eq(receiver.nonce),
                fetched.eq(0),
                offered.eq(0),
                answer.eq(0),
                again.eq(0),
                reported.eq(0),
                settling.eq(3),
            ]

        return m
