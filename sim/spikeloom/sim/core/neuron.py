"""One step of a spiking neuron in integers: the recurrence that every back end reproduces.

Time is counted in steps, and every quantity is an integer. ``I`` is the exact sum of the weights of the step's events,
each multiplied by its value if the spike is graded. One step computes, in this order::

    hold    = refractory_count > 0
    current' = leak_current(current) + I if it has a synaptic current, else I       synapse
    base    = v if hold else leak(v)                                                leak
    if pending: base = 0 | reset_value | base - threshold | base                    reset of an earlier spike (delay 1)
    u       = base + (0 if hold else bias + current')                               integrate
    raised  = second_threshold and v > threshold, v as stored by the previous step
    threshold_now = threshold + adaptation + (threshold if raised else 0)
    noise   = the low noise_bits bits of random, two's complement
    count   = how many k from 1 to max_spikes have u + noise > k threshold_now | u + noise >= k threshold_now
    spike   = spiking and not hold and count > 0                                    compare
    value   = count if max_spikes > 1, saturate(u >> graded_shift, value_width) if graded, else 1
    if spike and reset_delay == 0: u = 0 | reset_value | u - count (threshold + adaptation) | u       reset
    if it has a lower bound: u = max(u, lower_bound)                                bound

    v          = saturate(u)
    current    = saturate(current') if it has a synaptic current, else 0
    adaptation = saturate(leak_adaptation(adaptation) + (adaptation_step if spike else 0))
    random     = random after 16 steps of the 16-bit shift register
    pending    = spike and reset_delay == 1
    refractory_count = refractory if spike else max(refractory_count - 1, 0)

``saturate`` clamps to ``v_width`` bits unless a width is given. All other values are exact: only stored and sent values
are narrowed, and ``current'`` drives the membrane before it is clamped. A refractory neuron still integrates its input
into the synaptic current, and its current, adaptation and random word advance as usual. A sample starts with all state
0 except ``random``, which starts at the neuron's ``seed``: the first word is the seed itself, so the noise depends
neither on the placement nor on stalls.

A neuron with ``max_spikes`` above 1 fires up to that many times in a step. Its spikes are one graded spike, whose value
is their number, and a reset by subtraction subtracts the threshold once for each of them.

A delay line has a different step and shares only ``spike`` with the above::

    line  = (v << 1 | (I > 0)) mod 2**v_width
    spike = bit ``delay`` of line
    v     = line as two's complement

All quantities except the factors are in units of the population's weight scale. Sources:

* Leaky integrate-and-fire, ``tau dv/dt = (v_leak - v) + R I``, and the synaptic current, ``tau_syn dI/dt = -I + S``
  with the weighted spikes ``S``: Gerstner and Kistler, *Spiking Neuron Models*, 2002, chapter 4.
* Adaptive threshold (ALIF): Bellec et al. 2018, arXiv 1803.09574: ``B(t) = b0 + beta b(t)`` and
  ``b(t + 1) = rho b(t) + (1 - rho) z(t)``. ``adaptation`` is ``beta b``, and ``adaptation_step`` is ``beta (1 - rho)``.
* Stochastic firing, noise at the threshold (escape noise): Gerstner and Kistler, section 5.3. The noise is uniform, so
  that the probability of a spike rises linearly from 0 to 1 over ``2**noise_bits`` units around the threshold.
* Second threshold: snnTorch 1.0.0 with ``reset_mechanism="subtract"`` and ``reset_delay=False``. A membrane that is
  still above its threshold after a reset has reset once in advance, so the next spike takes twice the threshold.
* Several spikes per step: sinabs 3.1.3 (``MultiSpike``, ``MaxSpike``) and Rockpool 3.1.0 (``max_spikes_per_dt``).
* Lower bound: sinabs 3.1.3, ``min_v_mem`` of ``IAF`` and ``LIF``, which clip the membrane after the reset.
* Graded spikes: Orchard et al. 2021 (Loihi 2), arXiv 2111.03746.
* Delay lines and Threshold (a membrane that starts from 0 in each step): the nodes Delay and Threshold of the
  Neuromorphic Intermediate Representation, Pedersen et al. 2024, arXiv 2311.14641.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.sim.lib.lfsr import leap_table

__all__ = [
    "MOST_SPIKES",
    "RANDOM_WIDTH",
    "Compare",
    "Leak",
    "NeuronParameters",
    "NeuronState",
    "Reset",
    "Rounding",
    "leak",
    "noise",
    "saturate",
    "signed_range",
    "step",
]

IntArray = NDArray[np.int64]

MOST_SPIKES = 15
"""Largest number of spikes of a neuron per step."""

RANDOM_WIDTH = 16
"""Width of each neuron's noise generator, a shift register, and the number of its steps per time step."""


class Leak(Enum):
    """Decay of a membrane, synaptic current or adaptation per step without input."""

    NONE = "none"  #: ``v``
    SHIFT = "shift"  #: ``v - (v >> k)``, arithmetic shift
    MULTIPLY = "multiply"  #: ``(v * beta) >> beta_fraction``, rounded according to `Rounding`
    CLEAR = "clear"  #: 0: the membrane starts from 0 in each step


class Rounding(Enum):
    """Rounding of the right shift after a multiplication."""

    FLOOR = "floor"  #: towards minus infinity
    NEAREST = "nearest"  #: to the nearest integer, ties towards plus infinity


class Compare(Enum):
    """Comparison of the membrane with its threshold that makes a neuron spike."""

    GREATER = ">"
    GREATER_EQUAL = ">="


class Reset(Enum):
    """Effect of a spike on the membrane."""

    NONE = "none"
    ZERO = "zero"
    VALUE = "value"  #: the membrane becomes ``reset_value``
    SUBTRACT = "subtract"  #: the threshold is subtracted


def signed_range(width: int) -> tuple[int, int]:
    """The smallest and largest two's complement integer of ``width`` bits."""
    return -(1 << (width - 1)), (1 << (width - 1)) - 1


def saturate(values: IntArray, width: int) -> IntArray:
    """Clamp ``values`` to the range of a two's complement integer of ``width`` bits."""
    low, high = signed_range(width)
    return np.clip(values, low, high)


def _per_neuron(name: str, values: ArrayLike, size: int, low: int, high: int) -> IntArray:
    array = np.asarray(values)
    if not (np.issubdtype(array.dtype, np.integer) or array.dtype == np.bool_):
        raise TypeError(f"{name} must be integers, not {array.dtype}")
    # A private copy, so that the caller's array can change later.
    array = np.broadcast_to(array.astype(np.int64), (size,)).copy()
    if size and (array.min() < low or array.max() > high):
        worst = int(array.min()) if array.min() < low else int(array.max())
        raise ValueError(f"{name} must be from {low} to {high}, not {worst}")
    array.setflags(write=False)
    return array


@dataclass(frozen=True, kw_only=True, eq=False)
class NeuronParameters:
    """The integer parameters of one population.

    Parameters
    ----------
    size
        Number of neurons ``n``.
    v_width
        Width of the membrane in bits, 8 to 24; thresholds, biases and reset values share its range.
    threshold, bias, reset_value
        Integer or ``(n,)`` integers.
    leak, leak_factor, beta_fraction, rounding
        The leak. ``leak_factor`` is an integer or ``(n,)`` integers: the shift ``k`` from 1 to ``v_width - 1`` for
        `Leak.SHIFT`, the fixed-point beta from 0 to ``2**beta_fraction`` for `Leak.MULTIPLY`, ignored otherwise.
        ``beta_fraction`` and ``rounding`` apply to all leaks of the neuron.
    compare, reset, reset_delay, refractory
        Spike condition and reset. ``reset_delay`` 1 applies the reset at the start of the next step, instead of
        (`Reset.ZERO`, `Reset.VALUE`) or after (`Reset.SUBTRACT`) the leak, as snnTorch does by default. ``refractory``
        is the number of steps after a spike in which the neuron holds its membrane and ignores its input.
    spiking
        False for a leaky integrator, which never spikes and outputs its membrane.
    current_leak, current_leak_factor
        Decay of the synaptic current; None for neurons without one.
    adaptation_leak, adaptation_leak_factor, adaptation_step
        Decay of the threshold adaptation and its increment per spike, an integer or ``(n,)`` integers of ``v_width``
        bits. None for a constant threshold.
    noise_bits, seed
        Width of the noise, from 0 (none) to 16 bits, and the first random word: an integer or ``(n,)`` integers from 1
        to 65535, ignored without noise.
    graded, graded_shift, value_width
        Whether spikes carry a value; the right shift of ``u`` that gives the value, and its width in bits.
    max_spikes
        Largest number of spikes of a neuron per step, 1 to `MOST_SPIKES`. Above 1, spikes are ``graded`` without a
        shift and carry their number, which must fit ``value_width``. Needs positive thresholds and ``reset_delay`` 0,
        and excludes adaptation, noise and a second threshold.
    second_threshold
        Whether neurons whose membrane stays above the threshold after a reset fire again only above twice the
        threshold. Needs `Reset.SUBTRACT`, ``reset_delay`` 0 and a constant threshold.
    lower_bound
        Smallest membrane after a step, an integer or ``(n,)`` integers of ``v_width`` bits; None for neurons whose
        membrane is bounded by saturation only. Of spiking neurons.
    delay_line, delay
        Whether the neurons are delay lines, and the delay of each in steps: an integer or ``(n,)`` integers from 0 to
        ``v_width - 1``. ``threshold``, ``compare``, ``reset`` and ``reset_value`` are then ignored.
    """

    size: int
    v_width: int = 16
    threshold: ArrayLike = 1
    bias: ArrayLike = 0
    leak: Leak = Leak.NONE
    leak_factor: ArrayLike = 0
    beta_fraction: int = 14
    rounding: Rounding = Rounding.FLOOR
    compare: Compare = Compare.GREATER
    reset: Reset = Reset.ZERO
    reset_value: ArrayLike = 0
    reset_delay: int = 0
    refractory: int = 0
    spiking: bool = True
    current_leak: Leak | None = None
    current_leak_factor: ArrayLike = 0
    adaptation_leak: Leak | None = None
    adaptation_leak_factor: ArrayLike = 0
    adaptation_step: ArrayLike = 0
    noise_bits: int = 0
    seed: ArrayLike = 1
    graded: bool = False
    graded_shift: int = 0
    value_width: int = 8
    second_threshold: bool = False
    max_spikes: int = 1
    lower_bound: ArrayLike | None = None
    delay_line: bool = False
    delay: ArrayLike = 0

    def __post_init__(self) -> None:
        for name, kind in (
            ("leak", Leak),
            ("rounding", Rounding),
            ("compare", Compare),
            ("reset", Reset),
            ("spiking", bool),
            ("graded", bool),
            ("second_threshold", bool),
            ("delay_line", bool),
        ):
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} must be a {kind.__name__}, not {getattr(self, name)!r}")
        for name in ("current_leak", "adaptation_leak"):
            if not isinstance(getattr(self, name), Leak | None):
                raise TypeError(f"{name} must be a Leak or None, not {getattr(self, name)!r}")
            # A current or adaptation that is cleared in each step would not be a state.
            if getattr(self, name) is Leak.CLEAR:
                raise ValueError(f"{name} must be Leak.NONE, Leak.SHIFT, Leak.MULTIPLY or None, not Leak.CLEAR")
        for name, low, high in (
            ("size", 1, 1 << 20),
            ("v_width", 8, 24),
            ("beta_fraction", 1, 20),
            ("reset_delay", 0, 1),
            ("refractory", 0, 255),
            ("noise_bits", 0, RANDOM_WIDTH),
            ("graded_shift", 0, self.v_width - 1),
            ("value_width", 2, 16),
            ("max_spikes", 1, MOST_SPIKES),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} must be an integer from {low} to {high}, not {value!r}")
        self._check_combination()
        low, high = signed_range(self.v_width)
        for name in ("threshold", "bias", "reset_value"):
            self._set(name, low, high)
        if self.lower_bound is not None:
            self._set("lower_bound", low, high)
        for name in ("leak", "current_leak", "adaptation_leak"):
            # A shift by 0 would clear the membrane, which is `Leak.CLEAR`.
            bounds = {Leak.SHIFT: (1, self.v_width - 1), Leak.MULTIPLY: (0, 1 << self.beta_fraction)}
            self._set(f"{name}_factor", *bounds.get(getattr(self, name), (0, 0)), used=getattr(self, name) in bounds)
        self._set("adaptation_step", low, high, used=self.adaptation_leak is not None)
        used = self.noise_bits > 0
        # A shift register that starts at 0 stays at 0.
        self._set("seed", int(used), (1 << RANDOM_WIDTH) - 1, used=used)
        self._set("delay", 0, self.v_width - 1, used=self.delay_line)

    def _set(self, name: str, low: int, high: int, *, used: bool = True) -> None:
        """Replace a field by a private array ``(n,)``, all 0 if it is not used."""
        object.__setattr__(self, name, _per_neuron(name, getattr(self, name) if used else 0, self.size, low, high))

    def _check_combination(self) -> None:
        features = {
            "a leak": self.leak is not Leak.NONE,
            "a bias": bool(np.any(np.asarray(self.bias))),
            "a synaptic current": self.current_leak is not None,
            "adaptation": self.adaptation_leak is not None,
            "noise": self.noise_bits > 0,
            "graded spikes": self.graded,
            "a reset delay": self.reset_delay > 0,
            "a refractory period": self.refractory > 0,
            "a second threshold": self.second_threshold,
            "several spikes per step": self.max_spikes > 1,
            "a lower bound": self.lower_bound is not None,
        }
        # A delay line has only a shift register; any other feature would have no effect.
        if self.delay_line:
            present = [name for name, used in features.items() if used]
            if present or not self.spiking:
                raise ValueError(f"a delay line must not have {present[0] if present else 'a membrane to read out'}")
        # These features act on spikes, or on the comparison that decides about them. A lower bound would be a choice:
        # the membrane that is read out is that before the bound in sinabs.
        if not self.spiking:
            names = (
                *("adaptation", "noise", "graded spikes", "a second threshold", "several spikes per step"),
                "a lower bound",
            )
            present = [name for name in names if features[name]]
            if present:
                raise ValueError(f"neurons that never spike must not have {present[0]}")
        if self.second_threshold and (
            self.reset is not Reset.SUBTRACT or self.reset_delay or self.adaptation_leak is not None
        ):
            raise ValueError(
                "a second threshold needs reset subtract in the step of the spike (reset_delay 0) and must not be "
                "combined with adaptation"
            )
        if self.max_spikes > 1:
            self._check_counts(
                [name for name in ("adaptation", "noise", "a reset delay", "a second threshold") if features[name]]
            )
        if self.adaptation_leak is not None and self.reset is Reset.SUBTRACT and self.reset_delay:
            raise ValueError(
                "an adaptive threshold must be subtracted in the step of the spike (reset_delay 0), because "
                "the threshold of the comparison is not stored"
            )

    def _check_counts(self, excluded: list[str]) -> None:
        """Check neurons with several spikes per step; ``excluded`` names features that they have and must not have."""
        if excluded:
            raise ValueError(f"neurons with several spikes per step must not have {excluded[0]}")
        if not self.graded or self.graded_shift or self.max_spikes > signed_range(self.value_width)[1]:
            raise ValueError(
                f"neurons with up to {self.max_spikes} spikes per step must be graded, with graded_shift 0 and a "
                f"value_width of at least {self.max_spikes.bit_length() + 1} bits"
            )
        # Multiples of a threshold below 1 do not increase, so that comparisons with them could not count spikes.
        smallest = int(np.min(np.asarray(self.threshold)))
        if smallest < 1:
            raise ValueError(f"threshold must be at least 1 with several spikes per step, not {smallest}")


@dataclass(frozen=True, kw_only=True, eq=False)
class NeuronState:
    """State of a population, each array ``(batch, n)`` int64. Fields of features that the neurons lack are 0."""

    v: IntArray  #: membrane, or the bits of a delay line
    pending: IntArray  #: 1 if the next step starts with a reset
    refractory_count: IntArray  #: remaining refractory steps
    current: IntArray  #: synaptic current
    adaptation: IntArray  #: adaptation, added to the threshold
    random: IntArray  #: state of the noise generator

    @classmethod
    def cleared(cls, batch: int, parameters: NeuronParameters) -> NeuronState:
        """The state at the start of a sample: all zero except the random words."""
        shape = (batch, parameters.size)
        names = ("v", "pending", "refractory_count", "current", "adaptation")
        random = np.broadcast_to(np.asarray(parameters.seed), shape).copy()
        return cls(random=random, **{name: np.zeros(shape, np.int64) for name in names})


def leak(values: IntArray, kind: Leak, factor: ArrayLike, parameters: NeuronParameters) -> IntArray:
    """Apply the leak ``kind`` of one step to ``values`` ``(batch, n)``, in the fixed point of ``parameters``."""
    if kind is Leak.NONE:
        return values
    if kind is Leak.CLEAR:
        return np.zeros_like(values)
    if kind is Leak.SHIFT:
        return values - (values >> np.asarray(factor))
    # An arithmetic shift rounds down; half a unit in front of it makes that round to nearest.
    half = 1 << (parameters.beta_fraction - 1) if parameters.rounding is Rounding.NEAREST else 0
    return (values * np.asarray(factor) + half) >> parameters.beta_fraction


def noise(random: IntArray, bits: int) -> IntArray:
    """The low ``bits`` bits of the words ``random`` as two's complement; 0 for no bits."""
    # Subtracting 2**bits where the top bit is set extends the sign.
    low = random & ((1 << bits) - 1)
    return low - ((low >> (bits - 1)) << bits) if bits else low


def _after_reset(v: IntArray, threshold: ArrayLike, parameters: NeuronParameters) -> IntArray:
    if parameters.reset is Reset.ZERO:
        return np.zeros_like(v)
    if parameters.reset is Reset.VALUE:
        return np.broadcast_to(np.asarray(parameters.reset_value), v.shape)
    if parameters.reset is Reset.SUBTRACT:
        return v - np.asarray(threshold)
    return v


def step(state: NeuronState, current: IntArray, parameters: NeuronParameters) -> tuple[NeuronState, IntArray, IntArray]:
    """Advance a population by one step.

    ``current`` is ``I``, ``(batch, n)`` int64, the exact sum of weight times value over the step's events. Returns the
    new state, the spikes, ``(batch, n)`` of 0 and 1, and their values, ``(batch, n)``: 1 unless graded, and 0 without a
    spike.
    """
    if parameters.delay_line:
        return _delay(state, current, parameters)
    p = parameters
    # Stored by the previous step, so the step of the spike itself is not refractory.
    hold = state.refractory_count > 0
    if p.current_leak is not None:
        current = leak(state.current, p.current_leak, p.current_leak_factor, p) + current
    base = np.where(hold, state.v, leak(state.v, p.leak, p.leak_factor, p))
    base = np.where(state.pending > 0, _after_reset(base, p.threshold, p), base)
    # Exact: nothing is narrowed before the comparison.
    u = base + np.where(hold, 0, np.asarray(p.bias) + current)
    threshold = np.asarray(p.threshold) + state.adaptation
    raised = np.asarray(p.threshold) * (p.second_threshold & (state.v > np.asarray(p.threshold)))
    compared = u + noise(state.random, p.noise_bits)
    needed = threshold + raised
    count = np.zeros_like(u)
    for k in range(1, p.max_spikes + 1):
        count += compared > k * needed if p.compare is Compare.GREATER else compared >= k * needed
    spike = (count > 0) & ~hold & p.spiking
    spikes = spike.astype(np.int64)
    if p.max_spikes > 1:
        values = spikes * count
    else:
        # The value is that of the membrane before its reset.
        values = spikes * saturate(u >> p.graded_shift, p.value_width) if p.graded else spikes
    if p.reset_delay == 0:
        u = np.where(spike, _after_reset(u, count * threshold, p), u)
    if p.lower_bound is not None:
        u = np.maximum(u, np.asarray(p.lower_bound))
    adaptation = state.adaptation
    if p.adaptation_leak is not None:
        adaptation = leak(adaptation, p.adaptation_leak, p.adaptation_leak_factor, p)
        # After the comparison, so a spike raises only later thresholds.
        adaptation = saturate(adaptation + spikes * np.asarray(p.adaptation_step), p.v_width)
    new_state = NeuronState(
        v=saturate(u, p.v_width),
        pending=spikes * p.reset_delay,
        refractory_count=np.where(spike, p.refractory, np.maximum(state.refractory_count - 1, 0)),
        current=state.current if p.current_leak is None else saturate(current, p.v_width),
        adaptation=adaptation,
        random=leap_table(RANDOM_WIDTH, RANDOM_WIDTH)[state.random] if p.noise_bits else state.random,
    )
    return new_state, spikes, values


def _delay(
    state: NeuronState, current: IntArray, parameters: NeuronParameters
) -> tuple[NeuronState, IntArray, IntArray]:
    # Bit n is the input of n steps ago, bit 0 that of this step.
    line = (state.v << 1 | (current > 0)) & ((1 << parameters.v_width) - 1)
    spikes = line >> np.asarray(parameters.delay) & 1
    _, high = signed_range(parameters.v_width)
    # Stored as two's complement, like the membrane in the RTL.
    return replace(state, v=np.where(line > high, line - (1 << parameters.v_width), line)), spikes, spikes
