"""The neuron sweep: after a step's last event, ``lanes`` neurons a cycle are leaked, integrated, compared and reset.

The recurrence is `spikeloom.sim.neuron`'s, cut into pipeline stages of one carry chain each::

    read ─▶ leak product, bias + I ─▶ leak rounded, earlier reset ─▶ u ─▶ u - threshold ─▶ spike, reset ─▶ write

A sweep of a population of ``n`` neurons takes ``ceil(n / lanes)`` cycles plus the pipeline's 9; it never stalls.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.memory import LoadedMemory, LoadPort, block_memory, registered_read, struct_layout
from spikeloom.sim.core import COMPARE_CODES, RESET_CODES, CoreParameters
from spikeloom.sim.neuron import Compare, Reset, signed_range
from spikeloom.sim.words import bits_for

__all__ = ["NeuronSweep"]


class NeuronLane(wiring.Component):
    """The update of one neuron a cycle: state, parameters and input in; `LATENCY` cycles later, new state and spike.

    ``hold`` of the docstring of `spikeloom.sim.neuron` is ``refractory_count > 0``.
    """

    LATENCY = 5

    def __init__(self, parameters: CoreParameters) -> None:
        self.parameters = parameters
        super().__init__(
            {
                "state": In(struct_layout(parameters.state_layout)),
                "neuron": In(struct_layout(parameters.neuron_layout)),
                "current": In(signed(parameters.accumulator_width)),
                "new_state": Out(struct_layout(parameters.state_layout)),
                "emit": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        wide = signed(p.update_width)
        has_delay, has_refractory = p.reset_delay, p.refractory_width > 0
        neuron_layout = struct_layout(p.neuron_layout)

        # Each parameter travels with its neuron as far as it is used; what is not used is removed by synthesis.
        neuron = [self.neuron, *(Signal(neuron_layout, name=f"neuron_{stage}") for stage in range(1, 6))]
        hold = [Signal(name=f"hold_{stage}") for stage in range(6)]
        count = [Signal(max(1, p.refractory_width), name=f"count_{stage}") for stage in range(6)]
        pending = [Signal(name=f"pending_{stage}") for stage in range(3)]
        for stage in range(5):
            m.d.sync += [
                neuron[stage + 1].eq(neuron[stage]),
                hold[stage + 1].eq(hold[stage]),
                count[stage + 1].eq(count[stage]),
            ]
        m.d.sync += pending[1].eq(pending[0])
        if has_refractory:
            m.d.comb += [count[0].eq(self.state.refractory_count), hold[0].eq(count[0] != 0)]
        if has_delay:
            m.d.comb += pending[0].eq(self.state.pending)

        # Stage 0: the leak's product; bias + I.
        drive = [Signal(wide, name=f"drive_{stage}") for stage in range(3)]
        held = Signal(signed(p.v_width))
        m.d.sync += [
            held.eq(self.state.v),
            drive[1].eq(Mux(hold[0], 0, self.neuron.bias + self.current)),
            drive[2].eq(drive[1]),
        ]
        leaked = self._leak(m, neuron[1])

        # Stage 1: the membrane after the leak and the reset of an earlier spike.
        base = Signal(wide)
        decayed = Signal(signed(p.v_width))
        m.d.comb += decayed.eq(Mux(hold[1], held, leaked))
        m.d.sync += base.eq(Mux(pending[1], self._reset(m, decayed, neuron[1], "earlier"), decayed))

        # Stage 2: integrate. Stage 3: compare.
        u = [Signal(wide, name=f"u_{stage}") for stage in range(3, 5)]
        above = Signal(wide)
        m.d.sync += [u[0].eq(base + drive[2]), u[1].eq(u[0]), above.eq(u[0] - neuron[3].threshold)]

        # Stage 4: spike and reset. `above` is u - threshold.
        spike, emit = Signal(), Signal()
        reached = (above > 0) | ((above == 0) & (neuron[4].compare == COMPARE_CODES[Compare.GREATER_EQUAL]))
        m.d.comb += spike.eq(reached & ~hold[4] & neuron[4].spiking)
        m.d.comb += emit.eq(spike | neuron[4].readout if p.readout else spike)
        after = Signal(wide)
        reset_now = spike & ~neuron[4].reset_delay if has_delay else spike
        m.d.sync += after.eq(Mux(reset_now, self._reset(m, u[1], neuron[4], "now", above), u[1]))
        fired = Signal()
        m.d.sync += [fired.eq(spike), self.emit.eq(emit)]

        # Stage 5: the one place where a membrane is narrowed.
        low, high = signed_range(p.v_width)
        with m.If(after > high):
            m.d.comb += self.new_state.v.eq(high)
        with m.Elif(after < low):
            m.d.comb += self.new_state.v.eq(low)
        with m.Else():
            m.d.comb += self.new_state.v.eq(after)
        if has_delay:
            m.d.comb += self.new_state.pending.eq(fired & neuron[5].reset_delay)
        if has_refractory:
            less = Mux(hold[5], count[5] - 1, 0)
            m.d.comb += self.new_state.refractory_count.eq(Mux(fired, neuron[5].refractory, less))
        return m

    def _leak(self, m: Module, neuron: data.View) -> Value:
        """The membrane after the leak, a cycle after the state; ``neuron`` are the parameters of that cycle."""
        p = self.parameters
        if p.multiplier:
            product = Signal(signed(p.v_width + p.beta_fraction + 2))
            half, almost_one = 1 << (p.beta_fraction - 1), (1 << p.beta_fraction) - 1
            m.d.sync += product.eq(self.state.v * self.neuron.leak_factor)
            addend = Mux(neuron.rounding[1], almost_one, Mux(neuron.rounding[0], half, 0))
            return (product + addend) >> p.beta_fraction
        leaked = Signal(signed(p.v_width))
        if not p.shifts:
            m.d.sync += leaked.eq(self.state.v)
            return leaked
        decay = Signal(signed(p.v_width))
        with m.Switch(self.neuron.leak_factor):
            for code, shift in enumerate(p.shifts, 1):
                with m.Case(code):
                    m.d.comb += decay.eq(self.state.v >> shift)
        m.d.sync += leaked.eq(self.state.v - decay)
        return leaked

    def _reset(self, m: Module, v: Value, neuron: data.View, name: str, above: Value | None = None) -> Value:
        """``v`` after a reset; ``above`` is ``v - threshold`` where that is known already."""
        result = Signal(signed(self.parameters.update_width), name=f"reset_{name}")
        with m.Switch(neuron.reset):
            with m.Case(RESET_CODES[Reset.ZERO]):
                m.d.comb += result.eq(0)
            with m.Case(RESET_CODES[Reset.SUBTRACT]):
                m.d.comb += result.eq(v - neuron.threshold if above is None else above)
            if self.parameters.reset_value:
                with m.Case(RESET_CODES[Reset.VALUE]):
                    m.d.comb += result.eq(neuron.reset_value)
            with m.Default():
                m.d.comb += result.eq(v)
        return result


class NeuronSweep(wiring.Component):
    """Updates the words ``first`` to ``last_word`` of the core's neurons.

    Members
    -------
    start, first, last_word
        Begin a sweep; taken only while ``busy`` is low.
    fresh
        The step in progress is the first of its sample: every state counts as zero.
    busy
        A sweep is under way.
    reading, address, current
        While ``reading`` is high the sweep owns one accumulator bank: it reads ``current`` of ``address``, three
        cycles later.
    emit_valid, emit_word, emit, emit_value
        The neurons of a word that have something to send: a spike, or a membrane that is read out. Never refused.
    """

    def __init__(self, parameters: CoreParameters) -> None:
        self.parameters = parameters
        self._states_layout = data.ArrayLayout(struct_layout(parameters.state_layout), parameters.lanes)
        self.states = block_memory(self._states_layout.size, parameters.words)
        word = bits_for(parameters.words)
        super().__init__(
            {
                "start": In(1),
                "first": In(word),
                "last_word": In(word),
                "fresh": In(1),
                "busy": Out(1),
                "reading": Out(1),
                "address": Out(word),
                "current": In(data.ArrayLayout(signed(parameters.accumulator_width), parameters.lanes)),
                "emit_valid": Out(1),
                "emit_word": Out(word),
                "emit": Out(parameters.lanes),
                "emit_value": Out(data.ArrayLayout(signed(parameters.v_width), parameters.lanes)),
                "load": In(LoadPort()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        m.submodules.neurons = neurons = LoadedMemory(p.memories["neurons"])
        wiring.connect(m, wiring.flipped(self.load), neurons.load)
        m.submodules.states = self.states
        write = self.states.write_port()

        running = Signal()
        end = Signal(self.last_word.shape())
        with m.If(self.start):
            m.d.sync += [running.eq(1), self.address.eq(self.first), end.eq(self.last_word)]
        with m.Elif(running):
            m.d.sync += [self.address.eq(self.address + 1), running.eq(self.address != end)]
        # The accumulators come latest, so the other memories are read later.
        running_later, address_later = Signal(2), [Signal(self.address.shape(), name=f"address_{n}") for n in range(2)]
        m.d.sync += [
            running_later.eq(Cat(running, running_later[0])),
            address_later[0].eq(self.address),
            address_later[1].eq(address_later[0]),
        ]
        m.d.comb += neurons.address.eq(address_later[0])

        # The word in each stage: 0 is the one whose state and parameters come out of the memories.
        stages = NeuronLane.LATENCY + 1
        valid = [Signal(name=f"valid_{stage}") for stage in range(stages)]
        word = [Signal(self.address.shape(), name=f"word_{stage}") for stage in range(stages)]
        m.d.sync += [Cat(valid).eq(Cat(running_later[1], *valid[:-1])), Cat(word).eq(Cat(address_later[1], *word[:-1]))]
        m.d.comb += [
            self.reading.eq(running),
            self.busy.eq(running | running_later.any() | Cat(valid).any()),
        ]

        read_states = data.View(self._states_layout, registered_read(m, self.states, address_later[1]))
        new_states = Signal(self._states_layout)
        parameters = data.View(data.ArrayLayout(struct_layout(p.neuron_layout), p.lanes), neurons.data)
        emit = Signal(p.lanes)
        for number in range(p.lanes):
            m.submodules[f"lane{number}"] = lane = NeuronLane(p)
            m.d.comb += [
                lane.state.eq(Mux(self.fresh, 0, read_states[number].as_value())),
                lane.neuron.eq(parameters[number]),
                lane.current.eq(self.current[number]),
                new_states[number].eq(lane.new_state),
                emit[number].eq(lane.emit),
                self.emit_value[number].eq(lane.new_state.v),
            ]
        m.d.comb += [
            write.addr.eq(word[-1]),
            write.data.eq(new_states),
            write.en.eq(valid[-1]),
            self.emit_valid.eq(valid[-1] & emit.any()),
            self.emit_word.eq(word[-1]),
            self.emit.eq(emit),
        ]
        return m
