"""The parameters of a LIF core and the words of its memories: all that the RTL takes, and all that placement fills.

A core holds ``neurons`` slots, ``lanes`` of them a memory word. Populations occupy consecutive words; a step updates
them in order. Each axon number is the address of a *row*: a run of consecutive weight words that is added to a run of
accumulator words. A row whose ``more`` bit is set is continued by the row at the next address, so that one axon can
reach several populations.

With coordinates an axon is ``x | y << coordinate_width | row << 2 * coordinate_width``, and a row is shared by all
positions of a channel: entry ``x`` of a table of *columns* and entry ``y`` of one of *lines* say where the words of
that position begin and how many taps of a kernel it meets in each direction. `spikeloom.sim.rows` has the loop, and
`docs/connections.md` the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from spikeloom.sim.neuron import Compare, Leak, NeuronParameters, Reset, Rounding
from spikeloom.sim.words import Field, WordLayout, bits_for

__all__ = ["CoreParameters", "Memory"]

RESET_CODES = {Reset.NONE: 0, Reset.ZERO: 1, Reset.SUBTRACT: 2, Reset.VALUE: 3}
COMPARE_CODES = {Compare.GREATER: 0, Compare.GREATER_EQUAL: 1}


@dataclass(frozen=True)
class Memory:
    """A memory that the host loads: its number on the configuration port, its depth and its width in bits."""

    name: str
    number: int
    depth: int
    width: int

    @property
    def planes(self) -> int:
        """Bytes of a word."""
        return -(-self.width // 8)


@dataclass(frozen=True, kw_only=True)
class CoreParameters:
    """What a LIF core is built for.

    Parameters
    ----------
    lanes
        Neurons handled a cycle, a power of two from 1 to 256.
    neurons, axons, weight_words, populations
        Depths: neuron slots (a multiple of ``lanes``), rows, words of ``lanes`` weights, populations.
    weight_width, v_width, accumulator_width
        Widths in bits: 1 to 16, 8 to 24, and ``weight_width`` to 32. A weight of one bit is -1 or, if it is set, 1.
    coordinate_width, geometries
        Bits of each of the two coordinates of an axon, 0 to 7 (0: axons are rows), and the number of different
        geometries of convolutions and poolings. The tables exist only where there are coordinates.
    sparse
        Whether rows can name the accumulator word of each of their weight words.
    multiplier, beta_fraction
        Whether each lane has a multiplier: then any leak factor is possible, rounded up, down or to the nearest, with
        ``beta_fraction`` fractional bits.
    shifts
        The shifts of `Leak.SHIFT` that a core without a multiplier can do.
    reset_value, reset_delay, refractory_width
        Whether `Reset.VALUE` and reset delay 1 exist, and the bits of the refractory counter (0 for none).
    readout
        Whether membranes can be sent, as populations that do not spike need.
    accumulator_memory
        What the accumulators are made of: ``block`` RAM, or ``distributed`` (LUT RAM), for few words.
    token_width
        Bits that count the TICKs and ACKs of a step: the core can have ``2**token_width - 1`` sources, and sinks.
    """

    lanes: int = 1
    neurons: int = 64
    axons: int = 128
    weight_words: int = 4096
    populations: int = 4
    weight_width: int = 8
    coordinate_width: int = 0
    geometries: int = 8
    sparse: bool = False
    v_width: int = 16
    accumulator_width: int = 16
    multiplier: bool = True
    beta_fraction: int = 14
    shifts: tuple[int, ...] = ()
    reset_value: bool = True
    reset_delay: bool = True
    refractory_width: int = 4
    readout: bool = True
    accumulator_memory: str = "block"
    token_width: int = 4

    def __post_init__(self) -> None:
        if self.lanes not in [1 << place for place in range(9)]:
            raise ValueError(f"lanes must be a power of two from 1 to 256, not {self.lanes!r}")
        for name, low, high in (
            ("neurons", self.lanes, 1 << 14),
            ("axons", 1, 1 << 14),
            ("weight_words", 1, 1 << 18),
            ("populations", 1, 255),
            ("weight_width", 1, 16),
            ("coordinate_width", 0, 7),
            ("geometries", 1, 256),
            ("v_width", 8, 24),
            ("accumulator_width", self.weight_width, 32),
            ("beta_fraction", 1, 16),
            ("refractory_width", 0, 8),
            ("token_width", 1, 8),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} must be an integer from {low} to {high}, not {value!r}")
        if self.neurons % self.lanes:
            raise ValueError(f"neurons must be a multiple of lanes ({self.lanes}), not {self.neurons!r}")
        if self.accumulator_memory not in ("block", "distributed"):
            raise ValueError(f"accumulator_memory must be 'block' or 'distributed', not {self.accumulator_memory!r}")
        if self.multiplier and self.shifts:
            raise ValueError(f"shifts must be empty where there is a multiplier, not {self.shifts!r}")
        if any(not 1 <= shift < self.v_width for shift in self.shifts) or len(set(self.shifts)) != len(self.shifts):
            raise ValueError(f"shifts must be different integers from 1 to {self.v_width - 1}, not {self.shifts!r}")

    @property
    def words(self) -> int:
        """Words of ``lanes`` neurons."""
        return self.neurons // self.lanes

    @property
    def axon_width(self) -> int:
        """Bits of the number in a spike packet: an axon on the way in, a neuron slot on the way out."""
        return max(self.event_width, bits_for(self.neurons))

    @property
    def event_width(self) -> int:
        """Bits of an axon: its coordinates, if there are any, and its row."""
        return 2 * self.coordinate_width + bits_for(self.axons)

    @property
    def update_width(self) -> int:
        """Bits that hold every intermediate value of a neuron's update exactly.

        ``base`` is a membrane or its difference from a threshold, ``drive`` a bias plus an accumulator; the second
        subtraction of a threshold makes a spike's membrane smaller in magnitude or is bounded by one more bit.
        """
        return max(self.v_width, self.accumulator_width) + 3

    @property
    def leak_width(self) -> int:
        """Bits of the leak's factor: a fixed-point beta up to 1.0, or the place in ``(none, *shifts)``."""
        return self.beta_fraction + 1 if self.multiplier else (len(self.shifts)).bit_length()

    @property
    def row_layout(self) -> WordLayout:
        """A row: first weight word, first accumulator word, words of a position less one, delay, continued.

        With coordinates, which geometry its taps have. A ``sparse`` row's weight words name their own accumulator
        words, and it may be ``empty``.
        """
        return WordLayout(
            (
                Field("weight_address", bits_for(self.weight_words)),
                Field("target", bits_for(self.words)),
                Field("length", bits_for(self.words)),
                Field("geometry", bits_for(self.geometries) if self.coordinate_width else 0),
                Field("sparse", int(self.sparse)),
                Field("empty", int(self.sparse)),
                Field("delay", 1),
                Field("more", 1),
            )
        )

    @property
    def line_layout(self) -> WordLayout:
        """What a geometry makes of a vertical coordinate: its first taps and their number less one, or none at all.

        ``weight`` and ``target`` are offsets in words. Targets wrap around, so that steps back are large numbers.
        """
        return WordLayout(
            (
                Field("weight", bits_for(self.weight_words)),
                Field("target", bits_for(self.words)),
                Field("taps", max(1, self.coordinate_width)),
                Field("skip", 1),
            )
        )

    @property
    def column_layout(self) -> WordLayout:
        """What a geometry makes of a horizontal coordinate, as `line_layout`, and the steps from tap to tap.

        ``next_target`` leads from the last accumulator word of a tap to the first of the next column's; ``line_weight``
        and ``line_target`` lead from the last words of a line's last tap to the first ones of the next line.
        """
        weight, target = Field("line_weight", bits_for(self.weight_words)), bits_for(self.words)
        more = (Field("next_target", target), weight, Field("line_target", target))
        return WordLayout((*self.line_layout.fields, *more))

    @property
    def neuron_layout(self) -> WordLayout:
        """The parameters of one neuron."""
        return WordLayout(
            (
                Field("threshold", self.v_width, signed=True),
                Field("bias", self.v_width, signed=True),
                Field("leak_factor", self.leak_width),
                Field("rounding", 2 if self.multiplier else 0),
                Field("compare", 1),
                Field("reset", 2),
                Field("reset_value", self.v_width if self.reset_value else 0, signed=True),
                Field("reset_delay", int(self.reset_delay)),
                Field("refractory", self.refractory_width),
                Field("spiking", 1),
                Field("readout", int(self.readout)),
            )
        )

    @property
    def state_layout(self) -> WordLayout:
        """The state of one neuron."""
        return WordLayout(
            (
                Field("v", self.v_width, signed=True),
                Field("pending", int(self.reset_delay)),
                Field("refractory_count", self.refractory_width),
            )
        )

    @property
    def route_layout(self) -> WordLayout:
        """Where a neuron's spikes go: out as packets (or its membrane each step), back into the core, or both."""
        return WordLayout(
            (
                Field("send", 1),
                Field("local", 1),
                Field("membrane", int(self.readout)),
                Field("axon", self.event_width),
            )
        )

    @property
    def population_layout(self) -> WordLayout:
        """The words of one population, first and last."""
        return WordLayout((Field("first", bits_for(self.words)), Field("last", bits_for(self.words))))

    @property
    def memories(self) -> dict[str, Memory]:
        """The memories that the host loads, by name; number 0 is the registers."""
        shapes = {
            "weights": (self.weight_words, self.lanes * self.weight_width),
            "rows": (self.axons, self.row_layout.width),
            "neurons": (self.words, self.lanes * self.neuron_layout.width),
            "routes": (self.neurons, self.route_layout.width),
            "populations": (self.populations, self.population_layout.width),
            "columns": (self.geometries << self.coordinate_width, self.column_layout.width),
            "lines": (self.geometries << self.coordinate_width, self.line_layout.width),
            "targets": (self.weight_words, bits_for(self.words)),
        }
        absent = {"targets"} if not self.sparse else set()
        absent |= {"columns", "lines"} if not self.coordinate_width else set()
        numbered = {name: Memory(name, number, *shape) for number, (name, shape) in enumerate(shapes.items(), 1)}
        return {name: memory for name, memory in numbered.items() if name not in absent}

    def leak_fields(self, parameters: NeuronParameters) -> dict[str, ArrayLike]:
        """The fields ``leak_factor`` and ``rounding`` that make this core leak as ``parameters`` says.

        With a multiplier every leak is one product: ``v - (v >> k)`` is ``v (1 - 2**-k)`` rounded up, because
        ``-floor(x) == ceil(-x)``. Raises ``ValueError`` if the core cannot do the leak exactly.
        """
        factor = np.asarray(parameters.leak_factor)
        if self.multiplier:
            one = 1 << self.beta_fraction
            if parameters.leak is Leak.NONE:
                return {"leak_factor": one, "rounding": 0}
            if parameters.leak is Leak.SHIFT:
                if factor.max() > self.beta_fraction:
                    raise ValueError(f"a leak shift must be at most {self.beta_fraction} on this fabric")
                return {"leak_factor": one - (one >> factor), "rounding": 2}
            if parameters.beta_fraction != self.beta_fraction:
                raise ValueError(
                    f"beta_fraction must be {self.beta_fraction} on this fabric, not {parameters.beta_fraction}"
                )
            return {"leak_factor": factor, "rounding": int(parameters.rounding is Rounding.NEAREST)}
        if parameters.leak is Leak.NONE:
            return {"leak_factor": 0}
        if parameters.leak is Leak.SHIFT and set(factor.tolist()) <= set(self.shifts):
            return {"leak_factor": [1 + self.shifts.index(shift) for shift in factor]}
        raise ValueError(
            f"a leak must be none or a shift by one of {self.shifts} on this fabric, which has no multiplier"
        )
