"""The neuron sweep: updates ``lanes`` neurons per cycle after the last event of a step.

::

    address ─┬─▶ state memory ──────▶ lanes ─▶ state memory
             ├─▶ neuron memory ─────▶   ▲
             └─▶ accumulators ──────────┘

Each memory is addressed ahead of time by its latency, so that all operands of a word reach the lanes aligned. The lanes
(`spikeloom.hdl.core.lane`) form a pipeline that never stalls: a sweep of ``n`` neurons takes ``ceil(n / lanes)`` cycles
plus a constant. They are arranged in one bank or in several side by side (`spikeloom.hdl.core.neuron_bank`).
"""

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.core.lane import LaneTiming
from spikeloom.hdl.core.neuron_bank import NEURON_LATENCY, NeuronBank, control_layout
from spikeloom.hdl.lib.memory import LoadPort, load_copies
from spikeloom.hdl.lib.words import struct_layout
from spikeloom.hdl.tech.ecp5_carry import far_copies, far_cycles
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.words import bits_for

__all__ = ["NeuronSweep"]


class NeuronSweep(wiring.Component):
    """Updates the words of one population.

    Parameters
    ----------
    parameters
        Sizes and features of the core.
    read_latency
        Latency of the accumulators: cycles from ``address`` to ``current``.

    Members
    -------
    start : Signal, in
    rule : population_layout, in
        Begin a sweep of the population with the parameters ``rule``, allowed while ``busy`` is low.
    fresh : Signal, in
        The current step is the first of its sample: every neuron starts from its initial state. Constant during a
        sweep.
    busy : Signal, out
        A sweep is in progress.
    reading : Signal, out
    address : Signal(bits_for(words)), out
    current : ArrayLayout(signed(accumulator_width), lanes), in
    current_valid : Signal, in
        While ``reading`` is high the sweep reads the accumulators of ``address``. ``read_latency`` cycles later
        ``current_valid`` is low if all of them are 0; otherwise ``current`` holds them. With several banks ``current``
        follows another `spikeloom.hdl.tech.ecp5_carry.far_cycles` cycles later, the delay of ``current_valid`` to the
        banks.
    emit_valid : Signal, out
    emit_word : Signal(bits_for(words)), out
    emit : Signal(lanes), out
    sent : ArrayLayout(signed(sent_width), lanes), out
        ``emit`` has a bit for each neuron of the word that sends a spike or its membrane; it must be accepted. ``sent``
        holds the values to send, as output by `NeuronLane`.
    held_rule : population_layout, out
        The population's parameters, held from the start of its sweep to the next one.
    load : LoadPort, in
        Write port of the memories for the host.
    """

    def __init__(self, parameters: CoreParameters, *, read_latency: int) -> None:
        self.parameters = p = parameters
        self.read_latency = read_latency
        self.banks = [NeuronBank(p, number) for number in range(p.lane_banks)]
        word, rule = bits_for(p.words), struct_layout(p.population_layout)
        super().__init__(
            {
                "start": In(1),
                "rule": In(rule),
                "fresh": In(1),
                "busy": Out(1),
                "reading": Out(1),
                "address": Out(word),
                "current": In(data.ArrayLayout(signed(p.accumulator_width), p.lanes)),
                "current_valid": In(1),
                "emit_valid": Out(1),
                "emit_word": Out(word),
                "emit": Out(p.lanes),
                "sent": Out(data.ArrayLayout(signed(p.sent_width), p.lanes)),
                "held_rule": Out(rule),
                "load": In(LoadPort(read_back=p.read_back)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p, timing = self.parameters, LaneTiming.of(self.parameters)

        # The pipeline of a word, in cycles from the first read. The operand with the longest latency determines
        # `arrival`, the cycle in which the states reach the lanes; faster memories are addressed later. With several
        # banks the control signals and the results each take `far` further cycles.
        state_latency = 2 if p.state_memory == "block" else 1
        neuron_latency = NEURON_LATENCY if p.neuron_layout.width else 0
        arrival = max(state_latency, neuron_latency, self.read_latency - timing.current)
        end = arrival + timing.latency
        far = far_cycles(p.lane_banks)
        sent = end + 2 * far
        valid = [Signal(name=f"valid_{cycle}") for cycle in range(sent + 1)]
        word = [Signal(bits_for(p.words), name=f"word_{cycle}") for cycle in range(sent + 1)]
        m.d.sync += [Cat(valid[1:]).eq(Cat(valid[:-1])), Cat(word[1:]).eq(Cat(word[:-1]))]
        # Words run from `first` to `last` of the population. The comparison uses the current word, so the valid bit of
        # the next one comes from a register.
        # The rule is copied, because the engine addresses the next population while this sweep is running.
        with m.If(self.start):
            m.d.sync += [valid[0].eq(1), word[0].eq(self.rule.first), self.held_rule.eq(self.rule)]
        with m.Elif(valid[0]):
            m.d.sync += [word[0].eq(word[0] + 1), valid[0].eq(word[0] != self.held_rule.last)]
        m.d.comb += self.busy.eq(Cat(valid).any())

        # The accumulators enter at stage `timing.current` of the lanes, later than the states.
        read = arrival + timing.current - self.read_latency
        m.d.comb += [self.reading.eq(valid[read]), self.address.eq(word[read])]
        control = Signal(control_layout(p))
        m.d.comb += [
            control.rule.eq(self.held_rule),
            control.fresh.eq(self.fresh),
            control.state.eq(word[arrival - state_latency]),
            control.neuron.eq(word[arrival - neuron_latency]),
            control.current_valid.eq(self.current_valid),
            control.write.eq(word[end]),
            control.write_valid.eq(valid[end]),
        ]
        copies = far_copies(m, platform, control, p.lane_banks)
        loads = load_copies(m, platform, self.load, p.lane_banks)
        any_of_bank = Signal(p.lane_banks)
        for number, bank in enumerate(self.banks):
            m.submodules[f"bank{number}"] = bank
            wiring.connect(m, loads[number], bank.load)
            first = number * p.bank_lanes
            m.d.comb += bank.control.eq(copies[number])
            m.d.comb += [bank.current[place].eq(self.current[first + place]) for place in range(p.bank_lanes)]
            # On the way back, the OR over a bank's spikes is computed ahead of the last register.
            emit, values, any_sent = bank.emit, Value.cast(bank.sent), bank.emit.any()
            for cycle in range(far):
                before = Cat(emit.any(), emit, values)
                arrived = Signal(len(before), name=f"arrived_{number}_{cycle}", reset_less=True)
                m.d.sync += arrived.eq(before)
                any_sent, emit, values = arrived[0], arrived[1 : 1 + p.bank_lanes], arrived[1 + p.bank_lanes :]
            m.d.comb += [
                any_of_bank[number].eq(any_sent),
                self.emit[first : first + p.bank_lanes].eq(emit),
                Cat(self.sent[first + place] for place in range(p.bank_lanes)).eq(values),
            ]
        m.d.comb += [self.emit_valid.eq(valid[sent] & any_of_bank.any()), self.emit_word.eq(word[sent])]
        return m
