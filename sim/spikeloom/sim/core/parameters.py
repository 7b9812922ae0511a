"""The parameters of a LIF core and the words of its memories: all that the RTL takes, and all that placement fills.

A core holds ``neurons`` slots, ``lanes`` of them a memory word. Populations occupy consecutive words; a step updates
them in order. What holds for a whole population, its *rule*, is in one word, read once a sweep; what differs from
neuron to neuron is in the words of the neurons. `spikeloom.sim.core.memory_fields` says what to write into both.

Each axon number is the address of a *row*: a run of consecutive weight words that is added to a run of accumulator
words. A row whose ``more`` bit is set is continued by the row at the next address, so that one axon can
reach several populations.

With coordinates an axon is ``x | y << coordinate_width | row << 2 * coordinate_width``, and a row is shared by all
positions of a channel: entry ``x`` of a table of *columns* and entry ``y`` of one of *lines* say where the words of
that position begin and how many taps of a kernel it meets in each direction. `spikeloom.sim.core.row_reader` has the
loop, and `docs/connections.md` the picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

from spikeloom.sim.core.features import FEATURES, PER_NEURON, CoreFeatures, UpdateWidths, update_widths
from spikeloom.sim.core.registers import CORE
from spikeloom.sim.lib.contents import NOTHING, Contents
from spikeloom.sim.lib.memory import Memory
from spikeloom.sim.lib.tile import Capacity, TileParameters, Widths
from spikeloom.sim.lib.words import Field, WordLayout, bits_for

__all__ = ["CoreParameters"]

MOST_PLANES = 1 << 10
"""Bytes of a word at most, which are told apart by the ``plane`` of a
`spikeloom.sim.host.messages.ConfigurationAddress`."""


def _is_integer(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


@dataclass(frozen=True, kw_only=True)
class CoreParameters(CoreFeatures, TileParameters, kind="core", register_map=CORE):
    """What a LIF core is built for: its sizes, and the features of its neurons, which are the fields of `CoreFeatures`.

    Parameters
    ----------
    lanes
        Neurons handled a cycle, a power of two from 1 to 256.
    lane_banks
        Banks that the lanes lie in side by side, a power of two. Each has registers of its own for what its lanes are
        told, so that no wire leads to all lanes; several must hold a multiple of 8 lanes each.
    neurons, axons, weight_words, populations
        Depths: neuron slots (a multiple of ``lanes``), rows, words of ``lanes`` weights, populations.
    weight_width, v_width, accumulator_width
        Widths in bits: 1 to 16, 8 to 24, and ``weight_width`` to 32. A weight of one bit is -1 or, if it is set, 1.
    coordinate_width, geometries
        Bits of each of the two coordinates of an axon, 0 to 7 (0: axons are rows), and the number of different
        geometries of convolutions and poolings. The tables exist only where there are coordinates.
    sparse
        Whether rows can name the accumulator word of each of their weight words.
    per_neuron
        Names out of `PER_NEURON`: parameters that each neuron has a value of its own for. The others have one value a
        population. Names of what the core does not have are ignored.
    multiplier, beta_fraction
        Whether each lane has a multiplier for every leak: then any leak factor is possible, rounded up, down or to the
        nearest, with ``beta_fraction`` fractional bits.
    shifts
        The shifts of `Leak.SHIFT` that a core without a multiplier can do; a shift by 0 is `Leak.CLEAR`.
    weight_memory
        What the weights are kept in: ``block`` RAM, or ``single-port`` RAM, of which an iCE40 UP5K has 128 kB. Then
        they are not to be loaded while the core runs. Other FPGAs make it of block RAM.
    state_memory
        What the states of the neurons, and the words of them that have fired, are kept in: ``block`` RAM, or
        ``distributed`` (LUT RAM), for few words.
    accumulator_memory
        What the accumulators are made of: ``block`` RAM, or ``distributed`` (LUT RAM), for few words.
    destinations
        Tiles of the mesh that the core stands on, which are the bits of a destination set; 0 without a mesh.
    sent_axon_width
        Bits that the axon of a packet must have at least, so that every tile of the fabric can be told of each of its
        axons.
    contents
        What is in memories and registers from power-up. Cores that differ in nothing else are equal.
    """

    lanes: int = 1
    lane_banks: int = 1
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
    per_neuron: frozenset[str] = frozenset({"threshold", "bias", "leak_factor", "reset_value"})
    weight_memory: str = "block"
    state_memory: str = "block"
    accumulator_memory: str = "block"
    destinations: int = 0
    sent_axon_width: int = 0
    contents: Contents = field(default=NOTHING, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not _is_integer(self.lanes, 1, 256) or self.lanes & (self.lanes - 1):
            raise ValueError(f"lanes must be a power of two from 1 to 256, not {self.lanes!r}")
        most_banks = max(1, self.lanes // 8)
        if not _is_integer(self.lane_banks, 1, most_banks) or self.lane_banks & (self.lane_banks - 1):
            raise ValueError(
                f"lane_banks must be 1, or a power of two with at least 8 of the {self.lanes} lanes in each bank, not "
                f"{self.lane_banks!r}"
            )
        for name, low, high in (
            ("neurons", self.lanes, 1 << 14),
            ("axons", 1, 1 << 14),
            ("weight_words", 1, 1 << 18),
            ("populations", 1, 255),
            ("weight_width", 1, 16),
            ("coordinate_width", 0, 7),
            ("geometries", 1, 128),
            ("v_width", 8, 24),
            ("accumulator_width", self.weight_width, 32),
            ("beta_fraction", 1, 16),
            ("destinations", 0, 64),
            ("sent_axon_width", 0, 32),
            *((feature.flag, 0, feature.most) for feature in FEATURES if feature.is_width),
        ):
            value = getattr(self, name)
            if not _is_integer(value, low, high):
                raise ValueError(f"{name} must be an integer from {low} to {high}, not {value!r}")
        for name in (flag.name for flag in fields(self) if flag.type == "bool"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, not {getattr(self, name)!r}")
        if self.neurons % self.lanes:
            raise ValueError(f"neurons must be a multiple of lanes ({self.lanes}), not {self.neurons!r}")
        for feature in FEATURES:
            if fault := feature.fault(self):
                raise ValueError(fault)
        if not isinstance(self.per_neuron, frozenset) or not self.per_neuron <= set(PER_NEURON):
            raise ValueError(f"per_neuron must be a frozenset of names out of {PER_NEURON}, not {self.per_neuron!r}")
        for name, other in (
            ("weight_memory", "single-port"),
            ("state_memory", "distributed"),
            ("accumulator_memory", "distributed"),
        ):
            if getattr(self, name) not in ("block", other):
                raise ValueError(f"{name} must be 'block' or {other!r}, not {getattr(self, name)!r}")
        if not isinstance(self.shifts, tuple):
            raise ValueError(f"shifts must be a tuple, not {self.shifts!r}")
        if self.multiplier and self.shifts:
            raise ValueError(f"shifts must be empty where there is a multiplier, not {self.shifts!r}")
        are_shifts = all(_is_integer(shift, 0, self.v_width - 1) for shift in self.shifts)
        if not are_shifts or len(set(self.shifts)) != len(self.shifts):
            raise ValueError(f"shifts must be different integers from 0 to {self.v_width - 1}, not {self.shifts!r}")
        for memory in self.memories.values():
            if memory.planes > MOST_PLANES:
                raise ValueError(
                    f"words of {memory.name} must have at most {MOST_PLANES:,} bytes, not {memory.planes:,}: fewer "
                    "lanes, or fewer names in per_neuron"
                )
        if self.weight_memory == "single-port" and self.contents.memories:
            raise ValueError("weight_memory must be 'block' to hold a program from power-up, not 'single-port'")
        self.contents.check({memory.number for memory in self.memories.values()})

    @property
    def packets(self) -> Widths:
        """An axon as wide as the fabric's, and a value that holds a membrane."""
        return Widths(self.axon_width, self.v_width)

    @property
    def asks(self) -> Widths:
        """Its own packets must pass."""
        return self.packets

    def fitted(self, *, tiles: int, packets: Widths) -> CoreParameters:
        """The core that sends axons as wide as the fabric's, to sets of so many tiles."""
        return replace(self, destinations=tiles, sent_axon_width=packets.axon)

    @property
    def sends_values(self) -> bool:
        """Whether its spikes can be graded."""
        return self.value_width > 0

    @property
    def capacity(self) -> Capacity:
        """Neurons and weights that it holds; it adds a weight per lane and cycle."""
        synapses = self.weight_words * self.lanes
        return Capacity(neurons=self.neurons, synapses=synapses, operations_per_cycle=self.lanes)

    @property
    def bank_lanes(self) -> int:
        """Lanes of a bank."""
        return self.lanes // self.lane_banks

    @property
    def words(self) -> int:
        """Words of ``lanes`` neurons."""
        return self.neurons // self.lanes

    @property
    def axon_width(self) -> int:
        """Bits of the axon of a packet. There are numbers enough for all neurons to be told apart by the host."""
        return max(self.event_width, bits_for(self.neurons), self.sent_axon_width)

    @property
    def event_width(self) -> int:
        """Bits of an axon: its coordinates, if there are any, and its row."""
        return 2 * self.coordinate_width + bits_for(self.axons)

    @property
    def update_widths(self) -> UpdateWidths:
        """Bits of each intermediate value of a neuron's update."""
        return update_widths(self)

    @property
    def sent_width(self) -> int:
        """Bits of what a lane hands on for a neuron that sends something: the exact ``u`` where spikes can be graded,
        else the membrane."""
        return self.update_widths.u if self.value_width else self.v_width

    @property
    def leak_width(self) -> int:
        """Bits of a leak's factor: a fixed-point beta from -1 to 1, or the place in ``(none, *shifts)``."""
        return self.beta_fraction + 2 if self.multiplier else (len(self.shifts)).bit_length()

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
    def _parameter_fields(self) -> tuple[Field, ...]:
        """The fields of `PER_NEURON`, whichever word they are in."""
        return tuple(field for feature in FEATURES for field in feature.parameter_fields(self))

    @property
    def neuron_layout(self) -> WordLayout:
        """What each neuron has a value of its own for."""
        return WordLayout(tuple(field for field in self._parameter_fields if field.name in self.per_neuron))

    @property
    def population_layout(self) -> WordLayout:
        """A population: its first and last word, the tiles that its packets go to, and its rule.

        Of `PER_NEURON` it has what is not in the words of the neurons.
        """
        return WordLayout(
            (
                Field("first", bits_for(self.words)),
                Field("last", bits_for(self.words)),
                Field("destinations", self.destinations),
                *(field for field in self._parameter_fields if field.name not in self.per_neuron),
                *(Field(f.name, f.width(self), signed=f.signed) for feature in FEATURES for f in feature.rule),
            )
        )

    @property
    def state_layout(self) -> WordLayout:
        """The state of one neuron."""
        return WordLayout(
            tuple(Field(f.name, f.width(self), signed=f.signed) for feature in FEATURES for f in feature.state)
        )

    @property
    def route_layout(self) -> WordLayout:
        """Where a neuron's spikes go: out as packets (or its membrane each step), back into the core, or both.

        Whoever gets them, they carry one and the same axon.
        """
        return WordLayout(
            (
                Field("send", 1),
                Field("local", 1),
                Field("membrane", int(self.readout)),
                Field("axon", self.axon_width),
            )
        )

    @property
    def memories(self) -> dict[str, Memory]:
        """The memories that the host loads, by name; number 0 is the registers. A word without bits is no memory."""
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
        absent = set() if self.sparse else {"targets"}
        absent |= set() if self.coordinate_width else {"columns", "lines"}
        words = self.contents.memories
        numbered = {
            name: Memory(name, number, *shape, words.get(number, ()))
            for number, (name, shape) in enumerate(shapes.items(), 1)
        }
        return {name: memory for name, memory in numbered.items() if memory.width and name not in absent}
