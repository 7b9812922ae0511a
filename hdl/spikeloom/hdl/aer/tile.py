"""AER tile: receives events from, or sends events to, an AER chip, in the steps of the fabric.

::

    input    wires ─▶ AerReceiver ─▶ table ─▶ queue of the next step ══ when it begins ═▶ spikes, TICK ─▶ o
    output   i ─▶ queue of each parity ═▶ table ─▶ AerSender ─▶ wires;  step complete: TICK, ACK ─▶ o

**Input.** The chip has no notion of steps. Events that arrive between the beginnings of steps t - 1 and t belong to
step t. A step begins when its tokens have arrived (a TICK of the host and ACKs of the sinks) and, with
``step_cycles``, its period begins. Its spikes are then sent, each axon once, while events of the next step are
collected. While the queue is full the chip is not acknowledged and must wait, so no event is lost.

**Output.** Spikes are queued by the parity of their step and sent in order of arrival, step by step. A step is
acknowledged when its last event has completed all four phases. Sources are at most two steps ahead, so queues as deep
as the network's output never fill and packets are always accepted. A dead chip stops the steps, but blocks no packet in
the mesh.
"""

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.aer.handshake import AerReceiver, AerSender
from spikeloom.hdl.lib.block_queue import BlockQueue
from spikeloom.hdl.lib.memory import LoadedMemory, LoadPort, connect_registers
from spikeloom.hdl.lib.registers import RegisterBank
from spikeloom.hdl.noc.packet import PacketKind
from spikeloom.hdl.noc.tile import TileSignature, pin_members, register_tile
from spikeloom.hdl.noc.tokens import Tokens
from spikeloom.hdl.tech.block_ram import BlockMemory
from spikeloom.sim.aer.parameters import AerTileParameters
from spikeloom.sim.aer.registers import AER

__all__ = ["AerTile", "EventQueue", "Translator"]


class EventQueue(wiring.Component):
    """A queue of axons without duplicates.

    A reset erases its memory, one axon per cycle; no axon is accepted meanwhile.

    Parameters
    ----------
    axon_width
        Width of an axon. The memory has one bit per axon.
    depth
        Capacity in axons, a power of two.

    Members
    -------
    i : Stream(axon_width), in
    o : Stream(axon_width), out
        Axons. Accepting one takes four or five cycles.
    busy : Signal, out
        An axon offered at ``i`` is being processed and may be accepted, or the memory is being erased.
    repeated : Signal, out
        The axon accepted at ``i`` is a duplicate.
    empty : Signal, out
        The queue holds no axon. An accepted axon appears at ``o`` a few cycles later.
    """

    def __init__(self, axon_width: int, depth: int) -> None:
        self.depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(axon_width)),
                "o": Out(stream.Signature(axon_width)),
                "busy": Out(1),
                "repeated": Out(1),
                "empty": Out(1, init=1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = len(self.i.payload)
        m.submodules.queue = queue = BlockQueue(width, self.depth)
        m.submodules.present = present = BlockMemory(1, 1 << width, pipelined=True)
        push, pop, level, full = Signal(), Signal(), Signal(range(self.depth + 1)), Signal()
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        m.d.comb += [
            push.eq(queue.i.valid & queue.i.ready),
            pop.eq(self.o.valid & self.o.ready),
            queue.i.payload.eq(self.i.payload),
            present.address.eq(self.i.payload),
            self.empty.eq(level == 0),
            full.eq(level == self.depth),
        ]
        # `level` counts an axon until it leaves `o`. While it is below the depth, the block queue has a free place, and
        # the FSM need not wait for one after the look-up.
        m.d.sync += level.eq(level + push - pop)

        # One bit per axon marks those in the queue. It is read before an axon enters, and cleared when the axon leaves.
        place, waiting = Signal(width), Signal(range(present.latency))
        m.d.comb += [present.write_address.eq(place), present.write_enable.eq(0)]
        with m.If(pop):
            m.d.comb += [present.write_address.eq(self.o.payload), present.write_enable.eq(1)]
        # The bits are block RAM, which a reset cannot erase: they are written one by one before the first axon.
        with m.FSM():
            with m.State("CLEAR"):
                m.d.comb += [self.busy.eq(1), present.write_enable.eq(1)]
                m.d.sync += place.eq(place + 1)
                with m.If(place.all()):
                    m.next = "IDLE"
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(self.i.valid & ~full)
                m.d.sync += waiting.eq(present.latency - 1)
                with m.If(self.busy):
                    m.next = "LOOK"
            with m.State("LOOK"):
                m.d.comb += self.busy.eq(1)
                with m.If(waiting != 0):
                    m.d.sync += waiting.eq(waiting - 1)
                with m.Elif(~pop):  # a departing axon uses the only write port
                    m.d.comb += [
                        self.i.ready.eq(1),
                        self.repeated.eq(present.data),
                        queue.i.valid.eq(~present.data),
                        present.write_address.eq(self.i.payload),
                        present.write_data.eq(1),
                        present.write_enable.eq(1),
                    ]
                    m.next = "IDLE"
        return m


class Translator(wiring.Component):
    """Translates addresses to axons or vice versa by a table; numbers without an entry are dropped.

    Parameters
    ----------
    parameters
        Parameters of the tile, which declare the table.

    Members
    -------
    load : LoadPort, in
        Write port of the table for the host.
    i : Stream(index of the table), in
        Numbers to translate: addresses in an input, axons in an output.
    o : Stream(value of the table), out
        Translated numbers, from a register. Each takes four or five cycles.
    unknown : Signal, out
        The number accepted at ``i`` has no entry and is dropped.
    """

    def __init__(self, parameters: AerTileParameters) -> None:
        self._table, self._read_back = parameters.table, parameters.read_back
        known, value = parameters.table_layout.fields
        super().__init__(
            {
                "load": In(LoadPort(read_back=parameters.read_back)),
                "i": In(stream.Signature((self._table.depth - 1).bit_length())),
                "o": Out(stream.Signature(value.width)),
                "unknown": Out(known.width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.table = table = LoadedMemory(self._table, pipelined=True, read_back=self._read_back)
        wiring.connect(m, wiring.flipped(self.load), table.load)
        waiting = Signal(range(table.latency + 1), init=table.latency)
        here, known = Signal(), Signal()
        m.d.comb += [
            table.address.eq(self.i.payload),
            here.eq(self.i.valid & (waiting == 0) & (~self.o.valid | self.o.ready)),
            known.eq(table.data[0]),
            self.unknown.eq(here & ~known),
            self.i.ready.eq(here),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(here):
            m.d.sync += [self.o.payload.eq(table.data[1:]), self.o.valid.eq(known)]
        # The table reads in every cycle. Its word belongs to the number at the input once that number has been there
        # for the latency of the table.
        with m.If(~self.i.valid | self.i.ready):
            m.d.sync += waiting.eq(table.latency)
        with m.Elif(waiting != 0):
            m.d.sync += waiting.eq(waiting - 1)
        return m


@register_tile(AerTileParameters)
class AerTile(wiring.Component):
    """An AER port that accepts and sends packets.

    Writing 1 to bit 0 of the register ``control`` discards waiting events and all tokens. The queues of an input then
    take one cycle per axon before they accept events again. A handshake in progress completes its phases.

    Parameters
    ----------
    parameters
        Parameters of the tile.

    Members
    -------
    As `TileSignature`. At ``i`` an input accepts tokens only, an output tokens and spikes.
    `spikeloom.sim.aer.registers` lists the registers and the table. The pins:

    request, acknowledge : Signal, in and out, for an output out and in
    address : Signal(address_width), in or out
        To the chip, or from it.
    """

    def __init__(self, parameters: AerTileParameters) -> None:
        if not isinstance(parameters, AerTileParameters):
            raise TypeError(f"parameters must be AerTileParameters, not {parameters!r}")
        self.parameters = parameters
        super().__init__(TileSignature(parameters))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        registers = RegisterBank(AER, p.contents)
        m.submodules.registers = ResetInserter(self.reset)(registers)
        if not p.read_back:
            wiring.connect(m, wiring.flipped(self.configuration), registers.configuration)
        restart, step_done = Signal(), Signal()
        m.d.comb += [restart.eq(self.reset | self.clear | registers.control), self.step_done.eq(step_done)]
        running = Module()
        # Everything that a clear empties is in a module of its own, apart from registers, counters and handshake.
        m.submodules.running = ResetInserter(restart)(running)

        # The load port is registered, so that its fan-out is not on the critical path.
        translator = Translator(p)
        running.submodules.translator = translator
        for name in ("write_enable", "memory", "plane", "index", "write_data"):
            m.d.sync += getattr(translator.load, name).eq(getattr(self.configuration, name))
        if p.read_back:
            m.d.sync += translator.load.reading.eq(self.configuration.reading)
            connect_registers(m, self.configuration, registers.configuration, translator.load)

        tokens = Tokens(p.destinations)
        running.submodules.tokens = tokens
        for name in ("sources", "sinks", "tick_destinations", "ack_destinations"):
            running.d.comb += getattr(tokens, name).eq(getattr(registers, name))
        out = self.o.payload
        running.d.comb += step_done.eq(tokens.done)
        with running.If(tokens.finish):
            running.d.comb += [self.o.valid.eq(tokens.o.valid), tokens.o.ready.eq(self.o.ready)]
            running.d.comb += [
                getattr(out, name).eq(getattr(tokens.o.payload, name)) for name in tokens.o.payload.shape().members
            ]

        # A clear does not reset the handshake, which would cut off its phases at the chip.
        if p.is_input:
            line = AerReceiver(p.address_width, stages=p.stages, active_low=p.active_low)
            transferred = line.o
            idle, repeated = self._elaborate_input(running, registers, tokens, translator, line)
        else:
            line = AerSender(p.address_width, stages=p.stages, active_low=p.active_low, setup_cycles=p.setup_cycles)
            transferred = line.i
            idle, repeated = self._elaborate_output(running, registers, tokens, translator, line)
        m.submodules.line = line
        for name, member in pin_members(p).items():
            inner, outer = getattr(line, name), getattr(self, name)
            m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        for count, event in (
            (registers.events, transferred.valid & transferred.ready),
            (registers.repeated, repeated),
            (registers.unknown, translator.unknown),
        ):
            with m.If(restart):
                m.d.sync += count.eq(0)
            with m.Else():
                m.d.sync += count.eq(count + event)

        # Timer of the phase that the chip must end. `waited` counts only while a handshake waits for the chip, and
        # restarts with each phase.
        phase, waited, stalled = Signal(), Signal(32), Signal()
        m.d.sync += phase.eq(self.request)
        with m.If(~line.waiting | (phase != self.request)):
            m.d.sync += waited.eq(0)
        with m.Elif(waited != registers.patience):
            m.d.sync += waited.eq(waited + 1)
        with m.Elif(waited != 0):
            m.d.sync += stalled.eq(1)
        # A new session keeps this flag, so that a host can find the cause of a stalled run.
        with m.If(self.clear | registers.control):
            m.d.sync += stalled.eq(0)
        m.d.comb += registers.status.eq(Cat(idle, stalled))
        return m

    def _arriving(self, m: Module, tokens: Tokens, taken: Value) -> tuple[Signal, Signal]:
        """The packet in the input register, which holds it until it is ``taken``, and whether it is valid."""
        packet, arrived = Signal(self.i.payload.shape(), reset_less=True), Signal()
        m.d.comb += self.i.ready.eq(~arrived | taken)
        with m.If(self.i.ready):
            m.d.sync += [packet.eq(self.i.payload), arrived.eq(self.i.valid)]
        m.d.comb += [
            tokens.tick.eq(arrived & (packet.kind == PacketKind.TICK)),
            tokens.ack.eq(arrived & (packet.kind == PacketKind.ACK)),
            tokens.token_parity.eq(packet.parity),
            tokens.token_last.eq(packet.last),
        ]
        return packet, arrived

    def _elaborate_input(
        self, m: Module, registers: RegisterBank, tokens: Tokens, translator: Translator, line: AerReceiver
    ) -> tuple[Value, Value]:
        """Add the logic of an input. Return whether it is idle, and whether an event is dropped as a duplicate."""
        p = self.parameters
        self._arriving(m, tokens, Const(1))
        queues = [EventQueue(p.axon_width, p.depth) for _ in range(2)]
        m.submodules.queue_0, m.submodules.queue_1 = queues

        # From the wires to the queue of the next step. Without a program the chip is not acknowledged.
        in_step, sending, collecting, enabled = Signal(), Signal(), Signal(), Signal()
        m.d.sync += enabled.eq(registers.sources != 0)
        m.d.comb += [
            # Between steps events are collected for the step to come, and during a step for the one after it.
            collecting.eq(tokens.parity ^ in_step),
            translator.i.payload.eq(line.o.payload),
            translator.i.valid.eq(line.o.valid & enabled),
            line.o.ready.eq(translator.i.ready & enabled),
        ]
        busy, empty = Signal(2), Signal(2)
        out = self.o.payload
        for number, queue in enumerate(queues):
            m.d.comb += [
                queue.i.payload.eq(translator.o.payload),
                busy[number].eq(queue.busy),
                empty[number].eq(queue.empty),
            ]
            with m.If(collecting == number):
                m.d.comb += [queue.i.valid.eq(translator.o.valid), translator.o.ready.eq(queue.i.ready)]
            with m.If(sending & (tokens.parity == number)):
                m.d.comb += [
                    self.o.valid.eq(queue.o.valid),
                    queue.o.ready.eq(self.o.ready),
                    out.kind.eq(PacketKind.SPIKE),
                    out.parity.eq(tokens.parity),
                    out.last.eq(tokens.last),
                    out.axon.eq(queue.o.payload),
                    out.value.eq(1),
                    out.destinations.eq(registers.spike_destinations),
                ]

        # The period timer runs independently of the fabric, so that one delayed step does not shift all later ones.
        left, period = Signal(32), Signal()
        with m.If(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.Elif(enabled):
            m.d.sync += [left.eq(Mux(registers.step_cycles == 0, 0, registers.step_cycles - 1)), period.eq(1)]
        idle = Signal()
        with m.FSM():
            with m.State("WAIT"):
                m.d.comb += idle.eq(empty.all() & ~line.o.valid & ~translator.o.valid)
                # An axon that is being accepted still belongs to this step.
                with m.If(tokens.due & period & ~busy.bit_select(collecting, 1)):
                    m.d.comb += tokens.start.eq(1)
                    # The step uses up its period, unless the next period begins in this very cycle or `step_cycles` is
                    # 0.
                    m.d.sync += period.eq((registers.step_cycles == 0) | (left == 0))
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += [in_step.eq(1), sending.eq(1)]
                with m.If(empty.bit_select(tokens.parity, 1)):
                    m.next = "FINISH"
            with m.State("FINISH"):
                m.d.comb += [in_step.eq(1), tokens.finish.eq(1)]
                with m.If(tokens.done):
                    m.next = "WAIT"
        return idle, queues[0].repeated | queues[1].repeated

    def _elaborate_output(
        self, m: Module, registers: RegisterBank, tokens: Tokens, translator: Translator, line: AerSender
    ) -> tuple[Value, Value]:
        """Add the logic of an output. Return whether it is idle, and 0, because an output drops no duplicates."""
        p = self.parameters
        taken, room = Signal(), Signal(2)
        packet, arrived = self._arriving(m, tokens, taken)
        is_spike = packet.kind == PacketKind.SPIKE
        # Tokens need no room. A spike waits for its own queue, which does not fill if it is as deep as the network's
        # output.
        m.d.comb += taken.eq(~is_spike | room.bit_select(packet.parity, 1))
        queues = [BlockQueue(p.axon_width, p.depth) for _ in range(2)]
        m.submodules.queue_0, m.submodules.queue_1 = queues
        empty = Signal(2)
        for number, queue in enumerate(queues):
            level = Signal(range(p.depth + 8), name=f"level_{number}")  # includes axons between the memory and `o`
            m.d.comb += [
                queue.i.payload.eq(packet.axon),
                queue.i.valid.eq(arrived & is_spike & (packet.parity == number)),
                room[number].eq(queue.i.ready),
                empty[number].eq(level == 0),
            ]
            m.d.sync += level.eq(level + (queue.i.valid & queue.i.ready) - (queue.o.valid & queue.o.ready))
            with m.If(tokens.parity == number):
                m.d.comb += [
                    translator.i.payload.eq(queue.o.payload),
                    translator.i.valid.eq(queue.o.valid),
                    queue.o.ready.eq(translator.i.ready),
                ]
        wiring.connect(m, translator.o, line.i)

        idle, out = Signal(), Signal()
        m.d.comb += out.eq(line.idle & ~translator.o.valid)
        with m.FSM():
            with m.State("WAIT"):
                m.d.comb += idle.eq(empty.all() & ~arrived & out)
                # After the TICKs no further event of this step arrives, so an empty queue and an idle line complete it.
                with m.If(tokens.due & empty.bit_select(tokens.parity, 1) & out):
                    m.d.comb += tokens.start.eq(1)
                    m.next = "FINISH"
            with m.State("FINISH"):
                m.d.comb += tokens.finish.eq(1)
                with m.If(tokens.done):
                    m.next = "WAIT"
        return idle, Const(0)
