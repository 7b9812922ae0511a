"""The board's end of the host link: reliable byte streams over a line that loses, corrupts and inserts bytes.

``docs/link.md`` describes the frames and the protocol; :mod:`spikeloom.sim.host.link` specifies them in Python.

::

    from_line ─▶ FrameReceiver ─▶ receive ring ─▶ receive ─▶ (host bridge)
                      │ acknowledge, limit, again
                      ▼
    to_line ◀── FrameSender ◀── transmit ring ◀── transmit ◀─ (host bridge)

A payload is written to the receive ring as it arrives, after the accepted bytes, and is committed when the whole frame
has been checked. The transmit ring keeps each byte until the host has acknowledged it.

The receiver never waits for the sender, so the link cannot deadlock. The receiver takes two cycles per byte (the CRC is
computed four bits at a time), the sender four (three to build a block of the frame, one to send it) and one or
two more per block.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from spikeloom.hdl.host.frames import FrameReceiver, FrameSender
from spikeloom.hdl.lib.byte_memory import ByteMemory
from spikeloom.sim.host.link import NONCE_BYTES, OFFSET_BYTES, Kind, LinkParameters

__all__ = ["Link"]


class Link(Component):
    """The board's end of the host link.

    Parameters
    ----------
    parameters
        Sizes of buffers and frames.
    identity
        The constant record sent in reply to OPEN (:meth:`spikeloom.sim.host.identity.Identity.encode`).

    Members
    -------
    from_line : Stream(8), in
        Bytes from the UART or another transport.
    to_line : Stream(8), out
        Bytes to the UART or another transport.
    receive : Stream(8), out
        The host's bytes, each once and in order.
    transmit : Stream(8), in
        Bytes for the host.
    flush : Signal, in
        While high, bytes in the transmit ring are sent immediately. Otherwise a frame is sent when it is full or when
        no byte has been transmitted for ``idle_cycles``.
    reset : Signal, out
        High for one cycle when the host begins a session; it must reset all logic behind the link. Neither stream
        transfers a byte in this cycle, and both are empty afterwards. Only then is an offered byte withdrawn.
    """

    first_offset = 0
    """Offset of the first byte of a session. Tests change it to reach the wrap-around of offsets sooner."""

    def __init__(self, parameters: LinkParameters, identity: bytes):
        if not isinstance(parameters, LinkParameters):
            raise TypeError(f"parameters must be LinkParameters, not {parameters!r}")
        if not isinstance(identity, bytes):
            raise TypeError(f"identity must be bytes, not {identity!r}")
        largest = min(128, parameters.maximum_payload - NONCE_BYTES)
        # Only the low bytes of offsets take part in the arithmetic of the rings. Half of their range must hold four
        # times the larger ring.
        self.low_bytes = 2 if 4 * max(parameters.receive_buffer, parameters.transmit_buffer) <= 1 << 15 else 3
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
            self.identity,
            maximum_payload=parameters.maximum_payload,
            offset_width=(parameters.transmit_buffer - 1).bit_length(),
        )
        m.submodules.receiver = receiver = FrameReceiver(parameters.maximum_payload, low_bytes=self.low_bytes)

        m.submodules.receive_ring = receive_ring = ByteMemory(parameters.receive_buffer)
        m.submodules.transmit_ring = transmit_ring = ByteMemory(parameters.transmit_buffer)

        # Offsets are modulo 2^32. The low part of each is a register of its own, for the arithmetic. All offsets of a
        # direction are within two rings of each other, so one high part, that of a base, serves them all: an offset
        # ahead of the base has the same high part, or the next one if the low part of the base begins with a 1 and its
        # own with a 0. Offsets that are not sent over the line have just enough bits to distinguish a full ring from an
        # empty one.
        low_bits = 8 * self.low_bytes
        high_bits = 8 * OFFSET_BYTES - low_bits
        receive_bits = parameters.receive_buffer.bit_length()
        transmit_bits = parameters.transmit_buffer.bit_length()
        expected = Signal(low_bits)  # next byte from the host
        expected_high = Signal(high_bits)
        tentative = Signal(low_bits)  # `expected` plus the payload received so far of the current frame
        consumed = Signal(low_bits)  # next byte to leave the ring for `receive`
        advertised = Signal(receive_bits)  # `consumed` as last reported to the host
        written = Signal(transmit_bits)  # next byte from `transmit`
        sent = Signal(low_bits)  # next byte to send
        acknowledged = Signal(low_bits)  # next byte that the host expects
        acknowledged_high = Signal(high_bits)
        limit = Signal(low_bits)  # end of the window that the host grants, unless it is far ahead or behind
        limit_far = Signal()
        limit_behind = Signal()

        def high_part(base_high: Value, base: Value, ahead: Value) -> Value:
            """High part of ``ahead``, which is less than half of the low part ahead of ``base``."""
            return base_high + (base[-1] & ~ahead[-1])

        opened = Signal()
        nonce = Signal(8 * NONCE_BYTES)  # nonce of this session
        identify = Signal()  # OPEN needs a reply
        answer = Signal()  # a frame needs a reply
        again = Signal()  # the reply is a NAK (flag AGAIN)
        reported = Signal()  # a NAK has been sent since the last frame in order

        # From the line to the receive ring. The header is stable while its payload arrives, so `accept` may lag by the
        # two registers that keep the subtraction and the comparison apart.
        room = Signal(receive_bits)
        accept = Signal()
        m.d.sync += [
            room.eq(consumed + parameters.receive_buffer - expected),
            accept.eq(receiver.in_order & (receiver.length <= room) & (receiver.kind.kind == Kind.DATA)),
        ]
        m.d.comb += [
            self.from_line.ready.eq(receiver.i.ready),
            receiver.i.valid.eq(self.from_line.valid),
            receiver.i.payload.eq(self.from_line.payload),
            receiver.expected.eq(Cat(expected, expected_high)),
            receiver.acknowledged.eq(Cat(acknowledged, acknowledged_high)),
            receive_ring.write_address.eq(tentative),
            receive_ring.write_data.eq(receiver.payload),
            receive_ring.write_enable.eq(receiver.payload_valid & accept & opened),
        ]
        with m.If(receive_ring.write_enable):
            m.d.sync += tentative.eq(tentative + 1)
        # Space may become free in the middle of a frame that did not fit. Its first bytes are lost, so the frame stays
        # refused.
        refused = Signal()
        with m.If(receiver.payload_valid & ~accept):
            m.d.sync += refused.eq(1)

        # From the receive ring to the bridge, through a register. The ring is addressed with the next value of
        # `consumed`, so that a byte can move in every cycle despite the read latency.
        upcoming = Signal(low_bits)
        fetched = Signal()  # the ring's output is the byte at `consumed`
        offered = Signal()
        moves = Signal()
        m.d.comb += [
            moves.eq(fetched & (~offered | self.receive.ready)),
            upcoming.eq(consumed + moves),
            receive_ring.address.eq(upcoming),
            self.receive.valid.eq(offered & ~self.reset),
        ]
        # A byte is read again if another one was stored in that cycle: they may share a row of the block RAM. Bytes
        # arrive in every other cycle at most, so the reads keep up.
        some = upcoming[:receive_bits] != expected[:receive_bits]
        m.d.sync += [consumed.eq(upcoming), fetched.eq(some & ~receive_ring.write_enable)]
        with m.If(moves):
            m.d.sync += [self.receive.payload.eq(receive_ring.data), offered.eq(1)]
        with m.Elif(self.receive.ready):
            m.d.sync += offered.eq(0)

        # From the bridge into the transmit ring.
        stored = Signal(transmit_bits)
        silence = Signal(range(parameters.idle_cycles + 1))
        full = Signal()
        difference = (written - acknowledged)[:transmit_bits]
        # `full` lags by one cycle, so one place is reserved for a byte that is accepted meanwhile.
        m.d.sync += [stored.eq(difference), full.eq(difference >= parameters.transmit_buffer - 1)]
        m.d.comb += [
            self.transmit.ready.eq(~full & opened & ~self.reset & ~sender.reading),
            transmit_ring.write_address.eq(written),
            transmit_ring.write_data.eq(self.transmit.payload),
            transmit_ring.write_enable.eq(self.transmit.valid & self.transmit.ready),
        ]
        with m.If(transmit_ring.write_enable):
            m.d.sync += [written.eq(written + 1), silence.eq(parameters.idle_cycles)]
        with m.Elif(silence != 0):
            m.d.sync += silence.eq(silence - 1)

        # From the transmit ring to the line. The payload size is computed in two pipeline stages and is not valid
        # until these have settled after a jump of `sent`, `acknowledged` or `limit`, as `settling` counts.
        waiting = Signal(transmit_bits)
        credit = Signal(signed(low_bits))  # exact unless the limit is far ahead or behind
        size = Signal(range(parameters.maximum_payload + 1))
        worthwhile = Signal()
        update = Signal()
        settling = Signal(range(4))
        largest = parameters.maximum_payload
        m.d.comb += [transmit_ring.address.eq(sender.offset), sender.payload.eq(transmit_ring.data)]
        m.d.sync += [
            waiting.eq(written - sent),
            credit.eq(limit - sent),
            size.eq(Mux(limit_behind | ((credit < largest) & ~limit_far), 0, Mux(waiting < largest, waiting, largest))),
            worthwhile.eq((waiting >= largest) | (silence == 0) | self.flush | full),
            update.eq((consumed - advertised)[receive_bits - 2 : receive_bits].any()),
        ]
        with m.If(settling != 0):
            m.d.sync += settling.eq(settling - 1)

        # The header of an outgoing frame. A frame from the host may change these values; `moved` then cancels a start
        # of the sender in the same cycle.
        moved = Signal()
        offered_limit = Signal(low_bits)
        m.d.comb += [
            sender.nonce.eq(nonce),
            sender.header.kind.kind.eq(Mux(identify, Kind.IDENTITY, Kind.DATA)),
            sender.header.kind.again.eq(again & ~identify),
            sender.header.sequence.eq(Cat(sent, high_part(acknowledged_high, acknowledged, sent)[:high_bits])),
            sender.header.acknowledge.eq(Cat(expected, expected_high)),
            offered_limit.eq(consumed + parameters.receive_buffer),
            sender.header.limit.eq(Cat(offered_limit, high_part(expected_high, expected, offered_limit)[:high_bits])),
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

        # A received frame is evaluated in three cycles, one per carry chain: subtract, compare, apply.
        step = Signal(low_bits)  # number of bytes newly acknowledged by the host
        unanswered = Signal(transmit_bits)  # number of bytes sent but not acknowledged
        step_valid = Signal()
        step_beyond = Signal()  # the acknowledgement is beyond `sent`, which had been set back for retransmission
        good = Signal()
        renew = Signal()
        resetting = Signal()
        with m.FSM():
            with m.State("WAIT"), m.If(receiver.done):
                m.d.sync += good.eq(receiver.good)
                m.next = "SUBTRACT"
            with m.State("SUBTRACT"):
                m.d.comb += receiver.hold.eq(1)
                m.d.sync += [step.eq(receiver.acknowledge - acknowledged), unanswered.eq(sent - acknowledged)]
                m.next = "COMPARE"
            with m.State("COMPARE"):
                m.d.comb += receiver.hold.eq(1)
                m.d.sync += [
                    step_valid.eq(receiver.acknowledge_near & (step <= stored)),
                    step_beyond.eq(step[:transmit_bits] > unanswered),
                    renew.eq(~opened | (nonce != receiver.nonce)),
                ]
                m.next = "APPLY"
            with m.State("APPLY"):
                m.d.comb += receiver.hold.eq(1)
                m.next = "WAIT"
                m.d.sync += [tentative.eq(expected), refused.eq(0)]
                known = receiver.kind.zero == 0
                with m.If(~good):
                    m.d.sync += [reported.eq(1), answer.eq(answer | ~reported), again.eq(again | ~reported)]
                with m.Elif(known & receiver.opening):
                    m.d.comb += moved.eq(1)
                    m.d.sync += [identify.eq(1), resetting.eq(renew)]
                with m.Elif(known & (receiver.kind.kind == Kind.DATA) & opened):
                    m.d.comb += moved.eq(1)
                    with m.If(step_valid):
                        m.d.sync += [
                            acknowledged.eq(receiver.acknowledge),
                            acknowledged_high.eq(high_part(acknowledged_high, acknowledged, receiver.acknowledge)),
                            limit.eq(receiver.limit),
                            limit_far.eq(~receiver.limit_near & ~receiver.limit_behind),
                            limit_behind.eq(receiver.limit_behind),
                            settling.eq(3),
                        ]
                        with m.If(receiver.kind.again | step_beyond):
                            m.d.sync += sent.eq(receiver.acknowledge)
                    with m.If(accept & ~refused & (receiver.length != 0)):
                        m.d.sync += [
                            expected.eq(tentative),
                            expected_high.eq(high_part(expected_high, expected, tentative)),
                            reported.eq(0),
                            tentative.eq(tentative),
                        ]
                    with m.Elif(receiver.ahead & (receiver.kind.reply | ~reported)):
                        m.d.sync += [reported.eq(1), answer.eq(1), again.eq(1)]
                    with m.If((receiver.length != 0) | receiver.kind.reply):
                        m.d.sync += answer.eq(1)

        # The reset is registered, because it fans out to all logic behind the link. `hold` keeps the nonce stable for
        # this cycle.
        m.d.comb += self.reset.eq(resetting)
        with m.If(resetting):
            m.d.comb += [receiver.hold.eq(1), moved.eq(1)]
            m.d.sync += resetting.eq(0)
            for offset in (expected, tentative, consumed, advertised, written, sent, acknowledged, limit):
                m.d.sync += offset.eq(self.first_offset & ((1 << len(offset)) - 1))
            m.d.sync += [
                expected_high.eq(self.first_offset >> low_bits),
                acknowledged_high.eq(self.first_offset >> low_bits),
                limit_far.eq(0),
                limit_behind.eq(0),
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
