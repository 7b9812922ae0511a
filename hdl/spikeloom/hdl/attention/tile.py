"""Attention tile: receives the spikes of Q, K and V as packets and sends those of A, synchronised by tokens.

::

    i ──▶ Q[parity][head, token]   ──▶ ┌────────┐     words of
     ├──▶ K[parity][head, token]   ──▶ │ engine │ ──▶ `rows` tokens ──▶ spikes, one per cycle ──▶ routes ──▶ o
     ├──▶ V[parity][head, feature] ──▶ └────────┘                                                         ▲
     └──▶ tokens ─────────────────────────────────────────────────────────────────────────────────────────┘

A step is computed when the TICKs have confirmed that all of its spikes have arrived. Meanwhile events of the next step
set bits in the matrices of the other parity. Each word is cleared when it is read for the last time. Packets of a step
may arrive in any order and repeatedly, since setting a bit twice has no effect.

Sources are direct; sinks may be delayed. `spikeloom.sim.attention.parameters.AttentionTileParameters` defines the axons
of the input; a memory holds the axons of the output, as in a core. Input is always accepted, except while the matrices
are being erased after a restart.
"""

from amaranth.hdl import Cat, Module, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.attention.engine import AttentionEngine
from spikeloom.hdl.attention.memory import EventMatrix
from spikeloom.hdl.lib.block_queue import ReadAhead
from spikeloom.hdl.lib.memory import LoadedMemory, connect_registers, load_register
from spikeloom.hdl.lib.registers import RegisterBank
from spikeloom.hdl.noc.packet import PacketKind
from spikeloom.hdl.noc.tile import TileSignature, register_tile
from spikeloom.hdl.noc.tokens import Tokens, relation_members
from spikeloom.sim.attention.attention import OUTPUT_WIDTH, SCORE_WIDTH, AttentionParameters
from spikeloom.sim.attention.parameters import AttentionTileParameters
from spikeloom.sim.attention.registers import ATTENTION

__all__ = ["AttentionTile", "SpikeScanner"]

CHUNK = 8
"""Number of bits searched for the next spike in one cycle."""


class SpikeScanner(wiring.Component):
    """Outputs the index of each set bit, one per cycle: selects a chunk of the word, then a bit of the chunk.

    The words are those of A in one step, ordered by head, group and feature.

    Parameters
    ----------
    parameters
        Sizes of the unit.
    index_bits
        Width of the index of a spike.

    Members
    -------
    restart : Signal, in
        Start with the words of a step.
    i : Stream(rows), in
        Words of A: one feature of the rows of a group, the first row in the lowest bit.
    o : Stream(index_bits), out
        The index ``(head N + token) d + feature`` of each set bit.
    done : Signal, out
        All words of the step have arrived, and all of their spikes have been taken.
    """

    def __init__(self, parameters: AttentionParameters, index_bits: int) -> None:
        self.parameters = parameters
        super().__init__(
            {
                "restart": In(1),
                "i": In(stream.Signature(parameters.rows)),
                "o": Out(stream.Signature(index_bits)),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        size = min(CHUNK, p.rows)
        chunks = p.rows // size

        # The word, without the chunks already searched.
        word = [Signal(size, name=f"word_{chunk}") for chunk in range(chunks)]
        feature, group, head = Signal(range(p.features)), Signal(range(p.groups)), Signal(range(p.heads + 1))
        word_place = Signal(len(self.o.payload))  # of token 0 of the group
        some, first, following = Signal(), Signal(range(chunks)), Signal(size)
        # The last assignment wins: in descending order that is the lowest chunk with a set bit.
        for chunk in reversed(range(chunks)):
            with m.If(word[chunk].any()):
                m.d.comb += [some.eq(1), first.eq(chunk), following.eq(word[chunk])]
        # `head` reaches its end with the last word of the step.
        m.d.comb += self.i.ready.eq(~some & (head != p.heads))
        take = Signal()
        for chunk in range(chunks):
            with m.If(take & (first == chunk)):
                m.d.sync += word[chunk].eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [part.eq(self.i.payload.word_select(chunk, size)) for chunk, part in enumerate(word)]
            row_bits = (p.rows - 1).bit_length()
            m.d.sync += [word_place.eq(Cat(feature, Signal(row_bits), group, head)), feature.eq(feature + 1)]
            with m.If(feature == p.features - 1):
                m.d.sync += group.eq(group + 1)
                with m.If(group == p.groups - 1):
                    m.d.sync += head.eq(head + 1)
        with m.If(self.restart):
            m.d.sync += head.eq(0)

        # The chunk, without the bits already sent, and the spike.
        chunk_bits, place, lowest = Signal(size), Signal.like(word_place), Signal(range(size))
        free = Signal()
        for bit in reversed(range(size)):
            with m.If(chunk_bits[bit]):
                m.d.comb += lowest.eq(bit)
        rest = Signal(size)
        m.d.comb += [
            free.eq(~self.o.valid | self.o.ready),
            # Clears the lowest set bit.
            rest.eq(chunk_bits & (chunk_bits - 1)),
            # The next chunk is taken together with the last bit of the current one, so chunks follow without a gap.
            take.eq(some & ((rest == 0) & (free | (chunk_bits == 0)))),
        ]
        with m.If(free):
            m.d.sync += [
                self.o.valid.eq(chunk_bits != 0),
                self.o.payload.eq(place | Cat(Signal(len(feature)), lowest)),
                chunk_bits.eq(rest),
            ]
        with m.If(take):
            chunk_place = Cat(Signal(len(feature) + (size - 1).bit_length()), first)
            m.d.sync += [chunk_bits.eq(following), place.eq(word_place | chunk_place)]
        m.d.comb += self.done.eq((head == p.heads) & ~some & (chunk_bits == 0) & ~self.o.valid)
        return m


@register_tile(AttentionTileParameters)
class AttentionTile(wiring.Component):
    """An attention unit that accepts and sends packets.

    Writing 1 to bit 0 of the register ``control``, or asserting ``clear`` or ``reset``, empties the tile and restarts
    the random sequence. This takes two cycles per word of the largest matrix; input is stalled meanwhile.

    Parameters
    ----------
    parameters
        Parameters of the tile.

    Members
    -------
    As `TileSignature`. An incoming SPIKE names an axon of Q, K or V. `spikeloom.sim.attention.registers` lists the
    registers and the memory of routes.
    """

    def __init__(self, parameters: AttentionTileParameters) -> None:
        if not isinstance(parameters, AttentionTileParameters):
            raise TypeError(f"parameters must be AttentionTileParameters, not {parameters!r}")
        self.parameters = parameters
        super().__init__(TileSignature(parameters))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        registers = RegisterBank(ATTENTION, self.parameters.contents)
        m.submodules.registers = ResetInserter(self.reset)(registers)
        if not self.parameters.read_back:
            wiring.connect(m, wiring.flipped(self.configuration), registers.configuration)
        # A clear restarts everything but the registers, which hold what the host has configured for its run.
        restart = Signal()
        m.d.comb += restart.eq(self.reset | self.clear | registers.control)
        m.submodules.routes = routes = LoadedMemory(
            self.parameters.memories["routes"], read_back=self.parameters.read_back
        )
        load = load_register(m, self.configuration)
        wiring.connect(m, load, routes.load)
        if self.parameters.read_back:
            connect_registers(m, self.configuration, registers.configuration, load)
        running = Module()
        m.submodules.running = ResetInserter(restart)(running)
        self._elaborate_running(running, registers, routes)
        return m

    def _elaborate_running(self, m: Module, registers: RegisterBank, routes: LoadedMemory) -> None:
        p, shape = self.parameters, self.parameters.attention
        tokens = Tokens(p.destinations)
        m.submodules.tokens = tokens
        m.submodules.engine = engine = AttentionEngine(shape)
        m.submodules.scanner = scanner = SpikeScanner(shape, p.index_bits)
        m.submodules.ahead = ahead = ReadAhead(shape.features)
        words = shape.heads * shape.tokens
        m.submodules.queries = queries = EventMatrix(shape.features, words)
        m.submodules.keys = keys = EventMatrix(shape.features, words)
        m.submodules.values = values = EventMatrix(shape.tokens, shape.heads * shape.features)
        matrices = ((queries, registers.query_page), (keys, registers.key_page), (values, registers.value_page))

        # Spikes and tokens pass through the same register, so all spikes are in their matrix when the step begins.
        # After configuration and every restart the matrices hold old spikes: input waits until they are erased.
        clearing = Signal(init=1)
        packet = Signal(self.i.payload.shape(), reset_less=True)
        arrived = Signal()
        m.d.comb += self.i.ready.eq(~clearing)
        m.d.sync += [packet.eq(self.i.payload), arrived.eq(self.i.valid & self.i.ready)]
        feature_bits, token_bits = shape.score_bits, shape.output_bits
        token = packet.axon[:token_bits]
        feature = packet.axon[token_bits : token_bits + feature_bits]
        head = packet.axon[token_bits + feature_bits : p.index_bits]
        # The three matrices share one stream of packets. The host assigns each a page, the axon bits above the index.
        page = packet.axon[p.index_bits :]
        for matrix, own in matrices:
            m.d.comb += [
                matrix.valid.eq(arrived & (packet.kind == PacketKind.SPIKE) & (page == own)),
                matrix.event_parity.eq(packet.parity),
            ]
            if matrix is values:
                m.d.comb += [matrix.event_address.eq(Cat(feature, head)), matrix.event_bit.eq(token)]
            else:
                m.d.comb += [matrix.event_address.eq(Cat(token, head)), matrix.event_bit.eq(feature)]
        m.d.comb += [
            tokens.tick.eq(arrived & (packet.kind == PacketKind.TICK)),
            tokens.ack.eq(arrived & (packet.kind == PacketKind.ACK)),
            tokens.token_parity.eq(packet.parity),
            tokens.token_last.eq(packet.last),
        ]
        m.d.comb += [getattr(tokens, name).eq(getattr(registers, name)) for name in relation_members(p.destinations)]

        # A step. Queries are read ahead; keys and features are read when the engine requests them.
        in_step = Signal()
        query, head_claims = Signal(range(words + 1)), Signal(range(shape.heads + 1))
        m.d.comb += [
            # Queries are read in order, once per step; keys and values are read again for every group of rows.
            ahead.more.eq(in_step & (query != words)),
            ahead.data.eq(queries.data),
            engine.available.eq(in_step & (head_claims != shape.heads)),
            engine.final.eq(tokens.last),
            engine.k.eq(keys.data),
            engine.v.eq(values.data),
            engine.causal.eq(registers.causal),
            engine.score_seed.eq(registers.score_seed[:SCORE_WIDTH]),
            engine.output_seed.eq(registers.output_seed[:OUTPUT_WIDTH]),
        ]
        with m.If(tokens.start):
            m.d.sync += [query.eq(0), head_claims.eq(0)]
        with m.Else():
            m.d.sync += [query.eq(query + ahead.read), head_claims.eq(head_claims + engine.claim)]
        wiring.connect(m, ahead.o, engine.q)
        wiring.connect(m, engine.o, scanner.i)

        # Words are cleared after their last read; after a reset all words of both parities are cleared.
        place = Signal(max(len(queries.address), len(values.address)))
        clear_parity = Signal()
        reads: tuple[tuple[EventMatrix, Value, Value], ...] = (
            (queries, query, ahead.read),
            (keys, Cat(engine.key, engine.key_head), engine.key_read),
            (values, Cat(engine.feature, engine.feature_head), engine.feature_read),
        )
        for matrix, address, read in reads:
            with m.If(clearing):
                m.d.comb += [matrix.parity.eq(clear_parity), matrix.address.eq(place), matrix.clear.eq(1)]
            with m.Else():
                m.d.comb += [matrix.parity.eq(tokens.parity), matrix.address.eq(address), matrix.clear.eq(read)]
        # All addresses of the deepest matrix, first of parity 0 and then of parity 1; smaller matrices are erased
        # again.
        with m.If(clearing):
            m.d.sync += place.eq(place + 1)
            with m.If(place.all()):
                m.d.sync += [clear_parity.eq(1), clearing.eq(~clear_parity)]

        # Output: spikes, whose axons are read from the routes in two cycles, then the tokens that end the step.
        reading, found = Signal(), Signal()
        m.d.comb += [
            routes.address.eq(scanner.o.payload),
            routes.output_enable.eq(~found | (self.o.ready & ~tokens.finish)),
            routes.enable.eq(~reading | routes.output_enable),
            scanner.o.ready.eq(routes.enable),
        ]
        with m.If(routes.enable):
            m.d.sync += reading.eq(scanner.o.valid)
        with m.If(routes.output_enable):
            m.d.sync += found.eq(reading)
        # Tokens come after the last spike of the step: a receiver that has the token has all spikes.
        out = self.o.payload
        with m.If(tokens.finish):
            m.d.comb += [self.o.valid.eq(tokens.o.valid), tokens.o.ready.eq(self.o.ready)]
            m.d.comb += [
                getattr(out, name).eq(getattr(tokens.o.payload, name)) for name in tokens.o.payload.shape().members
            ]
        with m.Else():
            m.d.comb += [
                self.o.valid.eq(found),
                out.kind.eq(PacketKind.SPIKE),
                out.parity.eq(tokens.parity),
                out.last.eq(tokens.last),
                out.value.eq(1),
                out.axon.eq(routes.data),
            ]
            if p.destinations:
                m.d.comb += out.destinations.eq(registers.spike_destinations)
        m.d.comb += [scanner.restart.eq(tokens.start), self.step_done.eq(tokens.done)]
        with m.FSM():
            with m.State("WAIT"):
                m.d.comb += registers.status.eq(~arrived & ~clearing)
                with m.If(tokens.due & ~clearing):
                    m.d.comb += tokens.start.eq(1)
                    m.next = "STEP"
            with m.State("STEP"):
                m.d.comb += in_step.eq(1)
                # The scanner is done before its last spike has left: its route may still be in one of the two read
                # stages.
                with m.If(scanner.done & ~reading & ~found):
                    m.next = "FINISH"
            with m.State("FINISH"):
                m.d.comb += tokens.finish.eq(1)
                with m.If(tokens.done):
                    m.next = "WAIT"
