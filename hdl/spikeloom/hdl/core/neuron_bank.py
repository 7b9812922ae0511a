"""A bank of neuron lanes with their state and parameter memories, controlled by `spikeloom.hdl.core.sweep`.

A core has one bank with all lanes, or several banks side by side, each with its own memories and wiring.
"""

from amaranth.hdl import Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.core.lane import NeuronLane
from spikeloom.hdl.lib.memory import LoadedMemory, LoadPort
from spikeloom.hdl.lib.words import struct_layout
from spikeloom.hdl.tech.block_ram import BlockMemory
from spikeloom.hdl.tech.ram import DistributedMemory
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.words import bits_for

__all__ = ["NEURON_LATENCY", "NeuronBank", "control_layout"]

NEURON_LATENCY = 2
"""Cycles from an address to the parameters of its neurons."""


def control_layout(parameters: CoreParameters) -> data.StructLayout:
    """Control signals common to all lanes of a bank. ``rule`` and ``fresh`` (see `NeuronLane`) hold for a sweep.

    ``state`` and ``neuron`` address the words to read; ``write`` addresses the word to which the new states are written
    if ``write_valid``.
    ``current_valid`` accompanies the currents.
    """
    word = bits_for(parameters.words)
    return data.StructLayout(
        {
            "rule": struct_layout(parameters.population_layout),
            "fresh": 1,
            "state": word,
            "neuron": word,
            "current_valid": 1,
            "write": word,
            "write_valid": 1,
        }
    )


class NeuronBank(wiring.Component):
    """``parameters.bank_lanes`` lanes with the states and parameters of their neurons.

    Parameters
    ----------
    parameters
        Sizes and features of the core.
    number
        Index of the bank, which selects its slice of each parameter word.

    Members
    -------
    control : control_layout(parameters), in
    current : ArrayLayout(signed(accumulator_width), bank_lanes), in
        Control signals of the current cycle, and the accumulators of the lanes.
    emit : Signal(bank_lanes), out
    sent : ArrayLayout(signed(sent_width), bank_lanes), out
        As for `NeuronLane`.
    load : LoadPort, in
        Write port of the parameter memory for the host.
    """

    def __init__(self, parameters: CoreParameters, number: int) -> None:
        self.parameters = p = parameters
        self._states_layout = data.ArrayLayout(struct_layout(p.state_layout), p.bank_lanes)
        kind = BlockMemory if p.state_memory == "block" else DistributedMemory
        self.states = kind(self._states_layout.size, p.words)
        # Without individual parameters there is nothing to store: every field then belongs to the population.
        self._neurons = None
        if p.neuron_layout.width:
            self._neurons = LoadedMemory(p.memories["neurons"], part=number, parts=p.lane_banks, read_back=p.read_back)
        super().__init__(
            {
                "control": In(control_layout(p)),
                "current": In(data.ArrayLayout(signed(p.accumulator_width), p.bank_lanes)),
                "emit": Out(p.bank_lanes),
                "sent": Out(data.ArrayLayout(signed(p.sent_width), p.bank_lanes)),
                "load": In(LoadPort(read_back=p.read_back)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p, control = self.parameters, self.control
        # The states need no clearing: in the first step of a sample `fresh` makes the lanes ignore whatever is stored.
        m.submodules.states = states = self.states
        m.d.comb += states.address.eq(control.state)
        state: Value = states.data
        if p.state_memory == "distributed":
            # LUT RAM reads asynchronously: one register separates it from the lanes.
            state = Signal(states.data.shape(), reset_less=True)
            m.d.sync += state.eq(states.data)
        states_read = data.View(self._states_layout, state)
        neurons_layout = data.ArrayLayout(struct_layout(p.neuron_layout), p.bank_lanes)
        neurons_read = data.View(neurons_layout, Signal(neurons_layout))  # zero bits without a parameter memory
        if self._neurons is not None:
            m.submodules.neurons = neurons = self._neurons
            wiring.connect(m, wiring.flipped(self.load), neurons.load)
            m.d.comb += neurons.address.eq(control.neuron)
            neurons_read = data.View(neurons_layout, neurons.data)

        # A sweep reads each word once, and the next sweep starts after its last write, so no state needs forwarding.
        new_states = Signal(self._states_layout)
        for number in range(p.bank_lanes):
            m.submodules[f"lane{number}"] = lane = NeuronLane(p)
            m.d.comb += [
                lane.rule.eq(control.rule),
                lane.fresh.eq(control.fresh),
                lane.state.eq(states_read[number]),
                lane.neuron.eq(neurons_read[number]),
                lane.current.eq(self.current[number]),
                lane.current_valid.eq(control.current_valid),
                new_states[number].eq(lane.new_state),
                self.emit[number].eq(lane.emit),
                self.sent[number].eq(lane.sent),
            ]
        # The new states are registered before the write, because the memory is far from most of the lanes.
        m.d.sync += [
            states.write_address.eq(control.write),
            states.write_data.eq(new_states),
            states.write_enable.eq(control.write_valid),
        ]
        return m
