"""The host bridge: messages of the host on one side, packets and the configuration port on the other.

::

    receive ──▶ RequestDecoder ──── SPIKE, TICK, when there is credit ──▶┬──▶ to_fabric
                   │    └── WRITE, READ ──▶ configuration               │
                   │ READ                        │ read_data         ACK for each TICK
                   ▼                             ▼                      │
    transmit ◀── AnswerEncoder ◀── SPIKE, MEMBRANE, TICK, ACK ◀──────────┴── from_fabric

The host is a tile. As a source it sends step t when all of its sinks have acknowledged step t - 2; as a sink it ends a
step for the host, and acknowledges it, when it has a TICK from each of its sources. One of them may be a step ahead of
another: what it sends for the next step is marked.

Nothing here waits in a circle. Spikes and TICKs of the host wait for credit and for the fabric's input, never for
``transmit``; a READ waits for ``transmit``, and so do packets from the fabric and the ACKs behind them, but the host
reads whatever else it does. An ACK for the fabric waits for the fabric's input only.

On the way in a `SpikeEncoder` may stand, which makes the spikes of an image, on the way out a `SpikeReadout`, which
leaves only the answer of each sample: both where the host's tokens are not concerned.

A byte a cycle goes in and comes out: a spike in the next 128 axons is one byte, so that is also a spike a cycle.
:mod:`spikeloom.sim.host.messages` and :mod:`spikeloom.sim.host.bridge` specify the messages.
"""

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.host.encoder import SpikeEncoder, event_layout
from spikeloom.hdl.host.readout import SpikeReadout
from spikeloom.hdl.lib.registers import ConfigurationPort, RegisterBank
from spikeloom.hdl.noc.packet import PacketKind, packet_layout
from spikeloom.hdl.noc.tokens import HostTokens
from spikeloom.sim.host.bridge import AXON_ERROR, MESSAGE_ERROR
from spikeloom.sim.host.encoder import EncoderParameters
from spikeloom.sim.host.messages import (
    ADDRESS_BYTES,
    AXON_BYTES,
    COUNT_BYTES,
    DISTANCE_BITS,
    LARGEST_SKIP,
    VALUE_BYTES,
    Opcode,
)
from spikeloom.sim.host.readout import ReadoutMode, ReadoutParameters
from spikeloom.sim.host.registers import BRIDGE
from spikeloom.sim.lib.contents import NOTHING, Contents
from spikeloom.sim.lib.registers import BRIDGE_TILE, CORE_TILE
from spikeloom.sim.noc.registers import ROUTER_MEMORY

__all__ = ["AnswerEncoder", "ConfigurationPort", "HostBridge", "RequestDecoder"]

STEPS_AHEAD = 2
"""Steps that a source may send beyond those that the sink has finished."""

SKIP_BITS = (LARGEST_SKIP - 1).bit_length()

SETTLING = 4
"""Cycles from the last byte of a WRITE to the next message, beside those of the way to the tile, so that the tile has
seen the one before the other."""


class RequestDecoder(wiring.Component):
    """The host's bytes to packets, and to reads and writes of the configuration port.

    Parameters
    ----------
    axon_width
        Bits of the axon of a packet.
    latency
        Cycles from the configuration port to what is read.

    Members
    -------
    i
        Bytes. Their readiness is registered.
    packets
        Spikes and TICKs, without parity.
    credit
        A packet may go.
    clear
        The next spike is the first of a step.
    unknown, beyond
        High for one cycle when a byte begins no message, and when a spike or a skip leaves the axons behind.
    tile, memory, plane, index, write_enable, write_data
        The configuration port.
    reading
        A READ is due: ``count`` bytes from ``index`` on. ``read_next`` goes on to the next byte, at a ``count`` of 0
        ``read_done`` ends it.
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

        # Two bytes are kept, so that neither what is done with one nor the memory it comes from is in the other's path.
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

        # The axon is that of the spike before plus a distance. `back` is the distance, negative: to subtract inverted
        # bits adds the one that a SPIKE and a SKIP mean on top of their number. The greatest skip fits in any case.
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
                    # That an axon does not exist is known late: it decides about the packet, not about the byte.
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


class AnswerEncoder(wiring.Component):
    """Packets and what was read to bytes for the host.

    Parameters
    ----------
    axon_width, value_width
        Of a packet.
    graded
        A SPIKE whose value is not 1 goes to the host as a VALUE.
    several
        Several tiles may send packets: those of the step after the one that the host waits for are marked by AHEAD.
    latency
        Cycles from the configuration port to what is read.

    Members
    -------
    i
        Packets.
    o
        Bytes.
    flush
        The last message ended a sample or was read data, and nothing has followed.
    hold
        TICKs have to wait.
    quiet
        Only TICKs that end a sample go to the host.
    parity
        Of the packet at hand.
    acknowledged, ticked, event
        High for one cycle when an ACK, when a TICK has been taken, and when a spike or a membrane has gone to the host.
    complete, step_parity
        A TICK of ``parity`` ends its step: only then it goes to the host. The parity of the step that is waited for.
    clear
        What is at hand is dropped; the next spike is the first of a step.
    reading, count, read_data, read_next, read_done
        As at `RequestDecoder`; ``read_data`` belongs to the index of ``latency`` cycles before.
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

        # The packet at hand; its numbers are shifted out byte by byte.
        packet = self.i.payload
        valid = Signal()
        kind = Signal(PacketKind)
        last = Signal()
        number_bits = 8 * (AXON_BYTES + VALUE_BYTES)
        numbers = Signal(number_bits, reset_less=True)
        leave, drop = Signal(), Signal()  # the packet has gone; the next one may come in this cycle, or a cycle later
        shift = Signal()
        is_valued = (packet.kind == PacketKind.SPIKE) & (packet.value != 1) if self.graded else Const(0)
        m.d.comb += self.i.ready.eq(~valid | leave)
        with m.If(self.i.ready):
            m.d.sync += [
                valid.eq(self.i.valid),
                kind.eq(Mux(is_valued, PacketKind.MEMBRANE, packet.kind)),
                last.eq(packet.last),
                self.parity.eq(packet.parity),
                numbers[: 8 * AXON_BYTES].eq(packet.axon),
                # Sign extension happens here: `value` is signed.
                numbers[8 * AXON_BYTES :].eq(packet.value),
            ]
        with m.Elif(shift):
            m.d.sync += numbers.eq(numbers >> 8)
        with m.If(drop | self.clear):
            m.d.sync += valid.eq(0)

        # Its distance from the axon that would follow at once, worked out as it comes in: that the sender has to know
        # early. To add inverted bits is to subtract one more.
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

        # The byte for the host.
        byte_valid = Signal()
        byte = Signal(8, reset_less=True)
        following = Signal(8)
        give = Signal()
        free = ~byte_valid | self.o.ready
        m.d.comb += [self.o.valid.eq(byte_valid), self.o.payload.eq(byte)]
        with m.If(free):
            m.d.sync += [byte_valid.eq(give), byte.eq(following)]

        # Of several tiles one may be a step ahead of another.
        ahead, turn = Signal(), Signal()
        if self.several:
            m.d.comb += turn.eq((self.parity ^ self.step_parity) != ahead)

        left = Signal(3)
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
                        with m.If(~self.complete | (self.quiet & ~last & ~self.hold)):
                            m.d.comb += [leave.eq(1), self.ticked.eq(1)]
                        with m.Else():
                            m.d.comb += [give.eq(~self.hold), following.eq(Opcode.TICK | last)]
                            with m.If(free & ~self.hold):
                                # Where a TICK may end no step, the distance of what follows is known a cycle later.
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
                # The tile looks up the byte.
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


class HostBridge(wiring.Component):
    """The host as a tile. `ResetInserter` begins a new session.

    Parameters
    ----------
    axon_width, value_width
        Of the fabric's packets, at most 32 and 24 bits. Messages hold axons of 16 bits at most: the host cannot name
        others, and the fabric must not send it any.
    graded
        The fabric sends graded spikes. The host's own are not: their value is 1.
    tiles
        Of the mesh that the host stands on, 0 without one. Then packets have no destination sets, and there is one
        tile, the source and the sink of the host.
    latency
        Cycles from the configuration port to what is read.
    counting
        The routers of the mesh count, that at the host's place too: it is reached by the configuration port.
    encoder, readout
        What they are built as; None is none.
    contents
        What its registers have from power-up.

    Members
    -------
    receive, transmit, flush
        Reliable bytes from and to the host, as at :class:`spikeloom.hdl.host.link.Link`. ``flush`` asks for what has
        been transmitted to be sent at once: a sample or a read has ended.
    to_fabric, from_fabric
        Packets; those to the fabric come from a register.
    configuration
        The configuration port of the other tiles: all of them where there is a mesh, or the core, which is tile 1; then
        writes to others are ignored and reads of them give 0. Tile 0 is the bridge:
        :data:`spikeloom.sim.host.registers.BRIDGE`.
    program
        What the register of that name says.
    clear
        High for one cycle in which the bridge is cleared. The whole fabric is to be cleared in that very cycle, so that
        no token is lost or counted twice.
    """

    def __init__(
        self,
        axon_width: int,
        value_width: int,
        *,
        graded: bool = False,
        tiles: int = 0,
        latency: int = 1,
        counting: bool = False,
        encoder: EncoderParameters | None = None,
        readout: ReadoutParameters | None = None,
        contents: Contents = NOTHING,
    ) -> None:
        for name, value, high in (("axon_width", axon_width, 32), ("value_width", value_width, 24)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an integer, not {value!r}")
            if not 1 <= value <= high:
                raise ValueError(f"{name} must be from 1 to {high}, not {value!r}")
        self.axon_width = axon_width
        self.value_width = value_width
        self.graded = graded
        self.tiles = tiles
        self.counting = counting
        self.latency = latency
        self.encoder = encoder
        self.readout = readout
        self.contents = contents
        packet = packet_layout(axon_width, value_width)
        super().__init__(
            {
                "receive": In(stream.Signature(8)),
                "transmit": Out(stream.Signature(8)),
                "flush": Out(1),
                "to_fabric": Out(stream.Signature(packet_layout(axon_width, value_width, tiles))),
                "from_fabric": In(stream.Signature(packet)),
                "configuration": Out(ConfigurationPort(tile=tiles > 0)),
                "program": In(BRIDGE.register("program").width_bits),
                "clear": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        axon_width = min(self.axon_width, 8 * AXON_BYTES)
        m.submodules.decoder = decoder = RequestDecoder(axon_width, self.latency)
        value_width = max(self.value_width, self.readout.width if self.readout else 0)
        m.submodules.encoder = encoder = AnswerEncoder(
            axon_width, value_width, graded=self.graded, several=self.tiles > 0, latency=self.latency
        )
        m.submodules.registers = registers = RegisterBank(BRIDGE, self.contents)
        clear = registers.control
        wiring.connect(m, wiring.flipped(self.receive), decoder.i)
        wiring.connect(m, encoder.o, wiring.flipped(self.transmit))
        packets = wiring.flipped(self.from_fabric)
        if self.readout:
            readout = SpikeReadout(self.readout, self.axon_width, self.value_width, self.tiles)
            m.submodules.readout = ResetInserter(clear)(readout)
            wiring.connect(m, packets, readout.i)
            packets = readout.o
            m.d.comb += [
                encoder.quiet.eq(registers.readout_mode != ReadoutMode.OFF),
                readout.mode.eq(registers.readout_mode),
                readout.vector.eq(registers.readout_vector),
                readout.outputs.eq(registers.readout_outputs),
                readout.first.eq(registers.readout_first),
                readout.sources.eq(registers.sources),
            ]
        answer = packets.payload
        m.d.comb += [encoder.i.valid.eq(packets.valid), packets.ready.eq(encoder.i.ready)]
        m.d.comb += [
            getattr(encoder.i.payload, name).eq(getattr(answer, name)) for name, _ in encoder.i.payload.shape()
        ]
        m.d.comb += [
            self.flush.eq(encoder.flush),
            decoder.clear.eq(clear),
            encoder.clear.eq(clear),
            self.clear.eq(clear),
        ]

        m.submodules.tokens = tokens = ResetInserter(clear)(HostTokens(self.tiles))
        tick_sent = Signal()
        m.d.comb += [
            tokens.sources.eq(registers.sources if self.tiles else 1),
            tokens.sinks.eq(registers.sinks if self.tiles else 1),
            decoder.credit.eq(1 if self.encoder else tokens.allowed),
            tokens.sent.eq(tick_sent),
            tokens.ack.eq(encoder.acknowledged),
            tokens.ack_parity.eq(encoder.parity),
            tokens.tick.eq(encoder.ticked),
            tokens.tick_parity.eq(encoder.parity),
            encoder.complete.eq(tokens.complete),
            encoder.step_parity.eq(tokens.step_parity),
        ]

        events = decoder.packets
        if self.encoder:
            spikes = SpikeEncoder(self.encoder, axon_width)
            m.submodules.spikes = ResetInserter(clear)(spikes)
            wiring.connect(m, events, spikes.i)
            events = spikes.o
            for name in ("mode", "stride", "pixels", "steps", "advance", "seed"):
                m.d.comb += getattr(spikes, name).eq(getattr(registers, f"encoder_{name}"))
        events_valid = events.valid & tokens.allowed if self.encoder else events.valid
        m.d.comb += registers.units.eq(Cat(self.encoder is not None, self.readout is not None))
        m.d.comb += registers.program.eq(self.program)

        # ACKs that the fabric is to get, and the parity of the first of them.
        owed = Signal(range(STEPS_AHEAD + 1))
        owed_parity = Signal()
        answered = Signal()
        m.d.comb += encoder.hold.eq(owed == STEPS_AHEAD)
        m.d.sync += [
            owed.eq(owed + (encoder.ticked & tokens.complete) - answered),
            owed_parity.eq(owed_parity ^ answered),
        ]

        packet = Signal.like(self.to_fabric.payload, reset_less=True)
        packet_valid = Signal()
        free = ~packet_valid | self.to_fabric.ready
        m.d.comb += [
            self.to_fabric.valid.eq(packet_valid),
            self.to_fabric.payload.eq(packet),
            answered.eq(free & (owed != 0)),
            events.ready.eq(free & (owed == 0) & (tokens.allowed if self.encoder else 1)),
            tick_sent.eq(events_valid & events.ready & events.payload.tick),
        ]
        with m.If(free):
            m.d.sync += [
                packet_valid.eq(answered | events_valid),
                packet.kind.eq(Mux(events.payload.tick, PacketKind.TICK, PacketKind.SPIKE)),
                packet.parity.eq(tokens.sent_parity),
                packet.last.eq(events.payload.last),
                packet.axon.eq(events.payload.axon),
                packet.value.eq(1),
            ]
            with m.If(answered):
                m.d.sync += [packet.kind.eq(PacketKind.ACK), packet.parity.eq(owed_parity), packet.last.eq(0)]
            if self.tiles:
                tick_or_spike = Mux(events.payload.tick, registers.tick_destinations, registers.spike_destinations)
                m.d.sync += packet.destinations.eq(Mux(answered, registers.ack_destinations, tick_or_spike))

        # Registers.
        spike_sent = packet_valid & self.to_fabric.ready & (packet.kind == PacketKind.SPIKE)
        error = Signal.like(registers.error)
        m.d.comb += registers.error.eq(error)
        m.d.sync += error.eq(error | Mux(decoder.unknown, MESSAGE_ERROR, 0) | Mux(decoder.beyond, AXON_ERROR, 0))
        for counter, happened in ((registers.events_in, spike_sent), (registers.events_out, encoder.event)):
            count = Signal.like(counter)
            m.d.comb += counter.eq(count)
            m.d.sync += count.eq(count + happened)
            with m.If(clear):
                m.d.sync += count.eq(0)
        with m.If(clear):
            m.d.sync += [packet_valid.eq(0), owed.eq(0), owed_parity.eq(0), error.eq(0)]

        # The configuration ports.
        is_bridge = decoder.tile == BRIDGE_TILE
        if self.counting:
            is_bridge &= decoder.memory != ROUTER_MEMORY
        others = ~is_bridge if self.tiles else decoder.tile == CORE_TILE
        if self.tiles:
            m.d.comb += self.configuration.tile.eq(decoder.tile)
        for chosen, port in ((is_bridge, registers.configuration), (others, self.configuration)):
            m.d.comb += [
                port.write_enable.eq(decoder.write_enable & chosen),
                port.memory.eq(decoder.memory),
                port.plane.eq(decoder.plane),
                port.index.eq(decoder.index),
                port.write_data.eq(decoder.write_data),
            ]
            with m.If(chosen):
                m.d.comb += encoder.read_data.eq(port.read_data)
        m.d.comb += [
            encoder.reading.eq(decoder.reading),
            encoder.count.eq(decoder.count),
            decoder.read_next.eq(encoder.read_next),
            decoder.read_done.eq(encoder.read_done),
        ]
        return m
