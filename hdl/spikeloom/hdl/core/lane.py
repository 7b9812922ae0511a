"""The neuron update, one neuron per cycle: a pipeline with one carry chain per stage and only the configured terms.

::

    0 leak ─▶ (held, or earlier reset) ─▶ u = + drive ─▶ u - threshold ─▶ (+ noise) ─▶ spike ─▶ reset, saturate
    0 (synaptic current's leak) ─▶ (+ I) ─▶ (+ bias) ──▲  └▶ (- higher multiples of it)   └─▶ (adaptation)
                                                                                          └─▶ (lower bound)

Bracketed stages are optional. `spikeloom.sim.core.neuron` defines the recurrence and `CoreParameters.update_widths` the
width of each value; no value is narrowed before the last stage.

The following encodings keep each term small on ECP5, where a lookup table has four inputs and the synchronous reset of
a flip-flop is free:

* A multiplicative leak takes the upper bits of the product. To round up, factor and product are negated
  (`spikeloom.sim.core.memory_fields`). This negation, rounding to nearest, and the selection between the accumulator
  and 0 are absorbed by the carry cells of the following sum.
* A value forced to 0, such as every state in the first step of a sample, uses the reset of the register behind it.
* The stored membrane is ``u``, ``u - threshold`` or the same bit in all places. One lookup table per bit performs both
  the reset and the saturation.
* Several spikes per step are counted from the highest power of two down: if ``u`` reaches this multiple of the
  threshold, and the count stays within its bound, the multiple is subtracted. The remainder is compared with the
  threshold itself by the stages that every core has. The result equals the comparison with each multiple, because
  thresholds are positive.
* A delay line is computed as a neuron without leak, with threshold 0 and comparison ``>``, which detects ``I > 0``.
"""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, ValueLike, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.core.graded import overflows, saturated
from spikeloom.hdl.lib.lfsr import advanced
from spikeloom.hdl.lib.words import struct_layout
from spikeloom.hdl.tech.ecp5_carry import Operand, add, choose, multiply
from spikeloom.sim.core.features import RESET_CODES
from spikeloom.sim.core.neuron import RANDOM_WIDTH, Reset
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.lfsr import TAPS

__all__ = ["LaneTiming", "NeuronLane"]


class _Staged:
    """A value with its pipeline stage. `at` delays it to a later stage and adds the registers on first use.

    A value without a stage is constant during a sweep and needs no registers.
    """

    def __init__(self, m: Module, name: str, value: Value, stage: int | None = None) -> None:
        self._m, self._name, self.stage = m, name, stage
        self._values = {stage: value}

    def at(self, stage: int) -> Value:
        """The value in ``stage``, which must not precede its own."""
        if self.stage is None:
            return self._values[None]
        assert stage >= self.stage, f"{self._name} must be used from stage {self.stage} on, not {stage}"
        if stage not in self._values:
            before = self.at(stage - 1)
            register = Signal(before.shape(), name=f"{self._name}_{stage}", reset_less=True)
            self._m.d.sync += register.eq(before)
            self._values[stage] = register
        return self._values[stage]


@dataclass(frozen=True)
class _Leaked:
    """A leaked value as the operand of a sum: ``value``, inverted if ``invert`` is 1, plus ``carry``."""

    value: _Staged
    invert: _Staged | None = None
    carry: _Staged | None = None


def _extended(value: Value, width: int) -> Value:
    """The signed ``value``, sign-extended to ``width`` bits."""
    return Cat(value, value[-1].replicate(width - len(value)))


@dataclass(frozen=True)
class LaneTiming:
    """The stage of each value, in cycles after the state. Each configured term adds stages."""

    leak: int  #: the membrane after its leak
    base: int  #: the membrane after its leak and the delayed reset of an earlier spike
    current: int  #: the accumulator is sampled
    u: int  #: the membrane plus its drive
    rest: int  #: the same minus the multiples of the threshold other than the threshold itself
    spike: int  #: the spike decision
    latency: int  #: the new state

    @staticmethod
    def of(p: CoreParameters) -> "LaneTiming":
        """The timing of the lanes of a core with parameters ``p``."""
        leak = 2 if p.multiplier else 1  # a product is registered twice
        base = leak + bool(p.reset_delay or (p.multiplier and p.refractory_width))
        drive_stages = p.synaptic_current + p.bias
        # The drive is ready in the same stage as the base, unless the leak of the synaptic current delays it.
        current = max(leak if p.synaptic_current else 0, base - drive_stages)
        u = current + drive_stages + 1
        # A difference and a choice for each multiple: two, four and eight times the threshold.
        rest = u + 2 * max(0, p.count_width - 1)
        spike = rest + 2 + (p.noise_bits > 0)
        return LaneTiming(leak, base, current, u, rest, spike, spike + (p.adaptation or p.lower_bound))


class NeuronLane(wiring.Component):
    """One lane of the neuron sweep.

    Parameters
    ----------
    parameters
        Sizes and features of the core.

    Members
    -------
    rule : population_layout, in
    fresh : Signal, in
        Constant during a sweep: the parameters of the population (`CoreParameters.population_layout`), and whether the
        initial state of a sample replaces every stored state.
    state : state_layout, in
    neuron : neuron_layout, in
        State and individual parameters of a neuron.
    current : Signal(signed(accumulator_width)), in
    current_valid : Signal, in
        The neuron's accumulator, `LaneTiming.current` cycles after ``state``; taken as 0 if ``current_valid`` is low.
    new_state : state_layout, out
    emit : Signal, out
    sent : Signal(signed(sent_width)), out
        `LaneTiming.latency` cycles after ``state``: the state to store, whether the neuron sends a spike or its
        membrane, and the value to send: the membrane, or in a core with graded spikes the exact ``u`` (see
        `spikeloom.hdl.core.graded`) or the number of spikes.
    """

    def __init__(self, parameters: CoreParameters) -> None:
        self.parameters = p = parameters
        super().__init__(
            {
                "rule": In(struct_layout(p.population_layout)),
                "fresh": In(1),
                "state": In(struct_layout(p.state_layout)),
                "neuron": In(struct_layout(p.neuron_layout)),
                "current": In(signed(p.accumulator_width)),
                "current_valid": In(1),
                "new_state": Out(struct_layout(p.state_layout)),
                "emit": Out(1),
                "sent": Out(signed(p.sent_width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        return _Lane(self, platform).m


class _Lane:
    """The elaboration of a `NeuronLane`. Each method adds one term of the recurrence."""

    def __init__(self, ports: NeuronLane, platform: object) -> None:
        self.m = Module()
        self.ports, self.rule = ports, ports.rule
        self.platform = platform
        self.p = p = ports.parameters
        own = {field.name for field in p.neuron_layout.fields if field.width}
        shared = {field.name for field in p.population_layout.fields if field.width}
        self.parameter = {name: _Staged(self.m, name, ports.neuron[name], 0) for name in own}
        self.parameter |= {name: _Staged(self.m, name, ports.rule[name]) for name in shared}

        self.timing = timing = LaneTiming.of(p)
        u_stage, decide, end = timing.rest, timing.spike - 1, timing.latency
        hold, less = self._refractory() if p.refractory_width else (None, None)
        self.hold = hold
        base = self._base()
        drive, gate = self._drive()
        u = self._register("u", self._sum(base, timing.u - 1, drive, gate, p.update_widths.u), timing.u)
        threshold = self._threshold()
        rest, higher = self._higher_multiples(u) if p.count_width else (u, None)
        difference = self._register(
            "difference",
            (rest.at(u_stage) - threshold.at(u_stage))[: p.update_widths.difference].as_signed(),
            u_stage + 1,
        )
        compared = self._noisy(difference) if p.noise_bits else difference
        reached, spike = self._spike(compared.at(decide), None if higher is None else higher.at(decide))
        kept, subtracted = u.at(decide), difference.at(decide)
        if p.second_threshold:
            # A spike above twice the threshold subtracts the threshold once, so the compared difference cannot be used.
            once = self._register(
                "once",
                (u.at(u_stage) - self.parameter["threshold"].at(u_stage))[: p.update_widths.difference].as_signed(),
                u_stage + 1,
            )
            subtracted = Mux(self.rule.second_threshold, once.at(decide), subtracted)
        sent = u
        if higher is not None:
            one = self._counts(reached, higher.at(decide), 0)
            # A spike that does not reach the last multiple has reached a higher one, which is subtracted already.
            subtracted = Mux(one, subtracted, rest.at(decide))
            several = Mux(self.rule.max_spikes > 1, Cat(one, higher.at(decide)), u.at(decide))
            sent = self._register("sent", several[: p.sent_width].as_signed(), decide + 1)
        v = self._after(kept, subtracted, reached, spike)
        if p.lower_bound:
            v = self._bounded(v)
        fired = self._register("fired", spike, decide + 1)

        state = ports.new_state
        self.m.d.comb += [
            state.v.eq(v.at(end)),
            ports.emit.eq(fired.at(end) | self.rule.readout if p.readout else fired.at(end)),
            ports.sent.eq(sent.at(end) if p.value_width else v.at(end)),
        ]
        if p.reset_delay:
            self.m.d.comb += state.pending.eq(fired.at(end) & self.rule.reset_delay)
        if less is not None:
            self.m.d.comb += state.refractory_count.eq(Mux(fired.at(end), self.rule.refractory, less.at(end)))
        if p.synaptic_current:
            self.m.d.comb += state.current.eq(self.new_current.at(end))
        if p.adaptation:
            self.m.d.comb += state.adaptation.eq(self._adapted(fired))
        if p.noise_bits:
            self.m.d.comb += state.random.eq(self.new_random.at(end))

    # Building blocks.

    def _register(self, name: str, value: Value, stage: int, *, clear: ValueLike | None = None) -> _Staged:
        """Register ``value`` of the stage before ``stage``; the register is reset if ``clear`` is 1."""
        # `clear` is written as a synchronous reset, not as a multiplexer, so that it costs no lookup table.
        register = Signal(value.shape(), name=f"{name}_{stage}", reset_less=True)
        if clear is None:
            self.m.d.sync += register.eq(value)
        else:
            with self.m.If(clear):
                self.m.d.sync += register.eq(0)
            with self.m.Else():
                self.m.d.sync += register.eq(value)
        return _Staged(self.m, name, register, stage)

    def _sum(self, first: _Leaked, stage: int, second: Value, gate: ValueLike, width: int) -> Value:
        """``first`` in ``stage``, plus ``second`` if ``gate`` is 1, in ``width`` bits."""
        a, c = _extended(first.value.at(stage), width), _extended(second, width)
        carry = 0 if first.carry is None else first.carry.at(stage)
        if first.invert is None:
            return add(self.m, self.platform, a, Operand.GATE, gate, c, carry=carry).as_signed()
        invert = first.invert.at(stage)
        return add(self.m, self.platform, a, Operand.INVERT_FIRST, invert, c, gate, carry=carry).as_signed()

    def _leak(
        self, name: str, value: Value, factor: _Staged | None, stage: int, clear: Value, *, hold: ValueLike = 0
    ) -> _Leaked:
        """``value`` of ``stage`` after its leak, available `LaneTiming.leak` stages later.

        The result is 0 if ``clear``, which must be constant during a sweep. ``hold`` suppresses the leak, in cores that
        leak by shifts only.
        """
        p, m, following = self.p, self.m, stage + self.timing.leak
        if p.multiplier:
            assert factor is not None
            # The sign of the code requests rounding up: the product is inverted here, and the carry completes the
            # negation. Otherwise the carry adds the highest discarded bit, if the population rounds to nearest.
            code = factor.at(stage)
            product = multiply(m, self.platform, value, code, clear=clear)
            kept = product[p.beta_fraction : p.beta_fraction + p.v_width].as_signed()
            negative = _Staged(m, f"{name}_negative", code[-1], None if factor.stage is None else stage)
            carry = negative.at(following) | (self.rule.nearest & product[p.beta_fraction - 1])
            return _Leaked(
                value=_Staged(m, f"{name}_leaked", kept, following),
                invert=negative,
                carry=_Staged(m, f"{name}_carry", carry, following),
            )
        if factor is None:
            return _Leaked(self._register(f"{name}_leaked", value, following, clear=clear))
        # Code 0 means no leak, so the shifts are numbered from 1. The first one is the default of the multiplexer,
        # which saves a comparison; `leaks` keeps it out of the sum for code 0.
        code = factor.at(stage)
        part = Signal(signed(p.v_width), name=f"{name}_part")
        m.d.comb += part.eq(value >> p.shifts[0])
        with m.Switch(code):
            for number, shift in list(enumerate(p.shifts, 1))[1:]:
                with m.Case(number):
                    m.d.comb += part.eq(value >> shift)
        leaks = Signal(name=f"{name}_leaks")
        m.d.comb += leaks.eq((code != 0) & ~Value.cast(hold)[0])
        leaked = add(m, self.platform, value, Operand.NEGATE, 1, part, leaks, carry=leaks).as_signed()
        return _Leaked(self._register(f"{name}_leaked", leaked, following, clear=clear))

    # The terms of the recurrence.

    def _refractory(self) -> tuple[_Staged, _Staged]:
        """Whether the neuron is refractory, and its new count if it does not spike."""
        count = self.ports.state.refractory_count
        hold = self._register("hold", count.any(), 1, clear=self.ports.fresh)
        less = self._register("less", Mux(count.any(), count - 1, 0)[: len(count)], 1, clear=self.ports.fresh)
        return hold, less

    def _base(self) -> _Leaked:
        """The membrane after its leak (unchanged if refractory) and the delayed reset of an earlier spike."""
        p, m, rule, fresh = self.p, self.m, self.rule, self.ports.fresh
        v = self.ports.state.v
        starts_anew = fresh | rule.delay_line if p.delay_line else fresh
        hold = self.ports.state.refractory_count.any() if self.hold is not None else 0
        leaked = self._leak("v", v, self.parameter.get("leak_factor"), 0, starts_anew, hold=hold)
        self.kept_v = self._register("kept_v", v, 1, clear=fresh)
        leak = self.timing.leak
        if self.timing.base == leak:
            return leaked
        membrane = leaked.value.at(leak)
        carry = Value.cast(0 if leaked.carry is None else leaked.carry.at(leak))
        if leaked.invert is not None:
            membrane = membrane ^ leaked.invert.at(leak).replicate(p.v_width).as_signed()
            if self.hold is not None:
                membrane = Mux(self.hold.at(leak), self.kept_v.at(leak), membrane)
                carry = carry & ~self.hold.at(leak)
        if not p.reset_delay:
            return _Leaked(
                self._register("base", membrane, leak + 1), carry=self._register("base_carry", carry, leak + 1)
            )
        pending = self._register("pending", self.ports.state.pending, 1, clear=fresh).at(leak)
        # A reset to zero or to a value erases the membrane; a reset to a value or by subtraction adds a term. The
        # threshold is subtracted as its inverse plus one, and this one enters as the carry of the next sum, because the
        # carry input here is taken by the leak.
        erases, adds = pending & rule.reset[0], pending & rule.reset[1]
        other = ~self.parameter["threshold"].at(leak)
        if p.reset_value:
            other = Mux(rule.reset[0], self.parameter["reset_value"].at(leak), other)
        width = p.update_widths.base
        base = add(
            m,
            self.platform,
            _extended(membrane.as_signed(), width),
            Operand.GATE_BOTH,
            ~erases,
            _extended(other.as_signed(), width),
            adds,
            carry=0 if leaked.carry is None else carry & ~erases,
        )
        subtracts = adds & ~rule.reset[0]
        return _Leaked(
            self._register("base", base.as_signed(), leak + 1), carry=self._register("subtracts", subtracts, leak + 1)
        )

    def _drive(self) -> tuple[Value, Value]:
        """The drive of the membrane, and the gate that enables it."""
        p, rule, fresh = self.p, self.rule, self.ports.fresh
        stage, drive, gate = self.timing.current, self.ports.current, self.ports.current_valid
        if p.synaptic_current:
            # Populations without a synaptic current store 0 (masked below), so the sum is just the accumulator.
            leaked = self._leak(
                "current", self.ports.state.current, self.parameter.get("current_leak_factor"), 0, fresh
            )
            total = self._sum(leaked, stage, drive, gate, max(p.v_width, p.accumulator_width) + 1)
            stage += 1
            drive, gate = self._register("current", total, stage).at(stage), Const(1)
            self.new_current = _Staged(
                self.m, "new_current", saturated(drive, p.v_width) & rule.current.replicate(p.v_width), stage
            )
        if p.bias:
            bias = _Leaked(_Staged(self.m, "bias", self.parameter["bias"].at(stage), stage))
            total = self._sum(bias, stage, drive, gate, p.update_widths.drive)
            stage += 1
            drive, gate = self._register("drive", total, stage).at(stage), Const(1)
        return drive, gate if self.hold is None else gate & ~self.hold.at(stage)

    def _threshold(self) -> _Staged:
        """The threshold plus its adaptation, or twice the threshold."""
        threshold = self.parameter["threshold"]
        if not self.p.adaptation and not self.p.second_threshold:
            return threshold
        added: Value = Const(0)
        if self.p.adaptation:
            self.adaptation = self._register("adaptation", self.ports.state.adaptation, 1, clear=self.ports.fresh)
            added = self.adaptation.at(1)
        if self.p.second_threshold:
            # The adaptation of neurons with a second threshold is 0, so that one adder does for both. A sample starts
            # with a membrane of 0, which is above a negative threshold.
            now = threshold.at(0)
            above = Mux(self.ports.fresh, now[-1], self.ports.state.v > now) & self.rule.second_threshold
            added = Mux(self._register("raised", above, 1).at(1), threshold.at(1), added).as_signed()
        return self._register("threshold_now", threshold.at(1) + added, 2)

    def _adapted(self, fired: _Staged) -> Value:
        """The adaptation after its leak, plus a step if the neuron fired."""
        # The leak starts late, so that its result meets `fired` and only the old adaptation is carried along.
        p, stage = self.p, self.timing.spike
        before = stage - self.timing.leak
        factor = self.parameter.get("adaptation_leak_factor")
        leaked = self._leak("adaptation", self.adaptation.at(before), factor, before, Const(0))
        step = self.parameter["adaptation_step"].at(stage)
        total = self._sum(leaked, stage, step, fired.at(stage), p.v_width + 1)
        return saturated(self._register("adapted", total, stage + 1).at(stage + 1), p.v_width)

    def _noisy(self, difference: _Staged) -> _Staged:
        """The difference plus noise, which is the low bits of the neuron's random word."""
        p, mask = self.p, self.rule.noise
        seed = self.parameter["seed"].at(0)
        random = self._register("random", Mux(self.ports.fresh, seed, self.ports.state.random), 1)
        self.new_random = _Staged(
            self.m, "new_random", advanced(self.m, random.at(1), TAPS[RANDOM_WIDTH], RANDOM_WIDTH), 1
        )
        stage, width = self.timing.rest + 1, p.update_widths.compared
        bits = random.at(stage)[: p.noise_bits]
        # `mask` has the low bits set that the noise uses. Its top bit is the sign of the noise: the random bits below
        # it are kept, and the sign fills all bits from it upwards.
        below = Cat(mask[1:], 0)  # the bits below the sign of the noise
        sign = (bits & mask & ~below).any()
        total = add(
            self.m,
            self.platform,
            _extended(difference.at(stage), width),
            Operand.CHOOSE,
            Cat(below, Const(0, width - p.noise_bits)),
            Cat(bits, Const(0, width - p.noise_bits)),
            sign,
        )
        return self._register("compared", total.as_signed(), stage + 1)

    def _higher_multiples(self, u: _Staged) -> tuple[_Staged, _Staged]:
        """``u`` minus the counted multiples of the threshold, from twice the threshold on, and the bits of the count
        above the lowest."""
        # Adapting thresholds are never multiplied, so that the threshold is that of the parameters.
        p, rest, threshold = self.p, u, self.parameter["threshold"]
        higher: _Staged | None = None
        for power in reversed(range(1, p.count_width)):
            stage = self.timing.rest - 2 * power
            # A difference needs one bit more than its wider operand.
            width = max(p.update_widths.u, p.v_width + power) + 1
            multiple = Cat(Const(0, power), threshold.at(stage)).as_signed()
            difference = self._register(
                f"difference_{power}", (rest.at(stage) - multiple)[:width].as_signed(), stage + 1
            ).at(stage + 1)
            before = Const(0, 0) if higher is None else higher.at(stage + 1)
            bit = self._counts(self._reached(difference), before, power)
            # A difference that counts is neither negative nor above `u`, so that the width of `u` suffices.
            left = Mux(bit, difference[: p.update_widths.u].as_signed(), rest.at(stage + 1))
            rest = self._register(f"rest_{power}", left[: p.update_widths.u].as_signed(), stage + 2)
            higher = self._register(f"higher_{power}", Cat(bit, before), stage + 2)
        assert higher is not None
        return rest, higher

    def _counts(self, reached: Value, higher: Value, power: int) -> Value:
        """Whether the multiple ``2**power`` of the threshold counts, below the bits ``higher`` of the count."""
        return reached & (Cat(Const(1), higher) <= self.rule.max_spikes[power:])

    def _reached(self, difference: Value) -> Value:
        """Whether the threshold that was subtracted is reached."""
        # `>=` needs the sign only, `>` also a difference other than zero.
        return ~difference[-1] & (self.rule.greater_equal | difference[:-1].any())

    def _spike(self, compared: Value, higher: Value | None) -> tuple[Value, Value]:
        """Whether the threshold is reached, and whether the neuron spikes; ``higher`` holds the bits of the count above
        the lowest."""
        p, m, rule, stage = self.p, self.m, self.rule, self.timing.spike - 1
        reached, spike = Signal(), Signal()
        m.d.comb += reached.eq(self._reached(compared))
        fires = reached if higher is None else reached | higher.any()
        m.d.comb += spike.eq(fires & rule.spiking & ~(0 if self.hold is None else self.hold.at(stage)))
        if p.delay_line:
            # The membrane of a delay line is a shift register: bit n is the input of n + 1 steps ago. Delay 0 bypasses
            # it with the input of this step, which is known only after the comparison.
            delay = self.parameter["delay"].at(0)
            older = Cat(0, self.ports.state.v[:-1]).bit_select(delay, 1)
            old = self._register("old", older, 1, clear=self.ports.fresh)
            at_once = _Staged(m, "at_once", delay == 0, None if self.parameter["delay"].stage is None else 0)
            with m.If(rule.delay_line):
                m.d.comb += spike.eq(Mux(at_once.at(stage), reached, old.at(stage)))
        return reached, spike

    def _after(self, u: Value, difference: Value, reached: Value, spike: Value) -> _Staged:
        """The membrane to store: ``u``, or the *other* value after a reset, saturated to ``v_width`` bits.

        The sign is correct in both cases; on overflow all bits below it are set to its inverse.
        """
        p, m, rule, stage = self.p, self.m, self.rule, self.timing.spike
        other, other_sign, other_over = difference[: p.v_width - 1], difference[-1], overflows(difference, p.v_width)
        takes: Value = spike & (rule.reset != RESET_CODES[Reset.NONE])
        if p.reset_delay:
            takes = takes & ~rule.reset_delay
        replaced: list[tuple[Value, Value]] = []
        if p.reset_value:
            replaced.append((rule.reset[1] & rule.reset[0], self.parameter["reset_value"].at(stage - 1)))
        if p.delay_line:
            takes = takes | rule.delay_line
            replaced.append((rule.delay_line, Cat(reached, self.kept_v.at(stage - 1)[:-1])))
        for condition, value in replaced:
            other = Mux(condition, value[:-1], other)
            other_sign = Mux(condition, value[-1], other_sign)
            other_over = ~condition & other_over

        def register(name: str, value: Value, clear: ValueLike | None = None) -> Value:
            return self._register(name, value, stage, clear=clear).at(stage)

        # The rule is stable long before, so an unaligned register is safe; synthesis merges those of all lanes.
        to_zero = Signal()
        m.d.sync += to_zero.eq(rule.reset == RESET_CODES[Reset.ZERO])
        takes = register("takes", takes)
        u_sign, other_sign = register("u_sign", u[-1]), register("other_sign", other_sign, to_zero)
        u_over, other_over = register("u_over", overflows(u, p.v_width)), register("other_over", other_over, to_zero)
        u, other = register("u_low", u[: p.v_width - 1]), register("other_low", other, to_zero)
        sign, same, choice = Signal(), Signal(), Signal()
        m.d.comb += [
            sign.eq(Mux(takes, other_sign, u_sign)),
            same.eq(Mux(takes, other_over, u_over)),
            choice.eq(Mux(same, ~sign, takes)),
        ]
        low = choose(m, self.platform, same, choice, u, other)
        return _Staged(m, "new_v", Cat(low, sign).as_signed(), stage)

    def _bounded(self, v: _Staged) -> _Staged:
        """The membrane to store, or the lower bound where it is below."""
        # The saturated membrane is compared, which gives the same as the exact one: a membrane that saturates low is at
        # or below every bound. A stage of its own, because the saturation ends with two lookup tables per bit; the new
        # states are registered behind the lane, so that the comparison and the choice share one.
        stage = self.timing.spike + 1
        kept = self._register("kept", v.at(stage - 1), stage).at(stage).as_signed()
        bound = self.parameter["lower_bound"].at(stage).as_signed()
        return _Staged(self.m, "bounded_v", Mux(kept < bound, bound, kept).as_signed(), stage)
