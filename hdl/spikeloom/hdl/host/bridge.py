"""Host bridge: translates between host messages and the fabric's packets and configuration port.

::

    receive ──▶ RequestDecoder ──── SPIKE, TICK, when there is credit ──▶┬──▶ to_fabric
                   │    └── WRITE, READ ──▶ configuration               │
                   │ READ                        │ read_data         ACK for each TICK
                   ▼                             ▼                      │
    transmit ◀── AnswerEncoder ◀── SPIKE, MEMBRANE, TICK, ACK ◀──────────┴── from_fabric

The bridge represents the host as a tile. As a source it sends step t when all of its sinks have acknowledged step
t - 2. As a sink it ends a step, and acknowledges it, when it has received a TICK from each of its sources. One source
may be a step ahead of another; its packets of the next step are marked for the host.

There is no circular wait. Spikes and TICKs of the host wait for credit and for the fabric's input, never for
``transmit``. A READ, packets from the fabric and the ACKs behind them wait for ``transmit``, which the host always
reads. An ACK for the fabric waits for the fabric's input only.

Two stages are optional: a `SpikeEncoder` on the input, which generates the spikes of an image, and a `SpikeReadout` on
the output, which sends only the result of each sample. Both lie outside the token logic of the host.

Throughput is one byte per cycle in each direction. A spike within 128 axons of the previous one takes one byte, so
this is also one spike per cycle. :mod:`spikeloom.sim.host.messages` and :mod:`spikeloom.sim.host.bridge` specify the
messages.
"""

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.host.answer_encoder import AnswerEncoder
from spikeloom.hdl.host.encoder import SpikeEncoder
from spikeloom.hdl.host.readout import SpikeReadout
from spikeloom.hdl.host.request_decoder import RequestDecoder
from spikeloom.hdl.lib.registers import ConfigurationPort, RegisterBank
from spikeloom.hdl.noc.packet import PacketKind, packet_layout
from spikeloom.hdl.noc.tokens import HostTokens
from spikeloom.sim.host.bridge import ADDRESS_ERROR, AXON_ERROR, MESSAGE_ERROR, VALUE_ERROR
from spikeloom.sim.host.encoder import EncoderParameters
from spikeloom.sim.host.messages import AXON_BYTES
from spikeloom.sim.host.readout import ReadoutMode, ReadoutParameters
from spikeloom.sim.host.registers import BRIDGE
from spikeloom.sim.lib.contents import NOTHING, Contents
from spikeloom.sim.lib.registers import BRIDGE_TILE, CORE_TILE, INDEX_WIDTH, PLANE_WIDTH
from spikeloom.sim.noc.registers import ROUTER_MEMORY

__all__ = ["HostBridge"]

STEPS_AHEAD = 2
"""Number of steps that a source may send ahead of those that the sink has finished."""


class HostBridge(wiring.Component):
    """The host as a tile. A reset (`ResetInserter`) begins a new session.

    Parameters
    ----------
    axon_width, value_width
        Widths in the fabric's packets, at most 32 and 24 bits. Messages carry axons of at most 16 bits: the host cannot
        address higher ones, and the fabric must not send them to it.
    graded
        The fabric sends graded spikes.
    input_value_width
        Width of the values that the host may send, at most ``value_width``; 0 if its spikes always have the value 1.
    tiles
        Number of tiles of the mesh; 0 without a mesh. Then packets have no destination sets, and a single tile is both
        source and sink of the host.
    latency
        Cycles from a request at the configuration port to its read data.
    index_width, plane_width
        Widths of the index and the byte lane in ``configuration``. A byte beyond them is not written and reads as 0.
    read_back
        The host can read the memories of the tiles.
    counting
        The routers of the mesh have counters, including the one at the host's position. The configuration port reaches
        all of them.
    encoder, readout
        Parameters of the optional stages; None omits the stage.
    contents
        Initial values of its registers.

    Members
    -------
    receive : Stream(8), in
    transmit : Stream(8), out
    flush : Signal, out
        Reliable byte streams from and to the host, as for :class:`spikeloom.hdl.host.link.Link`. ``flush`` requests
        that the link send buffered bytes immediately, because a sample or a read has ended.
    to_fabric : Stream(packet_layout(axon_width, value_width, tiles)), out
    from_fabric : Stream(packet_layout(axon_width, value_width)), in
        Packets; those to the fabric are registered.
    configuration : ConfigurationPort, out
        The configuration port of all other tiles of the mesh. Without a mesh it belongs to the core, tile 1; writes to
        other tiles are ignored and reads return 0. Tile 0 is the bridge itself, with the registers
        :data:`spikeloom.sim.host.registers.BRIDGE`.
    program : Signal(32), in
        Value of the register of that name.
    clear : Signal, out
        High for the cycle in which the bridge is cleared. The whole fabric must be cleared in the same cycle, so that
        no token is lost or counted twice.
    """

    def __init__(
        self,
        axon_width: int,
        value_width: int,
        *,
        graded: bool = False,
        input_value_width: int = 0,
        tiles: int = 0,
        latency: int = 1,
        index_width: int = INDEX_WIDTH,
        plane_width: int = PLANE_WIDTH,
        read_back: bool = False,
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
        self.input_value_width = input_value_width
        self.tiles = tiles
        self.counting = counting
        self.latency = latency
        self.index_width, self.plane_width, self.read_back = index_width, plane_width, read_back
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
                "configuration": Out(
                    ConfigurationPort(
                        tile=tiles > 0, index_width=index_width, plane_width=plane_width, read_back=read_back
                    )
                ),
                "program": In(BRIDGE.register("program").width_bits),
                "clear": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Messages limit the axon width at the host, whatever the fabric uses.
        axon_width = min(self.axon_width, 8 * AXON_BYTES)
        m.submodules.decoder = decoder = RequestDecoder(
            axon_width,
            self.latency,
            # Without a mesh there are tiles 0 and 1; the second bit stands for all other numbers.
            tile_width=8 if self.tiles else 2,
            index_width=self.index_width,
            plane_width=self.plane_width,
            value_width=self.input_value_width,
            read_back=self.read_back,
        )
        # Scores are sent as the values of MEMBRANE packets and can be wider than those of the fabric.
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

        # With an encoder, one step of the host becomes many steps of the fabric, so credit is checked behind the
        # encoder and the decoder is never held.
        m.submodules.tokens = tokens = ResetInserter(clear)(HostTokens(self.tiles))
        tick_sent = Signal()
        m.d.comb += [
            # Without a mesh the only core is both source and sink.
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
            spikes = SpikeEncoder(self.encoder, axon_width, self.input_value_width)
            m.submodules.spikes = ResetInserter(clear)(spikes)
            wiring.connect(m, events, spikes.i)
            events = spikes.o
            # The registers change only while the encoder is idle, so they are used directly, without a copy.
            for name in ("mode", "stride", "pixels", "steps", "advance", "seed"):
                m.d.comb += getattr(spikes, name).eq(getattr(registers, f"encoder_{name}"))
        events_valid = events.valid & tokens.allowed if self.encoder else events.valid
        m.d.comb += registers.units.eq(Cat(self.encoder is not None, self.readout is not None))
        m.d.comb += registers.program.eq(self.program)

        # ACKs still to be sent to the fabric, and the parity of the first one. `hold` stops the answer encoder from
        # taking the TICK of a further step, so the counter cannot overflow.
        owed = Signal(range(STEPS_AHEAD + 1))
        owed_parity = Signal()
        answered = Signal()
        m.d.comb += encoder.hold.eq(owed == STEPS_AHEAD)
        m.d.sync += [
            owed.eq(owed + (encoder.ticked & tokens.complete) - answered),
            owed_parity.eq(owed_parity ^ answered),
        ]

        # ACKs have priority over events, so that an ACK waits for the fabric's input only.
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
                packet.value.eq(events.payload.value if self.input_value_width else 1),
            ]
            with m.If(answered):
                m.d.sync += [packet.kind.eq(PacketKind.ACK), packet.parity.eq(owed_parity), packet.last.eq(0)]
            if self.tiles:
                tick_or_spike = Mux(events.payload.tick, registers.tick_destinations, registers.spike_destinations)
                m.d.sync += packet.destinations.eq(Mux(answered, registers.ack_destinations, tick_or_spike))

        # Registers.
        spike_sent = packet_valid & self.to_fabric.ready & (packet.kind == PacketKind.SPIKE)
        # Flags are sticky until a clear: the host reads them after a run, not during it.
        error = Signal.like(registers.error)
        m.d.comb += registers.error.eq(error)
        for happened, flag in (
            (decoder.unknown, MESSAGE_ERROR),
            (decoder.beyond, AXON_ERROR),
            (decoder.misplaced, ADDRESS_ERROR),
            (decoder.too_large, VALUE_ERROR),
        ):
            with m.If(happened):
                m.d.sync += error[flag.bit_length() - 1].eq(1)
        # Spikes are counted where they leave the bridge, so those dropped because of an error are not counted.
        for counter, happened in ((registers.events_in, spike_sent), (registers.events_out, encoder.event)):
            count = Signal.like(counter)
            m.d.comb += counter.eq(count)
            m.d.sync += count.eq(count + happened)
            with m.If(clear):
                m.d.sync += count.eq(0)
        with m.If(clear):
            # A packet that has not been taken is dropped: the fabric that should receive it is cleared in this cycle as
            # well.
            m.d.sync += [packet_valid.eq(0), owed.eq(0), owed_parity.eq(0), error.eq(0)]

        # The configuration ports. All receive the request; the tile number selects the write enable and the read data.
        # The counters of the router at the host's position share its tile number but belong to the mesh.
        is_bridge = decoder.tile == BRIDGE_TILE
        if self.counting:
            is_bridge &= decoder.memory != ROUTER_MEMORY
        others = ~is_bridge if self.tiles else decoder.tile == CORE_TILE
        if self.tiles:
            m.d.comb += self.configuration.tile.eq(decoder.tile)
        if self.read_back:
            m.d.comb += self.configuration.reading.eq(decoder.reading & others)
        for chosen, port in ((is_bridge, registers.configuration), (others, self.configuration)):
            m.d.comb += [
                port.write_enable.eq(decoder.write_enable & chosen),
                port.memory.eq(decoder.memory),
                port.plane.eq(decoder.plane),
                port.index.eq(decoder.index),
                port.write_data.eq(decoder.write_data),
            ]
            # An address beyond the port would be taken for a lower one, so it reads as 0 instead.
            with m.If(chosen & ~decoder.outside):
                m.d.comb += encoder.read_data.eq(port.read_data)
        m.d.comb += [
            encoder.reading.eq(decoder.reading),
            encoder.count.eq(decoder.count),
            decoder.read_next.eq(encoder.read_next),
            decoder.read_done.eq(encoder.read_done),
        ]
        return m
