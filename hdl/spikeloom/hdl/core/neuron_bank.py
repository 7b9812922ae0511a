"""The lanes that update neurons, with the memories of their states, as `spikeloom.hdl.core.sweep` tells them.

A core has one bank of all lanes, or several side by side, each with memories and wires of its own.
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
    """What all lanes of a bank are told in a cycle: ``rule`` and ``fresh``, as of `NeuronLane`, hold for a sweep.

    ``state`` and ``neuron`` are words to be read, ``write`` is where the new states go if ``write_valid``, and
    ``current_valid`` goes with the currents.
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
    """``parameters.bank_lanes`` lanes and the states and parameters of their neurons.

    Parameters
    ----------
    number
        Of the bank: it holds the parameters of so many lanes from the middle of each word.

    Members
    -------
    control : Signal(control_layout(p)), in
    current : ArrayLayout(signed(accumulator_width), bank_lanes), in
        What is to be done in this cycle, and the sums of the lanes.
    emit : Signal(bank_lanes), out
    sent : ArrayLayout(signed(sent_width), bank_lanes), out
        As of `NeuronLane`.
    load : LoadPort, in
        Writes the parameters of the neurons.
    """

    def __init__(self, parameters: CoreParameters, number: int) -> None:
        self.parameters = p = parameters
        self._states_layout = data.ArrayLayout(struct_layout(p.state_layout), p.bank_lanes)
        kind = BlockMemory if p.state_memory == "block" else DistributedMemory
        self.states = kind(self._states_layout.size, p.words)
        self._neurons = None
        if p.neuron_layout.width:
            self._neurons = LoadedMemory(p.memories["neurons"], part=number, parts=p.lane_banks)
        super().__init__(
            {
                "control": In(control_layout(p)),
                "current": In(data.ArrayLayout(signed(p.accumulator_width), p.bank_lanes)),
                "emit": Out(p.bank_lanes),
                "sent": Out(data.ArrayLayout(signed(p.sent_width), p.bank_lanes)),
                "load": In(LoadPort()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p, control = self.parameters, self.control
        m.submodules.states = states = self.states
        m.d.comb += states.address.eq(control.state)
        state: Value = states.data
        if p.state_memory == "distributed":
            state = Signal(states.data.shape(), reset_less=True)
            m.d.sync += state.eq(states.data)
        states_read = data.View(self._states_layout, state)
        neurons_layout = data.ArrayLayout(struct_layout(p.neuron_layout), p.bank_lanes)
        neurons_read = data.View(neurons_layout, Signal(neurons_layout))  # without bits, if there is no such memory
        if self._neurons is not None:
            m.submodules.neurons = neurons = self._neurons
            wiring.connect(m, wiring.flipped(self.load), neurons.load)
            m.d.comb += neurons.address.eq(control.neuron)
            neurons_read = data.View(neurons_layout, neurons.data)

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
        # (The states go to their memory from registers: it is far from most lanes.)
        m.d.sync += [
            states.write_address.eq(control.write),
            states.write_data.eq(new_states),
            states.write_enable.eq(control.write_valid),
        ]
        return m
