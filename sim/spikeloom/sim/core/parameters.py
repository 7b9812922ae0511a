"""The parameters of a LIF core and the layouts of its memory words, as used by the RTL and by the compiler.

A core has ``neurons`` slots, ``lanes`` of them per memory word. Populations occupy consecutive words and are updated in
order. Parameters common to a population are stored in its population word, read once per sweep; individual parameters
are stored in the neuron words. `spikeloom.sim.core.memory_fields` encodes both.

An axon number is the address of a *row*: a run of consecutive weight words that is added to a run of accumulator words.
If its ``more`` bit is set, the row at the next address continues it, so that one axon can reach several populations.

With coordinates an axon is ``x | y << coordinate_width | row << 2 * coordinate_width``, and all positions of a channel
share a row. Entry ``x`` of the *columns* table and entry ``y`` of the *lines* table give the first words of the
position and the number of kernel taps in each direction. `spikeloom.sim.core.row_reader` has the loop,
`docs/connections.md` a drawing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cached_property

from spikeloom.sim.core.features import FEATURES, PER_NEURON, CoreFeatures, UpdateWidths, leaks_of, update_widths
from spikeloom.sim.core.registers import CORE
from spikeloom.sim.lib.contents import NOTHING, Contents
from spikeloom.sim.lib.memory import Memory
from spikeloom.sim.lib.tile import Capacity, TileParameters, Widths
from spikeloom.sim.lib.words import Field, WordLayout, bits_for
from spikeloom.sim.sdram.weights import padded_bits

__all__ = ["MOST_PLANES", "CoreParameters"]

MOST_PLANES = 1 << 10
"""Maximum number of byte lanes of a word, which the field ``plane`` of a
`spikeloom.sim.host.messages.ConfigurationAddress` selects."""


def _is_integer(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


@dataclass(frozen=True, kw_only=True)
class CoreParameters(CoreFeatures, TileParameters, kind="core", register_map=CORE):
    """Sizes of a LIF core, and the features of its neurons, which are the fields of `CoreFeatures`.

    Parameters
    ----------
    lanes
        Neurons processed per cycle, a power of two from 1 to 256.
    lane_banks
        Number of banks into which the lanes are divided, a power of two. Each bank has its own control registers, so
        that no wire leads to all lanes. More than one bank requires at least 8 lanes per bank.
    words_per_cycle
        Words of ``lanes`` weights added per cycle, consecutive words of a dense row; a power of two up to 32. Neurons
        are updated one word per cycle whatever this number is, so that many weights are added without as many neuron
        lanes. The memories of a program do not depend on it. More than 1 requires weights in block RAM, accumulators in
        LUT RAM, a single bank of lanes and no graded spikes, and at most 256 weights per cycle.
    neurons, axons, weight_words, populations
        Depths of the memories: neuron slots (a multiple of ``lanes``, up to 16384), rows (1 to 16384), words of
        ``lanes`` weights (1 to 262144) and populations (1 to 255).
    weight_width, v_width, accumulator_width
        Widths in bits: 1 to 16, 8 to 24, and ``weight_width`` to 32. A weight of one bit is 1 if set, else -1.
    coordinate_width, geometries
        Width of each of the two coordinates of an axon, 0 to 7 bits (0: axons are rows), and the number of different
        geometries of convolutions and poolings. The tables exist only with coordinates.
    sparse
        Whether rows can specify the accumulator word of each weight word.
    per_neuron
        Names from `PER_NEURON`: parameters stored for each neuron. The others are stored per population. Names of
        features that the core lacks are ignored.
    multiplier, beta_fraction
        Whether each lane has a multiplier for every leak. It supports any leak factor with ``beta_fraction`` fractional
        bits, 1 to 20, and rounds up, down or to nearest.
    shifts
        The shifts of `Leak.SHIFT` supported without a multiplier; a shift by 0 is `Leak.CLEAR`.
    weight_memory
        Memory of the weights: ``block`` RAM, or ``single-port`` RAM, of which an iCE40 UP5K has 128 kB. Single-port RAM
        must not be loaded while the core runs; other FPGAs replace it by block RAM. ``sdram``: the weights are streamed
        from the SDRAM of the fabric; rows have neither coordinates nor explicit targets, and ``weight_words`` may be up
        to 33,554,432.
    streamed_words
        Number of weight words in the SDRAM of the fabric beside those in ``block`` RAM, up to 33,554,432; 0 for a core
        with one kind. A row says in which of the two its words lie. Streamed rows are plain ones in cores with
        coordinates and sparse rows, too.
    state_memory
        Memory of the neuron states and of the queue of fired words: ``block`` RAM, or ``distributed`` (LUT RAM) for few
        words.
    accumulator_memory
        Memory of the accumulators: ``block`` RAM, or ``distributed`` (LUT RAM) for few words.
    destinations
        Number of tiles of the mesh, which is the width of a destination set; 0 without a mesh.
    sent_axon_width
        Minimum width of the axon of a packet, so that it can address each axon of every tile of the fabric.
    read_back
        Whether the host can read the memories back.
    contents
        Initial contents of memories and registers; ignored when cores are compared.
    """

    lanes: int = 1
    lane_banks: int = 1
    words_per_cycle: int = 1
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
    streamed_words: int = 0
    state_memory: str = "block"
    accumulator_memory: str = "block"
    destinations: int = 0
    sent_axon_width: int = 0
    read_back: bool = False
    contents: Contents = field(default=NOTHING, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not _is_integer(self.lanes, 1, 256) or self.lanes & (self.lanes - 1):
            raise ValueError(f"lanes must be a power of two from 1 to 256, not {self.lanes!r}")
        # A bank holds a slice of each weight word, which must be whole bytes: 8 weights of any width are.
        most_banks = max(1, self.lanes // 8)
        if not _is_integer(self.lane_banks, 1, most_banks) or self.lane_banks & (self.lane_banks - 1):
            raise ValueError(
                f"lane_banks must be 1, or a power of two with at least 8 of the {self.lanes} lanes in each bank, not "
                f"{self.lane_banks!r}"
            )
        for name, low, high in (
            ("neurons", self.lanes, 1 << 14),
            ("axons", 1, 1 << 14),
            # The deepest memory: it fills the 18 bits of the index on the load port. SDRAM has a port of its own.
            ("weight_words", 1, 1 << 25 if self.weight_memory == "sdram" else 1 << 18),
            ("streamed_words", 0, 1 << 25),
            ("populations", 1, 255),
            ("weight_width", 1, 16),
            ("coordinate_width", 0, 7),
            ("geometries", 1, 128),
            ("v_width", 8, 24),
            ("accumulator_width", self.weight_width, 32),
            ("beta_fraction", 1, 20),
            # Destination sets are registers of at most 64 bits.
            ("destinations", 0, 64),
            ("sent_axon_width", 0, 32),
            *((feature.flag, 0, feature.most) for feature in FEATURES if feature.is_width),
        ):
            value = getattr(self, name)
            if not _is_integer(value, low, high):
                raise ValueError(f"{name} must be an integer from {low} to {high}, not {value!r}")
        # The annotations of this module are strings, hence the comparison with "bool".
        for name in (flag.name for flag in fields(self) if flag.type == "bool"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, not {getattr(self, name)!r}")
        # The last word would otherwise have slots that do not exist.
        if self.neurons % self.lanes:
            raise ValueError(f"neurons must be a multiple of lanes ({self.lanes}), not {self.neurons!r}")
        for feature in FEATURES:
            if fault := feature.fault(self):
                raise ValueError(fault)
        if not isinstance(self.per_neuron, frozenset) or not self.per_neuron <= set(PER_NEURON):
            raise ValueError(f"per_neuron must be a frozenset of names out of {PER_NEURON}, not {self.per_neuron!r}")
        if self.weight_memory not in ("block", "single-port", "sdram"):
            raise ValueError(f"weight_memory must be 'block', 'single-port' or 'sdram', not {self.weight_memory!r}")
        for name in ("state_memory", "accumulator_memory"):
            if getattr(self, name) not in ("block", "distributed"):
                raise ValueError(f"{name} must be 'block' or 'distributed', not {getattr(self, name)!r}")
        if not isinstance(self.shifts, tuple):
            raise ValueError(f"shifts must be a tuple, not {self.shifts!r}")
        # With a multiplier every leak is a product; the shifts would be dead logic.
        if self.multiplier and self.shifts:
            raise ValueError(f"shifts must be empty where there is a multiplier, not {self.shifts!r}")
        are_shifts = all(_is_integer(shift, 0, self.v_width - 1) for shift in self.shifts)
        if not are_shifts or len(set(self.shifts)) != len(self.shifts):
            raise ValueError(f"shifts must be different integers from 0 to {self.v_width - 1}, not {self.shifts!r}")
        for memory in self.memories.values():
            if memory.planes > MOST_PLANES:
                raise ValueError(
                    f"words of {memory.name} must have at most {MOST_PLANES:,} bytes, not {memory.planes:,}; use "
                    "fewer lanes, or fewer names in per_neuron"
                )
        if self.weight_memory != "block" and self.contents.memories:
            raise ValueError(
                f"weight_memory must be 'block' to hold a program from power-up, not {self.weight_memory!r}"
            )
        if self.mixed and (self.weight_memory != "block" or self.contents.memories or self.words_per_cycle > 1):
            raise ValueError(
                "streamed_words must be 0 in a core without weights in block RAM, with a built-in program, or with "
                f"several words per cycle, not {self.streamed_words!r}"
            )
        if self.weight_memory == "sdram" and (self.coordinate_width or self.sparse):
            raise ValueError(
                "weight_memory must be 'block' in a core with coordinates or sparse rows, not 'sdram': rows with them "
                "cannot be streamed"
            )
        self._check_words_per_cycle()
        self.contents.check({memory.number for memory in self.memories.values()})

    def _check_words_per_cycle(self) -> None:
        count = self.words_per_cycle
        if not _is_integer(count, 1, 32) or count & (count - 1):
            raise ValueError(f"words_per_cycle must be a power of two from 1 to 32, not {count!r}")
        if count == 1:
            return
        if count * self.lanes > 256:
            raise ValueError(
                f"words_per_cycle must be at most {256 // self.lanes} with {self.lanes} lanes, 256 weights per cycle, "
                f"not {count}"
            )
        for name, needed in (
            ("weight_memory", "block"),
            ("accumulator_memory", "distributed"),
            ("lane_banks", 1),
            ("value_width", 0),
        ):
            if getattr(self, name) != needed:
                raise ValueError(
                    f"{name} must be {needed!r} in a core that adds several words per cycle, not "
                    f"{getattr(self, name)!r}"
                )
        # Word n is in memory n % words_per_cycle, and each memory has at least two words.
        if self.weight_words % count or self.weight_words < 2 * count:
            raise ValueError(
                f"weight_words must be a multiple of words_per_cycle, {count}, and at least {2 * count}, not "
                f"{self.weight_words}"
            )
        if self.words < 2 * count:
            raise ValueError(
                f"neurons must be at least {2 * count * self.lanes}, two words for each of the {count} added per "
                f"cycle, not {self.neurons}"
            )

    @property
    def packets(self) -> Widths:
        """Widths of its packets: the axon of the fabric, and a value that holds a membrane."""
        return Widths(self.axon_width, self.v_width)

    @property
    def asks(self) -> Widths:
        """Minimum widths of the fabric: those of its own packets."""
        return self.packets

    def fitted(self, *, tiles: int, packets: Widths) -> CoreParameters:
        """The core with the axon width of the fabric and destination sets of ``tiles`` bits."""
        # Axons mean the same to every receiver, so that the widest tile decides.
        return replace(self, destinations=tiles, sent_axon_width=packets.axon)

    @property
    def sends_values(self) -> bool:
        """Whether its spikes can be graded."""
        return self.value_width > 0

    @property
    def input_value_width(self) -> int:
        """Width of the values by which spikes multiply the weights; 0 for none."""
        return self.value_width

    @property
    def capacity(self) -> Capacity:
        """Number of neurons and weights; it adds ``words_per_cycle`` weights per lane and cycle."""
        synapses = self.all_weight_words * self.lanes
        return Capacity(neurons=self.neurons, synapses=synapses, operations_per_cycle=self.lanes * self.words_per_cycle)

    def holds_weights(self, width: int) -> bool:
        """Whether it can hold weights of ``width`` bits, at least 1. Weights of one bit are -1 and 1, which any width
        can hold."""
        return width <= self.weight_width

    @property
    def all_weight_words(self) -> int:
        """Weight words in block RAM and in SDRAM."""
        return self.weight_words + self.streamed_words

    @property
    def streamed(self) -> bool:
        """Whether weights come through a stream from an SDRAM: all of them, or in a `mixed` core some of them."""
        return self.weight_memory == "sdram" or self.mixed

    @property
    def mixed(self) -> bool:
        """Whether some weights lie in block RAM and others in an SDRAM."""
        return self.streamed_words > 0

    @property
    def sdram_memory(self) -> Memory | None:
        """The memory of weights that lies in an SDRAM."""
        return self.memories["streamed_weights" if self.mixed else "weights"] if self.streamed else None

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
        """Width of the axon of a packet, sufficient to give each neuron a distinct number at the host."""
        # Spikes to the host need one number per neuron, events of the core itself one of its axons, and spikes to other
        # tiles one of theirs.
        return max(self.event_width, bits_for(self.neurons), self.sent_axon_width)

    @property
    def event_width(self) -> int:
        """Width of an axon: optional coordinates and row number."""
        return 2 * self.coordinate_width + bits_for(self.axons)

    @property
    def update_widths(self) -> UpdateWidths:
        """Width of each intermediate value of the neuron update."""
        return update_widths(self)

    @property
    def sent_width(self) -> int:
        """Width of the value that a lane outputs for sending: the exact ``u`` with graded spikes, else the membrane."""
        return self.update_widths.u if self.value_width else self.v_width

    @property
    def leak_width(self) -> int:
        """Width of a leak's factor: a fixed-point beta from -1 to 1, or the index in ``(none, *shifts)``."""
        # Two bits more than the fraction: for 1 itself, and for the sign that selects rounding up.
        return self.beta_fraction + 2 if self.multiplier else (len(self.shifts)).bit_length()

    @property
    def row_layout(self) -> WordLayout:
        """A row: first weight word, first accumulator word, words per position minus one, delay, continuation.

        With coordinates it also has the geometry of its taps. The weight words of a ``sparse`` row have explicit
        targets; such a row may be ``empty``. Those of a ``streamed`` row lie in SDRAM; it is a plain row.
        """
        return WordLayout(
            (
                Field("weight_address", bits_for(max(self.weight_words, self.streamed_words))),
                Field("target", bits_for(self.words)),
                # Minus one, so that a row over all words fits.
                Field("length", bits_for(self.words)),
                Field("geometry", bits_for(self.geometries) if self.coordinate_width else 0),
                Field("sparse", int(self.sparse)),
                Field("empty", int(self.sparse)),
                Field("streamed", int(self.mixed)),
                Field("delay", 1),
                Field("more", 1),
            )
        )

    @property
    def line_layout(self) -> WordLayout:
        """Table entry of a geometry and vertical coordinate: first tap, number of taps minus one; ``skip`` for no tap.

        ``weight`` and ``target`` are offsets in words. Targets wrap around, so a negative offset is a large number.
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
        """Table entry of a geometry and horizontal coordinate: as `line_layout`, with the increments between taps.

        ``next_target`` leads from the last accumulator word of a tap to the first of the tap in the next column;
        ``line_weight`` and ``line_target`` lead from the last words of a line to the first words of the next line.
        """
        weight, target = Field("line_weight", bits_for(self.weight_words)), bits_for(self.words)
        # Only in the columns: these increments depend on the horizontal extent of the taps, not on the line.
        more = (Field("next_target", target), weight, Field("line_target", target))
        return WordLayout((*self.line_layout.fields, *more))

    @property
    def _parameter_fields(self) -> tuple[Field, ...]:
        """The fields of `PER_NEURON`, in either kind of word."""
        return tuple(field for feature in FEATURES for field in feature.parameter_fields(self))

    @property
    def cost(self) -> dict[str, float]:
        """Logic: the sizes of the parts of a lane and of the features, and a constant for the core itself."""
        v, sums = self.lanes * self.v_width, self.lanes * self.accumulator_width
        # Of a core that adds several words per cycle: bits of sums, and of weights in each stage of their rotation.
        columns, stages = self.words_per_cycle, self.words_per_cycle.bit_length() - 1
        wide_sums = sums * columns * (columns > 1)
        rotated = self.lanes * self.weight_width * columns * stages
        leaks = leaks_of(self)
        shifts = 0 if self.multiplier else leaks * len(self.shifts)
        in_lut_ram = self.accumulator_memory == "distributed"
        # Rows of 16 words beyond the first, which a multiplexer joins.
        deep = max(0, -(-2 * self.words // (16 * columns)) - 1)
        depths = (self.weight_words, self.axons, self.words, self.neurons)
        return {
            "core": 1,
            "addresses": sum((depth - 1).bit_length() for depth in depths),
            "lanes": self.lanes,
            "sums": sums if columns == 1 else wide_sums,
            "membranes": v,
            "sums in block RAM": sums * (not in_lut_ram),
            "sums in deep LUT RAM": sums * columns * deep * in_lut_ram,
            "columns": columns if columns > 1 else 0,
            "columns, bits of sums": wide_sums,
            "columns, bits of rotated weights": rotated,
            "states in LUT RAM": self.lanes * self.state_layout.width * (self.state_memory == "distributed"),
            "leaks by a shift": v * min(shifts, leaks),
            "leaks by more shifts": v * max(0, shifts - leaks),
            "leaks by a factor": v * leaks * self.multiplier,
            **{name: number for feature in FEATURES for name, number in feature.cost(self).items()},
            "coordinates": int(self.coordinate_width > 0),
            "sparse": int(self.sparse),
        }

    @property
    def neuron_layout(self) -> WordLayout:
        """The individual parameters of a neuron."""
        return WordLayout(tuple(field for field in self._parameter_fields if field.name in self.per_neuron))

    @property
    def population_layout(self) -> WordLayout:
        """A population: first and last word, destination set, and the parameters common to its neurons.

        These include the fields of `PER_NEURON` that are not stored in the neuron words.
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
        """Route of a neuron: spikes (or the membrane of each step) to other tiles, back into the core, or both.

        All destinations receive the same axon.
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
        """The memories that the host loads, by name. Number 0 is reserved for the registers."""
        return self._memories

    @cached_property
    def _memories(self) -> dict[str, Memory]:
        # A memory whose word has no bits is omitted but keeps its number.
        weight_bits = self.lanes * self.weight_width
        shapes = {
            # In SDRAM a word takes a power of two of bytes.
            "weights": (self.weight_words, padded_bits(weight_bits) if self.weight_memory == "sdram" else weight_bits),
            "rows": (self.axons, self.row_layout.width),
            "neurons": (self.words, self.lanes * self.neuron_layout.width),
            "routes": (self.neurons, self.route_layout.width),
            "populations": (self.populations, self.population_layout.width),
            "columns": (self.geometries << self.coordinate_width, self.column_layout.width),
            "lines": (self.geometries << self.coordinate_width, self.line_layout.width),
            "targets": (self.weight_words, bits_for(self.words)),
            "streamed_weights": (self.streamed_words, padded_bits(weight_bits)),
        }
        # Targets exist only with sparse rows, the tables of columns and lines only with coordinates.
        absent = set() if self.sparse else {"targets"}
        absent |= set() if self.coordinate_width else {"columns", "lines"}
        absent |= set() if self.mixed else {"streamed_weights"}
        words = self.contents.memories
        numbered = {
            name: Memory(name, number, *shape, words.get(number, ()))
            for number, (name, shape) in enumerate(shapes.items(), 1)
            if name not in absent
        }
        return {name: memory for name, memory in numbered.items() if memory.width}
