"""Encodes packets from the fabric and read data as bytes for the host."""

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.noc.packet import PacketKind, packet_layout
from spikeloom.sim.host.messages import AXON_BYTES, COUNT_BYTES, DISTANCE_BITS, VALUE_BYTES, Opcode

__all__ = ["AnswerEncoder"]


class AnswerEncoder(wiring.Component):
    """Encodes packets and read data as bytes for the host.

    Parameters
    ----------
    axon_width, value_width
        Widths in a packet.
    graded
        A SPIKE with a value other than 1 is sent to the host as a VALUE.
    several
        Several tiles may send packets. Packets of the step after the one in progress are marked by AHEAD.
    latency
        Cycles from a request at the configuration port to its read data.

    Members
    -------
    i : Stream(packet_layout(axon_width, value_width)), in
        Packets.
    o : Stream(8), out
        Bytes.
    flush : Signal, out
        The last message ended a sample or was read data, and no byte has followed.
    hold : Signal, in
        Stall TICKs that go to the host.
    quiet : Signal, in
        Send only the TICKs that end a sample.
    parity : Signal, out
        Parity of the current packet.
    acknowledged, ticked, event : Signal, out
        High for one cycle when an ACK has been taken, a TICK has been taken, or a spike or membrane has been sent.
    complete, step_parity : Signal, in
        ``complete``: a TICK of ``parity`` ends its step; no other TICK goes to the host. ``step_parity``: the parity of
        the step in progress.
    clear : Signal, in
        Drop the current packet; the next spike is the first of a step.
    reading : Signal, in
    count : Signal(8 * COUNT_BYTES), in
    read_data : Signal(8), in
    read_next, read_done : Signal, out
        As for `RequestDecoder`; ``read_data`` belongs to the index of ``latency`` cycles earlier.
    """

    def __init__(
        self, axon_width: int, value_width: int, *, graded: bool = False, several: bool = False, latency: int = 1
    ) -> None:
        self.axon_width = axon_width
        self.value_width = value_width
        self.graded = graded
        self.several = several
        self.latency = latency
        super().__init__(
            {
                "i": In(stream.Signature(packet_layout(axon_width, value_width))),
                "o": Out(stream.Signature(8)),
                "flush": Out(1),
                "hold": In(1),
                "quiet": In(1),
                "parity": Out(1),
                "acknowledged": Out(1),
                "ticked": Out(1),
                "event": Out(1),
                "complete": In(1),
                "step_parity": In(1),
                "clear": In(1),
                "reading": In(1),
                "count": In(8 * COUNT_BYTES),
                "read_data": In(8),
                "read_next": Out(1),
                "read_done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()

        # The current packet. Its axon and value are shifted out byte by byte.
        packet = self.i.payload
        valid = Signal()
        kind = Signal(PacketKind)
        last = Signal()
        number_bits = 8 * (AXON_BYTES + VALUE_BYTES)
        numbers = Signal(number_bits, reset_less=True)
        # `leave` ends the packet and accepts the next one in the same cycle. `drop` ends it and leaves a cycle before
        # the next one, in which `previous` changes.
        leave, drop = Signal(), Signal()
        shift = Signal()
        # A graded spike with the value 1 is sent like any other spike, usually in one byte.
        is_valued = (packet.kind == PacketKind.SPIKE) & (packet.value != 1) if self.graded else Const(0)
        m.d.comb += self.i.ready.eq(~valid | leave)
        with m.If(self.i.ready):
            m.d.sync += [
                valid.eq(self.i.valid),
                kind.eq(Mux(is_valued, PacketKind.MEMBRANE, packet.kind)),
                last.eq(packet.last),
                self.parity.eq(packet.parity),
                numbers[: 8 * AXON_BYTES].eq(packet.axon),
                # This assignment sign-extends, since `value` is signed.
                numbers[8 * AXON_BYTES :].eq(packet.value),
            ]
        with m.Elif(shift):
            m.d.sync += numbers.eq(numbers >> 8)
        with m.If(drop | self.clear):
            m.d.sync += valid.eq(0)

        # The distance to the axon after the previous spike, computed as the packet arrives, because it selects the
        # first byte of the message. Adding the inverted `previous` subtracts `previous + 1`.
        # It is -1 before the first spike of a step, so that axon 0 has the distance 0.
        previous = Signal(signed(self.axon_width + 1), init=-1)
        distance = Signal(max(self.axon_width, DISTANCE_BITS) + 1, reset_less=True)
        is_near = distance[DISTANCE_BITS:] == 0
        with m.If(self.i.ready):
            m.d.sync += distance.eq(packet.axon + ~previous)
            with m.If(self.i.valid & (packet.kind == PacketKind.SPIKE) & ~is_valued):
                m.d.sync += previous.eq(packet.axon)
            if not self.several:
                with m.If(self.i.valid & (packet.kind == PacketKind.TICK)):
                    m.d.sync += previous.eq(-1)
        with m.If(drop | self.clear):
            m.d.sync += previous.eq(-1)

        # The output register.
        byte_valid = Signal()
        byte = Signal(8, reset_less=True)
        following = Signal(8)
        give = Signal()
        free = ~byte_valid | self.o.ready
        m.d.comb += [self.o.valid.eq(byte_valid), self.o.payload.eq(byte)]
        with m.If(free):
            m.d.sync += [byte_valid.eq(give), byte.eq(following)]

        # With several tiles, one may be a step ahead of another. AHEAD toggles between the step in progress and the
        # next one, so it is sent only when the parity of a packet differs from that of the packet before.
        ahead, turn = Signal(), Signal()
        if self.several:
            m.d.comb += turn.eq((self.parity ^ self.step_parity) != ahead)

        left = Signal(3)
        # Cycles since the index of the current byte has been on the configuration port.
        waited = Signal(range(self.latency))
        flushing = Signal()
        m.d.comb += self.flush.eq(flushing & ~byte_valid)
        with m.If(give):
            m.d.sync += flushing.eq(0)

        with m.FSM():
            with m.State("MESSAGE"):
                with m.If(self.reading):
                    m.d.comb += [give.eq(1), following.eq(Opcode.READ)]
                    with m.If(free):
                        m.next = "COUNT LOW"
                with m.Elif(valid), m.Switch(kind):
                    with m.Case(PacketKind.ACK):
                        m.d.comb += [self.acknowledged.eq(1), leave.eq(1)]
                    with m.Case(PacketKind.TICK):
                        # Two kinds of TICK are not sent: one that does not end the host's step and, in quiet mode, one
                        # that does not end a sample. The latter still waits for `hold`, because the fabric is owed an
                        # ACK for it.
                        with m.If(~self.complete | (self.quiet & ~last & ~self.hold)):
                            m.d.comb += [leave.eq(1), self.ticked.eq(1)]
                        with m.Else():
                            m.d.comb += [give.eq(~self.hold), following.eq(Opcode.TICK | last)]
                            with m.If(free & ~self.hold):
                                # With several tiles not every TICK restarts the distances. They restart one cycle
                                # later, so the next packet has to wait.
                                m.d.comb += [(drop if self.several else leave).eq(1), self.ticked.eq(1)]
                                m.d.sync += [flushing.eq(last), ahead.eq(0)]
                    with m.Default():
                        m.d.comb += give.eq(1)
                        with m.If(turn):
                            m.d.comb += following.eq(Opcode.AHEAD)
                            with m.If(free):
                                m.d.sync += ahead.eq(~ahead)
                        with m.Elif(kind == PacketKind.SPIKE):
                            with m.If(is_near):
                                m.d.comb += following.eq(Opcode.SPIKE | distance[:DISTANCE_BITS])
                            with m.Else():
                                m.d.comb += following.eq(Opcode.ABSOLUTE)
                            with m.If(free):
                                m.d.comb += [leave.eq(is_near), self.event.eq(1)]
                                m.d.sync += left.eq(AXON_BYTES - 1)
                                with m.If(~is_near):
                                    m.next = "NUMBERS"
                        with m.Else():
                            m.d.comb += following.eq(Opcode.VALUE)
                            with m.If(free):
                                m.d.comb += self.event.eq(1)
                                m.d.sync += left.eq(AXON_BYTES + VALUE_BYTES - 1)
                                m.next = "NUMBERS"
            with m.State("NUMBERS"):
                m.d.comb += [give.eq(1), following.eq(numbers[:8])]
                with m.If(free):
                    m.d.comb += shift.eq(1)
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 0):
                        m.d.comb += leave.eq(1)
                        m.next = "MESSAGE"
            with m.State("COUNT LOW"):
                m.d.comb += [give.eq(1), following.eq(self.count[:8])]
                with m.If(free):
                    m.next = "COUNT HIGH"
            with m.State("COUNT HIGH"):
                m.d.comb += [give.eq(1), following.eq(self.count[8:])]
                with m.If(free):
                    m.next = "FETCH"
            with m.State("FETCH"):
                # Wait for the read data of this index; a count of 0 ends the message.
                m.d.sync += waited.eq(waited + 1)
                with m.If(waited == self.latency - 1):
                    m.d.sync += waited.eq(0)
                    m.next = "DATA"
                with m.If(self.count == 0):
                    m.d.sync += waited.eq(0)
                    m.d.comb += self.read_done.eq(1)
                    m.d.sync += flushing.eq(1)
                    m.next = "MESSAGE"
            with m.State("DATA"):
                m.d.comb += [give.eq(1), following.eq(self.read_data)]
                with m.If(free):
                    m.d.comb += self.read_next.eq(1)
                    m.next = "FETCH"
        return m
