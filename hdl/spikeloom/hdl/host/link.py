"""The board's end of the host link: reliable byte streams over a line that loses, flips and adds bytes.

``docs/link.md`` has the frames and the rules, :mod:`spikeloom.sim.host.link` specifies them in Python.

::

    from_line ─▶ FrameReceiver ─▶ receive ring ─▶ receive ─▶ (host bridge)
                      │ acknowledge, limit, again
                      ▼
    to_line ◀── FrameSender ◀── transmit ring ◀── transmit ◀─ (host bridge)

A payload is written to the receive ring as it comes, behind what has been accepted; it counts from the moment in which
the whole frame has proved right. The transmit ring keeps each byte until the host has acknowledged it.

The receiving side waits for nothing but itself, so the link cannot deadlock. It takes two cycles per byte (the CRC is
worked out four bits at a time), the sending side four (three to build a frame, one to send it).
"""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from spikeloom.hdl.host.frames import FrameReceiver, FrameSender
from spikeloom.hdl.lib.byte_memory import ByteMemory
from spikeloom.sim.host.link import NONCE_BYTES, Kind, LinkParameters

__all__ = ["Link"]


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
    from_line : Stream(8), in
        Bytes from the UART.
    to_line : Stream(8), out
        Bytes to the UART.
    receive : Stream(8), out
        The host's bytes, each once and in order.
    transmit : Stream(8), in
        Bytes for the host.
    flush : Signal, in
        While high, what waits in the transmit ring is sent at once; otherwise a frame is sent when it is full or when
        nothing has come for ``idle_cycles``.
    reset : Signal, out
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
