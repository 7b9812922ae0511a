"""Decodes bytes from the host into packets and into reads and writes of the configuration port."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.host.encoder import event_layout
from spikeloom.sim.host.messages import (
    ADDRESS_BYTES,
    AXON_BYTES,
    COUNT_BYTES,
    DISTANCE_BITS,
    LARGEST_SKIP,
    RUN_BITS,
    VALUE_BYTES,
    Opcode,
)
from spikeloom.sim.lib.registers import INDEX_WIDTH, MOST_MEMORIES, PLANE_WIDTH
from spikeloom.sim.lib.words import bits_for

__all__ = ["RequestDecoder"]

# Bits of the number in a SKIP.
SKIP_BITS = (LARGEST_SKIP - 1).bit_length()

_INDEX = 2
"""Bytes of an address in front of the index."""

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
    tile_width, index_width, plane_width
        Widths of the address. The top bit of ``tile`` is set if any higher bit of the number is, so that even a narrow
        ``tile`` distinguishes existing from nonexistent tiles.
    value_width
        Width of the value of a spike; 0 if the host sends no values. VALUE and RUN are then unknown messages.
    read_back
        A READ may address a memory. It then settles like a WRITE, so that the memory is available to the tile again
        before a packet reaches it.

    Members
    -------
    i : Stream(8), in
        Bytes; ``ready`` is registered.
    packets : Stream(event_layout(axon_width, value_width)), out
        Spikes and TICKs, without parity.
    credit : Signal, in
        A packet may be sent.
    clear : Signal, in
        The next spike is the first of a step.
    unknown, beyond, too_large : Signal, out
        High for one cycle when a byte starts no known message, when a spike or skip exceeds the last axon, or when a
        value does not fit.
    tile : Signal(tile_width), out
    memory : Signal(4), out
    plane : Signal(plane_width), out
    index : Signal(index_width), out
    write_enable : Signal, out
    write_data : Signal(8), out
        The configuration port.
    outside : Signal, out
        The byte to be read or written has an address beyond these widths; ``write_enable`` stays low for it.
    misplaced : Signal, out
        High for one cycle when such a byte is dropped or read.
    reading : Signal, out
    count : Signal(8 * COUNT_BYTES), out
    read_next, read_done : Signal, in
        ``reading`` requests a READ of ``count`` bytes from ``index`` on. ``read_next`` advances to the next byte;
        ``read_done`` ends the read at a ``count`` of 0.
    """

    def __init__(
        self,
        axon_width: int,
        latency: int = 1,
        *,
        tile_width: int = 8,
        index_width: int = INDEX_WIDTH,
        plane_width: int = PLANE_WIDTH,
        value_width: int = 0,
        read_back: bool = False,
    ) -> None:
        self.axon_width = axon_width
        self.latency = latency
        self.value_width = value_width
        self.read_back = read_back
        packet = event_layout(axon_width, value_width)
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "packets": Out(stream.Signature(packet)),
                "credit": In(1),
                "clear": In(1),
                "unknown": Out(1),
                "beyond": Out(1),
                "too_large": Out(1),
                "tile": Out(tile_width),
                "memory": Out(bits_for(MOST_MEMORIES)),
                "plane": Out(plane_width),
                "index": Out(index_width),
                "outside": Out(1),
                "misplaced": Out(1),
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
        if self.value_width:
            m.d.comb += self.packets.payload.value.eq(1)

        # Each byte of the header goes to its register. A set bit without a register means an address that the fabric
        # does not have. So does the carry out of the index, which therefore never wraps around. Then index, plane and
        # count run in place: in byte-lane order `plane` equals `last_plane` all the time, so the index advances with
        # every byte; in whole-word order `plane` runs from 0 to `last_plane` first.
        code = Signal(5)  # the lowest bits of the opcode
        is_read, is_words, is_run, is_valued = code[1], code[2], code[3], code[4] & (self.value_width > 0)
        # A value has its axon in the place of the index.
        index = Signal(max(len(self.index), self.axon_width if self.value_width else 0))
        ended = Signal()  # a set bit without a register, or a carry
        settling = SETTLING + self.latency - 1
        position = Signal(range(max(ADDRESS_BYTES + COUNT_BYTES, settling) + 1))
        last_plane = Signal.like(self.plane)
        step, following = Signal(), Signal(len(index) + 1)
        m.d.comb += [
            self.index.eq(index),
            self.outside.eq(ended | index[len(self.index) :].any()),
            self.write_data.eq(byte),
            self.misplaced.eq(step & ~is_valued & self.outside),
            following.eq(index + 1),
        ]
        with m.If(step):
            m.d.sync += [self.count.eq(self.count - 1), self.plane.eq(self.plane + 1)]
            with m.If((self.plane == last_plane) | is_valued):
                m.d.sync += [index.eq(following), self.plane.eq(Mux(is_words, 0, last_plane))]
                with m.If(following[-1]):
                    m.d.sync += ended.eq(1)

        # The bytes of a VALUE are shifted in from the top; those of a RUN hold one or several values, the first in the
        # lowest bits.
        number = Signal(8 * VALUE_BYTES)
        place = Signal(3)  # of the value within its byte
        value, given, done = Signal(signed(8 * VALUE_BYTES)), Signal(), Signal()
        if self.value_width:
            kept = value[: self.value_width].as_signed()
            is_axon = ~(ended | index[self.axon_width :].any())
            some, fits = Signal(), Signal()
            m.d.comb += [some.eq(value != 0), fits.eq(value == kept)]
            with m.If(given):
                # A value that is dropped does not wait for the fabric.
                sent = some & fits & is_axon
                m.d.comb += [
                    self.packets.valid.eq(self.credit & sent),
                    self.packets.payload.tick.eq(0),
                    self.packets.payload.last.eq(0),
                    self.packets.payload.axon.eq(index),
                    self.packets.payload.value.eq(kept),
                    done.eq(~sent | (self.credit & self.packets.ready)),
                    self.beyond.eq(some & ~is_axon),
                    self.too_large.eq(some & ~fits),
                ]

        with m.FSM():
            with m.State("MESSAGE"), m.If(valid):
                m.d.comb += moving.eq(take & (byte[6:] != 0))
                m.d.sync += [position.eq(0), code.eq(byte), ended.eq(0)]
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
                    with m.Switch(byte):
                        with m.Case(Opcode.WRITE, Opcode.READ, Opcode.WRITE_WORDS, Opcode.READ_WORDS):
                            m.next = "HEADER"
                        if self.value_width:
                            with m.Case(Opcode.VALUE, *range(Opcode.RUN, Opcode.RUN + 8)):
                                # The axon fills the lowest bits of the index.
                                m.d.sync += [position.eq(_INDEX), index.eq(0)]
                                m.next = "HEADER"
                        with m.Default():
                            m.d.comb += self.unknown.eq(1)
            with m.State("HEADER"), m.If(valid):
                m.d.comb += take.eq(1)
                m.d.sync += [position.eq(position + 1), self.plane.eq(Mux(is_words, 0, last_plane))]
                self._store(m, position, byte, index, last_plane, ended)
                with m.If(position == ADDRESS_BYTES + COUNT_BYTES - 1):
                    m.d.sync += position.eq(0)
                    m.next = "WRITE"
                    with m.If(is_read):
                        m.next = "READ"
                    if self.value_width:
                        with m.If(is_valued):
                            m.next = "RUN"
                if self.value_width:
                    with m.If(is_valued & (position == _INDEX + AXON_BYTES - 1)):
                        m.d.sync += position.eq(ADDRESS_BYTES)
                        with m.If(~is_run):
                            m.d.sync += position.eq(0)
                            m.next = "VALUE"
            with m.State("WRITE"):
                with m.If(self.count == 0):
                    m.next = "SETTLE"
                with m.Elif(valid):
                    m.d.comb += [take.eq(1), step.eq(1), self.write_enable.eq(~self.outside)]
            # The write passes the registers of the configuration chain; a packet must not overtake it.
            with m.State("SETTLE"):
                m.d.sync += position.eq(position + 1)
                with m.If(position == settling - 1):
                    m.next = "MESSAGE"
            with m.State("READ"):
                m.d.comb += [self.reading.eq(1), step.eq(self.read_next)]
                with m.If(self.read_done):
                    m.next = "SETTLE" if self.read_back else "MESSAGE"
            if self.value_width:
                with m.State("VALUE"), m.If(valid):
                    m.d.comb += take.eq(1)
                    m.d.sync += [number.eq(Cat(number[8:], byte)), position.eq(position + 1)]
                    with m.If(position == VALUE_BYTES - 1):
                        m.next = "GIVE"
                with m.State("GIVE"):
                    m.d.comb += [given.eq(1), value.eq(number.as_signed())]
                    with m.If(done):
                        m.next = "MESSAGE"
                with m.State("RUN"):
                    with m.If(self.count == 0):
                        m.next = "MESSAGE"
                    with m.Elif(valid):
                        m.d.comb += given.eq(1)
                        with m.Switch(code[:2]):
                            for power, bits in enumerate(RUN_BITS):
                                with m.Case(power):
                                    field = byte.word_select(place[: 3 - power], bits) if bits < 8 else byte
                                    is_last = place[: 3 - power].all()
                                    m.d.comb += [
                                        value.eq(Mux(code[2], field.as_signed(), field)),
                                        take.eq(done & (is_last | (self.count == 1))),
                                    ]
                        with m.If(done):
                            m.d.comb += step.eq(1)
                            m.d.sync += place.eq(Mux(take, 0, place + 1))

        with m.If(self.clear):
            m.d.sync += previous.eq(-1)
        return m

    def _store(
        self, m: Module, position: Signal, byte: Signal, index: Signal, last_plane: Signal, ended: Signal
    ) -> None:
        """Store a byte of the header, whose fields are tile, memory, index, plane and count."""
        start = 0
        for register, size in ((self.tile, 1), (self.memory, 1), (index, 4), (last_plane, 2), (self.count, 2)):
            for number in range(size):
                part = register[8 * number : 8 * number + 8]
                spare = byte[len(part) :]
                with m.If(position == start + number):
                    m.d.sync += part.eq(byte)
                    # All higher bits of the number are folded into the top bit (see `tile_width`).
                    if register is self.tile:
                        m.d.sync += self.tile[-1].eq(byte[len(part) - 1 :].any())
                    elif len(spare):
                        with m.If(spare.any()):
                            m.d.sync += ended.eq(1)
            start += size
