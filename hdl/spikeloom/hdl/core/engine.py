"""The LIF engine: runs the steps of elastic time over the populations of a core.

::

    i ──▶ SPIKE ──▶ RowReader ◀───────────── local events ─────── SpikeEmitter ──▶ o
             │          └──▶ Accumulator ──▶ NeuronSweep ──▶ fired ────┘           ▲
             └─ TICK, ACK ──▶ Tokens ─────────────────────────────── TICK, ACK ────┘

`Tokens` determine when a step may begin. The engine then processes the populations in order: it waits until all events
of the step are added, sweeps the neurons, and emits their spikes to other tiles and back into the core. Finally it
sends the tokens that end the step. Events of the next step are added to the other accumulator bank throughout.

**Input is always consumed**, even while the output is stalled: TICK and ACK immediately, SPIKE as soon as the row fetch
is free, which depends only on the addition of earlier rows.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.core.accumulate import Accumulator
from spikeloom.hdl.core.emit import SpikeEmitter
from spikeloom.hdl.core.row_reader import RowReader
from spikeloom.hdl.core.stream_sequencer import weight_request_layout
from spikeloom.hdl.core.sweep import NeuronSweep
from spikeloom.hdl.core.wide_accumulate import WideAccumulator
from spikeloom.hdl.lib.memory import LoadedMemory, LoadFan, LoadPort
from spikeloom.hdl.noc.packet import PacketKind, packet_layout
from spikeloom.hdl.noc.tokens import Tokens, relation_members
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.words import bits_for

__all__ = ["LifEngine"]


class LifEngine(wiring.Component):
    """A LIF core without its registers. After a reset it clears its accumulators, one word per cycle.

    Parameters
    ----------
    parameters
        Sizes and features of the core.

    Members
    -------
    i : Stream(packet_layout(axon_width, v_width)), in
    o : Stream(packet_layout(axon_width, v_width, destinations)), out
        Packets. A SPIKE names an axon in both directions and carries a value, which is 1 unless graded.
    load : LoadPort, in
        Writes the memories of `CoreParameters.memories`.
    *the members of* `spikeloom.hdl.noc.tokens.relation_members`
        The dependencies on other tiles. Without a source the engine never starts a step.
    populations : Signal(bits_for(populations + 1)), in
        Number of populations to update.
    idle : Signal, out
        No event is being added, no neuron updated, no packet sent.
    waiting, word_added, sweeping, spike, step_done : Signal, out
        Events for the counters: an event is offered or waits for its weights; a word of weights, or a group of words,
        is added; neurons are swept; the spike or membrane of a neuron is sent; a step ends.
    requests : Stream(weight_request_layout(parameters)), out
    weights : Stream(lanes * weight_width), in
        If weights are streamed: requests for weight words, and the words in the same order, after any latency.
    """

    def __init__(self, parameters: CoreParameters) -> None:
        self.parameters = parameters
        is_wide = parameters.words_per_cycle > 1
        self.accumulator = WideAccumulator(parameters) if is_wide else Accumulator(parameters)
        ways = {
            "requests": Out(stream.Signature(weight_request_layout(parameters))),
            "weights": In(stream.Signature(parameters.lanes * parameters.weight_width)),
        }
        self.sweep = NeuronSweep(parameters, read_latency=self.accumulator.READ_LATENCY)
        packet = parameters.axon_width, parameters.v_width
        super().__init__(
            {
                "i": In(stream.Signature(packet_layout(*packet))),
                "o": Out(stream.Signature(packet_layout(*packet, parameters.destinations))),
                "load": In(LoadPort(read_back=parameters.read_back)),
                **relation_members(parameters.destinations),
                "populations": In(bits_for(parameters.populations + 1)),
                "idle": Out(1),
                "waiting": Out(1),
                "word_added": Out(1),
                "sweeping": Out(1),
                "spike": Out(1),
                "step_done": Out(1),
                **(ways if parameters.streamed else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        m.submodules.rows = rows = RowReader(p)
        if p.streamed:
            wiring.connect(m, rows.requests, wiring.flipped(self.requests))
            wiring.connect(m, wiring.flipped(self.weights), rows.weights)
        m.submodules.accumulator = accumulator = self.accumulator
        m.submodules.sweep = sweep = self.sweep
        m.submodules.emitter = emitter = SpikeEmitter(p)
        m.submodules.populations = populations = LoadedMemory(p.memories["populations"], read_back=p.read_back)
        loads = LoadFan(m, self.load)
        for part in (rows, accumulator, sweep, emitter, populations):
            loads.connect(part.load)
        loads.finish()

        fresh = Signal(init=1)  # the current step is the first of its sample
        clearing = Signal()
        clear_word = Signal(bits_for(p.words))

        m.submodules.tokens = tokens = Tokens(p.destinations)
        parity, last = tokens.parity, tokens.last
        m.d.comb += [getattr(tokens, name).eq(getattr(self, name)) for name in relation_members(p.destinations)]

        # Input. Local events have priority; they wait only for the sweep, which never stalls. Spikes that a delayed
        # source fires in its step t precede its TICK(t + 1), so they may arrive after this core has finished step t.
        # Events that arrive while the core waits therefore belong to the step that it waits for, whatever their parity.
        packet = self.i.payload
        waiting = Signal()
        local_valid, spike_valid = Signal(), Signal()
        m.d.comb += [
            local_valid.eq(emitter.local.valid & ~sweep.reading),
            rows.events.valid.eq(local_valid | spike_valid),
            rows.events.payload.axon.eq(Mux(local_valid, emitter.local.payload.axon, packet.axon)),
            rows.events.payload.value.eq(Mux(local_valid, emitter.local.payload.value, packet.value)),
            rows.events.payload.last.eq(Mux(local_valid, last, packet.last)),
            emitter.local.ready.eq(rows.events.ready & ~sweep.reading),
        ]
        if p.destinations:
            m.d.comb += [
                rows.events.payload.parity.eq(Mux(local_valid | waiting, parity, packet.parity)),
                rows.events.payload.other.eq(~local_valid & waiting & (packet.parity ^ parity)),
            ]
        else:
            m.d.comb += rows.events.payload.parity.eq(Mux(local_valid, parity, packet.parity))
        # While the accumulators are being cleared input must wait: the clearing would erase what an event has just
        # added.
        with m.If(~clearing), m.Switch(packet.kind):
            with m.Case(PacketKind.SPIKE):
                m.d.comb += [
                    spike_valid.eq(self.i.valid),
                    self.i.ready.eq(rows.events.ready & ~local_valid),
                ]
            # Tokens only advance counters, so they are accepted even while the row fetch is stalled.
            with m.Default():
                m.d.comb += self.i.ready.eq(1)
        taken = self.i.valid & self.i.ready
        m.d.comb += [
            tokens.tick.eq(taken & (packet.kind == PacketKind.TICK)),
            tokens.ack.eq(taken & (packet.kind == PacketKind.ACK)),
            tokens.token_parity.eq(packet.parity),
            tokens.token_last.eq(packet.last),
        ]

        # The sweep reads the bank of the current step's parity; additions of the next step use the other bank.
        population = Signal.like(self.populations)
        m.d.comb += [
            populations.address.eq(population),
            sweep.rule.eq(populations.data),
            sweep.fresh.eq(fresh),
            sweep.current.eq(accumulator.current),
            sweep.current_valid.eq(accumulator.current_valid),
            accumulator.sweep.eq(sweep.reading),
            accumulator.bank.eq(parity),
            accumulator.address.eq(sweep.address),
            accumulator.word.eq(rows.word),
            accumulator.clear.eq(clearing),
            accumulator.clear_address.eq(clear_word),
            emitter.restart.eq(sweep.start),
            emitter.push.eq(sweep.emit_valid),
            emitter.word.eq(sweep.emit_word),
            emitter.fired.eq(sweep.emit),
            emitter.value.eq(sweep.sent),
            emitter.rule.eq(sweep.held_rule),
        ]

        # Output: spikes, or the tokens that end a step. They never compete, since TOKENS begins after the emitter has
        # drained; `finish` selects the payload, so that it does not depend on `valid` of either source.
        emitted = emitter.packets.payload
        m.d.comb += [
            self.o.valid.eq(emitter.packets.valid | tokens.o.valid),
            emitter.packets.ready.eq(self.o.ready),
            tokens.o.ready.eq(self.o.ready),
        ]
        with m.If(tokens.finish):
            m.d.comb += [
                getattr(self.o.payload, name).eq(getattr(tokens.o.payload, name))
                for name in self.o.payload.shape().members
                if name not in ("axon", "value")
            ]
        with m.Else():
            m.d.comb += [
                self.o.payload.kind.eq(Mux(emitted.membrane, PacketKind.MEMBRANE, PacketKind.SPIKE)),
                self.o.payload.parity.eq(parity),
                self.o.payload.last.eq(last),
                self.o.payload.axon.eq(emitted.axon),
                self.o.payload.value.eq(emitted.value),
            ]
            if p.destinations:
                m.d.comb += self.o.payload.destinations.eq(sweep.held_rule.destinations)

        # A sweep begins when the pipelines hold nothing of the current step: no event of its parity, no spike of the
        # previous population (which may be a local event for this one), and no sweep in progress.
        adding = Signal(2)  # one bit per parity: events of a step with this parity are being added
        drained = Signal()
        m.d.comb += adding.eq(rows.busy | accumulator.busy)
        m.d.comb += drained.eq(~adding.bit_select(parity, 1) & ~emitter.busy & ~sweep.busy)
        with m.FSM():
            with m.State("CLEAR"):
                m.d.comb += clearing.eq(1)
                m.d.sync += clear_word.eq(clear_word + 1)
                with m.If(clear_word == p.words - 1):
                    m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += self.idle.eq(~adding.any() & ~spike_valid)
                # See above: events that arrive in this state belong to the step that is waited for.
                m.d.comb += waiting.eq(1)
                with m.If(tokens.due):
                    m.d.comb += tokens.start.eq(1)
                    m.next = "DRAIN"
            with m.State("DRAIN"), m.If(drained):
                with m.If(population == self.populations):
                    m.next = "TOKENS"
                with m.Else():
                    m.next = "SWEEP"
            with m.State("SWEEP"):
                m.d.comb += sweep.start.eq(1)
                # Advanced at the start of the sweep: the memory of populations takes two cycles, and `drained` allows
                # the next sweep only after this one, which holds its own copy of the rule.
                m.d.sync += population.eq(population + 1)
                m.next = "DRAIN"
            with m.State("TOKENS"):
                m.d.comb += tokens.finish.eq(1)
                with m.If(tokens.done):
                    m.d.comb += self.step_done.eq(1)
                    # The first step after the last one of a sample starts from the initial state.
                    m.d.sync += [fresh.eq(last), population.eq(0)]
                    m.next = "WAIT"
        m.d.comb += [
            self.waiting.eq(rows.events.valid | rows.busy.any()),
            self.word_added.eq(rows.word.valid),
            self.sweeping.eq(sweep.busy),
            self.spike.eq(emitter.done),
        ]
        return m
