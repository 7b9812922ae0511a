"""The neuron features: a single table for all parts of the project.

A *feature* is an optional part of the recurrence of `spikeloom.sim.core.neuron`. Its entry in `FEATURES` describes
everything except its arithmetic:

* the field of `CoreFeatures` that enables it, the value that neurons require of this field, and the message for a core
  without it (`memory_fields`, the compiler's checks, `spikeloom.explore.choose`);
* its fields in the words of neurons, populations and states (`CoreParameters`), and their values for a population
  (`memory_fields`);
* its cost (`spikeloom.boards.sizing.estimate`), and the general fabrics that include it
  (`spikeloom.boards.sizing.choose`);
* the conversion of its numbers from NIR metadata to a float population (`spikeloom.frontends`) and to integers
  (`spikeloom.compiler.quantise`);
* its row in the tables of ``docs/neuron-models.md`` and ``docs/loading.md``.

The arithmetic is implemented three times, independently: the integer step (`spikeloom.sim.core.neuron`), the float step
(`spikeloom.model`) and the RTL (`spikeloom.hdl.core.lane`). A new feature is an entry here and a change to these
three files.

The order of the table is the order of the fields in memory words, from the lowest bit up. New entries are appended, so
that programs and bitstreams of cores without them do not change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from spikeloom.sim.core.neuron import (
    MOST_SPIKES,
    RANDOM_WIDTH,
    Compare,
    NeuronParameters,
    Reset,
    Rounding,
    signed_range,
)
from spikeloom.sim.lib.words import Field, bits_for

# `CoreParameters` derives from a class of this module, so that importing it here would be circular.
if TYPE_CHECKING:
    from spikeloom.sim.core.parameters import CoreParameters

__all__ = [
    "COPIED",
    "FEATURES",
    "GENERAL_LEVELS",
    "LEAKS",
    "MODEL_KEYS",
    "NEVER_ZERO",
    "PER_NEURON",
    "RESET_CODES",
    "SCALED",
    "WITHOUT_FEATURES",
    "CoreFeatures",
    "Feature",
    "Leaking",
    "MetadataKey",
    "Numbers",
    "StateField",
    "UpdateWidths",
    "ValueField",
    "general_features",
    "lane_products",
    "leaks_of",
    "update_widths",
]

RESET_CODES = {Reset.NONE: 0, Reset.ZERO: 1, Reset.SUBTRACT: 2, Reset.VALUE: 3}
"""Encoding of the field ``reset`` of a population word."""

GENERAL_LEVELS = ("plain", "basic", "small", "medium", "large")
"""The levels of general fabrics (`spikeloom.boards.sizing.choose.LEVELS`); each includes all features before it."""


@dataclass(frozen=True, kw_only=True)
class CoreFeatures:
    """The features of a core: the base class of `CoreParameters`.

    Each field is a flag or a width in bits, 0 for none. `FEATURES` defines their meaning for messages, tables and
    documents.
    """

    bias: bool = True
    reset_value: bool = True
    reset_delay: bool = True
    refractory_width: int = 4
    readout: bool = True
    synaptic_current: bool = False
    adaptation: bool = False
    noise_bits: int = 0
    value_width: int = 0
    delay_line: bool = False
    second_threshold: bool = False
    count_width: int = 0
    lower_bound: bool = False


@dataclass(frozen=True, kw_only=True)
class StateField:
    """A field of a neuron's state, with its width in a core; 0 if the core lacks it."""

    name: str
    width: Callable[[CoreParameters], int]
    signed: bool = False


@dataclass(frozen=True, kw_only=True)
class ValueField(StateField):
    """A field that the host writes: ``value`` gives the number or ``(n,)`` numbers of a population."""

    value: Callable[[CoreParameters, NeuronParameters], ArrayLike]


@dataclass(frozen=True, kw_only=True)
class Leaking:
    """A decaying quantity.

    ``leak`` is the field of `NeuronParameters` with the kind of decay. Its factor is ``{leak}_factor``, which is also a
    field of the neuron or population word. ``factor`` is the field of the float population, a number from 0 to 1.
    """

    leak: str
    factor: str


class Numbers(Enum):
    """Kind of value of a NIR metadata key."""

    ONE = "one number"
    PER_NEURON = "one number or one per neuron"
    TIME_CONSTANTS = "seconds, one number or one per neuron; stepped like tau"


@dataclass(frozen=True, kw_only=True)
class MetadataKey:
    """A key under ``metadata["spikeloom"]`` of a spiking NIR node. A file has all keys of a feature, or none.

    The float population has a field of the same name, except for `Numbers.TIME_CONSTANTS`, which become the factor of
    the feature's `Leaking`.
    """

    name: str
    numbers: Numbers
    meaning: str


def _nothing(core: CoreParameters) -> dict[str, float]:
    return {}


def _no_fault(core: CoreParameters) -> str:
    return ""


def _no_limit(core: CoreParameters, p: NeuronParameters) -> str:
    return ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Feature:
    """An entry of the table.

    Parameters
    ----------
    name
        Name in tables.
    flag
        The field of `CoreFeatures` that enables it or gives its width; empty for a feature of every core.
    phrase
        Subject of the message for a core without it: "... is missing from this fabric".
    most
        The largest value of ``flag``.
    fault
        The message that rejects a core whose ``flag`` is inconsistent with its other fields, else empty.
    needs
        The minimum value of ``flag`` that a population requires; 0 for none.
    exact
        Whether ``flag`` must be exactly the required value.
    limit
        The message that rejects a population for which ``flag`` is too small or, if ``exact``, different; else empty.
        Without ``limit`` the message is formed from ``phrase``.
    parameters
        Fields with a value per neuron or per population (`CoreParameters.per_neuron`), named as in `NeuronParameters`.
        The factor of ``leaking`` precedes them.
    rule
        Fields with one value per population.
    state
        Fields of a neuron's state, named as in `NeuronState`.
    leaking
        Its decaying quantity, which takes one product per lane in cores with multipliers.
    products
        Factor widths of the other products of each lane.
    cost
        Terms of the resource estimate, in proportion to the logic of a core. The price of each term is fitted to
        measured cores per FPGA family; a term without measured cores costs nothing
        (`spikeloom.boards.qor.refit_estimate`).
    general
        The value of ``flag`` in general fabrics, from the named level on; 0 below.
    copied
        Fields of a float population that the quantiser copies.
    scaled
        Fields of a float population in units of the membrane, which the quantiser scales like the membrane. None stays
        None. The noise and the values of graded spikes have their own scales in the quantiser.
    never_zero
        Those of ``scaled`` that must not be rounded to 0.
    keys
        Its keys in the metadata of a NIR file, if NIR has no node for it.
    fields
        Its fields of `NeuronParameters`.
    nir, meaning
        For the documentation: the corresponding NIR node, if any, and the effect of the feature.
    """

    name: str
    flag: str = ""
    phrase: str = ""
    most: int = 1
    fault: Callable[[CoreParameters], str] = _no_fault
    needs: Callable[[NeuronParameters], int] = lambda p: 0
    exact: bool = False
    limit: Callable[[CoreParameters, NeuronParameters], str] = _no_limit
    parameters: tuple[ValueField, ...] = ()
    rule: tuple[ValueField, ...] = ()
    state: tuple[StateField, ...] = ()
    leaking: Leaking | None = None
    products: Callable[[CoreParameters], tuple[tuple[int, int], ...]] = lambda core: ()
    cost: Callable[[CoreParameters], dict[str, float]] = _nothing
    general: Mapping[str, int] = field(default_factory=dict)
    copied: tuple[str, ...] = ()
    scaled: tuple[str, ...] = ()
    never_zero: tuple[str, ...] = ()
    keys: tuple[MetadataKey, ...] = ()
    fields: tuple[str, ...] = ()
    nir: str = ""
    meaning: str = ""

    def built(self, core: CoreFeatures) -> bool:
        """Whether ``core`` has it."""
        # A feature without a flag belongs to every core.
        return not self.flag or getattr(core, self.flag) > 0

    @property
    def is_width(self) -> bool:
        """Whether ``flag`` is a number of bits."""
        return bool(self.flag) and not isinstance(getattr(CoreFeatures, self.flag), bool)

    def value(self, amount: int) -> Any:
        """``amount`` as a value of ``flag``: True or False, or a number of bits."""
        return type(getattr(CoreFeatures, self.flag))(amount)

    def missing(self, core: CoreParameters, p: NeuronParameters) -> str:
        """The message that rejects such neurons on ``core``; empty if it supports them."""
        # Features whose flag is a width name the limit in a message of their own.
        if self.limit is not _no_limit:
            return self.limit(core, p)
        lacks = self.flag and self.needs(p) > getattr(core, self.flag)
        return f"{self.phrase} is missing from this fabric" if lacks else ""

    def parameter_fields(self, core: CoreParameters) -> tuple[Field, ...]:
        """The fields of `parameters`, preceded by the factor of its decaying quantity."""
        own = tuple(Field(f.name, f.width(core), signed=f.signed) for f in self.parameters)
        if self.leaking is None:
            return own
        # The sign of a factor selects rounding up; the index of a shift is unsigned.
        factor = Field(f"{self.leaking.leak}_factor", core.leak_width * self.built(core), signed=core.multiplier)
        return (factor, *own)


def _count_fault(core: CoreParameters) -> str:
    # A count of one bit would be a spike. The number of spikes is the value of a graded spike, which is signed.
    if core.count_width == 1 or (core.count_width and core.value_width <= core.count_width):
        return (
            "count_width must be 0, or at least 2 and less than value_width, because the number of spikes is the "
            f"value of a graded spike, not {core.count_width} with a value_width of {core.value_width}"
        )
    return ""


def _count_limit(core: CoreParameters, p: NeuronParameters) -> str:
    most = max(1, (1 << core.count_width) - 1)
    return f"max_spikes must be at most {most} on this fabric, not {p.max_spikes}" if p.max_spikes > most else ""


def _refractory_limit(core: CoreParameters, p: NeuronParameters) -> str:
    # The counter starts at the number of steps and is 0 when the neuron is not refractory.
    most = (1 << core.refractory_width) - 1
    return f"refractory must be at most {most} steps on this fabric, not {p.refractory}" if p.refractory > most else ""


def _noise_limit(core: CoreParameters, p: NeuronParameters) -> str:
    if p.noise_bits <= core.noise_bits:
        return ""
    return f"noise_bits must be at most {core.noise_bits} on this fabric, not {p.noise_bits}"


def _graded_fault(core: CoreParameters) -> str:
    # Two's complement of one bit would hold -1 and 0 only, but an ungraded spike counts as 1.
    if core.value_width == 1:
        return "value_width must be 0 or from 2 to 16, not 1"
    # A value travels in the field of a packet that holds a membrane.
    if core.value_width > core.v_width:
        return f"value_width must be at most v_width ({core.v_width}), not {core.value_width!r}"
    return ""


def _graded_limit(core: CoreParameters, p: NeuronParameters) -> str:
    # Exact: the hardware saturates at its own width, the model at that of the neurons.
    if not p.graded or p.value_width == core.value_width:
        return ""
    if not core.value_width:
        return "a multiplication by the values of graded spikes is missing from this fabric"
    return f"value_width must be {core.value_width} on this fabric, not {p.value_width}"


def _bound(core: CoreParameters, p: NeuronParameters) -> ArrayLike:
    if p.lower_bound is not None:
        return p.lower_bound
    # The smallest membrane bounds nothing: it is what saturation does anyway. A field without bits holds 0.
    return signed_range(core.v_width)[0] * core.lower_bound


def _membranes(core: CoreParameters) -> int:
    """Total width of the membranes that are updated in parallel."""
    return core.lanes * core.v_width


FEATURES = (
    Feature(
        name="threshold",
        parameters=(
            ValueField(
                name="threshold",
                width=lambda core: core.v_width,
                signed=True,
                # A delay line compares its ``u``, the sum of its inputs, with 0.
                value=lambda core, p: 0 if p.delay_line else p.threshold,
            ),
        ),
        scaled=("threshold",),
        never_zero=("threshold",),
        fields=("threshold",),
        nir="LIF, IF, CubaLIF, Threshold",
        meaning="the neuron fires when its membrane exceeds it",
    ),
    Feature(
        name="bias",
        flag="bias",
        phrase="a bias",
        needs=lambda p: bool(np.any(np.asarray(p.bias))),
        parameters=(
            ValueField(
                name="bias", width=lambda core: core.v_width * core.bias, signed=True, value=lambda core, p: p.bias
            ),
        ),
        cost=lambda core: {"bias": _membranes(core) * core.bias},
        general={"plain": 1},
        scaled=("bias",),
        fields=("bias",),
        nir="Affine, `v_leak`",
        meaning="a constant that is added to the membrane in each step",
    ),
    Feature(
        name="leak",
        rule=(
            ValueField(
                # Rounding applies to products; a core without a multiplier only shifts.
                name="nearest",
                width=lambda core: int(core.multiplier),
                value=lambda core, p: int(p.rounding is Rounding.NEAREST and core.multiplier),
            ),
        ),
        state=(StateField(name="v", width=lambda core: core.v_width, signed=True),),
        leaking=Leaking(leak="leak", factor="beta"),
        fields=("leak", "leak_factor"),
        nir="LIF, LI, CubaLIF, CubaLI; none in IF, I, Threshold",
        meaning="the membrane decays: by a shift, by any factor in cores with `multiplier`, or to 0 in each step",
    ),
    Feature(
        name="firing",
        rule=(
            ValueField(
                # A delay line always compares with `>`, which detects an input above 0, and never resets.
                name="greater_equal",
                width=lambda core: 1,
                value=lambda core, p: int(p.compare is Compare.GREATER_EQUAL and not p.delay_line),
            ),
            ValueField(
                name="reset",
                width=lambda core: 2,
                value=lambda core, p: RESET_CODES[Reset.NONE if p.delay_line else p.reset],
            ),
        ),
        copied=("compare", "reset"),
        fields=("compare", "reset"),
        nir="options",
        meaning="the comparison is > or >=; a spike sets the membrane to 0, subtracts the threshold, or leaves it",
    ),
    Feature(
        name="reset to a value",
        flag="reset_value",
        phrase="a reset to a value",
        needs=lambda p: p.reset is Reset.VALUE and not p.delay_line,
        parameters=(
            ValueField(
                name="reset_value",
                width=lambda core: core.v_width * core.reset_value,
                signed=True,
                value=lambda core, p: p.reset_value if p.reset is Reset.VALUE and not p.delay_line else 0,
            ),
        ),
        cost=lambda core: {"reset to a value": _membranes(core) * core.reset_value},
        general={"small": 1},
        scaled=("reset_value",),
        fields=("reset_value",),
        nir="`v_reset`",
        meaning="a spike sets the membrane to a value",
    ),
    Feature(
        name="reset delay",
        flag="reset_delay",
        phrase="a reset delay",
        needs=lambda p: p.reset_delay,
        rule=(
            ValueField(
                name="reset_delay", width=lambda core: int(core.reset_delay), value=lambda core, p: p.reset_delay
            ),
        ),
        state=(StateField(name="pending", width=lambda core: int(core.reset_delay)),),
        cost=lambda core: {
            "reset delay": _membranes(core) * core.reset_delay,
            "reset delay and factor": _membranes(core) * (core.reset_delay and core.multiplier),
        },
        general={"small": 1},
        copied=("reset_delay",),
        fields=("reset_delay",),
        nir="options",
        meaning="the reset takes effect at the start of the next step",
    ),
    Feature(
        name="refractory steps",
        flag="refractory_width",
        most=8,
        needs=lambda p: p.refractory.bit_length(),
        limit=_refractory_limit,
        rule=(
            ValueField(name="refractory", width=lambda core: core.refractory_width, value=lambda core, p: p.refractory),
        ),
        state=(StateField(name="refractory_count", width=lambda core: core.refractory_width),),
        cost=lambda core: {
            "refractory": core.lanes * core.refractory_width,
            "refractory and factor": _membranes(core) * (core.refractory_width > 0 and core.multiplier),
        },
        # Three bits count up to 7 refractory steps, four bits up to 15.
        general={"small": 3, "medium": 4},
        copied=("refractory",),
        fields=("refractory",),
        nir="options",
        meaning="the neuron holds its membrane and ignores its input for 0 to 255 steps after a spike",
    ),
    Feature(
        name="readout",
        flag="readout",
        phrase="the readout of membranes",
        needs=lambda p: not p.spiking,
        rule=(
            ValueField(name="spiking", width=lambda core: 1, value=lambda core, p: int(p.spiking)),
            # Placement decides which membranes are read out, and sets this field.
            ValueField(name="readout", width=lambda core: int(core.readout), value=lambda core, p: 0),
        ),
        cost=lambda core: {"readout": _membranes(core) * core.readout},
        general={"plain": 1},
        copied=("spiking",),
        fields=("spiking",),
        nir="LI, I, CubaLI",
        meaning="a neuron that never spikes; its membrane is sent in each step",
    ),
    Feature(
        name="synaptic current",
        flag="synaptic_current",
        phrase="a synaptic current",
        needs=lambda p: p.current_leak is not None,
        rule=(
            ValueField(
                name="current",
                width=lambda core: int(core.synaptic_current),
                value=lambda core, p: int(p.current_leak is not None),
            ),
        ),
        state=(StateField(name="current", width=lambda core: core.v_width * core.synaptic_current, signed=True),),
        leaking=Leaking(leak="current_leak", factor="alpha"),
        cost=lambda core: {"synaptic current": _membranes(core) * core.synaptic_current},
        general={"large": 1},
        fields=("current_leak", "current_leak_factor"),
        nir="CubaLIF, CubaLI",
        meaning="the input charges a current, which decays and drives the membrane",
    ),
    Feature(
        name="adaptation",
        flag="adaptation",
        phrase="an adaptive threshold",
        needs=lambda p: p.adaptation_leak is not None,
        parameters=(
            ValueField(
                name="adaptation_step",
                width=lambda core: core.v_width * core.adaptation,
                signed=True,
                value=lambda core, p: p.adaptation_step,
            ),
        ),
        state=(StateField(name="adaptation", width=lambda core: core.v_width * core.adaptation, signed=True),),
        leaking=Leaking(leak="adaptation_leak", factor="adaptation_factor"),
        cost=lambda core: {"adaptation": _membranes(core) * core.adaptation},
        general={"large": 1},
        scaled=("adaptation_step",),
        never_zero=("adaptation_step",),
        keys=(
            MetadataKey(
                name="adaptation_tau_s",
                numbers=Numbers.TIME_CONSTANTS,
                meaning="time constant of the threshold's adaptation",
            ),
            MetadataKey(
                name="adaptation_step", numbers=Numbers.PER_NEURON, meaning="amount that a spike adds to the threshold"
            ),
        ),
        fields=("adaptation_leak", "adaptation_leak_factor", "adaptation_step"),
        nir="metadata",
        meaning="each spike raises the threshold, which decays back (ALIF)",
    ),
    Feature(
        name="noise",
        flag="noise_bits",
        most=RANDOM_WIDTH,
        needs=lambda p: p.noise_bits,
        limit=_noise_limit,
        parameters=(
            ValueField(
                name="seed", width=lambda core: RANDOM_WIDTH * (core.noise_bits > 0), value=lambda core, p: p.seed
            ),
        ),
        # A mask: the noise of the population uses the low bits that are set.
        rule=(
            ValueField(name="noise", width=lambda core: core.noise_bits, value=lambda core, p: (1 << p.noise_bits) - 1),
        ),
        state=(StateField(name="random", width=lambda core: RANDOM_WIDTH * (core.noise_bits > 0)),),
        # The shift register of 16 bits, and the bits of noise to be added.
        cost=lambda core: {"noise": core.lanes * (core.noise_bits > 0) * (16 + core.noise_bits)},
        keys=(
            MetadataKey(
                name="noise",
                numbers=Numbers.ONE,
                meaning="half the width of the uniform noise at the threshold, in units of the membrane",
            ),
        ),
        fields=("noise_bits", "seed"),
        nir="metadata",
        meaning="uniform noise is added to the membrane for the comparison",
    ),
    Feature(
        name="graded spikes",
        flag="value_width",
        most=16,
        needs=lambda p: p.value_width if p.graded else 0,
        exact=True,
        fault=_graded_fault,
        limit=_graded_limit,
        rule=(
            ValueField(
                name="graded", width=lambda core: int(core.value_width > 0), value=lambda core, p: int(p.graded)
            ),
            ValueField(
                name="graded_shift",
                width=lambda core: bits_for(core.v_width) * (core.value_width > 0),
                value=lambda core, p: p.graded_shift if p.graded else 0,
            ),
        ),
        # Weight times value. The products of leaks are counted by `lane_products`.
        products=lambda core: ((core.weight_width, core.value_width),),
        cost=lambda core: {"graded": _membranes(core) * (core.value_width > 0)},
        keys=(
            MetadataKey(
                name="value_limit",
                numbers=Numbers.ONE,
                meaning="upper limit of the membrane that a spike carries as its value",
            ),
        ),
        fields=("graded", "graded_shift", "value_width"),
        nir="metadata",
        meaning="a spike carries the membrane as its value, which multiplies the weights",
    ),
    Feature(
        name="delay lines",
        flag="delay_line",
        phrase="a delay line",
        needs=lambda p: p.delay_line,
        parameters=(
            ValueField(
                name="delay",
                # The position of a bit in the membrane, which holds the line.
                width=lambda core: bits_for(core.v_width) * core.delay_line,
                value=lambda core, p: p.delay,
            ),
        ),
        rule=(
            ValueField(
                name="delay_line", width=lambda core: int(core.delay_line), value=lambda core, p: int(p.delay_line)
            ),
        ),
        cost=lambda core: {"delay lines": _membranes(core) * core.delay_line},
        general={"large": 1},
        fields=("delay_line", "delay"),
        nir="Delay",
        meaning="not a neuron: fires 0 to 23 steps after a positive input, and has no other features",
    ),
    Feature(
        name="second threshold",
        flag="second_threshold",
        phrase="a second threshold",
        needs=lambda p: p.second_threshold,
        rule=(
            ValueField(
                name="second_threshold",
                width=lambda core: int(core.second_threshold),
                value=lambda core, p: int(p.second_threshold),
            ),
        ),
        cost=lambda core: {"second threshold": _membranes(core) * core.second_threshold},
        copied=("second_threshold",),
        fields=("second_threshold",),
        nir="preset `snntorch`, reset `subtract`, `reset_delay` 0",
        meaning="a membrane that is still above the threshold after a reset fires only above twice the threshold",
    ),
    Feature(
        name="spike counts",
        flag="count_width",
        most=MOST_SPIKES.bit_length(),
        needs=lambda p: p.max_spikes.bit_length() if p.max_spikes > 1 else 0,
        fault=_count_fault,
        limit=_count_limit,
        rule=(
            ValueField(
                # Neurons without this feature have the value 1, which is written only if the core has the field.
                name="max_spikes",
                width=lambda core: core.count_width,
                value=lambda core, p: p.max_spikes * (core.count_width > 0),
            ),
        ),
        # The lane compares with the threshold times each power of two; the first comparison exists in every core.
        cost=lambda core: {"spike counts": _membranes(core) * max(0, core.count_width - 1)},
        copied=("max_spikes",),
        fields=("max_spikes",),
        nir="option `max_spikes`",
        meaning="a neuron fires up to 15 times in a step; its spikes are one event, whose value is their number",
    ),
    Feature(
        name="lower bound",
        flag="lower_bound",
        phrase="a lower bound of the membrane",
        needs=lambda p: p.lower_bound is not None,
        parameters=(
            ValueField(
                name="lower_bound",
                width=lambda core: core.v_width * core.lower_bound,
                signed=True,
                value=_bound,
            ),
        ),
        cost=lambda core: {"lower bound": _membranes(core) * core.lower_bound},
        scaled=("lower_bound",),
        fields=("lower_bound",),
        nir="option `lower_bound`",
        meaning="a membrane below it, after the reset, becomes it (`min_v_mem` of sinabs)",
    ),
)
"""All features, in the order of their fields in memory words."""

LEAKS = tuple(feature.leaking for feature in FEATURES if feature.leaking is not None)
"""All decaying quantities."""

COPIED = tuple(name for feature in FEATURES for name in feature.copied)
SCALED = tuple(name for feature in FEATURES for name in feature.scaled)
NEVER_ZERO = tuple(name for feature in FEATURES for name in feature.never_zero)
"""Treatment of the fields of a float population by the quantiser; see `Feature`."""

MODEL_KEYS = {key.name: key for feature in FEATURES for key in feature.keys}
"""The keys of features under ``metadata["spikeloom"]`` of a spiking NIR node, by name."""

PER_NEURON = tuple(
    name
    for feature in FEATURES
    for name in (
        *([f"{feature.leaking.leak}_factor"] if feature.leaking else ()),
        *(parameter.name for parameter in feature.parameters),
    )
)
"""The parameters that a core can store per neuron instead of per population."""

WITHOUT_FEATURES: Mapping[str, Any] = {feature.flag: feature.value(0) for feature in FEATURES if feature.flag}
"""The fields of a core without optional features, for leaky integrate-and-fire neurons only."""


def general_features(level: str) -> dict[str, Any]:
    """The fields of a core with the features of general fabrics of ``level``, one of `GENERAL_LEVELS`."""
    # The amount of the highest level up to this one counts.
    below = GENERAL_LEVELS[: GENERAL_LEVELS.index(level) + 1]
    amounts = {f: [f.general[name] for name in below if name in f.general] for f in FEATURES if f.flag}
    return {feature.flag: feature.value(listed[-1] if listed else 0) for feature, listed in amounts.items()}


def leaks_of(core: CoreFeatures) -> int:
    """Number of decaying quantities in each lane of ``core``."""
    return sum(feature.leaking is not None and feature.built(core) for feature in FEATURES)


def lane_products(core: CoreParameters) -> list[tuple[int, int]]:
    """The products in each lane of ``core``, as the widths of their factors."""
    # Without a multiplier leaks are shifts and need no product.
    leaks = [(core.v_width, core.leak_width)] * (leaks_of(core) * core.multiplier)
    return leaks + [widths for feature in FEATURES if feature.built(core) for widths in feature.products(core)]


class UpdateWidths(NamedTuple):
    """Widths in bits in which two's complement represents each intermediate value of the neuron update exactly."""

    base: int  #: the membrane after its leak and the delayed reset of an earlier spike
    drive: int  #: the input, added to ``base``
    u: int  #: sum of ``base`` and ``drive``
    threshold: int  #: the threshold plus its adaptation, or twice the threshold
    difference: int  #: ``u`` minus that threshold
    compared: int  #: the difference plus noise


def update_widths(core: CoreParameters) -> UpdateWidths:
    """The widths with which no intermediate value of the neuron update can overflow.

    A leak does not increase the magnitude, so a leaked value needs no further bits. Each sum or difference needs one
    bit more than its wider operand. The *drive* is the accumulator plus the leaked synaptic current plus the bias. The
    membrane after a reset is ``difference``, ``u`` (`Reset.NONE`), or a value of ``v_width`` bits.
    """
    base = core.v_width + core.reset_delay
    # The synaptic current enters before it is narrowed to its stored width.
    current = core.accumulator_width
    if core.synaptic_current:
        current = max(core.v_width, current) + 1
    # The bias has the width of the membrane.
    drive = max(core.v_width, current) + 1 if core.bias else current
    u = max(base, drive) + 1
    # Neurons have at most one of the two, so one further bit is enough.
    threshold = core.v_width + (core.adaptation or core.second_threshold)
    difference = max(u, threshold) + 1
    compared = max(difference, core.noise_bits) + 1 if core.noise_bits else difference
    return UpdateWidths(base, drive, u, threshold, difference, compared)
