"""Parameters of an AER tile, a port of the fabric for event cameras and other chips with an address-event interface.

A tile has one direction. Its table translates addresses to axons (input) or axons to addresses (output); events without
an entry are dropped. `docs/aer.md` has the rules.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.sim.aer.registers import AER
from spikeloom.sim.lib.contents import NOTHING, Contents
from spikeloom.sim.lib.memory import Memory
from spikeloom.sim.lib.tile import Pin, TileParameters, Widths
from spikeloom.sim.lib.words import Field, WordLayout, pack_lanes

__all__ = ["AerDirection", "AerTileParameters"]


class AerDirection(enum.Enum):
    """Direction of the events."""

    INPUT = "input"
    """From the chip to the fabric."""
    OUTPUT = "output"
    """From the fabric to the chip."""


@dataclass(frozen=True, kw_only=True)
class AerTileParameters(TileParameters, kind="aer", register_map=AER):
    """An AER port as a tile of a fabric.

    Parameters
    ----------
    direction
        Direction of the events.
    address_width
        Number of address wires, 1 to 18.
    depth
        Capacity of the queue of each parity in events, a power of two from 2 to 16384. For an output, the output
        population of the network may have at most this many neurons. When the queue of an input is full, the chip has
        to wait.
    stages
        Number of registers in series in each synchroniser, 2 to 8.
    active_low
        Whether request and acknowledge are active low.
    setup_cycles
        For an output, clock cycles from a change of the address to its request, 1 to 255.
    axon_width, value_width
        Widths in the packets of the fabric; `fitted` sets them.
    destinations
        Number of tiles of the mesh, which is the width of a destination set.
    read_back
        Whether the host can read the memories back.
    contents
        Initial contents of memories and registers; ignored when tiles are compared.
    """

    direction: AerDirection
    address_width: int = 16
    depth: int = 512
    stages: int = 2
    active_low: bool = False
    setup_cycles: int = 1
    axon_width: int = 16
    value_width: int = 16
    destinations: int = 4
    read_back: bool = False
    contents: Contents = field(default=NOTHING, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.direction, AerDirection):
            raise TypeError(f"direction must be an AerDirection, not {self.direction!r}")
        # An integer would work as a flag too, but 2 or "low" would silently mean True.
        for name in ("active_low", "read_back"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be a bool, not {getattr(self, name)!r}")
        for name, low, high in (
            # The table has a word per address or axon, and the index of the configuration port has 18 bits.
            ("address_width", 1, 18),
            ("depth", 2, 1 << 14),
            ("stages", 2, 8),
            ("setup_cycles", 1, 255),
            ("axon_width", 1, 18),
            ("value_width", 2, 32),
            # At least 1, because a fabric without a mesh has no place for a second tile.
            ("destinations", 1, 64),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ValueError(f"{name} must be an integer from {low} to {high}, not {value!r}")
        # The pointers of the queues wrap around by overflow.
        if self.depth.bit_count() != 1:
            raise ValueError(f"depth must be a power of two, not {self.depth!r}")
        self.contents.check({self.table.number})

    @property
    def packets(self) -> Widths:
        """Widths of the packets of the fabric; the tile requires none of its own."""
        return Widths(self.axon_width, self.value_width)

    def fitted(self, *, tiles: int, packets: Widths) -> AerTileParameters:
        """The tile with the packet widths of the fabric."""
        return replace(self, destinations=tiles, axon_width=packets.axon, value_width=packets.value)

    @property
    def left_to_host(self) -> frozenset[str]:
        """``sources``, so that no event is accepted before the host starts a run."""
        return frozenset({"sources"})

    @property
    def pins(self) -> dict[str, Pin]:
        """The wires to the chip: the sender drives the request and the address, the receiver the acknowledgement."""
        idle, sends = int(self.active_low), not self.is_input
        return {
            "request": Pin(output=sends, idle=idle),
            "address": Pin(width=self.address_width, output=sends),
            "acknowledge": Pin(output=not sends, idle=idle),
        }

    @property
    def is_input(self) -> bool:
        """Whether events come from the chip."""
        return self.direction is AerDirection.INPUT

    @property
    def table_layout(self) -> WordLayout:
        """A word of the table: whether the address (input) or axon (output) has an entry, and its translation."""
        return WordLayout((Field("known", 1), Field("value", self.axon_width if self.is_input else self.address_width)))

    @property
    def table(self) -> Memory:
        """The table, with one word per address (input) or axon (output)."""
        # The whole range is stored, so that a translation is one read without a search.
        depth = 1 << (self.address_width if self.is_input else self.axon_width)
        return Memory("table", 1, depth, self.table_layout.width, self.contents.memories.get(1, ()))

    @property
    def memories(self) -> dict[str, Memory]:
        """The memories that the host loads, by name."""
        return {"table": self.table}

    @property
    def cost(self) -> dict[str, float]:
        """Logic by direction: a constant, the widths of address and axon, and the width of a queue's level."""
        way = f"AER {self.direction.value}"
        wires = self.address_width + self.axon_width
        return {way: 1, f"{way}, bits": wires, f"{way}, level": (self.depth - 1).bit_length()}

    @property
    def buffers(self) -> tuple[tuple[int, int], ...]:
        """A queue per parity and, for an input, a bit per axon that marks the contents of each queue."""
        per_parity = [(self.axon_width, self.depth)]
        if self.is_input:
            per_parity.append((1, 1 << self.axon_width))
        # Events of the next step are collected while those of the current one are sent.
        return tuple(per_parity * 2)

    def table_words(self, addresses: ArrayLike, axons: ArrayLike) -> NDArray[np.uint8]:
        """The table that pairs ``addresses`` ``(n,)`` with ``axons`` ``(n,)``, as bytes ``(depth, planes)``.

        Several addresses of an input may have the same axon, and several axons of an output the same address. Raises
        ``ValueError`` for an address or axon that is out of range, or that would have two translations.
        """
        pairs = np.asarray(addresses, np.int64).reshape(-1), np.asarray(axons, np.int64).reshape(-1)
        if len(pairs[0]) != len(pairs[1]):
            raise ValueError(f"addresses must have one entry per axon, {len(pairs[1]):,}, not {len(pairs[0]):,}")
        for name, values, width in zip(
            ("addresses", "axons"), pairs, (self.address_width, self.axon_width), strict=True
        ):
            if values.size and not 0 <= values.min() <= values.max() < 1 << width:
                high = (1 << width) - 1
                raise ValueError(f"{name} must be from 0 to {high}, not {values.min()} to {values.max()}")
        before, after = pairs if self.is_input else pairs[::-1]
        # The left side of the translation must be unique; the right side may repeat.
        if len(np.unique(before)) < len(before):
            what = "address must have one axon" if self.is_input else "axon must have one address"
            raise ValueError(f"an {what}, not several")
        # Entries that are not listed have the bit `known` clear, and their events are dropped.
        values = np.zeros((2, self.table.depth), np.int64)
        values[:, before] = np.ones_like(after), after
        bits = self.table_layout.bits({"known": values[0], "value": values[1]}, self.table.depth)
        return pack_lanes(bits, 1)
