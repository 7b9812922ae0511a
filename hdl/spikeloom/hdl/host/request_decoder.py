"""Decodes bytes from the host into packets and into reads and writes of the configuration port."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.host.encoder import event_layout
from spikeloom.sim.host.messages import ADDRESS_BYTES, COUNT_BYTES, DISTANCE_BITS, LARGEST_SKIP, Opcode

__all__ = ["RequestDecoder"]

SKIP_BITS = (LARGEST_SKIP - 1).bit_length()

SETTLING = 4
"""Cycles from the last byte of a WRITE to the next message, plus the latency to the tile. The write thus takes effect
before a later packet reaches the tile."""


class RequestDecoder(wiring.Component):
    """Decodes the host's bytes into packets and into reads and writes of the configuration port.

    Parameters
    ----------
    axon_width
        Width of the axon in a packet.
    latency
        Cycles from a request at the configuration port to its read data.

    Members
    -------
    i : Stream(8), in
        Bytes; ``ready`` is registered.
    packets : Stream(packet), out
        Spikes and TICKs, without parity.
    credit : Signal, in
        A packet may be sent.
    clear : Signal, in
        The next spike is the first of a step.
    unknown, beyond : Signal, out
        High for one cycle when a byte starts no known message, or when a spike or skip exceeds the last axon.
    tile : Signal(8), out
    memory : Signal(4), out
    plane : Signal(10), out
    index : Signal(18), out
    write_enable : Signal, out
    write_data : Signal(8), out
        The configuration port.
    reading : Signal, out
    count : Signal(8 * COUNT_BYTES), out
    read_next, read_done : Signal, in
        ``reading`` requests a READ of ``count`` bytes from ``index`` on. ``read_next`` advances to the next byte;
        ``read_done`` ends the read at a ``count`` of 0.
    """

    def __init__(self, axon_width: int, latency: int = 1) -> None:
        self.axon_width = axon_width
        self.latency = latency
        packet = event_layout(axon_width)
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "packets": Out(stream.Signature(packet)),
                "credit": In(1),
                "clear": In(1),
                "unknown": Out(1),
                "beyond": Out(1),
                "tile": Out(8),
                "memory": Out(4),
                "plane": Out(10),
                "index": Out(18),
                "write_enable": Out(1),
                "write_data": Out(8),
                "reading": Out(1),
                "count": Out(8 * COUNT_BYTES),
                "read_next": In(1),
                "read_done": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()

        # A skid buffer of two bytes: neither decoding nor the receive memory is on the path of the other.
        byte, spare = Signal(8, reset_less=True), Signal(8, reset_less=True)
        valid, spare_valid = Signal(), Signal()
        take = Signal()
        m.d.comb += self.i.ready.eq(~spare_valid)
        with m.If(~valid | take):
            m.d.sync += [
                valid.eq(spare_valid | self.i.valid),
                byte.eq(Mux(spare_valid, spare, self.i.payload)),
                spare_valid.eq(0),
            ]
        with m.Elif(~spare_valid):
            m.d.sync += [spare_valid.eq(self.i.valid), spare.eq(self.i.payload)]

        # The axon is the previous one plus a distance, which is the number in the message plus one. Subtracting the
        # inverted number (`spike_back`, `skip_back`) adds this one without a second carry chain. The width leaves room
        # for the largest skip, so that an overflow is always detected.
        width = max(self.axon_width, DISTANCE_BITS + SKIP_BITS) + 2
        previous = Signal(signed(width), init=-1)
        spike_back = Cat(~byte[:DISTANCE_BITS], Const(-1, width - DISTANCE_BITS)).as_signed()
        skip_back = Cat(Const(0, DISTANCE_BITS), ~byte[:SKIP_BITS], Const(-1, width - DISTANCE_BITS - SKIP_BITS))
        axon = Signal(width)
        outside = Signal()
        m.d.comb += [
            axon.eq(previous - Mux(byte[7], spike_back, skip_back.as_signed())),
            outside.eq(axon[self.axon_width :].any()),
            self.packets.payload.axon.eq(axon),
            self.packets.payload.tick.eq(~byte[7]),
            self.packets.payload.last.eq(~byte[7] & byte[0]),
        ]

        moving = Signal()  # a SPIKE or a SKIP is taken
        with m.If(moving & ~outside):
            m.d.sync += previous.eq(axon)
        m.d.comb += self.beyond.eq(moving & outside)

        # The header arrives lowest byte first and is shifted in from the top. Both counters then run in place.
        is_read = Signal()
        settling = SETTLING + self.latency - 1
        position = Signal(range(max(ADDRESS_BYTES + COUNT_BYTES, settling) + 1))
        address = Signal(8 * ADDRESS_BYTES)
        start = 0
        for member in (self.index, self.plane, self.memory, self.tile):
            m.d.comb += member.eq(address[start : start + len(member)])
            start += len(member)
        m.d.comb += self.write_data.eq(byte)
        with m.If(self.write_enable | self.read_next):
            m.d.sync += [address[: len(self.index)].eq(self.index + 1), self.count.eq(self.count - 1)]

        with m.FSM():
            with m.State("MESSAGE"), m.If(valid):
                m.d.comb += moving.eq(take & (byte[6:] != 0))
                m.d.sync += [position.eq(0), is_read.eq(byte[1])]
                is_tick = (byte[6:] == 0) & (byte[1:6] == Opcode.TICK >> 1)
                with m.If(byte[7] | is_tick):
                    # `outside` comes from a long carry chain. It suppresses the packet but not the consumption of the
                    # byte, to keep it off the path of `take`.
                    m.d.comb += [
                        self.packets.valid.eq(self.credit & ~(byte[7] & outside)),
                        take.eq(self.credit & self.packets.ready),
                    ]
                    with m.If(take & is_tick):
                        m.d.sync += previous.eq(-1)
                with m.Elif(byte[6]):
                    m.d.comb += take.eq(1)
                with m.Else():
                    m.d.comb += take.eq(1)
                    with m.If((byte == Opcode.WRITE) | (byte == Opcode.READ)):
                        m.next = "HEADER"
                    with m.Else():
                        m.d.comb += self.unknown.eq(1)
            with m.State("HEADER"), m.If(valid):
                m.d.comb += take.eq(1)
                m.d.sync += [Cat(address, self.count).eq(Cat(address[8:], self.count, byte)), position.eq(position + 1)]
                with m.If(position == ADDRESS_BYTES + COUNT_BYTES - 1):
                    m.d.sync += position.eq(0)
                    m.next = "WRITE"
                    with m.If(is_read):
                        m.next = "READ"
            with m.State("WRITE"):
                with m.If(self.count == 0):
                    m.next = "SETTLE"
                with m.Elif(valid):
                    m.d.comb += [take.eq(1), self.write_enable.eq(1)]
            with m.State("SETTLE"):
                m.d.sync += position.eq(position + 1)
                with m.If(position == settling - 1):
                    m.next = "MESSAGE"
            with m.State("READ"):
                m.d.comb += self.reading.eq(1)
                with m.If(self.read_done):
                    m.next = "MESSAGE"

        with m.If(self.clear):
            m.d.sync += previous.eq(-1)
        return m
