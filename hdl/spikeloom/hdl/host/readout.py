"""Readout of the host bridge: accumulates a score per output and sends the host only the result of each sample.

`spikeloom.sim.host.readout` specifies it. Packets of axons that are not outputs are dropped; ACKs and TICKs pass. The
TICK that ends a sample is preceded by MEMBRANE packets: optionally one per output, with its axon and score, then one
with the number of the winning output and its score.

With several tiles, one may be a step ahead and thus already in the next sample. A second set of scores serves that
sample.

A packet takes 4 cycles, and the end of a sample 3 cycles per output. This does not limit throughput: an output spikes
at most once per step, and a step takes longer. In mode 0 packets are passed through combinationally.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.noc.packet import PacketKind, packet_layout
from spikeloom.hdl.noc.tokens import HostTokens
from spikeloom.hdl.tech.block_ram import BlockMemory
from spikeloom.sim.host.readout import ReadoutMode, ReadoutParameters
from spikeloom.sim.lib.words import bits_for

__all__ = ["SpikeReadout"]


class SpikeReadout(wiring.Component):
    """Reduces the packets of the fabric to the result of each sample. A reset erases the scores, one per cycle.

    Parameters
    ----------
    parameters
        Parameters of the readout.
    axon_width, value_width
        Widths in the fabric's packets. Outgoing packets have values of ``sent_value_width`` bits.
    tiles
        As for `HostTokens`.

    Members
    -------
    i : Stream(packet_layout(axon_width, value_width)), in
    o : Stream(packet_layout(axon_width, sent_value_width)), out
        Packets.
    mode : Signal(ReadoutMode), in
    vector : Signal, in
    outputs, first : Signal(16), in
    sources : Signal(8), in
        The bridge's registers ``readout_mode``, ``readout_vector``, ``readout_outputs``, ``readout_first`` and
        ``sources``, which may change only between samples. ``outputs`` is the number of outputs minus one.
    """

    def __init__(self, parameters: ReadoutParameters, axon_width: int, value_width: int, tiles: int = 0) -> None:
        self.parameters = parameters
        self.axon_width, self.value_width, self.tiles = axon_width, value_width, tiles
        self.sent_value_width = max(value_width, parameters.width)
        super().__init__(
            {
                "i": In(stream.Signature(packet_layout(axon_width, value_width))),
                "o": Out(stream.Signature(packet_layout(axon_width, self.sent_value_width))),
                "mode": In(ReadoutMode),
                "vector": In(1),
                "outputs": In(16),
                "first": In(16),
                "sources": In(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width, top = self.parameters.width, self.parameters.top
        number_bits = bits_for(self.parameters.outputs)
        # The second bank holds the scores of the next sample, which a tile that is ahead may already send.
        banks = 2 if self.tiles else 1
        m.submodules.memory = memory = BlockMemory(width + 1, banks * self.parameters.outputs)
        m.submodules.tokens = tokens = HostTokens(self.tiles)
        packet, sent = self.i.payload, self.o.payload
        m.d.comb += tokens.sources.eq(self.sources if self.tiles else 1)

        # The step and sample that a packet belongs to. A packet of the other parity is a step ahead; it belongs to the
        # next sample if the step in progress is the last of this one.
        # `step` saturates at `top`, from which on a first spike scores 1 anyway.
        step = Signal(width - 1)
        bank = Signal()
        ended = Signal(2)  # one bit per parity: the step is the last of its sample, according to a TICK
        ahead, following = Signal(), Signal()
        if self.tiles:
            m.d.comb += [
                ahead.eq(packet.parity != tokens.step_parity),
                following.eq(ahead & ended.bit_select(tokens.step_parity, 1)),
            ]

        number = Signal(number_bits)
        place = Signal(range(banks * self.parameters.outputs))
        value = Signal(signed(self.value_width), reset_less=True)
        late = Signal(width - 1, reset_less=True)
        place_bank = Signal()
        place_bits = Cat(number, place_bank)[: len(place)]
        wait = Signal(2)
        passing = Signal()

        # The stored score and its new value. Bit `touched` marks a score that has been written in this sample, so that
        # erasing a score is writing 0.
        score, touched = Signal(signed(width)), memory.data[width]
        following_score = Signal(signed(width))
        total = Signal(signed(max(width, self.value_width) + 1))
        # The value of an event can be of any size in mode COUNT, which counts the events of graded spikes. Events whose
        # values are numbers of spikes are added in mode SUM.
        addend = Mux(self.mode == ReadoutMode.COUNT, Const(1, signed(2)), value)
        m.d.comb += [
            score.eq(memory.data[:width].as_signed()),
            total.eq(score + addend),
            memory.address.eq(place),
            memory.write_address.eq(place),
            place.eq(place_bits),
        ]
        with m.Switch(self.mode):
            with m.Case(ReadoutMode.FIRST):
                m.d.comb += following_score.eq(Mux(touched, score, Mux(late >= top - 1, 1, top - late)))
            with m.Case(ReadoutMode.LAST):
                m.d.comb += following_score.eq(value)
            with m.Case(ReadoutMode.LARGEST):
                m.d.comb += following_score.eq(Mux(touched & (score > value), score, value))
            with m.Default():
                m.d.comb += following_score.eq(total)
                with m.If(total > top):
                    m.d.comb += following_score.eq(top)
                with m.Elif(total < -top - 1):
                    m.d.comb += following_score.eq(-top - 1)

        best, best_number = Signal(signed(width)), Signal(number_bits)
        m.d.comb += sent.parity.eq(tokens.step_parity)

        with m.FSM():
            with m.State("WIPE"):
                # A reset does not clear block RAM, so the scores of an unfinished sample are erased here.
                m.d.comb += memory.write_enable.eq(1)
                m.d.sync += Cat(number, place_bank).eq(Cat(number, place_bank) + 1)
                with m.If(Cat(number, place_bank).all()):
                    m.next = "PACKET"
            with m.State("PACKET"):
                index = Signal(range(-(1 << 16), 1 << max(17, self.axon_width + 1)))
                m.d.comb += index.eq(packet.axon - self.first)
                m.d.sync += wait.eq(0)
                is_tick = packet.kind == PacketKind.TICK
                with m.If((self.mode == ReadoutMode.OFF) | (packet.kind == PacketKind.ACK)):
                    m.d.comb += passing.eq(1)
                with m.Elif(is_tick & ~(tokens.complete & packet.last)):
                    m.d.comb += passing.eq(1)
                with m.Elif(is_tick):
                    m.d.sync += [number.eq(0), place_bank.eq(bank), best_number.eq(0)]
                    with m.If(self.i.valid):
                        m.next = "SCAN"
                with m.Else():
                    m.d.comb += self.i.ready.eq(1)
                    m.d.sync += [
                        number.eq(index),
                        value.eq(packet.value),
                        place_bank.eq(bank ^ following),
                        late.eq(Mux(following, 0, step + (ahead & (step != top)))),
                    ]
                    # An axon that is not an output has been accepted above and is dropped here.
                    with m.If(self.i.valid & (index >= 0) & (index <= self.outputs)):
                        m.next = "SCORE"
            with m.State("SCORE"):
                # The score arrives after the two cycles of memory latency; its new value is written in the same cycle.
                m.d.sync += wait.eq(wait + 1)
                with m.If(wait == 2):
                    m.d.comb += [memory.write_data.eq(Cat(following_score, 1)), memory.write_enable.eq(1)]
                    m.next = "PACKET"
            with m.State("SCAN"):
                m.d.comb += [sent.kind.eq(PacketKind.MEMBRANE), sent.axon.eq(number + self.first), sent.value.eq(score)]
                with m.If(wait != 2):
                    m.d.sync += wait.eq(wait + 1)
                with m.Else():
                    m.d.comb += self.o.valid.eq(self.vector)
                    with m.If(~self.vector | self.o.ready):
                        m.d.comb += memory.write_enable.eq(1)
                        with m.If((number == 0) | (score > best)):
                            # Strictly greater, so that of equal scores the lowest output wins.
                            m.d.sync += [best.eq(score), best_number.eq(number)]
                        m.d.sync += [number.eq(number + 1), wait.eq(0)]
                        with m.If(number == self.outputs[:number_bits]):
                            m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    sent.kind.eq(PacketKind.MEMBRANE),
                    sent.axon.eq(best_number),
                    sent.value.eq(best),
                ]
                with m.If(self.o.ready):
                    m.next = "END"
            # The TICK has waited at the input meanwhile; the host receives it after the result.
            with m.State("END"):
                m.d.comb += passing.eq(1)
                with m.If(self.o.ready):
                    m.next = "PACKET"

        with m.If(passing):
            m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready)]
            m.d.comb += [getattr(sent, name).eq(getattr(packet, name)) for name, _ in packet.shape()]
        m.d.comb += [
            tokens.tick.eq(passing & self.i.valid & self.o.ready & (packet.kind == PacketKind.TICK)),
            tokens.tick_parity.eq(packet.parity),
        ]
        with m.If(tokens.tick):
            mine = ended.bit_select(packet.parity, 1)
            m.d.sync += mine.eq(mine | packet.last)
            with m.If(tokens.complete):
                m.d.sync += [mine.eq(0), step.eq(Mux(packet.last, 0, Mux(step == top, top, step + 1)))]
                if self.tiles:
                    m.d.sync += bank.eq(bank ^ packet.last)
        return m
