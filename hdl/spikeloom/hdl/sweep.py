"""The neuron sweep: after a step's last event, ``lanes`` neurons a cycle are updated.

    address ─┬─▶ state memory ──────▶ lanes ─▶ state memory
             ├─▶ neuron memory ─────▶   ▲
             └─▶ accumulators ──────────┘

Each memory is read so many cycles before the lanes need what it gives. The lanes (`spikeloom.hdl.lane`) are one
pipeline, which never stalls: a sweep of ``n`` neurons takes ``ceil(n / lanes)`` cycles and a constant.
"""

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.lane import LaneTiming, NeuronLane
from spikeloom.hdl.memory import BlockMemory, DistributedMemory, LoadedMemory, LoadPort, struct_layout
from spikeloom.sim.core import CoreParameters
from spikeloom.sim.words import bits_for

__all__ = ["NeuronSweep"]

NEURON_LATENCY = 2
"""Cycles from an address to the parameters of its neurons."""


class NeuronSweep(wiring.Component):
    """Updates the words of one population.

    Parameters
    ----------
    read_latency
        Cycles from ``address`` to ``current``.

    Members
    -------
    start, rule
        Begin a sweep of the population whose word of the population memory is ``rule``; only while ``busy`` is low.
    fresh
        The step in progress is the first of its sample: every state counts as that of its start. Not to change during
        a sweep.
    busy
        A sweep is under way.
    reading, address, current, current_valid
        While ``reading`` is high the sweep takes the accumulators of ``address``: `read_latency` cycles later they are
        ``current``, or all 0 where ``current_valid`` is low.
    emit_valid, emit_word, emit, sent
        The neurons of a word that have something to send: a spike, or a membrane that is read out. Never refused.
        ``sent`` is what they send: their membrane, or in a core with graded spikes the exact ``u``.
    held_rule
        The rule of the sweep under way or, after it, of the last one.
    """

    def __init__(self, parameters: CoreParameters, *, read_latency: int) -> None:
        self.parameters = p = parameters
        self.read_latency = read_latency
        self._states_layout = data.ArrayLayout(struct_layout(p.state_layout), p.lanes)
        kind = BlockMemory if p.state_memory == "block" else DistributedMemory
        self.states = kind(self._states_layout.size, p.words)
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
                "load": In(LoadPort()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p, timing = self.parameters, LaneTiming.of(self.parameters)
        m.submodules.states = states = self.states

        # A word's way in cycles from the first read; in `arrival` its states come out of their memory's register.
        state_latency = 2 if p.state_memory == "block" else 1
        neuron_latency = NEURON_LATENCY if p.neuron_layout.width else 0
        arrival = max(state_latency, neuron_latency, self.read_latency - timing.current)
        end = arrival + timing.latency
        valid = [Signal(name=f"valid_{cycle}") for cycle in range(end + 1)]
        word = [Signal(bits_for(p.words), name=f"word_{cycle}") for cycle in range(end + 1)]
        m.d.sync += [Cat(valid[1:]).eq(Cat(valid[:-1])), Cat(word[1:]).eq(Cat(word[:-1]))]
        # (Whether the word is the last is found a cycle early.)
        with m.If(self.start):
            m.d.sync += [valid[0].eq(1), word[0].eq(self.rule.first), self.held_rule.eq(self.rule)]
        with m.Elif(valid[0]):
            m.d.sync += [word[0].eq(word[0] + 1), valid[0].eq(word[0] != self.held_rule.last)]
        m.d.comb += self.busy.eq(Cat(valid).any())

        read = arrival + timing.current - self.read_latency
        m.d.comb += [self.reading.eq(valid[read]), self.address.eq(word[read])]
        m.d.comb += states.address.eq(word[arrival - state_latency])
        state: Value = states.data
        if p.state_memory == "distributed":
            state = Signal(states.data.shape(), reset_less=True)
            m.d.sync += state.eq(states.data)
        states_read = data.View(self._states_layout, state)
        neurons_layout = data.ArrayLayout(struct_layout(p.neuron_layout), p.lanes)
        neurons_read = data.View(neurons_layout, Signal(neurons_layout))  # without bits, if there is no such memory
        if p.neuron_layout.width:
            m.submodules.neurons = neurons = LoadedMemory(p.memories["neurons"])
            wiring.connect(m, wiring.flipped(self.load), neurons.load)
            m.d.comb += neurons.address.eq(word[arrival - NEURON_LATENCY])
            neurons_read = data.View(neurons_layout, neurons.data)

        new_states = Signal(self._states_layout)
        for number in range(p.lanes):
            m.submodules[f"lane{number}"] = lane = NeuronLane(p)
            m.d.comb += [
                lane.rule.eq(self.held_rule),
                lane.fresh.eq(self.fresh),
                lane.state.eq(states_read[number]),
                lane.neuron.eq(neurons_read[number]),
                lane.current.eq(self.current[number]),
                lane.current_valid.eq(self.current_valid),
                new_states[number].eq(lane.new_state),
                self.emit[number].eq(lane.emit),
                self.sent[number].eq(lane.sent),
            ]
        # (The states go to their memory from registers: it is far from most lanes.)
        m.d.sync += [
            states.write_address.eq(word[end]),
            states.write_data.eq(new_states),
            states.write_enable.eq(valid[end]),
        ]
        m.d.comb += [
            self.emit_valid.eq(valid[end] & self.emit.any()),
            self.emit_word.eq(word[end]),
        ]
        return m
